//! Processes that die under a guest: where there are any.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::arena::*;
use crate::bomb::bomb;
use crate::bombs::COMPILES;
use crate::modules::*;
use crate::service::signal;
use crate::world::ECHO;

pub(crate) async fn a_compiler_that_is_killed_costs_its_caller_a_503_and_the_next_compile_nothing(
    arena: &Arena,
) {
    // Much to compile, and little to read.
    let sums =
        "(local.set 2 (i64.add (i64.mul (local.get 2) (i64.const 31)) (i64.extend_i32_u (local.get 0))))"
            .repeat(150);
    let functions =
        format!("(func (param i32 i32) (result i64) (local i64) {sums} (local.get 2))").repeat(300);
    let function =
        arena.publish(&wasm(&module(&format!("{PAGE} {functions}"), "i32.const 1024", "i64.const 0")), LONG);
    let call = arena.call(&function);
    let kill = async {
        let began = Instant::now();
        loop {
            if arena.service.metric("at_functions_compiling") > 0 {
                arena.service.children("compile").into_iter().for_each(|compiler| signal("-KILL", compiler));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert!(began.elapsed() < Duration::from_secs(30));
        }
    };
    let answer = tokio::select! {
        answer = call => answer,
        () = kill => unreachable!(),
    };
    assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}");
    tells_nothing_of_the_host(&answer.body);
    assert_eq!(arena.attack(&seven(), LONG).await.output(), &json!(7));
    // And what was not compiled is, the next time.
    failed(&arena.call(&function).await, "outputInvalid");
}

pub(crate) async fn a_worker_that_is_killed_costs_its_own_runs_a_503(arena: &Arena) {
    let author = arena.stranger().await;
    // Each attempt has code of its own: what was in a worker that died runs alone the next time.
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let data = format!("{PAGE} (data (i32.const 8) \"{attempt}\")");
    let spin = wasm(&module(&data, "i32.const 1024", SPIN));
    let spinner = author.publish_record("spin", &spin, |record| record["maxDurationMs"] = 5_000.into());
    let echo = author.publish_record("echo", ECHO, patient);
    assert_eq!(author.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    let calls = (0..3).map(|_| author.run(&spinner.uri, json!({})));
    let kill = async {
        arena.until("at_functions_instances", |now| now == 3).await;
        arena.service.children("worker").into_iter().for_each(|worker| signal("-KILL", worker));
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(calls), kill);
    for answer in &answers {
        assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
    // The others were warm, and are again. A call that finds its worker dead is told to come back.
    let began = Instant::now();
    for function in [&echo, arena.bystander()] {
        loop {
            let answer = arena.world.run(&function.uri, json!(1)).await;
            if answer.status == 200 {
                assert_eq!(answer.output()["echo"], 1);
                break;
            }
            assert_eq!(answer.error(), (503, "NotEnoughResources"), "{answer:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{answer:?}");
        }
    }
    arena.within("a whole pool", began.elapsed(), Duration::from_millis(200));
}

pub(crate) async fn a_module_that_takes_too_long_to_compile_costs_its_caller_a_refusal_in_time(
    arena: &Arena,
) {
    let author = arena.stranger().await;
    // Admission has nothing against it, and the compiler needs more processor time than it has. Each attempt has
    // another, since what is refused is remembered.
    static ATTEMPTS: AtomicUsize = AtomicUsize::new(0);
    let functions = 3_600 + ATTEMPTS.fetch_add(1, Ordering::Relaxed);
    let function = author.publish_record("bomb", &bomb(functions), patient);
    let compiles = arena.service.metric(COMPILES);
    let began = Instant::now();
    let call = author.run(&function.uri, json!({}));
    tokio::pin!(call);
    let (mut served, mut slowest) = (0, Duration::ZERO);
    let answer = loop {
        let asked = Instant::now();
        tokio::select! {
            answer = &mut call => break answer,
            other = arena.call(arena.bystander()) => assert_eq!(other.status, 200, "{other:?}"),
        }
        served += 1;
        slowest = slowest.max(asked.elapsed());
    };
    arena.within("the refusal", began.elapsed(), Duration::from_secs(9));
    arena.within("another's call beside it", slowest, Duration::from_millis(500));
    assert!(served > 0);
    tells_nothing_of_the_host(&answer.body);
    match answer.error() {
        // Its processor time ran out, which is remembered.
        (400, "InvalidFunction") => {
            let again = author.run(&function.uri, json!({})).await;
            assert_eq!(again.error(), (400, "InvalidFunction"), "{again:?}");
            assert_eq!(arena.service.metric(COMPILES), compiles + 1);
        }
        // The time of the call did, on a machine that had others to serve.
        error => assert_eq!(error, (503, "NotEnoughResources"), "{answer:?}"),
    }
}
