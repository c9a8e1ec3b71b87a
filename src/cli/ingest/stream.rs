//! Streams: standard input, files that are archives or dumps, and what commands print.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Args, KindArg};
use crate::cli::context::Context;
use crate::cli::exit::{Done, Hint};
use crate::error::{At, Class, Error};
use crate::format::snapshot::StreamKind;
use crate::ingest::{Ingest, IngestSummary, StreamRequest, ingest_stream};
use crate::progress::Monitor;
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
        .hint_for(Class::Unsupported, || {
            "'--kind tar' takes it as a plain archive, '--kind stream' as plain bytes".to_owned()
        })
        .hint_for(Class::Invalid, || unlike(args.kind))
        .hint_for(Class::Corrupt, || unlike(args.kind))
}

/// Takes what a command prints. Its error output goes to ours.
pub(super) fn run_command(
    command: &[OsString],
    args: &Args,
    context: &Context,
    file_name: Vec<u8>,
    ingest: Ingest,
) -> Done<IngestSummary> {
    let (producer, output) = Producer::start(command, |bytes| {
        // Nobody can be told that standard error is gone.
        let _ = std::io::stderr().lock().write_all(bytes);
    })
    .hint_for(Class::NotFound, || "is it installed, and in PATH?".into())?;
    // A command that says nothing is ended by an interrupt all the same: dropping it does that.
    let over = AtomicBool::new(false);
    let monitor = context.monitor();
    let summary = std::thread::scope(|scope| {
        scope.spawn(|| {
            let producer = producer;
            while !over.load(Ordering::Relaxed) && !monitor.interrupted() {
                std::thread::sleep(POLL);
            }
            drop(producer);
        });
        let summary = run(output, args, file_name, ingest);
        over.store(true, Ordering::Relaxed);
        summary
    });
    if summary.is_err() && monitor.interrupted() {
        return Err(interrupted().into());
    }
    summary
}

/// How often whoever waits looks whether it shall stop.
const POLL: Duration = Duration::from_millis(50);

/// A reader of a pipe that ends when the user interrupts, although the pipe is silent.
pub(super) fn patient(file: File, context: &Context) -> impl Read + Send + 'static {
    Patient {
        file,
        monitor: context.library_monitor(),
    }
}

struct Patient {
    file: File,
    monitor: Arc<dyn Monitor>,
}

impl Read for Patient {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: 100_000_000,
        };
        loop {
            if self.monitor.interrupted() {
                return Err(interrupted().into());
            }
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&wait)) {
                Ok(0) | Err(Errno::INTR) => {}
                // What cannot be waited for is read as it is.
                _ => match self.file.read(out) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return other,
                },
            }
        }
    }
}

fn interrupted() -> Error {
    Error::new(Class::Interrupted, "interrupted")
}

/// What to do with what is not as an archive should be.
fn unlike(kind: KindArg) -> String {
    let kept = match kind {
        KindArg::Auto => {
            "if it only looks like an archive, or is damaged or cut short, '--kind stream'"
        }
        KindArg::Stack | KindArg::Volume | KindArg::Vm => {
            "'--kind tar' takes it as a plain archive; whatever it is, '--kind stream'"
        }
        _ => "what is damaged, cut short or something else: '--kind stream'",
    };
    format!("no snapshot was made; {kept} keeps the bytes as they are")
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
