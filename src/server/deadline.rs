//! The time by which a call is answered.

use std::time::{Duration, Instant};

/// From a call's head to its answer. A PDS gives up on its upstream after 10 s
/// (`PDS_PROXY_HEADERS_TIMEOUT`), and then its client learns nothing of what happened here.
const BUDGET: Duration = Duration::from_secs(9);
/// How much of it a body may take to arrive.
const BODY: Duration = Duration::from_secs(5);

/// The moment by which one call is answered, whatever happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    started: Instant,
}

impl Deadline {
    /// The deadline of a call whose head has just been read.
    pub(super) fn start() -> Deadline {
        Deadline { started: Instant::now() }
    }

    /// When the answer must be on its way.
    pub(super) fn answer_by(self) -> Instant {
        self.started + BUDGET
    }

    /// When the body must be here.
    pub(super) fn body_by(self) -> Instant {
        self.started + BODY
    }

    /// Time since the call's head was read.
    pub(super) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    /// The value of `stage`, or `late` when the time for an answer runs out first.
    pub(super) async fn bound<T, E>(
        self,
        stage: impl Future<Output = Result<T, E>>,
        late: impl FnOnce() -> super::XrpcError,
    ) -> Result<T, super::XrpcError>
    where
        super::XrpcError: From<E>,
    {
        match tokio::time::timeout_at(self.answer_by().into(), stage).await {
            Ok(result) => result.map_err(Into::into),
            Err(_) => Err(late()),
        }
    }
}
