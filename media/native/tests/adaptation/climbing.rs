//! Who was down in the lowest of the layers inside of a stream climbs in steps, each with a keyframe: the
//! second one is not waited for as long as newcomers' would be.

use crate::support::{MS, Path, S};
use crate::svc::Svc;

/// Until all layers are back after the link is, in seconds.
const CLIMB_S: f64 = 6.5;

#[test]
fn two_steps_up_take_no_two_waits_for_a_keyframe() {
    let mut all = Vec::new();
    for mode in ["L3T3", "L3T3_KEY"] {
        for seed in 1..=5 {
            let mut path = Path::new(10_000_000, (2 + 12 * seed) * MS);
            path.queue_ns_max = 300 * MS;
            let mut svc = Svc::new(mode, path);
            svc.stage.viewers[0].feedback_ns = [50, 100, 150, 250][seed as usize % 4] * MS;
            svc.run((8_000 + 77 * seed) * MS);
            svc.stage.world.paths[0].capacity_bps = 250_000;
            svc.run((5_000 + 330 * seed) * MS);
            let widened = svc.stage.seconds();
            svc.stage.world.paths[0].capacity_bps = 10_000_000;
            svc.run(9 * S);
            svc.stage.plot(&format!("climbing-{mode}-{seed}"), 0);
            svc.decode();
            let layers = svc.stage.layers("svc0");
            let top = layers
                .iter()
                .find(|one| one.0 > widened && one.1 == Some(2));
            let climb_s = top.map_or(f64::INFINITY, |one| one.0 - widened);
            let quickest = svc.stage.oscillation_s("svc0", widened);
            assert!(quickest >= 5.0, "{mode}, seed {seed}: {layers:?}");
            all.push((climb_s, mode, seed, layers));
        }
    }
    let slowest = all
        .iter()
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .expect("ten");
    assert!(slowest.0 < CLIMB_S, "{slowest:?}");
}
