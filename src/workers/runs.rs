//! The queue in front of the sandbox: a place, memory, and enough time left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;

use super::{RETRY_AFTER, Workers, WorkersConfig};
use crate::sandbox::{Completion, Job, Lease, Lost, Sandbox};

/// The unit in which memory is reserved.
const MIB: u64 = 1024 * 1024;

/// Why a job has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotRun {
    /// There is no room for it, or not in time. It has had no effect.
    #[error("the service is busy; retry in {} s", retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The sandbox failed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It may use more memory than all runs have together.
    #[error("the function needs more memory than the service has for all functions")]
    OverBudget,
    /// It began, and did not end in time: the machine has more to do than it can.
    #[error("the run did not end in time; retry in {} s", retry_after.as_secs())]
    Unfinished {
        /// When to try again.
        retry_after: Duration,
    },
}

const BUSY: NotRun = NotRun::Busy { retry_after: RETRY_AFTER };

impl Workers {
    /// Runs a job when there is room for it, and answers by `answer_by`.
    ///
    /// It starts only if its whole duration still fits before that, and reserves all the memory it may
    /// use beforehand, so that no other run can take it away. Dropping the future gives back the place
    /// in the queue, or stops the guest; then place and memory come back when the guest is gone.
    pub async fn run(&self, job: Job, answer_by: Instant) -> Result<Completion, NotRun> {
        let start_by = answer_by.checked_sub(job.limits.duration).ok_or(BUSY)?;
        let reservation = self.runs.reserve(job.limits.memory_bytes, start_by).await?;
        let run = self.runs.sandbox.run_by(job, Lease::holding(reservation), start_by);
        // Beside its own time, a run takes that of others on its thread. On a machine that is far too
        // busy the two do not fit.
        match timeout_at(answer_by.into(), run).await {
            Ok(Err(Lost::NoWorker)) => Err(BUSY),
            Ok(result) => Ok(result?),
            Err(_) => Err(NotRun::Unfinished { retry_after: RETRY_AFTER }),
        }
    }
}

/// Runs under way and waiting, and the memory they share.
pub(super) struct Runs {
    sandbox: Arc<dyn Sandbox>,
    places: Arc<Semaphore>,
    max_places: usize,
    /// In mebibytes.
    memory: Arc<Semaphore>,
    memory_mib: u32,
    waiting: Semaphore,
    max_waiting: usize,
}

/// What a run holds; given back by dropping it.
struct Reservation {
    _place: OwnedSemaphorePermit,
    _memory: OwnedSemaphorePermit,
}

impl Runs {
    pub(super) fn new(config: &WorkersConfig, sandbox: Arc<dyn Sandbox>) -> Runs {
        let max_places = config.max_runs.min(sandbox.max_runs()).clamp(1, Semaphore::MAX_PERMITS);
        let memory_mib = u32::try_from(config.memory_budget_bytes / MIB).unwrap_or(u32::MAX);
        let max_waiting = config.max_waiting_runs.min(Semaphore::MAX_PERMITS);
        Runs {
            sandbox,
            places: Arc::new(Semaphore::new(max_places)),
            max_places,
            memory: Arc::new(Semaphore::new(memory_mib as usize)),
            memory_mib,
            waiting: Semaphore::new(max_waiting),
            max_waiting,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.max_places - self.places.available_permits()
    }

    pub(super) fn max_places(&self) -> usize {
        self.max_places
    }

    pub(super) fn waiting(&self) -> usize {
        self.max_waiting - self.waiting.available_permits()
    }

    pub(super) fn memory_budget_bytes(&self) -> u64 {
        u64::from(self.memory_mib) * MIB
    }

    pub(super) fn memory_reserved_bytes(&self) -> u64 {
        self.memory_budget_bytes() - self.memory.available_permits() as u64 * MIB
    }

    /// A place and memory, in the order of arrival; a run that needs much holds up those behind it, or
    /// it would never start.
    async fn reserve(&self, memory_bytes: u64, start_by: Instant) -> Result<Reservation, NotRun> {
        let mib = u32::try_from(memory_bytes.div_ceil(MIB)).unwrap_or(u32::MAX);
        if mib > self.memory_mib {
            return Err(NotRun::OverBudget);
        }
        if Instant::now() > start_by {
            return Err(BUSY);
        }
        if let Some(reservation) = self.try_reserve(mib) {
            return Ok(reservation);
        }
        let _waiting = self.waiting.try_acquire().map_err(|_| BUSY)?;
        timeout_at(start_by.into(), self.wait(mib)).await.unwrap_or(Err(BUSY))
    }

    /// What is free right now, unless somebody waits for it.
    fn try_reserve(&self, mib: u32) -> Option<Reservation> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let memory = Arc::clone(&self.memory).try_acquire_many_owned(mib).ok()?;
        Some(Reservation { _place: place, _memory: memory })
    }

    async fn wait(&self, mib: u32) -> Result<Reservation, NotRun> {
        // Neither is ever closed.
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| BUSY)?;
        let memory = Arc::clone(&self.memory).acquire_many_owned(mib).await.map_err(|_| BUSY)?;
        Ok(Reservation { _place: place, _memory: memory })
    }
}
