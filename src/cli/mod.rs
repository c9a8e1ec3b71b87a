//! The command line: arguments, terminal, exit codes. The only part that reads the environment and the clock, and prints.
//!
//! A subcommand is one file with an `Args` struct and `run(args, &Context)`, and one line in [`Command`]. What a command does
//! is in the library; here is only how it is asked for and told. Order of reading: [`exit`] (how commands end), [`context`]
//! (from options to an open repository), [`output`] and [`progress_bar`] (how they speak), then any command.

#![allow(
    clippy::struct_excessive_bools,
    clippy::doc_markdown,
    reason = "switches are booleans, and the help texts on them are prose for a terminal"
)]
mod cat;
mod check;
mod completions;
mod context;
mod copy;
mod diff;
mod entry_view;
mod exit;
mod export;
mod find;
mod forget;
mod identity;
mod ingest;
mod init;
mod key;
mod kind;
mod ls;
mod man;
mod measure;
mod mount;
mod output;
mod pin;
mod place;
mod progress_bar;
mod prune;
mod reference;
mod repair;
mod restore;
mod secret;
mod show;
mod signals;
mod snapshot_view;
mod snapshots;
mod stats;
mod tag;
mod text;
mod umount;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use serde::Serialize;

use self::context::{Context, Globals};
use self::exit::{Done, Failure};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "repo",
    version,
    about = "Snapshots of directories, archives, disks and dumps: deduplicated, encrypted, browsable",
    long_about = "\
Keeps snapshots of things people run: directories, tar streams, application stacks, data volumes, \
VM disks, database dumps. All of them land in one deduplicated, compressed and encrypted \
repository. Any snapshot can be browsed at once through a read-only mount, restored whole or in \
part, and handed back as the plain archive it came from.",
    after_help = "'repo COMMAND --help' explains a command, with examples.",
    after_long_help = LONG_AFTER,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// One line per subcommand, in the order in which a person meets them.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Ingest(ingest::Args),
    Snapshots(snapshots::Args),
    Show(show::Args),
    Ls(ls::Args),
    Cat(cat::Args),
    Find(find::Args),
    Diff(diff::Args),
    Stats(stats::Args),
    Mount(mount::Args),
    Umount(umount::Args),
    Restore(restore::Args),
    Export(export::Args),
    Forget(forget::Args),
    Pin(pin::Args),
    Prune(prune::Args),
    Check(check::Args),
    Copy(copy::Args),
    Repair(repair::Args),
    Key(key::Args),
    Completions(completions::Args),
    Man(man::Args),
}

const LONG_AFTER: &str = "\
First steps:
  repo init                                  make a repository in the default place
  repo ingest ~/documents                    take a snapshot of a directory
  pg_dump shop | repo ingest --name shop     ... or of whatever a pipe brings
  repo snapshots                             what there is
  repo mount /mnt/snap                       browse all of it; 'repo umount /mnt/snap' ends it
  repo restore latest --target /tmp/back     get a snapshot back
  repo export --format tar.gz > a.tar.gz     hand it on as a plain archive

Which snapshot (REF):
  an id, or its first digits (at least 3); a name, which stands for its newest snapshot;
  'latest'. REF~1 is the one before. REF:PATH is something inside a snapshot.

Passphrase (exactly one of these; without any, the terminal is asked):
  REPO_PASSPHRASE           the passphrase itself
  REPO_PASSPHRASE_FILE      a file that holds it
  REPO_PASSPHRASE_COMMAND   a shell command that prints it
  REPO_KEY_FILE             a key file, as --key-file
  The other repository of 'repo copy' has the same with REPO_TO_ in front.

Places:
  The repository is at --repo or REPO_URL, else in XDG_DATA_HOME/repo (~/.local/share/repo).
  The catalog, a local index of it, is in --cache-dir or REPO_CACHE_DIR, else in XDG_CACHE_HOME/repo
  (~/.cache/repo). It may be deleted at any time: the next command makes it anew.

Output:
  With --json it is one document, or one a line where there can be many: see docs/json.md. Warnings,
  notes and errors are on standard error, then as JSON lines as well.

Exit codes:
  0  done
  1  failure (also: interrupted)
  2  the command line or the environment cannot be understood
  3  integrity: stored or received bytes are damaged, truncated or forged
  4  refused: it would replace or destroy something (see --force and the like)
  5  busy: something else holds what is needed; try again
  6  no data: nothing matched, or there was no input
  7  done, with warnings: every one was printed";

impl Command {
    fn run(self, context: &Context) -> Done {
        match self {
            Self::Init(args) => init::run(&args, context),
            Self::Ingest(args) => ingest::run(&args, context),
            Self::Snapshots(args) => snapshots::run(&args, context),
            Self::Show(args) => show::run(&args, context),
            Self::Ls(args) => ls::run(&args, context),
            Self::Cat(args) => cat::run(&args, context),
            Self::Find(args) => find::run(&args, context),
            Self::Diff(args) => diff::run(&args, context),
            Self::Stats(args) => stats::run(&args, context),
            Self::Mount(args) => mount::run(&args, context),
            Self::Umount(args) => umount::run(&args, context),
            Self::Export(args) => export::run(&args, context),
            Self::Forget(args) => forget::run(&args, context),
            Self::Pin(args) => pin::run(&args, context),
            Self::Prune(args) => prune::run(&args, context),
            Self::Check(args) => check::run(&args, context),
            Self::Copy(args) => copy::run(&args, context),
            Self::Repair(args) => repair::run(&args, context),
            Self::Restore(args) => restore::run(&args, context),
            Self::Key(args) => key::run(&args, context),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
        }
    }
}

/// Runs the command line in `args`, the program's name first; the answer is the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output and is no error. If nobody reads it, nobody needs to know.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() {
                exit::USAGE
            } else {
                exit::OK
            });
        }
    };
    let json = cli.globals.json;
    let ended = Context::new(cli.globals).and_then(|context| {
        cli.command.run(&context)?;
        if context.monitor().warnings().count > 0 {
            Err(Failure::Code(exit::WARNINGS))
        } else {
            Ok(())
        }
    });
    match ended {
        Ok(()) => ExitCode::from(exit::OK),
        Err(failure) => {
            tell(&failure, json);
            ExitCode::from(failure.code())
        }
    }
}

/// A failure as JSON.
#[derive(Serialize)]
struct FailureView<'a> {
    level: &'static str,
    class: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    exit_code: u8,
}

/// The last words on standard error: what failed, and what to do next.
fn tell(failure: &Failure, json: bool) {
    let Some(message) = failure.message() else {
        return;
    };
    let hint = failure.advice();
    let text = if json {
        let view = FailureView {
            level: "error",
            class: failure.class(),
            message: &message,
            hint,
            exit_code: failure.code(),
        };
        serde_json::to_string(&view).unwrap_or(message)
    } else {
        let hint = hint
            .map(|hint| format!("\n  hint: {}", text::line(hint)))
            .unwrap_or_default();
        format!("repo: {}{hint}", text::message(&message))
    };
    // Nobody can be told that standard error is gone.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The whole command as clap knows it, for completions and man pages.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
