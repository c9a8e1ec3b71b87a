//! Mounts on the real kernel, compared with what was ingested. Needs root, /dev/fuse, and the tools that
//! `scripts/install-deps` installs; a missing tool is a failure, not a pass.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this whole program is a test"
)]

mod fixture;
mod life;
mod process;
mod reading;
mod tree;
