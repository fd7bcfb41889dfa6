//! Answers connectivity checks (RFC 8445, 7.3) and keeps the table of tuples.

use std::net::SocketAddr;

use super::Engine;
use super::consumer::Reason;
use super::error::DropReason;
use super::table::TransportKey;
use super::timers::Timer;
use crate::recorder::Class as Recorded;
use crate::stun::{self, Class, IceRole, Message, TransactionId};
use crate::wire::notices::{IceState, Notice};

const BINDING: u16 = 1;

/// A check that is refused: the reason to count, and the error code to answer with.
struct Refused {
    reason: DropReason,
    code: u16,
    transaction_id: TransactionId,
    /// The transport whose password signs the answer (RFC 8489, 9.1.4: not for 400 and 401).
    signed_by: Option<TransportKey>,
    unknown: Vec<u16>,
}

pub(super) fn handle_stun(engine: &mut Engine, now_ns: u64, remote: SocketAddr, data: &[u8]) {
    let known = engine.table.tuples.get(&remote).copied();
    if !engine.sources.take(now_ns, remote, known.is_none()) {
        engine.count_drop(known, DropReason::StunFlood);
        return;
    }
    let Ok(message) = Message::parse(data) else {
        engine.count_drop(known, DropReason::StunMalformed);
        return;
    };
    if message.class() != Class::Request || message.method() != BINDING {
        engine.count_drop(known, DropReason::StunUnexpected);
        return;
    }
    match verify(engine, &message) {
        Ok((key, ufrag)) => {
            let transport = engine.table.transports.get_mut(key).expect("verified");
            transport.counters.stun_requests += 1;
            let integrity = transport.ice.key_of(&ufrag).expect("verified with it");
            stun::write_binding_success(
                &mut engine.scratch_vec,
                message.transaction_id(),
                seen_as(remote),
                integrity,
            );
            engine.outbox.push(key, remote, &engine.scratch_vec);
            engine.record_check(key, known, remote, data);
            let answer = std::mem::take(&mut engine.scratch_vec);
            engine.record_departure(key, Recorded::Stun, answer.len(), &answer[..20]);
            engine.scratch_vec = answer;
            accept(engine, now_ns, key, remote, &ufrag, message.use_candidate());
        }
        Err(refused) => {
            engine.count_drop(refused.signed_by.or(known), refused.reason);
            answer_error(engine, now_ns, remote, &refused, &message);
        }
    }
}

/// The address as the peer knows it: on a dual-stack socket IPv4 peers show as mapped ones.
fn seen_as(remote: SocketAddr) -> SocketAddr {
    SocketAddr::new(remote.ip().to_canonical(), remote.port())
}

fn verify(engine: &Engine, message: &Message<'_>) -> Result<(TransportKey, String), Refused> {
    let refused = |reason, code| Refused {
        reason,
        code,
        transaction_id: message.transaction_id(),
        signed_by: None,
        unknown: Vec::new(),
    };
    let username = message
        .username()
        .ok_or_else(|| refused(DropReason::StunIncomplete, 400))?;
    let ufrag = username
        .split_once(':')
        .map_or(username, |(local, _)| local);
    let key = engine.table.ufrags.get(ufrag).copied();
    let key = key.ok_or_else(|| refused(DropReason::StunUnknownUfrag, 401))?;
    let transport = engine
        .table
        .transports
        .get(key)
        .expect("ufrags name living transports");
    let integrity = transport
        .ice
        .key_of(ufrag)
        .expect("accepted ufrags have a key");
    match message.verify_integrity(integrity) {
        Ok(()) => {}
        Err(stun::StunError::MissingIntegrity) => {
            return Err(refused(DropReason::StunIncomplete, 400));
        }
        Err(_) => return Err(refused(DropReason::StunForged, 401)),
    }
    if !message.unknown_attributes().is_empty() {
        return Err(Refused {
            signed_by: Some(key),
            unknown: message.unknown_attributes().to_vec(),
            ..refused(DropReason::StunUnknownAttribute, 420)
        });
    }
    if matches!(message.role(), Some(IceRole::Controlled(_))) {
        // A lite agent is always the controlled one (RFC 8445, 6.1.1): the peer must switch.
        return Err(Refused {
            signed_by: Some(key),
            ..refused(DropReason::StunRoleConflict, 487)
        });
    }
    Ok((key, ufrag.to_owned()))
}

fn answer_error(
    engine: &mut Engine,
    now_ns: u64,
    remote: SocketAddr,
    refused: &Refused,
    message: &Message<'_>,
) {
    if !engine.stun_error_budget.take(now_ns) {
        return;
    }
    let transport = refused
        .signed_by
        .and_then(|key| engine.table.transports.get(key));
    let ufrag = message.username().and_then(|name| name.split(':').next());
    let integrity = transport
        .zip(ufrag)
        .and_then(|(transport, ufrag)| transport.ice.key_of(ufrag));
    stun::write_binding_error(
        &mut engine.scratch_vec,
        refused.transaction_id,
        refused.code,
        &refused.unknown,
        integrity,
    );
    engine
        .outbox
        .push_for(refused.signed_by, remote, &engine.scratch_vec);
}

fn accept(
    engine: &mut Engine,
    now_ns: u64,
    key: TransportKey,
    remote: SocketAddr,
    ufrag: &str,
    use_candidate: bool,
) {
    if let Some(owner) = engine.table.tuples.insert(remote, key)
        && owner != key
    {
        lose_tuple(engine, owner, remote);
    }
    let transport = engine.table.transports.get_mut(key).expect("verified");
    let before = transport.ice.state();
    let outcome = transport
        .ice
        .handle_check(now_ns, remote, ufrag, use_candidate);
    let id = transport.row.transport.clone();
    if let Some(evicted) = outcome.evicted {
        engine.table.tuples.remove(&evicted);
    }
    if let Some(retired) = outcome.retired_ufrag {
        engine.table.ufrags.remove(&retired);
    }
    if outcome.state_changed {
        let state = IceState::Connected;
        let remote = transport.ice.selected().map(|remote| remote.to_string());
        engine.notices.push(Notice::IceStateChanged {
            transport: id,
            state,
            remote,
        });
        if before != IceState::Disconnected {
            engine.start_waiting_consumers(now_ns, key);
            engine.serve_keyframes_of(now_ns, key);
        }
    } else if outcome.selected_changed {
        let remote = remote.to_string();
        engine.notices.push(Notice::IceTupleChanged {
            transport: id,
            remote,
        });
    }
    arm_consent(engine, key);
}

/// Another transport verified the address of `owner` just now.
fn lose_tuple(engine: &mut Engine, owner: TransportKey, remote: SocketAddr) {
    let Some(transport) = engine.table.transports.get_mut(owner) else {
        return;
    };
    transport.drop(DropReason::TupleStolen);
    let before = transport.ice.state();
    if !transport.ice.lose_tuple(remote) {
        return;
    }
    let id = transport.row.transport.clone();
    let selected = transport.ice.selected().map(|remote| remote.to_string());
    let state = transport.ice.state();
    if state != before {
        engine.notices.push(Notice::IceStateChanged {
            transport: id,
            state,
            remote: None,
        });
        arm_consent(engine, owner);
        consent_changed(engine, owner);
    } else if let Some(remote) = selected {
        engine.notices.push(Notice::IceTupleChanged {
            transport: id,
            remote,
        });
    }
}

fn arm_consent(engine: &mut Engine, key: TransportKey) {
    let Some(transport) = engine.table.transports.get_mut(key) else {
        return;
    };
    if let Some(at_ns) = transport.ice.deadline_ns() {
        engine
            .timers
            .arm(&mut transport.consent_timer, at_ns, Timer::Consent(key));
    }
}

/// The consent timer of a transport fired.
pub(super) fn handle_consent(engine: &mut Engine, now_ns: u64, key: TransportKey) {
    let Some(transport) = engine.table.transports.get_mut(key) else {
        return;
    };
    if transport.ice.handle_timeout(now_ns) {
        let notice = Notice::IceStateChanged {
            transport: transport.row.transport.clone(),
            state: transport.ice.state(),
            remote: transport.ice.selected().map(|remote| remote.to_string()),
        };
        engine.notices.push(notice);
        consent_changed(engine, key);
    }
    arm_consent(engine, key);
}

/// Without consent nothing is sent (RFC 7675, 5.1); what comes back begins with a keyframe.
fn consent_changed(engine: &mut Engine, key: TransportKey) {
    let Some(transport) = engine.table.transports.get(key) else {
        return;
    };
    if transport.media_remote().is_some() {
        return;
    }
    for consumer in transport.consumers.clone() {
        engine.stop_consumer(consumer, Reason::Transport);
    }
}
