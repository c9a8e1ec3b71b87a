//! Against what `gzip`, `zstd`, `xz` and `bzip2` write themselves.

use std::io::{Cursor, Write};
use std::process::{Command, Stdio};

use super::*;

const ALL: [(Compression, &[&str]); 4] = [
    (Compression::Gzip, &["gzip", "-c"]),
    (Compression::Zstd, &["zstd", "-q", "-c", "--check"]),
    (Compression::Xz, &["xz", "-c", "-0"]),
    (Compression::Bzip2, &["bzip2", "-c"]),
];

fn run(command: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the tool is installed by scripts/install-deps");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap().unwrap();
    assert!(output.status.success(), "{command:?}");
    output.stdout
}

/// Text that compresses, and some that does not.
fn sample(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..len)
        .map(|i| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if i % 7000 < 2000 {
                state.to_be_bytes()[0]
            } else {
                b"abcdefgh"[i % 8]
            }
        })
        .collect()
}

fn peel(bytes: Vec<u8>) -> Result<(Vec<u8>, Peeled)> {
    peel_from(Cursor::new(bytes))
}

fn peel_from(reader: impl Read + Send + 'static) -> Result<(Vec<u8>, Peeled)> {
    let mut peeled = Peeled::new(reader)?;
    let mut all = Vec::new();
    peeled
        .read_to_end(&mut all)
        .map_err(|e| Error::io("read", e))?;
    Ok((all, peeled))
}

#[test]
fn what_the_tools_write_comes_back() {
    let plain = sample(5 << 20);
    for (compression, command) in ALL {
        let packed = run(command, &plain);
        let (all, peeled) = peel(packed).unwrap();
        assert!(all == plain, "{compression}");
        assert_eq!(peeled.layers().len(), 1);
        assert_eq!(peeled.layers()[0].compression(), compression);
        assert_eq!(peeled.layers()[0].trailing(), Some(Trailing::default()));
        assert_eq!(peeled.detected(), Detected::Opaque);
    }
}

#[test]
fn plain_and_empty_streams_pass() {
    let (all, peeled) = peel(b"plain".to_vec()).unwrap();
    assert_eq!(all, b"plain");
    assert!(peeled.layers().is_empty());
    assert!(peel(Vec::new()).unwrap().0.is_empty());
    for (compression, command) in ALL {
        assert_eq!(peel(run(command, b"")).unwrap().0, b"", "{compression}");
    }
}

#[test]
fn members_follow_each_other() {
    let (one, two) = (sample(100_000), sample(300));
    for (compression, command) in ALL {
        let empty = run(command, b"");
        let packed = [run(command, &one), empty, run(command, &two)].concat();
        let (all, _) = peel(packed).unwrap();
        assert!(all == [&one[..], &two].concat(), "{compression}");
    }
    let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
    let frame = run(ALL[1].1, &two);
    let packed = [&skippable[..], &frame, skippable, &frame, skippable].concat();
    assert_eq!(peel(packed).unwrap().0, [&two[..], &two].concat());
}

#[test]
fn containers_inside_each_other() {
    let plain = sample(200_000);
    let twice = run(ALL[1].1, &run(ALL[0].1, &plain));
    let (all, peeled) = peel(twice.clone()).unwrap();
    assert!(all == plain);
    let names: Vec<_> = peeled
        .layers()
        .iter()
        .map(|l| l.compression().name())
        .collect();
    assert_eq!(names, ["zstd", "gzip"]);
    let (all, peeled) = peel(run(ALL[2].1, &twice)).unwrap();
    assert_eq!(peeled.layers().len(), MAX_LAYERS);
    assert_eq!(peeled.detected(), Detected::Compressed(Compression::Gzip));
    assert_eq!(all, run(ALL[0].1, &plain));
}

#[test]
fn a_truncated_stream_is_an_error() {
    let plain = sample(250);
    for (compression, command) in ALL {
        let one = run(command, &plain);
        let two = [&one[..], &one].concat();
        // Before the magic is whole the stream is only opaque bytes.
        let near = |len: usize, end: usize| len.abs_diff(end) < 20;
        let cuts = 12..two.len();
        for len in cuts.filter(|l| l % 7 == 0 || near(*l, one.len()) || near(*l, two.len())) {
            let result = peel(two[..len].to_vec());
            if len == one.len() {
                assert!(result.is_ok(), "{compression}");
                continue;
            }
            let Err(error) = result else {
                panic!("{compression} cut at {len} of {}", two.len());
            };
            assert_eq!(error.class(), Class::Corrupt, "{compression} {len} {error}");
            assert!(error.to_string().contains("truncated"), "{error}");
            assert!(error.to_string().contains(compression.name()), "{error}");
        }
    }
}

#[test]
fn no_flipped_bit_changes_content_in_silence() {
    let plain = sample(250);
    for (compression, command) in ALL {
        let packed = run(command, &plain);
        for at in 12..packed.len() {
            let mut bad = packed.clone();
            bad[at] ^= 1 << (at % 8);
            if let Ok((all, _)) = peel(bad) {
                assert!(all == plain, "{compression} flipped at {at}");
            }
        }
    }
}

#[test]
fn what_follows_is_counted() {
    let plain = sample(3000);
    for (compression, command) in ALL {
        let packed = run(command, &plain);
        let zeros = [&packed[..], &[0; 1024]].concat();
        let garbage = [&packed[..], &[0; 8], b"not a member", &[0; 9]].concat();
        let (all, peeled) = peel(zeros).unwrap();
        assert!(all == plain, "{compression}");
        let trailing = peeled.layers()[0].trailing().unwrap();
        assert_eq!((trailing.zero_bytes, trailing.garbage_bytes), (1024, 0));
        let (all, peeled) = peel(garbage).unwrap();
        assert!(all == plain, "{compression}");
        let trailing = peeled.layers()[0].trailing().unwrap();
        assert_eq!((trailing.zero_bytes, trailing.garbage_bytes), (8, 21));
        // A member behind padding is content, not garbage.
        let padded = [&packed[..], &[0; 512], &packed].concat();
        assert_eq!(peel(padded).unwrap().0.len(), 2 * plain.len());
    }
}

#[test]
fn endless_garbage_is_refused() {
    let packed = run(ALL[0].1, b"x");
    let input = Cursor::new(packed).chain(io::repeat(b'x').take(MAX_GARBAGE_BYTES + 1));
    let error = peel_from(input).err().unwrap();
    assert_eq!(error.class(), Class::Corrupt);
}

#[test]
fn a_demand_for_too_much_memory_is_named() {
    let plain = sample(1000);
    let zstd = ["zstd", "-q", "-c", "--ultra", "-22", "--long=28"];
    let lzma = ["xz", "-c", "--lzma2=dict=512MiB"];
    for command in [&zstd[..], &lzma] {
        let Err(error) = peel(run(command, &plain)) else {
            panic!("{command:?}");
        };
        assert_eq!(error.class(), Class::Unsupported, "{error}");
        assert!(error.to_string().contains("memory"), "{error}");
    }
}

/// Regression: a large compressed tar was taken for an opaque stream, because its first bytes alone decompress to
/// less than a buffer before they end.
#[test]
fn a_beginning_tells_what_the_whole_is() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    // Incompressible, so that a long beginning of the compressed form gives little.
    tar.extend(run(&["head", "-c", "3000000", "/dev/urandom"], b""));
    for (_, command) in ALL {
        let mut packed = run(command, &tar);
        packed.truncate(SNIFF_BYTES);
        let mut peeled = Peeled::new(Cursor::new(packed)).unwrap();
        assert_eq!(peeled.detected(), Detected::Tar, "{command:?}");
        let mut all = Vec::new();
        assert!(
            peeled.read_to_end(&mut all).is_err(),
            "{command:?}: cut short"
        );
        assert!(
            peeled.read(&mut [0; 10]).is_err(),
            "{command:?}: and stays so"
        );
    }
}

#[test]
fn failures_of_the_reader_stay_what_they_are() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
    let packed = run(ALL[3].1, &sample(400_000));
    let half = packed[..packed.len() / 2].to_vec();
    let error = peel_from(Cursor::new(half).chain(Fails)).err().unwrap();
    assert_eq!(error.class(), Class::Denied);
}

#[test]
fn a_dropped_reader_ends_the_thread() {
    struct Held(
        Cursor<Vec<u8>>,
        #[allow(dead_code, reason = "only held")] Arc<()>,
    );
    impl Read for Held {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(out)
        }
    }
    let packed = run(ALL[0].1, &vec![0; 64 << 20]);
    let alive = Arc::new(());
    let mut peeled = Peeled::new(Held(Cursor::new(packed), alive.clone())).unwrap();
    peeled.read_exact(&mut [0; 1000]).unwrap();
    drop(peeled);
    while Arc::strong_count(&alive) > 1 {
        thread::yield_now();
    }
}
