//! SIGINT, SIGTERM and SIGHUP: the first asks the running command to stop in order, the second ends the process at once.
//!
//! An orderly stop leaves finished work behind (packs of an ingest, files of a restore) and no half-written output. The second
//! signal has its default action, so that a shell sees a process that died of it. What was ignored when the process
//! began (`nohup`, a background job of a script) stays ignored.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::exit::{Done, Failure};
use crate::error::Error;

/// The flag that the first signal sets.
pub(super) fn install() -> Done<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let ignored = ignored_signals();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        if ignored >> (signal - 1) & 1 == 1 {
            continue;
        }
        // In this order: the first signal finds the flag unset and only sets it, the next one finds it set.
        flag::register_conditional_default(signal, Arc::clone(&interrupted))
            .and_then(|_| flag::register(signal, Arc::clone(&interrupted)))
            .map_err(|error| Failure::from(Error::io("install a signal handler", error)))?;
    }
    Ok(interrupted)
}

/// The set of ignored signals as the kernel shows it, lowest bit first; empty if it does not.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
