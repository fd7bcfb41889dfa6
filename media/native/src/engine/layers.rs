//! Which encodings viewers are sent, and the keyframes that they need for it.

use super::Engine;
use super::consumer::Reason;
use super::demand;
use super::keyframe::{Cause, Causes};
use super::mirror::{self, Home};
use super::rtcp_out;
use super::selection::choose;
use super::table::{ConsumerKey, ProducerKey, TransportKey};
use super::timers::Timer;
use crate::wire::notices::Notice;

/// So long a queue is likely to be longer by now: feedback tells of the past.
const QUEUED_NS: u64 = 50_000_000;

impl Engine {
    /// Chooses the encoding of one consumer anew and asks for the keyframe that it needs.
    pub(super) fn aim_consumer(&mut self, now_ns: u64, key: ConsumerKey) {
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        let producer_key = consumer.producer;
        let Some(producer) = self.table.producers.get(producer_key) else {
            return;
        };
        if consumer.row.paused {
            consumer.selection.aim(None);
            return;
        }
        let ceiling = demand::ceiling_of(consumer, producer);
        if demand::raise(self, now_ns, producer_key, ceiling) {
            self.share_what_wakes(now_ns, key);
        }
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        let Some(producer) = self.table.producers.get(producer_key) else {
            return;
        };
        let granted = consumer.grant.filter(|_| consumer.is_video());
        if granted.is_some_and(|grant| grant.layers.is_none()) {
            consumer.selection.aim(None);
            self.stop_consumer(key, Reason::Bandwidth);
            return;
        }
        let is_simulcast = producer.encodings.len() > 1;
        let layers = granted.and_then(|grant| grant.layers);
        let wanted_spatial = match layers.filter(|_| is_simulcast) {
            Some((spatial, _)) => Some(u32::from(spatial)),
            None => consumer.row.spatial_layer,
        };
        let live = producer.encodings.iter().map(|encoding| encoding.live);
        let target = choose(live, wanted_spatial);
        if let Some(target) = target {
            mirror::note_interest(&mut self.table, producer_key, target);
        }
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        let Some(producer) = self.table.producers.get(producer_key) else {
            return;
        };
        consumer.wanted = consumer.filter_target(layers, is_simulcast);
        consumer.reason = match granted {
            Some(grant) if grant.is_limited => Reason::Bandwidth,
            _ => Reason::Preferred,
        };
        let transport = self.table.transports.get(consumer.transport);
        let queued = transport.is_some_and(|one| one.downlink.estimator.queued_ns() >= QUEUED_NS);
        consumer.hurry_down(now_ns, target, producer, queued);
        let needs_keyframe =
            consumer.selection.current() == target && consumer.awaits_keyframe(now_ns, producer);
        if !(consumer.selection.aim(target) || needs_keyframe) || !consumer.is_video() {
            return;
        }
        if consumer.ask_at_ns.is_some() {
            return;
        }
        if let Some(target) = target {
            self.begin_or_ask(now_ns, key, target);
        }
    }

    /// Layers inside of a stream were asked for that rested: they come with a keyframe, which whoever has
    /// room for them rises with, and is not to miss.
    fn share_what_wakes(&mut self, now_ns: u64, key: ConsumerKey) {
        let Engine { table, timers, .. } = self;
        let Some(consumer) = table.consumers.get(key) else {
            return;
        };
        if let Some(transport) = table.transports.get_mut(consumer.transport) {
            let timer = Timer::Allocate(consumer.transport);
            timers.arm(&mut transport.downlink.timer, now_ns, timer);
        }
    }

    /// The queue had its time to drain: asks for the keyframe that is to come through it.
    pub(super) fn ask_after_drain(&mut self, now_ns: u64, key: ConsumerKey) {
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        if consumer.ask_at_ns.is_some_and(|at_ns| at_ns <= now_ns) {
            consumer.ask_at_ns = None;
            self.ask_if_waiting(now_ns, key);
        }
    }

    /// Chooses anew for all consumers of a producer: encodings came or went.
    pub(super) fn select_layers(&mut self, now_ns: u64, key: ProducerKey) {
        let Some(producer) = self.table.producers.get(key) else {
            return;
        };
        for consumer in producer.consumers.clone() {
            let Some(transport) = self.table.consumers.get(consumer).map(|one| one.transport)
            else {
                continue;
            };
            self.reallocate(now_ns, transport);
            self.aim_consumer(now_ns, consumer);
        }
    }

    /// Sends a consumer nothing until a packet comes that it can start with.
    pub(super) fn stop_consumer(&mut self, key: ConsumerKey, reason: Reason) {
        let Some(consumer) = self.table.consumers.get_mut(key) else {
            return;
        };
        consumer.selection.stop();
        consumer.cursor = None;
        consumer.cut = false;
        if consumer.is_video() {
            consumer.reason = reason;
            consumer.tell_layers(None, None, &mut self.notices);
        }
    }

    /// The transport can send now: those of its consumers that wait need a keyframe.
    pub(super) fn start_waiting_consumers(&mut self, now_ns: u64, key: TransportKey) {
        let Some(transport) = self.table.transports.get(key) else {
            return;
        };
        if transport.media_remote().is_none() {
            return;
        }
        for consumer in transport.consumers.clone() {
            self.ask_if_waiting(now_ns, consumer);
        }
    }

    /// The producer sends again: those of its consumers that wait need a keyframe.
    pub(super) fn start_waiting_of_producer(&mut self, now_ns: u64, key: ProducerKey) {
        let Some(producer) = self.table.producers.get(key) else {
            return;
        };
        for consumer in producer.consumers.clone() {
            self.ask_if_waiting(now_ns, consumer);
        }
    }

    fn ask_if_waiting(&mut self, now_ns: u64, key: ConsumerKey) {
        let Some(consumer) = self.table.consumers.get(key) else {
            return;
        };
        let Some(producer) = self.table.producers.get(consumer.producer) else {
            return;
        };
        let is_waiting = consumer.selection.is_waiting()
            || consumer.cut
            || consumer.awaits_keyframe(now_ns, producer);
        if !consumer.is_video() || !is_waiting {
            return;
        }
        if let Some(target) = consumer.selection.target() {
            self.begin_or_ask(now_ns, key, target);
        }
    }

    /// A viewer, or control for it, asks for a keyframe of what it sees or waits for.
    pub(super) fn request_keyframe_for(&mut self, now_ns: u64, key: ConsumerKey) {
        let Some(consumer) = self.table.consumers.get(key) else {
            return;
        };
        if !consumer.is_video() || consumer.row.paused {
            return;
        }
        let wanted = consumer.selection.current().or(consumer.selection.target());
        if let Some(encoding) = wanted {
            self.ask_keyframe(now_ns, consumer.producer, encoding, Cause::Viewer);
        }
    }

    pub(super) fn ask_keyframe(
        &mut self,
        now_ns: u64,
        key: ProducerKey,
        encoding: u8,
        causes: impl Into<Causes>,
    ) {
        let causes = causes.into();
        let Some(producer) = self.table.producers.get_mut(key) else {
            return;
        };
        if let Home::Sibling(mirror) = &mut producer.home {
            mirror.ask(encoding, causes);
            self.table.links.mark(key);
            return;
        }
        let Some(state) = producer.encodings.get_mut(usize::from(encoding)) else {
            return;
        };
        state.keyframes.ask_for(1, causes);
        self.serve_keyframe(now_ns, key, encoding);
    }

    /// Asks again for what the encodings of a publisher could not be asked for before.
    pub(super) fn serve_keyframes_of(&mut self, now_ns: u64, key: TransportKey) {
        let Some(transport) = self.table.transports.get(key) else {
            return;
        };
        for producer in transport.producers.clone() {
            let count = self
                .table
                .producers
                .get(producer)
                .map_or(0, |one| one.encodings.len());
            for encoding in 0..count {
                self.serve_keyframe(now_ns, producer, encoding as u8);
            }
        }
    }

    /// Sends a keyframe request to the publisher if one is due, and plans the next.
    ///
    /// As long as nothing comes of the encoding, its SSRC is unknown, or the
    /// publisher can't be reached, requests wait: there is nobody to hear them.
    pub(super) fn serve_keyframe(&mut self, now_ns: u64, key: ProducerKey, encoding: u8) {
        let Some(producer) = self.table.producers.get_mut(key) else {
            return;
        };
        let place = usize::from(encoding);
        let codec = producer
            .codec_in_use(encoding)
            .map(|entry| (entry.row.pli, entry.row.fir));
        let (pli, fir) = codec.unwrap_or((false, false));
        let nobody = producer.has_no_viewers();
        let Some(transport_key) = producer.transport() else {
            return;
        };
        let Some(state) = producer.encodings.get_mut(place) else {
            return;
        };
        if nobody || !(pli || fir) {
            state.keyframes.cancel();
            return;
        }
        let Some(ssrc) = state.ssrc().filter(|_| state.live) else {
            return;
        };
        let Some(transport) = self.table.transports.get(transport_key) else {
            return;
        };
        if transport.media_remote().is_none() {
            return;
        }
        if let Some(requests) = state.keyframes.poll(now_ns) {
            if pli {
                state.counters.plis += 1;
            } else {
                state.counters.firs += 1;
                state.fir_sequence = state.fir_sequence.wrapping_add(1);
            }
            let storm = state.keyframes.is_storm(now_ns);
            let causes = state.keyframes.take_causes().words();
            let fir_sequence = state.fir_sequence;
            let id = producer.row.producer.clone();
            rtcp_out::send_keyframe_request(self, transport_key, ssrc, pli, fir_sequence);
            self.notices.push(Notice::KeyFrameRequested {
                producer: id,
                encoding: u32::from(encoding),
                requests,
                storm,
                causes,
            });
        }
        let producer = self.table.producers.get_mut(key).expect("looked up");
        let state = &mut producer.encodings[place];
        if let Some(due_ns) = state.keyframes.deadline_ns() {
            let at_ns = due_ns.max(now_ns);
            self.timers.arm(
                &mut state.keyframes_timer,
                at_ns,
                Timer::KeyFrame(key, encoding),
            );
        }
    }
}
