//! `repo pin`: snapshots that no rule drops.

use std::ffi::OsString;

use serde::Serialize;

use super::context::Context;
use super::exit::{Done, Failure};
use super::output::Output;
use super::place;
use super::text;
use crate::repository::SnapshotInfo;

/// Pin snapshots: no rule of 'repo forget' drops them, and naming them is refused
///
/// Without REF the pinned snapshots are listed. A pinned snapshot goes only with 'repo forget --unpin REF', or after
/// 'repo pin --remove REF'.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  repo pin web~3
  repo pin                       which are pinned
  repo pin --remove web~3")]
pub(super) struct Args {
    /// Which snapshots
    #[arg(value_name = "REF")]
    references: Vec<OsString>,
    /// Take the pins off
    #[arg(long, requires = "references")]
    remove: bool,
}

#[derive(Serialize)]
struct View {
    id: String,
    name: String,
    pinned: bool,
}

impl View {
    fn new(info: &SnapshotInfo, pinned: bool) -> Self {
        Self {
            id: info.id.to_hex(),
            name: info.snapshot.name.clone(),
            pinned,
        }
    }
}

/// Pins, unpins or lists.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    let repository = context.open()?;
    repository.require_full("pin snapshots")?;
    let mut views = Vec::new();
    if args.references.is_empty() {
        let pins = repository.pins()?;
        let all = repository.snapshots()?;
        let pinned = all.iter().filter(|info| pins.contains(&info.id));
        views.extend(pinned.map(|info| View::new(info, true)));
    }
    for info in snapshots(&repository, &args.references)? {
        if args.remove {
            repository.unpin(&info.id)?;
        } else {
            repository.pin(&info.id)?;
        }
        views.push(View::new(&info, !args.remove));
    }
    let mut out = Output::new();
    if context.json() {
        out.json(&views)?;
    } else if !context.globals().quiet {
        for view in &views {
            let state = if view.pinned { "pinned" } else { "not pinned" };
            let id = view.id.get(..8).unwrap_or_default();
            out.line(format!("{id} {} {state}", text::line(&view.name)))?;
        }
    }
    out.finish()
}

/// The snapshots that are named, all found before anything is done.
pub(super) fn snapshots(
    repository: &crate::repository::Repository,
    references: &[OsString],
) -> Done<Vec<SnapshotInfo>> {
    let mut found: Vec<SnapshotInfo> = Vec::new();
    for typed in references {
        let place = place::parse(repository, typed)?;
        if place.path.is_some() {
            return Err(Failure::usage(
                "only whole snapshots can be pinned, forgotten or copied",
            ));
        }
        if !found.iter().any(|info| info.id == place.snapshot.id) {
            found.push(place.snapshot);
        }
    }
    Ok(found)
}
