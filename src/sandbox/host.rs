//! A guest's side of the door: counts what it asks for, and waits no longer than the run may last.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::alarm::Alarms;
use super::guest::{Control, Stop, memory_exceeded};
use super::ticker::TICK;
use super::{Context, Denied, Door, Failure, HostCall, HostReply, Limits, LogLevel, Logs, Outcome};

/// What a guest has of its host, whatever its mode.
pub(super) struct Host {
    door: Arc<dyn Door>,
    context: Arc<Context>,
    control: Arc<Control>,
    alarms: Alarms,
    tally: Arc<Tally>,
    logs: Logs,
}

/// The longest texts of one call, all together. An at-uri has up to 8 KiB; a cursor is whatever the other
/// host made it.
pub(super) const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// What has been asked for so far.
struct Tally {
    calls: AtomicU32,
    bytes: AtomicU64,
    limits: Limits,
}

impl Host {
    pub(super) fn new(
        door: Arc<dyn Door>,
        context: Arc<Context>,
        limits: &Limits,
        control: Arc<Control>,
        alarms: Alarms,
    ) -> Host {
        let tally = Tally { calls: AtomicU32::new(0), bytes: AtomicU64::new(0), limits: *limits };
        Host { door, context, control, alarms, tally: Arc::new(tally), logs: Logs::default() }
    }

    /// Asks the door. What the door refuses is for the guest to know; an error ends the run, and host
    /// functions hand it on.
    ///
    /// Texts that are too long never reach it: it would read them in nobody's time.
    ///
    /// The future borrows nothing, so that a host function need not hold on to its store while it
    /// waits.
    pub(super) fn call(
        &self,
        call: HostCall,
    ) -> impl Future<Output = wasmtime::Result<Result<HostReply, Denied>>> + Send + use<> {
        let tally = Arc::clone(&self.tally);
        let length = call.bytes();
        let too_long = length > MAX_REQUEST_BYTES;
        let begun = (!too_long).then(|| {
            tally.count_call().map(|()| self.within_the_run(self.door.call(call, self.time_left())))
        });
        async move {
            let Some(begun) = begun else {
                return Ok(Err(Denied(format!(
                    "the request has {length} bytes; at most {MAX_REQUEST_BYTES} are allowed"
                ))));
            };
            let answer = begun?.await?;
            if let Ok(reply) = &answer {
                tally.count_bytes(reply.bytes())?;
            }
            Ok(answer)
        }
    }

    /// Does nothing for a while, at most until the run's end.
    ///
    /// Not for less than a tick: a guest that takes one short nap after the other would keep the threads
    /// busy that wake it, on nobody's account.
    pub(super) fn sleep(&self, time: Duration) -> impl Future<Output = wasmtime::Result<()>> + Send + use<> {
        // At most longer than any run, and no overflow.
        let time = time.clamp(TICK, Duration::from_secs(3_600));
        self.within_the_run(self.alarms.at(Instant::now() + time))
    }

    /// Adds a line to the run's log.
    pub(super) fn log(&mut self, level: LogLevel, message: &str) {
        self.logs.add(level, message);
    }

    /// What the run is.
    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    /// What is left of the run's time; to be called in a turn of the guest.
    pub(super) fn time_left(&self) -> Duration {
        self.control.time_left()
    }

    /// Host calls so far.
    pub(super) fn calls(&self) -> u32 {
        self.tally.calls.load(Ordering::Relaxed)
    }

    /// The lines so far, which the run then no longer has.
    pub(super) fn take_logs(&mut self) -> Logs {
        std::mem::take(&mut self.logs)
    }

    /// Waits for `future`, but no longer than the run may last.
    fn within_the_run<F: Future + Send>(
        &self,
        future: F,
    ) -> impl Future<Output = wasmtime::Result<F::Output>> + Send + use<F> {
        let (control, alarms) = (Arc::clone(&self.control), self.alarms.clone());
        async move {
            let mut future = pin!(future);
            let mut end = pin!(alarms.at(Instant::now() + control.time_left()));
            std::future::poll_fn(move |cx| {
                if let Some(failure) = control.stop() {
                    return Poll::Ready(Err(Stop(failure).into()));
                }
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                // The stopwatch leaves out some of what the clock on the wall counts, so the end may
                // be a little later than it looked.
                while end.as_mut().poll(cx).is_ready() {
                    if let Some(failure) = control.stop() {
                        return Poll::Ready(Err(Stop(failure).into()));
                    }
                    end.set(alarms.at(Instant::now() + control.time_left()));
                }
                Poll::Pending
            })
            .await
        }
    }
}

impl Tally {
    fn count_call(&self) -> Result<(), Stop> {
        // One guest makes one call at a time.
        if self.calls.load(Ordering::Relaxed) >= self.limits.host_calls {
            let message = format!("the function made more than {} host calls", self.limits.host_calls);
            return Err(Stop(Failure::new(Outcome::HostCallLimit, message)));
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn count_bytes(&self, bytes: u64) -> Result<(), Stop> {
        // It can have no place, and the host would hold it for as long as the guest looks for one.
        if bytes > self.limits.memory_bytes {
            return Err(Stop(memory_exceeded(&self.limits, &format!("a host call brought {bytes} bytes"))));
        }
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limits.host_bytes {
            let mib = self.limits.host_bytes >> 20;
            let message = format!("the function's host calls brought in more than {mib} MiB");
            return Err(Stop(Failure::new(Outcome::HostCallLimit, message)));
        }
        Ok(())
    }
}
