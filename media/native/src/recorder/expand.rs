//! From records to entries, and from entries to the bytes of a recording.
//!
//! A recording is handed over in chunks that can be read by themselves:
//!
//! ```text
//! chunk = version:byte (1)  before_us:u64   µs from its first entry to the moment of freezing
//!         count:byte {length:byte word}…    the words of drop reasons, by their codes from 1
//!         entry…
//! entry = delta_us:u32  class:byte  marks:byte  reason:byte  captured:byte  length:u16
//!         transport_cc:u16  bytes[captured]            integers little-endian
//! marks = 1: out   2: has a transport-wide number
//! ```

use super::page::{
    HEAD_BYTES, LOST, NEXT, OUT, PACKET, PageHead, Ring, STREAM, STREAMS, Slab, TIME,
};
use super::{CAPTURE_MAX, Class};

/// Version of the chunk's format.
const VERSION: u8 = 1;

/// A chunk is closed once it holds so much.
const CHUNK_BYTES: usize = 192 * 1024;

/// One packet of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it came or left, in µs of the engine's clock.
    pub at_us: u64,
    /// What it is.
    pub class: Class,
    /// Whether it left.
    pub out: bool,
    /// Code of the reason for which it was dropped; 0 if it was not.
    pub reason: u8,
    /// Its whole length on the wire, without UDP's header.
    pub length: u16,
    /// Its transport-wide sequence number, if it was forwarded with one.
    pub transport_cc: Option<u16>,
    /// Its first bytes.
    pub captured: Vec<u8>,
}

impl Ring {
    /// All that is recorded of the transport, in order of time.
    pub(crate) fn expand(&self, slab: &Slab, now_ns: u64) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (head, bytes) in slab.pages(self, now_ns) {
            expand_page(head, bytes, &mut entries);
        }
        let oldest_us = slab.oldest_us(now_ns);
        let young = entries.partition_point(|entry| entry.at_us < oldest_us);
        let remote = entries[..young]
            .iter()
            .rev()
            .find(|one| one.class == Class::Remote);
        let remote = remote.cloned().map(|remote| Entry {
            at_us: oldest_us,
            ..remote
        });
        remote.into_iter().chain(entries.drain(young..)).collect()
    }
}

#[derive(Clone, Copy, Default)]
struct Stream {
    header: [u8; 12],
}

fn expand_page(head: PageHead, bytes: &[u8], entries: &mut Vec<Entry>) {
    let mut at_us = head.base_us;
    let mut streams = [Stream::default(); STREAMS];
    let mut transport_cc = 0_u16;
    let mut rest = bytes;
    while let Some(record) = rest.first_chunk::<HEAD_BYTES>() {
        let (kind, second) = (record[0], record[1]);
        let short = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
        let mut used = HEAD_BYTES;
        if kind == TIME {
            at_us += u64::from(u32::from_le_bytes([
                record[4], record[5], record[6], record[7],
            ]));
            rest = &rest[used..];
            continue;
        }
        at_us += u64::from(short(4));
        if kind == LOST {
            let leaving = entries
                .iter_mut()
                .rev()
                .filter(|one| one.out && one.reason == 0);
            leaving
                .take(usize::from(short(2)))
                .for_each(|one| one.reason = second);
            rest = &rest[used..];
            continue;
        }
        let mut entry = Entry {
            at_us,
            class: Class::Rtp,
            out: true,
            reason: 0,
            length: short(2),
            transport_cc: None,
            captured: Vec::new(),
        };
        let place = usize::from(kind & 0x03);
        match kind & 0xC0 {
            PACKET => {
                let captured = usize::from(record[6]).min(CAPTURE_MAX);
                // RTCP keeps the room that its protected form would have taken.
                let kept = match Class::from_code(kind & 0x07) {
                    Some(Class::Rtcp) if kind & OUT == 0 => {
                        usize::from(entry.length).min(CAPTURE_MAX)
                    }
                    Some(_) => captured,
                    None => return,
                };
                used += kept.next_multiple_of(4);
                let Some(bytes) = rest.get(HEAD_BYTES..HEAD_BYTES + captured) else {
                    return;
                };
                entry.class = Class::from_code(kind & 0x07).expect("looked at before");
                entry.out = kind & OUT != 0;
                entry.reason = second;
                entry.captured = bytes.to_vec();
            }
            STREAM => {
                used += 16;
                let Some(header) = rest.get(HEAD_BYTES..HEAD_BYTES + 12) else {
                    return;
                };
                streams[place].header.copy_from_slice(header);
                transport_cc = short(6);
            }
            NEXT => {
                let header = &mut streams[place].header;
                let sequence = u16::from_be_bytes([header[2], header[3]]).wrapping_add(1);
                let timestamp = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                header[0] = second;
                header[1] = (header[1] & 0x7F) | (kind & 0x08) << 4;
                header[2..4].copy_from_slice(&sequence.to_be_bytes());
                header[4..8]
                    .copy_from_slice(&timestamp.wrapping_add(u32::from(short(6))).to_be_bytes());
                transport_cc = transport_cc.wrapping_add(1);
            }
            _ => return,
        }
        if kind & 0xC0 != PACKET {
            entry.captured = streams[place].header.to_vec();
            entry.transport_cc = (kind & 0x04 != 0).then_some(transport_cc);
        }
        entries.push(entry);
        let Some(next) = rest.get(used..) else { return };
        rest = next;
    }
}

/// Entries as chunks of bytes; at least one, be it empty.
pub fn chunks(entries: &[Entry], frozen_us: u64, reasons: &[&str]) -> Vec<Vec<u8>> {
    let mut made = vec![begin(entries.first(), frozen_us, reasons)];
    let mut last_us = entries.first().map_or(0, |entry| entry.at_us);
    for entry in entries {
        if made.last().is_some_and(|chunk| chunk.len() >= CHUNK_BYTES) {
            made.push(begin(Some(entry), frozen_us, reasons));
            last_us = entry.at_us;
        }
        let chunk = made.last_mut().expect("one at least");
        let delta_us = u32::try_from(entry.at_us.saturating_sub(last_us)).unwrap_or(u32::MAX);
        last_us = entry.at_us;
        let marks = u8::from(entry.out) | u8::from(entry.transport_cc.is_some()) << 1;
        chunk.extend(delta_us.to_le_bytes());
        chunk.extend([
            entry.class as u8,
            marks,
            entry.reason,
            entry.captured.len() as u8,
        ]);
        chunk.extend(entry.length.to_le_bytes());
        chunk.extend(entry.transport_cc.unwrap_or(0).to_le_bytes());
        chunk.extend_from_slice(&entry.captured);
    }
    made
}

fn begin(first: Option<&Entry>, frozen_us: u64, reasons: &[&str]) -> Vec<u8> {
    let before_us = first.map_or(0, |entry| frozen_us.saturating_sub(entry.at_us));
    let mut chunk = vec![VERSION];
    chunk.extend(before_us.to_le_bytes());
    chunk.push(reasons.len() as u8);
    for word in reasons {
        chunk.push(word.len() as u8);
        chunk.extend_from_slice(word.as_bytes());
    }
    chunk
}
