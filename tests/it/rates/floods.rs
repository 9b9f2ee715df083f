//! Floods: by one caller beside others, and by all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use at_functions::config::{Anonymous, Settings};
use at_functions::dev::Published;
use futures_util::future::join_all;
use serde_json::json;
use tokio::task::JoinSet;

use super::limit;
use crate::patience::soon;
use crate::world::{Answer, Caller, World, answer};

/// Publishes a function that sleeps so long, and needs so much memory that few run at once.
fn publish_sleeper(world: &World, millis: u64, memory_mb: u32) -> Published {
    let text = format!(
        r#"(module
             (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
             (memory (export "memory") 1) (data (i32.const 8) "7")
             (func (export "_start")
               (i32.store (i32.const 528) (i32.const 1))
               (i64.store (i32.const 536) (i64.const {nanos}))
               (drop (call $poll (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 2000)))
               (i32.store (i32.const 16) (i32.const 8)) (i32.store (i32.const 20) (i32.const 1))
               (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))"#,
        nanos = millis * 1_000_000
    );
    world.publish_record("sleep", &wat::parse_str(text).unwrap(), |record| {
        record["mode"] = "wasi-v1".into();
        record["maxDurationMs"] = 5_000.into();
        record["maxMemoryMb"] = memory_mb.into();
    })
}

/// The nearest rank.
fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[(took.len() * 99).div_ceil(100) - 1]
}

/// Calls of each of these, so many in a row and so far apart; how long each took.
async fn politely(world: &World, callers: &[Caller], function: &Published) -> Duration {
    const CALLS: usize = 3;
    const PAUSE: Duration = Duration::from_millis(400);
    let began = Instant::now();
    let all = callers.iter().enumerate().map(|(n, caller)| async move {
        let mut took = Vec::new();
        for call in 0..CALLS {
            // Evenly over the pause.
            let at = PAUSE * call as u32 + PAUSE * n as u32 / callers.len() as u32;
            tokio::time::sleep_until((began + at).into()).await;
            let began = Instant::now();
            let served = world.run_as(caller, &function.uri, json!(1)).await;
            took.push(began.elapsed());
            assert_eq!(served.output(), &json!(7), "a polite caller was refused");
        }
        took
    });
    p99(join_all(all).await.concat())
}

#[tokio::test]
async fn one_caller_who_floods_takes_nothing_from_ten_polite_ones() {
    // Eight run at once, of which the polite ones use four; of one caller one.
    let settings = Settings {
        caller_limit: limit("20/s burst 10 at-once 1"),
        memory_budget: Some(1024),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let function = publish_sleeper(&world, 150, 128);
    let polite: Vec<Caller> = (1..=10).map(|seed| world.caller(seed)).collect();
    let flooder = world.caller(11);
    assert_eq!(world.run_as(&polite[0], &function.uri, json!(1)).await.output(), &json!(7));

    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        quiet.push(politely(&world, &polite, &function).await);
        let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let flood = flood(&world, &flooder, &function, Arc::clone(&over));
        let during = async {
            let took = politely(&world, &polite, &function).await;
            over.store(true, Ordering::Relaxed);
            took
        };
        let (took, (served, refused)) = tokio::join!(during, flood);
        flooded.push(took);
        // Its own share, and the rest refused.
        let share = 10 + began.elapsed().as_secs_f64().ceil() as usize * 20;
        assert!(refused >= 10 && (1..=share).contains(&served), "{served} served, {refused} refused");
        if flooded.iter().min() <= quiet.iter().max().map(|quiet| *quiet * 2).as_ref() {
            return;
        }
    }
    panic!("quiet {quiet:?}, beside a flood {flooded:?}");
}

/// A hundred calls a second and more of one caller, until it is over; how many were served and refused.
async fn flood(
    world: &World,
    caller: &Caller,
    function: &Published,
    over: Arc<AtomicBool>,
) -> (usize, usize) {
    let body = json!({ "function": function.uri.to_string(), "input": 1 }).to_string();
    let one = async || {
        let (mut served, mut refused) = (0, 0);
        let mut token = world.token(caller);
        while !over.load(Ordering::Relaxed) {
            let answer = world.post(body.clone(), Some(&token)).await;
            if answer.status == 200 {
                served += 1;
                token = world.token(caller);
            } else {
                // The token holds still.
                assert_eq!(answer.error(), (429, "RateLimitExceeded"));
                refused += 1;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        (served, refused)
    };
    let both = tokio::join!(one(), one(), one(), one());
    [both.0, both.1, both.2, both.3].into_iter().fold((0, 0), |sum, part| (sum.0 + part.0, sum.1 + part.1))
}

#[tokio::test]
async fn at_ten_times_what_fits_some_are_served_soon_and_the_rest_is_told_at_once() {
    // Two at once of 100 ms each are twenty a second; two hundred come.
    const ARRIVALS: u32 = 600;
    const EVERY: Duration = Duration::from_millis(5);
    const MOST_WAITING: usize = 40;
    let settings = Settings {
        anonymous: Some(Anonymous::Public),
        memory_budget: Some(512),
        trusted_proxies: Some("127.0.0.0/8, ::1".parse().unwrap()),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let function = publish_sleeper(&world, 100, 256);
    assert_eq!(world.run(&function.uri, json!(1)).await.output(), &json!(7));
    let body = json!({ "function": function.uri.to_string(), "input": 1 }).to_string();

    let began = Instant::now();
    let (mut calls, mut most_waiting) = (JoinSet::new(), 0);
    for n in 0..ARRIVALS {
        tokio::time::sleep_until((began + EVERY * n).into()).await;
        // Of many callers, so that no share of one is what bounds it.
        let caller = format!("198.51.{}.{}", n / 250, n % 250);
        let request = world.request().header("x-forwarded-for", caller).body(body.clone());
        calls.spawn(async move {
            let began = Instant::now();
            (answer(request).await, began.elapsed())
        });
        let stats = world.stats();
        most_waiting = most_waiting.max(stats.waiting_runs);
        assert!(stats.memory_reserved_bytes <= 512 << 20 && stats.runs <= 2, "{stats:?}");
    }
    let (served, refused): (Vec<(Answer, Duration)>, Vec<_>) =
        calls.join_all().await.into_iter().partition(|(answer, _)| answer.status == 200);
    // What is let in waits two seconds at most, by what runs took; each took at least 100 ms.
    assert!(most_waiting <= MOST_WAITING, "{most_waiting}");
    assert!(served.len() >= 15, "{} served", served.len());
    for (answer, took) in &served {
        assert_eq!(answer.output(), &json!(7));
        assert!(*took < Duration::from_secs(8), "{took:?}");
    }
    assert!(refused.len() > ARRIVALS as usize / 4, "{} refused", refused.len());
    for (answer, _) in &refused {
        assert_eq!(answer.error(), (503, "NotEnoughResources"));
        let seconds = answer.headers["retry-after"].to_str().unwrap();
        assert!(answer.message().contains(&format!("; retry in {seconds} s")), "{}", answer.message());
    }
    // The fastest half of the refusals cost no wait in the queue.
    let mut told: Vec<Duration> = refused.iter().map(|(_, took)| *took).collect();
    told.sort();
    assert!(told[told.len() / 2] < Duration::from_secs(1), "{:?}", told[told.len() / 2]);
    soon(async || {
        let stats = world.stats();
        (stats.waiting_runs, stats.runs, stats.memory_reserved_bytes) == (0, 0, 0)
    })
    .await;
}

#[tokio::test]
async fn who_comes_late_waits_for_a_turn_and_not_for_a_flood() {
    // Two at once.
    let settings = Settings {
        anonymous: Some(Anonymous::Public),
        memory_budget: Some(512),
        trusted_proxies: Some("127.0.0.0/8, ::1".parse().unwrap()),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let function = publish_sleeper(&world, 300, 256);
    let body = json!({ "function": function.uri.to_string(), "input": 1 }).to_string();
    let call = |address: &str| answer(world.request().header("x-forwarded-for", address).body(body.clone()));
    assert_eq!(call("198.51.100.2").await.output(), &json!(7));
    let flood: Vec<_> = (0..30).map(|_| tokio::spawn(call("198.51.100.1"))).collect();
    soon(async || world.stats().waiting_runs >= 8).await;
    assert_eq!(call("198.51.100.2").await.output(), &json!(7));
    // Two ran, one had its turn, and another may have begun and ended since.
    assert!(world.stats().waiting_runs >= 3, "{:?}", world.stats());
    for call in flood {
        let answer = call.await.unwrap();
        assert!(answer.status == 200 || answer.error() == (503, "NotEnoughResources"), "{answer:?}");
    }
}
