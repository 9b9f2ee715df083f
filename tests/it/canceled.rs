//! Runs whose callers go away: the guest is stopped, long before its time is over.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::patience::{soon, soon_within};
use crate::world::{World, answer};

/// The longest that a function may ask for.
const LIMIT: Duration = Duration::from_millis(5_000);

#[tokio::test]
async fn the_guest_of_a_direct_caller_that_goes_away_is_stopped_and_gives_back_what_it_held() {
    let world = World::start().await;
    let spin = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 16)
             (func (export "run") (param i32 i32) (result i64) (loop $l (br $l)) i64.const 0))"#,
    )
    .unwrap();
    let spin = world.publish_record("spin", &spin, |record| record["maxDurationMs"] = 5_000.into());
    let body = json!({ "function": spin.uri.to_string(), "input": 1 }).to_string();
    // A guest that nobody stops is there until its limit.
    soon_within(LIMIT / 5, async || {
        let calling = tokio::spawn(answer(world.request().body(body.clone())));
        soon(async || world.stats().sandbox.instances == 1).await;
        calling.abort();
        let gone = Instant::now();
        soon(async || world.stats().sandbox.instances == 0).await;
        gone.elapsed()
    })
    .await;
    soon(async || {
        let left = world.stats();
        (left.runs, left.waiting_runs, left.memory_reserved_bytes) == (0, 0, 0)
    })
    .await;
}
