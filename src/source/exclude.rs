//! What to leave out of a snapshot: patterns in gitignore syntax, and directories that say themselves that they are caches.
//!
//! Patterns are matched against the path below each source, as in a `.gitignore` at its top: `*.o` anywhere, `/build` only at the
//! top, `cache/` directories only, `!keep.o` takes back. Nothing below an excluded directory is looked at, so it cannot be
//! taken back either. Names are bytes: any name can be matched. Leaving out is no error and no warning.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::entry::EntryPath;
use crate::error::{At, Error, Result};

/// The name of the file that marks a cache directory (<https://bford.info/cachedir/>).
pub const CACHE_TAG: &[u8] = b"CACHEDIR.TAG";
/// How that file begins.
pub const CACHE_SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
/// More than any sensible pattern file has.
const LIMIT_BYTES: u64 = 16 << 20;

/// Decides by path what is left out.
#[derive(Clone, Debug)]
pub struct Exclude(Gitignore);

impl Exclude {
    /// Patterns given one by one, then those of pattern files (one per line, `#` comments); later ones win.
    pub fn new(patterns: &[String], files: &[PathBuf]) -> Result<Self> {
        // With this root the matcher takes paths as they are.
        let mut builder = GitignoreBuilder::new(".");
        for pattern in patterns {
            add(&mut builder, pattern, "exclude pattern")?;
        }
        for path in files {
            let mut text = String::new();
            File::open(path)
                .and_then(|file| file.take(LIMIT_BYTES).read_to_string(&mut text))
                .at_path("read exclude patterns from", path)?;
            for (at, line) in text.lines().enumerate() {
                let place = format!("{} line {}", path.display(), at + 1);
                add(&mut builder, line, &place)?;
            }
        }
        let built = builder
            .build()
            .map_err(|e| Error::invalid(format!("exclude patterns: {e}")))?;
        Ok(Self(built))
    }

    /// True if there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the entry at `path` (below its source) is left out. Its parents are not looked at: ask for them first.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        let path = Path::new(OsStr::from_bytes(path));
        self.0.matched(path, is_directory).is_ignore()
    }

    /// The same for a path whose parents were not asked for: an archive may come in any order.
    pub fn excludes_within(&self, path: &EntryPath, is_directory: bool) -> bool {
        let bytes = path.as_bytes();
        let parents = bytes.iter().enumerate().filter(|(_, b)| **b == b'/');
        parents
            .filter_map(|(at, _)| bytes.get(..at))
            .any(|parent| self.excludes(parent, true))
            || (!path.is_root() && self.excludes(bytes, is_directory))
    }
}

fn add(builder: &mut GitignoreBuilder, pattern: &str, place: &str) -> Result<()> {
    match builder.add_line(None, pattern) {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::invalid(format!("{place}: '{pattern}': {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exclude(patterns: &[&str]) -> Exclude {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        Exclude::new(&patterns, &[]).unwrap()
    }

    #[test]
    fn gitignore_syntax() {
        let e = exclude(&["*.o", "!keep.o", "/top", "cache/", "a/**/z", "[!a-y]bc"]);
        assert!(e.excludes(b"deep/x.o", false) && !e.excludes(b"deep/keep.o", false));
        assert!(e.excludes(b"top", false) && !e.excludes(b"deep/top", false));
        assert!(e.excludes(b"x/cache", true) && !e.excludes(b"x/cache", false));
        assert!(e.excludes(b"a/z", false) && e.excludes(b"a/b/c/z", false));
        assert!(e.excludes(b"zbc", false) && !e.excludes(b"abc", false));
        assert!(!e.excludes(b"./", true));
    }

    #[test]
    fn names_are_bytes() {
        let e = exclude(&["*.tmp", "caf?"]);
        assert!(e.excludes(b"\xff\xfe.tmp", false));
        assert!(e.excludes(b"dir\xff/a.tmp", false));
        assert!(e.excludes(b"line\nbreak.tmp", false));
        assert!(e.excludes(b"caf\xe9", false), "one byte, as in git");
    }

    #[test]
    fn a_path_is_excluded_with_its_parents() {
        let e = exclude(&["/skip/", "*.o"]);
        let path = |text: &str| EntryPath::parse(text.as_bytes()).unwrap();
        assert!(e.excludes_within(&path("skip/in/side"), false));
        assert!(!e.excludes_within(&path("keep/skip/in"), false));
        assert!(!e.excludes_within(&EntryPath::root(), true));
    }

    #[test]
    fn pattern_files_and_bad_patterns() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list");
        std::fs::write(&path, "# comment\n\n*.log\n").unwrap();
        let e = Exclude::new(&[], std::slice::from_ref(&path)).unwrap();
        assert!(e.excludes(b"x/y.log", false) && !e.excludes(b"# comment", false));
        std::fs::write(&path, "ok\n{a\n").unwrap();
        let error = Exclude::new(&[], &[path]).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(Exclude::new(&["[z-a]".to_owned()], &[]).is_err());
    }
}
