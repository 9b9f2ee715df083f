//! Functions that were there when a worker died.

use std::time::Instant;

use at_functions::sandbox::Lost;

use super::processes::{ECHO, LONG, Processes, SPINNER, of, salted, small};
use super::*;

/// Limits with which a spinner answers soon: that its time is over.
const BRIEF: Limits = Limits { duration: Duration::from_millis(20), ..WIDE };

#[test]
fn a_function_that_dies_alone_three_times_is_refused_and_its_neighbours_are_not() {
    let processes = Processes::start(small());
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let bad = || of("a", true, job(&spinner, "{}", LONG));
    let good = || of("a", true, job(&echo, "1", WIDE));
    // The first death may be anybody's; the next three, in a worker of its own, are not.
    for death in 0..4 {
        let run = processes.spawn(bad());
        processes.runs_are(1);
        processes.kill_all();
        assert_eq!(processes.end(run), Err(Lost::Worker), "{death}");
        assert_eq!(processes.run(good()).unwrap().result.unwrap(), "1", "{death}");
    }
    assert_eq!(processes.run(bad()), Err(Lost::Quarantined));
    assert_eq!(processes.run(good()).unwrap().result.unwrap(), "1");
}

/// There is one worker only, so that the attacker is always beside the victim.
#[test]
fn nobody_gets_anothers_function_refused_by_dying_beside_it() {
    let processes = Processes::start(ProcessSandboxConfig { max_workers: 1, ..small() });
    let victim = processes.wat(&salted(0, SPINNER));
    let victims = |limits| of("victim", true, job(&victim, "{}", limits));
    for attack in 1..=3 {
        let attacker = processes.wat(&salted(attack, SPINNER));
        let beside = [
            processes.spawn(of("attacker", true, job(&attacker, "{}", LONG))),
            processes.spawn(victims(LONG)),
        ];
        processes.runs_are(2);
        assert_eq!(processes.sandbox.load().shared_workers, 1);
        processes.kill_all();
        for run in beside {
            assert_eq!(processes.end(run), Err(Lost::Worker), "{attack}");
        }
        // The victim's next call is its trial, alone, and it passes.
        for _ in 0..2 {
            assert_eq!(processes.run(victims(BRIEF)).unwrap().outcome(), Outcome::Timeout, "{attack}");
        }
        // The attacker's are its own deaths.
        for _ in 0..3 {
            let run = processes.spawn(of("attacker", true, job(&attacker, "{}", LONG)));
            processes.runs_are(1);
            processes.kill_all();
            assert_eq!(processes.end(run), Err(Lost::Worker), "{attack}");
        }
        let refused = processes.run(of("attacker", true, job(&attacker, "{}", BRIEF)));
        assert_eq!(refused, Err(Lost::Quarantined), "{attack}");
        assert_eq!(processes.run(victims(BRIEF)).unwrap().outcome(), Outcome::Timeout, "{attack}");
    }
    // By now all that the attacker has is refused, and nothing of the victim's.
    let echo = processes.wat(&module(ECHO));
    let call = |author| processes.run(of(author, true, job(&echo, "1", WIDE)));
    assert_eq!(call("attacker"), Err(Lost::Quarantined));
    assert_eq!(call("victim").unwrap().result.unwrap(), "1");
}

#[test]
fn all_calls_of_a_suspect_are_answered_when_its_trial_is_passed() {
    let processes = Processes::start(small());
    let spinner = processes.wat(&module(SPINNER));
    let run = processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    processes.runs_are(1);
    processes.kill_all();
    assert_eq!(processes.end(run), Err(Lost::Worker));
    let calls: Vec<_> = (0..8).map(|_| processes.spawn(of("a", true, job(&spinner, "{}", BRIEF)))).collect();
    for call in calls {
        assert_eq!(processes.end(call).unwrap().outcome(), Outcome::Timeout);
    }
}

#[test]
fn a_call_waits_for_a_trial_no_longer_than_it_may() {
    let processes = Processes::start(small());
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let spin = || processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    let run = spin();
    processes.runs_are(1);
    processes.kill_all();
    assert_eq!(processes.end(run), Err(Lost::Worker));
    let trial = spin();
    processes.runs_are(1);
    let call = of("a", true, job(&spinner, "{}", BRIEF));
    let soon = Instant::now() + Duration::from_millis(100);
    assert_eq!(processes.run_by(call.clone(), soon), Err(Lost::NoWorker));
    // Others of the author's do not wait for it.
    assert_eq!(processes.run(of("a", true, job(&echo, "1", WIDE))).unwrap().result.unwrap(), "1");
    assert_eq!(processes.sandbox.load().instances, 1);
    // Whoever's trial it was: when he goes, it is over.
    trial.abort();
    assert_eq!(processes.run(call).unwrap().outcome(), Outcome::Timeout);
}
