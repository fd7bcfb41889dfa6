//! The shell around the engine: one thread and one UDP socket a worker.
//!
//! Only this module and [`crate::plane`] know sockets and clocks. A worker
//! thread waits in epoll for datagrams, orders or the engine's next deadline,
//! feeds what came, and drains. It never waits for more to come, so batching
//! adds no delay: a batch is what had piled up while the last one was worked on.
//! While it sends, it looks at the socket now and then: the rest of a frame whose
//! first packet is under way to a thousand viewers goes along to those who come later, and reports of
//! viewers wait until all is out.
//!
//! # Queues and their overflow
//! - Orders: a channel of [`ORDER_BATCHES_MAX`] batches. The plane thread sends
//!   one batch and waits for its answer, so it can't fill; what the controller
//!   sends meanwhile stays in its socket (backpressure).
//! - Datagrams in: the socket's receive buffer; when it is full the kernel drops
//!   the newest, and NACK recovers media.
//! - Reports that came while it sent: 64 KiB ([`deferred`]); when it is full, they are handled, not
//!   dropped.
//! - Datagrams out: the socket's send buffer; when it is full, one turn waits
//!   [`SEND_WAIT_MAX`] in all, then drops and counts what finds no room.
//! - Records to other workers: a ring each way; what does not fit is lost if it
//!   is a packet (counted), and told again if it is state. See [`rings`].
//! - Notices: see [`notices::NoticeQueue`].

pub mod deferred;
pub mod notices;
pub mod rings;
pub mod socket;
mod worker;

use std::time::Duration;

pub use worker::{Clock, Command, Seat, Worker, WorkerGone};

/// Batches of orders that may wait for a worker.
pub const ORDER_BATCHES_MAX: usize = 16;

/// How long a full send buffer is waited for in one turn before datagrams are dropped.
pub const SEND_WAIT_MAX: Duration = Duration::from_millis(10);
