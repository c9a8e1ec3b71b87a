//! A path inside a snapshot: bytes, relative, without `.`, `..`, empty or over-long components.

use std::cmp::Ordering;
use std::fmt;

/// The longest name in a directory, as on Linux.
pub const MAX_NAME_BYTES: usize = 255;

/// Why bytes are not a path inside a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A component is `..`.
    #[error("the path has a '..' component")]
    DotDot,
    /// A NUL byte, or a slash within a single name.
    #[error("the name has a NUL byte or a slash")]
    BadByte,
    /// A component is longer than [`MAX_NAME_BYTES`].
    #[error("a name is longer than 255 bytes")]
    NameTooLong,
    /// An empty name where one is needed.
    #[error("the name is empty")]
    Empty,
}

/// Where an entry is below the root of its tree; the empty path is the root. Any length (`PATH_MAX` does not bound it).
///
/// The order is that of a depth-first walk with siblings sorted by name bytes: a directory, then all that is in it.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct EntryPath(Vec<u8>);

impl EntryPath {
    /// The root of the tree.
    pub fn root() -> Self {
        Self::default()
    }

    /// The path in `bytes` as an archive writes it: leading slashes, `./`, doubled and trailing slashes are dropped.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        let mut path = Vec::with_capacity(bytes.len());
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" | b"." => continue,
                _ => check_name(name)?,
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        Ok(Self(path))
    }

    /// This path with `name` below it. The name must be a valid single component.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        check_name(name)?;
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Ok(Self(path))
    }

    /// Its bytes, components joined by `/`, no leading or trailing slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Its components, outermost first; none for the root.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|name| !name.is_empty())
    }

    /// How many components it has.
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(at) => &self.0[at + 1..],
            None => &self.0,
        }
    }

    /// The path above, `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        self.parent_bytes().map(|bytes| Self(bytes.to_vec()))
    }

    /// The bytes of the path above, `None` for the root.
    pub fn parent_bytes(&self) -> Option<&[u8]> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().rposition(|b| *b == b'/').unwrap_or(0);
        Some(&self.0[..end])
    }

    /// True if `self` is `other` or lies below it.
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root()
            || self
                .0
                .strip_prefix(other.0.as_slice())
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
    }
}

/// Refuses what cannot be a name in a directory.
fn check_name(name: &[u8]) -> Result<(), PathError> {
    match name {
        b"" | b"." => Err(PathError::Empty),
        b".." => Err(PathError::DotDot),
        _ if name.len() > MAX_NAME_BYTES => Err(PathError::NameTooLong),
        _ if name.iter().any(|b| *b == 0 || *b == b'/') => Err(PathError::BadByte),
        _ => Ok(()),
    }
}

impl Ord for EntryPath {
    fn cmp(&self, other: &Self) -> Ordering {
        // A slash sorts before every other byte: then plain byte order is the order of the walk.
        let rank = |b: &u8| if *b == b'/' { 0 } else { u16::from(*b) + 1 };
        self.0.iter().map(rank).cmp(other.0.iter().map(rank))
    }
}

impl PartialOrd for EntryPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl EntryPath {
    /// For messages: the path in quotes, or words for the root, whose path is empty.
    pub fn quoted(&self) -> String {
        if self.is_root() {
            "the root directory".to_owned()
        } else {
            format!("'{self}'")
        }
    }
}

impl fmt::Display for EntryPath {
    /// For people: non-UTF-8 and control bytes are escaped, so that a name can never drive a terminal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn archive_spellings_become_one() {
        assert_eq!(path("/a//b/./c/"), path("a/b/c"));
        assert_eq!(path("./"), EntryPath::root());
        assert_eq!(EntryPath::parse(b"a/../b"), Err(PathError::DotDot));
        assert_eq!(EntryPath::parse(&[b'x'; 256]), Err(PathError::NameTooLong));
        assert_eq!(EntryPath::parse(b"a\0b"), Err(PathError::BadByte));
    }

    #[test]
    fn order_is_that_of_a_walk() {
        let mut paths = ["a.b", "a/b", "a", "", "a-b", "a/b/c", "b"].map(path);
        paths.sort();
        assert_eq!(
            paths,
            ["", "a", "a/b", "a/b/c", "a-b", "a.b", "b"].map(path)
        );
    }

    #[test]
    fn parts() {
        let p = path("a/b/c");
        assert_eq!(p.name(), b"c");
        assert_eq!(p.depth(), 3);
        assert_eq!(p.parent(), Some(path("a/b")));
        assert!(p.is_within(&path("a/b")) && !p.is_within(&path("a/bc")));
        assert_eq!(
            EntryPath::parse(b"a\xff\n").unwrap().to_string(),
            "a\\xff\\n"
        );
    }
}
