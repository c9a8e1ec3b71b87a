//! The store as its users see it. (The core is filled in next.)

pub mod address;
pub mod block_cache;
pub mod content;
#[cfg(test)]
pub(crate) mod memory_blocks;
pub mod single_flight;
pub mod trees;

pub use address::{BlockAddress, Location};
pub use block_cache::{BlockCache, Blocks};
