//! Packets that were sent in one burst count as one (draft-ietf-rmcat-gcc-02, 5.2).
//!
//! Within a burst, distances say how fast the link's last hop is, not how full its queue.

use super::Arrival;

/// Packets that were sent within so much of a group's first belong to it.
const BURST_NS: u64 = 5_000_000;

/// A group that came in one go, though it was sent over longer, is one up to so much.
const ARRIVAL_BURST_NS_MAX: i64 = 100_000_000;

/// A jump of the receiver's clock by more than this starts all anew.
const CLOCK_JUMP_NS: i64 = 3_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent_ns: u64,
    last_sent_ns: u64,
    first_arrived_ns: i64,
    last_arrived_ns: i64,
}

/// How the distance between two groups changed on the way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupDelta {
    /// Between their last packets when sent, in ms.
    pub send_ms: f64,
    /// Between their last packets when they arrived, in ms.
    pub arrival_ms: f64,
    /// When the later one arrived, in ns of the receiver's clock.
    pub arrived_ns: i64,
}

/// Sorts arrivals into groups.
#[derive(Clone, Debug, Default)]
pub struct PacketGroups {
    current: Option<Group>,
    previous: Option<Group>,
}

impl PacketGroups {
    /// Takes an arrival; yields a delta when it begins a group and two are complete.
    pub fn record(&mut self, arrival: &Arrival) -> Option<GroupDelta> {
        let (sent_ns, arrived_ns) = (arrival.sent_ns, arrival.arrived_ns);
        let fresh = Group {
            first_sent_ns: sent_ns,
            last_sent_ns: sent_ns,
            first_arrived_ns: arrived_ns,
            last_arrived_ns: arrived_ns,
        };
        let Some(group) = self.current.as_mut() else {
            self.current = Some(fresh);
            return None;
        };
        if sent_ns < group.first_sent_ns {
            return None; // reordered
        }
        if (arrived_ns - group.last_arrived_ns).abs() > CLOCK_JUMP_NS {
            *self = Self {
                current: Some(fresh),
                previous: None,
            };
            return None;
        }
        if group.takes(arrival) {
            group.last_sent_ns = group.last_sent_ns.max(sent_ns);
            group.last_arrived_ns = group.last_arrived_ns.max(arrived_ns);
            return None;
        }
        let complete = *group;
        self.current = Some(fresh);
        let before = self.previous.replace(complete)?;
        let arrival_ns = complete.last_arrived_ns - before.last_arrived_ns;
        let sent_ns = complete.last_sent_ns.checked_sub(before.last_sent_ns)?;
        if arrival_ns < 0 {
            return None;
        }
        Some(GroupDelta {
            send_ms: sent_ns as f64 / 1e6,
            arrival_ms: arrival_ns as f64 / 1e6,
            arrived_ns: complete.last_arrived_ns,
        })
    }
}

impl Group {
    fn takes(&self, arrival: &Arrival) -> bool {
        if arrival.sent_ns - self.first_sent_ns <= BURST_NS {
            return true;
        }
        let arrival_delta = arrival.arrived_ns - self.last_arrived_ns;
        let send_delta = arrival.sent_ns as i64 - self.last_sent_ns as i64;
        arrival_delta <= BURST_NS as i64
            && arrival_delta - send_delta < 0
            && arrival.arrived_ns - self.first_arrived_ns < ARRIVAL_BURST_NS_MAX
    }
}
