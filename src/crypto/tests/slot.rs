//! Key slots: what opens them, what a store can make of them, and what a rotation does to them.

use super::{REPOSITORY, keyring};
use crate::crypto::slot::{MAX_SLOT_BYTES, NewSlot, Passphrase, Seeds, Slot, SlotKind, Unlock};
use crate::crypto::{CryptoError, KdfParams, KeyFile, Keyring, Role};
use crate::error::Class;
use crate::id::RepositoryId;
use zeroize::Zeroizing;

/// Far below what a slot is ever created with, so that the tests are quick.
const QUICK: KdfParams = KdfParams {
    m_kib: 64,
    t: 1,
    p: 1,
};

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn new_slot(role: Role, label: &str) -> NewSlot<'_> {
    NewSlot {
        role,
        label,
        created: 1_790_000_000,
        kdf: QUICK,
    }
}

fn quick(keyring: &Keyring, unlock: Unlock<'_>, role: Role) -> Slot {
    let seeds = Seeds::random().unwrap();
    Slot::create_with(
        REPOSITORY,
        keyring,
        unlock,
        &new_slot(role, "laptop"),
        &seeds,
    )
    .unwrap()
}

fn same(one: &Keyring, other: &Keyring) -> bool {
    *one.encode().unwrap() == *other.encode().unwrap()
}

/// Bytes with a right checksum, whatever they are: what an attacker would store.
fn forged(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 32);
    let checksum = blake3::hash(&bytes);
    bytes.extend_from_slice(checksum.as_bytes());
    bytes
}

#[test]
fn passphrase_and_key_file_open_their_slots() {
    let keyring = keyring();
    let right = passphrase("correct horse");
    let wrong = passphrase("correct horsf");
    let file = KeyFile::generate().unwrap();
    let other = KeyFile::generate().unwrap();

    let slot = quick(&keyring, Unlock::Passphrase(&right), Role::Full);
    let slot = Slot::decode(&slot.encode()).unwrap();
    assert_eq!(slot.info().kind, SlotKind::Passphrase(QUICK));
    assert_eq!(
        (slot.info().role, slot.info().label.as_str()),
        (Role::Full, "laptop")
    );
    assert!(same(
        &slot.open(REPOSITORY, Unlock::Passphrase(&right)).unwrap(),
        &keyring
    ));
    let refused = slot
        .open(REPOSITORY, Unlock::Passphrase(&wrong))
        .unwrap_err();
    assert_eq!(refused, CryptoError::WrongSecret);
    let refused = slot.open(REPOSITORY, Unlock::KeyFile(&file)).unwrap_err();
    assert_eq!(refused, CryptoError::WrongKind("passphrase"));

    let slot = quick(&keyring, Unlock::KeyFile(&file), Role::Full);
    let slot = Slot::decode(&slot.encode()).unwrap();
    assert_eq!(slot.info().kind, SlotKind::KeyFile);
    assert!(same(
        &slot.open(REPOSITORY, Unlock::KeyFile(&file)).unwrap(),
        &keyring
    ));
    let refused = slot.open(REPOSITORY, Unlock::KeyFile(&other)).unwrap_err();
    assert_eq!(refused.class(), Class::WrongKey);
    assert!(
        slot.open(RepositoryId::new([1; 16]), Unlock::KeyFile(&file))
            .is_err()
    );
}

#[test]
fn creation_insists_on_strong_parameters() {
    let secret = passphrase("x");
    let created =
        |new: &NewSlot<'_>| Slot::create(REPOSITORY, &keyring(), Unlock::Passphrase(&secret), new);
    let weak = created(&new_slot(Role::Full, ""));
    assert_eq!(weak.unwrap_err().class(), Class::Invalid);
    let strong = NewSlot {
        kdf: KdfParams::default(),
        ..new_slot(Role::Full, "")
    };
    created(&strong).unwrap();
    assert!(Passphrase::new(Zeroizing::new(Vec::new())).is_err());
    let label = "x".repeat(256);
    let long = NewSlot {
        kdf: KdfParams::default(),
        ..new_slot(Role::Full, &label)
    };
    assert_eq!(created(&long).unwrap_err(), CryptoError::LabelTooLong);
}

#[test]
fn an_ingest_slot_has_only_an_ingest_keyring() {
    let full = keyring();
    let file = KeyFile::generate().unwrap();
    let slot = quick(&full, Unlock::KeyFile(&file), Role::Ingest);
    let opened = slot.open(REPOSITORY, Unlock::KeyFile(&file)).unwrap();
    assert_eq!(opened.role(), Role::Ingest);
    assert!(same(&opened, &full.to_ingest()));
    // Its holder can neither make slots nor judge them.
    let made = Slot::create(
        REPOSITORY,
        &opened,
        Unlock::KeyFile(&file),
        &new_slot(Role::Ingest, ""),
    );
    assert_eq!(made.unwrap_err().class(), Class::Denied);
    assert_eq!(
        slot.verify(REPOSITORY, &opened).unwrap_err().class(),
        Class::Denied
    );
    slot.verify(REPOSITORY, &full).unwrap();
}

#[test]
fn damage_is_told_from_a_wrong_passphrase() {
    let file = KeyFile::generate().unwrap();
    let bytes = quick(&keyring(), Unlock::KeyFile(&file), Role::Full).encode();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Slot::decode(&bytes).unwrap_err();
        assert!(
            matches!(error.class(), Class::Corrupt | Class::Unsupported),
            "bit {bit}: {error}"
        );
    }
    for length in 0..bytes.len() {
        assert!(Slot::decode(&bytes[..length]).is_err());
    }
    assert!(Slot::decode(&vec![0; MAX_SLOT_BYTES + 1]).is_err());
}

#[test]
fn no_bit_can_be_changed_with_a_right_checksum_either() {
    let keyring = keyring();
    let file = KeyFile::generate().unwrap();
    let slot = quick(&keyring, Unlock::KeyFile(&file), Role::Full);
    let bytes = slot.encode();
    for bit in 0..(bytes.len() - 32) * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let opened = Slot::decode(&forged(bytes))
            .and_then(|slot| slot.open(REPOSITORY, Unlock::KeyFile(&file)));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn absurd_stretching_is_refused_before_it_is_done() {
    let secret = passphrase("x");
    let bytes = quick(&keyring(), Unlock::Passphrase(&secret), Role::Full).encode();
    for place in [12, 16, 20] {
        let mut bytes = bytes.clone();
        bytes[place..place + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let refused = Slot::decode(&forged(bytes)).unwrap_err();
        assert!(matches!(refused, CryptoError::KdfBounds { .. }));
    }
}

#[test]
fn rotation_reaches_slots_whose_passphrase_nobody_typed() {
    let old = keyring();
    let (mine, theirs) = (KeyFile::generate().unwrap(), passphrase("theirs"));
    let slots = [
        quick(&old, Unlock::KeyFile(&mine), Role::Full),
        quick(&old, Unlock::Passphrase(&theirs), Role::Ingest),
    ];
    let mut new = old.clone();
    new.rotate().unwrap();
    let [first, second] = slots.each_ref().map(|slot| {
        let slot = slot.rewrap(REPOSITORY, &old, &new).unwrap();
        Slot::decode(&slot.encode()).unwrap()
    });
    assert_eq!(first.info().id, slots[0].info().id);
    assert_ne!(first.name(), slots[0].name());
    assert_eq!(first.info().label, slots[0].info().label);
    assert!(same(
        &first.open(REPOSITORY, Unlock::KeyFile(&mine)).unwrap(),
        &new
    ));
    let opened = second
        .open(REPOSITORY, Unlock::Passphrase(&theirs))
        .unwrap();
    assert!(same(&opened, &new.to_ingest()));
    // The slots of before do not take part in the next rotation, even if a store brings them back.
    assert!(slots[0].rewrap(REPOSITORY, &new, &new).is_err());
    first.rewrap(REPOSITORY, &new, &new).unwrap();
}

#[test]
fn a_store_cannot_slip_in_a_slot_or_a_keyring() {
    let good = keyring();
    let file = KeyFile::generate().unwrap();
    let slot = quick(&good, Unlock::KeyFile(&file), Role::Ingest);
    // A slot made with other keys is not handed ours.
    let evil = keyring();
    let intruder = quick(
        &evil,
        Unlock::KeyFile(&KeyFile::generate().unwrap()),
        Role::Full,
    );
    assert!(intruder.rewrap(REPOSITORY, &good, &good).is_err());
    // Nor is one of ours whose role or public key was changed.
    let mut bytes = slot.encode();
    bytes[9] = Role::Full as u8;
    let raised = Slot::decode(&forged(bytes)).unwrap();
    assert!(raised.rewrap(REPOSITORY, &good, &good).is_err());
    let mut bytes = slot.encode();
    bytes[84..116].copy_from_slice(&intruder.encode()[84..116]);
    let replaced = Slot::decode(&forged(bytes)).unwrap();
    assert!(replaced.rewrap(REPOSITORY, &good, &good).is_err());
    // A keyring sealed to the slot's public key with a guessed voucher does not open.
    let mut planted = slot.clone();
    planted
        .fill(
            REPOSITORY,
            &evil,
            &super::secret("guess"),
            &super::secret("ephemeral"),
        )
        .unwrap();
    let refused = planted
        .open(REPOSITORY, Unlock::KeyFile(&file))
        .unwrap_err();
    assert_eq!(refused.class(), Class::Corrupt);
}
