//! What each dialect means, one small archive at a time.

use super::build::*;
use super::*;
use crate::entry::{EntryPath, Extent, Outcome, Piece, Time, Want};

#[test]
fn v7_has_no_magic_and_a_slash_for_directories() {
    let mut dir = open("old/", 0, 0);
    let mut file = open("old/f", 0, 3);
    for header in [&mut dir, &mut file] {
        header[257..].fill(0);
        // Whatever stands behind the link name belongs to nobody.
        put(header, 300, "junk");
        put(header, 345, "junk");
    }
    let taken = take(&tar(&[&with(dir, b""), &with(file, b"abc")])).unwrap();
    assert!(taken.get("old").entry.is_directory());
    let file = taken.get("old/f");
    assert_eq!(file.bytes(), b"abc");
    assert_eq!(file.entry.meta.user, b"");
    assert_eq!((file.entry.meta.uid, file.entry.meta.gid), (1000, 100));
}

#[test]
fn signed_checksums_are_accepted() {
    let mut header = open("caf\u{e9}", b'0', 0);
    header[148..156].fill(b' ');
    let sum: i32 = header.iter().map(|b| i32::from(b.cast_signed())).sum();
    put(&mut header, 148, format!("{sum:06o}\0 "));
    let taken = take(&tar(&[&header])).unwrap();
    assert_eq!(taken.get("caf\u{e9}").entry.size, 0);
}

#[test]
fn prefixes_of_every_dialect() {
    let mut ustar = open("f", b'0', 0);
    put(&mut ustar, 345, [b'p'; 155]);
    let mut star = open("f", b'0', 0);
    put(&mut star, 345, "star");
    put(&mut star, 476, "00000000011 ");
    put(&mut star, 488, "00000000012 ");
    put(&mut star, 508, "tar\0");
    let mut gnu = open_gnu("times", b'0', 0);
    put(&mut gnu, 345, "00000000013\0");
    put(&mut gnu, 357, base256::<12>(-1));
    let mut go = open_gnu("f", b'0', 0);
    put(&mut go, 345, "written/by/old/go");
    let all = [ustar, star, gnu, go]
        .map(|header| with(header, b""))
        .concat();
    let taken = take(&tar(&[&all])).unwrap();
    taken.get(&format!("{}/f", "p".repeat(155)));
    taken.get("written/by/old/go/f");
    let meta = &taken.get("star/f").entry.meta;
    assert_eq!(
        (meta.atime, meta.ctime),
        (Some(Time::new(9, 0)), Some(Time::new(10, 0)))
    );
    let meta = &taken.get("times").entry.meta;
    assert_eq!(
        (meta.atime, meta.ctime),
        (Some(Time::new(11, 0)), Some(Time::new(-1, 0)))
    );
}

#[test]
fn binary_numbers() {
    let mut header = open_gnu("f", b'0', 0);
    put(&mut header, 108, base256::<8>(4_000_000_000));
    put(&mut header, 116, base256::<8>(5_000_000_000));
    put(&mut header, 124, base256::<12>(5));
    put(&mut header, 136, base256::<12>(-86_400));
    let taken = take(&tar(&[&with(header, b"12345")])).unwrap();
    let file = taken.get("f");
    assert_eq!(file.bytes(), b"12345");
    assert_eq!(file.entry.meta.mtime, Time::new(-86_400, 0));
    assert_eq!(
        (file.entry.meta.uid, file.entry.meta.gid),
        (4_000_000_000, 65534)
    );
    assert!(taken.warned("group 5000000000"), "{:?}", taken.warnings);
}

#[test]
fn fields_that_are_no_numbers_are_told() {
    let mut header = open("f", b'0', 0);
    put(&mut header, 100, "rw-r--r-");
    put(&mut header, 136, "yesterday\0\0\0");
    let mut suid = open("g", b'0', 0);
    put(&mut suid, 100, "0106755\0");
    let taken = take(&tar(&[&with(header, b""), &with(suid, b"")])).unwrap();
    assert_eq!(taken.get("f").entry.meta.mode, 0);
    assert_eq!(taken.get("g").entry.meta.mode, 0o6755);
    assert!(taken.warned("'f': its mode field") && taken.warned("'f': its time field"));
    assert_eq!(taken.warnings.len(), 2);
}

#[test]
fn long_names_and_the_records_that_win_over_them() {
    let long = format!("{}\0", "a/".repeat(300));
    let names = [
        with(
            open_gnu("././@LongLink", b'L', long.len() as u64),
            long.as_bytes(),
        ),
        with(open_gnu("././@LongLink", b'K', 7), b"target\0"),
    ]
    .concat();
    let records = pax(&[("path", b"from/pax"), ("linkpath", b"")]);
    let all = tar(&[
        &names,
        &link("x", b'2', "y"),
        &names,
        &records,
        &link("x", b'2', "y"),
    ]);
    let taken = take(&all).unwrap();
    assert_eq!(taken.paths(), [long[..599].to_owned(), "from/pax".into()]);
    for item in &taken.sink.entries {
        assert_eq!(item.entry.kind, Kind::Symlink(b"target".to_vec()));
    }
}

#[test]
fn global_records_hold_until_replaced() {
    let all = tar(&[
        &pax_as(
            b'g',
            &[("uname", b"all"), ("mtime", b"-1.5"), ("comment", b"0123")],
        ),
        &member("one", b'0', b""),
        &pax(&[("uname", b"own"), ("gid", b"7"), ("mtime", b"")]),
        &member("two", b'0', b""),
        &pax_as(b'g', &[("uname", b"")]),
        &member("three", b'0', b""),
    ]);
    let taken = take(&all).unwrap();
    let meta = |path| &taken.get(path).entry.meta;
    assert_eq!((&meta("one").user[..], meta("one").gid), (&b"all"[..], 100));
    assert_eq!(meta("one").mtime, Time::new(-2, 500_000_000));
    assert_eq!((&meta("two").user[..], meta("two").gid), (&b"own"[..], 7));
    assert_eq!(meta("two").mtime, Time::new(0o14_000_000_000, 0));
    assert_eq!(meta("three").user, b"joe");
    assert_eq!(meta("three").mtime, Time::new(-2, 500_000_000));
}

#[test]
fn sizes_from_records() {
    let mut header = open("f", b'0', 0);
    put(&mut header, 124, "77777777777\0");
    let taken = take(&tar(&[&pax(&[("size", b"3")]), &with(header, b"abc")])).unwrap();
    assert_eq!(taken.get("f").bytes(), b"abc");
}

#[test]
fn types_old_and_odd() {
    let mut device = open("dev", b'3', 0);
    put(&mut device, 329, "0000010\0");
    put(&mut device, 337, "0000377\0");
    let mut big = open("bigdev", b'4', 0);
    put(&mut big, 329, "0000001\0");
    let mut sized = open("dir", b'5', 0);
    put(&mut sized, 124, "00000123456\0");
    let all = tar(&[
        &with(device, b""),
        &pax(&[("SCHILY.devminor", b"1048575")]),
        &with(big, b""),
        &with(sized, b""),
        &member("contiguous", b'7', b"c"),
        &member("what", b'Z', b"unknown"),
        &member("acl", b'A', b"solaris"),
        &pax_as(b'X', &[("path", b"solaris")]),
        &member("x", b'0', b"s"),
        &member("slash/", b'0', b"kept"),
        &member("pipe", b'6', b""),
    ]);
    let taken = take(&all).unwrap();
    assert_eq!(taken.get("dev").entry.kind, Kind::CharDevice(8, 255));
    assert_eq!(
        taken.get("bigdev").entry.kind,
        Kind::BlockDevice(1, 1_048_575)
    );
    assert!(taken.get("dir").entry.is_directory());
    assert_eq!(taken.get("contiguous").bytes(), b"c");
    assert_eq!(taken.get("what").bytes(), b"unknown");
    assert_eq!(taken.get("solaris").bytes(), b"s");
    assert!(taken.get("slash").entry.is_directory());
    assert_eq!(taken.get("pipe").entry.kind, Kind::Fifo);
    assert!(taken.warned("'what': its type 'Z' is unknown"));
    assert!(taken.warned("'acl' is kept in the stream but not shown"));
    assert!(taken.warned("'slash/': it is a directory with content"));
    assert_eq!((taken.warnings.len(), taken.summary.hidden), (3, 1));
}

#[test]
fn hard_links_with_and_without_content() {
    let first = member("first", b'0', b"same");
    let sized = |gnu: bool| {
        let mut header = if gnu {
            open_gnu("l", b'1', 4)
        } else {
            open("l", b'1', 4)
        };
        put(&mut header, 157, "./first");
        header
    };
    let bare = |gnu| seal(sized(gnu)).to_vec();
    let last = member("last", b'0', b"z");
    // The size is only the linked file's: GNU by rule, ustar by what follows.
    for archive in [
        tar(&[&first, &bare(true), &last]),
        tar(&[&first, &bare(false), &last]),
        tar(&[&first, &last, &bare(false)]),
    ] {
        let taken = take(&archive).unwrap();
        let target = EntryPath::parse(b"first").unwrap();
        assert_eq!(taken.get("l").entry.kind, Kind::HardLink(target));
        assert_eq!(taken.get("last").bytes(), b"z");
    }
    // The content is there: ustar by what follows, PAX by rule, even when it looks like the end.
    let zeros = with(sized(false), &[0; 4]);
    for archive in [
        tar(&[&first, &with(sized(false), b"same"), &last]),
        tar(&[&first, &pax(&[("mtime", b"1")]), &zeros, &last]),
    ] {
        let taken = take(&archive).unwrap();
        assert_eq!(taken.get("l").bytes().len(), 4);
        assert!(taken.warned("hard link with content"));
        assert_eq!(taken.get("last").bytes(), b"z");
    }
}

#[test]
fn names_without_a_place_stay_in_the_stream() {
    let wide = format!("d/{}", "x".repeat(256));
    let all = tar(&[
        &member("../up", b'0', b"1"),
        &member("a/../../b", b'5', b""),
        &member("", b'0', b"2"),
        &member("./.", b'0', b"3"),
        &pax(&[("path", wide.as_bytes())]),
        &member("x", b'0', &[4; 5000]),
        &pax(&[("path", b"nul\0byte")]),
        &member("x", b'0', b"5"),
        &link("h", b'1', "../../etc/passwd"),
        &link("h", b'1', "."),
        &link("s", b'2', ""),
        &member("\x1b[2J/..", b'0', b"6"),
        &member("good", b'0', b"7"),
    ]);
    let taken = take(&all).unwrap();
    assert_eq!(taken.paths(), ["good"]);
    assert_eq!(taken.summary.hidden, 10);
    assert_eq!(taken.warnings.len(), 10);
    assert!(taken.warned("'../up' is kept in the stream but not shown"));
    assert!(taken.warned("'\\u{1b}[2J/..'"), "{:?}", taken.warnings);
}

#[test]
fn attributes_in_every_spelling() {
    let all = tar(&[
        &pax(&[
            ("SCHILY.xattr.user.z", b"raw\n\0="),
            ("LIBARCHIVE.xattr.user.z", b"AAAA"),
            ("LIBARCHIVE.xattr.user.a%20b", b"/+8"),
            ("SCHILY.xattr.user.empty", b""),
            ("RHT.security.selinux", b"system_u:object_r:etc_t:s0"),
            ("SCHILY.acl.access", b"user::rw-,group::r--,other::r--"),
            (
                "SCHILY.acl.default",
                b"user::rwx,user:joe:r--:9,group::r--,mask::r--,other::---",
            ),
            ("SCHILY.dev", b"77"),
        ]),
        &member("f", b'0', b""),
        &pax(&[
            (
                "SCHILY.acl.access",
                b"user::rw-,user:joe:r--,group::r--,mask::r--,other::r--",
            ),
            ("SCHILY.xattr.user.big", &vec![b'x'; 70_000]),
            ("LIBARCHIVE.xattr.user.bad", b"!!"),
            ("mtime", b"noon"),
        ]),
        &member("g", b'0', b""),
    ]);
    let taken = take(&all).unwrap();
    let xattrs = &taken.get("f").entry.meta.xattrs;
    let names: Vec<_> = xattrs
        .iter()
        .map(|x| String::from_utf8_lossy(&x.name))
        .collect();
    let expected = [
        "security.selinux",
        "system.posix_acl_default",
        "user.a b",
        "user.empty",
        "user.z",
    ];
    assert_eq!(names, expected);
    assert_eq!(xattrs[0].value, b"system_u:object_r:etc_t:s0\0");
    assert_eq!(xattrs[2].value, b"\xff\xef");
    assert_eq!(xattrs[4].value, b"raw\n\0=");
    assert!(taken.get("g").entry.meta.xattrs.is_empty());
    assert_eq!(taken.warnings.len(), 4, "{:?}", taken.warnings);
    assert!(taken.warnings.iter().all(|w| w.starts_with("'g': ")));
}

#[test]
fn cocoon_sparse_records() {
    let map = br#"[{"o":4096,"l":5},{"o":8192,"l":3}]"#;
    let all = tar(&[
        &pax(&[("COCOON.sparse.map", map), ("COCOON.sparse.size", b"10000")]),
        &member("cow.raw", b'0', b"HELLObye"),
        &pax(&[
            ("COCOON.sparse.size", b"1099511627776"),
            ("COCOON.sparse.map", b"null"),
        ]),
        &member("empty.raw", b'0', b""),
    ]);
    let monitor = Arc::new(Recorder::default());
    let mut source = TarSource::new(&all[..], TarOptions::default(), monitor);
    let mut sink = Checked::new(MemorySink::default(), Order::Archive);
    source.stream(&mut sink).unwrap();
    let sink = sink.finish().unwrap();
    assert!(sink.stream == all);
    let disk = sink.get(b"cow.raw").unwrap();
    let extents = [(4096, 5), (8192, 3)].map(|(offset, len)| Extent { offset, len });
    assert_eq!(disk.entry.extents.as_deref(), Some(&extents[..]));
    assert_eq!(disk.entry.size, 10_000);
    assert_eq!(disk.content[1], Piece::Data(b"HELLO".to_vec()));
    assert_eq!(disk.content[4], Piece::Hole(10_000 - 8195));
    let empty = sink.get(b"empty.raw").unwrap();
    assert_eq!(empty.content, [Piece::Hole(1 << 40)]);
    assert_eq!(empty.entry.extents.as_deref(), Some(&[][..]));
}

#[test]
fn sparse_maps_of_many_blocks() {
    let extents: Vec<(u64, u64)> = (0..300).map(|i| (i * 1000, 10)).collect();
    let content: Vec<u8> = (0..=255).cycle().take(3000).collect();
    let old = old_sparse("old", 300_000, &extents, &content);
    let one = sparse_one("one", 300_000, &extents, &content);
    let taken = take(&tar(&[&old, &one, &member("after", b'0', b"x")])).unwrap();
    assert_eq!(taken.paths(), ["old", "one", "after"]);
    assert_eq!(taken.get("old").content, taken.get("one").content);
    assert_eq!(taken.get("old").bytes()[299_000..299_010], content[2990..]);
}

/// No tool at hand writes it. Old star has its first slots in the header, newer star all of them behind it.
#[test]
fn sparse_members_of_star_are_passed_over_with_their_maps() {
    let slots = |count: usize| b"00000000000\x0000000000001\0".repeat(count);
    for (here, blocks) in [(4, 0), (4, 2), (0, 1), (0, 3)] {
        let mut header = open("s", b'S', 3);
        put(&mut header, 508, "tar\0");
        put(&mut header, 356, slots(here));
        header[355] = u8::from(here > 0 && blocks > 0);
        let mut bytes = seal(header).to_vec();
        for left in (0..blocks).rev() {
            let mut block = [0; 512];
            put(&mut block, 0, slots(21));
            block[504] = u8::from(left > 0);
            bytes.extend_from_slice(&block);
        }
        bytes.extend(padded(b"abc"));
        let taken = take(&tar(&[&bytes, &member("after", b'0', b"x")])).unwrap();
        assert_eq!(taken.paths(), ["after"], "{here} {blocks}");
        assert!(taken.warned("dialect of star"));
    }
}

#[test]
fn ends_of_every_kind() {
    let one = member("f", b'0', b"x");
    let note = |bytes: &[u8]| {
        let taken = take(bytes).unwrap();
        assert_eq!(
            (taken.paths(), taken.warnings),
            (vec!["f".to_owned()], vec![])
        );
        (taken.summary.end_blocks, taken.notes.join(""))
    };
    assert_eq!(note(&tar(&[&one])), (true, String::new()));
    let single = [&one[..], &[0; 512]].concat();
    assert_eq!(
        note(&single),
        (false, "the tar has one end block instead of two".into())
    );
    let odd = [&one[..], &[0; 10_000]].concat();
    assert_eq!(note(&odd), (true, String::new()));
    let taken = take(&[0; 10_240]).unwrap();
    assert!(taken.paths().is_empty() && taken.summary.end_blocks);
    assert_eq!(taken.summary.archives, 1);
}

/// It was a note, which --quiet hides: an archive that was cut right there was taken without a word.
#[test]
fn an_archive_without_its_end_is_warned_about() {
    let taken = take(&member("f", b'0', b"x")).unwrap();
    assert_eq!(taken.paths(), ["f"]);
    assert!(!taken.summary.end_blocks && taken.warned("no end blocks"));
}

#[test]
fn what_follows_the_end_is_kept_and_told() {
    let archive = tar(&[&member("f", b'0', b"x")]);
    for garbage in [&b"!"[..], &[b'g'; 512], &[b'g'; 5000]] {
        let bytes = [&archive[..], &[0; 3000], garbage, &[0; 7]].concat();
        let taken = take(&bytes).unwrap();
        let at = (archive.len() + 3000) / 512 * 512;
        assert_eq!(taken.summary.trailing_bytes, (bytes.len() - at) as u64);
        assert!(taken.warned("after the end of the tar"));
    }
    // A block of zeros between members is no end.
    let apart = [member("a", b'0', b""), vec![0; 512], member("b", b'0', b"")].concat();
    let taken = take(&tar(&[&apart])).unwrap();
    assert_eq!(taken.paths(), ["a", "b"]);
}

#[test]
fn content_that_the_sink_declines_is_passed_over() {
    struct Declines(Vec<EntryPath>);
    impl Sink for Declines {
        fn entry(&mut self, entry: &crate::entry::Entry) -> Result<Want> {
            self.0.push(entry.path.clone());
            Ok(Want::Skip)
        }
        fn data(&mut self, _: &[u8]) -> Result<()> {
            Err(Error::invalid("data"))
        }
        fn hole(&mut self, _: u64) -> Result<()> {
            Err(Error::invalid("hole"))
        }
        fn end(&mut self, _: Outcome) -> Result<()> {
            Err(Error::invalid("end"))
        }
        fn literal(&mut self, _: &[u8]) -> Result<()> {
            Ok(())
        }
    }
    let sparse = old_sparse("s", 100, &[(10, 3)], b"abc");
    let archive = tar(&[&member("f", b'0', b"x"), &sparse]);
    let monitor = Arc::new(Recorder::default());
    let mut source = TarSource::new(&archive[..], TarOptions::default(), monitor);
    let mut sink = Declines(Vec::new());
    source.stream(&mut sink).unwrap();
    assert_eq!(sink.0.len(), 2);
    assert!(source.stream(&mut sink).is_err());
}
