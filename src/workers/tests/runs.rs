//! The queue in front of the sandbox.

use super::*;

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
    let minute = Duration::from_secs(60);
    let soon = Instant::now() + minute;
    assert_eq!(workers.run(job(1, minute * 2), soon).await, Err(BUSY));
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
    let answer_by = Instant::now() + Duration::from_millis(500);
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
