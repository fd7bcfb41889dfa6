//! What forwarding costs at least here: a plain loop that encrypts and sends, and nothing else.
//!
//! `cargo run --release --example floor [viewers] [seconds] [core of the receiver]` sends each of so
//! many loopback sockets what a viewer gets: video of 1.5 Mbit/s in 30 bursts a second, encrypted
//! for it with AES-128-GCM and sent in one call (UDP GSO), and opus 50 times a second. The
//! receiver is another process (this program again, pinned if a core is named), which reads each
//! socket with UDP GRO, as `reprise load` does: without GRO, the kernel would cut the bursts up
//! at the sender's cost. As `reprise load` does, too, it lets datagrams gather for a millisecond before it
//! looks again: to be woken by each burst would be the sender's cost as well.
//!
//! What is counted is the CPU time of the sending process, loopback's receive path in the kernel
//! included, for it runs in the sender's calls; divided by the packets that arrived. The latency of a
//! packet is the time from when its burst was due until the call that sent it came back: the last
//! viewer waits for all the others. Two lines come out: one for people, and one of JSON.

use std::io::{BufRead, BufReader, IoSliceMut, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

/// RTP header with the extensions that browsers negotiate, in bytes.
const HEADER_LEN: usize = 28;
const TAG_LEN: usize = 16;
/// Payloads of one frame, cut evenly as browsers do: 1.5 Mbit/s at 30 frames a second.
const FRAME: [usize; 6] = [1042; 6];
const FRAMES_PER_SECOND: u32 = 30;
/// Payload of one opus packet: 32 kbit/s.
const OPUS: [usize; 1] = [80];
const OPUS_PER_SECOND: u32 = 50;

const REST: Duration = Duration::from_millis(1);
const MESSAGES: usize = 4;
const RECEIVE_BUFFER_BYTES: usize = 512 * 1024;
const SEND_BUFFER_BYTES: usize = 8 * 1024 * 1024;

fn argument(place: usize) -> Option<usize> {
    let text = std::env::args().nth(place)?;
    Some(text.parse().expect("a number"))
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("receive") {
        receive(argument(2).expect("sockets"));
    } else {
        send(
            argument(1).unwrap_or(500),
            argument(2).unwrap_or(10),
            argument(3),
        );
    }
}

/// Reads from so many sockets until stdin ends; tells their ports, and at the end how many came.
fn receive(count: usize) {
    let mut poll = Poll::new().expect("epoll");
    let mut sockets = Vec::with_capacity(count);
    for place in 0..count {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let state = UdpSocketState::new((&socket).into()).expect("UDP options");
        state
            .set_recv_buffer_size((&socket).into(), RECEIVE_BUFFER_BYTES)
            .expect("SO_RCVBUF");
        poll.registry()
            .register(
                &mut SourceFd(&socket.as_raw_fd()),
                Token(place),
                Interest::READABLE,
            )
            .expect("epoll");
        println!("{}", socket.local_addr().expect("bound").port());
        sockets.push((socket, state));
    }
    let stdin = std::io::stdin();
    let end = Token(count);
    poll.registry()
        .register(&mut SourceFd(&stdin.as_raw_fd()), end, Interest::READABLE)
        .expect("epoll");
    let mut buffers = vec![vec![0; 65_536]; MESSAGES];
    let mut events = Events::with_capacity(1024);
    let mut packets = 0u64;
    loop {
        poll.poll(&mut events, None).expect("epoll");
        for event in &events {
            if event.token() == end {
                println!("{packets}");
                return;
            }
            let (socket, state) = &sockets[event.token().0];
            let mut metas = [RecvMeta::default(); MESSAGES];
            loop {
                let mut each = buffers.iter_mut();
                let mut slices: [IoSliceMut<'_>; MESSAGES] =
                    std::array::from_fn(|_| IoSliceMut::new(each.next().expect("a buffer")));
                let Ok(came) = state.recv(socket.into(), &mut slices, &mut metas) else {
                    break;
                };
                for meta in &metas[..came] {
                    packets += meta.len.div_ceil(meta.stride.max(1)) as u64;
                }
                if came < MESSAGES {
                    break;
                }
            }
        }
        std::thread::sleep(REST);
    }
}

fn receiver(viewers: usize, core: Option<usize>) -> (Child, BufReader<impl Read>, Vec<SocketAddr>) {
    let own = std::env::current_exe().expect("this program");
    let mut command = match core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(own);
            command
        }
        None => Command::new(own),
    };
    let mut child = command
        .arg("receive")
        .arg(viewers.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the receiver starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut addresses = Vec::with_capacity(viewers);
    for _ in 0..viewers {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a port");
        let port: u16 = line.trim().parse().expect("a port");
        addresses.push(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    (child, lines, addresses)
}

/// CPU time of this process's only thread, in ns.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").expect("schedstat");
    let first = text.split_whitespace().next().expect("three numbers");
    first.parse().expect("a number")
}

struct Sender {
    socket: UdpSocket,
    state: UdpSocketState,
    keys: Vec<LessSafeKey>,
    addresses: Vec<SocketAddr>,
    payload: Vec<u8>,
    out: Vec<u8>,
    sequence: u32,
    refused: u64,
    /// (latency in ns, packets) of each send.
    latencies: Vec<(u64, u64)>,
}

impl Sender {
    /// Sends everybody one burst that was due at `due`.
    fn burst(&mut self, payloads: &[usize], due: Instant) {
        self.sequence += payloads.len() as u32;
        for (key, &destination) in self.keys.iter().zip(&self.addresses) {
            let mut used = 0;
            for (place, &len) in payloads.iter().enumerate() {
                let packet = &mut self.out[used..used + HEADER_LEN + len + TAG_LEN];
                let (header, body) = packet.split_at_mut(HEADER_LEN);
                let number = self.sequence + place as u32;
                header[..4].copy_from_slice(&[0x90, 101, (number >> 8) as u8, number as u8]);
                let (ciphertext, tag) = body.split_at_mut(len);
                let mut nonce = [0; 12];
                nonce[8..].copy_from_slice(&number.to_be_bytes());
                key.seal_out_of_place_scatter(
                    Nonce::assume_unique_for_key(nonce),
                    Aad::from(&*header),
                    &self.payload[..len],
                    ciphertext,
                    &[],
                    tag,
                )
                .expect("fits");
                used += packet.len();
            }
            let transmit = Transmit {
                destination,
                ecn: None,
                contents: &self.out[..used],
                segment_size: (payloads.len() > 1).then_some(HEADER_LEN + payloads[0] + TAG_LEN),
                src_ip: None,
            };
            let sent = self.state.try_send((&self.socket).into(), &transmit);
            self.refused += u64::from(sent.is_err());
            let latency_ns = due.elapsed().as_nanos() as u64;
            self.latencies.push((latency_ns, payloads.len() as u64));
        }
    }
}

/// The latencies in ms that so many hundredths of all packets don't exceed.
fn percentiles(mut latencies: Vec<(u64, u64)>, wanted: [u64; 3]) -> [f64; 3] {
    latencies.sort_unstable();
    let all: u64 = latencies.iter().map(|&(_, packets)| packets).sum();
    wanted.map(|hundredths| {
        let mut before = 0;
        let found = latencies.iter().find(|&&(_, packets)| {
            before += packets;
            before * 100 >= all * hundredths
        });
        found.map_or(0.0, |&(latency_ns, _)| latency_ns as f64 / 1e6)
    })
}

fn send(viewers: usize, seconds: usize, core: Option<usize>) {
    let (mut child, mut lines, addresses) = receiver(viewers, core);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let state = UdpSocketState::new((&socket).into()).expect("UDP options");
    state
        .set_send_buffer_size((&socket).into(), SEND_BUFFER_BYTES)
        .expect("SO_SNDBUF");
    let key = |viewer: usize| {
        let mut bytes = [7; 16];
        bytes[..8].copy_from_slice(&viewer.to_le_bytes());
        LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &bytes).expect("fits"))
    };
    let mut sender = Sender {
        socket,
        state,
        keys: (0..viewers).map(key).collect(),
        addresses,
        payload: vec![0x5a; FRAME[0]],
        out: vec![0; FRAME.len() * (HEADER_LEN + FRAME[0] + TAG_LEN)],
        sequence: 0,
        refused: 0,
        latencies: Vec::with_capacity(viewers * seconds * 80),
    };
    let began = Instant::now();
    let cpu_before = cpu_ns();
    let (mut frames, mut opus) = (0, 0);
    let all_frames = FRAMES_PER_SECOND * seconds as u32;
    let all_opus = OPUS_PER_SECOND * seconds as u32;
    while frames < all_frames || opus < all_opus {
        let frame_at = Duration::from_secs(1) * frames / FRAMES_PER_SECOND;
        let opus_at = Duration::from_secs(1) * opus / OPUS_PER_SECOND;
        let at = frame_at.min(opus_at);
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        if frame_at <= opus_at {
            sender.burst(&FRAME, began + at);
            frames += 1;
        } else {
            sender.burst(&OPUS, began + at);
            opus += 1;
        }
    }
    let cpu_ns = cpu_ns() - cpu_before;
    let took_s = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_millis(300));
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"\n").expect("the receiver listens");
    let mut line = String::new();
    lines.read_line(&mut line).expect("a number");
    let arrived: u64 = line.trim().parse().expect("a number");
    child.wait().expect("the receiver ends");
    let sent = viewers as u64
        * (u64::from(frames) * FRAME.len() as u64 + u64::from(opus) * OPUS.len() as u64);
    let cost_us = cpu_ns as f64 / 1000.0 / arrived as f64;
    let core_percent = cpu_ns as f64 / 1e7 / took_s;
    let [p50_ms, p99_ms, max_ms] = percentiles(sender.latencies, [50, 99, 100]);
    println!(
        "{viewers} viewers: {cost_us:.2} µs of CPU a packet, {core_percent:.0} % of a core, p99 \
         {p99_ms:.2} ms, {} of {sent} packets did not arrive",
        sent - arrived
    );
    println!(
        "{{\"viewers\": {viewers}, \"latency_p50_ms\": {p50_ms:.3}, \"latency_p99_ms\": \
         {p99_ms:.3}, \"latency_max_ms\": {max_ms:.3}, \"cost_us\": {cost_us:.4}, \"cpu_s\": {:.3}, \"took_s\": \
         {took_s:.3}, \"sent\": {sent}, \"arrived\": {arrived}, \"refused\": {}}}",
        cpu_ns as f64 / 1e9,
        sender.refused
    );
}
