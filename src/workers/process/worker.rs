//! What a worker process does: runs the guests that it is sent, and nothing else.
//!
//! Guests run on threads of a [`ThreadSandbox`]. Those that have nothing to run read the socket, one at
//! a time ([`Source`]), and whichever has something to say writes it itself; the main thread waits for the
//! end. What a guest asks of its host goes back to the service, which knows what the run may have.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::io::Errno;
use tokio::sync::oneshot;

use super::memfile;
use super::message::{Began, Begin, FromWorker, MAX_TO_PROCESS, ToWorker, message, packet};
use super::seal;
use super::socket::{Broken, Incoming, Receiver};
use crate::sandbox::{
    Artifact, BoxFuture, Compiled, Completion, Denied, Door, HostCall, HostReply, Job, Lease, Lost,
    MAX_COMPILED_BYTES, Owner, Running, Sandbox, Source, ThreadSandbox, ThreadSandboxConfig,
};

/// How far workers give way to the service.
const NICENESS: i32 = 10;
/// Writable memory beside that of guests: the heap, modules, stacks, the program itself.
const OWN_DATA_BYTES: u64 = 2 << 30;
/// What each guest may have at most.
const GUEST_BYTES: u64 = 256 << 20;
/// Descriptors: the images of modules' memories, and files in flight.
const FILES: u64 = 1024;

/// Runs guests until the service closes the socket; an error is for the exit code alone, since there
/// is nobody left to tell.
pub(super) fn serve(socket: BorrowedFd<'static>) -> Result<(), Broken> {
    let mut receiver = Receiver::new(MAX_TO_PROCESS);
    let begin: Begin = read(&receiver.receive(socket)?)?;
    let sandbox = match prepare(&begin) {
        Ok((sandbox, walls)) => {
            packet(&Began::Ready(walls), None)?.send(socket)?;
            sandbox
        }
        Err(reason) => return Ok(packet(&Began::Failed(reason), None)?.send(socket)?),
    };
    let worker = Arc::new(Worker { sandbox, socket, runs: Mutex::default(), modules: Mutex::default() });
    let (over, end) = mpsc::channel();
    worker.sandbox.listen_to(Arc::new(Orders {
        worker: Arc::clone(&worker),
        receiver: receiver.into(),
        over,
    }));
    end.recv().unwrap_or(Err(Broken::Closed))
}

/// What the service says.
struct Orders {
    worker: Arc<Worker>,
    /// Only one thread listens at a time.
    receiver: Mutex<Receiver>,
    over: mpsc::Sender<Result<(), Broken>>,
}

impl Source for Orders {
    fn take_in(&self) -> bool {
        let obeyed = catch_unwind(AssertUnwindSafe(|| {
            let incoming = lock(&self.receiver).receive(self.worker.socket)?;
            self.worker.obey(incoming)
        }));
        let end = match obeyed {
            Ok(Ok(())) => return true,
            Ok(Err(Broken::Closed)) => Ok(()),
            Ok(Err(broken)) => Err(broken),
            Err(_) => Err(Broken::Malformed),
        };
        // The main thread waits for it as long as there is one.
        let _ = self.over.send(end);
        false
    }
}

/// Seals this process, with all that must be made before.
fn prepare(begin: &Begin) -> Result<(ThreadSandbox, super::message::Walls), String> {
    let walls = seal::lock_in(&limits(begin.slots)).map_err(|error| error.to_string())?;
    // One of the threads listens.
    let threads = begin.threads + 1;
    let config = ThreadSandboxConfig { threads, compile_threads: 0, slots: begin.slots };
    let sandbox = ThreadSandbox::start(config).map_err(|error| error.to_string())?;
    if sandbox.max_runs() < begin.slots {
        return Err(format!("there is address space for only {} runs", sandbox.max_runs()));
    }
    seal::seal().map_err(|error| error.to_string())?;
    Ok((sandbox, walls))
}

/// What a worker for so many runs may use.
pub(super) fn limits(slots: usize) -> seal::Limits {
    seal::Limits {
        data_bytes: OWN_DATA_BYTES + slots as u64 * GUEST_BYTES,
        address_space_bytes: None,
        cpu_seconds: None,
        files: FILES,
        file_bytes: MAX_COMPILED_BYTES as u64,
        niceness: NICENESS,
    }
}

/// What the service says is well-formed, or it is not the service.
fn read<M: serde::de::DeserializeOwned>(incoming: &Incoming) -> Result<M, Broken> {
    message(incoming).map_err(|_| Broken::Malformed)
}

struct Worker {
    sandbox: ThreadSandbox,
    socket: BorrowedFd<'static>,
    runs: Mutex<HashMap<u64, Run>>,
    modules: Mutex<HashMap<u64, Result<Artifact, String>>>,
}

/// A run under way.
struct Run {
    /// Stops it when it is dropped. Empty only while it begins.
    running: Option<Running>,
    /// Where the answer to its host call goes, if it waits for one.
    waiting: Arc<Mutex<Option<Waiting>>>,
}

struct Waiting {
    call: u32,
    answer: oneshot::Sender<Result<HostReply, Denied>>,
}

impl Worker {
    fn obey(self: &Arc<Self>, incoming: Incoming) -> Result<(), Broken> {
        match read(&incoming)? {
            ToWorker::Cancel { run } => {
                let canceled = lock(&self.runs).remove(&run);
                // Outside of the lock, which the run's end takes.
                drop(canceled);
            }
            ToWorker::Load { module, mode, initial_bytes } => {
                let file = incoming.file.ok_or(Broken::Malformed)?;
                let code = memfile::read(file, MAX_COMPILED_BYTES as u64)?;
                let compiled = Compiled::vouched_for(mode, initial_bytes, code.into());
                let installed = self.sandbox.install(&compiled).map_err(|error| error.to_string());
                lock(&self.modules).insert(module, installed);
            }
            ToWorker::Reply { run, call, reply } => {
                let waiting = lock(&self.runs).get(&run).map(|run| Arc::clone(&run.waiting));
                let waiting =
                    waiting.and_then(|waiting| lock(&waiting).take_if(|waiting| waiting.call == call));
                if let Some(waiting) = waiting {
                    let _ = waiting.answer.send(reply);
                }
            }
            ToWorker::Run { run, module, limits, context, input } => {
                let artifact = lock(&self.modules).get(&module).cloned();
                match artifact {
                    Some(Ok(artifact)) => {
                        let waiting = Arc::default();
                        let door = ServiceDoor {
                            worker: Arc::clone(self),
                            run,
                            calls: AtomicU32::new(0),
                            waiting: Arc::clone(&waiting),
                        };
                        let job = Job {
                            artifact,
                            // Everything here is of one owner, as far as this process knows.
                            owner: Owner { name: "".into(), public: true },
                            input: input.0,
                            limits,
                            context: Arc::new(context),
                            door: Arc::new(door),
                        };
                        self.begin(run, job, waiting);
                    }
                    Some(Err(reason)) => self.tell(&FromWorker::Ended { run, ending: Err(reason) }),
                    None => return Err(Broken::Malformed),
                }
            }
            ToWorker::Speak => self.tell(&FromWorker::Alive),
            ToWorker::Unload { module } => {
                let unloaded = lock(&self.modules).remove(&module);
                drop(unloaded);
            }
        }
        Ok(())
    }

    fn begin(self: &Arc<Self>, run: u64, job: Job, waiting: Arc<Mutex<Option<Waiting>>>) {
        // It may end, and be taken off the list, before the next line but one.
        lock(&self.runs).insert(run, Run { running: None, waiting });
        let ending = Ending { worker: Arc::clone(self), run, result: None };
        let running = self.sandbox.begin(job, Lease::none(), move |result| ending.with(result));
        match lock(&self.runs).get_mut(&run) {
            Some(listed) => listed.running = Some(running),
            None => running.has_ended(),
        }
    }

    /// Tells the service; without it, this process has nothing left to do.
    fn tell(&self, message: &FromWorker) {
        let sent = packet(message, None).and_then(|packet| packet.send(self.socket));
        match sent {
            Ok(()) => {}
            // Too long for the memory there is: an end without its output is better than none.
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOSPC) => match message {
                FromWorker::Ended { run, ending: Ok(_) } => {
                    self.tell(&FromWorker::Ended {
                        run: *run,
                        ending: Err("no memory for the output".into()),
                    });
                }
                _ => std::process::exit(1),
            },
            Err(_) => std::process::exit(1),
        }
    }
}

/// Tells the service how a run ended, also if it panicked.
struct Ending {
    worker: Arc<Worker>,
    run: u64,
    result: Option<Result<Completion, Lost>>,
}

impl Ending {
    fn with(mut self, result: Result<Completion, Lost>) {
        self.result = Some(result);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let ending = match self.result.take() {
            Some(result) => result.map_err(|lost| match lost {
                Lost::Internal(reason) => reason,
                lost => lost.to_string(),
            }),
            None => Err("the run was canceled, or panicked".into()),
        };
        let run = lock(&self.worker.runs).remove(&self.run);
        if let Some(Run { running: Some(running), .. }) = run {
            running.has_ended();
        }
        self.worker.tell(&FromWorker::Ended { run: self.run, ending });
    }
}

/// The door of a run, which is in another process.
struct ServiceDoor {
    worker: Arc<Worker>,
    run: u64,
    /// Those made so far.
    calls: AtomicU32,
    waiting: Arc<Mutex<Option<Waiting>>>,
}

impl Door for ServiceDoor {
    fn call(&self, wanted: HostCall, time_left: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let (answer, answered) = oneshot::channel();
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        *lock(&self.waiting) = Some(Waiting { call, answer });
        self.worker.tell(&FromWorker::HostCall { run: self.run, call, wanted, time_left });
        Box::pin(async move { answered.await.unwrap_or_else(|_| Err(Denied("the run has ended".into()))) })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps and options are sound after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
