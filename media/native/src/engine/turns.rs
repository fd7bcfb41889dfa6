//! Whose turn it is: takes the viewers of a batch one after the other.
//!
//! What is alike for all viewers is made once a chunk of them ([`Work`]); what each gets of it, and how,
//! is told in [`super::serve`].

use super::ahead;
use super::arena::Arena;
use super::consumer::Consumer;
use super::descriptors::pictures;
use super::forward::{Batch, Fanout};
use super::instant_start::Plan;
use super::pacing::STEP_NS;
use super::producer::Pending;
use super::runs::Plans;
use super::serve::{Moment, Viewer, Work, find, prepare};
use super::table::{ConsumerKey, ProducerKey, TransportKey};
use super::timers::Timers;
use super::transport::Transport;
use super::{Engine, Notices};

/// Packets that fill what is encrypted before it is sent, about.
const CHUNK_PACKETS: usize = 80;

/// Serves consumers of a batch, from its place on, until there is enough to be sent. What waits of
/// `along` goes along to those who have both: as the last of their run.
pub(super) fn serve(
    engine: &mut Engine,
    batch: &mut Batch,
    along: Option<&Batch>,
    segments_max: usize,
) {
    let moment = Moment::of(engine, segments_max);
    let Engine {
        table,
        fanout,
        notices,
        timers,
        ..
    } = engine;
    let Some(producer) = table.producers.get(batch.key) else {
        batch.remaining = 0;
        return;
    };
    let packets = find(producer, &batch.packets, moment.now_ns);
    let work = Work::new(producer, &batch.packets, &packets, moment);
    let along = along.and_then(|one| Some((one, table.producers.get(one.key)?)));
    let sounds = along.map(|(one, producer)| find(producer, &one.packets, moment.now_ns));
    let along = along.zip(sounds.as_ref());
    let along = along.map(|((one, producer), packets)| {
        (one, Work::new(producer, &one.packets, packets, moment))
    });
    let mut desk = Desk {
        consumers: &mut table.consumers,
        transports: &mut table.transports,
        fanout,
        notices,
        timers,
    };
    let mut plans = Plans::default();
    let mut served = 0;
    let packets_max = batch.packets.len() + along.as_ref().map_or(0, |(one, _)| one.packets.len());
    if batch.place >= producer.consumers.len() {
        batch.place = 0;
    }
    let chunk = batch.chunk.min(1 + CHUNK_PACKETS / packets_max.max(1));
    let next = producer.consumers[batch.place..].iter().copied();
    let next = next.take(chunk.min(batch.remaining));
    let sound = along.as_ref().map(|(one, _)| one.key);
    ahead::look(next, batch.end(), sound, &desk);
    while served < batch.chunk && batch.remaining > 0 {
        if desk.fanout.is_chunk() || !desk.fanout.has_room(2 * packets_max) {
            break;
        }
        if batch.place >= producer.consumers.len() {
            batch.place = 0;
        }
        let key = producer.consumers.get(batch.place).copied();
        batch.place += 1;
        batch.remaining -= 1;
        let transport = key.and_then(|key| work.turn(key, batch, &mut plans, &mut desk));
        let Some(transport) = transport else {
            continue;
        };
        served += 1;
        if let Some((one, sound)) = &along
            && desk.fanout.has_room(2 * one.packets.len())
            && let Some(key) = desk.consumer_of(transport, one.key)
        {
            sound.turn(key, one, &mut Plans::default(), &mut desk);
        }
    }
}

/// Serves one consumer with packets that others have had: all of one encoding, in order.
///
/// With a plan, a segment begins with the plan's first packet.
pub(super) fn serve_past(
    engine: &mut Engine,
    key: ConsumerKey,
    batch: &[Pending],
    plan: Option<Plan>,
    segments_max: usize,
) {
    let moment = Moment::of(engine, segments_max);
    let Engine {
        table,
        fanout,
        notices,
        ..
    } = engine;
    let Some(consumer) = table.consumers.get_mut(key) else {
        return;
    };
    let transport_key = consumer.transport;
    let (Some(producer), Some(transport)) = (
        table.producers.get(consumer.producer),
        table.transports.get_mut(transport_key),
    ) else {
        return;
    };
    let Some(remote) = transport.media_remote().filter(|_| !consumer.brief.paused) else {
        return;
    };
    let packets = find(producer, batch, moment.now_ns);
    let mut prepared: Vec<_> = producer.formats.iter().map(|_| Vec::new()).collect();
    let shared = &producer.formats[consumer.format];
    prepared[consumer.format] = prepare(shared, &packets, &producer.extensions);
    let work = Work {
        producer,
        batch,
        packets: &packets,
        prepared,
        pictures: pictures(producer, batch, &packets),
        moment,
        past: Some(plan),
    };
    let mut plans = Plans::default();
    let mut viewer = Viewer {
        padding: plans.of(consumer, batch, &work.prepared[consumer.format]),
        consumer,
        transport,
        transport_key,
        remote,
        allowance: Some(i64::MAX),
        fell_behind: false,
    };
    work.serve(&mut viewer, 0, fanout, notices);
}

/// Whom a batch is for, and where what they get goes.
pub(super) struct Desk<'a> {
    pub(super) consumers: &'a mut Arena<Consumer>,
    pub(super) transports: &'a mut Arena<Transport>,
    pub(super) fanout: &'a mut Fanout,
    notices: &'a mut Notices,
    timers: &'a mut Timers,
}

impl Desk<'_> {
    /// The consumer of a producer on a transport that has few of them.
    fn consumer_of(&self, transport: TransportKey, producer: ProducerKey) -> Option<ConsumerKey> {
        let transport = self.transports.get(transport)?;
        transport.consumer_of(producer, self.consumers)
    }
}

impl Work<'_> {
    /// Serves a consumer with what it has not had of a batch, whose work this is. Where that goes; None
    /// if there is nothing for it.
    fn turn(
        &self,
        key: ConsumerKey,
        batch: &Batch,
        plans: &mut Plans,
        desk: &mut Desk<'_>,
    ) -> Option<TransportKey> {
        let consumer = desk.consumers.get_mut(key)?;
        let had = consumer.served.saturating_sub(batch.first) as usize;
        if had >= self.batch.len() {
            return None;
        }
        consumer.served = batch.end();
        let transport_key = consumer.transport;
        let transport = desk.transports.get_mut(transport_key)?;
        let remote = transport
            .media_remote()
            .filter(|_| !consumer.brief.paused)?;
        let now_ns = self.moment.now_ns;
        let pace_bps = transport.pacer.pace_bps().filter(|_| consumer.is_video());
        let allowance = pace_bps.map(|bps| transport.pacer.allowance(now_ns, bps));
        let mut viewer = Viewer {
            padding: plans.of(consumer, self.batch, &self.prepared[consumer.format]),
            consumer,
            transport,
            transport_key,
            remote,
            allowance,
            fell_behind: false,
        };
        self.serve(&mut viewer, had, desk.fanout, desk.notices);
        if viewer.fell_behind {
            let pacer = &mut transport.pacer;
            pacer.arm(desk.timers, transport_key, now_ns + STEP_NS);
        }
        Some(transport_key)
    }
}
