//! Files with several names, where the repository is damaged or the target holds others already.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::{options, place, run};
use crate::repository::memory_blocks::MemoryBlocks;
use crate::restore::fixture::{data, directory, file, noise, select, snapshot};
use crate::restore::*;

#[test]
fn further_names_of_a_lost_file_are_lost_and_not_linked_to_the_old_one() {
    let store = MemoryBlocks::new();
    let id = store.put(&noise(1, 3000));
    let mut a = file("a", vec![data(id, 3000)]);
    (a.link_group, a.links) = (1, 3);
    let (mut b, mut c) = (a.clone(), a.clone());
    (b.name, c.name) = (b"b".to_vec(), b"c".to_vec());
    let snapshot = snapshot(&store, vec![a, b, directory(&store, "sub", vec![c])]);
    store.damage(&id);
    for (overwrite, verify) in [
        (Overwrite::Always, false),
        (Overwrite::IfChanged, false),
        (Overwrite::IfChanged, true),
    ] {
        let (_dir, to) = place();
        fs::create_dir_all(&to).unwrap();
        // As long as the file in the snapshot: with `verify` it is compared.
        fs::write(to.join("a"), noise(8, 3000)).unwrap();
        fs::write(to.join("b"), "old b").unwrap();
        let with = RestoreOptions {
            overwrite,
            verify,
            ..options()
        };
        let run = run(&store, &[select(&snapshot, "")], &to, &with);
        let summary = run.result.unwrap();
        let mut lost: Vec<_> = summary.losses.iter().map(|l| l.path.to_string()).collect();
        lost.sort();
        assert_eq!(lost, ["a", "b", "sub/c"], "{overwrite:?} {verify}");
        assert_eq!(
            (
                summary.files,
                summary.directories,
                summary.others,
                summary.bytes
            ),
            (0, 1, 0, 0),
            "what is lost was not restored"
        );
        assert_eq!(fs::read(to.join("a")).unwrap(), noise(8, 3000));
        assert_eq!(fs::read(to.join("b")).unwrap(), b"old b");
        assert_eq!(fs::metadata(to.join("a")).unwrap().nlink(), 1);
        assert!(!to.join("sub/c").exists());
    }
}
