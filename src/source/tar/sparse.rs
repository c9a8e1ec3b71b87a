//! Maps of sparse members: five spellings, one validated list of extents.
//!
//! | dialect | where the map is |
//! |---|---|
//! | old GNU | header block and extension blocks behind it, 24-byte slots |
//! | GNU.sparse 0.0 | PAX records `offset`, `numbytes`, repeated |
//! | GNU.sparse 0.1 | PAX record `map`, `offset,length,offset,length` |
//! | GNU.sparse 1.0 | lines of decimal numbers in front of the content, padded to a block |
//! | COCOON.sparse | PAX record `map`, JSON `[{"o":0,"l":512}]` or `null` |
//!
//! Whatever the spelling: extents are sorted, apart, within the logical size, and together exactly what is stored. A map
//! that is not is an error, since guessing would put bytes in wrong places.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};

use super::number;
use crate::entry::Extent;

/// How many extents one map may have.
pub(super) const MAX_EXTENTS: usize = 4 << 20;

/// Why a map is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MapError {
    #[error("its sparse map is not readable ({0})")]
    Malformed(&'static str),
    #[error("its sparse map has more than {MAX_EXTENTS} extents")]
    TooMany,
    #[error("extent {0} of its sparse map overlaps or precedes the one before it")]
    Order(usize),
    #[error("extent {0} of its sparse map reaches beyond the file's size of {1} bytes")]
    Beyond(usize, u64),
    #[error("its sparse map accounts for {mapped} bytes, but {stored} are stored")]
    Stored { mapped: u64, stored: u64 },
}

/// A map as read, not yet validated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RawMap(Vec<Extent>);

impl RawMap {
    /// Adds what the archive says is the next extent.
    pub(super) fn push(&mut self, offset: u64, len: u64) -> Result<(), MapError> {
        if self.0.len() >= MAX_EXTENTS {
            return Err(MapError::TooMany);
        }
        self.0.push(Extent { offset, len });
        Ok(())
    }

    /// How many extents it has.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The extents, if they are sorted, apart, within `size` bytes and `stored` bytes long together. Empty ones
    /// (GNU tar marks a hole at the end with one) are dropped, those that touch are joined.
    pub(super) fn validate(self, size: u64, stored: u64) -> Result<Vec<Extent>, MapError> {
        let mut extents = self.0;
        let mut kept = 0;
        let mut position = 0;
        let mut mapped: u64 = 0;
        for at in 0..extents.len() {
            let Extent { offset, len } = extents[at];
            if offset < position {
                return Err(MapError::Order(at));
            }
            let end = offset.checked_add(len).filter(|end| *end <= size);
            let end = end.ok_or(MapError::Beyond(at, size))?;
            // No overflow: the extents are apart and below `size`.
            mapped += len;
            let touches = kept > 0 && offset == position;
            position = end;
            if len == 0 {
                continue;
            }
            if touches {
                extents[kept - 1].len += len;
            } else {
                extents[kept] = Extent { offset, len };
                kept += 1;
            }
        }
        if mapped != stored {
            return Err(MapError::Stored { mapped, stored });
        }
        extents.truncate(kept);
        Ok(extents)
    }
}

/// Adds the slots of an old GNU header or extension block, up to the first that is not used.
pub(super) fn push_slots(map: &mut RawMap, slots: &[u8]) -> Result<(), MapError> {
    for slot in slots.as_chunks::<24>().0 {
        if slot[12] == 0 {
            break;
        }
        let offset = number::parse_unsigned(&slot[..12]);
        let len = number::parse_unsigned(&slot[12..]);
        match (offset, len) {
            (Some(offset), Some(len)) => map.push(offset, len)?,
            _ => return Err(MapError::Malformed("a slot is no number")),
        }
    }
    Ok(())
}

/// The map of GNU.sparse 0.1.
pub(super) fn parse_list(text: &[u8]) -> Result<RawMap, MapError> {
    let mut map = RawMap::default();
    let mut numbers = text.split(|b| *b == b',').map(number::decimal);
    while !text.is_empty() {
        match (numbers.next(), numbers.next()) {
            (None, _) => break,
            (Some(Some(offset)), Some(Some(len))) => map.push(offset, len)?,
            _ => return Err(MapError::Malformed("it is no list of pairs")),
        }
    }
    Ok(map)
}

/// Reads the map of GNU.sparse 1.0, fed block by block.
#[derive(Debug, Default)]
pub(super) struct LineMap {
    map: RawMap,
    expected: Option<u64>,
    offset: Option<u64>,
    line: Vec<u8>,
}

impl LineMap {
    /// Takes one block. `true` once the map is complete; the rest of that block is padding.
    pub(super) fn feed(&mut self, block: &[u8]) -> Result<bool, MapError> {
        for byte in block {
            if *byte != b'\n' {
                // 20 digits are the longest 64-bit number.
                if self.line.len() == 20 {
                    return Err(MapError::Malformed("a line is too long"));
                }
                self.line.push(*byte);
                continue;
            }
            let number = number::decimal(&self.line);
            let number = number.ok_or(MapError::Malformed("a line is no number"))?;
            self.line.clear();
            match (self.expected, self.offset.take()) {
                (None, _) if number > MAX_EXTENTS as u64 => return Err(MapError::TooMany),
                (None, _) => self.expected = Some(number),
                (Some(_), None) => self.offset = Some(number),
                (Some(_), Some(offset)) => self.map.push(offset, number)?,
            }
            if self.offset.is_none() && self.expected == Some(self.map.len() as u64) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The map, once `feed` has said that it is complete.
    pub(super) fn finish(self) -> RawMap {
        self.map
    }
}

/// The map of the COCOON dialect. `null` is a file that is all hole: that is how its writer spells an empty list.
pub(super) fn parse_json(text: &[u8]) -> Result<RawMap, MapError> {
    match serde_json::from_slice::<Option<RawMap>>(text) {
        Ok(map) => Ok(map.unwrap_or_default()),
        Err(e) if e.to_string().contains(TOO_MANY) => Err(MapError::TooMany),
        Err(_) => Err(MapError::Malformed("it is no JSON list of {o, l}")),
    }
}

const TOO_MANY: &str = "too many extents";

impl<'de> Deserialize<'de> for RawMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MapVisitor)
    }
}

struct MapVisitor;

impl<'de> Visitor<'de> for MapVisitor {
    type Value = RawMap;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of {o, l}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawMap, A::Error> {
        #[derive(serde::Deserialize)]
        struct Segment {
            o: u64,
            l: u64,
        }
        let mut map = RawMap::default();
        while let Some(Segment { o, l }) = items.next_element()? {
            map.push(o, l).map_err(|_| A::Error::custom(TOO_MANY))?;
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(u64, u64)]) -> RawMap {
        let mut map = RawMap::default();
        for (offset, len) in pairs {
            map.push(*offset, *len).unwrap();
        }
        map
    }

    #[test]
    fn valid_maps_are_put_in_order() {
        let extents = map(&[(0, 5), (5, 5), (10, 0), (20, 1), (30, 0)]).validate(30, 11);
        let expected = [(0, 10), (20, 1)].map(|(offset, len)| Extent { offset, len });
        assert_eq!(extents.unwrap(), expected);
        assert_eq!(map(&[]).validate(u64::MAX, 0).unwrap(), []);
    }

    #[test]
    fn hostile_maps_are_refused() {
        let order = map(&[(10, 5), (0, 5)]).validate(100, 10);
        assert_eq!(order, Err(MapError::Order(1)));
        let overlap = map(&[(0, 5), (4, 5)]).validate(100, 10);
        assert_eq!(overlap, Err(MapError::Order(1)));
        let beyond = map(&[(0, 5), (98, 5)]).validate(100, 10);
        assert_eq!(beyond, Err(MapError::Beyond(1, 100)));
        let overflow = map(&[(u64::MAX, 2)]).validate(u64::MAX, 2);
        assert_eq!(overflow, Err(MapError::Beyond(0, u64::MAX)));
        let sum = map(&[(0, 5)]).validate(100, 6);
        let (mapped, stored) = (5, 6);
        assert_eq!(sum, Err(MapError::Stored { mapped, stored }));
    }

    #[test]
    fn every_spelling_gives_the_same_map() {
        let expected = map(&[(512, 5), (2048, 0)]);
        assert_eq!(parse_list(b"512,5,2048,0").unwrap(), expected);
        assert_eq!(
            parse_json(br#"[{"o":512,"l":5},{"o":2048,"l":0,"x":1}]"#).unwrap(),
            expected
        );
        let mut lines = LineMap::default();
        assert_eq!(lines.feed(b"2\n51"), Ok(false));
        assert_eq!(lines.feed(b"2\n5\n2048\n0"), Ok(false));
        assert_eq!(lines.feed(b"\n\0\0\0"), Ok(true));
        assert_eq!(lines.finish(), expected);
        let mut slots = RawMap::default();
        let text = b"00000001000 00000000005 00000004000 00000000000\0";
        push_slots(&mut slots, text).unwrap();
        push_slots(&mut slots, &[0; 24]).unwrap();
        assert_eq!(slots, expected);
        assert_eq!(parse_json(b"null").unwrap(), map(&[]));
        assert_eq!(parse_list(b"").unwrap(), map(&[]));
        assert_eq!(LineMap::default().feed(b"0\n\0\0"), Ok(true));
    }

    #[test]
    fn unreadable_maps_are_refused() {
        for text in [&b"1"[..], b"1,2,3", b"1,-2", b"1,2,", b"a,b", b"1,,2"] {
            assert!(parse_list(text).is_err(), "{}", text.escape_ascii());
        }
        for text in [
            &b"{}"[..],
            b"[{\"o\":-1,\"l\":1}]",
            b"[1]",
            b"[{\"o\":1}]",
            b"",
            b"[{\"o\":1.5,\"l\":1}]",
        ] {
            assert!(parse_json(text).is_err(), "{}", text.escape_ascii());
        }
        for text in [
            &b"x\n"[..],
            b"\n",
            b"1\n-1\n",
            b"111111111111111111111",
            b"99999999999\n",
        ] {
            assert!(LineMap::default().feed(text).is_err());
        }
        let many = format!(
            "[{}{{\"o\":0,\"l\":0}}]",
            "{\"o\":0,\"l\":0},".repeat(MAX_EXTENTS)
        );
        assert_eq!(parse_json(many.as_bytes()), Err(MapError::TooMany));
    }
}
