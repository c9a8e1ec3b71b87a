//! Walks an archive block by block and drives the sink.
//!
//! Every byte is consumed in one of two places, `literal` and `data`, and both hand it to the sink in the same
//! step: that is what keeps the law of this module (see [`super`]) by construction.

use std::io::Read;

use super::extra::Extra;
use super::header::{BLOCK_BYTES, Dialect, Header, is_header, text};
use super::member::{Layout, Member, Shape, merge};
use super::report::Report;
use super::sparse::{LineMap, MapError, RawMap, push_slots};
use super::{TarSummary, show};
use crate::entry::{Entry, Extent, Outcome, Sink, Want};
use crate::error::{Class, Error, Result};
use crate::source::identity::Finder;
use crate::source::window::Window;

/// Bounds of what is held in memory: one extended header, one long name.
const MAX_PAX_BYTES: u64 = 64 << 20;
const MAX_LONG_NAME_BYTES: u64 = 1 << 20;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// One pass over one archive.
pub(super) struct Reader<'r, R> {
    pub(super) window: &'r mut Window<R>,
    pub(super) sink: &'r mut dyn Sink,
    pub(super) report: Report,
    pub(super) finder: Finder,
    pub(super) summary: TarSummary,
    global: Extra,
    /// From extended headers, for the next member.
    extra: Option<Extra>,
    pax_seen: bool,
}

impl<'r, R: Read> Reader<'r, R> {
    pub(super) fn new(
        window: &'r mut Window<R>,
        sink: &'r mut dyn Sink,
        report: Report,
        finder: Finder,
    ) -> Self {
        Self {
            window,
            sink,
            report,
            finder,
            summary: TarSummary::default(),
            global: Extra::default(),
            extra: None,
            pax_seen: false,
        }
    }

    /// Reads to the end of the stream.
    pub(super) fn run(&mut self) -> Result<()> {
        loop {
            self.check_interrupted()?;
            let offset = self.window.offset();
            let shown = peek(self.window, BLOCK_BYTES)?;
            let Some(block) = shown.first_chunk() else {
                return if shown.is_empty() {
                    self.stops_at_boundary(offset)
                } else {
                    Err(self.early(b""))
                };
            };
            if is_zero(block) {
                if self.ends()? {
                    return Ok(());
                }
                continue;
            }
            let Some(header) = Header::parse(block) else {
                return Err(no_header(offset));
            };
            if self.summary.archives == 0 {
                self.summary.archives = 1;
            }
            self.summary.end_blocks = false;
            self.literal(BLOCK, b"")?;
            self.block(header, offset)?;
        }
    }

    /// What follows a header block of any type.
    fn block(&mut self, mut header: Header, offset: u64) -> Result<()> {
        match header.flag() {
            b'L' => {
                let name = self.long_name(&header, offset)?;
                self.extra().long_path = Some(name);
                return Ok(());
            }
            b'K' => {
                let name = self.long_name(&header, offset)?;
                self.extra().long_link = Some(name);
                return Ok(());
            }
            // 'X' is what Solaris called it before the standard did.
            b'x' | b'X' => {
                let bytes = self.body(&header, MAX_PAX_BYTES, offset)?;
                self.pax_seen = true;
                return self.extra().apply(&bytes, false, offset);
            }
            b'g' => {
                let bytes = self.body(&header, MAX_PAX_BYTES, offset)?;
                self.pax_seen = true;
                self.global.apply(&bytes, true, offset)?;
                let problems = std::mem::take(&mut self.global.problems);
                self.report.problems(b"global PAX header", &problems);
                return Ok(());
            }
            _ => {}
        }
        let mut extra = self.extra.take().unwrap_or_else(|| self.global.clone());
        if header.flag() == b'1' && self.link_has_content(&header, &extra)? {
            header.make_file();
            extra.problem("it is a hard link with content of its own: shown as a file");
        }
        let member = merge(&header, extra, offset)?;
        self.member(&header, member)
    }

    /// Passes one member on, shown or hidden, with what follows it.
    fn member(&mut self, header: &Header, member: Member) -> Result<()> {
        let Member {
            name,
            shape,
            mut stored,
            layout,
            problems,
        } = member;
        self.report.problems(&name, &problems);
        let mut entry = match shape {
            Shape::Shown(entry) => entry,
            Shape::Hidden(reason) => {
                self.summary.hidden += 1;
                let shown = show(&name);
                let warning = format!("'{shown}' is kept in the stream but not shown: {reason}");
                self.report.warn(&warning);
                self.skip_map(header, &name)?;
                return self.literal_padded(stored, &name);
            }
        };
        if name.starts_with(b"/") {
            self.report
                .note_once("leading slashes are dropped from names");
        }
        self.summary.entries += 1;
        if !entry.is_file() {
            self.sink.entry(&entry)?;
            if stored > 0 && header.flag() != b'D' {
                self.report.problems(
                    &name,
                    &["it is a directory with content: kept in the stream only".into()],
                );
            }
            return self.literal_padded(stored, &name);
        }
        let padding = stored.next_multiple_of(BLOCK) - stored;
        entry.extents = self.extents(header, layout, &mut stored, &name)?;
        self.content(&entry, &name)?;
        self.literal(padding, &name)
    }

    /// Finishes reading a sparse member's map; what it takes of the `stored` bytes is taken off.
    fn extents(
        &mut self,
        header: &Header,
        layout: Layout,
        stored: &mut u64,
        name: &[u8],
    ) -> Result<Option<Vec<Extent>>> {
        let bad = |e| bad_map(name, &e);
        let (map, size) = match layout {
            Layout::Plain => return Ok(None),
            Layout::Mapped(map, size) => (map, size),
            Layout::OldGnu(size) => (self.old_map(header, name)?, size),
            Layout::Lines(size) => {
                let mut lines = LineMap::default();
                loop {
                    let block = self.whole_block(name)?;
                    *stored = stored
                        .checked_sub(BLOCK)
                        .ok_or_else(|| bad(MapError::Malformed("it does not end")))?;
                    if lines.feed(&block).map_err(bad)? {
                        break;
                    }
                }
                (lines.finish(), size)
            }
        };
        map.validate(size, *stored).map(Some).map_err(bad)
    }

    /// The slots of an old GNU header, and of the blocks behind it.
    fn old_map(&mut self, header: &Header, name: &[u8]) -> Result<RawMap> {
        let mut map = RawMap::default();
        let (slots, mut more, _) = header.old_sparse();
        push_slots(&mut map, slots).map_err(|e| bad_map(name, &e))?;
        while more {
            let block = self.whole_block(name)?;
            push_slots(&mut map, &block[..504]).map_err(|e| bad_map(name, &e))?;
            more = block[504] != 0;
        }
        Ok(map)
    }

    /// Passes over the blocks of a map that stand between a header and the bytes that its size counts.
    fn skip_map(&mut self, header: &Header, name: &[u8]) -> Result<()> {
        let mut more = header.map_goes_on();
        while more {
            self.check_interrupted()?;
            more = self.whole_block(name)?[504] != 0;
        }
        Ok(())
    }

    /// Announces a file, and sends its data and holes.
    fn content(&mut self, entry: &Entry, name: &[u8]) -> Result<()> {
        let wanted = self.sink.entry(entry)? == Want::Content;
        self.finder.begin(entry);
        let whole = [Extent {
            offset: 0,
            len: entry.size,
        }];
        let extents = entry.extents.as_deref().unwrap_or(&whole);
        let mut position = 0;
        for extent in extents {
            self.hole(extent.offset - position, wanted)?;
            self.data(extent.len, name, wanted)?;
            position = extent.offset + extent.len;
        }
        self.hole(entry.size - position, wanted)?;
        self.finder.end()?;
        if wanted {
            self.sink.end(Outcome::Whole)?;
        }
        Ok(())
    }

    fn hole(&mut self, len: u64, wanted: bool) -> Result<()> {
        self.finder.hole(len);
        if len > 0 && wanted {
            self.sink.hole(len)?;
        }
        Ok(())
    }

    /// Passes the next `len` bytes on as content, as they lie in the buffer.
    fn data(&mut self, mut len: u64, name: &[u8], wanted: bool) -> Result<()> {
        while len > 0 {
            self.check_interrupted()?;
            let shown = peek(self.window, 1)?;
            let take = usize::try_from(len).map_or(shown.len(), |len| len.min(shown.len()));
            if take == 0 {
                return Err(self.early(name));
            }
            if wanted {
                self.sink.data(&shown[..take])?;
            }
            self.finder.data(&shown[..take]);
            self.window.advance(take);
            len -= take as u64;
        }
        Ok(())
    }

    /// Passes the next `len` bytes on as literal.
    fn literal(&mut self, mut len: u64, name: &[u8]) -> Result<()> {
        while len > 0 {
            let shown = peek(self.window, 1)?;
            let take = usize::try_from(len).map_or(shown.len(), |len| len.min(shown.len()));
            if take == 0 {
                return Err(self.early(name));
            }
            self.sink.literal(&shown[..take])?;
            self.window.advance(take);
            len -= take as u64;
        }
        Ok(())
    }

    fn literal_padded(&mut self, stored: u64, name: &[u8]) -> Result<()> {
        self.literal(stored.next_multiple_of(BLOCK), name)
    }

    /// The next block, also passed on as literal.
    fn whole_block(&mut self, name: &[u8]) -> Result<[u8; BLOCK_BYTES]> {
        let block = peek(self.window, BLOCK_BYTES)?.first_chunk().copied();
        let block = block.ok_or_else(|| self.early(name))?;
        self.literal(BLOCK, name)?;
        Ok(block)
    }

    /// The content of an extended header, also passed on as literal.
    fn body(&mut self, header: &Header, limit: u64, offset: u64) -> Result<Vec<u8>> {
        let size = header.size().filter(|size| *size <= limit).ok_or_else(|| {
            Error::invalid(format!(
                "the extended header at byte {offset} of the tar is larger than {limit} bytes"
            ))
        })?;
        let mut bytes = Vec::new();
        let mut rest = size;
        while rest > 0 {
            let shown = peek(self.window, 1)?;
            let take = usize::try_from(rest).map_or(shown.len(), |rest| rest.min(shown.len()));
            if take == 0 {
                return Err(self.early(b""));
            }
            bytes.extend_from_slice(&shown[..take]);
            self.literal(take as u64, b"")?;
            rest -= take as u64;
        }
        self.literal(size.next_multiple_of(BLOCK) - size, b"")?;
        Ok(bytes)
    }

    fn long_name(&mut self, header: &Header, offset: u64) -> Result<Vec<u8>> {
        let bytes = self.body(header, MAX_LONG_NAME_BYTES, offset)?;
        Ok(text(&bytes).to_vec())
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_with(|| self.global.clone())
    }

    /// Whether content follows a hard link that has a size. POSIX.1-2001 lets it, older formats do not but write the
    /// size all the same; so in old formats it does not, in PAX archives it does, and in plain ustar what follows decides.
    fn link_has_content(&mut self, header: &Header, extra: &Extra) -> Result<bool> {
        if extra.size.or_else(|| header.size()).unwrap_or(0) == 0 {
            return Ok(false);
        }
        if self.pax_seen {
            return Ok(true);
        }
        if matches!(header.dialect, Dialect::V7 | Dialect::Gnu) {
            return Ok(false);
        }
        let next = peek(self.window, BLOCK_BYTES)?.first_chunk();
        Ok(next.is_some_and(|block| !is_zero(block) && !is_header(block)))
    }

    /// Passes zero blocks on. `true` if the stream is over; `false` if another header follows.
    fn ends(&mut self) -> Result<bool> {
        let mut blocks = 0_u64;
        self.check_complete()?;
        loop {
            let shown = peek(self.window, BLOCK_BYTES)?;
            let zeros = shown
                .as_chunks()
                .0
                .iter()
                .take_while(|block| is_zero(block))
                .count() as u64;
            if zeros == 0 {
                break;
            }
            blocks += zeros;
            self.literal(zeros * BLOCK, b"")?;
        }
        self.summary.end_blocks = blocks >= 2;
        self.summary.archives = self.summary.archives.max(1);
        let offset = self.window.offset();
        let shown = peek(self.window, BLOCK_BYTES)?;
        if shown.len() < BLOCK_BYTES && shown.iter().all(|b| *b == 0) {
            let rest = shown.len() as u64;
            self.literal(rest, b"")?;
            if blocks < 2 {
                self.report
                    .note_once("the tar has one end block instead of two");
            }
            return Ok(true);
        }
        match shown.first_chunk() {
            Some(block) if is_header(block) => {
                self.summary.archives += 1;
                self.report
                    .note_once("the tar is several archives behind each other: all are taken");
                Ok(false)
            }
            _ if blocks < 2 => Err(no_header(offset)),
            _ => {
                self.trailing()?;
                Ok(true)
            }
        }
    }

    /// Passes on what follows the archive and is none.
    fn trailing(&mut self) -> Result<()> {
        let from = self.window.offset();
        loop {
            self.check_interrupted()?;
            let len = peek(self.window, 1)?.len();
            if len == 0 {
                break;
            }
            self.literal(len as u64, b"")?;
        }
        self.summary.trailing_bytes = self.window.offset() - from;
        self.report.warn(&format!(
            "{} bytes after the end of the tar, at byte {from}, are no archive: kept in the stream but not shown",
            self.summary.trailing_bytes
        ));
        Ok(())
    }

    /// The stream is over where a header could have been.
    fn stops_at_boundary(&mut self, offset: u64) -> Result<()> {
        if offset == 0 {
            return Err(Error::new(
                Class::NoData,
                "the input is empty, not even an empty tar",
            ));
        }
        self.check_complete()?;
        self.report
            .warn("the tar has no end blocks: if it was cut short, it was between two members");
        Ok(())
    }

    /// An extended header must be followed by its member.
    fn check_complete(&self) -> Result<()> {
        match self.extra {
            Some(_) => Err(self.early(b"")),
            None => Ok(()),
        }
    }

    fn check_interrupted(&self) -> Result<()> {
        if self.report.interrupted() {
            return Err(Error::new(
                Class::Interrupted,
                "reading the tar was interrupted",
            ));
        }
        Ok(())
    }

    /// The input ended inside something.
    fn early(&self, name: &[u8]) -> Error {
        let inside = if name.is_empty() {
            "a header".into()
        } else {
            format!("'{}'", show(name))
        };
        let at = self.window.offset();
        Error::corrupt(format!(
            "the tar ends early, after byte {at}, inside {inside}: the input is truncated"
        ))
    }
}

fn peek<R: Read>(window: &mut Window<R>, wanted: usize) -> Result<&[u8]> {
    window
        .peek(wanted)
        .map_err(|e| Error::io("read the tar", e))
}

fn is_zero(block: &[u8; BLOCK_BYTES]) -> bool {
    block
        .as_chunks::<16>()
        .0
        .iter()
        .all(|part| u128::from_ne_bytes(*part) == 0)
}

fn bad_map(name: &[u8], error: &MapError) -> Error {
    Error::corrupt(format!("'{}': {error}", show(name)))
}

fn no_header(offset: u64) -> Error {
    if offset == 0 {
        return Error::invalid(
            "the input is no tar archive: its first block has no valid checksum",
        );
    }
    Error::corrupt(format!(
        "the tar is damaged at byte {offset}: a header should be there, but its checksum is wrong"
    ))
}
