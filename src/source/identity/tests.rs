//! What needs no archive; the rest is tested with whole archives in `source::tar`.

use super::*;

#[test]
fn a_kept_document_can_be_read_again() {
    let document = br#"{"version":1,"config":{"name":"n","cpu":2}}"#.to_vec();
    let identity = Identity::parse(StreamKind::Vm, document.clone()).unwrap();
    assert_eq!(identity.document, document);
    let json = serde_json::to_value(&identity.summary).unwrap();
    assert_eq!((&json["name"], &json["cpu"]), (&"n".into(), &2.into()));
    let error = Identity::parse(StreamKind::Stack, document).unwrap_err();
    assert_eq!(error.class(), Class::Invalid);
}

#[test]
fn what_is_cut_at_pages() {
    let aligned =
        |path: &str, kind| page_aligned(&EntryPath::parse(path.as_bytes()).unwrap(), kind);
    for name in [
        "memory-ranges",
        "memory-range-0",
        "mem",
        "cow.raw",
        "overlay.qcow2",
        "cidata.img",
    ] {
        assert!(aligned(name, Some(StreamKind::Vm)), "{name}");
        assert!(aligned(name, None), "{name}");
    }
    for name in [
        "vmstate",
        "state.json",
        "config.json",
        ".raw",
        "memo",
        "dir/mem",
    ] {
        assert!(!aligned(name, Some(StreamKind::Vm)), "{name}");
    }
    assert!(aligned("0/disks/a.img", Some(StreamKind::Volume)));
    assert!(!aligned("mem", Some(StreamKind::Volume)));
}
