//! Speed of the transforms, one thread: cut, hash, compress, decompress, seal, open, stretch.
//!
//! `cargo bench --bench transforms [FILE]` takes the first 128 MiB of FILE as content (a tar of sources, a binary); without
//! one, only noise is measured. Each figure is the median of five runs over the whole buffer, in MB (10^6 bytes) per second
//! of the thread's CPU time, so that other work on the machine disturbs it little. Times of single calls are CPU times too, but for
//! opening a slot, which uses several threads.

use repo::chunk::{Cutter, GearTable, Params, Slicer, is_zero};
use repo::codec::{Compressor, Decompressor};
use repo::crypto::seal::{Frame, ObjectKeys, ObjectOpener, ObjectSealer, WriterKeys};
use repo::crypto::slot::{NewSlot, Passphrase, Slot, Unlock};
use repo::crypto::{KdfParams, Keyring, Role};
use repo::format::header::{Codec, ObjectKind, Suite};
use repo::id::RepositoryId;
use std::error::Error;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Outcome = Result<(), Box<dyn Error>>;

const LENGTH: usize = 128 << 20;

fn main() -> Outcome {
    let mut noise = vec![0; LENGTH];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let mut contents = vec![("noise", noise)];
    if let Some(path) = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
    {
        let mut content = Vec::new();
        std::fs::File::open(path)?
            .take(LENGTH as u64)
            .read_to_end(&mut content)?;
        contents.push(("file", content));
    }
    let keyring = Keyring::generate([0; 32])?;
    for (name, content) in &contents {
        report(&format!("-- {name}, {} bytes", content.len()))?;
        cut(&keyring, content)?;
        compress(content)?;
    }
    seal(&keyring, &contents[0].1)?;
    small(&keyring)
}

fn cut(keyring: &Keyring, content: &[u8]) -> Outcome {
    let table = Arc::new(GearTable::new(&keyring.chunker.gear()));
    let cutter = Cutter::content(Params::around(256 << 10), table)?;
    measure("cut by content, one slice", content.len(), || {
        slice(&cutter, content, LENGTH)
    })?;
    measure("cut by content, 1 MiB slices", content.len(), || {
        slice(&cutter, content, 1 << 20)
    })?;
    measure("cut by content, 128 KiB slices", content.len(), || {
        slice(&cutter, content, 128 << 10)
    })?;
    let fixed = Cutter::fixed(64 << 10)?;
    measure("cut at 64 KiB, 1 MiB slices", content.len(), || {
        slice(&fixed, content, 1 << 20)
    })?;
    let zeros = vec![0; 64 << 10];
    measure("find zeros", content.len(), || {
        let zero = (0..content.len() / zeros.len()).all(|_| is_zero(std::hint::black_box(&zeros)));
        assert!(zero);
        Ok(())
    })?;
    measure("hash, 256 KiB chunks", content.len(), || {
        content.chunks(256 << 10).for_each(|chunk| {
            std::hint::black_box(keyring.id.id(chunk));
        });
        Ok(())
    })
}

fn slice(cutter: &Cutter, content: &[u8], length: usize) -> Outcome {
    let mut slicer = Slicer::new(cutter.clone());
    let mut sum = 0;
    let mut emit = |_, chunk: &[u8]| {
        sum += chunk.len();
        Ok::<_, Box<dyn Error>>(())
    };
    content
        .chunks(length)
        .try_for_each(|data| slicer.push(data, &mut emit))?;
    slicer.finish(&mut emit)?;
    assert_eq!(sum, content.len());
    Ok(())
}

fn compress(content: &[u8]) -> Outcome {
    const BLOCK: usize = 2 << 20;
    let mut blocks: Vec<(Codec, Vec<u8>)> = Vec::new();
    for level in [-1, 1, 3, 6] {
        let mut compressor = Compressor::new(level)?;
        let mut out = Vec::new();
        let mut stored = 0;
        let what = format!("compress at level {level}, 2 MiB blocks");
        measure(&what, content.len(), || {
            stored = 0;
            for block in content.chunks(BLOCK) {
                compressor.compress(block, &mut out)?;
                stored += out.len();
            }
            Ok(())
        })?;
        report(&format!("   stored {stored} bytes of {}", content.len()))?;
    }
    let mut compressor = Compressor::new(3)?;
    for block in content.chunks(BLOCK) {
        let mut out = Vec::new();
        blocks.push((compressor.compress(block, &mut out)?, out));
    }
    let mut decompressor = Decompressor::new()?;
    let mut out = Vec::new();
    let lengths = || content.chunks(BLOCK).map(<[u8]>::len);
    measure("decompress", content.len(), || {
        for ((codec, stored), length) in blocks.iter().zip(lengths()) {
            decompressor.decompress(*codec, stored, length, &mut out)?;
        }
        Ok(())
    })
}

const REPOSITORY: RepositoryId = RepositoryId::new([1; 16]);

fn frame(number: usize) -> Result<Frame, Box<dyn Error>> {
    Ok(Frame {
        number: u32::try_from(number)?,
        codec: Codec::Raw,
        raw_len: 0,
        flags: 0,
    })
}

fn seal(keyring: &Keyring, content: &[u8]) -> Outcome {
    let keys = ObjectKeys::new(REPOSITORY, keyring);
    for suite in [Suite::ChaCha20Poly1305, Suite::Aes256Gcm] {
        let writer = WriterKeys::new(REPOSITORY, suite, keyring)?;
        for length in [64 << 10, 1 << 20] {
            let mut frames: Vec<Vec<u8>> = content.chunks(length).map(<[u8]>::to_vec).collect();
            let mut sealer = writer.sealer(ObjectKind::DataPack)?;
            measure(
                &format!("seal with {suite:?}, {} KiB", length >> 10),
                content.len(),
                || {
                    sealer = writer.sealer(ObjectKind::DataPack)?;
                    seal_all(&sealer, &mut frames)
                },
            )?;
            let opener = ObjectOpener::new(sealer.header(), &keys)?;
            let sealed = frames;
            let mut scratch = sealed.clone();
            measure(
                &format!("open with {suite:?}, {} KiB", length >> 10),
                content.len(),
                || {
                    for (number, (data, sealed)) in scratch.iter_mut().zip(&sealed).enumerate() {
                        data.clone_from(sealed);
                        opener.open_frame(&frame(number)?, data)?;
                    }
                    Ok(())
                },
            )?;
        }
    }
    Ok(())
}

fn seal_all(sealer: &ObjectSealer, frames: &mut [Vec<u8>]) -> Outcome {
    for (number, data) in frames.iter_mut().enumerate() {
        data.truncate(data.len() & !63);
        sealer.seal_frame(&frame(number)?, data)?;
    }
    Ok(())
}

/// What is paid once per object, per session, or per opened repository.
fn small(keyring: &Keyring) -> Outcome {
    let writer = WriterKeys::new(REPOSITORY, Suite::ChaCha20Poly1305, keyring)?;
    let keys = ObjectKeys::new(REPOSITORY, keyring);
    let header = *writer.sealer(ObjectKind::DataPack)?.header();
    once("begin an object", || {
        writer.sealer(ObjectKind::DataPack).map(drop)
    })?;
    once("begin to open an object", || {
        ObjectOpener::new(&header, &keys).map(drop)
    })?;
    once("begin a session", || {
        WriterKeys::new(REPOSITORY, Suite::ChaCha20Poly1305, keyring).map(drop)
    })?;
    once("open an object of a new session", || {
        let keys = ObjectKeys::new(REPOSITORY, keyring);
        ObjectOpener::new(&header, &keys).map(drop)
    })?;
    let row = keyring.catalog_key();
    let sealed = row.seal(b"files", &[7; 100])?;
    once("seal a catalog row of 100 bytes", || {
        row.seal(b"files", &[7; 100]).map(drop)
    })?;
    once("open a catalog row of 100 bytes", || {
        row.open(b"files", &sealed).map(drop)
    })?;
    let passphrase = Passphrase::new(b"benchmark".to_vec().into())?;
    let new = NewSlot {
        role: Role::Full,
        label: "",
        created: 0,
        kdf: KdfParams::default(),
    };
    let unlock = Unlock::Passphrase(&passphrase);
    let slot = Slot::create(REPOSITORY, keyring, unlock, &new)?;
    let start = Instant::now();
    slot.open(REPOSITORY, unlock)?;
    let micros = start.elapsed().as_micros();
    report(&format!("{:45} {micros:9} us", "open a slot by passphrase"))
}

fn measure(what: &str, bytes: usize, mut run: impl FnMut() -> Outcome) -> Outcome {
    let mut seconds = Vec::new();
    for _ in 0..5 {
        let start = cpu_time();
        run()?;
        seconds.push(cpu_time().saturating_sub(start).as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = bytes as f64 / seconds[2] / 1e6;
    report(&format!("{what:45} {rate:9.0} MB/s"))
}

fn once<E: Error + 'static>(what: &str, mut run: impl FnMut() -> Result<(), E>) -> Outcome {
    const CALLS: u32 = 1000;
    let mut micros = Vec::new();
    for _ in 0..5 {
        let start = cpu_time();
        for _ in 0..CALLS {
            run()?;
        }
        micros.push(cpu_time().saturating_sub(start).as_secs_f64() * 1e6 / f64::from(CALLS));
    }
    micros.sort_by(f64::total_cmp);
    report(&format!("{what:45} {:9.1} us", micros[2]))
}

fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}

fn report(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
