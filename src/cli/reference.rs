//! `REF[:PATH]`: which snapshot, and where in it.
//!
//! A path may have colons in it, and so may a name, though `repo ingest` gives none such. The rule: the longest part before a
//! colon (or the whole) that is a REF counts, the rest is the path. `db:web:etc/passwd` is `etc/passwd` in the snapshot `db:web`
//! if there is one, else `web:etc/passwd` in `db`. A path may begin with a slash, which changes nothing: `db:/web:etc` never
//! means `db:`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::exit::{Done, Failure};
use super::text;
use crate::entry::EntryPath;
use crate::error::{Class, Error};

/// What a person typed, taken apart.
#[derive(Clone, Debug)]
pub(super) struct Place<S> {
    /// The snapshot.
    pub(super) snapshot: S,
    /// The path, if one was given; the empty path is the root.
    pub(super) path: Option<EntryPath>,
    /// The path ends with a slash: what is in the directory is meant, not the directory itself.
    pub(super) contents: bool,
}

/// Takes `typed` apart with `resolve`, which finds a snapshot by its REF. Paths may be any bytes.
pub(super) fn parse<S>(
    typed: &OsStr,
    mut resolve: impl FnMut(&str) -> Result<S, Error>,
) -> Done<Place<S>> {
    let bytes = typed.as_bytes();
    if bytes.is_empty() {
        return Err(Failure::usage("an empty REF").hint("'latest' is the newest snapshot"));
    }
    let cuts = bytes
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b':');
    let (mut shortest, mut unsure) = (None, None);
    for end in std::iter::once(bytes.len()).chain(cuts.map(|(at, _)| at)) {
        let Some(reference) = bytes
            .get(..end)
            .and_then(|part| std::str::from_utf8(part).ok())
        else {
            continue;
        };
        if reference.is_empty() {
            continue;
        }
        match resolve(reference) {
            Ok(snapshot) => {
                let typed = bytes.get(end + 1..);
                let contents = typed.is_some_and(|path| path.ends_with(b"/"));
                return Ok(Place {
                    snapshot,
                    path: typed.map(path).transpose()?,
                    contents,
                });
            }
            Err(error) if error.class() == Class::NotFound => shortest = Some(error),
            // A snapshot that cannot be read may have this name; a shorter part may still be an id, which is sure.
            Err(error) if error.class() == Class::Corrupt => unsure = Some(error),
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(error) = unsure {
        return Err(error.into());
    }
    let hint = if bytes.starts_with(b":") {
        "write 'latest:PATH' for the newest snapshot"
    } else {
        "a REF is an id, a name, the first digits of an id, or 'latest'"
    };
    let nothing = || Error::invalid(format!("'{}' names no snapshot", text::name(bytes)));
    Err(Failure::from(shortest.unwrap_or_else(nothing)).hint(hint))
}

/// A path inside a snapshot as a person types it.
pub(super) fn path(bytes: &[u8]) -> Done<EntryPath> {
    EntryPath::parse(bytes).map_err(|error| {
        Failure::usage(format!(
            "'{}' is no path inside a snapshot: {error}",
            text::name(bytes)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(String, Option<String>)> {
        let resolve = |reference: &str| match reference {
            "db" | "db:web" | "latest" => Ok(reference.to_owned()),
            "dup" => Err(Error::invalid("ambiguous")),
            _ => Err(Error::new(Class::NotFound, format!("no '{reference}'"))),
        };
        let place = parse(text.as_ref(), resolve).ok()?;
        Some((place.snapshot, place.path.map(|path| path.to_string())))
    }

    fn place(snapshot: &str, path: Option<&str>) -> (String, Option<String>) {
        (snapshot.to_owned(), path.map(ToOwned::to_owned))
    }

    #[test]
    fn the_longest_reference_counts() {
        assert_eq!(parsed("db"), Some(place("db", None)));
        assert_eq!(parsed("db:web"), Some(place("db:web", None)));
        assert_eq!(parsed("db:web:etc/x"), Some(place("db:web", Some("etc/x"))));
        assert_eq!(parsed("db:/web:etc"), Some(place("db", Some("web:etc"))));
        assert_eq!(parsed("db:a:b:c"), Some(place("db", Some("a:b:c"))));
        assert_eq!(parsed("db:"), Some(place("db", Some(""))));
        assert_eq!(parsed("latest:/a//b/"), Some(place("latest", Some("a/b"))));
    }

    #[test]
    fn what_names_nothing_is_told_by_its_shortest_part() {
        assert_eq!(parsed(":etc"), None);
        assert_eq!(parsed("dup:etc"), None);
        assert_eq!(parsed("db:../x"), None);
        let resolve = |text: &str| -> Result<(), Error> {
            Err(Error::new(Class::NotFound, format!("no '{text}'")))
        };
        let error = parse("a:b:c".as_ref(), resolve).unwrap_err();
        assert_eq!(error.message().unwrap(), "no 'a'");
    }
}
