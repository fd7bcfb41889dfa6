use proptest::prelude::*;

use super::*;

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

fn rtp(sequence: u16, timestamp: u32, ssrc: u32, marker: bool) -> Vec<u8> {
    let mut packet = vec![0x80, 96 | u8::from(marker) << 7];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0xEE; 88]);
    packet
}

fn remote() -> SocketAddr {
    "192.0.2.7:5004".parse().expect("an address")
}

#[test]
fn forwarded_packets_come_back_with_header_time_and_number() {
    let mut slab = Slab::new(1 << 20, 30);
    let mut ring = Ring::default();
    let mut sent = Vec::new();
    for n in 0..3000_u32 {
        let (ssrc, step) = if n % 5 == 0 { (8, 960) } else { (7, 3000) };
        let packet = rtp(n as u16 / 5 * 4, n * step, ssrc, n % 3 == 0);
        let at_ns = 50 * S + u64::from(n) * 3 * MS;
        slab.forwarded(&mut ring, at_ns, &packet, Some(n as u16));
        sent.push((at_ns / 1000, packet[..12].to_vec(), Some(n as u16)));
    }
    let found = ring.expand(&slab, 59 * S);
    let found: Vec<_> = found
        .into_iter()
        .map(|one| (one.at_us, one.captured, one.transport_cc))
        .collect();
    assert_eq!(found, sent);
}

fn bytes_of(slab: &Slab, ring: &Ring, now_ns: u64) -> usize {
    let pages = slab.pages(ring, now_ns);
    pages.iter().map(|(_, page)| page.len()).sum()
}

#[test]
fn packet_that_follows_as_expected_takes_four_bytes() {
    let mut slab = Slab::new(64 * PAGE_BYTES, 30);
    let mut ring = Ring::default();
    for n in 0..5000_u32 {
        let packet = rtp(n as u16, n / 10 * 3000, 7, n % 10 == 9);
        slab.forwarded(
            &mut ring,
            50 * S + u64::from(n) * MS,
            &packet,
            Some(n as u16),
        );
    }
    let bytes = bytes_of(&slab, &ring, 55 * S);
    assert!(bytes < 5000 * 4 + 20 * 32, "{bytes}");
}

#[test]
fn packets_without_numbers_leave_those_of_others_in_order() {
    let mut slab = Slab::new(64 * PAGE_BYTES, 30);
    let mut ring = Ring::default();
    for n in 0..1000_u32 {
        let at_ns = 50 * S + u64::from(n) * 10 * MS;
        slab.forwarded(&mut ring, at_ns, &rtp(n as u16, n * 960, 8, false), None);
        let video = rtp(n as u16, n * 3000, 7, true);
        slab.forwarded(&mut ring, at_ns, &video, Some(n as u16));
    }
    let bytes = bytes_of(&slab, &ring, 60 * S);
    assert!(bytes < 1000 * 8 + 5 * 64, "{bytes}");
    let found = ring.expand(&slab, 60 * S).into_iter();
    let numbers: Vec<_> = found.filter_map(|one| one.transport_cc).collect();
    assert_eq!(numbers, (0..1000).collect::<Vec<u16>>());
}

#[test]
fn frame_that_leaves_at_once_takes_twenty_bytes_and_comes_back_whole() {
    let mut slab = Slab::new(64 * PAGE_BYTES, 30);
    let mut ring = Ring::default();
    let mut sent = Vec::new();
    for n in 0..3000_u32 {
        let mut packet = rtp(n as u16, n / 6 * 3000, 7, n % 6 == 5);
        if n % 6 < 3 {
            packet[0] |= 0x20; // The first ones are padded up to the length of the others.
        }
        let at_ns = 50 * S + u64::from(n / 6) * 33 * MS;
        slab.forwarded(&mut ring, at_ns, &packet, Some(n as u16));
        sent.push((at_ns / 1000, packet[..12].to_vec(), Some(n as u16)));
    }
    let bytes = bytes_of(&slab, &ring, 67 * S);
    assert!(bytes < 500 * 20 + 4 * 32, "{bytes}");
    let found = ring.expand(&slab, 67 * S).into_iter();
    let found: Vec<_> = found
        .map(|one| (one.at_us, one.captured, one.transport_cc))
        .collect();
    assert_eq!(found, sent);
}

proptest! {
    /// Whatever leaves, in whatever order and on however many streams, comes back as it was.
    #[test]
    fn forwarded_packets_of_any_kind_come_back(
        packets in prop::collection::vec(
            (
                (0..6_u32, prop_oneof![4 => Just(1_u16), 1 => any::<u16>()]),
                prop_oneof![2 => Just(0_u32), 2 => Just(3000), 1 => any::<u32>()],
                prop_oneof![3 => Just(100_usize), 2 => 90..110_usize, 1 => 12..1400_usize],
                (any::<bool>(), prop_oneof![4 => Just(0x90_u8), 1 => Just(0xB0)], 0..8_u8),
                prop_oneof![3 => Just(0_u64), 2 => 0..200_u64, 1 => 0..90_000_u64],
            ),
            1..400,
        ),
    ) {
        let mut slab = Slab::new(256 * PAGE_BYTES, 30);
        let mut ring = Ring::default();
        let mut at_us = 50_000_000;
        let mut streams = [(0_u16, 0_u32); 6];
        let mut number = 0_u16;
        let mut sent = Vec::new();
        for ((ssrc, ahead), step, length, (marker, first, unnumbered), delta_us) in packets {
            let (sequence, timestamp) = &mut streams[ssrc as usize];
            *sequence = sequence.wrapping_add(ahead);
            *timestamp = timestamp.wrapping_add(step);
            let mut packet = rtp(*sequence, *timestamp, ssrc, marker);
            packet[0] = first;
            packet.resize(length, 0xEE);
            at_us += delta_us;
            let numbered = (unnumbered != 0).then_some(number);
            number = number.wrapping_add(u16::from(unnumbered != 0));
            slab.forwarded(&mut ring, at_us * 1000, &packet, numbered);
            sent.push((at_us, length, packet[..12].to_vec(), numbered));
            if unnumbered == 1 {
                slab.packet(&mut ring, at_us * 1000, (Class::Rtcp, true), 40, &packet[..8]);
                sent.push((at_us, 40, packet[..8].to_vec(), None));
            }
        }
        let found = ring.expand(&slab, at_us * 1000).into_iter();
        let found: Vec<_> = found
            .map(|one| (one.at_us, usize::from(one.length), one.captured, one.transport_cc))
            .collect();
        prop_assert_eq!(found, sent);
    }
}

#[test]
fn arrivals_bear_what_was_decrypted_and_why_they_were_dropped() {
    let mut slab = Slab::new(1 << 16, 30);
    let mut ring = Ring::default();
    let protected = [[0x81, 201, 0, 7, 0, 0, 0, 1].as_slice(), &[0xAA; 40]].concat();
    slab.arrived(&mut ring, S, Class::Rtcp, remote(), &protected);
    slab.decrypted(&mut ring, &[0x81, 201, 0, 7, 0, 0, 0, 1, 9, 9, 9, 9]);
    slab.settled(&mut ring);
    slab.arrived(&mut ring, S + 5000, Class::Rtcp, remote(), &protected);
    ring.dropped = 4;
    slab.settled(&mut ring);
    slab.arrived(
        &mut ring,
        S + 9000,
        Class::Rtp,
        remote(),
        &rtp(1, 2, 3, false),
    );
    slab.settled(&mut ring);
    let found = ring.expand(&slab, 2 * S);
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.class, one.reason, one.captured.len(), one.length))
        .collect();
    assert_eq!(
        told,
        [
            (Class::Remote, 0, 6, 0),
            (Class::Rtcp, 0, 12, 48),
            (Class::Rtcp, 4, 8, 48),
            (Class::Rtp, 0, 12, 100),
        ]
    );
    assert!(found.iter().all(|one| !one.captured.contains(&0xAA)));
}

#[test]
fn secrets_and_payloads_are_never_captured() {
    let stun = [[0, 1, 0, 80].as_slice(), &[7; 16], &[0xEE; 80]].concat();
    let dtls = [[22, 254, 253].as_slice(), &[0; 10], &[0xEE; 80]].concat();
    for (class, packet) in [
        (Class::Stun, stun),
        (Class::Dtls, dtls),
        (Class::Rtp, rtp(1, 2, 3, true)),
    ] {
        assert!(!class.captured(&packet).contains(&0xEE), "{class:?}");
    }
}

#[test]
fn extensions_are_captured_as_far_as_they_fit() {
    let mut packet = rtp(1, 2, 3, false);
    packet[0] |= 0x10;
    packet[12..16].copy_from_slice(&[0xBE, 0xDE, 0, 2]);
    assert_eq!(Class::Rtp.captured(&packet).len(), 24);
    packet[14..16].copy_from_slice(&[0xFF, 0xFF]);
    assert_eq!(Class::Rtp.captured(&packet).len(), CAPTURE_MAX);
}

#[test]
fn only_the_last_seconds_are_given() {
    let mut slab = Slab::new(1 << 20, 30);
    let mut ring = Ring::default();
    for second in 0..100 {
        slab.arrived(
            &mut ring,
            second * S,
            Class::Rtp,
            remote(),
            &rtp(second as u16, 0, 3, false),
        );
        slab.settled(&mut ring);
    }
    let found = ring.expand(&slab, 99 * S);
    assert_eq!(found[0].class, Class::Remote);
    let at_s: Vec<u64> = found[1..].iter().map(|one| one.at_us / 1_000_000).collect();
    assert_eq!(at_s, (69..100).collect::<Vec<u64>>());
}

#[test]
fn full_slab_takes_the_oldest_pages_of_all_and_never_mixes_transports() {
    let mut slab = Slab::new(20 * PAGE_BYTES, 30);
    let mut rings = [Ring::default(), Ring::default()];
    for n in 0..20_000_u32 {
        for (place, ring) in rings.iter_mut().enumerate() {
            let packet = rtp(n as u16, n * 3000, place as u32, false);
            slab.forwarded(ring, 50 * S + u64::from(n) * 500_000, &packet, None);
        }
    }
    for (place, ring) in rings.iter().enumerate() {
        let found = ring.expand(&slab, 60 * S);
        assert!(found.len() > 3000, "{}", found.len());
        assert!(found.iter().all(|one| one.captured[11] == place as u8));
        let last = found.last().expect("some");
        assert_eq!(last.captured[2..4], 19_999_u16.to_be_bytes());
        assert!(found.windows(2).all(|two| two[0].at_us <= two[1].at_us));
    }
}

#[test]
fn slab_grows_no_further_than_recordings_reach_back() {
    let mut slab = Slab::new(4096 * PAGE_BYTES, 3);
    let mut rings = [Ring::default(), Ring::default(), Ring::default()];
    let mut written = [0; 2];
    for n in 0..60_000_u32 {
        let at_ns = 50 * S + u64::from(n) * MS;
        for (place, ring) in rings.iter_mut().enumerate() {
            // The last one writes rarely: its page is old, what stands in it is not.
            if place == 2 && n % 1000 != 0 {
                continue;
            }
            let packet = rtp(n as u16, n * 7, place as u32, n % 2 == 0);
            slab.arrived(ring, at_ns, Class::Rtp, remote(), &packet);
            slab.settled(ring);
        }
        if n == 9_999 {
            written[0] = slab.pages_written();
        }
    }
    written[1] = slab.pages_written();
    assert_eq!(
        written[0], written[1],
        "pages after 10 s and after a minute"
    );
    for (place, expected) in [(0, 3000), (1, 3000), (2, 3)] {
        let found = rings[place].expand(&slab, 110 * S);
        let packets = found.iter().filter(|one| one.class == Class::Rtp).count();
        assert!(
            (expected..expected + 2).contains(&packets),
            "{place}: {packets}"
        );
    }
}

#[test]
fn pages_of_a_transport_that_is_gone_are_taken_first() {
    let mut slab = Slab::new(64 * PAGE_BYTES, 30);
    for n in 0..1000 {
        let mut ring = Ring::default();
        slab.forwarded(&mut ring, S, &rtp(n, 0, 7, false), None);
        assert_eq!(ring.expand(&slab, S).len(), 1);
        slab.release(&ring);
    }
    assert_eq!(slab.pages_written(), 1);
}

#[test]
fn more_transports_than_pages_take_them_from_each_other() {
    let mut slab = Slab::new(16 * PAGE_BYTES, 30);
    let mut rings: Vec<Ring> = (0..40).map(|_| Ring::default()).collect();
    for n in 0..20_u16 {
        for (place, ring) in rings.iter_mut().enumerate() {
            slab.forwarded(ring, S, &rtp(n, 0, place as u32, false), None);
        }
    }
    let recorded: Vec<usize> = (0..40)
        .filter(|&place| {
            let found = rings[place].expand(&slab, S);
            assert!(found.iter().all(|one| one.captured[11] == place as u8));
            !found.is_empty()
        })
        .collect();
    assert_eq!(recorded.len(), 16);
}

#[test]
fn flood_of_one_transport_leaves_the_others_their_pages() {
    let mut slab = Slab::new(1024 * PAGE_BYTES, 30);
    let (mut quiet, mut loud) = (Ring::default(), Ring::default());
    slab.arrived(
        &mut quiet,
        50 * S,
        Class::Rtp,
        remote(),
        &rtp(1, 2, 3, false),
    );
    slab.settled(&mut quiet);
    for n in 0..200_000_u64 {
        slab.arrived(
            &mut loud,
            50 * S + n * 50_000,
            Class::Rtp,
            remote(),
            &rtp(n as u16, 0, 9, false),
        );
        slab.settled(&mut loud);
    }
    assert_eq!(quiet.expand(&slab, 60 * S).len(), 2);
}

#[test]
fn sends_that_failed_are_marked_on_the_last_packets() {
    let mut slab = Slab::new(1 << 16, 30);
    let mut ring = Ring::default();
    for n in 0..5 {
        slab.forwarded(&mut ring, S, &rtp(n, 0, 7, false), None);
    }
    slab.lost(&mut ring, S, 2, 9);
    let found = ring.expand(&slab, 2 * S);
    let reasons: Vec<u8> = found.iter().map(|one| one.reason).collect();
    assert_eq!(reasons, [0, 0, 0, 9, 9]);
}

#[test]
fn switched_off_it_records_nothing() {
    let mut slab = Slab::new(0, 30);
    let mut ring = Ring::default();
    slab.forwarded(&mut ring, S, &rtp(1, 0, 7, false), None);
    slab.arrived(&mut ring, S, Class::Rtp, remote(), &rtp(1, 2, 3, false));
    slab.settled(&mut ring);
    assert!(ring.expand(&slab, 2 * S).is_empty());
}

#[test]
fn chunks_are_bounded_and_hold_every_entry() {
    let entry = Entry {
        at_us: 5,
        class: Class::Rtp,
        out: true,
        reason: 0,
        length: 100,
        transport_cc: None,
        captured: vec![1; 12],
    };
    let entries = vec![entry; 30_000];
    let made = chunks(&entries, 9, &["duplicate"]);
    assert!(made.len() > 1 && made.iter().all(|one| one.len() < 256 * 1024));
    let head = 1 + 8 + 1 + 1 + "duplicate".len();
    let held: usize = made.iter().map(|one| (one.len() - head) / 24).sum();
    assert_eq!(held, 30_000);
}
