//! The memory of used tokens by itself.

use proptest::prelude::*;

use super::*;
use crate::auth::replay::{Identity, Replay, Used};

const LIFE: Duration = Duration::from_secs(3665);
const FULL: AuthError = AuthError::MemoryFull;
const ISSUERS: AuthError = AuthError::ShareExceeded(Holder::Issuer);
const HOSTS: AuthError = AuthError::ShareExceeded(Holder::Host);

fn memory(capacity: usize) -> Arc<Replay> {
    Arc::new(Replay::new(capacity, LIFE, &[3; 32]))
}

fn nth_issuer(n: usize) -> Did {
    Did::parse(&format!("did:web:issuer{n}.example.com")).unwrap()
}

/// Claims token `id` of issuer `n`, and leaves it used.
fn claim(
    memory: &Arc<Replay>,
    n: usize,
    host: Option<&str>,
    id: usize,
    last: u64,
    now: u64,
) -> Result<(), AuthError> {
    claim_ticket(memory, n, host, id, last, now).map(drop)
}

fn claim_ticket(
    memory: &Arc<Replay>,
    n: usize,
    host: Option<&str>,
    id: usize,
    last_second: u64,
    now: u64,
) -> Result<Ticket, AuthError> {
    let (issuer, id) = (nth_issuer(n), id.to_string());
    memory.claim(&Used { issuer: &issuer, identity: Identity::Id(&id), host, last_second }, now)
}

#[test]
fn tokens_are_told_apart_by_all_that_names_them() {
    let memory = memory(1024);
    let (a, b) = (Did::parse("did:web:a.com").unwrap(), Did::parse("did:web:a.co").unwrap());
    let used = |issuer, identity| Used { issuer, identity, host: None, last_second: NOW };
    // No two of these are one, though their bytes in a row are alike.
    let distinct = [
        used(&a, Identity::Id("x")),
        used(&b, Identity::Id("mx")),
        used(&a, Identity::SigningInput(b"x")),
        used(&b, Identity::SigningInput(b"mx")),
        used(&a, Identity::Id("")),
        used(&a, Identity::Id("x\0")),
    ];
    for used in &distinct {
        assert!(memory.claim(used, NOW).is_ok());
    }
    for used in &distinct {
        assert_eq!(memory.claim(used, NOW).unwrap_err(), AuthError::Replayed);
    }
}

#[test]
fn a_host_beyond_its_share_is_refused_alone() {
    // 256 tokens: 16 an issuer, 64 a host, of which 12 and 48 may live long.
    let memory = memory(256);
    let host = Some("pds.example.com");
    let long = NOW + 3600;
    for n in 0..4 {
        for id in 0..12 {
            assert_eq!(claim(&memory, n, host, id, long, NOW), Ok(()));
        }
    }
    assert_eq!(claim(&memory, 4, host, 0, long, NOW), Err(HOSTS));
    assert_eq!(claim(&memory, 4, Some("other.example.com"), 0, long, NOW), Ok(()));
    assert_eq!(claim(&memory, 5, None, 0, long, NOW), Ok(()));
    // 90 s and the leeway are short.
    assert_eq!(claim(&memory, 6, host, 0, NOW + 96, NOW), Err(HOSTS));
    for n in 6..22 {
        assert_eq!(claim(&memory, n, host, 0, NOW + 95, NOW), Ok(()));
    }
    assert_eq!(claim(&memory, 22, host, 0, NOW + 95, NOW), Err(HOSTS));
}

#[test]
fn issuers_without_a_pds_count_as_one_host() {
    let memory = memory(256);
    for n in 0..64 {
        assert_eq!(claim(&memory, n, None, 0, NOW + 60, NOW), Ok(()));
    }
    assert_eq!(claim(&memory, 64, None, 0, NOW + 60, NOW), Err(HOSTS));
}

#[test]
fn tokens_of_long_life_leave_a_quarter_to_the_short() {
    let memory = memory(64);
    let own_host = |n: usize| format!("pds{n}.example.com");
    for n in 0..48 {
        assert_eq!(claim(&memory, n, Some(&own_host(n)), 0, NOW + 3600, NOW), Ok(()));
    }
    assert_eq!(claim(&memory, 48, Some(&own_host(48)), 0, NOW + 3600, NOW), Err(FULL));
    for n in 48..64 {
        assert_eq!(claim(&memory, n, Some(&own_host(n)), 0, NOW + 60, NOW), Ok(()));
    }
    assert_eq!(claim(&memory, 64, Some(&own_host(64)), 0, NOW + 60, NOW), Err(FULL));
    assert_eq!((FULL.name(), FULL.status()), ("NotEnoughResources", 503));
    assert_eq!(claim(&memory, 0, Some(&own_host(0)), 0, NOW + 3600, NOW), Err(AuthError::Replayed));
    // A minute later the short ones have made room.
    assert_eq!(claim(&memory, 64, Some(&own_host(64)), 0, NOW + 120, NOW + 61), Ok(()));
    assert_eq!(memory.len(), 49);
}

#[test]
fn an_issuer_cannot_carry_its_tokens_into_another_hosts_share() {
    // 256 tokens: 64 a host. Sixteen issuers fill three quarters from hosts of their own.
    let memory = memory(256);
    for n in 0..16 {
        for id in 0..12 {
            let own = format!("pds{n}.example.com");
            assert_eq!(claim(&memory, n, Some(&own), id, NOW + 3600, NOW), Ok(()));
        }
    }
    // Then they all name the victim's.
    for n in 0..16 {
        assert_eq!(claim(&memory, n, Some("victim.example.com"), 12, NOW + 60, NOW), Ok(()));
    }
    for n in 100..148 {
        assert_eq!(claim(&memory, n, Some("victim.example.com"), 0, NOW + 60, NOW), Ok(()));
    }
    assert_eq!(memory.len(), 256);
}

#[test]
fn a_token_is_forgotten_the_second_after_its_last() {
    let memory = memory(64);
    assert_eq!(claim(&memory, 0, None, 0, NOW + 10, NOW), Ok(()));
    assert_eq!(claim(&memory, 0, None, 0, NOW + 20, NOW + 10), Err(AuthError::Replayed));
    assert_eq!(claim(&memory, 0, None, 0, NOW + 20, NOW + 11), Ok(()));
    assert_eq!(memory.len(), 1);
}

#[test]
fn many_that_die_in_one_second_are_forgotten_over_many_calls() {
    let memory = memory(1 << 16);
    for id in 0..4000 {
        assert_eq!(claim(&memory, 0, None, id, NOW + 60, NOW), Ok(()));
    }
    let later = NOW + 61;
    assert_eq!(claim(&memory, 1, None, 0, later + 60, later), Ok(()));
    assert_eq!(memory.len(), 4000 - 64 + 1);
    // What is dead but still there holds nobody up: the id may be used again.
    assert_eq!(claim(&memory, 0, None, 0, later + 60, later), Ok(()));
    for id in 1..64 {
        assert_eq!(claim(&memory, 1, None, id, later + 60, later), Ok(()));
    }
    assert_eq!(memory.len(), 65);
    assert_eq!(claim(&memory, 0, None, 0, later + 60, later), Err(AuthError::Replayed));
}

#[test]
fn forgetting_that_lags_too_far_behind_is_done_at_once() {
    let memory = memory(1 << 16);
    for id in 0..4000 {
        assert_eq!(claim(&memory, 0, None, id, NOW + 60, NOW), Ok(()));
    }
    let later = NOW + 60 + 257;
    assert_eq!(claim(&memory, 1, None, 0, later + 3665, later), Ok(()));
    assert_eq!(memory.len(), 1);
}

#[test]
fn an_idle_hour_leaves_nothing() {
    let memory = memory(1 << 16);
    for id in 0..100 {
        assert_eq!(claim(&memory, 0, None, id, NOW + 3600, NOW), Ok(()));
    }
    let later = NOW + 100_000;
    assert_eq!(claim(&memory, 0, None, 0, later + 3665, later), Ok(()));
    assert_eq!(memory.len(), 1);
    assert_eq!(claim(&memory, 0, None, 0, later + 3665, later), Err(AuthError::Replayed));
}

#[test]
fn a_clock_set_back_brings_nothing_to_life() {
    let memory = memory(64);
    assert_eq!(claim(&memory, 0, None, 0, NOW + 60, NOW), Ok(()));
    assert_eq!(claim(&memory, 0, None, 1, NOW + 160, NOW + 100), Ok(()));
    // The first is forgotten, so it stays refused, although the clock says that it lives.
    assert_eq!(claim(&memory, 0, None, 0, NOW + 60, NOW), Err(AuthError::Expired));
    assert_eq!(claim(&memory, 0, None, 1, NOW + 160, NOW), Err(AuthError::Replayed));
    assert_eq!(claim(&memory, 0, None, 2, NOW + 100, NOW), Ok(()));
    // Set back by more than any token lives, it is believed.
    let long_ago = NOW - 10_000;
    assert_eq!(claim(&memory, 0, None, 3, long_ago + 60, long_ago), Ok(()));
    assert_eq!(memory.len(), 1);
}

#[test]
fn what_would_outlive_the_memory_is_refused() {
    let memory = memory(64);
    let future = AuthError::Malformed(Malformed::IssuedInFuture);
    assert_eq!(claim(&memory, 0, None, 0, NOW + 3665 + 257, NOW), Err(future.clone()));
    assert_eq!(claim(&memory, 0, None, 0, u64::MAX, NOW), Err(future));
    assert_eq!(claim(&memory, 0, None, 0, NOW + 3665 + 256, NOW), Ok(()));
    assert_eq!(
        claim(&memory, 0, None, 1, NOW + 3665, 0),
        Err(AuthError::Malformed(Malformed::IssuedInFuture))
    );
}

#[test]
fn a_memory_of_any_size_takes_somebody() {
    for capacity in [0, 1, 15, 64] {
        let memory = memory(capacity);
        assert_eq!(claim(&memory, 0, None, 0, NOW + 3600, NOW), Ok(()), "{capacity}");
        assert_eq!(claim(&memory, 0, None, 0, NOW + 3600, NOW), Err(AuthError::Replayed), "{capacity}");
    }
}

/// What the memory should do, in the plainest words.
#[derive(Default)]
struct Model {
    held: Vec<(usize, usize, u64)>,
    /// The host of each issuer that holds something.
    hosts: HashMap<usize, usize>,
    horizon: u64,
}

impl Model {
    fn forget(&mut self, now: u64) {
        self.horizon = self.horizon.max(now);
        self.held.retain(|held| held.2 >= self.horizon);
        self.hosts.retain(|issuer, _| self.held.iter().any(|held| held.0 == *issuer));
    }

    fn claim(&mut self, issuer: usize, host: usize, id: usize, last: u64, now: u64) -> Result<(), AuthError> {
        self.forget(now);
        if last < self.horizon {
            return Err(AuthError::Expired);
        }
        if self.held.iter().any(|held| (held.0, held.1) == (issuer, id)) {
            return Err(AuthError::Replayed);
        }
        let limit = |share: usize| if last - now <= 95 { share } else { share * 3 / 4 };
        let host = *self.hosts.get(&issuer).unwrap_or(&host);
        let of_issuer = self.held.iter().filter(|held| held.0 == issuer).count();
        let of_host = self.held.iter().filter(|held| self.hosts[&held.0] == host).count();
        if self.held.len() >= limit(64) {
            return Err(FULL);
        }
        if of_issuer >= limit(4) {
            return Err(ISSUERS);
        }
        if of_host >= limit(16) {
            return Err(HOSTS);
        }
        self.held.push((issuer, id, last));
        self.hosts.insert(issuer, host);
        Ok(())
    }

    fn give_back(&mut self, issuer: usize, id: usize, last: u64) {
        self.held.retain(|held| *held != (issuer, id, last));
        self.hosts.retain(|issuer, _| self.held.iter().any(|held| held.0 == *issuer));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Claim { issuer: usize, host: usize, id: usize, life: u64 },
    GiveBack { which: prop::sample::Index },
    Advance { by: u64 },
    SetBack { by: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let life = prop_oneof![0..=100u64, 0..=3665u64];
    prop_oneof![
        12 => (0..30usize, 0..6usize, 0..6usize, life)
            .prop_map(|(issuer, host, id, life)| Step::Claim { issuer, host, id, life }),
        3 => any::<prop::sample::Index>().prop_map(|which| Step::GiveBack { which }),
        1 => prop_oneof![0..=40u64, 0..=900u64].prop_map(|by| Step::Advance { by }),
        1 => (0..=40u64).prop_map(|by| Step::SetBack { by }),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_plain_model_does(steps in prop::collection::vec(step(), 1..400)) {
        let (memory, mut model) = (memory(64), Model::default());
        let mut now = NOW;
        let mut tickets = Vec::new();
        for step in steps {
            match step {
                Step::Claim { issuer, host, id, life } => {
                    let last = now + life;
                    let ours = claim_ticket(&memory, issuer, Some(&host.to_string()), id, last, now);
                    let expected = model.claim(issuer, host, id, last, now);
                    match ours {
                        Ok(ticket) => {
                            prop_assert_eq!(Ok(()), expected);
                            tickets.push((issuer, id, last, ticket));
                        }
                        Err(error) => prop_assert_eq!(Err(error), expected),
                    }
                    prop_assert_eq!(memory.len(), model.held.len());
                }
                Step::GiveBack { which } if !tickets.is_empty() => {
                    let (issuer, id, last, ticket) = tickets.swap_remove(which.index(tickets.len()));
                    ticket.give_back();
                    model.give_back(issuer, id, last);
                }
                Step::GiveBack { .. } => {}
                Step::Advance { by } => now += by,
                Step::SetBack { by } => now -= by,
            }
        }
    }
}
