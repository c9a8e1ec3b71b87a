//! POSIX ACLs: the text that archives carry, into the attribute value that the kernel takes.
//!
//! ```text
//! user::rwx  user:joe:rw-:1000  group::r--  mask::rw-  other::---      (commas or lines; fourth part: the number)
//! u32 version = 2, then per entry: u16 tag, u16 permissions, u32 id    (little endian, sorted by tag and id)
//! ```
//! A name without its number cannot be converted here: names mean different numbers on different machines.

use super::number::decimal;

const VERSION: u32 = 2;
const NO_ID: u32 = u32::MAX;
const USER_OBJ: u16 = 1;
const USER: u16 = 2;
const GROUP_OBJ: u16 = 4;
const GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;

/// How many entries one ACL may have; the kernel's attribute limit is lower still.
const MAX_ENTRIES: usize = 8000;

/// The binary form of an ACL's text; `None` if it is no ACL, or names someone without a number.
pub(super) fn encode(text: &[u8]) -> Option<Vec<u8>> {
    let mut entries = Vec::new();
    for entry in text.split(|b| *b == b',' || *b == b'\n') {
        let entry = entry.split(|b| *b == b'#').next()?.trim_ascii();
        if entry.is_empty() {
            continue;
        }
        if entries.len() == MAX_ENTRIES {
            return None;
        }
        entries.push(parse(entry)?);
    }
    entries.sort_unstable();
    // The three base entries must be there, once; a mask must be there once somebody is named.
    let count = |tag| entries.iter().filter(|e| e.0 == tag).count();
    let named = count(USER) + count(GROUP);
    let valid = count(USER_OBJ) == 1
        && count(GROUP_OBJ) == 1
        && count(OTHER) == 1
        && count(MASK) <= 1
        && (named == 0 || count(MASK) == 1)
        && entries
            .windows(2)
            .all(|w| (w[0].0, w[0].1) != (w[1].0, w[1].1));
    if !valid {
        return None;
    }
    let mut bytes = VERSION.to_le_bytes().to_vec();
    for (tag, id, permissions) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&permissions.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    Some(bytes)
}

/// The permission bits of a file that has this ACL: what it says of the group is its mask, if it has one.
pub(super) fn permissions(encoded: &[u8]) -> Option<u32> {
    let (version, entries) = encoded.split_first_chunk()?;
    if u32::from_le_bytes(*version) != VERSION {
        return None;
    }
    let find = |wanted: u16| {
        let entries = entries.as_chunks::<8>().0.iter();
        let mut found = entries.filter(|entry| u16::from_le_bytes([entry[0], entry[1]]) == wanted);
        found.next().map(|entry| u32::from(entry[2] & 7))
    };
    let group = find(MASK).or_else(|| find(GROUP_OBJ))?;
    Some(find(USER_OBJ)? << 6 | group << 3 | find(OTHER)?)
}

/// True for an ACL that says no more than the mode bits do; the kernel keeps none then.
pub(super) fn is_minimal(encoded: &[u8]) -> bool {
    encoded.len() == 4 + 3 * 8
}

/// One entry as tag, id and permissions: the order in which the kernel wants them.
fn parse(entry: &[u8]) -> Option<(u16, u32, u16)> {
    let parts: Vec<&[u8]> = entry
        .split(|b| *b == b':')
        .map(<[u8]>::trim_ascii)
        .collect();
    let (kind, name, permissions, number) = match parts[..] {
        [kind, name, permissions] => (kind, name, permissions, None),
        [kind, name, permissions, number] => (kind, name, permissions, Some(number)),
        // Solaris writes the mask and the others without the empty name.
        [kind, permissions] => (kind, &b""[..], permissions, None),
        _ => return None,
    };
    let (own, named) = match kind {
        b"user" | b"u" => (USER_OBJ, USER),
        b"group" | b"g" => (GROUP_OBJ, GROUP),
        b"mask" | b"m" if name.is_empty() => (MASK, MASK),
        b"other" | b"o" if name.is_empty() => (OTHER, OTHER),
        _ => return None,
    };
    let permissions = permission_bits(permissions)?;
    if name.is_empty() {
        return Some((own, NO_ID, permissions));
    }
    let id = number.and_then(decimal).or_else(|| decimal(name))?;
    let id = u32::try_from(id).ok().filter(|id| *id != NO_ID)?;
    Some((named, id, permissions))
}

fn permission_bits(text: &[u8]) -> Option<u16> {
    text.iter().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                b'r' => 4,
                b'w' => 2,
                b'x' => 1,
                b'-' => 0,
                _ => return None,
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_give_the_kernels_bytes() {
        let mut expected = vec![2, 0, 0, 0];
        for (tag, permissions, id) in [
            (1_u16, 7_u16, NO_ID),
            (2, 6, 1000),
            (4, 4, NO_ID),
            (8, 5, 7),
            (16, 7, NO_ID),
            (32, 0, NO_ID),
        ] {
            expected.extend_from_slice(&tag.to_le_bytes());
            expected.extend_from_slice(&permissions.to_le_bytes());
            expected.extend_from_slice(&id.to_le_bytes());
        }
        let star = b"user::rwx,user:joe:rw-:1000,group::r--,group:wheel:r-x:7,mask::rwx,other::---";
        let gnu = b"user::rwx\nuser:1000:rw-\t#effective:r--\ngroup::r--\ngroup:7:r-x\nmask::rwx\nother::---\n";
        assert_eq!(encode(star).unwrap(), expected);
        assert_eq!(encode(gnu).unwrap(), expected);
        assert!(!is_minimal(&expected));
        assert_eq!(permissions(&expected), Some(0o770));
        assert_eq!(
            permissions(&encode(b"u::rwx,g::r--,o::--x").unwrap()),
            Some(0o741)
        );
        assert_eq!(permissions(&expected[..20]), None);
        assert_eq!(permissions(&[3, 0, 0, 0]), None);
        assert!(is_minimal(&encode(b"u::rwx,g::r--,o::r--").unwrap()));
    }

    #[test]
    fn what_cannot_be_converted_is_refused() {
        for text in [
            &b""[..],
            b"user:joe:rw-",
            b"user::rwx,user:joe:rw-,group::r--,mask::r--,other::r--",
            b"user::rwx,user:5:rw-,group::r--,other::r--",
            b"user::rwx,user::rwx,group::r--,other::r--",
            b"user::rwz,group::r--,other::r--",
            b"owner@:rwx::allow",
        ] {
            assert_eq!(encode(text), None, "{}", text.escape_ascii());
        }
    }
}
