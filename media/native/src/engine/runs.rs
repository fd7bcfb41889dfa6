//! Runs: what goes to one viewer in one send, made as long as a little padding makes them.
//!
//! One send (UDP GSO) carries datagrams of one length, and a last one that may be shorter. Encoders
//! cut a frame into packets that differ by a byte or a few (1041, 1041, 1042), which would be two sends
//! or more for each viewer. So the shorter ones get RTP padding (RFC 3550, 5.1): never beyond the
//! longest packet of their run, and never more than [`PADDING_MAX`].
//!
//! Padded is video for viewers with an RTX stream. Without one, a retransmission is the very same
//! SRTP packet again, and padding depends on what a packet was sent with.

use super::consumer::Consumer;
use super::producer::Pending;
use crate::rtp::PreparedPacket;

/// Bytes of padding that a packet gets at most: far less than a send costs.
pub(super) const PADDING_MAX: usize = 16;

/// Padding of the packets of a batch, by format and length of the mid.
#[derive(Default)]
pub(super) struct Plans {
    plans: Vec<Plan>,
}

struct Plan {
    format: usize,
    mid_len: usize,
    /// By place in the batch.
    padding: Vec<u8>,
}

impl Plans {
    /// How much padding each packet of a batch gets for a consumer; empty for none.
    pub(super) fn of(
        &mut self,
        consumer: &Consumer,
        batch: &[Pending],
        prepared: &[Option<PreparedPacket<'_>>],
    ) -> &[u8] {
        if batch.len() < 2 || !consumer.is_video() || !consumer.brief.has_rtx {
            return &[];
        }
        let (format, mid) = (consumer.format, consumer.brief.mid.as_bytes());
        let same = |plan: &Plan| plan.format == format && plan.mid_len == mid.len();
        let place = self.plans.iter().position(same).unwrap_or_else(|| {
            self.plans.push(Plan {
                format,
                mid_len: mid.len(),
                padding: plan(batch, prepared, mid),
            });
            self.plans.len() - 1
        });
        &self.plans[place].padding
    }
}

/// Viewers get packets of one encoding at a time: each is planned by itself.
fn plan(batch: &[Pending], prepared: &[Option<PreparedPacket<'_>>], mid: &[u8]) -> Vec<u8> {
    let mut padding = vec![0; batch.len()];
    let mut packets = Vec::with_capacity(batch.len());
    let last = batch.iter().map(|one| one.encoding).max().unwrap_or(0);
    for encoding in 0..=last {
        let all = batch.iter().zip(prepared).enumerate();
        let len =
            |prepared: &PreparedPacket<'_>| prepared.header_len(mid) + prepared.payload().len();
        packets.clear();
        packets.extend(all.filter_map(|(place, (pending, prepared))| {
            let goes_out = pending.encoding == encoding && !pending.empty && !pending.void;
            let prepared = prepared.as_ref().filter(|_| goes_out)?;
            Some((place, len(prepared)))
        }));
        pad_runs(&packets, &mut padding);
    }
    padding
}

/// Writes what each packet of (place, length) is padded with into `padding`, by place, so that they
/// go out in as few runs as can be. A run's last packet may be shorter: it is not padded.
fn pad_runs(packets: &[(usize, usize)], padding: &mut [u8]) {
    let mut rest = packets;
    while !rest.is_empty() {
        // What is a run is one without its first packets, too: so taking the longest is best.
        let (run, behind) = rest.split_at(longest_run(rest));
        let segment = run.iter().map(|one| one.1).max().unwrap_or(0);
        for &(place, len) in &run[..run.len() - 1] {
            padding[place] = (segment - len) as u8;
        }
        rest = behind;
    }
}

/// How many packets from the first on can go out in one run; at least one.
fn longest_run(packets: &[(usize, usize)]) -> usize {
    let (mut longest, mut shortest) = (0, usize::MAX);
    for (count, &(_, len)) in packets.iter().enumerate() {
        longest = longest.max(len);
        // All but the last must reach the longest.
        if shortest.saturating_add(PADDING_MAX) < longest {
            return count;
        }
        shortest = shortest.min(len);
    }
    packets.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn padded(lens: &[usize]) -> Vec<usize> {
        let packets: Vec<_> = lens.iter().copied().enumerate().collect();
        let mut padding = vec![0; lens.len()];
        pad_runs(&packets, &mut padding);
        let both = lens.iter().zip(&padding);
        both.map(|(len, &padding)| len + usize::from(padding))
            .collect()
    }

    /// Sends that the kernel needs: equal datagrams, a last one may be shorter.
    fn sends(lens: &[usize]) -> usize {
        let mut count = 0;
        let mut run: Option<(usize, bool)> = None;
        for &len in lens {
            match &mut run {
                Some((segment, closed)) if !*closed && len <= *segment => *closed = len < *segment,
                _ => {
                    count += 1;
                    run = Some((len, false));
                }
            }
        }
        count
    }

    /// The fewest sends that any padding within the bound allows, by trying all ways to divide.
    fn fewest(lens: &[usize]) -> usize {
        let mut best = vec![0];
        for end in 1..=lens.len() {
            let is_run = |begin: &usize| {
                let run = &lens[*begin..end];
                let segment = *run.iter().max().unwrap();
                run[..run.len() - 1]
                    .iter()
                    .all(|len| segment - len <= PADDING_MAX)
            };
            let counts = (0..end).filter(is_run).map(|begin| best[begin] + 1);
            best.push(counts.min().unwrap());
        }
        best[lens.len()]
    }

    #[test]
    fn about_equal_packets_become_one_run() {
        assert_eq!(padded(&[1041, 1041, 1042]), [1042, 1042, 1042]);
        assert_eq!(padded(&[1042, 1041, 1041]), [1042, 1042, 1041]);
        assert_eq!(padded(&[1026, 1042, 300]), [1042, 1042, 300]);
    }

    #[test]
    fn a_much_shorter_packet_ends_a_run() {
        assert_eq!(
            padded(&[1041, 1042, 90, 1041, 1042]),
            [1042, 1042, 90, 1042, 1042]
        );
        assert_eq!(padded(&[1025, 1042]), [1025, 1042]);
    }

    proptest! {
        #[test]
        fn runs_are_as_few_as_can_be_within_the_bound(
            lens in prop::collection::vec(prop_oneof![0..60_usize, 1_000..1_040_usize], 0..24),
        ) {
            let padded = padded(&lens);
            prop_assert_eq!(sends(&padded), fewest(&lens));
            let longest = lens.iter().max().copied().unwrap_or(0);
            for (len, padded) in lens.iter().zip(&padded) {
                prop_assert!((*len..=len + PADDING_MAX).contains(padded) && *padded <= longest);
            }
        }
    }
}
