//! The packets of one encoding, kept for retransmission: one cache per producer encoding, however
//! many viewers there are.

/// Smallest capacity, so that any datagram fits.
pub const CACHE_BYTES_MIN: usize = 65_536;

/// A bounded ring of packets in contiguous memory.
///
/// Bytes lie in one ring, in the order of their arrival; a second ring finds them by sequence
/// number. Positions in the byte ring only grow: a packet is overwritten as soon as a position one
/// capacity behind it was reserved, so nothing needs to be evicted.
pub struct PacketCache {
    bytes: Box<[u8]>,
    slots: Box<[Slot]>,
    /// Where the next packet may start. Positions are taken modulo the capacity.
    head: u64,
    /// What `reserve` gave out; empty after `commit`.
    room: std::ops::Range<u64>,
    age_ns_max: u64,
}

#[derive(Clone, Copy)]
struct Slot {
    sequence: u64,
    start: u64,
    received_ns: u64,
    /// Zero when the slot is empty.
    len: u32,
}

/// A cached packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CachedPacket<'a> {
    /// The bytes that were committed.
    pub data: &'a [u8],
    /// When they were committed.
    pub received_ns: u64,
}

impl PacketCache {
    /// A cache of at least `CACHE_BYTES_MIN` bytes and of packets up to a power of two, neither of
    /// which grows. Packets older than `age_ns_max` are not found.
    pub fn new(bytes_max: usize, packets_max: usize, age_ns_max: u64) -> Self {
        let empty = Slot {
            sequence: 0,
            start: 0,
            received_ns: 0,
            len: 0,
        };
        let slots = packets_max.max(1).next_power_of_two();
        Self {
            bytes: vec![0; bytes_max.max(CACHE_BYTES_MIN)].into_boxed_slice(),
            slots: vec![empty; slots].into_boxed_slice(),
            head: 0,
            room: 0..0,
            age_ns_max,
        }
    }

    /// Room for a packet of `len_max` bytes, to decrypt into; the oldest packets make way. It is in
    /// the cache only after `commit`. Reserving again gives the same room, with what was written
    /// there, unless more is asked for than the last time.
    pub fn reserve(&mut self, len_max: usize) -> &mut [u8] {
        let capacity = self.bytes.len() as u64;
        let len = (len_max as u64).min(capacity);
        if len > self.room.end - self.room.start {
            let offset = self.head % capacity;
            let start = if offset + len > capacity {
                self.head - offset + capacity
            } else {
                self.head
            };
            self.room = start..start + len;
        }
        let at = (self.room.start % capacity) as usize;
        &mut self.bytes[at..at + len as usize]
    }

    /// Puts the first `len` reserved bytes into the cache and returns them. `len` is cut to what
    /// was reserved.
    pub fn commit(&mut self, sequence: u64, len: usize, now_ns: u64) -> &[u8] {
        let start = self.room.start;
        let len = (len as u64).min(self.room.end - start);
        self.head = start + len;
        self.room = self.head..self.head;
        let slot = self.slot_of(sequence);
        self.slots[slot] = Slot {
            sequence,
            start,
            received_ns: now_ns,
            len: len as u32,
        };
        let at = (start % self.bytes.len() as u64) as usize;
        &self.bytes[at..at + len as usize]
    }

    /// The packet of an extended sequence number, if it is not overwritten or too old.
    pub fn lookup(&self, sequence: u64, now_ns: u64) -> Option<CachedPacket<'_>> {
        let capacity = self.bytes.len() as u64;
        let slot = &self.slots[self.slot_of(sequence)];
        let is_there = slot.len != 0
            && slot.sequence == sequence
            && slot.start + capacity >= self.room.end
            && now_ns.saturating_sub(slot.received_ns) <= self.age_ns_max;
        if !is_there {
            return None;
        }
        let at = (slot.start % capacity) as usize;
        Some(CachedPacket {
            data: &self.bytes[at..at + slot.len as usize],
            received_ns: slot.received_ns,
        })
    }

    fn slot_of(&self, sequence: u64) -> usize {
        sequence as usize & (self.slots.len() - 1)
    }
}

impl std::fmt::Debug for PacketCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketCache")
            .field("bytes_max", &self.bytes.len())
            .field("packets_max", &self.slots.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn insert(cache: &mut PacketCache, sequence: u64, data: &[u8], now_ns: u64) {
        cache.reserve(data.len()).copy_from_slice(data);
        assert_eq!(cache.commit(sequence, data.len(), now_ns), data);
    }

    #[test]
    fn a_packet_is_found_by_its_number_alone() {
        let mut cache = PacketCache::new(0, 16, SECOND);
        insert(&mut cache, 70_000, b"first", 5);
        let found = cache.lookup(70_000, 6).unwrap();
        assert_eq!((found.data, found.received_ns), (&b"first"[..], 5));
        assert_eq!(cache.lookup(70_001, 6), None);
        assert_eq!(cache.lookup(70_000 + 16, 6), None);
    }

    #[test]
    fn old_packets_are_not_found() {
        let mut cache = PacketCache::new(0, 16, SECOND);
        insert(&mut cache, 1, b"x", 5);
        assert!(cache.lookup(1, 5 + SECOND).is_some());
        assert_eq!(cache.lookup(1, 6 + SECOND), None);
    }

    #[test]
    fn the_count_is_bounded() {
        let mut cache = PacketCache::new(0, 9, SECOND);
        for sequence in 0..17 {
            insert(&mut cache, sequence, b"x", 0);
        }
        assert_eq!(cache.lookup(0, 0), None);
        assert!((1..17).all(|sequence| cache.lookup(sequence, 0).is_some()));
    }

    #[test]
    fn what_is_not_committed_is_not_found_and_costs_one_room() {
        let mut cache = PacketCache::new(0, 1_024, SECOND);
        for sequence in 0..65 {
            insert(&mut cache, sequence, &[1; 1_000], 0);
        }
        // Forged packets reserve again and again.
        for _ in 0..1_000 {
            cache.reserve(1_500).fill(9);
        }
        assert_eq!(cache.lookup(0, 0), None);
        assert!((3..65).all(|n| cache.lookup(n, 0).unwrap().data == [1; 1_000]));
        assert_eq!(cache.lookup(65, 0), None);
    }

    #[test]
    fn a_smaller_reservation_keeps_what_was_written() {
        let mut cache = PacketCache::new(0, 16, SECOND);
        insert(&mut cache, 0, &[0; CACHE_BYTES_MIN - 1_000], 0);
        // 1,500 bytes do not fit the end of the ring; 900 would.
        cache.reserve(1_500)[..4].copy_from_slice(b"data");
        assert_eq!(&cache.reserve(900)[..4], b"data");
        assert_eq!(cache.commit(1, 4, 0), b"data");
        assert_eq!(cache.lookup(1, 0).unwrap().data, b"data");
    }

    #[test]
    fn more_than_the_capacity_is_cut() {
        let mut cache = PacketCache::new(0, 16, SECOND);
        assert_eq!(cache.reserve(1 << 20).len(), CACHE_BYTES_MIN);
        assert_eq!(cache.commit(1, 1 << 20, 0).len(), CACHE_BYTES_MIN);
        assert!(cache.lookup(1, 0).is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_packet_is_whole_or_not_there_and_the_newest_are_there(
            packets in prop::collection::vec((1usize..1_500, 0u64..4), 1..300),
        ) {
            let mut cache = PacketCache::new(0, 128, SECOND);
            let mut inserted: Vec<(u64, Vec<u8>)> = Vec::new();
            let mut sequence = 1_000u64;
            for (len, step) in packets {
                sequence += step + 1;
                let data: Vec<u8> = (0..len).map(|n| (n as u64 ^ sequence) as u8).collect();
                insert(&mut cache, sequence, &data, 0);
                inserted.push((sequence, data));
            }
            let mut bytes_behind = 0;
            for (number, data) in inserted.iter().rev() {
                let found = cache.lookup(*number, 0);
                if let Some(found) = found {
                    prop_assert_eq!(found.data, &data[..]);
                }
                bytes_behind += data.len();
                // A packet's length may be lost at the end of the ring.
                if bytes_behind + 1_500 <= CACHE_BYTES_MIN && sequence - number < 128 {
                    prop_assert!(found.is_some(), "{} is gone", number);
                }
            }
        }
    }
}
