//! `repo key`: who can open the repository.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Hint};
use super::init::KdfArgs;
use super::output::{Align, Output, Table};
use super::secret::{self, Purpose, Secret};
use super::text;
use crate::crypto::Role;
use crate::crypto::slot::{SlotInfo, SlotKind};
use crate::entry::Time;
use crate::error::Class;
use crate::repository::{Repository, SlotOptions};

/// Manage keys: who can open the repository, and for what
///
/// A repository can have many keys. Each is a passphrase or a key file, with a role: 'full' can do everything;
/// 'ingest' can add snapshots, deduplicated against all that is there, and read nothing at all: for hosts that
/// are backed up and may be broken into. No key knows the others, and none of these commands rewrites data.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo key list
  repo key add --label 'paper in the safe'
  repo key add --role ingest --label web1 --new-key-file web1.key
  repo key change                          another passphrase for the key that is used now
  repo key remove 86ab7ce5")]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List the keys
    List,
    Add(AddArgs),
    Remove(RemoveArgs),
    Change(ChangeArgs),
    /// Begin a new epoch: what is written from now on is sealed to new keys
    ///
    /// All keys of this repository go on working, and nothing is rewritten. It limits what an old, stolen copy of
    /// an ingest key's or a former holder's keyring is good for: it does not open what is written afterwards.
    /// Remove a stolen key first ('repo key remove').
    Rotate,
}

/// Add a key
///
/// The new secret is asked for twice on the terminal, or comes from exactly one of REPO_NEW_PASSPHRASE,
/// REPO_NEW_PASSPHRASE_FILE, REPO_NEW_PASSPHRASE_COMMAND and REPO_NEW_KEY_FILE, or is a new key file.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo key add --label 'paper in the safe'
  repo key add --role ingest --label web1 --new-key-file web1.key")]
struct AddArgs {
    /// What its holder can do
    #[arg(long, value_enum, default_value_t = RoleArg::Full)]
    role: RoleArg,
    /// A label for people; anyone who sees the repository can read it
    #[arg(long, value_name = "TEXT", default_value = "")]
    label: String,
    /// Write a new key file with this name; only its owner can read it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    new_key_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
}

/// Remove a key
///
/// The last key with the role full cannot be removed. Somebody who had the key and kept a copy of the repository
/// as it was can still open that copy.
#[derive(Debug, clap::Args)]
struct RemoveArgs {
    /// The id of the key, or its first digits: see 'repo key list'
    id: String,
}

/// Change the passphrase or key file of the key that is used now
///
/// The present secret comes from where it always comes from, the new one as for 'repo key add'.
#[derive(Debug, clap::Args)]
struct ChangeArgs {
    /// Write a new key file with this name; only its owner can read it
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    new_key_file: Option<PathBuf>,
    #[command(flatten)]
    kdf: KdfArgs,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    /// Everything
    Full,
    /// Add snapshots, and read nothing
    Ingest,
}

impl RoleArg {
    fn role(self) -> Role {
        match self {
            Self::Full => Role::Full,
            Self::Ingest => Role::Ingest,
        }
    }
}

/// A key as JSON.
#[derive(Serialize)]
struct View {
    id: String,
    role: &'static str,
    kind: &'static str,
    label: String,
    created: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kdf: Option<KdfView>,
}

#[derive(Serialize)]
struct KdfView {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl View {
    fn new(slot: &SlotInfo) -> Self {
        let (kind, kdf) = match slot.kind {
            SlotKind::Passphrase(kdf) => {
                let view = KdfView {
                    memory_kib: kdf.m_kib,
                    passes: kdf.t,
                    lanes: kdf.p,
                };
                ("passphrase", Some(view))
            }
            SlotKind::KeyFile => ("key-file", None),
        };
        Self {
            id: slot.id.to_hex(),
            role: slot.role.name(),
            kind,
            label: slot.label.clone(),
            created: text::utc_time(Time::new(slot.created, 0)),
            kdf,
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    match &args.command {
        Command::List => list(context),
        Command::Add(args) => add(args, context),
        Command::Remove(args) => remove(args, context),
        Command::Change(args) => change(args, context),
        Command::Rotate => rotate(context),
    }
}

fn list(context: &Context) -> Done {
    let slots = context.open()?.slots()?;
    let mut out = Output::new();
    if context.json() {
        out.json(&slots.iter().map(View::new).collect::<Vec<_>>())?;
        return out.finish();
    }
    let mut table = Table::new(&[
        ("ID", Align::Left),
        ("ROLE", Align::Left),
        ("KIND", Align::Left),
        ("CREATED", Align::Left),
        ("LABEL", Align::Left),
    ]);
    for slot in &slots {
        table.row(vec![
            slot.id.short(),
            slot.role.name().to_owned(),
            View::new(slot).kind.to_owned(),
            text::local_time(Time::new(slot.created, 0)),
            text::line(&slot.label),
        ]);
    }
    out.table(&table)?;
    out.finish()
}

fn add(args: &AddArgs, context: &Context) -> Done {
    let repository = context.open()?;
    repository.require_full("add a key")?;
    let secret = new_secret(args.new_key_file.as_ref())?;
    let options = SlotOptions {
        role: args.role.role(),
        label: args.label.clone(),
        created: jiff::Timestamp::now().as_second(),
        kdf: args.kdf.params(),
    };
    let slot = repository
        .add_slot(secret.unlock(), &options)
        .inspect_err(|_| forget_key_file(args.new_key_file.as_deref(), &repository, &secret))?;
    told(context, "added", &slot)
}

fn remove(args: &RemoveArgs, context: &Context) -> Done {
    let repository = context.open()?;
    let slot = repository
        .remove_slot(&args.id.to_ascii_lowercase())
        .hint_for(Class::Refused, || {
            "add another key with the role full first".into()
        })?;
    told(context, "removed", &slot)
}

fn change(args: &ChangeArgs, context: &Context) -> Done {
    let (repository, old) = context.open_with_secret()?;
    let new = new_secret(args.new_key_file.as_ref())?;
    let now = jiff::Timestamp::now().as_second();
    let slot = repository
        .change_slot(old.unlock(), new.unlock(), args.kdf.params(), now)
        .inspect_err(|_| forget_key_file(args.new_key_file.as_deref(), &repository, &new))?;
    told(context, "changed", &slot)
}

fn rotate(context: &Context) -> Done {
    #[derive(Serialize)]
    struct Rotated {
        epoch: u32,
    }
    let epoch = context.open()?.rotate()?;
    let mut out = Output::new();
    if context.json() {
        out.json(&Rotated { epoch })?;
    } else {
        out.line(format!(
            "epoch {epoch} begins; all keys have been renewed, no data was rewritten"
        ))?;
    }
    out.finish()
}

/// Removes a key file that was made for a slot that could not be: it opens nothing, and would be in the way of a second try.
/// Where the slot is there although something failed afterwards, or nobody can say, the file stays.
fn forget_key_file(path: Option<&Path>, repository: &Repository, secret: &Secret) {
    if let Some(path) = path
        && matches!(repository.opens_with(secret.unlock()), Ok(false))
    {
        // The failure that is told is the first one.
        let _ = std::fs::remove_file(path);
    }
}

fn new_secret(key_file: Option<&PathBuf>) -> Done<Secret> {
    match key_file {
        Some(path) => secret::create_key_file(path).map(Secret::KeyFile),
        None => secret::acquire(Purpose::NewSlot, None, "the new key"),
    }
}

fn told(context: &Context, what: &str, slot: &SlotInfo) -> Done {
    let mut out = Output::new();
    if context.json() {
        out.json(&View::new(slot))?;
    } else {
        let label = match slot.label.as_str() {
            "" => String::new(),
            label => format!(" '{}'", text::line(label)),
        };
        let (id, role) = (slot.id.short(), slot.role.name());
        out.line(format!("{what} key {id}{label} (role {role})"))?;
    }
    out.finish()
}
