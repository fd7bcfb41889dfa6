//! A way that becomes longer at once is a route that changed, not a queue.

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::{MS, Path, S};

#[test]
fn a_route_that_becomes_longer_costs_no_layer() {
    for (seed, more_ms) in [(1, 30), (2, 60), (3, 100), (4, 250)] {
        let mut stage = Stage::seeded(seed, 1, &RATES_BPS);
        stage.add_viewer(Ok(Path::new(4_000_000, 20 * MS)));
        stage.run(15 * S);
        stage.world.paths[0].delay_ns += more_ms * MS;
        stage.run(15 * S);
        stage.world.paths[0].delay_ns -= more_ms * MS;
        stage.run(10 * S);
        stage.assert_decodable(&format!("route-{more_ms}"), 0, 0);
        for seconds in 14..40 {
            let layer = stage.layer_at("v0c0", f64::from(seconds));
            assert_eq!(layer, Some(2), "{more_ms} ms more: {:?}", stage.changes);
        }
    }
}
