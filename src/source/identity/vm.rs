//! The envelope of a VM archive, and what it promises about the members beside it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::scalar::{Names, Object, Scalar};
use super::{Recognised, StreamKind, Summary, is_object, version_error};
use crate::error::{Error, Result};
use crate::progress::Monitor;

/// The version that is read.
const VERSION: i64 = 1;

/// The raw disk whose size the configuration states.
const MAIN_DISK: &[u8] = b"cow.raw";

/// What a VM's envelope says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Vm {
    /// Version of the envelope.
    pub version: i64,
    /// The snapshot's identifier.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The program that ran the machine.
    pub hypervisor: Option<String>,
    /// Virtual processors.
    pub cpu: Option<u64>,
    /// Guest memory.
    pub memory_bytes: Option<u64>,
    /// Size of the main disk.
    pub storage_bytes: Option<u64>,
    /// The image that the disk began as.
    pub image: Option<String>,
    /// Its digest.
    pub image_digest: Option<String>,
    /// Its type.
    pub image_type: Option<String>,
    /// Network interfaces.
    pub nics: Option<u64>,
    /// The network it was on.
    pub network: Option<String>,
    /// Whether the guest is Windows.
    pub windows: Option<bool>,
    /// The members that must be there, if the envelope lists them.
    pub files: Option<Vec<String>>,
}

/// What tells an envelope of any version.
#[derive(Deserialize)]
struct Probe {
    version: i64,
    #[serde(rename = "config")]
    _config: Object,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    id: Scalar,
    name: Scalar,
    description: Scalar,
    hypervisor: Scalar,
    cpu: Scalar,
    memory: Scalar,
    storage: Scalar,
    image: Scalar,
    image_digest: Scalar,
    image_type: Scalar,
    nics: Scalar,
    network: Scalar,
    windows: Scalar,
}

#[derive(Deserialize)]
struct Document {
    config: Config,
    #[serde(default)]
    files: Names,
}

pub(super) fn recognise(document: &[u8]) -> Result<Recognised> {
    if !is_object(document) {
        return Ok(Recognised::No("it is no JSON object".into()));
    }
    let version = match serde_json::from_slice::<Probe>(document) {
        Ok(probe) => probe.version,
        Err(e) => return Ok(Recognised::No(e.to_string())),
    };
    if version != VERSION {
        return Err(version_error(StreamKind::Vm, version, VERSION));
    }
    // A list that cannot be read must not pass for none: it is there to tell whether the archive is complete.
    let Document { config, files } = serde_json::from_slice(document).map_err(|e| {
        Error::invalid(format!(
            "snapshot.json of the vm archive is not readable: {e}"
        ))
    })?;
    Ok(Recognised::Yes(Summary::Vm(Box::new(Vm {
        version,
        id: config.id.text(),
        name: config.name.text(),
        description: config.description.text(),
        hypervisor: config.hypervisor.text(),
        cpu: config.cpu.number(),
        memory_bytes: config.memory.number(),
        storage_bytes: config.storage.number(),
        image: config.image.text(),
        image_digest: config.image_digest.text(),
        image_type: config.image_type.text(),
        nics: config.nics.number(),
        network: config.network.text(),
        windows: config.windows.truth(),
        files: files.0,
    }))))
}

/// A file at the archive's top.
#[derive(Clone, Copy, Debug)]
pub(super) struct TopFile {
    pub(super) size: u64,
    pub(super) sparse: bool,
}

/// Refuses an archive that lacks what its envelope promises.
pub(super) fn check(
    vm: &Vm,
    members: &BTreeMap<Vec<u8>, TopFile>,
    monitor: &dyn Monitor,
) -> Result<()> {
    if let Some(files) = &vm.files {
        let missing = files
            .iter()
            .find(|name| !members.contains_key(name.as_bytes()));
        if let Some(name) = missing {
            return Err(Error::corrupt(format!(
                "snapshot.json lists the file '{}', but the archive does not have it: it was cut short",
                name.escape_debug()
            )));
        }
        let listed: BTreeSet<&[u8]> = files.iter().map(String::as_bytes).collect();
        for name in members.keys() {
            if !listed.contains(name.as_slice()) && name != b"snapshot.json" {
                monitor.warn(&format!(
                    "'{}' is in the archive but not in the list of snapshot.json",
                    name.escape_ascii()
                ));
            }
        }
    }
    match (members.get(MAIN_DISK), vm.storage_bytes) {
        (Some(disk), Some(storage)) if !disk.sparse && disk.size < storage => {
            Err(Error::corrupt(format!(
                "'cow.raw' has {} bytes, but snapshot.json says that the disk has {storage}: its sparse records \
                 were lost, probably by a tar program that does not know them; take the archive as a plain tar to \
                 keep it all the same",
                disk.size
            )))
        }
        _ => Ok(()),
    }
}
