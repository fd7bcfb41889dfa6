//! A worker thread: an engine, its socket and its clock.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token, Waker};

use super::deferred::Deferred;
use super::notices::NoticeQueue;
use super::rings::Rings;
use super::socket::{Inlet, Outlet, Sent, UdpSocket};
use super::{ORDER_BATCHES_MAX, SEND_WAIT_MAX};
use crate::engine::{Config, Engine, Transmit};
use crate::wire::answers::OrderResult;
use crate::wire::orders::Order;

const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);

/// Receive batches before orders and timers are looked at again.
const BATCHES_MAX: usize = 8;

/// Sends of a drain between two looks at the socket: at first after one, then after twice as many
/// each time, and at last after so many. Bursts come quickly or not at all, and a batch is sent in
/// chunks that grow alike: what a look brings is in the next.
const LOOK_EVERY_MAX: u32 = 32;

/// Sends after which a turn takes no more in, for orders and timers have theirs after it.
const LOOKS_END: u32 = 4096;

/// Reports of viewers that are handled before the next look at the socket.
const REPORTS_MAX: usize = 32;

/// How often so few are: what has come by then is handled at once.
const ROUNDS_MAX: u32 = 16;

/// The monotonic clock that all workers share.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    unix_ns: u64,
}

impl Clock {
    /// Starts at 1 s, so that "a while ago" never underflows.
    pub fn start() -> Self {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let unix_ns = u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX);
        Self {
            start: Instant::now(),
            unix_ns: unix_ns.saturating_sub(Self::ORIGIN_NS),
        }
    }

    const ORIGIN_NS: u64 = 1_000_000_000;

    /// Nanoseconds of monotonic time.
    pub fn now_ns(&self) -> u64 {
        Self::ORIGIN_NS + u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    /// How far the wall clock has moved against the monotonic one since the start, in ns.
    pub fn drift_ns(&self) -> i64 {
        let unix = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let expected_ns = i128::from(self.unix_ns) + i128::from(self.now_ns());
        let drift_ns = unix.as_nanos() as i128 - expected_ns;
        i64::try_from(drift_ns).unwrap_or(0)
    }

    /// Unix time at monotonic time zero, in ns; read once at the start.
    pub fn unix_offset_ns(&self) -> u64 {
        self.unix_ns
    }
}

/// What the plane thread tells a worker.
#[derive(Debug)]
pub enum Command {
    /// Carry out, and answer each.
    Orders {
        /// In order.
        orders: Vec<Order>,
        /// Where the results go.
        reply: SyncSender<Vec<OrderResult>>,
    },
    /// End the thread.
    Quit,
}

/// A worker thread is gone: its engine broke an invariant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerGone(pub u32);

impl std::fmt::Display for WorkerGone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "worker {} ended unexpectedly", self.0)
    }
}

impl std::error::Error for WorkerGone {}

/// Where a worker waits, made before any of them runs: they wake each other.
#[derive(Debug)]
pub struct Seat {
    poll: Poll,
    waker: Arc<Waker>,
    rings: Rings,
}

impl Seat {
    /// Seats for so many workers, with rings between them.
    ///
    /// # Errors
    /// What epoll says.
    pub fn make(count: usize) -> io::Result<Vec<Self>> {
        let seat = || -> io::Result<(Poll, Arc<Waker>)> {
            let poll = Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
            Ok((poll, waker))
        };
        let seats = (0..count).map(|_| seat()).collect::<io::Result<Vec<_>>>()?;
        let wakers: Vec<Arc<Waker>> = seats.iter().map(|(_, waker)| Arc::clone(waker)).collect();
        let rings = Rings::connect(&wakers);
        let seats = seats.into_iter().zip(rings);
        Ok(seats
            .map(|((poll, waker), rings)| Self { poll, waker, rings })
            .collect())
    }
}

/// The plane thread's hold on a worker. Dropping it ends the thread.
#[derive(Debug)]
pub struct Worker {
    index: u32,
    address: SocketAddr,
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts a thread that owns `socket`, at `seat`, whose place is that of the worker.
    ///
    /// Notices go to `notices`, and `plane` is woken when there are new ones or
    /// when the thread ends.
    ///
    /// # Errors
    /// What epoll or the thread's start say.
    pub fn spawn(
        config: Config,
        seat: Seat,
        socket: UdpSocket,
        clock: Clock,
        notices: Arc<Mutex<NoticeQueue>>,
        plane: Arc<Waker>,
    ) -> io::Result<Self> {
        let address = socket.local_addr()?;
        let Seat { poll, waker, rings } = seat;
        socket.register(poll.registry(), SOCKET)?;
        let (commands, inbox) = sync_channel(ORDER_BATCHES_MAX);
        let index = config.worker;
        let (inlet, outlet) = socket.split()?;
        let shell = Shell {
            engine: Engine::new(config),
            intake: Intake {
                inlet,
                deferred: Deferred::default(),
                clock,
            },
            rings,
            drain: Drain {
                clock,
                outlet,
                notices,
                plane: WakeOnDrop(plane),
            },
            clock,
            poll,
            inbox,
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || shell.run())?;
        Ok(Self {
            index,
            address,
            commands,
            waker,
            thread: Some(thread),
        })
    }

    /// Its index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its UDP address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the thread has ended.
    pub fn is_gone(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Hands over orders; their results come out of the receiver.
    ///
    /// # Errors
    /// [`WorkerGone`].
    pub fn submit(&self, orders: Vec<Order>) -> Result<Receiver<Vec<OrderResult>>, WorkerGone> {
        let (reply, results) = sync_channel(1);
        let gone = WorkerGone(self.index);
        self.commands
            .send(Command::Orders { orders, reply })
            .map_err(|_| gone)?;
        self.waker.wake().map_err(|_| gone)?;
        Ok(results)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.commands.try_send(Command::Quit);
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Wakes the plane thread when the worker unwinds or ends.
#[derive(Debug)]
struct WakeOnDrop(Arc<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        let _ = self.0.wake();
    }
}

struct Shell {
    engine: Engine,
    intake: Intake,
    rings: Rings,
    drain: Drain,
    clock: Clock,
    poll: Poll,
    inbox: Receiver<Command>,
}

/// Where datagrams come from.
struct Intake {
    inlet: Inlet,
    deferred: Deferred,
    clock: Clock,
}

/// Where what the engine puts out goes.
struct Drain {
    clock: Clock,
    outlet: Outlet,
    notices: Arc<Mutex<NoticeQueue>>,
    plane: WakeOnDrop,
}

impl Shell {
    fn run(mut self) {
        let mut events = Events::with_capacity(8);
        // Edge-triggered: readable until a receive says that it would block.
        let mut readable = true;
        let mut fed = false;
        loop {
            let wait = if readable || fed {
                Some(Duration::ZERO)
            } else {
                self.until_deadline()
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => panic!("epoll failed: {error}"),
            }
            readable |= events.iter().any(|event| event.token() == SOCKET);
            for _ in 0..BATCHES_MAX {
                if !readable {
                    break;
                }
                readable = self.receive_batch();
            }
            fed = self.take_records();
            if !self.take_commands() {
                return;
            }
            let now_ns = self.clock.now_ns();
            if self
                .engine
                .next_deadline_ns()
                .is_some_and(|deadline| deadline <= now_ns)
            {
                self.engine.handle_timeout(now_ns);
                self.drain();
            }
        }
    }

    fn until_deadline(&self) -> Option<Duration> {
        let deadline_ns = self.engine.next_deadline_ns()?;
        Some(Duration::from_nanos(
            deadline_ns.saturating_sub(self.clock.now_ns()),
        ))
    }

    fn receive_batch(&mut self) -> bool {
        let Self {
            engine,
            intake,
            rings,
            drain,
            clock,
            ..
        } = self;
        let now_ns = clock.now_ns();
        let more = intake.inlet.receive(|remote, datagram| {
            engine.handle_datagram(now_ns, remote, datagram);
            if engine.wants_drain() {
                drain.drain(engine, rings, &mut Turn::default(), |_, _| {});
            }
        });
        self.drain();
        more
    }

    /// Takes a turn of what other workers sent; true if there is more.
    fn take_records(&mut self) -> bool {
        let now_ns = self.clock.now_ns();
        let mut taken = false;
        let Self { engine, rings, .. } = self;
        let more = rings.receive(|from, record| {
            engine.handle_sibling(now_ns, from, record);
            taken = true;
        });
        if taken {
            self.drain();
        }
        more
    }

    /// Drains the engine, with a look at what comes meanwhile: it may go along with what is sent, and
    /// reports are handled after it, some at a time, for what is to be sent goes before them.
    fn drain(&mut self) {
        let Self {
            engine,
            intake,
            rings,
            drain,
            ..
        } = self;
        let mut turn = Turn::default();
        loop {
            drain.drain(engine, rings, &mut turn, |engine, rings| {
                intake.look(engine, rings);
            });
            if intake.deferred.is_empty() {
                return;
            }
            turn.rounds += 1;
            if turn.may_look() {
                intake.handle_reports(engine, REPORTS_MAX);
                intake.look(engine, rings);
            } else {
                intake.handle_reports(engine, usize::MAX);
            }
        }
    }

    fn take_commands(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Orders { orders, reply }) => {
                    let mut results = Vec::with_capacity(orders.len());
                    for order in orders {
                        let now_ns = self.clock.now_ns();
                        results.push(self.engine.handle_order(now_ns, order).into());
                        self.drain();
                    }
                    // The plane thread waits for it, or is gone itself.
                    let _ = reply.try_send(results);
                }
                Ok(Command::Quit) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }
}

impl Intake {
    /// Takes in what has come, one batch of each kind; reports wait.
    fn look(&mut self, engine: &mut Engine, rings: &mut Rings) {
        let Self {
            inlet,
            deferred,
            clock,
        } = self;
        let now_ns = clock.now_ns();
        // Edges are not lost: the loop reads until a receive says that it would block.
        inlet.receive(|remote, datagram| {
            if !Deferred::can_wait(datagram) {
                return engine.handle_datagram(now_ns, remote, datagram);
            }
            if !deferred.has_room(datagram) {
                hand_over(deferred, engine, usize::MAX);
            }
            deferred.keep(now_ns, remote, datagram);
        });
        rings.receive(|from, record| engine.handle_sibling(now_ns, from, record));
    }

    /// Handles so many of the reports that wait.
    fn handle_reports(&mut self, engine: &mut Engine, most: usize) {
        hand_over(&mut self.deferred, engine, most);
    }
}

fn hand_over(deferred: &mut Deferred, engine: &mut Engine, most: usize) {
    deferred.give(most, |at_ns, remote, datagram| {
        engine.handle_datagram(at_ns, remote, datagram);
    });
}

/// What the shell may take in, and wait for a full send buffer, before timers and orders have their turn.
struct Turn {
    sent: u32,
    rounds: u32,
    patience: Duration,
}

impl Default for Turn {
    fn default() -> Self {
        Self {
            sent: 0,
            rounds: 0,
            patience: SEND_WAIT_MAX,
        }
    }
}

impl Turn {
    fn may_look(&self) -> bool {
        self.sent < LOOKS_END && self.rounds < ROUNDS_MAX
    }
}

impl Drain {
    /// The law of the engine: after every mutation, drain. `look` may mutate it again meanwhile.
    fn drain(
        &mut self,
        engine: &mut Engine,
        rings: &mut Rings,
        turn: &mut Turn,
        mut look: impl FnMut(&mut Engine, &mut Rings),
    ) {
        self.tell_siblings(engine, rings);
        let segments_max = self.outlet.segments_max();
        let (mut look_at, mut next) = (turn.sent + 1, 2);
        while let Some(transmit) = engine.poll_transmit(segments_max) {
            let Transmit {
                remote,
                contents,
                segment_size,
            } = transmit;
            let result = self
                .outlet
                .send(remote, contents, segment_size, &mut turn.patience);
            if result == Sent::Lost {
                engine.handle_send_lost();
            }
            turn.sent += 1;
            if turn.sent == look_at && turn.may_look() {
                look_at += next;
                next = LOOK_EVERY_MAX.min(2 * next);
                if !engine.wants_drain() {
                    look(engine, rings);
                }
                self.tell_siblings(engine, rings);
            }
        }
        self.tell_controller(engine);
    }

    fn tell_siblings(&mut self, engine: &mut Engine, rings: &mut Rings) {
        while let Some((worker, record)) = engine.poll_sibling() {
            if !rings.push(worker, record) {
                engine.handle_sibling_lost();
            }
        }
        // Only a closed descriptor refuses to wake: the plane ends then.
        let _ = rings.wake();
    }

    fn tell_controller(&mut self, engine: &mut Engine) {
        let Some(first) = engine.poll_notice() else {
            return;
        };
        let mut queue = self
            .notices
            .lock()
            .expect("a holder of the notices never panics");
        for mut notice in std::iter::once(first).chain(std::iter::from_fn(|| engine.poll_notice()))
        {
            if notice.bulk_bytes().is_some() {
                // The engine knows the wall clock as of the start only.
                notice.shift_wall_clock(self.clock.drift_ns());
            }
            queue.push(notice);
        }
        drop(queue);
        let _ = self.plane.0.wake();
    }
}
