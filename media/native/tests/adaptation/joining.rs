//! A viewer who joins climbs, and stays where it arrived.

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::{MS, Path, S};

#[test]
fn layers_of_a_newcomer_rise_once_and_stay() {
    for seed in 1..=6 {
        let mut stage = Stage::seeded(seed, 1, &RATES_BPS);
        stage.cameras[0].uneven_percent = 50;
        stage.cameras[0].keyframe = 8;
        stage.run(3 * S);
        for viewer in 0..4 {
            stage.add_viewer(Ok(Path::new(10_000_000, (3 + 10 * viewer) * MS)));
            stage.run((1_000 + 300 * seed) * MS);
        }
        stage.run(10 * S);
        for viewer in 0..4 {
            stage.assert_decodable(&format!("joining-{viewer}"), viewer, 0);
            let layers = stage.layers(&format!("v{viewer}c0"));
            let rises = layers.windows(2).all(|pair| pair[0].1 < pair[1].1);
            assert!(rises, "seed {seed}: {layers:?}");
            assert_eq!(layers.last().and_then(|one| one.1), Some(2), "{layers:?}");
        }
    }
}
