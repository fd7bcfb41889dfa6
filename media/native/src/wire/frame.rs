//! Frames on the plane's socket: a 4-byte big-endian length and a msgpack map.

use serde::{Deserialize, Serialize};

use super::answers::OrderResult;
use super::notices::Notice;
use super::orders::Order;

/// Largest frame body, in bytes.
pub const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of the length in front of a body.
pub const PREFIX_BYTES: usize = 4;

/// What control sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFrame {
    /// Chosen by control, echoed by the answer.
    pub seq: u64,
    /// Applied in order.
    pub orders: Vec<Order>,
}

/// What the plane answers to an [`OrderFrame`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultFrame {
    /// The frame that is answered.
    pub seq: u64,
    /// One an order.
    pub results: Vec<OrderResult>,
}

/// What the plane says by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeFrame {
    /// Oldest first.
    pub notices: Vec<Notice>,
}

/// A frame that breaks the contract; its connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Announced longer than [`FRAME_BYTES_MAX`].
    TooLong(usize),
    /// Not the msgpack map that is expected.
    Malformed(String),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "frame of {bytes} bytes exceeds {FRAME_BYTES_MAX}"),
            Self::Malformed(why) => write!(f, "malformed frame: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

/// Reads the body of an order frame.
pub fn decode_orders(body: &[u8]) -> Result<OrderFrame, FrameError> {
    rmp_serde::from_slice(body).map_err(|error| FrameError::Malformed(error.to_string()))
}

/// Writes a body as a map with named fields.
///
/// # Panics
/// Never for the types of this module: all of them can be written.
pub fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(body).expect("frames of this module can be written")
}

/// Appends a whole frame, length and body, to `out`.
///
/// # Errors
/// [`FrameError::TooLong`] when the body exceeds [`FRAME_BYTES_MAX`]; `out` is unchanged.
pub fn append_frame<T: Serialize>(out: &mut Vec<u8>, body: &T) -> Result<(), FrameError> {
    let bytes = encode(body);
    let length = u32::try_from(bytes.len())
        .ok()
        .filter(|&n| n as usize <= FRAME_BYTES_MAX);
    let length = length.ok_or(FrameError::TooLong(bytes.len()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes);
    Ok(())
}

/// Cuts frames out of a byte stream.
///
/// It never holds more than one frame and what was read beyond it.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Vec<u8>,
    start: usize,
}

impl FrameReader {
    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 && self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The body of the next whole frame, if it is there.
    ///
    /// # Errors
    /// [`FrameError::TooLong`]: the stream can't be read any further.
    pub fn poll_frame(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let rest = &self.buffer[self.start..];
        let Some(prefix) = rest.first_chunk::<PREFIX_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong(length));
        }
        let Some(body) = rest.get(PREFIX_BYTES..PREFIX_BYTES + length) else {
            return Ok(None);
        };
        let body = body.to_vec();
        self.start += PREFIX_BYTES + length;
        self.buffer.drain(..self.start);
        self.start = 0;
        Ok(Some(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_whole_however_their_bytes_come_in() {
        let notice = |n: u32| NoticeFrame {
            notices: vec![Notice::KeyFrameRequested {
                producer: "p".into(),
                encoding: 0,
                requests: n,
                storm: false,
                causes: Vec::new(),
            }],
        };
        let mut stream = Vec::new();
        for n in 0..5 {
            append_frame(&mut stream, &notice(n)).expect("short");
        }
        for step in [1, 3, 7, 64, stream.len()] {
            let mut reader = FrameReader::default();
            let mut seen = Vec::new();
            for bytes in stream.chunks(step) {
                reader.push(bytes);
                while let Some(body) = reader.poll_frame().expect("well formed") {
                    seen.push(rmp_serde::from_slice::<NoticeFrame>(&body).expect("a frame"));
                }
            }
            assert_eq!(seen, (0..5).map(notice).collect::<Vec<_>>());
        }
    }

    #[test]
    fn announced_excess_is_refused_before_it_comes() {
        let mut reader = FrameReader::default();
        reader.push(&(FRAME_BYTES_MAX as u32 + 1).to_be_bytes());
        let refused = reader.poll_frame();
        assert_eq!(refused, Err(FrameError::TooLong(FRAME_BYTES_MAX + 1)));
    }

    #[test]
    fn secrets_do_not_show_in_what_is_printed() {
        let keys = super::super::orders::SetSrtpKeys {
            transport: "t".into(),
            profile: super::super::orders::SrtpProfile::AeadAes128Gcm,
            local: super::super::orders::Secret::new(*b"hidden-hidden-hidden"),
            remote: super::super::orders::Secret::new(*b"hidden-hidden-hidden"),
        };
        let ice = super::super::orders::IceCredentials {
            ufrag: "u".into(),
            pwd: "hidden".into(),
        };
        let printed = format!("{keys:?} {ice:?}");
        assert!(
            !printed.contains("hidden") && !printed.contains("104"),
            "{printed}"
        );
    }
}
