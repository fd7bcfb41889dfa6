//! What viewers get over networks that change: the engine in virtual time, with publishers of three
//! simulcast encodings and viewers that give feedback, behind seeded bottlenecks.
//!
//! One phenomenon a file. Each run leaves a plot and its numbers in `test-output/adaptation/`.

#[allow(dead_code)]
#[path = "../engine/support/mod.rs"]
mod support;

mod camera;
mod climbing;
mod decoder;
mod plot;
mod stage;
mod viewer;

mod capacity;
mod delay;
mod joining;
mod loss;
mod remb;
mod resting;
mod route;
mod sharing;
mod stall;
mod svc;
