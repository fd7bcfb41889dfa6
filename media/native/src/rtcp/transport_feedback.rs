//! Transport-cc feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, 3.1).
//!
//! A packet gives, for a run of transport-wide sequence numbers, which arrived and when, in ticks
//! of 250 µs. The statuses are packed into chunks of three kinds, the deltas follow them.

use super::build::{begin_feedback, end};
use super::{FORMAT_TRANSPORT_CC, TRANSPORT_LAYER_FEEDBACK};

/// Most numbers that one built packet covers.
pub const FEEDBACK_STATUSES_MAX: usize = 512;

/// Longest packet that is built: it fits a datagram of 1,200 bytes under SRTCP, behind an RR.
pub const FEEDBACK_LEN_MAX: usize = 20 + 2 * FEEDBACK_STATUSES_MAX.div_ceil(7) + DELTAS_LEN_MAX + 3;

const DELTAS_LEN_MAX: usize = 900;
const TICK_NS: u64 = 250_000;
/// The reference time counts 64 ms.
const TICKS_PER_REFERENCE: i64 = 256;

const NOT_RECEIVED: u8 = 0;
const SMALL_DELTA: u8 = 1;
const LARGE_DELTA: u8 = 2;

/// Received feedback. Reading it costs no more than its length, whatever it claims.
#[derive(Clone, Copy, Debug)]
pub struct TransportFeedback<'a> {
    /// Who sends it.
    pub sender_ssrc: u32,
    /// Any media source of the transport.
    pub media_ssrc: u32,
    /// The first number that it covers.
    pub base_sequence_number: u16,
    /// How many numbers it covers.
    pub status_count: u16,
    /// Reference time in units of 64 ms, 24 bits signed.
    pub reference_time: i32,
    /// Counts feedback packets, so that their losses show.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

impl<'a> TransportFeedback<'a> {
    /// Reads the part behind the SSRCs. `None` if statuses or deltas are missing.
    pub(super) fn parse(sender_ssrc: u32, media_ssrc: u32, control: &'a [u8]) -> Option<Self> {
        let (head, body) = control.split_first_chunk::<8>()?;
        let status_count = u16::from_be_bytes([head[2], head[3]]);
        let (mut statuses, mut chunks_len, mut deltas_len) = (0, 0, 0);
        while statuses < usize::from(status_count) {
            let bytes = body.get(chunks_len..chunks_len + 2)?;
            let left = usize::from(status_count) - statuses;
            let chunk = Chunk::decode(u16::from_be_bytes([bytes[0], bytes[1]]));
            statuses += chunk.len();
            deltas_len += chunk.deltas_len(left);
            chunks_len += 2;
        }
        let reference = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        Some(Self {
            sender_ssrc,
            media_ssrc,
            base_sequence_number: u16::from_be_bytes([head[0], head[1]]),
            status_count,
            reference_time: reference as i32 >> 8,
            feedback_count: reference as u8,
            chunks: &body[..chunks_len],
            deltas: body.get(chunks_len..chunks_len + deltas_len)?,
        })
    }

    /// The packets that arrived, by ascending number. All others that it covers did not.
    pub fn arrivals(&self) -> FeedbackArrivals<'a> {
        FeedbackArrivals {
            chunks: self.chunks,
            deltas: self.deltas,
            chunk: None,
            next_number: self.base_sequence_number,
            left: usize::from(self.status_count),
            ticks: i64::from(self.reference_time) * TICKS_PER_REFERENCE,
        }
    }
}

/// One arrival that feedback reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackArrival {
    /// Transport-wide sequence number.
    pub sequence_number: u16,
    /// When it arrived by the receiver's clock, in ticks of 250 µs. The clock starts anywhere and
    /// wraps with the reference time, every 12 days.
    pub ticks: i64,
}

/// Iterates over what arrived.
#[derive(Clone, Debug)]
pub struct FeedbackArrivals<'a> {
    chunks: &'a [u8],
    deltas: &'a [u8],
    /// The current chunk and how many of its statuses were read.
    chunk: Option<(Chunk, usize)>,
    next_number: u16,
    left: usize,
    ticks: i64,
}

impl Iterator for FeedbackArrivals<'_> {
    type Item = FeedbackArrival;

    fn next(&mut self) -> Option<FeedbackArrival> {
        while self.left > 0 {
            let (chunk, at) = match self.chunk {
                Some((chunk, at)) if at < chunk.len() => (chunk, at),
                _ => {
                    let (bytes, rest) = self.chunks.split_first_chunk()?;
                    self.chunks = rest;
                    (Chunk::decode(u16::from_be_bytes(*bytes)), 0)
                }
            };
            // A run of losses is skipped at once.
            if let Chunk::Run { symbol, len } = chunk
                && !is_received(symbol)
            {
                let skipped = usize::from(len).min(self.left);
                self.chunk = None;
                self.left -= skipped;
                self.next_number = self.next_number.wrapping_add(skipped as u16);
                continue;
            }
            self.chunk = Some((chunk, at + 1));
            let sequence_number = self.next_number;
            self.left -= 1;
            self.next_number = sequence_number.wrapping_add(1);
            let delta = match chunk.symbol(at) {
                SMALL_DELTA => {
                    let (delta, rest) = self.deltas.split_first()?;
                    self.deltas = rest;
                    i64::from(*delta)
                }
                LARGE_DELTA => {
                    let (delta, rest) = self.deltas.split_first_chunk()?;
                    self.deltas = rest;
                    i64::from(i16::from_be_bytes(*delta))
                }
                _ => continue,
            };
            self.ticks += delta;
            return Some(FeedbackArrival {
                sequence_number,
                ticks: self.ticks,
            });
        }
        None
    }
}

/// The reserved symbol 3 counts as not received, and has no delta.
fn is_received(symbol: u8) -> bool {
    matches!(symbol, SMALL_DELTA | LARGE_DELTA)
}

/// A chunk of packet statuses.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run { symbol: u8, len: u16 },
    OneBit(u16),
    TwoBit(u16),
}

impl Chunk {
    fn decode(word: u16) -> Self {
        match word >> 14 {
            0 | 1 => Chunk::Run {
                symbol: (word >> 13) as u8,
                len: word & 0x1fff,
            },
            2 => Chunk::OneBit(word & 0x3fff),
            _ => Chunk::TwoBit(word & 0x3fff),
        }
    }

    fn len(self) -> usize {
        match self {
            // An empty run would let a chunk mean nothing; it is read as one status so that the
            // work stays bounded by the count as well.
            Chunk::Run { len, .. } => usize::from(len.max(1)),
            Chunk::OneBit(_) => 14,
            Chunk::TwoBit(_) => 7,
        }
    }

    fn symbol(self, at: usize) -> u8 {
        match self {
            Chunk::Run { symbol, .. } => symbol,
            Chunk::OneBit(bits) => (bits >> (13 - at) & 1) as u8,
            Chunk::TwoBit(bits) => (bits >> (12 - 2 * at) & 3) as u8,
        }
    }

    /// Bytes of delta that its first `left` statuses have.
    fn deltas_len(self, left: usize) -> usize {
        let size = |symbol| if is_received(symbol) { symbol } else { 0 };
        match self {
            Chunk::Run { symbol, .. } => usize::from(size(symbol)) * self.len().min(left),
            _ => (0..self.len().min(left))
                .map(|at| usize::from(size(self.symbol(at))))
                .sum(),
        }
    }
}

/// Appends feedback for the numbers from `base` on; returns the first number that it does not
/// cover, where the next packet starts. `None`, and nothing appended, if nothing arrived.
///
/// `arrivals` gives, for `base` and each number behind it, the time of arrival in ns or `None`; it
/// ends behind the last number of interest. The packet ends early at its bounds, and before a delta
/// that 16 bits do not hold.
pub fn write_transport_feedback(
    out: &mut Vec<u8>,
    sender_ssrc: u32,
    media_ssrc: u32,
    feedback_count: u8,
    base: u64,
    arrivals: impl Iterator<Item = Option<u64>>,
) -> Option<u64> {
    let mut symbols = [NOT_RECEIVED; FEEDBACK_STATUSES_MAX];
    let mut deltas = [0; DELTAS_LEN_MAX];
    let (mut count, mut deltas_len) = (0, 0);
    // Ticks of the reference time and of the last arrival.
    let mut times: Option<(i64, i64)> = None;

    for (slot, arrival) in symbols.iter_mut().zip(arrivals) {
        if let Some(arrived_ns) = arrival {
            let ticks = (arrived_ns / TICK_NS) as i64;
            let reference = ticks.div_euclid(TICKS_PER_REFERENCE) * TICKS_PER_REFERENCE;
            let (_, last) = *times.get_or_insert((reference, reference));
            let Ok(delta) = i16::try_from(ticks - last) else {
                break;
            };
            let (symbol, bytes, len) = match u8::try_from(delta) {
                Ok(small) => (SMALL_DELTA, [small, 0], 1),
                Err(_) => (LARGE_DELTA, delta.to_be_bytes(), 2),
            };
            let Some(room) = deltas.get_mut(deltas_len..deltas_len + len) else {
                break;
            };
            room.copy_from_slice(&bytes[..len]);
            deltas_len += len;
            *slot = symbol;
            times = times.map(|(reference, _)| (reference, ticks));
        }
        count += 1;
    }
    let (reference, _) = times?;

    let start = begin_feedback(
        out,
        FORMAT_TRANSPORT_CC,
        TRANSPORT_LAYER_FEEDBACK,
        sender_ssrc,
        media_ssrc,
    );
    out.extend((base as u16).to_be_bytes());
    out.extend((count as u16).to_be_bytes());
    let reference_time = (reference / TICKS_PER_REFERENCE) as u32;
    out.extend((reference_time << 8 | u32::from(feedback_count)).to_be_bytes());
    push_chunks(out, &symbols[..count]);
    out.extend(&deltas[..deltas_len]);
    pad(out, start);
    end(out, start);
    Some(base + count as u64)
}

/// Fills the last word with zeros; the statuses tell how many deltas there are.
fn pad(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    let padding = len.next_multiple_of(4) - len;
    out.resize(out.len() + padding, 0);
}

/// Packs statuses: long runs, 14 statuses in a bit each, or seven in two bits each.
fn push_chunks(out: &mut Vec<u8>, mut symbols: &[u8]) {
    while let Some(first) = symbols.first().copied() {
        let run = symbols.iter().take_while(|s| **s == first).count();
        let wide = &symbols[..symbols.len().min(14)];
        let (word, used) = if run >= 14 || run == symbols.len() {
            (u16::from(first) << 13 | run as u16, run)
        } else if !wide.contains(&LARGE_DELTA) {
            let bits = pack(wide, 1, 14);
            (0x8000 | bits, wide.len())
        } else if run >= 7 {
            (u16::from(first) << 13 | run as u16, run)
        } else {
            let narrow = &symbols[..symbols.len().min(7)];
            (0xc000 | pack(narrow, 2, 7), narrow.len())
        };
        out.extend(word.to_be_bytes());
        symbols = &symbols[used..];
    }
}

fn pack(symbols: &[u8], width: usize, slots: usize) -> u16 {
    symbols.iter().enumerate().fold(0, |bits, (at, symbol)| {
        bits | u16::from(*symbol) << (width * (slots - 1 - at))
    })
}
