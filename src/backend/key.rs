//! Names of objects: an area and a name that is safe as one path component on every kind of store.
//!
//! A [`Key`] is checked when it is made, so that no backend has to ask whether a name climbs out of its area.

use std::fmt;

use crate::error::{Error, Result};
use crate::id::ObjectId;

/// Prefix of names that are being written; never the name of an object.
pub(super) const TEMPORARY_PREFIX: &str = "tmp-";
/// The name of the one object in [`Area::Config`].
const CONFIG: &str = "config";
/// The longest name.
const MAX_NAME_BYTES: usize = 128;

/// A top folder of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// The clear configuration; one object.
    Config,
    /// Key slots.
    Keys,
    /// Packs of file content.
    Data,
    /// Packs of trees, content lists and recipes.
    Meta,
    /// Index objects.
    Index,
    /// Snapshots.
    Snapshots,
    /// Running writers, readers and pruners.
    Sessions,
    /// Plans of pruners.
    Gc,
    /// Snapshots that no rule may drop.
    Pins,
    /// Damaged objects that a repair took out of use. Nothing reads them.
    Quarantine,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Config,
        Self::Keys,
        Self::Data,
        Self::Meta,
        Self::Index,
        Self::Snapshots,
        Self::Sessions,
        Self::Gc,
        Self::Pins,
        Self::Quarantine,
    ];

    /// The folder's name; for [`Area::Config`] the object's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => CONFIG,
            Self::Keys => "keys",
            Self::Data => "data",
            Self::Meta => "meta",
            Self::Index => "index",
            Self::Snapshots => "snapshots",
            Self::Sessions => "sessions",
            Self::Gc => "gc",
            Self::Pins => "pins",
            Self::Quarantine => "quarantine",
        }
    }

    /// Whether objects lie in subfolders of their name's first two digits, to keep folders small.
    pub fn has_fan_out(self) -> bool {
        matches!(self, Self::Data | Self::Meta)
    }

    /// Whether objects are named by the hash of their stored bytes: an equal name then means equal bytes, for ever.
    pub fn is_content_named(self) -> bool {
        matches!(
            self,
            Self::Data | Self::Meta | Self::Index | Self::Snapshots
        )
    }

    /// Whether an object here can have this name.
    pub(super) fn admits(self, name: &str) -> bool {
        if self == Self::Config {
            return name == CONFIG;
        }
        if self.is_content_named() {
            return name.len() == 2 * ObjectId::LEN && name.bytes().all(is_hex);
        }
        (1..=MAX_NAME_BYTES).contains(&name.len())
            && !name.starts_with('.')
            && !name.starts_with(TEMPORARY_PREFIX)
            && name
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c))
    }
}

/// A lower-case hexadecimal digit.
fn is_hex(character: u8) -> bool {
    matches!(character, b'0'..=b'9' | b'a'..=b'f')
}

/// The name of one object, always valid.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    area: Area,
    name: String,
}

impl Key {
    /// The configuration.
    pub fn config() -> Self {
        Self {
            area: Area::Config,
            name: CONFIG.to_owned(),
        }
    }

    /// An object that is named by the hash of its bytes.
    pub fn object(area: Area, id: &ObjectId) -> Self {
        debug_assert!(area.is_content_named(), "{} has no object ids", area.name());
        Self {
            area,
            name: id.to_hex(),
        }
    }

    /// An object by its name, if the name can be one in `area`: 64 hexadecimal digits where names are hashes, otherwise
    /// 1 to 128 of `a-z 0-9 - _ .`, not beginning with a dot or with `tmp-`.
    pub fn named(area: Area, name: &str) -> Result<Self> {
        if area.admits(name) {
            Ok(Self {
                area,
                name: name.to_owned(),
            })
        } else {
            Err(Error::invalid(format!(
                "{name:?} cannot be the name of an object in {}",
                area.name()
            )))
        }
    }

    /// Its area.
    pub fn area(&self) -> Area {
        self.area
    }

    /// Its name within the area.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The subfolder it lies in, if its area has such.
    pub(super) fn fan_out(&self) -> Option<&str> {
        self.area.has_fan_out().then(|| &self.name[..2])
    }
}

/// Its path below the repository.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.area, self.fan_out()) {
            (Area::Config, _) => f.write_str(CONFIG),
            (area, Some(folder)) => write!(f, "{}/{folder}/{}", area.name(), self.name),
            (area, None) => write!(f, "{}/{}", area.name(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_area() {
        for name in [
            "", ".", "..", "../x", "a/b", "/a", "tmp-1", "A", "a b", "a\0", "\u{e9}",
        ] {
            assert!(Key::named(Area::Keys, name).is_err(), "{name:?}");
            assert!(Key::named(Area::Data, name).is_err(), "{name:?}");
            assert!(Key::named(Area::Config, name).is_err(), "{name:?}");
        }
        assert!(Key::named(Area::Keys, &"a".repeat(129)).is_err());
        assert!(Key::named(Area::Data, &"A".repeat(64)).is_err());
        assert!(Key::named(Area::Data, &"a".repeat(64)).is_ok());
        assert!(Key::named(Area::Sessions, "w-1.lock").is_ok());
    }

    #[test]
    fn paths_follow_the_layout() {
        let id = ObjectId::of(b"x");
        let hex = id.to_hex();
        assert_eq!(Key::config().to_string(), "config");
        assert_eq!(
            Key::object(Area::Data, &id).to_string(),
            format!("data/{}/{hex}", &hex[..2])
        );
        assert_eq!(
            Key::object(Area::Index, &id).to_string(),
            format!("index/{hex}")
        );
    }
}
