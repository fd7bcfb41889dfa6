//! What the engine tells about its table and its streams.

use super::Engine;
use super::consumer::Consumer;
use super::encoding::Encoding;
use super::producer::Producer;
use super::transport::Transport;
use crate::wire::answers::{
    ConsumerEntry, EncodingEntry, ProducerEntry, Stats, StreamStats, Table, TransportEntry,
    TransportStats,
};
use crate::wire::orders::EntryKind;

const NS_PER_MS: f64 = 1_000_000.0;

impl Engine {
    /// The whole table.
    pub(super) fn describe(&self) -> Table {
        let table = &self.table;
        let entry = |transport: &Transport| TransportEntry {
            transport: transport.row.transport.clone(),
            worker: self.config.worker,
            ice_state: transport.ice.state(),
            remote: transport.ice.selected().map(|remote| remote.to_string()),
            srtp_profile: transport.srtp.as_ref().map(|srtp| srtp.keys.profile),
        };
        // Of a mirror, its own worker tells.
        let own = |one: &&Producer| one.transport().is_some();
        let producers: Vec<_> = table.producers.iter().filter(own).collect();
        let watched = |one: &Consumer| consumer_entry(one, table.producers.get(one.producer));
        Table {
            transports: table.transports.iter().map(entry).collect(),
            producers: producers
                .iter()
                .map(|one| one.row.producer.clone())
                .collect(),
            consumers: table
                .consumers
                .iter()
                .map(|one| one.row.consumer.clone())
                .collect(),
            producer_entries: producers.iter().map(|one| producer_entry(one)).collect(),
            consumer_entries: table.consumers.iter().map(watched).collect(),
        }
    }

    /// Statistics of those entries that are there.
    pub(super) fn stats(&self, now_ns: u64, ids: &[String]) -> Vec<Stats> {
        let mut all = Vec::new();
        for id in ids {
            let transport = self.table.transport(id);
            if let Some(one) = transport.and_then(|key| self.table.transports.get(key)) {
                all.push(Stats {
                    id: id.clone(),
                    kind: EntryKind::Transport,
                    at_ns: now_ns,
                    transport: Some(transport_stats(one)),
                    streams: Vec::new(),
                });
            }
            let producer = self.table.producer(id);
            let producer = producer.and_then(|key| self.table.producers.get(key));
            // Of a mirror, its own worker tells.
            if let Some(one) = producer.filter(|one| one.transport().is_some()) {
                let streams = one.encodings.iter().enumerate();
                all.push(Stats {
                    id: id.clone(),
                    kind: EntryKind::Producer,
                    at_ns: now_ns,
                    transport: None,
                    streams: streams
                        .map(|(place, encoding)| inbound(encoding, place, one.is_video(), now_ns))
                        .collect(),
                });
            }
            let consumer = self.table.consumer(id);
            if let Some(one) = consumer.and_then(|key| self.table.consumers.get(key)) {
                all.push(Stats {
                    id: id.clone(),
                    kind: EntryKind::Consumer,
                    at_ns: now_ns,
                    transport: None,
                    streams: vec![outbound(self, one, now_ns)],
                });
            }
        }
        all
    }
}

fn producer_entry(producer: &Producer) -> ProducerEntry {
    let known = |encoding: &Encoding| EncodingEntry {
        ssrc: encoding.ssrc(),
        rtx_ssrc: encoding.rtx_ssrc,
    };
    ProducerEntry {
        producer: producer.row.producer.clone(),
        active: producer.active,
        demand: producer
            .demand
            .believed(producer.top_layer())
            .map(u32::from),
        scores: producer.scores.clone(),
        encodings: producer.encodings.iter().map(known).collect(),
    }
}

fn consumer_entry(consumer: &Consumer, producer: Option<&Producer>) -> ConsumerEntry {
    let (spatial, temporal) = consumer.told.unzip();
    ConsumerEntry {
        consumer: consumer.row.consumer.clone(),
        spatial_layer: spatial.map(u32::from),
        temporal_layer: temporal.flatten().map(u32::from),
        reason: consumer.reason.word().to_owned(),
        frozen: consumer.freeze.frozen,
        score: consumer.score,
        producer_score: producer.map_or(0, |one| one.score_seen_by(consumer)),
    }
}

fn transport_stats(transport: &Transport) -> TransportStats {
    let counters = &transport.counters;
    TransportStats {
        ice_state: transport.ice.state(),
        remote: transport.ice.selected().map(|remote| remote.to_string()),
        bytes_sent: counters.bytes_sent,
        bytes_received: counters.bytes_received,
        packets_sent: counters.packets_sent,
        packets_received: counters.packets_received,
        stun_requests: counters.stun_requests,
        available_outgoing_bps: transport.downlink.estimator.bitrate_bps(),
        drops: counters
            .drops
            .by_word()
            .map(|(word, count)| (word.to_owned(), count))
            .collect(),
    }
}

fn jitter_ms(jitter: u32, clock_rate: u32) -> f64 {
    f64::from(jitter) * 1000.0 / f64::from(clock_rate.max(1))
}

fn inbound(encoding: &Encoding, place: usize, is_video: bool, now_ns: u64) -> StreamStats {
    let counters = &encoding.counters;
    let report = encoding
        .reception
        .as_ref()
        .map(|one| one.last_report)
        .unwrap_or_default();
    StreamStats {
        ssrc: encoding.ssrc().unwrap_or(0),
        rid: encoding.rid.clone(),
        payload_type: encoding.payload_type,
        packets: counters.packets,
        bytes: counters.bytes,
        header_bytes: counters.header_bytes,
        packets_lost: i64::from(report.cumulative_lost),
        fraction_lost: f64::from(report.fraction_lost) / 256.0,
        jitter_ms: jitter_ms(report.jitter, encoding.clock_rate),
        round_trip_time_ms: None,
        packets_discarded: counters.discarded,
        nack_count: counters.nacks,
        pli_count: counters.plis,
        fir_count: counters.firs,
        key_frames: counters.key_frames,
        retransmitted_packets: counters.recovered,
        bitrate_bps: encoding.meter.bitrate_bps(now_ns),
        spatial_layer: is_video.then_some(place as u32),
        temporal_layer: None,
        priority: None,
    }
}

fn outbound(engine: &Engine, consumer: &Consumer, now_ns: u64) -> StreamStats {
    let counters = &consumer.counters;
    let report = consumer.reported.block.unwrap_or_default();
    let format = engine.table.producers.get(consumer.producer);
    let format = format.and_then(|producer| producer.formats.get(consumer.format));
    let payload_type = consumer
        .last_payload_type
        .and_then(|incoming| format.and_then(|shared| shared.format.payload_type(incoming)));
    let round_trip_ns = consumer.reported.round_trip_ns;
    StreamStats {
        ssrc: consumer.row.ssrc,
        rid: None,
        payload_type,
        packets: counters.packets,
        bytes: counters.bytes,
        header_bytes: counters.header_bytes,
        packets_lost: i64::from(report.cumulative_lost),
        fraction_lost: f64::from(report.fraction_lost) / 256.0,
        jitter_ms: jitter_ms(report.jitter, consumer.clock_rate),
        round_trip_time_ms: round_trip_ns.map(|ns| ns as f64 / NS_PER_MS),
        packets_discarded: 0,
        nack_count: counters.nacks,
        pli_count: counters.plis,
        fir_count: counters.firs,
        key_frames: counters.key_frames,
        retransmitted_packets: counters.retransmitted,
        bitrate_bps: consumer.meter.bitrate_bps(now_ns),
        spatial_layer: consumer
            .selection
            .current()
            .filter(|_| consumer.is_video())
            .map(u32::from),
        temporal_layer: consumer.told.and_then(|(_, layer)| layer).map(u32::from),
        priority: Some(u32::from(consumer.row.priority)),
    }
}
