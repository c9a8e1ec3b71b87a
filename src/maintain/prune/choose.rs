//! Which packs go: those that nothing needs, and the worst of those that are partly garbage.
//!
//! A chunk that lies in several packs counts as needed in the newest of them: what a repack that was killed has copied is used
//! then, and not copied again.

use super::table::{Bits, Table};
use super::{MaxUnused, PruneOptions, PruneReport};
use crate::catalog::{Home, PackRow};
use crate::error::Result;
use crate::format::header::ObjectKind;
use crate::format::plan::MAX_PLAN_PACKS;
use crate::id::PackId;
use crate::repository::Repository;

/// Raw bytes that are stored again at most where there is no room: half of what is set aside.
const TIGHT_BYTES: u64 = 3 << 19;

/// What is decided about one pack.
#[derive(Clone, Copy, Debug, Default)]
struct Pack {
    /// Raw bytes in it.
    raw: u64,
    /// Raw bytes in it that are needed here.
    used: u64,
    /// Something in it is reached, here or elsewhere.
    reached: bool,
    /// Others have decided, or a writer is at it.
    left_alone: bool,
    condemned: bool,
}

impl Pack {
    /// About how many stored bytes of it nothing needs here.
    fn garbage(&self, row: &PackRow) -> u64 {
        let share = u128::from(row.stored_bytes) * u128::from(self.raw - self.used);
        u64::try_from(share / u128::from(self.raw.max(1))).unwrap_or(u64::MAX)
    }
}

/// See the module.
pub(super) struct Choice {
    packs: Vec<Pack>,
    unused_bytes: u64,
}

impl Choice {
    /// Decides about all packs but those that are to be left alone, whose chunks count nowhere. Where room is tight, little is chosen
    /// that must be copied.
    pub(super) fn make(
        repository: &Repository,
        table: &Table,
        reached: &Bits,
        (options, tight): (&PruneOptions, bool),
        left_alone: &dyn Fn(&PackRow) -> bool,
    ) -> Result<Self> {
        let pack = |row: &PackRow| Pack {
            left_alone: left_alone(row),
            ..Pack::default()
        };
        let mut choice = Self {
            packs: table.rows().iter().map(pack).collect(),
            unused_bytes: 0,
        };
        choice.measure(repository, table, reached)?;
        choice.choose(table, options, tight);
        Ok(choice)
    }

    /// Goes once over all homes, those of one chunk side by side and the newest last.
    fn measure(&mut self, repository: &Repository, table: &Table, reached: &Bits) -> Result<()> {
        let packs = &mut self.packs;
        let mut last: Option<(crate::id::ShortChunkId, usize, u64)> = None;
        let name = |no| table.name(no);
        repository.catalog().all_homes(&name, |id, home: Home| {
            let Some(at) = table.at(home.pack_no) else {
                return Ok(());
            };
            let len = u64::from(home.len);
            let bit = table.bit(&home)?;
            packs[at].raw += len;
            if !reached.has(bit) {
                return Ok(());
            }
            packs[at].reached = true;
            if packs[at].left_alone {
                return Ok(());
            }
            if let Some((before, at, len)) = last
                && before == *id
            {
                packs[at].used -= len;
            }
            packs[at].used += len;
            last = Some((*id, at, len));
            Ok(())
        })
    }

    fn choose(&mut self, table: &Table, options: &PruneOptions, tight: bool) {
        let rows = table.rows();
        let mut chosen = 0;
        let mut stored = 0_u64;
        let mut unused = 0_u64;
        let mut partly = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let pack = &mut self.packs[at];
            if pack.left_alone {
                continue;
            }
            if pack.used == 0 && chosen < MAX_PLAN_PACKS {
                pack.condemned = true;
                chosen += 1;
                continue;
            }
            stored += row.stored_bytes;
            let garbage = pack.garbage(row);
            if garbage > 0 {
                unused += garbage;
                partly.push((at, garbage));
            }
        }
        // The worst first: the most garbage for each byte that must be copied.
        partly.sort_by(|(a, garbage_a), (b, garbage_b)| {
            let left = u128::from(*garbage_a) * u128::from(rows[*b].stored_bytes);
            let right = u128::from(*garbage_b) * u128::from(rows[*a].stored_bytes);
            right.cmp(&left).then(rows[*a].id.cmp(&rows[*b].id))
        });
        let mut repacked = 0_u64;
        let mut copied = 0_u64;
        for (at, garbage) in partly {
            let allowed = match options.max_unused {
                MaxUnused::Bytes(bytes) => bytes,
                MaxUnused::Thousandths(thousandths) => {
                    let share = u128::from(stored) * u128::from(thousandths) / 1000;
                    u64::try_from(share).unwrap_or(u64::MAX)
                }
            };
            let bytes = rows[at].stored_bytes;
            let beyond = |most| repacked.saturating_add(bytes) > most;
            if unused <= allowed || chosen >= MAX_PLAN_PACKS {
                break;
            }
            let used = self.packs[at].used;
            let too_much = tight && copied.saturating_add(used) > TIGHT_BYTES;
            if too_much || options.max_repack_bytes.is_some_and(beyond) {
                continue;
            }
            copied += used;
            self.packs[at].condemned = true;
            chosen += 1;
            repacked += bytes;
            unused -= garbage;
            stored -= garbage.min(stored);
        }
        self.unused_bytes = unused;
    }

    /// Whether the pack at this position is condemned.
    pub(super) fn is_condemned(&self, at: usize) -> bool {
        self.packs[at].condemned
    }

    /// Whether something in that pack is reached.
    pub(super) fn is_reached(&self, at: usize) -> bool {
        self.packs[at].reached
    }

    /// That pack stays after all.
    pub(super) fn keep(&mut self, at: usize) {
        self.packs[at].condemned = false;
    }

    /// All packs that something is reached in stay after all.
    pub(super) fn keep_reached(&mut self, table: &Table) {
        for (row, pack) in table.rows().iter().zip(&mut self.packs) {
            if pack.condemned && pack.reached {
                pack.condemned = false;
                self.unused_bytes += pack.garbage(row);
            }
        }
    }

    /// All condemned packs.
    pub(super) fn condemned(&self, table: &Table) -> Vec<(PackId, ObjectKind)> {
        let rows = table.rows().iter().zip(&self.packs);
        rows.filter(|(_, pack)| pack.condemned)
            .map(|(row, _)| (row.id, row.kind))
            .collect()
    }

    /// Adds what was decided to a report.
    pub(super) fn tell(&self, table: &Table, report: &mut PruneReport) {
        report.unused_bytes = self.unused_bytes;
        for (row, pack) in table.rows().iter().zip(&self.packs) {
            if pack.condemned && pack.used > 0 {
                report.repacked.add(row.stored_bytes);
                report.gained_bytes += pack.garbage(row);
            } else if pack.condemned {
                report.unneeded.add(row.stored_bytes);
                report.gained_bytes += row.stored_bytes;
            }
        }
    }
}
