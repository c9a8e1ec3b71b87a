//! Everything about names, attributes and metadata, seen through the mount with ordinary tools.

use std::os::unix::fs::MetadataExt;

use crate::fixture::Fixture;
use repo::mount::{Options, View};
use repo::repository::Cutting;
use repo::vfs::Owner;

/// One of everything.
const SOURCE: &str = r#"
cd source
mkdir -p dir/sub deep/$(printf 'd/%.0s' {1..60}) many
echo hello > dir/file
chmod 4755 dir/file
ln dir/file dir/sub/link
ln -s ../nowhere dir/symlink
ln -s "$(printf 'x%.0s' {1..1000})" long-link
mkfifo pipe
mknod null c 1 3
mknod disk b 259 1048575
python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
truncate -s 0 empty
touch "$(printf 'n%.0s' {1..255})"
printf x > $'bytes-\xff\x01\n'
touch -d '1969-12-31 23:59:58.75 UTC' old
touch -d '2038-02-01 00:00:00.123456789 UTC' new
setfattr -n user.note -v 'some text' dir/file
setfattr -n trusted.t -v 0x00ff dir
setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 old
setfacl -m u:65534:r,g:33:rw dir/file
setfacl -d -m u:1:rwx dir
chown 1000:1001 dir/file new
chown -h 5:6 dir/symlink
for i in $(seq 3000); do echo > many/name-$i; done
chmod 1777 many
touch -d '2001-02-03 04:05:06 UTC' dir
"#;

/// What `find` says of everything but the sizes of directories.
const LIST: &str = r"find . -type d -printf '%P %y %m %n %U %G %T@\n' , ! -type d -printf '%P %y %m %n %U %G %s %T@ %l\n' | LC_ALL=C sort";

#[test]
fn a_snapshot_looks_like_its_source() {
    let fixture = Fixture::new();
    fixture.shell(SOURCE);
    fixture.ingest("all", Cutting::File);
    let mounted = fixture.mount_newest();
    for look in [
        LIST,
        "getfattr -R -h -d -m - -e hex . | LC_ALL=C sort",
        "find . -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n -P",
        r"find . -type f -print0 | sort -z | xargs -0 sha256sum",
        r"find . \( -type c -o -type b \) -exec stat -c '%n %t %T' {} + | sort",
        "ls -f many | LC_ALL=C sort",
    ] {
        let source = fixture.shell(&format!("cd source; {look}"));
        let shown = fixture.shell(&format!("cd mnt; {look}"));
        assert!(source == shown, "{look}\n{source}\n---- mount:\n{shown}");
    }
    let one = mounted.path("dir/file").metadata().unwrap();
    let two = mounted.path("dir/sub/link").metadata().unwrap();
    assert_eq!(one.ino(), two.ino());
    assert_eq!(one.nlink(), 2);
    // The numbers are in the listing as well as in the attributes, and are the same in the next mount.
    let numbers = "cd mnt; find . -printf '%i %p\n' | sort; ls -aif dir";
    let first = fixture.shell(numbers);
    drop(mounted);
    let _again = fixture.mount_newest();
    assert_eq!(fixture.shell(numbers), first);
}

#[test]
fn nothing_can_be_changed() {
    let fixture = Fixture::new();
    fixture.shell("cd source; echo text > file; mkdir dir; ln -s file link");
    fixture.ingest("ro", Cutting::File);
    let mounted = fixture.mount_newest();
    let script = r#"
import errno, os, sys
os.chdir(sys.argv[1])
def refused(name, call):
    try:
        call()
    except OSError as e:
        assert e.errno == errno.EROFS, (name, e)
    else:
        raise AssertionError(name + " was allowed")
for name, call in {
    "write": lambda: os.open("file", os.O_WRONLY),
    "append": lambda: os.open("file", os.O_RDWR | os.O_APPEND),
    "truncate": lambda: os.truncate("file", 1),
    "create": lambda: os.open("new", os.O_CREAT | os.O_WRONLY),
    "mkdir": lambda: os.mkdir("new"),
    "mkfifo": lambda: os.mkfifo("new"),
    "symlink": lambda: os.symlink("x", "new"),
    "link": lambda: os.link("file", "new"),
    "unlink": lambda: os.unlink("file"),
    "rmdir": lambda: os.rmdir("dir"),
    "rename": lambda: os.rename("file", "new"),
    "chmod": lambda: os.chmod("file", 0),
    "chown": lambda: os.chown("file", 1, 1),
    "utime": lambda: os.utime("file"),
    "setxattr": lambda: os.setxattr("file", "user.x", b"1"),
    "removexattr": lambda: os.removexattr("file", "user.x"),
}.items():
    refused(name, call)
"#;
    std::fs::write(fixture.path("refused.py"), script).unwrap();
    fixture.shell("python3 refused.py mnt");
    // The answer does not hang on the mount flag: it is the same for whoever remounts it for writing.
    fixture.shell("mount -i -o remount,rw mnt && python3 refused.py mnt");
    assert_eq!(std::fs::read(mounted.path("file")).unwrap(), b"text\n");
}

#[test]
fn devices_are_shown_but_are_not_devices() {
    let fixture = Fixture::new();
    fixture
        .shell("cd source; mknod null c 1 3; printf '#!/bin/sh\nid -u\n' > suid; chmod 4755 suid");
    fixture.ingest("dev", Cutting::File);
    let mounted = fixture.mount_newest();
    let error = std::fs::read(mounted.path("null")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let options = fixture.shell("findmnt -n -o FSTYPE,OPTIONS $PWD/mnt");
    for wanted in ["fuse.repo", "ro", "nosuid", "nodev"] {
        assert!(options.contains(wanted), "{wanted} in {options}");
    }
}

#[test]
fn sums_are_what_the_snapshot_holds() {
    let fixture = Fixture::new();
    fixture.shell("cd source; mkdir a; head -c 100000 /dev/urandom > a/b; truncate -s 1M hole");
    fixture.ingest("sums", Cutting::File);
    let _mounted = fixture.mount_newest();
    // 100000 + 1048576 bytes in blocks of 4096; four entries with the root.
    assert_eq!(
        fixture.shell("stat -f -c '%S %b %f %c %d %l' mnt").trim(),
        "4096 281 0 4 0 255"
    );
    assert_eq!(
        fixture.shell("cd mnt; stat -c %b hole a/b").trim(),
        "0\n196"
    );
}

#[test]
fn others_are_let_in_only_if_asked_for_and_permissions_hold() {
    let fixture = Fixture::new();
    fixture.shell(
        "chmod 755 .; cd source; echo secret > secret; chmod 600 secret; echo all > all; chmod 644 all
         echo acl > acl; chmod 600 acl; setfacl -m u:65534:r acl",
    );
    fixture.ingest("users", Cutting::File);
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let alone = fixture.mount_newest();
    fixture.shell(&format!("! {nobody} ls mnt"));
    drop(alone);
    let allow_other = true;
    let shared = fixture.mount(
        fixture.newest(),
        Options {
            allow_other,
            ..Options::default()
        },
    );
    assert_eq!(
        fixture.shell(&format!("{nobody} cat mnt/all mnt/acl")),
        "all\nacl\n"
    );
    fixture.shell(&format!("! {nobody} cat mnt/secret"));
    drop(shared);
    let owner = Some(Owner {
        uid: 65534,
        gid: 65534,
    });
    let options = Options {
        allow_other,
        owner,
        ..Options::default()
    };
    let _owned = fixture.mount(fixture.newest(), options);
    assert_eq!(
        fixture.shell(&format!("{nobody} cat mnt/secret")),
        "secret\n"
    );
    assert_eq!(
        fixture.shell("stat -c '%u %g' mnt mnt/all").trim(),
        "65534 65534\n65534 65534"
    );
}

#[test]
fn all_snapshots_and_new_ones_as_they_come() {
    let fixture = Fixture::new();
    fixture.shell("echo one > source/file");
    let mounted = fixture.mount(View::All, Options::default());
    assert_eq!(fixture.shell("ls mnt"), "by-id\nby-name\nby-tag\n");
    fixture.ingest("web", Cutting::File);
    let wait = |wanted: &str| {
        fixture.shell(&format!(
            "for i in $(seq 50); do [ \"$(cat mnt/latest/file 2>&1)\" = {wanted} ] && exit; sleep 0.1; done; exit 1"
        ));
    };
    wait("one");
    fixture.shell("echo two > source/file");
    std::thread::sleep(std::time::Duration::from_secs(1));
    fixture.ingest("web", Cutting::File);
    wait("two");
    assert_eq!(fixture.shell("ls mnt/by-name/web | wc -l").trim(), "3");
    assert_eq!(fixture.shell("ls mnt/by-id | wc -l").trim(), "2");
    assert_eq!(
        fixture.shell("cat mnt/by-name/web/latest/file mnt/by-tag/env=test/*/file"),
        "two\none\ntwo\n"
    );
    fixture.shell("find mnt -name file | xargs cat > /dev/null");
    assert!(mounted.path("by-name/web").metadata().unwrap().nlink() == 4);
}

#[test]
fn a_path_longer_than_any_program_can_name() {
    let fixture = Fixture::new();
    let script = r#"
import os, sys
os.chdir(sys.argv[1])
for level in range(60):
    name = f"{level:02}" + "x" * 200
    if sys.argv[2] == "make":
        os.mkdir(name)
    os.chdir(name)
if sys.argv[2] == "make":
    open("deepest", "w").write("text")
assert os.listdir() == ["deepest"], os.listdir()
assert open("deepest").read() == "text"
"#;
    std::fs::write(fixture.path("deep.py"), script).unwrap();
    fixture.shell("python3 deep.py source make");
    fixture.ingest("deep", Cutting::File);
    let _mounted = fixture.mount_newest();
    fixture.shell("python3 deep.py mnt look");
    fixture.shell("rm -rf source");
}
