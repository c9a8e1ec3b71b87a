//! Whole-store work: checking, comparing, counting.

pub mod check;
pub mod diff;
#[cfg(test)]
mod fixture;
pub mod stats;
