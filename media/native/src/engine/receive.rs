//! RTP from publishers: decrypted once, routed, counted, cached, and noted for forwarding.

use super::Engine;
use super::consumer::Reason;
use super::encoding::Encoding;
use super::error::DropReason;
use super::forward;
use super::keyframe::Cause;
use super::mirror::{self, FedPacket};
use super::producer::{CodecEntry, Pending, Producer};
use super::routes::{Label, Route, StreamKind, Unrouted};
use super::rtcp_out;
use super::table::{ProducerKey, TransportKey};
use super::timers::Timer;
use crate::codec::{Codec, LayerReader, PayloadInfo};
use crate::rtp::{AudioLevel, ExtensionMap, HeaderExtensions, RtpHeader, RtpPacket, restore_rtx};
use crate::srtp::SrtpError;
use crate::wire::notices::Notice;

/// How often transport-wide feedback goes to a publisher.
pub(super) const FEEDBACK_NS: u64 = 50_000_000;

/// The round trip that NACKs to a publisher reckon with until it has answered one.
const PUBLISHER_ROUND_TRIP_NS: u64 = 100_000_000;

/// However long the round trip, a packet is asked for again after this.
const PUBLISHER_ROUND_TRIP_NS_MAX: u64 = 500_000_000;

/// Bytes of the original sequence number in an RTX payload (RFC 4588, 4).
const OSN_BYTES: usize = 2;

pub(super) fn drop_reason(error: SrtpError) -> DropReason {
    match error {
        SrtpError::AuthenticationFailed => DropReason::SrtpForged,
        SrtpError::Replayed => DropReason::SrtpReplay,
        SrtpError::TooOld => DropReason::SrtpTooOld,
        SrtpError::TooManySources => DropReason::SrtpTooManySources,
        _ => DropReason::RtpMalformed,
    }
}

/// Where the decrypted packet lies.
enum Place {
    /// In the room that the encoding's cache reserved.
    Cache,
    /// In the engine's scratch buffer.
    Scratch,
}

pub(super) fn handle_rtp(engine: &mut Engine, now_ns: u64, key: TransportKey, data: &mut [u8]) {
    let Engine {
        table,
        scratch,
        timers,
        ..
    } = engine;
    let transport = table
        .transports
        .get_mut(key)
        .expect("tuples name living transports");
    if !transport.is_publisher() {
        return transport.drop(DropReason::UnexpectedMedia);
    }
    if !transport.media_budget.take(now_ns) {
        return transport.drop(DropReason::MediaFlood);
    }
    let Some(srtp) = transport.srtp.as_mut() else {
        return transport.drop(DropReason::SrtpNotReady);
    };
    let Ok(header) = RtpHeader::parse(data) else {
        return transport.drop(DropReason::RtpMalformed);
    };
    let known = transport.routes.by_ssrc(header.ssrc);
    let direct = known.filter(|route| route.stream == StreamKind::Media);
    let encoding = direct.and_then(|route| {
        let producer = table.producers.get_mut(route.producer)?;
        producer.encodings.get_mut(usize::from(route.encoding))
    });
    let (place, out) = match encoding {
        Some(encoding) => (Place::Cache, encoding.cache.reserve(data.len())),
        None => (Place::Scratch, &mut scratch[..]),
    };
    let len = match srtp.inbound.unprotect_rtp(data, out) {
        Ok(unprotected) => unprotected.len,
        Err(error) => return transport.drop(drop_reason(error)),
    };
    let Ok(packet) = RtpPacket::parse(&out[..len]) else {
        return transport.drop(DropReason::RtpMalformed);
    };
    let extensions = HeaderExtensions::read(&packet, &transport.extensions);
    if let Some(sequence_number) = extensions.transport_cc {
        transport.arrivals.record(sequence_number, now_ns);
        let at_ns = now_ns + FEEDBACK_NS;
        timers.arm(&mut transport.feedback_timer, at_ns, Timer::Feedback(key));
    }
    let (route, is_new) = match known {
        Some(route) => (route, false),
        None => {
            let label = Label {
                mid: extensions.mid,
                rid: extensions.rid,
                repaired_rid: extensions.repaired_rid,
                payload_type: header.payload_type,
            };
            match transport.routes.learn(header.ssrc, label) {
                Ok(route) => (route, true),
                Err(Unrouted::Unknown) => return transport.drop(DropReason::UnknownSsrc),
                Err(Unrouted::Full) => return transport.drop(DropReason::TooManySsrcs),
            }
        }
    };
    if is_new {
        handle_learned(engine, route, header.ssrc);
    }
    match route.stream {
        StreamKind::Media => accept_media(engine, now_ns, key, route, &place, len),
        StreamKind::Rtx => accept_rtx(engine, now_ns, key, route, len),
    }
}

/// An SSRC entered the routing table: the encoding and control hear of it.
fn handle_learned(engine: &mut Engine, route: Route, ssrc: u32) {
    let Some(producer) = engine.table.producers.get_mut(route.producer) else {
        return;
    };
    let kind = producer.row.kind;
    let encoding = &mut producer.encodings[usize::from(route.encoding)];
    let mut restarted = false;
    match route.stream {
        StreamKind::Media => {
            restarted = encoding.ssrc().is_some();
            encoding.set_ssrc(ssrc, &engine.config.limits, kind);
        }
        StreamKind::Rtx => encoding.rtx_ssrc = Some(ssrc),
    }
    // RTX that comes first is told together with its media stream.
    if let Some(media) = encoding.ssrc() {
        let rtx_ssrc = encoding.rtx_ssrc;
        engine.notices.push(Notice::ProducerStreamLearned {
            producer: producer.row.producer.clone(),
            encoding: u32::from(route.encoding),
            ssrc: media,
            rtx_ssrc,
        });
    }
    if restarted {
        handle_restarted(engine, route.producer, route.encoding);
    }
}

/// An encoding has another source: its numbers have nothing to do with those before.
pub(super) fn handle_restarted(engine: &mut Engine, key: ProducerKey, encoding: u8) {
    let Some(producer) = engine.table.producers.get_mut(key) else {
        return;
    };
    producer
        .pending
        .retain(|pending| pending.encoding != encoding);
    engine.fanout.forget(key, encoding);
    for consumer in producer.consumers.clone() {
        let current = engine
            .table
            .consumers
            .get(consumer)
            .and_then(|one| one.selection.current());
        if current == Some(encoding) {
            engine.stop_consumer(consumer, Reason::Publisher);
        }
    }
    let now_ns = engine.now_ns;
    engine.start_waiting_of_producer(now_ns, key);
}

fn accept_media(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    route: Route,
    place: &Place,
    len: usize,
) {
    let producer = engine
        .table
        .producers
        .get_mut(route.producer)
        .expect("routes name the living");
    let encoding = &mut producer.encodings[usize::from(route.encoding)];
    if matches!(place, Place::Scratch) {
        encoding.cache.reserve(len)[..len].copy_from_slice(&engine.scratch[..len]);
    }
    let arrival = Arrival {
        len,
        recovered: false,
    };
    if let Err(reason) = store(engine, now_ns, route, &arrival) {
        engine.count_drop(Some(key), reason);
    }
}

/// Takes the packet out of a retransmission (RFC 4588); it is in the scratch buffer.
fn accept_rtx(engine: &mut Engine, now_ns: u64, key: TransportKey, route: Route, len: usize) {
    if let Err(reason) = unwrap_rtx(engine, now_ns, route, len) {
        engine.count_drop(Some(key), reason);
    }
}

fn unwrap_rtx(
    engine: &mut Engine,
    now_ns: u64,
    route: Route,
    len: usize,
) -> Result<(), DropReason> {
    let Engine { table, scratch, .. } = engine;
    let packet = RtpPacket::parse(&scratch[..len]).map_err(|_| DropReason::RtpMalformed)?;
    let producer = table
        .producers
        .get_mut(route.producer)
        .expect("routes name the living");
    let codec = producer.codec_of_rtx(packet.header.payload_type);
    let payload_type = codec.ok_or(DropReason::RtxUnmatched)?.row.payload_type;
    let encoding = &mut producer.encodings[usize::from(route.encoding)];
    // Nothing can be recovered of a stream that has not begun.
    let ssrc = encoding.ssrc().ok_or(DropReason::RtxProbe)?;
    if packet.payload().len() <= OSN_BYTES {
        return Err(DropReason::RtxProbe);
    }
    let out = encoding.cache.reserve(len);
    let len = restore_rtx(&packet, payload_type, ssrc, out).ok_or(DropReason::RtxProbe)?;
    store(
        engine,
        now_ns,
        route,
        &Arrival {
            len,
            recovered: true,
        },
    )
}

/// A decrypted media packet in the room that its cache reserved.
struct Arrival {
    len: usize,
    /// It came as a retransmission.
    recovered: bool,
}

fn store(
    engine: &mut Engine,
    now_ns: u64,
    route: Route,
    arrival: &Arrival,
) -> Result<(), DropReason> {
    let Engine { table, timers, .. } = engine;
    let producer = table
        .producers
        .get_mut(route.producer)
        .expect("routes name the living");
    let encoding = &mut producer.encodings[usize::from(route.encoding)];
    let Encoding {
        reception,
        cache,
        counters,
        layers,
        ..
    } = encoding;
    let reception = reception.as_mut().expect("a media stream has an SSRC");

    let reserved = &*cache.reserve(arrival.len);
    let facts = Facts::of(
        &reserved[..arrival.len],
        &producer.codecs,
        &producer.extensions,
        layers,
    )?;
    let sequence = reception.unwrapper.unwrap(facts.sequence_number);
    if cache.lookup(sequence, now_ns).is_some() {
        counters.discarded += 1;
        return Err(DropReason::Duplicate);
    }
    let data = cache.commit(sequence, arrival.len, now_ns);
    let transport = producer.home.transport();
    let (mut unfed, mut fell) = (0, false);
    if let Some(transport) = transport.filter(|_| !producer.feeds.is_empty()) {
        let packet = FedPacket {
            encoding: route.encoding,
            ssrc: reception.ssrc,
            sequence,
            received_ns: now_ns,
            data,
        };
        unfed = mirror::feed(&mut table.links, &producer.feeds, transport, &packet);
    }

    if arrival.recovered {
        counters.recovered += 1;
    } else {
        reception
            .statistics
            .record(sequence, facts.timestamp, now_ns);
        let uplink = transport.and_then(|key| table.transports.get_mut(key)?.uplink.as_mut());
        fell = uplink.is_some_and(|uplink| {
            let source = (reception.ssrc, encoding.clock_rate);
            let place = (sequence, facts.timestamp);
            uplink.record(now_ns, source, place, arrival.len)
        });
        counters.packets += 1;
        counters.bytes += facts.payload_len as u64;
        counters.header_bytes += (arrival.len - facts.payload_len) as u64;
    }
    reception.losses.record(sequence, now_ns);
    if facts.nack
        && let Some(at_ns) = reception.losses.deadline_ns()
    {
        let timer = Timer::Losses(route.producer, route.encoding);
        timers.arm(&mut encoding.losses_timer, at_ns, timer);
    }
    if let Some(transport) = transport.filter(|_| fell) {
        rtcp_out::send_remb(engine, now_ns, transport);
    }
    if let Some(transport) = transport.filter(|_| unfed > 0) {
        mirror::count_lost(engine, transport, unfed);
    }
    if let Some(level) = facts.audio_level {
        engine.note_level(now_ns, route.producer, level);
    }
    settle(
        engine,
        now_ns,
        (route.producer, route.encoding),
        sequence,
        &facts,
    )
}

/// Takes a packet that another worker received and decrypted, for a mirror.
pub(super) fn store_fed(
    engine: &mut Engine,
    now_ns: u64,
    key: ProducerKey,
    packet: &FedPacket<'_>,
) -> Result<(), DropReason> {
    let producer = engine.table.producers.get_mut(key).expect("looked up");
    let facts = cache_fed(producer, packet)?;
    settle(
        engine,
        now_ns,
        (key, packet.encoding),
        packet.sequence,
        &facts,
    )
}

/// Takes a packet that came before a mirror was fed: for those who begin with it, and for nobody else.
pub(super) fn store_past(
    engine: &mut Engine,
    key: ProducerKey,
    packet: &FedPacket<'_>,
) -> Result<(), DropReason> {
    let packets_max = engine.config.limits.cache_packets_max;
    let producer = engine.table.producers.get_mut(key).expect("looked up");
    let facts = cache_fed(producer, packet)?;
    let is_video = producer.is_video();
    let encoding = &mut producer.encodings[usize::from(packet.encoding)];
    let reception = encoding.reception.as_mut().expect("its SSRC was set");
    if packet.sequence > reception.highest {
        reception.highest = packet.sequence;
        reception.newest = Some((facts.timestamp, packet.received_ns));
    }
    if facts.is_key_frame {
        reception.keyframe_timestamp = Some(facts.timestamp);
    }
    let key_picture = reception.keyframe_timestamp == Some(facts.timestamp);
    encoding.payload_type = Some(facts.payload_type);
    if is_video {
        let pending = facts.pending(
            packet.encoding,
            packet.sequence,
            packet.received_ns,
            key_picture,
        );
        encoding
            .history
            .record(pending, facts.is_key_frame, packets_max);
    }
    Ok(())
}

/// Puts a packet that another worker received into the cache of its encoding.
fn cache_fed(producer: &mut Producer, packet: &FedPacket<'_>) -> Result<Facts, DropReason> {
    let encoding = &mut producer.encodings[usize::from(packet.encoding)];
    let facts = Facts::of(
        packet.data,
        &producer.codecs,
        &producer.extensions,
        &mut encoding.layers,
    )?;
    let cache = &mut encoding.cache;
    let len = packet.data.len();
    cache.reserve(len)[..len].copy_from_slice(packet.data);
    cache.commit(packet.sequence, len, packet.received_ns);
    Ok(facts)
}

/// What a packet's bytes say.
struct Facts {
    sequence_number: u16,
    timestamp: u32,
    payload_type: u8,
    payload_len: usize,
    /// A decoder can start with it.
    start: bool,
    is_key_frame: bool,
    info: PayloadInfo,
    /// Its codec takes NACK.
    nack: bool,
    /// How loud a packet of audio is, if it says so.
    audio_level: Option<AudioLevel>,
}

impl Facts {
    fn of(
        data: &[u8],
        codecs: &[CodecEntry],
        extensions: &ExtensionMap,
        layers: &mut LayerReader,
    ) -> Result<Self, DropReason> {
        let packet = RtpPacket::parse(data).map_err(|_| DropReason::RtpMalformed)?;
        let header = packet.header;
        let codec = codecs
            .iter()
            .find(|entry| entry.row.payload_type == header.payload_type);
        let codec = codec.ok_or(DropReason::UnknownPayloadType)?;
        let payload_len = packet.payload().len();
        let values = HeaderExtensions::read(&packet, extensions);
        let mut info = PayloadInfo::unlayered(payload_len > 0, payload_len > 0);
        if let Some(kind) = codec.codec.filter(|kind| kind.needs_keyframe()) {
            info = layers.inspect(kind, packet.payload(), values.dependency_descriptor);
        }
        let start = info.keyframe;
        Ok(Self {
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            payload_type: header.payload_type,
            payload_len,
            start,
            info,
            is_key_frame: start && codec.codec.is_some_and(Codec::needs_keyframe),
            nack: codec.row.nack,
            audio_level: values.audio_level,
        })
    }

    fn pending(&self, encoding: u8, sequence: u64, received_ns: u64, key_picture: bool) -> Pending {
        Pending {
            encoding,
            sequence,
            timestamp: self.timestamp,
            received_ns,
            start: self.start,
            empty: self.payload_len == 0,
            info: self.info,
            key_picture,
            void: false,
        }
    }
}

/// A packet is in its encoding's cache: notes what it changes, and has it forwarded.
fn settle(
    engine: &mut Engine,
    now_ns: u64,
    (key, place): (ProducerKey, u8),
    sequence: u64,
    facts: &Facts,
) -> Result<(), DropReason> {
    let Engine {
        table,
        fanout,
        config,
        ..
    } = engine;
    let producer = table.producers.get_mut(key).expect("just received");
    let is_video = producer.is_video();
    let encoding = &mut producer.encodings[usize::from(place)];
    let reception = encoding
        .reception
        .as_mut()
        .expect("a media stream has an SSRC");
    encoding.meter.record(now_ns, facts.payload_len);
    encoding
        .rates
        .record(now_ns, &facts.info, facts.payload_len);
    if sequence > reception.highest {
        reception.highest = sequence;
        reception.newest = Some((facts.timestamp, now_ns));
    }
    let mut refreshed = false;
    if facts.is_key_frame {
        encoding.keyframes.handle_keyframe();
        if reception.keyframe_timestamp != Some(facts.timestamp) {
            encoding.refresh.handle_keyframe(now_ns);
            refreshed = true;
            reception.keyframe_timestamp = Some(facts.timestamp);
            encoding.counters.key_frames += 1;
        }
    }
    let key_picture = reception.keyframe_timestamp == Some(facts.timestamp);
    encoding.payload_type = Some(facts.payload_type);
    encoding.last_packet_ns = now_ns;
    let woke = !std::mem::replace(&mut encoding.live, true);
    let pending = facts.pending(place, sequence, now_ns, key_picture);
    if is_video {
        let packets_max = config.limits.cache_packets_max;
        let begins = facts.is_key_frame;
        encoding.history.record(pending, begins, packets_max);
    }
    let forwarded = forward::enqueue(fanout, producer, key, pending);
    if refreshed {
        engine.arm_refresh(now_ns, key, place);
    }
    if woke {
        handle_woken(engine, now_ns, key, place);
    }
    if forwarded {
        Ok(())
    } else {
        Err(DropReason::ForwardQueueFull)
    }
}

/// An encoding began to flow.
fn handle_woken(engine: &mut Engine, now_ns: u64, key: ProducerKey, encoding: u8) {
    let producer = engine.table.producers.get_mut(key).expect("just received");
    let is_home = producer.transport().is_some();
    if !std::mem::replace(&mut producer.active, true) && is_home {
        let producer = producer.row.producer.clone();
        engine.notices.push(Notice::ProducerActivityChanged {
            producer,
            active: true,
        });
    }
    engine.tell_state(key);
    engine.select_layers(now_ns, key);
    engine.serve_keyframe(now_ns, key, encoding);
}

/// NACKs to the publisher are due.
pub(super) fn handle_losses(engine: &mut Engine, now_ns: u64, key: ProducerKey, encoding: u8) {
    let Some(producer) = engine.table.producers.get_mut(key) else {
        return;
    };
    let Some(transport) = producer.transport() else {
        return;
    };
    let state = &mut producer.encodings[usize::from(encoding)];
    let Some(reception) = state.reception.as_mut() else {
        return;
    };
    let mut lost = Vec::new();
    // An eighth more, for answers take a while to be sent.
    let round_trip_ns = reception
        .losses
        .round_trip_ns()
        .map_or(PUBLISHER_ROUND_TRIP_NS, |ns| ns + ns / 8)
        .min(PUBLISHER_ROUND_TRIP_NS_MAX);
    let gave_up = reception.losses.poll(now_ns, round_trip_ns, &mut lost);
    let ssrc = reception.ssrc;
    if let Some(at_ns) = reception.losses.deadline_ns() {
        let timer = Timer::Losses(key, encoding);
        engine.timers.arm(
            &mut state.losses_timer,
            at_ns.max(now_ns + 1_000_000),
            timer,
        );
    }
    if !lost.is_empty() {
        state.counters.nacks += 1;
        rtcp_out::send_nack(engine, transport, ssrc, &lost);
    }
    if gave_up {
        engine.ask_keyframe(now_ns, key, encoding, Cause::Lost);
    }
}
