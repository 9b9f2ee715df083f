//! Work that is let end once it has begun: a refresh token is good for one use, so what comes of that use must be kept,
//! though the command that wanted it is interrupted, or waits for it no more.
//!
//! In: work that has an end of its own, by its budgets. Out: what comes of it, to whoever still waits. Never: work that may
//! wait for a person.

use tokio::sync::watch;

use super::error::CliError;

/// The work that goes on, of all who have a copy of this.
#[derive(Clone, Default)]
pub(super) struct Unbroken(watch::Sender<usize>);

impl Unbroken {
    /// Does the work, which goes on though nobody waits for it any more.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CliError>> + Send + 'static,
    ) -> Result<T, CliError> {
        let begun = Begun::one_of(&self.0);
        let working = tokio::spawn(async move {
            let _begun = begun;
            work.await
        });
        working.await.unwrap_or_else(|error| Err(CliError::Runtime(std::io::Error::other(error))))
    }

    /// Waits until all of it has ended.
    pub(super) async fn ended(&self) {
        // The sender is here, so there is no other way for this to end.
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }
}

/// Counts one piece of work for as long as it is there.
struct Begun(watch::Sender<usize>);

impl Begun {
    fn one_of(all: &watch::Sender<usize>) -> Begun {
        all.send_modify(|running| *running += 1);
        Begun(all.clone())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_is_let_end() {
        let unbroken = Unbroken::default();
        unbroken.ended().await;
        let (release, released) = oneshot::channel::<()>();
        let (done, mut is_done) = oneshot::channel();
        {
            let mut working = std::pin::pin!(unbroken.run(async move {
                let _ = released.await;
                let _ = done.send("kept");
                Ok(())
            }));
            assert!(futures_util::poll!(&mut working).is_pending());
        }
        let mut ended = std::pin::pin!(unbroken.ended());
        assert!(futures_util::poll!(&mut ended).is_pending());
        release.send(()).unwrap();
        ended.await;
        assert_eq!(is_done.try_recv(), Ok("kept"));
    }
}
