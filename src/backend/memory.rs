//! A backend in memory: for tests that want speed, and as the plainest reading of the trait's promises.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Area, Backend, Drawn, Held, Key};
use crate::error::{Class, Error, Result};

/// Objects in a map. Nothing outlives the value; "durable" means as long as it lives.
#[derive(Debug, Default)]
pub struct Memory {
    objects: Mutex<BTreeMap<Key, Arc<Vec<u8>>>>,
    held: Arc<Mutex<HashSet<Key>>>,
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `bytes` in an object's place, or takes the object away: how tests make damage.
    #[doc(hidden)]
    pub fn tamper(&self, key: &Key, bytes: Option<Vec<u8>>) {
        let mut objects = self.objects();
        match bytes {
            Some(bytes) => objects.insert(key.clone(), Arc::new(bytes)),
            None => objects.remove(key),
        };
    }

    /// A copy of the store as it is now: what a crash at this moment would leave.
    #[doc(hidden)]
    #[must_use]
    pub fn image(&self) -> Self {
        Self {
            objects: Mutex::new(self.objects().clone()),
            held: Arc::default(),
        }
    }

    fn objects(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Vec<u8>>>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Result<Arc<Vec<u8>>> {
        self.objects().get(key).cloned().ok_or_else(|| absent(key))
    }
}

/// A key among those held.
struct Hold {
    key: Key,
    held: Arc<Mutex<HashSet<Key>>>,
}

impl Hold {
    fn all(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held for Hold {
    fn confirm(&self) -> Result<()> {
        if self.all().contains(&self.key) {
            Ok(())
        } else {
            Err(taken(&self.key))
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all().remove(&self.key);
    }
}

fn taken(key: &Key) -> Error {
    Error::new(
        Class::Busy,
        format!("{key} was removed while it was in use: run again"),
    )
}

fn absent(key: &Key) -> Error {
    Error::new(Class::NotFound, format!("{key} is not in memory"))
}

impl Backend for Memory {
    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn read(&self, key: &Key, offset: u64, len: usize) -> Result<Vec<u8>> {
        let object = self.get(key)?;
        usize::try_from(offset)
            .ok()
            .and_then(|from| object.get(from..from.checked_add(len)?))
            .map(<[u8]>::to_vec)
            .ok_or_else(|| {
                let bytes = object.len();
                Error::corrupt(format!(
                    "{key} is shorter than it must be: {bytes} bytes, {len} wanted at {offset}"
                ))
            })
    }

    fn read_all(&self, key: &Key, limit: u64) -> Result<Vec<u8>> {
        let object = self.get(key)?;
        let bytes = object.len();
        if bytes as u64 > limit {
            return Err(Error::corrupt(format!(
                "{key} has {bytes} bytes, more than the limit of {limit}"
            )));
        }
        Ok(object.to_vec())
    }

    fn write_new(&self, key: &Key, bytes: &[u8]) -> Result<()> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Err(Error::new(Class::Exists, format!("{key} exists already")));
        }
        objects.insert(key.clone(), Arc::new(bytes.to_vec()));
        Ok(())
    }

    fn list(&self, area: Area, each: &mut dyn FnMut(&str, u64) -> Result<()>) -> Result<()> {
        // `each` may call back into this store, so the lock is not held while it runs.
        let mut after: Option<Key> = None;
        loop {
            let next = {
                let objects = self.objects();
                let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                objects
                    .range((from, Bound::Unbounded))
                    .find(|(key, _)| key.area() == area)
                    .map(|(key, bytes)| (key.clone(), bytes.len() as u64))
            };
            let Some((key, bytes)) = next else {
                return Ok(());
            };
            each(key.name(), bytes)?;
            after = Some(key);
        }
    }

    fn size(&self, key: &Key) -> Result<u64> {
        Ok(self.get(key)?.len() as u64)
    }

    fn hold(&self, key: &Key, bytes: &[u8]) -> Result<Box<dyn Held>> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Err(Error::new(Class::Exists, format!("{key} exists already")));
        }
        let hold = Hold {
            key: key.clone(),
            held: Arc::clone(&self.held),
        };
        hold.all().insert(key.clone());
        objects.insert(key.clone(), Arc::new(bytes.to_vec()));
        Ok(Box::new(hold))
    }

    fn is_held(&self, key: &Key) -> Result<bool> {
        self.get(key)?;
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(held.contains(key))
    }

    fn remove(&self, key: &Key) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(key);
        drop(held);
        match self.objects().remove(key) {
            Some(_) => Ok(()),
            None => Err(absent(key)),
        }
    }

    fn remove_leftovers(&self) -> Result<u64> {
        Ok(0)
    }

    fn draw_on_reserve(&self, _: Drawn, _: bool) {}

    fn fill_reserve(&self) -> Result<bool> {
        Ok(true)
    }

    fn location(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conforms() {
        super::super::conformance::run(&|| Arc::new(Memory::new()));
    }
}
