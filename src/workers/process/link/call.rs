//! A host call of a run, done in the service beside what its worker does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tokio::task::AbortHandle;

use super::lock;
use crate::sandbox::{BoxFuture, Denied, HostReply};

pub(super) type Reply = Result<HostReply, Denied>;

/// A host call under way.
pub(super) struct Call {
    pub(super) number: u32,
    pub(super) task: AbortHandle,
    pub(super) future: Slot,
}

/// Where its future is, so that it can be dropped at once and not only when its task is looked at.
pub(super) type Slot = Arc<Mutex<Option<BoxFuture<'static, Reply>>>>;

impl Call {
    pub(super) fn stop(self) {
        self.task.abort();
        let stopped = lock(&self.future).take();
        drop(stopped);
    }
}

/// What the future gives that `start` makes; `None` if either of them panics, which the log has then.
/// The future is in `slot`; taken out of there, it gives nothing any more.
pub(super) async fn unless_it_panics(
    start: impl FnOnce() -> BoxFuture<'static, Reply> + Send,
    slot: Slot,
) -> Option<Reply> {
    let mut start = Some(start);
    std::future::poll_fn(move |cx| {
        let mut slot = lock(&slot);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            if let Some(start) = start.take() {
                *slot = Some(start());
            }
            slot.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(cx))
        }));
        match polled {
            Ok(polled) => polled.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}
