//! Tags `KEY=VALUE` as they are typed.

use crate::format::snapshot::Snapshot;

/// A tag to put on a snapshot: key, and value.
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

/// Takes `KEY=VALUE` apart.
pub(super) fn tag(text: &str) -> Result<Tag, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) => Err("a tag is KEY=VALUE, and the key is not empty".to_owned()),
        None => Err(format!(
            "a tag is KEY=VALUE, as host=web1; with no value: '{text}='"
        )),
    }
}

/// The same for rules: key, and value if there is one.
pub(super) fn tag_and_value(text: &str) -> Result<(String, Option<String>), String> {
    let (key, value) = tag(text)?;
    Ok((key, text.contains('=').then_some(value)))
}

/// The same for searching: without `=` any value will do.
pub(super) fn wanted(text: &str) -> Result<Wanted, String> {
    if !text.is_empty() && !text.contains('=') {
        let key = text.to_owned();
        return Ok(Wanted { key, value: None });
    }
    let (key, value) = tag(text)?;
    Ok(Wanted {
        key,
        value: Some(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_without_a_value_is_a_pattern_only() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(tag("a="), Ok(("a".to_owned(), String::new())));
        assert!(tag("noeq").unwrap_err().contains("KEY=VALUE"));
        assert!(tag("=b").is_err() && tag("").is_err());
        assert_eq!(wanted("a").unwrap().value, None);
        assert_eq!(wanted("a=").unwrap().value.as_deref(), Some(""));
        assert!(wanted("").is_err());
    }
}
