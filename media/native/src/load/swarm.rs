//! All clients of a load test, sans-IO.
//!
//! Give it datagrams (`handle_datagram`) and the time (`handle_timeout` at `deadline_ns`), then send
//! what stands in the outbox and take the events.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use super::client::{Client, ClientParameters, DATAGRAM_LEN_MAX, Event, Shared};
use super::histogram::Histogram;
use super::network::{Conditions, Direction, Fate, Network};
use super::outbox::Outbox;
use super::receive_stream::{ReceiveStream, ReceiverParameters};
use super::report::{Snapshot, StreamRow, Totals};
use super::send_stream::{SendStream, SenderParameters};
use crate::engine::random::Random;
use crate::rtp::ExtensionKind;
use crate::srtp::{Profile, SrtpError};

/// How a swarm behaves.
#[derive(Clone, Copy, Debug)]
pub struct SwarmConfig {
    /// Of all that is random.
    pub seed: u64,
    /// Names this process in stamps.
    pub origin: u32,
    /// Between transport-cc feedback packets of a client.
    pub feedback_interval_ns: u64,
}

/// All clients.
pub struct Swarm {
    clients: HashMap<u32, Client>,
    timers: BinaryHeap<Reverse<(u64, u32)>>,
    shared: Shared,
    network: Network,
    /// What the simulated network has yet to be asked about.
    leaving: Outbox,
    /// Counts of clients that are gone.
    gone: Totals,
    video_latency: Histogram,
    audio_latency: Histogram,
}

impl Swarm {
    /// Begins without clients.
    pub fn new(config: SwarmConfig) -> Self {
        Self {
            clients: HashMap::new(),
            timers: BinaryHeap::new(),
            shared: Shared {
                random: Random::new(config.seed),
                outbox: Outbox::default(),
                events: Vec::new(),
                video_latency: Histogram::default(),
                audio_latency: Histogram::default(),
                foreign_stamps: 0,
                origin: config.origin,
                feedback_interval_ns: config.feedback_interval_ns,
                clear: vec![0; DATAGRAM_LEN_MAX].into_boxed_slice(),
                buffer: Vec::new(),
                lost: Vec::new(),
            },
            network: Network::new(config.seed ^ 0x6e65_7477_6f72_6b00),
            leaving: Outbox::default(),
            gone: Totals::default(),
            video_latency: Histogram::default(),
            audio_latency: Histogram::default(),
        }
    }

    /// Adds a client; one with the same name is replaced.
    pub fn add_client(&mut self, now_ns: u64, parameters: &ClientParameters) {
        self.remove_client(parameters.client);
        let client = Client::new(parameters, now_ns, &mut self.shared.random);
        self.clients.insert(parameters.client, client);
        self.schedule(parameters.client);
    }

    /// Removes a client; its counts stay in the totals.
    pub fn remove_client(&mut self, id: u32) {
        if let Some(client) = self.clients.remove(&id) {
            add_counts(&mut self.gone, &client);
            self.gone.clients.ice_connected = 0;
            self.gone.clients.keyed = 0;
        }
    }

    /// Changes the network between a client and the world.
    pub fn set_conditions(&mut self, id: u32, conditions: Conditions) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.conditions = conditions;
        }
    }

    /// Installs SRTP keys; a client that is gone has none.
    ///
    /// # Errors
    /// Keys of the wrong length.
    pub fn set_keys(
        &mut self,
        id: u32,
        profile: Profile,
        local: &[u8],
        remote: &[u8],
    ) -> Result<(), SrtpError> {
        if let Some(client) = self.clients.get_mut(&id) {
            client.set_keys(profile, local, remote)?;
            self.schedule(id);
        }
        Ok(())
    }

    /// Has a client receive a stream.
    pub fn add_receiver(
        &mut self,
        now_ns: u64,
        id: u32,
        parameters: ReceiverParameters,
        extensions: &[(u8, ExtensionKind)],
    ) {
        if let Some(client) = self.clients.get_mut(&id) {
            client.add_receiver(ReceiveStream::new(parameters, now_ns), extensions);
            self.schedule(id);
        }
    }

    /// Has a client publish a stream.
    pub fn add_sender(&mut self, id: u32, parameters: SenderParameters) {
        let timestamp_base = self.shared.random.next_u64() as u32;
        if let Some(client) = self.clients.get_mut(&id) {
            client.add_sender(SendStream::new(parameters, timestamp_base));
            self.schedule(id);
        }
    }

    /// Sends a datagram of DTLS.
    pub fn send(&mut self, now_ns: u64, id: u32, datagram: &[u8]) {
        self.shared.outbox.push(id, datagram);
        self.leave(now_ns);
    }

    /// Takes a datagram that came for a client: when it came, in monotonic time, which may lie before
    /// the last call, and by the wall clock.
    pub fn handle_datagram(&mut self, now_ns: u64, unix_ns: u64, id: u32, data: &[u8]) {
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        let fate = self
            .network
            .send(&client.conditions, now_ns, id, Direction::In, data);
        if fate == Fate::Passes {
            client.handle_datagram(now_ns, unix_ns, data, &mut self.shared);
            self.schedule(id);
            self.leave(now_ns);
        }
    }

    /// When to call `handle_timeout`.
    pub fn deadline_ns(&self) -> Option<u64> {
        let timer_ns = self.timers.peek().map(|Reverse((at_ns, _))| *at_ns);
        match (timer_ns, self.network.deadline_ns()) {
            (Some(timer_ns), Some(network_ns)) => Some(timer_ns.min(network_ns)),
            (timer_ns, network_ns) => timer_ns.or(network_ns),
        }
    }

    /// Does one thing that is due; false when nothing is.
    pub fn handle_timeout(&mut self, now_ns: u64, unix_ns: u64) -> bool {
        if let Some(arrived) = self.network.pop(now_ns) {
            match arrived.direction {
                Direction::Out => self.leaving.push(arrived.client, &arrived.data),
                Direction::In => {
                    if let Some(client) = self.clients.get_mut(&arrived.client) {
                        client.handle_datagram(now_ns, unix_ns, &arrived.data, &mut self.shared);
                        self.schedule(arrived.client);
                        self.leave(now_ns);
                    }
                }
            }
            return true;
        }
        let Some(&Reverse((at_ns, id))) = self.timers.peek() else {
            return false;
        };
        if at_ns > now_ns {
            return false;
        }
        self.timers.pop();
        if let Some(client) = self.clients.get_mut(&id)
            && client.scheduled_ns == at_ns
        {
            client.scheduled_ns = u64::MAX;
            client.handle_timeout(now_ns, unix_ns, &mut self.shared);
            self.schedule(id);
            self.leave(now_ns);
        }
        true
    }

    /// Sets a client's timer where it has become earlier.
    fn schedule(&mut self, id: u32) {
        if let Some(client) = self.clients.get_mut(&id) {
            let deadline_ns = client.deadline_ns();
            if deadline_ns < client.scheduled_ns {
                client.scheduled_ns = deadline_ns;
                self.timers.push(Reverse((deadline_ns, id)));
            }
        }
    }

    /// Lets what clients sent into the network.
    fn leave(&mut self, now_ns: u64) {
        for (id, datagram) in self.shared.outbox.iter() {
            let conditions = self
                .clients
                .get(&id)
                .map(|client| client.conditions)
                .unwrap_or_default();
            let fate = self
                .network
                .send(&conditions, now_ns, id, Direction::Out, datagram);
            if fate == Fate::Passes {
                self.leaving.push(id, datagram);
            }
        }
        self.shared.outbox.clear();
    }

    /// Datagrams that are to be sent now. Clear it when they are.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.leaving
    }

    /// Takes what happened since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.shared.events)
    }

    /// Counts now; latencies are those since the last call.
    pub fn snapshot(&mut self, now_ns: u64) -> Snapshot {
        let mut totals = self.gone;
        let (mut video_streams, mut frozen, mut behind) = (0, 0, 0);
        for client in self.clients.values() {
            add_counts(&mut totals, client);
            for receiver in client.receivers() {
                video_streams += u64::from(receiver.parameters().codec.needs_keyframe());
                frozen += u64::from(receiver.is_frozen(now_ns));
                behind += u64::from(receiver.is_behind());
            }
        }
        let snapshot = Snapshot {
            at_ns: now_ns,
            clients: self.clients.len() as u64,
            totals,
            video_streams,
            frozen,
            behind,
            video_latency: self.shared.video_latency.summary(),
            audio_latency: self.shared.audio_latency.summary(),
            foreign_stamps: self.shared.foreign_stamps,
            simulated_losses: self.network.lost(),
            health: Default::default(),
        };
        self.video_latency.merge(&self.shared.video_latency);
        self.audio_latency.merge(&self.shared.audio_latency);
        self.shared.video_latency.clear();
        self.shared.audio_latency.clear();
        snapshot
    }

    /// Latencies up to the last snapshot: of video, and of audio packets.
    pub fn latencies(&self) -> (&Histogram, &Histogram) {
        (&self.video_latency, &self.audio_latency)
    }

    /// Rows of all streams that are received now, in the order of their clients.
    pub fn rows(&self) -> Vec<StreamRow> {
        let mut ids: Vec<u32> = self.clients.keys().copied().collect();
        ids.sort_unstable();
        let mut rows = Vec::new();
        for id in ids {
            for receiver in self.clients[&id].receivers() {
                rows.push(StreamRow {
                    client: id,
                    stream: receiver.parameters().stream,
                    video: receiver.parameters().codec.needs_keyframe(),
                    jitter_ns: receiver.jitter_ns(),
                    counts: receiver.counts(),
                });
            }
        }
        rows
    }
}

fn add_counts(totals: &mut Totals, client: &Client) {
    totals.clients.add(&client.counts());
    for receiver in client.receivers() {
        let counts = receiver.counts();
        match receiver.parameters().codec.needs_keyframe() {
            true => totals.video.add(&counts),
            false => totals.audio.add(&counts),
        }
    }
    for sender in client.senders() {
        totals.sent.add(&sender.counts());
    }
}
