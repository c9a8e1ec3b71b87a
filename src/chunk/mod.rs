//! Cutting streams into chunks: by content for files, at fixed places for disks; pure functions over slices.
//!
//! Content-defined cuts are `FastCDC` 2020 with normalisation level 1 over a gear table of the repository's own: an
//! insertion moves the cuts near it and no others. Fixed cuts are aligned to the stream, because a disk image
//! changes in place and its blocks never move.
//!
//! Invariant: cuts depend on parameters, table and content alone, never on how the content was handed over.
//!
//! | file | holds |
//! |---|---|
//! | `params` | [`Params`]: sizes, and what they must be |
//! | `cutter` | [`Cutter`]: the next cut in a window |
//! | `slicer` | [`Slicer`]: slices of any length in, whole chunks out |
//! | `zero` | runs of zeros, which are holes |

mod cutter;
mod params;
mod slicer;
mod zero;

pub use cutter::{Cutter, GearTable};
pub use params::{ChunkError, Params};
pub use slicer::Slicer;
pub use zero::{is_zero, leading_zeros};

#[cfg(test)]
mod tests;
