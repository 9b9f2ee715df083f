//! Hostile and ordinary guests in the sandbox, through its public face only.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use at_functions::lexicon::Mode;
use at_functions::sandbox::{
    Artifact, CompileError, Completion, Failure, Job, Lease, Limits, NoDoor, Outcome, Owner, Sandbox,
    ThreadSandbox, ThreadSandboxConfig,
};
#[cfg(target_os = "linux")]
use at_functions::workers::process::{CompileLimits, ProcessSandbox, ProcessSandboxConfig, Program};
use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::patience::{PATIENCE, until, within};

const MIB: u64 = 1024 * 1024;

/// Limits wide enough for anything that a test does not mean to limit.
const WIDE: Limits = Limits {
    memory_bytes: 32 * MIB,
    duration: Duration::from_secs(5),
    output_bytes: 1024 * 1024,
    host_calls: 1_000,
    host_bytes: 32 * MIB,
};

/// For a run that does not end by its own limit while the test looks.
const ENDLESS: Limits = Limits { duration: Duration::from_secs(600), ..WIDE };

/// What canceling takes on the busiest machine, and far from the end of an endless run.
const SOON: Duration = Duration::from_secs(20);

/// What a run may take beyond its limit: two ticks of a millisecond, and some for a busy machine.
const SLACK: Duration = Duration::from_millis(100);

/// The same tests for each isolation: what a guest does and what becomes of it must not depend on
/// which side of the second wall it is on.
macro_rules! tests_of_guests {
    ($start:expr) => {
        #[path = "abi.rs"]
        mod abi;
        #[path = "component/mod.rs"]
        mod component;
        #[path = "cstr.rs"]
        mod cstr;
        #[path = "determinism.rs"]
        mod determinism;
        #[path = "echo.rs"]
        mod echo;
        #[path = "fairness.rs"]
        mod fairness;
        #[path = "host_calls/mod.rs"]
        mod host_calls;
        #[path = "memory.rs"]
        mod memory;
        #[path = "mutants.rs"]
        mod mutants;
        #[path = "time.rs"]
        mod time;
        #[path = "waiting.rs"]
        mod waiting;
        #[path = "wasi/mod.rs"]
        mod wasi;
        #[path = "workers.rs"]
        mod workers;

        fn harness(threads: usize, slots: usize) -> Harness {
            Harness::of($start, threads, slots)
        }

        /// The machinery under test. One for all tests that do not count what is in use.
        fn shared() -> &'static Harness {
            static SHARED: OnceLock<Harness> = OnceLock::new();
            SHARED.get_or_init(|| harness(2, 64))
        }

        fn outcome_of(text: &str, limits: Limits) -> Outcome {
            let harness = shared();
            harness.run(&harness.wat(text), "{}", limits).outcome()
        }
    };
}

#[cfg(target_os = "linux")]
mod compiles;
#[cfg(target_os = "linux")]
mod deaths;
mod door;
#[cfg(target_os = "linux")]
mod in_processes;
mod in_threads;
#[cfg(target_os = "linux")]
mod places;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod processes;
#[cfg(target_os = "linux")]
mod quarantine;

/// The program that has workers in it.
#[cfg(target_os = "linux")]
fn program() -> Program {
    Program::at(env!("CARGO_BIN_EXE_at-functions"))
}

/// For compiles that are to end by themselves, on the busiest machine too.
#[cfg(target_os = "linux")]
fn unhurried() -> CompileLimits {
    CompileLimits { wall: Duration::from_secs(300), cpu_seconds: 60, ..CompileLimits::default() }
}

struct Harness {
    sandbox: Arc<dyn Sandbox>,
    runtime: Runtime,
}

impl Harness {
    fn of<S: Sandbox>(
        start: impl FnOnce(&Runtime, usize, usize) -> Arc<S>,
        threads: usize,
        slots: usize,
    ) -> Harness {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Harness { sandbox: start(&runtime, threads, slots), runtime }
    }

    fn compile(&self, code: impl Into<Bytes>) -> Result<Artifact, CompileError> {
        self.compile_as(Mode::PureV1, code)
    }

    fn compile_as(&self, mode: Mode, code: impl Into<Bytes>) -> Result<Artifact, CompileError> {
        let compiled = self.runtime.block_on(self.sandbox.compile(mode, code.into()))?;
        Ok(self.sandbox.install(&compiled).unwrap())
    }

    /// Compiles a module in the text format.
    fn wat(&self, text: &str) -> Artifact {
        self.wat_as(Mode::PureV1, text)
    }

    /// The same for another mode.
    fn wat_as(&self, mode: Mode, text: &str) -> Artifact {
        let code = Bytes::from(wat::parse_str(text).unwrap_or_else(|error| panic!("{error}")));
        compiled_in_the_end(|| self.compile_as(mode, code.clone())).unwrap()
    }

    fn run(&self, artifact: &Artifact, input: &str, limits: Limits) -> Completion {
        self.run_job(job(artifact, input, limits))
    }

    fn run_job(&self, job: Job) -> Completion {
        self.runtime.block_on(self.sandbox.run(job, Lease::none())).unwrap()
    }
}

/// What becomes of a compile. One that had no processor for too long says nothing about the module: it
/// gives way to all else, and tests leave a small machine little.
fn compiled_in_the_end<T>(compile: impl Fn() -> Result<T, CompileError>) -> Result<T, CompileError> {
    (0..10).map(|_| compile()).find(|made| !matches!(made, Err(CompileError::Lost))).unwrap_or_else(compile)
}

fn job(artifact: &Artifact, input: &str, limits: Limits) -> Job {
    Job {
        artifact: artifact.clone(),
        owner: Owner { name: "did:web:author.example".into(), public: true },
        input: Bytes::copy_from_slice(input.as_bytes()),
        limits,
        context: Arc::default(),
        door: Arc::new(NoDoor),
    }
}

/// A module of the ABI, with one page of memory whose input goes to 1024, and `body` as `run`.
fn module(body: &str) -> String {
    module_with("(memory (export \"memory\") 1)", "i32.const 1024", body)
}

/// A module with other fields (the memory among them) and another `alloc`.
fn module_with(fields: &str, alloc: &str, run: &str) -> String {
    format!(
        r#"(module {fields}
             (func (export "alloc") (param $length i32) (result i32) {alloc})
             (func (export "run") (param $pointer i32) (param $length i32) (result i64) {run}))"#
    )
}

/// The result of `run` that hands out `length` bytes at `pointer`.
fn output_at(pointer: u32, length: u32) -> String {
    format!("i64.const {}", (u64::from(pointer) << 32 | u64::from(length)) as i64)
}

fn failed(completion: &Completion) -> &Failure {
    completion.result.as_ref().expect_err("the run succeeded")
}
