//! How a mount begins and ends, and what it says when the repository is damaged or gone.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fixture::{Fixture, is_mounted};
use repo::error::Class;
use repo::mount::{self, Options, View};
use repo::progress::{Monitor, Silent};
use repo::repository::Cutting;

fn small() -> Fixture {
    let fixture = Fixture::new();
    fixture.shell("cd source; echo text > file; mkdir dir; seq 1000 > dir/numbers");
    fixture.ingest("small", Cutting::File);
    fixture
}

#[test]
fn it_is_ready_in_a_blink() {
    let fixture = small();
    let begin = Instant::now();
    let mounted = fixture.mount_newest();
    std::fs::read(mounted.path("file")).unwrap();
    // The bar is 50 ms with an idle machine and an optimised build; this only notices what is seriously wrong.
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn it_ends_when_it_is_unmounted() {
    let fixture = small();
    let mounted = fixture.mount_newest();
    fixture.shell("umount mnt");
    mounted.ended().unwrap();
    let mounted = fixture.mount_newest();
    let at = mounted.at.clone();
    mount::unmount(&at, false).unwrap();
    mounted.ended().unwrap();
    let error = mount::unmount(&at, false).unwrap_err();
    assert_eq!(error.class(), Class::NotFound);
}

#[test]
fn it_unmounts_when_it_is_told_to_stop() {
    let fixture = small();
    let mounted = fixture.mount_newest();
    let at = mounted.at.clone();
    mounted.interrupt();
    mounted.ended().unwrap();
    assert!(!is_mounted(&at));
}

#[test]
fn it_stops_even_if_it_is_in_use() {
    let fixture = small();
    let mounted = fixture.mount_newest();
    let at = mounted.at.clone();
    let file = File::open(mounted.path("file")).unwrap();
    let error = mount::unmount(&at, false).unwrap_err();
    assert_eq!(error.class(), Class::Busy);
    mounted.interrupt();
    mounted.ended().unwrap();
    assert!(!is_mounted(&at));
    drop(file);
}

#[test]
fn places_that_cannot_be_mounted_on_are_refused() {
    let fixture = small();
    fixture.shell("mkdir -p repository/inside");
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    let keep_visible = vec![fixture.path("repository")];
    let options = Options {
        keep_visible,
        ..Options::default()
    };
    for (place, said) in [
        ("missing", "missing"),
        ("source/file", "not a directory"),
        ("", "would hide"),
        ("repository", "would hide"),
        ("repository/inside", "is inside"),
    ] {
        let place = fixture.path(place);
        let never = || panic!("it is mounted");
        let result = mount::run(fixture.open(), View::All, &place, &options, &monitor, never);
        let error = result.unwrap_err().to_string();
        assert!(error.contains(said), "{}: {error}", place.display());
    }
}

#[test]
fn damage_is_an_error_and_hurts_only_what_it_hits() {
    let fixture = Fixture::new();
    fixture.shell("head -c 3M /dev/urandom > source/one");
    fixture.ingest("damage", Cutting::File);
    fixture.shell("cp -r repository/data before; head -c 3M /dev/urandom > source/two");
    fixture.ingest("damage", Cutting::File);
    // A bit flips in the middle of each pack of the second ingest.
    fixture.shell(
        r"for pack in repository/data/*/*; do
             [ -e before/${pack#repository/data/} ] && continue
             chmod u+w $pack; printf '\xff\x00\xff' | dd of=$pack bs=1 seek=1000000 conv=notrunc status=none
           done",
    );
    let mounted = fixture.mount_newest();
    fixture.shell("cmp source/one mnt/one");
    let error = std::fs::read(mounted.path("two")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    assert_eq!(fixture.shell("ls mnt"), "one\ntwo\n");
}

#[test]
fn without_its_disk_it_answers_with_errors_and_still_ends() {
    let fixture = Fixture::new();
    fixture.shell("cd source; mkdir dir; head -c 200000 /dev/urandom > dir/one");
    fixture.ingest("gone", Cutting::File);
    let mounted = fixture.mount_newest();
    fixture.shell("mv repository elsewhere");
    let begin = Instant::now();
    let error = std::fs::read(mounted.path("dir/one")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    assert_ne!(error.kind(), ErrorKind::NotFound);
    assert!(begin.elapsed() < Duration::from_secs(2));
    // What comes back is used again: errors are not kept.
    fixture.shell("mv elsewhere repository; cmp source/dir/one mnt/dir/one; mv repository elsewhere; umount mnt");
    mounted.ended().unwrap();
}
