//! Calls that their callers name with an idempotency key: each runs once, and sending it again brings
//! the answer that it had.
//!
//! In: a caller's name for a call, what is called on what, and how to run it. Out: the answer of the one
//! run, also to those who come while it goes on (`flights`), and for 24 h after it, by another process
//! too (`store`). Never: give an answer that is to be kept before it is on disk, give one caller's answer
//! to another, run what nobody waits for, or decide who may call: callers are judged anew each time
//! before they get here.
//!
//! What is kept is written by one thread (`writer`), which commits all that waits for it at once: a disk
//! that takes 10 ms for a commit does not bound how many calls end in that time. What is kept for whom,
//! and what is dropped when there is too much, is `ledger`'s; `disk` knows the file.

mod disk;
mod flights;
mod key;
mod ledger;
mod store;
#[cfg(test)]
mod tests;
mod writer;

use std::time::Instant;

use bytes::Bytes;
use tokio::time::timeout_at;

use crate::sandbox::Outcome;

pub use key::{Call, IdempotencyKey, InvalidKey, MAX_KEY_CHARS};
pub use ledger::{KEPT_FOR, Limits};
pub use store::{Stats, Store};

use flights::{Flights, Role};
use store::Found;

/// What a run came to, as its caller gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How the run ended.
    pub outcome: Outcome,
    /// The body, byte for byte.
    pub body: Bytes,
}

/// An answer, and whether its run was somebody else's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The answer.
    pub answer: Answer,
    /// How it came about.
    pub from: Source,
}

/// How an answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The function ran for this call.
    Run,
    /// It ran for another call of the same name, under way at the same time.
    Shared,
    /// It ran before.
    Kept,
}

impl Source {
    /// The source as metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Run => "run",
            Source::Shared => "shared",
            Source::Kept => "kept",
        }
    }
}

/// Why a call with a key has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotGiven {
    /// Answers cannot be kept or read. The function has not run.
    #[error(
        "answers cannot be kept now, so calls with an idempotency key do not run; retry in {} s, or without the key",
        RETRY_AFTER_SECONDS
    )]
    Closed,
    /// The run panicked.
    #[error("the run was lost; retry in {} s", RETRY_AFTER_SECONDS)]
    Lost,
    /// The caller used the key for something else.
    #[error("this idempotency key was used with another function or input; use one key for one call")]
    Reused,
    /// The time for an answer is over, and the call that came first is still under way.
    #[error(
        "a call with this idempotency key is still under way; retry in {} s with the same key",
        RETRY_AFTER_SECONDS
    )]
    UnderWay,
    /// The function ran, and its answer could not be kept. It was given to nobody.
    #[error(
        "the function ran, but its answer could not be kept; retry in {} s with the same key, and it runs again",
        RETRY_AFTER_SECONDS
    )]
    Unkept,
}

/// When it is worth coming back after any of these.
pub const RETRY_AFTER_SECONDS: u64 = 5;

/// Whether the answer of a run that ended so is kept: those that the same call would have again. The
/// others depend on the machine and the moment, so that whoever sends the call again wants it run again.
pub fn is_kept(outcome: Outcome) -> bool {
    match outcome {
        Outcome::GuestError
        | Outcome::MemoryExceeded
        | Outcome::Ok
        | Outcome::OutputInvalid
        | Outcome::OutputTooLarge
        | Outcome::Trap => true,
        Outcome::Canceled | Outcome::HostCallLimit | Outcome::Timeout => false,
    }
}

/// Runs named calls once. `E` is what a run that has no answer comes to.
pub struct Idempotency<E> {
    flights: Flights<Result<Given, E>>,
    store: Store,
}

impl<E> Idempotency<E>
where
    E: Clone + From<NotGiven> + Send + Sync + 'static,
{
    /// Keeps answers in `store`.
    pub fn new(store: Store) -> Idempotency<E> {
        Idempotency { flights: Flights::default(), store }
    }

    /// The answer to this call, by `answer_by`. `run` is called if there is none and none is under way.
    ///
    /// Dropping the future ends the run if nobody else waits for it.
    pub async fn answer<F>(
        &self,
        call: &Call,
        answer_by: Instant,
        run: impl FnOnce() -> F + Send + 'static,
    ) -> Result<Given, E>
    where
        F: Future<Output = Result<Answer, E>> + Send + 'static,
    {
        let (flight, role) = self.flights.join(call, || {
            let found = self.store.find(call)?;
            Ok(work(self.store.clone(), call.clone(), found, answer_by, run))
        })?;
        let landed = timeout_at(answer_by.into(), flight.landed()).await.map_err(|_| NotGiven::UnderWay)?;
        let given = landed.ok_or(NotGiven::Lost)??;
        Ok(match (role, given.from) {
            (Role::Joined, Source::Run) => Given { from: Source::Shared, ..given },
            _ => given,
        })
    }

    /// Why answers cannot be kept at this moment, if they cannot.
    pub fn trouble(&self) -> Option<String> {
        self.store.trouble()
    }

    /// What is kept at this moment.
    pub fn stats(&self) -> Stats {
        self.store.stats()
    }
}

/// Looks the answer up, or runs the call and keeps what it came to.
async fn work<E, F>(
    store: Store,
    call: Call,
    found: Found,
    by: Instant,
    run: impl FnOnce() -> F,
) -> Result<Given, E>
where
    E: From<NotGiven>,
    F: Future<Output = Result<Answer, E>>,
{
    if found == Found::Answer {
        let read = timeout_at(by.into(), store.read(&call)).await;
        if let Some(answer) = read.map_err(|_| NotGiven::Closed)?? {
            return Ok(Given { answer, from: Source::Kept });
        }
        // It was dropped in between.
    }
    let answer = run().await?;
    if is_kept(answer.outcome) && store.holds(&answer) {
        let kept = timeout_at(by.into(), store.keep(&call, answer.clone())).await;
        kept.map_err(|_| NotGiven::Unkept)??;
    }
    Ok(Given { answer, from: Source::Run })
}
