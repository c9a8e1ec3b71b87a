//! Cuts: against the reference crate, against golden points, and however the stream is sliced.

use super::*;
use fastcdc::v2020::{FastCDC, Normalization, get_gear_with_seed};
use proptest::prelude::*;
use std::sync::Arc;

fn random(seed: u64, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut out);
    out
}

/// The table of BLAKE3's output stream for "gear".
fn table() -> Arc<GearTable> {
    let mut bytes = [0; 2048];
    blake3::Hasher::new()
        .update(b"gear")
        .finalize_xof()
        .fill(&mut bytes);
    let mut gear = [0; 256];
    for (entry, bytes) in gear.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *entry = u64::from_le_bytes(*bytes);
    }
    Arc::new(GearTable::new(&gear))
}

fn content(avg: u32) -> Cutter {
    Cutter::content(Params::around(avg), table()).unwrap()
}

/// Chunk lengths of `data` in one piece, straight from the cutter.
fn lengths(cutter: &Cutter, mut data: &[u8]) -> Vec<usize> {
    let (mut offset, mut out) = (0, Vec::new());
    while let Some(length) = cutter.next_cut(offset, data, true) {
        out.push(length);
        offset += length as u64;
        data = &data[length..];
    }
    assert!(data.is_empty());
    out
}

/// The chunks that a slicer makes of `pieces`.
fn sliced<'a>(cutter: &Cutter, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(u64, Vec<u8>)> {
    let mut slicer = Slicer::new(cutter.clone());
    let mut out = Vec::new();
    let mut emit = |offset, chunk: &[u8]| {
        out.push((offset, chunk.to_vec()));
        Ok::<_, ()>(())
    };
    for piece in pieces {
        slicer.push(piece, &mut emit).unwrap();
    }
    slicer.finish(&mut emit).unwrap();
    out
}

#[test]
fn cuts_are_those_of_the_reference() {
    let (gear, _) = get_gear_with_seed(0);
    let table = Arc::new(GearTable::new(gear.as_ref().try_into().unwrap()));
    let data = [random(1, 3_000_000), vec![0; 500_000], random(2, 500_001)].concat();
    for avg in [256_u32, 1024, 8192, 65536, 1 << 18] {
        let params = Params::around(avg);
        let cutter = Cutter::content(params, table.clone()).unwrap();
        let [min, avg, max] = [params.min, params.avg, params.max].map(|size| size as usize);
        let reference = FastCDC::with_level(&data, min, avg, max, Normalization::Level1);
        let reference: Vec<_> = reference.map(|chunk| chunk.length).collect();
        assert_eq!(lengths(&cutter, &data), reference, "{avg}");
    }
}

#[test]
fn cuts_are_where_they_always_were() {
    let golden = include_str!("../../tests/data/chunk/cuts.txt");
    let data = random(7, 2_000_000);
    let mut lines = Vec::new();
    for avg in [4096_u32, 16384, 65536, 1 << 18] {
        let cuts = lengths(&content(avg), &data);
        let cuts: Vec<_> = cuts.iter().take(40).map(ToString::to_string).collect();
        lines.push(format!("{avg}: {}", cuts.join(" ")));
    }
    assert_eq!(lines.join("\n"), golden.trim_end());
}

#[test]
fn sizes_stay_within_bounds() {
    let data = [random(3, 2_000_000), vec![7; 200_000], random(4, 300_000)].concat();
    for avg in [1024_u32, 16384, 65536] {
        let Params { min, max, .. } = Params::around(avg);
        let cuts = lengths(&content(avg), &data);
        assert_eq!(cuts.iter().sum::<usize>(), data.len());
        let (last, whole) = cuts.split_last().unwrap();
        assert!(
            whole
                .iter()
                .all(|cut| (min as usize..=max as usize).contains(cut))
        );
        assert!(*last <= max as usize);
        let mean = data.len() / cuts.len();
        assert!(
            mean > avg as usize && mean < 2 * avg as usize,
            "{mean} for {avg}"
        );
    }
}

#[test]
fn an_insertion_moves_few_cuts() {
    let data = random(5, 2_000_000);
    let mut changed = data.clone();
    changed.splice(1_000_000..1_000_000, *b"an odd number");
    let cutter = content(8192);
    let ends = |data: &[u8]| {
        let mut at = 0;
        let mut ends: Vec<_> = lengths(&cutter, data)
            .iter()
            .map(|cut| {
                at += cut;
                data.len() - at
            })
            .collect();
        ends.reverse();
        ends
    };
    // Measured from the end, all cuts behind the insertion are the same but a few.
    let (one, two) = (ends(&data), ends(&changed));
    let same = one.iter().zip(&two).take_while(|(a, b)| a == b).count();
    assert!(
        same + 6 > one.iter().filter(|end| **end < 1_000_000).count(),
        "{same}"
    );
}

#[test]
fn other_keys_make_other_cuts() {
    let mut gear = [0; 256];
    for (entry, value) in gear.iter_mut().zip(random(6, 2048).as_chunks::<8>().0) {
        *entry = u64::from_le_bytes(*value);
    }
    let other = Cutter::content(Params::around(4096), Arc::new(GearTable::new(&gear))).unwrap();
    let data = random(5, 1_000_000);
    assert_ne!(lengths(&content(4096), &data), lengths(&other, &data));
}

#[test]
fn fixed_cuts_are_aligned_to_the_stream() {
    let cutter = Cutter::fixed(4096).unwrap();
    let data = random(8, 10_000);
    assert_eq!(lengths(&cutter, &data), [4096, 4096, 1808]);
    assert_eq!(cutter.next_cut(4000, &data, false), Some(96));
    assert_eq!(cutter.next_cut(4096, &data[..4095], false), None);
    assert_eq!(cutter.next_cut(4096, &data[..4095], true), Some(4095));
    assert_eq!(cutter.next_cut(0, &[], true), None);
}

#[test]
fn a_hole_ends_a_chunk_and_keeps_the_alignment() {
    let mut slicer = Slicer::new(Cutter::fixed(4096).unwrap());
    let mut seen = Vec::new();
    let mut emit = |offset, chunk: &[u8]| {
        seen.push((offset, chunk.len()));
        Ok::<_, ()>(())
    };
    slicer.push(&[1; 5000], &mut emit).unwrap();
    slicer.skip(3000, &mut emit).unwrap();
    slicer.push(&[1; 200], &mut emit).unwrap();
    slicer.push(&[1; 400], &mut emit).unwrap();
    slicer.finish(&mut emit).unwrap();
    assert_eq!(seen, [(0, 4096), (4096, 904), (8000, 192), (8192, 408)]);
}

#[test]
fn an_error_of_the_receiver_is_handed_back() {
    let mut slicer = Slicer::new(content(1024));
    let failed = slicer.push(&random(1, 100_000), |_, _| Err("full"));
    assert_eq!(failed, Err("full"));
}

#[test]
fn unusable_sizes_are_refused() {
    let usable = |min, avg, max| Params { min, avg, max }.check().is_ok();
    assert!(usable(64, 256, 1024) && usable(1 << 20, 4 << 20, 16 << 20));
    for (min, avg, max) in [
        (63, 256, 1024),
        (65, 256, 1024),
        (62, 256, 1024),
        (64, 300, 1024),
        (64, 256, 1025),
        (64, 256, 256),
        (256, 256, 1024),
        (64, 8 << 20, 16 << 20),
        (64, 256, (16 << 20) + 2),
        (0, 0, 0),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        assert!(!usable(min, avg, max), "{min} {avg} {max}");
        assert!(Cutter::content(Params { min, avg, max }, table()).is_err());
    }
    for size in [0, 256, 513, 5000, 32 << 20] {
        assert!(Cutter::fixed(size).is_err());
    }
}

#[test]
fn zeros_are_found() {
    for length in [0, 1, 7, 4095, 4096, 4097, 20_000] {
        let mut data = vec![0; length];
        assert!(is_zero(&data));
        assert_eq!(leading_zeros(&data), length);
        for at in [0, length / 2, length.saturating_sub(1)] {
            if let Some(byte) = data.get_mut(at) {
                *byte = 1;
                assert!(!is_zero(&data));
                assert_eq!(leading_zeros(&data), at);
                data[at] = 0;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn slices_do_not_matter(
        seed: u64,
        zeros in 0_usize..30_000,
        pieces in prop::collection::vec(0_usize..20_000, 0..24),
        small in prop::collection::vec(0_usize..40, 0..60),
        fixed: bool,
    ) {
        let cutter = if fixed { Cutter::fixed(4096).unwrap() } else { content(2048) };
        let pieces = [pieces, small].concat();
        let total: usize = pieces.iter().sum();
        let mut data = random(seed, total);
        data[total / 2..][..zeros.min(total / 2)].fill(0);
        let mut rest = data.as_slice();
        let slices = pieces.iter().map(|length| rest.split_off(..*length).unwrap());
        let chunks = sliced(&cutter, slices);
        let expected = lengths(&cutter, &data);
        prop_assert_eq!(chunks.iter().map(|(_, chunk)| chunk.len()).collect::<Vec<_>>(), expected);
        let mut at = 0;
        for (offset, chunk) in &chunks {
            prop_assert_eq!(*offset, at);
            at += chunk.len() as u64;
        }
        prop_assert!(chunks.into_iter().flat_map(|(_, chunk)| chunk).eq(data));
    }
}
