//! Workers that are killed, stopped, or die at their start: whose runs it costs, and whose not.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use at_functions::sandbox::{HostCall, HostReply, Lost};
use serde_json::{Value, json};

use super::door::{Scripted, Silent, asking};
use super::processes::{ECHO, LONG, Processes, SPINNER, kill, of, salted, signal, small};
use super::*;

#[test]
fn a_worker_that_is_killed_costs_its_own_runs_only() {
    let processes = Processes::start(small());
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let spin = |author| processes.spawn(of(author, true, job(&spinner, "{}", LONG)));
    let killed = [spin("a"), spin("a"), spin("a")];
    processes.runs_are(3);
    // The author's worker is the first that there was: fresh ones follow it.
    let worker = processes.sandbox.workers()[0];
    let survives = spin("b");
    processes.runs_are(4);
    kill(worker);
    for run in killed {
        assert_eq!(processes.end(run), Err(Lost::Worker));
    }
    let again = processes.run(of("a", true, job(&echo, "\"again\"", WIDE))).unwrap();
    assert_eq!(again.result.unwrap(), "\"again\"");
    processes.runs_are(1);
    assert!(!survives.is_finished());
    survives.abort();
    assert_eq!(processes.sandbox.load().worker_deaths, 1);
}

#[test]
fn an_author_is_answered_again_within_200_ms_of_the_death_of_the_worker() {
    let processes = Processes::start(small());
    let echo = processes.wat(&module(ECHO));
    let fastest = (0..10)
        .map(|attempt| {
            // Each time another, since one that was in flight is on trial the next time.
            let spinner = processes.wat(&salted(attempt, SPINNER));
            let lost = processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
            processes.runs_are(1);
            let worker = processes.sandbox.workers()[0];
            let killed = Instant::now();
            kill(worker);
            assert_eq!(processes.end(lost), Err(Lost::Worker));
            let answer = processes.run(of("a", true, job(&echo, "1", WIDE))).unwrap();
            let whole_again = killed.elapsed();
            assert_eq!(answer.result.unwrap(), "1");
            processes.runs_are(0);
            // There is one ahead again.
            processes.until(|| processes.sandbox.load().workers == 2);
            whole_again
        })
        .min();
    println!("from a death to the next answer: {fastest:?}");
    assert!(fastest.unwrap() < Duration::from_millis(200), "{fastest:?}");
}

#[test]
fn a_worker_that_is_killed_while_its_guest_waits_for_the_host_takes_the_host_call_with_it() {
    let processes = Processes::start(small());
    let artifact = processes.wat_as(Mode::HostV1, &asking("read_record"));
    let input = r#"{"atUri":"at://did:plc:a/b.c.d/e"}"#;
    let silent = Arc::new(Silent::default());
    let waits = Job { door: silent.clone(), ..job(&artifact, input, LONG) };
    let run = processes.spawn(of("a", true, waits));
    processes.until(|| silent.waiting() == 1);
    processes.kill_all();
    assert_eq!(processes.end(run), Err(Lost::Worker));
    assert_eq!(silent.waiting(), 0);
    let door = Scripted::new(record_of_its_uri);
    let answer = processes.run(of("a", true, Job { door, ..job(&artifact, input, WIDE) })).unwrap();
    assert!(is_answer_with(&answer.result.unwrap(), "at://did:plc:a/b.c.d/e"));
}

/// A record that says where it is.
fn record_of_its_uri(call: &HostCall) -> Result<HostReply, at_functions::sandbox::Denied> {
    match call {
        HostCall::ReadRecord { at_uri } => {
            Ok(HostReply::Record { cid: "bafy".into(), value: format!("{{\"uri\":\"{at_uri}\"}}").into() })
        }
        call => panic!("{call:?}"),
    }
}

/// Whether this is what a guest says that asked for such a record and was given it.
fn is_answer_with(output: &[u8], uri: &str) -> bool {
    let expected = json!({ "ok": true, "record": { "uri": uri }, "cid": "bafy" });
    serde_json::from_slice::<Value>(output).unwrap() == expected
}

/// Three authors with two callers each; half of their calls ask the host. Each call's input differs
/// from all others.
#[test]
fn whenever_workers_are_killed_nobody_gets_anothers_answer() {
    const CALLERS: usize = 6;
    const KILLS: usize = 40;
    let processes = Processes::start(small());
    let (lost, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let enough = Arc::new(AtomicBool::new(false));
    let compiled: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (mode, text) = match caller % 2 {
                0 => (Mode::PureV1, salted(caller, ECHO)),
                _ => (
                    Mode::HostV1,
                    asking("read_record")
                        .replace("(memory (", &format!("(data (i32.const 8) \"{caller}\") (memory (")),
                ),
            };
            processes.compile(mode, &text)
        })
        .collect();
    let callers: Vec<_> = compiled
        .into_iter()
        .enumerate()
        .map(|(caller, compiled)| {
            let (sandbox, enough) = (Arc::clone(&processes.sandbox), Arc::clone(&enough));
            let (lost, answered) = (Arc::clone(&lost), Arc::clone(&answered));
            processes.runtime.spawn(async move {
                let mut artifact = sandbox.install(&compiled).unwrap();
                for number in 0.. {
                    if enough.load(Ordering::SeqCst) {
                        return;
                    }
                    if number % 50 == 49 {
                        // Then workers are sent it anew.
                        artifact = sandbox.install(&compiled).unwrap();
                    }
                    let uri = format!("at://{caller}/{number}/{}", "x".repeat(number * 100 % 9_000));
                    let input = match caller % 2 {
                        0 => format!("\"{uri} {}\"", "y".repeat(number * 1000 % 70_000)),
                        _ => json!({ "atUri": uri }).to_string(),
                    };
                    let job = Job { door: Scripted::new(record_of_its_uri), ..job(&artifact, &input, WIDE) };
                    let run = of(["a", "b", "c"][caller / 2], true, job);
                    match sandbox.run(run, Lease::none()).await {
                        Ok(completion) => {
                            let output = completion.result.unwrap();
                            assert!(match caller % 2 {
                                0 => output == input,
                                _ => is_answer_with(&output, &uri),
                            });
                            answered.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(Lost::Worker | Lost::Quarantined) => {
                            lost.fetch_add(1, Ordering::SeqCst);
                            tokio::time::sleep(Duration::from_millis(2)).await;
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    // As good as random, and the same each time.
    let mut dice: usize = 12_345;
    let mut killed = 0;
    for _ in 0..KILLS {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(30 + (dice >> 40) as u64 % 100));
        let workers = processes.sandbox.workers();
        if !workers.is_empty() {
            killed = workers[(dice >> 20) % workers.len()];
            kill(killed);
        }
    }
    enough.store(true, Ordering::SeqCst);
    callers.into_iter().for_each(|caller| processes.end(caller));
    println!("{answered:?} calls were answered, {lost:?} lost, {:?}", processes.sandbox.load());
    assert!(answered.load(Ordering::SeqCst) > 0);
    processes.until(|| !processes.sandbox.workers().contains(&killed));
    processes.runs_are(0);
    let fresh = processes.wat(&salted(100, ECHO));
    for author in ["a", "b", "c"] {
        assert_eq!(processes.run(of(author, true, job(&fresh, "1", WIDE))).unwrap().result.unwrap(), "1");
    }
}

#[test]
fn a_worker_that_is_stopped_is_ended_and_nobody_else_waits_for_it() {
    let processes = Processes::start(small());
    let (spinner, echo) = (processes.wat(&module(SPINNER)), processes.wat(&module(ECHO)));
    let run = processes.spawn(of("a", true, job(&spinner, "{}", LONG)));
    processes.runs_are(1);
    let worker = processes.sandbox.workers()[0];
    let began = Instant::now();
    signal(worker, "-STOP");
    let mut answered = 0;
    while !run.is_finished() {
        let other = processes.run(of("b", true, job(&echo, "1", WIDE))).unwrap();
        assert_eq!(other.result.unwrap(), "1");
        answered += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(processes.end(run), Err(Lost::Worker));
    println!("a stopped worker was ended after {:?}", began.elapsed());
    // The run itself had a minute.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(answered > 5, "{answered}");
    processes.until(|| !is_alive(worker));
    assert_eq!(processes.run(of("a", true, job(&echo, "1", WIDE))).unwrap().result.unwrap(), "1");
}

fn is_alive(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/stat"));
    status.is_ok_and(|status| !status.contains(") Z "))
}

#[test]
fn workers_that_die_at_their_start_are_started_anew_before_a_run_is_lost() {
    let here = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sandbox/dies_once.sh");
    symlink(script, here.path().join("start")).unwrap();
    symlink(env!("CARGO_BIN_EXE_at-functions"), here.path().join("program")).unwrap();
    let processes = Processes::of(small(), Program::at(here.path().join("start")));
    let echo = processes.wat(&module(ECHO));
    let deaths = ["die1", "die2"].map(|name| here.path().join(name));
    deaths.iter().for_each(|death| std::fs::write(death, "").unwrap());
    processes.kill_all();
    assert_eq!(processes.run(of("a", true, job(&echo, "1", WIDE))).unwrap().result.unwrap(), "1");
    processes.until(|| !deaths.iter().any(|death| Path::exists(death)));
    // The last of them may be the spare's.
    assert_eq!(processes.run(of("b", false, job(&echo, "2", WIDE))).unwrap().result.unwrap(), "2");
}

#[test]
fn a_caller_who_goes_away_gives_back_what_the_run_held_also_when_the_worker_dies() {
    let processes = Processes::start(small());
    let spinner = processes.wat(&module(SPINNER));
    let given_back = Arc::new(AtomicBool::new(false));
    struct Told(Arc<AtomicBool>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let lease = Lease::holding(Told(Arc::clone(&given_back)));
    let run = processes.sandbox.run(of("a", true, job(&spinner, "{}", LONG)), lease);
    let run = processes.runtime.spawn(run);
    processes.runs_are(1);
    assert!(!given_back.load(Ordering::SeqCst));
    signal(processes.sandbox.workers()[0], "-STOP");
    run.abort();
    assert!(processes.runtime.block_on(run).unwrap_err().is_cancelled());
    // The guest is there still.
    assert!(!given_back.load(Ordering::SeqCst));
    kill(processes.sandbox.workers()[0]);
    processes.until(|| given_back.load(Ordering::SeqCst));
    assert_eq!(processes.sandbox.load().instances, 0);
}
