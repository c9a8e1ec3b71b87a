//! Known answers: every derivation and every layout of this module, held to bytes in `tests/data/crypto/`.
//!
//! All inputs are BLAKE3 output streams of the seeds named here, so that another implementation can make the same.

use super::{REPOSITORY, array, bytes, secret};
use crate::crypto::seal::{Frame, ObjectKeys, ObjectOpener, ObjectSealer, SealKey};
use crate::crypto::slot::{NewSlot, Passphrase, Seeds, Slot, Unlock};
use crate::crypto::{KdfParams, KeyFile, Keyring, Role, SessionSecret};
use crate::format::header::{Codec, ObjectKind, Suite};
use crate::id::to_hex;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/crypto/vectors.json"
);

type Vectors = BTreeMap<String, String>;

fn keyring() -> Keyring {
    let mut encoded = vec![1];
    for (field, seed) in (1..).zip(["id", "chunker", "index", "config", "slots"]) {
        encoded.extend([field, 32, 0]);
        encoded.extend(array::<32>(seed));
    }
    encoded.extend([8, 4, 0, 1, 0, 0, 0, 7, 36, 0, 1, 0, 0, 0]);
    encoded.extend(array::<32>("epoch 1"));
    Keyring::decode(&encoded).unwrap()
}

fn session(keyring: &Keyring) -> SessionSecret {
    SessionSecret::with(REPOSITORY, keyring, secret("session"), &secret("ephemeral")).unwrap()
}

fn compute() -> Vectors {
    let mut out = Vectors::new();
    let mut put = |name: &str, bytes: &[u8]| {
        out.insert(name.to_owned(), to_hex(bytes));
    };
    let keyring = keyring();
    put("keyring full", &keyring.encode().unwrap());
    put("keyring ingest", &keyring.to_ingest().encode().unwrap());
    put("epoch 1 public", keyring.newest_epoch().public.as_bytes());
    put("chunk id of empty", keyring.id.id(b"").as_bytes());
    put("chunk id of 'abc'", keyring.id.id(b"abc").as_bytes());
    put(
        "chunk id of 100000 bytes",
        keyring.id.id(&bytes("content", 100_000)).as_bytes(),
    );
    let gear = keyring.chunker.gear();
    let gear: Vec<u8> = gear.iter().flat_map(|entry| entry.to_le_bytes()).collect();
    put("gear table, first 64 bytes", &gear[..64]);
    put("gear table, blake3", blake3::hash(&gear).as_bytes());
    for (ring, role) in [(keyring.clone(), "full"), (keyring.to_ingest(), "ingest")] {
        let key = ring.catalog_key();
        let row = key.seal_with(&array("nonce"), b"files:1", b"row").unwrap();
        put(&format!("catalog {role} row"), &row);
        put(
            &format!("catalog {role} name of '/etc'"),
            &key.name(b"/etc"),
        );
    }
    put_objects(&keyring, &mut put);
    put_slots(&keyring, &mut put);
    out
}

fn put_objects(keyring: &Keyring, put: &mut impl FnMut(&str, &[u8])) {
    let session = session(keyring);
    let frame = Frame {
        number: 7,
        codec: Codec::Zstd,
        raw_len: 4321,
        flags: Frame::LAST,
    };
    for (suite, name) in [
        (Suite::ChaCha20Poly1305, "chacha"),
        (Suite::Aes256Gcm, "aes"),
    ] {
        for (kind, source, kind_name) in [
            (
                ObjectKind::DataPack,
                SealKey::Session(&session),
                "data pack",
            ),
            (ObjectKind::Index, SealKey::Index(&keyring.index), "index"),
        ] {
            let salt = array("salt");
            let sealer = ObjectSealer::with_salt(REPOSITORY, kind, suite, source, salt);
            put(&format!("{name} {kind_name} header"), sealer.header());
            let mut data = b"the quick brown fox".to_vec();
            sealer.seal_frame(&frame, &mut data).unwrap();
            put(&format!("{name} {kind_name} frame 7"), &data);
            let directory = sealer.directory(REPOSITORY, &keyring.index);
            let mut data = b"the quick brown fox".to_vec();
            directory.seal_frame(&frame, &mut data).unwrap();
            put(&format!("{name} {kind_name} directory frame 7"), &data);
        }
    }
}

fn passphrase() -> Passphrase {
    Passphrase::new(Zeroizing::new(b"correct horse battery staple".to_vec())).unwrap()
}

fn key_file() -> KeyFile {
    let digits = to_hex(&array::<32>("key file"));
    KeyFile::decode(format!("repo-key-1 {digits}\n").as_bytes()).unwrap()
}

fn put_slots(keyring: &Keyring, put: &mut impl FnMut(&str, &[u8])) {
    let new = |role, label| NewSlot {
        role,
        label,
        created: 1_790_000_000,
        kdf: KdfParams::default(),
    };
    let seeds = Seeds::fixed(
        array("slot id"),
        array("slot salt"),
        secret("slot ephemeral"),
    );
    let make = |unlock, new: &NewSlot<'_>| {
        Slot::create_with(REPOSITORY, keyring, unlock, new, &seeds)
            .unwrap()
            .encode()
    };
    let passphrase = passphrase();
    put(
        "slot passphrase",
        &make(Unlock::Passphrase(&passphrase), &new(Role::Full, "me")),
    );
    put(
        "slot key file",
        &make(Unlock::KeyFile(&key_file()), &new(Role::Ingest, "")),
    );
    put("key file", &key_file().encode());
}

fn stored() -> Vectors {
    serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    text.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn all_bytes_are_as_they_were() {
    let (stored, computed) = (stored(), compute());
    for (name, value) in &computed {
        assert_eq!(stored.get(name), Some(value), "{name}");
    }
    assert_eq!(stored.len(), computed.len());
}

#[test]
fn stored_bytes_open() {
    let stored = stored();
    let get = |name: &str| unhex(&stored[name]);
    let slot = Slot::decode(&get("slot passphrase")).unwrap();
    let keyring = slot
        .open(REPOSITORY, Unlock::Passphrase(&passphrase()))
        .unwrap();
    assert_eq!(*keyring.encode().unwrap(), get("keyring full"));
    let slot = Slot::decode(&get("slot key file")).unwrap();
    let ingest = slot.open(REPOSITORY, Unlock::KeyFile(&key_file())).unwrap();
    assert_eq!(*ingest.encode().unwrap(), get("keyring ingest"));

    let keys = ObjectKeys::new(REPOSITORY, &keyring);
    let frame = Frame {
        number: 7,
        codec: Codec::Zstd,
        raw_len: 4321,
        flags: Frame::LAST,
    };
    for suite in ["chacha", "aes"] {
        for kind in ["data pack", "index"] {
            let header = get(&format!("{suite} {kind} header")).try_into().unwrap();
            let mut data = get(&format!("{suite} {kind} frame 7"));
            ObjectOpener::new(&header, &keys)
                .unwrap()
                .open_frame(&frame, &mut data)
                .unwrap();
            assert_eq!(data, b"the quick brown fox");
            let mut data = get(&format!("{suite} {kind} directory frame 7"));
            let opener = ObjectOpener::directory(&header, &keys).unwrap();
            opener.open_frame(&frame, &mut data).unwrap();
            assert_eq!(data, b"the quick brown fox");
        }
    }
}

#[test]
#[ignore = "writes the golden bytes anew; only for a new version of the format"]
fn rewrite() {
    let mut text = serde_json::to_string_pretty(&compute()).unwrap();
    text.push('\n');
    std::fs::write(FILE, text).unwrap();
}
