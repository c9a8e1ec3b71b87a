//! `repo init`: makes a repository.

use std::path::PathBuf;

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure, Hint};
use super::output::Output;
use super::secret::{self, Purpose, Secret};
use super::text;
use crate::backend;
use crate::crypto::{KdfParams, Role};
use crate::error::{Class, Error};
use crate::format::header::Suite;
use crate::repository::{CreateOptions, Repository, SlotOptions};

/// Create a repository
///
/// Without --repo and REPO_URL it is made in the user's data directory. It is protected by a passphrase, which is asked
/// for twice on the terminal, or taken from the environment (see 'repo --help'), or by a key file. More keys can be
/// added later ('repo key add').
///
/// Keep the passphrase somewhere else than on this machine: nobody can read the repository without it, and
/// nobody can reset it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo init                                         in the default place, asks for a passphrase
  repo init --repo /mnt/backup/repo                 somewhere else
  repo init --key-file-out ~/repo.key               opened by a new key file, no passphrase
  REPO_PASSPHRASE_FILE=/etc/repo.pass repo init     in a script")]
pub(super) struct Args {
    /// How everything is encrypted
    ///
    /// Both are equally strong. AES is faster on machines with AES instructions but without AVX-512; 'auto' takes
    /// what is right for most: ChaCha20-Poly1305.
    #[arg(long, value_enum, default_value_t = SuiteArg::Auto)]
    suite: SuiteArg,
    #[command(flatten)]
    kdf: KdfArgs,
    /// Write a new key file, and protect the repository with it instead of a passphrase
    ///
    /// The file is readable by its owner only. Whoever has it can read the repository: keep a copy in a safe place.
    #[arg(long, value_name = "FILE", conflicts_with = "key_file",
          value_hint = clap::ValueHint::FilePath)]
    key_file_out: Option<PathBuf>,
    /// A label for the key, for people; anyone who sees the repository can read it
    #[arg(long, value_name = "TEXT", default_value = "first key")]
    label: String,
}

/// Encryption by name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SuiteArg {
    /// What suits this program best
    Auto,
    /// ChaCha20-Poly1305
    #[value(name = "chacha20-poly1305")]
    ChaCha20Poly1305,
    /// AES-256-GCM
    #[value(name = "aes-256-gcm")]
    Aes256Gcm,
}

/// The cost of guessing a passphrase.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct KdfArgs {
    /// Memory that trying one passphrase takes, in MiB (Argon2id; at least 64)
    #[arg(long = "kdf-memory", value_name = "MIB", default_value_t = 64,
          value_parser = clap::value_parser!(u32).range(64..=2048))]
    memory: u32,
    /// Passes over that memory (at least 3)
    #[arg(long = "kdf-passes", value_name = "N", default_value_t = 3,
          value_parser = clap::value_parser!(u32).range(3..=64))]
    passes: u32,
    /// Lanes computed in parallel (at least 4)
    #[arg(long = "kdf-lanes", value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(4..=64))]
    lanes: u32,
}

impl KdfArgs {
    /// As the slot stores it.
    pub(super) fn params(self) -> KdfParams {
        KdfParams {
            m_kib: self.memory << 10,
            t: self.passes,
            p: self.lanes,
        }
    }
}

impl SuiteArg {
    fn suite(self) -> Suite {
        match self {
            Self::Auto | Self::ChaCha20Poly1305 => Suite::ChaCha20Poly1305,
            Self::Aes256Gcm => Suite::Aes256Gcm,
        }
    }
}

#[derive(Serialize)]
struct View<'a> {
    repository: &'a str,
    place: &'a str,
    key: &'a str,
    suite: &'static str,
}

/// Creates the repository and says where it is.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let place = context.place()?;
    let backend = backend::open(&place)?;
    // Before anything is asked, and before a key file is written for nothing.
    if backend.exists(&backend::Key::config())? {
        let error = Error::new(
            Class::Exists,
            format!("there is a repository at {} already", backend.location()),
        );
        return Err(Failure::from(error).hint("use it, or name another place with --repo"));
    }
    let secret = match &args.key_file_out {
        Some(path) => secret::create_key_file(path)
            .map(Secret::KeyFile)
            .hint_for(Class::Exists, || {
                "a key file is never replaced: name another one, or open with it: --key-file".into()
            })?,
        None => context.secret(Purpose::Create)?,
    };
    let options = CreateOptions {
        suite: args.suite.suite(),
        slot: SlotOptions {
            role: Role::Full,
            label: args.label.clone(),
            created: jiff::Timestamp::now().as_second(),
            kdf: args.kdf.params(),
        },
    };
    let created = Repository::create(backend.as_ref(), &options, secret.unlock())
        .inspect_err(|_| {
            // A key file that opens nothing would be in the way of a second try. The failure that is told is the first one.
            if let (Some(path), Ok(false)) =
                (&args.key_file_out, backend.exists(&backend::Key::config()))
            {
                let _ = std::fs::remove_file(path);
            }
        })
        .hint_for(Class::Denied, || {
            "choose a place you may write to with --repo".into()
        })?;
    if !created.reserve {
        context.monitor().say(
            "there is no room to set space aside, without which 'repo prune' may not work once the disk is full: \
             the next ingest or prune tries again",
        );
    }
    let mut out = Output::new();
    if context.json() {
        out.json(&View {
            repository: &created.id.to_hex(),
            place: &backend.location(),
            key: &created.slot.id.to_hex(),
            suite: match options.suite {
                Suite::ChaCha20Poly1305 => "chacha20-poly1305",
                Suite::Aes256Gcm => "aes-256-gcm",
            },
        })?;
    } else {
        out.line(format!("created repository {}", created.id.short()))?;
        out.line(format!("at {}", text::line(&backend.location())))?;
        if !context.globals().quiet {
            out.line(keep_it_safe(&secret, args))?;
        }
    }
    out.finish()
}

fn keep_it_safe(secret: &Secret, args: &Args) -> String {
    match (secret, &args.key_file_out) {
        (Secret::Passphrase(_), _) => "\
Keep the passphrase somewhere else as well: without it nobody can ever read what is in the repository."
            .to_owned(),
        (Secret::KeyFile(_), path) => format!(
            "Keep a copy of the key file{} somewhere else as well: without it nobody can ever read what is in the repository.",
            path.as_ref().map(|path| format!(" {}", path.display())).unwrap_or_default()
        ),
    }
}
