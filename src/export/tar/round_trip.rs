//! What is written here, the reader of this crate gives back: a tar is a way between two repositories too.

use std::io::Cursor;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Sparse, TarWriter};
use crate::entry::{Kind, MemorySink, MemorySource, Order, Piece, Source};
use crate::export::judge;
use crate::progress::Recorder;
use crate::source::tar::{TarOptions, TarSource};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_tree_comes_back(items in judge::tree(), dialect in 0..3) {
        let sparse = [Sparse::Gnu, Sparse::Cocoon, Sparse::None][usize::try_from(dialect).unwrap()];
        let monitor = Arc::new(Recorder::default());
        let mut writer = TarWriter::new(Vec::new(), sparse, monitor.clone());
        MemorySource::new(items.clone(), Order::Walk).stream(&mut writer).unwrap();
        let tar = writer.finish().unwrap();
        let mut source = TarSource::new(Cursor::new(&tar), TarOptions::default(), monitor.clone());
        let mut back = MemorySink::default();
        source.stream(&mut back).unwrap();
        prop_assert_eq!(monitor.warnings(), Vec::<String>::new());
        prop_assert!(back.stream == tar, "literal bytes and data are the archive");
        prop_assert_eq!(back.entries.len(), items.len());
        for item in &items {
            let got = back.get(item.entry.path.as_bytes()).unwrap();
            prop_assert_eq!(&got.entry.kind, &item.entry.kind);
            prop_assert_eq!(&got.entry.meta, &item.entry.meta);
            prop_assert_eq!(got.bytes(), item.bytes());
            if !matches!(item.entry.kind, Kind::HardLink(_)) {
                prop_assert_eq!(got.entry.size, item.entry.size);
            }
            // Between rounded pieces there is room for less hole, never for more.
            let holes = |pieces: &[Piece]| {
                pieces.iter().filter(|p| matches!(p, Piece::Hole(_))).count()
            };
            prop_assert!(holes(&got.content) <= holes(&item.content));
        }
    }
}
