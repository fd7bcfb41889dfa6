//! RTCP from publishers and viewers. What is hostile or malformed is counted and left.

use super::Engine;
use super::clock::ReportedClock;
use super::consumer::Consumer;
use super::downlink;
use super::error::DropReason;
use super::retransmit;
use super::routes::StreamKind;
use super::rtcp_out;
use super::table::TransportKey;
use crate::rtcp::{Compound, ReportBlock, RtcpPacket, SenderInfo, ntp_middle, ntp_timestamp};
use crate::srtp::SrtpError;
use crate::wire::notices::Notice;

/// A viewer who asks for a keyframe so soon after its first one was sent has asked before that came (as
/// RFC 5104, 4.3.1.2, has it of FIR): Chromium does, 200 ms after a stream was set up, while it still connects.
/// One that got it and still lacks a picture asks again.
const ANSWERED_NS: u64 = 300_000_000;

/// Packets of one compound that are looked at: more do not fit a datagram in good faith.
const PACKETS_MAX: usize = 64;

/// Scores of one entry go out at most so often.
pub(super) const SCORE_INTERVAL_NS: u64 = 1_000_000_000;

/// A viewer is told when the score of what it is sent changed by so much at the publisher.
const PRODUCER_SCORE_STEP: u32 = 2;

pub(super) fn handle_rtcp(engine: &mut Engine, now_ns: u64, key: TransportKey, data: &[u8]) {
    // The compound is read while the tables change, so it lies in a buffer of its own.
    let mut scratch = std::mem::take(&mut engine.scratch);
    let transport = engine
        .table
        .transports
        .get_mut(key)
        .expect("tuples name living transports");
    if !transport.rtcp_budget.take(now_ns) {
        transport.drop(DropReason::RtcpFlood);
        engine.scratch = scratch;
        return;
    }
    let unprotected = match transport.srtp.as_mut() {
        None => Err(DropReason::SrtpNotReady),
        Some(srtp) => {
            srtp.inbound
                .unprotect_rtcp(data, &mut scratch)
                .map_err(|error| match error {
                    SrtpError::AuthenticationFailed => DropReason::SrtcpForged,
                    SrtpError::Replayed | SrtpError::TooOld => DropReason::SrtcpReplay,
                    SrtpError::TooManySources => DropReason::SrtpTooManySources,
                    _ => DropReason::RtcpMalformed,
                })
        }
    };
    match unprotected {
        Ok(len) => {
            engine.record_decrypted(key, &scratch[..len]);
            handle_compound(engine, now_ns, key, &scratch[..len]);
        }
        Err(reason) => engine.count_drop(Some(key), reason),
    }
    engine.scratch = scratch;
}

fn handle_compound(engine: &mut Engine, now_ns: u64, key: TransportKey, compound: &[u8]) {
    for packet in Compound::new(compound).take(PACKETS_MAX) {
        let Ok(packet) = packet else {
            engine.count_drop(Some(key), DropReason::RtcpMalformed);
            return;
        };
        match packet {
            RtcpPacket::SenderReport {
                ssrc,
                info,
                reports,
            } => {
                handle_sender_report(engine, now_ns, key, ssrc, &info);
                for block in reports {
                    handle_report(engine, now_ns, key, &block);
                }
            }
            RtcpPacket::ReceiverReport { reports, .. } => {
                for block in reports {
                    handle_report(engine, now_ns, key, &block);
                }
            }
            RtcpPacket::Nack {
                media_ssrc, lost, ..
            } => {
                if let Some(consumer) = media_consumer(engine, key, media_ssrc) {
                    retransmit::handle_nack(engine, now_ns, consumer, lost);
                }
            }
            RtcpPacket::PictureLossIndication { media_ssrc, .. } => {
                handle_keyframe_request(engine, now_ns, key, media_ssrc, |consumer| {
                    consumer.counters.plis += 1;
                });
            }
            RtcpPacket::FullIntraRequest { entries, .. } => {
                for entry in entries {
                    handle_keyframe_request(engine, now_ns, key, entry.ssrc, |consumer| {
                        consumer.counters.firs += 1;
                    });
                }
            }
            RtcpPacket::Goodbye { ssrcs } => {
                for ssrc in ssrcs {
                    handle_goodbye(engine, key, ssrc);
                }
            }
            RtcpPacket::TransportFeedback(feedback) => {
                downlink::handle_feedback(engine, now_ns, key, &feedback);
            }
            RtcpPacket::ReceiverEstimatedMaximumBitrate { bitrate_bps, .. } => {
                downlink::handle_remb(engine, now_ns, key, bitrate_bps);
            }
            _ => {}
        }
    }
}

fn media_consumer(
    engine: &Engine,
    key: TransportKey,
    ssrc: u32,
) -> Option<super::table::ConsumerKey> {
    let (consumer, stream) = engine.table.transports.get(key)?.stream_of(ssrc)?;
    (stream == StreamKind::Media).then_some(consumer)
}

fn handle_sender_report(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    ssrc: u32,
    info: &SenderInfo,
) {
    let unix_ns = engine.unix_ns(now_ns);
    let Some(transport) = engine.table.transports.get_mut(key) else {
        return;
    };
    let route = transport
        .routes
        .by_ssrc(ssrc)
        .filter(|one| one.stream == StreamKind::Media);
    let Some(route) = route else { return };
    let Some(producer) = engine.table.producers.get_mut(route.producer) else {
        return;
    };
    let encoding = &mut producer.encodings[usize::from(route.encoding)];
    let clock_rate = encoding.clock_rate;
    let Some(reception) = encoding.reception.as_mut() else {
        return;
    };
    reception
        .statistics
        .record_sender_report(info.ntp_timestamp, now_ns);
    if info.ntp_timestamp != 0 {
        let clock = ReportedClock::new(info.ntp_timestamp, info.rtp_timestamp, clock_rate);
        transport.clock.record(&clock, unix_ns);
        reception.clock = Some(clock);
        engine.tell_state(route.producer);
    }
}

fn handle_report(engine: &mut Engine, now_ns: u64, key: TransportKey, block: &ReportBlock) {
    let Some(consumer_key) = media_consumer(engine, key, block.ssrc) else {
        return;
    };
    let now_middle = ntp_middle(ntp_timestamp(engine.unix_ns(now_ns)));
    let Some(consumer) = engine.table.consumers.get_mut(consumer_key) else {
        return;
    };
    consumer.reported.block = Some(*block);
    if let Some(round_trip_ns) = block.round_trip_time_ns(now_middle) {
        consumer.reported.round_trip_ns = Some(round_trip_ns);
    }
    if let Some(transport) = engine.table.transports.get_mut(key) {
        let round_trip_ns = consumer.reported.round_trip_ns;
        let (highest, lost) = (block.extended_highest_sequence_number, block.fraction_lost);
        transport.estimate(|one| one.handle_report(now_ns, highest, lost, round_trip_ns));
    }
    let repaired = consumer.counters.retransmitted;
    let score = consumer.reported.repairs.score(block, repaired);
    let producer = engine.table.producers.get(consumer.producer);
    let producer_score = producer.map_or(0, |one| one.score_seen_by(consumer));
    let due = now_ns.saturating_sub(consumer.score_sent_ns) >= SCORE_INTERVAL_NS;
    // What wavers by one at the publisher is not told to each of its viewers.
    let same = consumer.producer_score.abs_diff(producer_score) < PRODUCER_SCORE_STEP;
    if (consumer.score == Some(score) && same) || !due {
        return;
    }
    consumer.score = Some(score);
    consumer.producer_score = producer_score;
    consumer.score_sent_ns = now_ns;
    engine.notices.push(Notice::ConsumerScore {
        consumer: consumer.row.consumer.clone(),
        score,
        producer_score,
    });
}

fn handle_keyframe_request(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    media_ssrc: u32,
    count: impl Fn(&mut Consumer),
) {
    let Some(consumer_key) = media_consumer(engine, key, media_ssrc) else {
        return;
    };
    if let Some(consumer) = engine.table.consumers.get_mut(consumer_key) {
        count(consumer);
        let is_seeing = consumer.selection.current().is_some();
        if is_seeing && now_ns.saturating_sub(consumer.started_ns) < ANSWERED_NS {
            return;
        }
    }
    engine.request_keyframe_for(now_ns, consumer_key);
}

/// A publisher ends a stream: it is silent at once.
fn handle_goodbye(engine: &mut Engine, key: TransportKey, ssrc: u32) {
    let Some(transport) = engine.table.transports.get(key) else {
        return;
    };
    let route = transport
        .routes
        .by_ssrc(ssrc)
        .filter(|one| one.stream == StreamKind::Media);
    if let Some(route) = route {
        rtcp_out::silence(engine, route.producer, |place, _| {
            place == usize::from(route.encoding)
        });
    }
}
