//! A client's UDP socket, and the kernel's count of what it dropped.

use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, UdpSocketState};

/// Wanted receive buffer, in bytes; the kernel may grant less (net.core.rmem_max).
const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;

/// Messages taken in one call: each may be a whole run of datagrams (UDP GRO).
pub(super) const MESSAGES: usize = 4;

/// Bytes of one message.
pub(super) const MESSAGE_BYTES: usize = 65_536;

/// A connected socket.
#[derive(Debug)]
pub(super) struct ClientSocket {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// Buffers that all sockets share.
pub(super) struct ReceiveBuffers {
    buffers: Vec<Box<[u8]>>,
    metas: [RecvMeta; MESSAGES],
}

impl ReceiveBuffers {
    pub(super) fn new() -> Self {
        Self {
            buffers: vec![vec![0; MESSAGE_BYTES].into_boxed_slice(); MESSAGES],
            metas: [RecvMeta::default(); MESSAGES],
        }
    }
}

impl ClientSocket {
    /// A socket of a free port that talks to `remote` alone.
    ///
    /// # Errors
    /// What the kernel says; too many open files above all.
    pub(super) fn connect(remote: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = match remote {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(remote)?;
        let state = UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), RECEIVE_BUFFER_BYTES)?;
        Ok(Self { socket, state })
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(
            &mut SourceFd(&self.socket.as_raw_fd()),
            token,
            Interest::READABLE,
        )
    }

    pub(super) fn deregister(&self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut SourceFd(&self.socket.as_raw_fd()))
    }

    /// Takes what is there, up to `MESSAGES` runs, and hands over each datagram with the Unix time
    /// in ns at which the kernel took it from the network, if it says so. Returns whether there may
    /// be more.
    pub(super) fn receive(
        &self,
        buffers: &mut ReceiveBuffers,
        mut take: impl FnMut(Option<u64>, &[u8]),
    ) -> bool {
        let ReceiveBuffers { buffers, metas } = buffers;
        let mut each = buffers.iter_mut();
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(each.next().expect("a buffer a message")));
        let count = match self
            .state
            .recv((&self.socket).into(), &mut slices, &mut metas[..])
        {
            Ok(count) => count,
            // A refused datagram (ICMP) says nothing about those that wait.
            Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let at_ns = meta.timestamp.map(|at| at.as_nanos() as u64);
            for datagram in slice[..meta.len].chunks(meta.stride.max(1)) {
                take(at_ns, datagram);
            }
        }
        count == MESSAGES
    }

    /// Sends a datagram; false if the kernel refuses it.
    pub(super) fn send(&self, datagram: &[u8]) -> bool {
        match self.socket.send(datagram) {
            Ok(_) => true,
            // An earlier datagram was refused by the other side (ICMP): that is told once.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.socket.send(datagram).is_ok()
            }
            Err(_) => false,
        }
    }

    /// Datagrams that the kernel dropped because the receive queue was full (SO_MEMINFO).
    pub(super) fn drops(&self) -> u64 {
        let mut info = [0u32; 9];
        let mut len = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the descriptor is open, and `len` is the size of what `info` points to.
        #[allow(unsafe_code)]
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut len,
            )
        };
        match result {
            0 => u64::from(info[SK_MEMINFO_DROPS]),
            _ => 0,
        }
    }
}

const SO_MEMINFO: libc::c_int = 55;
const SK_MEMINFO_DROPS: usize = 8;
