//! Archives with an identity document, as their writers lay them out; names begin with the rows of the kinds' tables.

use super::build::*;
use super::*;
use crate::error::Class;
use crate::source::identity::{StreamKind, Summary};

const STACK: &str = r#"{
  "version": 1, "obolVersion": "v0.9", "stackId": "happy-otter", "createdAt": "2026-05-01T10:00:00Z",
  "configDir": "/home/a/.config/obol", "dataDir": "/home/a/.local/share/obol", "later": {"x": [1]},
  "components": [
    {"name": "wallets", "included": true},
    {"name": "cluster", "included": false, "notes": ["cluster unreachable"]},
    {"name": "config", "included": true}, {"name": "data", "included": true}
  ]
}
"#;

const VOLUME: &str = r#"[{"index":0,"target":"/data","scope":"stage","source":"/srv/x/data"},
 {"index":1,"target":"/cfg","scope":"absolute","source":"../../etc"}]"#;

const VM: &str = r#"{"version":1,"config":{"id":"01ABC","name":"agent","description":"","hypervisor":"cloud-hypervisor",
 "cpu":4,"memory":4294967296,"storage":10000,"nics":1,"windows":false,"image_blob_ids":{"aa":{}},"cpu_hot":null}}
"#;

fn with_document(name: &str, document: &str) -> Vec<u8> {
    tar(&[
        &member(name, b'0', document.as_bytes()),
        &member("other", b'0', b"x"),
    ])
}

fn vm(document: &str, members: &[&[u8]]) -> Vec<u8> {
    tar(&[
        &member("snapshot.json", b'0', document.as_bytes()),
        &members.concat(),
    ])
}

fn kind(bytes: &[u8]) -> Option<StreamKind> {
    take(bytes).unwrap().identity.map(|identity| identity.kind)
}

#[test]
fn s1_s3_a_stack_is_known_with_its_components() {
    let taken = take(&with_document("manifest.json", STACK)).unwrap();
    let identity = taken.identity.as_ref().unwrap();
    assert_eq!(identity.document, STACK.as_bytes());
    assert_eq!(taken.get("manifest.json").bytes(), STACK.as_bytes());
    let Summary::Stack(stack) = &identity.summary else {
        panic!("{:?}", identity.summary);
    };
    assert_eq!(stack.stack_id.as_deref(), Some("happy-otter"));
    assert_eq!(stack.created_at.as_deref(), Some("2026-05-01T10:00:00Z"));
    let rows: Vec<_> = stack
        .components
        .iter()
        .map(|c| (&c.name[..], c.included))
        .collect();
    let expected = [
        ("wallets", true),
        ("cluster", false),
        ("config", true),
        ("data", true),
    ];
    assert_eq!(rows, expected);
    assert_eq!(stack.components[1].notes, ["cluster unreachable"]);
}

#[test]
fn s1_another_version_is_refused() {
    let newer = STACK.replace("\"version\": 1", "\"version\": 2");
    let bytes = with_document("manifest.json", &newer);
    let error = refused(&bytes);
    assert_eq!(error.class(), Class::Unsupported);
    let text = error.to_string();
    assert!(
        text.contains("version 2") && text.contains("version 1"),
        "{text}"
    );
    // As a plain tar it is still taken.
    assert!(
        take_as(&bytes, Expected::Nothing)
            .unwrap()
            .identity
            .is_none()
    );
}

#[test]
fn s2_the_document_may_stand_anywhere_at_the_top() {
    let body = member("data/x", b'0', b"1");
    for name in ["manifest.json", "./manifest.json", "/manifest.json"] {
        let last = tar(&[&body, &member(name, b'0', STACK.as_bytes())]);
        assert_eq!(kind(&last), Some(StreamKind::Stack), "{name}");
    }
    let below = tar(&[&body, &member("d/manifest.json", b'0', STACK.as_bytes())]);
    assert_eq!(kind(&below), None);
    // The last one counts, as when it is unpacked.
    let twice = tar(&[
        &member("manifest.json", b'0', b"{}"),
        &member("manifest.json", b'0', STACK.as_bytes()),
    ]);
    assert_eq!(kind(&twice), Some(StreamKind::Stack));
}

/// It became a plain tar without a word.
#[test]
fn a_stack_without_a_readable_version_is_told() {
    for version in ["", "\"version\": \"1\",", "\"version\": null,"] {
        let document = STACK.replace("\"version\": 1,", version);
        let taken = take(&with_document("manifest.json", &document)).unwrap();
        assert!(taken.identity.is_none());
        let note = taken.notes.join("\n");
        assert!(
            note.contains("version") && note.contains("plain tar"),
            "{note}"
        );
    }
    assert_eq!(
        take(&with_document("manifest.json", STACK)).unwrap().notes,
        [""; 0]
    );
}

#[test]
fn v1_volumes_are_known_by_their_list() {
    let taken = take(&with_document("manifest.json", VOLUME)).unwrap();
    let Some(Summary::Volume(volumes)) = taken.identity.map(|identity| identity.summary) else {
        panic!("no volumes");
    };
    assert_eq!((volumes[1].index, &volumes[1].target[..]), (1, "/cfg"));
    assert_eq!(volumes[1].source, "../../etc");
}

#[test]
fn v9_impossible_indexes_are_refused() {
    for index in ["-1", "0"] {
        let bad = VOLUME.replace("\"index\":1", &format!("\"index\":{index}"));
        assert_eq!(
            refused(&with_document("manifest.json", &bad)).class(),
            Class::Invalid
        );
    }
}

#[test]
fn manifests_of_others_make_a_plain_tar() {
    let docker = r#"[{"Config":"abc.json","RepoTags":["x:latest"],"Layers":["a/layer.tar"]}]"#;
    let web = r#"{"name":"app","version":"1.2.3","icons":[],"components":[]}"#;
    let deep = "[".repeat(100_000);
    for document in [
        docker,
        web,
        &deep,
        "",
        "[]",
        "null",
        "{\"version\":1}",
        "{",
        "[1,[]]",
    ] {
        let taken = take(&with_document("manifest.json", document)).unwrap();
        assert!(taken.identity.is_none(), "{document:.80}");
        assert_eq!(taken.notes, [""; 0], "{document:.80}");
    }
    for document in [
        "{\"version\":1,\"config\":[]}",
        "{\"version\":\"1\",\"config\":{}}",
        "[1,{}]",
    ] {
        assert_eq!(
            kind(&with_document("snapshot.json", document)),
            None,
            "{document}"
        );
    }
    let large = STACK.to_owned() + &" ".repeat(1 << 20);
    assert_eq!(kind(&with_document("manifest.json", &large)), None);
    let directory = tar(&[&member("manifest.json", b'5', b"")]);
    assert_eq!(kind(&directory), None);
}

#[test]
fn a_forced_kind_needs_its_document() {
    let bytes = with_document("manifest.json", VOLUME);
    let forced = |kind| take_as(&bytes, Expected::Only(kind));
    assert!(forced(StreamKind::Volume).unwrap().identity.is_some());
    for kind in [StreamKind::Stack, StreamKind::Vm] {
        let error = forced(kind).err().unwrap();
        assert_eq!(error.class(), Class::Invalid);
        assert!(error.to_string().contains(kind.document_name()), "{error}");
    }
    let empty = with_document("manifest.json", "[]");
    let error = take_as(&empty, Expected::Only(StreamKind::Volume))
        .err()
        .unwrap();
    assert!(error.to_string().contains("lists no volume"), "{error}");
}

#[test]
fn m6_envelopes() {
    let taken = take(&vm(VM, &[&member("vmstate", b'0', b"s")])).unwrap();
    let identity = taken.identity.unwrap();
    assert_eq!(identity.document, VM.as_bytes());
    let Summary::Vm(vm_summary) = identity.summary else {
        panic!("no vm");
    };
    assert_eq!(
        (vm_summary.cpu, vm_summary.memory_bytes),
        (Some(4), Some(4 << 30))
    );
    assert_eq!(vm_summary.storage_bytes, Some(10_000));
    assert_eq!(vm_summary.name.as_deref(), Some("agent"));
    assert_eq!((vm_summary.windows, vm_summary.files), (Some(false), None));
    let newer = VM.replace("\"version\":1", "\"version\":3");
    assert_eq!(refused(&vm(&newer, &[])).class(), Class::Unsupported);
    let turned = r#"{"files":["mem"],"config":{"cpu":"four","name":["x"]},"version":1}"#;
    let last = tar(&[
        &member("mem", b'0', b"m"),
        &member("snapshot.json", b'0', turned.as_bytes()),
    ]);
    assert_eq!(kind(&last), Some(StreamKind::Vm));
    let missing = tar(&[&member("mem", b'0', b"m")]);
    assert!(take_as(&missing, Expected::Only(StreamKind::Vm)).is_err());
    let both = tar(&[
        &member("manifest.json", b'0', STACK.as_bytes()),
        &member("snapshot.json", b'0', VM.as_bytes()),
    ]);
    let taken = take(&both).unwrap();
    assert!(taken.identity.is_none() && taken.warned("both"));
}

#[test]
fn m7_the_list_of_files_must_be_complete() {
    let listed = VM.replace(
        "\"version\":1,",
        "\"version\":1,\"files\":[\"mem\",\"vmstate\"],",
    );
    let (mem, state) = (member("mem", b'0', b"m"), member("./vmstate", b'0', b"s"));
    assert!(
        take(&vm(&listed, &[&mem, &state]))
            .unwrap()
            .warnings
            .is_empty()
    );
    // Cut between members, the tar alone does not show it.
    let whole = vm(&listed, &[&mem, &state]);
    let error = refused(&whole[..whole.len() - 2048]);
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.to_string().contains("'vmstate'"), "{error}");
    let extra = member("notes", b'0', b"");
    let taken = take(&vm(&listed, &[&mem, &state, &extra])).unwrap();
    assert!(taken.warned("'notes' is in the archive but not in the list"));
    let odd = VM.replace("\"version\":1,", "\"version\":1,\"files\":[1],");
    assert_eq!(refused(&vm(&odd, &[])).class(), Class::Invalid);
}

#[test]
fn m8_a_disk_that_lost_its_sparse_records_is_refused() {
    let lost = vm(VM, &[&member("cow.raw", b'0', &[1; 700])]);
    let error = refused(&lost);
    assert_eq!(error.class(), Class::Corrupt);
    assert!(error.to_string().contains("sparse records"), "{error}");
    assert!(take_as(&lost, Expected::Nothing).is_ok());
    let map = br#"[{"o":0,"l":700}]"#;
    let records = pax(&[("COCOON.sparse.map", map), ("COCOON.sparse.size", b"10000")]);
    let kept = vm(VM, &[&records, &member("cow.raw", b'0', &[1; 700])]);
    assert_eq!(kind(&kept), Some(StreamKind::Vm));
    let full = vm(VM, &[&member("cow.raw", b'0', &[1; 10_000])]);
    assert_eq!(kind(&full), Some(StreamKind::Vm));
    // A qcow2 is smaller than the disk it stands for.
    let qcow2 = vm(VM, &[&member("overlay.qcow2", b'0', &[1; 700])]);
    assert_eq!(kind(&qcow2), Some(StreamKind::Vm));
}
