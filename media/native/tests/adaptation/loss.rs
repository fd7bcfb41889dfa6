//! Losses that do not come from congestion are repaired, and cost no layers.

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::{MS, Path, S};

fn lossy(name: &str, change: impl Fn(&mut Path)) -> Stage {
    let mut stage = Stage::new(1, &RATES_BPS);
    let mut path = Path::new(4_000_000, 20 * MS);
    change(&mut path);
    stage.add_viewer(Ok(path));
    stage.run(40 * S);
    stage.plot(name, 0);
    stage.assert_steady(name, 0, 5.0, 39.0);
    stage
}

#[test]
fn random_loss_of_1_percent_costs_no_layer() {
    let stage = lossy("loss-1", |path| path.loss_permille = 10);
    stage.assert_decodable("loss-1", 0, 5);
    assert_eq!(stage.layer_at("v0c0", 39.0), Some(2), "{:?}", stage.changes);
}

#[test]
fn random_loss_of_5_percent_costs_no_layer() {
    let stage = lossy("loss-5", |path| path.loss_permille = 50);
    stage.assert_decodable("loss-5", 0, 20);
    assert_eq!(stage.layer_at("v0c0", 39.0), Some(2), "{:?}", stage.changes);
}

#[test]
fn random_loss_of_10_percent_keeps_video_and_sound() {
    let stage = lossy("loss-10", |path| path.loss_permille = 100);
    stage.assert_decodable("loss-10", 0, 120);
    assert!(
        stage.layer_at("v0c0", 39.0) >= Some(1),
        "{:?}",
        stage.changes
    );
    let viewer = &stage.viewers[0];
    let silence = viewer.silence_ns_max(stage.began_ns + S, stage.world.now_ns - S);
    assert!(silence < 300 * MS, "{} ms", silence / MS);
}

#[test]
fn bursts_of_loss_are_repaired() {
    let stage = lossy("bursts", |path| path.burst = Some((2, 8)));
    stage.assert_decodable("bursts", 0, 20);
    assert!(
        stage.layer_at("v0c0", 39.0) >= Some(1),
        "{:?}",
        stage.changes
    );
}
