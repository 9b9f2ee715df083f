//! Timers for guests that wait: on a thread of their own, since guests' threads have no async
//! runtime that could wake them.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Instant;

/// A handle to the thread, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Alarms(Arc<Handle>);

struct Handle(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// By time, and by a number that tells apart those of the same time.
    wakers: BTreeMap<(Instant, u64), Waker>,
    next_number: u64,
    closed: bool,
}

impl Alarms {
    pub(super) fn start() -> io::Result<Alarms> {
        let shared = Arc::new(Shared::default());
        let alarms = Alarms(Arc::new(Handle(Arc::clone(&shared))));
        thread::Builder::new().name("alarms".into()).spawn(move || shared.ring())?;
        Ok(alarms)
    }

    /// Ends at `when`, or at once if that has passed.
    pub(super) fn at(&self, when: Instant) -> Alarm {
        Alarm { alarms: self.clone(), when, number: None }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.changed.notify_one();
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // The map is sound after every statement.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        let mut waiting = self.waiting();
        while !waiting.closed {
            let Some((&(when, number), _)) = waiting.wakers.first_key_value() else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if when > now {
                let woken = self.changed.wait_timeout(waiting, when - now);
                waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            let waker = waiting.wakers.remove(&(when, number));
            // A waker takes the executor's lock.
            drop(waiting);
            waker.into_iter().for_each(Waker::wake);
            waiting = self.waiting();
        }
    }
}

/// A moment that is waited for.
pub(super) struct Alarm {
    alarms: Alarms,
    when: Instant,
    number: Option<u64>,
}

impl Future for Alarm {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.when {
            return Poll::Ready(());
        }
        let shared = Arc::clone(&self.alarms.0.0);
        let mut waiting = shared.waiting();
        let number = *self.number.get_or_insert_with(|| {
            waiting.next_number += 1;
            waiting.next_number
        });
        waiting.wakers.insert((self.when, number), cx.waker().clone());
        let is_first = waiting.wakers.first_key_value().is_some_and(|(key, _)| *key == (self.when, number));
        drop(waiting);
        if is_first {
            shared.changed.notify_one();
        }
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let dropped = self.alarms.0.0.waiting().wakers.remove(&(self.when, number));
            drop(dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::task::Wake;
    use std::time::Duration;

    use super::*;

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            let _ = self.0.send(());
        }
    }

    fn poll(alarm: &mut Alarm, waker: &Waker) -> Poll<()> {
        Pin::new(alarm).poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn alarms_ring_in_the_order_of_their_times() {
        let alarms = Alarms::start().unwrap();
        let start = Instant::now();
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        let mut late = alarms.at(start + Duration::from_millis(40));
        let mut soon = alarms.at(start + Duration::from_millis(10));
        assert!(poll(&mut late, &waker).is_pending());
        assert!(poll(&mut soon, &waker).is_pending());
        told.recv().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(10));
        assert!(poll(&mut soon, &waker).is_ready());
        told.recv().unwrap();
        assert!(start.elapsed() >= Duration::from_millis(40));
        assert!(poll(&mut late, &waker).is_ready());
    }

    #[test]
    fn an_alarm_that_is_dropped_does_not_ring() {
        let alarms = Alarms::start().unwrap();
        let (tell, told) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(tell)));
        let mut alarm = alarms.at(Instant::now() + Duration::from_secs(3_600));
        assert!(poll(&mut alarm, &waker).is_pending());
        drop(alarm);
        assert!(alarms.0.0.waiting().wakers.is_empty());
        drop(waker);
        assert_eq!(told.try_recv(), Err(mpsc::TryRecvError::Disconnected));
    }

    #[test]
    fn a_time_that_has_passed_does_not_wait() {
        let alarms = Alarms::start().unwrap();
        assert!(poll(&mut alarms.at(Instant::now()), Waker::noop()).is_ready());
    }
}
