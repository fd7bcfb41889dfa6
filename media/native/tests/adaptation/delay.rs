//! Long ways and jitter are no congestion.

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::{MS, Path, S};

fn far(delay_ms: u64, jitter_ms: u64) -> Stage {
    let mut stage = Stage::new(1, &RATES_BPS);
    let mut path = Path::new(4_000_000, delay_ms * MS);
    path.jitter_ns = jitter_ms * MS;
    stage.add_viewer(Ok(path));
    stage.run(30 * S);
    let name = format!("delay-{delay_ms}-jitter-{jitter_ms}");
    stage.assert_decodable(&name, 0, 0);
    stage.assert_steady(&name, 0, 5.0, 29.0);
    stage
}

#[test]
fn delays_from_20_to_300_ms_carry_all_layers() {
    for delay_ms in [20, 100, 300] {
        let stage = far(delay_ms, 0);
        assert_eq!(
            stage.layer_at("v0c0", 29.0),
            Some(2),
            "{delay_ms} ms: {:?}",
            stage.changes
        );
        let queue = stage.queue_ms_max(0, 5.0, 30.0);
        assert!(queue < 300.0, "{delay_ms} ms: {queue} ms");
    }
}

#[test]
fn jitter_costs_no_layer_for_long() {
    let stage = far(40, 20);
    assert!(
        stage.layer_at("v0c0", 29.0) >= Some(1),
        "{:?}",
        stage.changes
    );
    let quickest = stage.oscillation_s("v0c0", 5.0);
    assert!(quickest >= 5.0, "{quickest} s: {:?}", stage.changes);
}
