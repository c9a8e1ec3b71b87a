//! Random members in random dialects: the stream comes back, and the tree is what was written.

use proptest::collection::vec;
use proptest::prelude::*;

use super::build::*;
use super::*;
use crate::entry::Time;

#[derive(Clone, Debug)]
enum Content {
    Plain(Vec<u8>),
    /// Gaps and data, and a gap at the end.
    Sparse(Vec<(u64, Vec<u8>)>, u64),
    Link(String),
    Directory,
}

#[derive(Clone, Debug)]
struct Spec {
    name: String,
    dialect: u8,
    mtime: i64,
    content: Content,
}

fn spec() -> impl Strategy<Value = Spec> {
    let content = prop_oneof![
        vec(any::<u8>(), 0..3000).prop_map(Content::Plain),
        (
            vec((0_u64..5000, vec(any::<u8>(), 1..900)), 0..40),
            0_u64..9000
        )
            .prop_map(|(extents, tail)| Content::Sparse(extents, tail)),
        "[a-z/]{1,90}".prop_map(Content::Link),
        Just(Content::Directory),
    ];
    let name = "[a-z\u{e4}]{1,9}(/[a-zA-Z0-9 .]{0,8}[a-z]){0,20}";
    (name, 0_u8..4, -(1_i64 << 40)..1 << 40, content).prop_map(|(name, dialect, mtime, content)| {
        Spec {
            name,
            dialect,
            mtime,
            content,
        }
    })
}

/// The archive's bytes for one member.
fn write(spec: &Spec) -> Vec<u8> {
    let (flag, target) = match &spec.content {
        Content::Plain(_) | Content::Sparse(..) => (b'0', ""),
        Content::Link(target) => (b'2', target.as_str()),
        Content::Directory => (b'5', ""),
    };
    if let Content::Sparse(extents, tail) = &spec.content {
        return write_sparse(spec, extents, *tail);
    }
    let content = match &spec.content {
        Content::Plain(bytes) => &bytes[..],
        _ => b"",
    };
    let mut prologue = Vec::new();
    let mut header = open("short", flag, content.len() as u64);
    if spec.dialect < 2 {
        let time = format!("{}.000000001", spec.mtime);
        let time = if spec.mtime < 0 {
            spec.mtime.to_string()
        } else {
            time
        };
        prologue = pax(&[("path", spec.name.as_bytes()), ("mtime", time.as_bytes())]);
    } else {
        header = open_gnu("short", flag, content.len() as u64);
        put(&mut header, 136, base256::<12>(spec.mtime));
        let name = [spec.name.as_bytes(), b"\0"].concat();
        prologue.extend(with(
            open_gnu("././@LongLink", b'L', name.len() as u64),
            &name,
        ));
    }
    put(&mut header, 157, target);
    [prologue, with(header, content)].concat()
}

fn write_sparse(spec: &Spec, extents: &[(u64, Vec<u8>)], tail: u64) -> Vec<u8> {
    let mut position = 0;
    let mut map = Vec::new();
    let mut content = Vec::new();
    for (gap, data) in extents {
        map.push((position + gap, data.len() as u64));
        position += gap + data.len() as u64;
        content.extend_from_slice(data);
    }
    let size = position + tail;
    let list = |f: &dyn Fn(&(u64, u64)) -> String| map.iter().map(f).collect::<Vec<_>>().join(",");
    match spec.dialect {
        0 => sparse_one(&spec.name, size, &map, &content),
        1 => {
            let json = format!("[{}]", list(&|(o, l)| format!(r#"{{"o":{o},"l":{l}}}"#)));
            let records = pax(&[
                ("path", spec.name.as_bytes()),
                ("COCOON.sparse.map", json.as_bytes()),
                ("COCOON.sparse.size", size.to_string().as_bytes()),
            ]);
            [records, member("x", b'0', &content)].concat()
        }
        2 => {
            let name = [spec.name.as_bytes(), b"\0"].concat();
            let long = with(open_gnu("././@LongLink", b'L', name.len() as u64), &name);
            [long, old_sparse("x", size, &map, &content)].concat()
        }
        _ => {
            let text = list(&|(o, l)| format!("{o},{l}"));
            let records = pax(&[
                ("GNU.sparse.size", size.to_string().as_bytes()),
                ("GNU.sparse.numblocks", map.len().to_string().as_bytes()),
                ("GNU.sparse.name", spec.name.as_bytes()),
                ("GNU.sparse.map", text.as_bytes()),
            ]);
            [records, member("x", b'0', &content)].concat()
        }
    }
}

/// What the member must look like in the tree.
fn expected(spec: &Spec) -> (Vec<u8>, Kind) {
    match &spec.content {
        Content::Plain(bytes) => (bytes.clone(), Kind::File),
        Content::Sparse(extents, tail) => {
            let mut bytes = Vec::new();
            for (gap, data) in extents {
                bytes.resize(bytes.len() + usize::try_from(*gap).unwrap(), 0);
                bytes.extend_from_slice(data);
            }
            bytes.resize(bytes.len() + usize::try_from(*tail).unwrap(), 0);
            (bytes, Kind::File)
        }
        Content::Link(target) => (Vec::new(), Kind::Symlink(target.clone().into_bytes())),
        Content::Directory => (Vec::new(), Kind::Directory),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(specs in vec(spec(), 0..8), end in 0_usize..3000) {
        let mut bytes: Vec<u8> = specs.iter().flat_map(write).collect();
        bytes.resize(bytes.len() + 1024 + end, 0);
        let taken = take(&bytes).unwrap();
        prop_assert_eq!(taken.sink.entries.len(), specs.len());
        for (item, spec) in taken.sink.entries.iter().zip(&specs) {
            let (content, kind) = expected(spec);
            prop_assert_eq!(item.entry.path.as_bytes(), spec.name.as_bytes());
            prop_assert!(item.bytes() == content, "content of {}", spec.name);
            prop_assert_eq!(&item.entry.kind, &kind);
            if !matches!(spec.content, Content::Sparse(..)) {
                let fine = u32::from(spec.dialect < 2 && spec.mtime >= 0);
                prop_assert_eq!(item.entry.meta.mtime, Time::new(spec.mtime, fine));
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..4000)) {
        let _ = take(&noise);
    }
}
