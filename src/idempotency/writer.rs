//! The one thread that writes: it commits all that waits for it at once, forgets what is too old, and
//! opens the file anew after trouble.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::disk::Change;
use super::key::Id;
use super::ledger::{Entry, Ledger, Limits};
use super::store::{Open, Shelves};

/// The most answers that one commit takes along, so that the first of them does not wait for long.
const MAX_BATCH: usize = 512;

/// An answer to be kept.
pub(super) struct Job {
    pub(super) id: Id,
    pub(super) entry: Entry,
    pub(super) body: Bytes,
    /// Told whether it is on disk.
    pub(super) done: oneshot::Sender<bool>,
    /// Its room in the queue.
    pub(super) _room: OwnedSemaphorePermit,
}

/// How often what is too old is looked for, and how often a file that could not be used is opened again.
pub(super) const TICK: Duration = Duration::from_secs(super::RETRY_AFTER_SECONDS);

/// The thread's own.
pub(super) struct Writer {
    shelves: Arc<Shelves>,
    limits: Limits,
    tick: Duration,
    open: Open,
}

impl Writer {
    pub(super) fn new(shelves: Arc<Shelves>, limits: Limits, tick: Duration, open: Open) -> Writer {
        Writer { shelves, limits, tick, open }
    }

    /// Works until nobody can hand it anything more.
    pub(super) fn work(&self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(self.tick) {
                Ok(first) => {
                    let batch: Vec<Job> =
                        [first].into_iter().chain(jobs.try_iter().take(MAX_BATCH - 1)).collect();
                    self.keep(batch);
                }
                Err(RecvTimeoutError::Timeout) if self.shelves.disk().is_some() => self.sweep(),
                Err(RecvTimeoutError::Timeout) => self.open(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Opens the file and makes the books anew from it.
    pub(super) fn open(&self) {
        let opened = (self.open)().and_then(|disk| {
            let mut ledger = Ledger::new(self.limits);
            let mut entries = disk.entries()?;
            // As they came.
            entries.sort_unstable_by_key(|(id, entry)| (entry.at, *id));
            let now = self.shelves.now();
            // The limits may be lower than they were.
            let mut gone = Vec::new();
            for (id, entry) in entries {
                gone.extend(ledger.take_in(id, entry, now));
            }
            gone.extend(ledger.expire(now));
            disk.commit(&drops(gone))?;
            Ok((disk, ledger))
        });
        match opened {
            Ok((disk, ledger)) => self.shelves.open(disk, ledger),
            Err(error) => self.shelves.close(&error),
        }
    }

    fn keep(&self, batch: Vec<Job>) {
        let now = self.shelves.now();
        let mut changes = Vec::with_capacity(batch.len());
        let mut waiting = Vec::with_capacity(batch.len());
        {
            let mut ledger = self.shelves.ledger();
            for Job { id, entry, body, done, _room } in batch {
                changes.extend(drops(ledger.admit(id, entry.clone(), now)));
                changes.push(Change::Keep(id, entry, body));
                waiting.push((id, done, _room));
            }
        }
        let written = self.commit(&changes);
        if written {
            let mut ledger = self.shelves.ledger();
            waiting.iter().for_each(|(id, ..)| ledger.written(id));
        }
        for (_, done, _room) in waiting {
            // Whoever waited may be gone.
            let _ = done.send(written);
        }
    }

    fn sweep(&self) {
        let gone = self.shelves.ledger().expire(self.shelves.now());
        if !gone.is_empty() {
            self.commit(&drops(gone));
        }
    }

    fn commit(&self, changes: &[Change]) -> bool {
        let committed = match self.shelves.disk() {
            Some(disk) => disk.commit(changes),
            None => return false,
        };
        match committed {
            Ok(()) => true,
            // After an error redb does nothing more until it is opened anew; the books are made anew then too.
            Err(error) => {
                self.shelves.close(&error);
                false
            }
        }
    }
}

fn drops(gone: Vec<Id>) -> Vec<Change> {
    gone.into_iter().map(Change::Drop).collect()
}
