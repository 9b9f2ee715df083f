//! From a CID to an artifact: fetched, compiled, kept.

use super::*;

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
async fn artifacts_are_kept_within_their_bytes_and_their_number() {
    let config = WorkersConfig { artifact_cache_bytes: 2 << 20, max_artifacts: 4, ..CONFIG };
    let (workers, puppet) = start(config, Puppet::new());
    puppet.compile_permits.add_permits(100);
    for number in 0..20 {
        workers.prepare(module(number, "a"), some_code).await.unwrap();
    }
    // Each counts for a fourth, however small it is.
    let stats = workers.stats();
    assert_eq!((stats.artifacts, stats.artifact_bytes), (4, 2 << 20));
}
