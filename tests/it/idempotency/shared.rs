//! Calls of one name at the same time.

use std::time::Duration;

use crate::patience::soon;

use super::*;

#[tokio::test]
async fn a_hundred_calls_at_once_run_the_guest_once() {
    let world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    world.delay([(RUNS, Duration::from_millis(500))]);
    let body = json!({ "function": function, "input": 1, "idempotencyKey": "k" });
    let calls: Vec<_> = (0..100).map(|_| tokio::spawn(send(request(&world, &caller, &body)))).collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    let began: Vec<&Raw> = answers.iter().filter(|answer| !answer.replayed).collect();
    assert_eq!((began.len(), runs(&world)), (1, 1));
    let first = began[0].clone();
    assert!(first.json()["output"]["requestId"].is_string(), "{first:?}");
    for answer in &answers {
        assert_eq!(answer.again(), first.again());
    }
}

#[tokio::test]
async fn a_run_goes_on_for_who_waits_when_the_first_caller_leaves() {
    let world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    world.delay([(RUNS, Duration::from_secs(1))]);
    // A second caller who comes too late to join has a run of their own, which proves nothing.
    for attempt in 0..10 {
        let before = runs(&world);
        let key = format!("k{attempt}");
        let body = json!({ "function": function, "input": 1, "idempotencyKey": key });
        let first = tokio::spawn(send(request(&world, &caller, &body)));
        soon(async || runs(&world) == before + 1).await;
        let second = tokio::spawn(send(request(&world, &caller, &body)));
        // Another input under this name is refused at once, whoever waits.
        let reused = call(&world, &caller, &function, json!(2), &key).await;
        assert_eq!(reused.error(), (400, "IdempotencyKeyReuse".to_owned()));
        first.abort();
        let answer = second.await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(call(&world, &caller, &function, json!(1), &key).await, answer.again());
        if answer.replayed {
            assert_eq!(runs(&world), before + 1);
            return;
        }
    }
    panic!("nobody joined");
}

#[tokio::test]
async fn a_run_that_nobody_waits_for_ends() {
    let world = World::start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    world.delay([(RUNS, Duration::from_secs(600))]);
    let body = json!({ "function": function, "input": 1, "idempotencyKey": "k" });
    let waiting: Vec<_> = (0..3).map(|_| tokio::spawn(send(request(&world, &caller, &body)))).collect();
    soon(async || runs(&world) == 1).await;
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    // Long before its own limit of 5 s and the deadline of the calls.
    let began = std::time::Instant::now();
    soon(async || world.stats().runs == 0).await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    world.delay([]);
    let again = call(&world, &caller, &function, json!(1), "k").await;
    assert_eq!((again.status, again.replayed, runs(&world)), (200, false, 2), "{again:?}");
}
