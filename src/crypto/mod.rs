//! Keys, identifiers and sealing: everything that decides who can read, name or forge stored bytes.
//!
//! One primitive seals every stored object ([`seal`]): a header with a random salt, from which, together with a
//! secret, the object's own key is derived, and then frames whose nonce is their number. So no key is used for two
//! objects, no nonce is random or remembered, and no frame can stand for another one. `docs/crypto.md` has the
//! whole scheme, its reasons and its limits.
//!
//! | file | holds |
//! |---|---|
//! | `secret` | [`Secret32`]: key bytes that vanish when dropped and never print |
//! | `keys` | what the symmetric keys of a repository do: name chunks, cut, seal rows of the catalog |
//! | `epoch` | X25519 epochs, and the session secret that a writer seals to one |
//! | `keyring` | all keys of one holder, and what is left of them for a holder that only ingests |
//! | `kdf` `key_file` [`slot`] | a keyring wrapped by a passphrase or a key file |
//! | [`seal`] | stored objects |
//!
//! Invariants: randomness comes from the operating system and from nowhere else; nothing that holds a key
//! implements `Display` or serialises itself except the keyring, into a buffer that is wiped.

mod aead;
mod derive;
mod epoch;
mod error;
mod kdf;
mod key_file;
mod keyring;
mod keys;
pub mod seal;
mod secret;
pub mod slot;
mod wrap;

pub use epoch::{EpochPublic, EpochSecret, SealedSession, SessionSecret};
pub use error::CryptoError;
pub use kdf::KdfParams;
pub use key_file::KeyFile;
pub use keyring::{Epoch, Keyring, Role};
pub use keys::{CatalogKey, ChunkerKey, IdKey, IndexKey, SlotsKey};
pub use secret::Secret32;

#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

/// Random bytes from the operating system, the only source of randomness there is.
fn random<const N: usize>() -> Result<[u8; N], CryptoError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| CryptoError::NoRandomness)?;
    Ok(bytes)
}

/// A random identifier for a new repository.
pub fn new_repository_id() -> Result<crate::id::RepositoryId, CryptoError> {
    Ok(crate::id::RepositoryId::new(random()?))
}

/// A random name for a session.
pub fn new_session_id() -> Result<crate::id::SessionId, CryptoError> {
    Ok(crate::id::SessionId::new(random()?))
}

/// A random name for a plan.
pub fn new_plan_id() -> Result<crate::id::PlanId, CryptoError> {
    Ok(crate::id::PlanId::new(random()?))
}

/// A growing buffer of secret bytes must never be moved by its allocator: reserve everything first.
fn secret_buffer(capacity: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(Vec::with_capacity(capacity))
}
