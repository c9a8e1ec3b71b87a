//! From options and environment to what a command works with: repository, catalog place, monitor.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::exit::{Done, Failure};
use super::progress_bar::{Manner, TermMonitor};
use super::secret::{self, Purpose, Secret};
use super::signals;
use crate::progress::Monitor;

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct Globals {
    /// Where the repository is: a path or URL [default: ~/.local/share/repo]
    ///
    /// A path or a URL. Without it, and without `REPO_URL`, it is the folder `repo` in the user's data directory
    /// ($XDG_DATA_HOME, else ~/.local/share).
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "REPO_URL",
        hide_env_values = true
    )]
    pub(super) repo: Option<String>,
    /// Open with the key in this file instead of a passphrase
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) key_file: Option<PathBuf>,
    /// Where the catalog is kept [default: ~/.cache/repo]
    ///
    /// The catalog is a local index of what the repository holds. It may be deleted at any time: the next command
    /// makes it anew.
    #[arg(long, global = true, value_name = "DIR", env = "REPO_CACHE_DIR", hide_env_values = true,
          value_hint = clap::ValueHint::DirPath)]
    pub(super) cache_dir: Option<PathBuf>,
    /// Print JSON, documented in docs/json.md
    ///
    /// One document, or one a line where there can be many. Warnings, notes and errors are JSON lines on standard error.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Say less: only warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Say more: every entry that is worked on
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
    /// Show no progress
    #[arg(long, global = true)]
    pub(super) no_progress: bool,
}

/// What commands work with.
pub(super) struct Context {
    globals: Globals,
    monitor: Arc<TermMonitor>,
}

impl Context {
    /// The context of one run of the program.
    pub(super) fn new(globals: Globals) -> Done<Self> {
        let interrupted: Arc<AtomicBool> = signals::install()?;
        let manner = Manner {
            json: globals.json,
            quiet: globals.quiet,
            verbose: globals.verbose,
            progress: !globals.no_progress,
        };
        Ok(Self {
            monitor: TermMonitor::new(manner, interrupted),
            globals,
        })
    }

    /// The options of all commands.
    pub(super) fn globals(&self) -> &Globals {
        &self.globals
    }

    /// True if JSON was asked for.
    pub(super) fn json(&self) -> bool {
        self.globals.json
    }

    /// Warnings, notes and progress.
    pub(super) fn monitor(&self) -> &Arc<TermMonitor> {
        &self.monitor
    }

    /// The same as the library takes it.
    pub(super) fn library_monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.monitor) as Arc<dyn Monitor>
    }

    /// Where the repository is.
    pub(super) fn place(&self) -> Done<String> {
        if let Some(place) = &self.globals.repo {
            return Ok(place.clone());
        }
        let folder = user_folder("XDG_DATA_HOME", ".local/share")
            .ok_or_else(|| Failure::usage("no place for a repository: HOME is not set"))
            .map_err(|failure| failure.hint("say where it is with --repo or REPO_URL"))?
            .join("repo");
        folder.into_os_string().into_string().map_err(|_| {
            Failure::usage("the user's data directory has a name that is not UTF-8")
                .hint("say where the repository is with --repo or REPO_URL")
        })
    }

    /// Where catalogs are kept; `None` if there is no such place.
    pub(super) fn cache_folder(&self) -> Option<PathBuf> {
        match &self.globals.cache_dir {
            Some(folder) => Some(folder.clone()),
            None => Some(user_folder("XDG_CACHE_HOME", ".cache")?.join("repo")),
        }
    }

    /// The secret that opens the repository, or will open a new one.
    pub(super) fn secret(&self, purpose: Purpose) -> Done<Secret> {
        let key_file = self.globals.key_file.as_deref();
        if let Some(path) = key_file.filter(|path| secret::is_exposed(path)) {
            let path = path.display();
            self.monitor.say(&format!(
                "others can read the key file {path}: 'chmod 600 {path}'"
            ));
        }
        secret::acquire(purpose, key_file, &self.place()?)
    }
}

/// A folder of the user as the XDG base directory specification has it: relative values are ignored.
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value: &OsString| !value.is_empty())
            .map(PathBuf::from)
    };
    set(variable)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(below_home)))
}
