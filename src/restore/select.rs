//! What is to be restored, in walk order: selections of snapshots, thinned by patterns, each under its path in the target.
//!
//! A whole snapshot becomes the target itself. A selected entry appears in the target under its own name, as with
//! `cp -a ENTRY... TARGET`, or, when its contents were asked for, directly in the target. Patterns have the syntax of
//! gitignore and see paths relative to the selected directory; what was selected by its own path is always restored.
//! A directory that no pattern includes is handed out only once something below it is, and then before it.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::entry::EntryPath;
use crate::error::{Class, Error, Result};
use crate::format::snapshot::Snapshot;
use crate::format::tree::{Body, Node};
use crate::id::SnapshotId;
use crate::repository::block_cache::Blocks;
use crate::repository::trees::{Walk, find_path};

/// One thing to restore.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The snapshot's id, for messages.
    pub id: SnapshotId,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// What in it; the empty path is all of it.
    pub path: EntryPath,
    /// Of a directory, place what is in it directly in the target and not under the directory's name (`PATH/`).
    pub contents: bool,
}

/// Patterns in gitignore syntax.
#[derive(Debug)]
pub struct Filter {
    include: Option<Gitignore>,
    exclude: Option<Gitignore>,
}

impl Filter {
    /// Restores what `include` matches (everything if it is empty) without what `exclude` matches. A matched directory
    /// stands for all that is below it.
    pub fn new(include: &[String], exclude: &[String]) -> Result<Self> {
        Ok(Self {
            include: patterns(include)?,
            exclude: patterns(exclude)?,
        })
    }

    /// True if everything passes.
    pub fn is_empty(&self) -> bool {
        self.include.is_none() && self.exclude.is_none()
    }

    /// True if the file of that name at the top passes.
    pub fn passes(&self, name: &str) -> bool {
        self.includes(name.as_bytes(), false) && !self.excludes(name.as_bytes(), false)
    }

    fn excludes(&self, path: &[u8], directory: bool) -> bool {
        matches(self.exclude.as_ref(), path, directory)
    }

    fn includes(&self, path: &[u8], directory: bool) -> bool {
        self.include.is_none() || matches(self.include.as_ref(), path, directory)
    }
}

fn patterns(lines: &[String]) -> Result<Option<Gitignore>> {
    if lines.is_empty() {
        return Ok(None);
    }
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        builder
            .add_line(None, line)
            .map_err(|e| Error::caused(Class::Invalid, format!("pattern '{line}'"), e))?;
    }
    let built = builder.build();
    Ok(Some(built.map_err(|e| {
        Error::caused(Class::Invalid, "patterns", e)
    })?))
}

fn matches(patterns: Option<&Gitignore>, path: &[u8], directory: bool) -> bool {
    let path = Path::new(OsStr::from_bytes(path));
    patterns.is_some_and(|p| p.matched(path, directory).is_ignore())
}

/// The top of one selection.
pub(super) struct Root {
    /// Its position among the roots.
    pub(super) number: usize,
    pub(super) id: SnapshotId,
    pub(super) node: Node,
    /// Its path in the snapshot.
    pub(super) from: EntryPath,
    /// Its path in the target; empty if its contents go directly there.
    pub(super) to: EntryPath,
}

impl Root {
    /// The path in the snapshot of what is at `path` in the target.
    pub(super) fn source_path(&self, path: &EntryPath) -> EntryPath {
        let below = path.as_bytes().get(self.to.as_bytes().len()..);
        let mut from = self.from.as_bytes().to_vec();
        from.push(b'/');
        from.extend_from_slice(below.unwrap_or_default());
        EntryPath::parse(&from).unwrap_or_else(|_| path.clone())
    }
}

/// Looks up what was selected and checks that no two selections want the same place.
pub(super) fn roots(blocks: &dyn Blocks, selections: &[Selection]) -> Result<Vec<Root>> {
    let mut roots: Vec<Root> = Vec::new();
    for selection in selections {
        let name = || format!("'{}' in snapshot {}", selection.path, selection.id.short());
        let node = find_path(blocks, &selection.snapshot.root, &selection.path)?
            .ok_or_else(|| Error::new(Class::NotFound, format!("{} does not exist", name())))?;
        let directory = matches!(node.body, Body::Directory(_));
        if selection.contents && !directory {
            return Err(Error::invalid(format!("{} is no directory", name())));
        }
        let to = if selection.contents {
            EntryPath::root()
        } else {
            EntryPath::parse(selection.path.name())
                .map_err(|e| Error::caused(Class::Invalid, name(), e))?
        };
        if let Some(other) = roots
            .iter()
            .find(|r| r.to == to || r.to.is_root() || to.is_root())
        {
            return Err(Error::invalid(format!(
                "{} and '{}' in snapshot {} would be restored to the same place: restore them one by one",
                name(),
                other.from,
                other.id.short()
            )));
        }
        roots.push(Root {
            number: 0,
            id: selection.id,
            node,
            from: selection.path.clone(),
            to,
        });
    }
    // In the order of the target, as one walk over all of it would be.
    roots.sort_by(|a, b| a.to.cmp(&b.to));
    for (number, root) in roots.iter_mut().enumerate() {
        root.number = number;
    }
    Ok(roots)
}

/// An entry that passed, or a directory that could not be read (further) and why.
pub(super) type Pick = Result<(EntryPath, Node), (EntryPath, Error)>;

/// Goes over one selection.
pub(super) struct Picks<'a> {
    root: &'a Root,
    filter: &'a Filter,
    walk: Walk<'a>,
    first: bool,
    /// Directories above the current place that nothing included yet.
    held: Vec<(EntryPath, Node)>,
    /// The directory that a pattern included, with all below it.
    included: Option<EntryPath>,
    ready: std::collections::VecDeque<Pick>,
}

impl<'a> Picks<'a> {
    pub(super) fn new(blocks: &'a dyn Blocks, root: &'a Root, filter: &'a Filter) -> Self {
        Self {
            root,
            filter,
            walk: Walk::new(blocks, &root.node, root.to.clone()),
            first: true,
            held: Vec::new(),
            included: None,
            ready: std::collections::VecDeque::new(),
        }
    }

    /// Takes one entry of the walk; what passes is put in `ready`.
    fn pass(&mut self, path: EntryPath, node: Node) {
        let directory = matches!(node.body, Body::Directory(_));
        let relative = path.as_bytes().get(self.root.to.as_bytes().len()..);
        let relative = relative.unwrap_or_default();
        let relative = relative.strip_prefix(b"/").unwrap_or(relative);
        if self.filter.excludes(relative, directory) {
            if directory {
                self.walk.skip_below();
            }
            return;
        }
        while self
            .held
            .pop_if(|(held, _)| !path.is_within(held))
            .is_some()
        {}
        if self
            .included
            .as_ref()
            .is_some_and(|dir| !path.is_within(dir))
        {
            self.included = None;
        }
        if self.included.is_none() && !self.filter.includes(relative, directory) {
            if directory {
                self.held.push((path, node));
            }
            return;
        }
        if directory && self.included.is_none() {
            self.included = Some(path.clone());
        }
        self.ready.extend(self.held.drain(..).map(Ok));
        self.ready.push_back(Ok((path, node)));
    }
}

impl Iterator for Picks<'_> {
    type Item = Pick;

    fn next(&mut self) -> Option<Pick> {
        if std::mem::take(&mut self.first) {
            return Some(Ok((self.root.to.clone(), self.root.node.clone())));
        }
        loop {
            if let Some(pick) = self.ready.pop_front() {
                return Some(pick);
            }
            match self.walk.next()? {
                Ok((path, node)) => self.pass(path, node),
                Err(damaged) => return Some(Err(damaged)),
            }
        }
    }
}
