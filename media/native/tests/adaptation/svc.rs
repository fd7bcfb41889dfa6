//! Layers inside of one stream follow a link that narrows and widens, and no decoder misses what a
//! picture refers to: three spatial and three temporal layers of VP9, with and without k-SVC.

use std::collections::{BTreeMap, BTreeSet};

use _native::codec::vp9::Descriptor;
use _native::sequence::SequenceUnwrapper;
use _native::wire::orders::{Order, SetConsumer};

use crate::camera::FPS;
use crate::stage::Stage;
use crate::support::peer::{Received, Stream};
use crate::support::{MS, Path, S, rows};

const SSRC: u32 = 700;
const VIEWED: u32 = 5_000;
/// Of each spatial layer by itself.
const RATES_BPS: [u64; 3] = [150_000, 450_000, 1_300_000];
/// Of a keyframe, in frames.
const KEYFRAME: u64 = 4;
const PAYLOAD_BYTES_MAX: usize = 1_100;
/// Bytes of the payload descriptor, before what the decoder reads.
const DESCRIPTOR_LEN: usize = 5;
const STEP_NS: u64 = 5 * MS;
/// No picture of the same layer.
const NONE: u16 = u16::MAX;

/// A publisher of one stream of three spatial layers, each of three temporal ones.
pub(crate) struct Svc {
    pub(crate) stage: Stage,
    stream: usize,
    is_key: bool,
    picture: u16,
    /// Pictures since the keyframe.
    phase: u16,
    tl0: u8,
    plis: usize,
    frames: u64,
    /// How many spatial layers it sends.
    layers: u8,
    /// It sends others with its next picture, and begins them with a keyframe or not.
    next: Option<(u8, bool)>,
    /// So long after it was told of a demand it meets that, as pages do; None: it ignores it.
    pub(crate) obeys_ns: Option<u64>,
    met: usize,
    pub(crate) keyframes: usize,
}

/// What one frame says of itself.
struct Frame {
    picture: u16,
    spatial: u8,
    /// The picture that it refers to, in its own spatial layer.
    earlier: u16,
    /// It refers to the layer below in its own picture.
    lower: bool,
}

impl Svc {
    pub(crate) fn new(mode: &str, path: Path) -> Self {
        let mut stage = Stage::new(0, &[]);
        let mut row = rows::video("svc", "send", &[(None, Some(SSRC))]);
        row.codecs[0].mime_type = "video/VP9".into();
        row.encodings[0].scalability_mode = Some(mode.into());
        stage.world.order(Order::SetProducer(row));
        let mut stream = Stream::video(SSRC);
        (stream.step, stream.picture) = (0, None);
        let stream = stage.world.peers[0].add(stream);
        stage.add_viewer(Ok(path));
        let mut svc = Self {
            stage,
            stream,
            is_key: mode.ends_with("_KEY"),
            picture: 900,
            phase: 0,
            tl0: 30,
            plis: 0,
            frames: 0,
            layers: 3,
            next: None,
            obeys_ns: None,
            met: 0,
            keyframes: 0,
        };
        svc.want(None, None);
        svc.stage.world.peers[1].watch(VIEWED);
        svc
    }

    pub(crate) fn want(&mut self, spatial_layer: Option<u32>, temporal_layer: Option<u32>) {
        self.set(SetConsumer {
            spatial_layer,
            temporal_layer,
            ..rows::view("svc0", "recv0", "svc", VIEWED)
        });
    }

    /// Pauses the viewer, or resumes it.
    pub(crate) fn pause(&mut self, paused: bool) {
        self.set(SetConsumer {
            paused,
            ..rows::view("svc0", "recv0", "svc", VIEWED)
        });
    }

    fn set(&mut self, mut row: SetConsumer) {
        row.codecs[0].mime_type = "video/VP9".into();
        self.stage.world.order(Order::SetConsumer(row));
    }

    /// Sends other layers from its next picture on, which is a keyframe or not.
    pub(crate) fn send_layers(&mut self, layers: u8, key: bool) {
        self.next = Some((layers, key));
    }

    fn obey(&mut self) {
        let Some(delay_ns) = self.obeys_ns else {
            return;
        };
        let elapsed_ns = self.stage.world.now_ns - self.stage.began_ns;
        let demands = &self.stage.demands[self.met..];
        let due = demands.iter().filter(|one| one.0 + delay_ns <= elapsed_ns);
        let due: Vec<Option<u32>> = due.map(|one| one.1).collect();
        self.met += due.len();
        if let Some(highest) = due.last() {
            let layers = highest.map_or(0, |highest| highest as u8 + 1);
            if layers != self.layers {
                self.send_layers(layers, true);
            }
        }
    }

    pub(crate) fn run(&mut self, duration_ns: u64) {
        let end_ns = self.stage.world.now_ns + duration_ns;
        while self.stage.world.now_ns < end_ns {
            let elapsed_ns = self.stage.world.now_ns - self.stage.began_ns;
            if self.frames * S / FPS <= elapsed_ns {
                self.frames += 1;
                self.obey();
                self.send_picture();
            }
            self.stage.run(STEP_NS);
        }
    }

    fn send_picture(&mut self) {
        let asked = self.stage.world.peers[0].plis(SSRC);
        let mut key = self.frames == 1 || asked > self.plis;
        self.plis = asked;
        if let Some((layers, with_key)) = self.next.take() {
            self.layers = layers;
            key |= with_key;
        }
        self.keyframes += usize::from(key && self.layers > 0);
        self.phase = if key { 0 } else { self.phase + 1 };
        self.picture = (self.picture + 1) & 0x7fff;
        // The pattern of L1T3: what each picture refers to lies so far back.
        let (temporal, back) = [(0, 4), (2, 1), (1, 2), (2, 1)][usize::from(self.phase % 4)];
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let mut datagrams = Vec::new();
        let peer = &mut self.stage.world.peers[0];
        peer.streams[self.stream].timestamp += 90_000 / FPS as u32;
        let top = self.layers;
        for spatial in 0..top {
            let frame = Frame {
                picture: self.picture,
                spatial,
                earlier: if key {
                    NONE
                } else {
                    (self.picture - back) & 0x7fff
                },
                lower: spatial > 0 && (key || !self.is_key),
            };
            let payloads = frame.payloads(temporal, self.tl0, key);
            let count = payloads.len();
            for (place, payload) in payloads.iter().enumerate() {
                peer.streams[self.stream].marker = spatial + 1 == top && place + 1 == count;
                datagrams.push(peer.packet_with(self.stream, payload));
            }
        }
        self.stage.world.send_batch(0, datagrams);
    }

    /// The viewer's packets in order, retransmissions in their places.
    fn received(&self) -> BTreeMap<u64, &Received> {
        let mut unwrapper = SequenceUnwrapper::default();
        let all = self.stage.world.peers[1].rtp.iter();
        let video = all.filter(|one| [VIEWED, VIEWED + 1].contains(&one.ssrc));
        let mut packets = BTreeMap::new();
        for one in video.filter(|one| one.payload.len() > DESCRIPTOR_LEN) {
            let number = one.original.unwrap_or(one.sequence_number);
            packets.entry(unwrapper.unwrap(number)).or_insert(one);
        }
        packets
    }

    /// Decodes what came, and returns when each picture could be shown, with its highest spatial layer.
    ///
    /// As in browsers a picture is decoded as a whole: each packet up to the marker is there, and all
    /// that it refers to was decoded. After a loss that may fail; never otherwise.
    pub(crate) fn decode(&self) -> Vec<(f64, u8)> {
        let (mut decoded, mut shown) = (BTreeSet::new(), Vec::new());
        let (mut lost, mut ready_ns) = (false, 0);
        let mut picture: Vec<&Received> = Vec::new();
        let mut before = None::<(u64, &Received)>;
        for (sequence, one) in self.received() {
            let follows = before.is_none_or(|(number, _)| number + 1 == sequence);
            lost |= !follows;
            let last = before.replace((sequence, one)).map(|(_, last)| last);
            let begins = last.is_none_or(|last| last.timestamp != one.timestamp);
            if let Some(last) = last.filter(|_| follows && !lost) {
                assert_eq!(
                    last.marker, begins,
                    "a marker where a picture ends, and nowhere else"
                );
            }
            if begins || !follows {
                picture.clear();
            }
            let starts = Descriptor::parse(&one.payload).is_some_and(|one| one.starts_frame);
            if starts || !picture.is_empty() {
                picture.push(one);
            }
            if !one.marker || picture.is_empty() {
                continue;
            }
            let frames = picture.iter().map(|one| Frame::read(&one.payload));
            let frames: BTreeMap<u8, Frame> = frames.map(|one| (one.spatial, one)).collect();
            let key = picture[0];
            let key = Descriptor::parse(&key.payload).is_some_and(|one| one.starts_keyframe());
            lost &= !key;
            let lacking = frames.values().find(|one| {
                let lower = !one.lower || frames.contains_key(&(one.spatial - 1));
                !(lower && (one.earlier == NONE || decoded.contains(&(one.earlier, one.spatial))))
            });
            if let Some(frame) = lacking {
                let at_s = self.seconds(one.at_ns);
                let (layer, earlier) = (frame.spatial, frame.earlier);
                assert!(
                    lost,
                    "at {at_s} s layer {layer} of {} lacks {earlier}",
                    frame.picture
                );
                continue;
            }
            decoded.extend(frames.values().map(|one| (one.picture, one.spatial)));
            let whole_ns = picture.iter().map(|one| one.at_ns).max().unwrap_or(0);
            ready_ns = if key {
                whole_ns
            } else {
                whole_ns.max(ready_ns)
            };
            shown.push((self.seconds(ready_ns), *frames.keys().last().expect("one")));
        }
        shown
    }

    fn seconds(&self, at_ns: u64) -> f64 {
        (at_ns - self.stage.began_ns) as f64 / S as f64
    }

    pub(crate) fn layer_at(&self, seconds: f64) -> Option<u32> {
        self.stage.layer_at("svc0", seconds)
    }
}

impl Frame {
    fn payloads(&self, temporal: u8, tl0: u8, key: bool) -> Vec<Vec<u8>> {
        let weight = if key { KEYFRAME } else { 1 };
        let bytes = (RATES_BPS[usize::from(self.spatial)] / FPS / 8 * weight) as usize;
        let count = bytes.div_ceil(PAYLOAD_BYTES_MAX).max(1);
        let payload = |place: usize| {
            let starts = if place == 0 { 0x08 } else { 0 };
            let ends = if place + 1 == count { 0x04 } else { 0 };
            let inter = if key { 0 } else { 0x40 };
            let id = (self.picture | 0x8000).to_be_bytes();
            // Layers above may be gone up to after any picture, as browsers say.
            let layers = temporal << 5 | 0x10 | self.spatial << 1 | u8::from(self.lower);
            let mut payload = vec![0xa0 | starts | ends | inter, id[0], id[1], layers, tl0];
            payload.extend(self.picture.to_be_bytes());
            payload.extend(self.earlier.to_be_bytes());
            payload.extend([self.spatial, u8::from(self.lower)]);
            payload.resize((bytes / count).max(payload.len()), 0x55);
            payload
        };
        (0..count).map(payload).collect()
    }

    fn read(payload: &[u8]) -> Self {
        let own = &payload[DESCRIPTOR_LEN..];
        Self {
            picture: u16::from_be_bytes([own[0], own[1]]),
            earlier: u16::from_be_bytes([own[2], own[3]]),
            spatial: own[4],
            lower: own[5] == 1,
        }
    }
}

/// The longest time between two pictures.
pub(crate) fn freeze_s(shown: &[(f64, u8)], from_s: f64, until_s: f64) -> f64 {
    let times = shown.iter().map(|one| one.0);
    let mut within: Vec<f64> = times
        .filter(|at_s| (from_s..until_s).contains(at_s))
        .chain([from_s, until_s])
        .collect();
    within.sort_by(f64::total_cmp);
    let gaps = within.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.fold(0.0, f64::max)
}

#[test]
fn layers_inside_of_a_stream_follow_a_link_that_narrows_and_widens() {
    for mode in ["L3T3", "L3T3_KEY"] {
        let mut svc = Svc::new(mode, Path::new(3_000_000, 25 * MS));
        svc.run(20 * S);
        assert_eq!(
            svc.layer_at(15.0),
            Some(2),
            "{mode}: {:?}",
            svc.stage.changes
        );
        let narrowed = svc.stage.seconds();
        svc.stage.world.paths[0].capacity_bps = 400_000;
        svc.run(20 * S);
        let widened = svc.stage.seconds();
        svc.stage.world.paths[0].capacity_bps = 3_000_000;
        svc.run(30 * S);
        svc.stage.plot(&format!("svc-{mode}"), 0);
        let shown = svc.decode();
        let layers = svc.stage.layers("svc0");
        assert!(svc.layer_at(narrowed + 2.0) < Some(2), "{mode}: {layers:?}");
        assert_eq!(svc.layer_at(widened + 10.0), Some(2), "{mode}: {layers:?}");
        for (from, until) in [
            (5.0, narrowed),
            (narrowed + 4.0, widened),
            (widened + 2.0, 70.0),
        ] {
            let queue = svc.stage.queue_ms_max(0, from, until);
            assert!(queue < 300.0, "{mode}: {queue} ms from {from} to {until} s");
        }
        let freeze = freeze_s(&shown, 2.0, 70.0);
        assert!(freeze < 1.0, "{mode}: {freeze} s");
        let quickest = svc.stage.oscillation_s("svc0", 5.0);
        assert!(quickest >= 5.0, "{mode}: {quickest} s: {layers:?}");
    }
}

#[test]
fn no_picture_lacks_what_it_refers_to_whatever_layers_are_asked_for() {
    for mode in ["L3T3", "L3T3_KEY"] {
        for offset in 0..12 {
            let mut svc = Svc::new(mode, Path::new(20_000_000, 10 * MS));
            svc.run(3 * S + offset * 7 * MS);
            for (spatial, temporal) in [(0, 2), (2, 0), (2, 2), (1, 1), (0, 0), (2, 2)] {
                svc.want(Some(spatial), Some(temporal));
                svc.run(5 * S + 1_700 * offset * MS / 100);
                let layers = svc.layer_at(svc.stage.seconds());
                assert_eq!(layers, Some(spatial), "{mode}: {:?}", svc.stage.changes);
            }
            let shown = svc.decode();
            let freeze = freeze_s(&shown, 1.0, svc.stage.seconds());
            assert!(freeze < 0.3, "{mode}: {freeze} s");
        }
    }
}

#[test]
fn a_sudden_drop_freezes_layers_inside_of_a_stream_for_less_than_a_second() {
    for mode in ["L3T3", "L3T3_KEY"] {
        for seed in 1..=6 {
            let mut path = Path::new(10_000_000, (2 + 6 * seed) * MS);
            path.queue_ns_max = 300 * MS;
            let mut svc = Svc::new(mode, path);
            svc.stage.viewers[0].feedback_ns = [50, 100, 150, 250][seed as usize % 4] * MS;
            svc.run((8_000 + 77 * seed) * MS);
            assert_eq!(
                svc.layer_at(7.9),
                Some(2),
                "{mode}: {:?}",
                svc.stage.changes
            );
            let narrowed = svc.stage.seconds();
            svc.stage.world.paths[0].capacity_bps = 500_000;
            svc.run(10 * S);
            let widened = svc.stage.seconds();
            svc.stage.world.paths[0].capacity_bps = 10_000_000;
            svc.run(12 * S);
            svc.stage.plot(&format!("svc-drop-{mode}-{seed}"), 0);
            let shown = svc.decode();
            let freeze = freeze_s(&shown, narrowed - 1.0, narrowed + 5.0);
            let layers = svc.stage.layers("svc0");
            assert!(freeze < 0.9, "{mode}, seed {seed}: {freeze} s: {layers:?}");
            let top = svc.layer_at(widened + 10.0);
            assert_eq!(top, Some(2), "{mode}, seed {seed}: {layers:?}");
        }
    }
}
