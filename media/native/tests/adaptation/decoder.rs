//! What a VP8 receiver would make of a stream: whether numbers go on and frames can be decoded.

use std::collections::BTreeMap;

use _native::codec::vp8::Descriptor;
use _native::sequence::SequenceUnwrapper;

use crate::support::peer::Received;

/// Descriptor bytes that cameras write.
const DESCRIPTOR_LEN: usize = 6;

#[derive(Clone, Debug)]
struct Packet {
    timestamp: u32,
    payload: Vec<u8>,
    at_ns: u64,
}

/// What became of one stream.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Sequence numbers that never came, and after which no keyframe made them needless within a second.
    pub(crate) missing: u64,
    pub(crate) frames: u64,
    /// The longest time between two frames that came whole, in ns.
    pub(crate) freeze_ns_max: u64,
    /// What a decoder would stumble over.
    pub(crate) faults: Vec<String>,
}

/// Puts packets back in order, retransmissions among them.
#[derive(Default)]
pub(crate) struct Decoder {
    unwrapper: SequenceUnwrapper,
    packets: BTreeMap<u64, Packet>,
    /// Where the newest keyframe begins.
    newest_key: u64,
}

impl Decoder {
    pub(crate) fn take(&mut self, received: &Received) {
        let number = received.original.unwrap_or(received.sequence_number);
        let sequence = self.unwrapper.unwrap(number);
        let begins = Descriptor::parse(&received.payload).is_some_and(|one| one.keyframe);
        if begins {
            self.newest_key = self.newest_key.max(sequence);
        }
        self.packets.entry(sequence).or_insert_with(|| Packet {
            timestamp: received.timestamp,
            payload: received.payload.clone(),
            at_ns: received.at_ns,
        });
    }

    /// When pictures could be decoded that came before a time: they are whole, and so is what they
    /// refer to.
    fn decoded_ns(&self, first: u64, until_ns: u64) -> Vec<u64> {
        let mut decoded = Vec::new();
        let (mut frame, mut before) = (Vec::new(), None);
        let (mut base, mut gap, mut ready_ns): (Option<u8>, _, u64) = (None, false, 0);
        let packets = self.packets.range(first..);
        for (&sequence, packet) in packets.filter(|one| one.1.at_ns < until_ns) {
            let follows = before.is_some_and(|before| before + 1 == sequence);
            gap |= !follows;
            before = Some(sequence);
            let place = usize::from(packet.payload[DESCRIPTOR_LEN + 5]);
            if place == 0 {
                frame.clear();
            }
            if frame.len() != place || (place > 0 && !follows) {
                continue;
            }
            frame.push(packet.at_ns);
            if frame.len() != usize::from(packet.payload[DESCRIPTOR_LEN + 6]) {
                continue;
            }
            let read = Descriptor::parse(&packet.payload).expect("VP8");
            let tl0 = read.tl0_pic_idx.expect("there").value;
            let keyframe = packet.payload[DESCRIPTOR_LEN] & 1 == 0;
            let can = match read.temporal_layer {
                _ if keyframe => true,
                Some(0) => base == Some(tl0.wrapping_sub(1)),
                _ => base == Some(tl0) && (!gap || read.layer_sync),
            };
            if can {
                let whole_ns = frame.iter().copied().max().unwrap_or(0);
                ready_ns = if keyframe {
                    whole_ns
                } else {
                    ready_ns.max(whole_ns)
                };
                decoded.push(ready_ns);
                gap &= !keyframe && read.temporal_layer != Some(0);
                base = Some(tl0);
            }
        }
        decoded
    }

    /// Whether packets came after a time, but no picture: something is missing for good.
    pub(crate) fn is_stuck(&self, since_ns: u64, now_ns: u64) -> bool {
        let newest = self.packets.values().next_back();
        let flows = newest.is_some_and(|one| one.at_ns > since_ns);
        let decoded_ns = self.decoded_ns(self.newest_key, now_ns + 1);
        flows && decoded_ns.last().is_none_or(|&at_ns| at_ns <= since_ns)
    }

    /// The longest time without a picture between two times, in ns.
    pub(crate) fn freeze_ns_max(&self, from_ns: u64, until_ns: u64) -> u64 {
        let mut times = self.decoded_ns(0, until_ns);
        times.push(until_ns);
        times.sort_unstable();
        let mut longest_ns = 0;
        let mut last_ns = from_ns;
        for at_ns in times.into_iter().filter(|&at_ns| at_ns > from_ns) {
            longest_ns = longest_ns.max(at_ns - last_ns);
            last_ns = at_ns;
        }
        longest_ns
    }

    /// Judges what came before `until_ns`.
    pub(crate) fn judge(&self, until_ns: u64) -> Outcome {
        let mut outcome = Outcome::default();
        let mut last: Option<(u64, &Packet)> = None;
        let mut whole_ns = None;
        let mut frame = (0, 0);
        let mut gaps: Vec<(u64, u64)> = Vec::new();
        for (&sequence, packet) in self.packets.iter().filter(|one| one.1.at_ns < until_ns) {
            if let Some((before, previous)) = last {
                let missing = sequence - before - 1;
                if missing > 0 {
                    gaps.push((packet.at_ns, missing));
                } else {
                    compare(previous, packet, &mut outcome.faults);
                }
            }
            if Descriptor::parse(&packet.payload).is_some_and(|one| one.keyframe) {
                gaps.retain(|gap| packet.at_ns > gap.0 + 1_000_000_000);
            }
            let (place, count) = (
                packet.payload[DESCRIPTOR_LEN + 5],
                packet.payload[DESCRIPTOR_LEN + 6],
            );
            frame = match place {
                0 => (1, count),
                _ => (frame.0 + 1, count),
            };
            if frame.0 == frame.1 {
                outcome.frames += 1;
                let waited_ns = packet
                    .at_ns
                    .saturating_sub(whole_ns.unwrap_or(packet.at_ns));
                outcome.freeze_ns_max = outcome.freeze_ns_max.max(waited_ns);
                whole_ns = Some(packet.at_ns.max(whole_ns.unwrap_or(0)));
            }
            last = Some((sequence, packet));
        }
        outcome.missing = gaps.iter().map(|gap| gap.1).sum();
        outcome
    }
}

/// Two packets that follow each other without a loss between them.
fn compare(before: &Packet, after: &Packet, faults: &mut Vec<String>) {
    let read = |packet: &Packet| Descriptor::parse(&packet.payload).expect("VP8");
    let (first, second) = (read(before), read(after));
    let id = |one: &Descriptor| one.picture_id.expect("there").value;
    let tl0 = |one: &Descriptor| one.tl0_pic_idx.expect("there").value;
    let source = |packet: &Packet| packet.payload[DESCRIPTOR_LEN + 1..DESCRIPTOR_LEN + 5].to_vec();
    let place = |packet: &Packet| packet.payload[DESCRIPTOR_LEN + 5];
    let count = |packet: &Packet| packet.payload[DESCRIPTOR_LEN + 6];
    let mut fault = |what: &str| faults.push(format!("{what}: {first:?} then {second:?}"));
    if !second.starts_frame() {
        if before.timestamp != after.timestamp || id(&first) != id(&second) {
            fault("a frame changes its numbers");
        }
        return;
    }
    if place(before) + 1 != count(before) {
        fault("a frame is cut");
    }
    if id(&second) != (id(&first) + 1) & 0x7fff {
        fault("picture ids do not go on");
    }
    let step = after.timestamp.wrapping_sub(before.timestamp) as i32;
    if step <= 0 {
        fault("a timestamp stands still or runs back");
    }
    let counts = second.temporal_layer == Some(0);
    if tl0(&second) != tl0(&first).wrapping_add(u8::from(counts)) {
        fault("TL0PICIDX does not go on");
    }
    if source(before) != source(after) && !second.keyframe {
        fault("an encoding begins without a keyframe");
    }
}
