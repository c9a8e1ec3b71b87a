//! From options and environment to what a command works with: repository, catalog place, monitor.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::exit::{Done, Failure, Hint};
use super::progress_bar::{Manner, TermMonitor};
use super::secret::{self, Purpose, Secret};
use super::signals;
use crate::backend::{self, Backend, Key};
use crate::catalog::CatalogPlace;
use crate::error::{At, Class, Error};
use crate::format::config::{Config, ConfigError, MAX_CONFIG_BYTES};
use crate::progress::Monitor;
use crate::repository::Repository;

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
pub(super) struct Globals {
    /// Where the repository is: a path or URL [default: ~/.local/share/repo]
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "REPO_URL",
        hide_env_values = true
    )]
    pub(super) repo: Option<OsString>,
    /// Open with the key in this file instead of a passphrase (REPO_KEY_FILE)
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) key_file: Option<PathBuf>,
    /// Where the catalog is kept [default: ~/.cache/repo]
    #[arg(long, global = true, value_name = "DIR", env = "REPO_CACHE_DIR", hide_env_values = true,
          value_hint = clap::ValueHint::DirPath)]
    pub(super) cache_dir: Option<PathBuf>,
    /// Print JSON, documented in docs/json.md
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
    pub(super) fn place(&self) -> Done<OsString> {
        if let Some(place) = &self.globals.repo {
            return Ok(place.clone());
        }
        let folder = user_folder("XDG_DATA_HOME", ".local/share")
            .ok_or_else(|| Failure::usage("no place for a repository: HOME is not set"))
            .map_err(|failure| failure.hint("say where it is with --repo or REPO_URL"))?
            .join("repo");
        Ok(folder.into_os_string())
    }

    /// The same, meaning the same from whatever directory.
    pub(super) fn absolute_place(&self) -> Done<OsString> {
        let place = self.place()?;
        if place.to_str().is_some_and(|place| place.contains("://")) {
            return Ok(place);
        }
        Ok(std::path::absolute(&place)
            .at(format!("find {}", place.display()))?
            .into_os_string())
    }

    /// Where catalogs are kept; `None` if there is no such place.
    pub(super) fn cache_folder(&self) -> Option<PathBuf> {
        match &self.globals.cache_dir {
            Some(folder) => Some(folder.clone()),
            None => Some(user_folder("XDG_CACHE_HOME", ".cache")?.join("repo")),
        }
    }

    /// Where what does not fit in memory may go; `None` if there is no such place.
    pub(super) fn scratch(&self) -> Option<PathBuf> {
        self.cache_folder().map(|folder| folder.join("scratch"))
    }

    /// The secret that opens the repository, or will open a new one.
    pub(super) fn secret(&self, purpose: Purpose) -> Done<Secret> {
        self.secret_of(purpose, self.globals.key_file.as_deref(), &self.place()?)
    }

    /// The secret for the repository at `place`; `key_file` is what the command line says.
    fn secret_of(&self, purpose: Purpose, key_file: Option<&Path>, place: &OsStr) -> Done<Secret> {
        let from_environment = std::env::var_os(purpose.key_file_variable()).map(PathBuf::from);
        let used = key_file.or(from_environment.as_deref());
        if let Some(path) = used.filter(|path| secret::is_exposed(path)) {
            let path = path.display();
            self.monitor.say(&format!(
                "others can read the key file {path}: 'chmod 600 {path}'"
            ));
        }
        secret::acquire(purpose, key_file, &place.to_string_lossy())
    }

    /// Opens the repository.
    pub(super) fn open(&self) -> Done<Arc<Repository>> {
        Ok(self.open_with_secret()?.0)
    }

    /// Opens the repository; the secret that did it comes with it.
    pub(super) fn open_with_secret(&self) -> Done<(Arc<Repository>, Secret)> {
        let (backend, config) = self.find()?;
        let secret = self.secret(Purpose::Open)?;
        let repository = self.open_found(backend, &config, &secret)?;
        Ok((repository, secret))
    }

    /// Finds the repository without opening it: nobody is asked for a passphrase in vain.
    pub(super) fn find(&self) -> Done<(Arc<dyn Backend>, Config)> {
        let advice = match &self.globals.repo {
            Some(_) => "check the place, or make one there with 'repo init'",
            None => "make one with 'repo init', or say where yours is with --repo or REPO_URL",
        };
        Self::find_at(&self.place()?, advice)
    }

    /// Opens the repository that is copied to.
    pub(super) fn open_destination(
        &self,
        place: &OsStr,
        key_file: Option<&Path>,
    ) -> Done<Arc<Repository>> {
        let shown = place.to_string_lossy();
        let advice = format!("check the place, or make one there with 'repo --repo {shown} init'");
        let (backend, config) = Self::find_at(place, &advice)?;
        let secret = self.secret_of(Purpose::Destination, key_file, place)?;
        self.open_found(backend, &config, &secret)
            .hint_for(Class::WrongKey, || {
                "check the passphrase of the repository that is copied to, or which of --to-key-file, REPO_TO_PASSPHRASE, \
                 REPO_TO_PASSPHRASE_FILE, REPO_TO_PASSPHRASE_COMMAND and REPO_TO_KEY_FILE is set"
                    .into()
            })
    }

    fn find_at(place: &OsStr, advice: &str) -> Done<(Arc<dyn Backend>, Config)> {
        let backend = backend::open(place)?;
        let bytes = backend
            .read_all(&Key::config(), MAX_CONFIG_BYTES as u64)
            .map_err(|error| {
                if error.class() == Class::NotFound {
                    let what = format!("there is no repository at {}", backend.location());
                    Failure::from(Error::new(Class::NotFound, what)).hint(advice)
                } else {
                    Failure::from(error)
                }
            })?;
        let config = Config::decode(&bytes).map_err(|error| {
            let class = match error {
                ConfigError::Version(_) => Class::Unsupported,
                ConfigError::Foreign(_) => Class::Invalid,
                _ => Class::Corrupt,
            };
            Error::caused(
                class,
                format!("the repository at {}", backend.location()),
                error,
            )
        });
        let config = config.hint_for(Class::Corrupt, || {
            "its object 'config' never changes, and nothing can be opened without it: put it back from a copy of the repository".into()
        })?;
        Ok((backend, config))
    }

    /// Opens what [`Context::find`] found.
    pub(super) fn open_found(
        &self,
        backend: Arc<dyn Backend>,
        config: &Config,
        secret: &Secret,
    ) -> Done<Arc<Repository>> {
        // One catalog per repository, whatever the place it is reached at.
        let catalog = match self.cache_folder() {
            Some(folder) => CatalogPlace::File(folder.join(format!("{}.sqlite", config.id))),
            None => CatalogPlace::Memory,
        };
        Repository::open(backend, secret.unlock(), &catalog, self.monitor.as_ref())
            .hint_for(Class::Corrupt, || {
                "nothing can be opened without it: put it back from a copy of the repository; 'repo check --no-key' tells what is damaged"
                    .into()
            })
            .hint_for(Class::Denied, || {
                "you may not read or write there; the catalog's place is --cache-dir".into()
            })
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
