//! Limits over a clock that is moved by hand.

use super::*;

const ALICE: &str = "did:plc:alice";
const BOB: &str = "did:plc:bob";

struct World {
    limits: Limits,
    rates: Rates,
    now: Instant,
}

impl World {
    /// No limits but those that `set` sets.
    fn with(set: impl FnOnce(&mut Rates)) -> World {
        World::of_size(MAX_KEYS, set)
    }

    fn of_size(keys: usize, set: impl FnOnce(&mut Rates)) -> World {
        let none = Limit::NONE;
        let mut rates = Rates { caller: none, host: none, address: none, author: none, function: none };
        set(&mut rates);
        let now = Instant::now();
        World { limits: Limits::of_size(now, keys), rates, now }
    }

    fn caller(&self, did: &str, host: Option<&str>) -> Result<Admitted, Exceeded> {
        self.limits.admit(&self.rates, Who::Caller { did, host }, self.now)
    }

    fn address(&self, address: &str) -> Result<Admitted, Exceeded> {
        self.limits.admit(&self.rates, Who::Address(address.parse().unwrap()), self.now)
    }

    fn function(&self, author: &str, function: &str) -> Result<Admitted, Exceeded> {
        self.limits.admit_to(&self.rates.of_functions(), author, function, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }
}

fn limit(text: &str) -> Limit {
    text.parse().unwrap()
}

/// Which limit refused, and for how many seconds.
fn refused(result: Result<Admitted, Exceeded>) -> (Kind, bool, u64) {
    let exceeded = result.unwrap_err();
    (exceeded.kind, exceeded.at_once, exceeded.retry_after.as_secs())
}

#[test]
fn a_caller_has_a_burst_then_its_rate_and_others_have_theirs() {
    let mut world = World::with(|rates| rates.caller = limit("1/s burst 3 at-once 9"));
    for remaining in [2, 1, 0] {
        let quota = world.caller(ALICE, None).unwrap().quota.unwrap();
        let expected = Quota {
            burst: 3,
            window: Duration::from_secs(3),
            remaining,
            full_in: Duration::from_secs(3 - u64::from(remaining)),
        };
        assert_eq!(quota, expected);
    }
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 1));
    assert!(world.caller(BOB, None).is_ok());
    world.pass(Duration::from_secs(1));
    assert!(world.caller(ALICE, None).is_ok());
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 1));
}

#[test]
fn the_wait_is_told_in_whole_seconds_and_is_long_enough() {
    let mut world = World::with(|rates| rates.caller = limit("1/m burst 1 at-once 9"));
    assert!(world.caller(ALICE, None).is_ok());
    world.pass(Duration::from_millis(500));
    let exceeded = world.caller(ALICE, None).unwrap_err();
    assert_eq!(exceeded.to_string(), "too many calls by this caller; retry in 60 s");
    world.pass(exceeded.retry_after);
    assert!(world.caller(ALICE, None).is_ok());
}

#[test]
fn calls_under_way_are_counted_until_they_end() {
    let world = World::with(|rates| rates.caller = limit("1000/s burst 1000 at-once 2"));
    let first = world.caller(ALICE, None).unwrap();
    let _second = world.caller(ALICE, None).unwrap();
    let exceeded = world.caller(ALICE, None).unwrap_err();
    assert_eq!(exceeded.to_string(), "too many calls by this caller at once; retry in 1 s");
    drop(first);
    assert!(world.caller(ALICE, None).is_ok());
}

#[test]
fn those_of_a_confirmed_host_share_its_bucket_and_all_others_another() {
    let world = World::with(|rates| rates.host = limit("1/h burst 2 at-once 9"));
    for (did, host) in [(ALICE, Some("a.example")), (BOB, Some("a.example")), (ALICE, None), (BOB, None)] {
        assert!(world.caller(did, host).is_ok(), "{did} {host:?}");
    }
    assert_eq!(refused(world.caller("did:plc:new", Some("a.example"))), (Kind::Host, false, 3600));
    assert_eq!(refused(world.caller("did:plc:new", None)), (Kind::Unconfirmed, false, 3600));
    assert!(world.caller("did:plc:new", Some("b.example")).is_ok());
}

#[test]
fn what_one_limit_refuses_is_charged_to_none() {
    let mut world = World::with(|rates| {
        rates.caller = limit("1/h burst 2 at-once 1");
        rates.host = limit("1/s burst 1 at-once 9");
    });
    drop(world.caller(ALICE, None).unwrap());
    for _ in 0..10 {
        assert_eq!(refused(world.caller(ALICE, None)), (Kind::Unconfirmed, false, 1));
    }
    world.pass(Duration::from_secs(1));
    drop(world.caller(ALICE, None).unwrap());
    world.pass(Duration::from_secs(1));
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 3598));
}

#[test]
fn an_authors_functions_share_and_each_has_its_own() {
    let world = World::with(|rates| {
        rates.author = limit("1/h burst 3 at-once 9");
        rates.function = limit("1/h burst 2 at-once 9");
    });
    assert!(world.function(ALICE, "one").is_ok());
    assert_eq!(world.function(ALICE, "one").unwrap().quota.unwrap().remaining, 0);
    assert_eq!(refused(world.function(ALICE, "one")), (Kind::Function, false, 3600));
    assert!(world.function(ALICE, "two").is_ok());
    assert_eq!(refused(world.function(ALICE, "two")), (Kind::Author, false, 3600));
    assert!(world.function(BOB, "three").is_ok());
}

#[test]
fn an_address_is_counted_by_who_holds_it() {
    let world = World::with(|rates| rates.address = limit("1/h burst 1 at-once 9"));
    assert!(world.address("2001:db8:0:1::1").is_ok());
    assert_eq!(refused(world.address("2001:db8:0:1:ffff::2")), (Kind::Address, false, 3600));
    assert!(world.address("2001:db8:0:2::1").is_ok());
    assert!(world.address("192.0.2.1").is_ok());
    assert_eq!(refused(world.address("::ffff:192.0.2.1")), (Kind::Address, false, 3600));
}

#[test]
fn no_limit_counts_nobody() {
    let world = World::with(|_| {});
    let all: Vec<_> = (0..1000).map(|_| world.caller(ALICE, None).unwrap()).collect();
    assert!(all.iter().all(|admitted| admitted.quota.is_none()));
    assert_eq!(world.limits.callers.len(), 0);
}

#[test]
fn a_flood_of_new_keys_resets_no_bucket_and_grows_nothing() {
    const KEYS: usize = 100;
    let mut world = World::of_size(KEYS, |rates| rates.caller = limit("1/m burst 2 at-once 9"));
    drop((world.caller(ALICE, None).unwrap(), world.caller(ALICE, None).unwrap()));
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 60));
    let flood = |world: &World, from: usize| {
        (from..from + 1_000).filter(|n| world.caller(&format!("did:plc:{n}"), None).is_ok()).count()
    };
    // Those for whom there is room, and two of all the others.
    assert_eq!(flood(&world, 0), KEYS - 1 + 2);
    assert_eq!(world.limits.callers.len(), KEYS);
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 60));
    world.pass(Duration::from_secs(59));
    assert_eq!(flood(&world, 1_000), 0);
    assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, false, 1));
    // Those whose buckets are full again make room.
    world.pass(Duration::from_secs(61));
    assert!(flood(&world, 2_000) >= KEYS);
    assert_eq!(world.limits.callers.len(), KEYS);
}

#[test]
fn who_has_a_call_under_way_is_not_forgotten() {
    let mut world = World::of_size(4, |rates| rates.caller = limit("1000/s burst 1 at-once 1"));
    let _held = world.caller(ALICE, None).unwrap();
    for n in 0..100 {
        world.pass(Duration::from_secs(1));
        assert!(world.caller(&format!("did:plc:{n}"), None).is_ok());
        assert_eq!(refused(world.caller(ALICE, None)), (Kind::Caller, true, 1));
    }
    assert!(world.limits.callers.len() <= 4);
}

#[test]
fn a_limit_that_is_raised_forgives_what_the_lower_one_would_still_hold_against_its_users() {
    let mut world = World::with(|rates| rates.function = limit("1/h burst 3 at-once 9"));
    for _ in 0..3 {
        assert!(world.function("a", "f").is_ok());
    }
    assert_eq!(refused(world.function("a", "f")), (Kind::Function, false, 3600));
    // As if the bucket had been emptied just now, and no more.
    world.rates.function = limit("10/s burst 20 at-once 9");
    assert_eq!(refused(world.function("a", "f")), (Kind::Function, false, 1));
    world.pass(Duration::from_millis(100));
    assert!(world.function("a", "f").is_ok());
    // Lowered again, what is owed counts in the lower rate.
    world.rates.function = limit("1/h burst 1 at-once 9");
    assert_eq!(refused(world.function("a", "f")), (Kind::Function, false, 2));
}
