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
