//! Whole-store work: checking, comparing, counting.

pub mod check;
pub mod diff;
#[cfg(test)]
pub(crate) mod fixture;
pub mod stats;
