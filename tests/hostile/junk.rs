//! What does not belong into a repository: files of other names, directories, links, pipes and huge files in every folder.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::judge::Victim;
use crate::mischief::AREAS;
use crate::sample::sample;

const FOLDERS: [&str; 9] = [
    "data",
    "meta",
    "index",
    "snapshots",
    "sessions",
    "gc",
    "pins",
    "keys",
    "quarantine",
];

/// A file had the name of a subfolder, and no command could list anything any more.
#[test]
fn a_file_in_place_of_a_subfolder_hides_nothing() {
    let victim = Victim::new(sample(), "files with names of subfolders");
    for area in ["data", "meta"] {
        let free = (0..=255).map(|n| victim.repository().join(area).join(format!("{n:02x}")));
        fs::write(
            free.into_iter().find(|path| !path.exists()).unwrap(),
            b"junk",
        )
        .unwrap();
    }
    assert_eq!(victim.run(&["check", "--read-data"]).code, 0);
    victim.forget_catalog();
    assert_eq!(victim.restored().len(), victim.all());
    victim.run(&["repair"]);
}

/// A name that objects can have there.
fn name(folder: &str, number: u8) -> String {
    let digit = format!("{number:02x}");
    match folder {
        "data" | "meta" => format!("{digit}/{}", digit.repeat(32)),
        "index" | "snapshots" | "pins" => digit.repeat(32),
        "keys" => format!("{}-1", digit.repeat(16)),
        _ => digit.repeat(16),
    }
}

fn at(repository: &Path, folder: &str, number: u8) -> std::path::PathBuf {
    let path = repository.join(folder).join(name(folder, number));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn what_cannot_be_an_object_is_passed_over() {
    let victim = Victim::new(sample(), "junk that is no object");
    let repository = victim.repository();
    for folder in FOLDERS {
        let top = repository.join(folder);
        for name in ["README", ".hidden", "tmp-1", "UPPER", "a b", "zz", "1"] {
            fs::write(top.join(name), b"junk").unwrap();
        }
        fs::create_dir_all(top.join("sub/dir")).unwrap();
        fs::write(top.join("sub/dir").join("ab".repeat(32)), b"junk").unwrap();
        fs::create_dir_all(at(&repository, folder, 0xd0)).unwrap();
        symlink("/etc/passwd", at(&repository, folder, 0xd1)).unwrap();
        symlink("/dev/zero", at(&repository, folder, 0xd2)).unwrap();
        symlink("nowhere", at(&repository, folder, 0xd3)).unwrap();
        pipe(&at(&repository, folder, 0xd4));
        // The right name in the wrong subfolder.
        fs::create_dir_all(top.join("00")).unwrap();
        fs::write(top.join("00").join("d5".repeat(32)), b"junk").unwrap();
    }
    fs::write(repository.join("junk"), b"junk").unwrap();
    // Nothing is damaged by it.
    let checked = victim.run(&["check", "--read-data"]);
    assert_eq!(checked.code, 0, "{}", checked.err);
    assert_eq!(victim.restored().len(), victim.all());
    victim.judge();
}

#[test]
fn objects_that_are_junk_are_found() {
    for (what, size) in [("empty", 0), ("short", 100), ("huge", 1 << 40)] {
        let victim = Victim::new(sample(), &format!("{what} files with names of objects"));
        let repository = victim.repository();
        for folder in FOLDERS {
            let file = File::create(at(&repository, folder, 0xd0)).unwrap();
            file.set_len(size).unwrap();
        }
        assert_eq!(victim.restored().len(), victim.all());
        victim.run(&["check", "--read-data"]);
        victim.run(&["repair", "--quarantine-snapshots"]);
        for area in AREAS {
            assert!(!at(&repository, area, 0xd0).exists(), "{what}: {area}");
        }
        victim.judge();
    }
}

#[test]
fn objects_that_are_replaced_by_what_is_no_file_are_lost() {
    for what in ["directory", "pipe", "link"] {
        let victim = Victim::new(sample(), &format!("a {what} in place of an object"));
        for area in AREAS {
            let object = crate::mischief::objects(&victim.repository(), area).remove(0);
            fs::remove_file(&object).unwrap();
            match what {
                "directory" => fs::create_dir(&object).unwrap(),
                "pipe" => pipe(&object),
                _ => symlink("/dev/zero", &object).unwrap(),
            }
            victim.run(&["check", "--read-data"]);
            victim.restored();
        }
        victim.judge();
    }
}
