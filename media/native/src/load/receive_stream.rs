//! One stream that a client receives: what came, what is missing, and what to ask for.

use std::collections::VecDeque;

use serde::Serialize;

use super::catching_up::CatchingUp;
use super::frames::{FrameCounts, FrameFeed, FramePart};
use super::stamp::Stamp;
use crate::codec::{Codec, inspect};
use crate::nack::{LossDetector, ReceiverStatistics};
use crate::rtcp::ReportBlock;
use crate::sequence::SequenceUnwrapper;

/// Between looks at whether a stream needs a keyframe; also the least time between two PLIs.
pub const PLI_INTERVAL_NS: u64 = 500_000_000;

/// Numbers behind the highest of which it is known whether they came.
const WINDOW: u64 = 2_048;

/// What a consumer's RTP parameters say of a stream.
#[derive(Clone, Debug)]
pub struct ReceiverParameters {
    /// Names it in reports.
    pub stream: u32,
    /// Its codec.
    pub codec: Codec,
    /// RTP timestamp units a second.
    pub clock_rate: u32,
    /// SSRC of the media.
    pub ssrc: u32,
    /// SSRC of retransmissions.
    pub rtx_ssrc: Option<u32>,
    /// Losses are asked for again.
    pub nack: bool,
    /// Keyframes can be asked for.
    pub pli: bool,
}

/// Counts of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReceiveCounts {
    /// Packets, each once, retransmitted ones as well.
    pub packets: u64,
    /// Their payload bytes.
    pub payload_bytes: u64,
    /// Packets between the first and the highest number that came.
    pub expected: u64,
    /// Those of them that have not come (yet).
    pub lost: u64,
    /// Packets that came by RTX and had not come before.
    pub recovered: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Numbers asked for by NACK, each time.
    pub nacked: u64,
    /// PLIs sent.
    pub plis: u64,
    /// Frames that could be decoded; for audio, packets.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Frames that could not be decoded.
    pub frames_dropped: u64,
    /// See `FrameCounts`.
    pub freezes: u64,
    /// How long freezes lasted, in ns.
    pub freeze_ns: u64,
    /// When the first packet came; 0: none did.
    pub first_packet_ns: u64,
    /// When the first keyframe was whole; 0: none was.
    pub first_keyframe_ns: u64,
    /// Packets that bore a stamp, of the past that a newcomer is given: see `CatchingUp`.
    pub past: u64,
    /// Packets that bore a stamp and were live.
    pub stamped: u64,
    /// Sum of their one-way latencies, in ns.
    pub latency_sum_ns: u64,
    /// The longest of them, in ns.
    pub latency_max_ns: u64,
}

impl ReceiveCounts {
    /// Adds those of another stream; times keep the earliest.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.payload_bytes += other.payload_bytes;
        self.expected += other.expected;
        self.lost += other.lost;
        self.recovered += other.recovered;
        self.duplicates += other.duplicates;
        self.nacked += other.nacked;
        self.plis += other.plis;
        self.frames += other.frames;
        self.keyframes += other.keyframes;
        self.frames_dropped += other.frames_dropped;
        self.freezes += other.freezes;
        self.freeze_ns += other.freeze_ns;
        self.past += other.past;
        self.stamped += other.stamped;
        self.latency_sum_ns += other.latency_sum_ns;
        self.latency_max_ns = self.latency_max_ns.max(other.latency_max_ns);
    }
}

/// A packet as it came, its header read and its payload decrypted.
#[derive(Clone, Copy, Debug)]
pub struct Arrived<'a> {
    /// Sequence number of the media stream; an RTX packet's original one.
    pub sequence_number: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// Marker bit.
    pub marker: bool,
    /// Payload, an RTX packet's original one.
    pub payload: &'a [u8],
    /// It came by RTX.
    pub retransmitted: bool,
    /// When it came, monotonic.
    pub now_ns: u64,
    /// When it came, Unix time.
    pub unix_ns: u64,
}

/// Which of the last numbers came.
#[derive(Debug, Default)]
struct Seen {
    bits: VecDeque<u64>,
    /// Number of the first bit, a multiple of 64.
    begin: u64,
}

impl Seen {
    /// Marks a number; false if it was marked, or is too old to tell.
    fn mark(&mut self, sequence: u64) -> bool {
        if self.bits.is_empty() {
            self.begin = (sequence & !63).saturating_sub(64);
        }
        if sequence < self.begin {
            return false;
        }
        let mut at = ((sequence - self.begin) / 64) as usize;
        if at >= self.bits.len() {
            let words = (WINDOW / 64) as usize;
            if at >= 4 * words {
                self.bits.clear();
                self.begin = sequence & !63;
                at = 0;
            }
            self.bits.resize(at + 1, 0);
            while self.bits.len() > words {
                self.bits.pop_front();
                self.begin += 64;
                at -= 1;
            }
        }
        let bit = 1 << (sequence & 63);
        let was = self.bits[at] & bit != 0;
        self.bits[at] |= bit;
        !was
    }
}

/// What a receiver knows of one stream.
#[derive(Debug)]
pub struct ReceiveStream {
    parameters: ReceiverParameters,
    unwrapper: SequenceUnwrapper,
    range: Option<(u64, u64)>,
    seen: Seen,
    detector: Option<LossDetector>,
    statistics: ReceiverStatistics,
    feed: Option<FrameFeed>,
    catching_up: CatchingUp,
    counts: ReceiveCounts,
    /// When to look next at whether a keyframe is needed.
    look_ns: u64,
    last_pli_ns: Option<u64>,
}

/// What a receiver wants to tell the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A keyframe.
    pub keyframe: bool,
}

impl ReceiveStream {
    /// A stream of which nothing has come.
    pub fn new(parameters: ReceiverParameters, now_ns: u64) -> Self {
        let is_video = parameters.codec.needs_keyframe();
        Self {
            unwrapper: SequenceUnwrapper::default(),
            range: None,
            seen: Seen::default(),
            detector: (is_video || parameters.nack).then(LossDetector::new),
            statistics: ReceiverStatistics::new(parameters.ssrc, parameters.clock_rate),
            feed: is_video.then(FrameFeed::default),
            catching_up: CatchingUp::new(now_ns),
            counts: ReceiveCounts::default(),
            look_ns: now_ns + PLI_INTERVAL_NS,
            last_pli_ns: None,
            parameters,
        }
    }

    /// What it was made of.
    pub fn parameters(&self) -> &ReceiverParameters {
        &self.parameters
    }

    /// Takes a packet; returns its one-way latency in ns and the origin of its stamp, if it bears
    /// one, had not come before and is live. Below zero, the latency counts as zero: clocks are not exact.
    pub fn handle(&mut self, packet: &Arrived<'_>) -> Option<(u64, u32)> {
        let sequence = self.unwrapper.unwrap(packet.sequence_number);
        if !packet.retransmitted {
            self.statistics
                .record(sequence, packet.timestamp, packet.now_ns);
        }
        if let Some(detector) = &mut self.detector {
            detector.record(sequence, packet.now_ns);
        }
        if !self.seen.mark(sequence) {
            self.counts.duplicates += 1;
            return None;
        }
        let in_order = self.range.is_none_or(|(_, highest)| sequence > highest);
        let (first, highest) = self.range.unwrap_or((sequence, sequence));
        self.range = Some((first.min(sequence), highest.max(sequence)));
        let counts = &mut self.counts;
        counts.packets += 1;
        counts.payload_bytes += packet.payload.len() as u64;
        counts.recovered += u64::from(packet.retransmitted);
        if counts.packets == 1 {
            counts.first_packet_ns = packet.now_ns;
        }
        match &mut self.feed {
            None => counts.frames += 1,
            Some(feed) => {
                let info = inspect(self.parameters.codec, packet.payload, None);
                let part = FramePart {
                    timestamp: packet.timestamp,
                    keyframe: info.keyframe,
                    marker: packet.marker,
                };
                feed.push(sequence, part, packet.now_ns);
                self.note_frames(packet.now_ns);
            }
        }
        let stamp = Stamp::find(self.parameters.codec, packet.payload)?;
        let latency_ns = packet.unix_ns.saturating_sub(stamp.unix_ns);
        let catching_up = &mut self.catching_up;
        let live = match in_order {
            true => catching_up.is_live(packet.now_ns, stamp.unix_ns, latency_ns),
            false => !catching_up.is_behind(),
        };
        if !live {
            self.counts.past += 1;
            return None;
        }
        self.counts.stamped += 1;
        self.counts.latency_sum_ns += latency_ns;
        self.counts.latency_max_ns = self.counts.latency_max_ns.max(latency_ns);
        Some((latency_ns, stamp.origin))
    }

    fn note_frames(&mut self, now_ns: u64) {
        let Some(feed) = &self.feed else { return };
        if self.counts.first_keyframe_ns == 0 && feed.counts().keyframes > 0 {
            self.counts.first_keyframe_ns = now_ns;
        }
        if let (Some(detector), Some(next)) = (&mut self.detector, feed.next_sequence())
            && detector.missing_len() > 0
        {
            // What lies before a keyframe that was taken up is of no use any more.
            detector.forget_before(next);
        }
    }

    /// A sender report of the stream came.
    pub fn handle_sender_report(&mut self, ntp_timestamp: u64, now_ns: u64) {
        self.statistics.record_sender_report(ntp_timestamp, now_ns);
    }

    /// When to call `handle_timeout`.
    pub fn deadline_ns(&self) -> Option<u64> {
        let look_ns = self.feed.is_some().then_some(self.look_ns);
        let loss_ns = self.detector.as_ref().and_then(LossDetector::deadline_ns);
        match (look_ns, loss_ns) {
            (Some(look_ns), Some(loss_ns)) => Some(look_ns.min(loss_ns)),
            (look_ns, loss_ns) => look_ns.or(loss_ns),
        }
    }

    /// Says what to ask for now: numbers by NACK in `lost`, and whether a keyframe is needed.
    pub fn handle_timeout(&mut self, now_ns: u64, rtt_ns: u64, lost: &mut Vec<u16>) -> Wishes {
        lost.clear();
        let mut wishes = Wishes::default();
        let mut given_up = false;
        if let Some(detector) = &mut self.detector {
            given_up = detector.poll(now_ns, rtt_ns, lost);
            if !self.parameters.nack {
                lost.clear();
            }
            self.counts.nacked += lost.len() as u64;
        }
        let Some(feed) = &mut self.feed else {
            return wishes;
        };
        if given_up {
            feed.give_up(now_ns);
        }
        if given_up || now_ns >= self.look_ns {
            self.look_ns = now_ns + PLI_INTERVAL_NS;
            let since_ns = now_ns.saturating_sub(feed.last_frame_ns().unwrap_or(0));
            let is_due = self
                .last_pli_ns
                .is_none_or(|at_ns| now_ns - at_ns >= PLI_INTERVAL_NS);
            if is_due && feed.is_stuck() && (given_up || since_ns >= PLI_INTERVAL_NS) {
                wishes.keyframe = self.parameters.pli;
            }
        }
        if wishes.keyframe {
            self.last_pli_ns = Some(now_ns);
            self.counts.plis += 1;
        }
        wishes
    }

    /// The block of a receiver report; `None` before the first packet.
    pub fn report(&mut self, now_ns: u64) -> Option<ReportBlock> {
        self.range.map(|_| self.statistics.report(now_ns))
    }

    /// Interarrival jitter, in ns.
    pub fn jitter_ns(&self) -> u64 {
        u64::from(self.statistics.jitter()) * 1_000_000_000 / u64::from(self.parameters.clock_rate)
    }

    /// Whether it is given the past now.
    pub fn is_behind(&self) -> bool {
        self.catching_up.is_behind()
    }

    /// Whether its picture stands still now.
    pub fn is_frozen(&self, now_ns: u64) -> bool {
        self.feed
            .as_ref()
            .is_some_and(|feed| feed.is_frozen(now_ns))
    }

    /// Counts so far.
    pub fn counts(&self) -> ReceiveCounts {
        let expected = self.range.map_or(0, |(first, highest)| highest - first + 1);
        let mut counts = ReceiveCounts {
            expected,
            lost: expected.saturating_sub(self.counts.packets),
            ..self.counts
        };
        if let Some(feed) = &self.feed {
            let FrameCounts {
                frames,
                keyframes,
                dropped,
                freezes,
                freeze_ns,
            } = feed.counts();
            (counts.frames, counts.keyframes, counts.frames_dropped) = (frames, keyframes, dropped);
            (counts.freezes, counts.freeze_ns) = (freezes, freeze_ns);
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn audio() -> ReceiveStream {
        let parameters = ReceiverParameters {
            stream: 1,
            codec: Codec::Opus,
            clock_rate: 48_000,
            ssrc: 5,
            rtx_ssrc: None,
            nack: false,
            pli: false,
        };
        ReceiveStream::new(parameters, 0)
    }

    fn take(stream: &mut ReceiveStream, sequence_number: u16) {
        stream.handle(&Arrived {
            sequence_number,
            timestamp: 0,
            marker: false,
            payload: &[1, 2, 3],
            retransmitted: false,
            now_ns: 7 * MS,
            unix_ns: 0,
        });
    }

    #[test]
    fn losses_and_duplicates_are_counted_across_the_wrap() {
        let mut stream = audio();
        for number in [65_534, 65_535, 1, 2, 2, 65_535] {
            take(&mut stream, number);
        }
        let counts = stream.counts();
        assert_eq!((counts.packets, counts.expected, counts.lost), (4, 5, 1));
        assert_eq!((counts.duplicates, counts.first_packet_ns), (2, 7 * MS));
        take(&mut stream, 0);
        assert_eq!(stream.counts().lost, 0);
    }

    #[test]
    fn a_packet_older_than_the_window_is_no_new_one() {
        let mut stream = audio();
        take(&mut stream, 0);
        for number in (10..4_000).step_by(7) {
            take(&mut stream, number);
        }
        let packets = stream.counts().packets;
        take(&mut stream, 0);
        assert_eq!(stream.counts().packets, packets);
    }

    #[test]
    fn a_stream_without_packets_has_no_report() {
        let mut stream = audio();
        assert_eq!(stream.report(0), None);
        assert_eq!(stream.deadline_ns(), None);
        take(&mut stream, 3);
        assert_eq!(stream.report(MS).unwrap().ssrc, 5);
    }
}
