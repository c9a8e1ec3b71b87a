//! Ingest of a stream: finds out what it is, takes off its compression, records its digests, and chooses the source.
//!
//! Only compression around something that is better stored bare is taken off: a tar, a dump, or what the caller says.
//! Any other compressed stream stays the bytes it is: who pipes a photograph in wants that photograph back.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};

use super::{Ingest, IngestSummary, StreamFacts};
use crate::chunk::{Cutter, GearTable, Params, Slicer};
use crate::entry::{Entry, Meta};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::snapshot::{StreamDigest, StreamKind, Wrapping};
use crate::progress::Monitor;
use crate::repository::compose::ItemList;
use crate::repository::{Cutting, Writer, lock};
use crate::source::detect::{Compression, Detected, detect};
use crate::source::identity::{self, Expected, page_aligned};
use crate::source::peel::{Layer, Peeled, SNIFF_BYTES};
use crate::source::stream::StreamSource;
use crate::source::tar::{TarOptions, TarSource};

/// What the caller says of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamRequest {
    /// What it is; `None` finds out.
    pub kind: Option<StreamKind>,
    /// Keep the very bytes of a compressed stream as well.
    pub exact: bool,
    /// Name of the one file in the tree of a stream that is no archive.
    pub file_name: Vec<u8>,
}

/// How a stream is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// What it is thought to be; an identity document may say more.
    kind: StreamKind,
    /// The compression that is taken off.
    peel: Option<Compression>,
}

/// Takes in a stream and commits its snapshot.
pub fn ingest_stream(
    ingest: Ingest,
    mut reader: impl Read + Send + 'static,
    request: &StreamRequest,
) -> Result<IngestSummary> {
    let mut head = Vec::new();
    reader
        .by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|e| Error::io("read the stream", e))?;
    if head.is_empty() {
        return Err(Error::new(
            Class::NoData,
            "the stream is empty: nothing to ingest",
        ));
    }
    let plan = plan(&head, request.kind)?;
    let outer = Tee::new(Cursor::new(head).chain(reader));
    let outer_digest = outer.digest.clone();
    if plan.peel.is_none() {
        if request.exact {
            ingest.monitor().note(
                "no compression is taken off this stream: its very bytes come out in any case, and nothing is kept beside them",
            );
        }
        return take_in(
            ingest,
            outer,
            plan,
            request,
            Digests {
                stream: outer_digest,
                wrapped: None,
                layers: Vec::new(),
            },
        );
    }
    let capture = if request.exact {
        Some(Capture::new(&ingest)?)
    } else {
        None
    };
    let outer = Tee {
        capture: capture.clone(),
        ..outer
    };
    let peeled = Peeled::new(outer)?;
    let layers = peeled.layers().to_vec();
    let inner = Tee::new(peeled);
    let digests = Digests {
        stream: inner.digest.clone(),
        wrapped: Some((outer_digest, capture)),
        layers,
    };
    take_in(ingest, inner, plan, request, digests)
}

/// Decides from the first bytes and the caller's word.
fn plan(head: &[u8], forced: Option<StreamKind>) -> Result<Plan> {
    let outer = detect(head);
    let (peel, inner) = match outer {
        // The head may end within a compressed block; what is decided is decided by the first bytes of it.
        Detected::Compressed(compression) => {
            let inner = Peeled::new(Cursor::new(head.to_vec())).map(|p| p.detected());
            (Some(compression), inner.unwrap_or(Detected::Opaque))
        }
        other => (None, other),
    };
    let archive = matches!(inner, Detected::Tar);
    let kind = match (forced, inner) {
        (
            Some(
                kind @ (StreamKind::Tar | StreamKind::Stack | StreamKind::Volume | StreamKind::Vm),
            ),
            _,
        ) => {
            if !archive {
                return Err(Error::invalid(format!(
                    "the input is no tar archive, so it cannot be of kind {}",
                    kind.name()
                )));
            }
            kind
        }
        (Some(StreamKind::Dir), _) => {
            return Err(Error::invalid(
                "a stream cannot be of kind dir: give a directory",
            ));
        }
        (Some(kind), _) => kind,
        (None, Detected::Tar) => StreamKind::Tar,
        (None, Detected::Dump(_)) => StreamKind::Db,
        (None, _) => StreamKind::Stream,
    };
    let peel = peel.filter(|_| kind != StreamKind::Stream);
    Ok(Plan { kind, peel })
}

fn take_in(
    ingest: Ingest,
    reader: impl Read + Send + 'static,
    plan: Plan,
    request: &StreamRequest,
    digests: Digests,
) -> Result<IngestSummary> {
    let wrapping = plan.peel.map_or(Wrapping::Plain, wrapping_of);
    let monitor = ingest.monitor();
    let listener = Arc::clone(&monitor);
    let facts = move |kind, identity| {
        let mut facts = StreamFacts {
            wrapping,
            identity,
            ..StreamFacts::of(kind)
        };
        facts.stream = Some(digests.stream.get());
        warn_trailing(&digests.layers, &*listener);
        if let Some((wrapped, capture)) = digests.wrapped {
            facts.wrapped = Some(wrapped.get());
            facts.original = capture.map(|c| c.finish()).transpose()?.unwrap_or_default();
        }
        Ok(facts)
    };
    let (expected, identity) = match (request.kind, plan.kind) {
        (None, StreamKind::Tar) => (Expected::Any, None),
        (_, StreamKind::Tar) => (Expected::Nothing, None),
        (_, StreamKind::Stack) => known(identity::StreamKind::Stack),
        (_, StreamKind::Volume) => known(identity::StreamKind::Volume),
        (_, StreamKind::Vm) => known(identity::StreamKind::Vm),
        (_, kind) => {
            // A stream says nothing of itself; it is as old as its snapshot.
            let meta = Meta {
                mode: 0o600,
                mtime: ingest.request.time,
                ..Meta::default()
            };
            let source = StreamSource::new(reader, &request.file_name)?
                .with_meta(meta)
                .with_monitor(monitor);
            let cutting = if kind == StreamKind::Disk {
                Cutting::Disk
            } else {
                Cutting::File
            };
            return ingest.run(source, move |_| cutting, move |_| facts(kind, None));
        }
    };
    let source = TarSource::new(reader, TarOptions { expected }, monitor);
    ingest.run(
        source,
        move |entry: &Entry| {
            if page_aligned(&entry.path, identity) {
                Cutting::Disk
            } else {
                Cutting::File
            }
        },
        move |source| match source.identity() {
            Some(found) => facts(kind_of(found.kind), Some(found.document.clone())),
            None => facts(StreamKind::Tar, None),
        },
    )
}

fn known(kind: identity::StreamKind) -> (Expected, Option<identity::StreamKind>) {
    (Expected::Only(kind), Some(kind))
}

fn kind_of(kind: identity::StreamKind) -> StreamKind {
    match kind {
        identity::StreamKind::Stack => StreamKind::Stack,
        identity::StreamKind::Volume => StreamKind::Volume,
        identity::StreamKind::Vm => StreamKind::Vm,
    }
}

fn wrapping_of(compression: Compression) -> Wrapping {
    match compression {
        Compression::Gzip => Wrapping::Gzip,
        Compression::Zstd => Wrapping::Zstd,
        Compression::Xz => Wrapping::Xz,
        Compression::Bzip2 => Wrapping::Bzip2,
    }
}

/// What becomes known at the end.
struct Digests {
    stream: SharedDigest,
    wrapped: Option<(SharedDigest, Option<Capture>)>,
    layers: Vec<Layer>,
}

/// Names what stood behind the compressed stream: it is no content, so only `exact` keeps it.
fn warn_trailing(layers: &[Layer], monitor: &dyn Monitor) {
    for layer in layers {
        let trailing = layer.trailing().unwrap_or_default();
        if trailing.garbage_bytes > 0 {
            monitor.warn(&format!(
                "{} bytes after the end of the {} stream are not part of it and were left out",
                trailing.garbage_bytes,
                layer.compression()
            ));
        } else if trailing.zero_bytes > 0 {
            monitor.note(&format!(
                "{} zero bytes after the end of the {} stream were left out",
                trailing.zero_bytes,
                layer.compression()
            ));
        }
    }
}

/// A digest that is fed by a reader on another thread.
#[derive(Clone, Default)]
struct SharedDigest(Arc<Mutex<(blake3::Hasher, u64)>>);

impl SharedDigest {
    fn get(&self) -> StreamDigest {
        let state = lock(&self.0);
        StreamDigest {
            bytes: state.1,
            blake3: *state.0.finalize().as_bytes(),
        }
    }
}

/// Hands bytes on, and takes their digest.
struct Tee<R> {
    inner: R,
    digest: SharedDigest,
    capture: Option<Capture>,
}

impl<R: Read> Tee<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            digest: SharedDigest::default(),
            capture: None,
        }
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(out)?;
        let bytes = out.get(..len).unwrap_or_default();
        let mut digest = lock(&self.digest.0);
        digest.0.update(bytes);
        digest.1 += len as u64;
        drop(digest);
        if let Some(capture) = &self.capture {
            capture.push(bytes)?;
        }
        Ok(len)
    }
}

/// Stores the very bytes of a stream while it is read by somebody else.
#[derive(Clone)]
struct Capture(Arc<Mutex<Option<Captured>>>);

struct Captured {
    writer: Arc<Writer>,
    slicer: Slicer,
    items: ItemList,
}

impl Capture {
    fn new(ingest: &Ingest) -> Result<Self> {
        let sizes = ingest.repository.config().chunks;
        let params = Params {
            min: sizes.min_bytes,
            avg: sizes.avg_bytes,
            max: sizes.max_bytes,
        };
        let table = Arc::new(GearTable::new(&ingest.repository.gear()));
        let cutter = Cutter::content(params, table)
            .map_err(|e| Error::caused(Class::Invalid, "the chunker", e))?;
        Ok(Self(Arc::new(Mutex::new(Some(Captured {
            writer: Arc::clone(&ingest.writer),
            slicer: Slicer::new(cutter),
            items: ItemList::default(),
        })))))
    }

    fn push(&self, bytes: &[u8]) -> Result<()> {
        let mut state = lock(&self.0);
        let Some(Captured {
            writer,
            slicer,
            items,
        }) = state.as_mut()
        else {
            return Ok(());
        };
        slicer.push(bytes, |_, chunk| {
            items.push(writer.put_data(chunk)?, writer)
        })
    }

    /// The content that was stored; lets go of the writer.
    fn finish(&self) -> Result<Vec<Item>> {
        let Some(Captured {
            writer,
            mut slicer,
            mut items,
        }) = lock(&self.0).take()
        else {
            return Ok(Vec::new());
        };
        slicer.finish(|_, chunk| items.push(writer.put_data(chunk)?, &writer))?;
        items.finish(&writer)
    }
}
