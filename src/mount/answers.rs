//! Who answers a request: the thread that reads requests, from memory, or a pool of threads that may wait for the store.
//!
//! Answering at once spares the change of thread, which is a third of the cost of a small request; and one slow read never stops
//! the others. Each request asks without waiting first; only if that is refused is it asked again on the pool. A
//! request whose answer is lost on the way (a panic) is answered with `EIO` by its reply being dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fuser::{Errno, ReplyDirectory, ReplyDirectoryPlus, ReplyXattr};

use super::convert::errno;
use crate::error::{Class, Error, Result};
use crate::progress::Monitor;
use crate::vfs::pool::Pool;
use crate::vfs::{DirEntry, Vfs, Wait};

/// How long the kernel may keep what is in a snapshot.
pub(super) const LONG: Duration = Duration::from_hours(24);
/// How long it may keep the directories above the snapshots.
const SHORT: Duration = Duration::from_secs(1);
/// How many errors are reported; a damaged disk would fill the log.
const MAX_REPORTS: u32 = 100;

/// Answers requests.
pub(super) struct Answers {
    shared: Arc<Shared>,
    pool: Pool,
}

/// What the threads of the pool use as well.
pub(super) struct Shared {
    pub(super) vfs: Vfs,
    monitor: Arc<dyn Monitor>,
    reports: AtomicU32,
}

impl Shared {
    /// How long the kernel may keep what it hears of an inode.
    pub(super) fn ttl(&self, inode: u64) -> Duration {
        if self.vfs.is_fixed_inode(inode) {
            LONG
        } else {
            SHORT
        }
    }

    /// The errno for an error about an inode; damage and failing disks are reported.
    pub(super) fn failed(&self, inode: u64, error: &Error) -> Errno {
        if error.class() != Class::Invalid {
            let before = self.reports.fetch_add(1, Ordering::Relaxed);
            if before < MAX_REPORTS {
                self.monitor.warn(&format!("mount: inode {inode}: {error}"));
            } else if before == MAX_REPORTS {
                self.monitor.warn("mount: further errors are not reported");
            }
        }
        errno(error.class())
    }
}

/// A reply that names are added to.
pub(super) trait ListReply: Send + 'static {
    fn ok(self);
    fn error(self, errno: Errno);
}

impl ListReply for ReplyDirectory {
    fn ok(self) {
        self.ok();
    }
    fn error(self, errno: Errno) {
        self.error(errno);
    }
}

impl ListReply for ReplyDirectoryPlus {
    fn ok(self) {
        self.ok();
    }
    fn error(self, errno: Errno) {
        self.error(errno);
    }
}

/// Adds one name to a reply; true if it is full.
type Add<R> = fn(&mut R, &DirEntry<'_>, Duration) -> bool;

impl Answers {
    pub(super) fn new(vfs: Vfs, monitor: Arc<dyn Monitor>, threads: usize) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                vfs,
                monitor,
                reports: AtomicU32::new(0),
            }),
            pool: Pool::new("mount", threads)?,
        })
    }

    pub(super) fn vfs(&self) -> &Vfs {
        &self.shared.vfs
    }

    /// Sends what `ask` says: at once if it can from memory, else from the pool.
    pub(super) fn give<R: Send + 'static, T>(
        &self,
        reply: R,
        ask: impl Fn(&Vfs, Wait) -> Result<T> + Send + 'static,
        send: impl FnOnce(&Shared, R, Result<T>) + Send + 'static,
    ) {
        match ask(&self.shared.vfs, Wait::No) {
            Err(error) if error.class() == Class::Busy => {
                let shared = self.shared.clone();
                self.pool.submit(move || {
                    let answer = ask(&shared.vfs, Wait::Yes);
                    send(&shared, reply, answer);
                });
            }
            answer => send(&self.shared, reply, answer),
        }
    }

    /// Sends a part of a directory's listing.
    pub(super) fn list<R: ListReply>(&self, inode: u64, offset: u64, mut reply: R, add: Add<R>) {
        match fill(&self.shared, (inode, offset), Wait::No, &mut reply, add) {
            Ok(()) => reply.ok(),
            Err(error) if error.class() == Class::Busy => {
                let shared = self.shared.clone();
                self.pool.submit(move || {
                    match fill(&shared, (inode, offset), Wait::Yes, &mut reply, add) {
                        Ok(()) => reply.ok(),
                        Err(error) => reply.error(shared.failed(inode, &error)),
                    }
                });
            }
            Err(error) => reply.error(self.shared.failed(inode, &error)),
        }
    }
}

/// Adds names until the reply is full. A part that ends with an error is sent as it is: the kernel asks for the rest, and
/// then hears of the error. So an error means that nothing was added.
fn fill<R>(
    shared: &Shared,
    (inode, offset): (u64, u64),
    wait: Wait,
    reply: &mut R,
    add: Add<R>,
) -> Result<()> {
    let mut added = false;
    let result = shared.vfs.read_dir(inode, offset, wait, &mut |entry| {
        let ttl = shared.ttl(entry.attr.inode);
        let full = add(reply, entry, ttl);
        added |= !full;
        !full
    });
    match result {
        Err(_) if added => Ok(()),
        result => result,
    }
}

/// Sends an attribute's value, or its length where that was asked for.
pub(super) fn send_xattr(reply: ReplyXattr, value: &[u8], size: u32) {
    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
    if size == 0 {
        reply.size(len);
    } else if len > size {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}
