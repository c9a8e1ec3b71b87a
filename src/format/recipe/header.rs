//! Header blocks of a tar, told by what they differ in from the one before.
//!
//! Headers of neighbours are the same but for a few bytes: told whole they are most of what an archive of small files
//! costs beside its content. Here each is the last one of the same type with another name and size and a new
//! checksum; whatever else differs is told byte by byte. Nothing is believed: a writer tells only what gives the
//! very block back.

use std::collections::HashMap;

use super::super::cursor::{Cursor, DecodeError, put_bytes, put_varint};

/// The length of a header block, and what the archive is padded to before one.
pub const HEADER_BLOCK_BYTES: usize = 512;
/// The longest name that a header has room for.
pub(super) const MAX_NAME_BYTES: usize = 100;
/// The most bytes of changes: every other byte, each with a skip and a length.
pub(super) const MAX_CHANGES_BYTES: usize = 1024;

const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const TYPE: usize = 156;
/// Equal bytes that end a change: fewer cost less than to begin another one.
const GAP: usize = 3;

/// One header block.
pub type HeaderBlock = [u8; HEADER_BLOCK_BYTES];

/// A header block as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The type flag: the block is told against the last one with the same.
    pub flag: u8,
    /// How many bytes of its name are those of the name before, whatever its type.
    pub shared: usize,
    /// The rest of its name.
    pub rest: &'a [u8],
    /// Bytes that differ: `(varint skip | bytes replacement)*`.
    pub changes: &'a [u8],
}

impl<'a> Header<'a> {
    /// Appends the encoded bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.flag);
        put_varint(out, self.shared as u64);
        put_bytes(out, self.rest);
        put_bytes(out, self.changes);
    }

    /// Reads one; an error may only mean that the bytes end too early.
    pub(super) fn decode(cursor: &mut Cursor<'a>) -> Result<Self, DecodeError> {
        Ok(Self {
            flag: cursor.byte("type of a header")?,
            shared: cursor.bounded(MAX_NAME_BYTES, "name of a header")?,
            rest: cursor.bytes(MAX_NAME_BYTES, "name of a header")?,
            changes: cursor.bytes(MAX_CHANGES_BYTES, "changes of a header")?,
        })
    }
}

/// The most bytes that an encoded header has.
pub(super) const MAX_HEADER_BYTES: usize = 1 + 1 + 1 + MAX_NAME_BYTES + 2 + MAX_CHANGES_BYTES;

/// What the next header is told against; the same on both sides.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    last: HashMap<u8, Box<HeaderBlock>>,
    name: Vec<u8>,
    changes: Vec<u8>,
}

impl Headers {
    /// True if the block has a checksum as every program of today writes it; only such a block can be told.
    pub fn is_header(block: &HeaderBlock) -> bool {
        block[154..156] == *b"\0 " && block[CHECKSUM] == checksum(block)
    }

    /// The name in a block, up to the first NUL.
    pub fn name_of(block: &HeaderBlock) -> &[u8] {
        let field = &block[..MAX_NAME_BYTES];
        let end = field.iter().position(|b| *b == 0);
        &field[..end.unwrap_or(MAX_NAME_BYTES)]
    }

    /// How the header `block` is told, which says of itself that `size` bytes follow.
    pub fn tell<'a>(&'a mut self, block: &'a HeaderBlock, size: u64) -> Header<'a> {
        let name = Self::name_of(block);
        let shared = name
            .iter()
            .zip(&self.name)
            .take_while(|(a, b)| a == b)
            .count();
        let flag = block[TYPE];
        let last = self.last.entry(flag).or_insert_with(empty);
        prepare(last, name, size);
        self.changes.clear();
        differences(last, block, &mut self.changes);
        **last = *block;
        self.name.truncate(shared);
        self.name.extend_from_slice(&name[shared..]);
        Header {
            flag,
            shared,
            rest: &name[shared..],
            changes: &self.changes,
        }
    }

    /// The name of the next header; its block can be built then.
    pub fn name(&mut self, header: &Header<'_>) -> Result<&[u8], DecodeError> {
        let Header { shared, rest, .. } = *header;
        if shared > self.name.len() || shared + rest.len() > MAX_NAME_BYTES || rest.contains(&0) {
            return Err(Cursor::new(rest).error("name of a header"));
        }
        self.name.truncate(shared);
        self.name.extend_from_slice(rest);
        Ok(&self.name)
    }

    /// The block that the header tells whose name was asked for last, where `size` bytes follow.
    pub fn block(&mut self, header: &Header<'_>, size: u64) -> Result<&HeaderBlock, DecodeError> {
        let block = self.last.entry(header.flag).or_insert_with(empty);
        prepare(block, &self.name, size);
        let mut cursor = Cursor::new(header.changes);
        let mut at = 0;
        while !cursor.is_empty() {
            let start = at + cursor.bounded(HEADER_BLOCK_BYTES, "skip of a header")?;
            let bytes = cursor.bytes(HEADER_BLOCK_BYTES, "change of a header")?;
            at = start + bytes.len();
            let place = block.get_mut(start..at).filter(|place| !place.is_empty());
            place
                .ok_or_else(|| cursor.error("change of a header"))?
                .copy_from_slice(bytes);
        }
        block[TYPE] = header.flag;
        let sum = checksum(block);
        block[CHECKSUM].copy_from_slice(&sum);
        Ok(block)
    }

    /// The path in the tree that a name stands for: no empty parts, none that are a single dot.
    pub fn path_of(name: &[u8]) -> Vec<u8> {
        let mut path = Vec::with_capacity(name.len());
        for part in name.split(|b| *b == b'/') {
            if part.is_empty() || part == b"." {
                continue;
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        path
    }
}

/// How many bytes are missing to a whole block behind `offset` bytes of an archive.
pub fn padding(offset: u64) -> usize {
    let over = usize::try_from(offset % HEADER_BLOCK_BYTES as u64).unwrap_or_default();
    (HEADER_BLOCK_BYTES - over) % HEADER_BLOCK_BYTES
}

fn empty() -> Box<HeaderBlock> {
    Box::new([0; HEADER_BLOCK_BYTES])
}

/// Sets what every header has of its own: name and size, if it fits its eleven digits.
fn prepare(block: &mut HeaderBlock, name: &[u8], size: u64) {
    block[..MAX_NAME_BYTES].fill(0);
    block[..name.len()].copy_from_slice(name);
    if size < 1 << 33 {
        octal(&mut block[SIZE.start..SIZE.end - 1], size);
        block[SIZE.end - 1] = 0;
    }
}

/// The checksum field that this block should have; the field itself counts as eight spaces.
fn checksum(block: &HeaderBlock) -> [u8; 8] {
    let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
    let around = sum(block) - sum(&block[CHECKSUM]) + 8 * u32::from(b' ');
    let mut field = *b"000000\0 ";
    octal(&mut field[..6], u64::from(around));
    field
}

fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// What must be changed in `from` to make it `to`, apart from the checksum, which is computed.
fn differences(from: &HeaderBlock, to: &HeaderBlock, changes: &mut Vec<u8>) {
    let differs = |at: usize| from[at] != to[at] && !CHECKSUM.contains(&at) && at != TYPE;
    let (mut at, mut told) = (0, 0);
    while at < HEADER_BLOCK_BYTES {
        if at.is_multiple_of(64) && from[at..at + 64] == to[at..at + 64] {
            at += 64;
            continue;
        }
        if !differs(at) {
            at += 1;
            continue;
        }
        let mut end = at + 1;
        let mut next = end;
        while next < HEADER_BLOCK_BYTES && next - end < GAP {
            if differs(next) {
                end = next + 1;
            }
            next += 1;
        }
        put_varint(changes, (at - told) as u64);
        put_bytes(changes, &to[at..end]);
        (at, told) = (end, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &[u8], size: u64, flag: u8) -> HeaderBlock {
        let mut block = *empty();
        prepare(&mut block, name, size);
        block[100..108].copy_from_slice(b"0000644\0");
        block[TYPE] = flag;
        block[257..265].copy_from_slice(b"ustar  \0");
        let sum = checksum(&block);
        block[CHECKSUM].copy_from_slice(&sum);
        block
    }

    /// Tells all, builds all from what was told; how many bytes it took.
    fn round(blocks: &[(HeaderBlock, u64)]) -> usize {
        let (mut teller, mut builder) = (Headers::default(), Headers::default());
        let mut stored = Vec::new();
        for (block, size) in blocks {
            assert!(Headers::is_header(block));
            let before = stored.len();
            teller.tell(block, *size).encode(&mut stored);
            let mut cursor = Cursor::new(&stored[before..]);
            let header = Header::decode(&mut cursor).unwrap();
            assert!(cursor.is_empty() && stored.len() - before <= MAX_HEADER_BYTES);
            builder.name(&header).unwrap();
            assert_eq!(builder.block(&header, *size).unwrap(), block);
        }
        stored.len()
    }

    #[test]
    fn neighbours_take_few_bytes() {
        let first = [
            (block(b"dir/", 0, b'5'), 0),
            (block(b"dir/one.c", 9, b'0'), 9),
        ];
        let mut more = first.to_vec();
        more.push((block(b"dir/two.c", 77_777, b'0'), 77_777));
        assert_eq!(round(&more) - round(&first), 1 + 1 + 6 + 1);
    }

    #[test]
    fn any_block_with_a_checksum_comes_back() {
        let mut odd = block(&[b'n'; 100], 5, b'x');
        for (at, byte) in odd.iter_mut().enumerate() {
            if at % 2 == 0 {
                *byte ^= 0x80;
            }
        }
        let sum = checksum(&odd);
        odd[CHECKSUM].copy_from_slice(&sum);
        let mut behind = block(b"a", 5, 0);
        behind[50] = 7;
        let sum = checksum(&behind);
        behind[CHECKSUM].copy_from_slice(&sum);
        let big = block(b"big", 1 << 33, b'0');
        round(&[
            (block(b"a", 5, b'x'), 5),
            (odd, 0),
            (behind, 6),
            (big, 1 << 33),
            (block(b"", 0, b'5'), 0),
        ]);
    }

    #[test]
    fn what_no_writer_tells_is_refused() {
        let refused = |shared, rest: &[u8], changes: &[u8]| {
            let header = Header {
                flag: b'0',
                shared,
                rest,
                changes,
            };
            let mut headers = Headers::default();
            headers.name(&header).is_err() || headers.block(&header, 0).is_err()
        };
        assert!(refused(1, b"", b""), "shares with nothing");
        assert!(refused(0, &[b'a'; 101], b""), "too long");
        assert!(refused(0, b"a\0b", b""), "a NUL in a name");
        assert!(refused(0, b"", &[0, 0]), "an empty change");
        assert!(refused(0, b"", &[0xff, 3, 2, 1, 1]), "beyond the end");
        assert!(refused(0, b"", &[5, 9, 1]), "cut short");
        assert!(!refused(0, b"a", &[0xfe, 3, 2, 1, 1]), "the last two bytes");
    }

    #[test]
    fn paths_lose_what_names_nothing() {
        for (name, path) in [
            (&b"./a//b/"[..], &b"a/b"[..]),
            (b"/a", b"a"),
            (b"./", b""),
            (b"..a/.b", b"..a/.b"),
        ] {
            assert_eq!(Headers::path_of(name), path);
        }
    }
}
