//! The bytes of an export: an original given back, or entries in a container.

use super::destination::Destination;
use super::{Args, How, threads};
use crate::cli::context::Context;
use crate::cli::exit::{Done, Failure, Hint};
use crate::entry::{Entry, Outcome, Sink, Source, Want};
use crate::error::{Class, Error, Result};
use crate::export::raw::RawWriter;
use crate::export::{Format, Options};
use crate::progress::{Count, Monitor};
use crate::repository::Repository;
use crate::restore::{Filter, Selection, SnapshotSource, Streaming};

/// One export to a stream.
pub(super) struct Job<'a> {
    pub(super) context: &'a Context,
    pub(super) repository: &'a Repository,
    pub(super) selections: &'a [Selection],
    pub(super) args: &'a Args,
}

impl Job<'_> {
    /// Writes it all.
    pub(super) fn run(&self, how: How, to: &Destination) -> Done {
        match how {
            How::Original => self.original(to),
            How::Stream(format) if format.name == "raw" => self.raw(to),
            How::Stream(format) => match self.archive() {
                Some(selection) if format.name.starts_with("tar") => {
                    self.replay(selection, format, to)
                }
                _ => self.entries(format, to),
            },
            How::Dir => Err(Failure::usage("a directory is no stream")),
        }
    }

    /// The one whole snapshot that is wanted, if it was an archive.
    fn archive(&self) -> Option<&Selection> {
        self.whole()
            .filter(|selection| !selection.snapshot.recipe.is_empty())
    }

    /// The one whole snapshot that is wanted.
    fn whole(&self) -> Option<&Selection> {
        let filtered = !self.args.include.is_empty() || !self.args.exclude.is_empty();
        match self.selections {
            [selection] if selection.path.is_root() && !filtered => Some(selection),
            _ => None,
        }
    }

    fn options(&self) -> Options {
        Options {
            sparse: self.args.sparse.sparse(),
            level: self.args.level,
            threads: threads().get(),
        }
    }

    fn streaming(&self) -> Streaming<'_> {
        let monitor: &dyn Monitor = self.context.monitor().as_ref();
        Streaming {
            blocks: self.repository,
            threads: threads(),
            monitor,
        }
    }

    /// An archive as it came in, byte for byte, compressed anew if the format is.
    fn replay(&self, selection: &Selection, format: &Format, to: &Destination) -> Done {
        let mut packed = format.pack(to.writer()?, &self.options())?;
        self.streaming().archive(&selection.snapshot, &mut packed)?;
        packed.finish()?;
        Ok(())
    }

    fn original(&self, to: &Destination) -> Done {
        let Some(selection) = self.whole() else {
            return Err(Failure::usage("only one whole snapshot has an original")
                .hint("export parts with --format tar, or one file with --format raw"));
        };
        self.streaming()
            .original(&selection.snapshot, &mut to.writer()?)?;
        Ok(())
    }

    /// The content of one file; into a file of ours with its holes.
    fn raw(&self, to: &Destination) -> Done {
        let mut source = self.source(&[])?;
        let filtered = !self.args.include.is_empty() || !self.args.exclude.is_empty();
        // A root and its one file, or the file alone: known before a byte is written.
        if source.totals().0 > 2 && !filtered {
            return Err(
                Failure::usage("there is more than one file: which one shall it be?")
                    .hint("'repo ls -R REF' shows the files; REF:PATH is one of them"),
            );
        }
        let done = if let Some(file) = to.sparse_file()? {
            let mut writer = RawWriter::sparse(file);
            source
                .stream(&mut writer)
                .and_then(|()| writer.finish().map(drop))
        } else {
            let mut writer = RawWriter::stream(to.writer()?);
            source
                .stream(&mut writer)
                .and_then(|()| writer.finish().map(drop))
        };
        done.hint_for(Class::Invalid, || {
            "'repo ls -R REF' shows the files; REF:PATH is one of them".into()
        })
    }

    fn entries(&self, format: &Format, to: &Destination) -> Done {
        let monitor = self.context.library_monitor();
        let mut sources = self.sources(format)?;
        let (entries, bytes) = sources
            .last()
            .map(SnapshotSource::totals)
            .unwrap_or_default();
        if self.args.include.is_empty() && self.args.exclude.is_empty() {
            monitor.expect(Count::Entries, entries);
            monitor.expect(Count::Bytes, bytes);
        }
        let mut export = format.open(to.writer()?, &self.options(), monitor)?;
        let mut counted = Counted {
            sink: &mut *export,
            entries: 0,
            flat: format.envelope.is_some(),
        };
        for source in &mut sources {
            source
                .stream(&mut counted)
                .hint_for(Class::Unsupported, || {
                    "leave it out with --exclude, or choose --format tar".to_owned()
                })
                .hint_for(Class::Corrupt, || {
                    "an archive cannot leave out what it has begun: --exclude leaves out what is lost, --format dir gives all that is \
                     whole; 'repo check' tells which snapshots and paths are hurt"
                        .to_owned()
                })?;
        }
        // Before the archive gets its name.
        crate::cli::restore::matched(&self.args.include, counted.entries)?;
        export.finish()?;
        Ok(())
    }

    /// What makes the archive, one after the other: the file that must come first, and all the rest.
    fn sources(&self, format: &Format) -> Done<Vec<SnapshotSource<'_>>> {
        if let (Some(name), [selection]) = (format.envelope, self.selections)
            && Filter::new(&self.args.include, &self.args.exclude)?.passes(name)
        {
            let path = selection.path.join(name.as_bytes());
            let envelope = Selection {
                path: path.map_err(|e| Error::caused(Class::Invalid, name, e))?,
                contents: false,
                ..selection.clone()
            };
            let filter = Filter::new(&[], &[])?;
            match self.source_of(&[envelope], filter) {
                Ok(first) => return Ok(vec![first, self.source(&[format!("/{name}")])?]),
                Err(error) if error.class() == Class::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(vec![self.source(&[])?])
    }

    /// What was selected, without what `except` matches.
    fn source(&self, except: &[String]) -> Done<SnapshotSource<'_>> {
        let exclude = [&self.args.exclude, except].concat();
        let filter = Filter::new(&self.args.include, &exclude)?;
        Ok(self.source_of(self.selections, filter)?)
    }

    fn source_of(&self, selections: &[Selection], filter: Filter) -> Result<SnapshotSource<'_>> {
        let monitor = self.context.library_monitor();
        let source = SnapshotSource::new(self.repository, selections, filter, threads(), monitor)?;
        Ok(source.with_scratch(self.context.scratch()))
    }
}

/// Passes everything on, and counts the entries. The root does not count: it is handed out whatever the patterns are.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    entries: u64,
    /// Only files at the top have a place: the root is left out, and nothing else can be.
    flat: bool,
}

impl Sink for Counted<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<Want> {
        self.entries += u64::from(!entry.path.is_root());
        if self.flat && entry.path.is_root() && entry.is_directory() {
            return Ok(Want::Skip);
        }
        if self.flat && !(entry.is_file() && entry.path.depth() == 1) {
            return Err(Error::new(
                Class::Unsupported,
                format!(
                    "'{}' is no file at the top of the snapshot, and the format has only those",
                    entry.path
                ),
            ));
        }
        self.sink.entry(entry)
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.data(bytes)
    }

    fn hole(&mut self, len: u64) -> Result<()> {
        self.sink.hole(len)
    }

    fn end(&mut self, outcome: Outcome) -> Result<()> {
        self.sink.end(outcome)
    }

    fn literal(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.literal(bytes)
    }
}
