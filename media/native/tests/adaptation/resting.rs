//! Spatial layers inside of a stream that nobody wants rest, and come back before they are missed; and what
//! is sent of a stream whose layers come and go by themselves stays whole.

use crate::support::{MS, Path, S};
use crate::svc::{Svc, freeze_s};

const MODES: [&str; 2] = ["L3T3", "L3T3_KEY"];
/// From a notice until a page's encoder has another mode.
const OBEYS_NS: u64 = 80 * MS;
/// Until what nobody wants is told: it must have held, and the producer have flowed for a while.
const RESTS_NS: u64 = 12 * S;
/// From the wish until the layer is there.
const WAKES_S: f64 = 2.0;

fn obedient(mode: &str, path: Path) -> Svc {
    let mut svc = Svc::new(mode, path);
    svc.obeys_ns = Some(OBEYS_NS);
    svc
}

fn told(svc: &Svc) -> Vec<Option<u32>> {
    svc.stage.demands.iter().map(|one| one.1).collect()
}

/// What a viewer was sent in the last so many seconds, in kbit/s.
fn kbps(svc: &Svc, seconds: u64) -> u64 {
    let from_ns = svc.stage.world.now_ns - seconds * S;
    let packets = svc.stage.world.peers[1].rtp.iter().rev();
    let late = packets.take_while(|one| one.at_ns >= from_ns);
    late.map(|one| one.payload.len() as u64).sum::<u64>() * 8 / seconds / 1_000
}

#[test]
fn layers_that_nobody_wants_rest_and_are_back_soon_after_the_wish() {
    for mode in MODES {
        for delay in [5 * MS, 100 * MS] {
            let mut svc = obedient(mode, Path::new(20_000_000, delay));
            svc.want(Some(0), None);
            svc.run(RESTS_NS);
            assert_eq!(told(&svc), [Some(2), Some(0)], "{mode}");
            for highest in [2, 1, 2] {
                svc.want(Some(0), None);
                svc.run(RESTS_NS);
                let (at_s, keyframes) = (svc.stage.seconds(), svc.keyframes);
                assert_eq!(
                    svc.layer_at(at_s),
                    Some(0),
                    "{mode}: {:?}",
                    svc.stage.changes
                );
                svc.want(Some(highest), None);
                svc.run(5 * S);
                let layers = svc.stage.layers("svc0");
                let there = svc.layer_at(at_s + WAKES_S);
                assert_eq!(there, Some(highest), "{mode}: wanted at {at_s}: {layers:?}");
                assert!(
                    svc.keyframes <= keyframes + 2,
                    "{mode}: for all there is one"
                );
            }
            svc.stage.plot(&format!("resting-{mode}-{}", delay / MS), 0);
            let shown = svc.decode();
            let freeze = freeze_s(&shown, 1.0, svc.stage.seconds());
            assert!(freeze < 0.3, "{mode}: {freeze} s");
            assert_eq!(
                told(&svc)[2..],
                [Some(2), Some(0), Some(1), Some(0), Some(2)]
            );
            assert_eq!(svc.stage.blamed, Vec::<String>::new(), "{mode}");
        }
    }
}

#[test]
fn what_wakes_is_not_sent_into_a_way_that_has_no_room_for_it() {
    for mode in MODES {
        let mut path = Path::new(400_000, 25 * MS);
        path.queue_ns_max = 300 * MS;
        let mut svc = obedient(mode, path);
        svc.run(20 * S);
        svc.want(Some(0), None);
        svc.run(RESTS_NS);
        assert_eq!(told(&svc), [Some(2), Some(0)], "{mode}");
        let at_s = svc.stage.seconds();
        svc.want(None, None);
        svc.run(20 * S);
        assert_eq!(told(&svc)[2..], [Some(2)], "{mode}");
        svc.stage.plot(&format!("resting-narrow-{mode}"), 0);
        let layers = svc.stage.layers("svc0");
        assert!(
            layers.iter().all(|one| one.0 < at_s || one.1 < Some(2)),
            "{mode}: {layers:?}"
        );
        let freeze = freeze_s(&svc.decode(), at_s - 1.0, svc.stage.seconds());
        assert!(freeze < 0.6, "{mode}: {freeze} s");
        let quickest = svc.stage.oscillation_s("svc0", at_s);
        assert!(quickest >= 5.0, "{mode}: {quickest} s: {layers:?}");
    }
}

#[test]
fn a_stream_that_nobody_takes_rests_as_a_whole() {
    for mode in MODES {
        let mut svc = obedient(mode, Path::new(20_000_000, 20 * MS));
        svc.run(3 * S);
        svc.pause(true);
        svc.run(RESTS_NS);
        assert_eq!(told(&svc), [Some(2), None], "{mode}");
        let at_s = svc.stage.seconds();
        svc.pause(false);
        svc.run(10 * S);
        assert_eq!(told(&svc)[2..], [Some(2)], "{mode}");
        let layers = svc.stage.layers("svc0");
        assert_eq!(svc.layer_at(at_s + WAKES_S), Some(2), "{mode}: {layers:?}");
        let blamed: Vec<_> = svc
            .stage
            .blamed
            .iter()
            .filter(|one| *one != "silent")
            .collect();
        assert!(blamed.is_empty(), "{mode}: {blamed:?}");
    }
}

#[test]
fn layers_that_vanish_and_come_back_by_themselves_leave_no_decoder_without_a_picture() {
    for mode in MODES {
        for key in [true, false] {
            let mut svc = Svc::new(mode, Path::new(20_000_000, 20 * MS));
            svc.run(6 * S);
            for layers in [1, 3, 2, 3, 1, 2] {
                svc.send_layers(layers, key);
                svc.run(8 * S);
                let highest = Some(u32::from(layers) - 1);
                let now_s = svc.stage.seconds();
                let sent = svc.stage.layers("svc0");
                assert_eq!(svc.layer_at(now_s), highest, "{mode}, {key}: {sent:?}");
                assert!(kbps(&svc, 2) > 100, "{mode}, {key}: a picture");
            }
            let freeze = freeze_s(&svc.decode(), 1.0, svc.stage.seconds());
            // Without a keyframe k-SVC has nothing for those who saw a layer that is gone.
            let most = if key || mode == "L3T3" { 0.3 } else { 2.0 };
            assert!(freeze < most, "{mode}, {key}: {freeze} s");
            assert_eq!(svc.stage.blamed, Vec::<String>::new(), "{mode}, {key}");
        }
    }
}
