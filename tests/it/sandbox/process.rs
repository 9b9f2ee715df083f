//! What only processes have: walls of their own, and a death of their own.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use at_functions::sandbox::Lost;
use at_functions::workers::process::Probe;

use super::*;

const SPINNER: &str = "(loop $forever (br $forever)) unreachable";

/// Answers with its input.
const ECHO: &str = "(i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))";

struct Processes {
    sandbox: Arc<ProcessSandbox>,
    runtime: Runtime,
}

impl Processes {
    fn start(config: ProcessSandboxConfig) -> Processes {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let sandbox = runtime.block_on(ProcessSandbox::start(config, program())).unwrap();
        Processes { sandbox: Arc::new(sandbox), runtime }
    }

    fn wat(&self, text: &str) -> Artifact {
        let code = wat::parse_str(text).unwrap();
        let compiled = self.runtime.block_on(self.sandbox.compile(Mode::PureV1, code.into())).unwrap();
        self.sandbox.install(&compiled).unwrap()
    }

    fn spawn(&self, job: Job) -> tokio::task::JoinHandle<Result<Completion, Lost>> {
        self.runtime.spawn(self.sandbox.run(job, Lease::none()))
    }

    fn run(&self, job: Job) -> Result<Completion, Lost> {
        self.runtime.block_on(self.sandbox.run(job, Lease::none()))
    }

    /// Kills all workers, and waits until that is known.
    fn kill_all(&self) {
        let killed = self.sandbox.workers();
        killed.iter().copied().for_each(kill);
        until(|| !self.sandbox.workers().iter().any(|worker| killed.contains(worker)));
    }

    /// Waits until this many runs are in workers.
    fn runs_are(&self, runs: usize) {
        until(|| self.sandbox.load().instances == runs);
    }
}

fn small() -> ProcessSandboxConfig {
    ProcessSandboxConfig { threads: 1, slots: 8, max_workers: 4, compile: unhurried(), ..Default::default() }
}

fn of(author: &str, public: bool, job: Job) -> Job {
    Job { owner: Owner { name: author.into(), public }, ..job }
}

fn kill(process: u32) {
    let killed = Command::new("kill").args(["-KILL", &process.to_string()]).status().unwrap();
    assert!(killed.success());
}

fn probe() -> Probe {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ProcessSandbox::probe(program())).unwrap()
}

#[test]
fn every_way_out_of_a_worker_is_refused() {
    let probe = probe();
    assert_eq!(probe.tried.len(), 21);
    let through: Vec<_> = probe.tried.iter().filter(|attempt| attempt.refused.is_none()).collect();
    assert!(through.is_empty(), "{through:?}");
    assert_eq!(probe.calls_not_refused, [0; 0]);
    assert_eq!(probe.descriptors, [0; 0]);
    assert_eq!(probe.variables, 0);
    assert_eq!(probe.holes(), Vec::<String>::new());
}

#[test]
fn the_canary_of_every_mode_sings() {
    let processes = Processes::start(small());
    processes.runtime.block_on(processes.sandbox.try_every_mode()).unwrap();
}

#[test]
fn files_and_the_network_are_shut_by_more_than_the_filter() {
    let probe = probe();
    let refused = |what: &str| {
        let attempt = probe.tried_without_filter.iter().find(|attempt| attempt.what == what);
        attempt.unwrap_or_else(|| panic!("{what} was not tried")).refused.is_some()
    };
    // A kernel without Landlock has only the filter for this, and the service says so.
    if probe.landlock {
        let shut = [
            "open a file",
            "list a directory",
            "make a file",
            "become another program",
            "connect by TCP",
            "raise a limit",
            "take all memory",
            "debug the service",
            "signal the service",
        ];
        for what in shut {
            assert!(refused(what), "{what}");
        }
    }
}

#[test]
fn a_worker_that_is_killed_costs_its_own_runs_and_is_replaced_at_once() {
    let processes = Processes::start(small());
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let spinning = |author| of(author, true, job(&spinner, "{}", ENDLESS));
    let killed: Vec<_> = (0..3).map(|_| processes.spawn(spinning("did:web:a.example"))).collect();
    processes.runs_are(3);
    // The author's worker is the first that there was: fresh ones follow it.
    let worker = processes.sandbox.workers()[0];
    let survives = processes.spawn(of(
        "did:web:b.example",
        true,
        job(&spinner, "{}", Limits { duration: Duration::from_secs(2), ..WIDE }),
    ));
    processes.runs_are(4);
    kill(worker);
    for run in killed {
        assert_eq!(processes.runtime.block_on(run).unwrap(), Err(Lost::Worker));
    }
    let began = Instant::now();
    let again = processes.run(of("did:web:a.example", true, job(&echo, "\"again\"", WIDE))).unwrap();
    assert_eq!(again.result.unwrap(), "\"again\"");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let survived = processes.runtime.block_on(survives).unwrap().unwrap();
    assert_eq!(survived.outcome(), Outcome::Timeout);
    assert_eq!(processes.sandbox.load().worker_deaths, 1);
}

#[test]
fn whenever_workers_are_killed_nobody_gets_anothers_answer() {
    let processes = Processes::start(small());
    let echo = processes.wat(&module(ECHO));
    let (answered, lost) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..6)
        .map(|caller| {
            let (sandbox, echo) = (Arc::clone(&processes.sandbox), echo.clone());
            let (answered, lost) = (Arc::clone(&answered), Arc::clone(&lost));
            processes.runtime.spawn(async move {
                for number in 0..150 {
                    let input = format!("\"{caller} {number} {}\"", "x".repeat(number * 100 % 70_000));
                    let run = of(&format!("did:web:{}.example", caller % 3), true, job(&echo, &input, WIDE));
                    match sandbox.run(run, Lease::none()).await {
                        Ok(completion) => {
                            assert!(completion.result.unwrap() == input);
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(Lost::Worker) => {
                            lost.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    let all_ended = || callers.iter().all(|caller| caller.is_finished());
    while !all_ended() {
        // By answers and not by the clock: so no death follows on another before all were served again.
        let before = answered.load(Ordering::SeqCst);
        until(|| answered.load(Ordering::SeqCst) >= before + 30 || all_ended());
        if let Some(worker) = processes.sandbox.workers().first() {
            // It may be gone by itself.
            let _ = Command::new("kill").args(["-KILL", &worker.to_string()]).output();
        }
    }
    for caller in callers {
        processes.runtime.block_on(caller).unwrap();
    }
    assert!(lost.load(Ordering::SeqCst) < 300, "{lost:?}");
    processes.runs_are(0);
}

#[test]
fn authors_do_not_share_a_worker_while_there_may_be_another() {
    let processes = Processes::start(small());
    let spinner = processes.wat(&module(SPINNER));
    let runs: Vec<_> = ["a", "b", "c"]
        .map(|name| format!("did:web:{name}.example"))
        .iter()
        .flat_map(|author| {
            [of(author, true, job(&spinner, "{}", ENDLESS)), of(author, false, job(&spinner, "{}", ENDLESS))]
        })
        .map(|job| processes.spawn(job))
        .collect();
    processes.runs_are(6);
    let load = processes.sandbox.load();
    assert!((3..=4).contains(&load.workers), "{load:?}");
    assert_eq!(load.shared_workers, 0);
    runs.iter().for_each(tokio::task::JoinHandle::abort);
    processes.runs_are(0);
}

#[test]
fn a_private_function_waits_where_a_public_one_shares() {
    let processes = Processes::start(ProcessSandboxConfig { max_workers: 1, ..small() });
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let limits = Limits { duration: Duration::from_secs(2), ..WIDE };
    let busy = processes.spawn(of("did:web:a.example", true, job(&spinner, "{}", limits)));
    processes.runs_are(1);
    let public = processes.run(of("did:web:b.example", true, job(&echo, "1", WIDE))).unwrap();
    assert_eq!(public.result.unwrap(), "1");
    assert!(!busy.is_finished());
    assert_eq!(processes.sandbox.load().shared_workers, 1);
    let before = processes.sandbox.workers();
    let private = processes.run(of("did:web:b.example", false, job(&echo, "2", WIDE))).unwrap();
    assert_eq!(private.result.unwrap(), "2");
    assert!(busy.is_finished());
    assert_ne!(processes.sandbox.workers(), before);
}

#[test]
fn a_function_that_dies_alone_three_times_is_refused_and_its_neighbours_are_not() {
    let processes = Processes::start(small());
    let spinner = processes.wat(&module(SPINNER));
    let echo = processes.wat(&module(ECHO));
    let bad = || of("did:web:a.example", true, job(&spinner, "{}", ENDLESS));
    let good = |input| of("did:web:a.example", true, job(&echo, input, WIDE));
    // The first death may be anybody's; the next three, in a worker of its own, are not.
    for death in 0..4 {
        let run = processes.spawn(bad());
        processes.runs_are(1);
        processes.kill_all();
        assert_eq!(processes.runtime.block_on(run).unwrap(), Err(Lost::Worker), "{death}");
        assert_eq!(processes.run(good("1")).unwrap().result.unwrap(), "1", "{death}");
    }
    assert_eq!(processes.run(bad()), Err(Lost::Quarantined));
    assert_eq!(processes.run(good("1")).unwrap().result.unwrap(), "1");
}

#[test]
fn the_way_to_a_worker_and_back_is_short() {
    let processes = Processes::start(small());
    let threads = Harness::of(
        |_: &Runtime, threads, slots| {
            Arc::new(
                ThreadSandbox::start(ThreadSandboxConfig { threads, compile_threads: 1, slots }).unwrap(),
            )
        },
        1,
        8,
    );
    let text = module(ECHO);
    let fastest = |run: &dyn Fn()| {
        let timed = (0..300).map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        });
        timed.min().unwrap()
    };
    let echo = processes.wat(&text);
    let across = fastest(&|| {
        processes.run(job(&echo, "{}", WIDE)).unwrap();
    });
    let echo = threads.wat(&text);
    let beside = fastest(&|| {
        threads.run(&echo, "{}", WIDE);
    });
    println!("a run across: {across:?}, beside: {beside:?}");
    assert!(across < Duration::from_millis(2), "{across:?} against {beside:?}");
}
