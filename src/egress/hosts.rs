//! What each target host is asked for at once, and when it asked to be left alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use url::Url;

use super::EgressError;
use super::budget::Budgets;
use super::gate::{Gate, GateLimits, Place, Refused};
use crate::identity::Did;

/// How long a host is left alone after a 429 that does not say.
const SHORT_BACKOFF: Duration = Duration::from_secs(2);
/// The longest a host may have itself left alone: a mistaken header must not shut it out for a day.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// What the functions of one author may ask one host at once, and how often once more after that. A host
/// has one answer to all who ask too often from this address, and then none for anybody's functions: the
/// reference PDS takes 3,000 questions in five minutes, and no author gets there alone.
const RATION: u32 = 500;
const RATION_INTERVAL: Duration = Duration::from_millis(200);

/// Bounds on what is under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostLimits {
    /// For each host: 32 at once is 320 requests a second at 100 ms, more than a PDS likes to get from one client.
    pub(super) host: GateLimits,
    /// Exchanges under way or waiting, all hosts together (sockets, buffers).
    pub(super) exchanges: usize,
    /// Hosts remembered, nearly all of which are idle or told us to wait.
    pub(super) hosts: usize,
}

impl Default for HostLimits {
    fn default() -> HostLimits {
        HostLimits {
            host: GateLimits { places: 32, lane_places: 24, queue: 256, lane_queue: 64 },
            exchanges: 2048,
            hosts: 4096,
        }
    }
}

/// The hosts that are being asked, or asked to be left alone.
pub(super) struct Hosts {
    limits: HostLimits,
    exchanges: Arc<Semaphore>,
    known: Mutex<HashMap<Origin, Host>>,
    rations: Budgets<(Did, Origin)>,
    started: Instant,
}

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin(Box<str>);

struct Host {
    gate: Arc<Gate<Option<Did>>>,
    left_alone_until: Option<Instant>,
}

impl Hosts {
    pub(super) fn new(limits: HostLimits) -> Hosts {
        let exchanges = Arc::new(Semaphore::new(limits.exchanges));
        Hosts {
            limits,
            exchanges,
            known: Mutex::default(),
            rations: Budgets::new(RATION, RATION_INTERVAL),
            started: Instant::now(),
        }
    }

    /// Waits until the host of `url` may be asked on behalf of `author`, at most until `deadline`.
    pub(super) async fn admit(
        &self,
        url: &Url,
        author: Option<&Did>,
        deadline: Instant,
    ) -> Result<Admission, EgressError> {
        let exchange = Arc::clone(&self.exchanges).try_acquire_owned().map_err(|_| EgressError::Busy)?;
        let origin = Origin::of(url);
        let gate = self.gate(&origin, Instant::now())?;
        match tokio::time::timeout_at(deadline, gate.enter(author.cloned())).await {
            Ok(Ok(place)) => Ok(Admission { origin, _place: place, _exchange: exchange }),
            Ok(Err(Refused::Full)) | Err(_) => Err(EgressError::Busy),
            Ok(Err(Refused::SentAway)) => Err(self
                .left_alone_for(&origin, Instant::now())
                .map_or(EgressError::Busy, |retry_after| EgressError::RateLimited { retry_after })),
        }
    }

    /// Takes one question to the host of `url` from what is the author's.
    pub(super) fn ration(&self, url: &Url, author: &Did) -> Result<(), EgressError> {
        let taken = self.rations.take((author.clone(), Origin::of(url)), self.started.elapsed());
        taken.map_err(|retry_after| EgressError::RateLimited { retry_after })
    }

    /// Leaves the host alone after its 429, and tells how long. Those who wait for it are sent away.
    pub(super) fn leave_alone(&self, host: &Admission, wish: Option<Duration>, now: Instant) -> Duration {
        let wait = wish.unwrap_or(SHORT_BACKOFF).min(LONGEST_BACKOFF);
        if let Some(host) = self.lock().get_mut(&host.origin) {
            let until = now + wait;
            host.left_alone_until = Some(host.left_alone_until.map_or(until, |earlier| earlier.max(until)));
            host.gate.clear_queue();
        }
        wait
    }

    fn gate(&self, origin: &Origin, now: Instant) -> Result<Arc<Gate<Option<Did>>>, EgressError> {
        let mut known = self.lock();
        if let Some(host) = known.get(origin) {
            return match host.remaining(now) {
                Some(retry_after) => Err(EgressError::RateLimited { retry_after }),
                None => Ok(Arc::clone(&host.gate)),
            };
        }
        if known.len() >= self.limits.hosts {
            forget_idle(&mut known, now, self.limits.hosts / 2);
        }
        let gate = Gate::new(self.limits.host);
        known.insert(origin.clone(), Host { gate: Arc::clone(&gate), left_alone_until: None });
        Ok(gate)
    }

    fn left_alone_for(&self, origin: &Origin, now: Instant) -> Option<Duration> {
        self.lock().get(origin).and_then(|host| host.remaining(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Origin, Host>> {
        // Nothing panics while the lock is held.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets hosts nobody asks: first those that may be asked again, then, while more than `keep` are
/// left, the ones whose time is up soonest. Exchanges are bounded, so hosts in use cannot fill the map.
fn forget_idle(known: &mut HashMap<Origin, Host>, now: Instant, keep: usize) {
    known.retain(|_, host| host.in_use() || host.remaining(now).is_some());
    if known.len() <= keep {
        return;
    }
    let mut idle: Vec<(Instant, Origin)> = known
        .iter()
        .filter(|(_, host)| !host.in_use())
        .filter_map(|(origin, host)| Some((host.left_alone_until?, origin.clone())))
        .collect();
    idle.sort_by_key(|(until, _)| *until);
    let surplus = known.len() - keep;
    for (_, origin) in idle.into_iter().take(surplus) {
        known.remove(&origin);
    }
}

impl Origin {
    fn of(url: &Url) -> Origin {
        Origin(url.origin().ascii_serialization().into())
    }
}

impl Host {
    /// Whoever is inside or waits holds the gate too.
    fn in_use(&self) -> bool {
        Arc::strong_count(&self.gate) > 1
    }

    fn remaining(&self, now: Instant) -> Option<Duration> {
        self.left_alone_until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|remaining| !remaining.is_zero())
    }
}

/// Leave to have one exchange with one host, given back by dropping it.
#[derive(Debug)]
pub(super) struct Admission {
    origin: Origin,
    _place: Place<Option<Did>>,
    _exchange: OwnedSemaphorePermit,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(places: usize, queue: usize) -> HostLimits {
        let host = GateLimits { places, lane_places: places, queue, lane_queue: queue };
        HostLimits { host, exchanges: 8, hosts: 4 }
    }

    fn url(host: &str) -> Url {
        Url::parse(&format!("https://{host}/x")).unwrap()
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    async fn admit(hosts: &Hosts, host: &str) -> Result<Admission, EgressError> {
        hosts.admit(&url(host), None, soon()).await
    }

    #[tokio::test]
    async fn a_busy_host_does_not_hold_up_another() {
        let hosts = Hosts::new(limits(1, 0));
        let _a = admit(&hosts, "a.com").await.unwrap();
        assert_eq!(admit(&hosts, "a.com").await.unwrap_err(), EgressError::Busy);
        admit(&hosts, "b.com").await.unwrap();
        admit(&hosts, "a.com:8443").await.unwrap();
    }

    #[tokio::test]
    async fn waiting_ends_at_the_deadline() {
        let hosts = Hosts::new(limits(1, 5));
        let _a = admit(&hosts, "a.com").await.unwrap();
        assert_eq!(admit(&hosts, "a.com").await.unwrap_err(), EgressError::Busy);
    }

    #[tokio::test]
    async fn all_exchanges_together_are_bounded() {
        let hosts = Hosts::new(HostLimits { exchanges: 2, ..limits(1, 5) });
        let a = admit(&hosts, "a.com").await.unwrap();
        let _b = admit(&hosts, "b.com").await.unwrap();
        assert_eq!(admit(&hosts, "c.com").await.unwrap_err(), EgressError::Busy);
        drop(a);
        admit(&hosts, "c.com").await.unwrap();
    }

    #[tokio::test]
    async fn a_host_that_asked_for_it_is_left_alone_for_as_long_and_those_who_wait_are_told() {
        let hosts = Arc::new(Hosts::new(limits(1, 5)));
        let inside = admit(&hosts, "a.com").await.unwrap();
        let waiting = {
            let hosts = Arc::clone(&hosts);
            let deadline = Instant::now() + Duration::from_secs(60);
            tokio::spawn(async move { hosts.admit(&url("a.com"), None, deadline).await.map(drop) })
        };
        tokio::task::yield_now().await;
        let now = Instant::now();
        assert_eq!(hosts.leave_alone(&inside, Some(Duration::from_secs(60)), now).as_secs(), 60);
        assert!(matches!(waiting.await.unwrap(), Err(EgressError::RateLimited { .. })));
        drop(inside);

        let origin = Origin::of(&url("a.com"));
        let at = |seconds| now + Duration::from_secs(seconds);
        let wait = |seconds| hosts.gate(&origin, at(seconds)).map(drop);
        assert_eq!(wait(0), Err(EgressError::RateLimited { retry_after: Duration::from_secs(60) }));
        assert_eq!(wait(59), Err(EgressError::RateLimited { retry_after: Duration::from_secs(1) }));
        assert_eq!(wait(60), Ok(()));
        admit(&hosts, "b.com").await.unwrap();
    }

    #[tokio::test]
    async fn a_wish_is_bounded_and_an_earlier_longer_one_stands() {
        let hosts = Hosts::new(limits(2, 5));
        let a = admit(&hosts, "a.com").await.unwrap();
        let now = Instant::now();
        assert_eq!(hosts.leave_alone(&a, Some(Duration::MAX), now), LONGEST_BACKOFF);
        assert_eq!(hosts.leave_alone(&a, None, now), SHORT_BACKOFF);
        assert_eq!(hosts.left_alone_for(&a.origin, now), Some(LONGEST_BACKOFF));
    }

    #[tokio::test]
    async fn hosts_that_are_not_in_use_are_forgotten_in_time() {
        let hosts = Hosts::new(limits(1, 0));
        let used = admit(&hosts, "used.com").await.unwrap();
        for n in 0..100u64 {
            let passing = admit(&hosts, &format!("h{n}.com")).await.unwrap();
            hosts.leave_alone(&passing, Some(Duration::from_secs(100 + n)), Instant::now());
            assert!(hosts.lock().len() <= 4);
        }
        assert_eq!(admit(&hosts, "used.com").await.unwrap_err(), EgressError::Busy);
        assert!(matches!(admit(&hosts, "h99.com").await, Err(EgressError::RateLimited { .. })));
        drop(used);
        admit(&hosts, "used.com").await.unwrap();
    }
}
