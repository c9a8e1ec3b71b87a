//! What writers and readers do, one storage call a step.

use crate::order::{Do, Slip};
use crate::world::{ENDED, IDLE, Reader, State, Ways, World, Writer, members, only};

impl World {
    /// The step that writer `i` can take.
    pub(crate) fn writer(&self, state: &State, i: usize, ways: &mut Ways) {
        let mut w = state.writers[i];
        let Some(step) = self.order.writer.step(w.at) else {
            return;
        };
        let mut next = *state;
        let own = only(self.packs.len() + i);
        let mut what = 0;
        w.at += 1;
        match step {
            Do::ListPlans => {
                what = state.condemned();
                if !self.slips(Slip::WriterUsesCondemned) {
                    w.avoid = what;
                }
            }
            Do::ListPacks => {
                w.packs = state.exists;
                what = w.packs;
            }
            Do::Store => {
                what = w.missing;
                next.exists |= own;
                next.content[self.packs.len() + i] = w.missing;
                w.packs |= own;
                w.missing = 0;
            }
            Do::Index => {
                what = w.packs;
                next.indexed |= w.packs;
                w.packs = 0;
            }
            Do::Snapshot => {
                what = only(self.snapshots.len() + i);
                next.snapshots |= what;
            }
            _ => {}
        }
        if self.order.writer.step(w.at) == Some(Do::Store) {
            let homes = w.packs & !w.avoid;
            w.missing = self.writers[i] & !state.chunks(homes);
            // Those that it uses and that no index object names, it names.
            w.packs = members(homes & !state.indexed)
                .filter(|&pack| state.content[pack] & self.writers[i] != 0)
                .fold(0, |all, pack| all | only(pack));
            w.avoid = 0;
            if w.missing == 0 {
                w.at += 1;
            }
        }
        if self.order.writer.step(w.at) == Some(Do::Index) && w.packs == 0 {
            w.at += 1;
        }
        if self.order.writer.step(w.at).is_none() {
            w = Writer {
                at: ENDED,
                ..Writer::default()
            };
        }
        next.writers[i] = w;
        self.push(("writer", i), (Some(step), what), next, ways);
    }

    /// The step that the reader of snapshot `root` can take.
    pub(crate) fn reader(&self, state: &State, root: u8, ways: &mut Ways) {
        let reader = state.reader;
        let Some(step) = self.order.reader.step(reader.at) else {
            return;
        };
        let mut to = |at, root| {
            let mut next = *state;
            next.reader = Reader { at, root };
            self.push(("reader", 0), (Some(step), root), next, ways);
        };
        if reader.at == IDLE {
            // It has found its snapshot in a listing, some time ago; gone by now, it would not find it a second time.
            if state.snapshots & only(usize::from(root)) != 0 {
                to(1, root);
            }
            return;
        }
        match step {
            Do::Check if state.snapshots & only(usize::from(reader.root)) == 0 => to(ENDED, 0),
            Do::Read => to(ENDED, 0),
            _ => to(reader.at + 1, reader.root),
        }
    }
}
