//! RTCP to publishers and viewers, and what is looked at once in a while.
//!
//! NACK, PLI, FIR and transport-wide feedback go alone (reduced-size RTCP, RFC
//! 5506, which browsers negotiate); reports go in full compounds with a CNAME.
//!
//! # REMB
//! A publisher that takes no transport-wide feedback but REMB is told what its
//! way here takes ([`crate::bwe::Uplink`]): once a second, and at once when that fell.
//! As long as no limit of it is known, our word does not limit it either: it is one
//! and a half times the most that came in any second, at least [`REMB_BPS_MIN`].

use super::DATAGRAM_BYTES_MAX;
use super::Engine;
use super::demand;
use super::encoding::Encoding;
use super::freeze;
use super::mirror::Home;
use super::producer::Producer;
use super::rtcp_in::SCORE_INTERVAL_NS;
use super::table::{ConsumerKey, ProducerKey, TransportKey};
use super::timers::Timer;
use crate::recorder::Class;
use crate::rtcp::{self, SenderInfo};
use crate::wire::notices::Notice;
use crate::wire::orders::Kind;

/// Between two looks at a transport.
const TICK_NS: u64 = 500_000_000;

/// Between two sender reports of a video stream, and of an audio stream.
const VIDEO_REPORT_NS: u64 = 1_000_000_000;
const AUDIO_REPORT_NS: u64 = 5_000_000_000;

/// Least bitrate that a REMB speaks of while no limit is known.
pub const REMB_BPS_MIN: u64 = 3_000_000;

/// Longest compound: it must fit any path.
const COMPOUND_BYTES_MAX: usize = 1200;

/// Report blocks in one receiver report.
const BLOCKS_MAX: usize = 31;

/// Room for SRTCP's index and tag.
const PROTECTION_BYTES_MAX: usize = 32;

impl Engine {
    /// Has the transport looked at regularly from now on.
    pub(super) fn arm_tick(&mut self, now_ns: u64, key: TransportKey) {
        let Some(transport) = self.table.transports.get_mut(key) else {
            return;
        };
        if transport.producers.is_empty() && transport.consumers.is_empty() {
            return;
        }
        // Spread, so that a thousand viewers that came at once do not report at once for ever.
        let at_ns = now_ns + TICK_NS / 2 + self.random.below(TICK_NS / 2);
        self.timers
            .arm(&mut transport.tick_timer, at_ns, Timer::Tick(key));
    }

    /// Protects a compound and puts it into the outbox, if the transport can send.
    fn send_rtcp(&mut self, key: TransportKey, compound: &[u8]) {
        let Some(transport) = self.table.transports.get_mut(key) else {
            return;
        };
        let Some(remote) = transport.media_remote() else {
            return;
        };
        let Some(srtp) = transport.srtp.as_mut() else {
            return;
        };
        let mut out = [0; DATAGRAM_BYTES_MAX + PROTECTION_BYTES_MAX];
        if let Ok(len) = srtp.outbound.protect_rtcp(compound, &mut out) {
            self.outbox.push(key, remote, &out[..len]);
            self.record_departure(key, Class::Rtcp, len, compound);
        }
    }

    fn rtcp_ssrc(&self, key: TransportKey) -> u32 {
        self.table
            .transports
            .get(key)
            .map_or(0, |transport| transport.rtcp_ssrc)
    }
}

pub(super) fn send_keyframe_request(
    engine: &mut Engine,
    key: TransportKey,
    media_ssrc: u32,
    pli: bool,
    fir_sequence: u8,
) {
    let sender_ssrc = engine.rtcp_ssrc(key);
    let mut compound = Vec::with_capacity(32);
    if pli {
        rtcp::write_pli(&mut compound, sender_ssrc, media_ssrc);
    } else {
        rtcp::write_fir(&mut compound, sender_ssrc, media_ssrc, fir_sequence);
    }
    engine.send_rtcp(key, &compound);
}

pub(super) fn send_nack(engine: &mut Engine, key: TransportKey, media_ssrc: u32, lost: &[u16]) {
    let sender_ssrc = engine.rtcp_ssrc(key);
    let mut compound = Vec::with_capacity(COMPOUND_BYTES_MAX);
    // Four bytes at most for each number.
    for lost in lost.chunks((COMPOUND_BYTES_MAX - 16) / 4) {
        compound.clear();
        rtcp::write_nack(&mut compound, sender_ssrc, media_ssrc, lost);
        engine.send_rtcp(key, &compound);
    }
}

/// Transport-wide feedback to a publisher about all that arrived since the last.
pub(super) fn send_feedback(engine: &mut Engine, key: TransportKey) {
    let sender_ssrc = engine.rtcp_ssrc(key);
    let mut compound = std::mem::take(&mut engine.scratch_vec);
    while let Some(transport) = engine.table.transports.get_mut(key) {
        // The sender looks at the transport-wide numbers only; any SSRC of it will do.
        let media_ssrc = transport.routes.any_ssrc().unwrap_or(0);
        compound.clear();
        if !transport
            .arrivals
            .write_feedback(sender_ssrc, media_ssrc, &mut compound)
        {
            break;
        }
        engine.send_rtcp(key, &compound);
    }
    engine.scratch_vec = compound;
}

/// The regular look at a transport.
pub(super) fn handle_tick(engine: &mut Engine, now_ns: u64, key: TransportKey) {
    let Some(transport) = engine.table.transports.get_mut(key) else {
        return;
    };
    if transport.producers.is_empty() && transport.consumers.is_empty() {
        return;
    }
    engine.timers.arm(
        &mut transport.tick_timer,
        now_ns + TICK_NS,
        Timer::Tick(key),
    );
    let (producers, consumers) = (transport.producers.clone(), transport.consumers.clone());
    let report = now_ns.saturating_sub(transport.reported_ns) >= SCORE_INTERVAL_NS;
    if report {
        transport.reported_ns = now_ns;
    }
    for &producer in &producers {
        smooth(engine, now_ns, producer);
        if !is_waking(engine, now_ns, producer) {
            silence(engine, producer, |_, encoding| encoding.fell_silent(now_ns));
        }
        demand::look(engine, now_ns, producer);
    }
    if report && !producers.is_empty() {
        send_receiver_reports(engine, now_ns, key, &producers);
        for &producer in &producers {
            score(engine, now_ns, producer);
            engine.tell_state(producer);
        }
    }
    if !consumers.is_empty() {
        freeze::look(engine, now_ns, &consumers);
        send_sender_reports(engine, now_ns, key, &consumers);
    }
}

/// Whether its publisher was just asked for what it had no reason to send.
fn is_waking(engine: &Engine, now_ns: u64, key: ProducerKey) -> bool {
    let producer = engine.table.producers.get(key);
    producer.is_some_and(|one| one.demand.is_waking(now_ns))
}

/// Measures what the layers of a producer take.
fn smooth(engine: &mut Engine, now_ns: u64, key: ProducerKey) {
    let producer = engine.table.producers.get_mut(key);
    for encoding in producer.into_iter().flat_map(|one| &mut one.encodings) {
        if encoding.live {
            encoding.rates.smooth(now_ns);
        }
    }
}

/// Marks encodings as silent, and the producer when all of them are.
pub(super) fn silence(
    engine: &mut Engine,
    key: ProducerKey,
    is_silent: impl Fn(usize, &Encoding) -> bool,
) {
    let Some(producer) = engine.table.producers.get_mut(key) else {
        return;
    };
    let mut changed = false;
    for (place, encoding) in producer.encodings.iter_mut().enumerate() {
        if encoding.live && is_silent(place, encoding) {
            encoding.live = false;
            encoding.rates.forget();
            changed = true;
        }
    }
    if !changed {
        return;
    }
    engine.table.links.mark(key);
    if producer.active && producer.encodings.iter().all(|encoding| !encoding.live) {
        producer.active = false;
        let producer = producer.row.producer.clone();
        engine.notices.push(Notice::ProducerActivityChanged {
            producer,
            active: false,
        });
        // Viewers stay where they are: whatever comes back first serves them.
        return;
    }
    let now_ns = engine.now_ns;
    engine.select_layers(now_ns, key);
}

fn send_receiver_reports(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    producers: &[ProducerKey],
) {
    let sender_ssrc = engine.rtcp_ssrc(key);
    let mut blocks = Vec::new();
    for &producer in producers {
        let Some(producer) = engine.table.producers.get_mut(producer) else {
            continue;
        };
        for encoding in &mut producer.encodings {
            let Some(reception) = encoding.reception.as_mut() else {
                continue;
            };
            if encoding.counters.packets == 0 {
                continue;
            }
            reception.last_report = reception.statistics.report(now_ns);
            blocks.push(reception.last_report);
        }
    }
    let mut compound = Vec::with_capacity(COMPOUND_BYTES_MAX);
    for blocks in blocks.chunks(BLOCKS_MAX) {
        compound.clear();
        rtcp::write_receiver_report(&mut compound, sender_ssrc, blocks);
        rtcp::write_cname(&mut compound, sender_ssrc, "reprise");
        engine.send_rtcp(key, &compound);
    }
    send_remb(engine, now_ns, key);
}

/// Tells a publisher by REMB what its way here takes, if it takes nothing better.
pub(super) fn send_remb(engine: &mut Engine, now_ns: u64, key: TransportKey) {
    let sender_ssrc = engine.rtcp_ssrc(key);
    let Some(transport) = engine.table.transports.get(key) else {
        return;
    };
    let (mut received_bps, mut remb) = (0, false);
    let mut ssrcs = Vec::new();
    for &producer in &transport.producers {
        let Some(producer) = engine.table.producers.get(producer) else {
            continue;
        };
        let mut codecs = producer.codecs.iter();
        let asks = codecs.any(|one| one.row.remb && !one.row.transport_cc);
        remb |= asks && producer.row.kind == Kind::Video;
        for encoding in &producer.encodings {
            received_bps += encoding.meter.bitrate_bps(now_ns);
            let heard = encoding.counters.packets > 0;
            ssrcs.extend(encoding.ssrc().filter(|_| heard));
        }
    }
    let transport = engine.table.transports.get_mut(key).expect("just seen");
    if !remb {
        transport.uplink = None;
        return;
    }
    let uplink = transport.uplink.get_or_insert_default();
    let estimate_bps = uplink.bitrate_bps();
    let generous_bps = (received_bps * 3 / 2).max(REMB_BPS_MIN);
    transport.remb_bps = transport.remb_bps.max(generous_bps);
    let bitrate_bps = estimate_bps.unwrap_or(transport.remb_bps);
    if !ssrcs.is_empty() {
        let mut compound = Vec::with_capacity(64);
        rtcp::write_remb(&mut compound, sender_ssrc, bitrate_bps, &ssrcs);
        engine.send_rtcp(key, &compound);
    }
}

/// Tells how well a producer's streams arrive, if that changed.
fn score(engine: &mut Engine, now_ns: u64, key: ProducerKey) {
    let Some(producer) = engine.table.producers.get_mut(key) else {
        return;
    };
    let Producer {
        encodings,
        demand,
        scores: before,
        ..
    } = producer;
    let score = |(place, encoding): (usize, &mut Encoding)| {
        let recovered = encoding.counters.recovered;
        match encoding.reception.as_mut() {
            Some(one) if encoding.live => one.repairs.score(&one.last_report, recovered),
            _ if demand.expects(now_ns, place) => 0,
            // Silent because nobody wants it: that is no fault of its way here.
            _ => before.get(place).copied().unwrap_or(0),
        }
    };
    let scores: Vec<u32> = encodings.iter_mut().enumerate().map(score).collect();
    let due = now_ns.saturating_sub(producer.scores_sent_ns) >= SCORE_INTERVAL_NS;
    if scores == producer.scores || !due {
        return;
    }
    producer.scores.clone_from(&scores);
    producer.scores_sent_ns = now_ns;
    let producer = producer.row.producer.clone();
    engine
        .notices
        .push(Notice::ProducerScore { producer, scores });
}

fn send_sender_reports(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    consumers: &[ConsumerKey],
) {
    let mut compound = Vec::with_capacity(COMPOUND_BYTES_MAX);
    for &consumer in consumers {
        let before = compound.len();
        append_sender_report(engine, now_ns, consumer, &mut compound);
        if compound.len() > COMPOUND_BYTES_MAX && before > 0 {
            let last = compound.split_off(before);
            engine.send_rtcp(key, &compound);
            compound = last;
        }
    }
    if !compound.is_empty() {
        engine.send_rtcp(key, &compound);
    }
}

/// A sender report and the CNAME of one viewer's stream, if one is due.
fn append_sender_report(
    engine: &mut Engine,
    now_ns: u64,
    key: ConsumerKey,
    compound: &mut Vec<u8>,
) -> Option<()> {
    let unix_ns = engine.unix_ns(now_ns);
    let table = &mut engine.table;
    let consumer = table.consumers.get_mut(key)?;
    consumer.selection.current()?;
    if consumer.counters.packets == 0 || now_ns < consumer.report_due_ns {
        return None;
    }
    let producer = table.producers.get(consumer.producer)?;
    let publisher = match &producer.home {
        Home::Transport(key) => table.transports.get(*key)?.clock,
        Home::Sibling(mirror) => mirror.clock,
    };
    let encoding = producer
        .encodings
        .get(usize::from(consumer.rewriter.encoding()?))?;
    let reception = encoding.reception.as_ref()?;
    let offset = consumer.rewriter.timestamp_offset()?;
    let incoming = match (reception.clock, publisher.publisher_ns_at(unix_ns)) {
        (Some(clock), Some(publisher_ns)) => clock.timestamp_at(publisher_ns),
        // No report of the publisher yet: the newest packet is as old as its arrival.
        _ => {
            let (timestamp, received_ns) = reception.newest?;
            let elapsed_ns = u128::from(now_ns.saturating_sub(received_ns));
            let ticks = elapsed_ns * u128::from(encoding.clock_rate) / 1_000_000_000;
            timestamp.wrapping_add(ticks as u32)
        }
    };
    let ntp_timestamp = rtcp::ntp_timestamp(unix_ns);
    let info = SenderInfo {
        ntp_timestamp,
        rtp_timestamp: incoming.wrapping_add(offset),
        packet_count: consumer.counters.packets as u32,
        octet_count: consumer.counters.bytes as u32,
    };
    rtcp::write_sender_report(compound, consumer.row.ssrc, &info, &[]);
    rtcp::write_cname(compound, consumer.row.ssrc, &consumer.row.cname);
    let interval_ns = if consumer.is_video() {
        VIDEO_REPORT_NS
    } else {
        AUDIO_REPORT_NS
    };
    consumer.report_due_ns = now_ns + interval_ns - TICK_NS / 2;
    Some(())
}
