//! Bytes read through the mount, in every way that a program may read.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::fixture::Fixture;
use repo::repository::Cutting;

/// Numbers that are different every time but the same in each run.
fn numbers(mut seed: u64) -> impl Iterator<Item = u64> {
    std::iter::from_fn(move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Some(seed >> 20)
    })
}

#[test]
fn random_reads_are_the_source() {
    let fixture = Fixture::new();
    fixture.shell(
        "cd source; seq 3000000 > text; head -c 20M /dev/urandom > noise
         truncate -s 50M sparse; dd if=/dev/urandom of=sparse bs=64k seek=100 count=3 conv=notrunc
         dd if=/dev/zero of=sparse bs=1M seek=30 count=2 conv=notrunc",
    );
    for cutting in [Cutting::File, Cutting::Disk] {
        fixture.ingest("random", cutting);
        let mounted = fixture.mount_newest();
        for name in ["text", "noise", "sparse"] {
            let source = File::open(fixture.path("source").join(name)).unwrap();
            let shown = File::open(mounted.path(name)).unwrap();
            let size = source.metadata().unwrap().len();
            let mut numbers = numbers(size);
            for _ in 0..300 {
                let offset = numbers.next().unwrap() % (size + 1000);
                let len = usize::try_from(numbers.next().unwrap() % 300_000).unwrap();
                let (mut a, mut b) = (vec![1; len], vec![2; len]);
                let (n, m) = (
                    read_full(&source, &mut a, offset),
                    read_full(&shown, &mut b, offset),
                );
                assert_eq!(n, m, "{name} at {offset}");
                assert!(a[..n] == b[..m], "{name} at {offset}+{len}");
            }
        }
        fixture.shell("for f in text noise sparse; do cmp source/$f mnt/$f; done");
    }
}

fn read_full(file: &File, out: &mut [u8], offset: u64) -> usize {
    let mut filled = 0;
    while filled < out.len() {
        match file
            .read_at(&mut out[filled..], offset + filled as u64)
            .unwrap()
        {
            0 => break,
            n => filled += n,
        }
    }
    filled
}

#[test]
fn many_readers_at_once() {
    let fixture = Fixture::new();
    fixture.shell("cd source; for i in 1 2 3 4; do seq $i 700000 > text-$i; done; for i in $(seq 500); do echo $i > small-$i; done");
    fixture.ingest("parallel", Cutting::File);
    let _mounted = fixture.mount_newest();
    fixture.shell("cd mnt; ls | xargs -P 8 -n 20 sha256sum | sort > ../a; cd ../source; ls | xargs sha256sum | sort > ../b; cmp ../a ../b");
}

#[test]
fn maps_and_direct_reads() {
    let fixture = Fixture::new();
    fixture.shell("seq 1000000 > source/text");
    fixture.ingest("mmap", Cutting::File);
    let _mounted = fixture.mount_newest();
    let script = r#"
import mmap, random
a, b = open("source/text", "rb"), open("mnt/text", "rb")
a = mmap.mmap(a.fileno(), 0, prot=mmap.PROT_READ)
b = mmap.mmap(b.fileno(), 0, prot=mmap.PROT_READ)
for _ in range(200):
    at = random.randrange(len(a))
    assert a[at:at+70000] == b[at:at+70000]
assert a[:] == b[:]
"#;
    std::fs::write(fixture.path("maps.py"), script).unwrap();
    fixture.shell(
        "python3 maps.py; dd if=mnt/text iflag=direct bs=64k status=none | cmp - source/text",
    );
}

#[test]
fn holes_are_found() {
    let fixture = Fixture::new();
    fixture.shell(
        "cd source; truncate -s 10M sparse; printf data | dd of=sparse bs=1M seek=4 conv=notrunc status=none; truncate -s 3M hole",
    );
    fixture.ingest("holes", Cutting::File);
    let _mounted = fixture.mount_newest();
    let look = r#"python3 -c '
import os
for name in ("sparse", "hole"):
    f = os.open(name, os.O_RDONLY)
    for whence in (os.SEEK_DATA, os.SEEK_HOLE):
        for at in (0, 1, 4 << 20, (4 << 20) + 4096, 9 << 20, 10 << 20, 11 << 20):
            try: print(name, whence, at, os.lseek(f, at, whence))
            except OSError as e: print(name, whence, at, e.errno)
'"#;
    let source = fixture.shell(&format!("cd source; {look}"));
    let shown = fixture.shell(&format!("cd mnt; {look}"));
    assert_eq!(source, shown);
    fixture.shell("cp --sparse=never mnt/sparse a; cmp a source/sparse; cp --sparse=always mnt/sparse b; [ $(stat -c %b b) -le 16 ]");
}

#[test]
fn a_disk_image_inside_can_be_mounted() {
    let fixture = Fixture::new();
    fixture.shell(
        "truncate -s 32M source/disk.img; mkfs.ext4 -q source/disk.img; mkdir loop; mount -o loop source/disk.img loop
         seq 100000 > loop/numbers; sync; umount loop",
    );
    fixture.ingest("disk", Cutting::Disk);
    let _mounted = fixture.mount_newest();
    fixture.shell(
        "mount -o loop,ro,noload mnt/disk.img loop; seq 100000 | cmp - loop/numbers; r=$?; umount loop; exit $r",
    );
}
