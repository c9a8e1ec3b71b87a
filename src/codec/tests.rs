//! Blocks there and back, and everything that must not decode.

use super::*;
use proptest::prelude::*;

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// Text of a sort: words of a small vocabulary, which compress about as well as sources do.
fn text(seed: u64, length: usize) -> Vec<u8> {
    let words = [
        "chunk ",
        "block\n",
        "pack, ",
        "tree ",
        "(snapshot) ",
        "recipe = ",
        "0x1234 ",
    ];
    let picks = random(seed, length / 4 + 1);
    let mut out: Vec<u8> = picks
        .iter()
        .flat_map(|pick| words[usize::from(*pick) % words.len()].bytes())
        .collect();
    out.truncate(length);
    out
}

fn compressed(level: i32, raw: &[u8]) -> (Codec, Vec<u8>) {
    let mut out = b"left over".to_vec();
    let codec = Compressor::new(level)
        .unwrap()
        .compress(raw, &mut out)
        .unwrap();
    (codec, out)
}

fn decompressed(codec: Codec, stored: &[u8], raw_len: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = b"left over".to_vec();
    Decompressor::new()?.decompress(codec, stored, raw_len, &mut out)?;
    Ok(out)
}

#[test]
fn text_is_compressed_and_noise_is_not_at_every_level() {
    let (text, noise) = (text(1, 300_000), random(2, 300_000));
    for level in LEVELS {
        let (codec, stored) = compressed(level, &text);
        assert_eq!(codec, Codec::Zstd);
        assert!(
            stored.len() < text.len() / 2,
            "level {level}: {}",
            stored.len()
        );
        assert_eq!(decompressed(codec, &stored, text.len()).unwrap(), text);
        let (codec, stored) = compressed(level, &noise);
        assert_eq!(codec, Codec::Raw);
        assert_eq!(stored, noise);
        assert_eq!(decompressed(codec, &stored, noise.len()).unwrap(), noise);
    }
}

#[test]
fn nothing_and_little_are_stored_raw() {
    for raw in [&b""[..], b"a", b"aaaaaaaaaa"] {
        let (codec, stored) = compressed(3, raw);
        assert_eq!((codec, stored.as_slice()), (Codec::Raw, raw));
        assert_eq!(decompressed(codec, &stored, raw.len()).unwrap(), raw);
    }
}

#[test]
fn one_compressor_makes_the_same_of_the_same() {
    let mut compressor = Compressor::new(3).unwrap();
    let (one, two) = (text(3, 100_000), text(4, 50_000));
    let mut outs = [const { Vec::new() }; 3];
    for (raw, out) in [&one, &two, &one].into_iter().zip(&mut outs) {
        compressor.compress(raw, out).unwrap();
    }
    assert_eq!(outs[0], outs[2]);
}

#[test]
fn levels_and_lengths_are_bounded() {
    assert_eq!(Compressor::new(20).unwrap_err(), CodecError::Level(20));
    assert_eq!(Compressor::new(-8).unwrap_err(), CodecError::Level(-8));
    let too_long = CodecError::TooLong(MAX_RAW_BYTES + 1);
    assert_eq!(
        decompressed(Codec::Zstd, b"", MAX_RAW_BYTES + 1).unwrap_err(),
        too_long
    );
    let raw = vec![0; MAX_RAW_BYTES + 1];
    let refused = Compressor::new(1).unwrap().compress(&raw, &mut Vec::new());
    assert_eq!(refused.unwrap_err(), too_long);
}

#[test]
fn only_the_exact_length_decodes() {
    let raw = text(5, 200_000);
    let (codec, stored) = compressed(3, &raw);
    for wrong in [0, 1, raw.len() - 1, raw.len() + 1, 2 * raw.len()] {
        assert!(decompressed(codec, &stored, wrong).is_err(), "{wrong}");
        assert!(decompressed(Codec::Raw, &raw, wrong).is_err(), "{wrong}");
    }
}

#[test]
fn truncated_and_prolonged_frames_fail() {
    let raw = text(6, 20_000);
    let (codec, stored) = compressed(3, &raw);
    for length in 0..stored.len() {
        assert!(
            decompressed(codec, &stored[..length], raw.len()).is_err(),
            "{length}"
        );
    }
    let (_, empty) = zstd_frame(b"");
    for tail in [&b"\0"[..], &stored, &empty] {
        let long = [&stored, tail].concat();
        assert!(decompressed(codec, &long, raw.len()).is_err());
    }
    // Two frames that make up the right length together are not one block.
    let (first, second) = (zstd_frame(&raw[..9_000]).1, zstd_frame(&raw[9_000..]).1);
    let both = [first, second].concat();
    assert!(decompressed(codec, &both, raw.len()).is_err());
}

fn zstd_frame(raw: &[u8]) -> (Codec, Vec<u8>) {
    (Codec::Zstd, zstd::bulk::compress(raw, 1).unwrap())
}

#[test]
fn frames_of_other_writers_decode() {
    // Streamed: no content size, and a window of its own.
    let raw = text(8, 3 << 20);
    let mut stored = Vec::new();
    zstd::stream::copy_encode(raw.as_slice(), &mut stored, 1).unwrap();
    assert_eq!(decompressed(Codec::Zstd, &stored, raw.len()).unwrap(), raw);
}

#[test]
fn a_prefix_is_decoded_and_little_more() {
    let raw = text(9, 1 << 20);
    let (_, stored) = compressed(3, &raw);
    let mut decompressor = Decompressor::new().unwrap();
    let mut out = Vec::new();
    for wanted in [0, 1, 1000, 128 << 10, 600_000, raw.len(), raw.len() + 9] {
        let mut prefix = |stored: &[u8], raw_len| {
            out = Vec::new();
            let decoded = decompressor.decompress_prefix(stored, raw_len, wanted, &mut out);
            decoded.map(|()| out.clone())
        };
        let found = prefix(&stored, raw.len()).unwrap();
        let least = wanted.min(raw.len());
        assert!((least..least + (384 << 10)).contains(&found.len()));
        assert!(raw.starts_with(&found));
        // What is behind the prefix is not even there.
        let cut = stored.len() * (wanted + (256 << 10)).min(raw.len()) / raw.len();
        let again = prefix(&stored[..cut], raw.len()).unwrap();
        assert!(again.len() >= least && raw.starts_with(&again));
        if wanted > 1000 {
            assert!(prefix(&stored[..stored.len() / 20], raw.len()).is_err());
        }
        if wanted > raw.len() {
            assert!(
                prefix(&stored, raw.len() + 1).is_err(),
                "the frame is shorter"
            );
        }
        assert!(prefix(&stored, MAX_RAW_BYTES + 1).is_err());
    }
    // A decoder that stopped in the middle starts afresh.
    let (_, other) = compressed(3, &text(10, 50_000));
    decompressor
        .decompress_prefix(&stored, raw.len(), 5, &mut out)
        .unwrap();
    decompressor
        .decompress(Codec::Zstd, &other, 50_000, &mut out)
        .unwrap();
    assert_eq!(out, text(10, 50_000));
    // A buffer that is longer than the block is not filled with what a longer frame holds.
    out.reserve(2 * raw.len());
    let few = decompressor.decompress_prefix(&stored, 1000, 1000, &mut out);
    assert!(few.is_err() && out.is_empty());
}

#[test]
fn a_window_beyond_any_block_is_refused_before_it_is_allocated() {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &text(11, 10_000)).unwrap();
    let stored = encoder.finish().unwrap();
    let mut out = Vec::new();
    let mut decompressor = Decompressor::new().unwrap();
    let refused = decompressor.decompress_prefix(&stored, 10_000, 5_000, &mut out);
    assert!(matches!(refused, Err(CodecError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_bytes_come_back(
        seed: u64, length in 0_usize..300_000, noisy: bool, level in -7..10_i32,
    ) {
        let raw = if noisy { random(seed, length) } else { text(seed, length) };
        let (codec, stored) = compressed(level, &raw);
        prop_assert!(stored.len() <= raw.len());
        prop_assert!(decompressed(codec, &stored, raw.len()).unwrap() == raw);
    }

    #[test]
    fn damage_never_panics_or_overruns(seed: u64, at: prop::sample::Index, bit in 0..8_u32) {
        let raw = text(seed, 150_000);
        let (codec, mut stored) = compressed(3, &raw);
        let at = at.index(stored.len());
        stored[at] ^= 1 << bit;
        // zstd without a checksum may not notice; the seal around it does. The length must be right all the same.
        if let Ok(out) = decompressed(codec, &stored, raw.len()) {
            prop_assert_eq!(out.len(), raw.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(stored: Vec<u8>, raw_len in 0_usize..100_000) {
        let framed = [&[0x28, 0xb5, 0x2f, 0xfd][..], &stored].concat();
        for stored in [stored, framed] {
            let _ = decompressed(Codec::Zstd, &stored, raw_len);
            let mut out = Vec::new();
            let mut decompressor = Decompressor::new().unwrap();
            let part = decompressor.decompress_prefix(&stored, raw_len, raw_len / 2, &mut out);
            prop_assert!(out.len() <= raw_len && (part.is_err() || out.len() >= raw_len / 2));
        }
    }
}
