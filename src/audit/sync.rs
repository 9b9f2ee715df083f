//! The thread that brings what was written to the disk, and then says how far that is. Nobody waits for it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;

use super::chain::Head;
use super::error::OpenError;
use super::files::{LogFiles, first_seq, sync_directory};
use super::head::{self, Committed, HeadStore};
use super::state::{Source, State, lock};

/// How often the head is told in the service's own log while it moves.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How soon a sync that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_millis(250);

/// What has been written and is to be synced; jobs that come while one is done become one.
#[derive(Default)]
pub(super) struct Job {
    /// Files with new lines.
    pub(super) files: Vec<Arc<File>>,
    /// The checkpoint that they reach.
    pub(super) head: Option<Head>,
    /// Whether one of the files is new.
    pub(super) directory: bool,
}

impl Job {
    fn add(&mut self, other: Job) {
        self.files.retain(|file| !other.files.iter().any(|newer| Arc::ptr_eq(file, newer)));
        self.files.extend(other.files);
        self.head = other.head.or(self.head);
        self.directory |= other.directory;
    }
}

/// What waits for the thread.
#[derive(Default)]
pub(super) struct Pending {
    job: Mutex<(Option<Job>, bool)>,
    wake: Condvar,
}

impl Pending {
    pub(super) fn add(&self, job: Job) {
        lock(&self.job).0.get_or_insert_default().add(job);
        self.wake.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        lock(&self.job).1 = true;
        self.wake.notify_one();
    }

    /// The next job, and whether it is the last.
    fn take(&self) -> (Option<Job>, bool) {
        let waiting = |(job, closed): &mut (Option<Job>, bool)| job.is_none() && !*closed;
        let mut job = self.wake.wait_while(lock(&self.job), waiting).unwrap_or_else(PoisonError::into_inner);
        (job.0.take(), job.1)
    }
}

pub(super) struct Syncer {
    pub(super) directory: PathBuf,
    pub(super) store: HeadStore,
    /// Files that are kept at most; 0 for all.
    pub(super) keep: usize,
    /// The oldest line that is kept.
    pub(super) first: u64,
    pub(super) state: Arc<State>,
    pub(super) pending: Arc<Pending>,
    pub(super) told: Option<Instant>,
}

impl Syncer {
    /// Does what is to be done until nothing more comes.
    pub(super) fn run(mut self) {
        let mut unfinished = Job::default();
        loop {
            let (job, is_last) = self.pending.take();
            unfinished.add(job.unwrap_or_default());
            match self.sync(&unfinished) {
                Ok(()) => {
                    unfinished = Job::default();
                    self.state.tell(Source::Syncing, None);
                }
                // The writer comes back with a checkpoint, and this with it.
                Err(error) => self.state.tell(Source::Syncing, Some(error.to_string())),
            }
            if is_last {
                return;
            }
        }
    }

    fn sync(&mut self, job: &Job) -> Result<(), OpenError> {
        let Some(head) = job.head else { return Ok(()) };
        for file in &job.files {
            file.sync_data().map_err(OpenError::file(&self.directory))?;
        }
        let mut begins = None;
        let mut old = Vec::new();
        if job.directory {
            sync_directory(&self.directory).map_err(OpenError::file(&self.directory))?;
            (begins, old) = self.beyond_keeping()?;
        }
        self.store.commit(head, begins)?;
        self.first = begins.unwrap_or(self.first);
        // Only once it is known that they are to be gone.
        for path in old {
            fs::remove_file(&path).map_err(OpenError::file(path))?;
        }
        head::copy(&self.directory, Committed { head, first: self.first })?;
        self.state.has_committed(head.seq);
        if self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let hash = HEXLOWER.encode(&head.hash);
            tracing::info!(seq = head.seq, hash, "the audit log is committed up to this line");
        }
        Ok(())
    }

    /// Which files are one too many, and where the log begins without them.
    fn beyond_keeping(&self) -> Result<(Option<u64>, Vec<PathBuf>), OpenError> {
        let mut files = LogFiles::in_directory(&self.directory).map_err(OpenError::file(&self.directory))?.0;
        if self.keep == 0 || files.len() <= self.keep {
            return Ok((None, Vec::new()));
        }
        let kept = files.split_off(files.len() - self.keep);
        Ok((kept.first().and_then(|path| first_seq(path)), files))
    }
}
