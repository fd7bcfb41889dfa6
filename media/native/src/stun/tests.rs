//! Vectors of RFC 5769, round trips, and forged messages.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::test_support::hex;

const PASSWORD: &str = "VOkJxbRl1RmTxUk/WvJxBt";
const TRANSACTION: TransactionId = TransactionId([
    0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae,
]);

mod rfc_5769 {
    use super::*;

    const REQUEST: &str = "00010058 2112a442 b7e7a701bc34d686fa87dfae
        80220010 5354554e207465737420636c69656e74 00240004 6e0001ff 80290008 932ff9b151263b36
        00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
        80280004 e57a3bcf";
    const RESPONSE_V4: &str = "0101003c 2112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220 00200008 0001a147e112a643
        00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96";
    const RESPONSE_V6: &str = "01010048 2112a442 b7e7a701bc34d686fa87dfae
        8022000b 7465737420766563746f7220 00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
        00080014 a382954e4be67bf11784c97c8292c275bfe3ed41 80280004 c8fb0b4c";
    /// With a long-term credential: the password below the MD5 that makes it a key.
    const LONG_TERM: &str = "00010060 2112a442 78ad3433c6ad72c029da412e
        00060012 e3839ee38388e383aae38383e382afe382b90000
        0015001c 662f2f3439396b39353464364f4c33346f4c394653547679363473 41
        0014000b 6578616d706c652e6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

    #[test]
    fn request() {
        let data = hex(REQUEST);
        let message = Message::parse(&data).unwrap();
        assert_eq!(message.class(), Class::Request);
        assert_eq!(message.method(), METHOD_BINDING);
        assert_eq!(message.transaction_id(), TRANSACTION);
        assert_eq!(message.username(), Some("evtj:h6vY"));
        assert_eq!(message.priority(), Some(0x6e00_01ff));
        assert_eq!(
            message.role(),
            Some(IceRole::Controlled(0x932f_f9b1_5126_3b36))
        );
        assert!(!message.use_candidate());
        assert!(message.has_fingerprint());
        assert!(message.unknown_attributes().is_empty());
        assert_eq!(
            message.verify_integrity(&IntegrityKey::new(PASSWORD)),
            Ok(())
        );
        assert_eq!(
            message.verify_integrity(&IntegrityKey::new("another")),
            Err(StunError::BadIntegrity)
        );
    }

    #[test]
    fn responses() {
        for (text, address) in [
            (RESPONSE_V4, "192.0.2.1:32853"),
            (RESPONSE_V6, "[2001:db8:1234:5678:11:2233:4455:6677]:32853"),
        ] {
            let data = hex(text);
            let message = Message::parse(&data).unwrap();
            assert_eq!(message.class(), Class::Success);
            assert_eq!(message.transaction_id(), TRANSACTION);
            let expected: SocketAddr = address.parse().unwrap();
            assert_eq!(message.xor_mapped_address(), Some(expected));
            assert_eq!(
                message.verify_integrity(&IntegrityKey::new(PASSWORD)),
                Ok(())
            );
        }
    }

    #[test]
    fn long_term_request_is_read_and_its_realm_ignored() {
        let data = hex(LONG_TERM);
        let message = Message::parse(&data).unwrap();
        assert_eq!(message.username(), Some("マトリックス"));
        assert!(message.unknown_attributes().is_empty());
        assert!(!message.has_fingerprint());
        // MD5 of "マトリックス:example.org:TheMatrIX" is the HMAC key; no short-term password is.
        assert_eq!(
            message.verify_integrity(&IntegrityKey::new("TheMatrIX")),
            Err(StunError::BadIntegrity)
        );
    }
}

fn request(username: &str) -> BindingRequest<'_> {
    BindingRequest {
        transaction_id: TRANSACTION,
        username,
        priority: 7,
        use_candidate: true,
        role: IceRole::Controlling(9),
    }
}

/// Appends a raw attribute to a message without FINGERPRINT.
fn with_attribute(message: &[u8], kind: u16, value: &[u8]) -> Vec<u8> {
    let mut data = message.to_vec();
    data.extend(kind.to_be_bytes());
    data.extend((value.len() as u16).to_be_bytes());
    data.extend(value);
    data.resize(data.len().next_multiple_of(4), 0);
    let len = (data.len() - HEADER_LEN) as u16;
    data[2..4].copy_from_slice(&len.to_be_bytes());
    data
}

fn bare_request() -> Vec<u8> {
    hex("00010000 2112a442 b7e7a701bc34d686fa87dfae")
}

#[test]
fn every_error_code_keeps_its_number_and_signature() {
    let key = IntegrityKey::new(PASSWORD);
    for code in [400, 401, 420, 487, 500, 699] {
        for signed in [None, Some(&key)] {
            let mut out = Vec::new();
            write_binding_error(&mut out, TRANSACTION, code, &[0x7777], signed);
            let message = Message::parse(&out).unwrap();
            assert_eq!(message.class(), Class::Error);
            assert_eq!(message.error_code(), Some(code));
            let expected = match signed {
                Some(_) => Ok(()),
                None => Err(StunError::MissingIntegrity),
            };
            assert_eq!(message.verify_integrity(&key), expected);
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let mut out = Vec::new();
    write_binding_request(&mut out, &request("a:b"), &IntegrityKey::new(PASSWORD));
    for len in 0..out.len() {
        assert_eq!(
            Message::parse(&out[..len]).err(),
            Some(StunError::Malformed),
            "{len} bytes"
        );
    }
}

#[test]
fn unknown_required_attributes_are_named_up_to_the_bound() {
    let mut data = bare_request();
    for kind in 0..2 * UNKNOWN_ATTRIBUTES_MAX as u16 {
        data = with_attribute(&data, 0x7000 + kind, b"x");
    }
    let message = Message::parse(&data).unwrap();
    let expected: Vec<u16> = (0x7000..).take(UNKNOWN_ATTRIBUTES_MAX).collect();
    assert_eq!(message.unknown_attributes(), expected);
    let optional = with_attribute(&bare_request(), 0xc057, &[0; 4]);
    assert!(
        Message::parse(&optional)
            .unwrap()
            .unknown_attributes()
            .is_empty()
    );
}

#[test]
fn a_message_of_too_many_attributes_is_refused() {
    let mut data = bare_request();
    for _ in 0..ATTRIBUTES_MAX {
        data = with_attribute(&data, 0x8022, b"");
    }
    assert!(Message::parse(&data).is_ok());
    let surplus = with_attribute(&data, 0x8022, b"");
    assert_eq!(Message::parse(&surplus).err(), Some(StunError::Malformed));
}

#[test]
fn what_follows_the_integrity_is_not_read() {
    let mut signed = bare_request();
    let tag = IntegrityKey::new(PASSWORD).sign(&signed);
    signed = with_attribute(&signed, 0x0008, tag.as_ref());
    let smuggled = with_attribute(&signed, 0x0025, b"");
    let message = Message::parse(&smuggled).unwrap();
    assert!(!message.use_candidate());
    assert_eq!(
        message.verify_integrity(&IntegrityKey::new(PASSWORD)),
        Ok(())
    );
}

#[test]
fn what_follows_the_fingerprint_is_refused() {
    let mut out = Vec::new();
    write_binding_request(&mut out, &request("a:b"), &IntegrityKey::new(PASSWORD));
    // The length is part of the fingerprint: forge it with the longer one.
    let at = out.len() - 8;
    let len = (out.len() + 4 - HEADER_LEN) as u16;
    out[2..4].copy_from_slice(&len.to_be_bytes());
    let forged = crc32::crc32(&out[..at]) ^ FINGERPRINT_XOR;
    out[at + 4..].copy_from_slice(&forged.to_be_bytes());
    out.extend([0, 0x25, 0, 0]);
    assert_eq!(Message::parse(&out).err(), Some(StunError::Malformed));
}

#[test]
fn fixed_size_attributes_of_other_sizes_are_refused() {
    for (kind, value) in [
        (0x0024, &[0; 3][..]),
        (0x0025, &[0; 1]),
        (0x8029, &[0; 7]),
        (0x802a, &[0; 9]),
        (0x0008, &[0; 19]),
        (0x8028, &[0; 3]),
        (0x0020, &[0, 1, 0, 0, 1, 2, 3]),
        (0x0020, &[0, 3, 0, 0, 1, 2, 3, 4]),
        (0x0009, &[0; 3]),
        (0x0006, &[0xff]),
    ] {
        let data = with_attribute(&bare_request(), kind, value);
        assert_eq!(
            Message::parse(&data).err(),
            Some(StunError::Malformed),
            "attribute {kind:#06x}"
        );
    }
}

#[test]
fn a_key_is_not_printed() {
    assert!(!format!("{:?}", IntegrityKey::new(PASSWORD)).contains(PASSWORD));
}

proptest! {
    #[test]
    fn requests_round_trip(
        id: [u8; 12], username in "[a-zA-Z0-9+/]{4,256}:[a-zA-Z0-9+/]{4,251}", priority: u32,
        use_candidate: bool, tie_breaker: u64, controlling: bool,
    ) {
        let role = if controlling {
            IceRole::Controlling(tie_breaker)
        } else {
            IceRole::Controlled(tie_breaker)
        };
        let request = BindingRequest {
            transaction_id: TransactionId(id), username: &username, priority, use_candidate, role,
        };
        let key = IntegrityKey::new(PASSWORD);
        let mut out = vec![1, 2, 3];
        write_binding_request(&mut out, &request, &key);
        let message = Message::parse(&out).unwrap();
        prop_assert_eq!(message.verify_integrity(&key), Ok(()));
        prop_assert!(message.has_fingerprint());
        let read = BindingRequest {
            transaction_id: message.transaction_id(),
            username: message.username().unwrap(),
            priority: message.priority().unwrap(),
            use_candidate: message.use_candidate(),
            role: message.role().unwrap(),
        };
        prop_assert_eq!(read, request);
    }

    #[test]
    fn mapped_addresses_round_trip(id: [u8; 12], address: std::net::IpAddr, port: u16) {
        let mapped = SocketAddr::new(address, port);
        let key = IntegrityKey::new(PASSWORD);
        let mut out = Vec::new();
        write_binding_success(&mut out, TransactionId(id), mapped, &key);
        let message = Message::parse(&out).unwrap();
        prop_assert_eq!(message.class(), Class::Success);
        prop_assert_eq!(message.xor_mapped_address(), Some(mapped));
        prop_assert_eq!(message.verify_integrity(&key), Ok(()));
    }

    #[test]
    fn any_flipped_bit_is_noticed(position: prop::sample::Index, bit in 0u8..8) {
        let key = IntegrityKey::new(PASSWORD);
        let mut out = Vec::new();
        write_binding_request(&mut out, &request("abcd:efgh"), &key);
        let at = position.index(out.len());
        out[at] ^= 1 << bit;
        // A flip in the attribute's own type leaves no fingerprint to check.
        prop_assert!(!Message::parse(&out).is_ok_and(|message| message.has_fingerprint()));
    }

    #[test]
    fn a_signature_covers_every_byte_before_it(position: prop::sample::Index, bit in 0u8..8) {
        let mut data = with_attribute(&bare_request(), 0x0006, b"abcd:efgh");
        let tag = IntegrityKey::new(PASSWORD).sign(&data);
        let signed_len = data.len();
        data = with_attribute(&data, 0x0008, tag.as_ref());
        let at = position.index(signed_len);
        data[at] ^= 1 << bit;
        let verified = Message::parse(&data)
            .and_then(|message| message.verify_integrity(&IntegrityKey::new(PASSWORD)));
        prop_assert!(verified.is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(mut data in prop::collection::vec(any::<u8>(), 0..300)) {
        if data.len() >= HEADER_LEN {
            let len = ((data.len() - HEADER_LEN) & !3) as u16;
            data.truncate(HEADER_LEN + usize::from(len));
            data[0] &= 0x3f;
            data[2..4].copy_from_slice(&len.to_be_bytes());
            data[4..8].copy_from_slice(&MAGIC_COOKIE);
        }
        if let Ok(message) = Message::parse(&data) {
            let _ = message.verify_integrity(&IntegrityKey::new(PASSWORD));
        }
    }
}
