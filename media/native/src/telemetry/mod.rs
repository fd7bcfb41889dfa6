//! Telemetry: what each stream did in each second, in small frames.
//!
//! Once a second the engine samples every entity of a room (transports, encodings of producers,
//! consumers) and an [`Encoder`] writes a *frame*: column by column, each value as the difference
//! to the second before, in variable-length integers, runs of zeros as one number. Most columns of
//! a calm room are such runs. [`Fold`] reads frames back.
//!
//! # The format
//! All integers are LEB128 varints (`u`), signed ones zigzag-coded (`z`).
//!
//! ```text
//! frame  = version:byte  flags:byte (1: key)  worker:u  sequence:u  interval_us:u  kind[3]  column…
//! kind   = removed:u  {row - (row removed before + 1)}:u…        in the table of the frame before
//!          added:u  {length:u id:bytes encoding:u}…              at the end of the table
//! column = {delta:z, not 0 | 0:u run-1:u}…                       one value a row
//! ```
//!
//! Kinds come in the order of [`Kind`], columns in that of [`Kind::metrics`]. A *key frame* begins
//! with empty tables and values of 0, so it can be read by itself; one comes first and then every
//! [`KEY_EVERY`] frames. The frames between have to be read in order from a key frame on; a reader
//! that misses one (`sequence` jumps) waits for the next key frame.
//!
//! A value that may be unknown is coded as itself plus one, and 0 is unknown.

mod decode;
mod encode;
mod fold;
mod varint;

pub use decode::{Decoder, FrameError};
pub use encode::{Changes, Encoder, EntityId, Head};
pub use fold::{Cell, Fold, Wanted};

/// Version of the format.
pub const VERSION: u8 = 1;

/// A key frame comes every so many frames: once a minute.
pub const KEY_EVERY: u64 = 60;

/// Entities of one room on one worker that are sampled; further ones are left out, so that a frame
/// stays well below the largest frame on the plane's socket.
pub const ENTITIES_MAX: usize = 16_384;

/// What a sampled entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A transport.
    Transport,
    /// One encoding of a producer: a stream that comes in.
    Producer,
    /// A consumer: a stream that goes out.
    Consumer,
}

/// One measured quantity of a kind of entity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name, with the unit last.
    pub name: &'static str,
    /// What a coded one is worth in that unit.
    pub scale: f64,
    /// Whether it may be unknown.
    pub optional: bool,
}

const fn counted(name: &'static str) -> Metric {
    Metric {
        name,
        scale: 1.0,
        optional: false,
    }
}

const fn scaled(name: &'static str, scale: f64) -> Metric {
    Metric {
        name,
        scale,
        optional: false,
    }
}

const fn optional(name: &'static str, scale: f64) -> Metric {
    Metric {
        name,
        scale,
        optional: true,
    }
}

/// Metrics of a transport.
pub const TRANSPORT: [Metric; 7] = [
    scaled("sent_bps", 1000.0),
    scaled("received_bps", 1000.0),
    counted("packets_sent"),
    counted("packets_received"),
    counted("packets_dropped"),
    counted("ice_state"),
    optional("estimated_bps", 1000.0),
];

/// Metrics of an encoding of a producer.
pub const PRODUCER: [Metric; 11] = [
    scaled("bitrate_bps", 1000.0),
    counted("packets"),
    counted("packets_lost"),
    optional("jitter_ms", 0.1),
    counted("nacks"),
    counted("plis"),
    counted("key_frames"),
    counted("retransmitted_packets"),
    counted("packets_discarded"),
    optional("score", 1.0),
    counted("live"),
];

/// Metrics of a consumer.
pub const CONSUMER: [Metric; 14] = [
    scaled("bitrate_bps", 1000.0),
    counted("packets"),
    counted("packets_lost"),
    optional("jitter_ms", 0.1),
    optional("round_trip_time_ms", 0.1),
    counted("nacks"),
    counted("plis"),
    counted("key_frames"),
    counted("retransmitted_packets"),
    optional("score", 1.0),
    optional("spatial_layer", 1.0),
    optional("temporal_layer", 1.0),
    counted("paused"),
    counted("frozen"),
];

impl Kind {
    /// All kinds, in the order of a frame.
    pub const ALL: [Self; 3] = [Self::Transport, Self::Producer, Self::Consumer];

    /// The columns of this kind.
    pub fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Transport => &TRANSPORT,
            Self::Producer => &PRODUCER,
            Self::Consumer => &CONSUMER,
        }
    }

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }
}

#[cfg(test)]
mod tests;
