//! Reading a STUN message.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::attributes as kind;
use super::crc32::crc32;
use super::{
    Class, FINGERPRINT_XOR, HEADER_LEN, INTEGRITY_LEN, IceRole, IntegrityKey, MAGIC_COOKIE,
    StunError, TransactionId,
};

/// Longest message that is read; connectivity checks are below 200 bytes.
pub const MESSAGE_LEN_MAX: usize = 1_280;

/// Attributes that are read of one message; more make it malformed.
pub const ATTRIBUTES_MAX: usize = 32;

/// Unknown attributes that are kept, to be named in a 420 response.
pub const UNKNOWN_ATTRIBUTES_MAX: usize = 8;

/// Longest USERNAME (RFC 8489, 14.3).
const USERNAME_LEN_MAX: usize = 508;

/// A parsed STUN message that borrows its datagram. Nothing is verified but FINGERPRINT.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    data: &'a [u8],
    class: Class,
    method: u16,
    transaction_id: TransactionId,
    username: Option<&'a str>,
    priority: Option<u32>,
    use_candidate: bool,
    role: Option<IceRole>,
    xor_mapped_address: Option<SocketAddr>,
    error_code: Option<u16>,
    unknown: [u16; UNKNOWN_ATTRIBUTES_MAX],
    unknown_len: usize,
    integrity_at: Option<usize>,
    has_fingerprint: bool,
}

impl<'a> Message<'a> {
    /// Parses one datagram. Of a repeated attribute the first counts; FINGERPRINT is checked when
    /// it is there and must be last (RFC 8489, 5, 6.3 and 14).
    pub fn parse(data: &'a [u8]) -> Result<Self, StunError> {
        let header: &[u8; HEADER_LEN] = data.first_chunk().ok_or(StunError::Malformed)?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let well_formed = kind & 0xc000 == 0
            && header[4..8] == MAGIC_COOKIE
            && len.is_multiple_of(4)
            && data.len() == HEADER_LEN + len
            && data.len() <= MESSAGE_LEN_MAX;
        if !well_formed {
            return Err(StunError::Malformed);
        }
        let mut transaction_id = TransactionId([0; 12]);
        transaction_id.0.copy_from_slice(&header[8..]);
        let mut message = Self {
            data,
            class: class(kind),
            method: kind & 0x000f | kind >> 1 & 0x0070 | kind >> 2 & 0x0f80,
            transaction_id,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            xor_mapped_address: None,
            error_code: None,
            unknown: [0; UNKNOWN_ATTRIBUTES_MAX],
            unknown_len: 0,
            integrity_at: None,
            has_fingerprint: false,
        };
        message.read_attributes()?;
        Ok(message)
    }

    fn read_attributes(&mut self) -> Result<(), StunError> {
        let mut at = HEADER_LEN;
        for _ in 0..ATTRIBUTES_MAX {
            if at == self.data.len() {
                return Ok(());
            }
            let [k0, k1, l0, l1] = *self.data[at..]
                .first_chunk::<4>()
                .ok_or(StunError::Malformed)?;
            let len = usize::from(u16::from_be_bytes([l0, l1]));
            let value = self
                .data
                .get(at + 4..at + 4 + len)
                .ok_or(StunError::Malformed)?;
            self.read_attribute(u16::from_be_bytes([k0, k1]), value, at)?;
            at += 4 + len.next_multiple_of(4);
            if at > self.data.len() || self.has_fingerprint && at != self.data.len() {
                return Err(StunError::Malformed);
            }
        }
        if at == self.data.len() {
            Ok(())
        } else {
            Err(StunError::Malformed)
        }
    }

    fn read_attribute(&mut self, kind: u16, value: &'a [u8], at: usize) -> Result<(), StunError> {
        if kind == kind::FINGERPRINT {
            let expected = crc32(&self.data[..at]) ^ FINGERPRINT_XOR;
            if u32::from_be_bytes(fixed(value)?) != expected {
                return Err(StunError::BadFingerprint);
            }
            self.has_fingerprint = true;
            return Ok(());
        }
        if self.integrity_at.is_some() {
            return Ok(());
        }
        match kind {
            kind::MESSAGE_INTEGRITY => {
                fixed::<INTEGRITY_LEN>(value)?;
                self.integrity_at = Some(at);
            }
            kind::USERNAME => {
                let name = std::str::from_utf8(value).map_err(|_| StunError::Malformed)?;
                if name.len() > USERNAME_LEN_MAX {
                    return Err(StunError::Malformed);
                }
                self.username.get_or_insert(name);
            }
            kind::PRIORITY => {
                self.priority
                    .get_or_insert(u32::from_be_bytes(fixed(value)?));
            }
            kind::USE_CANDIDATE => {
                fixed::<0>(value)?;
                self.use_candidate = true;
            }
            kind::ICE_CONTROLLING => {
                let tie_breaker = u64::from_be_bytes(fixed(value)?);
                self.role.get_or_insert(IceRole::Controlling(tie_breaker));
            }
            kind::ICE_CONTROLLED => {
                let tie_breaker = u64::from_be_bytes(fixed(value)?);
                self.role.get_or_insert(IceRole::Controlled(tie_breaker));
            }
            kind::XOR_MAPPED_ADDRESS => {
                let address =
                    kind::decode_address(value, self.transaction_id).ok_or(StunError::Malformed)?;
                self.xor_mapped_address.get_or_insert(address);
            }
            kind::ERROR_CODE => {
                let [_, _, hundreds, rest] = *value.first_chunk().ok_or(StunError::Malformed)?;
                let code = u16::from(hundreds & 7) * 100 + u16::from(rest);
                self.error_code.get_or_insert(code);
            }
            kind if kind < 0x8000 && !kind::is_ignored(kind) => {
                if let Some(slot) = self.unknown.get_mut(self.unknown_len) {
                    *slot = kind;
                    self.unknown_len += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The message's class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The method; ICE knows only `METHOD_BINDING`.
    pub fn method(&self) -> u16 {
        self.method
    }

    /// The transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        self.transaction_id
    }

    /// USERNAME: the receiver's ufrag, a colon, the sender's (RFC 8445, 7.2.2).
    pub fn username(&self) -> Option<&'a str> {
        self.username
    }

    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// Whether USE-CANDIDATE is there.
    pub fn use_candidate(&self) -> bool {
        self.use_candidate
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&self) -> Option<IceRole> {
        self.role
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        self.xor_mapped_address
    }

    /// ERROR-CODE, 300–699 in valid messages.
    pub fn error_code(&self) -> Option<u16> {
        self.error_code
    }

    /// Comprehension-required attributes that we do not know, the first
    /// `UNKNOWN_ATTRIBUTES_MAX` of them. A request with any is answered with 420.
    pub fn unknown_attributes(&self) -> &[u16] {
        &self.unknown[..self.unknown_len]
    }

    /// Whether FINGERPRINT is there (and right).
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Verifies MESSAGE-INTEGRITY, in time that does not depend on where it differs.
    pub fn verify_integrity(&self, key: &IntegrityKey) -> Result<(), StunError> {
        let at = self.integrity_at.ok_or(StunError::MissingIntegrity)?;
        let claimed = &self.data[at + 4..at + 4 + INTEGRITY_LEN];
        verify_slices_are_equal(key.sign(&self.data[..at]).as_ref(), claimed)
            .map_err(|_| StunError::BadIntegrity)
    }
}

fn class(kind: u16) -> Class {
    match kind & 0x0110 {
        0x0000 => Class::Request,
        0x0010 => Class::Indication,
        0x0100 => Class::Success,
        _ => Class::Error,
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Result<[u8; N], StunError> {
    value.try_into().map_err(|_| StunError::Malformed)
}
