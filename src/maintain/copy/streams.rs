//! What a snapshot has beside its tree: the recipe of an archive, its overrides, its identity document.
//!
//! A recipe names paths and nothing of a repository, so its bytes are copied; they are cut again, as an ingest would. Overrides
//! name contents, which are translated.

use super::memo::{Fate, content_key};
use super::{Loss, Losses, Run};
use crate::error::{Class, Error, Result};
use crate::format::content::Item;
use crate::format::recipe::Override;
use crate::format::snapshot::Snapshot;
use crate::repository::compose::{RecordStream, store_document};
use crate::repository::content::{Content, Extents};
use crate::repository::load::{fetch, locate};
use crate::repository::{Repository, Writer};

/// The longest identity document; sources take no longer ones.
const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// True if an error says that something of a snapshot is lost, and not that nothing can be read at all.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.class(), Class::Corrupt | Class::Unsupported)
}

/// The bytes of a stored stream of records, chunk by chunk; each is compared with its id.
struct Records<'a> {
    source: &'a Repository,
    extents: Extents<'a>,
}

impl<'a> Records<'a> {
    fn new(source: &'a Repository, items: &[Item]) -> Self {
        Self {
            source,
            extents: Content::new(items).extents(source, 0),
        }
    }

    /// Appends the next chunk; false at the end.
    fn more(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        match self.extents.next().transpose()?.map(|extent| extent.item) {
            None => return Ok(false),
            Some(Item::Data { id, len }) => {
                let location = locate(self.source, &id, len)?;
                out.extend_from_slice(&fetch(self.source, &id, &location)?);
            }
            Some(_) => return Err(Error::corrupt("a stream of records with holes")),
        }
        Ok(true)
    }
}

/// The overrides of a source recipe.
pub(super) struct Overrides<'a> {
    records: Records<'a>,
    window: Vec<u8>,
    at: usize,
}

impl<'a> Overrides<'a> {
    pub(super) fn new(source: &'a Repository, items: &[Item]) -> Self {
        Self {
            records: Records::new(source, items),
            window: Vec::new(),
            at: 0,
        }
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Result<Option<Override>> {
        loop {
            let bad = |e| Error::caused(Class::Corrupt, "the overrides of the recipe", e);
            if let Some((found, used)) = Override::decode(&self.window[self.at..]).map_err(bad)? {
                self.at += used;
                return Ok(Some(found));
            }
            self.window.drain(..self.at);
            self.at = 0;
            if !self.records.more(&mut self.window)? {
                if self.window.is_empty() {
                    return Ok(None);
                }
                let what = "the overrides of the recipe end within one";
                return Err(Error::corrupt(what));
            }
        }
    }
}

/// Copies what `from` has beside its tree into `to`; what of it cannot be read.
pub(super) fn copy_streams(
    run: &Run<'_>,
    from: &Snapshot,
    to: &mut Snapshot,
    writer: &Writer,
) -> Result<Losses> {
    let mut losses = Losses::default();
    let mut whole = |name: &str, copied: Result<Vec<Item>>| match copied {
        Ok(items) => Ok(items),
        Err(e) if is_damage(&e) => {
            losses.add(Loss::new(name.to_owned(), &e));
            Ok(Vec::new())
        }
        Err(e) => Err(e),
    };
    to.recipe = whole("the recipe", recipe(run, &from.recipe, writer))?;
    to.overrides = whole(
        "the overrides of the recipe",
        overrides(run, &from.overrides, writer),
    )?;
    to.identity = whole("the description", document(run, &from.identity, writer))?;
    to.original = whole("the original stream", run.translate(&from.original))?;
    Ok(losses)
}

fn recipe(run: &Run<'_>, items: &[Item], writer: &Writer) -> Result<Vec<Item>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let mut records = Records::new(run.source, items);
    let mut stream = RecordStream::new(&run.table)?;
    while records.more(stream.window())? {
        run.check()?;
        stream.flush(writer, false)?;
    }
    stream.finish(writer)
}

fn overrides(run: &Run<'_>, items: &[Item], writer: &Writer) -> Result<Vec<Item>> {
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let mut overrides = Overrides::new(run.source, items);
    let mut stream = RecordStream::new(&run.table)?;
    while let Some(mut one) = overrides.next()? {
        run.check()?;
        one.content = run.translate(&one.content)?;
        one.encode(stream.window());
        stream.flush(writer, false)?;
    }
    stream.finish(writer)
}

fn document(run: &Run<'_>, items: &[Item], writer: &Writer) -> Result<Vec<Item>> {
    if Content::new(items).len() > MAX_DOCUMENT_BYTES {
        return Err(Error::corrupt("longer than a description may be"));
    }
    let mut records = Records::new(run.source, items);
    let mut document = Vec::new();
    while records.more(&mut document)? {}
    store_document(writer, &document)
}

impl Run<'_> {
    /// What a source content became in the first pass.
    pub(super) fn translate(&self, items: &[Item]) -> Result<Vec<Item>> {
        let Some(key) = content_key(items) else {
            return Ok(items.to_vec());
        };
        match self.memo.content(&key)? {
            Some(Fate::Done(items)) => Ok(items),
            Some(Fate::Lost(reason)) => Err(Error::corrupt(reason)),
            Some(Fate::Planned) | None => {
                Err(Error::invalid("a content was needed before it was copied"))
            }
        }
    }
}
