//! Whether queues on the way grow: the slope of the one-way delay, against a threshold that adapts
//! (draft-ietf-rmcat-gcc-02, 5.3 and 5.4, with the regression that libwebrtc puts in the place of
//! the Kalman filter).

use super::GroupDelta;

/// What the link is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// Queues neither grow nor shrink.
    #[default]
    Normal,
    /// Queues grow: more is sent than gets through.
    Over,
    /// Queues shrink.
    Under,
}

const WINDOW: usize = 20;
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
const DELTAS_MAX: f64 = 60.0;

const THRESHOLD_MS: f64 = 12.5;
const THRESHOLD_MS_MIN: f64 = 6.0;
const THRESHOLD_MS_MAX: f64 = 600.0;
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// A trend so far above the threshold is a spike that must not raise it.
const SPIKE_MS: f64 = 15.0;

/// Over-use must last so long before it is believed.
const OVER_MS: f64 = 10.0;

/// Follows the delay of packet groups.
#[derive(Clone, Debug)]
pub struct Trendline {
    /// (arrival, smoothed accumulated delay) in ms, a ring.
    points: [(f64, f64); WINDOW],
    count: usize,
    deltas: u32,
    first_arrived_ns: Option<i64>,
    accumulated_ms: f64,
    smoothed_ms: f64,
    threshold_ms: f64,
    threshold_at_ms: Option<f64>,
    over_for_ms: Option<f64>,
    over_count: u32,
    last_trend: f64,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: [(0.0, 0.0); WINDOW],
            count: 0,
            deltas: 0,
            first_arrived_ns: None,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            threshold_ms: THRESHOLD_MS,
            threshold_at_ms: None,
            over_for_ms: None,
            over_count: 0,
            last_trend: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// What the link is used for, as of the last delta.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What was seen is too old, or not to be trusted. The threshold stays.
    pub fn restart(&mut self) {
        *self = Self {
            threshold_ms: self.threshold_ms,
            ..Self::default()
        };
    }

    /// Takes the delta of two groups.
    pub fn record(&mut self, delta: &GroupDelta) -> Usage {
        let first_ns = *self.first_arrived_ns.get_or_insert(delta.arrived_ns);
        let at_ms = (delta.arrived_ns - first_ns) as f64 / 1e6;
        self.deltas = (self.deltas + 1).min(1000);
        self.accumulated_ms += delta.arrival_ms - delta.send_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        self.points[self.count % WINDOW] = (at_ms, self.smoothed_ms);
        self.count += 1;
        let trend = if self.count >= WINDOW {
            self.slope().unwrap_or(self.last_trend)
        } else {
            self.last_trend
        };
        self.detect(trend, delta.send_ms, at_ms);
        self.usage
    }

    /// The least-squares slope of the window.
    fn slope(&self) -> Option<f64> {
        let count = WINDOW as f64;
        let mean_x = self.points.iter().map(|one| one.0).sum::<f64>() / count;
        let mean_y = self.points.iter().map(|one| one.1).sum::<f64>() / count;
        let (mut above, mut below) = (0.0, 0.0);
        for (x, y) in self.points {
            above += (x - mean_x) * (y - mean_y);
            below += (x - mean_x) * (x - mean_x);
        }
        (below > 0.0).then(|| above / below)
    }

    fn detect(&mut self, trend: f64, send_ms: f64, at_ms: f64) {
        if self.deltas < 2 {
            return;
        }
        let modified = f64::from(self.deltas).min(DELTAS_MAX) * trend * GAIN;
        if modified > self.threshold_ms {
            let lasted = match self.over_for_ms {
                None => send_ms / 2.0,
                Some(lasted) => lasted + send_ms,
            };
            self.over_for_ms = Some(lasted);
            self.over_count += 1;
            if lasted > OVER_MS && self.over_count > 1 && trend >= self.last_trend {
                self.over_for_ms = Some(0.0);
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for_ms = None;
            self.over_count = 0;
            self.usage = if modified < -self.threshold_ms {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.last_trend = trend;
        self.adapt(modified.abs(), at_ms);
    }

    fn adapt(&mut self, modified: f64, at_ms: f64) {
        let before = self.threshold_at_ms.replace(at_ms).unwrap_or(at_ms);
        if modified > self.threshold_ms + SPIKE_MS {
            return;
        }
        let gain = if modified < self.threshold_ms {
            THRESHOLD_DOWN
        } else {
            THRESHOLD_UP
        };
        let elapsed_ms = (at_ms - before).clamp(0.0, 100.0);
        self.threshold_ms += gain * (modified - self.threshold_ms) * elapsed_ms;
        self.threshold_ms = self.threshold_ms.clamp(THRESHOLD_MS_MIN, THRESHOLD_MS_MAX);
    }
}
