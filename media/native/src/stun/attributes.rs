//! Attribute types and the XORed address (RFC 8489, 14; RFC 8445, 16.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{MAGIC_COOKIE, TransactionId};

pub(super) const MAPPED_ADDRESS: u16 = 0x0001;
pub(super) const USERNAME: u16 = 0x0006;
pub(super) const MESSAGE_INTEGRITY: u16 = 0x0008;
pub(super) const ERROR_CODE: u16 = 0x0009;
pub(super) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
pub(super) const REALM: u16 = 0x0014;
pub(super) const NONCE: u16 = 0x0015;
pub(super) const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
pub(super) const PASSWORD_ALGORITHM: u16 = 0x001d;
pub(super) const USERHASH: u16 = 0x001e;
pub(super) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
pub(super) const PRIORITY: u16 = 0x0024;
pub(super) const USE_CANDIDATE: u16 = 0x0025;
pub(super) const FINGERPRINT: u16 = 0x8028;
pub(super) const ICE_CONTROLLED: u16 = 0x8029;
pub(super) const ICE_CONTROLLING: u16 = 0x802a;

/// Whether an attribute is understood, if only to be ignored: those of long-term credentials, which
/// ICE does not use, and the legacy address.
pub(super) fn is_ignored(kind: u16) -> bool {
    matches!(
        kind,
        MAPPED_ADDRESS
            | REALM
            | NONCE
            | MESSAGE_INTEGRITY_SHA256
            | PASSWORD_ALGORITHM
            | USERHASH
            | UNKNOWN_ATTRIBUTES
    )
}

const FAMILY_V4: u8 = 1;
const FAMILY_V6: u8 = 2;

/// What the port and the address are XORed with (RFC 8489, 14.2).
fn mask(transaction_id: TransactionId) -> [u8; 16] {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC_COOKIE);
    mask[4..].copy_from_slice(&transaction_id.0);
    mask
}

fn xor<const N: usize>(value: [u8; N], mask: [u8; 16]) -> [u8; N] {
    std::array::from_fn(|at| value[at] ^ mask[at])
}

pub(super) fn decode_address(value: &[u8], transaction_id: TransactionId) -> Option<SocketAddr> {
    let ([_, family, port @ ..], address) = value.split_first_chunk::<4>()?;
    let mask = mask(transaction_id);
    let port = u16::from_be_bytes(xor(*port, mask));
    let ip = match *family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::from(xor(address.try_into().ok()?, mask))),
        FAMILY_V6 => IpAddr::V6(Ipv6Addr::from(xor(address.try_into().ok()?, mask))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// The value of the attribute in a buffer, and its length.
pub(super) fn encode_address(
    address: SocketAddr,
    transaction_id: TransactionId,
) -> ([u8; 20], usize) {
    let mask = mask(transaction_id);
    let mut value = [0; 20];
    value[2..4].copy_from_slice(&xor(address.port().to_be_bytes(), mask));
    let len = match address.ip() {
        IpAddr::V4(ip) => {
            value[1] = FAMILY_V4;
            value[4..8].copy_from_slice(&xor(ip.octets(), mask));
            8
        }
        IpAddr::V6(ip) => {
            value[1] = FAMILY_V6;
            value[4..].copy_from_slice(&xor(ip.octets(), mask));
            20
        }
    };
    (value, len)
}
