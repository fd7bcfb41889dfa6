//! Rows and acts of transports.

use super::super::Engine;
use super::super::consumer::Reason;
use super::super::error::OrderError;
use super::super::ice::GENERATIONS_MAX;
use super::super::rewrite::Rewriter;
use super::super::table::{Table, TransportKey};
use super::super::transport::{Srtp, Transport};
use super::consumer::FIRST_SEQUENCE_MAX;
use super::{ensure, is_name};
use crate::recorder::Class;
use crate::srtp::{Inbound, Outbound, OutboundStream, Profile};
use crate::wire::orders::{IceCredentials, SendDtls, SetSrtpKeys, SetTransport, SrtpProfile};

pub(super) fn set_transport(
    engine: &mut Engine,
    now_ns: u64,
    row: SetTransport,
) -> Result<(), OrderError> {
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

pub(super) fn set_srtp_keys(
    engine: &mut Engine,
    now_ns: u64,
    keys: SetSrtpKeys,
) -> Result<(), OrderError> {
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
            engine.stop_consumer(consumer_key, Reason::Transport);
        }
    }
    engine.start_waiting_consumers(now_ns, key);
    engine.serve_keyframes_of(now_ns, key);
    Ok(())
}

pub(super) fn send_dtls(engine: &mut Engine, send: &SendDtls) -> Result<(), OrderError> {
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
        let clear = Class::Dtls.captured(datagram);
        engine.record_departure(key, Class::Dtls, datagram.len(), clear);
    }
    Ok(())
}
