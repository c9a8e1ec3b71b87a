//! Archives that are cut, damaged or lie: an error that says where, in bounded memory, and never a panic.

use std::io::{self, Read};

use super::build::*;
use super::*;
use crate::error::Class;

/// One member of every construction, and where a header may follow.
fn everything() -> (Vec<u8>, Vec<usize>) {
    let many: Vec<(u64, u64)> = (0..30).map(|i| (i * 100, 1)).collect();
    let map = br#"[{"o":1,"l":2}]"#;
    let long = b"/name".repeat(140);
    let members = [
        member("f", b'0', &[1; 700]),
        member("d/", b'5', b""),
        link("s", b'2', "f"),
        link("h", b'1', "f"),
        [
            with(open_gnu("L", b'L', 700), &long),
            member("x", b'0', b"x"),
        ]
        .concat(),
        [with(open_gnu("K", b'K', 700), &long), link("x", b'2', "x")].concat(),
        [
            pax(&[("path", &long), ("mtime", b"1.5")]),
            member("y", b'0', b"y"),
        ]
        .concat(),
        [pax_as(b'g', &[("uname", b"all")]), member("z", b'0', b"z")].concat(),
        old_sparse("old", 4000, &many, &[2; 30]),
        sparse_one("one", 4000, &many, &[3; 30]),
        [
            pax(&[("COCOON.sparse.map", map), ("COCOON.sparse.size", b"9")]),
            member("c", b'0', b"ab"),
        ]
        .concat(),
        with(open_gnu("dump/", b'D', 6), b"Yf\0Nz\0"),
        member("../hidden", b'0', &[4; 600]),
    ];
    let mut all = Vec::new();
    let mut boundaries = Vec::new();
    for member in members {
        all.extend(member);
        boundaries.push(all.len());
    }
    (all, boundaries)
}

#[test]
fn a_cut_anywhere_but_between_members_is_an_error() {
    let (all, mut boundaries) = everything();
    assert_eq!(take(&all).unwrap().summary.entries, 12);
    // A global header alone is no error: it belongs to no member.
    let global = boundaries[7] - 1024;
    boundaries.push(global);
    for len in 0..all.len() {
        let result = take(&all[..len]);
        if boundaries.contains(&len) {
            assert!(result.is_ok(), "cut at the boundary {len}");
            continue;
        }
        let Err(error) = result else {
            panic!("accepted when cut at {len}");
        };
        let expected = if len == 0 {
            Class::NoData
        } else {
            Class::Corrupt
        };
        assert_eq!(error.class(), expected, "{len}: {error}");
        assert!(
            len == 0 || error.to_string().contains("truncated"),
            "{error}"
        );
    }
}

#[test]
fn a_cut_extended_header_is_not_saved_by_end_blocks() {
    let records = pax(&[("path", b"p")]);
    assert_eq!(refused(&tar(&[&records])).class(), Class::Corrupt);
    assert_eq!(refused(&records).class(), Class::Corrupt);
}

#[test]
fn damaged_headers_are_named_by_their_offset() {
    let (mut all, boundaries) = everything();
    all[boundaries[0] + 3] ^= 1;
    let error = refused(&all);
    assert_eq!(error.class(), Class::Corrupt);
    let offset = boundaries[0].to_string();
    assert!(error.to_string().contains(&offset), "{error}");
    assert_eq!(refused(&[b'x'; 2048]).class(), Class::Invalid);
    // After one end block garbage is damage, not garbage.
    let one_end = [&member("f", b'0', b"")[..], &[0; 512], &[b'g'; 512]].concat();
    assert_eq!(refused(&one_end).class(), Class::Corrupt);
}

#[test]
fn sizes_that_lie() {
    let mut bad = open("f", b'0', 0);
    put(&mut bad, 124, "12345678901\0");
    assert!(refused(&with(bad, b"")).to_string().contains("size of 'f'"));
    let mut negative = open_gnu("f", b'0', 0);
    put(&mut negative, 124, base256::<12>(-512));
    assert_eq!(refused(&with(negative, b"")).class(), Class::Corrupt);
    let mut huge = open_gnu("f", b'0', 0);
    put(&mut huge, 124, base256::<12>(i64::MAX));
    assert!(refused(&with(huge, b"")).to_string().contains("truncated"));
    for size in ["9223372036854775808", "-1", "1e3", "0x10"] {
        let records = pax(&[("size", size.as_bytes())]);
        let error = refused(&tar(&[&records, &member("f", b'0', b"")]));
        assert_eq!(error.class(), Class::Corrupt, "{size}");
    }
    for (flag, limit) in [
        (b'x', 64 << 20),
        (b'g', 64 << 20),
        (b'L', 1 << 20),
        (b'K', 1 << 20),
    ] {
        let error = refused(&seal(open("h", flag, limit + 1)));
        assert_eq!(error.class(), Class::Invalid, "{error}");
    }
}

#[test]
fn malformed_records_are_named_by_their_offset() {
    let header = member("h", b'x', b"20 path=short\n");
    let error = refused(&tar(&[
        &member("f", b'0', b""),
        &header,
        &member("g", b'0', b""),
    ]));
    assert!(error.to_string().contains("byte 512 of the tar"), "{error}");
}

/// A file that is sparse by these records.
fn sparse(records: &[(&str, &[u8])], content: &[u8]) -> Vec<u8> {
    tar(&[&pax(records), &member("disk", b'0', content)])
}

#[test]
fn m5_hostile_maps_are_refused() {
    let map = |map: &'static str, size: &'static str| {
        sparse(
            &[
                ("COCOON.sparse.map", map.as_bytes()),
                ("COCOON.sparse.size", size.as_bytes()),
            ],
            b"0123456789",
        )
    };
    assert!(take(&map(r#"[{"o":0,"l":10}]"#, "10")).is_ok());
    for (text, size) in [
        (r#"[{"o":0,"l":5},{"o":4,"l":5}]"#, "100"),
        (r#"[{"o":50,"l":5},{"o":0,"l":5}]"#, "100"),
        (r#"[{"o":-1,"l":10}]"#, "100"),
        (r#"[{"o":95,"l":10}]"#, "100"),
        (r#"[{"o":0,"l":9}]"#, "100"),
        (r#"[{"o":18446744073709551615,"l":10}]"#, "100"),
        (r#"[{"o":0,"l":10}]"#, "9223372036854775808"),
        (r#"[{"o":0,"l":10}]"#, "-1"),
        ("null", "100"),
        ("{}", "100"),
        ("[", "100"),
    ] {
        let error = refused(&map(text, size));
        assert_eq!(error.class(), Class::Corrupt, "{text} {size}: {error}");
    }
    let error = refused(&map(r#"[{"o":95,"l":10}]"#, "100")).to_string();
    assert!(
        error.contains("'disk'") && error.contains("extent 0"),
        "{error}"
    );
    let segments = "{\"o\":0,\"l\":0},".repeat(4_700_000);
    let many = format!("[{}]", segments.trim_end_matches(','));
    let records: &[(&str, &[u8])] = &[
        ("COCOON.sparse.map", many.as_bytes()),
        ("COCOON.sparse.size", b"1"),
    ];
    let error = refused(&sparse(records, b"")).to_string();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn sparse_records_that_contradict_each_other() {
    let one: &[(&str, &[u8])] = &[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0")];
    let cases: &[&[(&str, &[u8])]] = &[
        &[("COCOON.sparse.map", b"null")],
        &[("COCOON.sparse.size", b"5")],
        &[
            ("COCOON.sparse.map", b"null"),
            ("COCOON.sparse.size", b"0"),
            one[0],
        ],
        one,
        &[
            one[0],
            one[1],
            ("GNU.sparse.realsize", b"9"),
            ("GNU.sparse.map", b"0,0"),
        ],
        &[("GNU.sparse.map", b"0,3")],
        &[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,2")],
        &[
            ("GNU.sparse.size", b"9"),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.map", b"0,3"),
        ],
        &[("GNU.sparse.size", b"9"), ("GNU.sparse.offset", b"1")],
        &[("GNU.sparse.size", b"9"), ("GNU.sparse.numbytes", b"1")],
        &[
            ("GNU.sparse.size", b"9"),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.offset", b"1"),
        ],
        &[("GNU.sparse.size", b"-1"), ("GNU.sparse.map", b"0,3")],
    ];
    for records in cases {
        let error = refused(&sparse(records, b"abc"));
        assert_eq!(error.class(), Class::Corrupt, "{records:?}: {error}");
    }
    let global = tar(&[
        &pax_as(b'g', &[("GNU.sparse.size", b"9")]),
        &member("f", b'0', b""),
    ]);
    assert_eq!(refused(&global).class(), Class::Corrupt);
    let newer = sparse(
        &[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"1")],
        b"abc",
    );
    assert_eq!(refused(&newer).class(), Class::Unsupported);
}

#[test]
fn old_and_new_gnu_maps_that_lie() {
    for extents in [
        &[(0, 3), (2, 3)][..],
        &[(0, 7)],
        &[(98, 6)],
        &[(6, 3), (0, 3)],
    ] {
        let old = tar(&[&old_sparse("s", 100, extents, b"abcdef")]);
        let one = tar(&[&sparse_one("s", 100, extents, b"abcdef")]);
        for bytes in [old, one] {
            assert!(refused(&bytes).to_string().contains("'s': "), "{extents:?}");
        }
    }
    // A map that promises more lines than are stored.
    let mut endless = sparse_one("s", 100, &[(0, 3)], b"abc");
    let at = endless.iter().rposition(|b| *b == b'\n').unwrap();
    endless[at - 5..at].copy_from_slice(b"99999");
    assert_eq!(refused(&tar(&[&endless])).class(), Class::Corrupt);
}

#[test]
fn warnings_are_bounded() {
    let odd = member("odd", b'Z', b"").repeat(3000);
    let taken = take(&tar(&[&odd])).unwrap();
    assert_eq!(taken.warnings.len(), 1001);
    assert!(taken.warned("2000 more warnings"));
}

#[test]
fn an_interrupt_ends_the_stream() {
    struct Stops;
    impl Monitor for Stops {
        fn add(&self, _: crate::progress::Count, _: u64) {}
        fn expect(&self, _: crate::progress::Count, _: u64) {}
        fn doing(&self, _: &dyn Fn() -> String) {}
        fn warn(&self, _: &str) {}
        fn note(&self, _: &str) {}
        fn interrupted(&self) -> bool {
            true
        }
    }
    let mut source = TarSource::new(&END[..], TarOptions::default(), Arc::new(Stops));
    let error = source.stream(&mut MemorySink::default()).unwrap_err();
    assert_eq!(error.class(), Class::Interrupted);
}

#[test]
fn a_failing_reader_is_no_truncation() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let head = member("f", b'0', &[1; 2000]);
    let reader = head[..1000].chain(Fails);
    let mut source = TarSource::new(reader, TarOptions::default(), Arc::new(Recorder::default()));
    let error = source.stream(&mut MemorySink::default()).unwrap_err();
    assert_eq!(error.class(), Class::Denied);
}

#[test]
fn flipped_bytes_never_panic_and_never_change_the_stream() {
    let (all, _) = everything();
    let all = tar(&[&all]);
    let mut state = 7_u32;
    let mut random = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(state >> 8).unwrap() % below
    };
    for _ in 0..4000 {
        let mut bad = all.clone();
        for _ in 0..=random(3) {
            let at = random(bad.len());
            bad[at] = u8::try_from(random(256)).unwrap();
        }
        // With checksums made right again, damage reaches what is behind them.
        if random(2) == 0 {
            let (blocks, _) = bad.as_chunks_mut::<512>();
            for block in blocks.iter_mut().filter(|b| b[257..262] == *b"ustar") {
                *block = seal(*block);
            }
        }
        // `take` asserts the law for all that is accepted.
        let _ = take(&bad);
    }
}
