//! The manifest of a stack archive.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::scalar::Scalar;
use super::{Recognised, StreamKind, Summary, is_object, version_error};
use crate::error::Result;

/// The version that is read.
const VERSION: i64 = 1;

/// What a stack's manifest says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stack {
    /// Version of the manifest.
    pub version: i64,
    /// Version of the program that wrote it.
    pub obol_version: Option<String>,
    /// The stack's name.
    pub stack_id: Option<String>,
    /// When it was written, as it says.
    pub created_at: Option<String>,
    /// Where the configuration lay on the host that wrote it.
    pub config_dir: Option<String>,
    /// Where the data lay.
    pub data_dir: Option<String>,
    /// Its parts, in the manifest's order.
    pub components: Vec<Component>,
}

/// One part of a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// `wallets`, `cluster`, `config`, `data`.
    pub name: String,
    /// Whether it is in the archive.
    pub included: bool,
    /// Remarks, such as why it is not.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What tells a stack's manifest of any version.
#[derive(Deserialize)]
struct Probe {
    version: i64,
    #[serde(rename = "components")]
    _components: Vec<IgnoredAny>,
}

/// What a stack's manifest has beside its version.
#[derive(Deserialize)]
struct Parts {
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    obol_version: Scalar,
    #[serde(default)]
    stack_id: Scalar,
    #[serde(default)]
    created_at: Scalar,
    #[serde(default)]
    config_dir: Scalar,
    #[serde(default)]
    data_dir: Scalar,
    components: Vec<Component>,
}

pub(super) fn recognise(document: &[u8]) -> Result<Recognised> {
    if !is_object(document) {
        return Ok(Recognised::No("it is no JSON object".into()));
    }
    let version = match serde_json::from_slice::<Probe>(document) {
        Ok(probe) => probe.version,
        Err(e) => {
            return Ok(match serde_json::from_slice::<Parts>(document) {
                Ok(parts) if !parts.components.is_empty() => {
                    Recognised::Nearly("its version is missing or no whole number".into())
                }
                _ => Recognised::No(e.to_string()),
            });
        }
    };
    if version != VERSION {
        return Err(version_error(StreamKind::Stack, version, VERSION));
    }
    Ok(match serde_json::from_slice::<Document>(document) {
        Ok(document) => Recognised::Yes(Summary::Stack(Stack {
            version,
            obol_version: document.obol_version.text(),
            stack_id: document.stack_id.text(),
            created_at: document.created_at.text(),
            config_dir: document.config_dir.text(),
            data_dir: document.data_dir.text(),
            components: document.components,
        })),
        Err(e) => Recognised::No(e.to_string()),
    })
}
