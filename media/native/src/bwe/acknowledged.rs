//! What gets through to the viewer, from the sizes of packets that arrived and their times.

/// Windows of measurement: long until there is a first value, short then.
const FIRST_WINDOW_NS: i64 = 500_000_000;
const WINDOW_NS: i64 = 150_000_000;

/// A gap of so much starts the window anew: nothing was sent, which says nothing of the link.
const GAP_NS: i64 = 2_000_000_000;

/// How far one window's sample is doubted, and how far the value may have moved since the last.
const DOUBT: f64 = 10.0;
const DRIFT_KBPS: f64 = 5.0;

/// The long window, in pieces.
const PIECE_NS: i64 = 250_000_000;
const PIECES: usize = 8;

/// Bytes of the last two seconds. A receiver that takes packets in clumps spoils the short windows,
/// but not this one.
#[derive(Clone, Debug, Default)]
pub struct LongRate {
    pieces: [u32; PIECES],
    newest: i64,
    began: Option<i64>,
}

impl LongRate {
    /// A packet arrived at `arrived_ns` of the receiver's clock.
    #[inline]
    pub fn record(&mut self, arrived_ns: i64, size: u32) {
        let piece = arrived_ns.div_euclid(PIECE_NS);
        let steps = piece - self.newest;
        if self.began.is_none() || steps.unsigned_abs() > 4 * PIECES as u64 {
            *self = Self {
                newest: piece,
                began: Some(piece),
                ..Self::default()
            };
        }
        for passed in (self.newest + 1..=piece).rev().take(PIECES) {
            self.pieces[passed.rem_euclid(PIECES as i64) as usize] = 0;
        }
        self.newest = self.newest.max(piece);
        let place = piece.rem_euclid(PIECES as i64) as usize;
        self.pieces[place] = self.pieces[place].saturating_add(size);
    }

    /// Bits a second of the last two seconds; None before they are over.
    pub fn bitrate_bps(&self) -> Option<u64> {
        let is_full = self.newest - self.began? >= PIECES as i64;
        let bytes: u64 = self.pieces.iter().copied().map(u64::from).sum();
        let window_ns = PIECE_NS as u64 * PIECES as u64;
        is_full.then(|| bytes * 8_000_000_000 / window_ns)
    }
}

/// A Bayesian estimate of the acknowledged bitrate: samples far off count for less.
#[derive(Clone, Debug, Default)]
pub struct AcknowledgedRate {
    began_ns: Option<i64>,
    newest_ns: i64,
    bytes: u64,
    estimate_kbps: Option<f64>,
    variance: f64,
}

impl AcknowledgedRate {
    /// A packet arrived at `arrived_ns` of the receiver's clock.
    pub fn record(&mut self, arrived_ns: i64, size: u32) {
        let began_ns = match self.began_ns {
            Some(began_ns) if (-GAP_NS..GAP_NS).contains(&(arrived_ns - self.newest_ns)) => {
                began_ns
            }
            _ => {
                self.bytes = 0;
                arrived_ns
            }
        };
        self.began_ns = Some(began_ns);
        self.newest_ns = self.newest_ns.max(arrived_ns).min(arrived_ns + GAP_NS);
        let window_ns = match self.estimate_kbps {
            None => FIRST_WINDOW_NS,
            Some(_) => WINDOW_NS,
        };
        let elapsed_ns = arrived_ns - began_ns;
        if elapsed_ns >= window_ns {
            self.sample(self.bytes as f64 * 8e6 / elapsed_ns as f64);
            self.began_ns = Some(arrived_ns);
            self.bytes = 0;
        }
        self.bytes += u64::from(size);
    }

    /// The estimate in bits a second; None before half a second of packets.
    pub fn bitrate_bps(&self) -> Option<u64> {
        self.estimate_kbps.map(|kbps| (kbps * 1000.0) as u64)
    }

    fn sample(&mut self, kbps: f64) {
        let Some(estimate) = self.estimate_kbps else {
            self.estimate_kbps = Some(kbps);
            self.variance = 50.0;
            return;
        };
        let uncertainty = DOUBT * (estimate - kbps).abs() / estimate.max(1.0);
        let sample_variance = uncertainty * uncertainty;
        let predicted = self.variance + DRIFT_KBPS;
        let total = sample_variance + predicted;
        self.estimate_kbps = Some((sample_variance * estimate + predicted * kbps) / total);
        self.variance = sample_variance * predicted / total;
    }
}
