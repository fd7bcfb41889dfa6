//! One connection to the plane's socket: frames in, frames out, both bounded.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use mio::net::UnixStream;
use serde::Serialize;

use crate::wire::frame::{FrameError, FrameReader, append_frame};

/// Bytes that wait to be written before no further frame is read.
pub(super) const OUT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes that wait to be written before notices stay in their queue.
pub(super) const NOTICE_BYTES_MAX: usize = 256 * 1024;

/// Bytes taken from the kernel in one call.
const READ_BYTES: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: UnixStream,
    reader: FrameReader,
    out: Vec<u8>,
    written: usize,
    /// Until when it must have said `Hello`; None once it has.
    pub(super) hello_by: Option<Instant>,
    /// It is closed once all is written.
    pub(super) closing: bool,
    ended: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, hello_by: Instant) -> Self {
        Self {
            stream,
            reader: FrameReader::default(),
            out: Vec::new(),
            written: 0,
            hello_by: Some(hello_by),
            closing: false,
            ended: false,
        }
    }

    /// Bytes that wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// The next frame's body; None if it is not there yet, or answers must be read first.
    ///
    /// # Errors
    /// The connection is to be closed: its end, or a frame that breaks the contract.
    pub(super) fn poll_frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; READ_BYTES];
        while self.waiting() < OUT_BYTES_MAX && !self.closing {
            if let Some(body) = self.reader.poll_frame().map_err(invalid)? {
                return Ok(Some(body));
            }
            if self.ended {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => self.reader.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Appends a frame and writes what can be written.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub(super) fn send<T: Serialize>(&mut self, body: &T) -> io::Result<()> {
        append_frame(&mut self.out, body).map_err(invalid)?;
        self.flush()
    }

    /// Writes what can be written.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.waiting() > 0 {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}

fn invalid(error: FrameError) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
