//! Guests on threads of this process: `--isolation thread`.
//!
//! All limits of the engine hold here, but there is no second wall behind it, and a compile that
//! takes long cannot be killed: it keeps one of the compiling threads, at a low priority, until it is
//! done. Callers are not held up by that, only other modules are.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use wasmtime::Engine;

use super::alarm::Alarms;
use super::compile::{self, Compiled, Compiler};
use super::executor::{Executor, Handle, Source};
use super::guest::{self, Control, Ended};
use super::host::Host;
use super::loaded::Loaded;
use super::program::{Linkers, Output};
use super::{
    Artifact, BoxFuture, CompileError, Completion, InstallError, Job, Lease, Load, Lost, Outcome, Sandbox,
    StartError, Usage, engine,
};
use crate::lexicon::Mode;

/// Modules that may wait for a compiling thread. Callers bound this too; it is a backstop.
const COMPILES_WAITING: usize = 64;

/// How large a [`ThreadSandbox`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadSandboxConfig {
    /// Threads that run guests.
    pub threads: usize,
    /// Threads that compile. Without any, nothing is compiled.
    pub compile_threads: usize,
    /// Runs that may exist at once; each reserves 16 GiB of address space.
    pub slots: usize,
}

impl Default for ThreadSandboxConfig {
    /// A thread for each core, one that compiles, 256 instances.
    fn default() -> ThreadSandboxConfig {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        ThreadSandboxConfig { threads: cores, compile_threads: 1, slots: 256 }
    }
}

/// A sandbox on threads of this process.
pub struct ThreadSandbox {
    engine: Engine,
    linkers: Linkers,
    slots: usize,
    executor: Executor,
    alarms: Alarms,
    compiles: Option<mpsc::SyncSender<Compile>>,
    compile_threads: usize,
    compiling: Arc<AtomicUsize>,
    running: Arc<AtomicUsize>,
    /// Dropped with the sandbox, which tells those who wait for runs.
    open: watch::Sender<()>,
}

struct Compile {
    mode: Mode,
    code: Bytes,
    answer: oneshot::Sender<Result<Compiled, CompileError>>,
    _counted: Counted,
}

impl ThreadSandbox {
    /// Reserves the instances' address space and starts the threads.
    pub fn start(config: ThreadSandboxConfig) -> Result<ThreadSandbox, StartError> {
        let engine::Pooled { engine, slots } = engine::build(config.slots)?;
        let linkers = Linkers::new(&engine).map_err(|error| StartError::Linking(error.to_string()))?;
        let executor = Executor::start(&engine, config.threads)?;
        let compiles = match config.compile_threads {
            0 => None,
            threads => Some(start_compilers(threads)?),
        };
        let alarms = Alarms::start()?;
        let (compiling, running, open) = (Arc::default(), Arc::default(), watch::Sender::new(()));
        Ok(ThreadSandbox {
            engine,
            linkers,
            slots,
            executor,
            alarms,
            compiles,
            compile_threads: config.compile_threads,
            compiling,
            running,
            open,
        })
    }
}

impl ThreadSandbox {
    /// Has the threads listen to `source` when they have nothing else to do. From then on, one less of them
    /// runs guests.
    pub(crate) fn listen_to(&self, source: Arc<dyn Source>) {
        self.executor.listen_to(source);
    }

    /// Runs a guest to its end, and then calls `done` on whatever thread that is; drops it uncalled if
    /// the run panics or the sandbox is closed ([`without_answer`]). Dropping what this returns stops
    /// the guest.
    pub(crate) fn begin(
        &self,
        job: Job,
        lease: Lease,
        done: impl FnOnce(Result<Completion, Lost>) + Send + 'static,
    ) -> Running {
        let Some(loaded) = job.artifact.compiled::<Loaded>() else {
            drop(lease);
            done(Err(Lost::ForeignArtifact));
            return Running(None);
        };
        if let Some(completion) = loaded.too_large_to_start(&job) {
            drop(lease);
            done(Ok(completion));
            return Running(None);
        }
        let control = Arc::new(Control::new(job.limits.duration, self.executor.closing()));
        let guest = {
            let (engine, alarms, control) = (self.engine.clone(), self.alarms.clone(), Arc::clone(&control));
            let (running, slots) = (Arc::clone(&self.running), self.slots);
            async move {
                // The pool has room for this many runs of any mode, and more of those made of little.
                let slot = Counted::below(slots, &running);
                let result = match slot {
                    Some(_) => run(&engine, alarms, &loaded, job, &control).await,
                    None => Err(Lost::NoSlot),
                };
                // In this order, so that whoever waits for the lease finds room.
                drop(slot);
                drop(lease);
                done(result);
            }
        };
        Running(Some(self.executor.spawn(Box::pin(guest), control)))
    }
}

/// Why a run had no answer at all.
pub(crate) fn without_answer(closing: &AtomicBool) -> Lost {
    if closing.load(Ordering::SeqCst) { Lost::Closed } else { Lost::Internal("the run panicked".into()) }
}

impl Sandbox for ThreadSandbox {
    fn compile(&self, mode: Mode, code: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>> {
        let (answer, answered) = oneshot::channel();
        let counted = Counted::new(&self.compiling);
        let compile = Compile { mode, code, answer, _counted: counted };
        let queued = self.compiles.as_ref().map(|compiles| compiles.try_send(compile));
        Box::pin(async move {
            match queued {
                Some(Ok(())) => answered.await.unwrap_or(Err(CompileError::Lost)),
                Some(Err(mpsc::TrySendError::Full(_))) => Err(CompileError::Busy),
                Some(Err(mpsc::TrySendError::Disconnected(_))) | None => Err(CompileError::Lost),
            }
        })
    }

    fn install(&self, compiled: &Compiled) -> Result<Artifact, InstallError> {
        let loaded = Loaded::of(&self.engine, &self.linkers, compiled)?;
        Ok(Artifact::new(Arc::new(loaded), compiled.code().len()))
    }

    fn max_compiles(&self) -> usize {
        self.compile_threads
    }

    fn fingerprint(&self) -> u64 {
        compile::fingerprint(&self.engine)
    }

    fn run(&self, job: Job, lease: Lease) -> BoxFuture<'static, Result<Completion, Lost>> {
        let (answer, answered) = oneshot::channel();
        let running = self.begin(job, lease, move |result| {
            // If nobody waits any more, nobody needs it.
            let _ = answer.send(result);
        });
        let closing = self.executor.closing();
        let mut open = self.open.subscribe();
        Box::pin(async move {
            let result = tokio::select! {
                biased;
                result = answered => result,
                // Nothing is ever sent, so this is the end of the sandbox. A run that waits for the host
                // would never be looked at again.
                _ = open.changed() => return Err(Lost::Closed),
            };
            running.has_ended();
            // A run that was dropped without an answer panicked, unless all are being stopped.
            result.unwrap_or_else(|_| Err(without_answer(&closing)))
        })
    }

    fn max_runs(&self) -> usize {
        self.slots
    }

    fn load(&self) -> Load {
        let mut load = Load {
            slots: self.slots,
            ready: self.executor.ready(),
            compiling: self.compiling.load(Ordering::Relaxed),
            ..Load::default()
        };
        if let Some(pool) = self.engine.pooling_allocator_metrics() {
            load.instances = pool.core_instances() as usize;
            load.stacks = pool.stacks();
            load.kept_bytes = pool.unused_memory_bytes_resident();
        }
        load
    }
}

/// Cancels a run when nobody waits for it any more. Empty once it has ended.
pub(crate) struct Running(Option<Handle>);

impl Running {
    /// Lets it go without canceling anything.
    pub(crate) fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

/// Runs a guest in a store of its own, which is gone when this returns.
async fn run(
    engine: &Engine,
    alarms: Alarms,
    loaded: &Loaded,
    job: Job,
    control: &Arc<Control>,
) -> Result<Completion, Lost> {
    let Job { input, limits, context, door, .. } = job;
    let host = Host::new(door, context, &limits, Arc::clone(control), alarms);
    let mut store = guest::store(engine, &limits, loaded.program().parts(), host, control)?;
    let ended = loaded.program().run(&mut store, &input).await;
    let took = control.stopwatch.reads();
    let result = finish(ended, control, took.elapsed)?;
    let usage = Usage {
        cpu: took.cpu,
        peak_memory_bytes: store.data().meter.peak_bytes(),
        host_calls: store.data().host.calls(),
        input_bytes: input.len() as u64,
        output_bytes: result.as_ref().map_or(0, |output| output.bytes),
    };
    Ok(Completion {
        result: result.map(|output| output.value),
        wall: took.elapsed,
        usage,
        logs: store.data_mut().host.take_logs(),
    })
}

/// An output that comes after the guest's time is none: a last long operation is not looked at while
/// it goes on.
fn finish(
    ended: Result<Output, Ended>,
    control: &Control,
    elapsed: Duration,
) -> Result<Result<Output, super::Failure>, Lost> {
    match ended {
        Ok(output) => match control.stop_after(elapsed) {
            Some(failure) if failure.outcome == Outcome::Timeout => Ok(Err(failure)),
            _ => Ok(Ok(output)),
        },
        Err(Ended::Failed(failure)) => Ok(Err(failure)),
        Err(Ended::Lost(lost)) => Err(lost),
    }
}

fn start_compilers(threads: usize) -> Result<mpsc::SyncSender<Compile>, StartError> {
    let (compiles, queue) = mpsc::sync_channel(COMPILES_WAITING);
    let queue = Arc::new(Mutex::new(queue));
    let compiler = Arc::new(Compiler::new()?);
    for number in 0..threads {
        let (compiler, queue) = (Arc::clone(&compiler), Arc::clone(&queue));
        compiling_thread(format!("compile-{number}"), move || compile_all(&compiler, &queue))?;
    }
    Ok(compiles)
}

/// A thread that has room for a compiler: Cranelift recurses on some inputs.
pub(crate) fn compiling_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name).stack_size(16 * 1024 * 1024).spawn(work)
}

fn compile_all(compiler: &Compiler, queue: &Mutex<mpsc::Receiver<Compile>>) {
    give_way_to_guests();
    loop {
        // The lock is held while waiting: the threads stand in line for the next module.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Compile { mode, code, answer, _counted }) = next else { return };
        if answer.is_closed() {
            continue;
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| compiler.compile(mode, &code)));
        let result = compiled.unwrap_or_else(|panic| {
            tracing::error!(panic = said(&*panic), "the compiler panicked");
            Err(CompileError::Lost)
        });
        drop(_counted);
        let _ = answer.send(result);
    }
}

/// Lowers the priority of this thread. On Linux, niceness is a thread's own; elsewhere it would be
/// the whole process's.
fn give_way_to_guests() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(%error, "compiling at the usual priority");
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

/// Counts itself for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }

    /// None if there are `most` already.
    fn below(most: usize, count: &Arc<AtomicUsize>) -> Option<Counted> {
        let more = |so_far: usize| (so_far < most).then_some(so_far + 1);
        count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, more).ok()?;
        Some(Counted(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
