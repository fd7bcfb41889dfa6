//! A receiver that lacks CPU takes what comes in clumps, late. That is no congestion.

use crate::camera::RATES_BPS;
use crate::stage::Stage;
use crate::support::path::Stall;
use crate::support::{MS, Path, S};

/// Runs 200 ms of every 1,100, as a process does whose quota of CPU is used up.
const STARVED: Stall = Stall {
    period_ns: 1_100 * MS,
    stalled_ns: 900 * MS,
    packet_ns: 300_000,
};

fn starved(name: &str, rates_bps: &[u64], seed: u64) -> Stage {
    let mut stage = Stage::seeded(seed, 1, rates_bps);
    stage.add_viewer(Ok(Path::new(20_000_000, (5 + 7 * seed) * MS)));
    stage.run(10 * S);
    stage.world.paths[0].stall = Some(STARVED);
    stage.run(30 * S);
    stage.world.paths[0].stall = None;
    stage.run(15 * S);
    stage.assert_decodable(name, 0, 0);
    stage
}

#[test]
fn a_starved_receiver_keeps_its_only_layer() {
    for seed in 1..=3 {
        let stage = starved("stall-single", &[1_500_000], seed);
        let layers = stage.layers("v0c0");
        assert_eq!(layers.len(), 1, "seed {seed}: {:?}", stage.changes);
    }
}

#[test]
fn a_starved_receiver_keeps_its_layers() {
    for seed in 1..=3 {
        let stage = starved("stall", &RATES_BPS, seed);
        for seconds in 10..55 {
            let layer = stage.layer_at("v0c0", f64::from(seconds));
            assert!(layer >= Some(1), "seed {seed}: {:?}", stage.changes);
        }
        assert_eq!(stage.layer_at("v0c0", 54.0), Some(2), "{:?}", stage.changes);
    }
}
