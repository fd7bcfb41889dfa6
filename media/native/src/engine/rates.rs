//! What the layers of one encoding take, in bits a second.

use super::meter::RateMeter;
use crate::codec::PayloadInfo;

/// Spatial layers inside of one stream, and temporal layers, that are told apart; higher ones count
/// as the highest.
pub(crate) const SPATIAL_MAX: usize = 3;
/// See [`SPATIAL_MAX`].
pub(crate) const TEMPORAL_MAX: usize = 4;

/// How much of a new measurement enters the smoothed value, each half second.
const UP: f64 = 0.5;
const DOWN: f64 = 0.25;

#[derive(Clone, Debug, Default)]
pub(crate) struct LayerRates {
    meters: [[RateMeter; TEMPORAL_MAX]; SPATIAL_MAX],
    /// Smoothed, of each layer by itself.
    smoothed_bps: [[f64; TEMPORAL_MAX]; SPATIAL_MAX],
    samples: u32,
    began_ns: Option<u64>,
}

/// Less than this is no measurement: a keyframe alone would fill it.
const MEASURED_NS: u64 = 300_000_000;
const SECOND_NS: u64 = 1_000_000_000;

impl LayerRates {
    /// A packet of so many bytes came.
    #[inline]
    pub(crate) fn record(&mut self, now_ns: u64, info: &PayloadInfo, bytes: usize) {
        let spatial = usize::from(info.spatial_layer).min(SPATIAL_MAX - 1);
        let temporal = usize::from(info.temporal_layer).min(TEMPORAL_MAX - 1);
        self.began_ns.get_or_insert(now_ns);
        self.meters[spatial][temporal].record(now_ns, bytes);
    }

    /// Whether enough came to say what the layers take.
    pub(crate) fn is_measured(&self, now_ns: u64) -> bool {
        self.began_ns
            .is_some_and(|began_ns| now_ns.saturating_sub(began_ns) >= MEASURED_NS)
    }

    /// To be called every half second while the stream flows.
    pub(crate) fn smooth(&mut self, now_ns: u64) {
        self.samples = self.samples.saturating_add(1);
        let whole = self.whole(now_ns);
        for (meters, smoothed) in self.meters.iter().zip(&mut self.smoothed_bps) {
            for (meter, smoothed) in meters.iter().zip(smoothed) {
                let now = meter.bitrate_bps(now_ns) as f64 * whole;
                let share = match self.samples {
                    0..=2 => 1.0,
                    _ if now > *smoothed => UP,
                    _ => DOWN,
                };
                *smoothed += (now - *smoothed) * share;
            }
        }
    }

    /// What the sum of the last second is to be multiplied with while it is not whole.
    fn whole(&self, now_ns: u64) -> f64 {
        let elapsed_ns = now_ns.saturating_sub(self.began_ns.unwrap_or(now_ns));
        SECOND_NS as f64 / elapsed_ns.clamp(MEASURED_NS, SECOND_NS) as f64
    }

    /// Nothing flows any more.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What a viewer of the layers up to these gets. In a k-SVC stream it gets one spatial layer.
    pub(crate) fn bitrate_bps(&self, now_ns: u64, spatial: u8, temporal: u8, one: bool) -> u64 {
        let spatial = usize::from(spatial).min(SPATIAL_MAX - 1);
        let temporal = usize::from(temporal).min(TEMPORAL_MAX - 1);
        let first = if one { spatial } else { 0 };
        let mut sum = 0.0;
        for (meters, smoothed) in self.meters[first..=spatial]
            .iter()
            .zip(&self.smoothed_bps[first..=spatial])
        {
            for place in 0..=temporal {
                sum += match self.samples {
                    0 => meters[place].bitrate_bps(now_ns) as f64 * self.whole(now_ns),
                    _ => smoothed[place],
                };
            }
        }
        sum as u64
    }

    /// The highest layers that flow, (spatial, temporal).
    pub(crate) fn highest(&self, now_ns: u64) -> (u8, u8) {
        let mut highest = (0, 0);
        for (spatial, meters) in self.meters.iter().enumerate() {
            for (temporal, meter) in meters.iter().enumerate() {
                if meter.bitrate_bps(now_ns) > 0 {
                    highest = (highest.0.max(spatial as u8), highest.1.max(temporal as u8));
                }
            }
        }
        highest
    }
}
