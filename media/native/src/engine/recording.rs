//! Where the engine and the flight recorder touch: one call at each place where a packet comes in,
//! is dropped or leaves, and what an order to freeze does.

use std::net::SocketAddr;

use serde_bytes::ByteBuf;

use super::Engine;
use super::error::{DropReason, OrderError};
use super::table::TransportKey;
use crate::demux::DatagramKind;
use crate::recorder::{Class, chunks};
use crate::wire::notices::Notice;
use crate::wire::orders::FreezeRecorder;

fn class_of(kind: DatagramKind) -> Class {
    match kind {
        DatagramKind::Rtp => Class::Rtp,
        DatagramKind::Rtcp => Class::Rtcp,
        DatagramKind::Stun => Class::Stun,
        DatagramKind::Dtls => Class::Dtls,
        DatagramKind::Unknown => Class::Other,
    }
}

impl Engine {
    /// A datagram of a known tuple came in; it is not looked into yet.
    pub(super) fn record_arrival(
        &mut self,
        owner: Option<TransportKey>,
        remote: SocketAddr,
        kind: DatagramKind,
        data: &[u8],
    ) {
        let transport = owner.and_then(|key| self.table.transports.get_mut(key));
        if let Some(transport) = transport {
            let (slab, ring) = (&mut self.fanout.recorder, &mut transport.ring);
            slab.arrived(ring, self.now_ns, class_of(kind), remote, data);
        }
    }

    /// What a compound that came in says.
    pub(super) fn record_decrypted(&mut self, key: TransportKey, compound: &[u8]) {
        if let Some(transport) = self.table.transports.get_mut(key) {
            let slab = &mut self.fanout.recorder;
            slab.decrypted(&mut transport.ring, compound);
        }
    }

    /// The datagram was handled, or dropped.
    pub(super) fn record_settled(&mut self, owner: Option<TransportKey>) {
        let transport = owner.and_then(|key| self.table.transports.get_mut(key));
        if let Some(transport) = transport {
            self.fanout.recorder.settled(&mut transport.ring);
        }
    }

    /// A check verified; one from an address that was not known before is not recorded yet.
    pub(super) fn record_check(
        &mut self,
        key: TransportKey,
        known: Option<TransportKey>,
        remote: SocketAddr,
        data: &[u8],
    ) {
        if known != Some(key) {
            self.record_arrival(Some(key), remote, DatagramKind::Stun, data);
            self.record_settled(Some(key));
        }
    }

    /// Something leaves that is no forwarded media: `clear` is what may be captured of it.
    pub(super) fn record_departure(
        &mut self,
        key: TransportKey,
        class: Class,
        length: usize,
        clear: &[u8],
    ) {
        if let Some(transport) = self.table.transports.get_mut(key) {
            let (slab, ring) = (&mut self.fanout.recorder, &mut transport.ring);
            slab.packet(ring, self.now_ns, (class, true), length, clear);
        }
    }

    /// What was handed out last was not sent.
    pub(super) fn record_lost(&mut self) {
        let transport = self
            .last_transport
            .and_then(|key| self.table.transports.get_mut(key));
        if let Some(transport) = transport {
            let reason = DropReason::SendBufferFull as u8 + 1;
            let (slab, ring) = (&mut self.fanout.recorder, &mut transport.ring);
            slab.lost(ring, self.now_ns, self.last_count, reason);
        }
    }
}

/// Hands over what is recorded of a transport.
pub(super) fn freeze(
    engine: &mut Engine,
    now_ns: u64,
    order: &FreezeRecorder,
) -> Result<(), OrderError> {
    let key = engine.table.transport(&order.transport);
    let transport = key.and_then(|key| engine.table.transports.get(key));
    let transport = transport.ok_or(OrderError::UnknownTransport)?;
    let entries = transport.ring.expand(&engine.fanout.recorder, now_ns);
    let reasons: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.word()).collect();
    let room = transport.row.room.clone();
    let parts = chunks(&entries, now_ns / 1000, &reasons);
    let count = parts.len() as u32;
    for (part, data) in parts.into_iter().enumerate() {
        engine.notices.push(Notice::Recording {
            room: room.clone(),
            transport: order.transport.clone(),
            reason: order.reason.clone(),
            position: order.position,
            at_ns: engine.config.unix_offset_ns.saturating_add(now_ns),
            part: part as u32,
            parts: count,
            data: ByteBuf::from(data),
        });
    }
    Ok(())
}
