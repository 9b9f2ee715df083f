//! What one run may ask for, all together, as the service sets it.

use serde_json::json;

use super::*;
use crate::world::Answer;

/// A module of host-v1 that hands its input to a host call so many times, and answers 7.
fn repeating(call: &str, times: u32) -> Vec<u8> {
    // The input goes to 1024, and each reply over the one before it.
    let text = format!(
        r#"(module
            (import "host" "{call}" (func $call (param i32 i32) (result i64)))
            (memory (export "memory") 32)
            (data (i32.const 16) "7")
            (global $place (mut i32) (i32.const 1024))
            (func (export "alloc") (param i32) (result i32)
                (global.get $place)
                (global.set $place (i32.const 65536)))
            (func (export "run") (param $pointer i32) (param $length i32) (result i64)
                (local $left i32)
                (local.set $left (i32.const {times}))
                (loop $again
                    (drop (call $call (local.get $pointer) (local.get $length)))
                    (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                    (br_if $again (local.get $left)))
                (i64.const 0x10_0000_0001)))"#
    );
    wat::parse_str(text).unwrap()
}

/// Runs it until it comes to its own end: a machine that is busy with other things may not get through so
/// many calls in the longest time that a record may ask for.
async fn run(world: &World, call: &str, times: u32, input: Value) -> Answer {
    let name = format!("{call}-{times}");
    let function = world.publish_record(&name, &repeating(call, times), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 5000.into();
    });
    for _ in 0..20 {
        let answer = world.run(&function.uri, input.clone()).await;
        if answer.status == 200 && answer.body["outcome"] != "timeout" {
            return answer;
        }
    }
    panic!("{times} calls of {call} never came to an end");
}

/// What came of it, and how many calls were made.
fn told(answer: &Answer) -> (&Value, &Value, &Value) {
    (&answer.body["outcome"], &answer.body["error"], &answer.body["usage"]["hostCalls"])
}

#[tokio::test]
async fn a_run_makes_a_thousand_host_calls_and_not_one_more() {
    let world = World::start().await;
    // Refused for what it asks, which counts as any other.
    let input = json!({ "atUri": "nothing" });
    let fits = run(&world, "host_read_record", 1000, input.clone()).await;
    assert_eq!((fits.output(), &fits.body["usage"]["hostCalls"]), (&json!(7), &json!(1000)));
    let more = run(&world, "host_read_record", 1001, input).await;
    let why = "the function made more than 1000 host calls";
    assert_eq!(told(&more), (&json!("hostCallLimit"), &json!(why), &json!(1000)));
}

#[tokio::test]
async fn a_runs_host_calls_bring_in_32_mebibytes_and_not_a_byte_more() {
    let world = World::start().await;
    // A blob brings its type too, which is the same of all blobs of this host.
    let fits = (1 << 20) - "application/wasm".len();
    let [fits, longer] = [fits, fits + 1].map(|length| Bytes::from(vec![1; length]));
    put(&world.author, "blobs", &json!({ "$type": POST }), [fits.clone(), longer.clone()]);

    let input = json!({ "cid": blob_cid(&fits).to_string() });
    let all = run(&world, "host_read_blob", 32, input).await;
    assert_eq!((all.output(), &all.body["usage"]["hostCalls"]), (&json!(7), &json!(32)));
    let input = json!({ "cid": blob_cid(&longer).to_string() });
    let more = run(&world, "host_read_blob", 32, input).await;
    let why = "the function's host calls brought in more than 32 MiB";
    assert_eq!(told(&more), (&json!("hostCallLimit"), &json!(why), &json!(32)));
}
