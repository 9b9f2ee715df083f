//! Spans of calls, for a collector that speaks OTLP over HTTP (feature `otlp`).
//!
//! In: calls that are over, with the trace that their senders said they are part of. Out: requests to one collector,
//! from one task. Never: make a call wait, keep more than fits into the queue, or tell what the call's log line does
//! not: no token, input or output.
//!
//! Own code, since it is one message that is only written (`wire`, `span`), and the OpenTelemetry SDK's own queue
//! neither tells what it dropped nor leaves the way to the network to us.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/#otlphttp>.

mod collector;
mod span;
#[cfg(test)]
mod tests;
mod wire;

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics::counter;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use url::Url;

use crate::audit::CallRecord;
use crate::clock::Clock;

use collector::{Collector, Refusal};
use span::Traced;

pub use span::Parent;

use super::TRACED_CALLS;

/// Calls that wait for the collector, at a kilobyte or so each.
const QUEUE: usize = 2048;
/// The most calls that one request takes along.
const MAX_BATCH: usize = 256;
/// How long a request waits for more calls to take along.
const LINGER: Duration = Duration::from_secs(1);
/// How often a request that may help later is sent, and how long after another.
const ATTEMPTS: u32 = 3;
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long a stop waits for what is in the queue.
const DRAIN: Duration = Duration::from_secs(3);

/// That of this process, like its recorder of metrics.
static EXPORTER: OnceLock<Exporter> = OnceLock::new();

/// Starts sending spans to the collector at this URL. The error is about the client.
pub fn start(endpoint: &Url, clock: Clock) -> Result<(), reqwest::Error> {
    let exporter = Exporter::start(endpoint, clock)?;
    // A second start in one process keeps the first one's collector.
    let _ = EXPORTER.set(exporter);
    Ok(())
}

/// Tells of a call that is over. Without a collector, and where the sender of the trace did not have it sampled,
/// this does nothing.
pub fn tell(call: &CallRecord, request: &str, parent: Option<Parent>, took: Duration) {
    if let Some(exporter) = EXPORTER.get() {
        exporter.tell(call, request, parent, took);
    }
}

/// Sends what waits, as far as the collector takes it in a few seconds.
pub async fn drain() {
    if let Some(exporter) = EXPORTER.get() {
        exporter.drain().await;
    }
}

/// The queue, and who works on it.
struct Exporter {
    queue: mpsc::Sender<Traced>,
    stop: watch::Sender<bool>,
    worker: Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
}

impl Exporter {
    fn start(endpoint: &Url, clock: Clock) -> Result<Exporter, reqwest::Error> {
        let collector = Collector::at(endpoint)?;
        let (queue, calls) = mpsc::channel(QUEUE);
        let (stop, stopped) = watch::channel(false);
        let worker = Worker { calls, stopped, collector, in_trouble: false };
        let worker = Mutex::new(Some(tokio::spawn(worker.work())));
        Ok(Exporter { queue, stop, worker, clock })
    }

    fn tell(&self, call: &CallRecord, request: &str, parent: Option<Parent>, took: Duration) {
        if parent.as_ref().is_some_and(|parent| !parent.sampled) {
            return;
        }
        match self.queue.try_reserve() {
            Ok(place) => place.send(Traced::of(call, request, parent, self.clock.since_epoch(), took)),
            Err(_) => count("dropped", 1),
        }
    }

    async fn drain(&self) {
        self.stop.send_replace(true);
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut worker) = worker else { return };
        if tokio::time::timeout(DRAIN, &mut worker).await.is_err() {
            worker.abort();
            tracing::warn!("the OTLP collector did not take the last spans in time");
        }
    }
}

/// The task that sends.
struct Worker {
    calls: mpsc::Receiver<Traced>,
    stopped: watch::Receiver<bool>,
    collector: Collector,
    /// Whether the last request failed.
    in_trouble: bool,
}

impl Worker {
    /// Sends until the queue is closed and empty.
    async fn work(mut self) {
        while let Some(batch) = self.next_batch().await {
            let ended = if self.send(&batch).await { "exported" } else { "failed" };
            count(ended, batch.len());
        }
    }

    /// The calls of one request.
    async fn next_batch(&mut self) -> Option<Vec<Traced>> {
        let mut batch = vec![self.next().await?];
        let linger = tokio::time::sleep(LINGER);
        tokio::pin!(linger);
        while batch.len() < MAX_BATCH {
            tokio::select! {
                next = self.next() => match next {
                    Some(call) => batch.push(call),
                    None => break,
                },
                () = &mut linger => break,
            }
        }
        Some(batch)
    }

    /// The next call in the queue. Once the service stops, nothing more comes in.
    async fn next(&mut self) -> Option<Traced> {
        tokio::select! {
            biased;
            call = self.calls.recv() => return call,
            () = is_true(&mut self.stopped) => self.calls.close(),
        }
        self.calls.recv().await
    }

    /// Whether the collector took them.
    async fn send(&mut self, batch: &[Traced]) -> bool {
        let body = span::request(batch);
        let mut attempts = 0;
        let refusal = loop {
            attempts += 1;
            match self.collector.take(body.clone()).await {
                Ok(()) => {
                    if std::mem::take(&mut self.in_trouble) {
                        tracing::info!("the OTLP collector takes spans again");
                    }
                    return true;
                }
                Err(Refusal { may_pass: true, .. }) if attempts < ATTEMPTS && !*self.stopped.borrow() => {
                    // A stop ends the wait.
                    let _ = tokio::time::timeout(RETRY_AFTER, is_true(&mut self.stopped)).await;
                }
                Err(refusal) => break refusal,
            }
        };
        if !std::mem::replace(&mut self.in_trouble, true) {
            tracing::warn!(why = refusal.why, "the OTLP collector does not take spans; they are dropped");
        }
        false
    }
}

async fn is_true(flag: &mut watch::Receiver<bool>) {
    // Whoever could set it is gone: nothing more will come in.
    let _ = flag.wait_for(|is_set| *is_set).await;
}

fn count(ended: &'static str, calls: usize) {
    counter!(TRACED_CALLS, "ended" => ended).increment(calls as u64);
}
