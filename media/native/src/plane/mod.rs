//! The plane as a process: workers, and the socket on which it takes orders.
//!
//! One thread (the caller's) serves the Unix socket: it accepts controllers,
//! takes their orders apart for the workers, and sends answers and notices. A
//! controller is the connection that said `Hello` last; when it goes, media
//! flows on for the grace period that it named, then the plane ends.
//!
//! # Queues and their overflow
//! - From a controller: one frame is worked on at a time. While answers wait to
//!   be written ([`connection::OUT_BYTES_MAX`]), no further frames are read, so
//!   a controller that does not read is not served, and nothing piles up.
//! - To a controller: notices wait in a [`NoticeQueue`]; state coalesces, the
//!   oldest leave.
//! - Connections that have not said `Hello`: [`CONNECTIONS_MAX`], each for
//!   [`HELLO_WITHIN`]; further ones are closed at once.
//!
//! Garbage closes the connection that it came on, and nothing else.

mod connection;
mod directory;
mod server;
mod socket_file;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mio::{Poll, Token, Waker};
use signal_hook::consts::SIGTERM;

use crate::driver::notices::NoticeQueue;
use crate::driver::socket::{BindError, UdpSocket};
use crate::driver::{Clock, Seat, Worker, WorkerGone};
use crate::engine::Config;

pub use server::Ended;

/// Connections at a time.
pub const CONNECTIONS_MAX: usize = 8;

/// How long a connection may take to say `Hello`.
pub const HELLO_WITHIN: Duration = Duration::from_secs(5);

/// Most workers of one plane.
pub const WORKERS_MAX: u32 = 256;

/// What a plane is told at its start.
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// Where it listens for controllers.
    pub socket_path: PathBuf,
    /// The address of all UDP sockets.
    pub host: IpAddr,
    /// First and last UDP port; each worker takes the first free one.
    pub ports: (u16, u16),
    /// Worker threads.
    pub workers: u32,
    /// Version that `PlaneInfo` tells.
    pub version: String,
    /// How long it waits for its first controller, in ms.
    pub grace_ms: u64,
    /// Whether rooms are sampled once a second.
    pub telemetry: bool,
    /// Memory of each worker's flight recorder, in bytes; 0 turns it off.
    pub recorder_bytes: usize,
    /// How far back recordings reach at most, in seconds.
    pub recorder_seconds: u32,
    /// How old the last keyframe may become while people join, in ms; 0 turns instant start off.
    pub keyframe_interval_ms: u32,
}

/// Why a plane could not start, or ended before its time.
#[derive(Debug)]
pub enum PlaneError {
    /// A setting is out of its range.
    Config(String),
    /// No UDP port.
    Bind(BindError),
    /// The Unix socket can't be had.
    Socket(String),
    /// A worker broke an invariant; its rooms are lost, so the plane ends.
    Worker(WorkerGone),
    /// The system refused something that it never refuses.
    System(io::Error),
}

impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(why) | Self::Socket(why) => f.write_str(why),
            Self::Bind(error) => error.fmt(f),
            Self::Worker(error) => error.fmt(f),
            Self::System(error) => write!(f, "system call failed: {error}"),
        }
    }
}

impl std::error::Error for PlaneError {}

impl From<io::Error> for PlaneError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<BindError> for PlaneError {
    fn from(error: BindError) -> Self {
        Self::Bind(error)
    }
}

impl From<WorkerGone> for PlaneError {
    fn from(error: WorkerGone) -> Self {
        Self::Worker(error)
    }
}

const WAKE: Token = Token(0);

/// Runs a plane until it is told to quit, SIGTERM comes, or its grace is over.
///
/// # Errors
/// [`PlaneError`]; in each case the sockets are closed and the socket file is gone.
pub fn run_plane(config: &PlaneConfig) -> Result<Ended, PlaneError> {
    if config.workers == 0 || config.workers > WORKERS_MAX {
        return Err(PlaneError::Config(format!(
            "workers must be 1 to {WORKERS_MAX}"
        )));
    }
    if config.ports.0 > config.ports.1 {
        let (first, last) = config.ports;
        return Err(PlaneError::Config(format!(
            "port range {first}-{last} is empty"
        )));
    }
    let signals = terminations()?;
    let listener = socket_file::listen(&config.socket_path)?;
    let poll = Poll::new()?;
    let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
    let notices = Arc::new(Mutex::new(NoticeQueue::default()));
    let clock = Clock::start();
    let sockets = (0..config.workers)
        .map(|_| UdpSocket::bind(config.host, config.ports.0, config.ports.1))
        .collect::<Result<Vec<_>, _>>()?;
    let mut workers = Vec::with_capacity(sockets.len());
    let seats = Seat::make(sockets.len())?;
    for ((index, socket), seat) in (0..).zip(sockets).zip(seats) {
        let mut engine = Config::new(index, random_u64()?);
        engine.unix_offset_ns = clock.unix_offset_ns();
        engine.telemetry = config.telemetry;
        engine.recorder_bytes = config.recorder_bytes;
        engine.recorder_seconds = config.recorder_seconds;
        engine.keyframe_interval_ns = u64::from(config.keyframe_interval_ms) * 1_000_000;
        let (notices, waker) = (Arc::clone(&notices), Arc::clone(&waker));
        workers.push(Worker::spawn(engine, seat, socket, clock, notices, waker)?);
    }
    let incarnation = format!("{:016x}", random_u64()?);
    server::Server::new(
        config,
        poll,
        listener,
        signals,
        workers,
        notices,
        incarnation,
    )?
    .run()
}

/// A stream that becomes readable at SIGTERM, from before anybody can see the plane.
fn terminations() -> io::Result<UnixStream> {
    let (receiver, sender) = UnixStream::pair()?;
    receiver.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGTERM, sender)?;
    Ok(receiver)
}

fn random_u64() -> Result<u64, PlaneError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| PlaneError::Config("the system gives no randomness".to_owned()))?;
    Ok(u64::from_be_bytes(bytes))
}
