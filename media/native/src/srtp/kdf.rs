//! Key derivation (RFC 3711, 4.3; RFC 7714, 11), with a key derivation rate of zero.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::SrtpError;

/// What a derived key is for (RFC 3711, 4.3.1 and 4.3.2).
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// An AES key in counter mode with its schedule.
pub(super) fn counter_mode_key(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let algorithm = match key.len() {
        16 => &AES_128,
        32 => &AES_256,
        _ => return Err(SrtpError::BadKeyLength),
    };
    UnboundCipherKey::new(algorithm, key)
        .and_then(EncryptingKey::ctr)
        .map_err(|_| SrtpError::BadKeyLength)
}

/// Applies the AES-CM key stream that starts at `iv`.
pub(super) fn apply_key_stream(
    key: &EncryptingKey,
    iv: [u8; 16],
    in_out: &mut [u8],
) -> Result<(), SrtpError> {
    key.less_safe_encrypt(in_out, EncryptionContext::Iv128(FixedLength::from(iv)))
        .map(|_| ())
        .map_err(|_| SrtpError::AuthenticationFailed)
}

/// The pseudo-random function of SRTP over one master key and salt.
pub(super) struct KeyDerivation {
    prf: EncryptingKey,
    salt: [u8; 14],
}

impl KeyDerivation {
    /// A salt of 12 bytes (AEAD) is padded with zeros on the right.
    pub(super) fn new(master_key: &[u8], master_salt: &[u8]) -> Result<Self, SrtpError> {
        let mut salt = [0; 14];
        salt.get_mut(..master_salt.len())
            .ok_or(SrtpError::BadKeyLength)?
            .copy_from_slice(master_salt);
        Ok(Self {
            prf: counter_mode_key(master_key)?,
            salt,
        })
    }

    /// Fills `out` with the key of a label.
    pub(super) fn derive(&self, label: Label, out: &mut [u8]) -> Result<(), SrtpError> {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[7] ^= label as u8;
        out.fill(0);
        apply_key_stream(&self.prf, iv, out)
    }
}
