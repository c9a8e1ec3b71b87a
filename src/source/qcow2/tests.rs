//! Images made by `qemu-img` and `qemu-io`, judged by `qemu-img convert`; and images made by hand to deceive.

use std::os::unix::fs::FileExt;

use super::*;
use crate::entry::{Checked, MemorySink, Piece};
use crate::progress::{Recorder, Silent};

fn sh(dir: &Path, script: &str) {
    let mut shell = Command::new("bash");
    shell
        .current_dir(dir)
        .args(["-euc", script])
        .stdout(Stdio::null());
    assert!(shell.status().unwrap().success(), "script failed: {script}");
}

fn try_stream(path: &Path, backing: &[PathBuf], via: &Qcow2Via) -> Result<MemorySink> {
    let mut source = Qcow2Source::open(path, backing, via, Arc::new(Silent))?;
    let mut sink = Checked::new(MemorySink::default(), Order::Walk);
    source.stream(&mut sink)?;
    sink.finish()
}

/// The image's disk by this reader, compared with what `qemu-img` makes of it.
fn compare(dir: &Path, image: &str, backing: &[&str]) -> MemorySink {
    sh(
        dir,
        &format!("qemu-img convert -f qcow2 -O raw {image} expect.raw"),
    );
    let backing: Vec<PathBuf> = backing.iter().map(|name| dir.join(name)).collect();
    let sink = try_stream(&dir.join(image), &backing, &Qcow2Via::Native).unwrap();
    let expect = std::fs::read(dir.join("expect.raw")).unwrap();
    let disk = &sink.entries[1];
    assert_eq!(disk.entry.size, expect.len() as u64);
    assert!(disk.bytes() == expect, "{image} differs");
    sink
}

/// Data, zeros, overwritten and discarded parts, at even and odd places.
const WRITES: &str = "qemu-io -f qcow2 -c 'write -P 0x11 0 3M' -c 'write -P 0x22 5000K 70K' \
    -c 'write -P 0x33 12345344 1536' -c 'write -z 1M 512K' -c 'discard 2M 256K' \
    -c 'write -P 0x44 33553920 512' -c 'write -P 0x55 20M 4M'";

#[test]
fn versions_and_cluster_sizes() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        "compat=0.10",
        "compat=0.10,cluster_size=512",
        "compat=1.1",
        "compat=1.1,cluster_size=4096,lazy_refcounts=on",
        "compat=1.1,cluster_size=2M",
        "compat=1.1,extended_l2=on",
        "compat=1.1,extended_l2=on,cluster_size=2M",
        "compat=1.1,preallocation=metadata",
        "compat=1.1,refcount_bits=1",
    ] {
        let script =
            format!("qemu-img create -f qcow2 -o {options} vm.qcow2 33554432; {WRITES} vm.qcow2");
        sh(dir.path(), &script);
        let got = compare(dir.path(), "vm.qcow2", &[]);
        let content = &got.get(b"vm.raw").unwrap().content;
        let holes = content.iter().any(|piece| matches!(piece, Piece::Hole(_)));
        assert!(holes || options.contains("preallocation"), "{options}");
    }
    sh(
        dir.path(),
        "qemu-img create -f qcow2 empty.qcow2 1234567680",
    );
    let got = try_stream(&dir.path().join("empty.qcow2"), &[], &Qcow2Via::Native).unwrap();
    assert_eq!(got.entries[1].content, [Piece::Hole(1_234_567_680)]);
}

#[test]
fn compressed_clusters() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "qemu-img create -f qcow2 vm.qcow2 33554432; {WRITES} vm.qcow2; seq 900000 > text; head -c 1M /dev/urandom >> text
         truncate -s 24M text"
    );
    sh(dir.path(), &script);
    for options in [
        "compression_type=zlib",
        "compression_type=zstd",
        "compression_type=zlib,cluster_size=4096",
        "compression_type=zstd,cluster_size=2M",
        "compression_type=zstd,extended_l2=on",
    ] {
        for (format, from) in [("qcow2", "vm.qcow2"), ("raw", "text")] {
            let script = format!(
                "qemu-img convert -c -f {format} -O qcow2 -o {options} {from} packed.qcow2
                 qemu-io -f qcow2 -c 'write -P 0x66 3K 2K' packed.qcow2"
            );
            sh(dir.path(), &script);
            compare(dir.path(), "packed.qcow2", &[]);
        }
    }
}

#[test]
fn backing_images_only_when_named() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "head -c 9M /dev/urandom > base.raw; qemu-img create -f qcow2 -F raw -b base.raw mid.qcow2 16M
         qemu-io -f qcow2 -c 'write -P 1 1M 1M' -c 'write -z 3M 1M' -c 'write -P 2 12M 100K' mid.qcow2
         qemu-img create -f qcow2 -F qcow2 -b mid.qcow2 -o extended_l2=on,cluster_size=16K top.qcow2 33554432
         {WRITES} top.qcow2; qemu-img create -f qcow2 -F raw -b base.raw only.qcow2
         qemu-img convert -c -f raw -O qcow2 base.raw packed.qcow2
         qemu-img create -f qcow2 -F qcow2 -b packed.qcow2 -o cluster_size=4096 over.qcow2
         qemu-io -f qcow2 -c 'write -P 9 70K 5K' over.qcow2"
    );
    sh(dir.path(), &script);
    compare(dir.path(), "top.qcow2", &["mid.qcow2", "base.raw"]);
    compare(dir.path(), "only.qcow2", &["base.raw"]);
    let got = compare(dir.path(), "over.qcow2", &["packed.qcow2"]);
    assert!(got.entries[1].entry.stat.is_none());
    let top = dir.path().join("top.qcow2");
    let error = try_stream(&top, &[], &Qcow2Via::Native).unwrap_err();
    assert_eq!(error.class(), Class::Unsupported);
    assert!(
        error.to_string().contains("backing file 'mid.qcow2'"),
        "{error}"
    );
    let extra = ["base.raw", "base.raw"].map(|name| dir.path().join(name));
    assert!(try_stream(&dir.path().join("only.qcow2"), &extra, &Qcow2Via::Native).is_err());
}

#[test]
fn through_qemu_img_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "head -c 1M /dev/urandom > base.raw; qemu-img create -f qcow2 -F raw -b base.raw vm.qcow2 33554432; {WRITES} vm.qcow2
         qemu-img convert -f qcow2 -O raw vm.qcow2 expect.raw"
    );
    sh(dir.path(), &script);
    let via = Qcow2Via::QemuImg {
        program: "qemu-img".into(),
        scratch: dir.path().into(),
    };
    let before = std::fs::read_dir(dir.path()).unwrap().count();
    let got = try_stream(&dir.path().join("vm.qcow2"), &[], &via).unwrap();
    let disk = got.get(b"vm.raw").unwrap();
    assert!(disk.bytes() == std::fs::read(dir.path().join("expect.raw")).unwrap());
    assert!(
        disk.content
            .iter()
            .any(|piece| matches!(piece, Piece::Hole(_)))
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), before);
    assert!(try_stream(&dir.path().join("base.raw"), &[], &via).is_err());
}

#[test]
fn what_is_not_part_of_the_disk_or_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "qemu-img create -f qcow2 vm.qcow2 8M; qemu-io -f qcow2 -c 'write -P 7 0 1M' vm.qcow2
         qemu-img snapshot -c before vm.qcow2; qemu-io -f qcow2 -c 'write -P 8 0 512K' vm.qcow2
         qemu-img create -f qcow2 --object secret,id=s,data=x -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 \
         luks.qcow2 1M
         qemu-img create -f qcow2 -o data_file=data.raw,data_file_raw=on external.qcow2 1M; head -c 9000 /dev/zero > zeros",
    );
    compare(dir.path(), "vm.qcow2", &[]);
    let monitor = Arc::new(Recorder::default());
    let path = dir.path().join("vm.qcow2");
    Qcow2Source::open(&path, &[], &Qcow2Via::Native, monitor.clone()).unwrap();
    assert!(
        monitor.notes()[0].contains("1 snapshots inside"),
        "{:?}",
        monitor.notes()
    );
    for (name, class) in [
        ("luks.qcow2", Class::Unsupported),
        ("external.qcow2", Class::Unsupported),
        ("zeros", Class::Invalid),
    ] {
        let error = try_stream(&dir.path().join(name), &[], &Qcow2Via::Native).unwrap_err();
        assert_eq!(error.class(), class, "{error}");
    }
}

/// An image of 64 KiB clusters: header, L1 at cluster 1, L2 at cluster 2, data at cluster 3.
struct Forged {
    file: tempfile::NamedTempFile,
}

impl Forged {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4 << 16).unwrap();
        let forged = Self { file };
        forged.put32(0, 0x5146_49fb).put32(4, 3).put32(20, 16);
        forged.put64(24, 1 << 30).put32(36, 2).put64(40, 1 << 16);
        forged
            .put32(96, 4)
            .put32(100, 112)
            .put64(1 << 16, 2 << 16 | 1 << 63);
        forged.put64(2 << 16, 3 << 16 | 1 << 63);
        forged
    }

    fn put32(&self, at: u64, value: u32) -> &Self {
        self.file
            .as_file()
            .write_all_at(&value.to_be_bytes(), at)
            .unwrap();
        self
    }

    fn put64(&self, at: u64, value: u64) -> &Self {
        self.file
            .as_file()
            .write_all_at(&value.to_be_bytes(), at)
            .unwrap();
        self
    }

    fn read(&self) -> Result<MemorySink> {
        try_stream(self.file.path(), &[], &Qcow2Via::Native)
    }

    fn class(&self) -> Class {
        self.read().unwrap_err().class()
    }
}

#[test]
fn hostile_images() {
    let good = Forged::new().read().unwrap();
    assert_eq!(good.entries[1].content.len(), 2);
    for (at, value) in [
        (20, 8), // cluster size
        (20, 22),
        (20, 63),
        (36, 1),           // first-level table too small for the disk
        (36, 0x7fff_ffff), // or too large
        (40, 0xffff_ffff), // or far outside
        (100, 3000 << 16), // header length
    ] {
        let forged = Forged::new();
        forged.put32(at, value);
        assert_eq!(forged.class(), Class::Corrupt, "{at} {value:#x}");
    }
    for (at, value) in [
        (1 << 16, 9 << 16),               // second-level table outside
        (1 << 16, (2 << 16) + 512),       // or misaligned
        (2 << 16, 4 << 16),               // data outside
        (2 << 16, (3 << 16) + 512),       // or misaligned
        (2 << 16, COMPRESSED_AT_THE_END), // compressed data outside
        (2 << 16, 1 << 62 | 3 << 16),     // no deflate stream
        (8, 1 << 40),                     // name of a backing file outside
    ] {
        let forged = Forged::new();
        forged.put64(at, value);
        assert_eq!(forged.class(), Class::Corrupt, "{at:#x} {value:#x}");
    }
    let again = Forged::new();
    for number in 0..8192 {
        again.put64((2 << 16) + number * 8, 3 << 16);
    }
    assert_eq!(
        again.class(),
        Class::Corrupt,
        "one cluster named 8192 times"
    );
    let unknown = Forged::new();
    unknown.put64(72, 1 << 7);
    assert_eq!(unknown.class(), Class::Unsupported);
    let newer = Forged::new();
    newer.put32(4, 4);
    assert_eq!(newer.class(), Class::Unsupported);
    let marked = Forged::new();
    marked.put64(72, 2);
    assert_eq!(marked.class(), Class::Corrupt);
    let huge = Forged::new();
    huge.put64(24, u64::MAX);
    assert_eq!(huge.class(), Class::Corrupt);
    let short = Forged::new();
    short.file.as_file().set_len(3 << 16).unwrap();
    assert_eq!(short.class(), Class::Corrupt);
    short.file.as_file().set_len(80).unwrap();
    assert_eq!(short.class(), Class::Corrupt);
    short.file.as_file().set_len(20).unwrap();
    assert_eq!(short.class(), Class::Invalid);
}

const COMPRESSED_AT_THE_END: u64 = 1 << 62 | 0xfff_ffff;

proptest::proptest! {
    #[test]
    fn damaged_images_end_in_an_answer(
        damage in proptest::collection::vec((0_u64..3 << 16, proptest::num::u64::ANY), 1..4),
        near in proptest::collection::vec((0_u64..14, 0_u64..1 << 34), 0..3),
    ) {
        let forged = Forged::new();
        for (at, value) in &near {
            // Fields of the header, and the first entries of both tables.
            let place = [8, 16, 24, 32, 36, 40, 72, 96, 100, 1 << 16, (1 << 16) + 8, 2 << 16, (2 << 16) + 8, 104];
            let place = place[usize::try_from(*at).unwrap()];
            forged.put64(place, *value);
        }
        for (at, value) in &damage {
            forged.put64(*at, *value);
        }
        if let Ok(sink) = forged.read() {
            assert_eq!(sink.entries.len(), 2);
        }
    }
}
