//! Stored objects: every byte that is authenticated is changed once, and every way to misplace a frame is tried.

use super::{REPOSITORY, keyring};
use crate::crypto::seal::{Frame, ObjectKeys, ObjectOpener, ObjectSealer, WriterKeys};
use crate::crypto::{CryptoError, Keyring};
use crate::error::Class;
use crate::format::header::{Codec, HEADER_BYTES, ObjectKind, Suite};
use crate::id::RepositoryId;
use proptest::prelude::*;

const SUITES: [Suite; 2] = [Suite::ChaCha20Poly1305, Suite::Aes256Gcm];
const FRAME: Frame = Frame {
    number: 3,
    codec: Codec::Zstd,
    raw_len: 1000,
    flags: 0,
};
const TEXT: &[u8] = b"the quick brown fox";

fn sealed(sealer: &ObjectSealer, frame: &Frame) -> Vec<u8> {
    let mut data = TEXT.to_vec();
    sealer.seal_frame(frame, &mut data).unwrap();
    assert_eq!(data.len(), TEXT.len() + 16);
    data
}

fn open(
    header: &[u8; HEADER_BYTES],
    keys: &ObjectKeys,
    frame: &Frame,
    data: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut data = data.to_vec();
    ObjectOpener::new(header, keys)?.open_frame(frame, &mut data)?;
    Ok(data)
}

#[test]
fn what_is_sealed_opens_in_every_kind_and_suite() {
    let keyring = keyring();
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    for suite in SUITES {
        let writer = WriterKeys::new(REPOSITORY, suite, &keyring).unwrap();
        for kind in [
            ObjectKind::DataPack,
            ObjectKind::MetaPack,
            ObjectKind::Index,
            ObjectKind::Snapshot,
            ObjectKind::Session,
            ObjectKind::Plan,
            ObjectKind::Waits,
            ObjectKind::Pin,
        ] {
            let sealer = writer.sealer(kind).unwrap();
            let data = sealed(&sealer, &FRAME);
            assert_eq!(open(sealer.header(), &keys, &FRAME, &data).unwrap(), TEXT);
            let opener = ObjectOpener::new(sealer.header(), &keys).unwrap();
            assert_eq!(opener.header().kind, kind);
            assert_eq!(opener.header().suite, suite);
        }
    }
}

#[test]
fn every_flipped_bit_fails() {
    let keyring = keyring();
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    for suite in SUITES {
        let writer = WriterKeys::new(REPOSITORY, suite, &keyring).unwrap();
        for kind in [ObjectKind::DataPack, ObjectKind::Index] {
            let sealer = writer.sealer(kind).unwrap();
            let data = sealed(&sealer, &FRAME);
            for bit in 0..HEADER_BYTES * 8 {
                let mut header = *sealer.header();
                header[bit / 8] ^= 1 << (bit % 8);
                assert!(
                    open(&header, &keys, &FRAME, &data).is_err(),
                    "header bit {bit}"
                );
            }
            for bit in 0..data.len() * 8 {
                let mut data = data.clone();
                data[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(
                    open(sealer.header(), &keys, &FRAME, &data),
                    Err(CryptoError::NotAuthentic { frame: 3 }),
                    "frame bit {bit}"
                );
            }
        }
    }
}

#[test]
fn a_frame_is_what_it_was_sealed_as_and_nothing_else() {
    let keyring = keyring();
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    let writer = WriterKeys::new(REPOSITORY, Suite::ChaCha20Poly1305, &keyring).unwrap();
    let sealer = writer.sealer(ObjectKind::MetaPack).unwrap();
    let data = sealed(&sealer, &FRAME);
    for other in [
        Frame { number: 4, ..FRAME },
        Frame {
            number: 3 | 1 << 31,
            ..FRAME
        },
        Frame {
            codec: Codec::Raw,
            ..FRAME
        },
        Frame {
            raw_len: 1001,
            ..FRAME
        },
        Frame {
            flags: Frame::LAST,
            ..FRAME
        },
    ] {
        let opened = open(sealer.header(), &keys, &other, &data);
        assert_eq!(
            opened,
            Err(CryptoError::NotAuthentic {
                frame: other.number
            })
        );
    }
    // The same frame of another object of the same session.
    let second = writer.sealer(ObjectKind::MetaPack).unwrap();
    assert_ne!(
        sealer.header()[16..48],
        second.header()[16..48],
        "salts differ"
    );
    assert!(open(second.header(), &keys, &FRAME, &data).is_err());
    // The same object in another repository.
    let elsewhere = ObjectKeys::new(RepositoryId::new([1; 16]), &keyring);
    assert!(open(sealer.header(), &elsewhere, &FRAME, &data).is_err());
    // Under another keyring.
    let stranger = ObjectKeys::new(REPOSITORY, &super::keyring());
    let error = open(sealer.header(), &stranger, &FRAME, &data).unwrap_err();
    assert_eq!(error.class(), Class::Corrupt);
}

#[test]
fn truncated_frames_fail() {
    let keyring = keyring();
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    let writer = WriterKeys::new(REPOSITORY, Suite::Aes256Gcm, &keyring).unwrap();
    let sealer = writer.sealer(ObjectKind::Snapshot).unwrap();
    let data = sealed(&sealer, &FRAME);
    for length in 0..data.len() {
        let opened = open(sealer.header(), &keys, &FRAME, &data[..length]);
        let error = opened.unwrap_err();
        assert_eq!(error.class(), Class::Corrupt, "{length}");
        assert_eq!(error == CryptoError::Truncated("a frame"), length < 16);
    }
}

#[test]
fn a_frame_number_is_sealed_once() {
    let keyring = keyring();
    let writer = WriterKeys::new(REPOSITORY, Suite::Aes256Gcm, &keyring).unwrap();
    let sealer = writer.sealer(ObjectKind::DataPack).unwrap();
    sealed(&sealer, &FRAME);
    let again = sealer.seal_frame(
        &Frame {
            raw_len: 1,
            ..FRAME
        },
        &mut TEXT.to_vec(),
    );
    assert_eq!(again, Err(CryptoError::FrameReused(3)));
    // The directory has a key of its own and so numbers of its own.
    sealed(&writer.directory(&sealer), &FRAME);
}

#[test]
fn one_sealer_serves_many_threads() {
    let keyring = keyring();
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    let writer = WriterKeys::new(REPOSITORY, Suite::ChaCha20Poly1305, &keyring).unwrap();
    let sealer = writer.sealer(ObjectKind::DataPack).unwrap();
    let frame = |number| Frame { number, ..FRAME };
    let frames: Vec<_> = std::thread::scope(|scope| {
        let seal = |number| sealed(&sealer, &frame(number));
        let handles: Vec<_> = (0..8)
            .map(|number| scope.spawn(move || seal(number)))
            .collect();
        handles
            .into_iter()
            .map(|handle| handle.join().unwrap())
            .collect()
    });
    let opener = ObjectOpener::new(sealer.header(), &keys).unwrap();
    for (number, mut data) in (0..).zip(frames) {
        assert_eq!(
            opener.open_frame_in(&frame(number), &mut data).unwrap(),
            TEXT
        );
    }
}

#[test]
fn an_ingest_holder_reads_directories_and_index_only() {
    let full = keyring();
    let ingest = full.to_ingest();
    let writer = WriterKeys::new(REPOSITORY, Suite::ChaCha20Poly1305, &ingest).unwrap();
    let (ingest_keys, full_keys) = (
        ObjectKeys::new(REPOSITORY, &ingest),
        ObjectKeys::new(REPOSITORY, &full),
    );
    for kind in [
        ObjectKind::DataPack,
        ObjectKind::MetaPack,
        ObjectKind::Snapshot,
    ] {
        let pack = writer.sealer(kind).unwrap();
        let block = sealed(&pack, &FRAME);
        let mut directory = sealed(&writer.directory(&pack), &FRAME);
        let refused = open(pack.header(), &ingest_keys, &FRAME, &block).unwrap_err();
        assert_eq!(refused.class(), Class::Denied);
        assert_eq!(
            open(pack.header(), &full_keys, &FRAME, &block).unwrap(),
            TEXT
        );
        let opener = ObjectOpener::directory(pack.header(), &ingest_keys).unwrap();
        assert!(opener.open_frame(&FRAME, &mut block.clone()).is_err());
        opener.open_frame(&FRAME, &mut directory).unwrap();
        assert_eq!(directory, TEXT);
    }
    let index = writer.sealer(ObjectKind::Index).unwrap();
    let data = sealed(&index, &FRAME);
    assert_eq!(
        open(index.header(), &ingest_keys, &FRAME, &data).unwrap(),
        TEXT
    );
}

#[test]
fn a_writer_can_read_its_own_session_and_no_later_one_can() {
    let ingest = keyring().to_ingest();
    let keys = ObjectKeys::new(REPOSITORY, &ingest);
    let writer = WriterKeys::new(REPOSITORY, Suite::Aes256Gcm, &ingest).unwrap();
    let pack = writer.sealer(ObjectKind::MetaPack).unwrap();
    let data = sealed(&pack, &FRAME);
    assert!(open(pack.header(), &keys, &FRAME, &data).is_err());
    writer.remember_in(&keys);
    assert_eq!(open(pack.header(), &keys, &FRAME, &data).unwrap(), TEXT);
    let later = ObjectKeys::new(REPOSITORY, &ingest);
    assert!(open(pack.header(), &later, &FRAME, &data).is_err());
}

#[test]
fn rotation_shuts_out_older_keyrings() {
    let old = keyring();
    let mut new = old.clone();
    new.rotate().unwrap();
    let seal = |keyring: &Keyring| {
        let writer = WriterKeys::new(REPOSITORY, Suite::Aes256Gcm, keyring).unwrap();
        let pack = writer.sealer(ObjectKind::DataPack).unwrap();
        (*pack.header(), sealed(&pack, &FRAME))
    };
    let (before, after) = (seal(&old), seal(&new));
    let (old, new) = (
        ObjectKeys::new(REPOSITORY, &old),
        ObjectKeys::new(REPOSITORY, &new),
    );
    assert_eq!(open(&before.0, &new, &FRAME, &before.1).unwrap(), TEXT);
    assert_eq!(open(&after.0, &new, &FRAME, &after.1).unwrap(), TEXT);
    assert_eq!(
        open(&after.0, &old, &FRAME, &after.1),
        Err(CryptoError::UnknownEpoch(2))
    );
}

#[test]
fn the_session_is_bound_to_the_index_key() {
    // Knowing an epoch's public key alone does not make a writer.
    let keyring = keyring();
    let mut stranger = Keyring::generate([0; 32]).unwrap().to_ingest();
    stranger.index = crate::crypto::IndexKey::generate().unwrap();
    let forged = {
        let mut guess = keyring.to_ingest();
        guess.index = stranger.index;
        WriterKeys::new(REPOSITORY, Suite::Aes256Gcm, &guess).unwrap()
    };
    let pack = forged.sealer(ObjectKind::Snapshot).unwrap();
    let data = sealed(&pack, &FRAME);
    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    assert!(matches!(
        open(pack.header(), &keys, &FRAME, &data),
        Err(CryptoError::Forged(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_bytes_come_back(data: Vec<u8>, number: u32, raw_len: u32, suite in 0_usize..2) {
        let keyring = keyring();
        let keys = ObjectKeys::new(REPOSITORY, &keyring);
        let writer = WriterKeys::new(REPOSITORY, SUITES[suite], &keyring).unwrap();
        let sealer = writer.sealer(ObjectKind::DataPack).unwrap();
        let frame = Frame { number, raw_len, codec: Codec::Raw, flags: Frame::LAST };
        let mut buffer = data.clone();
        sealer.seal_frame(&frame, &mut buffer).unwrap();
        prop_assert_eq!(open(sealer.header(), &keys, &frame, &buffer).unwrap(), data);
    }

    #[test]
    fn arbitrary_headers_never_panic(mut header: Vec<u8>) {
        header.resize(HEADER_BYTES, 0);
        header[..8].copy_from_slice(b"repoobj\x01");
        header[8] = header[8] % 4 + 1;
        header[9] = header[9] % 2 + 1;
        header[10] &= 1;
        header[11] = 0;
        let keys = ObjectKeys::new(REPOSITORY, &keyring());
        let header: [u8; HEADER_BYTES] = header.try_into().unwrap();
        prop_assert!(ObjectOpener::new(&header, &keys).is_err());
    }
}
