//! The vocabulary between control and media plane, as `protocol/` defines it.
//!
//! [`orders`] come in, [`answers`] and [`notices`] go out, in the [`frame`]s of
//! the plane's socket.

pub mod answers;
pub mod frame;
pub mod notices;
pub mod orders;
