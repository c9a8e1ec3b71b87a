//! What can be checked without any key: that every object's bytes are those that its name stands for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::objects::ids;
use super::{MAX_KEPT, Problem};
use crate::backend::{Area, Backend, Key};
use crate::error::{Class, Error, Result};
use crate::format::header::{HEADER_BYTES, Header, ObjectKind};
use crate::progress::{Count, Monitor};
use crate::repository::audit::verify_name;
use crate::repository::check_slots;

/// What a check without a key found.
#[derive(Debug, Default)]
pub struct NoKeyReport {
    /// Objects read and compared.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The first problems.
    pub problems: Vec<Problem>,
    /// How many there are.
    pub damage: u64,
}

/// Compares all objects with their names, and looks whether key slots can be decoded.
pub fn check_no_key(backend: &dyn Backend, monitor: &dyn Monitor) -> Result<NoKeyReport> {
    let areas = [
        (Area::Data, ObjectKind::DataPack),
        (Area::Meta, ObjectKind::MetaPack),
        (Area::Index, ObjectKind::Index),
        (Area::Snapshots, ObjectKind::Snapshot),
    ];
    let (objects, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let problems: Mutex<(u64, Vec<Problem>)> = Mutex::default();
    let problem = |object: String, what: String| {
        let mut problems = problems.lock().unwrap_or_else(PoisonError::into_inner);
        problems.0 += 1;
        if problems.1.len() < MAX_KEPT {
            problems.1.push(Problem {
                object,
                what,
                harmless: false,
            });
        }
    };
    for (area, kind) in areas {
        let found = ids(backend, area)?;
        monitor.expect(Count::Bytes, found.iter().map(|(_, size)| size).sum());
        found.par_iter().try_for_each(|(id, _)| {
            if monitor.interrupted() {
                return Err(Error::new(Class::Interrupted, "the check was interrupted"));
            }
            let key = Key::object(area, id);
            match verify_name(backend, &key, id).and_then(|size| {
                verify_kind(backend, &key, kind)?;
                Ok(size)
            }) {
                Ok(size) => {
                    objects.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(size, Ordering::Relaxed);
                    monitor.add(Count::Bytes, size);
                    monitor.add(Count::Objects, 1);
                }
                // Removed meanwhile.
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => problem(key.to_string(), e.to_string()),
            }
            Ok(())
        })?;
    }
    for (name, error) in check_slots(backend)? {
        problem(format!("keys/{name}"), error.to_string());
    }
    let (damage, problems) = problems
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(NoKeyReport {
        objects: objects.into_inner(),
        bytes: bytes.into_inner(),
        problems,
        damage,
    })
}

/// An intact object in the wrong place is as good as missing.
fn verify_kind(backend: &dyn Backend, key: &Key, kind: ObjectKind) -> Result<()> {
    let bytes = backend.read(key, 0, HEADER_BYTES)?;
    let header =
        Header::decode(&bytes).map_err(|e| Error::caused(Class::Corrupt, key.to_string(), e))?;
    if header.kind == kind {
        return Ok(());
    }
    Err(Error::corrupt(format!(
        "{key}: it is an object of another kind"
    )))
}
