//! Preparing and running, over a sandbox that does as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::clock::Clock;
use crate::lexicon::Mode;
use crate::sandbox::{
    Artifact, BoxFuture, CompileError, Compiled, Completion, InstallError, Job, Lease, Limits, Logs, Lost,
    NoDoor, Owner, Refusal, Usage,
};

/// Compiles and runs as permits are given; counts what it does.
struct Puppet {
    compile_permits: Arc<Semaphore>,
    run_permits: Arc<Semaphore>,
    compiles: AtomicUsize,
    started: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    verdict: Result<(), CompileError>,
    fingerprint: u64,
}

impl Puppet {
    fn new() -> Puppet {
        Puppet {
            compile_permits: Arc::new(Semaphore::new(0)),
            run_permits: Arc::new(Semaphore::new(0)),
            compiles: AtomicUsize::new(0),
            started: Arc::default(),
            changed: Arc::default(),
            verdict: Ok(()),
            fingerprint: 0,
        }
    }

    fn compiles(&self) -> usize {
        self.compiles.load(Ordering::SeqCst)
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    async fn has_started(&self, runs: usize) {
        while self.started() < runs {
            self.changed.notified().await;
        }
    }
}

impl Sandbox for Puppet {
    fn compile(&self, mode: Mode, code: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>> {
        self.compiles.fetch_add(1, Ordering::SeqCst);
        let (permits, verdict) = (Arc::clone(&self.compile_permits), self.verdict.clone());
        Box::pin(async move {
            permits.acquire().await.unwrap().forget();
            verdict.map(|()| Compiled::vouched_for(mode, 0, code))
        })
    }

    fn install(&self, compiled: &Compiled) -> Result<Artifact, InstallError> {
        Ok(Artifact::new(Arc::new(()), compiled.code().len()))
    }

    fn max_compiles(&self) -> usize {
        100
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn run(&self, job: Job, lease: Lease) -> BoxFuture<'static, Result<Completion, Lost>> {
        let permits = Arc::clone(&self.run_permits);
        let (started, changed) = (Arc::clone(&self.started), Arc::clone(&self.changed));
        Box::pin(async move {
            started.fetch_add(1, Ordering::SeqCst);
            changed.notify_one();
            permits.acquire().await.unwrap().forget();
            drop(lease);
            Ok(Completion {
                result: Ok(job.input),
                wall: Duration::ZERO,
                usage: Usage::default(),
                logs: Logs::default(),
            })
        })
    }

    fn max_runs(&self) -> usize {
        100
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

const CONFIG: WorkersConfig = WorkersConfig {
    memory_budget_bytes: 100 << 20,
    max_runs: 10,
    max_waiting_runs: 10,
    max_compiles: 2,
    max_preparing: 8,
    max_preparing_per_author: 2,
    artifact_cache_bytes: 100 << 20,
    refusal_ttl: Duration::from_secs(600),
};

fn start(config: WorkersConfig, puppet: Puppet) -> (Workers, Arc<Puppet>) {
    let puppet = Arc::new(puppet);
    (Workers::start(config, Arc::clone(&puppet) as Arc<dyn Sandbox>, None), puppet)
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn cid(number: u8) -> Cid {
    Cid::new_v1(0x55, Multihash::wrap(0x12, &[number; 32]).unwrap())
}

fn module(number: u8, author: &str) -> Prepare {
    Prepare { cid: cid(number), mode: Mode::PureV1, author: author.into(), deadline: far() }
}

#[derive(Debug, PartialEq, Eq)]
struct NoBlob;

async fn some_code() -> Result<Bytes, NoBlob> {
    Ok(Bytes::from_static(b"code"))
}

fn job(mebibytes: u64, duration: Duration) -> Job {
    Job {
        artifact: Artifact::new(Arc::new(()), 0),
        owner: Owner { name: "did:web:author.example".into(), public: true },
        input: Bytes::from_static(b"{}"),
        limits: Limits {
            memory_bytes: mebibytes << 20,
            duration,
            output_bytes: 1024,
            host_calls: 0,
            host_bytes: 0,
        },
        context: Arc::default(),
        door: Arc::new(NoDoor),
    }
}

const SHORT: Duration = Duration::from_millis(100);

#[tokio::test]
async fn two_hundred_callers_cost_one_fetch_and_one_compile() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let fetches = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..200)
        .map(|_| {
            let (workers, fetches) = (workers.clone(), Arc::clone(&fetches));
            tokio::spawn(async move {
                let code = || async move {
                    fetches.fetch_add(1, Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    some_code().await
                };
                workers.prepare(module(1, "a"), code).await
            })
        })
        .collect();
    while puppet.compiles() == 0 {
        tokio::task::yield_now().await;
    }
    puppet.compile_permits.add_permits(200);
    for caller in callers {
        let (artifact, state) = caller.await.unwrap().unwrap();
        assert_eq!((artifact.bytes(), state), (4, CacheState::Cold));
    }
    assert_eq!((fetches.load(Ordering::SeqCst), puppet.compiles()), (1, 1));
    let (_, state) = workers.prepare(module(1, "b"), || async { Err(NoBlob) }).await.unwrap();
    assert_eq!(state, CacheState::Warm);
    assert_eq!(workers.stats().preparing, 0);
    assert_eq!(workers.stats().artifacts, 1);
}

#[tokio::test]
async fn a_preparation_goes_on_when_all_who_asked_are_gone() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let caller = tokio::spawn({
        let workers = workers.clone();
        async move { workers.prepare(module(1, "a"), some_code).await.is_ok() }
    });
    while puppet.compiles() == 0 {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    puppet.compile_permits.add_permits(1);
    let (_, state) = workers.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!(state, CacheState::Cold);
    assert_eq!(puppet.compiles(), 1);
}

#[tokio::test]
async fn callers_are_told_at_their_deadline_what_keeps_them_waiting() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let now = || Prepare { deadline: Instant::now() + Duration::from_millis(5), ..module(1, "a") };
    let (send, receive) = tokio::sync::oneshot::channel::<()>();
    let slow = || async move {
        receive.await.unwrap();
        some_code().await
    };
    let fetching = workers.prepare(now(), slow).await.unwrap_err();
    assert!(matches!(fetching, PrepareError::Fetching { retry_after: RETRY_AFTER }), "{fetching:?}");
    send.send(()).unwrap();
    while puppet.compiles() == 0 {
        tokio::task::yield_now().await;
    }
    let compiling = workers.prepare(now(), some_code).await.unwrap_err();
    assert_eq!(compiling.to_string(), "the function is being compiled; retry in 1 s");
    assert!(matches!(compiling, PrepareError::Compiling { .. }));
    puppet.compile_permits.add_permits(1);
    workers.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!(puppet.compiles(), 1);
}

#[tokio::test]
async fn one_authors_failing_server_is_not_anothers() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    puppet.compile_permits.add_permits(10);
    let hangs = tokio::spawn({
        let workers = workers.clone();
        async move {
            workers.prepare(module(1, "slow"), std::future::pending::<Result<Bytes, NoBlob>>).await.is_ok()
        }
    });
    while workers.stats().preparing == 0 {
        tokio::task::yield_now().await;
    }
    let fails = workers.prepare(module(1, "broken"), || async { Err(NoBlob) }).await.unwrap_err();
    assert!(matches!(fails, PrepareError::Fetch(error) if *error == NoBlob));
    assert!(workers.prepare(module(1, "sound"), some_code).await.is_ok());
    hangs.abort();
}

#[tokio::test]
async fn failed_fetches_are_not_remembered() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    puppet.compile_permits.add_permits(1);
    assert!(workers.prepare(module(1, "a"), || async { Err(NoBlob) }).await.is_err());
    assert!(workers.prepare(module(1, "a"), some_code).await.is_ok());
}

#[tokio::test]
async fn refusals_are_remembered_for_their_time_and_other_failures_are_not() {
    let refused = Err(CompileError::Refused(Refusal::NotWasm));
    let forever = CONFIG;
    let not_at_all = WorkersConfig { refusal_ttl: Duration::ZERO, ..CONFIG };
    let cases = [
        (forever, refused.clone(), 1),
        (not_at_all, refused, 3),
        (forever, Err(CompileError::Lost), 3),
        (forever, Err(CompileError::Busy), 3),
    ];
    for (config, verdict, compiles) in cases {
        let (workers, puppet) = start(config, Puppet { verdict: verdict.clone(), ..Puppet::new() });
        puppet.compile_permits.add_permits(10);
        for _ in 0..3 {
            let error = workers.prepare(module(1, "a"), some_code).await.unwrap_err();
            match &verdict {
                Err(CompileError::Refused(_)) => {
                    assert!(matches!(error, PrepareError::Refused(Refusal::NotWasm)))
                }
                Err(CompileError::Lost) => assert!(matches!(error, PrepareError::Lost { .. })),
                _ => assert!(matches!(error, PrepareError::Busy { .. })),
            }
        }
        assert_eq!(puppet.compiles(), compiles, "{verdict:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_panics_is_lost_and_leaves_nothing_behind() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    puppet.compile_permits.add_permits(1);
    let panics = || async {
        tokio::task::yield_now().await;
        if true {
            std::panic::panic_any("on purpose");
        }
        some_code().await
    };
    let error = workers.prepare(module(1, "a"), panics).await.unwrap_err();
    assert!(matches!(error, PrepareError::Lost { .. }), "{error:?}");
    assert_eq!(workers.stats().preparing, 0);
    assert!(workers.prepare(module(1, "a"), some_code).await.is_ok());
}

#[tokio::test]
async fn preparations_are_bounded_on_the_whole_and_for_each_author() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let begin = |number: u8, author: &'static str| {
        let workers = workers.clone();
        tokio::spawn(async move { workers.prepare(module(number, author), some_code).await })
    };
    let authors = ["a", "a", "b", "b", "c", "c", "d", "d"];
    let begun: Vec<_> = (0..).zip(authors).map(|(number, author)| begin(number, author)).collect();
    while workers.stats().preparing < 8 {
        tokio::task::yield_now().await;
    }
    let one_more = begin(100, "e").await.unwrap().unwrap_err();
    assert!(matches!(one_more, PrepareError::Busy { retry_after: RETRY_AFTER }), "{one_more:?}");
    // As many are compiled at once as there may be.
    while puppet.compiles() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(puppet.compiles(), 2);
    puppet.compile_permits.add_permits(1);
    while workers.stats().preparing == 8 {
        tokio::task::yield_now().await;
    }
    // There is a place again, but of "d", only for one that has none of its own yet.
    let d = begin(101, "d").await.unwrap().unwrap_err();
    assert!(matches!(d, PrepareError::Busy { .. }), "{d:?}");
    let e = begin(102, "e");
    puppet.compile_permits.add_permits(100);
    assert!(e.await.unwrap().is_ok());
    for prepared in begun {
        assert!(prepared.await.unwrap().is_ok());
    }
    assert_eq!(workers.stats().preparing, 0);
}

#[tokio::test]
async fn artifacts_are_kept_within_their_bytes() {
    let config = WorkersConfig { artifact_cache_bytes: 2 << 20, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    puppet.compile_permits.add_permits(100);
    for number in 0..20 {
        workers.prepare(module(number, "a"), some_code).await.unwrap();
    }
    // Each counts for half a mebibyte, however small it is.
    let stats = workers.stats();
    assert_eq!((stats.artifacts, stats.artifact_bytes), (4, 2 << 20));
}

/// A pool whose artifacts are kept in this directory.
fn start_on_disk(data_dir: &std::path::Path, puppet: Puppet) -> (Workers, Arc<Puppet>) {
    let config = StoreConfig { keep_free_bytes: 0, ..StoreConfig::new(data_dir, 1 << 20) };
    let store = Store::open(config, Clock::system()).unwrap();
    let puppet = Arc::new(puppet);
    puppet.compile_permits.add_permits(10);
    (Workers::start(CONFIG, Arc::clone(&puppet) as Arc<dyn Sandbox>, Some(store)), puppet)
}

async fn has_stored(workers: &Workers, artifacts: u64) {
    while workers.stats().store.stored < artifacts {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_on_disk_is_neither_fetched_nor_compiled() {
    let data = tempfile::tempdir().unwrap();
    let (workers, puppet) = start_on_disk(data.path(), Puppet::new());
    let (_, state) = workers.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!((state, puppet.compiles()), (CacheState::Cold, 1));
    has_stored(&workers, 1).await;

    let (workers, puppet) = start_on_disk(data.path(), Puppet::new());
    let no_fetch = || std::future::pending::<Result<Bytes, NoBlob>>();
    let callers = (0..50).map(|n| workers.prepare(module(1, ["a", "b"][n % 2]), no_fetch));
    for prepared in futures_util::future::join_all(callers).await {
        let (artifact, state) = prepared.unwrap();
        assert_eq!((artifact.bytes(), state), (4, CacheState::Disk));
    }
    let (_, state) = workers.prepare(module(1, "c"), no_fetch).await.unwrap();
    assert_eq!(state, CacheState::Warm);
    assert_eq!(puppet.compiles(), 0);
    let store = StoreStats { loaded: 1, bytes: 4096, ..StoreStats::default() };
    assert_eq!(workers.stats().store, store);
    assert_eq!((workers.stats().preparing, workers.stats().artifacts), (0, 1));
}

#[tokio::test]
async fn what_another_engine_compiled_is_not_taken() {
    let data = tempfile::tempdir().unwrap();
    let (workers, _puppet) = start_on_disk(data.path(), Puppet::new());
    workers.prepare(module(1, "a"), some_code).await.unwrap();
    has_stored(&workers, 1).await;
    let newer = Puppet { fingerprint: 1, ..Puppet::new() };
    let (workers, puppet) = start_on_disk(data.path(), newer);
    let (_, state) = workers.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!((state, puppet.compiles()), (CacheState::Cold, 1));
    // Each of two versions that share a directory for a while has its own.
    has_stored(&workers, 1).await;
    let (workers, puppet) = start_on_disk(data.path(), Puppet::new());
    let (_, state) = workers.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!((state, puppet.compiles()), (CacheState::Disk, 0));
}

#[tokio::test]
async fn refusals_and_failures_are_not_kept_on_disk() {
    let verdicts = [CompileError::Refused(Refusal::NotWasm), CompileError::Lost, CompileError::Busy];
    for verdict in verdicts {
        let data = tempfile::tempdir().unwrap();
        let (workers, _puppet) =
            start_on_disk(data.path(), Puppet { verdict: Err(verdict), ..Puppet::new() });
        assert!(workers.prepare(module(1, "a"), some_code).await.is_err());
        assert_eq!(workers.stats().store, StoreStats::default());
        assert_eq!(std::fs::read_dir(data.path().join("artifacts")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn memory_is_reserved_whole_and_in_the_order_of_arrival() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let begin = |mebibytes| {
        let workers = workers.clone();
        tokio::spawn(async move { workers.run(job(mebibytes, SHORT), far()).await })
    };
    let first = begin(60);
    puppet.has_started(1).await;
    assert_eq!(workers.stats().memory_reserved_bytes, 60 << 20);
    let second = begin(60);
    while workers.stats().waiting_runs < 1 {
        tokio::task::yield_now().await;
    }
    // It would fit, but it is not its turn.
    let third = begin(40);
    while workers.stats().waiting_runs < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(puppet.started(), 1);
    puppet.run_permits.add_permits(1);
    assert!(first.await.unwrap().is_ok());
    puppet.has_started(3).await;
    assert_eq!(workers.stats().memory_reserved_bytes, 100 << 20);
    puppet.run_permits.add_permits(2);
    assert!(second.await.unwrap().is_ok() && third.await.unwrap().is_ok());
    let stats = workers.stats();
    assert_eq!((stats.runs, stats.waiting_runs, stats.memory_reserved_bytes), (0, 0, 0));
}

#[tokio::test]
async fn a_run_that_could_never_have_its_memory_is_told_so() {
    let (workers, _puppet) = start(CONFIG, Puppet::new());
    assert_eq!(workers.run(job(101, SHORT), far()).await, Err(NotRun::OverBudget));
    let absurd = Job { limits: Limits { memory_bytes: u64::MAX, ..job(1, SHORT).limits }, ..job(1, SHORT) };
    assert_eq!(workers.run(absurd, far()).await, Err(NotRun::OverBudget));
}

#[tokio::test]
async fn a_run_starts_only_if_its_whole_duration_still_fits() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    puppet.run_permits.add_permits(1);
    let soon = Instant::now() + Duration::from_secs(1);
    assert_eq!(workers.run(job(1, Duration::from_secs(2)), soon).await, Err(BUSY));
    assert_eq!(puppet.started(), 0);
    assert!(workers.run(job(1, Duration::from_millis(1)), soon).await.is_ok());
}

const BUSY: NotRun = NotRun::Busy { retry_after: RETRY_AFTER };

#[tokio::test]
async fn a_run_that_waits_too_long_is_told_so_while_it_could_still_have_run() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let first = tokio::spawn({
        let workers = workers.clone();
        async move { workers.run(job(100, SHORT), far()).await }
    });
    puppet.has_started(1).await;
    let duration = Duration::from_secs(30);
    let began = Instant::now();
    let answer_by = began + duration + Duration::from_millis(10);
    assert_eq!(workers.run(job(1, duration), answer_by).await, Err(BUSY));
    assert!(began.elapsed() < duration);
    assert_eq!(workers.stats().waiting_runs, 0);
    puppet.run_permits.add_permits(1);
    assert!(first.await.unwrap().is_ok());
}

#[tokio::test]
async fn a_run_that_does_not_end_by_its_answers_time_is_given_up() {
    let (workers, _puppet) = start(CONFIG, Puppet::new());
    let answer_by = Instant::now() + Duration::from_millis(10);
    let given_up = NotRun::Unfinished { retry_after: RETRY_AFTER };
    assert_eq!(workers.run(job(1, Duration::from_millis(1)), answer_by).await, Err(given_up));
    assert_eq!(workers.stats().runs, 0);
}

#[tokio::test]
async fn only_so_many_wait() {
    let config = WorkersConfig { max_runs: 1, max_waiting_runs: 2, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let begin = || {
        let workers = workers.clone();
        tokio::spawn(async move { workers.run(job(1, SHORT), far()).await })
    };
    let begun = [begin(), begin(), begin()];
    while workers.stats().waiting_runs < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(workers.run(job(1, SHORT), far()).await, Err(BUSY));
    puppet.run_permits.add_permits(3);
    for run in begun {
        assert!(run.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_back_its_place() {
    let config = WorkersConfig { max_runs: 1, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let begin = || {
        let workers = workers.clone();
        tokio::spawn(async move { workers.run(job(1, SHORT), far()).await })
    };
    let (running, waiting) = (begin(), begin());
    puppet.has_started(1).await;
    while workers.stats().waiting_runs < 1 {
        tokio::task::yield_now().await;
    }
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    assert_eq!(workers.stats().waiting_runs, 0);
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(workers.stats().runs, 0);
    puppet.run_permits.add_permits(1);
    assert!(workers.run(job(1, SHORT), far()).await.is_ok());
}

#[test]
fn the_sandboxes_own_bound_on_runs_wins() {
    let (workers, _puppet) = start(WorkersConfig { max_runs: 1_000, ..CONFIG }, Puppet::new());
    assert_eq!(workers.stats().max_runs, 100);
}
