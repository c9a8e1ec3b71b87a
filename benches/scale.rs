//! Makes a large synthetic repository: what `scripts/scale` measures.
//!
//! `cargo bench --bench scale -- DIR CHUNKS SNAPSHOTS` makes DIR/repository and the key DIR/key that opens it.

#[path = "../tests/fixture/synthetic.rs"]
mod synthetic;

use std::error::Error;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Instant;

use repo::backend;
use repo::crypto::slot::Unlock;
use repo::crypto::{KdfParams, KeyFile, Role};
use repo::format::header::Suite;
use repo::repository::{CreateOptions, Repository, SlotOptions};
use synthetic::{Shape, generate};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [folder, chunks, snapshots] = &arguments[..] else {
        writeln!(
            std::io::stdout(),
            "cargo bench --bench scale -- DIR CHUNKS SNAPSHOTS makes a repository in DIR"
        )?;
        return Ok(());
    };
    let folder = PathBuf::from(folder);
    let shape = Shape {
        chunks: chunks.parse()?,
        snapshots: snapshots.parse()?,
    };
    let key = KeyFile::generate()?;
    std::fs::create_dir_all(&folder)?;
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(folder.join("key"))?
        .write_all(&key.encode())?;
    let backend = backend::open(folder.join("repository"))?;
    let slot = SlotOptions {
        role: Role::Full,
        label: String::new(),
        created: 0,
        kdf: KdfParams::default(),
    };
    let suite = Suite::ChaCha20Poly1305;
    Repository::create(
        backend.as_ref(),
        &CreateOptions { suite, slot },
        Unlock::KeyFile(&key),
    )?;
    let began = Instant::now();
    generate(&backend, &key, shape)?;
    let (directories, changed) = shape.directories();
    writeln!(
        std::io::stdout(),
        "{} chunks of content, {} snapshots of {directories} directories, {changed} replaced in each: {:.1} s",
        (directories as u64 + (shape.snapshots - 1) * changed as u64) * synthetic::DIRECTORY_CHUNKS,
        shape.snapshots,
        began.elapsed().as_secs_f64()
    )?;
    Ok(())
}
