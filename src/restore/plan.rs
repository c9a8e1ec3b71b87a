//! The planner: walks what was selected, makes directories and links, and hands files to the workers window by window.
//!
//! While workers carry out one window the next is planned. When a window is done, its further names of files are linked and the
//! directories that the walk has left by then get their metadata, innermost first: nothing in them is still to come.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::prelude::*;

use super::decide::decide;
use super::file::{FilePlan, Purpose};
use super::first_names::{Fate, FirstNames, Spoiler};
use super::report::{Action, RestoreSummary, Step};
use super::select::{Filter, Picks, Root};
use super::window::{Job, LinkPlan, Window};
use super::work::Crew;
use super::{RestoreOptions, verify};
use crate::entry::{Entry, EntryPath, Kind, Meta};
use crate::error::{Class, Error, Result};
use crate::export::place::Existing;
use crate::format::content::Item;
use crate::format::tree::{Body, Node};
use crate::progress::Count;
use crate::repository::content::Content;

/// A job, and what tells the planner that it is done by being dropped.
pub(super) type Order = (Job, Sender<Infallible>);

/// A window that workers are carrying out.
struct Running {
    window: Window,
    done: Receiver<Infallible>,
}

/// See the module.
pub(super) struct Planner<'a> {
    crew: &'a Crew<'a>,
    options: &'a RestoreOptions,
    /// The target is new: nothing can be in the way.
    is_new: bool,
    orders: Sender<Order>,
    each: &'a mut dyn FnMut(&Step<'_>),
    summary: &'a mut RestoreSummary,
    window: Window,
    running: Option<Running>,
    /// Directories that the walk is in and whose metadata is still to come.
    entered: Vec<(EntryPath, Meta)>,
    /// What could not be made into a directory: all below is left out.
    blocked: Option<EntryPath>,
    first_names: FirstNames,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        crew: &'a Crew<'a>,
        options: &'a RestoreOptions,
        is_new: bool,
        orders: Sender<Order>,
        each: &'a mut dyn FnMut(&Step<'_>),
        summary: &'a mut RestoreSummary,
    ) -> Self {
        Self {
            crew,
            options,
            is_new,
            orders,
            each,
            summary,
            window: Window::default(),
            running: None,
            entered: Vec::new(),
            blocked: None,
            first_names: FirstNames::new(options.scratch.clone()),
        }
    }

    /// Restores all roots.
    pub(super) fn run(mut self, filter: &Filter) -> Result<()> {
        let crew = self.crew;
        for root in crew.roots {
            for pick in Picks::new(crew.blocks, root, filter) {
                match pick {
                    Ok((path, node)) => self.entry(root, path, node)?,
                    Err((path, error)) => {
                        crew.report.lose(root.id, root.source_path(&path), error);
                    }
                }
                if self.window.is_full() {
                    self.turn()?;
                }
            }
        }
        self.leave(None);
        self.turn()?;
        self.turn()
    }

    /// Hands the planned window to the workers, once they are done with the one before, and closes that one.
    fn turn(&mut self) -> Result<()> {
        let mut next = std::mem::take(&mut self.window);
        let crew = self.crew;
        next.locate(crew.blocks, &mut |file, error| {
            crew.lose(file, error);
            crew.settle_runs(file, 1);
        })?;
        let before = self.running.take();
        if let Some(running) = &before {
            // Nothing is ever sent: this returns when the last job of the window was dropped.
            let _ = running.done.recv();
        }
        self.crew.report.check()?;
        let (done, all_done) = bounded(0);
        for job in next.take_jobs() {
            let gone = |_| Error::new(Class::Interrupted, "no worker is left");
            self.orders.send((job, done.clone())).map_err(gone)?;
        }
        drop(done);
        self.running = Some(Running {
            window: next,
            done: all_done,
        });
        match before {
            Some(running) => self.close(&running.window),
            None => Ok(()),
        }
    }

    /// What follows the files of a window.
    fn close(&self, window: &Window) -> Result<()> {
        if self.options.verify {
            self.verify(&window.files)?;
        }
        for link in &window.links {
            if let Err(error) = self.link(link) {
                self.crew.place.warn_or_fail(error)?;
                self.crew.report.unmake_link(true);
            }
        }
        for (path, meta) in &window.left {
            if let Err(error) = self.crew.place.finish_dir(path, meta) {
                self.crew.place.warn_or_fail(error)?;
            }
        }
        self.crew.report.check()
    }

    /// Reads the files of a window back.
    fn verify(&self, files: &[Arc<FilePlan>]) -> Result<()> {
        self.crew.place.sync()?;
        let crew = self.crew;
        files.par_iter().for_each(|file| {
            if file.is_spoiled() || crew.report.is_stopped() {
                return;
            }
            match verify::check(crew.blocks, crew.place, file) {
                Ok(()) => {
                    crew.report.verified.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => crew.lose(file, error),
            }
        });
        crew.report.check()
    }

    /// Plans one entry.
    fn entry(&mut self, root: &Root, path: EntryPath, node: Node) -> Result<()> {
        self.leave(Some(&path));
        if self.blocked.as_ref().is_some_and(|b| path.is_within(b)) {
            return Ok(());
        }
        if path.is_root() {
            // The root of a snapshot that becomes the target: a new one gets its metadata, an existing one is the operator's.
            if self.is_new {
                self.entered.push((path, node.meta));
            }
            return Ok(());
        }
        let there = (!self.is_new).then_some(self.crew.place);
        let action = match decide(there, &path, &node, self.options) {
            Ok(action) => action,
            Err(error) => return self.leave_out(path, &node, error),
        };
        let (mut fate, mut first) = (Fate::default(), None);
        if action != Action::Keep {
            (fate, first) = self.first_names.see(self.crew.roots, root, &path, &node)?;
        }
        if let Some(to) = first {
            self.window.add_link(LinkPlan {
                root: root.number,
                path: path.clone(),
                meta: node.meta.clone(),
                to,
                fate,
                replace: action != Action::Create,
            });
            self.step_as(action, &path, "hard-link", &node);
            return Ok(());
        }
        let made = match &node.body {
            Body::Directory(_) => self.directory(&path, &node, action),
            Body::File { .. } => return self.file(root, path, node, action, fate),
            _ => self.other(&path, &node, action),
        };
        match made {
            Ok(()) => {
                self.step(action, &path, &node);
                Ok(())
            }
            Err(error) => {
                fate.spoil(Spoiler::Target);
                self.leave_out(path, &node, error)
            }
        }
    }

    fn directory(&mut self, path: &EntryPath, node: &Node, action: Action) -> Result<()> {
        let place = self.crew.place;
        match action {
            Action::Keep => return Ok(()),
            Action::Refresh => place.adopt_dir(path)?,
            Action::Replace => {
                place.remove(path)?;
                place.create_dir(path)?;
            }
            _ => place.create_dir(path)?,
        }
        self.entered.push((path.clone(), node.meta.clone()));
        Ok(())
    }

    fn file(
        &mut self,
        root: &Root,
        path: EntryPath,
        node: Node,
        action: Action,
        fate: Fate,
    ) -> Result<()> {
        self.step(action, &path, &node);
        let purpose = match action {
            Action::Keep | Action::LeaveOut => return Ok(()),
            Action::Refresh => {
                return match self.crew.place.update(&path, &node.meta) {
                    Ok(()) => Ok(()),
                    Err(error) => self.crew.place.warn_or_fail(error),
                };
            }
            Action::Create => Purpose::Create,
            Action::Replace => {
                self.make_way(&path)?;
                Purpose::Replace
            }
            Action::Compare => Purpose::Compare,
        };
        let Body::File { content, .. } = &node.body else {
            return Ok(());
        };
        let content = Content::new(content);
        let file = FilePlan::new(root.number, path, node.meta, content, purpose, fate);
        self.plan_content(Arc::new(file))
    }

    /// Plans the runs of a file; a long one goes over several windows.
    fn plan_content(&mut self, file: Arc<FilePlan>) -> Result<()> {
        let crew = self.crew;
        if file.purpose == Purpose::Compare || file.content.data_bytes() == 0 {
            self.window.add_whole(&file);
            self.window.add_file(file);
            return Ok(());
        }
        for extent in file.content.extents(crew.blocks, 0) {
            match extent.map(|extent| (extent.start, extent.item)) {
                Ok((start, Item::Data { id, len })) => {
                    self.window.add_chunk(&file, id, len, start);
                }
                Ok(_) => {}
                Err(error) => {
                    crew.lose(&file, error);
                    break;
                }
            }
            if self.window.is_full() {
                self.turn()?;
            }
        }
        crew.settle_runs(&file, 1);
        self.window.add_file(file);
        Ok(())
    }

    /// Gives a restored file one more name.
    fn link(&self, link: &LinkPlan) -> Result<()> {
        let place = self.crew.place;
        let what = || {
            format!(
                "it is one more name of '{}', which was not restored",
                link.to
            )
        };
        // An existing target may still have another file under that name.
        let file = match link.fate.spoiler() {
            Some(Spoiler::Repository) => {
                let root = &self.crew.roots[link.root];
                let path = root.source_path(&link.path);
                self.crew.report.lose(root.id, path, Error::corrupt(what()));
                self.crew.report.unmake_link(false);
                return Ok(());
            }
            Some(Spoiler::Target) => None,
            None => place.lookup(&link.to)?,
        };
        let Some(file) = file else {
            let what = format!("'{}': {}", link.path, what());
            return Err(Error::new(Class::Refused, what));
        };
        let mut existing = Existing::Refuse;
        if link.replace {
            let there = place.lookup(&link.path)?;
            if there.is_some_and(|t| (t.device, t.inode) == (file.device, file.inode)) {
                return Ok(());
            }
            self.make_way(&link.path)?;
            existing = Existing::Replace;
        }
        let mut entry = Entry::new(link.path.clone(), Kind::HardLink(link.to.clone()));
        entry.meta = link.meta.clone();
        place.create_node(&entry, existing)?;
        self.crew.report.monitor().add(Count::Entries, 1);
        Ok(())
    }

    fn other(&mut self, path: &EntryPath, node: &Node, action: Action) -> Result<()> {
        let existing = match action {
            Action::Keep | Action::LeaveOut | Action::Compare => return Ok(()),
            Action::Refresh => return self.crew.place.update(path, &node.meta),
            Action::Create => Existing::Refuse,
            Action::Replace => {
                self.make_way(path)?;
                Existing::Replace
            }
        };
        let Some(kind) = kind_of(&node.body) else {
            return Ok(());
        };
        let mut entry = Entry::new(path.clone(), kind);
        entry.meta = node.meta.clone();
        self.crew.place.create_node(&entry, existing).map(|_| ())
    }

    /// Removes an empty directory that is where something else goes; all else is replaced by a rename.
    fn make_way(&self, path: &EntryPath) -> Result<()> {
        let place = self.crew.place;
        match place.lookup(path)? {
            Some(found) if found.is_directory() && place.names_in(path)?.is_empty() => {
                place.remove(path)
            }
            _ => Ok(()),
        }
    }

    /// The walk goes on at `path`, or is over: directories that it is not within are left.
    fn leave(&mut self, path: Option<&EntryPath>) {
        let left = |(dir, _): &mut (EntryPath, Meta)| !path.is_some_and(|p| p.is_within(dir));
        while let Some((dir, meta)) = self.entered.pop_if(left) {
            self.window.add_left(dir, meta);
        }
    }

    fn leave_out(&mut self, path: EntryPath, node: &Node, error: Error) -> Result<()> {
        self.crew.place.warn_or_fail(error)?;
        self.step(Action::LeaveOut, &path, node);
        if matches!(node.body, Body::Directory(_)) {
            self.blocked = Some(path);
        }
        Ok(())
    }

    fn step(&mut self, action: Action, path: &EntryPath, node: &Node) {
        self.step_as(action, path, kind_name(&node.body), node);
    }

    fn step_as(&mut self, action: Action, path: &EntryPath, kind: &'static str, node: &Node) {
        self.summary.step(action, path, kind, node, self.each);
        // Files and further names are counted when they are there.
        if !matches!(node.body, Body::File { .. }) {
            self.crew.report.monitor().add(Count::Entries, 1);
        }
    }
}

/// The entry kind of a node that is no directory.
pub(super) fn kind_of(body: &Body) -> Option<Kind> {
    Some(match body {
        Body::Directory(_) => return None,
        Body::File { .. } => Kind::File,
        Body::Symlink(target) => Kind::Symlink(target.clone()),
        Body::Fifo => Kind::Fifo,
        Body::Socket => Kind::Socket,
        Body::CharDevice(major, minor) => Kind::CharDevice(*major, *minor),
        Body::BlockDevice(major, minor) => Kind::BlockDevice(*major, *minor),
    })
}

/// The word for it.
pub(super) fn kind_name(body: &Body) -> &'static str {
    kind_of(body).unwrap_or(Kind::Directory).name()
}
