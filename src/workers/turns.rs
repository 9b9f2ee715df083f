//! Authors' turns at the compiler: one module of each at a time.
//!
//! A module may take all the time that a compiler has. So an author's next one waits for it, and the
//! compilers that there are stay free for others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who has a turn, and who waits for one.
#[derive(Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<Arc<str>, Line>>>);

/// An author's modules, in the order of their arrival.
struct Line {
    turn: Arc<Semaphore>,
    /// Those that wait and the one whose turn it is.
    length: usize,
}

/// An author's turn, until it is dropped.
pub(super) struct Turn {
    _place: Place,
    _turn: OwnedSemaphorePermit,
}

/// A place in an author's line; the line is gone with the last.
struct Place {
    author: Arc<str>,
    lines: Arc<Mutex<HashMap<Arc<str>, Line>>>,
}

impl Turns {
    /// Waits until it is this author's next module's turn. `None` never happens.
    pub(super) async fn take(&self, author: &Arc<str>) -> Option<Turn> {
        let turn = {
            let mut lines = lock(&self.0);
            let new = || Line { turn: Arc::new(Semaphore::new(1)), length: 0 };
            let line = lines.entry(Arc::clone(author)).or_insert_with(new);
            line.length += 1;
            Arc::clone(&line.turn)
        };
        let place = Place { author: Arc::clone(author), lines: Arc::clone(&self.0) };
        // It is never closed.
        let turn = turn.acquire_owned().await.ok()?;
        Some(Turn { _place: place, _turn: turn })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get_mut(&self.author) {
            line.length -= 1;
            if line.length == 0 {
                lines.remove(&self.author);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The counts are right after every statement.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_author_has_one_turn_at_a_time_and_others_have_theirs() {
        let (turns, a, b) = (Turns::default(), "a".into(), "b".into());
        let (mut first, mut second, mut third) =
            (pin!(turns.take(&a)), pin!(turns.take(&a)), pin!(turns.take(&a)));
        let Poll::Ready(Some(turn)) = poll(first.as_mut()) else { panic!("the first waits") };
        assert!(poll(second.as_mut()).is_pending());
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(pin!(turns.take(&b))).is_ready());
        drop(turn);
        // In the order of their arrival.
        assert!(poll(third.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_ready());
        assert!(poll(third.as_mut()).is_ready());
    }

    #[test]
    fn nothing_is_kept_of_authors_who_wait_for_nothing() {
        let (turns, a) = (Turns::default(), "a".into());
        let Poll::Ready(turn) = poll(pin!(turns.take(&a))) else { panic!("the first waits") };
        {
            let mut given_up = pin!(turns.take(&a));
            assert!(poll(given_up.as_mut()).is_pending());
        }
        assert_eq!(lock(&turns.0).len(), 1);
        drop(turn);
        assert_eq!(lock(&turns.0).len(), 0);
    }
}
