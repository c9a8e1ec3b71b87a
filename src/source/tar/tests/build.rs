//! Archives by hand, field by field.

use crate::source::tar::header::BLOCK_BYTES;

pub(super) type Block = [u8; BLOCK_BYTES];

/// Two zero blocks.
pub(super) const END: [u8; 1024] = [0; 1024];

/// Writes `text` at `at`.
pub(super) fn put(block: &mut Block, at: usize, text: impl AsRef<[u8]>) {
    let text = text.as_ref();
    block[at..at + text.len()].copy_from_slice(text);
}

/// Sets the checksum, once all else is there.
pub(super) fn seal(mut block: Block) -> Block {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 "));
    block
}

/// A ustar header without its checksum.
pub(super) fn open(name: &str, flag: u8, size: u64) -> Block {
    let mut block = [0; BLOCK_BYTES];
    put(&mut block, 0, name);
    put(&mut block, 100, "0000644\0");
    put(&mut block, 108, "0001750\0");
    put(&mut block, 116, "0000144\0");
    put(&mut block, 124, format!("{size:011o}\0"));
    put(&mut block, 136, "14000000000\0");
    block[156] = flag;
    put(&mut block, 257, "ustar\x0000");
    put(&mut block, 265, "joe");
    put(&mut block, 297, "users");
    block
}

/// The same in the GNU dialect.
pub(super) fn open_gnu(name: &str, flag: u8, size: u64) -> Block {
    let mut block = open(name, flag, size);
    put(&mut block, 257, "ustar  \0");
    block
}

/// Content, padded to whole blocks.
pub(super) fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

/// A header with its content.
#[allow(clippy::large_types_passed_by_value, reason = "tests read better so")]
pub(super) fn with(header: Block, content: &[u8]) -> Vec<u8> {
    [&seal(header)[..], &padded(content)].concat()
}

/// A whole member.
pub(super) fn member(name: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    with(open(name, flag, content.len() as u64), content)
}

/// A member without content, with a link target.
pub(super) fn link(name: &str, flag: u8, target: &str) -> Vec<u8> {
    let mut header = open(name, flag, 0);
    put(&mut header, 157, target);
    with(header, b"")
}

/// One PAX record with its length.
pub(super) fn record(key: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

/// An extended header of type `flag` with these records.
pub(super) fn pax_as(flag: u8, records: &[(&str, &[u8])]) -> Vec<u8> {
    let records: Vec<u8> = records
        .iter()
        .flat_map(|(key, value)| record(key, value))
        .collect();
    member("PaxHeader", flag, &records)
}

/// An extended header for the next member.
pub(super) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    pax_as(b'x', records)
}

/// Pieces, and the end.
pub(super) fn tar(pieces: &[&[u8]]) -> Vec<u8> {
    [&pieces.concat()[..], &END].concat()
}

/// A binary number in a field of `N` bytes.
pub(super) fn base256<const N: usize>(value: i64) -> [u8; N] {
    let fill = if value < 0 { 0xff } else { 0 };
    let mut field = [fill; N];
    field[N - 8..].copy_from_slice(&value.to_be_bytes());
    field[0] |= 0x80;
    field
}

/// An old GNU sparse member: its slots go into the header and as many blocks as they need.
pub(super) fn old_sparse(name: &str, size: u64, extents: &[(u64, u64)], content: &[u8]) -> Vec<u8> {
    let slot = |(offset, len): &(u64, u64)| format!("{offset:011o}\0{len:011o}\0").into_bytes();
    let mut header = open_gnu(name, b'S', content.len() as u64);
    let (first, more) = extents.split_at(extents.len().min(4));
    put(
        &mut header,
        386,
        first.iter().flat_map(slot).collect::<Vec<_>>(),
    );
    header[482] = u8::from(!more.is_empty());
    put(&mut header, 483, format!("{size:011o}\0"));
    let mut bytes = seal(header).to_vec();
    let mut blocks = more.chunks(21).peekable();
    while let Some(slots) = blocks.next() {
        let mut block = [0; BLOCK_BYTES];
        put(
            &mut block,
            0,
            slots.iter().flat_map(slot).collect::<Vec<_>>(),
        );
        block[504] = u8::from(blocks.peek().is_some());
        bytes.extend_from_slice(&block);
    }
    bytes.extend(padded(content));
    bytes
}

/// A sparse member of GNU.sparse 1.0.
pub(super) fn sparse_one(name: &str, size: u64, extents: &[(u64, u64)], content: &[u8]) -> Vec<u8> {
    let lines = extents
        .iter()
        .map(|(offset, len)| format!("{offset}\n{len}\n"));
    let map = format!("{}\n{}", extents.len(), lines.collect::<String>());
    let stored = [padded(map.as_bytes()), content.to_vec()].concat();
    let header = pax(&[
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", name.as_bytes()),
        ("GNU.sparse.realsize", size.to_string().as_bytes()),
    ]);
    [header, member("GNUSparseFile.0/x", b'0', &stored)].concat()
}
