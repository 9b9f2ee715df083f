//! Authors come, go and wait; workers are numbers.

use super::*;

const BOUNDS: Bounds =
    Bounds { workers: 2, slots: 2, runs: 100, idle: Duration::from_secs(30), kept: Duration::ZERO };

fn public(name: &str) -> Owner {
    Owner { name: name.into(), public: true }
}

fn private(name: &str) -> Owner {
    Owner { name: name.into(), public: false }
}

/// A roster with workers 0, 1, ... whose handles are their numbers. Those who ask are numbered too.
fn roster(bounds: Bounds, workers: u64) -> Roster<u64, u64> {
    let mut roster = Roster::new(bounds);
    for number in 0..workers {
        roster.starting += 1;
        roster.started(number, Instant::now());
    }
    roster
}

/// What follows, as who sits where, which workers end, and how many start.
type Followed = (Vec<(u64, u64)>, Vec<u64>, usize);

fn followed(orders: Orders<u64, u64>) -> Followed {
    let seated = orders.seated.into_iter().map(|(token, number, _)| (token, number)).collect();
    (seated, orders.ended, orders.start)
}

impl Roster<u64, u64> {
    /// Asks for a run, and says what follows.
    fn asks(&mut self, owner: Owner, token: u64) -> Followed {
        self.ask(owner, false, token);
        followed(self.settle(false, Instant::now()))
    }

    /// Where a run sits down that need not wait.
    #[track_caller]
    fn sits(&mut self, owner: Owner) -> u64 {
        let (seated, ended, start) = self.asks(owner, 99);
        assert_eq!((ended, start), (vec![], 0));
        assert_eq!(seated.len(), 1);
        assert_eq!(seated[0].0, 99);
        seated[0].1
    }

    /// A run ends, and what follows.
    fn leaves(&mut self, number: u64) -> Followed {
        let ended = self.leave(number, Instant::now());
        let mut followed = followed(self.settle(false, Instant::now()));
        followed.1.extend(ended);
        followed
    }

    /// A worker starts, and what follows.
    fn starts(&mut self, worker: u64) -> Followed {
        self.started(worker, Instant::now());
        followed(self.settle(false, Instant::now()))
    }
}

/// Nobody sits down, and nothing is to be done.
const NOTHING: Followed = (vec![], vec![], 0);

#[test]
fn an_author_keeps_a_worker_and_another_gets_another() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.sits(public("b")), 1);
    assert_eq!(roster.sits(private("a")), 0);
    assert_eq!(roster.sits(public("b")), 1);
}

#[test]
fn an_author_whose_worker_is_full_gets_a_second_one_and_then_waits() {
    let mut roster = roster(BOUNDS, 1);
    assert_eq!([(); 2].map(|()| roster.sits(public("a"))), [0, 0]);
    assert_eq!(roster.asks(public("a"), 1), (vec![], vec![], 1));
    assert_eq!(roster.asks(public("a"), 2), NOTHING);
    assert_eq!(roster.starts(7), (vec![(1, 1), (2, 1)], vec![], 0));
    assert_eq!(roster.asks(public("a"), 3), NOTHING);
    assert_eq!(roster.asks(public("a"), 4), NOTHING);
    // Nobody is sent away for runs that this author's own make room for, and who came first sits first.
    assert_eq!(roster.leaves(0), (vec![(3, 0)], vec![], 0));
    assert_eq!(roster.leaves(1), (vec![(4, 1)], vec![], 0));
}

#[test]
fn workers_are_started_as_they_are_needed_and_only_for_those_who_wait() {
    let mut roster: Roster<u64, u64> = Roster::new(BOUNDS);
    assert_eq!(roster.asks(public("a"), 1), (vec![], vec![], 1));
    assert_eq!(roster.asks(public("a"), 2), NOTHING);
    assert_eq!(roster.asks(public("b"), 3), (vec![], vec![], 1));
    assert_eq!(roster.asks(public("c"), 4), NOTHING);
    assert_eq!(roster.starts(7), (vec![(1, 0), (2, 0)], vec![], 0));
    // Then all are busy, and the last one shares.
    assert_eq!(roster.starts(8), (vec![(3, 1), (4, 1)], vec![], 0));
}

#[test]
fn who_gives_up_is_not_seated() {
    let mut roster: Roster<u64, u64> = Roster::new(BOUNDS);
    let ticket = roster.ask(public("a"), false, 1);
    assert_eq!(roster.asks(public("a"), 2), (vec![], vec![], 1));
    roster.withdraw(ticket);
    assert_eq!(roster.waiting(), 1);
    assert_eq!(roster.starts(7), (vec![(2, 0)], vec![], 0));
    roster.withdraw(ticket);
    assert_eq!((roster.waiting(), roster.in_flight()), (0, 1));
}

#[test]
fn an_idle_worker_is_ended_for_another_author_and_never_passed_on() {
    let mut roster = roster(Bounds { workers: 1, ..BOUNDS }, 1);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.leaves(0), NOTHING);
    assert_eq!(roster.asks(public("b"), 1), (vec![], vec![0], 1));
    assert_eq!(roster.starts(9), (vec![(1, 1)], vec![], 0));
}

#[test]
fn public_functions_share_only_when_all_workers_are_busy() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!([(); 2].map(|()| roster.sits(public("a"))), [0, 0]);
    assert_eq!(roster.sits(public("b")), 1);
    assert_eq!(roster.shared(), 0);
    assert_eq!(roster.sits(public("c")), 1);
    assert_eq!(roster.shared(), 1);
}

#[test]
fn a_worker_that_was_busy_a_moment_ago_is_shared_and_one_that_has_been_idle_makes_room() {
    let bounds = Bounds { kept: Duration::from_secs(1_000), ..BOUNDS };
    let asks = |roster: &mut Roster<u64, u64>, owner, after| {
        let now = Instant::now() + Duration::from_secs(after);
        roster.ask(owner, false, 1);
        followed(roster.settle(false, now))
    };
    let mut roster = roster(bounds, 2);
    assert_eq!((roster.sits(public("a")), roster.sits(public("b"))), (0, 1));
    assert_eq!((roster.leaves(0), roster.leaves(1)), (NOTHING, NOTHING));
    assert_eq!(asks(&mut roster, public("c"), 500), (vec![(1, 0)], vec![], 0));
    assert_eq!(roster.leaves(0), NOTHING);
    // A private one does not share, and somebody has to go for it.
    assert_eq!(asks(&mut roster, private("d"), 500), (vec![], vec![1], 1));
    assert_eq!(roster.starts(7), (vec![(1, 2)], vec![], 0));
    assert_eq!(roster.leaves(2), NOTHING);
    // The one that may be shared has been idle for long enough, and the other one may not be.
    assert_eq!(asks(&mut roster, public("e"), 2_000), (vec![], vec![0], 1));
}

#[test]
fn those_who_share_come_back_to_where_they_were() {
    let mut roster = roster(Bounds { slots: 9, kept: Duration::from_secs(60), ..BOUNDS }, 2);
    assert_eq!((roster.sits(public("a")), roster.sits(public("b"))), (0, 1));
    assert_eq!((roster.sits(public("c")), roster.leaves(0)), (0, NOTHING));
    // To the one with the fewest others, then to their own.
    assert_eq!((roster.sits(public("d")), roster.leaves(1)), (1, NOTHING));
    for _ in 0..3 {
        assert_eq!(["a", "b", "c", "d"].map(|author| roster.sits(public(author))), [0, 1, 0, 1]);
    }
}

#[test]
fn who_comes_after_those_for_whom_workers_are_coming_shares() {
    let mut roster = roster(BOUNDS, 1);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.asks(public("b"), 1), (vec![], vec![], 1));
    // The worker that is coming is not for this one.
    assert_eq!(roster.asks(public("c"), 2), (vec![(2, 0)], vec![], 0));
    assert_eq!(roster.starts(7), (vec![(1, 1)], vec![], 0));
}

#[test]
fn a_private_function_never_meets_anothers_in_a_worker() {
    let bounds = Bounds { workers: 1, slots: 4, ..BOUNDS };
    // Not where another's is.
    let mut busy = roster(bounds, 1);
    assert_eq!(busy.sits(public("a")), 0);
    assert_eq!(busy.asks(private("b"), 1), NOTHING);
    // Not where another's was, even its author's own.
    let mut shared = roster(bounds, 1);
    assert_eq!(shared.sits(public("a")), 0);
    assert_eq!(shared.sits(public("b")), 0);
    assert_eq!(shared.leaves(0), NOTHING);
    assert_eq!(shared.asks(private("a"), 1), NOTHING);
    // And no other's comes to where it is, or was.
    let mut kept = roster(bounds, 1);
    assert_eq!(kept.sits(private("a")), 0);
    assert_eq!(kept.sits(public("a")), 0);
    assert_eq!(kept.leaves(0), NOTHING);
    assert_eq!(kept.asks(public("b"), 1), NOTHING);
}

#[test]
fn who_waits_is_made_room_for_by_one_busy_worker_and_not_overtaken() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!([(); 2].map(|()| roster.sits(private("a"))), [0, 0]);
    assert_eq!(roster.sits(private("b")), 1);
    assert_eq!(roster.asks(private("c"), 1), NOTHING);
    // The one with fewer runs gets no more of them.
    assert_eq!(roster.asks(private("b"), 2), NOTHING);
    assert_eq!(roster.leaves(1), (vec![], vec![1], 1));
    assert_eq!(roster.asks(private("d"), 3), NOTHING);
    assert_eq!(roster.starts(9), (vec![(1, 2)], vec![], 0));
}

#[test]
fn room_is_made_by_an_author_who_has_several_workers() {
    let mut roster = roster(Bounds { workers: 3, ..BOUNDS }, 3);
    assert_eq!([(); 4].map(|()| roster.sits(private("a"))), [0, 0, 1, 1]);
    assert_eq!(roster.sits(private("b")), 2);
    assert_eq!(roster.asks(private("c"), 1), NOTHING);
    assert_eq!(roster.sits(private("b")), 2);
    assert_eq!(roster.leaves(0), NOTHING);
    assert_eq!(roster.leaves(0), (vec![], vec![0], 1));
}

#[test]
fn a_run_that_is_to_be_alone_gets_a_fresh_worker_that_ends_with_it() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!(roster.sits(public("a")), 0);
    roster.ask(public("a"), true, 1);
    assert_eq!(followed(roster.settle(false, Instant::now())), (vec![(1, 1)], vec![], 0));
    roster.ask(public("a"), true, 2);
    // Room for it comes from the one before.
    assert_eq!(followed(roster.settle(false, Instant::now())), NOTHING);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.leaves(1), (vec![], vec![1], 1));
    assert_eq!(roster.starts(8), (vec![(2, 2)], vec![], 0));
    assert_eq!(roster.gone(0), Some(Gone { alone: false }));
    assert_eq!(roster.gone(2), Some(Gone { alone: true }));
    assert_eq!(roster.gone(2), None);
}

#[test]
fn a_worker_is_replaced_after_its_runs() {
    let mut roster = roster(Bounds { runs: 2, ..BOUNDS }, 1);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.leaves(0), NOTHING);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!(roster.leaves(0), (vec![], vec![0], 0));
    assert_eq!(roster.workers(), 0);
}

#[test]
fn a_worker_that_is_avoided_gets_no_more_runs() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!(roster.sits(public("a")), 0);
    roster.avoid(0);
    assert_eq!(roster.sits(public("a")), 1);
    assert_eq!(roster.leaves(0), (vec![], vec![0], 0));
}

#[test]
fn only_workers_that_had_an_author_go_when_idle() {
    let mut roster = roster(BOUNDS, 2);
    assert_eq!(roster.sits(public("a")), 0);
    let now = Instant::now();
    assert_eq!(roster.leave(0, now), None);
    assert_eq!(roster.take_idle(now + Duration::from_secs(29)), Vec::<u64>::new());
    assert_eq!(roster.take_idle(now + Duration::from_secs(31)), [0]);
    assert_eq!(roster.workers(), 1);
}

#[test]
fn there_is_a_spare_while_there_may_be_more() {
    let mut roster: Roster<u64, u64> = Roster::new(BOUNDS);
    let spares = |roster: &mut Roster<u64, u64>| roster.settle(true, Instant::now()).start;
    assert_eq!([(); 2].map(|()| spares(&mut roster)), [1, 0]);
    roster.started(0, Instant::now());
    assert_eq!(spares(&mut roster), 0);
    assert_eq!(roster.sits(public("a")), 0);
    assert_eq!([(); 2].map(|()| spares(&mut roster)), [1, 0]);
    roster.not_started();
    assert_eq!(spares(&mut roster), 1);
    roster.started(1, Instant::now());
    assert_eq!(roster.sits(public("b")), 1);
    assert_eq!(spares(&mut roster), 0);
    // Another worker than the spare is started for who waits, if it has been taken.
    assert_eq!(roster.gone(0), Some(Gone { alone: false }));
    assert_eq!(roster.gone(1), Some(Gone { alone: false }));
    roster.ask(public("a"), false, 1);
    assert_eq!(followed(roster.settle(true, Instant::now())), (vec![], vec![], 2));
}
