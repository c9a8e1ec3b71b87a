//! The program as it is run: exit codes, what is printed where, and what must never be seen.
//!
//! Only what belongs to the command line is tested here; what commands do is tested in the library.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "this whole program is a test"
)]

mod copy;
mod damaged;
mod errors;
mod export;
mod fixture;
mod forget;
mod full_disk;
mod help;
mod ingest;
mod limits;
mod look;
mod matrix;
mod mount;
mod read_only;
mod repair;
mod restore;
mod secrets;
