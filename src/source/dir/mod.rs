//! Directories of this machine as a source: everything that an inode can be, in walk order, read ahead by many threads.
//!
//! ```text
//! listing threads (ahead)  directories -> sorted names           a few: cold directories wait for the disk
//! walk thread (walk)       names -> batches, in stream order     one: it defines the order
//! readers (load)           batch -> entries, small files read    many: a cold small file is two waits for the disk
//! the caller (emit)        entries and content -> sink           large files are read here, a segment ahead
//! ```
//!
//! The order, and so the stream, does not depend on the number of threads. Memory is bounded: listings ahead, batches in
//! flight and content read ahead each have a limit. Files are reached through directory handles only ([`handle`]).
//! What cannot be read, vanishes or is of a strange type is named in a warning and left out.

mod ahead;
mod attrs;
mod emit;
pub(crate) mod facts;
mod handle;
mod links;
mod listing;
mod load;
mod owners;
mod walk;
mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope};

use crossbeam_channel::bounded;

use self::ahead::Ahead;
use self::emit::Emit;
use self::handle::{Dir, Handles};
use self::links::Links;
use self::listing::Filter;
use self::load::Load;
use self::owners::Owners;
use self::walk::{Gone, Walk};
use self::window::Window;
use crate::budget::Budget;
use crate::entry::{EntryPath, Known, MemoryShelf, Order, Shelf, Sink, Source};
use crate::error::{At, Error, Result};
use crate::progress::Monitor;
use crate::source::bare_root;
use crate::source::exclude::Exclude;

/// How a directory is read.
#[derive(Clone)]
pub struct DirOptions {
    /// What to leave out, in gitignore syntax.
    pub exclude: Vec<String>,
    /// Files with more of it, one pattern per line.
    pub exclude_files: Vec<PathBuf>,
    /// Of directories tagged as caches (`CACHEDIR.TAG`), keep the tag only.
    pub exclude_caches: bool,
    /// Leave what is mounted inside: a mount point stays as an empty directory.
    pub one_file_system: bool,
    /// Threads that read small files; at least 1. Many, because they wait for the disk.
    pub io_threads: usize,
    /// Threads that list directories ahead of the walk; 0 is allowed.
    pub list_threads: usize,
    /// Memory for content read ahead, in bytes.
    pub read_ahead_bytes: usize,
    /// Where names of users are looked up; `None`: numbers only.
    pub passwd: Option<PathBuf>,
    /// Where names of groups are looked up.
    pub group: Option<PathBuf>,
    /// Files that need not be read. A run that reads nothing at all answers `true` always.
    pub known: Option<Arc<dyn Known>>,
    /// Where files are kept of which more names may come; `None` keeps them in memory.
    pub shelf: Option<Arc<dyn Shelf>>,
}

impl Default for DirOptions {
    fn default() -> Self {
        Self {
            exclude: Vec::new(),
            exclude_files: Vec::new(),
            exclude_caches: false,
            one_file_system: false,
            io_threads: 16,
            list_threads: 2,
            read_ahead_bytes: 16 << 20,
            passwd: Some("/etc/passwd".into()),
            group: Some("/etc/group".into()),
            known: None,
            shelf: None,
        }
    }
}

/// Streams one or several directories (or single files) as one tree.
///
/// One directory: the tree is its content, and the root comes first with the directory's metadata. Several sources, or one
/// that is no directory: each lies in the tree under its own name, below a bare root. Symbolic links given as
/// sources are followed, those found inside never.
pub struct DirSource {
    roots: Vec<Root>,
    filter: Filter,
    options: DirOptions,
    monitor: Arc<dyn Monitor>,
}

struct Root {
    path: PathBuf,
    /// Where it lies in the tree.
    under: EntryPath,
}

impl DirSource {
    /// Nothing is opened before `stream`. Fails on bad patterns, and if two sources would have the same name in the tree.
    pub fn new(
        roots: Vec<PathBuf>,
        options: DirOptions,
        monitor: Arc<dyn Monitor>,
    ) -> Result<Self> {
        let exclude = Exclude::new(&options.exclude, &options.exclude_files)?;
        let filter = Filter {
            exclude: (!exclude.is_empty()).then_some(exclude),
            cache_directories: options.exclude_caches,
            one_file_system: options.one_file_system,
        };
        let alone = roots.len() == 1 && roots.first().is_some_and(|root| root.is_dir());
        let mut named = BTreeMap::new();
        for path in roots {
            let under = if alone {
                EntryPath::root()
            } else {
                base_name(&path)?
            };
            let root = Root {
                path: path.clone(),
                under: under.clone(),
            };
            if let Some(other) = named.insert(under.clone(), root) {
                return Err(Error::invalid(format!(
                    "{} and {} would both be '{under}' in the snapshot; take them one by one",
                    other.path.display(),
                    path.display()
                )));
            }
        }
        if named.is_empty() {
            return Err(Error::invalid("no directory to read was given"));
        }
        Ok(Self {
            roots: named.into_values().collect(),
            filter,
            options,
            monitor,
        })
    }

    /// A path of the tree as the user knows it.
    fn show(&self, path: &EntryPath) -> String {
        let root = self.roots.iter().find(|root| path.is_within(&root.under));
        let Some(root) = root else {
            return path.to_string();
        };
        let skipped = root.under.depth();
        let mut shown = root.path.display().to_string();
        for name in path.components().skip(skipped) {
            if !shown.ends_with('/') {
                shown.push('/');
            }
            match EntryPath::root().join(name) {
                Ok(name) => shown.push_str(&name.to_string()),
                Err(_) => shown.push('?'),
            }
        }
        shown
    }

    /// Opens the sources: a tree each, or a single name.
    fn open(&self) -> Result<Vec<Start>> {
        let mut starts = Vec::new();
        for root in &self.roots {
            let start = if root.path.is_dir() {
                let dir = Dir::root(&root.path).at_path("open directory", &root.path)?;
                Start::Tree(dir, root.under.clone())
            } else {
                // A symbolic link was given: what it points to is meant.
                let real = std::fs::canonicalize(&root.path).at_path("open", &root.path)?;
                let (Some(above), Some(name)) = (real.parent(), real.file_name()) else {
                    return Err(Error::invalid(format!("{} has no name", real.display())));
                };
                let dir = Dir::root(above).at_path("open directory", above)?;
                Start::Single(dir, name.as_bytes().into(), root.under.clone())
            };
            starts.push(start);
        }
        Ok(starts)
    }
}

enum Start {
    Tree(Arc<Dir>, EntryPath),
    Single(Arc<Dir>, Box<[u8]>, EntryPath),
}

/// The name of a source in the tree.
fn base_name(path: &Path) -> Result<EntryPath> {
    let named = match path.file_name() {
        Some(_) => path.to_path_buf(),
        // As `.` or `x/..`.
        None => std::fs::canonicalize(path).at_path("open", path)?,
    };
    let name = named.file_name().map(OsStrExt::as_bytes);
    let name = name.and_then(|name| EntryPath::root().join(name).ok());
    name.ok_or_else(|| {
        let shown = path.display();
        Error::invalid(format!("{shown} has no name to stand for it in a snapshot"))
    })
}

impl Source for DirSource {
    fn order(&self) -> Order {
        Order::Walk
    }

    fn stream(&mut self, sink: &mut dyn Sink) -> Result<()> {
        let starts = self.open()?;
        let show = |path: &EntryPath| self.show(path);
        let shelf = self.options.shelf.clone();
        let links = Links::new(shelf.unwrap_or_else(|| Arc::new(MemoryShelf::default())));
        let (handles, stop) = (Handles::default(), AtomicBool::new(false));
        let owners = Owners::read(
            self.options.passwd.as_deref(),
            self.options.group.as_deref(),
        );
        let window = Window::new(Budget::new(self.options.read_ahead_bytes));
        let ahead = Ahead::new(&handles, &self.filter);
        let load = Load {
            handles: &handles,
            window: &window,
            links: &links,
            owners: &owners,
            known: self.options.known.as_deref(),
            show: &show,
            stop: &stop,
        };
        let readers = self.options.io_threads.max(1);
        let in_flight = (4 * readers).max(32);
        thread::scope(|scope| {
            // Dropped before the scope waits for its threads, also when the sink fails or panics.
            let _end = End {
                ahead: &ahead,
                load: &load,
            };
            let (batches, work) = bounded::<walk::Batch>(in_flight);
            let (order, emitted) = bounded(in_flight);
            for _ in 0..self.options.list_threads {
                spawn(scope, "list", || ahead.work())?;
            }
            for _ in 0..readers {
                let (work, load) = (work.clone(), &load);
                spawn(scope, "read", move || {
                    for batch in work {
                        // The emitter may be gone.
                        let _ = batch.reply.send(load.batch(&batch));
                    }
                })?;
            }
            drop(work);
            let mut walk = Walk::new(&ahead, &show, batches, order);
            spawn(scope, "walk", move || {
                // If the emitter went away there is nobody to tell.
                let _ = all(&mut walk, starts);
            })?;
            let mut emit = Emit {
                load: &load,
                monitor: &*self.monitor,
                sink,
            };
            if !self.roots.iter().any(|root| root.under.is_root()) {
                emit.sink.entry(&bare_root())?;
            }
            emit.all(&emitted)
        })
    }
}

fn all(walk: &mut Walk<'_>, starts: Vec<Start>) -> Result<(), Gone> {
    for start in starts {
        match start {
            Start::Tree(dir, under) => walk.tree(&dir, &under)?,
            Start::Single(dir, name, under) => walk.single(&dir, &name, &under)?,
        }
    }
    walk.flush()
}

fn spawn<'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() + Send + 'scope,
) -> Result<()> {
    let builder = thread::Builder::new().name(format!("dir-{name}"));
    builder
        .spawn_scoped(scope, work)
        .map(drop)
        .map_err(|error: io::Error| Error::io("start a reader thread", error))
}

/// Ends all threads when the emitter is done.
struct End<'a> {
    ahead: &'a Ahead<'a>,
    load: &'a Load<'a>,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.load.stop.store(true, Ordering::Relaxed);
        self.load.window.close();
        self.ahead.close();
    }
}
