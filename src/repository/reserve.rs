//! Work that goes on where no space is left: it draws on what the store has set aside, and sets it aside again.

use std::sync::Arc;

use super::Repository;
use crate::backend::Backend;

/// As long as this lives, small objects may take what is set aside; see [`Backend::draw_on_reserve`].
pub(crate) struct Drawing(Arc<dyn Backend>);

impl Repository {
    /// For what frees space, or changes who may open the repository.
    pub(crate) fn draw_on_reserve(&self) -> Drawing {
        self.backend().draw_on_reserve(true);
        Drawing(Arc::clone(self.backend()))
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        self.0.draw_on_reserve(false);
        // What cannot be set aside now is by whoever writes next.
        drop(self.0.fill_reserve());
    }
}
