//! Identities that are looked up because a guest named them.
//!
//! The way to identities is the one by which callers' tokens are verified, and the PLC directory has
//! one answer to all who ask too often from this address. So what guests make the service look up is
//! bounded: at once in all, fair between authors, and in rate for each author. What is known already
//! costs nothing.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::egress::{Budgets, Gate, GateLimits, Place};
use crate::identity::Did;

use super::{RegistryError, Trouble};

/// Fewer than one host is asked at once, so that callers' lookups always find room.
const LIMITS: GateLimits = GateLimits { places: 24, lane_places: 4, queue: 4096, lane_queue: 512 };
/// Lookups that the functions of one author may cause at once, as a feed of many authors does at first.
const BURST: u32 = 200;
/// How often one more is allowed after that.
const INTERVAL: Duration = Duration::from_millis(200);

/// The bounds, and what was used of them.
pub(super) struct Lookups {
    gate: Arc<Gate<Did>>,
    budgets: Budgets<Did>,
    clock: Clock,
}

impl Lookups {
    pub(super) fn new(clock: Clock) -> Lookups {
        Lookups { gate: Gate::new(LIMITS), budgets: Budgets::new(BURST, INTERVAL), clock }
    }

    /// Looks one identity up for a function of `author`: in its turn, unless it is `known` without, or has
    /// become so meanwhile. A lookup goes on when whoever waits for it gives up, and keeps its turn.
    pub(super) async fn look_up<T: Send + 'static, F: Future<Output = bool>>(
        &self,
        author: &Did,
        known: impl Fn() -> F,
        lookup: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let Some(turn) = self.turn(author, known).await? else { return lookup.await };
        let looking = tokio::spawn(async move {
            let _turn = turn;
            lookup.await
        });
        looking.await.unwrap_or(Err(RegistryError::Unreachable(Trouble::Internal)))
    }

    async fn turn<F: Future<Output = bool>>(
        &self,
        author: &Did,
        known: impl Fn() -> F,
    ) -> Result<Option<Place<Did>>, RegistryError> {
        if known().await {
            return Ok(None);
        }
        let entered = self.gate.enter(author.clone()).await;
        let place = entered.map_err(|_| RegistryError::Overloaded(Duration::from_secs(1)))?;
        // Many who waited for the same identity cost one lookup.
        if known().await {
            return Ok(None);
        }
        self.budgets.take(author.clone(), self.clock.since_epoch()).map_err(RegistryError::Overloaded)?;
        Ok(Some(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn turn(lookups: &Lookups, author: &Did) -> Result<Option<Place<Did>>, RegistryError> {
        lookups.turn(author, async || false).await
    }

    #[tokio::test]
    async fn an_author_has_a_burst_and_then_a_rate_and_no_other_authors() {
        let clock = Clock::manual(1_700_000_000);
        let lookups = Lookups::new(clock.clone());
        let [a, b] = ["did:web:a.com", "did:web:b.com"].map(|did| Did::parse(did).unwrap());
        for _ in 0..BURST {
            assert!(turn(&lookups, &a).await.is_ok());
        }
        let wait = |refused: Result<Option<Place<Did>>, RegistryError>| match refused {
            Err(RegistryError::Overloaded(wait)) => wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(turn(&lookups, &a).await), INTERVAL);
        assert!(turn(&lookups, &b).await.is_ok());
        clock.advance(INTERVAL * 2);
        assert!(turn(&lookups, &a).await.is_ok());
        assert!(turn(&lookups, &a).await.is_ok());
        assert_eq!(wait(turn(&lookups, &a).await), INTERVAL);
        clock.advance(INTERVAL * BURST * 10);
        for _ in 0..BURST {
            assert!(turn(&lookups, &a).await.is_ok());
        }
        assert_eq!(wait(turn(&lookups, &a).await), INTERVAL);
    }

    #[tokio::test]
    async fn what_is_known_by_then_costs_nothing() {
        let lookups = Lookups::new(Clock::manual(1_700_000_000));
        let author = Did::parse("did:web:a.com").unwrap();
        for _ in 0..=BURST {
            assert!(matches!(lookups.turn(&author, async || true).await, Ok(None)));
        }
        let asked = std::cell::Cell::new(0);
        let known_the_second_time = async || asked.replace(asked.get() + 1) % 2 == 1;
        for _ in 0..=BURST {
            assert!(matches!(lookups.turn(&author, known_the_second_time).await, Ok(None)));
        }
        assert!(matches!(turn(&lookups, &author).await, Ok(Some(_))));
    }

    #[tokio::test]
    async fn lookups_at_once_are_few_and_fair() {
        let lookups = Lookups::new(Clock::manual(1_700_000_000));
        let [a, b] = ["did:web:a.com", "did:web:b.com"].map(|did| Did::parse(did).unwrap());
        let mut held = Vec::new();
        for _ in 0..LIMITS.lane_places {
            held.push(turn(&lookups, &a).await.map_err(drop));
        }
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, turn(&lookups, &a)).await.is_err());
        assert!(tokio::time::timeout(soon, turn(&lookups, &b)).await.is_ok());
        held.pop();
        assert!(tokio::time::timeout(soon, turn(&lookups, &a)).await.is_ok());
    }

    #[tokio::test]
    async fn a_lookup_that_nobody_waits_for_any_more_keeps_its_turn_until_it_is_over() {
        let lookups = Lookups::new(Clock::manual(1_700_000_000));
        let author = Did::parse("did:web:a.com").unwrap();
        let soon = Duration::from_millis(20);
        let slow = Arc::new(tokio::sync::Notify::new());
        let look_up = || {
            let slow = Arc::clone(&slow);
            let lookup = async move {
                slow.notified().await;
                Ok(())
            };
            lookups.look_up(&author, async || false, lookup)
        };
        for _ in 0..LIMITS.lane_places {
            assert!(tokio::time::timeout(soon, look_up()).await.is_err());
        }
        assert!(tokio::time::timeout(soon, turn(&lookups, &author)).await.is_err());
        slow.notify_waiters();
        assert!(tokio::time::timeout(soon * 3_000, turn(&lookups, &author)).await.is_ok());
    }
}
