//! STUN messages for ICE (RFC 8489, RFC 8445): parse, verify, build. Binding only.
use std::net::SocketAddr;

/// Key of MESSAGE-INTEGRITY, made once from an ICE password (RFC 8489, 9.1.1).
pub struct IntegrityKey(());
impl IntegrityKey {
    /// Schedules the key of a short-term credential.
    pub fn new(_password: &str) -> Self {
        todo!()
    }
}
/// Identifies a STUN transaction (96 bits).
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
/// Role that a peer claims, with its tie-breaker (RFC 8445, 7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IceRole {
    /// ICE-CONTROLLING.
    Controlling(u64),
    /// ICE-CONTROLLED.
    Controlled(u64),
}
/// Why bytes are not an acceptable STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StunError {
    /// Too short, wrong cookie, or lengths that do not add up.
    Malformed,
    /// FINGERPRINT is there and wrong.
    BadFingerprint,
    /// MESSAGE-INTEGRITY is missing.
    MissingIntegrity,
    /// MESSAGE-INTEGRITY does not match the key.
    BadIntegrity,
}
/// A parsed STUN message that borrows its datagram.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    data: &'a [u8],
}
impl<'a> Message<'a> {
    /// Parses one datagram; checks FINGERPRINT when it is there.
    pub fn parse(_data: &'a [u8]) -> Result<Self, StunError> {
        todo!()
    }
    /// The message's class.
    pub fn class(&self) -> Class {
        todo!()
    }
    /// The method; 1 is Binding.
    pub fn method(&self) -> u16 {
        todo!()
    }
    /// The transaction id.
    pub fn transaction_id(&self) -> TransactionId {
        todo!()
    }
    /// USERNAME, `local_ufrag:remote_ufrag` as the sender sees the receiver first.
    pub fn username(&self) -> Option<&'a str> {
        todo!()
    }
    /// PRIORITY.
    pub fn priority(&self) -> Option<u32> {
        todo!()
    }
    /// Whether USE-CANDIDATE is there.
    pub fn use_candidate(&self) -> bool {
        todo!()
    }
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&self) -> Option<IceRole> {
        todo!()
    }
    /// XOR-MAPPED-ADDRESS.
    pub fn xor_mapped_address(&self) -> Option<SocketAddr> {
        todo!()
    }
    /// ERROR-CODE.
    pub fn error_code(&self) -> Option<u16> {
        todo!()
    }
    /// Comprehension-required attributes that we do not know (at most 8 are kept).
    pub fn unknown_attributes(&self) -> &[u16] {
        todo!()
    }
    /// Whether FINGERPRINT was there (and right).
    pub fn has_fingerprint(&self) -> bool {
        todo!()
    }
    /// Verifies MESSAGE-INTEGRITY in constant time.
    pub fn verify_integrity(&self, _key: &IntegrityKey) -> Result<(), StunError> {
        let _ = self.data;
        todo!()
    }
}
/// What a Binding request of an ICE connectivity check carries.
#[derive(Clone, Copy, Debug)]
pub struct BindingRequest<'a> {
    /// The transaction.
    pub transaction_id: TransactionId,
    /// `remote_ufrag:local_ufrag`.
    pub username: &'a str,
    /// PRIORITY of a peer-reflexive candidate.
    pub priority: u32,
    /// Nominates the pair.
    pub use_candidate: bool,
    /// Our role and tie-breaker.
    pub role: IceRole,
}
/// Writes a Binding request; replaces the content of `out`.
pub fn write_binding_request(
    _out: &mut Vec<u8>,
    _request: &BindingRequest<'_>,
    _key: &IntegrityKey,
) {
    todo!()
}
/// Writes a Binding success response; replaces the content of `out`.
pub fn write_binding_success(
    _out: &mut Vec<u8>,
    _transaction_id: TransactionId,
    _mapped: SocketAddr,
    _key: &IntegrityKey,
) {
    todo!()
}
/// Writes a Binding error response (400, 401, 420, 487); replaces the content of `out`.
/// Without a key it bears no MESSAGE-INTEGRITY.
pub fn write_binding_error(
    _out: &mut Vec<u8>,
    _transaction_id: TransactionId,
    _code: u16,
    _unknown_attributes: &[u16],
    _key: Option<&IntegrityKey>,
) {
    todo!()
}
