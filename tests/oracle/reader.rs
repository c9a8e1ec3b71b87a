//! A second reader of the repository format, written from docs/format.md and docs/crypto.md and from nothing else: no index, no
//! catalog, no cache, no threads. It reads every pack into memory and panics at whatever is not as the documents say.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::bytes::{Bytes, Fields};
use super::keys::{Keyring, Secret, open_slot, unhex};
use super::object;

/// An opened repository, all of it.
pub(crate) struct Reader {
    chunks: HashMap<[u8; 32], Vec<u8>>,
    /// By id, the fields.
    pub(crate) snapshots: BTreeMap<String, Vec<u8>>,
    /// Fields of sessions, plans, lists of sessions and pins, by path.
    pub(crate) records: BTreeMap<String, Vec<u8>>,
    /// Packs by what the index objects list.
    pub(crate) listed: usize,
    pub(crate) packs: usize,
}

/// A run of content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Run {
    Data(Vec<u8>),
    Hole(u64),
}

/// An entry of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) mode: u64,
    pub(crate) owner: (u64, u64),
    pub(crate) names: (Vec<u8>, Vec<u8>),
    /// mtime, atime, ctime.
    pub(crate) times: [Option<(i64, u32)>; 3],
    pub(crate) size: u64,
    pub(crate) content: Vec<Run>,
    pub(crate) target: Vec<u8>,
    pub(crate) device: (u64, u64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Hard-link group and number of names.
    pub(crate) links: (u64, u64),
}

impl Reader {
    pub(crate) fn open(root: &Path, secret: &Secret<'_>) -> Self {
        let config = fs::read(root.join("config")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(
            (&json["format"], &json["version"]),
            (&"repo".into(), &1.into())
        );
        let repository: [u8; 16] = unhex(json["id"].as_str().unwrap()).try_into().unwrap();
        let keys: Keyring = files(&root.join("keys"))
            .iter()
            .find_map(|path| open_slot(&fs::read(path).unwrap(), &repository, secret))
            .expect("no slot opens");
        assert_eq!(blake3::hash(&config).as_bytes(), &keys.config_digest);

        let mut reader = Self {
            chunks: HashMap::new(),
            snapshots: BTreeMap::new(),
            records: BTreeMap::new(),
            listed: 0,
            packs: 0,
        };
        for (folder, kind) in [("data", 1), ("meta", 2), ("index", 3), ("snapshots", 4)] {
            for path in files(&root.join(folder)) {
                let stored = fs::read(&path).unwrap();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(blake3::hash(&stored).to_hex().as_str(), name);
                if kind <= 2 {
                    assert!(path.parent().unwrap().ends_with(&name[..2]));
                }
                let blocks = object::blocks(&stored, kind, &repository, &keys);
                match kind {
                    3 => {
                        reader.listed +=
                            blocks.iter().map(|b| records(&b.raw, root)).sum::<usize>();
                    }
                    4 => {
                        assert_eq!(blocks.len(), 1);
                        reader.snapshots.insert(name, blocks[0].raw.clone());
                    }
                    _ => {
                        reader.packs += 1;
                        reader.take_chunks(&blocks, &keys.id);
                    }
                }
            }
        }
        for (folder, kind) in [("sessions", 5), ("gc", 6), ("pins", 8)] {
            for path in files(&root.join(folder)) {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let (id, kind) = match name.strip_suffix(".waits") {
                    Some(id) => (id, 7),
                    None => (name.as_str(), kind),
                };
                let blocks = object::blocks(&fs::read(&path).unwrap(), kind, &repository, &keys);
                assert_eq!(blocks.len(), 1);
                let fields = blocks[0].raw.clone();
                assert_eq!(Fields::new(&fields).bytes(1), unhex(id));
                reader.records.insert(format!("{folder}/{name}"), fields);
            }
        }
        reader
    }

    fn take_chunks(&mut self, blocks: &[object::Block], id_key: &[u8; 32]) {
        for block in blocks {
            let mut rest = Bytes(&block.raw);
            for (id, len) in &block.chunks {
                let bytes = rest.take(*len);
                let whole = *blake3::keyed_hash(id_key, bytes).as_bytes();
                assert_eq!(whole[..16], *id);
                self.chunks.insert(whole, bytes.to_vec());
            }
        }
    }

    /// The content in encoded items.
    pub(crate) fn content(&self, items: &[u8]) -> Vec<Run> {
        let mut runs = Vec::new();
        self.append(items, &mut runs);
        runs
    }

    fn append(&self, items: &[u8], runs: &mut Vec<Run>) -> u64 {
        let mut bytes = Bytes(items);
        let mut sum = 0;
        while !bytes.is_empty() {
            let tag = bytes.varint();
            let len = tag >> 2;
            sum += len;
            match tag & 3 {
                0 => {
                    let chunk = &self.chunks[&bytes.array::<32>()];
                    assert_eq!(chunk.len() as u64, len);
                    data(runs, chunk);
                }
                1 => match runs.last_mut() {
                    Some(Run::Hole(last)) => *last += len,
                    _ => runs.push(Run::Hole(len)),
                },
                2 => data(runs, &vec![0; usize::try_from(len).unwrap()]),
                _ => {
                    let data_bytes = bytes.varint();
                    assert!(data_bytes <= len);
                    let list = &self.chunks[&bytes.array::<32>()];
                    assert_eq!(self.append(list, runs), len);
                }
            }
        }
        sum
    }

    /// All entries of a snapshot by path; the root has the empty one.
    pub(crate) fn tree(&self, snapshot: &[u8]) -> BTreeMap<Vec<u8>, Found> {
        let mut all = BTreeMap::new();
        self.node(b"", Fields::new(snapshot).bytes(5), &mut all);
        all
    }

    /// Adds a node and what is below it; entries and logical bytes of them.
    fn node(&self, path: &[u8], node: &[u8], all: &mut BTreeMap<Vec<u8>, Found>) -> (u64, u64) {
        let fields = Fields::new(node);
        let xattr = |field| {
            let mut bytes = Bytes(field);
            (bytes.bytes().to_vec(), bytes.0.to_vec())
        };
        let found = Found {
            mode: fields.number(2),
            owner: (fields.number(3), fields.number(4)),
            names: (fields.bytes(5).to_vec(), fields.bytes(6).to_vec()),
            times: [fields.time(7), fields.time(8), fields.time(9)],
            size: fields.number(10),
            content: self.content(fields.bytes(11)),
            target: fields.bytes(13).to_vec(),
            device: (fields.number(14), fields.number(15)),
            xattrs: fields.list(16).map(xattr).collect(),
            links: (fields.number(17), fields.number(18) + 1),
        };
        let size = found.size;
        all.insert(path.to_vec(), found);
        if fields.number(2) & 0o170_000 != 0o040_000 {
            return (1, size);
        }
        let mut reference = Bytes(fields.bytes(12));
        let mut last = Vec::new();
        let (_, entries, bytes) = self.shard(&mut reference, path, &mut last, all);
        assert!(reference.is_empty());
        (entries + 1, bytes)
    }

    /// Follows a reference and holds its sums against what is there: names, entries and bytes.
    fn shard(
        &self,
        reference: &mut Bytes<'_>,
        path: &[u8],
        last: &mut Vec<u8>,
        all: &mut BTreeMap<Vec<u8>, Found>,
    ) -> (u64, u64, u64) {
        let mut shard = Bytes(&self.chunks[&reference.array::<32>()]);
        let told: [u64; 4] = std::array::from_fn(|_| reference.varint());
        let [mut names, mut directories, mut total, mut sum] = [0; 4];
        let kind = shard.byte();
        while !shard.is_empty() {
            if kind == 1 {
                let first = shard.bytes().to_vec();
                assert!(first > *last || last.is_empty());
                let start = all.len();
                let (n, t, b) = self.shard(&mut shard, path, last, all);
                assert!(all.len() > start);
                (names, total, sum) = (names + n, total + t, sum + b);
                directories = told[1];
            } else {
                assert_eq!(kind, 0);
                let node = shard.bytes();
                let fields = Fields::new(node);
                let name = fields.bytes(1);
                assert!(name > last.as_slice(), "names ascend");
                *last = name.to_vec();
                let below = [path, if path.is_empty() { b"" } else { b"/" }, name].concat();
                let (t, b) = self.node(&below, node, all);
                directories += u64::from(fields.number(2) & 0o170_000 == 0o040_000);
                (names, total, sum) = (names + 1, total + t, sum + b);
            }
        }
        assert_eq!(told, [names, directories, total, sum]);
        (names, total, sum)
    }

    /// The archive that a snapshot was made from, by its recipe.
    pub(crate) fn archive(&self, snapshot: &[u8]) -> Vec<u8> {
        let fields = Fields::new(snapshot);
        let tree = self.tree(snapshot);
        let overrides = flat(&self.content(fields.bytes(17)));
        let mut overrides = Bytes(&overrides);
        let mut replaced = HashMap::new();
        while !overrides.is_empty() {
            replaced.insert(overrides.varint(), self.content(overrides.bytes()));
        }
        let operations = flat(&self.content(fields.bytes(16)));
        let mut operations = Bytes(&operations);
        let (mut archive, mut ordinal) = (Vec::new(), 0);
        let mut headers = Headers::default();
        while !operations.is_empty() {
            let kind = operations.byte();
            let told = match kind {
                0 => {
                    archive.extend_from_slice(operations.bytes());
                    continue;
                }
                1 => Told::Path(operations.bytes().to_vec()),
                2 | 3 => Told::Header(headers.read(&mut operations)),
                _ => panic!("operation {kind}"),
            };
            let path = match &told {
                Told::Path(path) => path.clone(),
                Told::Header(_) => headers.path(),
            };
            let content = match replaced.get(&ordinal) {
                _ if kind == 3 => Vec::new(),
                Some(content) => data_of(content),
                None => data_of(&tree[&path].content),
            };
            if let Told::Header(header) = &told {
                archive.resize(archive.len().next_multiple_of(512), 0);
                archive.extend_from_slice(&headers.block(header, content.len()));
            }
            archive.extend_from_slice(&content);
            ordinal += u64::from(kind != 3);
        }
        let mut digest = Bytes(fields.bytes(18));
        assert_eq!(blake3::hash(&archive).as_bytes(), &digest.array::<32>());
        assert_eq!(digest.varint(), archive.len() as u64);
        archive
    }
}

/// What an operation other than a literal says.
enum Told {
    Path(Vec<u8>),
    Header(Header),
}

/// A header block as it is stored, without its name.
struct Header {
    kind: u8,
    changes: Vec<u8>,
}

/// What header blocks are told against.
#[derive(Default)]
struct Headers {
    last: HashMap<u8, Vec<u8>>,
    name: Vec<u8>,
}

impl Headers {
    fn read(&mut self, bytes: &mut Bytes<'_>) -> Header {
        let (kind, shared) = (bytes.byte(), bytes.size());
        assert!(shared <= self.name.len());
        self.name.truncate(shared);
        self.name.extend_from_slice(bytes.bytes());
        assert!(self.name.len() <= 100 && !self.name.contains(&0));
        let changes = bytes.bytes().to_vec();
        Header { kind, changes }
    }

    fn block(&mut self, header: &Header, size: usize) -> Vec<u8> {
        let mut block = self
            .last
            .remove(&header.kind)
            .unwrap_or_else(|| vec![0; 512]);
        block[..100].fill(0);
        block[..self.name.len()].copy_from_slice(&self.name);
        if size < 1 << 33 {
            block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        }
        let (mut changes, mut at) = (Bytes(&header.changes), 0);
        while !changes.is_empty() {
            at += changes.size();
            for byte in changes.bytes() {
                block[at] = *byte;
                at += 1;
            }
        }
        block[156] = header.kind;
        block[148..156].copy_from_slice(b"        ");
        let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.last.insert(header.kind, block.clone());
        block
    }

    fn path(&self) -> Vec<u8> {
        let parts = self.name.split(|b| *b == b'/');
        let kept: Vec<&[u8]> = parts.filter(|p| !p.is_empty() && *p != b".").collect();
        kept.join(&b'/')
    }
}

/// What of a content is in an archive.
fn data_of(runs: &[Run]) -> Vec<u8> {
    let data = runs.iter().filter_map(|run| match run {
        Run::Data(bytes) => Some(bytes.as_slice()),
        Run::Hole(_) => None,
    });
    data.flatten().copied().collect()
}

/// Content without holes, as recipes are.
fn flat(runs: &[Run]) -> Vec<u8> {
    let bytes = |run: &Run| match run {
        Run::Data(bytes) => bytes.clone(),
        Run::Hole(_) => panic!("a hole in a stream"),
    };
    runs.iter().flat_map(bytes).collect()
}

/// Appends data to the run before it.
pub(crate) fn data(runs: &mut Vec<Run>, bytes: &[u8]) {
    match runs.last_mut() {
        Some(Run::Data(last)) => last.extend_from_slice(bytes),
        _ => runs.push(Run::Data(bytes.to_vec())),
    }
}

/// How many packs a block of an index object lists; each is there.
fn records(block: &[u8], root: &Path) -> usize {
    let mut bytes = Bytes(block);
    let mut count = 0;
    while !bytes.is_empty() {
        let id = blake3::Hash::from_bytes(bytes.array()).to_hex();
        let folder = ["", "data", "meta"][usize::from(bytes.byte())];
        let path = root.join(folder).join(&id.as_str()[..2]).join(id.as_str());
        assert_eq!(fs::metadata(path).unwrap().len(), bytes.varint());
        for _ in 0..bytes.size() {
            let (_codec, _stored, raw) = (bytes.byte(), bytes.size(), bytes.size());
            let chunks = bytes.size();
            let sum: usize = (0..chunks).map(|_| (bytes.take(16), bytes.size()).1).sum();
            assert_eq!(sum, raw);
        }
        count += 1;
    }
    count
}

/// All files below a folder whose names are not temporary.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            all.push(path);
        }
    }
    all.sort();
    all
}
