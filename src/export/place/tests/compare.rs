//! Any tree, placed by us and written as a tar by us: GNU tar finds no difference between the two.

use proptest::prelude::*;

use super::*;
use crate::export::judge;
use crate::export::tar::{Sparse, TarWriter};

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    #[test]
    fn gnu_tar_finds_no_difference(mut items in judge::tree(), walk in any::<bool>()) {
        for item in &mut items {
            let meta = &mut item.entry.meta;
            let mine = entry("x", Kind::File, 0).meta;
            // Owners that only root may give, and attributes that not every file system has room for.
            (meta.uid, meta.gid) = (mine.uid, mine.gid);
            meta.xattrs.clear();
            if !rustix::process::geteuid().is_root() {
                meta.mode |= 0o700;
            }
        }
        let order = if walk { Order::Walk } else { Order::Archive };
        let tmp = tempfile::tempdir().unwrap();
        let warnings = fill(&tmp.path().join("out"), items.clone(), order);
        prop_assert_eq!(warnings, Vec::<String>::new());
        let monitor = Arc::new(Recorder::default());
        let mut writer = TarWriter::new(Vec::new(), Sparse::Gnu, monitor);
        MemorySource::new(items, Order::Walk).stream(&mut writer).unwrap();
        fs::write(tmp.path().join("a.tar"), writer.finish().unwrap()).unwrap();
        let compare = ["--numeric-owner", "--compare", "-f", "../a.tar"];
        judge::run(&tmp.path().join("out"), "tar", &compare);
    }
}
