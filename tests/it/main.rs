//! All integration tests, linked into one binary: a module a topic.

#![allow(clippy::unwrap_used, reason = "a test that meets what it does not expect is to fail there")]

mod network;
