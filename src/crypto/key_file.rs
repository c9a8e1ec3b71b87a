//! Key files: 256 random bits as one line of text, which need no stretching and so open a repository at once.
//!
//! Only files that we generated are accepted. A file of somebody's choosing (a picture, a short note) may have far
//! less entropy than its length suggests, and without stretching it could be guessed.

use super::{CryptoError, Secret32, secret_buffer};
use zeroize::{Zeroize, Zeroizing};

/// The secret in a key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile(Secret32);

const PREFIX: &[u8; 11] = b"repo-key-1 ";
/// Length of the file's line, with its end.
const TEXT_LEN: usize = PREFIX.len() + 64 + 1;

impl KeyFile {
    /// No key file is longer; readers need not read more of a file than this, plus one.
    pub const MAX_BYTES: usize = 256;

    /// A fresh secret.
    pub fn generate() -> Result<Self, CryptoError> {
        Secret32::generate().map(Self)
    }

    /// The text to write: `repo-key-1 `, 64 hexadecimal digits, end of line.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        let digit = |nibble: u8| {
            if nibble < 10 {
                b'0' + nibble
            } else {
                b'a' + nibble - 10
            }
        };
        let mut text = secret_buffer(TEXT_LEN);
        text.extend_from_slice(PREFIX);
        for byte in self.0.expose() {
            text.extend([digit(byte >> 4), digit(byte & 15)]);
        }
        text.push(b'\n');
        text
    }

    /// The secret in the text of a key file; white space around it does not matter.
    pub fn decode(text: &[u8]) -> Result<Self, CryptoError> {
        let digits = text
            .trim_ascii()
            .strip_prefix(PREFIX)
            .ok_or(CryptoError::NotAKeyFile)?;
        if digits.len() != 64 {
            return Err(CryptoError::NotAKeyFile);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
            let [high, low] = pair.map(|c| char::from(c).to_digit(16));
            let value = high
                .zip(low)
                .and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
            let Some(value) = value else {
                bytes.zeroize();
                return Err(CryptoError::NotAKeyFile);
            };
            *byte = value;
        }
        Ok(Self(Secret32::take_from(&mut bytes)))
    }

    pub(super) fn secret(&self) -> &Secret32 {
        &self.0
    }
}
