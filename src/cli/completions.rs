//! `repo completions`: scripts that complete commands and options in a shell.

use clap_complete::Shell;

use super::exit::Done;
use super::output::Output;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  bash:  repo completions bash > ~/.local/share/bash-completion/completions/repo
  zsh:   repo completions zsh > ~/.zfunc/_repo      (with ~/.zfunc in fpath)
  fish:  repo completions fish > ~/.config/fish/completions/repo.fish")]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &Args) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "repo", &mut script);
    let mut out = Output::new();
    out.raw(&script)?;
    out.finish()
}
