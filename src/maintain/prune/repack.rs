//! Repack: what is still needed of condemned packs is stored again before the plan is written.
//!
//! A chunk that has another home is not copied, but that home is read and compared with the chunk's id first: a copy that was never
//! looked at does not make a good one worthless.

use std::sync::Arc;

use super::choose::Choice;
use super::interrupted;
use super::table::{Bits, Table};
use crate::catalog::PackRow;
use crate::error::{Class, Error, Result};
use crate::format::pack::Directory;
use crate::id::ShortChunkId;
use crate::progress::{Count, Monitor};
use crate::repository::{Homes, Location, Repository, Session, Writer, WriterOptions};

/// What was copied.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Copied {
    /// Raw bytes of chunks.
    pub(super) bytes: u64,
    /// Stored bytes of the objects written.
    pub(super) written_bytes: u64,
}

/// Copies what is needed. A pack that cannot be read where nothing else has its chunks stays.
pub(super) fn repack(
    repository: &Arc<Repository>,
    (session, homes, options): (&Arc<Session>, Homes, WriterOptions),
    (table, reached): (&Table, &Bits),
    choice: &mut Choice,
    monitor: &Arc<dyn Monitor>,
) -> Result<Copied> {
    let mut copied = Copied::default();
    let wanted: Vec<usize> = (0..table.rows().len())
        .filter(|at| choice.is_condemned(*at) && choice.is_reached(*at))
        .collect();
    if wanted.is_empty() {
        return Ok(copied);
    }
    let mut condemned = homes.condemned().clone();
    condemned
        .packs
        .extend(choice.condemned(table).iter().map(|(id, _)| *id));
    let homes = Arc::new(homes.with_condemned(condemned)?);
    let mut writer = Writer::start(repository, Arc::clone(session), homes, (options, monitor))?;
    let total = wanted.iter().map(|at| table.rows()[*at].stored_bytes);
    monitor.expect(Count::Bytes, total.sum());
    for at in wanted {
        interrupted(monitor.as_ref())?;
        let row = table.rows()[at];
        monitor.doing(&|| format!("repacking {}", row.id));
        let work = Repack {
            repository,
            writer: &writer,
            row,
        };
        match work.pack(table, reached) {
            Ok(bytes) => copied.bytes += bytes,
            Err(e) if matches!(e.class(), Class::Corrupt | Class::NotFound) => {
                choice.keep(at);
                monitor.warn(&format!(
                    "pack {} holds something needed that cannot be read, and stays: {e}",
                    row.id
                ));
            }
            Err(e) => return Err(e),
        }
        monitor.add(Count::Bytes, row.stored_bytes);
    }
    copied.written_bytes = writer.finish()?.stored_bytes;
    Ok(copied)
}

struct Repack<'a> {
    repository: &'a Arc<Repository>,
    writer: &'a Writer,
    row: PackRow,
}

impl Repack<'_> {
    /// Stores again what is needed of the pack; its raw bytes.
    fn pack(&self, table: &Table, reached: &Bits) -> Result<u64> {
        let directory = self.directory()?;
        let chunks = directory.blocks.iter().flat_map(|block| &block.chunks);
        let ids: Vec<ShortChunkId> = chunks.map(|chunk| chunk.id).collect();
        let mut needed = vec![false; ids.len()];
        let name = |no| table.name(no);
        let catalog = self.repository.catalog();
        catalog.homes(&ids, &name, |at, homes| {
            for home in homes {
                needed[at] |= reached.has(table.bit(home)?);
            }
            Ok(())
        })?;
        let needed = ids.iter().zip(needed).filter(|(_, needed)| *needed);
        needed.map(|(id, _)| self.chunk(id)).sum()
    }

    /// The pack's directory, as the catalog numbers its chunks.
    fn directory(&self) -> Result<Directory> {
        let directory = self
            .repository
            .pack_directory(self.row.kind, &self.row.id)?;
        if directory.chunk_count() == self.row.chunks as usize {
            return Ok(directory);
        }
        Err(Error::corrupt(format!(
            "pack {} is listed with other chunks than it has",
            self.row.id
        )))
    }

    fn chunk(&self, id: &ShortChunkId) -> Result<u64> {
        if let Some(bytes) = self.writer.rehome(id)? {
            return Ok(bytes);
        }
        if self.writer.is_pending(id) {
            return Ok(0);
        }
        // It has a home that stays, or was copied a while ago.
        let homes = self.repository.homes(id)?;
        for home in &homes {
            if self.writer.is_own(&home.block.pack) || self.is_sound(id, home) {
                return Ok(0);
            }
        }
        let here = homes.iter().find(|home| home.block.pack == self.row.id);
        let here = here.ok_or_else(|| Error::corrupt(format!("chunk {id} is in no pack")))?;
        let bytes = self.repository.chunk_at_home(id, here)?;
        Ok(self.writer.keep(self.row.kind, id, &bytes)?.unwrap_or(0))
    }

    /// Whether a home that stays has the chunk's very bytes.
    fn is_sound(&self, id: &ShortChunkId, home: &Location) -> bool {
        !self.writer.homes().is_condemned(&home.block.pack)
            && self.repository.chunk_at_home(id, home).is_ok()
    }
}
