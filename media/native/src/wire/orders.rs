//! Orders: what the control plane tells the media plane.
//!
//! The Rust face of `protocol/orders.py`, which is the contract: same names,
//! same fields, same defaults, msgpack maps whose key `type` names the struct.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Version of orders and notices; `Hello` refuses another.
pub const PLANE_PROTOCOL: u32 = 1;

/// Bytes that must not appear in a log: an SRTP key with its salt.
///
/// Its `Debug` is redacted; read it with [`Secret::expose`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(ByteBuf);

impl Secret {
    /// Wraps secret bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(ByteBuf::from(bytes.into()))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Audio.
    Audio,
    /// Video.
    Video,
}

/// What an entry of the table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A BUNDLE transport.
    Transport,
    /// A media source.
    Producer,
    /// A viewer's copy of a producer.
    Consumer,
}

/// Which way media flows on a transport, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The client publishes.
    Send,
    /// The client views.
    Recv,
}

/// A header extension that the plane knows (RFC 8285).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExtensionName {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143).
    Mid,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852).
    Rid,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852).
    RepairedRid,
    /// 24-bit absolute send time.
    AbsSendTime,
    /// Transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// Client-to-mixer audio level (RFC 6464).
    AudioLevel,
    /// Video orientation (3GPP TS 26.114).
    VideoOrientation,
    /// Playout delay limits.
    PlayoutDelay,
    /// AV1 dependency descriptor.
    DependencyDescriptor,
    /// Video layers allocation.
    VideoLayersAllocation,
    /// Absolute capture time.
    AbsCaptureTime,
}

impl ExtensionName {
    /// How many names there are.
    pub const COUNT: usize = 11;

    /// A dense index below [`Self::COUNT`].
    pub fn index(self) -> usize {
        self as usize
    }
}

/// How SRTP protects the packets of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SrtpProfile {
    /// RFC 7714, 128-bit key.
    #[serde(rename = "AEAD_AES_128_GCM")]
    AeadAes128Gcm,
    /// RFC 7714, 256-bit key.
    #[serde(rename = "AEAD_AES_256_GCM")]
    AeadAes256Gcm,
    /// RFC 3711 with an 80-bit tag.
    #[serde(rename = "AES128_CM_HMAC_SHA1_80")]
    Aes128CmHmacSha1_80,
}

/// Local ICE credentials of one generation (RFC 8445, 5.3).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceCredentials {
    /// Username fragment; unique in the plane.
    pub ufrag: String,
    /// Password.
    #[serde(default)]
    pub pwd: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceCredentials")
            .field("ufrag", &self.ufrag)
            .finish_non_exhaustive()
    }
}

/// One BUNDLE transport: ICE-lite, DTLS-SRTP, rtcp-mux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetTransport {
    /// Its id.
    pub transport: String,
    /// Index of the thread that owns it.
    pub worker: u32,
    /// Who sends media on it.
    pub direction: Direction,
    /// Accepted credentials, newest first; at most two are used.
    pub ice: Vec<IceCredentials>,
    /// For the DTLS driver in Python; ignored here.
    #[serde(default)]
    pub dtls_role: Option<String>,
    /// For the DTLS driver in Python; ignored here.
    #[serde(default)]
    pub fingerprints: Vec<(String, String)>,
    /// The room that it belongs to; without one there is no telemetry of it.
    #[serde(default)]
    pub room: String,
}

/// Keys of a finished DTLS handshake (RFC 5764, 4.2), each key followed by its salt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetSrtpKeys {
    /// The transport's id.
    pub transport: String,
    /// The negotiated profile.
    pub profile: SrtpProfile,
    /// What we protect with.
    pub local: Secret,
    /// What the peer protects with.
    pub remote: Secret,
}

/// A codec as the publisher numbers it, and as all its viewers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerCodec {
    /// The publisher's payload type.
    pub payload_type: u8,
    /// The viewers' payload type.
    pub mapped_payload_type: u8,
    /// Such as `video/VP8`.
    pub mime_type: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// Audio channels.
    #[serde(default)]
    pub channels: Option<u32>,
    /// The publisher's RTX payload type (RFC 4588).
    #[serde(default)]
    pub rtx_payload_type: Option<u8>,
    /// The viewers' RTX payload type.
    #[serde(default)]
    pub mapped_rtx_payload_type: Option<u8>,
    /// Whether the publisher answers generic NACKs.
    #[serde(default)]
    pub nack: bool,
    /// Whether it takes PLI.
    #[serde(default)]
    pub pli: bool,
    /// Whether it takes FIR.
    #[serde(default)]
    pub fir: bool,
    /// Whether it takes transport-wide feedback.
    #[serde(default)]
    pub transport_cc: bool,
    /// Whether it takes REMB.
    #[serde(default)]
    pub remb: bool,
}

/// One RTP stream of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerEncoding {
    /// RTP stream id (RFC 8852).
    #[serde(default)]
    pub rid: Option<String>,
    /// Media SSRC; learned when absent.
    #[serde(default)]
    pub ssrc: Option<u32>,
    /// RTX SSRC; learned when absent.
    #[serde(default)]
    pub rtx_ssrc: Option<u32>,
    /// Such as `L1T3`.
    #[serde(default)]
    pub scalability_mode: Option<String>,
}

/// A header extension: the publisher's id and the one that viewers see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderExtension {
    /// Which.
    pub name: ExtensionName,
    /// The publisher's id.
    pub id: u8,
    /// The viewers' id.
    pub mapped_id: u8,
}

/// One media source on a `send` transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetProducer {
    /// Its id.
    pub producer: String,
    /// Its transport.
    pub transport: String,
    /// Audio or video.
    pub kind: Kind,
    /// What it may send.
    pub codecs: Vec<ProducerCodec>,
    /// Its streams, lowest spatial layer first.
    pub encodings: Vec<ProducerEncoding>,
    /// The extensions that it may send.
    pub header_extensions: Vec<HeaderExtension>,
    /// Its media section (RFC 9143).
    #[serde(default)]
    pub mid: Option<String>,
    /// The publisher's CNAME.
    #[serde(default)]
    pub cname: String,
    /// Whether its packets are withheld from viewers.
    #[serde(default)]
    pub paused: bool,
}

/// A codec as the viewer numbers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerCodec {
    /// The viewer's payload type: the producer's mapped one.
    pub payload_type: u8,
    /// Such as `video/VP8`.
    pub mime_type: String,
    /// RTP clock in Hz.
    pub clock_rate: u32,
    /// The viewer's RTX payload type.
    #[serde(default)]
    pub rtx_payload_type: Option<u8>,
    /// Whether the viewer sends NACKs.
    #[serde(default)]
    pub nack: bool,
    /// Whether the viewer sends PLI.
    #[serde(default)]
    pub pli: bool,
    /// Whether the viewer sends FIR.
    #[serde(default)]
    pub fir: bool,
}

/// A header extension that the viewer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerExtension {
    /// Which.
    pub name: ExtensionName,
    /// The viewer's id.
    pub id: u8,
}

/// One viewer's copy of a producer on a `recv` transport.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetConsumer {
    /// Its id.
    pub consumer: String,
    /// Its transport.
    pub transport: String,
    /// The producer that it copies.
    pub producer: String,
    /// Audio or video.
    pub kind: Kind,
    /// The SSRC that the viewer sees.
    pub ssrc: u32,
    /// What the viewer can decode.
    pub codecs: Vec<ConsumerCodec>,
    /// The extensions that it takes.
    pub header_extensions: Vec<ConsumerExtension>,
    /// Its media section.
    pub mid: String,
    /// The CNAME of its streams.
    pub cname: String,
    /// The SSRC of retransmissions (RFC 4588).
    #[serde(default)]
    pub rtx_ssrc: Option<u32>,
    /// Whether nothing is sent.
    #[serde(default)]
    pub paused: bool,
    /// Highest wanted spatial layer; None: the highest there is.
    #[serde(default)]
    pub spatial_layer: Option<u32>,
    /// Highest wanted temporal layer; None: the highest there is.
    #[serde(default)]
    pub temporal_layer: Option<u32>,
    /// 1 to 255: of the transport's bandwidth, videos of higher priority get theirs first.
    #[serde(default = "least_priority")]
    pub priority: u8,
}

fn least_priority() -> u8 {
    1
}

/// Takes an entry, and all that hangs on it, out of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// What it is.
    pub kind: EntryKind,
    /// Its id.
    pub id: String,
}

/// Asks the publisher for a keyframe on behalf of one consumer; coalesced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestKeyFrame {
    /// The consumer's id.
    pub consumer: String,
}

/// DTLS records to send to the transport's selected tuple, one datagram each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendDtls {
    /// The transport's id.
    pub transport: String,
    /// A datagram each.
    pub datagrams: Vec<ByteBuf>,
}

/// Hands over what the flight recorder holds of a transport, as `Recording` notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeRecorder {
    /// The transport's id.
    pub transport: String,
    /// Why, in a word.
    pub reason: String,
    /// Of the event in the room's log that asked for it.
    pub position: u64,
}

/// First order on a connection: takes over the plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PLANE_PROTOCOL`] of the controller.
    pub protocol: u32,
    /// The controller's version, for logs.
    pub version: String,
    /// How long the plane goes on without a controller, in ms.
    pub grace_ms: u64,
}

/// Asks for the statistics of entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryStats {
    /// Ids of transports, producers and consumers; unknown ones are left out.
    pub ids: Vec<String>,
}

/// Makes or changes a mirror of a producer that lives on another worker.
///
/// Only the plane says it, to the engines of workers that have consumers of the producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetMirror {
    /// The worker on which the producer lives.
    pub home: u32,
    /// The producer's row.
    pub row: SetProducer,
}

/// An order; the key `type` of its map is the variant's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Order {
    /// Upserts a transport.
    SetTransport(SetTransport),
    /// Starts SRTP.
    SetSrtpKeys(SetSrtpKeys),
    /// Upserts a producer.
    SetProducer(SetProducer),
    /// Upserts a consumer.
    SetConsumer(SetConsumer),
    /// Removes an entry.
    Remove(Remove),
    /// Asks for a keyframe.
    RequestKeyFrame(RequestKeyFrame),
    /// Sends DTLS records.
    SendDtls(SendDtls),
    /// Freezes a recording.
    FreezeRecorder(FreezeRecorder),
    /// Takes over the plane.
    Hello(Hello),
    /// Asks for the whole table.
    Describe {},
    /// Asks for statistics.
    QueryStats(QueryStats),
    /// Ends the plane.
    Quit {},
    /// Within the plane: makes a mirror.
    #[serde(skip)]
    SetMirror(SetMirror),
    /// Of a type that this plane does not know: a newer control process asks for it.
    #[serde(other)]
    Unknown,
}
