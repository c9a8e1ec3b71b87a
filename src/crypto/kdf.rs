//! Argon2id with bounds in both directions: what is created is never weak, what is read never exhausts the machine.
//!
//! The parameters of a slot come from the store, which may be hostile, and are acted on before anything could be
//! authenticated: they are checked before a single byte is allocated.

use super::{CryptoError, Secret32};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize;

/// Cost of stretching a passphrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfParams {
    /// Memory in KiB.
    pub m_kib: u32,
    /// Passes over the memory.
    pub t: u32,
    /// Lanes, computed in parallel.
    pub p: u32,
}

impl KdfParams {
    /// RFC 9106's second recommended option: 64 MiB, 3 passes, 4 lanes. Also the least that a slot is made with.
    pub const MINIMUM: Self = Self {
        m_kib: 64 << 10,
        t: 3,
        p: 4,
    };
    /// The most that a slot may ask for: 2 GiB, 64 passes, 64 lanes.
    pub const MAXIMUM: Self = Self {
        m_kib: 2 << 20,
        t: 64,
        p: 64,
    };

    /// Refuses what is too weak to create a slot with, or too costly to open one.
    pub fn check_new(self) -> Result<(), CryptoError> {
        let least = Self::MINIMUM;
        if self.m_kib < least.m_kib || self.t < least.t || self.p < least.p {
            return Err(self.refused("too weak (at least 65536 KiB, 3 and 4)"));
        }
        self.check_read()
    }

    /// Refuses what is outside of what a slot may ask for. Weaker slots than we make are opened all the same.
    pub fn check_read(self) -> Result<(), CryptoError> {
        let most = Self::MAXIMUM;
        if self.m_kib > most.m_kib || self.t > most.t || self.p > most.p {
            return Err(self.refused("too costly (at most 2097152 KiB, 64 and 64)"));
        }
        if self.t == 0 || self.p == 0 || self.m_kib < 8 * self.p {
            return Err(self.refused("not possible (at least 8 KiB per lane, 1 and 1)"));
        }
        Ok(())
    }

    fn refused(self, verdict: &'static str) -> CryptoError {
        CryptoError::KdfBounds {
            m_kib: self.m_kib,
            t: self.t,
            p: self.p,
            verdict,
        }
    }

    /// The stretched passphrase.
    pub(super) fn stretch(
        self,
        passphrase: &[u8],
        salt: &[u8; 32],
    ) -> Result<Secret32, CryptoError> {
        self.check_read()?;
        let impossible = |_| self.refused("not possible");
        let params = Params::new(self.m_kib, self.t, self.p, Some(32)).map_err(impossible)?;
        let mut memory = Vec::new();
        // Asking first turns "out of memory" into an error instead of an abort.
        let blocks = params.block_count();
        let no_memory = CryptoError::NoMemory { m_kib: self.m_kib };
        memory.try_reserve_exact(blocks).map_err(|_| no_memory)?;
        memory.resize(blocks, Block::default());
        let mut out = [0; 32];
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, salt, &mut out, &mut memory);
        // The last blocks determine the result.
        memory.iter_mut().for_each(Zeroize::zeroize);
        done.map_err(impossible)?;
        Ok(Secret32::take_from(&mut out))
    }
}

impl Default for KdfParams {
    fn default() -> Self {
        Self::MINIMUM
    }
}
