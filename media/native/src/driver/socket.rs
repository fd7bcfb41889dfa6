//! One UDP socket: batched receive, segmented send, large buffers.
//!
//! `quinn-udp` makes the system calls: recvmmsg with GRO in, sendmsg with GSO out.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

/// Wanted kernel buffers, in bytes; the kernel may grant less (net.core.rmem_max).
const BUFFER_BYTES: usize = 8 * 1024 * 1024;

/// Bytes that one receive may bring: a whole GRO train.
const RECEIVE_BYTES: usize = 65_536;

/// What a wait for room in the send buffer takes from a sender's patience at least.
const WAIT_MIN: Duration = Duration::from_micros(100);

/// Messages taken from the kernel in one call.
const MESSAGES: usize = if BATCH_SIZE < 16 { BATCH_SIZE } else { 16 };

/// Why no socket could be had.
#[derive(Debug)]
pub struct BindError {
    host: IpAddr,
    first: u16,
    last: u16,
    cause: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            host,
            first,
            last,
            cause,
        } = self;
        if cause.kind() == io::ErrorKind::AddrInUse {
            write!(f, "no free UDP port left in {first}-{last} on {host}")
        } else {
            write!(
                f,
                "cannot bind a UDP port in {first}-{last} on {host}: {cause}"
            )
        }
    }
}

impl std::error::Error for BindError {}

/// What became of a datagram that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel took it.
    Taken,
    /// The kernel's buffer stayed full, or it refused; the datagram is lost.
    Lost,
}

/// A bound UDP socket, not yet split into its two directions.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Arc<std::net::UdpSocket>,
    state: Arc<UdpSocketState>,
}

/// The receiving direction, with its buffers.
#[derive(Debug)]
pub struct Inlet {
    socket: Arc<std::net::UdpSocket>,
    state: Arc<UdpSocketState>,
    buffers: Vec<Box<[u8]>>,
    metas: [RecvMeta; MESSAGES],
}

/// The sending direction.
#[derive(Debug)]
pub struct Outlet {
    socket: Arc<std::net::UdpSocket>,
    state: Arc<UdpSocketState>,
    /// Tells when a full send buffer has room again.
    writable: Poll,
    events: Events,
}

impl UdpSocket {
    /// Binds the first free port from `first` to `last` inclusive.
    ///
    /// # Errors
    /// [`BindError`] with the last cause; an address that is not ours fails at once.
    pub fn bind(host: IpAddr, first: u16, last: u16) -> Result<Self, BindError> {
        let error = |cause| BindError {
            host,
            first,
            last,
            cause,
        };
        let mut cause = io::Error::from(io::ErrorKind::AddrInUse);
        for port in first..=last {
            match std::net::UdpSocket::bind(SocketAddr::new(host, port)) {
                Ok(socket) => return Self::new(socket).map_err(error),
                Err(refused) if refused.kind() == io::ErrorKind::AddrInUse => cause = refused,
                Err(refused) => return Err(error(refused)),
            }
        }
        Err(error(cause))
    }

    fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new((&socket).into())?;
        // The kernel caps both silently; what it grants is enough to start with.
        state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES)?;
        state.set_send_buffer_size((&socket).into(), BUFFER_BYTES)?;
        Ok(Self {
            socket: Arc::new(socket),
            state: Arc::new(state),
        })
    }

    /// The address that it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Has `registry` wake its poll when datagrams come (edge-triggered).
    pub fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.socket.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    /// The two directions, to be used by turns.
    ///
    /// # Errors
    /// What epoll says.
    pub fn split(self) -> io::Result<(Inlet, Outlet)> {
        let Self { socket, state } = self;
        let writable = Poll::new()?;
        let source = &mut SourceFd(&socket.as_raw_fd());
        writable
            .registry()
            .register(source, Token(0), Interest::WRITABLE)?;
        let inlet = Inlet {
            socket: Arc::clone(&socket),
            state: Arc::clone(&state),
            buffers: (0..MESSAGES)
                .map(|_| vec![0; RECEIVE_BYTES].into_boxed_slice())
                .collect(),
            metas: [RecvMeta::default(); MESSAGES],
        };
        let events = Events::with_capacity(4);
        Ok((
            inlet,
            Outlet {
                socket,
                state,
                writable,
                events,
            },
        ))
    }
}

impl Inlet {
    /// Takes one batch from the kernel and hands each datagram to `take`.
    ///
    /// Returns whether there may be more. Errors of the kernel about single
    /// datagrams count as an empty batch.
    pub fn receive(&mut self, mut take: impl FnMut(SocketAddr, &mut [u8])) -> bool {
        let Self {
            socket,
            state,
            buffers,
            metas,
        } = self;
        let mut buffers = buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(buffers.next().expect("a buffer a message")));
        let count = match state.recv((&**socket).into(), &mut slices, metas) {
            Ok(count) => count,
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        for (meta, slice) in metas.iter().zip(slices.iter_mut()).take(count) {
            for datagram in slice[..meta.len].chunks_mut(meta.stride.max(1)) {
                take(meta.addr, datagram);
            }
        }
        true
    }
}

impl Outlet {
    /// Datagrams that one send may carry.
    pub fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    /// Sends `contents`, cut into datagrams of `segment_size` if that is given.
    ///
    /// While the kernel's buffer is full, waits as long as `patience` lasts, and takes from it.
    pub fn send(
        &mut self,
        destination: SocketAddr,
        contents: &[u8],
        segment_size: Option<usize>,
        patience: &mut Duration,
    ) -> Sent {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size,
            src_ip: None,
        };
        loop {
            match self.state.try_send((&*self.socket).into(), &transmit) {
                Ok(()) => return Sent::Taken,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && !patience.is_zero() => {
                    let began = Instant::now();
                    let _ = self.writable.poll(&mut self.events, Some(*patience));
                    let waited = began.elapsed().max(WAIT_MIN);
                    *patience = patience.saturating_sub(waited);
                }
                Err(_) => return Sent::Lost,
            }
        }
    }
}
