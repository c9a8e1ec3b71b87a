//! Archives as GNU tar, bsdtar and Python's tarfile write them.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::entry::{Extent, Time};

/// Runs a tool that `scripts/install-deps` installs; gives its standard output.
fn run(program: &str, args: &[&str], dir: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|e| panic!("{program} must be installed: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    output.stdout
}

fn long_name() -> String {
    format!("{}/{}", "d".repeat(120), "f".repeat(130))
}

/// A tree with something of everything that needs no privileges.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("t");
    fs::create_dir_all(root.join("sub/empty")).unwrap();
    fs::write(root.join("sub/a"), b"hello").unwrap();
    fs::write(root.join("zero"), b"").unwrap();
    fs::write(root.join("block"), [7; 512]).unwrap();
    fs::write(root.join("big"), vec![9; 3_000_001]).unwrap();
    fs::set_permissions(root.join("block"), fs::Permissions::from_mode(0o4751)).unwrap();
    symlink("sub/a", root.join("link")).unwrap();
    fs::hard_link(root.join("sub/a"), root.join("twin")).unwrap();
    run("mkfifo", &["t/pipe"], dir.path());
    for (name, time) in [("sub/a", "@1600000000.123456789"), ("zero", "@-5.25")] {
        run("touch", &["-d", time, &format!("t/{name}")], dir.path());
    }
    dir
}

/// The same with what v7 and ustar cannot say.
fn long_tree() -> TempDir {
    let dir = tree();
    let root = dir.path().join("t");
    fs::create_dir(root.join("d".repeat(120))).unwrap();
    fs::write(root.join(long_name()), b"deep").unwrap();
    symlink("x".repeat(300), root.join("far")).unwrap();
    fs::write(root.join("gr\u{fc}n \n\u{1f600}"), b"name").unwrap();
    dir
}

/// Compares everything that every dialect can say with the file system.
fn compare(taken: &Taken, dir: &Path, nanoseconds: bool) {
    assert_eq!(taken.warnings, [""; 0]);
    let mut compared = 0;
    for item in &taken.sink.entries {
        let entry = &item.entry;
        let path = dir.join(std::str::from_utf8(entry.path.as_bytes()).unwrap());
        let stat = fs::symlink_metadata(&path).unwrap();
        assert_eq!(entry.meta.mode, stat.mode() & 0o7777, "{}", entry.path);
        assert_eq!((entry.meta.uid, entry.meta.gid), (stat.uid(), stat.gid()));
        let mtime = Time::new(stat.mtime(), u32::try_from(stat.mtime_nsec()).unwrap());
        if nanoseconds {
            assert_eq!(entry.meta.mtime, mtime, "{}", entry.path);
        } else if mtime.seconds >= 0 {
            assert_eq!(entry.meta.mtime.seconds, mtime.seconds, "{}", entry.path);
        }
        match &entry.kind {
            Kind::File => assert!(item.bytes() == fs::read(&path).unwrap(), "{}", entry.path),
            Kind::Directory => assert!(stat.is_dir()),
            Kind::Symlink(target) => {
                let there = fs::read_link(&path).unwrap();
                assert_eq!(target, there.as_os_str().as_encoded_bytes());
            }
            Kind::HardLink(first) => {
                let first = dir.join(std::str::from_utf8(first.as_bytes()).unwrap());
                assert_eq!(fs::metadata(first).unwrap().ino(), stat.ino());
            }
            Kind::Fifo => assert_eq!(stat.mode() & 0o170_000, 0o010_000),
            other => panic!("unexpected {}", other.name()),
        }
        compared += 1;
    }
    let on_disk = run("find", &["t"], dir).split(|b| *b == b'\n').count() - 1;
    // A name with a new line counts twice there.
    let odd = taken.paths().iter().filter(|p| p.contains("\\n")).count();
    assert_eq!(compared, on_disk - odd);
}

#[test]
fn gnu_tar_in_every_format() {
    let (short, long) = (tree(), long_tree());
    for (format, dir) in [
        ("v7", &short),
        ("ustar", &short),
        ("oldgnu", &long),
        ("gnu", &long),
        ("posix", &long),
    ] {
        let option = format!("--format={format}");
        let bytes = if format == "v7" {
            // v7 knows no FIFO, and no time before 1970.
            run("rm", &["-f", "t/pipe", "t/zero"], dir.path());
            let bytes = run("tar", &[&option, "-cf-", "t"], dir.path());
            run("mkfifo", &["t/pipe"], dir.path());
            bytes
        } else {
            run("tar", &[&option, "-cf-", "t"], dir.path())
        };
        let taken = take(&bytes).unwrap_or_else(|e| panic!("{format}: {e}"));
        if format != "v7" {
            compare(&taken, dir.path(), format == "posix");
            assert_eq!(taken.get("t/pipe").entry.kind, Kind::Fifo);
        }
        assert!(taken.summary.end_blocks);
        assert_eq!(
            taken.get("t/sub/a").entry.size + taken.get("t/twin").entry.size,
            5
        );
    }
}

#[test]
fn bsdtar_in_every_format() {
    let (short, long) = (tree(), long_tree());
    // libarchive writes -5.25 seconds as "-6.75", which only libarchive reads as it was meant.
    for dir in [&short, &long] {
        fs::remove_file(dir.path().join("t/zero")).unwrap();
    }
    for (format, dir) in [
        ("ustar", &short),
        ("pax", &long),
        ("gnutar", &long),
        ("rpax", &long),
    ] {
        let bytes = run("bsdtar", &["--format", format, "-cf-", "t"], dir.path());
        let taken = take(&bytes).unwrap_or_else(|e| panic!("{format}: {e}"));
        compare(&taken, dir.path(), format == "pax");
    }
}

#[test]
fn python_in_every_format() {
    let dir = long_tree();
    let script = r#"
import sys, tarfile
name = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}[sys.argv[1]]
t = tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=name, pax_headers={"comment": "all", "gname": "everybody"})
t.add("t", filter=lambda i: None if sys.argv[1] == "ustar" and (len(i.name) > 250 or len(i.linkname) > 99 or i.mtime < 0) else i)
t.close()
"#;
    fs::write(dir.path().join("w.py"), script).unwrap();
    for format in ["ustar", "gnu", "pax"] {
        let bytes = run("python3", &["w.py", format], dir.path());
        let taken = take(&bytes).unwrap_or_else(|e| panic!("{format}: {e}"));
        if format == "ustar" {
            assert_eq!(taken.get("t/big").entry.size, 3_000_001);
            continue;
        }
        // Python rounds times through a float.
        compare(&taken, dir.path(), false);
        let group = &taken.get("t/big").entry.meta.group;
        assert_eq!(group == b"everybody", format == "pax", "{format}");
    }
}

#[test]
fn sparse_files_in_every_dialect() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::create(dir.path().join("s")).unwrap();
    for at in 0..40 {
        use std::os::unix::fs::FileExt;
        let data = vec![u8::try_from(at + 1).unwrap(); 4096];
        file.write_all_at(&data, at * 65_536).unwrap();
    }
    file.set_len(10 << 20).unwrap();
    File::create(dir.path().join("hole"))
        .unwrap()
        .set_len(1 << 20)
        .unwrap();
    let content = fs::read(dir.path().join("s")).unwrap();
    for options in [
        &["--format=oldgnu"][..],
        &["--format=gnu"],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
        &["--format=pax"],
    ] {
        let (program, option) = match options {
            ["--format=pax"] => ("bsdtar", "--read-sparse"),
            _ => ("tar", "-S"),
        };
        let args = [options, &[option, "-cf-", "s", "hole"]].concat();
        let bytes = run(program, &args, dir.path());
        assert!(bytes.len() < 1 << 20, "{options:?}");
        let taken = take(&bytes).unwrap_or_else(|e| panic!("{options:?}: {e}"));
        assert_eq!(taken.warnings, [""; 0]);
        assert_eq!(taken.paths(), ["s", "hole"], "{options:?}");
        let sparse = taken.get("s");
        assert!(sparse.bytes() == content, "{options:?}");
        let extents = sparse.entry.extents.as_ref().unwrap();
        assert_eq!(extents.len(), 40);
        assert_eq!(
            extents[1],
            Extent {
                offset: 65_536,
                len: 4096
            }
        );
        let hole = taken.get("hole");
        assert_eq!(hole.entry.extents.as_deref(), Some(&[][..]));
        assert_eq!(hole.content, [crate::entry::Piece::Hole(1 << 20)]);
    }
}

/// The map of such a member has more slots than its header; the blocks with the others were taken for a damaged header.
#[test]
fn a_sparse_member_that_is_not_shown_is_passed_over_with_its_map() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("in")).unwrap();
    let script = "for n in $(seq 60); do printf x | dd of=../s bs=1 seek=${n}00000 conv=notrunc status=none; done
        echo after > a; tar --format=gnu -S -P -cf- ../s a";
    let bytes = run("sh", &["-c", script], &dir.path().join("in"));
    // A header and three blocks of its map: the fault needs them.
    assert!(bytes[482] != 0 && bytes[512 + 504] != 0);
    let taken = take(&bytes).unwrap();
    assert_eq!(taken.paths(), ["a"]);
    assert_eq!(taken.get("a").bytes(), b"after\n");
    assert!(taken.warned("'../s' is kept in the stream but not shown"));
}

#[test]
fn attributes_and_acls() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), b"x").unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    run(
        "setfattr",
        &["-n", "user.one", "-v", "0x00ff3d0a", "f"],
        dir.path(),
    );
    run("setfattr", &["-n", "user.empty", "f"], dir.path());
    run("setfacl", &["-m", "u:1234:rw,g:77:r", "f"], dir.path());
    run("setfacl", &["-d", "-m", "u:1234:rwx", "d"], dir.path());
    let kernel = |path: &str, name: &str| {
        let mut value = vec![0; 4096];
        let len = rustix::fs::getxattr(dir.path().join(path), name, &mut value[..]).unwrap();
        value.truncate(len);
        value
    };
    let gnu: &[&str] = &["--xattrs", "--acls", "--format=posix", "-cf-", "f", "d"];
    let numeric: &[&str] = &[
        "--numeric-owner",
        "--xattrs",
        "--acls",
        "--format=posix",
        "-cf-",
        "f",
        "d",
    ];
    let bsd: &[&str] = &["--xattrs", "--acls", "--format=pax", "-cf-", "f", "d"];
    for (program, args) in [("tar", gnu), ("tar", numeric), ("bsdtar", bsd)] {
        let taken = take(&run(program, args, dir.path())).unwrap();
        assert_eq!(taken.warnings, [""; 0], "{program}");
        let meta = &taken.get("f").entry.meta;
        let names: Vec<_> = meta.xattrs.iter().map(|x| x.name.as_slice()).collect();
        let access = &b"system.posix_acl_access"[..];
        assert_eq!(names, [access, b"user.empty", b"user.one"], "{program}");
        assert_eq!(meta.xattrs[0].value, kernel("f", "system.posix_acl_access"));
        assert_eq!(meta.xattrs[2].value, [0, 255, b'=', b'\n']);
        let xattrs = &taken.get("d").entry.meta.xattrs;
        assert_eq!(xattrs[0].name, b"system.posix_acl_default");
        assert_eq!(xattrs[0].value, kernel("d", "system.posix_acl_default"));
    }
}

/// bsdtar's header has the bits of the group, where a file with an ACL shows its mask: the wrong ones were shown.
#[test]
fn the_mode_of_a_file_with_an_acl_has_its_mask() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), b"x").unwrap();
    fs::set_permissions(dir.path().join("f"), fs::Permissions::from_mode(0o2755)).unwrap();
    run("setfacl", &["-m", "u:1234:rwx", "f"], dir.path());
    let mode = fs::metadata(dir.path().join("f")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o2775);
    for (program, args) in [
        ("tar", ["--acls", "--format=posix", "-cf-", "f"]),
        ("bsdtar", ["--acls", "--format=pax", "-cf-", "f"]),
    ] {
        let taken = take(&run(program, &args, dir.path())).unwrap();
        assert_eq!(taken.get("f").entry.meta.mode, mode, "{program}");
    }
}

#[test]
fn incremental_dumps_labels_and_volumes() {
    let dir = tree();
    for format in ["--format=gnu", "--format=posix"] {
        let args = [format, "-g", format, "-V", "weekly", "-cf-", "t"];
        let taken = take(&run("tar", &args, dir.path())).unwrap();
        assert!(taken.get("t/sub").entry.is_directory());
        assert_eq!(taken.get("t/block").bytes(), [7; 512]);
        assert_eq!(taken.warned("volume label"), format == "--format=gnu");
    }
    // The second volume begins in the middle of the big file.
    let script = "tar -c --format=gnu -M -L 1500 -f v1 -f v2 -f v3 t";
    run("sh", &["-c", script], dir.path());
    let taken = take(&fs::read(dir.path().join("v2")).unwrap()).unwrap();
    assert!(taken.warned("another volume"), "{:?}", taken.warnings);
    assert_eq!(taken.summary.hidden, 1);
}

#[test]
fn archives_behind_each_other() {
    let dir = tree();
    let one = run("tar", &["-cf-", "t/sub"], dir.path());
    let two = run("bsdtar", &["-cf-", "t/block"], dir.path());
    let taken = take(&[&one[..], &two, &one].concat()).unwrap();
    assert_eq!(taken.summary.archives, 3);
    assert!(taken.paths().contains(&"t/block".to_owned()));
    assert_eq!(taken.notes.len(), 1);
    assert_eq!(taken.warnings, [""; 0]);
}

#[test]
fn absolute_names_and_the_root() {
    let dir = tree();
    let path = dir.path().join("t/sub/a");
    let bytes = run("tar", &["-P", "-cf-", path.to_str().unwrap()], dir.path());
    let taken = take(&bytes).unwrap();
    assert_eq!(
        taken.paths(),
        [path.to_str().unwrap().trim_start_matches('/')]
    );
    assert!(taken.notes[0].contains("leading slashes"));
    let taken = take(&run("tar", &["-C", "t", "-cf-", "."], dir.path())).unwrap();
    assert_eq!(
        taken.sink.entries[0].entry.path,
        crate::entry::EntryPath::root()
    );
    assert_eq!(taken.get("block").bytes(), [7; 512]);
}
