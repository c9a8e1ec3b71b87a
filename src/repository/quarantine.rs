//! The quarantine: where damaged objects go that are taken out of use. Nothing reads them there and nothing removes them, so that a person can
//! look at them, put them back, or throw them away.

use super::Repository;
use super::session::remove_ended;
use crate::backend::{Area, Backend, Key};
use crate::error::{Class, Error, Result};

/// Compared at once.
const PIECE_BYTES: u64 = 4 << 20;
/// How many objects of one name can be there, all different.
const MAX_VERSIONS: u32 = 100;

/// The place of an object: `data-0123...`, or `data-0123....2` where another one has that.
fn place(key: &Key, version: u32) -> Result<Key> {
    let area = key.area().name();
    let name = match version {
        1 => format!("{area}-{}", key.name()),
        n => format!("{area}-{}.{n}", key.name()),
    };
    Key::named(Area::Quarantine, &name)
}

impl Repository {
    /// Moves an object to the quarantine, where it keeps its bytes; its new name, or nothing if it is not there. What it held must be
    /// elsewhere or lost: it is as good as removed.
    ///
    /// Killed in between, it may be in both places; the next time finds its copy and uses that.
    pub(crate) fn set_aside(&self, key: &Key) -> Result<Option<Key>> {
        let backend = self.backend().as_ref();
        for version in 1..=MAX_VERSIONS {
            let to = place(key, version)?;
            match backend.rename(key, &to) {
                Ok(()) => return Ok(Some(to)),
                Err(e) if e.class() == Class::Exists => {
                    if is_same(backend, key, &to)? {
                        remove_ended(backend, key)?;
                        return Ok(Some(to));
                    }
                }
                Err(e) if e.class() == Class::NotFound => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Err(Error::new(
            Class::Exists,
            format!(
                "{MAX_VERSIONS} different objects called {key} are in the quarantine of {}: look at them, and remove some",
                backend.location()
            ),
        ))
    }
}

/// Whether two objects have the same bytes.
fn is_same(backend: &dyn Backend, a: &Key, b: &Key) -> Result<bool> {
    let size = backend.size(a)?;
    if size != backend.size(b)? {
        return Ok(false);
    }
    let mut at = 0;
    while at < size {
        let len = PIECE_BYTES.min(size - at);
        let piece = usize::try_from(len).unwrap_or_default();
        if backend.read(a, at, piece)? != backend.read(b, at, piece)? {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::maintain::fixture::Store;

    #[test]
    fn the_quarantine_keeps_whatever_comes_under_a_name() {
        let store = Store::new();
        store.ingest("a", &[("file", b"bytes")]);
        let repository = store.open();
        let key = store.keys(Area::Data).remove(0);
        let whole = store.backend.read_all(&key, u64::MAX).unwrap();
        let first = repository.set_aside(&key).unwrap().unwrap();
        assert_eq!(first.to_string(), format!("quarantine/data-{}", key.name()));
        assert!(repository.set_aside(&key).unwrap().is_none());
        // A copy that a move left behind, which was killed before it removed the original.
        store.backend.tamper(&key, Some(whole.clone()));
        assert_eq!(repository.set_aside(&key).unwrap().unwrap(), first);
        assert!(store.keys(Area::Data).is_empty());
        // Other bytes under the same name.
        store.backend.tamper(&key, Some(vec![1; whole.len()]));
        let second = repository.set_aside(&key).unwrap().unwrap();
        assert_eq!(second.name(), format!("{}.2", first.name()));
        assert!(store.backend.read_all(&first, u64::MAX).unwrap() == whole);
    }
}
