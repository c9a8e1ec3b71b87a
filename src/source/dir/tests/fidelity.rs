//! Every inode type and all metadata.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;
use crate::entry::{EntryPath, Extent, Kind, Outcome, Piece, Time};

#[test]
fn every_type_of_inode() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "echo hello > file; mkdir sub; ln -s /no/where link; mkfifo pipe; mknod char c 5 1
         mknod block b 259 70000; chown 1234:4321 file pipe; chmod 4751 file; chown -h 7:8 link
         python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'
         touch -d '1960-02-03 04:05:06.123456789 UTC' sub; touch -d @-1.25 pipe; chmod 1777 .",
    );
    let got = stream(dir.path());
    assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    assert_eq!(got.get("").entry.meta.mode, 0o1777);
    let file = got.get("file");
    assert_eq!(
        (file.bytes().as_slice(), file.entry.size),
        (&b"hello\n"[..], 6)
    );
    assert_eq!(file.outcome, Some(Outcome::Whole));
    assert_eq!(file.entry.meta.mode, 0o4751);
    assert_eq!((file.entry.meta.uid, file.entry.meta.gid), (1234, 4321));
    assert!(file.entry.meta.user.is_empty());
    assert_eq!(got.get("sub").entry.meta.user, b"root");
    assert_eq!(
        got.get("sub").entry.meta.mtime,
        Time::new(-312_753_294, 123_456_789)
    );
    assert_eq!(got.get("pipe").entry.meta.mtime, Time::new(-2, 750_000_000));
    assert_eq!(
        got.get("link").entry.kind,
        Kind::Symlink(b"/no/where".to_vec())
    );
    assert_eq!(got.get("link").entry.meta.uid, 7);
    assert_eq!(got.get("pipe").entry.kind, Kind::Fifo);
    assert_eq!(got.get("sock").entry.kind, Kind::Socket);
    assert_eq!(got.get("char").entry.kind, Kind::CharDevice(5, 1));
    assert_eq!(got.get("block").entry.kind, Kind::BlockDevice(259, 70000));
    assert_eq!(got.sink.entries.len(), 8);
}

#[test]
fn attributes_acls_and_capabilities() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "touch plain; echo x > file; mkdir sub; ln -s x link; mkfifo pipe
         setfattr -n user.colour -v blue file; setfattr -n user.a -v 0x00ff0a file
         setfattr -n trusted.t -v secret file; setfattr -h -n trusted.l -v on-link link
         setfattr -n user.large -v \"$(head -c 3000 /dev/zero | tr '\\0' v)\" file
         setfattr -n trusted.p -v on-pipe pipe; setfacl -m u:1234:rw file
         setfacl -d -m g:77:rx sub; setcap cap_net_raw+ep plain; setfattr -n user.d -v dir .",
    );
    let got = stream(dir.path());
    assert!(got.warnings.is_empty(), "{:?}", got.warnings);
    let names = |path: &str| -> Vec<String> {
        let xattrs = got.get(path).entry.meta.xattrs.iter();
        xattrs
            .map(|x| String::from_utf8(x.name.clone()).unwrap())
            .collect()
    };
    let of_file = [
        "system.posix_acl_access",
        "trusted.t",
        "user.a",
        "user.colour",
        "user.large",
    ];
    assert_eq!(names("file"), of_file);
    let file = &got.get("file").entry.meta.xattrs;
    assert_eq!(file[2].value, [0, 255, 10]);
    assert_eq!(file[4].value, [b'v'; 3000]);
    assert_eq!(names("sub"), ["system.posix_acl_default"]);
    assert_eq!(names("plain"), ["security.capability"]);
    assert_eq!(names("link"), ["trusted.l"]);
    assert_eq!(names("pipe"), ["trusted.p"]);
    assert_eq!(names(""), ["user.d"]);
}

#[test]
fn hard_links_of_every_type_point_to_the_first_name() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "mkdir b c; echo data > c/first; setfattr -n user.x -v y c/first; ln c/first b/0; ln c/first a
         ln c/first z; mkfifo p; ln p q; ln -s t s; ln -P s t; echo out > ../outside$$; ln ../outside$$ in
         rm ../outside$$; head -c 3000000 /dev/urandom > big; ln big c/big",
    );
    let got = stream(dir.path());
    let link = |to: &str| Kind::HardLink(EntryPath::parse(to.as_bytes()).unwrap());
    assert_eq!(got.get("a").entry.kind, Kind::File);
    assert_eq!(got.get("a").bytes(), b"data\n");
    for path in ["b/0", "c/first", "z"] {
        assert_eq!(got.get(path).entry.kind, link("a"));
        assert_eq!(got.get(path).entry.meta, got.get("a").entry.meta);
        assert_eq!(got.get(path).entry.size, 0);
    }
    assert_eq!(got.get("q").entry.kind, link("p"));
    assert_eq!(got.get("t").entry.kind, link("s"));
    assert_eq!(got.get("c/big").entry.kind, link("big"));
    assert_eq!(
        got.get("big").bytes(),
        std::fs::read(dir.path().join("big")).unwrap()
    );
    assert_eq!(got.get("in").entry.kind, Kind::File);
}

#[test]
fn holes_are_holes_and_zeros_are_data() {
    let dir = tempfile::tempdir().unwrap();
    sh(
        dir.path(),
        "truncate -s 1M all-hole; truncate -s 300K small; truncate -s 20M large; truncate -s 9M ends
         printf middle | dd of=small bs=4096 seek=20 conv=notrunc status=none
         head -c 5M /dev/urandom | dd of=large bs=1M seek=8 conv=notrunc status=none
         printf tail | dd of=ends bs=1M seek=9 conv=notrunc oflag=append status=none
         head -c 200K /dev/zero > zeros",
    );
    let got = stream(dir.path());
    assert_eq!(got.get("all-hole").content, [Piece::Hole(1 << 20)]);
    assert_eq!(got.get("all-hole").entry.extents, Some(Vec::new()));
    let small = got.get("small");
    let extent = Extent {
        offset: 20 * 4096,
        len: 4096,
    };
    assert_eq!(small.entry.extents, Some(vec![extent]));
    assert_eq!(small.content[0], Piece::Hole(20 * 4096));
    let large = &got.get("large").content;
    assert_eq!((large.len(), &large[0]), (3, &Piece::Hole(8 << 20)));
    assert_eq!(got.get("zeros").content, [Piece::Data(vec![0; 200 << 10])]);
    for name in ["all-hole", "small", "large", "ends", "zeros"] {
        let real = std::fs::read(dir.path().join(name)).unwrap();
        assert!(got.get(name).bytes() == real, "{name} differs");
        assert_eq!(got.get(name).outcome, Some(Outcome::Whole));
    }
}

#[test]
fn names_of_any_bytes_and_length() {
    let dir = tempfile::tempdir().unwrap();
    let long = [b'n'; 255];
    for name in [&b"\xff\xfe"[..], b"new\nline", b" ", b"\\", &long] {
        std::fs::File::create(dir.path().join(OsStr::from_bytes(name))).unwrap();
    }
    let got = stream(dir.path());
    for name in [&b"\xff\xfe"[..], b"new\nline", b" ", b"\\", &long] {
        assert!(got.sink.get(name).is_some(), "{name:?}");
    }
    assert_eq!(got.sink.entries.len(), 6);
}

#[test]
fn files_that_say_they_are_empty_are_read_to_their_end() {
    let got = stream(Path::new("/proc/sys/kernel/random"));
    let boot = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(got.get("boot_id").bytes(), boot);
    let got = stream(Path::new("/proc/kallsyms"));
    assert!(got.get("kallsyms").bytes().len() > 1 << 20);
}
