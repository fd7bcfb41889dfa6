//! The shell around a swarm: one thread, a socket for each client, and the clocks.
//!
//! # Queues and their overflow
//! - Orders: a channel of [`ORDERS_MAX`]; who gives more waits.
//! - Events: [`EVENTS_MAX`]; the oldest is dropped and counted. DTLS repeats what it lost.
//! - Datagrams in: each socket's receive buffer; the kernel drops and counts.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use mio::{Events, Poll, Token, Waker};

use super::client::{ClientParameters, Event};
use super::histogram::Histogram;
use super::receive_stream::ReceiverParameters;
use super::report::{DriverHealth, Snapshot, StreamRow};
use super::send_stream::SenderParameters;
use super::socket::{ClientSocket, ReceiveBuffers};
use super::swarm::{Swarm, SwarmConfig};
use crate::driver::Clock;
use crate::rtp::ExtensionKind;
use crate::srtp::Profile;

/// Orders that may wait for the thread.
pub const ORDERS_MAX: usize = 1_024;

/// Events that may wait for their reader.
pub const EVENTS_MAX: usize = 65_536;

/// Receive calls for one socket before the others have their turn.
const RECEIVES_MAX: usize = 4;

/// Timers served before sockets have their turn.
const TIMERS_MAX: usize = 256;

/// How long datagrams gather after some came.
const REST: Duration = Duration::from_millis(1);

/// The longest that a datagram is thought to have waited: the wall clock may have been set.
const WAITED_MAX_NS: u64 = 1_000_000_000;

const WAKE: Token = Token(usize::MAX);

/// What the thread is told.
enum Order {
    AddClient(Box<ClientParameters>, ClientSocket),
    RemoveClient(u32),
    SetKeys(u32, Profile, Vec<u8>, Vec<u8>),
    AddReceiver(u32, ReceiverParameters, Vec<(u8, ExtensionKind)>),
    AddSender(u32, Box<SenderParameters>),
    Send(u32, Vec<Vec<u8>>),
    Snapshot(SyncSender<Snapshot>),
    Rows(SyncSender<Vec<StreamRow>>),
    Latencies(SyncSender<(Histogram, Histogram)>),
    Quit,
}

/// The thread is gone: it broke an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneGone;

impl std::fmt::Display for PlaneGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the load plane's thread ended unexpectedly")
    }
}

impl std::error::Error for PlaneGone {}

struct EventQueue {
    events: VecDeque<Event>,
    dropped: u64,
    bell: UnixStream,
}

/// The hold on a thread that carries all clients. Dropping it ends the thread.
pub struct LoadPlane {
    orders: SyncSender<Order>,
    waker: Waker,
    queue: Arc<Mutex<EventQueue>>,
    /// Becomes readable when there are events.
    ear: UnixStream,
    clock: Clock,
    thread: Option<JoinHandle<()>>,
}

impl LoadPlane {
    /// Starts the thread.
    ///
    /// # Errors
    /// What epoll, a socket pair or the thread's start say.
    pub fn start(config: SwarmConfig) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        let queue = Arc::new(Mutex::new(EventQueue {
            events: VecDeque::new(),
            dropped: 0,
            bell,
        }));
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let clock = Clock::start();
        let shell = Shell {
            swarm: Swarm::new(config),
            sockets: HashMap::new(),
            buffers: ReceiveBuffers::new(),
            clock,
            poll,
            inbox,
            queue: Arc::clone(&queue),
            backlog: Vec::new(),
            turns: Histogram::default(),
            timer_lag: Histogram::default(),
            health: DriverHealth::default(),
            gone_drops: 0,
        };
        let thread = thread::Builder::new()
            .name("load".into())
            .spawn(move || shell.run())?;
        Ok(Self {
            orders,
            waker,
            queue,
            ear,
            clock,
            thread: Some(thread),
        })
    }

    /// Monotonic time, as all reports have it.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// Readable when there are events; `take_events` makes it unreadable again.
    pub fn events_fd(&self) -> RawFd {
        self.ear.as_raw_fd()
    }

    /// Adds a client with a socket of its own.
    ///
    /// # Errors
    /// No socket could be had, or the thread is gone.
    pub fn add_client(&self, parameters: ClientParameters) -> io::Result<()> {
        let socket = ClientSocket::connect(parameters.remote)?;
        self.order(Order::AddClient(Box::new(parameters), socket))
            .map_err(io::Error::other)
    }

    /// Removes a client.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn remove_client(&self, client: u32) -> Result<(), PlaneGone> {
        self.order(Order::RemoveClient(client))
    }

    /// Installs SRTP keys of the right lengths: others are ignored.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn set_keys(
        &self,
        client: u32,
        profile: Profile,
        local: Vec<u8>,
        remote: Vec<u8>,
    ) -> Result<(), PlaneGone> {
        self.order(Order::SetKeys(client, profile, local, remote))
    }

    /// Has a client receive a stream.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn add_receiver(
        &self,
        client: u32,
        parameters: ReceiverParameters,
        extensions: Vec<(u8, ExtensionKind)>,
    ) -> Result<(), PlaneGone> {
        self.order(Order::AddReceiver(client, parameters, extensions))
    }

    /// Has a client publish a stream.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn add_sender(&self, client: u32, parameters: SenderParameters) -> Result<(), PlaneGone> {
        self.order(Order::AddSender(client, Box::new(parameters)))
    }

    /// Sends DTLS datagrams of a client.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn send(&self, client: u32, datagrams: Vec<Vec<u8>>) -> Result<(), PlaneGone> {
        self.order(Order::Send(client, datagrams))
    }

    /// Takes the events since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        let mut bytes = [0; 64];
        while self
            .ear
            .read(&mut bytes)
            .is_ok_and(|len| len == bytes.len())
        {}
        let mut queue = self.queue.lock().expect("a holder never panics");
        queue.events.drain(..).collect()
    }

    /// Counts now.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn snapshot(&self) -> Result<Snapshot, PlaneGone> {
        self.ask(Order::Snapshot)
    }

    /// Rows of all streams that are received now.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn rows(&self) -> Result<Vec<StreamRow>, PlaneGone> {
        self.ask(Order::Rows)
    }

    /// Latencies of video and of audio packets from the start to the last snapshot.
    ///
    /// # Errors
    /// [`PlaneGone`].
    pub fn latencies(&self) -> Result<(Histogram, Histogram), PlaneGone> {
        self.ask(Order::Latencies)
    }

    fn ask<T>(&self, order: impl FnOnce(SyncSender<T>) -> Order) -> Result<T, PlaneGone> {
        let (reply, answer) = sync_channel(1);
        self.order(order(reply))?;
        answer.recv().map_err(|_| PlaneGone)
    }

    fn order(&self, order: Order) -> Result<(), PlaneGone> {
        self.orders.send(order).map_err(|_| PlaneGone)?;
        self.waker.wake().map_err(|_| PlaneGone)
    }
}

impl Drop for LoadPlane {
    fn drop(&mut self) {
        let _ = self.order(Order::Quit);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shell {
    swarm: Swarm,
    sockets: HashMap<u32, ClientSocket>,
    buffers: ReceiveBuffers,
    clock: Clock,
    poll: Poll,
    inbox: Receiver<Order>,
    queue: Arc<Mutex<EventQueue>>,
    /// Sockets that may have more than was taken.
    backlog: Vec<u32>,
    turns: Histogram,
    timer_lag: Histogram,
    health: DriverHealth,
    /// Drops of sockets that are closed.
    gone_drops: u64,
}

fn unix_ns() -> u64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    unix.unwrap_or_default().as_nanos() as u64
}

impl Shell {
    fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        let mut timers_wait = false;
        loop {
            let wait = match self.swarm.deadline_ns() {
                _ if timers_wait || !self.backlog.is_empty() => Some(Duration::ZERO),
                Some(at_ns) => Some(Duration::from_nanos(
                    at_ns.saturating_sub(self.clock.now_ns()),
                )),
                None => None,
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("epoll failed: {error}"),
            }
            let woke_ns = self.clock.now_ns();
            let before = self.health.datagrams;
            let mut wants_orders = false;
            let backlog = std::mem::take(&mut self.backlog);
            for client in backlog {
                self.receive(client);
            }
            for event in &events {
                match event.token() {
                    WAKE => wants_orders = true,
                    Token(client) => self.receive(client as u32),
                }
            }
            if wants_orders && !self.take_orders() {
                return;
            }
            timers_wait = self.serve_timers();
            self.hand_over_events();
            self.turns.record(self.clock.now_ns() - woke_ns);
            if self.health.datagrams > before {
                self.rest();
            }
        }
    }

    /// Lets the datagrams of the next moment gather, without being woken by each: a server on the same
    /// machine would pay for that in its sends, though no viewer of another machine costs it so.
    fn rest(&self) {
        let now_ns = self.clock.now_ns();
        let until_ns = self.swarm.deadline_ns().unwrap_or(u64::MAX);
        let rest = REST.min(Duration::from_nanos(until_ns.saturating_sub(now_ns)));
        if self.backlog.is_empty() && !rest.is_zero() {
            thread::sleep(rest);
        }
    }

    fn receive(&mut self, client: u32) {
        for _ in 0..RECEIVES_MAX {
            let Some(socket) = self.sockets.get(&client) else {
                return;
            };
            let (now_ns, now_unix_ns) = (self.clock.now_ns(), unix_ns());
            let Self { swarm, health, .. } = self;
            let before = health.datagrams;
            let more = socket.receive(&mut self.buffers, |at_ns, datagram| {
                health.datagrams += 1;
                let at_ns = at_ns.unwrap_or(now_unix_ns);
                let waited_ns = now_unix_ns.saturating_sub(at_ns).min(WAITED_MAX_NS);
                let came_ns = now_ns.saturating_sub(waited_ns);
                swarm.handle_datagram(came_ns, at_ns, client, datagram);
            });
            health.receives += u64::from(health.datagrams > before);
            self.flush();
            if !more {
                return;
            }
        }
        self.backlog.push(client);
    }

    /// Sends what the swarm wants sent.
    fn flush(&mut self) {
        let outbox = self.swarm.outbox();
        if outbox.is_empty() {
            return;
        }
        for (client, datagram) in outbox.iter() {
            match self.sockets.get(&client) {
                Some(socket) if socket.send(datagram) => self.health.sent += 1,
                Some(_) => self.health.send_errors += 1,
                None => {}
            }
        }
        outbox.clear();
    }

    /// Serves what is due; returns whether there is more.
    fn serve_timers(&mut self) -> bool {
        for _ in 0..TIMERS_MAX {
            let now_ns = self.clock.now_ns();
            let Some(due_ns) = self.swarm.deadline_ns().filter(|at_ns| *at_ns <= now_ns) else {
                return false;
            };
            self.timer_lag.record(now_ns - due_ns);
            self.swarm.handle_timeout(now_ns, unix_ns());
            self.flush();
        }
        true
    }

    fn take_orders(&mut self) -> bool {
        loop {
            let now_ns = self.clock.now_ns();
            match self.inbox.try_recv() {
                Ok(Order::AddClient(parameters, socket)) => {
                    let token = Token(parameters.client as usize);
                    if socket.register(self.poll.registry(), token).is_ok() {
                        self.sockets.insert(parameters.client, socket);
                        self.swarm.add_client(now_ns, &parameters);
                    }
                }
                Ok(Order::RemoveClient(client)) => self.remove(client),
                Ok(Order::SetKeys(client, profile, local, remote)) => {
                    // Their lengths were checked where they were made.
                    let _ = self.swarm.set_keys(client, profile, &local, &remote);
                }
                Ok(Order::AddReceiver(client, parameters, extensions)) => {
                    self.swarm
                        .add_receiver(now_ns, client, parameters, &extensions);
                }
                Ok(Order::AddSender(client, parameters)) => {
                    self.swarm.add_sender(client, *parameters);
                }
                Ok(Order::Send(client, datagrams)) => {
                    for datagram in datagrams {
                        self.swarm.send(now_ns, client, &datagram);
                    }
                    self.flush();
                }
                // Whoever asked may be gone.
                Ok(Order::Snapshot(reply)) => drop(reply.try_send(self.snapshot(now_ns))),
                Ok(Order::Rows(reply)) => drop(reply.try_send(self.swarm.rows())),
                Ok(Order::Latencies(reply)) => {
                    let (video, audio) = self.swarm.latencies();
                    drop(reply.try_send((video.clone(), audio.clone())));
                }
                Ok(Order::Quit) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn remove(&mut self, client: u32) {
        if let Some(socket) = self.sockets.remove(&client) {
            self.gone_drops += socket.drops();
            let _ = socket.deregister(self.poll.registry());
        }
        self.swarm.remove_client(client);
    }

    fn snapshot(&mut self, now_ns: u64) -> Snapshot {
        let mut snapshot = self.swarm.snapshot(now_ns);
        let (cpu_ns, cpu_wait_ns) = thread_times_ns();
        let drops: u64 = self.sockets.values().map(ClientSocket::drops).sum();
        snapshot.health = DriverHealth {
            cpu_ns,
            cpu_wait_ns,
            turns: self.turns.summary(),
            timer_lag: self.timer_lag.summary(),
            queue_drops: self.gone_drops + drops,
            events_dropped: self.queue.lock().expect("a holder never panics").dropped,
            ..self.health
        };
        self.turns.clear();
        self.timer_lag.clear();
        snapshot
    }

    fn hand_over_events(&mut self) {
        let events = self.swarm.take_events();
        if events.is_empty() {
            return;
        }
        let mut queue = self.queue.lock().expect("a holder never panics");
        for event in events {
            if queue.events.len() == EVENTS_MAX {
                queue.events.pop_front();
                queue.dropped += 1;
            }
            queue.events.push_back(event);
        }
        // A full pipe rings all the same.
        let _ = queue.bell.write(&[1]);
    }
}

/// CPU time of this thread, and how long it waited for a CPU that others used, in ns; 0 where the
/// kernel keeps no such account.
fn thread_times_ns() -> (u64, u64) {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = line
        .split_ascii_whitespace()
        .map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}
