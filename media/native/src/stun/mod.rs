//! STUN messages of ICE (RFC 8489, RFC 8445): parse, verify, build. Binding only.
//!
//! `Message::parse` reads one datagram within fixed bounds and allocates nothing. Whoever acts on
//! a message calls `verify_integrity` first; attributes behind MESSAGE-INTEGRITY are not read.

mod attributes;
mod build;
mod crc32;
mod message;

#[cfg(test)]
mod tests;

pub use build::{
    BindingRequest, write_binding_error, write_binding_request, write_binding_success,
};
pub use message::{ATTRIBUTES_MAX, MESSAGE_LEN_MAX, Message, UNKNOWN_ATTRIBUTES_MAX};

use aws_lc_rs::hmac;

/// The method of all messages that ICE uses.
pub const METHOD_BINDING: u16 = 1;

const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEADER_LEN: usize = 20;
const INTEGRITY_LEN: usize = 20;
const FINGERPRINT_XOR: u32 = 0x5354_554e;

/// Key of MESSAGE-INTEGRITY, made once of an ICE password (RFC 8489, 9.1.1).
#[derive(Clone)]
pub struct IntegrityKey(hmac::Key);

impl IntegrityKey {
    /// Schedules the key of a short-term credential. ICE passwords are ASCII, so that
    /// OpaqueString leaves them as they are.
    pub fn new(password: &str) -> Self {
        Self(hmac::Key::new(
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            password.as_bytes(),
        ))
    }

    /// HMAC of a message up to MESSAGE-INTEGRITY, with the length field as if it ended behind it.
    fn sign(&self, message: &[u8]) -> hmac::Tag {
        let len = message.len() - HEADER_LEN + 4 + INTEGRITY_LEN;
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&message[..2]);
        context.update(&(len as u16).to_be_bytes());
        context.update(&message[4..]);
        context.sign()
    }
}

impl std::fmt::Debug for IntegrityKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IntegrityKey(redacted)")
    }
}

/// Names a STUN transaction (96 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Class of a STUN message (RFC 8489, 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A request, to be answered.
    Request,
    /// An indication, never answered.
    Indication,
    /// A success response.
    Success,
    /// An error response.
    Error,
}

/// Role that an agent claims, with its tie-breaker (RFC 8445, 7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
}

/// Why a datagram is not an acceptable STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Too short or long, wrong cookie, or lengths that do not add up.
    Malformed,
    /// FINGERPRINT is there and wrong.
    BadFingerprint,
    /// MESSAGE-INTEGRITY is missing.
    MissingIntegrity,
    /// MESSAGE-INTEGRITY does not match the key.
    BadIntegrity,
}

impl std::fmt::Display for StunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StunError::Malformed => "malformed STUN message",
            StunError::BadFingerprint => "wrong FINGERPRINT",
            StunError::MissingIntegrity => "no MESSAGE-INTEGRITY",
            StunError::BadIntegrity => "wrong MESSAGE-INTEGRITY",
        })
    }
}

impl std::error::Error for StunError {}
