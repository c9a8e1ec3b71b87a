//! The `config` object: clear JSON, written once at creation.
//!
//! It is the only object that anyone can read. A digest of its bytes is sealed in every key slot, so a store cannot
//! change it unnoticed. Sizes are advice for writers; readers need none of them.

use serde::{Deserialize, Serialize};

use super::header::Suite;
use super::{FORMAT_VERSION, MAX_BLOCK_BYTES, MAX_CHUNK_BYTES};
use crate::id::RepositoryId;

/// The longest config object.
pub const MAX_CONFIG_BYTES: usize = 64 << 10;

/// Why bytes are no config that this program can use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of the expected form.
    #[error("not a repository config: {0}")]
    Json(#[from] serde_json::Error),
    /// Longer than [`MAX_CONFIG_BYTES`].
    #[error("the config is longer than {MAX_CONFIG_BYTES} bytes")]
    TooLong,
    /// Not a repository's.
    #[error("this is not a repository (its config says format '{0}')")]
    Foreign(String),
    /// Written by a later program.
    #[error(
        "the repository has format version {0}; this program knows version {FORMAT_VERSION}: use a newer one"
    )]
    Version(u32),
    /// A parameter that makes no sense.
    #[error("bad {0} in the config")]
    Parameter(&'static str),
}

/// How content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkSizes {
    /// Shortest content-defined chunk.
    pub min_bytes: u32,
    /// Aimed-at mean of content-defined chunks; a power of two.
    pub avg_bytes: u32,
    /// Longest content-defined chunk.
    pub max_bytes: u32,
    /// Chunks of disks and RAM dumps, aligned; a power of two.
    pub fixed_bytes: u32,
}

/// How chunks are grouped into blocks, and blocks into packs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSizes {
    /// Raw size at which a block of file content is closed.
    pub file_bytes: u32,
    /// The same for disks, which are read at random.
    pub disk_bytes: u32,
    /// The same for trees and recipes.
    pub meta_bytes: u32,
    /// Stored size at which a pack is closed.
    pub pack_bytes: u32,
}

/// A repository's fixed parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Always `repo`.
    pub format: String,
    /// Format version.
    pub version: u32,
    /// Repository id, hexadecimal.
    pub id: String,
    /// AEAD suite: 1 ChaCha20-Poly1305, 2 AES-256-GCM.
    pub suite: u8,
    /// How content is cut.
    pub chunks: ChunkSizes,
    /// How chunks are grouped.
    pub blocks: BlockSizes,
}

impl Config {
    /// A config with the default sizes (`docs/format.md` has the measurements).
    pub fn new(id: RepositoryId, suite: Suite) -> Self {
        Self {
            format: "repo".to_owned(),
            version: u32::from(FORMAT_VERSION),
            id: id.to_hex(),
            suite: suite as u8,
            chunks: ChunkSizes {
                min_bytes: 64 << 10,
                avg_bytes: 256 << 10,
                max_bytes: 1 << 20,
                fixed_bytes: 64 << 10,
            },
            blocks: BlockSizes {
                file_bytes: 1 << 20,
                disk_bytes: 512 << 10,
                meta_bytes: 512 << 10,
                pack_bytes: 32 << 20,
            },
        }
    }

    /// The stored bytes.
    pub fn encode(&self) -> Result<Vec<u8>, ConfigError> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Decodes and validates stored bytes. The version is judged before anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, ConfigError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        if bytes.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong);
        }
        let head: Head = serde_json::from_slice(bytes)?;
        if head.format != "repo" {
            return Err(ConfigError::Foreign(head.format.chars().take(40).collect()));
        }
        if head.version != u32::from(FORMAT_VERSION) {
            return Err(ConfigError::Version(head.version));
        }
        let config: Self = serde_json::from_slice(bytes)?;
        config.validate()?;
        Ok(config)
    }

    /// The repository's id.
    pub fn repository_id(&self) -> Result<RepositoryId, ConfigError> {
        self.id.parse().map_err(|_| ConfigError::Parameter("id"))
    }

    /// The suite.
    pub fn suite(&self) -> Result<Suite, ConfigError> {
        Suite::from_u8(self.suite).ok_or(ConfigError::Parameter("suite"))
    }

    fn validate(&self) -> Result<(), ConfigError> {
        let ChunkSizes {
            min_bytes,
            avg_bytes,
            max_bytes,
            fixed_bytes,
        } = self.chunks;
        let most = u32::try_from(MAX_CHUNK_BYTES).unwrap_or(u32::MAX);
        self.repository_id()?;
        self.suite()?;
        if min_bytes < 256 || min_bytes > avg_bytes || avg_bytes > max_bytes || max_bytes > most {
            return Err(ConfigError::Parameter("chunk sizes"));
        }
        if !avg_bytes.is_power_of_two() || [min_bytes, max_bytes].iter().any(|b| b % 2 != 0) {
            return Err(ConfigError::Parameter("chunk sizes"));
        }
        if !fixed_bytes.is_power_of_two() || fixed_bytes < 4096 || fixed_bytes > most {
            return Err(ConfigError::Parameter("fixed chunk size"));
        }
        let BlockSizes {
            file_bytes,
            disk_bytes,
            meta_bytes,
            pack_bytes,
        } = self.blocks;
        let limit = u32::try_from(MAX_BLOCK_BYTES / 2).unwrap_or(u32::MAX);
        if [file_bytes, disk_bytes, meta_bytes]
            .iter()
            .any(|b| *b < 4096 || *b > limit)
        {
            return Err(ConfigError::Parameter("block sizes"));
        }
        if !(1 << 16..=256 << 20).contains(&pack_bytes) {
            return Err(ConfigError::Parameter("pack size"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        let config = Config::new(RepositoryId::new([5; 16]), Suite::Aes256Gcm);
        let bytes = config.encode().unwrap();
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        let later = String::from_utf8(bytes.clone())
            .unwrap()
            .replace("\"version\": 1", "\"version\": 9");
        assert!(matches!(
            Config::decode(later.as_bytes()),
            Err(ConfigError::Version(9))
        ));
        let foreign = String::from_utf8(bytes)
            .unwrap()
            .replace("\"repo\"", "\"other\"");
        assert!(matches!(
            Config::decode(foreign.as_bytes()),
            Err(ConfigError::Foreign(_))
        ));
        assert!(Config::decode(b"{}").is_err());
    }
}
