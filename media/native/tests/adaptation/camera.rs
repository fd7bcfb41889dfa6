//! A publisher of one video in three simulcast encodings, each of three temporal layers, as browsers do.

use _native::wire::orders::SetProducer;

use crate::support::peer::Stream;
use crate::support::{Dice, World, rows};

/// Frames of a second.
pub(crate) const FPS: u64 = 30;

/// The encodings' bitrates.
pub(crate) const RATES_BPS: [u64; 3] = [150_000, 500_000, 1_500_000];

/// Of a keyframe, in frames, until another one is set.
const KEYFRAME: u64 = 4;

const PAYLOAD_BYTES_MAX: usize = 1_100;

/// Temporal layers of four frames: the pattern of L1T3.
const TEMPORAL: [u8; 4] = [0, 2, 1, 2];

struct Encoding {
    stream: usize,
    ssrc: u32,
    rate_bps: u64,
    picture_id: u16,
    tl0: u8,
    /// Place in the temporal pattern since the last keyframe.
    phase: usize,
    plis: usize,
}

pub(crate) struct Camera {
    peer: usize,
    encodings: Vec<Encoding>,
    timestamp: u32,
    pub(crate) frames: u64,
    /// Of a keyframe, in frames.
    pub(crate) keyframe: u64,
    /// Frames are up to so much larger or smaller, in percent.
    pub(crate) uneven_percent: u64,
    dice: Dice,
}

impl Camera {
    /// Adds its streams to a peer; SSRCs are `first`, `first + 2`, ...
    pub(crate) fn new(
        world: &mut World,
        peer: usize,
        first: u32,
        rates_bps: &[u64],
        seed: u64,
    ) -> Self {
        let encodings = rates_bps.iter().enumerate().map(|(place, &rate_bps)| {
            let ssrc = first + 2 * place as u32;
            let mut stream = Stream::video(ssrc).at(1_000 + 7_000 * place as u64, 0);
            stream.step = 0;
            Encoding {
                stream: world.peers[peer].add(stream),
                ssrc,
                rate_bps,
                picture_id: 300 * place as u16,
                tl0: 90 * place as u8,
                phase: 0,
                plis: 0,
            }
        });
        Self {
            peer,
            encodings: encodings.collect(),
            timestamp: 90_000,
            frames: 0,
            keyframe: KEYFRAME,
            uneven_percent: 0,
            dice: Dice::new(seed + u64::from(first)),
        }
    }

    pub(crate) fn ssrcs(&self) -> Vec<u32> {
        self.encodings.iter().map(|one| one.ssrc).collect()
    }

    /// An encoder that is told what to produce.
    pub(crate) fn set_rate(&mut self, place: usize, rate_bps: u64) {
        self.encodings[place].rate_bps = rate_bps;
    }

    /// Sends one frame of each encoding.
    pub(crate) fn send_frame(&mut self, world: &mut World) {
        self.frames += 1;
        self.timestamp = self.timestamp.wrapping_add(90_000 / FPS as u32);
        let mut datagrams = Vec::new();
        for encoding in &mut self.encodings {
            let asked = world.peers[self.peer].plis(encoding.ssrc);
            let keyframe = self.frames == 1 || asked > encoding.plis;
            encoding.plis = asked;
            let peer = &mut world.peers[self.peer];
            peer.streams[encoding.stream].timestamp = self.timestamp;
            let spread = self.uneven_percent;
            let uneven = 100 + self.dice.below(2 * spread + 1) - spread;
            let weight = if keyframe { self.keyframe } else { 1 } * uneven;
            for payload in encoding.frame(keyframe, weight) {
                datagrams.push(peer.packet_with(encoding.stream, &payload));
            }
        }
        world.send_batch(self.peer, datagrams);
    }
}

impl Encoding {
    /// `weight`: in hundredths of a mean frame.
    fn frame(&mut self, keyframe: bool, weight: u64) -> Vec<Vec<u8>> {
        if keyframe {
            self.phase = 0;
        }
        let temporal = TEMPORAL[self.phase % TEMPORAL.len()];
        // The first frames of their layer after a keyframe refer to the base layer alone.
        let sync = temporal > 0 && self.phase % TEMPORAL.len() <= 2;
        self.phase += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let bytes = (self.rate_bps / FPS / 8 * weight / 100) as usize;
        let count = bytes.div_ceil(PAYLOAD_BYTES_MAX).max(1);
        let payload = |place: usize| {
            let start = if place == 0 { 0x90 } else { 0x80 };
            let id = (self.picture_id | 0x8000).to_be_bytes();
            let layer = temporal << 6 | u8::from(sync) << 5;
            let mut payload = vec![start, 0xe0, id[0], id[1], self.tl0, layer];
            payload.push(u8::from(!keyframe));
            // Read by the decoder: which encoding, and which packet of how many.
            payload.extend(self.ssrc.to_be_bytes());
            payload.extend([place as u8, count as u8]);
            payload.resize((bytes / count).max(payload.len()), 0x55);
            payload
        };
        (0..count).map(payload).collect()
    }
}

/// A row of a camera's producer.
pub(crate) fn producer(id: &str, transport: &str, ssrcs: &[u32]) -> SetProducer {
    let encodings: Vec<(Option<&str>, Option<u32>)> =
        ssrcs.iter().map(|&ssrc| (None, Some(ssrc))).collect();
    rows::video(id, transport, &encodings)
}
