//! A program in C that looks for everything WASI has to offer, as a command (`wasi-v1`) and as a
//! component by the preview 1 adapter (`component-v1`): it finds nothing and breaks nothing.

use std::time::Duration;

use at_functions::clock::Clock;
use serde_json::{Value, json};

use crate::world::{Answer, World};

const COMMAND: &[u8] = include_bytes!("../guests/wasi-probe/probe.wasm");
const COMPONENT: &[u8] = include_bytes!("../guests/wasi-probe/adapted.wasm");

const PROBES: [(&str, &[u8]); 2] = [("wasi-v1", COMMAND), ("component-v1", COMPONENT)];

const MIB: u64 = 1024 * 1024;

/// Both probes, each told to do `deed` within more time than it takes.
async fn told(world: &World, deed: &str) -> [(&'static str, Answer); 2] {
    told_within(world, 5_000, deed).await
}

/// Both probes, each told to do `deed` within `ms`.
async fn told_within(world: &World, ms: u32, deed: &str) -> [(&'static str, Answer); 2] {
    let [command, component] = PROBES.map(|(mode, wasm)| {
        // Under a name of its own, as a record is believed for a while.
        let published = world.publish_record(&format!("{mode}-{ms}"), wasm, |record| {
            record["mode"] = mode.into();
            record["maxDurationMs"] = ms.into();
        });
        (mode, published.uri)
    });
    let command = (command.0, world.run(&command.1, json!(deed)).await);
    [command, (component.0, world.run(&component.1, json!(deed)).await)]
}

#[tokio::test]
async fn a_program_finds_no_file_no_environment_and_clocks_that_stand_still() {
    let world = World::start().await;
    for (mode, answer) in told(&world, "look").await {
        let mut found = answer.output().clone();
        let realtime = Duration::from_nanos(found["realtime"].take().as_u64().unwrap());
        let now = Clock::system().since_epoch();
        assert!(now.abs_diff(realtime) < Duration::from_secs(60), "{mode}: {realtime:?} at {now:?}");
        for clock in ["realtimeResolution", "monotonicResolution"] {
            // What is coarser than any run tells nothing of how long something takes.
            let step = found[clock].take().as_u64().unwrap();
            assert!(step >= 1_000_000, "{mode}: {clock} is {step} ns");
        }
        let nothing = json!({
            "arguments": 0, "environment": 0, "files": [], "folders": 0, "descriptors": 0,
            "realtime": null, "realtimeResolution": null, "realtimeSteps": 0,
            "monotonicResolution": null, "monotonicSteps": 0, "stdinLeft": 0, "randomRepeats": false,
        });
        assert_eq!(found, nothing, "{mode}");
    }
}

#[tokio::test]
async fn a_program_finds_no_socket() {
    let world = World::start().await;
    let [(_, command), (_, component)] = told(&world, "sockets").await;
    assert_eq!(command.output()["found"], 0, "{command:?}");
    // The adapter has no sockets, and traps by itself.
    assert_eq!(component.outcome(), "trap", "{component:?}");
}

#[tokio::test]
async fn the_way_a_program_ends_is_its_outcome() {
    let world = World::start().await;
    // How it ends as a command, and as a component.
    let cases = [
        ("exit 0", "outputInvalid", "guestError"),
        ("exit 1", "guestError", "guestError"),
        ("exit 70", "guestError", "guestError"),
        ("abort", "trap", "trap"),
        ("tick", "timeout", "timeout"),
        ("sleep 100000", "timeout", "timeout"),
    ];
    for (deed, command, component) in cases {
        let ends_by_itself = command != "timeout";
        let answers = told_within(&world, if ends_by_itself { 5_000 } else { 500 }, deed).await;
        for ((mode, answer), outcome) in answers.into_iter().zip([command, component]) {
            assert_eq!(answer.outcome(), outcome, "{mode} told to {deed}: {answer:?}");
            let took = answer.body["durationMs"].as_u64().unwrap();
            assert!(ends_by_itself || took < 4_000, "{mode} told to {deed}: {answer:?}");
        }
    }
    for (mode, answer) in told(&world, "sleep 300").await {
        assert_eq!(answer.output(), &json!({ "slept": true }), "{mode}");
        // Time in which the run waited for a processor, and not for the clock, is left out.
        assert!(answer.body["durationMs"].as_u64().unwrap() >= 150, "{mode}: {answer:?}");
    }
}

#[tokio::test]
async fn a_flood_ends_at_its_bound() {
    let world = World::start().await;
    let [(_, command), (_, component)] = told_within(&world, 5_000, "stdout 100").await;
    assert_eq!(command.outcome(), "outputTooLarge", "{command:?}");
    // A component's output is what it returns; its stdout is a log, of which little is kept.
    assert_eq!(component.output()["written"], 100 * MIB, "{component:?}");
    for (mode, answer) in told_within(&world, 5_000, "stderr 100").await {
        assert_eq!(answer.output()["written"], 100 * MIB, "{mode}: {answer:?}");
        let peak = answer.body["usage"]["peakMemoryBytes"].as_u64().unwrap();
        assert!(peak < 8 * MIB, "{mode}: {peak}");
    }
    let [(_, command), (_, component)] = told_within(&world, 5_000, "random 100").await;
    assert_eq!(command.output()["drawn"], 64 * 1024, "{command:?}");
    assert_eq!(component.outcome(), "trap", "{component:?}");
}

#[tokio::test]
async fn nothing_can_be_done_with_a_descriptor_but_read_and_write() {
    let world = World::start().await;
    for (mode, answer) in told(&world, "juggle").await {
        assert_eq!(answer.output()["succeeded"], 0, "{mode}: {answer:?}");
    }
}

#[tokio::test]
async fn an_adapted_component_reads_records_and_has_an_error_of_its_own() {
    let world = World::start().await;
    let [_, (_, failed)] = told(&world, "fail").await;
    assert_eq!(failed.outcome(), "guestError");
    assert_eq!(failed.body["error"], "the probe was told to fail");

    let own =
        world.publish_record("component-v1", COMPONENT, |record| record["mode"] = "component-v1".into());
    let read = world.run(&own.uri, json!(own.uri.to_string())).await;
    assert_eq!(read.output()["mode"], "component-v1", "{read:?}");
    let missing = world.run(&own.uri, json!("at://did:web:localhost/none")).await;
    assert_eq!(missing.outcome(), "guestError", "{missing:?}");
    assert_ne!(missing.body["error"], Value::Null);
}
