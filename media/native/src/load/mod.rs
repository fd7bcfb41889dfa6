//! The load tester's clients: thousands of WebRTC endpoints on one thread.
//!
//! [`swarm::Swarm`] is sans-IO and holds all clients: ICE, SRTP, RTCP, and the streams that they
//! publish and receive. [`driver::LoadPlane`] runs one on a thread with a UDP socket for each
//! client. Signaling and DTLS handshakes are the business of whoever holds the plane.

mod catching_up;
pub mod client;
pub mod driver;
pub mod frames;
pub mod histogram;
pub mod ice;
pub mod network;
pub mod outbox;
pub mod payload;
pub mod receive_stream;
pub mod report;
pub mod send_stream;
mod socket;
pub mod stamp;
pub mod swarm;
