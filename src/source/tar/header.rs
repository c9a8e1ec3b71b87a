//! One 512-byte header block: where its fields are, which dialect wrote it, and whether its checksum holds.
//!
//! ```text
//!   0 name 100      108 uid 8      136 mtime 12     157 linkname 100   265 uname 32     329 devmajor 8
//! 100 mode 8        116 gid 8      148 checksum 8   257 magic 6        297 gname 32     337 devminor 8
//!                   124 size 12    156 type         263 version 2      345 (by dialect)
//! ustar: 345 prefix 155        star: 345 prefix 131, 476 atime 12, 488 ctime 12, 508 "tar\0"
//! GNU:   345 atime 12, 357 ctime 12, 386 sparse 4 x (offset 12, length 12), 482 more, 483 real size 12
//! ```

use super::number;

/// The unit of everything in a tar archive.
pub(super) const BLOCK_BYTES: usize = 512;

/// Which dialect a header is written in; it decides what lies behind byte 345.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    V7,
    Ustar,
    Star,
    Gnu,
}

/// A header block whose checksum holds.
#[derive(Clone)]
pub(super) struct Header {
    block: [u8; BLOCK_BYTES],
    pub(super) dialect: Dialect,
}

/// True if the block's checksum field is the sum of its bytes, so that it can be nothing else but a header.
pub fn is_header(block: &[u8; BLOCK_BYTES]) -> bool {
    let Some(stored) = number::parse(&block[148..156]) else {
        return false;
    };
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    // The field itself counts as eight spaces.
    let unsigned = i64::from(sum(block) - sum(&block[148..156]) + 8 * u32::from(b' '));
    // All zeros sum to the spaces alone; a stored 0 then fails, as it should.
    if stored == unsigned {
        return true;
    }
    // Ancient writers summed signed bytes.
    let around = block[..148].iter().chain(&block[156..]);
    let high = around.map(|b| i64::from(*b >> 7)).sum::<i64>();
    stored == unsigned - 256 * high
}

impl Header {
    /// The header in `block`, if its checksum holds.
    pub(super) fn parse(block: &[u8; BLOCK_BYTES]) -> Option<Self> {
        is_header(block).then(|| Self {
            block: *block,
            dialect: dialect(block),
        })
    }

    /// The type flag; NUL is the old spelling of '0'.
    pub(super) fn flag(&self) -> u8 {
        match self.block[156] {
            0 => b'0',
            flag => flag,
        }
    }

    /// Makes it that of a regular file.
    pub(super) fn make_file(&mut self) {
        self.block[156] = b'0';
    }

    /// The size field: bytes of content that follow (if the type has content at all).
    pub(super) fn size(&self) -> Option<u64> {
        number::parse_unsigned(&self.block[124..136])
    }

    /// Path with its prefix, as written.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = text(&self.block[..100]);
        let prefix = match self.dialect {
            Dialect::Ustar => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            // Some writers (old Go) say GNU and mean ustar: letters cannot be a time.
            Dialect::Gnu if self.has_letters_for_times() => text(&self.block[345..500]),
            Dialect::Gnu | Dialect::V7 => b"",
        };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    /// Link target, as written.
    pub(super) fn link(&self) -> &[u8] {
        text(&self.block[157..257])
    }

    pub(super) fn mode(&self) -> Option<i64> {
        number::parse(&self.block[100..108])
    }

    pub(super) fn uid(&self) -> Option<i64> {
        number::parse(&self.block[108..116])
    }

    pub(super) fn gid(&self) -> Option<i64> {
        number::parse(&self.block[116..124])
    }

    pub(super) fn mtime(&self) -> Option<i64> {
        number::parse(&self.block[136..148])
    }

    /// Owner and group by name; old headers have none.
    pub(super) fn names(&self) -> (&[u8], &[u8]) {
        match self.dialect {
            Dialect::V7 => (b"", b""),
            _ => (text(&self.block[265..297]), text(&self.block[297..329])),
        }
    }

    /// Device numbers; old headers have none.
    pub(super) fn device(&self) -> Option<(u32, u32)> {
        if self.dialect == Dialect::V7 {
            return Some((0, 0));
        }
        let part = |field| u32::try_from(number::parse_unsigned(field)?).ok();
        Some((part(&self.block[329..337])?, part(&self.block[337..345])?))
    }

    /// Access and change time in seconds, where the dialect has room for them and the writer used it.
    pub(super) fn other_times(&self) -> (Option<i64>, Option<i64>) {
        let time = |field: &[u8]| match field.first() {
            Some(0) | None => None,
            _ => number::parse(field),
        };
        match self.dialect {
            Dialect::Gnu if !self.has_letters_for_times() => {
                (time(&self.block[345..357]), time(&self.block[357..369]))
            }
            Dialect::Star => (time(&self.block[476..488]), time(&self.block[488..500])),
            _ => (None, None),
        }
    }

    /// The old GNU sparse fields: four map slots, whether more blocks follow, and the logical size.
    pub(super) fn old_sparse(&self) -> (&[u8], bool, Option<u64>) {
        (
            &self.block[386..482],
            self.block[482] != 0,
            number::parse_unsigned(&self.block[483..495]),
        )
    }

    /// Whether blocks of a sparse map follow the header, which its size does not count.
    pub(super) fn map_goes_on(&self) -> bool {
        match (self.flag(), self.dialect) {
            (b'S', Dialect::Gnu) => self.old_sparse().1,
            // Old star put four slots here; the newer one has the prefix there, and the whole map behind the header.
            (b'S', Dialect::Star) => {
                let slots_here = self.block[345] == 0 && self.block[366] != 0;
                !slots_here || self.block[355] != 0
            }
            _ => false,
        }
    }

    fn has_letters_for_times(&self) -> bool {
        !matches!(
            self.block[345],
            0 | b' ' | b'0'..=b'7' | 0x80..=0xff
        )
    }
}

fn dialect(block: &[u8; BLOCK_BYTES]) -> Dialect {
    if block[257..265] == *b"ustar  \0" {
        Dialect::Gnu
    } else if block[257..263] == *b"ustar\0" {
        if block[508..512] == *b"tar\0" {
            Dialect::Star
        } else {
            Dialect::Ustar
        }
    } else {
        Dialect::V7
    }
}

/// A text field up to its first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    &field[..end]
}
