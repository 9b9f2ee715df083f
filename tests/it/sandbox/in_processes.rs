//! Guests in processes of their own.

// The files of tests are those of `in_threads`, on purpose.
#![allow(clippy::duplicate_mod)]

use super::*;

tests_of_guests!(|runtime: &Runtime, threads, slots| {
    let config =
        ProcessSandboxConfig { max_workers: 1, threads, slots, compile: unhurried(), ..Default::default() };
    Arc::new(runtime.block_on(ProcessSandbox::start(config, program())).unwrap())
});

/// What the sandbox counts. What a run is made of is known to its worker only.
fn instances(runs: usize, _parts: usize) -> usize {
    runs
}

/// What the sandbox counts: nothing, as stacks are a worker's own.
fn stacks(_under_way: usize) -> usize {
    0
}
