//! What viewers receive of prepared packets.

use proptest::prelude::*;

use super::*;
use crate::rtp::{AudioLevel, HeaderExtensions};

const INCOMING: [(u8, ExtensionKind); 6] = [
    (1, ExtensionKind::Mid),
    (2, ExtensionKind::Rid),
    (3, ExtensionKind::AbsSendTime),
    (4, ExtensionKind::TransportCc),
    (5, ExtensionKind::AudioLevel),
    (6, ExtensionKind::DependencyDescriptor),
];

fn outgoing(transport_cc_id: u8) -> EgressFormat {
    let ids = ExtensionMap::new(&[
        (10, ExtensionKind::Mid),
        (11, ExtensionKind::AbsSendTime),
        (transport_cc_id, ExtensionKind::TransportCc),
        (9, ExtensionKind::AudioLevel),
        (8, ExtensionKind::DependencyDescriptor),
        (7, ExtensionKind::Rid),
    ]);
    EgressFormat::new(ids, &[(96, 101), (111, 100)])
}

fn fields(mid: &[u8]) -> ViewerFields<'_> {
    ViewerFields {
        ssrc: 0xaabb_ccdd,
        sequence_number: 7_000,
        timestamp: 0x0102_0304,
        mid,
        transport_cc: 0x0506,
        abs_send_time: 0x07_0809,
        descriptor: None,
    }
}

/// An incoming packet with the given extension elements.
fn packet(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut data = vec![0x92, 96 | 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    data.extend([0, 0, 0, 4, 0, 0, 0, 5]);
    let mut block = [0; 4096];
    let mut writer = BlockWriter::new(&mut block, true).unwrap();
    for (id, value) in extensions {
        writer.push(*id, value).unwrap();
    }
    let len = writer.finish().unwrap();
    data.extend(&block[..len]);
    data.extend(payload);
    data
}

fn forward(data: &[u8], format: &EgressFormat, fields: &ViewerFields<'_>) -> Vec<u8> {
    let incoming = RtpPacket::parse(data).unwrap();
    let map = ExtensionMap::new(&INCOMING);
    let prepared = PreparedPacket::new(&incoming, &map, format).unwrap();
    let mut out = [0xee; 2048];
    let len = prepared.write_header(fields, &mut out).unwrap();
    assert_eq!(prepared.header_len(fields.mid), len);
    [&out[..len], prepared.payload()].concat()
}

#[test]
fn a_viewer_gets_its_own_fields_and_the_shared_extensions() {
    let descriptor = [0x80, 0, 1];
    let data = packet(
        &[
            (1, b"in"),
            (2, b"r0"),
            (3, &[9, 9, 9]),
            (4, &[9, 9]),
            (5, &[0x83]),
            (6, &descriptor),
        ],
        b"payload",
    );
    let format = outgoing(12);
    let sent = forward(&data, &format, &fields(b"3"));
    let sent = RtpPacket::parse(&sent).unwrap();
    assert!(sent.header.marker);
    assert_eq!(sent.header.payload_type, 101);
    assert_eq!(sent.header.ssrc, 0xaabb_ccdd);
    assert_eq!(sent.header.sequence_number, 7_000);
    assert_eq!(sent.header.timestamp, 0x0102_0304);
    assert_eq!(sent.csrcs().collect::<Vec<_>>(), [4, 5]);
    assert_eq!(sent.payload(), b"payload");
    let expected = HeaderExtensions {
        mid: Some("3"),
        abs_send_time: Some(0x07_0809),
        transport_cc: Some(0x0506),
        audio_level: Some(AudioLevel {
            voice: true,
            level: 3,
        }),
        dependency_descriptor: Some(&descriptor),
        ..Default::default()
    };
    assert_eq!(HeaderExtensions::read(&sent, format.extensions()), expected);
    // The one-byte form, although the packet came in the two-byte form.
    assert_eq!(sent.data()[20..22], [0xbe, 0xde]);
}

#[test]
fn an_empty_dependency_descriptor_is_left_out_and_the_packet_sent() {
    let data = packet(&[(5, &[0x83]), (6, &[])], b"x");
    let format = outgoing(12);
    let sent = forward(&data, &format, &fields(b"3"));
    let sent = RtpPacket::parse(&sent).unwrap();
    let values = HeaderExtensions::read(&sent, format.extensions());
    assert_eq!(values.dependency_descriptor, None);
    assert_eq!((values.mid, sent.payload()), (Some("3"), &b"x"[..]));
}

#[test]
fn long_values_and_high_ids_ask_for_the_two_byte_form() {
    let descriptor = [7; 40];
    let data = packet(&[(6, &descriptor)], b"x");
    let format = outgoing(12);
    let sent = forward(&data, &format, &fields(b"mid"));
    let sent = RtpPacket::parse(&sent).unwrap();
    let values = HeaderExtensions::read(&sent, format.extensions());
    assert_eq!(values.dependency_descriptor, Some(&descriptor[..]));
    assert_eq!(values.mid, Some("mid"));

    let format = outgoing(200);
    let sent = forward(&packet(&[], b"x"), &format, &fields(b"mid"));
    let sent = RtpPacket::parse(&sent).unwrap();
    let values = HeaderExtensions::read(&sent, format.extensions());
    assert_eq!(
        (values.transport_cc, values.mid),
        (Some(0x0506), Some("mid"))
    );
}

#[test]
fn of_repeated_extensions_the_last_is_forwarded_once() {
    let repeated: Vec<(u8, &[u8])> = [&[1u8][..]; 31].map(|value| (5, value)).to_vec();
    let data = packet(&[&repeated[..], &[(5, &[2])]].concat(), b"x");
    let format = outgoing(12);
    let sent = forward(&data, &format, &fields(b"3"));
    let sent = RtpPacket::parse(&sent).unwrap();
    assert_eq!(sent.extensions().filter(|(id, _)| *id == 9).count(), 1);
    let values = HeaderExtensions::read(&sent, format.extensions());
    assert_eq!(values.audio_level.map(|level| level.level), Some(2));
    assert_eq!(values.mid, Some("3"));
}

#[test]
fn an_empty_mid_is_left_out() {
    let format = outgoing(12);
    let sent = forward(&packet(&[], b"x"), &format, &fields(b""));
    let sent = RtpPacket::parse(&sent).unwrap();
    assert_eq!(HeaderExtensions::read(&sent, format.extensions()).mid, None);
}

#[test]
fn a_format_without_extensions_writes_no_block() {
    let format = EgressFormat::new(ExtensionMap::default(), &[(96, 96)]);
    let sent = forward(&packet(&[(5, &[1])], b"x"), &format, &fields(b"0"));
    let sent = RtpPacket::parse(&sent).unwrap();
    assert!(!sent.header.has_extensions);
    assert_eq!(sent.header.header_len, 20);
}

#[test]
fn payload_types_that_are_not_mapped_are_not_forwarded() {
    let mut data = packet(&[], b"x");
    data[1] = 97;
    let incoming = RtpPacket::parse(&data).unwrap();
    let map = ExtensionMap::new(&INCOMING);
    assert!(PreparedPacket::new(&incoming, &map, &outgoing(12)).is_none());
    assert_eq!(
        EgressFormat::new(map, &[(96, 200), (200, 96)]).payload_type(96),
        None
    );
}

#[test]
fn padding_is_not_forwarded() {
    let mut data = packet(&[], &[1, 2, 0, 0, 3]);
    data[0] |= 0x20;
    let sent = forward(&data, &outgoing(12), &fields(b"0"));
    let sent = RtpPacket::parse(&sent).unwrap();
    assert!(!sent.header.has_padding);
    assert_eq!(sent.payload(), [1, 2]);
}

#[test]
fn rtx_packets_repeat_the_payload_behind_its_number() {
    let data = packet(&[(5, &[1])], b"abc");
    let incoming = RtpPacket::parse(&data).unwrap();
    let map = ExtensionMap::new(&INCOMING);
    let prepared = PreparedPacket::new(&incoming, &map, &outgoing(12)).unwrap();
    let mut out = [0; 256];
    let (header_len, len) = prepared
        .write_rtx(&fields(b"0"), 102, 0x1234, &mut out)
        .unwrap();
    let rtx = RtpPacket::parse(&out[..len]).unwrap();
    assert_eq!(rtx.header.header_len, header_len);
    assert_eq!(rtx.header.payload_type, 102);
    assert!(rtx.header.marker);
    assert_eq!(
        crate::rtp::split_rtx_payload(rtx.payload()),
        Some((0x1234, &b"abc"[..]))
    );
    for short in 0..len {
        let out = &mut out[..short];
        assert_eq!(prepared.write_rtx(&fields(b"0"), 102, 1, out), None);
    }
}

#[test]
fn offsets_point_at_the_fields_of_the_moment() {
    let data = packet(&[(5, &[1])], b"abc");
    let incoming = RtpPacket::parse(&data).unwrap();
    let map = ExtensionMap::new(&INCOMING);
    let prepared = PreparedPacket::new(&incoming, &map, &outgoing(12)).unwrap();
    let mut out = [0; 256];
    prepared.write_header(&fields(b"0"), &mut out).unwrap();
    let offsets = prepared.offsets();
    assert_eq!(out[usize::from(offsets.transport_cc)..][..2], [5, 6]);
    assert_eq!(out[usize::from(offsets.abs_send_time)..][..3], [7, 8, 9]);
}

proptest! {
    #[test]
    fn no_extension_is_garbled_and_headers_stay_bounded(
        ids in prop::collection::vec((1u8..7, prop::collection::vec(any::<u8>(), 0..255)), 0..6),
        mid in "[a-z0-9]{0,16}", transport_cc_id in 12u8..30,
    ) {
        let elements: Vec<(u8, &[u8])> = ids.iter().map(|(id, v)| (*id, &v[..])).collect();
        let data = packet(&elements, b"end");
        let format = outgoing(transport_cc_id);
        let sent = forward(&data, &format, &fields(mid.as_bytes()));
        let sent = RtpPacket::parse(&sent).unwrap();
        prop_assert!(sent.header.header_len <= HEADER_LEN_MAX);
        prop_assert_eq!(sent.payload(), b"end");
        let values = HeaderExtensions::read(&sent, format.extensions());
        prop_assert_eq!(values.mid.unwrap_or(""), &mid);
        prop_assert_eq!(values.transport_cc, Some(0x0506));
        prop_assert_eq!(values.rid, None);
        let incoming = RtpPacket::parse(&data).unwrap();
        for (id, value) in sent.extensions().filter(|(id, _)| [8, 9].contains(id)) {
            let came_as = if id == 8 { 6 } else { 5 };
            prop_assert!(incoming.extensions().any(|(i, v)| i == came_as && v == value));
        }
    }
}
