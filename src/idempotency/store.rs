//! What is kept, as calls see it: looked up in the books, read from the file, handed to the writer.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::disk::{Disk, DiskError};
use super::key::Call;
use super::ledger::{Entry, Ledger, Limits};
use super::writer::{Job, TICK, Writer};
use super::{Answer, NotGiven};
use crate::clock::Clock;

/// What the file is called in the data directory.
pub(super) const FILE_NAME: &str = "answers.redb";

/// What may wait for the disk, in units: 32 MiB of answers, and 4,096 of them.
const QUEUE_UNITS: usize = 4096;
const UNIT_BYTES: usize = 8 * 1024;

/// Kept answers. Cheap to clone; the last one ends the thread that writes.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    shelves: Arc<Shelves>,
    /// Room in the queue of the writer.
    queue: Arc<Semaphore>,
    jobs: Option<SyncSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

/// What the writer and the callers share.
pub(super) struct Shelves {
    clock: Clock,
    limits: Limits,
    ledger: Mutex<Ledger>,
    /// None while the file cannot be used.
    disk: RwLock<Option<Arc<Disk>>>,
    /// Why the file cannot be used, while it cannot.
    trouble: Mutex<Option<String>>,
}

/// What is known of a call before anything is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Its answer is kept.
    Answer,
    /// Nothing.
    Nothing,
}

/// What is kept at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Answers.
    pub answers: usize,
    /// What they count against the limit.
    pub bytes: u64,
    /// Whether answers can be kept and read now.
    pub open: bool,
}

/// How the file is opened.
pub(super) type Open = Box<dyn Fn() -> Result<Disk, DiskError> + Send>;

impl Store {
    /// Opens the file in this data directory. One that cannot be opened is told in the log, and tried again
    /// every few seconds: what has no name runs without it. The error is the system's, about a thread.
    pub fn open(data_dir: impl Into<PathBuf>, limits: Limits, clock: Clock) -> Result<Store, std::io::Error> {
        let path = data_dir.into().join(FILE_NAME);
        Store::start(limits, clock, TICK, Box::new(move || Disk::open(&path)))
    }

    pub(super) fn start(
        limits: Limits,
        clock: Clock,
        tick: Duration,
        open: Open,
    ) -> Result<Store, std::io::Error> {
        let shelves = Arc::new(Shelves {
            clock,
            limits,
            ledger: Mutex::new(Ledger::new(limits)),
            disk: RwLock::default(),
            trouble: Mutex::default(),
        });
        // As many as the queue's units: a job that has room never waits for the channel.
        let (jobs, queue) = sync_channel(QUEUE_UNITS);
        let writer = Writer::new(Arc::clone(&shelves), limits, tick, open);
        // Before anybody calls.
        writer.open();
        let writer = std::thread::Builder::new().name("answers".into()).spawn(move || writer.work(&queue))?;
        let queue = Arc::new(Semaphore::new(QUEUE_UNITS));
        Ok(Store(Arc::new(Inner { shelves, queue, jobs: Some(jobs), writer: Some(writer) })))
    }

    /// Looks a call up.
    pub(super) fn find(&self, call: &Call) -> Result<Found, NotGiven> {
        let shelves = &self.0.shelves;
        if shelves.disk().is_none() {
            return Err(NotGiven::Closed);
        }
        match shelves.ledger().find(&call.id, shelves.now()) {
            None => Ok(Found::Nothing),
            Some(entry) if entry.payload == call.payload => Ok(Found::Answer),
            Some(_) => Err(NotGiven::Reused),
        }
    }

    /// Reads the answer of a call, if it is kept still.
    pub(super) async fn read(&self, call: &Call) -> Result<Option<Answer>, NotGiven> {
        let disk = self.0.shelves.disk().ok_or(NotGiven::Closed)?;
        let id = call.id;
        let read = tokio::task::spawn_blocking(move || disk.read(&id)).await;
        match read {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                self.0.shelves.close(&error);
                Err(NotGiven::Closed)
            }
            Err(_) => Err(NotGiven::Closed),
        }
    }

    /// Whether this answer is small enough to be kept.
    pub(super) fn holds(&self, answer: &Answer) -> bool {
        self.0.shelves.limits.hold(answer.body.len() as u64)
    }

    /// Keeps the answer of a call. It is on disk, and found, when this returns.
    pub(super) async fn keep(&self, call: &Call, answer: Answer) -> Result<(), NotGiven> {
        let units = answer.body.len().div_ceil(UNIT_BYTES).clamp(1, QUEUE_UNITS);
        // Never closed.
        let room =
            Arc::clone(&self.0.queue).acquire_many_owned(units as u32).await.map_err(|_| NotGiven::Unkept)?;
        let entry = Entry {
            owner: call.owner,
            payload: call.payload,
            outcome: answer.outcome,
            at: self.0.shelves.now(),
            bytes: answer.body.len() as u64,
        };
        let (done, is_done) = oneshot::channel();
        let job = Job { id: call.id, entry, body: answer.body, done, _room: room };
        let jobs = self.0.jobs.as_ref().ok_or(NotGiven::Unkept)?;
        jobs.try_send(job).map_err(|_| NotGiven::Unkept)?;
        // Dropped without a word by a writer that is gone.
        if is_done.await.unwrap_or(false) { Ok(()) } else { Err(NotGiven::Unkept) }
    }

    /// Answers on their way to the disk.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        QUEUE_UNITS - self.0.queue.available_permits()
    }

    pub(super) fn stats(&self) -> Stats {
        let open = self.0.shelves.disk().is_some();
        let ledger = self.0.shelves.ledger();
        Stats { answers: ledger.len(), bytes: ledger.bytes(), open }
    }

    /// Why answers cannot be kept, if they cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        self.0.shelves.lock_trouble().clone()
    }
}

impl Shelves {
    /// In milliseconds since the Unix epoch.
    pub(super) fn now(&self) -> u64 {
        self.clock.since_epoch().as_millis() as u64
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // A panic in the middle of a change would be one of ours; the next opening makes new books.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_trouble(&self) -> MutexGuard<'_, Option<String>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn disk(&self) -> Option<Arc<Disk>> {
        self.disk.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on answers are found and kept.
    pub(super) fn open(&self, disk: Disk, ledger: Ledger) {
        *self.ledger() = ledger;
        *self.disk.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(disk));
        if self.lock_trouble().take().is_some() {
            tracing::info!("answers are kept again");
        }
    }

    /// From here on calls with a key are refused, until the file has been opened anew.
    pub(super) fn close(&self, error: &DiskError) {
        *self.disk.write().unwrap_or_else(PoisonError::into_inner) = None;
        if self.lock_trouble().replace(error.to_string()).is_none() {
            tracing::error!(%error, "answers cannot be kept: calls with an idempotency key are refused");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when nobody can hand it anything more; the file is closed then.
        drop(self.jobs.take());
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
