//! What the engines of a plane's workers tell each other, as bytes.
//!
//! A record fits any ring of bytes; the driver moves it and never looks into
//! it. Packets may be lost on the way. Everything else is *state*: a record
//! tells all of it, the last one counts, and one that could not be handed over
//! is made anew at the next drain. So nothing but the newest state ever waits.

use std::collections::VecDeque;

use super::clock::ReportedClock;
use super::keyframe::Causes;
use super::table::{ProducerKey, TransportKey};

/// Bytes of packets that wait for `poll_sibling`; more are dropped, for the caller did not drain.
const STAGED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Records after which the caller is to drain.
const DRAIN_AT: usize = 64;

/// What a sibling says of one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EncodingState {
    pub(crate) live: bool,
    pub(crate) score: u32,
    pub(crate) bitrate_bps: u64,
    pub(crate) clock: Option<ReportedClock>,
}

/// Viewers of a mirror who need a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// The encoding, with what `refresh` marks beside it.
    pub(crate) encoding: u8,
    pub(crate) causes: Causes,
    pub(crate) viewers: u32,
}

/// One message between two engines. `mirror` is the key of the receiving or asking side's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    /// A decrypted packet of a producer, for its mirror.
    Packet {
        mirror: u64,
        encoding: u8,
        /// Another one than before: the encoding's numbers begin anew.
        ssrc: u32,
        sequence: u64,
        received_ns: u64,
        data: &'a [u8],
    },
    /// How a producer stands, for its mirror.
    State {
        mirror: u64,
        active: bool,
        /// How far our clock is ahead of the publisher's.
        ahead_ns: Option<i64>,
        encodings: Vec<EncodingState>,
    },
    /// What the viewers of a mirror need of the producer.
    Want {
        mirror: u64,
        /// A bit for each encoding.
        interest: u64,
        /// The highest layer that a viewer may be sent.
        wanted: Option<u8>,
        asks: Vec<Ask>,
        producer: &'a str,
    },
    /// A mirror is no more.
    Gone { mirror: u64 },
}

const PACKET: u8 = 1;
const STATE: u8 = 2;
const WANT: u8 = 3;
const GONE: u8 = 4;

/// Stands for no encoding.
const NOBODY: u8 = u8::MAX;

impl<'a> Record<'a> {
    /// Appends the record's bytes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Packet {
                mirror,
                encoding,
                ssrc,
                sequence,
                received_ns,
                data,
            } => {
                out.extend([PACKET, *encoding]);
                out.extend(mirror.to_le_bytes());
                out.extend(ssrc.to_le_bytes());
                out.extend(sequence.to_le_bytes());
                out.extend(received_ns.to_le_bytes());
                out.extend_from_slice(data);
            }
            Self::State {
                mirror,
                active,
                ahead_ns,
                encodings,
            } => {
                out.extend([STATE, u8::from(*active)]);
                out.extend(mirror.to_le_bytes());
                out.push(u8::from(ahead_ns.is_some()));
                out.extend(ahead_ns.unwrap_or(0).to_le_bytes());
                for one in encodings {
                    out.extend([u8::from(one.live), u8::from(one.clock.is_some())]);
                    out.extend(one.score.to_le_bytes());
                    out.extend(one.bitrate_bps.to_le_bytes());
                    let (ns, timestamp, rate) = one.clock.map_or((0, 0, 0), ReportedClock::parts);
                    out.extend(ns.to_le_bytes());
                    out.extend(timestamp.to_le_bytes());
                    out.extend(rate.to_le_bytes());
                }
            }
            Self::Want {
                mirror,
                interest,
                wanted,
                asks,
                producer,
            } => {
                out.extend([WANT, asks.len() as u8]);
                out.extend(mirror.to_le_bytes());
                out.extend(interest.to_le_bytes());
                out.push(wanted.unwrap_or(NOBODY));
                for ask in asks {
                    out.extend([ask.encoding, ask.causes.0]);
                    out.extend(ask.viewers.to_le_bytes());
                }
                out.extend_from_slice(producer.as_bytes());
            }
            Self::Gone { mirror } => {
                out.extend([GONE, 0]);
                out.extend(mirror.to_le_bytes());
            }
        }
    }

    /// Reads a record that [`Self::write`] wrote; None if it is none.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = Reader(bytes);
        let [kind, small] = rest.take::<2>()?;
        let mirror = u64::from_le_bytes(rest.take()?);
        match kind {
            PACKET => Some(Self::Packet {
                mirror,
                encoding: small,
                ssrc: u32::from_le_bytes(rest.take()?),
                sequence: u64::from_le_bytes(rest.take()?),
                received_ns: u64::from_le_bytes(rest.take()?),
                data: rest.0,
            }),
            STATE => {
                let [known] = rest.take()?;
                let ahead_ns = i64::from_le_bytes(rest.take()?);
                let mut encodings = Vec::new();
                while !rest.0.is_empty() {
                    encodings.push(rest.encoding_state()?);
                }
                Some(Self::State {
                    mirror,
                    active: small != 0,
                    ahead_ns: (known != 0).then_some(ahead_ns),
                    encodings,
                })
            }
            WANT => {
                let interest = u64::from_le_bytes(rest.take()?);
                let [wanted] = rest.take()?;
                let mut asks = Vec::with_capacity(usize::from(small));
                for _ in 0..small {
                    let [encoding, causes] = rest.take()?;
                    asks.push(Ask {
                        encoding,
                        causes: Causes(causes),
                        viewers: u32::from_le_bytes(rest.take()?),
                    });
                }
                Some(Self::Want {
                    mirror,
                    interest,
                    wanted: (wanted != NOBODY).then_some(wanted),
                    asks,
                    producer: std::str::from_utf8(rest.0).ok()?,
                })
            }
            GONE => Some(Self::Gone { mirror }),
            _ => None,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn encoding_state(&mut self) -> Option<EncodingState> {
        let [live, has_clock] = self.take()?;
        let score = u32::from_le_bytes(self.take()?);
        let bitrate_bps = u64::from_le_bytes(self.take()?);
        let publisher_ns = i64::from_le_bytes(self.take()?);
        let timestamp = u32::from_le_bytes(self.take()?);
        let clock_rate = u32::from_le_bytes(self.take()?);
        Some(EncodingState {
            live: live != 0,
            score,
            bitrate_bps,
            clock: (has_clock != 0)
                .then(|| ReportedClock::from_parts(publisher_ns, timestamp, clock_rate)),
        })
    }
}

/// Whom a record is about, in case it can't be handed over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About {
    /// A packet of this publisher.
    Packet(TransportKey),
    /// A producer's state or a mirror's wants.
    State(ProducerKey),
    /// A mirror that was removed.
    Gone(u64),
}

#[derive(Clone, Copy, Debug)]
struct Staged {
    worker: u32,
    about: About,
    start: usize,
    end: usize,
}

/// What was lost with a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lost {
    /// A packet of this publisher.
    Packet(TransportKey),
    /// What a mirror wants, if this is one.
    Want(ProducerKey),
}

/// Records on their way to siblings, in one reused buffer.
#[derive(Debug, Default)]
pub(crate) struct Links {
    bytes: Vec<u8>,
    records: VecDeque<Staged>,
    /// What the last record that was polled was about.
    last: Option<(u32, About)>,
    /// Producers and mirrors whose state is to be told.
    dirty: Vec<ProducerKey>,
    /// Mirrors that were removed: the worker of their producer, and their key.
    gone: Vec<(u32, u64)>,
    /// What the sibling had no room for, to be told at the next drain.
    retry: Vec<ProducerKey>,
    retry_gone: Vec<(u32, u64)>,
}

impl Links {
    /// Stages a record; false if too much waits already.
    pub(crate) fn push(&mut self, worker: u32, about: About, record: &Record<'_>) -> bool {
        let start = self.bytes.len();
        if matches!(about, About::Packet(_)) && start >= STAGED_BYTES_MAX {
            return false;
        }
        record.write(&mut self.bytes);
        self.records.push_back(Staged {
            worker,
            about,
            start,
            end: self.bytes.len(),
        });
        true
    }

    /// The state of a producer, or the wants of a mirror, changed.
    pub(crate) fn mark(&mut self, key: ProducerKey) {
        if !self.dirty.contains(&key) {
            self.dirty.push(key);
        }
    }

    /// A mirror of a producer of `worker` was removed, or is asked for and not there.
    pub(crate) fn mark_gone(&mut self, worker: u32, mirror: u64) {
        if !self.gone.contains(&(worker, mirror)) {
            self.gone.push((worker, mirror));
        }
    }

    pub(crate) fn wants_drain(&self) -> bool {
        self.records.len() >= DRAIN_AT
    }

    pub(crate) fn has_records(&self) -> bool {
        !self.records.is_empty()
    }

    pub(crate) fn take_dirty(&mut self) -> Option<ProducerKey> {
        self.dirty.pop()
    }

    pub(crate) fn take_gone(&mut self) -> Option<(u32, u64)> {
        self.gone.pop()
    }

    /// The next record and whom it is for. Its bytes stay until records are pushed again.
    pub(crate) fn pop(&mut self) -> Option<(u32, &[u8])> {
        let Some(staged) = self.records.pop_front() else {
            self.bytes.clear();
            self.last = None;
            self.dirty.append(&mut self.retry);
            self.gone.append(&mut self.retry_gone);
            return None;
        };
        self.last = Some((staged.worker, staged.about));
        Some((staged.worker, &self.bytes[staged.start..staged.end]))
    }

    /// The last record could not be handed over. What is state is told again.
    pub(crate) fn handle_lost(&mut self) -> Option<Lost> {
        match self.last.take()? {
            (_, About::Packet(transport)) => Some(Lost::Packet(transport)),
            (_, About::State(key)) => {
                self.retry.push(key);
                Some(Lost::Want(key))
            }
            (worker, About::Gone(mirror)) => {
                self.retry_gone.push((worker, mirror));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(record: &Record<'_>) {
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        assert_eq!(Record::read(&bytes).as_ref(), Some(record));
        let fixed = match record {
            Record::Packet { .. } => 30,
            Record::State { .. } => 19,
            Record::Want { .. } => 19,
            Record::Gone { .. } => 10,
        };
        for len in 0..fixed {
            assert_eq!(Record::read(&bytes[..len]), None);
        }
    }

    #[test]
    fn records_are_read_as_they_were_written_and_cut_ones_are_none() {
        there_and_back(&Record::Packet {
            mirror: 1 << 40,
            encoding: 2,
            ssrc: 7,
            sequence: 70_000,
            received_ns: 9,
            data: b"packet",
        });
        let silent = EncodingState {
            live: false,
            score: 0,
            bitrate_bps: 0,
            clock: None,
        };
        let live = EncodingState {
            live: true,
            score: 10,
            bitrate_bps: 1_500_000,
            clock: Some(ReportedClock::from_parts(-5, 6, 90_000)),
        };
        there_and_back(&Record::State {
            mirror: 3,
            active: true,
            ahead_ns: Some(-1),
            encodings: vec![silent, live],
        });
        there_and_back(&Record::Want {
            mirror: 4,
            interest: 5,
            wanted: Some(2),
            asks: [(0, 1, 1), (2, 3, 1000)]
                .map(|(encoding, causes, viewers)| Ask {
                    encoding,
                    causes: Causes(causes),
                    viewers,
                })
                .to_vec(),
            producer: "p",
        });
        there_and_back(&Record::Want {
            mirror: 4,
            interest: 0,
            wanted: None,
            asks: Vec::new(),
            producer: "p",
        });
        there_and_back(&Record::Gone { mirror: 5 });
    }
}
