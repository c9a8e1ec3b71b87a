//! All homes of chunks: for writers, who must know whether one of them stays, for readers whose first one is gone, and for whoever
//! decides what is garbage.
//!
//! To look one chunk up costs a descent into the table, to pass over one that lies beside another hardly anything: for a good part of
//! all chunks the table is gone through ([`Catalog::homes_of_piles`]), so that the cost of a mark is that of one pass.

use super::chunks::{Home, PLACE_BYTES, Place};
use super::piles::Piles;
use super::{Catalog, Location};
use crate::error::Result;
use crate::id::{PackId, ShortChunkId};

/// How many rows are read at a time while all are gone through.
const PAGE: i64 = 4096;
/// Chunks that are looked up together.
const PROBES: usize = 4096;
/// As many rows are passed over in the time in which one is looked up.
const PASSED: u64 = 6;

type Row = (Vec<u8>, i64, [u8; PLACE_BYTES]);

impl Catalog {
    /// The numbers of the packs that hold a chunk.
    pub fn pack_numbers(&self, id: &ShortChunkId) -> Result<Vec<i64>> {
        self.connections.read(|connection| {
            let mut statement =
                connection.prepare_cached("SELECT pack_no FROM chunks WHERE id = ?1")?;
            let rows = statement.query_map([&id.as_bytes()[..]], |row| row.get(0))?;
            rows.collect()
        })
    }

    /// Everywhere that a chunk lies.
    pub fn locate_all(&self, id: &ShortChunkId) -> Result<Vec<Location>> {
        let rows = self.rows_of(std::slice::from_ref(id))?;
        let mut found = Vec::new();
        for (_, pack_no, place) in rows {
            if let Some(pack) = self.pack(pack_no)? {
                found.push(self.location(id, &pack, &place)?);
            }
        }
        Ok(found)
    }

    /// Tells the homes of each chunk, in the order of `ids`. Packs that `name` does not know are passed over.
    pub fn homes(
        &self,
        ids: &[ShortChunkId],
        name: &dyn Fn(i64) -> Option<PackId>,
        mut each: impl FnMut(usize, &[Home]) -> Result<()>,
    ) -> Result<()> {
        let rows = self.rows_of(ids)?;
        let mut homes = Vec::new();
        let mut rows = rows.into_iter().peekable();
        for (at, id) in ids.iter().enumerate() {
            homes.clear();
            while let Some((_, pack_no, place)) = rows.next_if(|(asked, ..)| *asked == at) {
                homes.extend(self.home(id, pack_no, &place, name)?);
            }
            each(at, &homes)?;
        }
        Ok(())
    }

    /// Tells every home of every chunk, by id. Packs that `name` does not know are passed over.
    pub fn all_homes(
        &self,
        name: &dyn Fn(i64) -> Option<PackId>,
        mut each: impl FnMut(&ShortChunkId, Home) -> Result<()>,
    ) -> Result<()> {
        self.scan(&[], |id, pack_no, place| {
            if let Some(home) = self.home(id, pack_no, place, name)? {
                each(id, home)?;
            }
            Ok(true)
        })
    }

    /// Tells the homes of every chunk in `piles`, each chunk once, in ascending order. There are about `rows` in the table; packs
    /// that `name` does not know are passed over.
    pub fn homes_of_piles(
        &self,
        piles: Piles<{ ShortChunkId::LEN }>,
        rows: u64,
        name: &dyn Fn(i64) -> Option<PackId>,
        mut each: impl FnMut(&ShortChunkId, &[Home]) -> Result<()>,
    ) -> Result<()> {
        // Piles are even: what holds for all holds for each.
        let pass = piles.len().saturating_mul(PASSED) >= rows;
        piles.drain(|pile| {
            let ids: Vec<ShortChunkId> = pile.iter().copied().map(ShortChunkId::new).collect();
            if pass {
                return self.pass(&ids, name, &mut each);
            }
            let mut ids = ids;
            ids.dedup();
            for ids in ids.chunks(PROBES) {
                self.homes(ids, name, |at, homes| each(&ids[at], homes))?;
            }
            Ok(())
        })
    }

    /// Tells the homes of sorted chunks by going through the table from the first to the last of them.
    fn pass(
        &self,
        ids: &[ShortChunkId],
        name: &dyn Fn(i64) -> Option<PackId>,
        each: &mut dyn FnMut(&ShortChunkId, &[Home]) -> Result<()>,
    ) -> Result<()> {
        let Some(first) = ids.first() else {
            return Ok(());
        };
        let mut wanted = ids
            .chunk_by(|a, b| a == b)
            .map(|equal| &equal[0])
            .peekable();
        let mut homes: Vec<Home> = Vec::new();
        self.scan(first.as_bytes(), |id, pack_no, place| {
            while let Some(before) = wanted.next_if(|wanted| *wanted < id) {
                each(before, &homes)?;
                homes.clear();
            }
            match wanted.peek() {
                None => return Ok(false),
                Some(wanted) if *wanted == id => {
                    homes.extend(self.home(id, pack_no, place, name)?);
                }
                Some(_) => {}
            }
            Ok(true)
        })?;
        for rest in wanted {
            each(rest, &homes)?;
            homes.clear();
        }
        Ok(())
    }

    /// Tells rows in order, from the first whose chunk is not below `from`, until `each` says that it is enough.
    fn scan(
        &self,
        from: &[u8],
        mut each: impl FnMut(&ShortChunkId, i64, &[u8; PLACE_BYTES]) -> Result<bool>,
    ) -> Result<()> {
        let mut after = (from.to_vec(), 0);
        loop {
            let page: Vec<Row> = self.connections.read(|connection| {
                let sql = "SELECT id, pack_no, place FROM chunks \
                           WHERE (id, pack_no) > (?1, ?2) ORDER BY id, pack_no LIMIT ?3";
                let mut statement = connection.prepare_cached(sql)?;
                let rows = statement.query_map((&after.0, after.1, PAGE), |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
                rows.collect()
            })?;
            for (id, pack_no, place) in &page {
                let id =
                    ShortChunkId::from_slice(id).ok_or_else(|| self.connections.damaged_row())?;
                if !each(&id, *pack_no, place)? {
                    return Ok(());
                }
            }
            match page.into_iter().next_back() {
                Some((id, pack_no, _)) => after = (id, pack_no),
                None => return Ok(()),
            }
        }
    }

    /// The rows of chunks: which of `ids`, pack number and place; in the order of `ids`.
    fn rows_of(&self, ids: &[ShortChunkId]) -> Result<Vec<(usize, i64, [u8; PLACE_BYTES])>> {
        let mut order: Vec<usize> = (0..ids.len()).collect();
        // Probes in the order of the table are several times faster.
        order.sort_unstable_by_key(|&at| ids[at]);
        let mut found = self.connections.read_at_once(|connection| {
            let sql = "SELECT pack_no, place FROM chunks WHERE id = ?1 ORDER BY pack_no";
            let mut statement = connection.prepare_cached(sql)?;
            let mut found = Vec::with_capacity(ids.len());
            for at in order {
                let rows = statement.query_map([&ids[at].as_bytes()[..]], |row| {
                    Ok((at, row.get(0)?, row.get(1)?))
                })?;
                for row in rows {
                    found.push(row?);
                }
            }
            Ok(found)
        })?;
        found.sort_by_key(|(at, ..)| *at);
        Ok(found)
    }

    fn home(
        &self,
        id: &ShortChunkId,
        pack_no: i64,
        place: &[u8; PLACE_BYTES],
        name: &dyn Fn(i64) -> Option<PackId>,
    ) -> Result<Option<Home>> {
        let Some(pack) = name(pack_no) else {
            return Ok(None);
        };
        let place =
            Place::decode(place, id, &pack).ok_or_else(|| self.connections.damaged_row())?;
        Ok(Some(Home {
            pack_no,
            position: place.position,
            len: place.len,
        }))
    }
}
