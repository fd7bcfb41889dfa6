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
    HEAD_BYTES, LOST, MARKED, MORE, NEXT, NUMBERED, OUT, PACKET, PADDED, PageHead, Ring, SHORT,
    SHORT_BYTES, STEPS, STREAM, STREAM_BYTES, STREAMS, Slab, TIME, TURNS,
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
    length: u16,
    step: u16,
    marks: u8,
}

impl Stream {
    /// Goes on to the next packet; its number, timestamp, length and marks.
    fn advance(&mut self, step: u16, length: u16, marks: u8) {
        let header = &mut self.header;
        let sequence = u16::from_be_bytes([header[2], header[3]]).wrapping_add(1);
        let timestamp = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let timestamp = timestamp.wrapping_add(u32::from(step));
        header[1] = (header[1] & 0x7F) | if marks & MARKED == 0 { 0 } else { 0x80 };
        header[2..4].copy_from_slice(&sequence.to_be_bytes());
        header[4..8].copy_from_slice(&timestamp.to_be_bytes());
        if step != 0 {
            self.step = step;
        }
        (self.length, self.marks) = (length, marks);
    }
}

/// What reading a page has come to.
struct Page {
    at_us: u64,
    streams: [Stream; STREAMS],
    /// The stream of the last forwarded packet.
    place: usize,
    transport_cc: u16,
}

impl Page {
    /// The forwarded packet that the last record tells of.
    fn forwarded(&self) -> Entry {
        let stream = &self.streams[self.place];
        Entry {
            at_us: self.at_us,
            class: Class::Rtp,
            out: true,
            reason: 0,
            length: stream.length,
            transport_cc: (stream.marks & NUMBERED != 0).then_some(self.transport_cc),
            captured: stream.header.to_vec(),
        }
    }

    /// The next packet of the stream at a place.
    fn advance(&mut self, place: u8, step: u16, length: u16, marks: u8) -> Entry {
        self.place = usize::from(place & 0x03);
        self.streams[self.place].advance(step, length, marks);
        if marks & NUMBERED != 0 {
            self.transport_cc = self.transport_cc.wrapping_add(1);
        }
        self.forwarded()
    }
}

fn expand_page(head: PageHead, bytes: &[u8], entries: &mut Vec<Entry>) {
    let mut page = Page {
        at_us: head.base_us,
        streams: [Stream::default(); STREAMS],
        place: 0,
        transport_cc: 0,
    };
    let mut rest = bytes;
    while let Some(used) = expand_record(&mut page, rest, entries) {
        rest = &rest[used..];
    }
}

/// Reads one record; its length, or None at the end.
fn expand_record(page: &mut Page, rest: &[u8], entries: &mut Vec<Entry>) -> Option<usize> {
    let &[kind, second, third, fourth] = rest.first_chunk::<SHORT_BYTES>()?;
    let delta = u16::from_le_bytes([third, fourth]);
    match kind & 0xF0 {
        MORE => {
            let stream = page.streams[page.place];
            for _ in 0..second {
                entries.push(page.advance(page.place as u8, 0, stream.length, stream.marks));
            }
            return Some(SHORT_BYTES);
        }
        short if short & !(STEPS | TURNS) == SHORT => {
            page.at_us += u64::from(delta);
            let stream = &mut page.streams[usize::from(kind & 0x03)];
            if kind & TURNS != 0 {
                stream.header[0] ^= PADDED;
            }
            let step = if kind & STEPS == 0 { 0 } else { stream.step };
            let length = stream.length.wrapping_add_signed(i16::from(second as i8));
            entries.push(page.advance(kind, step, length, kind));
            return Some(SHORT_BYTES);
        }
        _ => {}
    }
    let record = rest.first_chunk::<HEAD_BYTES>()?;
    let short = |at: usize| u16::from_le_bytes([record[at], record[at + 1]]);
    if kind == TIME {
        let delta_us = u32::from_le_bytes([record[4], record[5], record[6], record[7]]);
        page.at_us += u64::from(delta_us);
        return Some(HEAD_BYTES);
    }
    page.at_us += u64::from(short(4));
    if kind == LOST {
        let leaving = entries.iter_mut().rev();
        let leaving = leaving.filter(|one| one.out && one.reason == 0);
        let lost = leaving.take(usize::from(short(2)));
        lost.for_each(|one| one.reason = second);
        return Some(HEAD_BYTES);
    }
    match kind & 0xC0 {
        PACKET => {
            let captured = usize::from(record[6]).min(CAPTURE_MAX);
            let bytes = rest.get(HEAD_BYTES..HEAD_BYTES + captured)?;
            entries.push(Entry {
                at_us: page.at_us,
                class: Class::from_code(kind & 0x07)?,
                out: kind & OUT != 0,
                reason: second,
                length: short(2),
                transport_cc: None,
                captured: bytes.to_vec(),
            });
            let used = HEAD_BYTES + 4 * usize::from(record[7]);
            (used <= rest.len()).then_some(used)
        }
        STREAM => {
            let header = rest.get(HEAD_BYTES..STREAM_BYTES)?;
            page.place = usize::from(kind & 0x03);
            let stream = &mut page.streams[page.place];
            stream.header.copy_from_slice(header);
            (stream.length, stream.step, stream.marks) = (short(2), 0, kind & NUMBERED);
            page.transport_cc = short(6);
            entries.push(page.forwarded());
            Some(STREAM_BYTES)
        }
        NEXT => {
            let place = usize::from(kind & 0x03);
            page.streams[place].header[0] = second;
            entries.push(page.advance(kind, short(6), short(2), kind));
            Some(HEAD_BYTES)
        }
        _ => None,
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
