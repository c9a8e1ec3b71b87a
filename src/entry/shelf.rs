//! What must be found again by a key, much later: files of which more names may come.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::error::Result;

/// A key: a number, or a digest of something longer.
pub type ShelfKey = [u8; 16];

/// A table of values by key. What implements it decides how much of it lies in memory.
pub trait Shelf: Send + Sync {
    /// Keeps `value`, in the place of what was there.
    fn put(&self, key: ShelfKey, value: &[u8]) -> Result<()>;
    /// What is kept.
    fn get(&self, key: &ShelfKey) -> Result<Option<Vec<u8>>>;
    /// Nobody will ask for it again. It may still be found.
    fn forget(&self, key: &ShelfKey);
}

/// A key of two numbers.
pub fn shelf_key(first: u64, second: u64) -> ShelfKey {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&first.to_be_bytes());
    key[8..].copy_from_slice(&second.to_be_bytes());
    key
}

/// A shelf in memory, which grows with what is put on it.
#[derive(Debug, Default)]
pub struct MemoryShelf(Mutex<HashMap<ShelfKey, Box<[u8]>>>);

impl Shelf for MemoryShelf {
    fn put(&self, key: ShelfKey, value: &[u8]) -> Result<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key, value.into());
        Ok(())
    }

    fn get(&self, key: &ShelfKey) -> Result<Option<Vec<u8>>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(all.get(key).map(|value| value.to_vec()))
    }

    fn forget(&self, key: &ShelfKey) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(key);
    }
}
