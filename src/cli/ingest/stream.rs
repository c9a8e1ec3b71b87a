//! Streams: standard input, files that are archives or dumps, and what commands print.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use super::{Args, KindArg};
use crate::cli::exit::{Done, Failure, Hint};
use crate::error::{At, Class};
use crate::format::snapshot::StreamKind;
use crate::ingest::{Ingest, IngestSummary, StreamRequest, ingest_stream};
use crate::source::command::Producer;

/// Standard input, unbuffered: whole blocks go straight to where they are looked at.
pub(super) fn stdin() -> Done<File> {
    let input = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .at("open standard input")?;
    Ok(input.into())
}

/// Takes what `reader` gives.
pub(super) fn run(
    reader: impl Read + Send + 'static,
    args: &Args,
    file_name: Vec<u8>,
    ingest: Ingest,
) -> Done<IngestSummary> {
    let request = StreamRequest {
        kind: kind(args.kind),
        exact: args.exact,
        file_name,
    };
    ingest_stream(ingest, reader, &request)
        .hint_for(Class::NoData, || {
            "whatever was to fill the pipe printed nothing: no snapshot was made".to_owned()
        })
        .hint_for(Class::Corrupt, || {
            "no snapshot was made; what is damaged or cut short can be kept as it is with '--kind stream'"
                .to_owned()
        })
}

/// Takes what a command prints. Its error output goes to ours.
pub(super) fn run_command(
    command: &[OsString],
    args: &Args,
    file_name: Vec<u8>,
    ingest: Ingest,
) -> Done<IngestSummary> {
    let (producer, output) = Producer::start(command, |bytes| {
        // Nobody can be told that standard error is gone.
        let _ = std::io::stderr().lock().write_all(bytes);
    })
    .map_err(|error| match error.class() {
        Class::NotFound => Failure::from(error).hint("is it installed, and in PATH?"),
        _ => error.into(),
    })?;
    let summary = run(output, args, file_name, ingest);
    drop(producer);
    summary
}

/// What the library is told; `None` finds out.
fn kind(kind: KindArg) -> Option<StreamKind> {
    Some(match kind {
        KindArg::Auto => return None,
        KindArg::Dir => StreamKind::Dir,
        KindArg::Tar => StreamKind::Tar,
        KindArg::Stack => StreamKind::Stack,
        KindArg::Volume => StreamKind::Volume,
        KindArg::Vm => StreamKind::Vm,
        KindArg::Disk => StreamKind::Disk,
        KindArg::Db => StreamKind::Db,
        KindArg::Stream => StreamKind::Stream,
    })
}
