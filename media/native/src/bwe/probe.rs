//! What a probe cluster got through.
//!
//! A cluster is a train of packets sent at a rate above the estimate, for some tens of ms. How fast
//! it arrived says what the link takes, long before a queue builds up.

use super::Arrival;

/// Fewer packets say nothing.
pub const PROBE_PACKETS_MIN: u32 = 5;

/// Of a cluster's bytes so much must have arrived.
const ARRIVED_MIN: f64 = 0.7;

/// A cluster that came faster than it was sent by more was held up and let go.
const FASTER_MAX: f64 = 2.0;

/// One pause that is longer, and makes up so much of the time in which a cluster came, was the
/// receiver's: a link that is full slows all packets down alike.
const PAUSE_NS_MIN: i64 = 30_000_000;
const PAUSE_SHARE: f64 = 0.4;

/// Below this share of the sending rate the link was full; then so much of what came is used.
const FULL: f64 = 0.9;
const OF_FULL: f64 = 0.9;

/// A cluster without a result is given up after so long.
const EXPIRES_NS: u64 = 2_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Cluster {
    id: u8,
    began_ns: u64,
    sent: (u32, u64),
    complete: bool,
    arrived: (u32, u64),
    first_sent_ns: u64,
    last_sent_ns: u64,
    last_sent_size: u32,
    first_arrived_ns: i64,
    first_arrived_size: u32,
    last_arrived_ns: i64,
    pause_ns: i64,
}

/// Follows one cluster at a time.
#[derive(Clone, Debug, Default)]
pub struct ProbeResults {
    cluster: Option<Cluster>,
    last_id: u8,
}

impl ProbeResults {
    /// Begins a cluster; packets that are sent from now on bear its id.
    pub fn begin(&mut self, now_ns: u64) -> u8 {
        self.last_id = self.last_id % u8::MAX + 1;
        self.cluster = Some(Cluster {
            id: self.last_id,
            began_ns: now_ns,
            sent: (0, 0),
            complete: false,
            arrived: (0, 0),
            first_sent_ns: u64::MAX,
            last_sent_ns: 0,
            last_sent_size: 0,
            first_arrived_ns: i64::MAX,
            first_arrived_size: 0,
            last_arrived_ns: i64::MIN,
            pause_ns: 0,
        });
        self.last_id
    }

    /// The cluster that packets sent now belong to; 0 for none.
    #[inline]
    pub fn sending(&self) -> u8 {
        match &self.cluster {
            Some(cluster) if !cluster.complete => cluster.id,
            _ => 0,
        }
    }

    /// A packet of the cluster that is being sent went out.
    pub fn handle_sent(&mut self, size: usize) {
        if let Some(cluster) = self.cluster.as_mut().filter(|one| !one.complete) {
            cluster.sent.0 += 1;
            cluster.sent.1 += size as u64;
        }
    }

    /// Bytes of the cluster so far.
    pub fn sent_bytes(&self) -> u64 {
        self.cluster.map_or(0, |one| one.sent.1)
    }

    /// Nothing more is sent for the cluster.
    pub fn end(&mut self) {
        if let Some(cluster) = self.cluster.as_mut() {
            cluster.complete = true;
        }
    }

    /// Whether a cluster is under way: being sent, or without a result yet.
    pub fn is_under_way(&mut self, now_ns: u64) -> bool {
        if self
            .cluster
            .is_some_and(|one| now_ns.saturating_sub(one.began_ns) > EXPIRES_NS)
        {
            self.cluster = None;
        }
        self.cluster.is_some()
    }

    /// A packet of a cluster arrived.
    pub fn record(&mut self, arrival: &Arrival) {
        let Some(cluster) = self
            .cluster
            .as_mut()
            .filter(|one| one.id == arrival.cluster)
        else {
            return;
        };
        cluster.arrived.0 += 1;
        cluster.arrived.1 += u64::from(arrival.size);
        cluster.first_sent_ns = cluster.first_sent_ns.min(arrival.sent_ns);
        if arrival.sent_ns >= cluster.last_sent_ns {
            cluster.last_sent_ns = arrival.sent_ns;
            cluster.last_sent_size = arrival.size;
        }
        if arrival.arrived_ns < cluster.first_arrived_ns {
            cluster.first_arrived_ns = arrival.arrived_ns;
            cluster.first_arrived_size = arrival.size;
        }
        if cluster.arrived.0 > 1 {
            let pause_ns = arrival.arrived_ns - cluster.last_arrived_ns;
            cluster.pause_ns = cluster.pause_ns.max(pause_ns);
        }
        cluster.last_arrived_ns = cluster.last_arrived_ns.max(arrival.arrived_ns);
    }

    /// The rate that the cluster showed, once enough of it arrived; then it is over.
    ///
    /// `is_empty`: whether the queue on the way is empty now, so that the link kept up with it.
    pub fn take(&mut self, is_empty: bool) -> Option<u64> {
        let cluster = self.cluster?;
        let (count, bytes) = cluster.arrived;
        let enough = cluster.complete
            && count >= PROBE_PACKETS_MIN
            && bytes as f64 >= ARRIVED_MIN * cluster.sent.1 as f64
            && count + 2 >= cluster.sent.0.min(count * 10 / 7 + 2);
        if !enough {
            return None;
        }
        self.cluster = None;
        let sent_s = cluster.last_sent_ns.saturating_sub(cluster.first_sent_ns) as f64 / 1e9;
        let arrived_s = (cluster.last_arrived_ns - cluster.first_arrived_ns) as f64 / 1e9;
        if sent_s < 0.001 || arrived_s < 0.001 {
            return None;
        }
        let sent_bps = (bytes - u64::from(cluster.last_sent_size)) as f64 * 8.0 / sent_s;
        let arrived_bps = (bytes - u64::from(cluster.first_arrived_size)) as f64 * 8.0 / arrived_s;
        let pause_s = cluster.pause_ns as f64 / 1e9;
        let paused = cluster.pause_ns > PAUSE_NS_MIN && pause_s > PAUSE_SHARE * arrived_s;
        if arrived_bps > FASTER_MAX * sent_bps || (paused && arrived_bps < FULL * sent_bps) {
            return is_empty.then_some(sent_bps as u64);
        }
        let shown = if arrived_bps < FULL * sent_bps {
            OF_FULL * arrived_bps
        } else {
            sent_bps.min(arrived_bps)
        };
        Some(shown as u64)
    }
}
