//! What was sent on a transport lately, by transport-wide sequence number.

use super::Arrival;
use crate::rtcp::TransportFeedback;

/// Packets that are remembered at first, and at most: two seconds of 20 Mbit/s.
const PACKETS_MIN: usize = 128;
/// See [`PACKETS_MIN`].
pub const PACKETS_MAX: usize = 4096;

const TICK_NS: i64 = 250_000;

/// Feedback times wrap with the 24-bit reference time of 64 ms.
const WRAP_TICKS: i64 = 1 << 32;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Unknown,
    Arrived,
    Lost,
}

/// Eight bytes a packet: the ring of a thousand viewers must stay small.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Microseconds, wrapped.
    at_us: u32,
    size: u16,
    cluster: u8,
    fate: Fate,
}

/// What one feedback packet told, as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Packets whose fate was told for the first time.
    pub packets: u32,
    /// How many of those were lost. Lost packets that come late are not taken back.
    pub lost: u32,
    /// From sending the newest acknowledged packet until now, in ns.
    pub round_trip_ns: Option<u64>,
}

/// A ring of sent packets that grows with what is under way, up to [`PACKETS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct SendHistory {
    ring: Vec<Sent>,
    /// Extended number of the next packet, and of the oldest whose fate is not told.
    next: u64,
    untold: u64,
    ticks_before: Option<i64>,
    cycles: i64,
}

impl SendHistory {
    /// Remembers a packet. Numbers must follow each other.
    #[inline]
    pub fn record(&mut self, sequence_number: u16, now_ns: u64, size: usize, cluster: u8) {
        let expected = self.next as u16;
        if self.ring.is_empty() || expected != sequence_number {
            self.restart(sequence_number);
        }
        if (self.next - self.untold) as usize >= self.ring.len() {
            self.grow();
        }
        let place = self.place(self.next);
        self.ring[place] = Sent {
            at_us: (now_ns / 1000) as u32,
            size: size.min(usize::from(u16::MAX)) as u16,
            cluster,
            fate: Fate::Unknown,
        };
        self.next += 1;
    }

    /// Reads a word of the lines that the next packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        if self.ring.is_empty() {
            return 0;
        }
        u64::from(self.ring[self.place(self.next)].at_us)
    }

    /// Packets under way: sent, and neither told as arrived nor lost.
    pub fn under_way(&self) -> u64 {
        self.next - self.untold
    }

    /// Reads feedback; `each` is called for every packet that arrived, by ascending number.
    ///
    /// Packets that feedback told of before, or that left the ring, are passed over.
    pub fn read(
        &mut self,
        now_ns: u64,
        feedback: &TransportFeedback<'_>,
        mut each: impl FnMut(Arrival),
    ) -> Acknowledged {
        let mut told = Acknowledged::default();
        let Some(newest) = self.next.checked_sub(1).filter(|_| !self.ring.is_empty()) else {
            return told;
        };
        let behind = (newest as u16).wrapping_sub(feedback.base_sequence_number);
        let Some(first) = newest.checked_sub(u64::from(behind)) else {
            return told;
        };
        let oldest = self.next.saturating_sub(self.ring.len() as u64);
        let mut at = first;
        for arrival in feedback.arrivals() {
            let ahead = arrival.sequence_number.wrapping_sub(first as u16);
            let number = first + u64::from(ahead);
            if number > newest {
                // It tells of what was never sent.
                break;
            }
            for missing in at.max(oldest)..number {
                let place = self.place(missing);
                let sent = &mut self.ring[place];
                if sent.fate == Fate::Unknown {
                    sent.fate = Fate::Lost;
                    told.packets += 1;
                    told.lost += 1;
                }
            }
            at = number + 1;
            let ticks = self.extend(arrival.ticks);
            if number < oldest {
                continue;
            }
            let place = self.place(number);
            let sent = &mut self.ring[place];
            if sent.fate == Fate::Arrived {
                continue;
            }
            told.packets += u32::from(sent.fate == Fate::Unknown);
            sent.fate = Fate::Arrived;
            // Who tells of a packet before it was sent has guessed its number.
            let age_us = ((now_ns / 1000) as u32).wrapping_sub(sent.at_us) as i32;
            let sent_ns = now_ns.saturating_sub(age_us.max(0) as u64 * 1000);
            told.round_trip_ns = Some(now_ns - sent_ns);
            each(Arrival {
                sent_ns,
                arrived_ns: ticks * TICK_NS,
                size: u32::from(sent.size),
                cluster: sent.cluster,
            });
        }
        self.untold = self.untold.max(at.min(self.next));
        told
    }

    /// Ticks that run on when the reference time wraps.
    fn extend(&mut self, ticks: i64) -> i64 {
        if let Some(before) = self.ticks_before {
            if ticks - before > WRAP_TICKS / 2 {
                self.cycles -= WRAP_TICKS;
            } else if before - ticks > WRAP_TICKS / 2 {
                self.cycles += WRAP_TICKS;
            }
        }
        self.ticks_before = Some(ticks);
        ticks + self.cycles
    }

    fn restart(&mut self, sequence_number: u16) {
        if self.ring.is_empty() {
            self.ring = vec![Sent::default(); PACKETS_MIN];
        }
        // One cycle up, so that what was before is out of reach.
        self.next = (self.next | 0xffff) + 1 + u64::from(sequence_number);
        self.untold = self.next;
    }

    fn grow(&mut self) {
        let length = self.ring.len();
        if length >= PACKETS_MAX {
            // The oldest is given up: no feedback came for very long.
            self.untold += 1;
            return;
        }
        let mut ring = vec![Sent::default(); length * 2];
        for number in self.next.saturating_sub(length as u64)..self.next {
            ring[number as usize & (length * 2 - 1)] = self.ring[self.place(number)];
        }
        self.ring = ring;
    }

    #[inline]
    fn place(&self, number: u64) -> usize {
        number as usize & (self.ring.len() - 1)
    }
}
