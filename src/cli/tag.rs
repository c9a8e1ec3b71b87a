//! Tags `KEY=VALUE` as they are typed.

use crate::format::snapshot::Snapshot;

/// A tag to put on a snapshot: key, and value (empty without `=`).
pub(super) type Tag = (String, String);

/// A tag to look for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    key: String,
    value: Option<String>,
}

impl Wanted {
    /// True if the snapshot has it.
    pub(super) fn is_on(&self, snapshot: &Snapshot) -> bool {
        snapshot.tags.iter().any(|(key, value)| {
            *key == self.key && self.value.as_ref().is_none_or(|wanted| wanted == value)
        })
    }
}

/// Takes `KEY=VALUE` or `KEY` apart.
pub(super) fn tag(text: &str) -> Result<Tag, String> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err("a tag is KEY=VALUE, and the key is not empty".to_owned());
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// The same for searching: without `=` any value will do.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    let (key, value) = tag(text)?;
    Ok(Wanted {
        key,
        value: text.contains('=').then_some(value),
    })
}
