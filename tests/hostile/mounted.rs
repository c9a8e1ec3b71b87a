//! A few tampered repositories through the kernel: right bytes or an I/O error. Skipped where nothing can be mounted.

use std::fs;
use std::path::Path;

use crate::judge::Victim;
use crate::mischief::{objects, put};
use crate::sample::sample;

struct Mounted<'a>(&'a Victim<'a>);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let mnt = self.0.path("mnt");
        let mut umount = std::process::Command::new("fusermount3");
        drop(umount.arg("-uzq").arg(mnt).status());
    }
}

#[test]
fn a_mount_of_a_tampered_repository_shows_right_bytes_or_an_error() {
    if !Path::new("/dev/fuse").exists() {
        println!("skipped: there is no /dev/fuse");
        return;
    }
    for area in ["data", "meta"] {
        let victim = Victim::new(
            sample(),
            &format!("packs in {area} are swapped and spliced, and mounted"),
        );
        let packs = objects(&victim.repository(), area);
        let bytes: Vec<Vec<u8>> = packs.iter().map(|pack| fs::read(pack).unwrap()).collect();
        put(&packs[0], &bytes[1]);
        let half = bytes[1].len().min(bytes[0].len()) / 2;
        put(&packs[1], &[&bytes[1][..half], &bytes[0][half..]].concat());
        victim.forget_catalog();
        fs::create_dir(victim.path("mnt")).unwrap();
        let ran = victim.run(&["mount", "mnt"]);
        if ran.code != 0 && ran.err.contains("fuse") {
            println!("skipped: {}", ran.err);
            return;
        }
        assert_eq!(ran.code, 0, "{ran:?}");
        let _mounted = Mounted(&victim);
        let mut errors = 0;
        for (id, truth) in &victim.sample.truth {
            for (path, bytes) in truth {
                let file = victim.path("mnt/by-id").join(id).join(path);
                match fs::read(&file) {
                    Ok(read) => assert!(read == *bytes, "{}: {path}", victim.case),
                    Err(_) => errors += 1,
                }
            }
        }
        assert!(errors > 0, "{}: nothing was hurt", victim.case);
        assert_eq!(victim.run(&["umount", "mnt"]).code, 0);
    }
}
