//! Compilers, which are processes of their own: what they may use, and who waits for whom.

use std::convert::Infallible;
use std::time::Instant;

use at_functions::sandbox::Refusal;
use at_functions::workers::{CacheState, Prepare, PrepareError, Workers, WorkersConfig};
use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;
use tokio::task::JoinHandle;

use super::*;
use crate::bomb::bomb;

/// Answers with its input.
const ECHO: &str = "(i64.or (i64.shl (i64.extend_i32_u (local.get $pointer)) (i64.const 32)) (i64.extend_i32_u (local.get $length)))";

/// Far more than any test takes.
const LONG: Duration = Duration::from_secs(300);

struct Stage {
    sandbox: Arc<ProcessSandbox>,
    workers: Workers,
    runtime: Runtime,
}

type Prepared = Result<(Artifact, CacheState), PrepareError<Infallible>>;

impl Stage {
    fn set(compile: CompileLimits) -> Stage {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let config = ProcessSandboxConfig { threads: 1, slots: 8, compile, ..Default::default() };
        let sandbox = Arc::new(runtime.block_on(ProcessSandbox::start(config, program())).unwrap());
        let _runtime = runtime.enter();
        let workers =
            Workers::start(WorkersConfig::default(), Arc::clone(&sandbox) as Arc<dyn Sandbox>, None);
        drop(_runtime);
        Stage { sandbox, workers, runtime }
    }

    /// Asks for an author's module, known by a number.
    fn asks(&self, author: &str, number: u8, code: &Bytes) -> JoinHandle<Prepared> {
        let cid = Cid::new_v1(0x55, Multihash::wrap(0x12, &[number; 32]).unwrap());
        let deadline = Instant::now() + LONG;
        let prepare = Prepare { cid, mode: Mode::PureV1, author: author.into(), deadline };
        let (workers, code) = (self.workers.clone(), code.clone());
        self.runtime.spawn(async move { workers.prepare(prepare, || async move { Ok(code) }).await })
    }

    fn prepare(&self, author: &str, number: u8, code: &Bytes) -> Prepared {
        self.runtime.block_on(self.asks(author, number, code)).unwrap()
    }

    fn compiles(&self) -> u64 {
        self.workers.stats().compiles_begun
    }

    /// Waits until this many processes compile something, and gives their numbers.
    fn compilers_are(&self, many: usize) -> Vec<u32> {
        let began = Instant::now();
        loop {
            let compilers = self.sandbox.compilers();
            if compilers.len() == many {
                return compilers;
            }
            assert!(began.elapsed() < PATIENCE, "{compilers:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn echo() -> Bytes {
    wat::parse_str(module(ECHO)).unwrap().into()
}

#[test]
fn a_module_that_takes_too_much_processor_time_is_refused_and_that_is_remembered() {
    let stage = Stage::set(CompileLimits { cpu_seconds: 1, wall: LONG, ..Default::default() });
    let code: Bytes = bomb(1_500).into();
    for _ in 0..2 {
        let refused = stage.prepare("a", 1, &code).unwrap_err();
        assert!(matches!(refused, PrepareError::Refused(Refusal::TooSlow)), "{refused:?}");
    }
    assert_eq!(stage.compiles(), 1);
    // Nothing is wrong with the next one.
    assert!(stage.prepare("a", 2, &echo()).is_ok());
}

#[test]
fn a_compile_that_is_out_of_time_is_ended_and_not_held_against_its_module() {
    let stage =
        Stage::set(CompileLimits { wall: Duration::from_millis(300), cpu_seconds: 60, ..Default::default() });
    let code: Bytes = bomb(3_000).into();
    for _ in 0..2 {
        let lost = stage.prepare("a", 1, &code).unwrap_err();
        assert!(matches!(lost, PrepareError::Lost { .. }), "{lost:?}");
        stage.compilers_are(0);
    }
    assert_eq!(stage.compiles(), 2);
}

#[test]
fn a_compile_that_runs_out_of_memory_is_not_held_against_its_module() {
    // What a compiler takes for itself is mostly the program, which is large where it is built for tests:
    // the limit is the first at which a small module compiles.
    let limited = |mebibytes: u64| {
        let stage = Stage::set(CompileLimits { memory_bytes: mebibytes << 20, ..unhurried() });
        stage.prepare("a", 0, &echo()).is_ok().then_some(stage)
    };
    let stage = (8..128).find_map(|of_8| limited(of_8 * 8)).unwrap();
    let before = stage.compiles();
    let data = "m".repeat(9 << 20);
    let fields = format!("(memory (export \"memory\") 160) (data (i32.const 65536) \"{data}\")");
    let large: Bytes = wat::parse_str(module_with(&fields, "i32.const 1024", ECHO)).unwrap().into();
    for _ in 0..2 {
        let lost = stage.prepare("a", 1, &large).unwrap_err();
        assert!(matches!(lost, PrepareError::Lost { .. }), "{lost:?}");
    }
    assert_eq!(stage.compiles(), before + 2);
    assert!(Stage::set(unhurried()).prepare("a", 1, &large).is_ok());
}

#[test]
fn a_compiler_that_is_killed_costs_its_own_callers_one_answer() {
    let stage = Stage::set(unhurried());
    let code: Bytes = bomb(400).into();
    let asked = stage.asks("a", 1, &code);
    let compilers = stage.compilers_are(1);
    let killed = std::process::Command::new("kill").args(["-KILL", &compilers[0].to_string()]).status();
    assert!(killed.unwrap().success());
    let lost = stage.runtime.block_on(asked).unwrap().unwrap_err();
    assert!(matches!(lost, PrepareError::Lost { .. }), "{lost:?}");
    assert_eq!(stage.prepare("a", 1, &code).unwrap().1, CacheState::Cold);
}

#[test]
fn a_compile_goes_on_when_nobody_waits_any_more() {
    let stage = Stage::set(unhurried());
    let code: Bytes = bomb(200).into();
    let given_up = stage.asks("a", 1, &code);
    stage.compilers_are(1);
    given_up.abort();
    stage.compilers_are(0);
    stage.prepare("a", 1, &code).unwrap();
    assert_eq!(stage.compiles(), 1);
}

#[test]
fn compile_bombs_cost_nobody_else_anything() {
    // As much as a module may need, and far more than it is given.
    let stage = Stage::set(unhurried());
    let warm = stage.prepare("b", 100, &echo()).unwrap().0;
    let code: Bytes = bomb(3_000).into();
    let mut bombs = vec![stage.asks("a", 0, &code)];
    let bombed = stage.compilers_are(1);
    bombs.extend((1..4).map(|number| stage.asks("a", number, &code)));
    // Of another author, what is warm is run, and what is cold is compiled, ...
    for number in 0..20 {
        let completion =
            stage.runtime.block_on(stage.sandbox.run(job(&warm, &number.to_string(), WIDE), Lease::none()));
        assert_eq!(completion.unwrap().result.unwrap(), number.to_string());
    }
    let cold = stage.prepare("b", 101, &echo()).unwrap();
    assert_eq!(cold.1, CacheState::Cold);
    // ... the bomb's own module too, for whoever has it beside its author: it does not stand in line there.
    let shared = stage.asks("c", 3, &code);
    stage.compilers_are(2);
    // ... while the first of the bombs is still at it, and the others wait for it.
    assert!(bombs.iter().all(|bomb| !bomb.is_finished()));
    assert!(stage.sandbox.compilers().contains(&bombed[0]));
    assert!(!shared.is_finished());
}
