//! `Source` pushes entries and their content into a `Sink`.
//!
//! Push, because a tar cannot be read twice or out of order, because holes travel beside data, and because the sink can
//! decline a file before it is read. The call sequence, for each entry:
//!
//! ```text
//! literal*                       bytes of the original stream that are no content (archives only)
//! entry(file)   -> Want::Content   (data | hole)*  end(outcome)
//!               -> Want::Skip
//! entry(other)  -> (ignored)
//! literal*
//! ```
//!
//! A directory comes before what is in it. [`Order::Walk`] sources emit in [`EntryPath`](super::EntryPath) order, each path once;
//! [`Order::Archive`] sources in any order, and a path may come again (the last one counts, as when a tar is extracted).
//! A stream is complete only when `stream` returned `Ok`: an error in the middle must never become a snapshot.

use super::Entry;
use crate::error::Result;

/// Whether the sink wants a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Send it.
    Content,
    /// Do not: the sink has it, or has no use for it. Neither `data`, `hole` nor `end` follows.
    Skip,
}

/// How a file's content ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it came, and the file was the same before and after.
    Whole,
    /// The file changed while it was read: what came is kept, and marked.
    Changed,
    /// It could not be read to its end: what came must be dropped, with the entry. The source has warned.
    Failed,
}

/// The order in which a source emits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Depth first, siblings by name bytes, every path once.
    Walk,
    /// As an archive has it.
    Archive,
}

/// Produces entries and their content.
pub trait Source {
    /// The order of emission.
    fn order(&self) -> Order;
    /// Pushes everything into `sink`, once. `Ok` means that the stream was complete and valid to its end.
    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()>;
}

/// Consumes entries and their content.
pub trait Sink {
    /// The next entry. For files the answer says whether content follows; for all others it is ignored.
    fn entry(&mut self, entry: &Entry) -> Result<Want>;
    /// The next bytes of the current file's content; never empty.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    /// A hole of `len` > 0 bytes in the current file's content.
    fn hole(&mut self, len: u64) -> Result<()>;
    /// The current file's content is over.
    fn end(&mut self, outcome: Outcome) -> Result<()>;
    /// Bytes of the original stream that are not content: headers, padding, end blocks. Together with the `data` calls
    /// (holes take no bytes) they are the whole stream in order. Never called between `entry` and `end` of one
    /// file, except where an archive keeps such bytes (a sparse map) in front of the content: then before the first `data`.
    fn literal(&mut self, bytes: &[u8]) -> Result<()>;
}

/// Answers, ahead of the stream and from any thread, whether a file is known unchanged and need not be read.
///
/// It is asked about regular files only, and before a file is opened, so the entry is bare: no extended attributes, no names of
/// owners, no extents. Equal status change time proves that those did not change either. A file that is declared
/// unchanged is then emitted as bare as that, and the sink takes all of it from the node that it has; the same goes for later
/// names of that inode ([`Kind::HardLink`](super::Kind::HardLink)). The answer is a promise: `Want::Content` for such an entry is an error.
pub trait Known: Send + Sync {
    /// True if the sink will answer `Want::Skip` for this entry.
    fn unchanged(&self, entry: &Entry) -> bool;
}
