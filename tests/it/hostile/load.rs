//! Too much at once, callers who go away, and a service that is told to stop.

use std::time::{Duration, Instant};

use at_functions::dev::Published;
use serde_json::json;

use crate::arena::*;
use crate::modules::*;

impl Arena {
    /// A function that sleeps so long and answers 7.
    fn publish_sleeper(&self, millis: u64, memory_mb: u32) -> Published {
        self.publish_record(&wasm(&sleeper(millis)), |record| {
            record["mode"] = "wasi-v1".into();
            record["maxDurationMs"] = 5_000.into();
            record["maxMemoryMb"] = memory_mb.into();
        })
    }
}

pub(crate) async fn who_goes_away_stops_the_guest(arena: &Arena) {
    let spinner = arena.publish(&wasm(&run(SPIN)), LONG);
    let calls = async { futures_util::future::join_all((0..4).map(|_| arena.call(&spinner))).await };
    tokio::select! {
        answers = calls => panic!("{answers:?}"),
        () = arena.until(RUNS, |now| now == 4) => {}
    }
    let began = Instant::now();
    arena.until(RUNS, |now| now == 0).await;
    arena.within("stopping what nobody waits for", began.elapsed(), Duration::from_millis(100));
}

pub(crate) async fn ten_times_what_fits_is_served_or_told_to_come_back(arena: &Arena) {
    // Two of them fill all the memory that runs may reserve, for 600 ms.
    let sleeper = arena.publish_sleeper(600, 256);
    assert_eq!(arena.call(&sleeper).await.output(), &json!(7));
    let began = Instant::now();
    let answers = arena.arrive(20, 100, |_| arena.call(&sleeper)).await;
    let took = began.elapsed();
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    for answer in &answers {
        if answer.status == 200 {
            assert_eq!(answer.output(), &json!(7));
        } else {
            assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}");
            assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
            assert!(answer.message().contains("retry in "), "{answer:?}");
        }
    }
    // A run starts only where its whole limit, which is 5 s, fits before the 9 s of a call, and waits only
    // where it seems to wait no longer than 2 s.
    assert!((4..=14).contains(&served), "{served}");
    arena.within("the last answer", took, Duration::from_millis(5_500));
}

pub(crate) async fn more_runs_than_places_wait_and_none_fails(arena: &Arena) {
    let sleeper = arena.publish_sleeper(150, 1);
    assert_eq!(arena.call(&sleeper).await.output(), &json!(7));
    for answer in arena.arrive(300, 100, |_| arena.call(&sleeper)).await {
        match answer.status {
            200 => assert_eq!(answer.output(), &json!(7)),
            _ => assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}"),
        }
    }
}

pub(crate) async fn one_caller_who_floods_takes_nothing_from_others(arena: &Arena) {
    let own = arena.another(&["--caller-limit=100/s burst 500 at-once 2"]).await;
    let spinner = own.publish(&wasm(&run(SPIN)), Allowed { millis: 2_000, ..LONG });
    let flooder = own.world.caller(1);
    assert_eq!(own.call(own.bystander()).await.output()["echo"], json!({}));
    let flood =
        futures_util::future::join_all((0..100).map(|_| own.world.run_as(&flooder, &spinner.uri, json!({}))));
    let others = async {
        own.until(RUNS, |now| now == 2).await;
        for _ in 0..20 {
            assert_eq!(own.call(own.bystander()).await.output()["echo"], json!({}));
        }
    };
    let (answers, ()) = tokio::join!(flood, others);
    let (ran, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!((2..=6).contains(&ran.len()), "{}", ran.len());
    assert!(ran.iter().all(|answer| answer.outcome() == "timeout"));
    for answer in refused {
        assert_eq!(answer.error(), (429, "RateLimitExceeded"), "{answer:?}");
    }
}

pub(crate) async fn a_stop_under_load_finishes_what_runs_and_takes_no_more(arena: &Arena) {
    let own = arena.another(&[]).await;
    let sleeper = own.publish_sleeper(1_500, 1);
    assert_eq!(own.call(&sleeper).await.output(), &json!(7));
    let calls = own.attack_at_once(&sleeper, 8);
    let stop = async {
        own.until(RUNS, |now| now == 8).await;
        own.service.terminate();
        let began = Instant::now();
        own.service.is_gone_soon().await;
        began.elapsed()
    };
    let (answers, took) = tokio::join!(calls, stop);
    for answer in &answers {
        assert_eq!(answer.output(), &json!(7));
    }
    assert!(took < Duration::from_secs(20), "{took:?}");
    let later = own.world.client.get(format!("{}/xrpc/_health", own.world.endpoint)).send().await;
    assert!(later.is_err(), "{later:?}");
}
