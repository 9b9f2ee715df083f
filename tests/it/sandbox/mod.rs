//! Hostile and ordinary guests in the sandbox, through its public face only.

mod abi;
mod component;
mod cstr;
mod determinism;
mod door;
mod echo;
mod fairness;
mod host_calls;
mod memory;
mod mutants;
mod time;
mod waiting;
mod wasi;
mod workers;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use at_functions::lexicon::Mode;
use at_functions::sandbox::{
    Artifact, CompileError, Completion, Failure, Job, Lease, Limits, NoDoor, Outcome, Owner, Sandbox,
    ThreadSandbox, ThreadSandboxConfig,
};
use bytes::Bytes;
use tokio::runtime::Runtime;

const MIB: u64 = 1024 * 1024;

/// Limits wide enough for anything that a test does not mean to limit.
const WIDE: Limits = Limits {
    memory_bytes: 32 * MIB,
    duration: Duration::from_secs(5),
    output_bytes: 1024 * 1024,
    host_calls: 1_000,
    host_bytes: 32 * MIB,
};

/// The machinery under test. One for all tests that do not count what is in use.
fn shared() -> &'static Harness {
    static SHARED: OnceLock<Harness> = OnceLock::new();
    SHARED.get_or_init(|| Harness::new(ThreadSandboxConfig { threads: 2, compile_threads: 2, slots: 64 }))
}

struct Harness {
    sandbox: Arc<ThreadSandbox>,
    runtime: Runtime,
}

impl Harness {
    fn new(config: ThreadSandboxConfig) -> Harness {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        Harness { sandbox: Arc::new(ThreadSandbox::start(config).unwrap()), runtime }
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
        self.compile(wat::parse_str(text).unwrap()).unwrap()
    }

    /// The same for another mode.
    fn wat_as(&self, mode: Mode, text: &str) -> Artifact {
        let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
        self.compile_as(mode, code).unwrap()
    }

    fn run(&self, artifact: &Artifact, input: &str, limits: Limits) -> Completion {
        self.run_job(job(artifact, input, limits))
    }

    fn run_job(&self, job: Job) -> Completion {
        self.runtime.block_on(self.sandbox.run(job, Lease::none())).unwrap()
    }
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

fn outcome_of(text: &str, limits: Limits) -> Outcome {
    let harness = shared();
    harness.run(&harness.wat(text), "{}", limits).outcome()
}
