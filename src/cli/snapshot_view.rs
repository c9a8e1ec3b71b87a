//! A snapshot as JSON and in a few words.

use serde::Serialize;

use super::text;
use crate::format::snapshot::{Snapshot, StreamDigest};
use crate::id::to_hex;
use crate::repository::SnapshotInfo;

/// A snapshot as JSON; see `docs/json.md`.
#[derive(Serialize)]
pub(super) struct SnapshotView {
    pub(super) id: String,
    name: String,
    kind: &'static str,
    time: String,
    finished: String,
    tags: std::collections::BTreeMap<String, String>,
    description: String,
    host: String,
    user: String,
    sources: Vec<String>,
    files: u64,
    directories: u64,
    others: u64,
    bytes: u64,
    added_bytes: u64,
    wrapping: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<DigestView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrapped: Option<DigestView>,
    exact: bool,
    parent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<OriginView>,
    warnings: u64,
    program: String,
}

/// What a snapshot is a copy of.
#[derive(Serialize)]
struct OriginView {
    repository: String,
    snapshot: String,
}

/// A stream's length and digest.
#[derive(Serialize)]
struct DigestView {
    bytes: u64,
    blake3: String,
}

impl DigestView {
    fn new(digest: StreamDigest) -> Self {
        Self {
            bytes: digest.bytes,
            blake3: to_hex(&digest.blake3),
        }
    }
}

impl SnapshotView {
    /// The snapshot without its tree.
    pub(super) fn new(info: &SnapshotInfo) -> Self {
        let s = &info.snapshot;
        Self {
            id: info.id.to_hex(),
            name: s.name.clone(),
            kind: s.kind.name(),
            time: text::utc_time(s.time),
            finished: text::utc_time(s.finished),
            tags: s.tags.iter().cloned().collect(),
            description: s.description.clone(),
            host: s.host.clone(),
            user: s.user.clone(),
            sources: s
                .sources
                .iter()
                .map(|b| String::from_utf8_lossy(b).into_owned())
                .collect(),
            files: s.counts.files,
            directories: s.counts.directories,
            others: s.counts.others,
            bytes: s.counts.bytes,
            added_bytes: s.counts.added_bytes,
            wrapping: s.wrapping.name(),
            stream: s.stream.map(DigestView::new),
            wrapped: s.wrapped.map(DigestView::new),
            exact: !s.original.is_empty(),
            parent: s.parent.map(|id| id.to_hex()),
            origin: s.origin.map(|origin| OriginView {
                repository: origin.repository.to_hex(),
                snapshot: origin.snapshot.to_hex(),
            }),
            warnings: s.warning_count,
            program: s.program.clone(),
        }
    }
}

/// All tags in one cell: `a=b c=d`.
pub(super) fn tags(snapshot: &Snapshot) -> String {
    let tags = snapshot.tags.iter().map(|(key, value)| {
        if value.is_empty() {
            text::line(key)
        } else {
            text::line(&format!("{key}={value}"))
        }
    });
    tags.collect::<Vec<_>>().join(" ")
}
