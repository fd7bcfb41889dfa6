//! What one viewer sees of the streams that it is sent: one stream without seams.
//!
//! A viewer's stream is a chain of *segments*. Each carries packets of one
//! encoding, without a pause in between. A segment begins with a packet that a
//! decoder can start with, continues the outgoing sequence numbers where the
//! segment before it ended, and moves timestamps by a constant.
//!
//! Timestamps run on with real time over a pause or a switch. How far, is known
//! from the sender reports of both encodings, which map their clocks to one; or
//! else from the times of arrival. They never stand still or run back.
//!
//! A segment that begins with packets of the past is *squeezed*: their timestamps are as close together
//! as the packets are sent. By their own timestamps a receiver would play them, and stay late for good.

use super::picture::{PictureGaps, PictureOffsets};
use crate::sequence::SequenceMap;

/// Longest believable distance between what sender reports and arrival times say.
const CLOCK_DOUBT_S: u64 = 5;

/// What a packet becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Extended outgoing sequence number: the SRTP index, too.
    pub sequence: u64,
    /// Outgoing timestamp.
    pub timestamp: u32,
}

/// Where a packet that was sent came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Index of the encoding.
    pub encoding: u8,
    /// Its extended sequence number there.
    pub sequence: u64,
    /// What was added to its timestamp, after it was squeezed.
    pub timestamp_offset: u32,
    /// How its timestamp was squeezed.
    pub squeeze: Option<Squeeze>,
    /// What was added to its picture numbers.
    pub picture_offsets: PictureOffsets,
    /// Its marker bit was set for this viewer, for it ended the viewer's picture.
    pub is_marked: bool,
}

impl Origin {
    /// The timestamp that the packet was sent with, if it came with this one.
    pub fn outgoing_timestamp(&self, timestamp: u32) -> u32 {
        squeezed(self.squeeze, timestamp).wrapping_add(self.timestamp_offset)
    }
}

/// Brings timestamps of the past closer together: one that lies so far before `until` comes to lie
/// `share` / 2^16 of it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Squeeze {
    until: u32,
    share: u32,
}

impl Squeeze {
    /// Ticks between two pictures that stay at least, of 3,000 at 30 pictures a second.
    const SHARE_MIN: u64 = 1 << 8;

    /// For packets from timestamp `first` on, sent within `ticks`, while `newest` is that of the newest packet.
    pub fn new(first: u32, newest: u32, ticks: u32) -> Self {
        let behind = u64::from(newest.wrapping_sub(first));
        let share = (u64::from(ticks) << 16) / (behind + u64::from(ticks)).max(1);
        Self {
            until: newest.wrapping_add(ticks),
            share: share.clamp(Self::SHARE_MIN, 1 << 16) as u32,
        }
    }

    fn of(self, timestamp: u32) -> u32 {
        let behind = self.until.wrapping_sub(timestamp);
        if behind as i32 <= 0 {
            return timestamp;
        }
        let close = (u64::from(behind) * u64::from(self.share)) >> 16;
        self.until.wrapping_sub(close as u32)
    }
}

fn squeezed(squeeze: Option<Squeeze>, timestamp: u32) -> u32 {
    squeeze.map_or(timestamp, |one| one.of(timestamp))
}

/// The packet that a segment begins with; of one of the past, the newest in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// Index of the encoding.
    pub encoding: u8,
    /// Extended incoming sequence number.
    pub sequence: u64,
    /// Incoming timestamp.
    pub timestamp: u32,
    /// When it arrived.
    pub received_ns: u64,
    /// What the *last* encoding's timestamp would be now, by the sender reports of both.
    pub last_encoding_timestamp: Option<u32>,
    /// What is added to picture numbers.
    pub picture_offsets: PictureOffsets,
    /// How timestamps of the past are squeezed.
    pub squeeze: Option<Squeeze>,
}

#[derive(Clone, Debug)]
#[repr(C)] // What each packet touches lies side by side.
struct Segment {
    first_incoming: u64,
    first_outgoing: u64,
    timestamp_offset: u32,
    squeeze: Option<Squeeze>,
    picture_offsets: PictureOffsets,
    encoding: u8,
    /// The viewer was told that it is sent fewer layers than there are.
    is_thinned: bool,
    /// Once pictures were left out.
    gaps: Option<Box<PictureGaps>>,
    map: SequenceMap,
}

impl Segment {
    fn picture_offsets(&self, picture_id: Option<u16>) -> PictureOffsets {
        match (&self.gaps, picture_id) {
            (Some(gaps), Some(id)) => self.picture_offsets.down(gaps.behind(id)),
            _ => self.picture_offsets,
        }
    }

    fn origin(&self, outgoing: u64) -> Option<Origin> {
        let sequence = self.map.source(outgoing)?;
        Some(Origin {
            encoding: self.encoding,
            sequence,
            timestamp_offset: self.timestamp_offset,
            squeeze: self.squeeze,
            picture_offsets: self.picture_offsets,
            is_marked: self.map.is_marked(sequence),
        })
    }
}

/// Rewrites the packets of one viewer's stream.
#[derive(Clone, Debug)]
#[repr(C)] // What each packet touches lies side by side.
pub struct Rewriter {
    /// The newest timestamp that was sent, and when its packet had arrived.
    last: Option<(u32, u64)>,
    clock_rate: u32,
    first_sequence: u64,
    current: Option<Segment>,
    /// The segment before, for retransmissions only.
    previous: Option<Segment>,
}

impl Rewriter {
    /// A stream whose first packet will have `first_sequence` (extended).
    pub fn new(clock_rate: u32, first_sequence: u64) -> Self {
        Self {
            clock_rate: clock_rate.max(1),
            first_sequence,
            current: None,
            previous: None,
            last: None,
        }
    }

    /// The next unused outgoing number.
    pub fn next_sequence(&self) -> u64 {
        self.current
            .as_ref()
            .map_or(self.first_sequence, |segment| segment.map.next_outgoing())
    }

    /// What the current segment adds to timestamps.
    pub fn timestamp_offset(&self) -> Option<u32> {
        self.current
            .as_ref()
            .map(|segment| segment.timestamp_offset)
    }

    /// Reads a word of the lines that a packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        let last = self.last.map_or(0, |(_, at_ns)| at_ns);
        let segment = |one: &Segment| one.first_incoming ^ one.map.glance();
        last ^ self.current.as_ref().map_or(0, segment)
    }

    /// The newest timestamp that was sent.
    pub fn newest_timestamp(&self) -> Option<u32> {
        self.last.map(|(timestamp, _)| timestamp)
    }

    /// The encoding of the current segment.
    pub fn encoding(&self) -> Option<u8> {
        self.current.as_ref().map(|segment| segment.encoding)
    }

    /// What the current segment adds to picture numbers.
    pub fn picture_offsets(&self) -> PictureOffsets {
        self.current
            .as_ref()
            .map(|segment| segment.picture_offsets)
            .unwrap_or_default()
    }

    /// Begins a new segment; then [`Self::forward`] its first packet.
    pub fn begin(&mut self, beginning: &Beginning) {
        let timestamp_offset = self.offset_for(beginning);
        let first_outgoing = self.next_sequence();
        let segment = Segment {
            encoding: beginning.encoding,
            first_incoming: beginning.sequence,
            first_outgoing,
            map: SequenceMap::new(beginning.sequence, first_outgoing),
            timestamp_offset,
            squeeze: beginning.squeeze,
            picture_offsets: beginning.picture_offsets,
            gaps: None,
            is_thinned: false,
        };
        self.previous = self.current.replace(segment);
    }

    /// Makes a packet of the current segment the viewer's.
    ///
    /// None for one that lies before the segment, or that was left out or sent before.
    pub fn forward(
        &mut self,
        sequence: u64,
        timestamp: u32,
        received_ns: u64,
    ) -> Option<Rewritten> {
        let segment = self.current.as_mut()?;
        if sequence < segment.first_incoming {
            return None;
        }
        let outgoing = segment.map.forward(sequence)?;
        if outgoing < segment.first_outgoing {
            return None;
        }
        let timestamp = squeezed(segment.squeeze, timestamp).wrapping_add(segment.timestamp_offset);
        if self
            .last
            .is_none_or(|(newest, _)| is_after(timestamp, newest))
        {
            self.last = Some((timestamp, received_ns));
        }
        Some(Rewritten {
            sequence: outgoing,
            timestamp,
        })
    }

    /// Whether a viewer is told which decode targets it is sent: from the first time on that they are
    /// fewer than the publisher's, as long as the segment lasts, so that no loss leaves it in error.
    pub fn tells_targets(&mut self, are_fewer: bool) -> bool {
        let Some(segment) = self.current.as_mut() else {
            return false;
        };
        segment.is_thinned |= are_fewer;
        segment.is_thinned
    }

    /// Leaves a packet of the current segment out without a gap.
    pub fn leave_out(&mut self, sequence: u64) {
        if let Some(segment) = self.current.as_mut()
            && sequence >= segment.first_incoming
        {
            segment.map.drop(sequence);
        }
    }

    /// Leaves a picture of the current segment out without a gap in picture ids. For each of its
    /// packets, beside [`Self::leave_out`].
    pub fn leave_out_picture(&mut self, picture_id: u16) {
        if let Some(segment) = self.current.as_mut() {
            match segment.gaps.as_mut() {
                Some(gaps) => gaps.leave_out(picture_id),
                None => segment.gaps = Some(Box::new(PictureGaps::new(picture_id))),
            }
        }
    }

    /// What is added to the picture numbers of a packet of the current segment that is sent now.
    pub fn pass_picture(&mut self, picture_id: Option<u16>) -> PictureOffsets {
        let Some(segment) = self.current.as_mut() else {
            return PictureOffsets::default();
        };
        if let (Some(gaps), Some(id)) = (segment.gaps.as_mut(), picture_id) {
            gaps.pass(id);
        }
        segment.picture_offsets(picture_id)
    }

    /// What was added to the picture numbers of a packet that was sent as `outgoing` (extended).
    pub fn passed_picture(&self, outgoing: u64, picture_id: Option<u16>) -> PictureOffsets {
        let segments = [&self.current, &self.previous];
        segments
            .into_iter()
            .flatten()
            .find(|one| outgoing >= one.first_outgoing)
            .map_or_else(PictureOffsets::default, |one| {
                one.picture_offsets(picture_id)
            })
    }

    /// Remembers that the marker bit of a packet of the current segment was set for this viewer.
    pub fn mark(&mut self, sequence: u64) {
        if let Some(segment) = self.current.as_mut() {
            segment.map.mark(sequence);
        }
    }

    /// Whether a packet comes behind all of the current segment.
    pub fn is_ahead(&self, sequence: u64) -> bool {
        let segment = self.current.as_ref();
        segment.is_some_and(|one| one.map.is_ahead(sequence))
    }

    /// Whether a packet of the current segment was sent or left out, or is too old for it.
    pub fn has_had(&self, sequence: u64) -> bool {
        let segment = self.current.as_ref();
        segment.is_some_and(|one| sequence < one.first_incoming || one.map.has_had(sequence))
    }

    /// Where the packet came from that was sent with this 16-bit number.
    pub fn origin(&self, sequence_number: u16) -> Option<Origin> {
        let newest = self.next_sequence().checked_sub(1)?;
        let behind = u64::from((newest as u16).wrapping_sub(sequence_number));
        let outgoing = newest.checked_sub(behind)?;
        let current = self.current.as_ref()?;
        if outgoing >= current.first_outgoing {
            return current.origin(outgoing);
        }
        let previous = self.previous.as_ref()?;
        (outgoing >= previous.first_outgoing)
            .then(|| previous.origin(outgoing))
            .flatten()
    }

    /// The outgoing extended number that a 16-bit number means.
    pub fn extend(&self, sequence_number: u16) -> Option<u64> {
        let newest = self.next_sequence().checked_sub(1)?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence_number)))
    }

    /// Forgets what was sent, so that nothing of it is retransmitted.
    ///
    /// For a row that changes how packets look: an SRTP index must never be
    /// used for two different packets.
    pub fn forget_sent(&mut self) {
        let next = self.next_sequence();
        self.first_sequence = next;
        self.current = None;
        self.previous = None;
    }

    fn offset_for(&self, beginning: &Beginning) -> u32 {
        let Some((newest, newest_ns)) = self.last else {
            return 0;
        };
        let elapsed_ns = beginning.received_ns.saturating_sub(newest_ns);
        let elapsed = u128::from(elapsed_ns) * u128::from(self.clock_rate) / 1_000_000_000;
        let by_arrival = newest.wrapping_add((elapsed as u32).max(1));
        let doubt = u64::from(self.clock_rate) * CLOCK_DOUBT_S;
        let believable = |timestamp: &u32| {
            is_after(*timestamp, newest)
                && u64::from((timestamp.wrapping_sub(by_arrival) as i32).unsigned_abs()) <= doubt
        };
        let last = self.current.as_ref();
        let by_clock = last.and_then(|segment| {
            let there = if segment.encoding == beginning.encoding {
                Some(beginning.timestamp)
            } else {
                beginning.last_encoding_timestamp
            };
            there.map(|timestamp| timestamp.wrapping_add(segment.timestamp_offset))
        });
        let outgoing = by_clock.filter(believable).unwrap_or(by_arrival);
        outgoing.wrapping_sub(beginning.timestamp)
    }
}

fn is_after(timestamp: u32, other: u32) -> bool {
    (timestamp.wrapping_sub(other) as i32) > 0
}
