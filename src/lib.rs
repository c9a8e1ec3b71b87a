//! A FUSE-browsable, content-addressed archive repository.
//!
//! Snapshots of directories, tar streams, disks and dumps go into one deduplicated, compressed and encrypted
//! repository; any of them can be mounted read-only, restored in part or whole, and handed back as the archive it was.
//!
//! Modules form rows; each imports only from rows above it, never from its own (`scripts/check-layers` says so in CI):
//!
//! | row | modules | knows |
//! |---|---|---|
//! | 1 base | [`error`] [`id`] [`progress`] [`budget`] | nothing |
//! | 2 model | [`entry`] | what a tree of files is; `Source`, `Sink` |
//! | 3 bytes | `format` | persistent layouts; no I/O, no keys |
//! | 4 transforms | [`chunk`] [`codec`] [`crypto`] | pure functions over slices |
//! | 5 edges | `backend` `catalog` `source` `export` | the outside world; not each other, not the repository |
//! | 6 store | `repository` | the only place where rows 3 to 5 meet |
//! | 7 uses | `ingest` `vfs` `restore` `maintain` | streams in; random access and streams out; whole-store work |
//! | 8 mount | `mount` | fuser |
//! | 9 cli | `cli`, `main` | terminal, exit codes |

pub mod backend;
pub mod budget;
pub mod catalog;
pub mod chunk;
pub mod cli;
pub mod codec;
pub mod crypto;
pub mod entry;
pub mod error;
pub mod export;
pub mod format;
pub mod id;
pub mod ingest;
pub mod maintain;
pub mod mount;
pub mod progress;
pub mod repository;
pub mod restore;
pub mod source;
pub mod vfs;
