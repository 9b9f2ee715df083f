//! The queue in front of the sandbox.

use tokio::task::JoinHandle;

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
        tokio::spawn(async move { workers.run(job(mebibytes, SHORT), &party("a"), far()).await })
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
    assert_eq!(workers.run(job(101, SHORT), &party("a"), far()).await, Err(NotRun::OverBudget));
    let absurd = Job { limits: Limits { memory_bytes: u64::MAX, ..job(1, SHORT).limits }, ..job(1, SHORT) };
    assert_eq!(workers.run(absurd, &party("a"), far()).await, Err(NotRun::OverBudget));
}

#[tokio::test]
async fn a_run_starts_only_if_its_whole_duration_still_fits() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    puppet.run_permits.add_permits(1);
    let minute = Duration::from_secs(60);
    let soon = Instant::now() + minute;
    assert_eq!(workers.run(job(1, minute * 2), &party("a"), soon).await, Err(BUSY));
    assert_eq!(puppet.started(), 0);
    assert!(workers.run(job(1, Duration::from_millis(1)), &party("a"), soon).await.is_ok());
}

const BUSY: NotRun = NotRun::Busy { retry_after: RETRY_AFTER };

#[tokio::test]
async fn a_run_that_waits_too_long_is_told_so_while_it_could_still_have_run() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let first = tokio::spawn({
        let workers = workers.clone();
        async move { workers.run(job(100, SHORT), &party("a"), far()).await }
    });
    puppet.has_started(1).await;
    let duration = Duration::from_secs(30);
    let began = Instant::now();
    let answer_by = began + duration + Duration::from_millis(10);
    assert_eq!(workers.run(job(1, duration), &party("a"), answer_by).await, Err(BUSY));
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
    assert_eq!(workers.run(job(1, Duration::from_millis(1)), &party("a"), answer_by).await, Err(given_up));
    assert_eq!(workers.stats().runs, 0);
}

/// Starts a run of `whose` and waits until it is under way or in line.
async fn begin(workers: &Workers, whose: &str, job: Job) -> JoinHandle<Result<Completion, NotRun>> {
    let known = |stats: Stats| stats.runs + stats.waiting_runs;
    let before = known(workers.stats());
    let run = tokio::spawn({
        let (workers, whose) = (workers.clone(), party(whose));
        async move { workers.run(job, &whose, far()).await }
    });
    while known(workers.stats()) == before {
        tokio::task::yield_now().await;
    }
    run
}

#[tokio::test]
async fn only_so_many_wait() {
    let config = WorkersConfig { max_runs: 1, max_waiting_runs: 2, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let mut begun = Vec::new();
    for whose in ["a", "b", "c"] {
        begun.push(begin(&workers, whose, job(1, SHORT)).await);
    }
    assert_eq!(workers.run(job(1, SHORT), &party("d"), far()).await, Err(BUSY));
    puppet.run_permits.add_permits(3);
    for run in begun {
        assert!(run.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_caller_may_have_as_many_waiting_as_places_are_left() {
    let config = WorkersConfig { max_runs: 1, max_waiting_runs: 10, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let mut begun = vec![begin(&workers, "a", job(1, SHORT)).await];
    // One of a alone leaves as many as it takes; what b finds is halved again, and so on.
    for (whose, places) in [("a", 5), ("b", 3), ("c", 1), ("d", 1)] {
        for _ in 0..places {
            begun.push(begin(&workers, whose, job(1, SHORT)).await);
        }
        if whose != "d" {
            assert_eq!(workers.run(job(1, SHORT), &party(whose), far()).await, Err(BUSY), "{whose}");
        }
    }
    assert_eq!(workers.stats().waiting_runs, 10);
    puppet.run_permits.add_permits(11);
    for run in begun {
        assert!(run.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn callers_take_turns_whatever_each_asks_for() {
    let config = WorkersConfig { max_runs: 1, max_waiting_runs: 100, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let first = begin(&workers, "flood", job(1, SHORT)).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(begin(&workers, "flood", job(1, SHORT)).await);
    }
    let mut polite = Vec::new();
    for whose in ["a", "b", "c"] {
        polite.push(begin(&workers, whose, job(1, SHORT)).await);
    }
    // The one that runs, one more of the flood, whose turn was first, and then those who came last.
    puppet.run_permits.add_permits(5);
    for run in polite {
        assert!(run.await.unwrap().is_ok());
    }
    assert!(first.await.unwrap().is_ok());
    puppet.has_started(6).await;
    assert_eq!(flood.iter().filter(|run| run.is_finished()).count(), 1);
    puppet.run_permits.add_permits(20);
    for run in flood {
        assert!(run.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn what_needs_much_waits_for_its_turn_and_no_longer() {
    let config = WorkersConfig { max_waiting_runs: 100, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let (first, second) =
        (begin(&workers, "a", job(50, SHORT)).await, begin(&workers, "a", job(50, SHORT)).await);
    let large = begin(&workers, "b", job(100, SHORT)).await;
    let mut small = Vec::new();
    for n in 0..8 {
        small.push(begin(&workers, if n < 4 { "a" } else { "c" }, job(10, SHORT)).await);
    }
    puppet.run_permits.add_permits(1);
    while workers.stats().runs != 1 {
        tokio::task::yield_now().await;
    }
    // There are fifty free for those who need ten, and it is not their turn.
    assert_eq!((puppet.started(), workers.stats().waiting_runs), (2, 9));
    puppet.run_permits.add_permits(1);
    puppet.has_started(3).await;
    assert_eq!(workers.stats().memory_reserved_bytes, 100 << 20);
    puppet.run_permits.add_permits(9);
    for run in [first, second, large].into_iter().chain(small) {
        assert!(run.await.unwrap().is_ok());
    }
    assert_eq!(workers.stats().memory_reserved_bytes, 0);
}

#[tokio::test]
async fn those_behind_one_who_gives_up_its_turn_do_not_wait_for_it() {
    let (workers, puppet) = start(CONFIG, Puppet::new());
    let _first = begin(&workers, "a", job(50, SHORT)).await;
    let large = begin(&workers, "b", job(100, SHORT)).await;
    let _small = begin(&workers, "c", job(10, SHORT)).await;
    large.abort();
    puppet.has_started(2).await;
    assert_eq!(workers.stats().waiting_runs, 0);
}

#[tokio::test]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let config = WorkersConfig { max_runs: 1, max_waiting_runs: 100, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    // A run that takes a fifth of a second or more: what comes after is measured by it.
    let slow = begin(&workers, "a", job(1, SHORT)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    puppet.run_permits.add_permits(1);
    assert!(slow.await.unwrap().is_ok());
    let running = begin(&workers, "a", job(1, SHORT)).await;
    let mut waiting = Vec::new();
    for _ in 0..9 {
        waiting.push(begin(&workers, "a", job(1, SHORT)).await);
    }
    // Ten times a fifth of a second are before the next of this caller, and it has a second.
    let began = Instant::now();
    let soon = began + Duration::from_secs(1) + SHORT;
    let busy = workers.run(job(1, SHORT), &party("a"), soon).await.unwrap_err();
    assert!(matches!(busy, NotRun::Busy { retry_after } if retry_after >= RETRY_AFTER), "{busy:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "it waited");
    // Another's turn comes after one of them.
    let other = tokio::spawn({
        let workers = workers.clone();
        async move { workers.run(job(1, SHORT), &party("b"), far()).await }
    });
    while workers.stats().waiting_runs < 10 {
        tokio::task::yield_now().await;
    }
    puppet.run_permits.add_permits(3);
    assert!(other.await.unwrap().is_ok());
    assert_eq!(workers.stats().waiting_runs, 7);
    puppet.run_permits.add_permits(8);
    for run in waiting.into_iter().chain([running]) {
        assert!(run.await.unwrap().is_ok());
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_back_its_place() {
    let config = WorkersConfig { max_runs: 1, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    let begin = || {
        let workers = workers.clone();
        tokio::spawn(async move { workers.run(job(1, SHORT), &party("a"), far()).await })
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
    assert!(workers.run(job(1, SHORT), &party("a"), far()).await.is_ok());
}

#[test]
fn the_sandboxes_own_bound_on_runs_wins() {
    let (workers, _puppet) = start(WorkersConfig { max_runs: 1_000, ..CONFIG }, Puppet::new());
    assert_eq!(workers.stats().max_runs, 100);
}
