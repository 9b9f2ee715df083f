//! Artifacts on a disk.

use super::*;

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
async fn what_is_read_ahead_is_read_once_and_waits_for_whoever_wants_it() {
    let data = tempfile::tempdir().unwrap();
    let (workers, puppet) = start_on_disk(data.path(), Puppet::new());
    // There is nothing yet.
    let ahead = workers.read_ahead(&module(1, "a"));
    let (_, state) = ahead.prepare(module(1, "a"), some_code).await.unwrap();
    assert_eq!((state, puppet.compiles()), (CacheState::Cold, 1));
    has_stored(&workers, 1).await;

    let (workers, puppet) = start_on_disk(data.path(), Puppet::new());
    let no_fetch = || std::future::pending::<Result<Bytes, NoBlob>>();
    let read = |n: usize| workers.read_ahead(&module(1, ["a", "b"][n % 2]));
    // Nobody waits for the first one.
    drop(read(0));
    let ahead: Vec<_> = (0..20).map(read).collect();
    let is_there = async {
        while workers.stats().store.loaded == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), is_there).await.expect("nothing is read ahead");
    for ahead in ahead {
        let (_, state) = ahead.prepare(module(1, "a"), no_fetch).await.unwrap();
        assert_eq!(state, CacheState::Disk);
    }
    let (_, state) = read(1).prepare(module(1, "b"), no_fetch).await.unwrap();
    assert_eq!((state, puppet.compiles()), (CacheState::Warm, 0));
    assert_eq!(workers.stats().store.loaded, 1);
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
