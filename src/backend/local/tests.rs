//! What only a local directory can get wrong.

use std::sync::Arc;

use super::super::{Backend, conformance};
use super::*;

#[test]
fn conforms() {
    let place = tempfile::tempdir().unwrap();
    let number = std::cell::Cell::new(0);
    conformance::run(&|| -> Arc<dyn Backend> {
        number.set(number.get() + 1);
        Arc::new(Local::new(place.path().join(number.get().to_string())))
    });
}
