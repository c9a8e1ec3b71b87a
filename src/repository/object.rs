//! Sealed objects in memory: building one block by block, and reading its directory and blocks back.
//!
//! All four kinds share one container (see `format::pack`), so there is one builder and one reader. An object is built in
//! memory, because its name is the hash of all its bytes; packs are closed at their target size, which bounds it.

use super::audit::{misnamed, verify_name};
use crate::backend::{Area, Backend, Key, Memory};
use crate::codec::{Compressor, Decompressor};
use crate::crypto::CryptoError;
use crate::crypto::seal::{Frame, ObjectKeys, ObjectOpener, ObjectSealer, WriterKeys};
use crate::error::{Class, Error, Result};
use crate::format::header::{
    Codec, DIRECTORY_FRAME, HEADER_BYTES, ObjectKind, PADDING_FRAME, TAG_BYTES, TRAILER_BYTES,
    TRAILER_FRAME, TRAILER_PLAIN_BYTES, Trailer,
};
use crate::format::pack::{BlockEntry, ChunkEntry, Directory, padme};
use crate::format::{MAX_BLOCK_BYTES, MAX_DIRECTORY_BYTES, MAX_OBJECT_BYTES, MAX_PACK_CHUNKS};
use crate::id::ObjectId;

/// The longest index object or snapshot that is read at once: any snapshot is, with its directory and padding.
pub(super) const MAX_HELD_BYTES: u64 = 24 << 20;

/// The area in which objects of a kind are stored.
pub(crate) fn area_of(kind: ObjectKind) -> Area {
    match kind {
        ObjectKind::DataPack => Area::Data,
        ObjectKind::MetaPack => Area::Meta,
        ObjectKind::Index => Area::Index,
        ObjectKind::Snapshot => Area::Snapshots,
        ObjectKind::Session => Area::Sessions,
        ObjectKind::Plan | ObjectKind::Waits => Area::Gc,
        ObjectKind::Pin => Area::Pins,
    }
}

/// The key of an object that is named by its bytes.
pub(crate) fn key_of(kind: ObjectKind, id: &ObjectId) -> Key {
    Key::object(area_of(kind), id)
}

/// A raw or compressed block on its way into an object.
pub(crate) struct EncodedBlock {
    pub(crate) codec: Codec,
    pub(crate) raw_bytes: u32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<ChunkEntry>,
}

impl EncodedBlock {
    /// Compresses `raw` if that makes it smaller.
    pub(crate) fn new(
        raw: &[u8],
        chunks: Vec<ChunkEntry>,
        compressor: &mut Compressor,
    ) -> Result<Self> {
        let mut bytes = Vec::new();
        let codec = compressor
            .compress(raw, &mut bytes)
            .map_err(|e| Error::caused(Class::Io, "compress a block", e))?;
        // The compressor asks for the worst case; blocks wait by the dozen.
        bytes.shrink_to_fit();
        Ok(Self {
            codec,
            raw_bytes: length(raw.len())?,
            bytes,
            chunks,
        })
    }
}

/// An object that grows block by block.
pub(crate) struct ObjectBuilder {
    kind: ObjectKind,
    sealer: ObjectSealer,
    directory_sealer: ObjectSealer,
    bytes: Vec<u8>,
    directory: Directory,
    chunk_count: usize,
}

/// A finished object, ready to be written under its name.
pub(crate) struct BuiltObject {
    pub(crate) kind: ObjectKind,
    pub(crate) id: ObjectId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) directory: Directory,
}

impl ObjectBuilder {
    /// An empty object; `buffer` is reused for its bytes.
    pub(crate) fn new(keys: &WriterKeys, kind: ObjectKind, mut buffer: Vec<u8>) -> Result<Self> {
        let sealer = keys.sealer(kind).map_err(crypto("begin an object"))?;
        let directory_sealer = keys.directory(&sealer);
        buffer.clear();
        buffer.extend_from_slice(sealer.header());
        Ok(Self {
            kind,
            sealer,
            directory_sealer,
            bytes: buffer,
            directory: Directory::default(),
            chunk_count: 0,
        })
    }

    /// Seals a block behind those before it.
    pub(crate) fn add(&mut self, block: EncodedBlock) -> Result<()> {
        let number = length(self.directory.blocks.len())?;
        let frame = Frame {
            number,
            codec: block.codec,
            raw_len: block.raw_bytes,
            flags: 0,
        };
        let stored_bytes = length(block.bytes.len() + TAG_BYTES)?;
        self.append(&frame, &block.bytes, false)?;
        self.chunk_count += block.chunks.len();
        self.directory.blocks.push(BlockEntry {
            codec: block.codec,
            stored_bytes,
            raw_bytes: block.raw_bytes,
            chunks: block.chunks,
        });
        Ok(())
    }

    fn append(&mut self, frame: &Frame, plain: &[u8], directory: bool) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(plain);
        let sealer = if directory {
            &self.directory_sealer
        } else {
            &self.sealer
        };
        let tag = sealer
            .seal_frame_detached(frame, &mut self.bytes[start..])
            .map_err(crypto("seal a frame"))?;
        self.bytes.extend_from_slice(&tag);
        Ok(())
    }

    /// Bytes so far.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// True if a pack of at most `pack_bytes` can take this block too, with all that follows the blocks.
    pub(crate) fn has_room(&self, block: &EncodedBlock, pack_bytes: usize) -> bool {
        let chunks = self.chunk_count + block.chunks.len();
        let tail =
            20 * chunks + 16 * (self.directory.blocks.len() + 1) + 2 * TAG_BYTES + TRAILER_BYTES;
        chunks <= MAX_PACK_CHUNKS
            && self.bytes.len() + block.bytes.len() + TAG_BYTES + tail <= pack_bytes
    }

    /// Blocks so far.
    pub(crate) fn block_count(&self) -> usize {
        self.directory.blocks.len()
    }

    /// Pads and seals the directory and the trailer behind the blocks, and names the object.
    pub(crate) fn finish(mut self, compressor: &mut Compressor) -> Result<BuiltObject> {
        let mut raw = Vec::new();
        self.directory.encode(&mut raw);
        if raw.len() > MAX_DIRECTORY_BYTES {
            return Err(Error::invalid("the directory of a pack outgrew its limit"));
        }
        let encoded = EncodedBlock::new(&raw, Vec::new(), compressor)?;
        let fixed = self.bytes.len() + TAG_BYTES + encoded.bytes.len() + TAG_BYTES + TRAILER_BYTES;
        let padded = usize::try_from(padme(fixed as u64)).unwrap_or(fixed);
        let padding = vec![0; padded - fixed];
        let frame = Frame {
            number: PADDING_FRAME,
            codec: Codec::Raw,
            raw_len: length(padding.len())?,
            flags: 0,
        };
        self.append(&frame, &padding, true)?;
        let trailer = Trailer {
            directory_offset: self.bytes.len() as u64,
            directory_stored_bytes: length(encoded.bytes.len() + TAG_BYTES)?,
            directory_raw_bytes: encoded.raw_bytes,
            directory_codec: encoded.codec,
        };
        self.append(&directory_frame(&trailer), &encoded.bytes, true)?;
        self.append(&TRAILER, &trailer.encode(), true)?;
        let id = ObjectId::of(&self.bytes);
        Ok(BuiltObject {
            kind: self.kind,
            id,
            bytes: self.bytes,
            directory: self.directory,
        })
    }
}

const TRAILER: Frame = Frame {
    number: TRAILER_FRAME,
    codec: Codec::Raw,
    raw_len: 32,
    flags: Frame::LAST,
};
const _: () = assert!(TRAILER_PLAIN_BYTES == 32);

fn directory_frame(trailer: &Trailer) -> Frame {
    Frame {
        number: DIRECTORY_FRAME,
        codec: trailer.directory_codec,
        raw_len: trailer.directory_raw_bytes,
        flags: 0,
    }
}

/// Reads an object's directory with two or three ranged reads from its tail, whatever its size. Needs no private key.
pub(crate) fn read_directory(
    backend: &dyn Backend,
    keys: &ObjectKeys,
    kind: ObjectKind,
    id: &ObjectId,
) -> Result<(Directory, u64)> {
    read_directory_as(backend, keys, kind, &key_of(kind, id))
}

/// The same for an object of any name, in any area.
pub(super) fn read_directory_as(
    backend: &dyn Backend,
    keys: &ObjectKeys,
    kind: ObjectKind,
    key: &Key,
) -> Result<(Directory, u64)> {
    let size = backend.size(key)?;
    let bad = |what: &str| Error::corrupt(format!("{key}: {what}"));
    let least = (HEADER_BYTES + TAG_BYTES + TRAILER_BYTES) as u64;
    if size < least || size > MAX_OBJECT_BYTES {
        return Err(bad("its length is impossible: truncated, or not an object"));
    }
    let header = read_header(backend, key)?;
    let opener = ObjectOpener::directory(&header, keys).map_err(sealed(key))?;
    if opener.header().kind != kind {
        return Err(bad("it is an object of another kind"));
    }
    let mut bytes = backend.read(key, size - TRAILER_BYTES as u64, TRAILER_BYTES)?;
    opener
        .open_frame(&TRAILER, &mut bytes)
        .map_err(sealed(key))?;
    let trailer = Trailer::decode(&bytes, size).map_err(decoded(key))?;
    let stored = trailer.directory_stored_bytes as usize;
    let mut bytes = backend.read(key, trailer.directory_offset, stored)?;
    opener
        .open_frame(&directory_frame(&trailer), &mut bytes)
        .map_err(sealed(key))?;
    let mut raw = Vec::new();
    Decompressor::new()
        .and_then(|mut d| {
            let len = trailer.directory_raw_bytes as usize;
            d.decompress(trailer.directory_codec, &bytes, len, &mut raw)
        })
        .map_err(|e| Error::caused(Class::Corrupt, key.to_string(), e))?;
    let directory = Directory::decode(&raw).map_err(decoded(key))?;
    let end = directory.offsets().last().unwrap_or_default();
    if end + TAG_BYTES as u64 > trailer.directory_offset {
        return Err(bad("its blocks overlap its directory"));
    }
    Ok((directory, size))
}

/// Reads the first [`HEADER_BYTES`] of an object.
pub(crate) fn read_header(backend: &dyn Backend, key: &Key) -> Result<[u8; HEADER_BYTES]> {
    let bytes = backend.read(key, 0, HEADER_BYTES)?;
    bytes
        .try_into()
        .map_err(|_| Error::corrupt(format!("{key}: shorter than a header")))
}

/// Opens the object at `key`, which must be of `kind`.
pub(crate) fn opener(
    backend: &dyn Backend,
    keys: &ObjectKeys,
    kind: ObjectKind,
    key: &Key,
) -> Result<ObjectOpener> {
    let header = read_header(backend, key)?;
    let opener = ObjectOpener::new(&header, keys).map_err(sealed(key))?;
    if opener.header().kind != kind {
        return Err(Error::corrupt(format!(
            "{key}: it is an object of another kind"
        )));
    }
    Ok(opener)
}

/// One block's frame to raw bytes.
pub(crate) fn open_block(
    opener: &ObjectOpener,
    number: u32,
    entry: &BlockEntry,
    mut bytes: Vec<u8>,
    decompressor: &mut Decompressor,
    key: &Key,
) -> Result<Vec<u8>> {
    unseal_block(opener, number, entry, &mut bytes, key)?;
    let raw = |len| Vec::with_capacity(len);
    decode_block(entry, bytes, usize::MAX, decompressor, raw)
        .map_err(|e| e.within(format_args!("{key}: block {number}")))
}

/// Opens one block's sealed frame in place.
pub(super) fn unseal_block(
    opener: &ObjectOpener,
    number: u32,
    entry: &BlockEntry,
    bytes: &mut Vec<u8>,
    key: &Key,
) -> Result<()> {
    let frame = Frame {
        number,
        codec: entry.codec,
        raw_len: entry.raw_bytes,
        flags: 0,
    };
    opener.open_frame(&frame, bytes).map_err(sealed(key))
}

/// Decompresses the first `up_to` bytes of an opened block, or all of it, into a buffer that `take_buffer` gives for the length.
pub(super) fn decode_block(
    entry: &BlockEntry,
    bytes: Vec<u8>,
    up_to: usize,
    decompressor: &mut Decompressor,
    take_buffer: impl FnOnce(usize) -> Vec<u8>,
) -> Result<Vec<u8>> {
    let len = entry.raw_bytes as usize;
    if entry.codec == Codec::Raw && bytes.len() == len {
        return Ok(bytes);
    }
    if len > MAX_BLOCK_BYTES {
        return Err(Error::corrupt("it is too long"));
    }
    let mut raw = take_buffer(len);
    let decoded = if up_to < len && entry.codec == Codec::Zstd {
        decompressor.decompress_prefix(&bytes, len, up_to, &mut raw)
    } else {
        decompressor.decompress(entry.codec, &bytes, len, &mut raw)
    };
    decoded.map_err(|e| Error::caused(Class::Corrupt, "decompress", e))?;
    Ok(raw)
}

/// Calls `each` with every raw block of an index object or snapshot, in order, after its bytes were compared with its name:
/// a sealed object in another's place opens as well, and says other things.
///
/// Objects of ordinary size are read once, as a whole; of longer ones one block is in memory at a time.
pub(crate) fn read_blocks(
    backend: &dyn Backend,
    keys: &ObjectKeys,
    kind: ObjectKind,
    id: &ObjectId,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let key = key_of(kind, id);
    let held = Memory::new();
    let backend: &dyn Backend = if backend.size(&key)? <= MAX_HELD_BYTES {
        let bytes = backend.read_all(&key, MAX_HELD_BYTES)?;
        if ObjectId::of(&bytes) != *id {
            return Err(misnamed(&key));
        }
        held.write_new(&key, &bytes)?;
        &held
    } else {
        verify_name(backend, &key, id)?;
        backend
    };
    read_blocks_at(backend, keys, kind, &key, each)
}

/// Calls `each` with every raw block of an object, whose name is not looked at.
pub(super) fn read_blocks_at(
    backend: &dyn Backend,
    keys: &ObjectKeys,
    kind: ObjectKind,
    key: &Key,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let (directory, _) = read_directory_as(backend, keys, kind, key)?;
    let opener = opener(backend, keys, kind, key)?;
    let mut decompressor =
        Decompressor::new().map_err(|e| Error::caused(Class::Io, "start a decompressor", e))?;
    for (number, (entry, offset)) in directory.blocks.iter().zip(directory.offsets()).enumerate() {
        let bytes = backend.read(key, offset, entry.stored_bytes as usize)?;
        let number = length(number)?;
        let raw = open_block(&opener, number, entry, bytes, &mut decompressor, key)?;
        each(&raw)?;
    }
    Ok(())
}

/// A length that the format bounds far below 2^32.
pub(crate) fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::invalid("a length beyond 4 GiB"))
}

/// Turns a refusal of the crypto row into an error about `key`.
pub(crate) fn sealed(key: &Key) -> impl Fn(CryptoError) -> Error + '_ {
    move |e| Error::caused(e.class(), key.to_string(), e)
}

/// Turns a decoding error into an error about `key`.
pub(crate) fn decoded(key: &Key) -> impl Fn(crate::format::DecodeError) -> Error + '_ {
    move |e| Error::caused(Class::Corrupt, key.to_string(), e)
}

/// Turns a refusal of the crypto row into an error about an action.
pub(crate) fn crypto(what: &'static str) -> impl Fn(CryptoError) -> Error {
    move |e| Error::caused(e.class(), what, e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintain::fixture::Store;

    /// Whoever has the index key can seal a trailer that lies: no length of it is believed.
    #[test]
    fn a_trailer_that_lies_is_refused() {
        let repository = Store::new().open();
        let keys = WriterKeys::new(repository.id(), repository.suite(), repository.keyring());
        let keys = keys.unwrap();
        let mut compressor = Compressor::new(1).unwrap();
        let build = |compressor: &mut Compressor, lie: &dyn Fn(&mut Trailer)| {
            let mut builder = ObjectBuilder::new(&keys, ObjectKind::DataPack, Vec::new()).unwrap();
            let block = EncodedBlock::new(&[7; 5000], Vec::new(), compressor).unwrap();
            builder.add(block).unwrap();
            let mut raw = Vec::new();
            builder.directory.encode(&mut raw);
            let encoded = EncodedBlock::new(&raw, Vec::new(), compressor).unwrap();
            let padding = Frame {
                number: PADDING_FRAME,
                codec: Codec::Raw,
                raw_len: 0,
                flags: 0,
            };
            builder.append(&padding, &[], true).unwrap();
            let mut trailer = Trailer {
                directory_offset: builder.bytes.len() as u64,
                directory_stored_bytes: length(encoded.bytes.len() + TAG_BYTES).unwrap(),
                directory_raw_bytes: encoded.raw_bytes,
                directory_codec: encoded.codec,
            };
            let frame = directory_frame(&trailer);
            lie(&mut trailer);
            builder.append(&frame, &encoded.bytes, true).unwrap();
            builder.append(&TRAILER, &trailer.encode(), true).unwrap();
            builder.bytes
        };
        let read = |bytes: &[u8]| {
            let store = Memory::new();
            let id = ObjectId::of(bytes);
            store
                .write_new(&key_of(ObjectKind::DataPack, &id), bytes)
                .unwrap();
            read_directory(&store, repository.keys(), ObjectKind::DataPack, &id)
        };
        let honest = build(&mut compressor, &|_| {});
        assert_eq!(read(&honest).unwrap().0.blocks.len(), 1);
        let lies: [&dyn Fn(&mut Trailer); 12] = [
            &|t| t.directory_offset = 0,
            &|t| t.directory_offset -= 1,
            &|t| t.directory_offset += 1,
            &|t| t.directory_offset = u64::MAX,
            &|t| t.directory_offset = 1 << 40,
            &|t| t.directory_stored_bytes = 0,
            &|t| t.directory_stored_bytes -= 1,
            &|t| t.directory_stored_bytes = u32::MAX,
            &|t| t.directory_raw_bytes = 0,
            &|t| t.directory_raw_bytes += 1,
            &|t| t.directory_raw_bytes = u32::MAX,
            // Both, so that they still end where the trailer begins.
            &|t| {
                t.directory_offset -= 40;
                t.directory_stored_bytes += 40;
            },
        ];
        for (which, lie) in lies.into_iter().enumerate() {
            let error = read(&build(&mut compressor, lie)).unwrap_err();
            assert_eq!(error.class(), Class::Corrupt, "{which}: {error}");
        }
    }
}
