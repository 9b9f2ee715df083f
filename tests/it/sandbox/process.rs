//! What only processes have: walls of their own.

use std::time::Instant;

use at_functions::workers::process::Probe;

use super::processes::{ECHO, Processes, small};
use super::*;

fn probe() -> Probe {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(ProcessSandbox::probe(program())).unwrap()
}

#[test]
fn every_way_out_of_a_worker_is_refused() {
    let probe = probe();
    assert_eq!(probe.tried.len(), 26);
    let through: Vec<_> = probe.tried.iter().filter(|attempt| attempt.refused.is_none()).collect();
    assert!(through.is_empty(), "{through:?}");
    assert_eq!(probe.calls_not_refused, [0; 0]);
    assert_eq!(probe.descriptors, [0; 0]);
    assert_eq!(probe.variables, 0);
    assert_eq!(probe.holes(), Vec::<String>::new());
}

/// The value of a line of `/proc/<process>/status` and of its like.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}

#[test]
fn a_worker_is_started_with_nothing_and_sealed_as_the_kernel_tells() {
    let processes = Processes::start(small());
    let workers = processes.sandbox.workers();
    assert!(!workers.is_empty());
    for worker in workers {
        let of = |name: &str| std::fs::read_to_string(format!("/proc/{worker}/{name}")).unwrap();
        assert_eq!(of("cmdline"), "at-functions\0worker\0");
        let status = of("status");
        assert_eq!(line(&status, "NoNewPrivs:"), "1");
        assert_eq!(line(&status, "Seccomp:"), "2");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(&status, set), "0000000000000000", "{set}");
        }
        let limits = of("limits");
        let hard = |name: &str| line(&limits, name).split_whitespace().nth(1).unwrap().to_owned();
        assert_eq!(hard("Max core file size"), "0");
        assert_eq!(hard("Max processes"), "0");
        assert_eq!(hard("Max locked memory"), "0");
        assert_eq!(hard("Max msgqueue size"), "0");
        assert_eq!(hard("Max open files"), "1024");
        assert_eq!(hard("Max file size"), (64 << 20).to_string());
        assert_eq!(hard("Max data size"), ((2u64 << 30) + 8 * (256 << 20)).to_string());
        assert_eq!(of("oom_score_adj").trim(), "1000");
    }
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
            "fill a file without end",
        ];
        for what in shut {
            assert!(refused(what), "{what}");
        }
    }
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
