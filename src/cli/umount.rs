//! `repo umount`: ends a mount.

use std::path::PathBuf;

use super::context::Context;
use super::exit::{Done, Hint};
use crate::error::Class;
use crate::mount::unmount;

/// End a mount
///
/// The process that serves the mount ends with it. umount(8), or fusermount3 -u for other users than root, do the same. A mount that
/// is in use is not ended, unless with --lazy: then it vanishes at once, and ends when nobody uses it any more.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "unmount",
    after_long_help = "\
Examples:
  repo umount /mnt/snap
  repo umount --lazy /mnt/snap"
)]
pub(super) struct Args {
    /// Where it is mounted
    #[arg(value_name = "MOUNTPOINT", required = true, value_hint = clap::ValueHint::DirPath)]
    mountpoints: Vec<PathBuf>,
    /// Detach it although it is in use
    #[arg(short, long)]
    lazy: bool,
}

/// Unmounts.
pub(super) fn run(args: &Args, context: &Context) -> Done {
    for mountpoint in &args.mountpoints {
        unmount(mountpoint, args.lazy)
            .hint_for(Class::Busy, || {
                let shown = mountpoint.display();
                format!("somebody has a file open or stands in it ('fuser -vm {shown}' tells who); or: --lazy")
            })
            .hint_for(Class::NotFound, || "'findmnt -t fuse.repo' lists what is mounted".into())?;
        if context.globals().verbose {
            context
                .monitor()
                .say(&format!("unmounted {}", mountpoint.display()));
        }
    }
    Ok(())
}
