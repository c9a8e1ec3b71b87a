//! Whole-store work: checking, comparing, counting, deciding what to keep, removing what is not needed, mending what can be mended.

pub mod check;
pub mod copy;
pub mod diff;
#[cfg(test)]
pub(crate) mod fixture;
pub mod prune;
pub mod repair;
pub mod retention;
pub mod stats;
