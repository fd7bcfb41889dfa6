//! How loud each microphone of a room is: a notice a room five times a second while somebody is
//! heard.
//!
//! The levels come with the packets (RFC 6464); nothing is decoded. A producer that sends no
//! level, or none in an interval (DTX), counts as silent. The packet path adds two numbers a packet
//! of audio; rooms in which nobody makes a sound cost a timer while audio flows.

use super::Engine;
use super::table::{ProducerKey, Table};
use super::timers::{Armed, Timer};
use crate::rtp::AudioLevel;
use crate::wire::notices::{Level, Notice};

/// Between two notices of a room.
pub(crate) const LEVELS_NS: u64 = 200_000_000;

/// In -dBov: what is not louder counts as silence.
pub(crate) const SILENCE: u8 = 70;

/// Producers in a notice; the loudest ones.
pub(crate) const LEVELS_MAX: usize = 32;

/// Levels of one producer in the present interval.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loudness {
    /// Sum of levels, in -dBov.
    sum: u32,
    packets: u32,
}

impl Loudness {
    fn add(&mut self, level: AudioLevel) {
        self.sum = self.sum.saturating_add(u32::from(level.level));
        self.packets = self.packets.saturating_add(1);
    }

    /// The mean, in -dBov.
    fn mean(self) -> Option<u8> {
        u8::try_from(self.sum.checked_div(self.packets)?).ok()
    }
}

/// Which producers told a level in this interval, and which rooms were heard in the one before.
#[derive(Debug, Default)]
pub(crate) struct Listener {
    pub(super) timer: Armed,
    told: Vec<ProducerKey>,
    heard: Vec<String>,
}

impl Engine {
    /// Notes the level of a packet of audio.
    pub(super) fn note_level(&mut self, now_ns: u64, key: ProducerKey, level: AudioLevel) {
        let Some(producer) = self.table.producers.get_mut(key) else {
            return;
        };
        if producer.row.paused || producer.is_video() {
            return;
        }
        if producer.loudness.packets == 0 {
            self.listener.told.push(key);
        }
        producer.loudness.add(level);
        let at_ns = (now_ns / LEVELS_NS + 1) * LEVELS_NS;
        self.timers
            .arm(&mut self.listener.timer, at_ns, Timer::Levels);
    }
}

/// Tells how loud each room was, and once that it is silent.
pub(super) fn handle_levels(engine: &mut Engine) {
    let Engine {
        table,
        listener,
        notices,
        config,
        ..
    } = engine;
    let mut rooms: Vec<(String, Vec<Level>)> = Vec::new();
    for room in listener.heard.drain(..) {
        rooms.push((room, Vec::new()));
    }
    for key in listener.told.drain(..) {
        let Some((room, level)) = take(table, key) else {
            continue;
        };
        match rooms.iter_mut().find(|(name, _)| *name == room) {
            Some((_, levels)) => levels.push(level),
            None => rooms.push((room, vec![level])),
        }
    }
    for (room, mut levels) in rooms {
        levels.sort_by(|a, b| (a.level, &a.producer).cmp(&(b.level, &b.producer)));
        levels.truncate(LEVELS_MAX);
        if !levels.is_empty() {
            listener.heard.push(room.clone());
        }
        notices.push(Notice::AudioLevels {
            room,
            worker: config.worker,
            levels,
        });
    }
    // A room that fell silent is told of at the next tick, although no packet may come.
    if !listener.heard.is_empty() {
        let at_ns = (engine.now_ns / LEVELS_NS + 1) * LEVELS_NS;
        engine
            .timers
            .arm(&mut engine.listener.timer, at_ns, Timer::Levels);
    }
}

/// Room and level of a producer that is louder than silence; its interval begins anew.
fn take(table: &mut Table, key: ProducerKey) -> Option<(String, Level)> {
    let producer = table.producers.get_mut(key)?;
    let level = std::mem::take(&mut producer.loudness).mean()?;
    let transport = table.transports.get(producer.home.transport()?)?;
    let level = (level < SILENCE).then(|| Level {
        producer: producer.row.producer.clone(),
        level,
    })?;
    Some((transport.row.room.clone(), level))
}
