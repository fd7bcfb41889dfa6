//! One bottleneck, several who want it.

use crate::camera::RATES_BPS;
use crate::stage::{Stage, VIDEO};
use crate::support::{MS, Path, S};

#[test]
fn a_flow_that_does_not_yield_is_given_way() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(2_500_000, 25 * MS)));
    stage.run(15 * S);
    stage.world.paths[0].cross_bps = 1_500_000;
    stage.run(20 * S);
    stage.world.paths[0].cross_bps = 0;
    stage.run(15 * S);
    stage.assert_decodable("competing", 0, 40);
    assert!(
        stage.layer_at("v0c0", 17.5) < Some(2),
        "{:?}",
        stage.changes
    );
    assert!(
        stage.layer_at("v0c0", 34.0).is_some(),
        "{:?}",
        stage.changes
    );
    assert_eq!(stage.layer_at("v0c0", 46.0), Some(2), "{:?}", stage.changes);
    let queue = stage.queue_ms_max(0, 20.0, 35.0);
    assert!(queue < 300.0, "{queue} ms");
}

#[test]
fn four_consumers_share_one_bottleneck_fairly() {
    let mut stage = Stage::new(4, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(2_500_000, 25 * MS)));
    stage.run(40 * S);
    stage.assert_decodable("four", 0, 0);
    stage.assert_steady("four", 0, 10.0, 39.0);
    let videos = 0..4;
    let layers: Vec<Option<u32>> = videos
        .map(|camera| stage.layer_at(&format!("v0c{camera}"), 39.0))
        .collect();
    assert!(layers.iter().all(Option::is_some), "{layers:?}");
    let (least, most) = (layers.iter().min(), layers.iter().max());
    assert!(
        most.copied().flatten() <= least.copied().flatten().map(|one| one + 1),
        "{layers:?}"
    );
    // 2.5 Mbit/s carry all four at the middle layer.
    let used: f64 = (0..4)
        .map(|camera| stage.series[0].video_bps[camera][300..].iter().sum::<f64>() / 100.0)
        .sum();
    assert!(used > 1_200_000.0, "{used}");
    let queue = stage.queue_ms_max(0, 10.0, 40.0);
    assert!(queue < 300.0, "{queue} ms");
    assert!(stage.viewers[0].videos.contains_key(&VIDEO));
}

#[test]
fn the_one_with_priority_gets_more_and_is_paused_last() {
    let mut stage = Stage::new(4, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(2_500_000, 25 * MS)));
    stage.prioritize(0, 2, 9);
    stage.run(40 * S);
    let layer = |stage: &Stage, camera, at_s| stage.layer_at(&format!("v0c{camera}"), at_s);
    let all = |stage: &Stage, at_s| [0, 1, 2, 3].map(|camera| layer(stage, camera, at_s));
    assert_eq!(layer(&stage, 2, 39.0), Some(2), "{:?}", stage.changes);
    for camera in [0, 1, 3] {
        let shown = layer(&stage, camera, 39.0);
        assert!(
            shown.is_some() && shown < Some(2),
            "{:?}",
            all(&stage, 39.0)
        );
    }
    // Too little for all of them.
    stage.world.paths[0].capacity_bps = 190_000;
    stage.run(30 * S);
    let shown = all(&stage, 69.0);
    assert!(shown[2].is_some(), "{shown:?} {:?}", stage.changes);
    assert!(shown.contains(&None), "{shown:?}");
    let paused = |camera: usize| {
        let id = format!("v0c{camera}");
        let mut paused = stage.changes.iter();
        paused.position(|one| one.1 == id && one.0 > 40 * S && one.2.is_none())
    };
    if let Some(last) = paused(2) {
        let before = [0, 1, 3].map(|camera| paused(camera).is_some_and(|one| one < last));
        assert_eq!(before, [true; 3], "{:?}", stage.changes);
    }
    // The priority passes to another: it climbs instead.
    stage.world.paths[0].capacity_bps = 2_500_000;
    stage.prioritize(0, 2, 1);
    stage.prioritize(0, 0, 255);
    stage.run(60 * S);
    assert_eq!(layer(&stage, 0, 129.0), Some(2), "{:?}", stage.changes);
    assert!(layer(&stage, 2, 129.0) < Some(2), "{:?}", stage.changes);
    stage.assert_decodable("priority", 0, 400);
}

#[test]
fn two_viewers_behind_one_link_both_see_something() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(2_000_000, 25 * MS)));
    stage.add_viewer(Err(0));
    stage.run(40 * S);
    for viewer in 0..2 {
        stage.assert_decodable(&format!("neighbours-{viewer}"), viewer, 40);
        let layer = stage.layer_at(&format!("v{viewer}c0"), 39.0);
        assert!(layer.is_some(), "{:?}", stage.changes);
    }
    let queue = stage.queue_ms_max(1, 15.0, 40.0);
    assert!(queue < 400.0, "{queue} ms");
}
