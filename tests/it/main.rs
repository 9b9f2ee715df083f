//! All integration tests, linked into one binary: a module a topic.

mod cli;
