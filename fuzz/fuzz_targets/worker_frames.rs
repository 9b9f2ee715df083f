//! Any bytes as a packet that a worker sends about a run: no panic, and what the service goes by is within
//! the run's limits and no longer than the packet.
#![no_main]

use std::time::Duration;

use at_functions::sandbox::Limits;
use at_functions::workers::process::{Word, judge_worker};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    memory_bytes: 1 << 20,
    duration: Duration::from_secs(1),
    output_bytes: 100,
    host_calls: 2,
    host_bytes: 1_000,
};

fuzz_target!(|packet: &[u8]| {
    match judge_worker(packet, LIMITS) {
        Some(Word::Ended(completion)) => {
            match completion.result {
                Ok(output) => {
                    assert!(output.len() <= LIMITS.output_bytes);
                    serde_json::from_slice::<&serde_json::value::RawValue>(&output).unwrap();
                }
                Err(failure) => assert!(failure.message.len() <= packet.len()),
            }
            assert!(completion.usage.peak_memory_bytes <= LIMITS.memory_bytes);
            let lines: usize = completion.logs.lines.iter().map(|line| line.message.len()).sum();
            assert!(lines <= packet.len());
        }
        Some(Word::Lost(reason)) => assert!(!reason.contains(char::is_control)),
        Some(Word::Alive | Word::Called(_)) | None => {}
    }
});
