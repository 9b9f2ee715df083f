//! From a CID to an artifact: fetched once, compiled once, remembered in memory and on disk.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ipld_core::cid::Cid;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::cache_state::CacheState;
use super::compile_end::CompileEnd;
use super::disk::Disk;
use super::flights::{Flight, Flights};
use super::turns::{Turn, Turns};
use super::{RETRY_AFTER, StoreStats, Workers, WorkersConfig};
use crate::lexicon::Mode;
use crate::sandbox::{Artifact, CompileError, Compiled, Refusal, Sandbox};
use crate::telemetry;

/// Refusals that are remembered; each is some hundred bytes.
const MAX_REFUSALS: u64 = 10_000;

/// What is to be prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepare {
    /// The CID of the module's bytes.
    pub cid: Cid,
    /// How the module is to be judged and compiled.
    pub mode: Mode,
    /// On whose account the bytes are fetched: those who ask for the same bytes of the same author
    /// share one fetch. One author's slow or broken server is not another's, even of the same bytes.
    pub author: Arc<str>,
    /// Until when the caller waits. The work goes on without it.
    pub deadline: Instant,
}

/// Why there is no artifact. `E` is the error of the caller's own fetch.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError<E> {
    /// Too many modules are being prepared, on the whole or for this author.
    #[error("too many modules are being prepared; retry in {} s", retry_after.as_secs())]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The module is still being compiled.
    #[error("the function is being compiled; retry in {} s", retry_after.as_secs())]
    Compiling {
        /// When to try again.
        retry_after: Duration,
    },
    /// The bytes could not be had.
    #[error("the code cannot be fetched")]
    Fetch(Arc<E>),
    /// The bytes did not arrive in time.
    #[error("the code is still being fetched; retry in {} s", retry_after.as_secs())]
    Fetching {
        /// When to try again.
        retry_after: Duration,
    },
    /// The compiler failed for a reason of its own.
    #[error("the function could not be compiled; retry in {} s", retry_after.as_secs())]
    Lost {
        /// When to try again.
        retry_after: Duration,
    },
    /// The module breaks a rule, and always will.
    #[error(transparent)]
    Refused(Refusal),
}

impl Workers {
    /// Gives the artifact of a module, fetching it with `code` and compiling it if need be.
    ///
    /// `code` must give only bytes whose hash is the CID: the artifact is anyone's who asks for that
    /// CID. It is called at most once, and not at all when the artifact is there or somebody else is
    /// at it; it runs to its end even if this future is dropped, so it should have a time limit.
    pub async fn prepare<F, Fut, E>(
        &self,
        prepare: Prepare,
        code: F,
    ) -> Result<(Artifact, CacheState), PrepareError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        ReadAhead { preparations: &self.preparations, reading: None }.prepare(prepare, code).await
    }

    /// Begins to read from disk what of a module is there and not in memory, for a caller who has something else to ask first.
    /// Nothing comes of it but that it is there sooner.
    pub fn read_ahead(&self, prepare: &Prepare) -> ReadAhead<'_> {
        let module = Module { cid: prepare.cid, mode: prepare.mode };
        let preparations = &self.preparations;
        let reading = if preparations.known(&module).is_some() { None } else { preparations.read(module) };
        ReadAhead { preparations, reading }
    }
}

/// A module that is being read.
pub struct ReadAhead<'a> {
    preparations: &'a Arc<Preparations>,
    reading: Option<Flight<Option<Artifact>>>,
}

impl ReadAhead<'_> {
    /// As [`Workers::prepare`], after what was read ahead.
    pub async fn prepare<F, Fut, E>(
        self,
        prepare: Prepare,
        code: F,
    ) -> Result<(Artifact, CacheState), PrepareError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Send + Sync + 'static,
    {
        let ReadAhead { preparations, reading } = self;
        let module = Module { cid: prepare.cid, mode: prepare.mode };
        // Read in vain, it is not read again.
        let mut may_be_on_disk = true;
        if let Some(reading) = reading {
            match tokio::time::timeout_at(prepare.deadline.into(), reading.landed()).await {
                Ok(Some(Some(artifact))) => return Ok((artifact, CacheState::Disk)),
                Ok(_) => may_be_on_disk = false,
                Err(_) => {}
            }
        }
        match preparations.known(&module) {
            Some(Ok(artifact)) => return Ok((artifact, CacheState::Warm)),
            Some(Err(refusal)) => return Err(PrepareError::Refused(refusal)),
            None => {}
        }
        let flight = match preparations.compiles.get(&module) {
            Some(flight) => flight,
            None => {
                let fetch = (module, Arc::clone(&prepare.author));
                preparations.fetches.join(fetch, || {
                    Arc::clone(preparations).fetch(
                        module,
                        Arc::clone(&prepare.author),
                        may_be_on_disk,
                        code(),
                    )
                })
            }
        };
        match tokio::time::timeout_at(prepare.deadline.into(), flight.landed()).await {
            Ok(Some(Ok(prepared))) => Ok(prepared),
            Ok(Some(Err(failed))) => Err(failed.into()),
            Ok(None) => Err(PrepareError::Lost { retry_after: RETRY_AFTER }),
            Err(_) if preparations.has_code(module, &prepare.author) => {
                Err(PrepareError::Compiling { retry_after: RETRY_AFTER })
            }
            Err(_) => Err(PrepareError::Fetching { retry_after: RETRY_AFTER }),
        }
    }
}

/// The bytes of a module, and what they are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Module {
    cid: Cid,
    mode: Mode,
}

type Prepared = Result<(Artifact, CacheState), Failed>;

/// A failure that all who wait for it are told. The fetch's error is of the type of whoever started
/// it.
#[derive(Clone)]
enum Failed {
    Busy,
    Fetch(Arc<dyn Any + Send + Sync>),
    Lost,
    Refused(Refusal),
}

impl<E: Send + Sync + 'static> From<Failed> for PrepareError<E> {
    fn from(failed: Failed) -> PrepareError<E> {
        match failed {
            Failed::Busy => PrepareError::Busy { retry_after: RETRY_AFTER },
            Failed::Fetch(error) => match error.downcast() {
                Ok(error) => PrepareError::Fetch(error),
                // Somebody else's fetch, with errors of another type.
                Err(_) => PrepareError::Lost { retry_after: RETRY_AFTER },
            },
            Failed::Lost => PrepareError::Lost { retry_after: RETRY_AFTER },
            Failed::Refused(refusal) => PrepareError::Refused(refusal),
        }
    }
}

impl From<CompileError> for Failed {
    fn from(error: CompileError) -> Failed {
        match error {
            CompileError::Busy => Failed::Busy,
            CompileError::Lost => Failed::Lost,
            CompileError::Refused(refusal) => Failed::Refused(refusal),
        }
    }
}

/// What is being prepared, and what has been.
pub(super) struct Preparations {
    sandbox: Arc<dyn Sandbox>,
    artifacts: Cache<Module, Artifact>,
    disk: Option<Disk>,
    refusals: Cache<Module, Refusal>,
    fetches: Flights<(Module, Arc<str>), Prepared>,
    loads: Flights<Module, Option<Artifact>>,
    compiles: Flights<Module, Prepared>,
    places: Arc<Semaphore>,
    max_places: usize,
    authors: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    max_per_author: usize,
    turns: Turns,
    /// Modules whose code is there and whose author has no turn yet.
    in_line: Mutex<HashSet<(Module, Arc<str>)>>,
    compile_places: Arc<Semaphore>,
    compiles_begun: AtomicU64,
}

impl Preparations {
    pub(super) fn new(config: &WorkersConfig, sandbox: Arc<dyn Sandbox>, disk: Option<Disk>) -> Preparations {
        let max_places = config.max_preparing.clamp(1, Semaphore::MAX_PERMITS);
        let max_compiles = config.max_compiles.min(sandbox.max_compiles()).clamp(1, Semaphore::MAX_PERMITS);
        let least = config.artifact_cache_bytes / config.max_artifacts.max(1) as u64;
        Preparations {
            sandbox,
            artifacts: Cache::builder()
                .max_capacity(config.artifact_cache_bytes)
                .weigher(move |_, artifact: &Artifact| {
                    u32::try_from(least.max(artifact.bytes() as u64)).unwrap_or(u32::MAX)
                })
                .build(),
            refusals: Cache::builder().max_capacity(MAX_REFUSALS).time_to_live(config.refusal_ttl).build(),
            disk,
            fetches: Flights::new(),
            loads: Flights::new(),
            compiles: Flights::new(),
            places: Arc::new(Semaphore::new(max_places)),
            max_places,
            authors: Arc::default(),
            max_per_author: config.max_preparing_per_author.max(1),
            turns: Turns::default(),
            in_line: Mutex::default(),
            compiles_begun: AtomicU64::new(0),
            compile_places: Arc::new(Semaphore::new(max_compiles)),
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.max_places - self.places.available_permits()
    }

    pub(super) fn compiles_begun(&self) -> u64 {
        self.compiles_begun.load(Ordering::Relaxed)
    }

    pub(super) fn artifacts(&self) -> u64 {
        self.artifacts.run_pending_tasks();
        self.artifacts.entry_count()
    }

    pub(super) fn artifact_bytes(&self) -> u64 {
        self.artifacts.weighted_size()
    }

    pub(super) fn store_stats(&self) -> StoreStats {
        self.disk.as_ref().map(|disk| disk.store().stats()).unwrap_or_default()
    }

    fn known(&self, module: &Module) -> Option<Result<Artifact, Refusal>> {
        let artifact = self.artifacts.get(module).map(Ok);
        artifact.or_else(|| self.refusals.get(module).map(Err))
    }

    /// What is not in memory. It may be on disk, or is known not to be.
    async fn fetch<Fut, E>(
        self: Arc<Self>,
        module: Module,
        author: Arc<str>,
        may_be_on_disk: bool,
        code: Fut,
    ) -> Prepared
    where
        Fut: Future<Output = Result<Bytes, E>>,
        E: Send + Sync + 'static,
    {
        if let Some(known) = self.known(&module) {
            return warm(known);
        }
        let _place = self.place(Arc::clone(&author)).ok_or(Failed::Busy)?;
        if may_be_on_disk
            && let Some(reading) = self.read(module)
            && let Some(Some(artifact)) = reading.landed().await
        {
            return Ok((artifact, CacheState::Disk));
        }
        let code = code.await.map_err(|error| Failed::Fetch(Arc::new(error)))?;
        // Before the flight: another author's caller of the same module must not wait in this one's line.
        let _turn = self.turn(module, author).await;
        let compile = self.compiles.join(module, || Arc::clone(&self).compile(module, code));
        // The place is kept until then: the bytes are.
        compile.landed().await.unwrap_or(Err(Failed::Lost))
    }

    async fn turn(&self, module: Module, author: Arc<str>) -> Option<Turn> {
        let in_line = InLine::new(&self.in_line, (module, Arc::clone(&author)));
        let turn = self.turns.take(&author).await;
        drop(in_line);
        turn
    }

    /// Whether it is only the compiler that a caller still waits for.
    fn has_code(&self, module: Module, author: &Arc<str>) -> bool {
        self.compiles.get(&module).is_some() || lock(&self.in_line).contains(&(module, Arc::clone(author)))
    }

    async fn compile(self: Arc<Self>, module: Module, code: Bytes) -> Prepared {
        // Never closed, so there is always a place at last.
        let _place = self.compile_places.acquire().await.map_err(|_| Failed::Lost)?;
        if let Some(known) = self.known(&module) {
            return warm(known);
        }
        self.compiles_begun.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let compiled = self.sandbox.compile(module.mode, code).await;
        telemetry::count_compile(CompileEnd::of(&compiled), began.elapsed());
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(error) => {
                if let CompileError::Refused(refusal) = &error {
                    self.refusals.insert(module, refusal.clone());
                }
                return Err(error.into());
            }
        };
        let artifact = self.install(compiled.clone()).await?;
        self.artifacts.insert(module, artifact.clone());
        if let Some(disk) = &self.disk {
            disk.save(&module.cid, module.mode, compiled);
        }
        Ok((artifact, CacheState::Cold))
    }

    /// Reads what is on disk of this module, once for all who want it; `None` where nothing is ever kept.
    fn read(self: &Arc<Self>, module: Module) -> Option<Flight<Option<Artifact>>> {
        self.disk.as_ref()?;
        let this = Arc::clone(self);
        Some(self.loads.join(module, || async move {
            let artifact = this.disk.as_ref()?.load(&module.cid, module.mode).await?;
            this.artifacts.insert(module, artifact.clone());
            Some(artifact)
        }))
    }

    async fn install(&self, compiled: Compiled) -> Result<Artifact, Failed> {
        let sandbox = Arc::clone(&self.sandbox);
        let installed = tokio::task::spawn_blocking(move || sandbox.install(&compiled)).await;
        match installed {
            Ok(Ok(artifact)) => Ok(artifact),
            Ok(Err(error)) => {
                tracing::error!(%error, "compiled code was not installed");
                Err(Failed::Lost)
            }
            // It panicked, which the log has already.
            Err(_) => Err(Failed::Lost),
        }
    }

    /// A place among those who prepare, if there is one for this author.
    fn place(&self, author: Arc<str>) -> Option<Place> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let mut authors = lock(&self.authors);
        let count = authors.entry(Arc::clone(&author)).or_default();
        if *count >= self.max_per_author {
            return None;
        }
        *count += 1;
        drop(authors);
        Some(Place { author, authors: Arc::clone(&self.authors), _place: place })
    }
}

/// Is on a list for as long as it lives.
struct InLine<'a> {
    list: &'a Mutex<HashSet<(Module, Arc<str>)>>,
    entry: (Module, Arc<str>),
}

impl InLine<'_> {
    fn new(list: &Mutex<HashSet<(Module, Arc<str>)>>, entry: (Module, Arc<str>)) -> InLine<'_> {
        lock(list).insert(entry.clone());
        InLine { list, entry }
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        lock(self.list).remove(&self.entry);
    }
}

/// What was known by the time it was asked for.
fn warm(known: Result<Artifact, Refusal>) -> Prepared {
    known.map(|artifact| (artifact, CacheState::Warm)).map_err(Failed::Refused)
}

struct Place {
    author: Arc<str>,
    authors: Arc<Mutex<HashMap<Arc<str>, usize>>>,
    _place: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut authors = lock(&self.authors);
        if let Some(count) = authors.get_mut(&self.author) {
            *count -= 1;
            if *count == 0 {
                authors.remove(&self.author);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The counts are right after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
