//! Work that goes on where no space is left: it draws on what the store has set aside, and sets it aside again.

use std::sync::Arc;

use super::Repository;
use crate::backend::{Backend, Drawn};

/// As long as this lives, such objects may take what is set aside; see [`Backend::draw_on_reserve`].
pub(crate) struct Drawing(Arc<dyn Backend>, Drawn);

impl Repository {
    /// For what frees space, or changes who may open the repository.
    pub(crate) fn draw_on_reserve(&self, what: Drawn) -> Drawing {
        self.backend().draw_on_reserve(what, true);
        Drawing(Arc::clone(self.backend()), what)
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.0.draw_on_reserve(self.1, false);
        // What cannot be set aside now is by whoever writes next.
        drop(self.0.fill_reserve());
    }
}
