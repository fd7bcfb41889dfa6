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

#[test]
fn packet_that_follows_as_expected_takes_eight_bytes() {
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
    let bytes: usize = slab
        .pages(&ring, 55 * S)
        .iter()
        .map(|(_, page)| page.len())
        .sum();
    assert!(bytes < 5000 * 8 + 20 * 32, "{bytes}");
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
