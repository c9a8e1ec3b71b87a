//! Archives and streams given back byte for byte, held against the digest that was taken when they came in.
//!
//! The digest can only be compared at the end, when bytes were given out already: an error then means that none of them
//! can be relied on. Whoever writes a file gives it its name only after that.

mod recipe;

use std::io::Write;
use std::num::NonZeroUsize;

use self::recipe::Recipe;
use super::stream::{Holes, Plan, Stretch, stream};
use crate::error::{At, Class, Error, Result};
use crate::format::snapshot::{Snapshot, StreamDigest, StreamKind, Wrapping};
use crate::format::tree::{Body, Node};
use crate::progress::{Count, Monitor};
use crate::repository::block_cache::Blocks;
use crate::repository::content::Content;
use crate::repository::trees::Cursor;

/// What streams are made of and who is told.
#[derive(Clone, Copy)]
pub struct Streaming<'a> {
    /// Where the bytes are.
    pub blocks: &'a dyn Blocks,
    /// Threads that decode ahead.
    pub threads: NonZeroUsize,
    /// Counts bytes.
    pub monitor: &'a dyn Monitor,
}

impl Streaming<'_> {
    /// Writes a file's content to `out`, holes as zeros; its length.
    pub fn content(&self, node: &Node, out: &mut dyn Write) -> Result<u64> {
        let mut written = 0;
        self.stretches(node, &mut |stretch| {
            written += match stretch {
                Stretch::Bytes(bytes) => {
                    out.write_all(bytes).at("write")?;
                    bytes.len() as u64
                }
                Stretch::Hole(len) | Stretch::Zeros(len) => {
                    self.zeros(len, |zeros| out.write_all(zeros).at("write"))?;
                    len
                }
            };
            Ok(())
        })?;
        Ok(written)
    }

    /// Gives a file's content to `take`, with its holes.
    pub fn stretches(
        &self,
        node: &Node,
        take: &mut dyn FnMut(Stretch<'_>) -> Result<()>,
    ) -> Result<()> {
        let Body::File { content, .. } = &node.body else {
            return Err(Error::invalid("it is no file: it has no content"));
        };
        let content = Content::new(content);
        let plan = |plan: &mut Plan<'_>| plan.content(&content, Holes::Keep);
        self.counted(plan, take)
    }

    /// Writes the archive that the snapshot was made of, byte for byte as it was (after its outer compression was
    /// peeled off).
    pub fn archive(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result<StreamDigest> {
        if snapshot.recipe.is_empty() {
            let what = "the snapshot was not made from an archive, so there is none to give back byte for byte";
            return Err(Error::new(Class::Unsupported, what));
        }
        let expected = snapshot.stream.ok_or_else(|| {
            Error::corrupt("the snapshot has a recipe but no digest to hold it against")
        })?;
        self.digested(
            |plan| Recipe::new(self.blocks, snapshot).plan(plan),
            expected,
            out,
        )
    }

    /// Writes the very bytes that were ingested.
    pub fn original(&self, snapshot: &Snapshot, out: &mut dyn Write) -> Result<StreamDigest> {
        if !snapshot.original.is_empty() {
            let expected = snapshot.wrapped.or(snapshot.stream).ok_or_else(|| {
                Error::corrupt("the snapshot kept its original but no digest to hold it against")
            })?;
            let content = Content::new(&snapshot.original);
            return self.digested(|plan| plan.content(&content, Holes::Keep), expected, out);
        }
        if snapshot.wrapping != Wrapping::Plain {
            let what = format!(
                "the stream came compressed ({}) and its very bytes were not kept: export what was inside \
                 (--format tar or raw), and ingest with --exact to keep them",
                snapshot.wrapping.name()
            );
            return Err(Error::new(Class::Unsupported, what));
        }
        if !snapshot.recipe.is_empty() {
            return self.archive(snapshot, out);
        }
        if snapshot.kind == StreamKind::Dir {
            let what = "a directory has no original stream: export it with --format tar or dir";
            return Err(Error::new(Class::Unsupported, what));
        }
        let node = self.only_file(snapshot)?;
        let Some(expected) = snapshot.stream else {
            let mut hasher = Hashing::new(out);
            self.content(&node, &mut hasher)?;
            return Ok(hasher.digest());
        };
        let Body::File { content, .. } = &node.body else {
            return Err(Error::invalid("the snapshot's only entry is no file"));
        };
        let content = Content::new(content);
        self.digested(|plan| plan.content(&content, Holes::Keep), expected, out)
    }

    /// The file of a snapshot that holds one stream.
    pub fn only_file(&self, snapshot: &Snapshot) -> Result<Node> {
        if let Body::Directory(tree) = &snapshot.root.body
            && tree.total == 1
            && let Some(found) = Cursor::new(self.blocks, tree)?.next()
        {
            return found.map(|node| Node::clone(&node));
        }
        let what =
            "the snapshot holds more than one file: name one (REF:PATH), or use --format tar";
        Err(Error::new(Class::Unsupported, what))
    }

    fn counted(
        &self,
        plan: impl FnOnce(&mut Plan<'_>) -> Result<()> + Send,
        take: &mut dyn FnMut(Stretch<'_>) -> Result<()>,
    ) -> Result<()> {
        stream(self.blocks, self.threads, plan, &mut |stretch| {
            self.go_on()?;
            let len = match stretch {
                Stretch::Bytes(bytes) => bytes.len() as u64,
                Stretch::Hole(len) | Stretch::Zeros(len) => len,
            };
            self.monitor.add(Count::Bytes, len);
            take(stretch)
        })
    }

    /// Gives `len` zeros to `take`. There may be more of them than anybody wants to wait for.
    fn zeros(&self, len: u64, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        crate::repository::load::zeros(len, |zeros| {
            self.go_on()?;
            take(zeros)
        })
    }

    fn go_on(&self) -> Result<()> {
        if self.monitor.interrupted() {
            return Err(Error::new(Class::Interrupted, "interrupted"));
        }
        Ok(())
    }

    /// Streams a plan to `out` and compares what came out with `expected`.
    fn digested(
        &self,
        plan: impl FnOnce(&mut Plan<'_>) -> Result<()> + Send,
        expected: StreamDigest,
        out: &mut dyn Write,
    ) -> Result<StreamDigest> {
        let mut hashing = Hashing::new(out);
        self.monitor.expect(Count::Bytes, expected.bytes);
        self.counted(plan, &mut |stretch| match stretch {
            Stretch::Bytes(bytes) => hashing.write_all(bytes).at("write"),
            Stretch::Hole(len) | Stretch::Zeros(len) => {
                self.zeros(len, |zeros| hashing.write_all(zeros).at("write"))
            }
        })?;
        let digest = hashing.digest();
        if digest == expected {
            return Ok(digest);
        }
        Err(Error::corrupt(format!(
            "what came out ({} bytes) is not what went in ({} bytes, other digest): do not use it",
            digest.bytes, expected.bytes
        )))
    }
}

/// Hashes what passes.
struct Hashing<'a> {
    out: &'a mut dyn Write,
    hasher: blake3::Hasher,
}

impl<'a> Hashing<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        let hasher = blake3::Hasher::new();
        Self { out, hasher }
    }

    fn digest(&self) -> StreamDigest {
        StreamDigest {
            bytes: self.hasher.count(),
            blake3: *self.hasher.finalize().as_bytes(),
        }
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
