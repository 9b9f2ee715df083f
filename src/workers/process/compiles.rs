//! Compiling in processes: a fresh one for each module, of which one is kept ready.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::answer;
use super::connection::{self, Started};
use super::memfile;
use super::message::{FromCompiler, Payload, ToCompiler, message, packet};
use super::program::{End, Process, Role, Starter};
use super::socket::{Broken, Incoming};
use crate::lexicon::Mode;
use crate::sandbox::{CompileError, Compiled, Refusal, judge, most_compiled_bytes};

/// What one compile may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileLimits {
    /// Compiles at once. Each may use all of the following.
    pub at_once: usize,
    /// Processor time, in seconds, as the kernel counts it.
    pub cpu_seconds: u64,
    /// Address space.
    pub memory_bytes: u64,
    /// Time in all, waiting for the processor included.
    pub wall: Duration,
}

impl Default for CompileLimits {
    /// Less than the 9 s in which a call is answered. A module of 10 MiB, the longest there may be, takes
    /// up to 10 s of processor time; ordinary ones some 0.1 s.
    fn default() -> CompileLimits {
        CompileLimits { at_once: 4, cpu_seconds: 5, memory_bytes: 1 << 30, wall: Duration::from_secs(6) }
    }
}

/// Compilers, one a module.
pub(super) struct Compilers {
    starter: Starter,
    runtime: Handle,
    limits: CompileLimits,
    spare: Mutex<Spare>,
    /// The processes that have a module.
    at_work: Mutex<Vec<u32>>,
    under_way: AtomicUsize,
}

/// A compiler that has seen nothing yet.
#[derive(Default)]
enum Spare {
    #[default]
    None,
    Starting,
    Ready(Started),
}

impl Compilers {
    pub(super) fn new(starter: Starter, limits: CompileLimits) -> Arc<Compilers> {
        let compilers = Arc::new(Compilers {
            starter,
            runtime: Handle::current(),
            limits,
            spare: Mutex::default(),
            at_work: Mutex::default(),
            under_way: AtomicUsize::new(0),
        });
        compilers.keep_spare();
        compilers
    }

    pub(super) fn at_once(&self) -> usize {
        self.limits.at_once
    }

    /// The numbers of the processes that compile something now.
    pub(super) fn processes(&self) -> Vec<u32> {
        lock(&self.at_work).clone()
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) async fn compile(self: Arc<Self>, mode: Mode, code: Bytes) -> Result<Compiled, CompileError> {
        let _counted = Counted::new(&self.under_way);
        // Reading a module is safe to do here, costs little beside a process, and gives the verdict in
        // our own words.
        let judged = {
            let code = code.clone();
            tokio::task::spawn_blocking(move || judge(mode, &code)).await
        };
        let admitted = judged.map_err(|_| CompileError::Lost)??;
        let length = code.len();
        let asked = timeout(self.limits.wall, self.ask(mode, code)).await;
        let Ok(asked) = asked else {
            tracing::warn!(length, "a compile took too long and was ended");
            return Err(CompileError::Lost);
        };
        let incoming = match asked? {
            Asked::Answered(incoming) => incoming,
            Asked::Ended(process, broken) => {
                return Err(match process.end().await {
                    End::CpuLimit => CompileError::Refused(Refusal::TooSlow),
                    End::Other => {
                        tracing::warn!(%broken, "a compiler ended without an answer");
                        CompileError::Lost
                    }
                });
            }
        };
        let Incoming { file, .. } = &incoming;
        match (message(&incoming), file) {
            (Ok(FromCompiler::Compiled), Some(file)) => {
                let code = memfile::read(file, most_compiled_bytes(length) as u64).map_err(|error| {
                    tracing::error!(%error, "what a compiler made was not taken");
                    CompileError::Lost
                })?;
                Ok(Compiled::vouched_for(mode, admitted.initial_bytes, code.into()))
            }
            (Ok(FromCompiler::TooLarge { bytes }), None) => {
                Err(CompileError::Refused(Refusal::ArtifactTooLarge { bytes }))
            }
            (Ok(FromCompiler::Refused { reason }), None) => {
                Err(CompileError::Refused(Refusal::Compiler { reason: answer::shown(&reason) }))
            }
            (Ok(FromCompiler::Unlinkable { reason }), None) => {
                Err(CompileError::Refused(Refusal::Unlinkable { reason: answer::shown(&reason) }))
            }
            _ => Err(CompileError::Lost),
        }
    }

    async fn ask(self: &Arc<Self>, mode: Mode, code: Bytes) -> Result<Asked, CompileError> {
        let question = ToCompiler { mode, code: Payload(code) };
        let send =
            |compiler: &Started| -> Result<(), Errno> { compiler.connection.send(packet(&question, None)?) };
        let compiler = match self.take_spare() {
            Some(compiler) if send(&compiler).is_ok() => compiler,
            // The one that waited is gone, or there was none.
            _ => {
                let compiler = self.start().await.ok_or(CompileError::Lost)?;
                send(&compiler).map_err(|error| {
                    tracing::error!(%error, "a module could not be sent to its compiler");
                    CompileError::Lost
                })?;
                compiler
            }
        };
        self.keep_spare();
        drop(question);
        let Started { process, connection, mut receiver, .. } = compiler;
        let _at_work = AtWork::new(&self.at_work, process.id());
        let received = tokio::select! {
            received = connection.receive(&mut receiver) => received,
            broken = connection.send_what_waits() => Err(broken),
        };
        Ok(match received {
            Ok(incoming) => Asked::Answered(incoming),
            Err(broken) => Asked::Ended(process, broken),
        })
    }

    async fn start(&self) -> Option<Started> {
        match connection::start_with(&self.starter, Role::Compiler, &self.limits).await {
            Ok(started) => Some(started),
            Err(error) => {
                tracing::error!(%error, "a compiler could not be started");
                None
            }
        }
    }

    fn take_spare(&self) -> Option<Started> {
        let mut spare = lock(&self.spare);
        match std::mem::take(&mut *spare) {
            Spare::Ready(started) => Some(started),
            other => {
                *spare = other;
                None
            }
        }
    }

    fn keep_spare(self: &Arc<Self>) {
        let mut spare = lock(&self.spare);
        if !matches!(*spare, Spare::None) {
            return;
        }
        *spare = Spare::Starting;
        let compilers = Arc::downgrade(self);
        self.runtime.spawn(async move {
            let Some(compilers) = compilers.upgrade() else { return };
            let started = compilers.start().await;
            *lock(&compilers.spare) = started.map_or(Spare::None, Spare::Ready);
        });
    }
}

/// What became of a compiler.
enum Asked {
    Answered(Incoming),
    Ended(Process, Broken),
}

/// A process that is listed while it has a module.
struct AtWork<'a> {
    list: &'a Mutex<Vec<u32>>,
    process: u32,
}

impl AtWork<'_> {
    fn new(list: &Mutex<Vec<u32>>, process: u32) -> AtWork<'_> {
        lock(list).push(process);
        AtWork { list, process }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        lock(self.list).retain(|process| *process != self.process);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What they guard is sound after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
