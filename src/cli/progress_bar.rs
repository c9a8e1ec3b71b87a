//! How a running command speaks on standard error: warnings and notes as they come, and how far it is.
//!
//! On a terminal one line is redrawn ten times a second; elsewhere a plain line appears now and then, less often the longer it
//! takes, so that a log of a long run stays short. Counting costs an atomic addition: a thread of its own does the drawing. With
//! `--json` everything is one JSON document a line, and there is no progress.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::text;
use crate::error::Error;
use crate::progress::{Count, Monitor};

/// More warnings than this are counted, not kept.
const KEPT_WARNINGS: usize = 10_000;
const COUNTS: usize = Count::Blocks as usize + 1;
const REDRAW: Duration = Duration::from_millis(100);

/// What is said at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Messages as JSON lines, and no progress.
    pub(super) json: bool,
    /// Neither notes nor progress.
    pub(super) quiet: bool,
    /// Every entry that is worked on.
    pub(super) verbose: bool,
    /// Progress, where it is useful.
    pub(super) progress: bool,
}

/// A [`Monitor`] for a person, or for a log.
pub(super) struct TermMonitor {
    manner: Manner,
    interrupted: Arc<AtomicBool>,
    /// Standard error is a log: every message tells its time.
    times: AtomicBool,
    counts: [AtomicU64; COUNTS],
    totals: [AtomicU64; COUNTS],
    /// The drawing thread wants to know what is worked on.
    asked: AtomicBool,
    doing: Mutex<String>,
    warnings: Mutex<Warnings>,
    bar: Mutex<Option<ProgressBar>>,
    /// Set when the command is over; the drawing thread waits on it.
    over: Mutex<bool>,
    wake: Condvar,
}

/// What was warned of.
#[derive(Clone, Debug, Default)]
pub(super) struct Warnings {
    /// How many there were.
    pub(super) count: u64,
    /// The first of them.
    pub(super) kept: Vec<String>,
}

/// Draws until it is dropped.
pub(super) struct Drawing {
    monitor: Arc<TermMonitor>,
    thread: Option<JoinHandle<()>>,
}

/// One message as JSON.
#[derive(Serialize)]
struct Line<'a> {
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
}

impl TermMonitor {
    /// A monitor that says what `manner` lets it.
    pub(super) fn new(manner: Manner, interrupted: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            manner,
            interrupted,
            times: AtomicBool::new(false),
            counts: [const { AtomicU64::new(0) }; COUNTS],
            totals: [const { AtomicU64::new(0) }; COUNTS],
            asked: AtomicBool::new(false),
            doing: Mutex::new(String::new()),
            warnings: Mutex::new(Warnings::default()),
            bar: Mutex::new(None),
            over: Mutex::new(false),
            wake: Condvar::new(),
        })
    }

    /// Begins to draw progress, until the answer is dropped.
    pub(super) fn draw(self: &Arc<Self>, verb: &'static str) -> Drawing {
        let mut drawing = Drawing {
            monitor: Arc::clone(self),
            thread: None,
        };
        if !self.manner.progress || self.manner.quiet || self.manner.json {
            return drawing;
        }
        *lock(&self.over) = false;
        let monitor = Arc::clone(self);
        let terminal = std::io::stderr().is_terminal();
        let body = move || {
            if terminal {
                monitor.redraw(verb);
            } else {
                monitor.report(verb);
            }
        };
        // Without the thread there is no progress shown, which is no reason to fail.
        drawing.thread = std::thread::Builder::new()
            .name("progress".into())
            .spawn(body)
            .ok();
        drawing
    }

    /// The warnings so far.
    pub(super) fn warnings(&self) -> Warnings {
        lock(&self.warnings).clone()
    }

    /// Warns of a failure at one place that does not stop the rest.
    pub(super) fn warn_about(&self, place: &str, error: &Error) {
        self.warn(&format!("{place}: {error}"));
    }

    /// Says something that is no warning, unless told to be quiet.
    pub(super) fn say(&self, message: &str) {
        if !self.manner.quiet {
            self.print("note", message);
        }
    }

    /// From now on standard error is a log: messages tell their times, and there is an end to the warnings.
    pub(super) fn tell_times(&self) {
        self.times.store(true, Ordering::Relaxed);
    }

    fn is_log(&self) -> bool {
        self.times.load(Ordering::Relaxed)
    }

    fn print(&self, level: &'static str, message: &str) {
        let now = self.is_log().then(text::now);
        let line = if self.manner.json {
            let time = now.map(text::utc_time);
            serde_json::to_string(&Line {
                level,
                message,
                time,
            })
            .unwrap_or_default()
        } else {
            let time = now.map(|now| format!("{} ", text::local_time(now)));
            let level = if level == "warning" { "warning: " } else { "" };
            let message = text::message(message);
            format!("{}repo: {level}{message}", time.unwrap_or_default())
        };
        self.stderr(&line);
    }

    /// One line on standard error, above the progress line if there is one.
    fn stderr(&self, line: &str) {
        let print = || {
            // Nobody can be told that standard error is gone.
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        };
        match &*lock(&self.bar) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Waits; true once the command is over.
    fn pause(&self, time: Duration) -> bool {
        let over = lock(&self.over);
        let waited = self.wake.wait_timeout_while(over, time, |over| !*over);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn redraw(&self, verb: &str) {
        let began = Instant::now();
        let mut told = false;
        // What is done at once needs no progress.
        if self.pause(3 * REDRAW) {
            return;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let (plain, measured) = styles();
        bar.set_style(plain);
        *lock(&self.bar) = Some(bar.clone());
        let mut is_measured = false;
        loop {
            self.asked.store(true, Ordering::Relaxed);
            let (done, total) = (self.count(Count::Bytes), self.total(Count::Bytes));
            if total > 0 && !is_measured {
                bar.set_style(measured.clone());
                is_measured = true;
            }
            bar.set_length(total.max(done));
            bar.set_position(done);
            bar.set_message(self.state(verb, began.elapsed(), true));
            bar.tick();
            self.tell_interrupt(&mut told);
            if self.pause(REDRAW) {
                break;
            }
        }
        bar.finish_and_clear();
        *lock(&self.bar) = None;
    }

    fn report(&self, verb: &str) {
        let began = Instant::now();
        let mut told = false;
        let mut gap = Duration::from_secs(5);
        let mut next = gap;
        while !self.pause(5 * REDRAW) {
            self.tell_interrupt(&mut told);
            if began.elapsed() >= next {
                self.stderr(&format!(
                    "repo: {}",
                    self.state(verb, began.elapsed(), false)
                ));
                gap = (gap * 2).min(Duration::from_mins(1));
                next = began.elapsed() + gap;
            }
        }
    }

    fn tell_interrupt(&self, told: &mut bool) {
        if self.interrupted() && !*told {
            *told = true;
            self.stderr("repo: stopping in order; once more to stop at once");
        }
    }

    /// How far it is, in one line.
    fn state(&self, verb: &str, elapsed: Duration, terminal: bool) -> String {
        let mut parts = Vec::new();
        let entries = self.count(Count::Entries);
        if entries > 0 {
            parts.push(text::counted(entries, "entry", "entries"));
        }
        let (done, total) = (self.count(Count::Bytes), self.total(Count::Bytes));
        if done > 0 {
            parts.push(if total > 0 {
                format!("{} of {}", text::bytes(done), text::bytes(total))
            } else {
                text::bytes(done)
            });
            let rate = u128::from(done) * 1000 / elapsed.as_millis().max(1);
            parts.push(format!(
                "{}/s",
                text::bytes(u64::try_from(rate).unwrap_or(u64::MAX))
            ));
        }
        let objects = self.count(Count::Objects);
        if objects > 0 {
            let of = match self.total(Count::Objects) {
                0 => String::new(),
                total => format!(" of {}", text::count(total)),
            };
            parts.push(format!("{}{of} objects", text::count(objects)));
        }
        let stored = self.count(Count::StoredBytes);
        if stored > 0 {
            parts.push(format!("{} stored", text::bytes(stored)));
        }
        parts.push(text::duration(elapsed));
        let mut line = format!("{verb}: {}", parts.join(", "));
        let doing = lock(&self.doing);
        if terminal && !doing.is_empty() {
            line.push_str("  ");
            line.push_str(&doing);
        }
        line
    }

    /// The sum of one counter so far.
    pub(super) fn count(&self, count: Count) -> u64 {
        self.counts
            .get(count as usize)
            .map_or(0, |c| c.load(Ordering::Relaxed))
    }

    fn total(&self, count: Count) -> u64 {
        self.totals
            .get(count as usize)
            .map_or(0, |c| c.load(Ordering::Relaxed))
    }
}

impl Monitor for TermMonitor {
    fn add(&self, count: Count, n: u64) {
        if let Some(counter) = self.counts.get(count as usize) {
            counter.fetch_add(n, Ordering::Relaxed);
        }
    }

    fn expect(&self, count: Count, total: u64) {
        if let Some(counter) = self.totals.get(count as usize) {
            counter.store(total, Ordering::Relaxed);
        }
    }

    fn doing(&self, what: &dyn Fn() -> String) {
        if self.manner.verbose && !self.manner.json {
            self.stderr(&text::line(&what()));
        } else if self.asked.swap(false, Ordering::Relaxed) {
            *lock(&self.doing) = text::line(&what());
        }
    }

    fn warn(&self, message: &str) {
        let is_kept = {
            let mut warnings = lock(&self.warnings);
            warnings.count += 1;
            let is_kept = warnings.kept.len() < KEPT_WARNINGS;
            if is_kept {
                warnings.kept.push(message.to_owned());
            }
            is_kept
        };
        // A log must not fill the disk.
        if is_kept || !self.is_log() {
            self.print("warning", message);
        }
    }

    fn note(&self, message: &str) {
        self.say(message);
    }

    fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        *lock(&self.monitor.over) = true;
        self.monitor.wake.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the drawing thread has been printed by its hook.
            let _ = thread.join();
        }
    }
}

/// The line without and with a known total.
fn styles() -> (ProgressStyle, ProgressStyle) {
    let style = |template: &str| {
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
    };
    (
        style("{spinner} {wide_msg}").tick_chars("|/-\\ "),
        style("[{bar:20}] {percent:>3}% {wide_msg}").progress_chars("=> "),
    )
}

/// Counters and messages stay usable when another thread panicked while it held them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
