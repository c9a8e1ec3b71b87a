//! The 512-byte header of POSIX ustar, and what fits in it.
//!
//! What does not fit is told by a PAX record as well; then the field here holds a stand-in that a reader without PAX survives:
//! base-256 where GNU defined it, a shortened name, nobody as owner (never root, which is what zero would mean).

/// Size of a header and unit of everything in a tar.
pub(super) const BLOCK_BYTES: usize = 512;

const MAX_OWNER: u32 = 0o7_777_777;
const MAX_NUMBER: u64 = 0o77_777_777_777;
const NOBODY: u32 = 65_534;
/// Bytes of a user or group name, one less than the field so that it always ends in NUL.
const OWNER_NAME_BYTES: usize = 31;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// A ustar header under construction.
pub(super) struct Header([u8; BLOCK_BYTES]);

impl Header {
    /// An empty header of a type: `0` file, `1` hard link, `5` directory, `x` PAX records
    pub(super) fn new(typeflag: u8) -> Self {
        let mut block = [0; BLOCK_BYTES];
        block[156] = typeflag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    /// Sets the name, split at a slash if need be; false if it does not fit (a shortened one is set).
    pub(super) fn set_name(&mut self, name: &[u8]) -> bool {
        if name.len() <= NAME_BYTES {
            self.put(0, name);
            return true;
        }
        // The prefix ends before a slash that leaves a name on either side.
        let first = name.len() - NAME_BYTES - 1;
        let last = (name.len() - 2).min(PREFIX_BYTES);
        let cut = (first.max(1)..=last).find(|at| name[*at] == b'/');
        if let Some(cut) = cut {
            self.put(345, &name[..cut]);
            self.put(0, &name[cut + 1..]);
        } else {
            self.put(0, &name[..NAME_BYTES]);
        }
        cut.is_some()
    }

    /// Sets the target of a link; false if it does not fit (a shortened one is set).
    pub(super) fn set_link(&mut self, target: &[u8]) -> bool {
        self.put(157, &target[..target.len().min(NAME_BYTES)]);
        target.len() <= NAME_BYTES
    }

    /// Sets the permission bits.
    pub(super) fn set_mode(&mut self, mode: u32) {
        self.octal(100, 8, (mode & 0o7777).into());
    }

    /// Sets the user's number; false if it does not fit.
    pub(super) fn set_uid(&mut self, uid: u32) -> bool {
        self.owner(108, uid)
    }

    /// Sets the group's number; false if it does not fit.
    pub(super) fn set_gid(&mut self, gid: u32) -> bool {
        self.owner(116, gid)
    }

    /// Sets the length of what follows; false if it does not fit (base-256 is set).
    pub(super) fn set_size(&mut self, size: u64) -> bool {
        if size <= MAX_NUMBER {
            self.octal(124, 12, size);
        } else {
            self.0[124] = 0x80;
            self.0[128..136].copy_from_slice(&size.to_be_bytes());
        }
        size <= MAX_NUMBER
    }

    /// Sets the seconds of the modification time; false if they do not fit (the nearest time is set).
    pub(super) fn set_mtime(&mut self, seconds: i64) -> bool {
        let fitting = u64::try_from(seconds).unwrap_or(0).min(MAX_NUMBER);
        self.octal(136, 12, fitting);
        i64::try_from(fitting).is_ok_and(|s| s == seconds)
    }

    /// Sets the user's name; false if it does not fit (none is set).
    pub(super) fn set_user(&mut self, name: &[u8]) -> bool {
        self.owner_name(265, name)
    }

    /// Sets the group's name; false if it does not fit (none is set).
    pub(super) fn set_group(&mut self, name: &[u8]) -> bool {
        self.owner_name(297, name)
    }

    /// Sets a device's numbers, in base-256 where octal is too short.
    pub(super) fn set_device(&mut self, major: u32, minor: u32) {
        for (at, number) in [(329, major), (337, minor)] {
            if number <= MAX_OWNER {
                self.octal(at, 8, number.into());
            } else {
                self.0[at] = 0x80;
                self.0[at + 4..at + 8].copy_from_slice(&number.to_be_bytes());
            }
        }
    }

    /// The header's bytes, with its check sum.
    pub(super) fn finish(mut self) -> [u8; BLOCK_BYTES] {
        self.0[148..156].fill(b' ');
        let sum: u64 = self.0.iter().map(|b| u64::from(*b)).sum();
        self.octal(148, 7, sum);
        self.0
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Octal digits that fill a field but for its final NUL.
    fn octal(&mut self, at: usize, field: usize, number: u64) {
        let digits = format!("{number:0width$o}\0", width = field - 1);
        self.put(at, digits.as_bytes());
    }

    fn owner(&mut self, at: usize, number: u32) -> bool {
        let fits = number <= MAX_OWNER;
        self.octal(at, 8, if fits { number } else { NOBODY }.into());
        fits
    }

    fn owner_name(&mut self, at: usize, name: &[u8]) -> bool {
        let fits = name.len() <= OWNER_NAME_BYTES && std::str::from_utf8(name).is_ok();
        if fits {
            self.put(at, name);
        }
        fits
    }
}

/// Zeros that follow `len` bytes to fill the last block.
pub(super) fn padding(len: u64) -> usize {
    let over = usize::try_from(len % BLOCK_BYTES as u64).unwrap_or(0);
    (BLOCK_BYTES - over) % BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_only_where_both_halves_are_names() {
        let fits = |name: &str| Header::new(b'0').set_name(name.as_bytes());
        assert!(fits(&"n".repeat(100)));
        assert!(!fits(&"n".repeat(101)));
        assert!(fits(&format!("{}/{}", "d".repeat(155), "n".repeat(100))));
        assert!(!fits(&format!("{}/{}", "d".repeat(156), "n".repeat(100))));
        assert!(!fits(&format!("{}/{}", "d".repeat(20), "n".repeat(101))));
        // A directory's final slash is no place to split.
        assert!(!fits(&format!("{}/", "d".repeat(101))));
        assert!(fits(&format!("d/{}/", "d".repeat(99))));
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut header = Header::new(b'0');
        assert!(header.set_uid(0o7_777_777) && !header.set_uid(0o10_000_000));
        assert!(header.set_size(8_589_934_591) && !header.set_size(8_589_934_592));
        assert!(header.set_mtime(0) && !header.set_mtime(-1) && !header.set_mtime(1 << 33));
        assert!(header.set_user(&[b'u'; 31]) && !header.set_user(&[b'u'; 32]));
        assert!(!header.set_group(b"\xff"));
        assert_eq!([0, 1, 512, 513].map(padding), [0, 511, 0, 511]);
    }
}
