//! Rows of one publisher and its viewers.

use _native::wire::orders::{
    ConsumerCodec, ConsumerExtension, ExtensionName, HeaderExtension, IceCredentials, Kind,
    ProducerCodec, ProducerEncoding, SetConsumer, SetProducer, SetTransport,
};

pub(crate) use _native::wire::orders::Direction;

/// Payload types: the publisher's own, then those of viewers.
pub(crate) const VP8: u8 = 96;
pub(crate) const VP8_RTX: u8 = 97;
pub(crate) const OPUS: u8 = 111;
pub(crate) const MAPPED_VP8: u8 = 101;
pub(crate) const MAPPED_VP8_RTX: u8 = 102;
pub(crate) const MAPPED_OPUS: u8 = 100;

/// Extension ids of the publisher.
pub(crate) const MID: u8 = 4;
pub(crate) const RID: u8 = 10;
pub(crate) const REPAIRED_RID: u8 = 11;
pub(crate) const TRANSPORT_CC: u8 = 3;
pub(crate) const AUDIO_LEVEL: u8 = 5;

/// Extension ids of viewers.
pub(crate) const VIEWER_MID: u8 = 1;
pub(crate) const VIEWER_ABS_SEND_TIME: u8 = 7;
pub(crate) const VIEWER_TRANSPORT_CC: u8 = 8;
pub(crate) const VIEWER_AUDIO_LEVEL: u8 = 9;

pub(crate) fn credentials(generation: &str) -> IceCredentials {
    IceCredentials {
        ufrag: format!("ufrag-{generation}"),
        pwd: format!("{generation:-<22}"),
    }
}

pub(crate) fn transport(id: &str, direction: Direction) -> SetTransport {
    SetTransport {
        transport: id.into(),
        worker: 0,
        direction,
        ice: vec![credentials(id)],
        dtls_role: None,
        fingerprints: Vec::new(),
        room: String::new(),
    }
}

fn extension(name: ExtensionName, id: u8, mapped_id: u8) -> HeaderExtension {
    HeaderExtension {
        name,
        id,
        mapped_id,
    }
}

/// A video producer; encodings by (rid, ssrc).
pub(crate) fn video(
    id: &str,
    transport: &str,
    encodings: &[(Option<&str>, Option<u32>)],
) -> SetProducer {
    let encoding = |&(rid, ssrc): &(Option<&str>, Option<u32>)| ProducerEncoding {
        rid: rid.map(Into::into),
        ssrc,
        rtx_ssrc: ssrc.map(|ssrc| ssrc + 1),
        scalability_mode: None,
    };
    SetProducer {
        producer: id.into(),
        transport: transport.into(),
        kind: Kind::Video,
        codecs: vec![ProducerCodec {
            payload_type: VP8,
            mapped_payload_type: MAPPED_VP8,
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            channels: None,
            rtx_payload_type: Some(VP8_RTX),
            mapped_rtx_payload_type: Some(MAPPED_VP8_RTX),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: false,
        }],
        encodings: encodings.iter().map(encoding).collect(),
        header_extensions: vec![
            extension(ExtensionName::Mid, MID, VIEWER_MID),
            extension(ExtensionName::Rid, RID, 2),
            extension(ExtensionName::RepairedRid, REPAIRED_RID, 3),
            extension(
                ExtensionName::TransportCc,
                TRANSPORT_CC,
                VIEWER_TRANSPORT_CC,
            ),
        ],
        mid: Some(id.into()),
        cname: "publisher".into(),
        paused: false,
    }
}

/// A video producer of one stream of VP9 with layers inside.
pub(crate) fn svc(id: &str, transport: &str, ssrc: u32, mode: &str) -> SetProducer {
    let mut row = video(id, transport, &[(None, Some(ssrc))]);
    row.codecs[0].mime_type = "video/VP9".into();
    row.encodings[0].scalability_mode = Some(mode.into());
    row
}

/// An audio producer.
pub(crate) fn audio(id: &str, transport: &str, ssrc: u32) -> SetProducer {
    SetProducer {
        kind: Kind::Audio,
        codecs: vec![ProducerCodec {
            payload_type: OPUS,
            mapped_payload_type: MAPPED_OPUS,
            mime_type: "audio/opus".into(),
            clock_rate: 48_000,
            channels: Some(2),
            rtx_payload_type: None,
            mapped_rtx_payload_type: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: true,
            remb: false,
        }],
        encodings: vec![ProducerEncoding {
            rid: None,
            ssrc: Some(ssrc),
            rtx_ssrc: None,
            scalability_mode: None,
        }],
        header_extensions: vec![
            extension(ExtensionName::Mid, MID, VIEWER_MID),
            extension(ExtensionName::AudioLevel, AUDIO_LEVEL, VIEWER_AUDIO_LEVEL),
        ],
        ..video(id, transport, &[])
    }
}

fn taken(name: ExtensionName, id: u8) -> ConsumerExtension {
    ConsumerExtension { name, id }
}

/// A viewer's copy of a video producer.
pub(crate) fn view(id: &str, transport: &str, producer: &str, ssrc: u32) -> SetConsumer {
    SetConsumer {
        consumer: id.into(),
        transport: transport.into(),
        producer: producer.into(),
        kind: Kind::Video,
        ssrc,
        codecs: vec![ConsumerCodec {
            payload_type: MAPPED_VP8,
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            rtx_payload_type: Some(MAPPED_VP8_RTX),
            nack: true,
            pli: true,
            fir: true,
        }],
        header_extensions: vec![
            taken(ExtensionName::Mid, VIEWER_MID),
            taken(ExtensionName::AbsSendTime, VIEWER_ABS_SEND_TIME),
            taken(ExtensionName::TransportCc, VIEWER_TRANSPORT_CC),
        ],
        mid: "v0".into(),
        cname: "publisher".into(),
        rtx_ssrc: Some(ssrc + 1),
        paused: false,
        spatial_layer: None,
        temporal_layer: None,
        priority: 1,
    }
}

/// The same of VP9.
pub(crate) fn view_vp9(id: &str, transport: &str, producer: &str, ssrc: u32) -> SetConsumer {
    let mut row = view(id, transport, producer, ssrc);
    row.codecs[0].mime_type = "video/VP9".into();
    row
}

/// A viewer's copy of an audio producer.
pub(crate) fn listen(id: &str, transport: &str, producer: &str, ssrc: u32) -> SetConsumer {
    SetConsumer {
        kind: Kind::Audio,
        codecs: vec![ConsumerCodec {
            payload_type: MAPPED_OPUS,
            mime_type: "audio/opus".into(),
            clock_rate: 48_000,
            rtx_payload_type: None,
            nack: false,
            pli: false,
            fir: false,
        }],
        header_extensions: vec![
            taken(ExtensionName::Mid, VIEWER_MID),
            taken(ExtensionName::AudioLevel, VIEWER_AUDIO_LEVEL),
        ],
        mid: "a0".into(),
        rtx_ssrc: None,
        ..view(id, transport, producer, ssrc)
    }
}
