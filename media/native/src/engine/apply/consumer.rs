//! Rows of consumers.

use std::collections::HashMap;

use super::super::Engine;
use super::super::allocate::Memory;
use super::super::consumer::{Brief, Consumer, OutboundCounters, Reason, Reported, RtxStream};
use super::super::error::OrderError;
use super::super::filter::{ALL, LayerFilter};
use super::super::freeze::FreezeWatch;
use super::super::meter::{Budget, RateMeter};
use super::super::picture::PictureNumbers;
use super::super::random::Random;
use super::super::rewrite::Rewriter;
use super::super::routes::StreamKind;
use super::super::selection::Selection;
use super::super::table::{ConsumerKey, ProducerKey, Table, TransportKey};
use super::{LIST_MAX, TEXT_BYTES_MAX, ensure, extension_kind, is_name};
use crate::rtp::{ExtensionKind, MID_LEN_MAX};
use crate::srtp::OutboundStream;
use crate::wire::orders::{SetConsumer, SetProducer};

/// First sequence numbers lie below this, far from the wrap: a viewer that
/// misses the first packets must still guess the rollover counter (RFC 3711, 3.3.1).
pub(super) const FIRST_SEQUENCE_MAX: u64 = 1 << 14;

/// Streams whose end is remembered for a transport's life, see `Transport::ended`.
const ENDED_MAX: usize = 65_536;

/// (incoming, outgoing) payload types, media and RTX apart.
type PayloadTypes = (Vec<(u8, u8)>, Vec<(u8, u8)>);

fn payload_types(producer: &SetProducer, consumer: &SetConsumer) -> PayloadTypes {
    let mut media = Vec::new();
    let mut rtx = Vec::new();
    for ours in &producer.codecs {
        let mapped = ours.mapped_payload_type;
        let Some(theirs) = consumer
            .codecs
            .iter()
            .find(|one| one.payload_type == mapped)
        else {
            continue;
        };
        media.push((ours.payload_type, mapped));
        rtx.extend(theirs.rtx_payload_type.map(|one| (ours.payload_type, one)));
    }
    (media, rtx)
}

/// The extensions that are written for a consumer.
///
/// Without an RTX stream a retransmission is the same SRTP packet again, so
/// nothing in it may depend on when it is sent: an index must not be used for
/// two different packets. Such a viewer gets no abs-send-time, no transport-wide
/// numbers, and no dependency descriptors: these tell the layers of the moment.
fn extensions_for(row: &SetConsumer) -> Vec<(u8, ExtensionKind)> {
    let resends_plainly = row.rtx_ssrc.is_none() && row.codecs.iter().any(|codec| codec.nack);
    let pairs = row
        .header_extensions
        .iter()
        .map(|one| (one.id, extension_kind(one.name)));
    let timed = [
        ExtensionKind::AbsSendTime,
        ExtensionKind::TransportCc,
        ExtensionKind::DependencyDescriptor,
    ];
    pairs
        .filter(|(_, kind)| !(resends_plainly && timed.contains(kind)))
        .collect()
}

pub(super) fn renew_format(table: &mut Table, key: ConsumerKey) {
    let Some(consumer) = table.consumers.get_mut(key) else {
        return;
    };
    let Some(producer) = table.producers.get_mut(consumer.producer) else {
        return;
    };
    let (media, rtx) = payload_types(&producer.row, &consumer.row);
    producer.release_format(consumer.format);
    consumer.format = producer.take_format(&extensions_for(&consumer.row), &media);
    consumer.rtx_payload_types = rtx;
    consumer.rewriter.forget_sent();
}

fn check_consumer(row: &SetConsumer) -> Result<(), OrderError> {
    let codecs_fit = row.codecs.iter().all(|codec| {
        codec.payload_type < 128 && codec.rtx_payload_type.is_none_or(|one| one < 128)
    });
    let fits = is_name(&row.consumer)
        && row.codecs.len() <= LIST_MAX
        && row.header_extensions.len() <= LIST_MAX
        && codecs_fit
        && row.mid.len() <= MID_LEN_MAX
        && row.cname.len() <= TEXT_BYTES_MAX
        && row.header_extensions.iter().all(|one| one.id > 0)
        && row.rtx_ssrc != Some(row.ssrc)
        && row.priority > 0;
    ensure(fits, OrderError::InvalidRow)
}

pub(super) fn set_consumer(
    engine: &mut Engine,
    now_ns: u64,
    row: SetConsumer,
) -> Result<(), OrderError> {
    let table = &engine.table;
    let key = table.consumer(&row.consumer);
    if let Some(present) = key.and_then(|key| table.consumers.get(key)) {
        if present.row == row {
            return Ok(());
        }
        let same = present.row.transport == row.transport
            && present.row.producer == row.producer
            && present.row.kind == row.kind;
        ensure(same, OrderError::ImmutableField)?;
    }
    let transport_key = table
        .transport(&row.transport)
        .ok_or(OrderError::UnknownTransport)?;
    let transport = table.transports.get(transport_key).expect("looked up");
    ensure(!transport.is_publisher(), OrderError::WrongDirection)?;
    let producer_key = table
        .producer(&row.producer)
        .ok_or(OrderError::UnknownProducer)?;
    let producer = table.producers.get(producer_key).expect("looked up");
    check_consumer(&row)?;
    ensure(producer.row.kind == row.kind, OrderError::InvalidRow)?;
    ensure(
        !payload_types(&producer.row, &row).0.is_empty(),
        OrderError::NoCommonCodec,
    )?;
    let taken = |ssrc| {
        transport
            .stream_of(ssrc)
            .is_some_and(|(one, _)| Some(one) != key)
    };
    ensure(
        !taken(row.ssrc) && !row.rtx_ssrc.is_some_and(taken),
        OrderError::SsrcInUse,
    )?;
    match key {
        Some(key) => update_consumer(engine, now_ns, key, row),
        None => {
            let limits = &engine.config.limits;
            let full = table.consumers.len() >= limits.consumers_max
                || transport.consumers.len() >= limits.consumers_per_transport_max
                || transport.ended.len() >= ENDED_MAX;
            ensure(!full, OrderError::TableFull)?;
            insert_consumer(engine, now_ns, transport_key, producer_key, row);
        }
    }
    engine.arm_tick(now_ns, transport_key);
    Ok(())
}

/// First sequence number of an outgoing stream.
///
/// Where an earlier stream with this SSRC and these keys ended, it goes on: an
/// SRTP index is never used twice.
fn begin_stream(
    ended: &HashMap<u32, u64>,
    random: &mut Random,
    ssrc: u32,
) -> (u64, OutboundStream) {
    match ended.get(&ssrc) {
        Some(&next) => (next, OutboundStream::resume_at(next)),
        None => (random.below(FIRST_SEQUENCE_MAX) + 1, OutboundStream::new()),
    }
}

fn begin_rtx(ended: &HashMap<u32, u64>, random: &mut Random, ssrc: u32) -> RtxStream {
    let (next, stream) = begin_stream(ended, random, ssrc);
    RtxStream { ssrc, stream, next }
}

fn insert_consumer(
    engine: &mut Engine,
    now_ns: u64,
    transport_key: TransportKey,
    producer_key: ProducerKey,
    row: SetConsumer,
) {
    let Engine {
        table,
        random,
        config,
        ..
    } = engine;
    let transport = table.transports.get_mut(transport_key).expect("looked up");
    let producer = table.producers.get_mut(producer_key).expect("looked up");
    let (media, rtx_payload_types) = payload_types(&producer.row, &row);
    let first_type = media[0].0;
    let clock_rate = producer
        .codec_of(first_type)
        .map_or(90_000, |codec| codec.row.clock_rate);
    let (first, stream) = begin_stream(&transport.ended, random, row.ssrc);
    let rtx = row
        .rtx_ssrc
        .map(|ssrc| begin_rtx(&transport.ended, random, ssrc));
    let format = producer.take_format(&extensions_for(&row), &media);
    let consumer = Consumer {
        transport: transport_key,
        producer: producer_key,
        format,
        clock_rate,
        rtx_payload_types,
        stream,
        rtx,
        rewriter: Rewriter::new(clock_rate, first),
        pictures: PictureNumbers::default(),
        selection: Selection::default(),
        filter: LayerFilter::default(),
        wanted: (ALL, ALL),
        cut: false,
        forsaken: 0,
        ask_at_ns: None,
        grant: None,
        memory: Memory::default(),
        has_choice: false,
        reason: Reason::default(),
        told: None,
        started_ns: 0,
        cursor: None,
        served: 0,
        last_payload_type: None,
        meter: RateMeter::default(),
        freeze: FreezeWatch::default(),
        counters: OutboundCounters::default(),
        reported: Reported::default(),
        report_due_ns: 0,
        resent: Vec::new(),
        resent_next: 0,
        resend_budget: Budget::new(config.limits.retransmissions_per_second_max),
        score: None,
        producer_score: 0,
        score_sent_ns: 0,
        brief: Brief::of(&row),
        row,
    };
    let (id, ssrc, rtx_ssrc) = (
        consumer.row.consumer.clone(),
        consumer.row.ssrc,
        consumer.row.rtx_ssrc,
    );
    let key = table.consumers.insert(consumer);
    table.consumer_ids.insert(id, key);
    transport.consumers.push(key);
    transport.add_stream(ssrc, key, StreamKind::Media);
    if let Some(ssrc) = rtx_ssrc {
        transport.add_stream(ssrc, key, StreamKind::Rtx);
    }
    producer.consumers.push(key);
    engine.reallocate(now_ns, transport_key);
    engine.aim_consumer(now_ns, key);
}

fn update_consumer(engine: &mut Engine, now_ns: u64, key: ConsumerKey, row: SetConsumer) {
    let Engine { table, random, .. } = engine;
    let consumer = table.consumers.get_mut(key).expect("looked up");
    let transport_key = consumer.transport;
    // Whatever was allocated was for the old wishes.
    consumer.grant = None;
    let old = consumer.replace_row(row);
    let row = &consumer.row;
    let pause_changed = old.paused != row.paused;
    let mut neutral = row.clone();
    neutral.paused = old.paused;
    neutral.spatial_layer = old.spatial_layer;
    neutral.temporal_layer = old.temporal_layer;
    neutral.priority = old.priority;
    let look_changed = neutral != old;
    let paused = row.paused;
    if look_changed {
        let transport = table
            .transports
            .get_mut(consumer.transport)
            .expect("of this consumer");
        transport.remove_streams(key);
        if old.ssrc != row.ssrc {
            let (first, stream) = begin_stream(&transport.ended, random, row.ssrc);
            let renewed = Rewriter::new(consumer.clock_rate, first);
            let ended = std::mem::replace(&mut consumer.rewriter, renewed);
            consumer.stream = stream;
            transport.ended.insert(old.ssrc, ended.next_sequence());
        }
        if old.rtx_ssrc != row.rtx_ssrc {
            let renewed = row
                .rtx_ssrc
                .map(|ssrc| begin_rtx(&transport.ended, random, ssrc));
            if let Some(ended) = std::mem::replace(&mut consumer.rtx, renewed) {
                transport.ended.insert(ended.ssrc, ended.next);
            }
        }
        transport.add_stream(row.ssrc, key, StreamKind::Media);
        if let Some(ssrc) = row.rtx_ssrc {
            transport.add_stream(ssrc, key, StreamKind::Rtx);
        }
        renew_format(table, key);
    }
    if look_changed || (pause_changed && paused) {
        engine.stop_consumer(
            key,
            if paused {
                Reason::Paused
            } else {
                Reason::Preferred
            },
        );
    }
    engine.reallocate(now_ns, transport_key);
    engine.aim_consumer(now_ns, key);
}
