//! The queue in front of real guests.

use std::time::Instant;

use at_functions::workers::{CacheState, NotRun, Prepare, Workers, WorkersConfig};
use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;

use super::*;

fn start(harness: &Harness) -> Workers {
    let _runtime = harness.runtime.enter();
    Workers::start(WorkersConfig::default(), Arc::clone(&harness.sandbox) as Arc<dyn Sandbox>)
}

fn prepare(deadline: Instant) -> Prepare {
    let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &[1; 32]).unwrap());
    Prepare { cid, mode: Mode::PureV1, author: "did:web:author.example".into(), deadline }
}

#[test]
fn two_hundred_cold_callers_are_all_answered_from_one_compile() {
    let harness = Harness::new(ThreadSandboxConfig { threads: 2, compile_threads: 1, slots: 64 });
    let workers = start(&harness);
    let code = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let fetches = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let callers: Vec<_> = (0..200)
        .map(|number| {
            let (workers, code) = (workers.clone(), Bytes::from(code.clone()));
            let fetches = Arc::clone(&fetches);
            harness.runtime.spawn(async move {
                let fetch = || async move {
                    fetches.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Ok::<_, std::convert::Infallible>(code)
                };
                let (artifact, state) = workers.prepare(prepare(deadline), fetch).await.unwrap();
                let run = job(&artifact, &number.to_string(), WIDE);
                (state, workers.run(run, deadline).await.unwrap().result.unwrap())
            })
        })
        .collect();
    for (number, caller) in callers.into_iter().enumerate() {
        let (state, output) = harness.runtime.block_on(caller).unwrap();
        assert_eq!(output, format!("{{\"ok\":true,\"echo\":{number},\"mode\":\"pure-v1\"}}"));
        // Whoever came after the compile had it warm; the first had not.
        assert!(number > 0 || state == CacheState::Cold);
    }
    assert_eq!(fetches.load(std::sync::atomic::Ordering::SeqCst), 1);
    let stats = workers.stats();
    assert_eq!((stats.runs, stats.memory_reserved_bytes, stats.sandbox.instances), (0, 0, 0));
    assert_eq!(stats.artifacts, 1);
}

#[test]
fn memory_comes_back_when_a_guest_that_was_given_up_is_gone() {
    let harness = Harness::new(ThreadSandboxConfig { threads: 1, compile_threads: 1, slots: 8 });
    let workers = start(&harness);
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let limits = Limits { duration: Duration::from_millis(500), ..WIDE };
    // Three on one thread take three times as long as each may, so none has had its time by then.
    let answer_by = Instant::now() + Duration::from_millis(600);
    let runs: Vec<_> = (0..3)
        .map(|_| {
            let (workers, job) = (workers.clone(), job(&spinner, "{}", limits));
            harness.runtime.spawn(async move { workers.run(job, answer_by).await })
        })
        .collect();
    for run in runs {
        let result = harness.runtime.block_on(run).unwrap();
        assert!(matches!(result, Err(NotRun::Unfinished { .. })), "{result:?}");
    }
    let began = Instant::now();
    while workers.stats().memory_reserved_bytes > 0 {
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", workers.stats());
        std::thread::yield_now();
    }
    assert_eq!(workers.stats().sandbox.instances, 0);
}
