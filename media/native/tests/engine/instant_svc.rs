//! Layers inside of one stream, of viewers who begin, or climb, with what is in the cache.

use std::collections::BTreeSet;

use crate::support::peer::assert_contiguous;
use crate::support::{MS, Peer, World};
use crate::svc_publisher::{Svc, frame_of, seen};

#[test]
fn a_keyframe_whose_beginning_came_again_begins_whole_for_later_viewers() {
    for mode in ["L3T1", "L3T1_KEY"] {
        let mut svc = Svc::new(World::new(), mode);
        svc.join(0, None);
        svc.pictures(5, true);
        let number = svc.world.peers[0].streams[0].sequence as u16;
        let key = svc.picture(true);
        // Its first packet is lost, and comes after the next picture.
        for datagram in key.into_iter().skip(1).chain(svc.picture(false)) {
            svc.world.send(0, datagram);
        }
        let again = svc.world.peers[0].rtx(0, number);
        svc.world.send(0, again);
        svc.world.advance(33 * MS);
        svc.pictures(3, false);
        let peer = svc.join(1, None);
        svc.world.advance(50 * MS);
        let seen = seen(&svc.world.peers[peer]);
        assert_eq!(seen[..3], [(75, 0), (75, 1), (75, 2)], "{mode}");
        let later: BTreeSet<_> = seen[3..].iter().copied().collect();
        assert!(
            (76..=79).all(|id| later.contains(&(id, 2))),
            "{mode}: {seen:?}"
        );
        assert_contiguous(&svc.world.peers[peer].sequence_numbers(5000));
    }
}

#[test]
fn a_viewer_of_one_spatial_layer_is_sent_that_one_of_the_past() {
    for (mode, between) in [
        ("L3T1", vec![(0, false), (1, true)]),
        ("L3T1_KEY", vec![(1, true)]),
    ] {
        let mut svc = Svc::new(World::new(), mode);
        svc.join(0, None);
        svc.pictures(20, true);
        let asked = svc.asked();
        let peer = svc.join(1, Some(1));
        svc.pictures(5, false);
        assert_eq!(svc.asked(), asked);
        let media = svc.world.peers[peer].media(5000);
        let had: Vec<_> = media
            .iter()
            .map(|one| (frame_of(one).1, one.marker))
            .collect();
        assert_eq!(had[..2], [(0, false), (1, true)], "{mode}");
        assert_eq!(had[2..], between.repeat(24), "{mode}");
        let numbers = svc.world.peers[peer].sequence_numbers(5000);
        assert_contiguous(&numbers);
        // What is sent again is the same, its marker, too.
        let nack = svc.world.peers[peer].nack(5000, &numbers);
        svc.world.send(peer, nack);
        let again = svc.world.peers[peer].media(5001);
        let again: Vec<_> = again
            .iter()
            .map(|one| (frame_of(one), one.marker, one.timestamp))
            .collect();
        let first: Vec<_> = media_of(&svc.world.peers[peer]);
        assert_eq!(again, first, "{mode}");
    }
}

fn media_of(peer: &Peer) -> Vec<((u16, u8), bool, u32)> {
    let media = peer.media(5000);
    media
        .iter()
        .map(|one| (frame_of(one), one.marker, one.timestamp))
        .collect()
}

#[test]
fn who_has_just_begun_climbs_inside_of_its_stream_with_what_is_in_the_cache() {
    for mode in ["L3T1", "L3T1_KEY"] {
        let mut svc = Svc::new(World::new(), mode);
        svc.join(0, None);
        svc.pictures(10, true);
        let peer = svc.join(1, Some(0));
        svc.pictures(3, false);
        let had = svc.world.peers[peer].media(5000).len();
        let asked = svc.asked();
        svc.want(1, None);
        svc.pictures(3, false);
        assert_eq!(svc.asked(), asked, "{mode}");
        let seen = seen(&svc.world.peers[peer]);
        assert!(seen[..had].iter().all(|one| one.1 == 0), "{mode}: {seen:?}");
        let layers: Vec<u8> = seen[had..had + 3].iter().map(|one| one.1).collect();
        assert_eq!(layers, [0, 1, 2], "{mode}: the keyframe");
        let tops = seen[had..].iter().filter(|one| one.1 == 2).count();
        assert_eq!(tops, 16, "{mode}: all pictures since, and those that came");
        let ids: Vec<u16> = seen.iter().map(|one| one.0).collect();
        let steps = ids.windows(2).map(|two| two[1].wrapping_sub(two[0]));
        assert!(steps.into_iter().all(|step| step <= 1), "{mode}: {ids:?}");
        let peer = &svc.world.peers[peer];
        assert_contiguous(&peer.sequence_numbers(5000));
        let stamps: Vec<u32> = peer.media(5000).iter().map(|one| one.timestamp).collect();
        let rises = stamps.windows(2).all(|two| two[1] >= two[0]);
        assert!(rises, "{mode}: {stamps:?}");
    }
}

#[test]
fn who_climbs_inside_of_its_stream_in_the_midst_of_a_picture_gets_the_rest_of_it() {
    let mut svc = Svc::new(World::new(), "L3T1");
    svc.join(0, None);
    svc.pictures(10, true);
    let peer = svc.join(1, Some(1));
    svc.pictures(3, false);
    let mut packets = svc.picture(false).into_iter();
    let first = packets.next().expect("of the lowest layer");
    svc.world.send(0, first);
    svc.want(1, None);
    for datagram in packets {
        svc.world.send(0, datagram);
    }
    svc.pictures(3, false);
    let seen = seen(&svc.world.peers[peer]);
    let all = (70..87).flat_map(|id| [(id, 0), (id, 1)]);
    assert_eq!(seen, all.collect::<Vec<_>>());
    assert_contiguous(&svc.world.peers[peer].sequence_numbers(5000));
}

#[test]
fn who_must_go_down_in_a_k_svc_stream_does_not_wait_for_a_keyframe_by_the_clock() {
    let mut svc = Svc::new(World::new(), "L3T1_KEY");
    svc.bytes = 300;
    let peer = svc.join(0, None);
    svc.pictures(1, true);
    svc.pictures(60, false);
    assert_eq!(
        seen(&svc.world.peers[peer]).last().map(|one| one.1),
        Some(2)
    );
    svc.pictures(1, true);
    let asked = svc.asked();
    for _ in 0..30 {
        let mut compound = Vec::new();
        _native::rtcp::write_remb(&mut compound, 1, 200_000, &[5000]);
        let datagram = svc.world.peers[peer].control(&compound);
        svc.world.send(peer, datagram);
        svc.pictures(1, false);
    }
    assert!(svc.asked() > asked, "its network has no time");
}
