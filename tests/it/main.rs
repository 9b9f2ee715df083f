//! All integration tests, linked into one binary: a module a topic.

mod envelope;
mod guests;
mod registry;
mod world;
