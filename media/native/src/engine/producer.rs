//! A media source and the formats in which its viewers get it.

use super::apply::extension_kind;
use super::config::Limits;
use super::consumer::Consumer;
use super::demand::Demand;
use super::encoding::{Encoding, SILENCE_NS};
use super::filter::{Structure, spatial_layers};
use super::loudness::Loudness;
use super::mirror::{Feed, Home};
use super::table::{ConsumerKey, TransportKey};
use crate::codec::{Codec, PayloadInfo};
use crate::rtp::{EgressFormat, ExtensionKind, ExtensionMap};
use crate::wire::orders::{Kind, ProducerCodec, SetProducer};

/// A packet that waits to be forwarded. Its bytes are in the encoding's cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub(crate) encoding: u8,
    /// Extended sequence number in its encoding.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) received_ns: u64,
    /// A decoder can start with it.
    pub(crate) start: bool,
    /// Only padding: left out without a gap.
    pub(crate) empty: bool,
    pub(crate) info: PayloadInfo,
    /// It belongs to a keyframe, in whichever spatial layer.
    pub(crate) key_picture: bool,
    /// Its encoding has another source since: it is in no cache any more.
    pub(crate) void: bool,
}

/// A codec of the producer with what is looked up for each packet.
#[derive(Clone, Debug)]
pub(crate) struct CodecEntry {
    pub(crate) row: ProducerCodec,
    /// None for one whose payload we can't read: forwarded from any packet on.
    pub(crate) codec: Option<Codec>,
}

/// An [`EgressFormat`] and how many consumers share it.
#[derive(Clone, Debug)]
pub(crate) struct SharedFormat {
    pub(crate) format: EgressFormat,
    /// Whether its packets bear transport-wide numbers.
    pub(crate) numbers_packets: bool,
    pub(crate) users: usize,
}

pub(crate) struct Producer {
    pub(crate) row: SetProducer,
    pub(crate) home: Home,
    /// Its mirrors on other workers.
    pub(crate) feeds: Vec<Feed>,
    pub(crate) codecs: Vec<CodecEntry>,
    /// The extensions of its own row: what viewers get depends on nothing else.
    pub(crate) extensions: ExtensionMap,
    pub(crate) encodings: Vec<Encoding>,
    pub(crate) consumers: Vec<ConsumerKey>,
    pub(crate) formats: Vec<SharedFormat>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) active: bool,
    pub(crate) scores: Vec<u32>,
    pub(crate) scores_sent_ns: u64,
    pub(crate) loudness: Loudness,
    pub(crate) demand: Demand,
    /// When layers inside of its only stream were asked for that rested.
    pub(crate) woken_ns: Option<u64>,
}

impl Producer {
    pub(crate) fn new(row: SetProducer, home: Home, limits: &Limits) -> Self {
        let mut producer = Self {
            home,
            feeds: Vec::new(),
            codecs: Vec::new(),
            extensions: ExtensionMap::new(&[]),
            encodings: Vec::new(),
            consumers: Vec::new(),
            formats: Vec::new(),
            pending: Vec::new(),
            active: false,
            scores: Vec::new(),
            scores_sent_ns: 0,
            loudness: Loudness::default(),
            demand: Demand::default(),
            woken_ns: None,
            row,
        };
        producer.set_codecs();
        producer.set_encodings(limits);
        producer
    }

    /// The transport that its packets come by; None for a mirror.
    pub(crate) fn transport(&self) -> Option<TransportKey> {
        self.home.transport()
    }

    /// The score of what a viewer is sent of it.
    pub(crate) fn score_seen_by(&self, consumer: &Consumer) -> u32 {
        let seen = usize::from(consumer.selection.current().unwrap_or(0));
        self.scores.get(seen).copied().unwrap_or(0)
    }

    /// Whether nobody gets its packets, here or on other workers.
    pub(crate) fn has_no_viewers(&self) -> bool {
        self.consumers.is_empty() && self.feeds.is_empty()
    }

    /// Takes the codecs and extensions of the row over.
    pub(crate) fn set_codecs(&mut self) {
        let entry = |row: &ProducerCodec| CodecEntry {
            codec: Codec::from_mime_type(&row.mime_type),
            row: row.clone(),
        };
        self.codecs = self.row.codecs.iter().map(entry).collect();
        let pairs = self.row.header_extensions.iter();
        let pairs: Vec<_> = pairs
            .map(|one| (one.id, extension_kind(one.name)))
            .collect();
        self.extensions = ExtensionMap::new(&pairs);
    }

    /// Takes the encodings of the row over; all that was known of them is forgotten.
    pub(crate) fn set_encodings(&mut self, limits: &Limits) {
        let kind = self.row.kind;
        let clock_rate = self
            .row
            .codecs
            .first()
            .map_or(90_000, |codec| codec.clock_rate);
        let make = |row: &crate::wire::orders::ProducerEncoding| {
            let mut encoding = Encoding::new(row.rid.clone(), kind, clock_rate, limits);
            encoding.rtx_ssrc = row.rtx_ssrc;
            encoding.structure = Structure::of(row.scalability_mode.as_deref());
            encoding.spatial_layers = spatial_layers(row.scalability_mode.as_deref());
            if let Some(ssrc) = row.ssrc {
                encoding.set_ssrc(ssrc, limits, kind);
            }
            encoding
        };
        self.encodings = self.row.encodings.iter().map(make).collect();
        self.scores = vec![0; self.encodings.len()];
        self.pending.clear();
        self.demand.forget();
    }

    pub(crate) fn codec_of(&self, payload_type: u8) -> Option<&CodecEntry> {
        self.codecs
            .iter()
            .find(|entry| entry.row.payload_type == payload_type)
    }

    /// The codec whose retransmissions have this payload type.
    pub(crate) fn codec_of_rtx(&self, payload_type: u8) -> Option<&CodecEntry> {
        self.codecs
            .iter()
            .find(|entry| entry.row.rtx_payload_type == Some(payload_type))
    }

    /// The codec that an encoding was last seen to use, else the first one.
    pub(crate) fn codec_in_use(&self, encoding: u8) -> Option<&CodecEntry> {
        let seen = self.encodings.get(usize::from(encoding))?.payload_type;
        seen.and_then(|payload_type| self.codec_of(payload_type))
            .or(self.codecs.first())
    }

    /// The highest layer that its publisher has: of encodings, or of spatial ones inside of its only
    /// stream.
    pub(crate) fn top_layer(&self) -> u8 {
        match self.encodings.as_slice() {
            [only] if only.structure != Structure::Flat => only.spatial_layers.saturating_sub(1),
            all => all.len().saturating_sub(1) as u8,
        }
    }

    /// Whether its only stream flows without this layer inside of it.
    pub(crate) fn lacks_inside(&self, now_ns: u64, layer: u8) -> bool {
        let [only] = self.encodings.as_slice() else {
            return false;
        };
        let is_layered = only.live && only.structure != Structure::Flat;
        is_layered && only.rates.is_measured(now_ns) && only.rates.highest(now_ns).0 < layer
    }

    /// Whether layers inside of its only stream were asked for so shortly ago that they need not flow yet.
    pub(crate) fn wakes_inside(&self, now_ns: u64) -> bool {
        let woken_ns = self.woken_ns;
        woken_ns.is_some_and(|woken_ns| now_ns.saturating_sub(woken_ns) < SILENCE_NS)
    }

    pub(crate) fn is_video(&self) -> bool {
        self.row.kind == Kind::Video
    }

    /// The place of a format among those that are shared; it has one user more.
    pub(crate) fn take_format(
        &mut self,
        extensions: &[(u8, ExtensionKind)],
        payload_types: &[(u8, u8)],
    ) -> usize {
        let red = self.codecs.iter().find(|one| one.codec == Some(Codec::Red));
        let format = EgressFormat::new(ExtensionMap::new(extensions), payload_types)
            .with_red(red.map(|one| one.row.payload_type));
        if let Some(place) = self.formats.iter().position(|one| one.format == format) {
            self.formats[place].users += 1;
            return place;
        }
        let numbers_packets = format.extensions().id(ExtensionKind::TransportCc).is_some();
        let shared = SharedFormat {
            format,
            numbers_packets,
            users: 1,
        };
        match self.formats.iter().position(|one| one.users == 0) {
            Some(place) => {
                self.formats[place] = shared;
                place
            }
            None => {
                self.formats.push(shared);
                self.formats.len() - 1
            }
        }
    }

    /// One user less.
    pub(crate) fn release_format(&mut self, place: usize) {
        let format = &mut self.formats[place];
        assert!(format.users > 0, "a format is released by its users only");
        format.users -= 1;
    }
}
