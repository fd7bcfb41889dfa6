//! Clients that know REMB alone, as aiortc does: publishers are told what their way takes, viewers
//! are believed.

use _native::rtcp;
use _native::wire::orders::{ExtensionName, Order};

use crate::camera::{self, RATES_BPS};
use crate::stage::{Stage, VIDEO};
use crate::support::peer::Control;
use crate::support::{MS, Path, rows};

const WANTED_BPS: u64 = 2_000_000;

/// Runs a publisher that obeys; returns (seconds, REMB) of the time, and the longest queue of its
/// second half, in ms.
fn run(stage: &mut Stage, duration_s: u64) -> (Vec<u64>, u64) {
    let mut told = Vec::new();
    let mut queue_ms = 0;
    for place in 0..duration_s * 10 {
        stage.run(100 * MS);
        let rembs = stage.world.peers[0].rtcp.iter().rev();
        let last = rembs.into_iter().find_map(|one| match one {
            Control::Remb(bps, _) => Some(*bps),
            _ => None,
        });
        // What is encoded is not all that is sent.
        let obeyed = last.map_or(WANTED_BPS, |bps| bps * 9 / 10).min(WANTED_BPS);
        stage.cameras[0].set_rate(0, obeyed);
        told.extend(last);
        let path = &mut stage.world.paths[0];
        if place > duration_s * 5 {
            queue_ms = queue_ms.max(path.queued_ns / MS);
        }
        path.queued_ns = 0;
    }
    (told, queue_ms)
}

/// A publisher that takes REMB alone, behind a way up of its own.
fn publisher() -> Stage {
    let mut stage = Stage::new(1, &[WANTED_BPS]);
    let mut row = camera::producer("cam0", "send", &stage.cameras[0].ssrcs());
    (row.codecs[0].transport_cc, row.codecs[0].remb) = (false, true);
    stage.world.order(Order::SetProducer(row));
    let address = stage.world.peers[0].address;
    let mut path = Path::new(5_000_000, 25 * MS);
    path.is_uplink = true;
    stage.world.paths.push(path);
    stage.world.routes.insert(address, 0);
    stage
}

#[test]
fn one_with_remb_alone_is_brought_to_its_capacity_and_up_again() {
    let mut stage = publisher();
    let (told, _) = run(&mut stage, 10);
    assert!(
        told.iter().all(|&bps| bps >= 3_000_000),
        "no limit is known: {told:?}"
    );

    stage.world.paths[0].capacity_bps = 600_000;
    let (told, queue_ms) = run(&mut stage, 30);
    let held = &told[50..];
    assert!(
        held.iter().all(|bps| (250_000..=800_000).contains(bps)),
        "{told:?}"
    );
    assert!(queue_ms < 400, "{queue_ms} ms");

    stage.world.paths[0].capacity_bps = 5_000_000;
    let (told, _) = run(&mut stage, 20);
    assert!(told.last() >= Some(&WANTED_BPS), "{told:?}");
}

#[test]
fn one_whose_way_has_no_queue_is_brought_down_by_what_it_loses_and_comes_up_again() {
    let mut stage = publisher();
    run(&mut stage, 10);
    stage.world.paths[0].capacity_bps = 700_000;
    stage.world.paths[0].queue_ns_max = 20 * MS;
    let (told, _) = run(&mut stage, 30);
    let held = &told[100..];
    assert!(
        held.iter().all(|bps| (300_000..=1_100_000).contains(bps)),
        "{told:?}"
    );
    stage.world.paths[0].capacity_bps = 5_000_000;
    let (told, _) = run(&mut stage, 30);
    assert!(told.last() >= Some(&WANTED_BPS), "{told:?}");
}

#[test]
fn losses_of_the_way_itself_hold_no_publisher_down() {
    let mut stage = publisher();
    stage.world.paths[0].loss_permille = 50;
    let (told, _) = run(&mut stage, 30);
    assert!(told.iter().all(|&bps| bps >= WANTED_BPS), "{told:?}");
}

/// Runs a viewer that says what it can take, ten times a second.
fn run_viewer(stage: &mut Stage, duration_s: u64, bitrate_bps: u64) {
    for _ in 0..duration_s * 10 {
        let mut compound = Vec::new();
        rtcp::write_remb(&mut compound, 1, bitrate_bps, &[VIDEO]);
        let peer = stage.viewers[0].peer;
        let datagram = stage.world.peers[peer].control(&compound);
        stage.world.send(peer, datagram);
        stage.run(100 * MS);
    }
}

#[test]
fn a_viewer_with_remb_alone_gets_what_it_says_that_it_can_take() {
    let mut stage = Stage::new(1, &RATES_BPS);
    stage.add_viewer(Ok(Path::new(20_000_000, 25 * MS)));
    let mut row = rows::view("v0c0", "recv0", "cam0", VIDEO);
    row.header_extensions
        .retain(|one| one.name != ExtensionName::TransportCc);
    stage.world.order(Order::SetConsumer(row));
    let mut end_s = 0.0;
    for (bitrate_bps, duration_s, layer) in [
        (3_000_000, 15, Some(2)),
        (200_000, 2, Some(0)),
        // The highest layer at half its frames takes 700 kbit/s: it would not fit.
        (700_000, 10, Some(1)),
        (3_000_000, 20, Some(2)),
        (60_000, 4, None),
        (3_000_000, 20, Some(2)),
    ] {
        run_viewer(&mut stage, duration_s, bitrate_bps);
        end_s += duration_s as f64;
        let sent = stage.layer_at("v0c0", end_s);
        assert_eq!(sent, layer, "{bitrate_bps} {:?}", stage.changes);
    }
    let stats = stage.world.stats("recv0").transport.expect("there");
    assert_eq!(stats.available_outgoing_bps, Some(3_000_000));
    stage.assert_decodable("remb", 0, 0);
}
