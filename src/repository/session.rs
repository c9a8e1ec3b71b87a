//! Sessions: running writers, readers and pruners, visible to the others.
//!
//! A session is an object that its process holds (see [`Backend::hold`]): it lives as long as it is
//! held, and ends with its process, whatever ends that. Whoever sees one that nobody holds removes it. No clocks, no names of
//! hosts, no process numbers; nothing that a person would have to unlock.
//!
//! What makes it safe is an order. A writer begins its session, then looks for plans; a pruner writes its plan, then looks for
//! sessions: at least one sees the other. A reader begins its session, then looks whether its snapshots are still there; whoever
//! decides what may go lists snapshots, then sessions: a snapshot that is read is found by one or the other.

use std::sync::Arc;

use super::object::crypto as sealed;
use super::{Repository, SnapshotInfo};
use crate::backend::{Area, Backend, Held, Key};
use crate::crypto;
use crate::error::{Class, Error, Result};
use crate::format::header::ObjectKind;
use crate::format::session::{MAX_SESSION_BYTES, Session as Record, SessionKind};
use crate::format::tree::{Body, TreeRef};
use crate::id::{SessionId, SnapshotId};
use crate::progress::Monitor;

/// A session of this process. Ends when dropped.
pub struct Session {
    backend: Arc<dyn Backend>,
    key: Key,
    id: SessionId,
    held: Option<Box<dyn Held>>,
}

impl Session {
    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// An error if others may take it for ended: then nothing may be committed or removed any more.
    pub fn confirm(&self) -> Result<()> {
        self.held.as_ref().map_or(Ok(()), |held| held.confirm())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What fails here is done by whoever sees it next.
        drop(self.backend.remove(&self.key));
        drop(self.held.take());
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What somebody reads, so that it is kept.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Snapshots.
    pub snapshots: Vec<SnapshotId>,
    /// Their root directories.
    pub trees: Vec<TreeRef>,
    /// Contents beside the trees.
    pub contents: Vec<Vec<crate::format::content::Item>>,
}

impl Needs {
    /// The tree of a snapshot.
    pub fn add_tree(&mut self, id: SnapshotId, root: &crate::format::tree::Node) {
        self.snapshots.push(id);
        if let Body::Directory(tree) = root.body
            && tree.names > 0
        {
            self.trees.push(tree);
        }
    }

    /// All of a snapshot.
    pub fn add(&mut self, info: &SnapshotInfo) {
        self.add_tree(info.id, &info.snapshot.root);
        let s = &info.snapshot;
        for items in [&s.recipe, &s.overrides, &s.original, &s.identity] {
            if !items.is_empty() {
                self.contents.push(items.clone());
            }
        }
    }
}

/// A session that lives, as others see it.
#[derive(Clone, Debug)]
pub(crate) struct Living {
    pub(crate) id: SessionId,
    /// What it says of itself; nothing if it ended while it was read.
    pub(crate) record: Record,
}

impl Repository {
    /// Begins a session that needs nothing kept.
    pub fn begin_session(&self, kind: SessionKind) -> Result<Session> {
        self.begin(kind, Needs::default())
    }

    fn begin(&self, kind: SessionKind, needs: Needs) -> Result<Session> {
        let id = crypto::new_session_id().map_err(sealed("name a session"))?;
        let record = Record {
            snapshots: needs.snapshots,
            trees: needs.trees,
            contents: needs.contents,
            ..Record::new(id, kind)
        };
        let fields = record.encode();
        if fields.len() > MAX_SESSION_BYTES {
            return Err(Error::invalid(
                "more snapshots than one session can name: read fewer of them at once",
            ));
        }
        let bytes = self.seal_record(ObjectKind::Session, &fields)?;
        let key = Key::named(Area::Sessions, &id.to_hex())?;
        let held = self.backend().hold(&key, &bytes)?;
        Ok(Session {
            backend: Arc::clone(self.backend()),
            key,
            id,
            held: Some(held),
        })
    }

    /// Announces that this process reads `needs`: as long as the answer lives, a prune keeps what they reach, even if the snapshots
    /// are forgotten meanwhile. `None`, with a note, where nothing can be written (a read-only medium, a full disk).
    pub fn announce(&self, needs: Needs, monitor: &dyn Monitor) -> Result<Option<Session>> {
        match self.begin(SessionKind::Reader, needs) {
            Ok(session) => Ok(Some(session)),
            Err(e) if matches!(e.class(), Class::Denied | Class::Full) => {
                monitor.note(&format!(
                    "reading unannounced; a forget and prune meanwhile would take away what is read: {e}"
                ));
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Announces that all of these snapshots are read, and makes sure that they were not forgotten just before.
    pub fn begin_reading(
        &self,
        snapshots: &[SnapshotInfo],
        monitor: &dyn Monitor,
    ) -> Result<Option<Session>> {
        let mut needs = Needs::default();
        for info in snapshots {
            needs.add(info);
        }
        let session = self.announce(needs, monitor)?;
        for info in snapshots {
            let key = Key::object(Area::Snapshots, &info.id);
            if !self.backend().exists(&key)? {
                return Err(Error::new(
                    Class::NotFound,
                    format!("snapshot {} was forgotten just now", info.id.short()),
                ));
            }
        }
        Ok(session)
    }

    /// Removes sessions that nobody holds; the names of the others.
    pub(crate) fn remove_ended_sessions(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        self.backend().list(Area::Sessions, &mut |name, _| {
            names.push(name.to_owned());
            Ok(())
        })?;
        let mut held = Vec::new();
        for name in names {
            let key = Key::named(Area::Sessions, &name)?;
            match self.backend().is_held(&key) {
                Ok(true) => held.push(name),
                // Who cannot remove it leaves it to others.
                Ok(false) => drop(remove_ended(self.backend().as_ref(), &key)),
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(held)
    }

    /// All sessions that live. Those that are held by nobody are removed on the way.
    pub(crate) fn living_sessions(&self) -> Result<Vec<Living>> {
        let mut living = Vec::new();
        for name in self.remove_ended_sessions()? {
            match self.read_session(&name) {
                Ok(record) => living.push(Living {
                    id: record.id,
                    record,
                }),
                Err(e) if e.class() == Class::NotFound => {}
                Err(e) => {
                    return Err(Error::new(
                        Class::Busy,
                        format!(
                            "somebody is at work whose session cannot be read, so it is not known what must stay ({e}); \
                             try again when it is done, with the newest version of the program"
                        ),
                    ));
                }
            }
        }
        Ok(living)
    }

    fn read_session(&self, name: &str) -> Result<Record> {
        let kind = ObjectKind::Session;
        let record = self.read_record(kind, name, MAX_SESSION_BYTES, Record::decode)?;
        if record.id.to_hex() == name {
            Ok(record)
        } else {
            Err(Error::corrupt(format!(
                "sessions/{name} is another session"
            )))
        }
    }
}

/// Removes what may be gone already.
pub(super) fn remove_ended(backend: &dyn Backend, key: &Key) -> Result<()> {
    match backend.remove(key) {
        Err(e) if e.class() != Class::NotFound => Err(e),
        _ => Ok(()),
    }
}
