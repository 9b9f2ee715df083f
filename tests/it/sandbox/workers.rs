//! The queue in front of real guests.

use std::time::Instant;

use at_functions::clock::Clock;
use at_functions::workers::{
    CacheState, Flaw, Name, NotRun, Prepare, Store, StoreConfig, Workers, WorkersConfig,
};
use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;

use super::*;

fn start(harness: &Harness) -> Workers {
    let _runtime = harness.runtime.enter();
    Workers::start(WorkersConfig::default(), Arc::clone(&harness.sandbox), None)
}

fn prepare(deadline: Instant) -> Prepare {
    let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &[1; 32]).unwrap());
    Prepare { cid, mode: Mode::PureV1, author: "did:web:author.example".into(), deadline }
}

#[test]
fn two_hundred_cold_callers_are_all_answered_from_one_compile() {
    let harness = harness(2, 64);
    let workers = start(&harness);
    let code = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm")).unwrap();
    let deadline = Instant::now() + PATIENCE;
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
                (state, workers.run(run, &"caller".into(), deadline).await.unwrap().result.unwrap())
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
    let harness = harness(1, 8);
    let workers = start(&harness);
    let spinner = harness.wat(&module("(loop $forever (br $forever)) unreachable"));
    let limits = Limits { duration: Duration::from_secs(2), ..WIDE };
    // Eight on one thread take eight times as long as each may: none has had its time by then, and
    // together they still have twelve seconds to go.
    within(Duration::from_secs(2), || {
        let answer_by = Instant::now() + limits.duration * 2;
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let (workers, job) = (workers.clone(), job(&spinner, "{}", limits));
                harness.runtime.spawn(async move { workers.run(job, &"caller".into(), answer_by).await })
            })
            .collect();
        for run in runs {
            let result = harness.runtime.block_on(run).unwrap();
            assert!(matches!(result, Err(NotRun::Unfinished { .. })), "{result:?}");
        }
        let began = Instant::now();
        until(|| workers.stats().memory_reserved_bytes == 0);
        assert_eq!(workers.stats().sandbox.instances, 0);
        began.elapsed()
    });
}

#[test]
fn what_is_kept_under_the_right_name_and_is_no_code_of_the_engine_is_compiled_anew() {
    let harness = harness(1, 8);
    let code =
        wat::parse_str(module(&output_at(0, 1)).replace("(memory", "(data (i32.const 0) \"7\") (memory"));
    let code = Bytes::from(code.unwrap());
    let other = harness.runtime.block_on(harness.sandbox.compile(Mode::PureV1, code.clone())).unwrap();
    let deadline = Instant::now() + PATIENCE;
    let damaged = |at: usize| {
        let mut native = other.code().to_vec();
        native[at] ^= 0xff;
        native
    };
    // All of it authenticated: only the engine can tell.
    let cases = [
        ("nothing", Vec::new()),
        ("half a number", vec![0; 7]),
        ("a number and nothing", vec![0; 8]),
        ("wasm", [&[0; 8], &code[..]].concat()),
        ("another kind of file", [&[0; 8], &damaged(0)[..]].concat()),
        ("of no version", [&[0; 8], &other.code()[..64]].concat()),
    ];
    for (what, kept) in cases {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig { keep_free_bytes: 0, ..StoreConfig::new(data.path(), 1 << 30) };
        let store = Store::open(config, Clock::system()).unwrap();
        let Prepare { cid, mode, .. } = prepare(deadline);
        store.save(&Name::new(&cid, mode, harness.sandbox.fingerprint()), &[&kept]);
        let runtime = harness.runtime.enter();
        let sandbox = Arc::clone(&harness.sandbox) as Arc<dyn Sandbox>;
        let workers = Workers::start(WorkersConfig::default(), sandbox, Some(store));
        drop(runtime);
        let code = code.clone();
        let prepared =
            workers.prepare(prepare(deadline), || async move { Ok::<_, std::convert::Infallible>(code) });
        let (artifact, state) = harness.runtime.block_on(prepared).unwrap();
        assert_eq!(state, CacheState::Cold, "{what}");
        assert_eq!(harness.run(&artifact, "{}", WIDE).result, Ok(Bytes::from("7")), "{what}");
        let stats = workers.stats();
        assert_eq!((stats.store.discarded_for(Flaw::Unloadable), stats.compiles_begun), (1, 1), "{what}");
    }
}
