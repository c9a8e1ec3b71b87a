//! Owners, attributes, devices and a full disk: what needs root runs where the tests are root; what an unprivileged user sees runs
//! in a copy of the test program that gave its rights away.

use super::*;

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn with_xattr(mut item: MemoryEntry, name: &str, value: &[u8]) -> MemoryEntry {
    item.entry.meta.xattrs.push(Xattr {
        name: name.as_bytes().to_vec(),
        value: value.to_vec(),
    });
    item
}

fn xattr(at: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 4096];
    let len = rustix::fs::lgetxattr(at, name, value.as_mut_slice()).ok()?;
    value.truncate(len);
    Some(value)
}

#[test]
fn root_restores_owners_devices_and_capabilities() {
    if !root() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut items = vec![
        bare("d", Kind::Directory, 0o2750),
        with_xattr(
            file("d/owned", 0o6755, b"x"),
            "security.capability",
            &capability,
        ),
        bare("link", Kind::Symlink(b"d".to_vec()), 0o777),
        bare("null", Kind::CharDevice(1, 3), 0o666),
        bare("loop", Kind::BlockDevice(7, 9), 0o660),
    ];
    for item in &mut items {
        (item.entry.meta.uid, item.entry.meta.gid) = (3_000_000_000, 4242);
    }
    // Archive order: any.
    let warnings = fill(tmp.path(), items, Order::Archive);
    assert_eq!(warnings, Vec::<String>::new());
    for (name, mode) in [
        ("d", 0o2750),
        ("d/owned", 0o6755),
        ("link", 0o777),
        ("null", 0o666),
        ("loop", 0o660),
    ] {
        let meta = fs::symlink_metadata(tmp.path().join(name)).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (3_000_000_000, 4242), "{name}");
        assert_eq!(meta.mode() & 0o7777, mode, "{name}");
    }
    let shown = output("getcap", &[], &tmp.path().join("d/owned"));
    assert!(shown.contains("cap_net_raw=ep"), "{shown}");
    let null = fs::metadata(tmp.path().join("null")).unwrap();
    assert_eq!(null.rdev(), rustix::fs::makedev(1, 3));
}

#[test]
fn without_the_owner_there_are_no_set_id_bits() {
    let tmp = tempfile::tempdir().unwrap();
    let mut items = vec![
        file("mine", 0o4755, b"x"),
        file("other", 0o6755, b"x"),
        bare("dev", Kind::CharDevice(1, 3), 0o666),
    ];
    (items[1].entry.meta.uid, items[1].entry.meta.gid) = (4242, 4242);
    let options = Options {
        owner: Owner::Skip,
        devices: false,
    };
    let warnings = fill_with(tmp.path(), items, Order::Archive, options, false);
    let mode = |name: &str| fs::metadata(tmp.path().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("mine"), mode("other")), (0o4755, 0o755));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("'other'") && warnings[1].contains("'dev'"));
    assert!(!tmp.path().join("dev").exists());
}

#[test]
fn owners_by_name_are_this_machines() {
    let tmp = tempfile::tempdir().unwrap();
    let mut items = vec![file("known", 0o644, b""), file("unknown", 0o644, b"")];
    for item in &mut items {
        let meta = &mut item.entry.meta;
        (meta.user, meta.group) = (b"nobody of that name".to_vec(), b"none".to_vec());
    }
    let meta = &mut items[0].entry.meta;
    (meta.uid, meta.gid) = (77, 88);
    (meta.user, meta.group) = (b"root".to_vec(), b"root".to_vec());
    let options = Options {
        owner: Owner::ByName,
        devices: false,
    };
    let warnings = fill_with(tmp.path(), items, Order::Walk, options, false);
    let meta = fs::metadata(tmp.path().join("known")).unwrap();
    if root() {
        assert_eq!((meta.uid(), meta.gid()), (0, 0));
        assert_eq!(warnings, Vec::<String>::new());
    } else {
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }
}

#[test]
fn acls_are_restored_and_never_inherited() {
    let tmp = tempfile::tempdir().unwrap();
    let donor = tmp.path().join("donor");
    fs::write(&donor, b"").unwrap();
    output("setfacl", &["-m", "u:1001:rwx,g::-,m:rw"], &donor);
    let access = xattr(&donor, "system.posix_acl_access").unwrap();
    let target = tmp.path().join("target");
    fs::create_dir(&target).unwrap();
    output("setfacl", &["-d", "-m", "u:1002:rwx"], &target);
    let default = xattr(&target, "system.posix_acl_default").unwrap();
    let items = vec![
        with_xattr(
            bare("d", Kind::Directory, 0o755),
            "system.posix_acl_default",
            &default,
        ),
        file("d/plain", 0o640, b"x"),
        bare("d/sub", Kind::Directory, 0o750),
        file("d/sub/deep", 0o604, b"x"),
        with_xattr(file("has", 0o664, b"x"), "system.posix_acl_access", &access),
        bare("pipe", Kind::Fifo, 0o622),
    ];
    for order in [Order::Walk, Order::Archive] {
        let target = target.join(format!("{order:?}"));
        assert_eq!(fill(&target, items.clone(), order), Vec::<String>::new());
        for (name, mode) in [
            ("d", 0o755),
            ("d/plain", 0o640),
            ("d/sub", 0o750),
            ("d/sub/deep", 0o604),
            ("has", 0o664),
            ("pipe", 0o622),
        ] {
            let at = target.join(name);
            let meta = fs::metadata(&at).unwrap();
            assert_eq!(meta.mode() & 0o7777, mode, "{name}");
            let want = (name == "has").then(|| access.clone());
            assert_eq!(xattr(&at, "system.posix_acl_access"), want, "{name}");
            let want = (name == "d").then(|| default.clone());
            assert_eq!(xattr(&at, "system.posix_acl_default"), want, "{name}");
        }
    }
}

#[test]
fn an_attribute_that_is_refused_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let item = with_xattr(file("f", 0o644, b"x"), "no-namespace.a", b"1");
    let item = with_xattr(item, "no-namespace.b", b"1");
    let link = bare("l", Kind::Symlink(b"f".to_vec()), 0o777);
    let link = with_xattr(link, "user.not-on-links", b"1");
    let warnings = fill(tmp.path(), vec![item, link], Order::Walk);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("'f'") && warnings[0].contains("no-namespace.b"));
    assert!(warnings[1].contains("'l'") && warnings[1].contains("user.not-on-links"));
    assert_eq!(fs::read(tmp.path().join("f")).unwrap(), b"x");
}

#[test]
fn names_that_cannot_be_are_left_out_and_the_rest_goes_on() {
    let tmp = tempfile::tempdir().unwrap();
    fs::create_dir(tmp.path().join("dir")).unwrap();
    fs::write(tmp.path().join("dir/inside"), b"").unwrap();
    let items = vec![
        file("dir", 0o644, b"a file where a directory is"),
        bare("dir/inside/below", Kind::Directory, 0o755),
        bare("hard", Kind::HardLink(path("not/there")), 0o644),
        file("last", 0o644, b"x"),
    ];
    let options = Options::default();
    let warnings = fill_with(tmp.path(), items, Order::Archive, options, true);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    for (warning, about) in warnings
        .iter()
        .zip(["'dir'", "'dir/inside/below'", "'hard'"])
    {
        assert!(warning.contains(about), "{warning}");
    }
    assert!(tmp.path().join("last").exists() && tmp.path().join("dir/inside").exists());
    let left = fs::read_dir(tmp.path()).unwrap().count();
    assert_eq!(left, 2, "nothing unfinished stays");
}

#[test]
fn a_full_disk_ends_everything_and_is_named() {
    if !root() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    output(
        "mount",
        &["-t", "tmpfs", "-o", "size=1m", "none"],
        tmp.path(),
    );
    let monitor: Arc<dyn Monitor> = Arc::new(Recorder::default());
    let target = tmp.path().join("out");
    let options = Options::default();
    let mut sink = DirSink::create(&target, options, Order::Walk, false, &monitor).unwrap();
    let items = vec![file("big/enough", 0o600, &vec![7; 2 << 20])];
    let error = MemorySource::new(items, Order::Walk).stream(&mut sink);
    drop(sink);
    let left = target.join("big/enough").exists();
    output("umount", &["-l"], tmp.path());
    let error = error.unwrap_err();
    assert_eq!(error.class(), Class::Full);
    assert!(error.to_string().contains("'big/enough'"), "{error}");
    assert!(!left);
}

/// Runs this very test program again, one test of it, as a user without rights.
fn as_nobody(test: &str) {
    let program = std::env::current_exe().unwrap();
    // The build directory may be closed to others, so it runs a copy.
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = tmp.path().join("tests");
    // By another process: a test that begins one meanwhile would hold this one's handle for writing, and the copy be busy.
    let copied = Command::new("cp").arg(program).arg(&copy).status();
    assert!(copied.unwrap().success());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["--exact", test, "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}

#[test]
fn an_unprivileged_user_gets_everything_but_owners_and_devices() {
    if root() {
        let here = "export::place::tests::metadata";
        as_nobody(&format!(
            "{here}::an_unprivileged_user_gets_everything_but_owners_and_devices"
        ));
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let mut items = vec![
        bare("capable-dev", Kind::CharDevice(1, 3), 0o666),
        with_xattr(
            file("capable-file", 0o755, b"x"),
            "security.capability",
            b"odd",
        ),
        bare("closed", Kind::Directory, 0o500),
        bare("closed/in", Kind::Directory, 0),
        with_xattr(file("closed/in/f", 0o444, b"x"), "user.a", b"1"),
        with_xattr(file("closed/shut", 0, b"x"), "user.a", b"2"),
        file("group", 0o664, b"x"),
        bare("socket", Kind::Socket, 0o777),
    ];
    for item in &mut items {
        (item.entry.meta.uid, item.entry.meta.gid) = (0, 0);
    }
    let warnings = fill(tmp.path(), items, Order::Walk);
    let place = place(tmp.path());
    let mode = |name: &str| place.lookup(&path(name)).unwrap().unwrap().mode;
    assert_eq!((mode("closed"), mode("closed/in")), (0o500, 0));
    assert_eq!((mode("closed/shut"), mode("group")), (0, 0o664));
    assert_eq!(mode("socket"), 0o777);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("'capable-dev'") && warnings[1].contains("'capable-file'"));
    // What is closed to its owner can be looked into once adopted, and removed.
    place.adopt_dir(&path("closed/in")).unwrap();
    assert_eq!(mode("closed/in/f"), 0o444);
    let value = xattr(&tmp.path().join("closed/in/f"), "user.a");
    assert_eq!(value.unwrap(), b"1");
    place.remove(&path("closed")).unwrap();
    assert!(place.lookup(&path("closed")).unwrap().is_none());
}
