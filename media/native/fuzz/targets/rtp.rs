//! RTP packets: whatever comes in, what goes out is whole, bounded, and bears the same payload.
#![no_main]

use std::sync::LazyLock;

use _native::rtp::{
    EgressFormat, ExtensionKind, ExtensionMap, HEADER_LEN_MAX, HeaderExtensions, PreparedPacket,
    RtpPacket, ViewerFields, restore_rtx, restore_rtx_in_place, split_rtx_payload,
};
use libfuzzer_sys::fuzz_target;

static INCOMING: LazyLock<ExtensionMap> = LazyLock::new(|| {
    let kinds = ExtensionKind::ALL.into_iter();
    ExtensionMap::new(&kinds.map(|kind| (kind as u8 + 1, kind)).collect::<Vec<_>>())
});

static FORMAT: LazyLock<EgressFormat> = LazyLock::new(|| {
    let kinds = ExtensionKind::ALL.into_iter();
    let outgoing = kinds
        .map(|kind| (14 - kind as u8, kind))
        .collect::<Vec<_>>();
    let payload_types: Vec<_> = (0..128).map(|n| (n, 127 - n)).collect();
    EgressFormat::new(ExtensionMap::new(&outgoing), &payload_types)
});

const FIELDS: ViewerFields<'static> = ViewerFields {
    ssrc: 1,
    sequence_number: 2,
    timestamp: 3,
    mid: b"mid",
    transport_cc: 4,
    abs_send_time: 5,
    descriptor: None,
};

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = RtpPacket::parse(data) else {
        return;
    };
    assert_eq!(
        packet.payload().len() + packet.padding_len() + packet.header.header_len,
        data.len()
    );
    let values = HeaderExtensions::read(&packet, &INCOMING);
    forward(&packet, &values);
    restore(&packet, data);
});

fn forward(packet: &RtpPacket<'_>, values: &HeaderExtensions<'_>) {
    let prepared = PreparedPacket::new(packet, &INCOMING, &FORMAT).expect("all types are mapped");
    // Every other packet's dependency descriptor is replaced.
    let other: Option<Vec<u8>> = prepared
        .descriptor()
        .filter(|_| packet.header.sequence_number & 1 == 1)
        .map(|value| value.iter().map(|byte| !byte).collect());
    let fields = ViewerFields {
        descriptor: other.as_deref(),
        ..FIELDS
    };
    let mut out = [0; 4_096];
    let header_len = prepared
        .write_header(&fields, &mut out)
        .expect("there is room");
    assert!(header_len <= HEADER_LEN_MAX);
    let sent_data = [&out[..header_len], prepared.payload()].concat();
    let sent = RtpPacket::parse(&sent_data).expect("what we send is RTP");
    assert_eq!(sent.payload(), packet.payload());
    assert_eq!(sent.header.ssrc, FIELDS.ssrc);
    let sent_values = HeaderExtensions::read(&sent, FORMAT.extensions());
    assert_eq!(sent_values.mid, Some("mid"));
    assert_eq!(sent_values.transport_cc, Some(FIELDS.transport_cc));
    assert_eq!(sent_values.abs_send_time, Some(FIELDS.abs_send_time));
    let expected = fields.descriptor.or(prepared.descriptor());
    assert_eq!(sent_values.dependency_descriptor, expected);
    assert_eq!((sent_values.rid, sent_values.repaired_rid), (None, None));
    if sent_values.audio_level.is_some() {
        assert_eq!(sent_values.audio_level, values.audio_level);
    }
    let (rtx_header_len, rtx_len) = prepared
        .write_rtx(&fields, 9, packet.header.sequence_number, &mut out)
        .expect("there is room");
    assert_eq!(rtx_header_len, header_len);
    let rtx = RtpPacket::parse(&out[..rtx_len]).expect("what we send is RTP");
    let expected = (packet.header.sequence_number, packet.payload());
    assert_eq!(split_rtx_payload(rtx.payload()), Some(expected));
}

fn restore(packet: &RtpPacket<'_>, data: &[u8]) {
    let mut out = [0; 4_096];
    let mut in_place = data.to_vec();
    let restored_len = restore_rtx(packet, 96, 7, &mut out);
    assert_eq!(restore_rtx_in_place(&mut in_place, 96, 7), Ok(restored_len));
    if let Some(len) = restored_len {
        assert_eq!(in_place[..len], out[..len]);
        let original = RtpPacket::parse(&out[..len]).expect("what is restored is RTP");
        assert_eq!(original.payload(), &packet.payload()[2..]);
    }
}
