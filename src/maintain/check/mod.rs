//! Is everything there, is it what it was, and if not: which snapshots and paths does it hurt?
//!
//! ```text
//! objects    stored packs against index objects: missing, cut short, unlisted
//! data       (if asked) all bytes of packs: names, seals, chunk ids
//! trees      every tree once: it decodes, and every chunk that it names has a home that is not damaged
//! harm       (if anything is wrong) every path of every snapshot that needs what is missing or damaged
//! ```
//! The objects are the truth: what the catalog says is compared with them. Memory: 40 bytes for each pack, 16 for each tree, and
//! what is wrong; never a list of chunks or files.

mod harm;
mod no_key;
mod objects;
#[cfg(test)]
mod tests;
mod trees;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Display;

pub use self::harm::{Harm, HarmedPart};
pub use self::no_key::{NoKeyReport, check_no_key};
use crate::error::{Error, Result};
use crate::id::{ChunkId, PackId, ShortChunkId, SnapshotId};
use crate::progress::Monitor;
use crate::repository::{Location, Needs, Repository, SnapshotInfo};

/// How many problems and harmed paths are kept one by one; all are counted, and harmed paths also go to the caller.
const MAX_KEPT: usize = 10_000;

/// How much content to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadData {
    /// None: structure only.
    #[default]
    None,
    /// All of it.
    All,
    /// The packs of one part of so many: all parts together are all packs.
    Part {
        /// Which, from 0.
        part: u64,
        /// Of how many, at least 1.
        of: u64,
    },
}

impl ReadData {
    /// What `5%` or `2/20` (the second of twenty parts) means. With a percentage, successive seeds go over all parts.
    pub fn parse(text: &str, seed: u64) -> Result<Self> {
        let bad = || Error::invalid(format!("'{text}' is no part of the data: write 5% or 1/20"));
        if let Some((part, of)) = text.split_once('/') {
            let (part, of): (u64, u64) = (
                part.trim().parse().map_err(|_| bad())?,
                of.trim().parse().map_err(|_| bad())?,
            );
            if part == 0 || part > of {
                return Err(bad());
            }
            return Ok(Self::Part { part: part - 1, of });
        }
        let percent = text.strip_suffix('%').ok_or_else(bad)?.trim();
        let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
        let digits = format!("{fraction:0<3}");
        let thousandths: u64 = format!("{whole}{}", digits.get(..3).ok_or_else(bad)?)
            .parse()
            .map_err(|_| bad())?;
        match thousandths {
            1..=100_000 => {
                let of = 100_000 / thousandths;
                Ok(Self::Part {
                    part: seed % of,
                    of,
                })
            }
            _ => Err(bad()),
        }
    }

    fn takes(self, id: &PackId) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Part { part, of } => {
                // Names are hashes: any of their bytes spread packs evenly.
                let head = id.as_bytes().iter().take(8);
                head.fold(0, |sum, byte| sum << 8 | u64::from(*byte)) % of == part
            }
        }
    }
}

/// Something that is not as it should be.
#[derive(Debug)]
pub struct Problem {
    /// The object or structure.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// Nothing is lost by it: an interrupted run left it, or it can be rebuilt.
    pub harmless: bool,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Snapshots that could be read.
    pub snapshots: u64,
    /// Distinct directories and shards looked at.
    pub trees: u64,
    /// References to chunks that were looked up.
    pub references: u64,
    /// Packs in the store.
    pub packs: u64,
    /// Index objects in the store.
    pub index_objects: u64,
    /// Packs of which every byte was read.
    pub packs_read: u64,
    /// Raw bytes that were unsealed, decompressed and compared with their chunk ids.
    pub raw_bytes_read: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many problems there are that lose something.
    pub damage: u64,
    /// How many there are that do not.
    pub harmless: u64,
    /// Index objects that cannot be read. The packs themselves say the same, so nothing is lost by it.
    pub damaged_indexes: u64,
    /// Packs that snapshots need and no index object lists, since theirs is damaged or lost.
    pub unlisted_packs: u64,
    /// How many paths (and other parts of snapshots) cannot be read.
    pub harmed: u64,
    /// The first of them.
    pub harms: Vec<Harm>,
    /// Snapshots that are hurt, those that cannot be read at all among them.
    pub harmed_snapshots: BTreeSet<SnapshotId>,
}

impl CheckReport {
    /// True if everything can be read back as it was.
    pub fn is_sound(&self) -> bool {
        self.damage == 0 && self.harmed == 0
    }

    /// True if, beside, no object is damaged or lost that others make up for.
    pub fn is_whole(&self) -> bool {
        self.is_sound() && self.damaged_indexes == 0 && self.unlisted_packs == 0
    }

    fn problem(&mut self, object: &dyn Display, what: &dyn Display, harmless: bool) {
        if harmless {
            self.harmless += 1;
        } else {
            self.damage += 1;
        }
        if self.problems.len() < MAX_KEPT {
            self.problems.push(Problem {
                object: object.to_string(),
                what: what.to_string(),
                harmless,
            });
        }
    }
}

/// What of a pack cannot be relied on.
enum PackDamage {
    All,
    Blocks(BTreeSet<u32>),
}

/// What is damaged, by pack.
#[derive(Default)]
pub(in crate::maintain) struct Damage {
    packs: HashMap<PackId, PackDamage>,
    /// Packs that are there and that no index object lists.
    unlisted: HashSet<PackId>,
    /// Chunks that can be read all the same: a repair could, or has done it.
    pub(in crate::maintain) saved: HashSet<ShortChunkId>,
}

impl Damage {
    /// Nothing of a pack can be relied on.
    pub(in crate::maintain) fn whole_pack(&mut self, id: PackId) {
        self.packs.insert(id, PackDamage::All);
    }

    /// One block of a pack cannot be read.
    pub(in crate::maintain) fn block(&mut self, id: PackId, number: u32) {
        let entry = self.packs.entry(id);
        let damage = entry.or_insert_with(|| PackDamage::Blocks(BTreeSet::new()));
        if let PackDamage::Blocks(blocks) = damage {
            blocks.insert(number);
        }
    }

    /// Why a chunk there cannot be relied on.
    fn at(&self, location: &Location) -> Option<String> {
        let block = &location.block;
        let hit = match self.packs.get(&block.pack)? {
            PackDamage::All => true,
            PackDamage::Blocks(blocks) => blocks.contains(&block.number),
        };
        hit.then(|| {
            format!(
                "block {} of pack {} is damaged or missing",
                block.number, block.pack
            )
        })
    }

    /// Why a chunk cannot be relied on in any of its homes.
    fn everywhere(&self, repository: &Repository, id: &ChunkId) -> Result<Option<String>> {
        let mut reason = None;
        if self.saved.contains(&id.shorten()) {
            return Ok(None);
        }
        for home in repository.homes(&id.shorten())? {
            match self.at(&home) {
                Some(here) => reason = Some(here),
                None => return Ok(None),
            }
        }
        Ok(reason)
    }

    fn is_empty(&self) -> bool {
        self.packs.is_empty()
    }
}

/// Checks a repository; `each` gets every part of a snapshot that cannot be read. An error means that the check could not
/// be made, not that something is wrong.
pub fn check(
    repository: &Repository,
    read_data: ReadData,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(&Harm),
) -> Result<CheckReport> {
    repository.require_full("check trees and content")?;
    check_knowing(repository, read_data, Damage::default(), monitor, each)
}

/// The same where some damage is known already.
pub(in crate::maintain) fn check_knowing(
    repository: &Repository,
    read_data: ReadData,
    mut damage: Damage,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(&Harm),
) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let snapshots = objects::snapshots(repository, &mut report)?;
    // What is forgotten and pruned meanwhile is no damage: it is kept until the check is over.
    let mut needs = Needs::default();
    for info in &snapshots {
        needs.add(info);
    }
    let _session = repository.announce(needs, monitor)?;
    let snapshots = objects::still_there(repository, snapshots)?;
    // What the snapshots need was written before them: a catalog that is newer than the list of them knows all of it.
    repository.refresh(monitor)?;
    let packs = objects::packs(repository, &mut damage, &mut report)?;
    if read_data != ReadData::None {
        objects::read(
            repository,
            &packs,
            read_data,
            monitor,
            (&mut damage, &mut report),
        )?;
    }
    let (broken, needed) = trees::check(repository, &snapshots, &damage, monitor, &mut report)?;
    objects::unlisted(&packs, &damage, &needed, &mut report);
    if broken || !damage.is_empty() {
        harm::find(repository, &snapshots, &damage, monitor, &mut |harm| {
            report.harmed += 1;
            report.harmed_snapshots.insert(harm.snapshot);
            each(&harm);
            if report.harms.len() < MAX_KEPT {
                report.harms.push(harm);
            }
        })?;
    }
    Ok(report)
}

/// Chunks that some part of a snapshot names, beside its tree.
fn streams(info: &SnapshotInfo) -> [(HarmedPart, &[crate::format::content::Item]); 4] {
    let snapshot = &info.snapshot;
    [
        (HarmedPart::Archive, &snapshot.recipe),
        (HarmedPart::Archive, &snapshot.overrides),
        (HarmedPart::Original, &snapshot.original),
        (HarmedPart::Identity, &snapshot.identity),
    ]
}
