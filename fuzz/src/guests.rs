//! Modules that run, within tiny limits, in the sandbox of threads.

mod text;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use at_functions::lexicon::Mode;
use at_functions::sandbox::{
    self, Artifact, BoxFuture, CompileError, Denied, Door, Failure, HostCall, HostReply, Job, Lease, Limits,
    Outcome, Owner, Sandbox, ThreadSandbox, ThreadSandboxConfig,
};
use serde_json::Value;

const TINY: Limits = Limits {
    memory_bytes: 256 * 1024,
    duration: Duration::from_millis(4),
    output_bytes: 64,
    host_calls: 3,
    host_bytes: 256,
};

/// What ends by itself, or within its limits, is over long before.
const AN_AGE: Duration = Duration::from_secs(60);

const INPUT: &[u8] = br#"{"atUri":"at://did:web:a.example/a.b.c/d"}"#;

/// Any bytes as code of the mode that the first byte chooses: what admission lets in compiles or is
/// refused by the compiler, ends within its limits, and leaves nothing behind.
pub fn any_module(bytes: &[u8]) {
    let Some((mode, code)) = bytes.split_first() else { return };
    let mode = Mode::ALL[usize::from(*mode) % Mode::ALL.len()];
    if sandbox::judge(mode, code).is_ok()
        && let Some(artifact) = artifact(mode, code)
    {
        let _ = run(&artifact, INPUT, TINY);
    }
}

/// A module made of the bytes (`guests/text.rs`): it is admitted, ends within its limits, leaves nothing
/// behind, and ends the same way twice.
pub fn generated(bytes: &[u8]) {
    let text = text::of(bytes);
    let code = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let Some(artifact) = artifact(Mode::PureV1, &code) else { panic!("refused: {text}") };
    let [first, second] = [(); 2].map(|()| run(&artifact, INPUT, TINY));
    // Only time differs from one run to the next.
    let in_time =
        |result: &Result<_, Failure>| !matches!(result, Err(Failure { outcome: Outcome::Timeout, .. }));
    if in_time(&first) && in_time(&second) {
        assert_eq!(first, second, "{text}");
    }
}

/// The first eight bytes as what `run` returns, in a memory that holds all of them: the answer is
/// exactly the JSON value there, or a refusal where there is none.
pub fn packed_pointer(bytes: &[u8]) {
    const MODULE: &str = r#"(module (memory (export "memory") 1)
        (func (export "alloc") (param i32) (result i32) (i32.const 1024))
        (func (export "run") (param i32 i32) (result i64) (i64.load (local.get 0))))"#;
    const PLACE: usize = 1024;
    thread_local!(static ARTIFACT: Artifact = {
        artifact(Mode::PureV1, &wat::parse_str(MODULE).expect("a module")).expect("an artifact")
    });
    let input = &bytes[..bytes.len().min(4096)];
    let mut memory = vec![0; 64 * 1024];
    memory[PLACE..PLACE + input.len()].copy_from_slice(input);
    let half = |at| u32::from_le_bytes(memory[at..at + 4].try_into().expect("four bytes")) as usize;
    let (length, pointer) = (half(PLACE), half(PLACE + 4));
    let there = memory.get(pointer..pointer + length);

    let limits = Limits { duration: Duration::from_secs(5), ..TINY };
    match ARTIFACT.with(|artifact| run(artifact, input, limits)) {
        Ok(output) => assert_eq!(output, there.map(<[u8]>::trim_ascii).expect("within the memory")),
        Err(Failure { outcome: Outcome::OutputInvalid, .. }) => {
            let value = there.map(serde_json::from_slice::<Value>);
            assert!(!matches!(value, Some(Ok(_))), "{pointer} {length}");
        }
        Err(Failure { outcome: Outcome::OutputTooLarge, .. }) => assert!(length > TINY.output_bytes),
        Err(failure) => panic!("{failure:?}"),
    }
}

struct Guests {
    sandbox: ThreadSandbox,
    runtime: tokio::runtime::Runtime,
}

thread_local! {
    /// One a thread, so that nobody else's runs are in it.
    static GUESTS: Guests = Guests {
        sandbox: ThreadSandbox::start(ThreadSandboxConfig { threads: 1, compile_threads: 1, slots: 2 })
            .expect("a sandbox"),
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"),
    };
}

/// `None` if the compiler refuses it.
fn artifact(mode: Mode, code: &[u8]) -> Option<Artifact> {
    GUESTS.with(|Guests { sandbox, runtime }| {
        match runtime.block_on(sandbox.compile(mode, code.to_vec().into())) {
            Ok(compiled) => Some(sandbox.install(&compiled).expect("what was just compiled")),
            Err(CompileError::Refused(_)) => None,
            Err(lost) => panic!("{lost}"),
        }
    })
}

/// Runs a guest, and sees to it that it kept its limits and is gone.
fn run(artifact: &Artifact, input: &[u8], limits: Limits) -> Result<Vec<u8>, Failure> {
    let (lease, given_back) = mpsc::channel::<()>();
    let job = Job {
        artifact: artifact.clone(),
        owner: Owner { name: "fuzz".into(), public: true },
        input: input.to_vec().into(),
        limits,
        context: Default::default(),
        door: std::sync::Arc::new(Echo),
    };
    GUESTS.with(|Guests { sandbox, runtime }| {
        let completion = runtime.block_on(sandbox.run(job, Lease::holding(lease))).expect("a guest's end");
        assert_eq!(given_back.recv_timeout(AN_AGE), Err(RecvTimeoutError::Disconnected));
        let load = sandbox.load();
        assert_eq!((load.instances, load.stacks, load.compiling), (0, 0, 0));
        assert!(completion.wall < AN_AGE);
        assert!(completion.usage.peak_memory_bytes <= limits.memory_bytes);
        let output = completion.result?;
        assert!(output.len() <= limits.output_bytes);
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&output).is_ok());
        Ok(output.to_vec())
    })
}

/// Has something to say to every question.
struct Echo;

impl Door for Echo {
    fn call(&self, call: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let reply = match call {
            HostCall::ListCollection { cursor, .. } => Ok(HostReply::Listing { records: Vec::new(), cursor }),
            HostCall::ReadBlob { cid, .. } => {
                Ok(HostReply::Blob { mime_type: "text/plain".into(), bytes: cid.into_bytes().into() })
            }
            HostCall::ReadRecord { at_uri } => {
                let value = Value::String(at_uri).to_string().into_bytes().into();
                Ok(HostReply::Record { cid: "bafy".into(), value })
            }
        };
        Box::pin(async { reply })
    }
}
