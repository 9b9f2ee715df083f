//! What is kept over time, over restarts, and of files that are not as they were left.

use super::super::disk::Disk;
use super::super::store::FILE_NAME;
use super::*;

#[tokio::test]
async fn an_answer_is_on_disk_when_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let calls = Calls::in_directory(directory.path());
    for number in 1..4 {
        let key = number.to_string();
        let body = format!("run {number}");
        assert_eq!(calls.call(&key, "1").await, given(&body, Source::Run));
        // What a crash at this moment would leave.
        let left = tempfile::tempdir().unwrap();
        std::fs::copy(directory.path().join(FILE_NAME), left.path().join(FILE_NAME)).unwrap();
        let after = Calls::in_directory(left.path());
        assert_eq!(after.call(&key, "1").await, given(&body, Source::Kept));
        assert_eq!(after.call(&key, "2").await, not_given(NotGiven::Reused));
        assert_eq!(after.runs(), 0);
    }
    drop(calls);
    let again = Calls::in_directory(directory.path());
    assert_eq!(again.call("1", "1").await, given("run 1", Source::Kept));
    assert_eq!(again.idempotency.stats().answers, 3);
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    drop(Calls::in_directory(directory.path()));
    assert_eq!(mode(), 0o600);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    drop(Calls::in_directory(directory.path()));
    assert_eq!(mode(), 0o600);
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Clock::manual(1_000_000);
    let path = directory.path().join(FILE_NAME);
    let open = Box::new(move || Disk::open(&path));
    let tick = Duration::from_millis(1);
    let calls = Calls::over(Store::start(LIMITS, clock.clone(), tick, open).unwrap());
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Run));
    clock.advance(KEPT_FOR - Duration::from_secs(1));
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Kept));
    assert_eq!(calls.call("later", "1").await, given("run 2", Source::Run));
    clock.advance(Duration::from_secs(1));
    assert_eq!(calls.call("k", "2").await, given("run 3", Source::Run));
    // What is too old is swept away without anybody asking for it.
    clock.advance(KEPT_FOR);
    until(|| calls.idempotency.stats().answers == 0).await;
    assert_eq!(calls.idempotency.stats().bytes, 0);
    drop(calls);
    // From the file too, though that takes a moment longer.
    let file = Disk::open(&directory.path().join(FILE_NAME)).unwrap();
    assert_eq!(file.entries().unwrap(), []);
}

#[tokio::test]
async fn too_much_makes_the_callers_own_oldest_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 1 << 20, bytes_per_caller: 2 * 1024 + 100 };
    let clock = Clock::manual(1_000_000);
    let store = |limits| Store::open(directory.path(), limits, clock.clone()).unwrap();
    let calls = Calls::over(store(limits));
    let mine = |key: &str| calls.run(named(key, "1"), Ok(Outcome::Ok));
    assert_eq!(calls.run(named_by("b", "k", "1"), Ok(Outcome::Ok)).await, given("run 1", Source::Run));
    for key in ["x", "y", "z"] {
        clock.advance(Duration::from_secs(1));
        mine(key).await.unwrap();
    }
    assert_eq!(mine("y").await, given("run 3", Source::Kept));
    assert_eq!(mine("z").await, given("run 4", Source::Kept));
    assert_eq!(calls.run(named_by("b", "k", "1"), Ok(Outcome::Ok)).await, given("run 1", Source::Kept));
    clock.advance(Duration::from_secs(1));
    assert_eq!(mine("x").await, given("run 5", Source::Run));
    drop(calls);
    // Lower limits hold for what is there.
    let lower = Calls::over(store(Limits { bytes: 1 << 20, bytes_per_caller: 1100 }));
    assert_eq!(lower.idempotency.stats().answers, 2);
    assert_eq!(lower.call("x", "1").await, given("run 5", Source::Kept));
    assert_eq!(lower.call("z", "1").await, given("run 1", Source::Run));
}

#[tokio::test]
async fn an_answer_that_no_share_holds_is_given_and_not_kept() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 1 << 20, bytes_per_caller: 1024 + 5 };
    let calls = Calls::over(Store::open(directory.path(), limits, Clock::system()).unwrap());
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Run));
    let large = || async { Ok(answer(Outcome::Ok, "a long answer")) };
    for _ in 0..2 {
        let by = Instant::now() + LONG;
        let got = calls.idempotency.answer(&named("l", "1"), by, large).await;
        assert_eq!(got, given("a long answer", Source::Run));
    }
    assert_eq!(calls.call("k", "1").await, given("run 1", Source::Kept));
}

#[tokio::test]
async fn a_damaged_file_closes_the_store_until_it_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    for content in [b"not a database at all".to_vec(), vec![0; 8192], vec![0xff; 100_000]] {
        std::fs::write(&path, &content).unwrap();
        let file = path.clone();
        let open = Box::new(move || Disk::open(&file));
        let store = Store::start(LIMITS, Clock::system(), Duration::from_millis(1), open).unwrap();
        let calls = Calls::over(store);
        assert_eq!(calls.call("k", "1").await, not_given(NotGiven::Closed));
        assert!(!calls.idempotency.stats().open);
        // It is left as it is, for the operator to look at.
        assert_eq!(std::fs::read(&path).unwrap(), content);
        std::fs::remove_file(&path).unwrap();
        until(|| calls.idempotency.stats().open).await;
        assert_eq!(calls.call("k", "1").await, given("run 1", Source::Run));
        drop(calls);
    }
}

#[tokio::test]
async fn a_spoiled_file_is_told_or_gives_out_what_was_kept_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    let calls = Calls::in_directory(directory.path());
    let keys: Vec<String> = (1..=20).map(|number| number.to_string()).collect();
    for key in &keys {
        calls.call(key, "1").await.unwrap();
    }
    drop(calls);
    let good = std::fs::read(&path).unwrap();
    let mut told = 0;
    // A stride that hits headers, pages and free space alike.
    for start in (1..good.len() - 64).step_by(good.len() / 40) {
        std::fs::write(&path, [&good[..start], &[0x5a; 64], &good[start + 64..]].concat()).unwrap();
        let calls = Calls::in_directory(directory.path());
        for (number, key) in (1..).zip(&keys) {
            match calls.call(key, "1").await {
                Ok(Given { answer: got, from: Source::Kept }) => {
                    assert_eq!(got, answer(Outcome::Ok, &format!("run {number}")), "spoiled at {start}");
                }
                Err(NoAnswer::NotGiven(NotGiven::Closed)) => told += 1,
                other => panic!("spoiled at {start}: {other:?}"),
            }
        }
    }
    assert!(told > 0);
}

#[tokio::test]
async fn another_process_with_the_file_closes_the_store_until_it_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let first = Calls::in_directory(directory.path());
    assert_eq!(first.call("k", "1").await, given("run 1", Source::Run));
    let path = directory.path().join(FILE_NAME);
    let open = Box::new(move || Disk::open(&path));
    let second = Store::start(LIMITS, Clock::system(), Duration::from_millis(1), open).unwrap();
    let second = Calls::over(second);
    assert_eq!(second.call("k", "1").await, not_given(NotGiven::Closed));
    drop(first);
    until(|| second.idempotency.stats().open).await;
    assert_eq!(second.call("k", "1").await, given("run 1", Source::Kept));
}
