//! What one packet costs in this crate, in ns of wall time on one core, without the kernel:
//! `cargo run --release --example packet_cost`.

use std::hint::black_box;
use std::time::Instant;

use _native::cache::PacketCache;
use _native::rtp::{
    EgressFormat, ExtensionKind, ExtensionMap, HeaderExtensions, PreparedPacket, RtpPacket,
    ViewerFields,
};
use _native::sequence::SequenceMap;
use _native::srtp::{Inbound, Outbound, OutboundStream, Profile};
use _native::stun::{
    BindingRequest, IceRole, IntegrityKey, Message, TransactionId, write_binding_request,
    write_binding_success,
};

const PAYLOAD_LEN: usize = 1_160;
const ROUNDS: u64 = 200_000;

/// Runs `step` with 0, 1, 2… and prints the best of five means.
fn measure(name: &str, mut step: impl FnMut(u64)) {
    let mut next = 0;
    let best = (0..5)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                step(next);
                next += 1;
            }
            started.elapsed().as_nanos() as f64 / ROUNDS as f64
        })
        .fold(f64::INFINITY, f64::min);
    println!("{name:<58} {best:>8.1} ns");
}

fn keys(profile: Profile) -> (Vec<u8>, Vec<u8>) {
    (vec![7; profile.key_len()], vec![9; profile.salt_len()])
}

/// A packet as Chrome sends it: mid, abs-send-time, transport-cc, and a payload.
fn incoming() -> Vec<u8> {
    let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0, 3];
    packet.extend([0x40, b'1', 0x22, 1, 2, 3, 0x31, 0, 7, 0, 0, 0]);
    packet.extend([0x5a; PAYLOAD_LEN]);
    packet
}

fn extension_ids() -> ExtensionMap {
    ExtensionMap::new(&[
        (4, ExtensionKind::Mid),
        (2, ExtensionKind::AbsSendTime),
        (3, ExtensionKind::TransportCc),
    ])
}

fn fields(number: u64) -> ViewerFields<'static> {
    ViewerFields {
        ssrc: 5,
        sequence_number: number as u16,
        timestamp: number as u32,
        mid: b"0",
        transport_cc: number as u16,
        abs_send_time: 0,
        descriptor: None,
    }
}

fn measure_sending(packet: &RtpPacket<'_>, ids: &ExtensionMap) {
    let format = EgressFormat::new(ids.clone(), &[(96, 101)]);
    measure("prepare, once for all viewers of a format", |_| {
        black_box(PreparedPacket::new(black_box(packet), ids, &format));
    });
    let prepared = PreparedPacket::new(packet, ids, &format).expect("a mapped payload type");
    let mut out = [0; 1_500];
    measure("write a viewer's header", |n| {
        black_box(prepared.write_header(&fields(n), black_box(&mut out)));
    });
    let mut map = SequenceMap::new(0, 0);
    measure("map a viewer's sequence number", |n| {
        black_box(map.forward(n));
    });
    for profile in Profile::ALL {
        let (key, salt) = keys(profile);
        let outbound = Outbound::new(profile, &key, &salt).expect("keys of the right length");
        let mut stream = OutboundStream::new();
        measure(
            &format!("{}: header and protect, out of place", profile.name()),
            |n| {
                let header_len = prepared.write_header(&fields(n), &mut out).expect("room");
                let sealed =
                    outbound.protect_rtp(&mut stream, n, &mut out, header_len, prepared.payload());
                black_box(sealed).expect("protected");
            },
        );
        let mut stream = OutboundStream::new();
        measure(
            &format!("{}: header, copy and protect in place", profile.name()),
            |n| {
                let header_len = prepared.write_header(&fields(n), &mut out).expect("room");
                let len = header_len + PAYLOAD_LEN;
                out[header_len..len].copy_from_slice(prepared.payload());
                let sealed =
                    outbound.protect_rtp_in_place(&mut stream, n, &mut out, header_len, len);
                black_box(sealed).expect("protected");
            },
        );
    }
}

fn measure_receiving(packet: &[u8], ids: &ExtensionMap) {
    for profile in Profile::ALL {
        let (key, salt) = keys(profile);
        let outbound = Outbound::new(profile, &key, &salt).expect("keys of the right length");
        let mut stream = OutboundStream::new();
        // One cycle of sequence numbers, received again and again by new receivers.
        let sealed: Vec<Vec<u8>> = (0..32_768u64)
            .map(|n| {
                let mut out = packet.to_vec();
                out[2..4].copy_from_slice(&(n as u16).to_be_bytes());
                out.resize(packet.len() + profile.rtp_overhead(), 0);
                outbound
                    .protect_rtp_in_place(&mut stream, n, &mut out, 28, packet.len())
                    .expect("protected");
                out
            })
            .collect();
        let receiver = || Inbound::new(profile, &key, &salt).expect("keys of the right length");
        let mut inbound = receiver();
        let mut cache = PacketCache::new(2 << 20, 1_024, u64::MAX);
        measure(
            &format!(
                "{}: unprotect into the cache, read extensions",
                profile.name()
            ),
            |n| {
                let at = (n % 32_768) as usize;
                if at == 0 {
                    inbound = receiver();
                }
                let room = cache.reserve(sealed[at].len());
                let done = inbound
                    .unprotect_rtp(&sealed[at], room)
                    .expect("unprotected");
                let stored = cache.commit(n, done.len, n);
                let read = RtpPacket::parse(stored).expect("RTP");
                black_box(HeaderExtensions::read(&read, ids));
            },
        );
    }
}

fn measure_stun() {
    let key = IntegrityKey::new("a password of 24 letters");
    let request = BindingRequest {
        transaction_id: TransactionId([3; 12]),
        username: "abcdefgh:ijkl",
        priority: 1,
        use_candidate: true,
        role: IceRole::Controlling(1),
    };
    let (mut check, mut answer) = (Vec::new(), Vec::new());
    write_binding_request(&mut check, &request, &key);
    let remote = "127.0.0.1:20000".parse().expect("an address");
    measure("STUN: parse, verify and answer a check", |_| {
        let message = Message::parse(black_box(&check)).expect("STUN");
        message.verify_integrity(&key).expect("verified");
        write_binding_success(&mut answer, message.transaction_id(), remote, &key);
        black_box(&answer);
    });
}

fn main() {
    let data = incoming();
    let packet = RtpPacket::parse(&data).expect("RTP");
    let ids = extension_ids();
    println!("payload of {PAYLOAD_LEN} bytes");
    measure_sending(&packet, &ids);
    measure_receiving(&data, &ids);
    measure_stun();
}
