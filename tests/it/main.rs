//! All integration tests, linked into one binary: a module a topic.

// The shared helpers are `pub` for their sibling modules; a test binary exports nothing.
#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod artifacts;
mod audit;
mod bomb;
mod callers;
mod canceled;
mod cli;
mod dependencies;
mod describe;
mod dev;
mod envelope;
mod examples;
mod fuzzed;
mod grants;
mod guests;
mod guide;
mod idempotency;
mod lexicons;
mod links;
mod logs;
mod memo;
mod monitoring;
mod network;
#[cfg(feature = "otlp")]
mod otlp;
mod patience;
mod policy;
mod ports;
mod probe;
mod projects;
mod rates;
mod reads;
mod registry;
mod sandbox;
mod schemas;
mod served;
mod settings;
mod wit;
mod world;
