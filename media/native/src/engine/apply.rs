//! Carries out orders: rows into the tables, acts at once.
//!
//! A row is checked as a whole before anything changes. A row that equals the
//! present one changes nothing.

use std::collections::HashMap;

use super::Engine;
use super::consumer::{Consumer, OutboundCounters, Reported, RtxStream};
use super::error::OrderError;
use super::ice::GENERATIONS_MAX;
use super::meter::{Budget, RateMeter};
use super::producer::Producer;
use super::random::Random;
use super::rewrite::Rewriter;
use super::routes::{EncodingLabel, ProducerLabel, StreamKind};
use super::selection::Selection;
use super::table::{ConsumerKey, ProducerKey, Table, TransportKey};
use super::transport::{Srtp, Transport};
use crate::rtp::{ExtensionKind, ExtensionMap};
use crate::srtp::{Inbound, Outbound, OutboundStream, Profile};
use crate::wire::answers::Data;
use crate::wire::orders::{
    EntryKind, ExtensionName, IceCredentials, Order, Remove, RequestKeyFrame, SendDtls,
    SetConsumer, SetProducer, SetSrtpKeys, SetTransport, SrtpProfile,
};

/// What an order that was carried out is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing to tell.
    Done,
    /// What was asked for.
    Data(Data),
}

/// First sequence numbers lie below this, far from the wrap: a viewer that
/// misses the first packets must still guess the rollover counter (RFC 3711, 3.3.1).
const FIRST_SEQUENCE_MAX: u64 = 1 << 14;

/// Longest id, mid, rid or CNAME, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// Longest mid that fits a one-byte header extension.
const MID_BYTES_MAX: usize = 16;

/// Most codecs, encodings or extensions of one row.
const LIST_MAX: usize = 64;

/// Streams whose end is remembered for a transport's life, see `Transport::ended`.
const ENDED_MAX: usize = 65_536;

pub(super) fn apply(engine: &mut Engine, now_ns: u64, order: Order) -> Result<Answer, OrderError> {
    match order {
        Order::SetTransport(row) => set_transport(engine, now_ns, row)?,
        Order::SetSrtpKeys(keys) => set_srtp_keys(engine, now_ns, keys)?,
        Order::SetProducer(row) => set_producer(engine, now_ns, row)?,
        Order::SetConsumer(row) => set_consumer(engine, now_ns, row)?,
        Order::Remove(remove) => self::remove(engine, &remove),
        Order::RequestKeyFrame(RequestKeyFrame { consumer }) => {
            let key = engine
                .table
                .consumer(&consumer)
                .ok_or(OrderError::UnknownConsumer)?;
            engine.request_keyframe_for(now_ns, key);
        }
        Order::SendDtls(send) => send_dtls(engine, &send)?,
        Order::Describe {} => return Ok(Answer::Data(Data::Table(engine.describe()))),
        Order::QueryStats(query) => {
            return Ok(Answer::Data(Data::Stats(engine.stats(now_ns, &query.ids))));
        }
        Order::Hello(_) | Order::Quit {} => return Err(OrderError::NotForEngine),
    }
    Ok(Answer::Done)
}

fn ensure(condition: bool, error: OrderError) -> Result<(), OrderError> {
    if condition { Ok(()) } else { Err(error) }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX
}

fn set_transport(engine: &mut Engine, now_ns: u64, row: SetTransport) -> Result<(), OrderError> {
    ensure(row.worker == engine.config.worker, OrderError::WrongWorker)?;
    ensure(
        is_name(&row.transport) && !row.ice.is_empty(),
        OrderError::InvalidRow,
    )?;
    let credentials_fit =
        |one: &IceCredentials| is_name(&one.ufrag) && !one.ufrag.contains(':') && is_name(&one.pwd);
    let accepted = &row.ice[..row.ice.len().min(GENERATIONS_MAX)];
    ensure(accepted.iter().all(credentials_fit), OrderError::InvalidRow)?;
    let table = &mut engine.table;
    let key = table.transport(&row.transport);
    let taken = |ufrag: &String| table.ufrags.get(ufrag).is_some_and(|&one| Some(one) != key);
    ensure(
        !accepted.iter().any(|one| taken(&one.ufrag)),
        OrderError::UfragInUse,
    )?;
    let key = match key {
        Some(key) => {
            update_transport(table, key, row)?;
            key
        }
        None => {
            let limits = &engine.config.limits;
            ensure(
                table.transports.len() < limits.transports_max,
                OrderError::TableFull,
            )?;
            let id = row.transport.clone();
            let rtcp_ssrc = (engine.random.next_u64() as u32).max(1);
            let key = table
                .transports
                .insert(Transport::new(row, rtcp_ssrc, limits));
            table.transport_ids.insert(id, key);
            key
        }
    };
    let transport = table.transports.get(key).expect("just set");
    for ufrag in transport.ice.ufrags() {
        table.ufrags.insert(ufrag.to_owned(), key);
    }
    engine.arm_tick(now_ns, key);
    Ok(())
}

fn update_transport(
    table: &mut Table,
    key: TransportKey,
    row: SetTransport,
) -> Result<(), OrderError> {
    let transport = table.transports.get_mut(key).expect("looked up before");
    ensure(
        row.direction == transport.row.direction,
        OrderError::ImmutableField,
    )?;
    if row.ice != transport.row.ice {
        for ufrag in transport.ice.ufrags() {
            table.ufrags.remove(ufrag);
        }
        transport.ice.set_credentials(&row.ice);
    }
    transport.row = row;
    Ok(())
}

fn profile_of(profile: SrtpProfile) -> Profile {
    match profile {
        SrtpProfile::AeadAes128Gcm => Profile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm => Profile::AeadAes256Gcm,
        SrtpProfile::Aes128CmHmacSha1_80 => Profile::Aes128CmHmacSha1_80,
    }
}

fn set_srtp_keys(engine: &mut Engine, now_ns: u64, keys: SetSrtpKeys) -> Result<(), OrderError> {
    let key = engine
        .table
        .transport(&keys.transport)
        .ok_or(OrderError::UnknownTransport)?;
    let transport = engine.table.transports.get_mut(key).expect("looked up");
    if transport
        .srtp
        .as_ref()
        .is_some_and(|srtp| srtp.keys == keys)
    {
        return Ok(());
    }
    let profile = profile_of(keys.profile);
    let split = |secret: &[u8]| {
        let fits = secret.len() == profile.key_len() + profile.salt_len();
        fits.then(|| {
            let (master_key, salt) = secret.split_at(profile.key_len());
            (master_key.to_vec(), salt.to_vec())
        })
    };
    let local = split(keys.local.expose()).ok_or(OrderError::BadKeyLength)?;
    let remote = split(keys.remote.expose()).ok_or(OrderError::BadKeyLength)?;
    let outbound =
        Outbound::new(profile, &local.0, &local.1).map_err(|_| OrderError::BadKeyLength)?;
    let inbound =
        Inbound::new(profile, &remote.0, &remote.1).map_err(|_| OrderError::BadKeyLength)?;
    let is_first = transport.srtp.is_none();
    transport.srtp = Some(Srtp {
        keys,
        inbound,
        outbound,
    });
    transport.ended.clear();
    let consumers = transport.consumers.clone();
    for consumer_key in consumers {
        let consumer = engine
            .table
            .consumers
            .get_mut(consumer_key)
            .expect("of this transport");
        if !is_first {
            // New keys begin with rollover counter 0, on both sides.
            let first = engine.random.below(FIRST_SEQUENCE_MAX) + 1;
            consumer.rewriter = Rewriter::new(consumer.clock_rate, first);
            consumer.stream = OutboundStream::new();
            consumer.resent.clear();
            if let Some(rtx) = consumer.rtx.as_mut() {
                rtx.stream = OutboundStream::new();
                rtx.next = engine.random.below(FIRST_SEQUENCE_MAX) + 1;
            }
            engine.stop_consumer(consumer_key);
        }
    }
    engine.start_waiting_consumers(now_ns, key);
    engine.serve_keyframes_of(now_ns, key);
    Ok(())
}

fn extension_kind(name: ExtensionName) -> ExtensionKind {
    match name {
        ExtensionName::Mid => ExtensionKind::Mid,
        ExtensionName::Rid => ExtensionKind::Rid,
        ExtensionName::RepairedRid => ExtensionKind::RepairedRid,
        ExtensionName::AbsSendTime => ExtensionKind::AbsSendTime,
        ExtensionName::TransportCc => ExtensionKind::TransportCc,
        ExtensionName::AudioLevel => ExtensionKind::AudioLevel,
        ExtensionName::VideoOrientation => ExtensionKind::VideoOrientation,
        ExtensionName::PlayoutDelay => ExtensionKind::PlayoutDelay,
        ExtensionName::DependencyDescriptor => ExtensionKind::DependencyDescriptor,
        ExtensionName::VideoLayersAllocation => ExtensionKind::VideoLayersAllocation,
        ExtensionName::AbsCaptureTime => ExtensionKind::AbsCaptureTime,
    }
}

/// The header extensions that all producers of a transport agree on.
fn merged_extensions(
    table: &Table,
    transport: &Transport,
    key: Option<ProducerKey>,
    row: &SetProducer,
) -> Result<Vec<(u8, ExtensionKind)>, OrderError> {
    let others = transport.producers.iter().filter(|&&one| Some(one) != key);
    let rows = others
        .filter_map(|&one| table.producers.get(one))
        .map(|one| &one.row);
    let mut merged: Vec<(u8, ExtensionKind)> = Vec::new();
    for extension in rows.chain([row]).flat_map(|row| &row.header_extensions) {
        let pair = (extension.id, extension_kind(extension.name));
        if merged.contains(&pair) {
            continue;
        }
        let clash = merged
            .iter()
            .any(|&(id, kind)| id == pair.0 || kind == pair.1);
        ensure(!clash, OrderError::ExtensionConflict)?;
        merged.push(pair);
    }
    Ok(merged)
}

fn check_producer(row: &SetProducer) -> Result<(), OrderError> {
    let lists = [
        row.codecs.len(),
        row.encodings.len(),
        row.header_extensions.len(),
    ];
    let codecs_fit = row.codecs.iter().all(|codec| {
        let types = [Some(codec.payload_type), codec.rtx_payload_type];
        let mapped = [
            Some(codec.mapped_payload_type),
            codec.mapped_rtx_payload_type,
        ];
        codec.clock_rate > 0
            && types
                .into_iter()
                .chain(mapped)
                .flatten()
                .all(|one| one < 128)
    });
    let fits = is_name(&row.producer)
        && lists.iter().all(|&length| length <= LIST_MAX)
        && !row.codecs.is_empty()
        && !row.encodings.is_empty()
        && codecs_fit
        && row
            .header_extensions
            .iter()
            .all(|one| one.id > 0 && one.mapped_id > 0);
    ensure(fits, OrderError::InvalidRow)
}

fn set_producer(engine: &mut Engine, now_ns: u64, row: SetProducer) -> Result<(), OrderError> {
    let Engine { table, config, .. } = engine;
    let limits = &config.limits;
    let key = table.producer(&row.producer);
    if let Some(present) = key.and_then(|key| table.producers.get(key)) {
        if present.row == row {
            return Ok(());
        }
        let same = present.row.transport == row.transport && present.row.kind == row.kind;
        ensure(same, OrderError::ImmutableField)?;
    }
    let transport_key = table
        .transport(&row.transport)
        .ok_or(OrderError::UnknownTransport)?;
    let transport = table.transports.get(transport_key).expect("looked up");
    ensure(transport.is_publisher(), OrderError::WrongDirection)?;
    check_producer(&row)?;
    let extensions = merged_extensions(table, transport, key, &row)?;
    let announced: Vec<u32> = row
        .encodings
        .iter()
        .flat_map(|one| [one.ssrc, one.rtx_ssrc])
        .flatten()
        .collect();
    let twice = (1..announced.len()).any(|n| announced[..n].contains(&announced[n]));
    let taken = announced
        .iter()
        .any(|&ssrc| transport.routes.is_announced(ssrc, key));
    ensure(!twice && !taken, OrderError::SsrcInUse)?;
    ensure(
        transport.routes.has_room(announced.len()),
        OrderError::TableFull,
    )?;
    if key.is_none() {
        let full = table.producers.len() >= limits.producers_max
            || transport.producers.len() >= limits.producers_per_transport_max;
        ensure(!full, OrderError::TableFull)?;
    }

    let transport = table.transports.get_mut(transport_key).expect("looked up");
    transport.extensions = ExtensionMap::new(&extensions);
    transport.extension_ids = extensions;
    match key {
        Some(key) => update_producer(engine, now_ns, key, row),
        None => {
            let id = row.producer.clone();
            let key = table
                .producers
                .insert(Producer::new(row, transport_key, limits));
            table.producer_ids.insert(id, key);
            transport.producers.push(key);
            set_routes(table, key);
        }
    }
    engine.arm_tick(now_ns, transport_key);
    Ok(())
}

/// Writes a producer's streams into its transport's routing table.
fn set_routes(table: &mut Table, key: ProducerKey) {
    let producer = table.producers.get(key).expect("just set");
    let Some(transport) = table.transports.get_mut(producer.transport) else {
        return;
    };
    let row = &producer.row;
    let mut payload_types = Vec::new();
    for codec in &row.codecs {
        payload_types.push((codec.payload_type, StreamKind::Media));
        payload_types.extend(codec.rtx_payload_type.map(|one| (one, StreamKind::Rtx)));
    }
    let encodings = row.encodings.iter().map(|one| EncodingLabel {
        rid: one.rid.clone(),
        ssrc: one.ssrc.map(|ssrc| (ssrc, true)),
        rtx_ssrc: one.rtx_ssrc.map(|ssrc| (ssrc, true)),
    });
    transport.routes.set(ProducerLabel {
        producer: key,
        mid: row.mid.clone(),
        encodings: encodings.collect(),
        payload_types,
        learned: 0,
    });
}

fn update_producer(engine: &mut Engine, now_ns: u64, key: ProducerKey, row: SetProducer) {
    let table = &mut engine.table;
    let producer = table.producers.get_mut(key).expect("looked up");
    let old = std::mem::replace(&mut producer.row, row);
    let row = &producer.row;
    let streams_changed = old.encodings != row.encodings || old.mid != row.mid;
    let codecs_changed = old.codecs != row.codecs || old.header_extensions != row.header_extensions;
    let pause_changed = old.paused != row.paused;
    let (paused, consumers) = (row.paused, producer.consumers.clone());
    if codecs_changed {
        producer.set_codecs();
    }
    if old.encodings != producer.row.encodings {
        producer.set_encodings(&engine.config.limits);
    }
    if streams_changed || codecs_changed {
        set_routes(table, key);
    }
    for &consumer in &consumers {
        if codecs_changed {
            renew_format(&mut engine.table, consumer);
        }
        if streams_changed || codecs_changed || (pause_changed && paused) {
            engine.stop_consumer(consumer);
        }
    }
    if paused && let Some(producer) = engine.table.producers.get_mut(key) {
        producer.pending.clear();
    }
    if streams_changed || codecs_changed || (pause_changed && !paused) {
        engine.select_layers(now_ns, key);
        engine.start_waiting_of_producer(now_ns, key);
    }
}

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
/// two different packets. Such a viewer gets no abs-send-time and no
/// transport-wide numbers.
fn extensions_for(row: &SetConsumer) -> Vec<(u8, ExtensionKind)> {
    let resends_plainly = row.rtx_ssrc.is_none() && row.codecs.iter().any(|codec| codec.nack);
    let pairs = row
        .header_extensions
        .iter()
        .map(|one| (one.id, extension_kind(one.name)));
    let timed = [ExtensionKind::AbsSendTime, ExtensionKind::TransportCc];
    pairs
        .filter(|(_, kind)| !(resends_plainly && timed.contains(kind)))
        .collect()
}

fn renew_format(table: &mut Table, key: ConsumerKey) {
    let Some(consumer) = table.consumers.get_mut(key) else {
        return;
    };
    let Some(producer) = table.producers.get_mut(consumer.producer) else {
        return;
    };
    let (media, rtx) = payload_types(&producer.row, &consumer.row);
    producer.release_format(consumer.format);
    consumer.format = producer.take_format(extensions_for(&consumer.row), media);
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
        && row.mid.len() <= MID_BYTES_MAX
        && row.cname.len() <= TEXT_BYTES_MAX
        && row.header_extensions.iter().all(|one| one.id > 0)
        && row.rtx_ssrc != Some(row.ssrc);
    ensure(fits, OrderError::InvalidRow)
}

fn set_consumer(engine: &mut Engine, now_ns: u64, row: SetConsumer) -> Result<(), OrderError> {
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
    let format = producer.take_format(extensions_for(&row), media);
    let consumer = Consumer {
        transport: transport_key,
        producer: producer_key,
        format,
        clock_rate,
        rtx_payload_types,
        stream,
        rtx,
        rewriter: Rewriter::new(clock_rate, first),
        selection: Selection::default(),
        last_payload_type: None,
        meter: RateMeter::default(),
        counters: OutboundCounters::default(),
        reported: Reported::default(),
        report_due_ns: 0,
        resent: Vec::new(),
        resent_next: 0,
        resend_budget: Budget::new(config.limits.retransmissions_per_second_max),
        score: None,
        score_sent_ns: 0,
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
    engine.aim_consumer(now_ns, key);
}

fn update_consumer(engine: &mut Engine, now_ns: u64, key: ConsumerKey, row: SetConsumer) {
    let Engine { table, random, .. } = engine;
    let consumer = table.consumers.get_mut(key).expect("looked up");
    let old = std::mem::replace(&mut consumer.row, row);
    let row = &consumer.row;
    let pause_changed = old.paused != row.paused;
    let mut neutral = row.clone();
    neutral.paused = old.paused;
    neutral.spatial_layer = old.spatial_layer;
    neutral.temporal_layer = old.temporal_layer;
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
        engine.stop_consumer(key);
    }
    engine.aim_consumer(now_ns, key);
}

fn remove(engine: &mut Engine, remove: &Remove) {
    let table = &mut engine.table;
    match remove.kind {
        EntryKind::Transport => {
            if let Some(key) = table.transport(&remove.id) {
                table.remove_transport(key);
            }
        }
        EntryKind::Producer => {
            if let Some(key) = table.producer(&remove.id) {
                table.remove_producer(key);
            }
        }
        EntryKind::Consumer => {
            if let Some(key) = table.consumer(&remove.id) {
                table.remove_consumer(key);
            }
        }
    }
}

fn send_dtls(engine: &mut Engine, send: &SendDtls) -> Result<(), OrderError> {
    let key = engine
        .table
        .transport(&send.transport)
        .ok_or(OrderError::UnknownTransport)?;
    let transport = engine.table.transports.get_mut(key).expect("looked up");
    // Without a tuple the records are lost like any datagram, and DTLS sends them again.
    let Some(remote) = transport.ice.selected() else {
        return Ok(());
    };
    for datagram in &send.datagrams {
        engine.outbox.push(key, remote, datagram);
    }
    Ok(())
}
