//! The link narrows and widens: layers follow, and nobody notices more than that.

use _native::wire::notices::Notice;

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::{MS, Path, S};

#[test]
fn layers_follow_a_link_that_narrows_and_widens() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(2_500_000, 25 * MS)));
    stage.run(20 * S);
    assert_eq!(stage.layer_at("v0c0", 15.0), Some(2), "{:?}", stage.changes);
    let narrowed = stage.seconds();
    stage.world.paths[0].capacity_bps = 500_000;
    stage.run(20 * S);
    let widened = stage.seconds();
    stage.world.paths[0].capacity_bps = 2_500_000;
    stage.run(30 * S);
    stage.assert_decodable("capacity", 0, 0);
    let lower = stage.layer_at("v0c0", narrowed + 2.0);
    assert!(lower < Some(2), "down within 2 s: {:?}", stage.changes);
    let higher = stage.layer_at("v0c0", widened + 10.0);
    assert_eq!(higher, Some(2), "up within 10 s: {:?}", stage.changes);
    for (from, until) in [
        (5.0, 20.0),
        (narrowed + 4.0, widened),
        (widened + 2.0, 70.0),
    ] {
        let queue = stage.queue_ms_max(0, from, until);
        assert!(queue < 300.0, "{queue} ms between {from} s and {until} s");
    }
    let audio = &stage.viewers[0];
    let (from_ns, until_ns) = (stage.began_ns + S, stage.world.now_ns - S);
    let silence = audio.silence_ns_max(from_ns, until_ns);
    assert!(silence < 1_200 * MS, "{} ms", silence / MS);
    let quickest = stage.oscillation_s("v0c0", 5.0);
    assert!(quickest >= 5.0, "{quickest} s: {:?}", stage.changes);
}

#[test]
fn a_link_for_sound_alone_pauses_the_video_and_brings_it_back() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(1_000_000, 25 * MS)));
    stage.run(10 * S);
    stage.world.paths[0].capacity_bps = 100_000;
    stage.run(15 * S);
    let paused = stage.seconds();
    assert_eq!(stage.layer_at("v0c0", paused), None, "{:?}", stage.changes);
    let (_, _, _, reason) = stage.changes.last().expect("told");
    assert_eq!(reason, "bandwidth");
    let from_ns = stage.began_ns + 15 * S;
    let silence = stage.viewers[0].silence_ns_max(from_ns, stage.world.now_ns);
    assert!(silence < 200 * MS, "{} ms", silence / MS);
    stage.world.paths[0].capacity_bps = 1_000_000;
    stage.run(15 * S);
    stage.assert_decodable("pause", 0, 40);
    let back = stage.layer_at("v0c0", paused + 10.0);
    assert!(back.is_some(), "{:?}", stage.changes);
}

/// Whatever a link was narrowed for, and however long: once it is wide again all layers are back within 10 s.
#[test]
fn what_was_paused_is_back_soon_after_its_link_is() {
    for (seed, rates) in [(1, &[1_500_000][..]), (2, &[600_000]), (3, &RATES_BPS)] {
        for narrowed_s in [5, 8, 12, 30, 60] {
            let mut stage = Stage::new(seed, rates);
            stage.add_viewer(Ok(Path::new(10_000_000, 25 * MS)));
            stage.run(10 * S);
            stage.world.paths[0].capacity_bps = 150_000;
            stage.world.paths[0].queue_ns_max = 300 * MS;
            stage.run(narrowed_s * S);
            stage.world.paths[0].capacity_bps = 10_000_000;
            let widened = stage.seconds();
            stage.run(10 * S);
            let top = Some(rates.len() as u32 - 1);
            let layers = stage.layers("v0c0");
            let last = layers.last().map(|one| one.1);
            assert_eq!(
                last,
                Some(top),
                "{rates:?}, {narrowed_s} s, {widened}: {layers:?}"
            );
        }
    }
}

#[test]
fn what_was_paused_is_tried_ever_more_rarely_and_sound_never_starves() {
    let mut stage = Stage::new(1, &[600_000]);
    stage.add_viewer(Ok(Path::new(3_000_000, 25 * MS)));
    stage.run(10 * S);
    stage.world.paths[0].capacity_bps = 120_000;
    stage.world.paths[0].queue_ns_max = 300 * MS;
    stage.run(150 * S);
    stage.assert_decodable("trial", 0, 500);
    let layers = stage.layers("v0c0");
    let tried: Vec<f64> = layers
        .iter()
        .filter(|one| one.0 > 12.0 && one.1.is_some())
        .map(|one| one.0)
        .collect();
    assert!((2..=4).contains(&tried.len()), "{layers:?}");
    let waits: Vec<f64> = tried.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        waits.windows(2).all(|pair| pair[1] > 1.5 * pair[0]),
        "{waits:?}"
    );
    let from_ns = stage.began_ns + 13 * S;
    let silence = stage.viewers[0].silence_ns_max(from_ns, stage.world.now_ns - S);
    assert!(silence < 500 * MS, "{} ms", silence / MS);
}

#[test]
fn a_wide_link_is_used_within_two_seconds() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(20_000_000, 10 * MS)));
    stage.run(20 * S);
    stage.assert_decodable("wide", 0, 0);
    assert_eq!(stage.layer_at("v0c0", 3.0), Some(2), "{:?}", stage.changes);
    assert_eq!(stage.layers("v0c0").last().map(|one| one.1), Some(Some(2)));
}

#[test]
fn a_single_large_layer_is_not_paused_on_a_guess() {
    let mut stage = Stage::new(1, &[1_500_000]);
    stage.add_viewer(Ok(Path::new(5_000_000, 25 * MS)));
    stage.run(10 * S);
    stage.assert_decodable("single", 0, 0);
    assert_eq!(stage.layers("v0c0").len(), 1, "{:?}", stage.changes);
    let outcome = stage.viewers[0].videos[&crate::stage::VIDEO].judge(stage.world.now_ns);
    assert!(outcome.freeze_ns_max < 200 * MS, "{outcome:?}");
}

#[test]
fn a_sudden_drop_freezes_the_picture_for_less_than_a_second() {
    for seed in 1..=8 {
        let mut stage = Stage::seeded(seed, 1, &[200_000, 600_000, 1_900_000]);
        stage.cameras[0].keyframe = 6;
        stage.cameras[0].uneven_percent = 30;
        let mut path = Path::new(10_000_000, (2 + 6 * seed) * MS);
        path.queue_ns_max = 300 * MS;
        stage.add_viewer(Ok(path));
        // As Chromium does: more rarely where little comes.
        stage.viewers[0].feedback_ns = [50, 100, 150, 250][seed as usize % 4] * MS;
        stage.run((15_000 + 77 * seed) * MS);
        assert_eq!(stage.layer_at("v0c0", 14.9), Some(2), "{:?}", stage.changes);
        let narrowed = stage.seconds();
        stage.world.paths[0].capacity_bps = 500_000;
        stage.run(15 * S);
        let widened = stage.seconds();
        stage.world.paths[0].capacity_bps = 10_000_000;
        stage.run(12 * S);
        stage.assert_decodable(&format!("drop-{seed}"), 0, 500);
        let freeze_ms = stage.freeze_ms(0, narrowed - 1.0, narrowed + 5.0);
        assert!(freeze_ms < 900, "seed {seed}: {freeze_ms} ms");
        let layers = stage.layers("v0c0");
        let steps = layers.iter().filter(|one| one.0 >= narrowed);
        let downs = steps.take_while(|one| one.0 < narrowed + 4.0).count();
        assert_eq!(downs, 1, "seed {seed}, in one step: {layers:?}");
        let rises = layers.windows(2).filter(|pair| pair[1].0 < narrowed);
        let rises = rises.into_iter().all(|pair| pair[0].1 < pair[1].1);
        assert!(rises, "seed {seed}, up only at first: {layers:?}");
        assert_up_within(&stage, "v0c0", widened, 10.0);
        assert!(stage.oscillation_s("v0c0", 0.0) >= 5.0, "{layers:?}");
    }
}

/// All layers so many seconds after the link became wide again.
fn assert_up_within(stage: &Stage, consumer: &str, widened: f64, seconds: f64) {
    let layer = stage.layer_at(consumer, widened + seconds);
    assert_eq!(layer, Some(2), "up within {seconds} s: {:?}", stage.changes);
}

/// Of the estimates that were told in a time: probes, those that found room, and whether any was on trial.
fn looked(stage: &Stage, from_s: f64, until_s: f64) -> (u32, u32, bool) {
    let mut sums = (0, 0, false);
    for (at_ns, told) in &stage.estimates {
        let at_s = *at_ns as f64 / S as f64;
        if let Notice::BandwidthEstimated {
            probes,
            probes_found,
            on_trial,
            ..
        } = told
            && (from_s..until_s).contains(&at_s)
        {
            sums = (sums.0 + probes, sums.1 + probes_found, sums.2 | on_trial);
        }
    }
    sums
}

#[test]
fn what_probes_found_is_told_and_that_they_found_nothing_now_and_then() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(450_000, 25 * MS)));
    stage.run(100 * S);
    let (probes, found, _) = looked(&stage, 20.0, 100.0);
    assert!(probes >= 10, "{:?}", stage.estimates);
    assert!(found * 4 < probes, "{found} of {probes}");
    let pauses = stage.estimates.windows(2);
    let pauses: Vec<u64> = pauses.map(|two| (two[1].0 - two[0].0) / S).collect();
    assert!(
        pauses.iter().all(|pause| (5..=40).contains(pause)),
        "{pauses:?}"
    );
    stage.world.paths[0].capacity_bps = 2_500_000;
    stage.run(20 * S);
    let (_, found, _) = looked(&stage, 100.0, 120.0);
    assert!(found > 0, "{:?}", stage.estimates);
}

#[test]
fn that_a_limit_is_doubted_is_told_when_what_was_paused_comes_back() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(1_000_000, 25 * MS)));
    stage.run(10 * S);
    stage.world.paths[0].capacity_bps = 60_000;
    stage.run(50 * S);
    let paused = |one: &&(u64, String, Option<u32>, String)| one.0 > 10 * S && one.2.is_none();
    let paused_s = stage.changes.iter().find(paused).expect("paused").0 as f64 / S as f64;
    let back = |one: &&(u64, String, Option<u32>, String)| {
        one.0 as f64 / S as f64 > paused_s && one.2.is_some()
    };
    let back_s = stage.changes.iter().find(back).expect("back").0 as f64 / S as f64;
    assert!(back_s > paused_s + 15.0, "{:?}", stage.changes);
    assert!(
        !looked(&stage, 0.0, back_s - 1.0).2,
        "{:?}",
        stage.estimates
    );
    assert!(
        looked(&stage, back_s - 1.0, back_s + 6.0).2,
        "{:?}",
        stage.estimates
    );
}
