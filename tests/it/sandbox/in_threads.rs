//! Guests in threads of the service.

// The files of tests are those of `in_processes`, on purpose.
#![allow(clippy::duplicate_mod)]

use super::*;

tests_of_guests!(|_: &Runtime, threads, slots| {
    let config = ThreadSandboxConfig { threads, compile_threads: 2, slots };
    Arc::new(ThreadSandbox::start(config).unwrap())
});

/// What the sandbox counts. Each part of a guest is an instance here.
fn instances(runs: usize, parts: usize) -> usize {
    runs * parts
}

/// What the sandbox counts: all of them.
fn stacks(under_way: usize) -> usize {
    under_way
}
