//! The slab, its pages, and the records that a transport writes into them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::{CAPTURE_MAX, Class, PAGE_BYTES, address_bytes};

/// Bytes of a record without what is captured.
pub(super) const HEAD_BYTES: usize = 8;

/// Kinds of records, in the high bits of their first byte.
pub(super) const PACKET: u8 = 0x00;
pub(super) const STREAM: u8 = 0x40;
pub(super) const NEXT: u8 = 0x80;
pub(super) const MORE: u8 = 0x90;
pub(super) const SHORT: u8 = 0xA0;
pub(super) const TIME: u8 = 0xC0;
pub(super) const LOST: u8 = 0xD0;

/// Bytes of a [`STREAM`] record.
pub(super) const STREAM_BYTES: usize = HEAD_BYTES + 12;
/// Bytes of a [`SHORT`] and of a [`MORE`] record.
pub(super) const SHORT_BYTES: usize = 4;

/// Marks of a [`PACKET`] record; the class of the packet is in the bits below.
pub(super) const OUT: u8 = 0x08;

/// Marks of [`NEXT`] and [`SHORT`] records; the place of the stream is in the bits below.
pub(super) const MARKED: u8 = 0x08;
pub(super) const NUMBERED: u8 = 0x04;
/// Of [`SHORT`] alone: its timestamp is another one than that of the packet before, by as much as
/// timestamps of the stream differed last.
pub(super) const STEPS: u8 = 0x10;
/// Of [`SHORT`] alone: it is padded and the packet before was not, or the other way round.
pub(super) const TURNS: u8 = 0x40;

/// The padding bit, in the first byte of an RTP header.
pub(super) const PADDED: u8 = 0x20;

/// Streams of a page that [`NEXT`] records can follow.
pub(super) const STREAMS: usize = 4;

/// Pages that one transport may take in a second: an attacker's flood must not push out the rest.
const PAGES_A_SECOND_MIN: u32 = 16;

const NO_PAGE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
pub(super) struct PageHead {
    /// Counts allocations; 0 is never one.
    pub(super) serial: u64,
    pub(super) base_us: u64,
    /// Bytes that were used when the owner took its next page.
    used: u16,
    /// The owner's page before.
    before: (u32, u64),
}

/// The memory of all rings of a worker. Memory that was never written is never touched, and no more
/// is written than recordings reach back.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    memory: Box<[u8]>,
    /// Of pages that were ever taken.
    heads: Vec<PageHead>,
    pages_max: usize,
    /// Pages that their owners left for the next one, and when; the oldest first.
    left: VecDeque<(u32, u64)>,
    /// Pages of owners that are gone.
    free: Vec<u32>,
    /// Pages that were taken from owners who still wrote to them, for there was no other.
    stolen: usize,
    serial: u64,
    pages_a_second: u32,
    /// How far back a recording reaches.
    keep_us: u64,
}

/// What [`NEXT`], [`SHORT`] and [`MORE`] records follow.
#[derive(Clone, Copy, Debug, Default)]
struct Stream {
    ssrc: u32,
    timestamp: u32,
    sequence: u16,
    length: u16,
    /// Between the last two timestamps that differed.
    step: u16,
    payload_type: u8,
    /// First byte of the header.
    first: u8,
    marks: u8,
}

/// One transport's way through the slab.
#[derive(Debug)]
#[repr(C)] // What each packet touches lies side by side.
pub(crate) struct Ring {
    page: u32,
    used: u16,
    transport_cc: u16,
    serial: u64,
    /// Of the last record.
    at_us: u64,
    /// Place of the stream of the last record, if that is of a forwarded packet and ends here.
    follows: (u8, u16),
    stream_count: u8,
    /// The last record is a [`MORE`].
    is_more: bool,
    streams: [Stream; STREAMS],
    remote: Option<SocketAddr>,
    /// Where in the page the packet lies that is being handled, plus one; 0: nowhere.
    arrival: u16,
    /// Why that packet was dropped, as a code.
    pub(crate) dropped: u8,
    window_us: u64,
    window_pages: u32,
}

impl Ring {
    /// Reads a word of the lines that a packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        self.at_us
            ^ self
                .streams
                .iter()
                .fold(0, |seen, one| seen ^ u64::from(one.ssrc))
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            page: NO_PAGE,
            serial: 0,
            used: 0,
            at_us: 0,
            streams: [Stream::default(); STREAMS],
            stream_count: 0,
            follows: (0, 0),
            is_more: false,
            transport_cc: 0,
            remote: None,
            arrival: 0,
            dropped: 0,
            window_us: 0,
            window_pages: 0,
        }
    }
}

impl Slab {
    /// A slab of about so many bytes, for recordings of so many seconds; none with 0 of either.
    pub(crate) fn new(bytes: usize, seconds: u32) -> Self {
        let pages = if seconds == 0 { 0 } else { bytes / PAGE_BYTES };
        Self {
            memory: vec![0; pages * PAGE_BYTES].into_boxed_slice(),
            heads: Vec::new(),
            pages_max: pages,
            left: VecDeque::new(),
            free: Vec::new(),
            stolen: 0,
            serial: 0,
            pages_a_second: PAGES_A_SECOND_MIN.max((pages / 8) as u32 / seconds.max(1)),
            keep_us: u64::from(seconds) * 1_000_000,
        }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.pages_max == 0
    }

    /// The ring's owner is gone: nobody asks for its records any more.
    pub(crate) fn release(&mut self, ring: &Ring) {
        if self.lives(ring) {
            self.heads[ring.page as usize].serial = 0;
            self.free.push(ring.page);
        }
    }

    /// A packet came in, or something that is no forwarded media goes out.
    pub(crate) fn packet(
        &mut self,
        ring: &mut Ring,
        now_ns: u64,
        (class, out): (Class, bool),
        length: usize,
        captured: &[u8],
    ) {
        let captured = &captured[..captured.len().min(CAPTURE_MAX)];
        let bytes = HEAD_BYTES + captured.len().next_multiple_of(4);
        let Some((place, delta_us)) = self.room(ring, now_ns, bytes) else {
            return;
        };
        let record = &mut self.memory[place..place + bytes];
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        record[0] = PACKET | class as u8 | if out { OUT } else { 0 };
        record[1] = 0;
        record[2..4].copy_from_slice(&length.to_le_bytes());
        record[4..6].copy_from_slice(&delta_us.to_le_bytes());
        record[6] = captured.len() as u8;
        record[7] = ((bytes - HEAD_BYTES) / 4) as u8;
        record[HEAD_BYTES..HEAD_BYTES + captured.len()].copy_from_slice(captured);
    }

    /// A packet came in: [`Self::decrypted`] and [`Self::settled`] are about it.
    pub(crate) fn arrived(
        &mut self,
        ring: &mut Ring,
        now_ns: u64,
        class: Class,
        remote: SocketAddr,
        packet: &[u8],
    ) {
        (ring.arrival, ring.dropped) = (0, 0);
        if self.is_off() {
            return;
        }
        if ring.remote != Some(remote) {
            let (bytes, len) = address_bytes(remote);
            self.packet(ring, now_ns, (Class::Remote, false), 0, &bytes[..len]);
            ring.remote = Some(remote);
        }
        // Room for what decryption brings.
        let mut captured = [0; CAPTURE_MAX];
        let clear = class.captured(packet);
        captured[..clear.len()].copy_from_slice(clear);
        let kept = match class {
            Class::Rtcp => packet.len().min(CAPTURE_MAX),
            _ => clear.len(),
        };
        let used_before = (ring.serial, ring.used);
        self.packet(
            ring,
            now_ns,
            (class, false),
            packet.len(),
            &captured[..kept],
        );
        if (ring.serial, ring.used) == used_before {
            return; // It was not recorded.
        }
        let bytes = (HEAD_BYTES + kept.next_multiple_of(4)) as u16;
        ring.arrival = (ring.used + 1).saturating_sub(bytes);
        if class == Class::Rtcp
            && let Some(record) = self.arrival(ring)
        {
            record[6] = clear.len() as u8;
        }
    }

    /// What the packet that arrived says.
    pub(crate) fn decrypted(&mut self, ring: &mut Ring, packet: &[u8]) {
        if let Some(record) = self.arrival(ring) {
            let length = usize::from(u16::from_le_bytes([record[2], record[3]]));
            let kept = packet.len().min(CAPTURE_MAX).min(length);
            record[HEAD_BYTES..HEAD_BYTES + kept].copy_from_slice(&packet[..kept]);
            record[6] = kept as u8;
            let words = kept.div_ceil(4);
            let end = ring.arrival - 1 + (HEAD_BYTES + 4 * usize::from(record[7])) as u16;
            if end == ring.used {
                // What encryption had added takes no room.
                record[7] = words as u8;
                ring.used = ring.arrival - 1 + (HEAD_BYTES + 4 * words) as u16;
            }
        }
    }

    /// The packet that arrived was handled; if it was dropped, its record says why.
    pub(crate) fn settled(&mut self, ring: &mut Ring) {
        let reason = ring.dropped;
        if reason != 0
            && let Some(record) = self.arrival(ring)
        {
            record[1] = reason;
        }
        ring.arrival = 0;
    }

    /// Reads the first byte that the next record of a ring is written to.
    #[inline]
    pub(crate) fn glance(&self, ring: &Ring) -> u64 {
        let at = ring.page as usize * PAGE_BYTES + usize::from(ring.used);
        self.memory.get(at).copied().map_or(0, u64::from)
    }

    /// A forwarded packet leaves; its header is in the clear.
    #[inline]
    pub(crate) fn forwarded(
        &mut self,
        ring: &mut Ring,
        now_ns: u64,
        packet: &[u8],
        transport_cc: Option<u16>,
    ) {
        let Some(header) = packet.first_chunk::<12>() else {
            return;
        };
        let mut now = Stream {
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            sequence: u16::from_be_bytes([header[2], header[3]]),
            length: packet.len() as u16,
            step: 0,
            payload_type: header[1] & 0x7F,
            first: header[0],
            marks: if transport_cc.is_some() { NUMBERED } else { 0 } | (header[1] & 0x80) >> 4,
        };
        let number = transport_cc.unwrap_or(ring.transport_cc);
        let known = ring.streams[..usize::from(ring.stream_count)]
            .iter()
            .position(|one| one.ssrc == now.ssrc);
        if let Some(place) = known {
            let last = ring.streams[place];
            let step = now.timestamp.wrapping_sub(last.timestamp);
            let delta_us = (now_ns / 1000).saturating_sub(ring.at_us);
            let follows = now.sequence == last.sequence.wrapping_add(1)
                && now.payload_type == last.payload_type
                && transport_cc.is_none_or(|one| one == ring.transport_cc.wrapping_add(1))
                && step <= u32::from(u16::MAX)
                && delta_us <= u64::from(u16::MAX);
            if follows && self.has_room(ring, HEAD_BYTES) {
                now.step = if step == 0 { last.step } else { step as u16 };
                self.next(ring, place, (last, now), (step as u16, delta_us as u16));
                ring.transport_cc = number;
                return;
            }
        }
        self.stream(ring, now_ns, header, now, number);
    }

    /// Writes as little as tells of a packet that follows the last one of its stream, for which
    /// there is room.
    #[inline]
    fn next(
        &mut self,
        ring: &mut Ring,
        place: usize,
        (last, now): (Stream, Stream),
        (step, delta_us): (u16, u16),
    ) {
        let at = ring.page as usize * PAGE_BYTES + usize::from(ring.used);
        let again = (step, delta_us) == (0, 0)
            && ring.follows == (place as u8, ring.used)
            && (now.length, now.first, now.marks) == (last.length, last.first, last.marks)
            && now.marks & MARKED == 0;
        let difference = i32::from(now.length) - i32::from(last.length);
        let difference = i8::try_from(difference).ok();
        let turned = now.first ^ last.first;
        let is_regular = turned & !PADDED == 0 && (step == 0 || step == last.step);
        let marks = now.marks | place as u8;
        let mut is_more = false;
        if again {
            is_more = true;
            if ring.is_more && self.memory[at - SHORT_BYTES + 1] < u8::MAX {
                self.memory[at - SHORT_BYTES + 1] += 1;
            } else {
                self.memory[at..at + SHORT_BYTES].copy_from_slice(&[MORE, 1, 0, 0]);
                ring.used += SHORT_BYTES as u16;
            }
        } else if let Some(difference) = difference.filter(|_| is_regular) {
            let steps = if step == 0 { 0 } else { STEPS };
            let turns = if turned == 0 { 0 } else { TURNS };
            let record = u32::from(SHORT | steps | turns | marks)
                | u32::from(difference as u8) << 8
                | u32::from(delta_us) << 16;
            self.memory[at..at + SHORT_BYTES].copy_from_slice(&record.to_le_bytes());
            ring.used += SHORT_BYTES as u16;
        } else {
            let record = u64::from(NEXT | marks)
                | u64::from(now.first) << 8
                | u64::from(now.length) << 16
                | u64::from(delta_us) << 32
                | u64::from(step) << 48;
            self.memory[at..at + HEAD_BYTES].copy_from_slice(&record.to_le_bytes());
            ring.used += HEAD_BYTES as u16;
        }
        ring.at_us += u64::from(delta_us);
        ring.streams[place] = now;
        (ring.is_more, ring.follows) = (is_more, (place as u8, ring.used));
    }

    /// Writes a whole record of a forwarded packet, which those after it follow.
    #[cold]
    fn stream(
        &mut self,
        ring: &mut Ring,
        now_ns: u64,
        header: &[u8; 12],
        now: Stream,
        number: u16,
    ) {
        let Some((at, delta_us)) = self.room(ring, now_ns, STREAM_BYTES) else {
            return;
        };
        let known = ring.streams[..usize::from(ring.stream_count)]
            .iter()
            .position(|one| one.ssrc == now.ssrc);
        let place = known.unwrap_or_else(|| {
            let place = usize::from(ring.stream_count).min(STREAMS - 1);
            ring.stream_count = place as u8 + 1;
            place
        });
        let record = &mut self.memory[at..at + STREAM_BYTES];
        record[0] = STREAM | now.marks & NUMBERED | place as u8;
        record[1] = 0;
        record[2..4].copy_from_slice(&now.length.to_le_bytes());
        record[4..6].copy_from_slice(&delta_us.to_le_bytes());
        record[6..8].copy_from_slice(&number.to_le_bytes());
        record[8..].copy_from_slice(header);
        ring.streams[place] = now;
        ring.transport_cc = number;
        (ring.is_more, ring.follows) = (false, (place as u8, ring.used));
    }

    /// The last `count` packets that left were not taken by the system.
    pub(crate) fn lost(&mut self, ring: &mut Ring, now_ns: u64, count: usize, reason: u8) {
        if let Some((at, delta_us)) = self.room(ring, now_ns, HEAD_BYTES) {
            let record = &mut self.memory[at..at + HEAD_BYTES];
            let count = u16::try_from(count).unwrap_or(u16::MAX);
            record[0] = LOST;
            record[1] = reason;
            record[2..4].copy_from_slice(&count.to_le_bytes());
            record[4..6].copy_from_slice(&delta_us.to_le_bytes());
            record[6..8].fill(0);
        }
    }

    /// Whether the ring's page is still its own.
    #[inline]
    fn lives(&self, ring: &Ring) -> bool {
        // Its head need not be looked at, which lies in no cache, as long as none was ever stolen.
        ring.serial > 0
            && (self.stolen == 0 || self.heads[ring.page as usize].serial == ring.serial)
    }

    #[inline]
    fn has_room(&self, ring: &Ring, bytes: usize) -> bool {
        self.lives(ring) && usize::from(ring.used) + bytes + HEAD_BYTES <= PAGE_BYTES
    }

    fn arrival(&mut self, ring: &Ring) -> Option<&mut [u8]> {
        let page = ring.page as usize;
        if !self.lives(ring) || ring.arrival == 0 {
            return None;
        }
        let start = page * PAGE_BYTES + usize::from(ring.arrival) - 1;
        Some(&mut self.memory[start..(page + 1) * PAGE_BYTES])
    }

    /// Takes `bytes` of the ring's page, or of a new one; where they lie, and the time since the
    /// record before.
    #[inline]
    fn room(&mut self, ring: &mut Ring, now_ns: u64, bytes: usize) -> Option<(usize, u16)> {
        let now_us = now_ns / 1000;
        let delta_us = now_us.saturating_sub(ring.at_us);
        if !self.has_room(ring, bytes) || delta_us > u64::from(u16::MAX) {
            return self.room_elsewhere(ring, now_us, bytes);
        }
        Some(Self::take(ring, now_us, bytes))
    }

    #[inline]
    fn take(ring: &mut Ring, now_us: u64, bytes: usize) -> (usize, u16) {
        let at = ring.page as usize * PAGE_BYTES + usize::from(ring.used);
        let delta_us = now_us.saturating_sub(ring.at_us) as u16;
        ring.at_us = now_us.max(ring.at_us);
        ring.used += bytes as u16;
        (at, delta_us)
    }

    #[cold]
    fn room_elsewhere(
        &mut self,
        ring: &mut Ring,
        now_us: u64,
        bytes: usize,
    ) -> Option<(usize, u16)> {
        let fits = self.has_room(ring, bytes + HEAD_BYTES);
        let delta_us = now_us.saturating_sub(ring.at_us);
        match u32::try_from(delta_us) {
            Ok(delta_us) if fits => {
                let at = ring.page as usize * PAGE_BYTES + usize::from(ring.used);
                let record = &mut self.memory[at..at + HEAD_BYTES];
                record[..4].copy_from_slice(&[TIME, 0, 0, 0]);
                record[4..8].copy_from_slice(&delta_us.to_le_bytes());
                ring.at_us = now_us;
                ring.used += HEAD_BYTES as u16;
            }
            _ => self.next_page(ring, now_us)?,
        }
        Some(Self::take(ring, now_us, bytes))
    }

    /// Gives the ring another page.
    fn next_page(&mut self, ring: &mut Ring, now_us: u64) -> Option<()> {
        if self.is_off() {
            return None;
        }
        if now_us.saturating_sub(ring.window_us) >= 1_000_000 {
            (ring.window_us, ring.window_pages) = (now_us, 0);
        }
        if ring.window_pages >= self.pages_a_second {
            return None;
        }
        ring.window_pages += 1;
        if self.lives(ring) {
            self.heads[ring.page as usize].used = ring.used;
            self.left.push_back((ring.page, now_us));
        }
        let page = self.page(now_us);
        self.serial += 1;
        self.heads[page as usize] = PageHead {
            serial: self.serial,
            base_us: now_us,
            used: 0,
            before: (ring.page, ring.serial),
        };
        (ring.page, ring.serial, ring.used) = (page, self.serial, 0);
        (ring.at_us, ring.stream_count, ring.arrival) = (now_us, 0, 0);
        (ring.is_more, ring.follows) = (false, (0, 0));
        ring.remote = None;
        Some(())
    }

    /// A page for a new owner: one that nobody asks for any more, one that was never written, or
    /// else the one that was left first.
    fn page(&mut self, now_us: u64) -> u32 {
        if let Some(page) = self.free.pop() {
            return page;
        }
        let oldest_us = now_us.saturating_sub(self.keep_us);
        let is_full = self.heads.len() >= self.pages_max;
        let spare = self.left.front().filter(|one| is_full || one.1 < oldest_us);
        if let Some(&(page, _)) = spare {
            self.left.pop_front();
            return page;
        }
        if is_full {
            // More owners than pages: they take each other's, by turns.
            let page = self.stolen % self.pages_max;
            self.stolen += 1;
            return page as u32;
        }
        self.heads.push(PageHead {
            serial: 0,
            base_us: 0,
            used: 0,
            before: (NO_PAGE, 0),
        });
        (self.heads.len() - 1) as u32
    }

    /// Pages that were ever written.
    #[cfg(test)]
    pub(super) fn pages_written(&self) -> usize {
        self.heads.len()
    }

    /// The ring's pages that are still its own and young enough, oldest first.
    pub(super) fn pages(&self, ring: &Ring, now_ns: u64) -> Vec<(PageHead, &[u8])> {
        let oldest_us = (now_ns / 1000).saturating_sub(self.keep_us);
        let mut found = Vec::new();
        let mut link = (ring.page, ring.serial);
        while let Some(head) = self.heads.get(link.0 as usize) {
            if head.serial != link.1 || link.1 == 0 {
                break;
            }
            let start = link.0 as usize * PAGE_BYTES;
            let used = if link.1 == ring.serial {
                ring.used
            } else {
                head.used
            };
            found.push((*head, &self.memory[start..start + usize::from(used)]));
            if head.base_us < oldest_us {
                break;
            }
            link = head.before;
        }
        found.reverse();
        found
    }

    pub(super) fn oldest_us(&self, now_ns: u64) -> u64 {
        (now_ns / 1000).saturating_sub(self.keep_us)
    }
}
