//! Whole-store work: checking, comparing, counting, deciding what to keep, removing what is not needed.

pub mod check;
pub mod copy;
pub mod diff;
#[cfg(test)]
pub(crate) mod fixture;
pub mod prune;
pub mod retention;
pub mod stats;
