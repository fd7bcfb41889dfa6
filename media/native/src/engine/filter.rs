//! Which layers of one stream a viewer is sent: temporal ones, and spatial ones inside of the stream (SVC).
//!
//! Layers change with frames, never inside of one. Down at once: no frame needs one of a higher
//! temporal layer, nor, with full SVC, of a higher spatial one. Up where the codec says that one can:
//! a temporal layer at a switching point, a spatial layer at a keyframe. In a k-SVC stream
//! (`L3T3_KEY`) spatial layers depend on each other in keyframes only, so a viewer is sent one of
//! them between keyframes, and changes over at keyframes, up and down.

use crate::codec::PayloadInfo;

/// All layers.
pub(crate) const ALL: u8 = u8::MAX;

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sieve {
    /// It passes.
    Pass,
    /// It passes, and ends its picture for this viewer.
    PassLast,
    /// It is left out.
    LeaveOut,
}

/// How the spatial layers of one stream hang together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Structure {
    /// There is one.
    #[default]
    Flat,
    /// Each is predicted from the one below, always.
    Full,
    /// In keyframes only.
    Key,
}

impl Structure {
    /// Of a scalability mode (W3C webrtc-svc, 7) such as `L3T3_KEY`. Simulcast modes (`S2T1`) in
    /// one stream have layers that depend on nothing: they are treated as k-SVC.
    pub(crate) fn of(mode: Option<&str>) -> Self {
        let spatial = spatial_layers(mode);
        let mode = mode.unwrap_or_default();
        match mode.as_bytes().first() {
            _ if spatial < 2 => Self::Flat,
            Some(b'S') => Self::Key,
            Some(b'L') if mode.contains("_KEY") => Self::Key,
            Some(b'L') => Self::Full,
            _ => Self::Flat,
        }
    }
}

/// How many spatial layers a scalability mode has, 1 to 9.
pub(crate) fn spatial_layers(mode: Option<&str>) -> u8 {
    let count = mode.and_then(|mode| mode.get(1..2));
    let count = count.and_then(|count| count.parse::<u8>().ok());
    count.unwrap_or(1).max(1)
}

/// The layers of one viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerFilter {
    spatial: u8,
    temporal: u8,
    target_spatial: u8,
    target_temporal: u8,
    /// Until the next keyframe only the lowest temporal layer passes.
    hurries: bool,
    /// The highest spatial layer of a keyframe, from its beginning to that of the next picture.
    key_top: Option<u8>,
}

impl Default for LayerFilter {
    fn default() -> Self {
        Self {
            spatial: ALL,
            temporal: ALL,
            target_spatial: ALL,
            target_temporal: ALL,
            hurries: false,
            key_top: None,
        }
    }
}

impl LayerFilter {
    /// The highest layers that pass now; [`ALL`] for no bound.
    pub(crate) fn current(&self) -> (u8, u8) {
        (self.spatial, self.temporal)
    }

    /// The highest spatial layer that is aimed at.
    pub(crate) fn target_spatial(&self) -> u8 {
        self.target_spatial
    }

    /// Wants other layers; they come as soon as they can.
    pub(crate) fn aim(&mut self, spatial: u8, temporal: u8) {
        (self.target_spatial, self.target_temporal) = (spatial, temporal);
        self.hurries = false;
    }

    /// Until the keyframe comes that the target needs, passes as little as can be.
    pub(crate) fn hurry(&mut self) {
        self.hurries = true;
    }

    /// A stream begins, with a keyframe.
    pub(crate) fn begin(&mut self) {
        (self.spatial, self.temporal) = (self.target_spatial, self.target_temporal);
        self.hurries = false;
    }

    /// Whether a keyframe is needed to reach the target, in a stream that has spatial layers up to
    /// `top` now: for those that rest a keyframe is of no use.
    pub(crate) fn needs_keyframe(&self, structure: Structure, top: u8) -> bool {
        let target = self.target_spatial.min(top);
        match structure {
            Structure::Flat => false,
            Structure::Full => target > self.spatial,
            Structure::Key => self.target_spatial != self.spatial && target != self.spatial,
        }
    }

    /// Whether nothing passes between keyframes of a stream that has spatial layers up to `top` now.
    pub(crate) fn is_starved(&self, structure: Structure, top: u8) -> bool {
        structure == Structure::Key && self.spatial != ALL && self.spatial > top
    }

    /// Judges a packet. `key_picture`: it belongs to a keyframe, in whichever spatial layer. `is_ahead`:
    /// it comes behind all packets before, and is no late one; only such a one changes layers.
    #[inline]
    pub(crate) fn sift(
        &mut self,
        info: &PayloadInfo,
        structure: Structure,
        key_picture: bool,
        is_ahead: bool,
    ) -> Sieve {
        if !info.is_layered {
            return Sieve::Pass;
        }
        if info.start_of_frame && is_ahead {
            self.change(info, structure, key_picture);
        }
        if let Some(top) = self.key_top.as_mut().filter(|_| key_picture) {
            *top = info.spatial_layer.max(*top);
        }
        if info.temporal_layer > self.temporal || info.spatial_layer > self.spatial {
            return Sieve::LeaveOut;
        }
        match structure {
            Structure::Flat => Sieve::Pass,
            Structure::Key
                if !key_picture && info.spatial_layer < self.spatial && self.spatial != ALL =>
            {
                Sieve::LeaveOut
            }
            _ if info.end_of_frame && info.spatial_layer == self.spatial => Sieve::PassLast,
            _ => Sieve::Pass,
        }
    }

    fn change(&mut self, info: &PayloadInfo, structure: Structure, key_picture: bool) {
        let begins_picture = info.spatial_layer == 0;
        if begins_picture || structure == Structure::Flat {
            self.change_temporal(info, key_picture);
        }
        match structure {
            Structure::Flat => {}
            _ if begins_picture && key_picture => {
                self.spatial = self.target_spatial;
                self.key_top = Some(0);
            }
            // Of what the keyframe did not have, nothing follows.
            Structure::Key if begins_picture => {
                let top = self.key_top.take().filter(|_| self.spatial != ALL);
                self.spatial = top.map_or(self.spatial, |top| self.spatial.min(top));
            }
            Structure::Full if begins_picture && self.target_spatial < self.spatial => {
                self.spatial = self.target_spatial;
            }
            Structure::Full
                if info.is_layer_start
                    && info.spatial_layer > self.spatial
                    && info.spatial_layer <= self.target_spatial
                    && info.spatial_layer == self.spatial + 1 =>
            {
                self.spatial = info.spatial_layer;
            }
            _ => {}
        }
    }

    /// With a picture, in all of its spatial layers: half of one would be left without an end.
    fn change_temporal(&mut self, info: &PayloadInfo, key_picture: bool) {
        self.hurries &= !key_picture;
        let target = if self.hurries {
            0
        } else {
            self.target_temporal
        };
        if target < self.temporal || key_picture {
            self.temporal = target;
        } else if info.temporal_layer > self.temporal
            && info.temporal_layer <= target
            && info.switching_point
        {
            self.temporal = info.temporal_layer;
        } else if info.temporal_layer <= self.temporal && info.switches_up_to > self.temporal {
            self.temporal = info.switches_up_to.min(target);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(spatial_layer: u8, temporal_layer: u8, switching_point: bool) -> PayloadInfo {
        PayloadInfo {
            start_of_frame: true,
            end_of_frame: true,
            spatial_layer,
            temporal_layer,
            switching_point,
            is_layered: true,
            ..PayloadInfo::default()
        }
    }

    #[test]
    fn temporal_layers_go_down_with_the_next_frame_and_up_at_switching_points() {
        let mut filter = LayerFilter::default();
        let pass = |filter: &mut LayerFilter, layer, switching| {
            filter.sift(&frame(0, layer, switching), Structure::Flat, false, true)
                != Sieve::LeaveOut
        };
        assert!(pass(&mut filter, 2, false));
        filter.aim(ALL, 0);
        assert!(!pass(&mut filter, 2, true));
        assert!(pass(&mut filter, 0, false));
        filter.aim(ALL, 2);
        assert!(!pass(&mut filter, 2, false) && !pass(&mut filter, 1, false));
        assert!(pass(&mut filter, 1, true) && !pass(&mut filter, 2, false));
        assert!(pass(&mut filter, 2, true) && pass(&mut filter, 2, false));
        assert_eq!(filter.current(), (ALL, 2));
    }

    #[test]
    fn a_frame_is_never_cut() {
        let mut filter = LayerFilter::default();
        let start = PayloadInfo {
            end_of_frame: false,
            ..frame(0, 2, false)
        };
        let rest = PayloadInfo {
            start_of_frame: false,
            ..frame(0, 2, false)
        };
        assert_eq!(
            filter.sift(&start, Structure::Flat, false, true),
            Sieve::Pass
        );
        filter.aim(ALL, 0);
        assert_eq!(
            filter.sift(&rest, Structure::Flat, false, true),
            Sieve::Pass
        );
        assert_eq!(
            filter.sift(&start, Structure::Flat, false, true),
            Sieve::LeaveOut
        );
    }

    /// What passes of a picture of three spatial layers.
    fn picture(filter: &mut LayerFilter, structure: Structure, key: bool) -> Vec<Sieve> {
        (0..3)
            .map(|layer| filter.sift(&frame(layer, 0, false), structure, key, true))
            .collect()
    }

    #[test]
    fn spatial_layers_of_full_svc_go_down_at_once_and_up_at_keyframes() {
        use Sieve::{LeaveOut, Pass, PassLast};
        let mut filter = LayerFilter::default();
        filter.aim(2, ALL);
        assert_eq!(
            picture(&mut filter, Structure::Full, true),
            [Pass, Pass, PassLast]
        );
        filter.aim(1, ALL);
        let down = [Pass, PassLast, LeaveOut];
        assert_eq!(picture(&mut filter, Structure::Full, false), down);
        filter.aim(2, ALL);
        assert!(filter.needs_keyframe(Structure::Full, 2));
        assert!(!filter.needs_keyframe(Structure::Full, 1));
        assert_eq!(picture(&mut filter, Structure::Full, false), down);
        assert_eq!(
            picture(&mut filter, Structure::Full, true),
            [Pass, Pass, PassLast]
        );
    }

    #[test]
    fn temporal_layers_of_svc_change_between_pictures_only() {
        let mut filter = LayerFilter::default();
        let mut pass = |spatial, aim: Option<u8>| {
            if let Some(temporal) = aim {
                filter.aim(ALL, temporal);
            }
            filter.sift(&frame(spatial, 2, true), Structure::Full, false, true) != Sieve::LeaveOut
        };
        assert!(pass(0, None) && pass(1, Some(0)) && pass(2, None));
        assert!(!pass(0, None) && !pass(1, Some(2)) && !pass(2, None));
        assert!(pass(0, None) && pass(1, None));
    }

    #[test]
    fn who_hurries_down_is_sent_the_lowest_temporal_layer_until_the_keyframe() {
        let mut filter = LayerFilter::default();
        filter.aim(2, 2);
        picture(&mut filter, Structure::Key, true);
        filter.aim(0, 2);
        filter.hurry();
        let all = |filter: &mut LayerFilter, temporal, key| {
            [0, 1, 2].map(|spatial| {
                let info = frame(spatial, temporal, true);
                filter.sift(&info, Structure::Key, key, true) != Sieve::LeaveOut
            })
        };
        assert_eq!(all(&mut filter, 2, false), [false; 3]);
        assert_eq!(all(&mut filter, 0, false), [false, false, true]);
        assert_eq!(all(&mut filter, 0, true), [true, false, false]);
        assert_eq!(all(&mut filter, 2, false), [true, false, false]);
    }

    #[test]
    fn k_svc_sends_one_spatial_layer_between_keyframes_and_changes_at_keyframes() {
        use Sieve::{LeaveOut, Pass, PassLast};
        let mut filter = LayerFilter::default();
        filter.aim(2, ALL);
        assert_eq!(
            picture(&mut filter, Structure::Key, true),
            [Pass, Pass, PassLast]
        );
        assert_eq!(
            picture(&mut filter, Structure::Key, false),
            [LeaveOut, LeaveOut, PassLast]
        );
        filter.aim(0, ALL);
        assert!(filter.needs_keyframe(Structure::Key, 2));
        assert_eq!(
            picture(&mut filter, Structure::Key, false),
            [LeaveOut, LeaveOut, PassLast]
        );
        assert_eq!(
            picture(&mut filter, Structure::Key, true),
            [PassLast, LeaveOut, LeaveOut]
        );
        assert_eq!(
            picture(&mut filter, Structure::Key, false),
            [PassLast, LeaveOut, LeaveOut]
        );
    }

    #[test]
    fn what_a_keyframe_of_k_svc_does_not_have_is_not_waited_for() {
        use Sieve::{LeaveOut, Pass, PassLast};
        let mut filter = LayerFilter::default();
        filter.aim(2, ALL);
        picture(&mut filter, Structure::Key, true);
        // Upper layers rest, and come back: both with a keyframe.
        let lowest = |filter: &mut LayerFilter, key| {
            filter.sift(&frame(0, 0, false), Structure::Key, key, true)
        };
        assert_eq!(lowest(&mut filter, true), Pass);
        assert_eq!(lowest(&mut filter, false), PassLast);
        assert_eq!(filter.current().0, 0);
        assert!(!filter.needs_keyframe(Structure::Key, 0));
        assert!(filter.needs_keyframe(Structure::Key, 2));
        assert_eq!(
            picture(&mut filter, Structure::Key, true),
            [Pass, Pass, PassLast]
        );
        assert_eq!(
            picture(&mut filter, Structure::Key, false),
            [LeaveOut, LeaveOut, PassLast]
        );
        // Without one, nothing is left to see.
        assert_eq!(lowest(&mut filter, false), LeaveOut);
        assert!(filter.is_starved(Structure::Key, 0) && !filter.is_starved(Structure::Key, 2));
    }

    #[test]
    fn a_keyframe_whose_beginning_comes_late_changes_nothing() {
        let mut filter = LayerFilter::default();
        filter.aim(0, ALL);
        picture(&mut filter, Structure::Key, true);
        filter.aim(2, ALL);
        let late = filter.sift(&frame(0, 0, false), Structure::Key, true, false);
        assert_eq!((late, filter.current().0), (Sieve::PassLast, 0));
        assert!(filter.needs_keyframe(Structure::Key, 2));
    }
}
