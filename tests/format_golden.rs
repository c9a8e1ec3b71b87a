//! Golden bytes: every structure of `docs/format.md` encodes to the bytes that are kept in `tests/data/format`, and decodes from
//! them. A change of these files is a change of the format, and needs a line in the changelog.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::PathBuf;

use repo::entry::{Meta, Time, Xattr};
use repo::format::content::{self, Item};
use repo::format::header::{Codec, Header, KeySource, ObjectKind, Suite, Trailer};
use repo::format::index::PackRecord;
use repo::format::pack::{BlockEntry, ChunkEntry, Directory};
use repo::format::pin::Pin;
use repo::format::plan::{Plan, Waits};
use repo::format::recipe::{Header as TarHeader, Operation, Override};
use repo::format::session::{Session, SessionKind};
use repo::format::snapshot::{Counts, Origin, Snapshot, StreamDigest, StreamKind, Wrapping};
use repo::format::tree::{Body, Node, Shard, TreeRef};
use repo::format::{fields, put_bytes};
use repo::id::{ChunkId, ObjectId, PlanId, RepositoryId, SessionId, to_hex};

fn chunk(n: u8) -> ChunkId {
    ChunkId::new([n; 32])
}

/// The bytes in a golden file: hexadecimal, line ends ignored.
fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/format")
        .join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn check(name: &str, encoded: &[u8]) {
    assert_eq!(to_hex(encoded), to_hex(&golden(name)), "{name}");
}

fn directory() -> Directory {
    let chunks = vec![
        ChunkEntry {
            id: chunk(1).shorten(),
            raw_bytes: 300,
        },
        ChunkEntry {
            id: chunk(2).shorten(),
            raw_bytes: 70_000,
        },
    ];
    let zstd = BlockEntry {
        codec: Codec::Zstd,
        stored_bytes: 9000,
        raw_bytes: 70_300,
        chunks,
    };
    let raw = BlockEntry {
        codec: Codec::Raw,
        stored_bytes: 21,
        raw_bytes: 5,
        chunks: vec![ChunkEntry {
            id: chunk(3).shorten(),
            raw_bytes: 5,
        }],
    };
    Directory {
        blocks: vec![zstd, raw],
    }
}

fn node() -> Node {
    let items = vec![
        Item::Data {
            id: chunk(4),
            len: 4,
        },
        Item::Hole(6),
    ];
    let mut node = Node::new(
        b"caf\xe9".to_vec(),
        Body::File {
            size: 10,
            content: items,
        },
    );
    node.meta = Meta {
        mode: 0o4750,
        uid: 1000,
        gid: 100,
        user: b"me".to_vec(),
        group: b"us".to_vec(),
        mtime: Time {
            seconds: -2,
            nanoseconds: 999_999_999,
        },
        atime: Some(Time::default()),
        ctime: Some(Time {
            seconds: 1_700_000_000,
            nanoseconds: 1,
        }),
        xattrs: vec![Xattr {
            name: b"user.k".to_vec(),
            value: vec![0, 255],
        }],
    };
    node.link_group = 3;
    node.links = 2;
    node.torn = true;
    node
}

fn reference() -> TreeRef {
    TreeRef {
        id: chunk(5),
        names: 2,
        directories: 1,
        total: 300,
        bytes: 1 << 33,
    }
}

#[test]
fn header() {
    let header = Header {
        kind: ObjectKind::MetaPack,
        suite: Suite::Aes256Gcm,
        source: KeySource::Session {
            epoch: 7,
            ephemeral: [8; 32],
            sealed_secret: [9; 48],
        },
        salt: [10; 32],
        commitment: [11; 32],
    };
    check("header.hex", &header.encode());
    assert_eq!(Header::decode(&golden("header.hex")).unwrap(), header);
    let trailer = Trailer {
        directory_offset: 9181,
        directory_stored_bytes: 140,
        directory_raw_bytes: 124,
        directory_codec: Codec::Raw,
    };
    check("trailer.hex", &trailer.encode());
    assert_eq!(
        Trailer::decode(&golden("trailer.hex"), 9181 + 140 + 48).unwrap(),
        trailer
    );
}

#[test]
fn directory_and_index() {
    let mut bytes = Vec::new();
    directory().encode(&mut bytes);
    check("directory.hex", &bytes);
    assert_eq!(
        Directory::decode(&golden("directory.hex")).unwrap(),
        directory()
    );
    let record = PackRecord {
        id: ObjectId::new([12; 32]),
        kind: ObjectKind::DataPack,
        stored_bytes: 9369,
        directory: directory(),
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes);
    check("index.hex", &bytes);
    let mut found = Vec::new();
    PackRecord::decode_all(&golden("index.hex"), |r| found.push(r)).unwrap();
    assert_eq!(found, [record]);
}

#[test]
fn contents_and_recipes() {
    let items = [
        Item::Data {
            id: chunk(1),
            len: 5,
        },
        Item::Hole(1 << 40),
        Item::Zeros(4096),
        Item::List {
            id: chunk(2),
            len: 100,
            data_bytes: 60,
        },
    ];
    check("content.hex", &content::encode(&items));
    assert_eq!(content::decode(&golden("content.hex")).unwrap(), items);
    let mut bytes = Vec::new();
    Operation::Literal(b"header").encode(&mut bytes);
    Operation::Content(b"a/b").encode(&mut bytes);
    let header = TarHeader {
        flag: b'0',
        shared: 4,
        rest: b"new.c",
        changes: &[100, 2, b'7', b'5'],
    };
    Operation::Member(header).encode(&mut bytes);
    Operation::Header(header).encode(&mut bytes);
    Override {
        ordinal: 300,
        content: items.to_vec(),
    }
    .encode(&mut bytes);
    check("recipe.hex", &bytes);
    let golden = golden("recipe.hex");
    let (first, used) = Operation::decode(&golden).unwrap().unwrap();
    assert_eq!(first, Operation::Literal(b"header"));
    let (second, more) = Operation::decode(&golden[used..]).unwrap().unwrap();
    assert_eq!(second, Operation::Content(b"a/b"));
    let mut at = used + more;
    for expected in [Operation::Member(header), Operation::Header(header)] {
        let (found, used) = Operation::decode(&golden[at..]).unwrap().unwrap();
        assert_eq!(found, expected);
        at += used;
    }
    let (last, _) = Override::decode(&golden[at..]).unwrap().unwrap();
    assert_eq!(last.ordinal, 300);
}

#[test]
fn trees() {
    let mut leaf = vec![Shard::LEAF];
    let bodies = [
        (&b"dir"[..], Body::Directory(reference())),
        (b"fifo", Body::Fifo),
        (b"link", Body::Symlink(b"../x".to_vec())),
        (b"null", Body::CharDevice(1, 3)),
        (b"sda", Body::BlockDevice(8, 0)),
        (b"sock", Body::Socket),
    ];
    let others = bodies
        .into_iter()
        .map(|(name, body)| Node::new(name.to_vec(), body));
    for node in std::iter::once(node()).chain(others) {
        let mut bytes = Vec::new();
        node.encode(&mut bytes);
        if node.name == b"sock" {
            fields::put_field(&mut bytes, 99, b"from a later version");
        }
        put_bytes(&mut leaf, &bytes);
    }
    let mut index = vec![Shard::INDEX];
    Shard::put_index_entry(&mut index, b"a", &reference());
    Shard::put_index_entry(&mut index, b"m", &reference());
    check("tree.hex", &leaf);
    check("tree-index.hex", &index);
    let Shard::Leaf(nodes) = Shard::decode(&golden("tree.hex")).unwrap() else {
        panic!("leaf")
    };
    assert_eq!(nodes[0], node());
    assert!(!nodes[6].unknown.is_empty());
    let Shard::Index(shards) = Shard::decode(&golden("tree-index.hex")).unwrap() else {
        panic!("index")
    };
    assert_eq!(shards[1], (b"m".to_vec(), reference()));
}

#[test]
fn snapshots() {
    let mut root = Node::new(Vec::new(), Body::Directory(reference()));
    root.meta.mode = 0o755;
    let mut snapshot = Snapshot::new(StreamKind::Volume, root);
    snapshot.time = Time {
        seconds: 1_790_000_000,
        nanoseconds: 5,
    };
    snapshot.finished = Time {
        seconds: 1_790_000_009,
        nanoseconds: 0,
    };
    snapshot.name = "web".into();
    snapshot.description = "before the move".into();
    snapshot.tags = vec![("env".into(), "prod".into()), ("x".into(), String::new())];
    snapshot.host = "host".into();
    snapshot.user = "me".into();
    snapshot.sources = vec![b"-".to_vec()];
    snapshot.counts = Counts {
        files: 1,
        directories: 2,
        others: 3,
        bytes: 4,
        added_bytes: 5,
    };
    snapshot.recipe = vec![Item::Data {
        id: chunk(1),
        len: 900,
    }];
    snapshot.overrides = vec![Item::Data {
        id: chunk(2),
        len: 90,
    }];
    snapshot.stream = Some(StreamDigest {
        bytes: 10_240,
        blake3: [4; 32],
    });
    snapshot.wrapping = Wrapping::Gzip;
    snapshot.wrapped = Some(StreamDigest {
        bytes: 512,
        blake3: [5; 32],
    });
    snapshot.original = vec![Item::Data {
        id: chunk(3),
        len: 512,
    }];
    snapshot.identity = vec![Item::Data {
        id: chunk(4),
        len: 60,
    }];
    snapshot.warnings = vec!["one".into()];
    snapshot.warning_count = 1;
    snapshot.parent = Some(ObjectId::new([6; 32]));
    snapshot.program = "repo 0.1.0".into();
    snapshot.origin = Some(Origin {
        repository: RepositoryId::new([7; 16]),
        snapshot: ObjectId::new([8; 32]),
    });
    check("snapshot.hex", &snapshot.encode());
    assert_eq!(Snapshot::decode(&golden("snapshot.hex")).unwrap(), snapshot);
}

#[test]
fn sessions_plans_and_pins() {
    let mut session = Session::new(SessionId::new([1; 16]), SessionKind::Reader);
    session.snapshots = vec![ObjectId::new([6; 32])];
    session.trees = vec![reference()];
    session.contents = vec![vec![Item::Data {
        id: chunk(1),
        len: 900,
    }]];
    check("session.hex", &session.encode());
    assert_eq!(Session::decode(&golden("session.hex")).unwrap(), session);
    let packs = vec![
        (ObjectId::new([12; 32]), ObjectKind::DataPack),
        (ObjectId::new([13; 32]), ObjectKind::MetaPack),
    ];
    let plan = Plan::new(PlanId::new([2; 16]), packs);
    check("plan.hex", &plan.encode());
    assert_eq!(Plan::decode(&golden("plan.hex")).unwrap(), plan);
    // A plan that moves its packs to the quarantine has one field more.
    let moving = Plan {
        quarantine: true,
        ..plan.clone()
    };
    let bytes = [golden("plan.hex"), vec![6, 1]].concat();
    assert_eq!(moving.encode(), bytes);
    assert_eq!(Plan::decode(&bytes).unwrap(), moving);
    for bad in [vec![6, 0], vec![6, 2], vec![6, 1, 6, 1], vec![7, 1, 1]] {
        assert!(Plan::decode(&[golden("plan.hex"), bad].concat()).is_err());
    }
    let waits = Waits::new(plan.id, vec![session.id, SessionId::new([3; 16])]);
    check("waits.hex", &waits.encode());
    assert_eq!(Waits::decode(&golden("waits.hex")).unwrap(), waits);
    let pin = Pin::new(ObjectId::new([6; 32]));
    check("pin.hex", &pin.encode());
    assert_eq!(Pin::decode(&golden("pin.hex")).unwrap(), pin);
    for name in ["session.hex", "plan.hex", "waits.hex", "pin.hex"] {
        let bytes = golden(name);
        let without_id = &bytes[usize::from(bytes[1]) + 2..];
        assert!(Session::decode(without_id).is_err(), "{name}");
        assert!(Plan::decode(without_id).is_err(), "{name}");
        assert!(Waits::decode(without_id).is_err(), "{name}");
        assert!(Pin::decode(without_id).is_err(), "{name}");
    }
}
