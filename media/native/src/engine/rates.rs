//! What the layers of one encoding take, in bits a second.

use super::meter::RateMeter;
use crate::codec::PayloadInfo;

/// Spatial layers inside of one stream, and temporal layers, that are told apart; higher ones count
/// as the highest.
pub(crate) const SPATIAL_MAX: usize = 3;
/// See [`SPATIAL_MAX`].
pub(crate) const TEMPORAL_MAX: usize = 4;

/// How much of a new measurement enters the smoothed value, each half second. More counts little
/// until it has lasted for [`LASTS`] of them: one keyframe makes two of them large.
const UP: f64 = 0.5;
const UP_AT_FIRST: f64 = 0.1;
const DOWN: f64 = 0.25;
const LASTS: u8 = 3;
/// What a layer takes fades by so much each half second while it ceases to flow; then it is kept.
const FADES: f64 = 0.9;

#[derive(Clone, Debug, Default)]
pub(crate) struct LayerRates {
    meters: [[RateMeter; TEMPORAL_MAX]; SPATIAL_MAX],
    /// Smoothed, of each layer by itself.
    smoothed_bps: [[f64; TEMPORAL_MAX]; SPATIAL_MAX],
    /// What each layer took when it flowed last.
    flowing_bps: [[f64; TEMPORAL_MAX]; SPATIAL_MAX],
    /// Measurements in a row that were above it.
    above: [[u8; TEMPORAL_MAX]; SPATIAL_MAX],
    /// Looks since a spatial layer began, and when that was.
    samples: [u32; SPATIAL_MAX],
    began_ns: [Option<u64>; SPATIAL_MAX],
}

/// The size of the first frame is left out.
const FIRST_NS: u64 = 100_000_000;
/// Less than this is no measurement: a keyframe alone would fill it.
const MEASURED_NS: u64 = 300_000_000;
const SECOND_NS: u64 = 1_000_000_000;

impl LayerRates {
    /// A packet of so many bytes came.
    #[inline]
    pub(crate) fn record(&mut self, now_ns: u64, info: &PayloadInfo, bytes: usize) {
        let spatial = usize::from(info.spatial_layer).min(SPATIAL_MAX - 1);
        let temporal = usize::from(info.temporal_layer).min(TEMPORAL_MAX - 1);
        // A layer begins with a keyframe, which says that it is there, and not what it takes.
        let began_ns = *self.began_ns[spatial].get_or_insert(now_ns + FIRST_NS);
        let bytes = if now_ns < began_ns { 1 } else { bytes };
        self.meters[spatial][temporal].record(now_ns, bytes);
    }

    /// Whether enough came to say what the layers take.
    pub(crate) fn is_measured(&self, now_ns: u64) -> bool {
        let mut began = self.began_ns.iter().flatten();
        began.any(|&began_ns| now_ns.saturating_sub(began_ns) >= MEASURED_NS)
    }

    /// The same of a spatial layer, which may have come later.
    pub(crate) fn is_layer_measured(&self, now_ns: u64, spatial: u8) -> bool {
        let spatial = usize::from(spatial).min(SPATIAL_MAX - 1);
        let began_ns = self.began_ns[spatial];
        began_ns.is_some_and(|began_ns| now_ns.saturating_sub(began_ns) >= MEASURED_NS)
    }

    /// To be called every half second while the stream flows.
    pub(crate) fn smooth(&mut self, now_ns: u64) {
        for spatial in 0..SPATIAL_MAX {
            let mut meters = self.meters[spatial].iter();
            if spatial > 0 && meters.all(|one| one.bitrate_bps(now_ns) == 0) {
                // It rests, or is not there. When it comes, it is measured anew.
                (self.samples[spatial], self.began_ns[spatial]) = (0, None);
                self.smoothed_bps[spatial] = Default::default();
                continue;
            }
            self.samples[spatial] = self.samples[spatial].saturating_add(1);
            let whole = self.whole(now_ns, spatial);
            for temporal in 0..TEMPORAL_MAX {
                let now = self.meters[spatial][temporal].bitrate_bps(now_ns) as f64 * whole;
                let smoothed = &mut self.smoothed_bps[spatial][temporal];
                let above = &mut self.above[spatial][temporal];
                *above = match now > *smoothed {
                    true => above.saturating_add(1),
                    false => 0,
                };
                let share = match (self.samples[spatial], *above) {
                    (0..=2, _) => 1.0,
                    (_, 0) => DOWN,
                    (_, 1..LASTS) => UP_AT_FIRST,
                    _ => UP,
                };
                *smoothed += (now - *smoothed) * share;
                let flowing = &mut self.flowing_bps[spatial][temporal];
                if now > 0.0 {
                    *flowing = smoothed.max(*flowing * FADES);
                }
            }
        }
    }

    /// What the sum of the last second is to be multiplied with while it is not whole.
    fn whole(&self, now_ns: u64, spatial: usize) -> f64 {
        let elapsed_ns = now_ns.saturating_sub(self.began_ns[spatial].unwrap_or(now_ns));
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
        let layers =
            (first..=spatial).flat_map(|layer| (0..=temporal).map(move |one| (layer, one)));
        layers
            .map(|(spatial, temporal)| self.layer_bps(now_ns, spatial, temporal))
            .sum::<f64>() as u64
    }

    fn layer_bps(&self, now_ns: u64, spatial: usize, temporal: usize) -> f64 {
        let now_bps = match self.samples[spatial] {
            0 => {
                let meter = &self.meters[spatial][temporal];
                meter.bitrate_bps(now_ns) as f64 * self.whole(now_ns, spatial)
            }
            _ => self.smoothed_bps[spatial][temporal],
        };
        // One that has just come back will take what it took before.
        let is_back = spatial > 0 && self.samples[spatial] < u32::from(LASTS);
        match is_back && now_bps > 0.0 {
            true => now_bps.max(self.flowing_bps[spatial][temporal]),
            false => now_bps,
        }
    }

    /// The same, where layers above some rest: with what they took when they flowed. 0: they never did.
    pub(crate) fn rested_bps(&self, spatial: u8, temporal: u8, one: bool) -> u64 {
        let spatial = usize::from(spatial).min(SPATIAL_MAX - 1);
        let temporal = usize::from(temporal).min(TEMPORAL_MAX - 1);
        if self.flowing_bps[spatial][0] == 0.0 {
            return 0;
        }
        let first = if one { spatial } else { 0 };
        let layers = self.flowing_bps[first..=spatial].iter();
        layers.flat_map(|one| &one[..=temporal]).sum::<f64>() as u64
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
