//! How much there is, and what deduplication and compression make of it.

use crate::backend::Area;
use crate::error::Result;
use crate::format::header::ObjectKind;
use crate::repository::Repository;

/// Objects of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AreaStats {
    /// How many.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
}

/// The sums of a repository.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Snapshots.
    pub snapshots: u64,
    /// Files in all of them.
    pub files: u64,
    /// Logical bytes of those files, every snapshot counted whole.
    pub logical_bytes: u64,
    /// Distinct chunks of content.
    pub data_chunks: u64,
    /// Their raw bytes.
    pub data_raw_bytes: u64,
    /// Distinct chunks of trees, lists and recipes.
    pub meta_chunks: u64,
    /// Their raw bytes.
    pub meta_raw_bytes: u64,
    /// Packs of content.
    pub data: AreaStats,
    /// Packs of trees and recipes.
    pub meta: AreaStats,
    /// Index objects.
    pub index: AreaStats,
    /// Snapshot objects.
    pub snapshot_objects: AreaStats,
    /// Packs that no index object lists.
    pub unlisted_packs: u64,
}

impl Stats {
    /// All stored bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.data.bytes + self.meta.bytes + self.index.bytes + self.snapshot_objects.bytes
    }

    /// Logical bytes for each raw byte of content that is stored: what deduplication saves.
    pub fn dedup_ratio(&self) -> f64 {
        ratio(self.logical_bytes, self.data_raw_bytes)
    }

    /// Raw bytes for each stored byte, content and trees: what compression saves.
    pub fn compression_ratio(&self) -> f64 {
        ratio(
            self.data_raw_bytes + self.meta_raw_bytes,
            self.data.bytes + self.meta.bytes,
        )
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(above: u64, below: u64) -> f64 {
    if below == 0 {
        1.0
    } else {
        above as f64 / below as f64
    }
}

/// Counts from snapshots, lists of objects and what the catalog knows of packs; reads no object.
pub fn stats(repository: &Repository) -> Result<Stats> {
    let mut stats = Stats::default();
    for info in repository.snapshots()? {
        stats.snapshots += 1;
        stats.files += info.snapshot.counts.files;
        stats.logical_bytes += info.snapshot.counts.bytes;
    }
    let backend = repository.backend();
    let areas = [
        (Area::Data, &mut stats.data),
        (Area::Meta, &mut stats.meta),
        (Area::Index, &mut stats.index),
        (Area::Snapshots, &mut stats.snapshot_objects),
    ];
    for (area, sums) in areas {
        backend.list(area, &mut |_, size| {
            sums.objects += 1;
            sums.bytes += size;
            Ok(())
        })?;
    }
    let mut listed = 0;
    repository.catalog().listed_packs(|row, raw_bytes| {
        listed += 1;
        let (chunks, raw) = if row.kind == ObjectKind::DataPack {
            (&mut stats.data_chunks, &mut stats.data_raw_bytes)
        } else {
            (&mut stats.meta_chunks, &mut stats.meta_raw_bytes)
        };
        *chunks += u64::from(row.chunks);
        *raw += raw_bytes;
        Ok(())
    })?;
    let packs = stats.data.objects + stats.meta.objects;
    stats.unlisted_packs = packs.saturating_sub(listed);
    Ok(stats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintain::fixture::{Store, noise};

    #[test]
    fn shared_content_counts_once() {
        let store = Store::new();
        let bytes = noise(1, 100_000);
        store.ingest("one", &[("a", &bytes)]);
        store.ingest("two", &[("a", &bytes), ("b/c", b"more")]);
        let stats = stats(&store.open()).unwrap();
        assert_eq!((stats.snapshots, stats.files), (2, 3));
        assert_eq!(stats.logical_bytes, 200_004);
        assert_eq!(stats.data_raw_bytes, 100_004);
        assert_eq!((stats.data.objects, stats.index.objects), (2, 2));
        assert_eq!(stats.unlisted_packs, 0);
        assert!(stats.dedup_ratio() > 1.9 && stats.stored_bytes() > 100_000);
    }
}
