//! The time by which a call is answered.

use std::time::{Duration, Instant};

/// From a call's head to its answer. A PDS gives up on its upstream after 10 s
/// (`PDS_PROXY_HEADERS_TIMEOUT`), and then its client learns nothing of what happened here.
const BUDGET: Duration = Duration::from_secs(9);
/// How much of it a body may take to arrive, from when it is asked for.
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

    /// The deadline of a call whose time has run out.
    #[cfg(test)]
    pub(super) fn past() -> Deadline {
        Deadline { started: Instant::now() - BUDGET }
    }

    /// When the answer must be on its way.
    pub(super) fn answer_by(self) -> Instant {
        self.started + BUDGET
    }

    /// When a body that is asked for now must be here. Its time does not count from the head: the
    /// issuer of the token may have been slow, and a client may wait for `100 Continue`.
    pub(super) fn body_by(self) -> Instant {
        self.within(BODY)
    }

    /// The end of `time` from now, or of the time for an answer if that is earlier.
    pub(super) fn within(self, time: Duration) -> Instant {
        (Instant::now() + time).min(self.answer_by())
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
