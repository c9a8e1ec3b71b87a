//! Disks: block devices, raw images, and qcow2 images as the disk that the guest sees.

use std::path::{Path, PathBuf};

use super::{Qcow2Arg, ReadingArgs};
use crate::cli::context::Context;
use crate::cli::exit::{Done, Failure, Hint};
use crate::error::Class;
use crate::format::snapshot::{StreamKind, Wrapping};
use crate::ingest::{Ingest, IngestSummary, StreamFacts};
use crate::repository::Cutting;
use crate::source::disk::DiskSource;
use crate::source::qcow2::{Qcow2Source, Qcow2Via};

/// Takes a block device or a raw image.
pub(super) fn run(path: &Path, ingest: Ingest) -> Done<IngestSummary> {
    let source = DiskSource::open(path, ingest.monitor()).hint_for(Class::Denied, || {
        "reading a device needs root, or its group".into()
    })?;
    let facts = |_: &DiskSource| Ok(StreamFacts::of(StreamKind::Disk));
    Ok(ingest.run(source, |_| Cutting::Disk, facts)?)
}

/// Takes a qcow2 image as the disk in it.
pub(super) fn run_qcow2(
    path: &Path,
    args: &ReadingArgs,
    context: &Context,
    ingest: Ingest,
) -> Done<IngestSummary> {
    let via = match args.qcow2 {
        Qcow2Arg::Native => Qcow2Via::Native,
        Qcow2Arg::QemuImg if !args.backing.is_empty() => {
            return Err(Failure::usage("qemu-img finds backing images by itself")
                .hint("leave --backing out"));
        }
        Qcow2Arg::QemuImg => Qcow2Via::QemuImg {
            program: PathBuf::from("qemu-img"),
            scratch: scratch(context)?,
        },
    };
    let source = Qcow2Source::open(path, &args.backing, &via, ingest.monitor())
        .hint_for(Class::Unsupported, || {
            "'--qcow2 qemu-img' has the installed qemu-img read it; '--kind stream' keeps the image as it is".into()
        })?;
    let facts = |_: &Qcow2Source| {
        Ok(StreamFacts {
            wrapping: Wrapping::Qcow2,
            ..StreamFacts::of(StreamKind::Disk)
        })
    };
    Ok(ingest.run(source, |_| Cutting::Disk, facts)?)
}

/// Room for a whole disk, for a file without a name.
fn scratch(context: &Context) -> Done<PathBuf> {
    let folder = context
        .cache_folder()
        .ok_or_else(|| Failure::usage("no place for scratch files: HOME is not set"))?;
    std::fs::create_dir_all(&folder)
        .map_err(|e| crate::error::Error::io(format!("make {}", folder.display()), e))?;
    Ok(folder)
}
