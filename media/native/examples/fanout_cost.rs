//! What one forwarded packet costs in the engine, in µs of wall time on one core, without the
//! kernel: `cargo run --release --example fanout_cost [viewers] [burst] [recorder MiB] [packets]`.
//!
//! One publisher, viewers who each have a transport of their own, AES-128-GCM on both sides, 1,160
//! bytes of payload in every third packet and one byte less in the others, as browsers cut frames,
//! the extensions that they negotiate. The datagrams go nowhere.

use std::net::SocketAddr;
use std::time::Instant;

use _native::engine::{Config, Engine};
use _native::srtp::{Outbound, OutboundStream, Profile};
use _native::stun::{BindingRequest, IceRole, IntegrityKey, TransactionId, write_binding_request};
use _native::wire::orders::{
    ConsumerCodec, ConsumerExtension, Direction, ExtensionName, HeaderExtension, IceCredentials,
    Kind, Order, ProducerCodec, ProducerEncoding, Secret, SetConsumer, SetProducer, SetSrtpKeys,
    SetTransport, SrtpProfile,
};

const PAYLOAD_LEN: usize = 1_160;
const SEGMENTS_MAX: usize = 64;
const PASSWORD: &str = "a-password-of-22-bytes";
const SSRC: u32 = 1111;
const MS: u64 = 1_000_000;

fn argument(place: usize, default: usize) -> usize {
    let given = std::env::args().nth(place);
    given.map_or(default, |text| text.parse().expect("a number"))
}

fn order(engine: &mut Engine, order: Order) {
    engine.handle_order(MS, order).expect("carried out");
}

/// A transport whose peer is at an address of its own, connected and keyed.
fn join(engine: &mut Engine, id: &str, direction: Direction, remote: SocketAddr) {
    let ice = vec![IceCredentials {
        ufrag: id.into(),
        pwd: PASSWORD.into(),
    }];
    order(
        engine,
        Order::SetTransport(SetTransport {
            transport: id.into(),
            worker: 0,
            direction,
            ice,
            dtls_role: None,
            fingerprints: Vec::new(),
            room: "bench".into(),
        }),
    );
    order(
        engine,
        Order::SetSrtpKeys(SetSrtpKeys {
            transport: id.into(),
            profile: SrtpProfile::AeadAes128Gcm,
            local: Secret::new([1; 28]),
            remote: Secret::new([2; 28]),
        }),
    );
    let mut check = Vec::new();
    let request = BindingRequest {
        transaction_id: TransactionId([1; 12]),
        username: &format!("{id}:peer"),
        priority: 1,
        use_candidate: true,
        role: IceRole::Controlling(1),
    };
    write_binding_request(&mut check, &request, &IntegrityKey::new(PASSWORD));
    engine.handle_datagram(MS, remote, &mut check);
    drain(engine);
}

fn producer() -> SetProducer {
    let extension = |name, id| HeaderExtension {
        name,
        id,
        mapped_id: id,
    };
    SetProducer {
        producer: "p".into(),
        transport: "send".into(),
        kind: Kind::Video,
        codecs: vec![ProducerCodec {
            payload_type: 96,
            mapped_payload_type: 101,
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            channels: None,
            rtx_payload_type: Some(97),
            mapped_rtx_payload_type: Some(102),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: false,
        }],
        encodings: vec![ProducerEncoding {
            rid: None,
            ssrc: Some(SSRC),
            rtx_ssrc: Some(SSRC + 1),
            scalability_mode: None,
        }],
        header_extensions: vec![
            extension(ExtensionName::Mid, 1),
            extension(ExtensionName::AbsSendTime, 2),
            extension(ExtensionName::TransportCc, 3),
        ],
        mid: Some("0".into()),
        cname: "c".into(),
        paused: false,
    }
}

fn consumer(id: &str, transport: &str) -> SetConsumer {
    let taken = |name, id| ConsumerExtension { name, id };
    SetConsumer {
        consumer: id.into(),
        transport: transport.into(),
        producer: "p".into(),
        kind: Kind::Video,
        ssrc: 5000,
        codecs: vec![ConsumerCodec {
            payload_type: 101,
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            rtx_payload_type: Some(102),
            nack: true,
            pli: true,
            fir: true,
        }],
        header_extensions: vec![
            taken(ExtensionName::Mid, 1),
            taken(ExtensionName::AbsSendTime, 2),
            taken(ExtensionName::TransportCc, 3),
        ],
        mid: "0".into(),
        cname: "c".into(),
        rtx_ssrc: Some(5001),
        paused: false,
        spatial_layer: None,
        temporal_layer: None,
        priority: 1,
    }
}

/// Empties the engine; (datagrams, transmits).
fn drain(engine: &mut Engine) -> (usize, usize) {
    let mut counts = (0, 0);
    while let Some(transmit) = engine.poll_transmit(SEGMENTS_MAX) {
        counts.0 += transmit.datagrams().count();
        counts.1 += 1;
    }
    while engine.poll_notice().is_some() {}
    counts
}

fn incoming(packets: usize, burst: usize) -> Vec<Vec<u8>> {
    let outbound = Outbound::new(Profile::AeadAes128Gcm, &[2; 16], &[2; 12]).expect("fits");
    let mut stream = OutboundStream::new();
    let packet = |number: usize| {
        let sequence = 1000 + number as u64;
        let mut packet = vec![0x90, 96];
        packet.extend((sequence as u16).to_be_bytes());
        packet.extend(((number / burst) as u32 * 3000).to_be_bytes());
        packet.extend(SSRC.to_be_bytes());
        packet.extend([0xbe, 0xde, 0, 3, 0x10, b'0', 0x22, 1, 2, 3, 0x31]);
        packet.extend((number as u16).to_be_bytes());
        packet.extend([0; 3]);
        let header_len = packet.len();
        packet.extend([0x90, 0x80, 0x81, 1, u8::from(number > 0)]);
        packet.resize(
            header_len + PAYLOAD_LEN - usize::from(number % 3 != 2),
            0x5a,
        );
        let len = packet.len();
        packet.resize(len + 16, 0);
        let sealed =
            outbound.protect_rtp_in_place(&mut stream, sequence, &mut packet, header_len, len);
        sealed.expect("fits");
        packet
    };
    (0..packets).map(packet).collect()
}

fn main() {
    let viewers = argument(1, 1000);
    let burst = argument(2, 10);
    let recorder_mib = argument(3, 64);
    let mut config = Config::new(0, 1);
    config.recorder_bytes = recorder_mib << 20;
    let mut engine = Engine::new(config);
    let publisher = SocketAddr::from(([192, 0, 2, 1], 1000));
    join(&mut engine, "send", Direction::Send, publisher);
    order(&mut engine, Order::SetProducer(producer()));
    for viewer in 0..viewers {
        let remote = SocketAddr::from(([10, 0, (viewer >> 8) as u8, viewer as u8], 2000));
        let transport = format!("t{viewer}");
        join(&mut engine, &transport, Direction::Recv, remote);
        order(
            &mut engine,
            Order::SetConsumer(consumer(&format!("c{viewer}"), &transport)),
        );
    }
    let packets = incoming(argument(4, 3_000), burst);
    let (mut datagrams, mut transmits) = (0, 0);
    let mut best = f64::INFINITY;
    let mut now_ns = 10 * MS;
    let bursts: Vec<&[Vec<u8>]> = packets.chunks(burst).collect();
    // Ten slices, each measured by itself: the machine is shared.
    for slice in bursts.chunks(bursts.len().div_ceil(10)) {
        let mut forwarded = 0;
        let started = Instant::now();
        for burst in slice {
            now_ns += 4 * MS;
            for packet in *burst {
                let mut datagram = [0; 1500];
                datagram[..packet.len()].copy_from_slice(packet);
                engine.handle_datagram(now_ns, publisher, &mut datagram[..packet.len()]);
            }
            let counts = drain(&mut engine);
            forwarded += counts.0;
            transmits += counts.1;
        }
        datagrams += forwarded;
        best = best.min(started.elapsed().as_secs_f64() * 1e6 / forwarded as f64);
    }
    assert!(
        datagrams >= viewers * (packets.len() - 1),
        "{datagrams} datagrams"
    );
    let run = datagrams as f64 / transmits as f64;
    println!("{viewers} viewers, bursts of {burst}: {best:.3} µs a forwarded packet");
    println!("{datagrams} datagrams in {transmits} transmits ({run:.1} each)");
}
