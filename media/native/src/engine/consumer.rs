//! One viewer's copy of a producer.

use super::Notices;
use super::allocate::Memory;
use super::encoding::{Encoding, Repairs};
use super::filter::{ALL, LayerFilter, Structure};
use super::freeze::FreezeWatch;
use super::meter::{Budget, RateMeter};
use super::pacing::Cursor;
use super::picture::PictureNumbers;
use super::producer::Producer;
use super::rewrite::Rewriter;
use super::selection::Selection;
use super::table::{ProducerKey, TransportKey};
use crate::rtcp::ReportBlock;
use crate::rtp::Mid;
use crate::srtp::OutboundStream;
use crate::wire::notices::Notice;
use crate::wire::orders::{Kind, SetConsumer};

/// Retransmissions that are remembered, so that one loss is not answered twice.
pub(crate) const RESENT_MAX: usize = 64;

/// Counters of one stream to a viewer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OutboundCounters {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) header_bytes: u64,
    pub(crate) retransmitted: u64,
    pub(crate) nacks: u64,
    pub(crate) plis: u64,
    pub(crate) firs: u64,
    pub(crate) key_frames: u64,
}

/// What a consumer was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    /// Highest (spatial, temporal) layers; None: nothing.
    pub(crate) layers: Option<(u8, u8)>,
    /// More is wanted and there.
    pub(crate) is_limited: bool,
    /// What these layers take.
    pub(crate) bitrate_bps: u64,
}

/// Why a viewer is sent the layers that it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reason {
    /// It is all that there is, or the viewer wants no more.
    #[default]
    Preferred,
    /// Its bandwidth allows no more.
    Bandwidth,
    /// The publisher's stream began, ended, or is another one.
    Publisher,
    /// The viewer or the publisher paused it.
    Paused,
    /// Its transport can't send: consent is lost, or keys are new.
    Transport,
}

impl Reason {
    /// The word for it in notices and the log.
    pub fn word(self) -> &'static str {
        match self {
            Self::Preferred => "preferred",
            Self::Bandwidth => "bandwidth",
            Self::Publisher => "publisher",
            Self::Paused => "paused",
            Self::Transport => "transport",
        }
    }
}

/// The retransmission stream of a consumer (RFC 4588).
#[derive(Clone, Debug)]
pub(crate) struct RtxStream {
    pub(crate) ssrc: u32,
    pub(crate) stream: OutboundStream,
    /// Next extended sequence number.
    pub(crate) next: u64,
}

/// What the viewer last reported.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) block: Option<ReportBlock>,
    pub(crate) round_trip_ns: Option<u64>,
    pub(crate) repairs: Repairs,
}

/// What each packet needs of its row: there, the fields lie far apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brief {
    pub(crate) ssrc: u32,
    pub(crate) mid: Mid,
    pub(crate) is_video: bool,
    pub(crate) has_rtx: bool,
    pub(crate) paused: bool,
}

impl Brief {
    pub(crate) fn of(row: &SetConsumer) -> Self {
        Self {
            ssrc: row.ssrc,
            mid: Mid::new(&row.mid),
            is_video: row.kind == Kind::Video,
            has_rtx: row.rtx_ssrc.is_some(),
            paused: row.paused,
        }
    }
}

/// What each packet reads and writes stands first and in this order: between two turns of a viewer, hundreds
/// of others have pushed its lines out of the core's cache, and a turn costs as much as it touches lines.
#[repr(C, align(64))]
pub(crate) struct Consumer {
    pub(crate) transport: TransportKey,
    pub(crate) producer: ProducerKey,
    /// Place among the producer's formats.
    pub(crate) format: usize,
    /// Number of the first packet, among all that were ever served, that it has not had.
    pub(crate) served: u64,
    pub(crate) selection: Selection,
    pub(crate) filter: LayerFilter,
    /// What the next segment's filter aims at.
    pub(crate) wanted: (u8, u8),
    /// The present encoding takes too much: it ends with its frame.
    pub(crate) cut: bool,
    pub(crate) last_payload_type: Option<u8>,
    pub(crate) brief: Brief,
    /// Where it stands behind the newest packet, if it does or did lately.
    pub(crate) cursor: Option<Cursor>,
    pub(crate) meter: RateMeter,
    pub(crate) counters: OutboundCounters,
    pub(crate) pictures: PictureNumbers,
    pub(crate) stream: OutboundStream,
    pub(crate) rewriter: Rewriter,

    pub(crate) row: SetConsumer,
    pub(crate) clock_rate: u32,
    /// Incoming payload type to outgoing RTX payload type.
    pub(crate) rtx_payload_types: Vec<(u8, u8)>,
    pub(crate) rtx: Option<RtxStream>,
    /// Outgoing number of what it began with after it was cut off: nothing before is sent again.
    pub(crate) forsaken: u64,
    /// The keyframe of the lower encoding is asked for then: the queue that it has to come through
    /// drains meanwhile.
    pub(crate) ask_at_ns: Option<u64>,
    pub(crate) grant: Option<Grant>,
    pub(crate) memory: Memory,
    /// There is more than one way to send it.
    pub(crate) has_choice: bool,
    pub(crate) reason: Reason,
    /// (spatial, temporal) layers that control knows of; None: nothing is sent.
    pub(crate) told: Option<(u8, Option<u8>)>,
    /// When it was last sent something after nothing.
    pub(crate) started_ns: u64,
    pub(crate) freeze: FreezeWatch,
    pub(crate) reported: Reported,
    pub(crate) report_due_ns: u64,
    /// (outgoing sequence number, when it was sent again), a ring.
    pub(crate) resent: Vec<(u64, u64)>,
    pub(crate) resent_next: usize,
    pub(crate) resend_budget: Budget,
    pub(crate) score: Option<u32>,
    /// The producer's score that was told with it.
    pub(crate) producer_score: u32,
    pub(crate) score_sent_ns: u64,
}

impl Consumer {
    #[inline]
    pub(crate) fn is_video(&self) -> bool {
        self.brief.is_video
    }

    /// Reads a word of the lines that a packet needs.
    #[inline]
    pub(crate) fn glance(&self) -> u64 {
        let cursor = self.cursor.map_or(0, |one| one.next);
        self.served
            ^ cursor
            ^ self.meter.last_ns()
            ^ self.counters.packets
            ^ self.stream.glance()
            ^ self.rewriter.glance()
    }

    /// Puts another row in the place of its own, which it returns.
    pub(crate) fn replace_row(&mut self, row: SetConsumer) -> SetConsumer {
        self.brief = Brief::of(&row);
        std::mem::replace(&mut self.row, row)
    }

    /// What the filter of a stream aims at, for granted layers. What nobody limits is not filtered.
    pub(crate) fn filter_target(&self, layers: Option<(u8, u8)>, is_simulcast: bool) -> (u8, u8) {
        let is_limited = self.grant.is_some_and(|grant| grant.is_limited);
        let wanted = |row: Option<u32>| row.map_or(ALL, |layer| layer.min(u32::from(ALL)) as u8);
        let temporal = match layers {
            Some((_, temporal)) if is_limited => temporal,
            _ => wanted(self.row.temporal_layer),
        };
        let spatial = match layers {
            _ if is_simulcast => ALL,
            Some((spatial, _)) => spatial,
            None => wanted(self.row.spatial_layer),
        };
        (spatial, temporal)
    }

    /// On the way to a lower encoding, or to a lower layer of k-SVC, which begin with a keyframe only, the
    /// present one is cut short at once: to its lowest temporal layer, or altogether if even that is too
    /// much, or if the queue on the way is to drain first. Full SVC goes down without a keyframe, except
    /// behind such a queue: what is lost at its end would all have to come again, in the highest layer.
    ///
    /// `queued`: there is a queue on the way, short as it may be.
    pub(crate) fn hurry_down(
        &mut self,
        now_ns: u64,
        target: Option<u8>,
        producer: &Producer,
        queued: bool,
    ) {
        self.cut = false;
        let (spatial, mut temporal) = self.wanted;
        if self.catches_up() {
            temporal = 0;
        }
        self.filter.aim(spatial, temporal);
        let Some((current, target)) = self.selection.current().zip(target) else {
            return;
        };
        let Some(state) = producer.encodings.get(usize::from(current)) else {
            return;
        };
        let is_key = state.structure == Structure::Key;
        if !self.must_go_down(now_ns, target, producer) {
            return;
        }
        if target != current {
            self.filter.aim(spatial, 0);
        } else if is_key {
            self.filter.hurry();
        } else {
            self.cut = self.ask_at_ns.is_some();
            return;
        }
        let granted_bps = self.grant.map_or(0, |grant| grant.bitrate_bps);
        let (present, _) = self.filter.current();
        let least_bps = state.rates.bitrate_bps(now_ns, present, 0, is_key);
        let is_much = least_bps > 2 * granted_bps || (queued && target == current);
        self.cut = self.ask_at_ns.is_some() || is_much;
    }

    /// Whether its viewer has a picture that lives, or had one until it was cut off.
    pub(crate) fn has_picture(&self, producer: &Producer) -> bool {
        let is_live = |place: u8| {
            let state = producer.encodings.get(usize::from(place));
            state.is_some_and(|one| one.live)
        };
        match self.selection.current() {
            Some(place) => is_live(place),
            None => self.is_cut_off(),
        }
    }

    /// Whether its encoding was ended on the way down, and nothing has begun since.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.selection.current().is_none() && self.told.is_some()
    }

    /// Whether a packet that was sent with this number is needless, for a keyframe comes behind it, or did.
    pub(crate) fn forsakes(&self, outgoing: u64) -> bool {
        let is_ended = self.is_cut_off() && self.reason == Reason::Bandwidth;
        is_ended || outgoing < self.forsaken
    }

    /// Whether it is to be sent less than it is, for its bandwidth, and a keyframe is needed for it.
    pub(crate) fn must_go_down(&self, now_ns: u64, target: u8, producer: &Producer) -> bool {
        let is_lower = match self.selection.current() {
            Some(current) if current == target => {
                let sent = self.layers_sent(now_ns, producer);
                sent.is_some_and(|(spatial, _)| self.filter.target_spatial() < spatial)
            }
            Some(current) => target < current,
            None => false,
        };
        is_lower && self.reason == Reason::Bandwidth
    }

    /// Whether it began with a keyframe of the past and has not caught up yet.
    pub(crate) fn catches_up(&self) -> bool {
        self.cursor.is_some_and(|one| one.is_replay && !one.live)
    }

    /// Whether other layers of the stream that it is sent begin with a keyframe only.
    pub(crate) fn awaits_keyframe(&self, now_ns: u64, producer: &Producer) -> bool {
        let state = self.sent_encoding(producer);
        state.is_some_and(|one| {
            let (top, _) = one.rates.highest(now_ns);
            self.filter.needs_keyframe(one.structure, top)
        })
    }

    /// Whether the one layer of a k-SVC stream that it is sent does not come any more.
    pub(crate) fn is_starved(&self, now_ns: u64, producer: &Producer) -> bool {
        let state = self.sent_encoding(producer);
        state.is_some_and(|one| {
            let (top, _) = one.rates.highest(now_ns);
            self.filter.is_starved(one.structure, top)
        })
    }

    fn sent_encoding<'a>(&self, producer: &'a Producer) -> Option<&'a Encoding> {
        let current = self.selection.current()?;
        producer.encodings.get(usize::from(current))
    }

    /// Whether it went down from this encoding, or is cut off from it on the way down.
    pub(crate) fn has_left(&self, encoding: u8) -> bool {
        self.selection.current() != Some(encoding)
            && self
                .selection
                .target()
                .is_some_and(|target| target < encoding)
    }

    /// The layers that are sent now. Temporal ones only where there are some.
    pub(crate) fn layers_sent(&self, now_ns: u64, producer: &Producer) -> Option<(u8, Option<u8>)> {
        let encoding = self.selection.current()?;
        let state = producer.encodings.get(usize::from(encoding))?;
        let (top_spatial, top_temporal) = state.rates.highest(now_ns);
        let (spatial, temporal) = self.filter.current();
        let spatial = match state.structure {
            Structure::Flat => encoding,
            _ => spatial.min(top_spatial),
        };
        Some((
            spatial,
            (top_temporal > 0).then(|| temporal.min(top_temporal)),
        ))
    }

    /// Tells control of the layers if it does not know.
    ///
    /// `keyframe_age_ns`: how old the keyframe was that it began with, if it came out of the cache.
    pub(crate) fn tell_layers(
        &mut self,
        layers: Option<(u8, Option<u8>)>,
        keyframe_age_ns: Option<u64>,
        notices: &mut Notices,
    ) {
        if self.told == layers {
            return;
        }
        self.told = layers;
        notices.push(Notice::LayersChanged {
            consumer: self.row.consumer.clone(),
            spatial_layer: layers.map(|(spatial, _)| u32::from(spatial)),
            temporal_layer: layers.and_then(|(_, temporal)| temporal).map(u32::from),
            reason: Some(self.reason.word().to_owned()),
            keyframe_age_ns,
        });
    }

    /// The outgoing RTX payload type for an incoming media one.
    pub(crate) fn rtx_payload_type(&self, incoming: u8) -> Option<u8> {
        let found = self
            .rtx_payload_types
            .iter()
            .find(|&&(from, _)| from == incoming);
        found.map(|&(_, to)| to)
    }

    /// Remembers that a packet is sent again now, unless it was within `spacing_ns`.
    pub(crate) fn may_resend(&mut self, sequence: u64, now_ns: u64, spacing_ns: u64) -> bool {
        if let Some(entry) = self.resent.iter_mut().find(|entry| entry.0 == sequence) {
            if now_ns.saturating_sub(entry.1) < spacing_ns {
                return false;
            }
            if !self.resend_budget.take(now_ns) {
                return false;
            }
            entry.1 = now_ns;
            return true;
        }
        if !self.resend_budget.take(now_ns) {
            return false;
        }
        if self.resent.len() < RESENT_MAX {
            self.resent.push((sequence, now_ns));
        } else {
            self.resent[self.resent_next % RESENT_MAX] = (sequence, now_ns);
            self.resent_next = (self.resent_next + 1) % RESENT_MAX;
        }
        true
    }
}
