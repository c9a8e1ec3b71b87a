//! `repo man`: manual pages, generated from the same definitions as `--help`.

use std::path::PathBuf;

use clap_mangen::Man;

use super::exit::{Done, output_failed};
use super::output::Output;
use crate::error::At;

/// Print the manual page, or write all of them into a folder
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo man | man -l -                          read it here
  sudo repo man --dir /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Write one page per command (repo.1, repo-ingest.1, ...) into this folder
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

/// Prints or writes the pages.
pub(super) fn run(args: &Args) -> Done {
    if let Some(folder) = &args.dir {
        std::fs::create_dir_all(folder).at_path("create the folder", folder)?;
        clap_mangen::generate_to(super::command(), folder).at_path("write pages to", folder)?;
        return Ok(());
    }
    let mut page = Vec::new();
    Man::new(super::command())
        .render(&mut page)
        .map_err(output_failed)?;
    let mut out = Output::new();
    out.raw(&page)?;
    out.finish()
}
