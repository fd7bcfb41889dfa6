//! Cameras, an audio source and viewers behind paths, and what is measured of them.

use _native::engine::Config;
use _native::wire::notices::Notice;
use _native::wire::orders::{Order, SetConsumer};

use crate::camera::{self, Camera, FPS};
use crate::plot::{self, Plot};
use crate::support::peer::Stream;
use crate::support::rows::{self, Direction};
use crate::support::{MS, Path, S, World};
use crate::viewer::Viewer;

const STEP_NS: u64 = 5 * MS;
const AUDIO_NS: u64 = 20 * MS;
/// Consent (RFC 7675).
const CHECK_NS: u64 = 2 * S;
const AUDIO_BYTES: usize = 80;
const SAMPLE_NS: u64 = 100 * MS;

/// SSRCs of viewers' streams: of their first video, and of their audio.
pub(crate) const VIDEO: u32 = 5_000;
pub(crate) const AUDIO: u32 = 9_000;

/// What was measured each tenth of a second, of one viewer.
#[derive(Default)]
pub(crate) struct Series {
    pub(crate) capacity_bps: Vec<f64>,
    pub(crate) estimate_bps: Vec<f64>,
    /// By video.
    pub(crate) video_bps: Vec<Vec<f64>>,
    pub(crate) queue_ms: Vec<f64>,
    /// Spatial layer of the first video; -1 for nothing.
    pub(crate) layer: Vec<f64>,
}

pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) cameras: Vec<Camera>,
    pub(crate) viewers: Vec<Viewer>,
    pub(crate) series: Vec<Series>,
    /// (time, viewer's consumer, spatial layer, reason) of each change.
    pub(crate) changes: Vec<(u64, String, Option<u32>, String)>,
    /// Estimates that control was told of, and when.
    pub(crate) estimates: Vec<(u64, Notice)>,
    /// What publishers of video were told to be wanted, and when.
    pub(crate) demands: Vec<(u64, Option<u32>)>,
    /// What was said to be wrong with a publisher or its viewers.
    pub(crate) blamed: Vec<String>,
    pub(crate) began_ns: u64,
    frame: u64,
    microphone: usize,
}

impl Stage {
    /// So many cameras on one publisher, and a microphone; no viewers yet.
    pub(crate) fn new(cameras: usize, rates_bps: &[u64]) -> Self {
        Self::seeded(42, cameras, rates_bps)
    }

    /// The same with chance of its own: losses, jitter, and sizes of frames.
    pub(crate) fn seeded(seed: u64, cameras: usize, rates_bps: &[u64]) -> Self {
        let mut world = World::with(Config::new(0, 7), seed);
        let publisher = world.join("send", Direction::Send);
        let mut all = Vec::new();
        for place in 0..cameras {
            let camera = Camera::new(
                &mut world,
                publisher,
                100 + 10 * place as u32,
                rates_bps,
                seed,
            );
            let row = camera::producer(&format!("cam{place}"), "send", &camera.ssrcs());
            world.order(Order::SetProducer(row));
            all.push(camera);
        }
        world.order(Order::SetProducer(rows::audio("mic", "send", 50)));
        let microphone = world.peers[publisher].add(Stream::audio(50));
        Self {
            began_ns: world.now_ns,
            world,
            cameras: all,
            viewers: Vec::new(),
            series: Vec::new(),
            changes: Vec::new(),
            estimates: Vec::new(),
            demands: Vec::new(),
            blamed: Vec::new(),
            frame: 0,
            microphone,
        }
    }

    /// A viewer of all cameras and the microphone behind a path of its own, or one that is there.
    pub(crate) fn add_viewer(&mut self, path: Result<Path, usize>) -> usize {
        let place = self.viewers.len();
        let transport = format!("recv{place}");
        let peer = self.world.join(&transport, Direction::Recv);
        let path = path.map_or_else(
            |there| there,
            |path| {
                self.world.paths.push(path);
                self.world.paths.len() - 1
            },
        );
        let address = self.world.peers[peer].address;
        self.world.routes.insert(address, path);
        let mut viewer = Viewer::new(peer, &transport);
        for camera in 0..self.cameras.len() {
            let ssrc = VIDEO + 10 * camera as u32;
            let id = format!("v{place}c{camera}");
            let row = rows::view(&id, &transport, &format!("cam{camera}"), ssrc);
            self.world.order(Order::SetConsumer(row));
            self.world.peers[peer].watch(ssrc);
            viewer.videos.insert(ssrc, Default::default());
        }
        let row = rows::listen(&format!("v{place}a"), &transport, "mic", AUDIO);
        self.world.order(Order::SetConsumer(row));
        viewer.audio = Some(AUDIO);
        self.viewers.push(viewer);
        self.series.push(Series {
            video_bps: vec![Vec::new(); self.cameras.len()],
            ..Series::default()
        });
        place
    }

    /// Gives a viewer's consumer of a camera another priority.
    pub(crate) fn prioritize(&mut self, viewer: usize, camera: usize, priority: u8) {
        let ssrc = VIDEO + 10 * camera as u32;
        let (id, transport) = (format!("v{viewer}c{camera}"), format!("recv{viewer}"));
        let row = rows::view(&id, &transport, &format!("cam{camera}"), ssrc);
        self.world
            .order(Order::SetConsumer(SetConsumer { priority, ..row }));
    }

    /// Seconds since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        (self.world.now_ns - self.began_ns) as f64 / S as f64
    }

    pub(crate) fn run(&mut self, duration_ns: u64) {
        let end_ns = self.world.now_ns + duration_ns;
        while self.world.now_ns < end_ns {
            let elapsed_ns = self.world.now_ns - self.began_ns;
            while self.frame * S / FPS <= elapsed_ns {
                self.frame += 1;
                for camera in &mut self.cameras {
                    camera.send_frame(&mut self.world);
                }
            }
            if elapsed_ns.is_multiple_of(AUDIO_NS) {
                let audio = self.world.peers[0].packet_with(self.microphone, &[0x77; AUDIO_BYTES]);
                self.world.send(0, audio);
            }
            if elapsed_ns.is_multiple_of(CHECK_NS) {
                for peer in 0..self.world.peers.len() {
                    self.world.check(peer, true);
                }
            }
            self.world.advance(STEP_NS);
            for viewer in &mut self.viewers {
                viewer.step(&mut self.world);
            }
            self.note_changes();
            if (self.world.now_ns - self.began_ns).is_multiple_of(SAMPLE_NS) {
                self.sample();
            }
        }
    }

    fn note_changes(&mut self) {
        for notice in self.world.take_notices() {
            let at_ns = self.world.now_ns - self.began_ns;
            match notice {
                Notice::BandwidthEstimated { .. } => self.estimates.push((at_ns, notice)),
                Notice::LayersChanged {
                    consumer,
                    spatial_layer,
                    reason,
                    ..
                } => {
                    let change = (at_ns, consumer, spatial_layer, reason.unwrap_or_default());
                    self.changes.push(change);
                }
                Notice::ProducerDemandChanged {
                    producer,
                    spatial_layer,
                } if producer != "mic" => {
                    self.demands.push((at_ns, spatial_layer));
                }
                Notice::ProducerActivityChanged { active: false, .. } => {
                    self.blamed.push("silent".into());
                }
                Notice::ConsumerFrozen { frozen: true, .. } => self.blamed.push("frozen".into()),
                Notice::ProducerScore { scores, .. } if scores.iter().any(|&one| one < 9) => {
                    self.blamed.push(format!("{scores:?}"));
                }
                _ => {}
            }
        }
    }

    fn sample(&mut self) {
        for place in 0..self.viewers.len() {
            let transport = self.viewers[place].transport.clone();
            let stats = self.world.stats(&transport).transport.expect("a transport");
            let viewer = &self.viewers[place];
            let address = self.world.peers[viewer.peer].address;
            let path = &self.world.paths[self.world.routes[&address]];
            let series = &mut self.series[place];
            series.capacity_bps.push(path.capacity_bps as f64);
            series
                .estimate_bps
                .push(stats.available_outgoing_bps.unwrap_or(0) as f64);
            series.queue_ms.push(path.queued_ns as f64 / MS as f64);
            let viewer = &mut self.viewers[place];
            for (camera, line) in series.video_bps.iter_mut().enumerate() {
                let bytes = viewer
                    .bytes
                    .remove(&(VIDEO + 10 * camera as u32))
                    .unwrap_or(0);
                line.push(bytes as f64 * 80.0);
            }
            let id = format!("v{place}c0");
            let layer = self.changes.iter().rev().find(|one| one.1 == id);
            let layer = layer.and_then(|one| one.2).map_or(-1.0, f64::from);
            series.layer.push(layer);
        }
        for path in &mut self.world.paths {
            path.queued_ns = 0;
        }
    }

    /// Spatial layers of a consumer over time: (seconds, layer).
    pub(crate) fn layers(&self, consumer: &str) -> Vec<(f64, Option<u32>)> {
        let mut layers: Vec<(f64, Option<u32>)> = Vec::new();
        for (at_ns, id, layer, _) in &self.changes {
            if id == consumer && layers.last().is_none_or(|last| last.1 != *layer) {
                layers.push((*at_ns as f64 / S as f64, *layer));
            }
        }
        layers
    }

    /// The layer of a consumer at a time, in seconds.
    pub(crate) fn layer_at(&self, consumer: &str, seconds: f64) -> Option<u32> {
        let layers = self.layers(consumer);
        let before = layers.iter().rev().find(|one| one.0 <= seconds);
        before.and_then(|one| one.1)
    }

    /// The shortest time in seconds from one step down to the next with a step up between them.
    pub(crate) fn oscillation_s(&self, consumer: &str, from_s: f64) -> f64 {
        let layers = self.layers(consumer);
        let mut shortest = f64::INFINITY;
        let (mut down_s, mut rose) = (None, false);
        for pair in layers.windows(2).filter(|pair| pair[1].0 >= from_s) {
            if pair[1].1 > pair[0].1 {
                rose = true;
            } else {
                if let Some(before_s) = down_s.filter(|_| rose) {
                    shortest = shortest.min(pair[1].0 - before_s);
                }
                (down_s, rose) = (Some(pair[1].0), false);
            }
        }
        shortest
    }

    /// What holds on every link that stays as it is: a short queue, sound without holes, and layers
    /// that do not go up and down within 5 s.
    pub(crate) fn assert_steady(&self, name: &str, viewer: usize, from_s: f64, until_s: f64) {
        let queue = self.queue_ms_max(viewer, from_s, until_s);
        assert!(queue < 300.0, "{name}: a queue of {queue} ms");
        let at_ns = |seconds: f64| self.began_ns + (seconds * S as f64) as u64;
        let silence = self.viewers[viewer].silence_ns_max(at_ns(from_s), at_ns(until_s));
        assert!(silence < 400 * MS, "{name}: silence of {} ms", silence / MS);
        for camera in 0..self.cameras.len() {
            let consumer = format!("v{viewer}c{camera}");
            let quickest = self.oscillation_s(&consumer, from_s);
            assert!(
                quickest >= 5.0,
                "{name}: {consumer} again after {quickest} s"
            );
        }
    }

    /// The longest time without a picture that could be decoded, between two times in seconds, in ms.
    pub(crate) fn freeze_ms(&self, viewer: usize, from_s: f64, until_s: f64) -> u64 {
        let at_ns = |seconds: f64| self.began_ns + (seconds * S as f64) as u64;
        let decoder = &self.viewers[viewer].videos[&VIDEO];
        decoder.freeze_ns_max(at_ns(from_s), at_ns(until_s)) / MS
    }

    /// The longest queue between two times in seconds, in ms.
    pub(crate) fn queue_ms_max(&self, viewer: usize, from_s: f64, until_s: f64) -> f64 {
        let queue = &self.series[viewer].queue_ms;
        let range = (from_s * 10.0) as usize..((until_s * 10.0) as usize).min(queue.len());
        queue[range].iter().copied().fold(0.0, f64::max)
    }

    /// That no decoder of a viewer stumbles, and how many packets never came; also writes the plot.
    pub(crate) fn assert_decodable(&self, name: &str, viewer: usize, missing_max: u64) {
        self.plot(name, viewer);
        for (ssrc, decoder) in &self.viewers[viewer].videos {
            let outcome = decoder.judge(self.world.now_ns - S);
            assert!(outcome.frames > 0, "{ssrc}: {outcome:?}");
            assert_eq!(outcome.faults, Vec::<String>::new(), "{name}");
            assert!(
                outcome.missing <= missing_max,
                "{name}: {} missing",
                outcome.missing
            );
        }
        assert_eq!(self.world.peers[self.viewers[viewer].peer].unreadable, 0);
    }

    pub(crate) fn plot(&self, name: &str, viewer: usize) {
        let series = &self.series[viewer];
        let kbps = |line: &[f64]| line.iter().map(|bps| bps / 1000.0).collect::<Vec<f64>>();
        let mut lines = vec![
            ("capacity".to_owned(), kbps(&series.capacity_bps)),
            ("estimate".to_owned(), kbps(&series.estimate_bps)),
        ];
        for (place, line) in series.video_bps.iter().enumerate() {
            lines.push((format!("video {place}"), kbps(line)));
        }
        let most = series.capacity_bps.iter().copied().fold(0.0, f64::max) / 500.0;
        for line in &mut lines {
            line.1.iter_mut().for_each(|value| *value = value.min(most));
        }
        let rates = Plot {
            title: format!("{name}: rates"),
            unit: "kbit/s",
            lines,
        };
        let queue = Plot {
            title: format!("{name}: queue"),
            unit: "ms",
            lines: vec![("queue".to_owned(), series.queue_ms.clone())],
        };
        let layer = Plot {
            title: format!("{name}: spatial layer of video 0, plus one"),
            unit: "0 is nothing",
            lines: vec![(
                "layer".to_owned(),
                series.layer.iter().map(|layer| layer + 1.0).collect(),
            )],
        };
        plot::write(name, &[rates, queue, layer]);
    }
}
