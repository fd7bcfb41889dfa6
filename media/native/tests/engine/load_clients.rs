//! The load tester's clients against the router's engine, in virtual time over seeded networks.

use std::net::SocketAddr;
use std::sync::Arc;

use _native::codec::Codec;
use _native::engine::{Config, Engine};
use _native::load::client::{ClientParameters, Event};
use _native::load::ice::Credentials;
use _native::load::network::Conditions;
use _native::load::payload::Split;
use _native::load::receive_stream::ReceiverParameters;
use _native::load::report::Snapshot;
use _native::load::send_stream::SenderParameters;
use _native::load::swarm::{Swarm, SwarmConfig};
use _native::rtp::ExtensionKind;
use _native::srtp::Profile;
use _native::wire::orders::{Order, SrtpProfile};

use crate::support::rows::{self, Direction};
use crate::support::{MS, S, keys};

const UNIX_NS: u64 = 1_700_000_000 * S;
const PUBLISHER: u32 = 0;
const VIDEO: u32 = 7_000;
const AUDIO: u32 = 7_100;

struct Stage {
    engine: Engine,
    swarm: Swarm,
    now_ns: u64,
    connected: Vec<u32>,
}

fn address(client: u32) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1_000 + client as u16))
}

fn name(client: u32) -> String {
    format!("t{client}")
}

impl Stage {
    /// A publisher of video and audio, and viewers behind networks.
    fn new(seed: u64, viewers: u32, conditions: Conditions) -> Self {
        let config = Config {
            unix_offset_ns: UNIX_NS,
            ..Config::new(0, seed)
        };
        let mut stage = Self {
            engine: Engine::new(config),
            swarm: Swarm::new(SwarmConfig {
                seed,
                origin: 1,
                feedback_interval_ns: 100 * MS,
            }),
            now_ns: 100 * S,
            connected: Vec::new(),
        };
        stage.join(PUBLISHER, Direction::Send, Conditions::default());
        stage.order(Order::SetProducer(rows::video(
            "v",
            "t0",
            &[(None, Some(VIDEO))],
        )));
        stage.order(Order::SetProducer(rows::audio("a", "t0", AUDIO)));
        stage.publish();
        for viewer in 1..=viewers {
            stage.join(viewer, Direction::Recv, conditions);
            stage.watch(viewer);
        }
        stage
    }

    fn order(&mut self, order: Order) {
        self.engine
            .handle_order(self.now_ns, order)
            .expect("the order is carried out");
        self.carry();
    }

    fn join(&mut self, client: u32, direction: Direction, conditions: Conditions) {
        let id = name(client);
        self.order(Order::SetTransport(rows::transport(&id, direction)));
        let theirs = rows::credentials(&id);
        let parameters = ClientParameters {
            client,
            remote: SocketAddr::from(([192, 0, 2, 99], 9)),
            ours: Credentials {
                ufrag: "ours".into(),
                pwd: "a-password-of-the-client".into(),
            },
            theirs: Credentials {
                ufrag: theirs.ufrag,
                pwd: theirs.pwd,
            },
            conditions,
        };
        self.swarm.add_client(self.now_ns, &parameters);
        let end_ns = self.now_ns + 5 * S;
        while !self.connected.contains(&client) {
            assert!(self.now_ns < end_ns, "ICE connects");
            self.advance(10 * MS);
        }
        let theirs = keys(&id, SrtpProfile::AeadAes128Gcm);
        let profile = Profile::AeadAes128Gcm;
        self.swarm
            .set_keys(
                client,
                profile,
                theirs.remote.expose(),
                theirs.local.expose(),
            )
            .expect("keys of the right length");
        self.order(Order::SetSrtpKeys(theirs));
    }

    fn publish(&mut self) {
        let mut video = vec![vec![0x11; 40]; 60];
        // A keyframe: the inverse bit of its first byte is clear.
        video[0] = vec![0x10; 400];
        let video = SenderParameters {
            stream: 0,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            payload_type: rows::VP8,
            ssrc: VIDEO,
            rtx: Some((VIDEO + 1, rows::VP8_RTX)),
            extensions: vec![(rows::MID, b"v".to_vec())],
            rtx_extensions: vec![(rows::MID, b"v".to_vec())],
            transport_cc_id: Some(rows::TRANSPORT_CC),
            bitrate_bps: 1_500_000,
            frame_interval_ns: S / 30,
            units: Arc::new(video),
            split: Split::Even,
            start_ns: self.now_ns,
        };
        let audio = SenderParameters {
            stream: 1,
            codec: Codec::Opus,
            clock_rate: 48_000,
            payload_type: rows::OPUS,
            ssrc: AUDIO,
            rtx: None,
            extensions: vec![(rows::MID, b"a".to_vec())],
            rtx_extensions: Vec::new(),
            transport_cc_id: None,
            frame_interval_ns: 20 * MS,
            units: Arc::new(vec![vec![0xfc; 80]]),
            ..video.clone()
        };
        self.swarm.add_sender(PUBLISHER, video);
        self.swarm.add_sender(PUBLISHER, audio);
    }

    fn watch(&mut self, viewer: u32) {
        let ssrc = 10_000 + 10 * viewer;
        let extensions = [
            (rows::VIEWER_MID, ExtensionKind::Mid),
            (rows::VIEWER_TRANSPORT_CC, ExtensionKind::TransportCc),
        ];
        let receiver = |stream, codec, ssrc, rtx_ssrc| ReceiverParameters {
            stream,
            codec,
            clock_rate: if codec == Codec::Vp8 { 90_000 } else { 48_000 },
            ssrc,
            rtx_ssrc,
            nack: codec == Codec::Vp8,
            pli: codec == Codec::Vp8,
        };
        let now_ns = self.now_ns;
        let video = receiver(0, Codec::Vp8, ssrc, Some(ssrc + 1));
        self.swarm.add_receiver(now_ns, viewer, video, &extensions);
        let audio = receiver(1, Codec::Opus, ssrc + 2, None);
        self.swarm
            .add_receiver(now_ns, viewer, audio, &extensions[..1]);
        let (id, transport) = (format!("c{viewer}"), name(viewer));
        self.order(Order::SetConsumer(rows::view(&id, &transport, "v", ssrc)));
        let id = format!("d{viewer}");
        self.order(Order::SetConsumer(rows::listen(
            &id,
            &transport,
            "a",
            ssrc + 2,
        )));
    }

    /// Carries what both sides have to send, at once: the swarm's networks lose and delay.
    fn carry(&mut self) {
        loop {
            let mut idle = true;
            let mut down = Vec::new();
            while let Some(transmit) = self.engine.poll_transmit(64) {
                let client = u32::from(transmit.remote.port()) - 1_000;
                down.extend(transmit.datagrams().map(|one| (client, one.to_vec())));
            }
            while self.engine.poll_notice().is_some() {}
            for (client, datagram) in down {
                idle = false;
                let unix_ns = UNIX_NS + self.now_ns;
                self.swarm
                    .handle_datagram(self.now_ns, unix_ns, client, &datagram);
            }
            let up: Vec<(u32, Vec<u8>)> = self
                .swarm
                .outbox()
                .iter()
                .map(|(client, datagram)| (client, datagram.to_vec()))
                .collect();
            self.swarm.outbox().clear();
            for (client, mut datagram) in up {
                idle = false;
                self.engine
                    .handle_datagram(self.now_ns, address(client), &mut datagram);
            }
            for event in self.swarm.take_events() {
                if let Event::IceConnected { client } = event {
                    self.connected.push(client);
                }
            }
            if idle {
                return;
            }
        }
    }

    fn advance(&mut self, duration_ns: u64) {
        let end_ns = self.now_ns + duration_ns;
        loop {
            let deadlines = [self.engine.next_deadline_ns(), self.swarm.deadline_ns()];
            let next_ns = deadlines.into_iter().flatten().min().unwrap_or(u64::MAX);
            if next_ns > end_ns {
                break;
            }
            self.now_ns = self.now_ns.max(next_ns);
            self.engine.handle_timeout(self.now_ns);
            while self
                .swarm
                .handle_timeout(self.now_ns, UNIX_NS + self.now_ns)
            {}
            self.carry();
        }
        self.now_ns = end_ns;
    }

    fn snapshot(&mut self) -> Snapshot {
        self.swarm.snapshot(self.now_ns)
    }
}

#[test]
fn viewers_receive_all_when_nothing_is_lost() {
    let mut stage = Stage::new(1, 3, Conditions::default());
    stage.advance(10 * S);
    let totals = stage.snapshot().totals;
    assert_eq!((totals.video.lost, totals.audio.lost), (0, 0));
    assert_eq!((totals.video.freezes, totals.video.frames_dropped), (0, 0));
    assert!(totals.video.frames >= 3 * 285, "{:?}", totals.video);
    assert!(totals.audio.packets >= 3 * 495);
    let told = totals.video.stamped + totals.video.past;
    assert_eq!(told, totals.video.packets);
    assert_eq!(
        totals.clients.undecryptable + totals.clients.unknown_ssrc,
        0
    );
    // 1.5 Mbit/s are 6,250 bytes a frame, and six descriptors.
    let bytes_per_frame = totals.video.payload_bytes / totals.video.frames;
    assert!(
        (6_200..6_320).contains(&bytes_per_frame),
        "{bytes_per_frame}"
    );
    assert!(totals.clients.feedback_sent >= 3 * 90, "ten a second");
    assert!(totals.clients.reports_sent >= 3 * 9, "one a second");
    assert!(
        totals.clients.feedback_received > 0,
        "the router tells publishers"
    );
    let rows = stage.swarm.rows();
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row.counts.first_packet_ns > 0));
}

#[test]
fn losses_are_nacked_and_come_again_within_a_round_trip_or_two() {
    for seed in 1..6 {
        let conditions = Conditions {
            loss_ppm: 20_000,
            delay_ns: 20 * MS,
            ..Conditions::default()
        };
        let mut stage = Stage::new(seed, 3, conditions);
        stage.advance(20 * S);
        let snapshot = stage.snapshot();
        let (video, audio) = (snapshot.totals.video, snapshot.totals.audio);
        assert!(snapshot.simulated_losses > 0);
        assert!(
            video.recovered * 100 > video.expected,
            "seed {seed}: {video:?}"
        );
        assert!(
            video.lost * 1_000 < video.expected,
            "seed {seed}: {video:?}"
        );
        assert!(
            audio.lost * 100 > audio.expected,
            "opus is not NACKed: {audio:?}"
        );
        let latency = snapshot.video_latency;
        assert!((20 * MS..21 * MS).contains(&latency.p50_ns), "{latency:?}");
        assert!(
            latency.p99_ns > 50 * MS,
            "a repetition takes a round trip more"
        );
    }
}

#[test]
fn a_long_outage_freezes_until_a_keyframe_that_the_viewer_asks_for() {
    let mut stage = Stage::new(3, 1, Conditions::default());
    stage.advance(3 * S);
    let before = stage.snapshot().totals.video;
    // Nothing gets through; the publisher's next keyframe would be up to two seconds away.
    for _ in 0..200 {
        stage.advance(10 * MS);
        stage.engine.handle_timeout(stage.now_ns);
    }
    let steady = stage.snapshot().totals.video;
    assert_eq!(steady.freezes, before.freezes, "nothing was wrong so far");
    let lost_all = Conditions {
        loss_ppm: 1_000_000,
        ..Conditions::default()
    };
    stage.swarm.set_conditions(1, lost_all);
    stage.advance(1_500 * MS);
    assert_eq!(stage.snapshot().frozen, 1);
    stage.swarm.set_conditions(1, Conditions::default());
    stage.advance(3 * S);
    let snapshot = stage.snapshot();
    let after = snapshot.totals.video;
    assert_eq!((after.freezes, snapshot.frozen), (steady.freezes + 1, 0));
    assert!(after.freeze_ns > S, "{after:?}");
    assert!(after.plis > steady.plis || after.recovered > steady.recovered);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let conditions = Conditions {
        loss_ppm: 50_000,
        delay_ns: 5 * MS,
        jitter_ns: 10 * MS,
    };
    let run = |seed| {
        let mut stage = Stage::new(seed, 2, conditions);
        stage.advance(5 * S);
        stage.snapshot()
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
}

#[test]
fn a_client_that_is_gone_stays_in_the_sums() {
    let mut stage = Stage::new(4, 2, Conditions::default());
    stage.advance(2 * S);
    let before = stage.snapshot();
    stage.swarm.remove_client(2);
    let after = stage.snapshot();
    assert_eq!(after.totals.video, before.totals.video);
    assert_eq!((after.clients, after.video_streams), (2, 1));
    assert_eq!(after.totals.clients.keyed, before.totals.clients.keyed - 1);
}
