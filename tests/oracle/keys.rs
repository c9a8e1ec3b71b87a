//! Key slots, keyrings and sealed frames (docs/crypto.md, sections 2 to 4).

use aes_gcm::Aes256Gcm;
use chacha20poly1305::ChaCha20Poly1305;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use x25519_dalek::{PublicKey, StaticSecret};

use super::bytes::Bytes;

/// What opens the repository.
pub(crate) enum Secret<'a> {
    /// The text of a key file.
    KeyFile(&'a str),
    /// A passphrase.
    Passphrase(&'a [u8]),
}

/// The keys that a reader needs.
pub(crate) struct Keyring {
    pub(crate) id: [u8; 32],
    pub(crate) index: [u8; 32],
    pub(crate) config_digest: [u8; 32],
    /// Number and private half.
    pub(crate) epochs: Vec<(u32, [u8; 32])>,
}

pub(crate) fn kdf(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    blake3::derive_key(context, &parts.concat())
}

/// Opens ciphertext and tag.
pub(crate) fn open(
    suite: u8,
    key: &[u8; 32],
    nonce: [u8; 12],
    aad: &[u8],
    sealed: &[u8],
) -> Vec<u8> {
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let mut data = data.to_vec();
    let tag: [u8; 16] = tag.try_into().unwrap();
    let (nonce, tag) = ((&nonce).into(), (&tag).into());
    let out = data.as_mut_slice().into();
    match suite {
        1 => ChaCha20Poly1305::new(key.into()).decrypt_inout_detached(nonce, aad, out, tag),
        2 => Aes256Gcm::new(key.into()).decrypt_inout_detached(nonce, aad, out, tag),
        other => panic!("suite {other}"),
    }
    .expect("the seal does not open");
    data
}

pub(crate) fn x25519(private: [u8; 32], public: [u8; 32]) -> [u8; 32] {
    StaticSecret::from(private)
        .diffie_hellman(&PublicKey::from(public))
        .to_bytes()
}

pub(crate) fn public_of(private: [u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(private)).to_bytes()
}

/// The keyring in a slot, if the secret opens it.
pub(crate) fn open_slot(
    slot: &[u8],
    repository: &[u8; 16],
    secret: &Secret<'_>,
) -> Option<Keyring> {
    let (checked, checksum) = slot.split_at(slot.len() - 32);
    assert_eq!(blake3::hash(checked).as_bytes(), checksum);
    let mut bytes = Bytes(checked);
    assert_eq!(bytes.take(8), b"repokey\x01");
    let (kind, _role, label_len, zero) = (bytes.byte(), bytes.byte(), bytes.byte(), bytes.byte());
    assert_eq!(zero, 0);
    let (m, t, p) = (bytes.u32(), bytes.u32(), bytes.u32());
    let (_created, _id, _generation) = (bytes.u64(), bytes.take(16), bytes.u32());
    let salt: [u8; 32] = bytes.array();
    let (public, ephemeral) = (bytes.array(), bytes.array());
    let commitment: [u8; 32] = bytes.array();
    let _label = bytes.take(usize::from(label_len));
    let clear = 180 + usize::from(label_len);
    let (sealed, _voucher) = bytes.0.split_at(bytes.0.len() - 48);

    let root = match (kind, secret) {
        (1, Secret::Passphrase(passphrase)) => {
            let params = argon2::Params::new(m, t, p, Some(32)).unwrap();
            let argon =
                argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
            let mut stretched = [0; 32];
            argon
                .hash_password_into(passphrase, &salt, &mut stretched)
                .unwrap();
            kdf("repo 2026 slot passphrase v1", &[&stretched])
        }
        (2, Secret::KeyFile(text)) => {
            let digits = text.trim().strip_prefix("repo-key-1 ").unwrap();
            kdf("repo 2026 slot key file v1", &[&unhex(digits), &salt])
        }
        _ => return None,
    };
    let private = kdf("repo 2026 slot private key v1", &[&root]);
    if public_of(private) != public {
        return None;
    }
    let voucher = kdf("repo 2026 slot voucher v1", &[&root]);
    let shared = x25519(private, ephemeral);
    let wrap = kdf(
        "repo 2026 slot wrap v1",
        &[&shared, &ephemeral, &public, repository, &voucher],
    );
    let expected = kdf("repo 2026 slot commitment v1", &[&wrap, &slot[..148]]);
    assert_eq!(commitment, expected);
    let aad = [repository.as_slice(), &slot[..clear]].concat();
    Some(keyring(&open(1, &wrap, [0; 12], &aad, sealed)))
}

fn keyring(bytes: &[u8]) -> Keyring {
    let mut bytes = Bytes(bytes);
    assert_eq!(bytes.byte(), 1, "version");
    let mut found: [Option<[u8; 32]>; 5] = [None; 5];
    let mut epochs = Vec::new();
    while !bytes.is_empty() {
        let number = bytes.byte();
        let len = u16::from_le_bytes(bytes.array());
        let field = bytes.take(usize::from(len));
        match number {
            1..=4 => found[usize::from(number)] = Some(field.try_into().unwrap()),
            7 => {
                let mut field = Bytes(field);
                epochs.push((field.u32(), field.array()));
            }
            _ => {}
        }
    }
    Keyring {
        id: found[1].unwrap(),
        index: found[3].unwrap(),
        config_digest: found[4].unwrap(),
        epochs,
    }
}

pub(crate) fn unhex(digits: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(pair).collect()
}
