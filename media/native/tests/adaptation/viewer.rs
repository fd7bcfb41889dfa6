//! A viewer that gives feedback as a browser does: transport-cc, NACK, receiver reports.

use std::collections::BTreeMap;

use _native::rtcp::ReportBlock;
use _native::twcc::ArrivalRecorder;

use crate::decoder::Decoder;
use crate::support::peer::Control;
use crate::support::{MS, World, rows};

const NACK_NS: u64 = 20 * MS;
/// Without a picture for so long, a keyframe is asked for.
const STUCK_NS: u64 = 600 * MS;
const LOOK_NS: u64 = 200 * MS;
const REPORT_NS: u64 = 1_000 * MS;

pub(crate) struct Viewer {
    pub(crate) peer: usize,
    pub(crate) transport: String,
    /// Video streams, by SSRC.
    pub(crate) videos: BTreeMap<u32, Decoder>,
    pub(crate) audio: Option<u32>,
    /// Between two transport-wide feedbacks; browsers take 50 to 250 ms.
    pub(crate) feedback_ns: u64,
    feedback_due_ns: u64,
    /// Times at which audio came.
    pub(crate) heard_ns: Vec<u64>,
    /// Bytes of media by SSRC, and of everything, since they were last looked at.
    pub(crate) bytes: BTreeMap<u32, u64>,
    pub(crate) bytes_all: u64,
    arrivals: ArrivalRecorder,
    seen: usize,
    controls: usize,
    last_sr: BTreeMap<u32, (u32, u64)>,
    highest: BTreeMap<u32, u16>,
}

impl Viewer {
    pub(crate) fn new(peer: usize, transport: &str) -> Self {
        Self {
            peer,
            transport: transport.into(),
            videos: BTreeMap::new(),
            audio: None,
            feedback_ns: 50 * MS,
            feedback_due_ns: 0,
            heard_ns: Vec::new(),
            bytes: BTreeMap::new(),
            bytes_all: 0,
            arrivals: ArrivalRecorder::new(),
            seen: 0,
            controls: 0,
            last_sr: BTreeMap::new(),
            highest: BTreeMap::new(),
        }
    }

    /// Looks at what came, and answers what is due. Call every 5 ms.
    pub(crate) fn step(&mut self, world: &mut World) {
        let now_ns = world.now_ns;
        let address = world.peers[self.peer].address;
        if world.paths[world.routes[&address]].is_stalled(now_ns) {
            return;
        }
        let peer = &world.peers[self.peer];
        for received in &peer.rtp[self.seen..] {
            let size = received.payload.len() as u64 + 40;
            self.bytes_all += size;
            if let Some(number) = received.extensions.get(&rows::VIEWER_TRANSPORT_CC) {
                let number = u16::from_be_bytes([number[0], number[1]]);
                self.arrivals.record(number, received.at_ns);
            }
            let is_rtx = received.payload_type == rows::MAPPED_VP8_RTX;
            let media = if is_rtx {
                received.ssrc - 1
            } else {
                received.ssrc
            };
            if Some(media) == self.audio {
                self.heard_ns.push(received.at_ns);
            }
            if !is_rtx {
                *self.bytes.entry(media).or_default() += size;
                self.highest.insert(media, received.sequence_number);
            }
            if received.payload.is_empty() {
                continue;
            }
            if let Some(decoder) = self.videos.get_mut(&media) {
                decoder.take(received);
            }
        }
        self.seen = peer.rtp.len();
        for control in &peer.rtcp[self.controls..] {
            if let Control::SenderReport(ssrc, info) = control {
                let middle = (info.ntp_timestamp >> 16) as u32;
                self.last_sr.insert(*ssrc, (middle, now_ns));
            }
        }
        self.controls = peer.rtcp.len();
        if now_ns >= self.feedback_due_ns {
            self.feedback_due_ns = now_ns + self.feedback_ns;
            let mut compound = Vec::new();
            while self.arrivals.write_feedback(1, 2, &mut compound) {
                let datagram = world.peers[self.peer].control(&compound);
                world.send(self.peer, datagram);
                compound.clear();
            }
        }
        if now_ns.is_multiple_of(NACK_NS) {
            for nack in world.peers[self.peer].poll_nacks(now_ns) {
                world.send(self.peer, nack);
            }
        }
        if now_ns.is_multiple_of(LOOK_NS) {
            let stuck = self
                .videos
                .iter()
                .filter(|(_, decoder)| decoder.is_stuck(now_ns.saturating_sub(STUCK_NS), now_ns));
            let stuck: Vec<u32> = stuck.map(|(&ssrc, _)| ssrc).collect();
            for ssrc in stuck {
                let pli = world.peers[self.peer].pli(ssrc);
                world.send(self.peer, pli);
            }
        }
        if now_ns.is_multiple_of(REPORT_NS) {
            self.report(world);
        }
    }

    fn report(&mut self, world: &mut World) {
        for (&ssrc, &(last_sr, came_ns)) in &self.last_sr {
            let delay = (world.now_ns - came_ns) * 65_536 / 1_000_000_000;
            let block = ReportBlock {
                ssrc,
                extended_highest_sequence_number: u32::from(*self.highest.get(&ssrc).unwrap_or(&0)),
                last_sr,
                delay_since_last_sr: delay as u32,
                ..ReportBlock::default()
            };
            let report = world.peers[self.peer].receiver_report(block);
            world.send(self.peer, report);
        }
    }

    /// The longest silence of the audio between two times, in ns.
    pub(crate) fn silence_ns_max(&self, from_ns: u64, until_ns: u64) -> u64 {
        let within = self
            .heard_ns
            .iter()
            .copied()
            .filter(|at_ns| (from_ns..until_ns).contains(at_ns));
        let times: Vec<u64> = [from_ns]
            .into_iter()
            .chain(within)
            .chain([until_ns])
            .collect();
        times
            .windows(2)
            .map(|pair| pair[1] - pair[0])
            .max()
            .unwrap_or(0)
    }
}
