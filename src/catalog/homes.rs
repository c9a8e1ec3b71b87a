//! All homes of chunks: for writers, who must know whether one of them stays, for readers whose first one is gone, and for whoever
//! decides what is garbage.

use super::chunks::{Home, PLACE_BYTES, Place};
use super::{Catalog, Location};
use crate::error::Result;
use crate::id::{PackId, ShortChunkId};

/// How many rows are read at a time while all are gone through.
const PAGE: i64 = 4096;

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
        let mut after = (Vec::new(), 0);
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
                if let Some(home) = self.home(&id, *pack_no, place, name)? {
                    each(&id, home)?;
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
        let mut found = self.connections.read(|connection| {
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
