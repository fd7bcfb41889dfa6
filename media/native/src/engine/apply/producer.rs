//! Rows of producers.

use super::super::Engine;
use super::super::consumer::Reason;
use super::super::error::OrderError;
use super::super::mirror::{self, Home};
use super::super::producer::Producer;
use super::super::routes::{EncodingLabel, ProducerLabel, StreamKind};
use super::super::table::{ProducerKey, Table};
use super::super::transport::Transport;
use super::consumer::renew_format;
use super::{LIST_MAX, ensure, extension_kind, is_name};
use crate::rtp::{ExtensionKind, ExtensionMap};
use crate::wire::orders::{SetMirror, SetProducer};

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

pub(super) fn set_producer(
    engine: &mut Engine,
    now_ns: u64,
    row: SetProducer,
) -> Result<(), OrderError> {
    let Engine { table, config, .. } = engine;
    let limits = &config.limits;
    let key = table.producer(&row.producer);
    if let Some(present) = key.and_then(|key| table.producers.get(key)) {
        if present.row == row {
            return Ok(());
        }
        let same = present.row.transport == row.transport && present.row.kind == row.kind;
        ensure(
            same && present.transport().is_some(),
            OrderError::ImmutableField,
        )?;
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
            let key =
                table
                    .producers
                    .insert(Producer::new(row, Home::Transport(transport_key), limits));
            table.producer_ids.insert(id, key);
            transport.producers.push(key);
            set_routes(table, key);
        }
    }
    engine.arm_tick(now_ns, transport_key);
    Ok(())
}

/// Makes a mirror, or changes its row. Its producer was checked by its own worker.
pub(super) fn set_mirror(
    engine: &mut Engine,
    now_ns: u64,
    SetMirror { home, row }: SetMirror,
) -> Result<(), OrderError> {
    let Engine { table, config, .. } = engine;
    ensure(home != config.worker, OrderError::WrongWorker)?;
    let key = table.producer(&row.producer);
    let Some((key, present)) = key.and_then(|key| Some((key, table.producers.get(key)?))) else {
        ensure(
            table.producers.len() < config.limits.producers_max,
            OrderError::TableFull,
        )?;
        mirror::insert(engine, now_ns, home, row);
        return Ok(());
    };
    let same = matches!(&present.home, Home::Sibling(mirror) if mirror.worker == home);
    ensure(
        same && present.row.kind == row.kind,
        OrderError::ImmutableField,
    )?;
    if present.row != row {
        update_producer(engine, now_ns, key, row);
        engine.table.links.mark(key);
    }
    Ok(())
}

/// Writes a producer's streams into its transport's routing table.
fn set_routes(table: &mut Table, key: ProducerKey) {
    let producer = table.producers.get(key).expect("just set");
    let transport = producer.transport();
    let Some(transport) = transport.and_then(|key| table.transports.get_mut(key)) else {
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
        if let Home::Sibling(mirror) = &mut producer.home {
            mirror.forget();
        }
    }
    if streams_changed || codecs_changed {
        set_routes(table, key);
    }
    for &consumer in &consumers {
        if codecs_changed {
            renew_format(&mut engine.table, consumer);
        }
        if streams_changed || codecs_changed || (pause_changed && paused) {
            let reason = match pause_changed && paused {
                true => Reason::Paused,
                false => Reason::Publisher,
            };
            engine.stop_consumer(consumer, reason);
        }
    }
    if pause_changed && let Some(producer) = engine.table.producers.get_mut(key) {
        // Nobody begins with what was before a pause.
        for encoding in &mut producer.encodings {
            encoding.history.clear();
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
