//! The engine in virtual time, one phenomenon a file, with peers that speak the real protocols.

mod support;

mod activity_and_reports;
mod both_starts;
mod bounds;
mod demand;
mod demultiplexing;
mod dependency_descriptors;
mod describing;
mod fairness;
mod forged_and_replayed;
mod forwarding;
mod ice_restart;
mod idempotence;
mod instant_layers;
mod instant_start;
mod instant_svc;
mod keyframe_coalescing;
mod layers;
mod load_clients;
mod loss_to_publisher;
mod loss_to_viewer;
mod loudness;
mod pause_and_resume;
mod recording;
mod resting_layers;
mod rewriting_properties;
mod runs;
mod scores;
mod silence;
mod simulcast;
mod sound_along;
mod spanning_workers;
mod svc_publisher;
mod telemetry;
mod tuples_and_consent;
