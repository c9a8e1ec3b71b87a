//! Every derivation of one key from another, and the only list of context strings.
//!
//! All use BLAKE3's `derive_key` mode, in which the context string alone separates one purpose from the next:
//! two lines of this file must never share a context, and a context must never change its inputs.

use super::Secret32;
use zeroize::Zeroize;

/// The purpose that a key is derived for. The text is part of the repository format.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context(&'static str);

pub(super) const OBJECT_KEY: Context = Context("repo 2026 object key v1");
pub(super) const DIRECTORY_KEY: Context = Context("repo 2026 directory key v1");
pub(super) const OBJECT_COMMITMENT: Context = Context("repo 2026 key commitment v1");
pub(super) const SESSION_WRAP: Context = Context("repo 2026 session wrap v1");
pub(super) const SLOT_PASSPHRASE: Context = Context("repo 2026 slot passphrase v1");
pub(super) const SLOT_KEY_FILE: Context = Context("repo 2026 slot key file v1");
pub(super) const SLOT_WRAP: Context = Context("repo 2026 slot wrap v1");
pub(super) const SLOT_COMMITMENT: Context = Context("repo 2026 slot commitment v1");
pub(super) const SLOT_PRIVATE: Context = Context("repo 2026 slot private key v1");
pub(super) const SLOT_VOUCHER: Context = Context("repo 2026 slot voucher v1");
pub(super) const SLOT_VOUCHED: Context = Context("repo 2026 slot vouched v1");
pub(super) const GEAR_TABLE: Context = Context("repo 2026 gear table v1");
pub(super) const CATALOG_FULL: Context = Context("repo 2026 full catalog v1");
pub(super) const CATALOG_INGEST: Context = Context("repo 2026 ingest catalog v1");
pub(super) const CATALOG_ROWS: Context = Context("repo 2026 catalog rows v1");
pub(super) const CATALOG_NAMES: Context = Context("repo 2026 catalog names v1");

/// The key for `context` from `secret` and public `parts`. The parts of one context always have the same
/// lengths (a variable one may only come last), so their concatenation is unambiguous.
pub(super) fn key(context: Context, secret: &[u8; 32], parts: &[&[u8]]) -> Secret32 {
    Secret32::take_from(&mut digest(context, secret, parts))
}

/// The same as [`key`] where the result is not secret: commitments and tags.
pub(super) fn digest(context: Context, secret: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = hasher(context, secret, parts);
    let hash = *hasher.finalize().as_bytes();
    hasher.zeroize();
    hash
}

/// As many bytes as `out` has.
pub(super) fn expand(context: Context, secret: &[u8; 32], out: &mut [u8]) {
    let mut hasher = hasher(context, secret, &[]);
    hasher.finalize_xof().fill(out);
    hasher.zeroize();
}

fn hasher(context: Context, secret: &[u8; 32], parts: &[&[u8]]) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new_derive_key(context.0);
    hasher.update(secret);
    for part in parts {
        hasher.update(part);
    }
    hasher
}

/// Compares two public digests in constant time.
pub(super) fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    blake3::Hash::from_bytes(*one) == blake3::Hash::from_bytes(*other)
}
