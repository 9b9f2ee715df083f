//! Disks that are full, slow, or hang.

use std::io;
use std::sync::{Condvar, Mutex, PoisonError};

use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::super::disk::Disk;
use super::*;

/// A disk in memory, which can be full, hold up what is flushed, and outlives who opened it.
#[derive(Clone, Debug, Default)]
struct Memory {
    bytes: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
    flushes: Arc<AtomicUsize>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Memory {
    fn store(&self) -> Store {
        let memory = self.clone();
        let open = Box::new(move || Disk::open_on(memory.clone()));
        Store::start(LIMITS, Clock::system(), Duration::from_millis(1), open).unwrap()
    }

    /// Holds up what is flushed, or lets it go on.
    fn hold(&self, hold: bool) {
        *self.held.0.lock().unwrap_or_else(PoisonError::into_inner) = hold;
        self.held.1.notify_all();
    }

    fn has_room(&self) -> io::Result<()> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Memory {
    fn len(&self) -> io::Result<u64> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.has_room()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let held = self.held.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.held.1.wait_while(held, |held| *held));
        self.has_room()?;
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.bytes.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.has_room()?;
        self.bytes.write(offset, data)
    }
}

#[tokio::test]
async fn a_full_disk_gives_no_answer_that_it_did_not_take_and_is_used_again_when_it_has_room() {
    let memory = Memory::default();
    let calls = Calls::over(memory.store());
    assert_eq!(calls.call("before", "1").await, given("run 1", Source::Run));
    memory.full.store(true, Ordering::SeqCst);
    assert_eq!(calls.idempotency.trouble(), None);
    assert_eq!(calls.call("k", "1").await, not_given(NotGiven::Unkept));
    let trouble = calls.idempotency.trouble().unwrap();
    assert!(trouble.starts_with("the file of kept answers: "), "{trouble}");
    // From now on it is told before anything runs, also where there is an answer.
    for key in ["k", "before"] {
        assert_eq!(calls.call(key, "1").await, not_given(NotGiven::Closed));
    }
    assert_eq!(calls.runs(), 2);
    memory.full.store(false, Ordering::SeqCst);
    until(|| calls.idempotency.stats().open && calls.idempotency.trouble().is_none()).await;
    assert_eq!(calls.call("before", "1").await, given("run 1", Source::Kept));
    assert_eq!(calls.call("k", "1").await, given("run 3", Source::Run));
    assert_eq!(calls.call("k", "1").await, given("run 3", Source::Kept));
}

#[tokio::test]
async fn answers_that_wait_for_the_disk_share_a_commit() {
    let memory = Memory::default();
    let store = memory.store();
    let calls = Calls::over(store.clone());
    let before = memory.flushes.load(Ordering::SeqCst);
    calls.call("alone", "1").await.unwrap();
    let for_one = memory.flushes.load(Ordering::SeqCst) - before;
    assert!(for_one > 0);

    memory.hold(true);
    let waiting: Vec<_> = (0..101).map(|number| calls.spawn(&number.to_string())).collect();
    // Whatever the first commit took along, the others wait in the queue.
    until(|| store.waiting() == 101).await;
    let before = memory.flushes.load(Ordering::SeqCst);
    memory.hold(false);
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap().from, Source::Run);
    }
    let flushes = memory.flushes.load(Ordering::SeqCst) - before;
    assert!(flushes <= 2 * for_one, "{flushes} where one takes {for_one}");
}

#[tokio::test]
async fn a_disk_that_hangs_is_not_waited_for_beyond_the_time_there_is() {
    let memory = Memory::default();
    let calls = Calls::over(memory.store());
    memory.hold(true);
    let soon = Instant::now() + Duration::from_millis(50);
    let run = || async { Ok(answer(Outcome::Ok, "unkept")) };
    let late = calls.idempotency.answer(&named("k", "1"), soon, run).await;
    memory.hold(false);
    // Whichever of the two clocks is first.
    assert!(matches!(late, Err(NoAnswer::NotGiven(NotGiven::Unkept | NotGiven::UnderWay))), "{late:?}");
}
