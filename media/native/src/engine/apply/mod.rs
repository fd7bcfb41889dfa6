//! Carries out orders: rows into the tables, acts at once.
//!
//! A row is checked as a whole before anything changes. A row that equals the
//! present one changes nothing.

mod consumer;
mod producer;
mod transport;

use super::Engine;
use super::error::OrderError;
use crate::rtp::ExtensionKind;
use crate::wire::answers::Data;
use crate::wire::orders::{EntryKind, ExtensionName, Order, Remove, RequestKeyFrame};

/// What an order that was carried out is answered with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing to tell.
    Done,
    /// What was asked for.
    Data(Data),
}
/// Longest id, mid, rid or CNAME, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// Most codecs, encodings or extensions of one row.
const LIST_MAX: usize = 64;

pub(super) fn apply(engine: &mut Engine, now_ns: u64, order: Order) -> Result<Answer, OrderError> {
    match order {
        Order::SetTransport(row) => transport::set_transport(engine, now_ns, row)?,
        Order::SetSrtpKeys(keys) => transport::set_srtp_keys(engine, now_ns, keys)?,
        Order::SetProducer(row) => producer::set_producer(engine, now_ns, row)?,
        Order::SetMirror(mirror) => producer::set_mirror(engine, now_ns, mirror)?,
        Order::SetConsumer(row) => consumer::set_consumer(engine, now_ns, row)?,
        Order::Remove(entry) => remove(engine, &entry),
        Order::RequestKeyFrame(RequestKeyFrame { consumer }) => {
            let key = engine
                .table
                .consumer(&consumer)
                .ok_or(OrderError::UnknownConsumer)?;
            engine.request_keyframe_for(now_ns, key);
        }
        Order::SendDtls(send) => transport::send_dtls(engine, &send)?,
        Order::FreezeRecorder(freeze) => super::recording::freeze(engine, now_ns, &freeze)?,
        Order::Describe {} => return Ok(Answer::Data(Data::Table(engine.describe()))),
        Order::QueryStats(query) => {
            return Ok(Answer::Data(Data::Stats(engine.stats(now_ns, &query.ids))));
        }
        Order::Hello(_) | Order::Quit {} => return Err(OrderError::NotForEngine),
        Order::Unknown => return Err(OrderError::UnknownOrder),
    }
    Ok(Answer::Done)
}

fn ensure(condition: bool, error: OrderError) -> Result<(), OrderError> {
    if condition { Ok(()) } else { Err(error) }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX
}

pub(super) fn extension_kind(name: ExtensionName) -> ExtensionKind {
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

fn remove(engine: &mut Engine, remove: &Remove) {
    let table = &mut engine.table;
    match remove.kind {
        EntryKind::Transport => {
            if let Some(key) = table.transport(&remove.id) {
                if let Some(transport) = table.transports.get(key) {
                    engine.fanout.recorder.release(&transport.ring);
                }
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
