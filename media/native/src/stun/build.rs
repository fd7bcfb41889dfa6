//! Writing STUN messages.

use std::net::SocketAddr;

use super::attributes as kind;
use super::crc32::crc32;
use super::{
    Class, FINGERPRINT_XOR, HEADER_LEN, INTEGRITY_LEN, IceRole, IntegrityKey, MAGIC_COOKIE,
    METHOD_BINDING, TransactionId,
};

/// What a Binding request of a connectivity check carries (RFC 8445, 7.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BindingRequest<'a> {
    /// The transaction, unpredictable.
    pub transaction_id: TransactionId,
    /// The receiver's ufrag, a colon, the sender's; at most 508 bytes.
    pub username: &'a str,
    /// PRIORITY that a peer-reflexive candidate would have.
    pub priority: u32,
    /// Nominates the pair. Only the controlling agent does.
    pub use_candidate: bool,
    /// The sender's role and tie-breaker.
    pub role: IceRole,
}

/// Writes a Binding request with MESSAGE-INTEGRITY and FINGERPRINT; replaces the content of `out`.
/// The key is made of the receiver's password.
pub fn write_binding_request(out: &mut Vec<u8>, request: &BindingRequest<'_>, key: &IntegrityKey) {
    begin(out, Class::Request, request.transaction_id);
    push(out, kind::USERNAME, request.username.as_bytes());
    push(out, kind::PRIORITY, &request.priority.to_be_bytes());
    if request.use_candidate {
        push(out, kind::USE_CANDIDATE, &[]);
    }
    match request.role {
        IceRole::Controlling(tie) => push(out, kind::ICE_CONTROLLING, &tie.to_be_bytes()),
        IceRole::Controlled(tie) => push(out, kind::ICE_CONTROLLED, &tie.to_be_bytes()),
    }
    finish(out, Some(key));
}

/// Writes a Binding success response with MESSAGE-INTEGRITY and FINGERPRINT; replaces the content
/// of `out`. The key is the one that verified the request.
pub fn write_binding_success(
    out: &mut Vec<u8>,
    transaction_id: TransactionId,
    mapped: SocketAddr,
    key: &IntegrityKey,
) {
    begin(out, Class::Success, transaction_id);
    let (value, len) = kind::encode_address(mapped, transaction_id);
    push(out, kind::XOR_MAPPED_ADDRESS, &value[..len]);
    finish(out, Some(key));
}

/// Writes a Binding error response with FINGERPRINT; replaces the content of `out`. `code` is 300
/// to 699, `unknown_attributes` go with 420. Without a key it bears no MESSAGE-INTEGRITY, which is
/// right for 400 and 401 (RFC 8489, 9.1.3).
pub fn write_binding_error(
    out: &mut Vec<u8>,
    transaction_id: TransactionId,
    code: u16,
    unknown_attributes: &[u16],
    key: Option<&IntegrityKey>,
) {
    debug_assert!((300..700).contains(&code));
    begin(out, Class::Error, transaction_id);
    let reason = reason(code);
    let mut value = [0; 4 + 32];
    value[2] = (code / 100) as u8;
    value[3] = (code % 100) as u8;
    value[4..4 + reason.len()].copy_from_slice(reason.as_bytes());
    push(out, kind::ERROR_CODE, &value[..4 + reason.len()]);
    if !unknown_attributes.is_empty() {
        let list: Vec<u8> = unknown_attributes
            .iter()
            .flat_map(|kind| kind.to_be_bytes())
            .collect();
        push(out, kind::UNKNOWN_ATTRIBUTES, &list);
    }
    finish(out, key);
}

/// Reason phrases of RFC 8489, 14.8 and RFC 8445, 7.3.1.1; each below 32 bytes.
fn reason(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthenticated",
        420 => "Unknown Attribute",
        487 => "Role Conflict",
        500 => "Server Error",
        _ => "",
    }
}

fn begin(out: &mut Vec<u8>, class: Class, transaction_id: TransactionId) {
    let class_bits: u16 = match class {
        Class::Request => 0x0000,
        Class::Indication => 0x0010,
        Class::Success => 0x0100,
        Class::Error => 0x0110,
    };
    out.clear();
    out.extend((METHOD_BINDING | class_bits).to_be_bytes());
    out.extend([0, 0]);
    out.extend(MAGIC_COOKIE);
    out.extend(transaction_id.0);
}

fn push(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn finish(out: &mut Vec<u8>, key: Option<&IntegrityKey>) {
    if let Some(key) = key {
        let tag = key.sign(out);
        push(out, kind::MESSAGE_INTEGRITY, &tag.as_ref()[..INTEGRITY_LEN]);
    }
    let len = out.len() - HEADER_LEN + 8;
    out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    let fingerprint = crc32(out) ^ FINGERPRINT_XOR;
    push(out, kind::FINGERPRINT, &fingerprint.to_be_bytes());
}
