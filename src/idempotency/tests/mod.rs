//! Calls by name over stores of this test's own.

mod files;
mod full;
mod runs;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::clock::Clock;
use crate::identity::Did;

/// What a run may come to in these tests.
#[derive(Clone, Debug, PartialEq, Eq)]
enum NoAnswer {
    Refused,
    NotGiven(NotGiven),
}

impl From<NotGiven> for NoAnswer {
    fn from(error: NotGiven) -> NoAnswer {
        NoAnswer::NotGiven(error)
    }
}

/// More than anything takes that comes at all.
const LONG: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { bytes: 1 << 20, bytes_per_caller: 1 << 20 };

/// Calls, and how often what they name ran.
#[derive(Clone)]
struct Calls {
    idempotency: Arc<Idempotency<NoAnswer>>,
    runs: Arc<AtomicUsize>,
    gone: Arc<AtomicUsize>,
    /// While it is set, runs wait for `ready`.
    waits: Arc<AtomicBool>,
    ready: Arc<Notify>,
}

impl Calls {
    fn over(store: Store) -> Calls {
        Calls {
            idempotency: Arc::new(Idempotency::new(store)),
            runs: Arc::default(),
            gone: Arc::default(),
            waits: Arc::default(),
            ready: Arc::default(),
        }
    }

    fn in_directory(path: &std::path::Path) -> Calls {
        Calls::over(Store::open(path, LIMITS, Clock::system()).unwrap())
    }

    async fn call(&self, key: &str, input: &str) -> Result<Given, NoAnswer> {
        self.run(named(key, input), Ok(Outcome::Ok)).await
    }

    /// Runs to this outcome, with the number of the run as its body.
    async fn run(&self, call: Call, outcome: Result<Outcome, NoAnswer>) -> Result<Given, NoAnswer> {
        struct Gone(Arc<AtomicUsize>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let this = self.clone();
        let run = move || async move {
            let number = this.runs.fetch_add(1, Ordering::SeqCst) + 1;
            let _gone = Gone(Arc::clone(&this.gone));
            if this.waits.load(Ordering::SeqCst) {
                this.ready.notified().await;
            }
            outcome.map(|outcome| answer(outcome, &format!("run {number}")))
        };
        self.idempotency.answer(&call, Instant::now() + LONG, run).await
    }

    fn spawn(&self, key: &str) -> JoinHandle<Result<Given, NoAnswer>> {
        let (this, key) = (self.clone(), key.to_owned());
        tokio::spawn(async move { this.call(&key, "1").await })
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

fn answer(outcome: Outcome, body: &str) -> Answer {
    Answer { outcome, body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn given(body: &str, from: Source) -> Result<Given, NoAnswer> {
    Ok(Given { answer: answer(Outcome::Ok, body), from })
}

fn not_given(reason: NotGiven) -> Result<Given, NoAnswer> {
    Err(NoAnswer::NotGiven(reason))
}

fn named_by(caller: &str, key: &str, input: &str) -> Call {
    let caller = Did::parse(&format!("did:web:{caller}.com")).unwrap();
    let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
    Call::new(&caller, &crate::repo::record_cid(b"a record"), &key, "at://f", input.as_bytes())
}

fn named(key: &str, input: &str) -> Call {
    named_by("a", key, input)
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap();
}
