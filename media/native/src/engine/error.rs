//! Why orders are refused and packets dropped: two closed lists.

use std::fmt;

/// Why an order was refused. The table is then as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// The row names another worker than this engine's.
    WrongWorker,
    /// No such transport.
    UnknownTransport,
    /// No such producer.
    UnknownProducer,
    /// No such consumer.
    UnknownConsumer,
    /// Producers need a `send` transport, consumers a `recv` one.
    WrongDirection,
    /// A row changes what can't change: the transport, the producer, the kind, the direction.
    ImmutableField,
    /// A value is out of its range.
    InvalidRow,
    /// Another transport has this ufrag.
    UfragInUse,
    /// Another stream of the transport has this SSRC.
    SsrcInUse,
    /// The transport's producers disagree on a header extension's id.
    ExtensionConflict,
    /// No codec of the consumer is one of the producer.
    NoCommonCodec,
    /// The key or salt has not the profile's length.
    BadKeyLength,
    /// A table is full.
    TableFull,
    /// The order is for the plane, not for an engine.
    NotForEngine,
    /// The order's type is not known here.
    UnknownOrder,
}

impl OrderError {
    /// The word on the wire.
    pub fn code(self) -> &'static str {
        match self {
            Self::WrongWorker => "wrong_worker",
            Self::UnknownTransport => "unknown_transport",
            Self::UnknownProducer => "unknown_producer",
            Self::UnknownConsumer => "unknown_consumer",
            Self::WrongDirection => "wrong_direction",
            Self::ImmutableField => "immutable_field",
            Self::InvalidRow => "invalid_row",
            Self::UfragInUse => "ufrag_in_use",
            Self::SsrcInUse => "ssrc_in_use",
            Self::ExtensionConflict => "extension_conflict",
            Self::NoCommonCodec => "no_common_codec",
            Self::BadKeyLength => "bad_key_length",
            Self::TableFull => "table_full",
            Self::NotForEngine => "not_for_engine",
            Self::UnknownOrder => "unknown_order",
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongWorker => "the transport is for another worker",
            Self::UnknownTransport => "there is no such transport",
            Self::UnknownProducer => "there is no such producer",
            Self::UnknownConsumer => "there is no such consumer",
            Self::WrongDirection => "media of this entry does not flow that way on the transport",
            Self::ImmutableField => "the row changes what is fixed for the entry's life",
            Self::InvalidRow => "a value of the row is out of its range",
            Self::UfragInUse => "another transport has this ufrag",
            Self::SsrcInUse => "another stream of the transport has this SSRC",
            Self::ExtensionConflict => "header extension ids contradict another producer's",
            Self::NoCommonCodec => "no codec of the consumer is one of the producer",
            Self::BadKeyLength => "key or salt have not the profile's length",
            Self::TableFull => "the table is full",
            Self::NotForEngine => "the order is for the plane",
            Self::UnknownOrder => "this plane knows no such order",
        })
    }
}

impl std::error::Error for OrderError {}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident => $word:literal,)*) => {
        /// Why something that came from the network was dropped; each has its counter.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum DropReason {
            $($(#[$doc])* $variant,)*
        }

        impl DropReason {
            /// All reasons.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in `TransportStats.drops`.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

// Recordings hold their places: new ones come last.
drop_reasons! {
    /// Not STUN, DTLS, RTP or RTCP.
    UnknownDatagram => "unknown_datagram",
    /// Not a STUN message.
    StunMalformed => "stun_malformed",
    /// A STUN message that a lite agent does not expect.
    StunUnexpected => "stun_unexpected",
    /// USERNAME or MESSAGE-INTEGRITY is missing.
    StunIncomplete => "stun_incomplete",
    /// A ufrag that no transport has.
    StunUnknownUfrag => "stun_unknown_ufrag",
    /// MESSAGE-INTEGRITY does not match.
    StunForged => "stun_forged",
    /// Attributes that must be understood and are not.
    StunUnknownAttribute => "stun_unknown_attribute",
    /// The peer claims the controlled role, which is ours.
    StunRoleConflict => "stun_role_conflict",
    /// Media or DTLS from an address without a verified check.
    UnverifiedTuple => "unverified_tuple",
    /// A verified address moved to another transport.
    TupleStolen => "tuple_stolen",
    /// More DTLS than a handshake needs.
    DtlsFlood => "dtls_flood",
    /// Media before the handshake is done.
    SrtpNotReady => "srtp_not_ready",
    /// SRTP that does not authenticate.
    SrtpForged => "srtp_forged",
    /// SRTP that was seen before.
    SrtpReplay => "srtp_replay",
    /// SRTP older than the replay window.
    SrtpTooOld => "srtp_too_old",
    /// More SSRCs than one transport may use.
    SrtpTooManySources => "srtp_too_many_sources",
    /// SRTCP that does not authenticate.
    SrtcpForged => "srtcp_forged",
    /// SRTCP that was seen before, or is too old.
    SrtcpReplay => "srtcp_replay",
    /// Authentic, but not an RTP packet.
    RtpMalformed => "rtp_malformed",
    /// Authentic, but not RTCP.
    RtcpMalformed => "rtcp_malformed",
    /// Media from a viewer.
    UnexpectedMedia => "unexpected_media",
    /// No producer claims the SSRC, the mid, the rid or the payload type.
    UnknownSsrc => "unknown_ssrc",
    /// The producer has no such payload type.
    UnknownPayloadType => "unknown_payload_type",
    /// SSRCs could not be learned any more.
    TooManySsrcs => "too_many_ssrcs",
    /// An RTX packet without a packet in it: a bandwidth probe.
    RtxProbe => "rtx_probe",
    /// An RTX packet whose payload type belongs to no codec.
    RtxUnmatched => "rtx_unmatched",
    /// A packet that had come before.
    Duplicate => "duplicate",
    /// Longer than any packet that is forwarded.
    TooLong => "too_long",
    /// The engine was not drained in time.
    ForwardQueueFull => "forward_queue_full",
    /// The kernel's send buffer stayed full.
    SendBufferFull => "send_buffer_full",
    /// The ring to another worker was full; its viewers miss the packet.
    WorkerRingFull => "worker_ring_full",
    /// More media than one publisher may send.
    MediaFlood => "media_flood",
    /// More RTCP than one transport may send.
    RtcpFlood => "rtcp_flood",
    /// More STUN than one address may send, or all strangers together.
    StunFlood => "stun_flood",
}

/// A counter for each [`DropReason`].
#[derive(Clone, Debug)]
pub struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// Counts one.
    pub fn count(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How many were dropped for a reason.
    pub fn of(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// How many were dropped.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The reasons that occurred, by their words.
    pub fn by_word(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counted = DropReason::ALL
            .iter()
            .map(|&reason| (reason.word(), self.of(reason)));
        counted.filter(|&(_, count)| count > 0)
    }
}
