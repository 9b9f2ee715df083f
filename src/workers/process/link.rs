//! The service's side of a worker: the runs that it holds, and what it may say about them.
//!
//! A worker may have been taken over by a guest. So each of its messages must be one that an honest
//! worker could have sent now: about a run that it holds, within that run's limits. The first that is
//! not ends the worker, and with it the runs that it held.

mod call;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::sync::{Notify, oneshot};

use call::{Call, Slot, unless_it_panics};

use super::answer::{self, Asked, Lie};
use super::connection::{Connection, Started};
use super::message::{FromWorker, MAX_TO_PROCESS, Payload, ToWorker, message, packet};
use super::program::Process;
use super::quarantine::{Function, Trial};
use super::socket::{Broken, Receiver};
use crate::lexicon::Mode;
use crate::sandbox::{Completion, Denied, Door, HostCall, HostReply, Job, Lease, Lost};

/// Modules that a worker keeps loaded.
const MAX_MODULES: usize = 64;
/// How long a worker may take to stop a run that was canceled. Two ticks do, but for one long
/// operation on memory, and a machine that has much else to do.
pub(super) const STOP_TIME: Duration = Duration::from_secs(5);
/// How often a worker is looked at in its time to stop a run.
const LOOKS: u32 = 10;
/// Looks at a worker that holds runs and says nothing, from the one at which it is asked whether it is
/// alive until it is ended. Looks and not time, so that it has as long when the whole machine stands.
const SILENT_LOOKS: u32 = 6;

/// A function that is ready to be sent to workers.
pub(super) struct Installed {
    /// Differs between functions.
    pub(super) number: u64,
    pub(super) mode: Mode,
    pub(super) initial_bytes: u64,
    /// The native code, sealed.
    pub(super) file: OwnedFd,
    /// What the function is known by when a worker dies of it.
    pub(super) function: Function,
}

/// What a run holds until nothing of it is left in the worker.
pub(super) struct Held {
    /// The run is one, and this is how its end is known.
    pub(super) trial: Option<Trial>,
    pub(super) lease: Lease,
}

/// The runs that a worker had when it died: their functions and authors.
pub(super) type Suspects = Vec<(Function, Arc<str>)>;

/// A worker, as the service sees it.
pub(super) struct Link {
    connection: Connection,
    state: Mutex<State>,
    /// Ends the worker.
    end: Notify,
    process: u32,
    stop_time: Duration,
    /// Messages that came.
    heard: AtomicU64,
    /// How often it was asked whether it is alive, and has not said so yet.
    asked: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Nothing more is begun, and nothing more is listened to.
    over: bool,
    runs: HashMap<u64, InFlight>,
    next_run: u64,
    /// The modules it has, and when each was last wanted.
    modules: HashMap<u64, u64>,
    wanted: u64,
}

/// A run that a worker holds.
struct InFlight {
    asked: Asked,
    door: Arc<dyn Door>,
    /// Empty once nobody waits any more.
    answer: Option<oneshot::Sender<Result<Completion, Lost>>>,
    canceled: Option<Instant>,
    /// The host call under way.
    call: Option<Call>,
    function: Function,
    author: Arc<str>,
    held: Held,
}

impl InFlight {
    fn stop_call(&mut self) {
        if let Some(call) = self.call.take() {
            call.stop();
        }
    }

    /// Gives everything back, and then the answer.
    fn ends(mut self, result: Result<Completion, Lost>) {
        self.stop_call();
        let Held { trial, lease } = self.held;
        match trial {
            Some(trial) if result.is_ok() => trial.passed(),
            trial => drop(trial),
        }
        drop(lease);
        if let Some(answer) = self.answer {
            // If nobody waits any more, nobody needs it.
            let _ = answer.send(result);
        }
    }
}

/// What a worker said that no honest one would.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("it speaks of run {0}, which it does not hold")]
    NoSuchRun(u64),
    #[error("it sent a file that nobody asked for")]
    File,
    #[error("it says that it is alive, which nobody asked")]
    NotAsked,
    #[error("it says what nobody knows")]
    Unknown,
    #[error("of a run: {0}")]
    Lie(#[from] Lie),
    #[error("it did not stop a run that was canceled")]
    DoesNotStop,
    #[error("it has stopped")]
    Silent,
    #[error("it is no longer needed")]
    Ended,
}

impl Link {
    /// Listens to a worker until it ends, for whatever reason; then calls `gone` with the runs that it
    /// had, or with none if it was to end. It may take `stop_time` to stop a run.
    pub(super) fn attend(
        started: Started,
        stop_time: Duration,
        gone: impl FnOnce(Suspects) + Send + 'static,
    ) -> Arc<Link> {
        let Started { process, connection, receiver, .. } = started;
        let link = Arc::new(Link {
            connection,
            state: Mutex::default(),
            end: Notify::new(),
            process: process.id(),
            stop_time,
            heard: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        });
        tokio::spawn(Arc::clone(&link).listen(process, receiver, gone));
        link
    }

    /// The process's number.
    pub(super) fn process(&self) -> u32 {
        self.process
    }

    /// Ends the worker, and the runs that it holds.
    pub(super) fn end(&self) {
        self.end.notify_one();
    }

    async fn listen(self: Arc<Self>, process: Process, mut receiver: Receiver, gone: impl FnOnce(Suspects)) {
        let fault = tokio::select! {
            fault = self.hear(&mut receiver) => fault,
            broken = self.connection.send_what_waits() => broken.into(),
            fault = self.look() => fault,
            () = self.end.notified() => Fault::Ended,
        };
        let worker = self.process;
        // The process first: what it held is told to be gone only when it is.
        drop(process);
        let runs = {
            let mut state = self.state();
            state.over = true;
            std::mem::take(&mut state.runs)
        };
        let suspects = match fault {
            Fault::Ended => Vec::new(),
            _ => runs.values().map(|run| (run.function, Arc::clone(&run.author))).collect(),
        };
        gone(suspects);
        match &fault {
            Fault::Ended => tracing::debug!(worker, "a worker was ended"),
            fault => {
                tracing::warn!(worker, runs = runs.len(), %fault, "a worker is gone, and its runs with it")
            }
        }
        let lost = match fault {
            Fault::Ended => Lost::Closed,
            _ => Lost::Worker,
        };
        for run in runs.into_values() {
            run.ends(Err(lost.clone()));
        }
    }

    async fn hear(self: &Arc<Self>, receiver: &mut Receiver) -> Fault {
        loop {
            let incoming = match self.connection.receive(receiver).await {
                Ok(incoming) => incoming,
                Err(broken) => return broken.into(),
            };
            self.heard.fetch_add(1, Ordering::Relaxed);
            if incoming.file.is_some() {
                return Fault::File;
            }
            let heard = match message(&incoming) {
                Ok(FromWorker::Ended { run, ending }) => self.ended(run, ending),
                Ok(FromWorker::HostCall { run, call, wanted, time_left }) => {
                    self.called(run, call, wanted, time_left)
                }
                Ok(FromWorker::Alive) => {
                    let asked = |asked: u64| asked.checked_sub(1);
                    let answered = self.asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, asked);
                    answered.map(drop).map_err(|_| Fault::NotAsked)
                }
                Err(_) => Err(Fault::Unknown),
            };
            if let Err(fault) = heard {
                return fault;
            }
        }
    }

    /// Looks now and then whether canceled runs end, and whether a worker that says nothing is alive.
    async fn look(&self) -> Fault {
        let (mut heard, mut silent) = (0, 0);
        loop {
            tokio::time::sleep(self.stop_time / LOOKS).await;
            let state = self.state();
            let overdue = |run: &InFlight| run.canceled.is_some_and(|since| since.elapsed() > self.stop_time);
            if state.runs.values().any(overdue) {
                return Fault::DoesNotStop;
            }
            let (before, holds) = (heard, !state.runs.is_empty());
            heard = self.heard.load(Ordering::Relaxed);
            silent = if holds && heard == before { silent + 1 } else { 0 };
            if silent == 1 {
                self.asked.fetch_add(1, Ordering::Relaxed);
                // If it cannot be sent, the worker will be silent.
                let _ = packet(&ToWorker::Speak, None).and_then(|packet| self.connection.send(packet));
            }
            if silent > SILENT_LOOKS {
                return Fault::Silent;
            }
        }
    }

    /// Sends a run to the worker. Dropping what this returns cancels it. Where it fails, the worker has
    /// not had the run, and nothing is held.
    pub(super) fn begin(
        self: &Arc<Self>,
        job: &Job,
        installed: &Installed,
        hold: impl FnOnce() -> Held,
    ) -> Result<Waiting, Lost> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if state.over {
            return Err(Lost::Worker);
        }
        self.load(&mut state, installed).map_err(not_sent)?;
        // Before it is sent: the worker's clock may start before this thread goes on.
        let asked = Asked::new(job.limits, job.input.len());
        let run = state.next_run;
        state.next_run += 1;
        let message = ToWorker::Run {
            run,
            module: installed.number,
            limits: job.limits,
            context: job.context.as_ref().clone(),
            input: Payload(job.input.clone()),
        };
        packet(&message, None).and_then(|packet| self.connection.send(packet)).map_err(not_sent)?;
        let in_flight = InFlight {
            asked,
            door: Arc::clone(&job.door),
            answer: Some(answer),
            canceled: None,
            call: None,
            function: installed.function,
            author: Arc::clone(&job.owner.name),
            held: hold(),
        };
        state.runs.insert(run, in_flight);
        drop(state);
        Ok(Waiting { link: Arc::clone(self), run, answered, is_over: false })
    }

    /// Sees to it that the worker has a module.
    fn load(&self, state: &mut State, installed: &Installed) -> Result<(), Errno> {
        state.wanted += 1;
        let now = state.wanted;
        if let Some(wanted) = state.modules.get_mut(&installed.number) {
            *wanted = now;
            return Ok(());
        }
        if state.modules.len() >= MAX_MODULES {
            let oldest = state.modules.iter().min_by_key(|(_, wanted)| **wanted).map(|(module, _)| *module);
            if let Some(module) = oldest {
                self.connection.send(packet(&ToWorker::Unload { module }, None)?)?;
                state.modules.remove(&module);
            }
        }
        let Installed { number: module, mode, initial_bytes, ref file, .. } = *installed;
        let file = rustix::io::fcntl_dupfd_cloexec(file, 0)?;
        self.connection.send(packet(&ToWorker::Load { module, mode, initial_bytes }, Some(file))?)?;
        state.modules.insert(module, now);
        Ok(())
    }

    fn cancel(&self, run: u64) {
        self.give_up(run, drop);
    }

    /// Gives a run up because of something in this process.
    fn fail(&self, run: u64) {
        self.give_up(run, |answer| {
            let _ = answer.send(Err(Lost::Internal("the run panicked".into())));
        });
    }

    /// Stops a run that nobody needs any more, but for the `last` that whoever waits is told.
    fn give_up(&self, run: u64, last: impl FnOnce(oneshot::Sender<Result<Completion, Lost>>)) {
        let mut state = self.state();
        let Some(in_flight) = state.runs.get_mut(&run) else { return };
        if let Some(answer) = in_flight.answer.take() {
            last(answer);
        }
        in_flight.canceled = Some(Instant::now());
        in_flight.stop_call();
        // If it cannot be sent, the worker is gone, or ends for not stopping the run.
        let _ = packet(&ToWorker::Cancel { run }, None).and_then(|packet| self.connection.send(packet));
    }

    fn ended(&self, run: u64, ending: Result<Completion, String>) -> Result<(), Fault> {
        let in_flight = self.state().runs.remove(&run).ok_or(Fault::NoSuchRun(run))?;
        let checked = match ending {
            Ok(completion) => answer::checked(completion, &in_flight.asked).map(Ok),
            Err(reason) => Ok(Err(Lost::Internal(answer::shown(&reason)))),
        };
        match checked {
            Ok(result) => {
                in_flight.ends(result);
                Ok(())
            }
            Err(lie) => {
                // It is one of those that the worker had at its end.
                self.state().runs.insert(run, in_flight);
                Err(lie.into())
            }
        }
    }

    fn called(
        self: &Arc<Self>,
        run: u64,
        call: u32,
        wanted: HostCall,
        time_left: Duration,
    ) -> Result<(), Fault> {
        let mut state = self.state();
        let in_flight = state.runs.get_mut(&run).ok_or(Fault::NoSuchRun(run))?;
        if in_flight.call.is_some() {
            return Err(Lie::TwoCalls.into());
        }
        let wanted = in_flight.asked.calls(wanted)?;
        if in_flight.canceled.is_some() {
            // It was said before the worker knew.
            return Ok(());
        }
        let time_left = time_left.min(in_flight.asked.limits.duration);
        let (link, door, future) = (Arc::clone(self), Arc::clone(&in_flight.door), Slot::default());
        let slot = Arc::clone(&future);
        let task = tokio::spawn(async move {
            match unless_it_panics(move || door.call(wanted, time_left), slot).await {
                Some(reply) => link.reply(run, call, reply),
                None => link.fail(run),
            }
        });
        in_flight.call = Some(Call { number: call, task: task.abort_handle(), future });
        Ok(())
    }

    fn reply(&self, run: u64, call: u32, reply: Result<HostReply, Denied>) {
        let mut state = self.state();
        let Some(in_flight) = state.runs.get_mut(&run) else { return };
        if in_flight.call.as_ref().is_none_or(|under_way| under_way.number != call) {
            return;
        }
        in_flight.call = None;
        let mut reply = reply;
        if let Ok(brought) = &reply {
            in_flight.asked.receives(brought.bytes());
            if brought.bytes() > MAX_TO_PROCESS / 2 {
                reply = Err(Denied("it is too long".into()));
            }
        }
        let message = ToWorker::Reply { run, call, reply };
        if let Err(error) = packet(&message, None).and_then(|packet| self.connection.send(packet)) {
            // The guest waits until its time is over.
            tracing::warn!(%error, "the answer to a host call could not be sent");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps and options are sound after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_sent(error: Errno) -> Lost {
    match error {
        Errno::PIPE | Errno::CONNRESET => Lost::Worker,
        error => Lost::Internal(format!("a run could not be sent to its worker: {error}")),
    }
}

/// A run that somebody waits for. Dropping it cancels the run.
pub(super) struct Waiting {
    link: Arc<Link>,
    run: u64,
    answered: oneshot::Receiver<Result<Completion, Lost>>,
    is_over: bool,
}

impl Waiting {
    pub(super) async fn result(mut self) -> Result<Completion, Lost> {
        let result = (&mut self.answered).await;
        self.is_over = true;
        result.unwrap_or(Err(Lost::Worker))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.cancel(self.run);
        }
    }
}

#[cfg(test)]
mod tests;
