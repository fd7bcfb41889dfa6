//! Serves controllers on the Unix socket; see the module above for its rules.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token};

use super::connection::{Connection, NOTICE_BYTES_MAX};
use super::directory::Directory;
use super::socket_file::Listening;
use super::{CONNECTIONS_MAX, HELLO_WITHIN, PlaneConfig, PlaneError};
use crate::driver::notices::NoticeQueue;
use crate::driver::{Worker, WorkerGone};
use crate::engine::OrderError;
use crate::wire::answers::{Data, OrderResult, PlaneInfo, Refusal, Table, WorkerInfo};
use crate::wire::frame::{NoticeFrame, ResultFrame, decode_orders};
use crate::wire::orders::{
    EntryKind, Hello, Order, PLANE_PROTOCOL, Remove, SetMirror, SetProducer,
};

const LISTENER: Token = Token(1);
const SIGNAL: Token = Token(2);
const FIRST_CONNECTION: usize = 16;

/// Notices of one frame; more follow in the next.
const NOTICES_A_FRAME: usize = 256;

/// Bytes of data after which a frame is closed; one notice has at most a megabyte more.
const BULK_BYTES_A_FRAME: usize = 256 * 1024;

/// How long a last answer may take to be written.
const FAREWELL: Duration = Duration::from_millis(200);

/// Why a plane ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A controller said so.
    Quit,
    /// SIGTERM.
    Signal,
    /// No controller came back in time.
    Grace,
}

/// What a frame's orders led to.
enum Outcome {
    Continue,
    /// Close the connection once the answer is written.
    Close,
    Quit,
}

pub(super) struct Server {
    poll: Poll,
    listening: Listening,
    signals: mio::net::UnixStream,
    workers: Vec<Worker>,
    notices: Arc<Mutex<NoticeQueue>>,
    directory: Directory,
    info: PlaneInfo,
    connections: BTreeMap<usize, Connection>,
    next_connection: usize,
    controller: Option<usize>,
    grace: Duration,
    /// When the plane ends unless a controller comes.
    grace_ends: Option<Instant>,
}

impl Server {
    pub(super) fn new(
        config: &PlaneConfig,
        poll: Poll,
        mut listening: Listening,
        signals: std::os::unix::net::UnixStream,
        workers: Vec<Worker>,
        notices: Arc<Mutex<NoticeQueue>>,
        incarnation: String,
    ) -> Result<Self, PlaneError> {
        let mut signals = mio::net::UnixStream::from_std(signals);
        poll.registry()
            .register(&mut signals, SIGNAL, Interest::READABLE)?;
        poll.registry()
            .register(&mut listening.listener, LISTENER, Interest::READABLE)?;
        let worker_info = |worker: &Worker| WorkerInfo {
            worker: worker.index(),
            port: worker.address().port(),
            host: worker.address().ip().to_string(),
        };
        let info = PlaneInfo {
            protocol: PLANE_PROTOCOL,
            version: config.version.clone(),
            incarnation,
            pid: std::process::id(),
            workers: workers.iter().map(worker_info).collect(),
        };
        let grace = Duration::from_millis(config.grace_ms);
        Ok(Self {
            poll,
            listening,
            signals,
            workers,
            notices,
            directory: Directory::default(),
            info,
            connections: BTreeMap::new(),
            next_connection: FIRST_CONNECTION,
            controller: None,
            grace,
            grace_ends: Some(Instant::now() + grace),
        })
    }

    pub(super) fn run(mut self) -> Result<Ended, PlaneError> {
        let mut events = Events::with_capacity(64);
        loop {
            let wait = self
                .next_deadline()
                .map(|at| at.saturating_duration_since(Instant::now()));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(gone) = self.workers.iter().find(|worker| worker.is_gone()) {
                return Err(WorkerGone(gone.index()).into());
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    SIGNAL if self.was_signalled() => return Ok(Ended::Signal),
                    Token(id) if id >= FIRST_CONNECTION && self.serve(id)? => {
                        return Ok(Ended::Quit);
                    }
                    _ => {}
                }
            }
            self.send_notices();
            let now = Instant::now();
            self.close_silent(now);
            if self.grace_ends.is_some_and(|at| at <= now) {
                return Ok(Ended::Grace);
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let hellos = self
            .connections
            .values()
            .filter_map(|connection| connection.hello_by);
        hellos.chain(self.grace_ends).min()
    }

    fn was_signalled(&mut self) -> bool {
        let mut bytes = [0; 16];
        matches!(self.signals.read(&mut bytes), Ok(count) if count > 0)
    }

    fn accept(&mut self) -> Result<(), PlaneError> {
        loop {
            let mut stream = match self.listening.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The one who called is gone again, or we are short of descriptors.
                Err(_) => return Ok(()),
            };
            let newcomers = self.connections.len() - usize::from(self.controller.is_some());
            if newcomers >= CONNECTIONS_MAX {
                continue;
            }
            let id = self.next_connection;
            self.next_connection += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll
                .registry()
                .register(&mut stream, Token(id), both)?;
            self.connections
                .insert(id, Connection::new(stream, Instant::now() + HELLO_WITHIN));
        }
    }

    fn close_silent(&mut self, now: Instant) {
        let late = |connection: &Connection| connection.hello_by.is_some_and(|by| by <= now);
        let ids: Vec<usize> = self
            .connections
            .iter()
            .filter(|(_, one)| late(one))
            .map(|(&id, _)| id)
            .collect();
        for id in ids {
            self.close(id);
        }
    }

    fn close(&mut self, id: usize) {
        if let Some(mut connection) = self.connections.remove(&id) {
            let _ = self.poll.registry().deregister(&mut connection.stream);
        }
        if self.controller == Some(id) {
            self.controller = None;
            self.grace_ends = Some(Instant::now() + self.grace);
        }
    }

    /// Takes what came on a connection; true if the plane is to end.
    fn serve(&mut self, id: usize) -> Result<bool, PlaneError> {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else {
                return Ok(false);
            };
            let frame = connection.flush().and_then(|()| connection.poll_frame());
            if connection.closing && connection.waiting() == 0 {
                self.close(id);
                return Ok(false);
            }
            let body = match frame {
                Ok(Some(body)) => body,
                Ok(None) => return Ok(false),
                Err(_) => {
                    self.close(id);
                    return Ok(false);
                }
            };
            let Ok(frame) = decode_orders(&body) else {
                self.close(id);
                return Ok(false);
            };
            let said_hello = connection.hello_by.is_none();
            if !said_hello && !matches!(frame.orders.first(), Some(Order::Hello(_))) {
                self.close(id);
                return Ok(false);
            }
            let (results, outcome) = self.carry_out(id, frame.orders)?;
            let answer = ResultFrame {
                seq: frame.seq,
                results,
            };
            let Some(connection) = self.connections.get_mut(&id) else {
                return Ok(false);
            };
            if connection.send(&answer).is_err() {
                self.close(id);
                return Ok(matches!(outcome, Outcome::Quit));
            }
            match outcome {
                Outcome::Continue => {}
                Outcome::Close => connection.closing = true,
                Outcome::Quit => {
                    farewell(connection);
                    return Ok(true);
                }
            }
        }
    }

    fn carry_out(
        &mut self,
        id: usize,
        orders: Vec<Order>,
    ) -> Result<(Vec<OrderResult>, Outcome), PlaneError> {
        let mut batch = Batch::new(self.workers.len(), orders.len());
        let mut outcome = Outcome::Continue;
        for (place, order) in orders.into_iter().enumerate() {
            match order {
                Order::Hello(hello) => {
                    let result = self.take_over(id, &hello);
                    if matches!(result, OrderResult::Error(_)) {
                        outcome = Outcome::Close;
                    }
                    batch.results[place] = result;
                }
                Order::Quit {} => outcome = Outcome::Quit,
                Order::Describe {} | Order::QueryStats(_) => {
                    batch.flush(&self.workers, &mut self.directory)?;
                    batch.results[place] = OrderResult::Data(self.ask_all(&order)?);
                }
                order => match self.route(&order) {
                    Ok(Some(worker)) => self.hand_over(worker, place, order, &mut batch)?,
                    Ok(None) => {}
                    Err(error) => batch.results[place] = OrderResult::Error(error.into()),
                },
            }
            if !matches!(outcome, Outcome::Continue) {
                break;
            }
        }
        batch.flush(&self.workers, &mut self.directory)?;
        Ok((batch.results, outcome))
    }

    fn take_over(&mut self, id: usize, hello: &Hello) -> OrderResult {
        if hello.protocol != PLANE_PROTOCOL {
            return OrderResult::Error(Refusal {
                code: "protocol_mismatch".to_owned(),
                message: format!("this plane speaks protocol {PLANE_PROTOCOL}"),
            });
        }
        if let Some(old) = self.controller.filter(|&old| old != id) {
            self.close(old);
        }
        self.controller = Some(id);
        self.grace = Duration::from_millis(hello.grace_ms);
        self.grace_ends = None;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.hello_by = None;
        }
        OrderResult::Data(Data::PlaneInfo(self.info.clone()))
    }

    /// The worker that an order is for; None if there is nothing to do.
    fn route(&self, order: &Order) -> Result<Option<u32>, OrderError> {
        let directory = &self.directory;
        match order {
            Order::SetTransport(row) => match directory.transport(&row.transport) {
                Some(worker) if worker != row.worker => Err(OrderError::ImmutableField),
                _ if row.worker as usize >= self.workers.len() => Err(OrderError::WrongWorker),
                _ => Ok(Some(row.worker)),
            },
            Order::SetSrtpKeys(keys) => known(directory.transport(&keys.transport)),
            Order::SendDtls(send) => known(directory.transport(&send.transport)),
            Order::FreezeRecorder(freeze) => known(directory.transport(&freeze.transport)),
            Order::SetProducer(row) => {
                // An entry stays on its worker; the engine tells if the row says otherwise.
                known(
                    directory
                        .producer(&row.producer)
                        .or(directory.transport(&row.transport)),
                )
            }
            Order::SetConsumer(row) => {
                let present = directory.consumer(&row.consumer);
                known(present.or(directory.transport(&row.transport)))
            }
            Order::RequestKeyFrame(request) => directory
                .consumer(&request.consumer)
                .map(Some)
                .ok_or(OrderError::UnknownConsumer),
            Order::Remove(remove) => Ok(match remove.kind {
                EntryKind::Transport => directory.transport(&remove.id),
                EntryKind::Producer => directory.producer(&remove.id),
                EntryKind::Consumer => directory.consumer(&remove.id),
            }),
            Order::Hello(_)
            | Order::Describe {}
            | Order::QueryStats(_)
            | Order::Quit {}
            | Order::SetMirror(_) => Err(OrderError::NotForEngine),
            Order::Unknown => Err(OrderError::UnknownOrder),
        }
    }

    /// Adds an order to the batch, and what it means for mirrors on other workers.
    fn hand_over(
        &mut self,
        worker: u32,
        place: usize,
        order: Order,
        batch: &mut Batch,
    ) -> Result<(), PlaneError> {
        match &order {
            Order::SetConsumer(row) => {
                let home = self.directory.producer(&row.producer);
                if let Some(home) = home.filter(|&home| home != worker) {
                    // The producer must be there before its mirror asks for packets.
                    if batch.has_orders(home) {
                        batch.flush(&self.workers, &mut self.directory)?;
                    }
                    if let Some(row) = self.directory.producer_row(&row.producer).cloned() {
                        batch.tell(worker, Order::SetMirror(SetMirror { home, row }));
                    }
                }
            }
            Order::SetProducer(row) => {
                let mirrors = self.directory.mirrors_of(&row.producer);
                if !mirrors.is_empty() {
                    let row = row.clone();
                    batch.add(worker, place, order, None);
                    batch.flush(&self.workers, &mut self.directory)?;
                    if batch.results[place] == OrderResult::Done {
                        for mirror in mirrors {
                            let (home, row) = (worker, row.clone());
                            batch.tell(mirror, Order::SetMirror(SetMirror { home, row }));
                        }
                    }
                    return Ok(());
                }
            }
            Order::Remove(Remove { kind, id }) => {
                for producer in self.directory.producers_ending_with(*kind, id) {
                    for mirror in self.directory.mirrors_of(&producer) {
                        let remove = Remove {
                            kind: EntryKind::Producer,
                            id: producer.clone(),
                        };
                        batch.tell(mirror, Order::Remove(remove));
                    }
                }
            }
            _ => {}
        }
        let fresh = self.note(&order, worker);
        batch.add(worker, place, order, fresh);
        Ok(())
    }

    /// Notes in the directory what an order will do; what it added, in case it is refused.
    fn note(&mut self, order: &Order, worker: u32) -> Option<(EntryKind, String)> {
        let directory = &mut self.directory;
        match order {
            Order::SetTransport(row) => directory
                .add_transport(&row.transport, worker)
                .then(|| (EntryKind::Transport, row.transport.clone())),
            Order::SetProducer(row) if directory.producer(&row.producer).is_none() => {
                directory.add_producer(row, worker);
                Some((EntryKind::Producer, row.producer.clone()))
            }
            Order::SetConsumer(row) if directory.consumer(&row.consumer).is_none() => {
                directory.add_consumer(&row.consumer, worker, &row.transport, &row.producer);
                Some((EntryKind::Consumer, row.consumer.clone()))
            }
            Order::Remove(remove) => {
                directory.remove(remove.kind, &remove.id);
                None
            }
            _ => None,
        }
    }

    /// Asks all workers the same and puts their answers together.
    fn ask_all(&self, order: &Order) -> Result<Data, PlaneError> {
        let mut replies = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            replies.push((worker.index(), worker.submit(vec![order.clone()])?));
        }
        let mut table = Table::default();
        let mut stats = Vec::new();
        for (index, reply) in replies {
            let results = reply.recv().map_err(|_| WorkerGone(index))?;
            for result in results {
                match result {
                    OrderResult::Data(Data::Table(part)) => {
                        table.transports.extend(part.transports);
                        table.producers.extend(part.producers);
                        table.consumers.extend(part.consumers);
                        table.producer_entries.extend(part.producer_entries);
                        table.consumer_entries.extend(part.consumer_entries);
                    }
                    OrderResult::Data(Data::Stats(part)) => stats.extend(part),
                    _ => {}
                }
            }
        }
        Ok(if matches!(order, Order::Describe {}) {
            Data::Table(table)
        } else {
            Data::Stats(stats)
        })
    }

    fn send_notices(&mut self) {
        while let Some(id) = self.controller {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            if connection.waiting() > NOTICE_BYTES_MAX {
                return;
            }
            let mut queue = self
                .notices
                .lock()
                .expect("a holder of the notices never panics");
            let mut notices = Vec::new();
            let mut bulk_bytes = 0;
            while notices.len() < NOTICES_A_FRAME && bulk_bytes < BULK_BYTES_A_FRAME {
                let Some(notice) = queue.pop() else { break };
                bulk_bytes += notice.bulk_bytes().unwrap_or(0);
                notices.push(notice);
            }
            drop(queue);
            if notices.is_empty() {
                return;
            }
            if connection.send(&NoticeFrame { notices }).is_err() {
                self.close(id);
                return;
            }
        }
    }
}

fn known(worker: Option<u32>) -> Result<Option<u32>, OrderError> {
    worker.map(Some).ok_or(OrderError::UnknownTransport)
}

/// Gives a last answer a moment to leave.
fn farewell(connection: &mut Connection) {
    let until = Instant::now() + FAREWELL;
    while connection.waiting() > 0 && Instant::now() < until {
        if connection.flush().is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// An order on its way to a worker.
struct Sent {
    /// Where its result goes; nowhere if the plane itself gave it.
    place: Option<usize>,
    /// What the order added to the directory.
    fresh: Option<(EntryKind, String)>,
    /// The row of a producer, which holds once it is taken.
    row: Option<SetProducer>,
}

/// The orders of one frame, sorted by worker; the order within a worker is kept.
struct Batch {
    orders: Vec<Vec<Order>>,
    sent: Vec<Vec<Sent>>,
    results: Vec<OrderResult>,
}

impl Batch {
    fn new(workers: usize, orders: usize) -> Self {
        Self {
            orders: (0..workers).map(|_| Vec::new()).collect(),
            sent: (0..workers).map(|_| Vec::new()).collect(),
            results: vec![OrderResult::Done; orders],
        }
    }

    fn add(&mut self, worker: u32, place: usize, order: Order, fresh: Option<(EntryKind, String)>) {
        let row = match &order {
            Order::SetProducer(row) => Some(row.clone()),
            _ => None,
        };
        self.orders[worker as usize].push(order);
        self.sent[worker as usize].push(Sent {
            place: Some(place),
            fresh,
            row,
        });
    }

    /// Adds an order of the plane itself, whose result nobody waits for.
    fn tell(&mut self, worker: u32, order: Order) {
        self.orders[worker as usize].push(order);
        self.sent[worker as usize].push(Sent {
            place: None,
            fresh: None,
            row: None,
        });
    }

    fn has_orders(&self, worker: u32) -> bool {
        !self.orders[worker as usize].is_empty()
    }

    /// Has the workers carry out what was added, and takes their results.
    fn flush(&mut self, workers: &[Worker], directory: &mut Directory) -> Result<(), PlaneError> {
        let mut replies = Vec::new();
        for (worker, orders) in workers.iter().zip(&mut self.orders) {
            if !orders.is_empty() {
                replies.push((worker.index(), worker.submit(std::mem::take(orders))?));
            }
        }
        for (index, reply) in replies {
            let results = reply.recv().map_err(|_| WorkerGone(index))?;
            let sent = std::mem::take(&mut self.sent[index as usize]);
            for (sent, result) in sent.into_iter().zip(results) {
                match (&result, sent.fresh, sent.row) {
                    (OrderResult::Error(_), Some((kind, id)), _) => {
                        directory.remove(kind, &id);
                    }
                    (OrderResult::Done, _, Some(row)) => {
                        directory.add_producer(&row, index);
                    }
                    _ => {}
                }
                if let Some(place) = sent.place {
                    self.results[place] = result;
                }
            }
        }
        Ok(())
    }
}
