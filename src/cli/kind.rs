//! Kinds of streams as they are typed.

use clap::builder::PossibleValuesParser;

use crate::format::snapshot::StreamKind;

/// The kinds that snapshots have.
pub(super) fn stored() -> PossibleValuesParser {
    PossibleValuesParser::new(StreamKind::ALL.map(StreamKind::name))
}
