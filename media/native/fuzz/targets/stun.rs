//! STUN messages: what parses keeps its bounds, and only the key's holder can sign.
#![no_main]

use std::sync::LazyLock;

use _native::demux::{DatagramKind, classify};
use _native::stun::{IntegrityKey, Message, UNKNOWN_ATTRIBUTES_MAX};
use libfuzzer_sys::fuzz_target;

/// Nothing in the seeds is signed with it.
static KEY: LazyLock<IntegrityKey> = LazyLock::new(|| IntegrityKey::new("not in the seeds"));

fuzz_target!(|data: &[u8]| {
    if classify(data) != DatagramKind::Stun {
        return;
    }
    let Ok(message) = Message::parse(data) else {
        return;
    };
    assert!(message.unknown_attributes().len() <= UNKNOWN_ATTRIBUTES_MAX);
    assert!(message.username().is_none_or(|name| name.len() <= 508));
    assert!(message.verify_integrity(&KEY).is_err());
});
