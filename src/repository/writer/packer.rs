//! The packer: one thread that seals blocks into packs, and hands those that are full to the [`super::storer`].

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::super::lock;
use super::super::object::{EncodedBlock, ObjectBuilder};
use super::{Shared, ToPacker, over, spawn_thread};
use crate::error::Result;
use crate::format::header::ObjectKind;

pub(super) fn spawn(
    shared: &Arc<Shared>,
    blocks: Receiver<ToPacker>,
    to_storer: Sender<ObjectBuilder>,
) -> Result<JoinHandle<()>> {
    let mut packer = Packer {
        shared: Arc::clone(shared),
        data: None,
        meta: None,
        to_storer,
    };
    spawn_thread("packer", shared, move || {
        for message in blocks {
            if packer.shared.failed.load(Ordering::Acquire) {
                continue;
            }
            if let Err(e) = packer.take(message) {
                packer.shared.fail(e);
            }
        }
        // Trees that were not flushed belong to a run that was given up: the chunks that they name may be nowhere.
        if !packer.shared.failed.load(Ordering::Acquire)
            && let Err(e) = packer.hand_over(ObjectKind::DataPack)
        {
            packer.shared.fail(e);
        }
    })
}

struct Packer {
    shared: Arc<Shared>,
    data: Option<ObjectBuilder>,
    meta: Option<ObjectBuilder>,
    to_storer: Sender<ObjectBuilder>,
}

impl Packer {
    fn take(&mut self, message: ToPacker) -> Result<()> {
        match message {
            ToPacker::Data(block) => self.add_data(block),
            ToPacker::Meta(block) => {
                let builder = match self.meta.take() {
                    Some(builder) => builder,
                    None => self.builder(ObjectKind::MetaPack)?,
                };
                self.meta.insert(builder).add(block)
            }
            ToPacker::Flush => {
                self.hand_over(ObjectKind::DataPack)?;
                self.hand_over(ObjectKind::MetaPack)
            }
        }
    }

    fn add_data(&mut self, block: EncodedBlock) -> Result<()> {
        // A pack is closed before the block that would take it beyond its target: full packs then end just below
        // a Padme length and waste little on padding.
        let pack_bytes = self.shared.repository.config().blocks.pack_bytes as usize;
        if self
            .data
            .as_ref()
            .is_some_and(|data| !data.has_room(&block, pack_bytes))
        {
            self.hand_over(ObjectKind::DataPack)?;
        }
        let builder = match self.data.take() {
            Some(builder) => builder,
            None => self.builder(ObjectKind::DataPack)?,
        };
        self.data.insert(builder).add(block)
    }

    fn builder(&self, kind: ObjectKind) -> Result<ObjectBuilder> {
        let mut buffer = Vec::new();
        if kind == ObjectKind::DataPack {
            // At once, since growing it would copy it again and again; what is not used takes no memory. Only data packs
            // share buffers: a meta pack is open all the time and would hold one of that size.
            buffer = lock(&self.shared.pack_buffers).pop().unwrap_or(buffer);
            buffer.clear();
            buffer.reserve_exact(self.shared.repository.config().blocks.pack_bytes as usize);
        }
        ObjectBuilder::new(&self.shared.keys, kind, buffer)
    }

    /// Gives a pack to be stored, if there is one; waits while the one before is on its way.
    fn hand_over(&mut self, kind: ObjectKind) -> Result<()> {
        let pack = match kind {
            ObjectKind::MetaPack => self.meta.take(),
            _ => self.data.take(),
        };
        match pack.filter(|pack| pack.block_count() > 0) {
            Some(pack) => self.to_storer.send(pack).map_err(|_| over()),
            None => Ok(()),
        }
    }
}
