//! Stored objects: header, frames, directory (docs/format.md, sections 4 and 5; docs/crypto.md, section 3).

use super::bytes::Bytes;
use super::keys::{Keyring, kdf, open, public_of, x25519};

/// One block of an object.
pub(crate) struct Block {
    pub(crate) raw: Vec<u8>,
    /// First half of the id, and length, of the chunks that lie side by side in it.
    pub(crate) chunks: Vec<([u8; 16], usize)>,
}

struct Frames<'a> {
    repository: &'a [u8; 16],
    header: &'a [u8],
}

impl Frames<'_> {
    /// Opens a frame (its number, codec, raw length and flags) and decompresses it.
    fn read(
        &self,
        key: &[u8; 32],
        (number, codec, raw, flags): (u32, u8, usize, u8),
        sealed: &[u8],
    ) -> Vec<u8> {
        let number = number.to_le_bytes();
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&number);
        let raw_len = u32::try_from(raw).unwrap().to_le_bytes();
        let aad = [
            self.repository,
            &self.header[8..9],
            &self.header[16..48],
            &number,
            &[codec],
            &raw_len,
            &[flags],
        ]
        .concat();
        let opened = open(self.header[9], key, nonce, &aad, sealed);
        let bytes = match codec {
            0 => opened,
            1 => zstd::bulk::decompress(&opened, raw).unwrap(),
            other => panic!("codec {other}"),
        };
        assert_eq!(bytes.len(), raw);
        bytes
    }
}

/// All blocks of an object, by its own directory.
pub(crate) fn blocks(object: &[u8], kind: u8, repository: &[u8; 16], keys: &Keyring) -> Vec<Block> {
    let header = &object[..160];
    assert_eq!(&header[..8], b"repoobj\x01");
    assert_eq!((header[8], header[11]), (kind, 0));
    let bound = &header[..128];
    let secret = match header[10] {
        0 => keys.index,
        1 => session(&header[12..128], repository, keys),
        other => panic!("key source {other}"),
    };
    let object_key = kdf("repo 2026 object key v1", &[&secret, repository, bound]);
    let commitment = kdf("repo 2026 key commitment v1", &[&object_key, bound]);
    assert_eq!(commitment, header[128..]);
    let directory_key = kdf(
        "repo 2026 directory key v1",
        &[&keys.index, repository, bound],
    );

    let frames = Frames { repository, header };
    let (body, trailer) = object.split_at(object.len() - 48);
    let trailer = frames.read(&directory_key, (u32::MAX, 0, 32, 1), trailer);
    let mut trailer = Bytes(&trailer);
    let at = usize::try_from(trailer.u64()).unwrap();
    let (stored, raw, codec) = (
        trailer.u32() as usize,
        trailer.u32() as usize,
        trailer.byte(),
    );
    assert_eq!((trailer.0, at + stored), (&[0; 15][..], body.len()));
    let directory = frames.read(&directory_key, (u32::MAX - 1, codec, raw, 0), &body[at..]);

    let mut directory = Bytes(&directory);
    let mut rest = Bytes(&body[160..at]);
    let mut blocks = Vec::new();
    for number in 0..directory.size() {
        let codec = directory.byte();
        let (stored, raw, count) = (directory.size(), directory.size(), directory.size());
        let chunks: Vec<_> = (0..count)
            .map(|_| (directory.array(), directory.size()))
            .collect();
        let number = u32::try_from(number).unwrap();
        let raw = frames.read(&object_key, (number, codec, raw, 0), rest.take(stored));
        let sum: usize = chunks.iter().map(|(_, len)| len).sum();
        assert!(chunks.is_empty() || sum == raw.len());
        blocks.push(Block { raw, chunks });
    }
    assert!(directory.is_empty());
    let padding = frames.read(
        &directory_key,
        (u32::MAX - 2, 0, rest.0.len() - 16, 0),
        rest.0,
    );
    assert!(padding.iter().all(|byte| *byte == 0));
    blocks
}

/// The session secret in a header from its epoch number on.
fn session(header: &[u8], repository: &[u8; 16], keys: &Keyring) -> [u8; 32] {
    let mut bytes = Bytes(header);
    let (epoch, _salt, ephemeral) = (bytes.u32(), bytes.take(32), bytes.array());
    let (_, private) = keys
        .epochs
        .iter()
        .find(|(number, _)| *number == epoch)
        .unwrap();
    let wrap = kdf(
        "repo 2026 session wrap v1",
        &[
            &x25519(*private, ephemeral),
            &ephemeral,
            &public_of(*private),
            repository,
            &keys.index,
        ],
    );
    let secret = open(1, &wrap, [0; 12], &epoch.to_le_bytes(), bytes.0);
    secret.try_into().unwrap()
}
