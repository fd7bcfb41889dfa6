//! What arrived of one encoding lately, packet by packet, as it was judged when it came.
//!
//! The bytes are in the encoding's [`PacketCache`]; here is what the fan-out needs beside them. So a
//! viewer can be served with packets that everybody else has had: one who joins, with all since the
//! last keyframe (`instant_start`), and one whose way is narrow, with what had to wait (`pacing`).
//! Bounded by the cache's number of packets; there is one for all viewers.

use super::producer::Pending;
use crate::cache::PacketCache;

/// A packet is missing for good if it has not come again within this time.
const REPAIR_NS: u64 = 250_000_000;

/// The group of pictures since the last keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    /// Extended number of its first packet.
    pub(crate) first: u64,
    /// Timestamp of the keyframe.
    pub(crate) timestamp: u32,
    /// When the keyframe began to arrive.
    pub(crate) received_ns: u64,
}

/// Packets of a group that can be sent again from its keyframe on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Bytes of all of them.
    pub(crate) bytes: usize,
    /// Bytes of those of the lowest temporal layer.
    pub(crate) base_bytes: usize,
    /// Pictures.
    pub(crate) pictures: usize,
    /// Pictures of the lowest temporal layer.
    pub(crate) base_pictures: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By number modulo the length, a power of two; empty until the first packet.
    slots: Vec<Option<Pending>>,
    group: Option<Group>,
    /// Highest number.
    newest: u64,
}

impl History {
    /// Notes a packet. `begins`: it can start a decoder, for it belongs to a keyframe's beginning.
    pub(crate) fn record(&mut self, pending: Pending, begins: bool, packets_max: usize) {
        if self.slots.is_empty() {
            self.slots = vec![None; packets_max.max(1).next_power_of_two()];
        }
        let place = self.place(pending.sequence);
        self.slots[place] = Some(pending);
        self.newest = self.newest.max(pending.sequence);
        if !begins {
            return;
        }
        let is_first = match self.group {
            Some(group) if group.timestamp == pending.timestamp => pending.sequence < group.first,
            Some(group) => pending.sequence > group.first,
            None => true,
        };
        if is_first {
            self.group = Some(Group {
                first: pending.sequence,
                timestamp: pending.timestamp,
                received_ns: pending.received_ns,
            });
            self.note_key_picture(pending);
        }
    }

    /// What came of a keyframe before its first packet did was not known to belong to one.
    fn note_key_picture(&mut self, first: Pending) {
        for sequence in first.sequence + 1..=self.newest {
            let place = self.place(sequence);
            let later = self.slots[place].as_mut();
            let Some(later) = later.filter(|one| one.sequence == sequence) else {
                continue;
            };
            if later.timestamp != first.timestamp {
                return;
            }
            later.key_picture = true;
        }
    }

    /// The encoding's numbers begin anew.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The last group of pictures that began.
    pub(crate) fn group(&self) -> Option<Group> {
        self.group
    }

    /// The highest number that was noted.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// A packet, if it came and is not too old.
    pub(crate) fn packet(&self, sequence: u64) -> Option<&Pending> {
        let slot = self.slots.get(self.place(sequence))?.as_ref();
        slot.filter(|pending| pending.sequence == sequence)
    }

    /// Whether a packet is the first of its picture, as far as one can see.
    pub(crate) fn begins_picture(&self, sequence: u64) -> bool {
        let timestamp = |sequence| self.packet(sequence).map(|one| one.timestamp);
        let before = sequence.checked_sub(1).and_then(timestamp);
        before.is_none() || before != timestamp(sequence)
    }

    /// What there is of the last group, if it is whole but for what may still be repaired.
    pub(crate) fn extent(&self, cache: &PacketCache, now_ns: u64) -> Option<Extent> {
        let group = self.group?;
        if self.newest - group.first >= self.slots.len() as u64 {
            return None;
        }
        let mut extent = Extent::default();
        let mut missing = false;
        let (mut last, mut last_base) = (None, None);
        for sequence in group.first..=self.newest {
            let found = self.packet(sequence).zip(cache.lookup(sequence, now_ns));
            let Some((pending, cached)) = found else {
                missing = true;
                continue;
            };
            if missing && now_ns.saturating_sub(pending.received_ns) > REPAIR_NS {
                return None;
            }
            let is_base = pending.info.temporal_layer == 0;
            extent.bytes += cached.data.len();
            extent.pictures +=
                usize::from(last.replace(pending.timestamp) != Some(pending.timestamp));
            if is_base {
                extent.base_bytes += cached.data.len();
                let before = last_base.replace(pending.timestamp);
                extent.base_pictures += usize::from(before != Some(pending.timestamp));
            }
        }
        // Without its first packet no decoder can start.
        (self.packet(group.first).is_some() && extent.bytes > 0).then_some(extent)
    }

    fn place(&self, sequence: u64) -> usize {
        sequence as usize & self.slots.len().saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::PayloadInfo;

    const MS: u64 = 1_000_000;

    struct Stream {
        history: History,
        cache: PacketCache,
    }

    impl Stream {
        fn new() -> Self {
            Self {
                history: History::default(),
                cache: PacketCache::new(0, 64, 10_000 * MS),
            }
        }

        /// A packet of 100 bytes that came at 10 ms a number.
        fn come(&mut self, sequence: u64, picture: u32, temporal_layer: u8, begins: bool) {
            let received_ns = sequence * 10 * MS;
            self.cache.reserve(100).fill(1);
            self.cache.commit(sequence, 100, received_ns);
            let pending = Pending {
                encoding: 0,
                sequence,
                timestamp: picture * 3_000,
                received_ns,
                start: begins,
                empty: false,
                info: PayloadInfo {
                    temporal_layer,
                    ..PayloadInfo::unlayered(begins, true)
                },
                key_picture: begins,
                void: false,
            };
            self.history.record(pending, begins, 64);
        }

        fn extent(&self, now_ms: u64) -> Option<Extent> {
            self.history.extent(&self.cache, now_ms * MS)
        }
    }

    #[test]
    fn a_group_begins_with_the_first_packet_of_its_keyframe() {
        let mut stream = Stream::new();
        assert_eq!(stream.extent(0), None);
        stream.come(10, 1, 0, false);
        assert_eq!(stream.extent(100), None);
        stream.come(12, 2, 0, true);
        stream.come(11, 2, 0, true);
        stream.come(13, 3, 1, false);
        assert_eq!(stream.history.group().map(|one| one.first), Some(11));
        let extent = Extent {
            bytes: 300,
            base_bytes: 200,
            pictures: 2,
            base_pictures: 1,
        };
        assert_eq!(stream.extent(140), Some(extent));
        stream.come(14, 4, 0, true);
        stream.come(11, 2, 0, true);
        assert_eq!(stream.history.group().map(|one| one.first), Some(14));
    }

    #[test]
    fn a_hole_is_waited_for_a_while_and_then_the_group_is_broken() {
        let mut stream = Stream::new();
        stream.come(1, 1, 0, true);
        stream.come(3, 2, 0, false);
        assert!(stream.extent(30).is_some());
        assert_eq!(stream.extent(30 + 251), None);
        stream.come(2, 1, 0, false);
        assert!(stream.extent(30 + 251).is_some());
    }

    #[test]
    fn a_group_longer_than_the_bound_is_none() {
        let mut stream = Stream::new();
        stream.come(0, 0, 0, true);
        for sequence in 1..64 {
            stream.come(sequence, sequence as u32, 0, false);
        }
        assert!(stream.extent(630).is_some());
        stream.come(64, 64, 0, false);
        assert_eq!(stream.extent(640), None);
    }
}
