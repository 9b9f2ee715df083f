//! Which worker a run gets, and how it waits for one.

use std::time::Instant;

use at_functions::sandbox::Lost;
use at_functions::workers::{NotRun, Workers, WorkersConfig};

use super::processes::{ECHO, LONG, Processes, SPINNER, of, small};
use super::*;

#[test]
fn authors_do_not_share_a_worker_while_there_may_be_another() {
    let processes = Processes::start(small());
    let spinner = processes.wat(&module(SPINNER));
    let spin = |author, public| processes.spawn(of(author, public, job(&spinner, "{}", LONG)));
    let runs: Vec<_> =
        ["a", "b", "c"].iter().flat_map(|author| [spin(author, true), spin(author, false)]).collect();
    processes.runs_are(6);
    let load = processes.sandbox.load();
    // One for each, and perhaps a spare.
    assert!((3..=4).contains(&load.workers), "{load:?}");
    assert_eq!(load.shared_workers, 0);
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    processes.runs_are(0);
}

#[test]
fn a_private_function_waits_where_a_public_one_shares() {
    let processes = Processes::start(ProcessSandboxConfig { max_workers: 1, ..small() });
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let busy = processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    processes.runs_are(1);
    let public = processes.run(of("b", true, job(&echo, "1", WIDE))).unwrap();
    assert_eq!(public.result.unwrap(), "1");
    assert_eq!(processes.sandbox.load().shared_workers, 1);
    let before = processes.sandbox.workers();
    let private = processes.spawn(of("b", false, job(&echo, "2", WIDE)));
    processes.until(|| processes.sandbox.load().ready == 1);
    assert_eq!(processes.sandbox.workers(), before);
    busy.abort();
    assert_eq!(processes.end(private).unwrap().result.unwrap(), "2");
    let after = processes.sandbox.workers();
    assert!(after.iter().all(|worker| !before.contains(worker)), "{before:?} {after:?}");
    assert_eq!(processes.sandbox.load().shared_workers, 0);
}

#[test]
fn as_many_runs_as_there_are_slots_at_all_times_never_lack_one() {
    let config = ProcessSandboxConfig { max_workers: 2, slots: 3, ..small() };
    let processes = Processes::start(config);
    assert_eq!(processes.sandbox.max_runs(), 6);
    let echo = processes.wat(&module(ECHO));
    let callers: Vec<_> = (0..6)
        .map(|caller| {
            let (sandbox, echo) = (Arc::clone(&processes.sandbox), echo.clone());
            processes.runtime.spawn(async move {
                for number in 0..100 {
                    let input = (caller * 1000 + number).to_string();
                    let run = of("a", true, job(&echo, &input, WIDE));
                    assert_eq!(sandbox.run(run, Lease::none()).await.unwrap().result.unwrap(), input);
                }
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| processes.end(caller));
}

#[test]
fn runs_beyond_a_workers_slots_go_to_another_worker_of_their_author() {
    let processes = Processes::start(ProcessSandboxConfig { max_workers: 2, slots: 2, ..small() });
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let spin = || processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    let mut runs = vec![spin(), spin(), spin(), spin()];
    processes.runs_are(4);
    assert_eq!(processes.sandbox.load().workers, 2);
    // There is no fifth slot, and who counts wrongly is told so.
    let fifth = of("a", true, job(&echo, "5", WIDE));
    assert_eq!(processes.run(fifth.clone()), Err(Lost::NoSlot));
    runs.pop().unwrap().abort();
    processes.runs_are(3);
    assert_eq!(processes.run(fifth).unwrap().result.unwrap(), "5");
    runs.iter().for_each(tokio::task::JoinHandle::abort);
}

#[test]
fn a_run_that_no_worker_is_free_for_in_time_has_not_begun() {
    let processes = Processes::start(ProcessSandboxConfig { max_workers: 1, ..small() });
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let busy = processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    processes.runs_are(1);
    let private = of("b", false, job(&echo, "1", WIDE));
    let began = Instant::now();
    let lost = processes.run_by(private.clone(), began + Duration::from_millis(200));
    assert_eq!(lost, Err(Lost::NoWorker));
    assert!(!Lost::NoWorker.may_have_run());
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(200) && waited < Duration::from_secs(10), "{waited:?}");
    assert_eq!(processes.sandbox.load().ready, 0);
    // For callers that is no failure, but a service that is busy.
    let entered = processes.runtime.enter();
    let sandbox = Arc::clone(&processes.sandbox);
    let workers = Workers::start(WorkersConfig::default(), sandbox, None);
    drop(entered);
    let answer_by = Instant::now() + WIDE.duration + Duration::from_millis(200);
    let caller = "caller".into();
    let not_run = processes.runtime.block_on(workers.run(private.clone(), &caller, answer_by));
    assert!(matches!(not_run, Err(NotRun::Busy { .. })), "{not_run:?}");
    assert_eq!(workers.stats().memory_reserved_bytes, 0);
    busy.abort();
    assert_eq!(processes.run(private).unwrap().result.unwrap(), "1");
}
