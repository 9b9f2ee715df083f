//! A bell that rings again and again from when it is set until it is cleared.
//!
//! On Linux the kernel keeps it: to set and to clear it is a system call each, and wakes nobody. Elsewhere whoever waits
//! for it is woken.

use std::io;
use std::time::Duration;

#[cfg(target_os = "linux")]
pub(super) use self::kept_by_the_kernel::Bell;
#[cfg(not(target_os = "linux"))]
pub(super) use self::kept_here::Bell;

#[cfg(target_os = "linux")]
mod kept_by_the_kernel {
    use std::os::fd::OwnedFd;

    use rustix::io::Errno;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };

    use super::{Duration, io};

    pub(in super::super) struct Bell {
        timer: OwnedFd,
    }

    impl Bell {
        /// Also sees to it that this process may set one.
        pub(in super::super) fn new() -> io::Result<Bell> {
            let bell = Bell { timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)? };
            bell.ring_every(Duration::ZERO)?;
            Ok(bell)
        }

        pub(in super::super) fn set(&self, every: Duration) {
            // It was possible when it was made.
            let _ = self.ring_every(every);
        }

        /// What has not been heard by now is not heard any more.
        pub(in super::super) fn clear(&self) {
            let _ = self.ring_every(Duration::ZERO);
        }

        fn ring_every(&self, period: Duration) -> io::Result<()> {
            let seconds = period.as_secs().try_into().unwrap_or(i64::MAX);
            let period = Timespec { tv_sec: seconds, tv_nsec: period.subsec_nanos().into() };
            let times = Itimerspec { it_interval: period, it_value: period };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
            Ok(())
        }

        /// Waits until it rings; `false` if it never will.
        pub(in super::super) fn wait(&self) -> bool {
            loop {
                // How often it rang. Sealed processes may read this and no other length.
                match rustix::io::read(&self.timer, &mut [0; 8]) {
                    Ok(_) => return true,
                    Err(Errno::INTR) => {}
                    Err(_) => return false,
                }
            }
        }
    }
}

#[cfg(any(test, not(target_os = "linux")))]
mod kept_here {
    use std::sync::{Condvar, Mutex, PoisonError};
    use std::time::Instant;

    use super::{Duration, io};

    #[derive(Default)]
    pub(in super::super) struct Bell {
        /// When it rings next, and how long after that again.
        next: Mutex<Option<(Instant, Duration)>>,
        changed: Condvar,
    }

    impl Bell {
        pub(in super::super) fn new() -> io::Result<Bell> {
            Ok(Bell::default())
        }

        pub(in super::super) fn set(&self, every: Duration) {
            self.change(Some((Instant::now() + every, every)));
        }

        pub(in super::super) fn clear(&self) {
            self.change(None);
        }

        fn change(&self, next: Option<(Instant, Duration)>) {
            *self.next.lock().unwrap_or_else(PoisonError::into_inner) = next;
            self.changed.notify_all();
        }

        pub(in super::super) fn wait(&self) -> bool {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                next = match *next {
                    None => self.changed.wait(next).unwrap_or_else(PoisonError::into_inner),
                    Some((at, every)) => {
                        let now = Instant::now();
                        let left = at.saturating_duration_since(now);
                        if left.is_zero() {
                            *next = Some((now + every, every));
                            return true;
                        }
                        self.changed.wait_timeout(next, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const PERIOD: Duration = Duration::from_millis(1);
    /// How long is waited for what has to come.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Tells each ring of a bell for as long as somebody listens.
    fn listen(wait: impl Fn() -> bool + Send + 'static) -> Receiver<()> {
        let (tell, rings) = channel();
        thread::spawn(move || while wait() && tell.send(()).is_ok() {});
        rings
    }

    macro_rules! rings_only_while_it_is_set {
        ($name:ident, $bell:ty) => {
            #[test]
            fn $name() {
                let bell = Arc::new(<$bell>::new().unwrap());
                let rings = listen({
                    let bell = Arc::clone(&bell);
                    move || bell.wait()
                });
                for _ in 0..3 {
                    let quiet = rings.recv_timeout(10 * PERIOD);
                    assert_eq!(quiet, Err(RecvTimeoutError::Timeout), "it is not set");
                    bell.set(PERIOD);
                    for _ in 0..5 {
                        rings.recv_timeout(PATIENCE).unwrap();
                    }
                    bell.clear();
                    // Those that were on their way may come late on a busy machine.
                    let cleared = Instant::now();
                    while rings.recv_timeout(30 * PERIOD).is_ok() {
                        assert!(cleared.elapsed() < PATIENCE, "it rings on");
                    }
                }
                bell.set(Duration::from_secs(3600));
                bell.set(PERIOD);
                rings.recv_timeout(PATIENCE).unwrap();
            }
        };
    }

    #[cfg(target_os = "linux")]
    rings_only_while_it_is_set!(one_of_the_kernel_rings_only_while_it_is_set, kept_by_the_kernel::Bell);
    rings_only_while_it_is_set!(one_kept_here_rings_only_while_it_is_set, kept_here::Bell);
}
