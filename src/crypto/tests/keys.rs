//! Keys and keyrings: what they print, what they encode, and what is left of them for an ingest holder.

use super::{keyring, secret};
use crate::crypto::{CryptoError, IdKey, KdfParams, KeyFile, Keyring, Role, Secret32};
use crate::error::Class;

#[test]
fn keys_do_not_print() {
    let keyring = keyring();
    let shown = format!(
        "{keyring:?} {:?} {:?}",
        secret("x"),
        KeyFile::generate().unwrap()
    );
    assert!(shown.contains("<key>"));
    for key in private_parts(&keyring) {
        let digits = crate::id::to_hex(&key);
        assert!(!shown.contains(&digits));
        assert!(!shown.contains(&format!("{key:?}")));
    }
}

/// Everything that an ingest holder must not have.
fn private_parts(keyring: &Keyring) -> Vec<[u8; 32]> {
    let epochs = keyring.epochs().filter_map(|epoch| epoch.secret.as_ref());
    let mut keys: Vec<_> = epochs.map(|key| *key.secret().expose()).collect();
    keys.extend(keyring.slots.iter().map(|key| *key.secret().expose()));
    keys
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

#[test]
fn keyring_round_trip() {
    let mut keyring = keyring();
    keyring.rotate().unwrap();
    for ring in [keyring.clone(), keyring.to_ingest()] {
        let encoded = ring.encode().unwrap();
        let decoded = Keyring::decode(&encoded).unwrap();
        assert_eq!(*decoded.encode().unwrap(), *encoded);
        assert_eq!(decoded.role(), ring.role());
        assert_eq!(decoded.config_digest, [7; 32]);
        assert_eq!(decoded.newest_epoch().number, 2);
        assert_eq!(decoded.newest_epoch().public, keyring.newest_epoch().public);
        for length in 0..encoded.len() {
            // Only a cut between two epochs leaves a keyring, and that one is an older one.
            if let Ok(cut) = Keyring::decode(&encoded[..length]) {
                assert_eq!(cut.newest_epoch().number, 1);
            }
        }
    }
}

#[test]
fn an_ingest_keyring_holds_nothing_private() {
    let mut full = keyring();
    full.rotate().unwrap();
    let private = private_parts(&full);
    assert_eq!(private.len(), 3);
    let all = full.encode().unwrap();
    assert!(
        private.iter().all(|key| contains(&all, key)),
        "the scan finds what is there"
    );

    let mut ingest = full.to_ingest();
    let encoded = ingest.encode().unwrap();
    assert!(!private.iter().any(|key| contains(&encoded, key)));
    assert_eq!(ingest.role(), Role::Ingest);
    assert_eq!(ingest.epochs().count(), 1);
    assert_eq!(ingest.rotate().unwrap_err().class(), Class::Denied);
}

#[test]
fn unknown_fields_survive_but_not_into_an_ingest_keyring() {
    let mut encoded = keyring().encode().unwrap().to_vec();
    let later = [200, 5, 0, b'l', b'a', b't', b'e', b'r'];
    encoded.extend(later);
    let decoded = Keyring::decode(&encoded).unwrap();
    assert!(contains(&decoded.encode().unwrap(), &later));
    assert!(!contains(&decoded.to_ingest().encode().unwrap(), b"later"));
}

#[test]
fn malformed_keyrings_are_refused() {
    let full = keyring().encode().unwrap().to_vec();
    let ingest = keyring().to_ingest().encode().unwrap().to_vec();
    let doubled = [&full[..], &full[1..36]].concat();
    let backwards = [&full[..], &full[full.len() - 39..]].concat();
    let mixed = [&ingest[..], &full[full.len() - 39..]].concat();
    let short_key = [&[1, 1, 2, 0, 9, 9][..], &full[36..]].concat();
    let version = [&[2][..], &full[1..]].concat();
    let long = vec![1; 65 << 10];
    for bytes in [
        doubled,
        backwards,
        mixed,
        short_key,
        version,
        long,
        vec![],
        vec![1],
    ] {
        assert!(Keyring::decode(&bytes).is_err());
    }
}

#[test]
fn ids_and_tables_depend_on_the_key() {
    let (one, two) = (IdKey::generate().unwrap(), IdKey::generate().unwrap());
    assert_eq!(one.id(b"content"), one.id(b"content"));
    assert_ne!(one.id(b"content"), two.id(b"content"));
    assert_ne!(
        one.id(b"content").as_bytes(),
        blake3::hash(b"content").as_bytes()
    );
    let (one, two) = (keyring().chunker.gear(), keyring().chunker.gear());
    assert_ne!(*one, *two);
}

#[test]
fn catalog_rows_are_bound_to_their_place() {
    let key = keyring().catalog_key();
    let row = key.seal(b"files:1", b"/etc/shadow").unwrap();
    assert_eq!(key.open(b"files:1", &row).unwrap(), b"/etc/shadow");
    assert_ne!(
        key.seal(b"files:1", b"/etc/shadow").unwrap(),
        row,
        "nonces are random"
    );
    assert!(!contains(&row, b"shadow"));
    assert!(key.open(b"files:2", &row).is_err());
    assert!(keyring().catalog_key().open(b"files:1", &row).is_err());
    for bit in 0..row.len() * 8 {
        let mut row = row.clone();
        row[bit / 8] ^= 1 << (bit % 8);
        assert!(key.open(b"files:1", &row).is_err());
    }
    for length in 0..row.len() {
        assert!(key.open(b"files:1", &row[..length]).is_err());
    }
}

#[test]
fn an_ingest_holder_cannot_read_a_full_holders_catalog() {
    let mut full = keyring();
    let (before, ingest) = (full.catalog_key(), full.to_ingest().catalog_key());
    assert_ne!(before, ingest);
    assert_ne!(before.name(b"/etc"), ingest.name(b"/etc"));
    full.rotate().unwrap();
    assert_eq!(
        full.catalog_key(),
        before,
        "a rotation leaves the catalog readable"
    );
    assert_eq!(full.to_ingest().catalog_key(), ingest);
    let row = before.seal(b"files", b"secret path").unwrap();
    assert!(ingest.open(b"files", &row).is_err());
}

#[test]
fn every_change_of_keys_is_a_generation() {
    let mut full = keyring();
    assert_eq!(full.generation(), 1);
    full.rotate().unwrap();
    assert_eq!((full.generation(), full.newest_epoch().number), (2, 2));
    full.renew_slots_key().unwrap();
    assert_eq!((full.generation(), full.newest_epoch().number), (3, 2));
    assert_eq!(full.to_ingest().generation(), 3);
}

#[test]
fn secrets_compare_by_value() {
    let (mut one, mut two) = ([1; 32], [1; 32]);
    let equal = Secret32::take_from(&mut one) == Secret32::take_from(&mut two);
    assert!(equal);
    assert_eq!(one, [0; 32], "the source is wiped");
    assert_ne!(secret("a"), secret("b"));
}

#[test]
fn key_files_round_trip_and_foreign_files_are_refused() {
    let file = KeyFile::generate().unwrap();
    let text = file.encode();
    assert_eq!(text.len(), 76);
    assert_eq!(KeyFile::decode(&text).unwrap(), file);
    let line = text.trim_ascii();
    assert_eq!(KeyFile::decode(line).unwrap(), file);
    assert_eq!(
        KeyFile::decode(&[b"\r\n ", line, b" \r\n"].concat()).unwrap(),
        file
    );
    let mut odd = line.to_vec();
    odd[20] = b'g';
    for text in [
        &line[..74],
        &[line, b"0"].concat(),
        b"",
        b"repo-key-2 00",
        &odd,
        &[7; 4096],
    ] {
        assert_eq!(KeyFile::decode(text), Err(CryptoError::NotAKeyFile));
    }
}

#[test]
fn stretching_is_bounded_both_ways() {
    let params = |m_kib, t, p| KdfParams { m_kib, t, p };
    let least = KdfParams::default();
    assert_eq!(least, params(65536, 3, 4));
    least.check_new().unwrap();
    for weak in [
        params(65535, 3, 4),
        params(65536, 2, 4),
        params(65536, 3, 3),
    ] {
        assert!(weak.check_new().is_err());
        weak.check_read().unwrap();
    }
    for absurd in [
        params(2 << 20 | 1, 3, 4),
        params(u32::MAX, 3, 4),
        params(65536, 65, 4),
        params(65536, u32::MAX, 4),
        params(65536, 3, 65),
        params(65536, 3, u32::MAX),
        params(31, 1, 4),
        params(65536, 0, 4),
        params(65536, 3, 0),
    ] {
        assert_eq!(
            absurd.check_read().unwrap_err().class(),
            Class::Invalid,
            "{absurd:?}"
        );
        assert_eq!(
            absurd.stretch(b"x", &[0; 32]).unwrap_err().class(),
            Class::Invalid
        );
    }
}
