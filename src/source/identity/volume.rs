//! The manifest of a volume archive: a list, one row per volume.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Recognised, Summary, is_object};
use crate::error::{Error, Result};

/// One volume. Where it came from is told for people; it is never a place to restore to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its directory in the archive.
    pub index: i64,
    /// Where the application sees it.
    pub target: String,
    /// What kind of volume it was.
    pub scope: String,
    /// Where it lay on the host that wrote the archive.
    pub source: String,
}

pub(super) fn recognise(document: &[u8]) -> Result<Recognised> {
    if is_object(document) {
        return Ok(Recognised::No("it is no JSON list".into()));
    }
    let volumes = match serde_json::from_slice::<Vec<Volume>>(document) {
        Ok(volumes) => volumes,
        Err(e) => return Ok(Recognised::No(e.to_string())),
    };
    if volumes.is_empty() {
        return Ok(Recognised::No("it lists no volume".into()));
    }
    let mut seen = BTreeSet::new();
    for volume in &volumes {
        if volume.index < 0 || !seen.insert(volume.index) {
            return Err(Error::invalid(format!(
                "manifest.json of the volume archive has a negative or repeated index: {}",
                volume.index
            )));
        }
    }
    Ok(Recognised::Yes(Summary::Volume(volumes)))
}
