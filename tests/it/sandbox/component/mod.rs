//! Components: what they are given, what they answer, and what they try.

mod answers;
mod calls;
mod hostile;
mod mutants;
mod wasi;

use std::sync::Mutex;

use at_functions::sandbox::{
    BoxFuture, Context, Denied, Door, HostCall, HostReply, Listed, LogLevel, LogLine, Refusal,
};

use super::*;

/// A component of one program, in the text format.
#[derive(Clone, Copy, Default)]
struct Program<'a> {
    /// What the component imports, and aliases of it.
    imports: &'a str,
    /// Functions that the program has of the host: name, core signature, and what is lowered.
    host: &'a [(&'a str, &'a str, &'a str)],
    /// Fields of the program, beside its memory of two pages and a `realloc` that never gives anything back.
    fields: &'a str,
    /// The body of `run`: the input in `$pointer` and `$length`, the place of the result as its value.
    run: &'a str,
    /// More options of the lifted `run`.
    options: &'a str,
}

impl Program<'_> {
    fn text(&self) -> String {
        let Program { imports, host, fields, run, options } = self;
        let lowered: String = host
            .iter()
            .map(|(name, _, lower)| match lower.strip_prefix("canon ") {
                Some(canon) => format!("(core func ${name} (canon {canon}))\n"),
                None => format!(
                    "(core func ${name} (canon lower (func {lower}) (memory (core memory $libc \"memory\")) \
                       (realloc (core func $libc \"realloc\"))))\n"
                ),
            })
            .collect();
        let given: String =
            host.iter().map(|(name, ..)| format!("(export \"{name}\" (func ${name}))\n")).collect();
        let taken: String = host
            .iter()
            .map(|(name, signature, _)| format!("(import \"host\" \"{name}\" (func ${name} {signature}))\n"))
            .collect();
        format!(
            r#"(component
  {imports}
  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $place i32) (local $lacking i32)
      (local.set $place (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $place) (local.get 3)))
      (local.set $lacking (i32.sub (i32.shr_u (i32.add (global.get $next) (i32.const 65535)) (i32.const 16)) (memory.size)))
      (if (i32.gt_s (local.get $lacking) (i32.const 0))
        (then (if (i32.eq (memory.grow (local.get $lacking)) (i32.const -1)) (then unreachable))))
      (local.get $place)))
  (core instance $libc (instantiate $libc))
  {lowered}
  (core module $program
    (import "libc" "memory" (memory 1))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    {taken}
    {fields}
    (func (export "run") (param $pointer i32) (param $length i32) (result i32) {run}))
  (core instance $program (instantiate $program
    (with "libc" (instance $libc)) (with "host" (instance {given}))))
  (func (export "run") (param "input-json" string) (result (result string (error string)))
    (canon lift (core func $program "run") (memory (core memory $libc "memory")) (realloc (core func $libc "realloc")) {options})))"#
        )
    }
}

/// Where a result may be put; 12 bytes.
const RESULT: &str = "(i32.const 16)";

/// A result of `ok`, or of an error, whose text is this long and stands at `place`.
fn result(error: u32, place: u32, length: u32) -> String {
    format!(
        "(i32.store (i32.const 16) (i32.const {error})) (i32.store (i32.const 20) (i32.const {place})) \
         (i32.store (i32.const 24) (i32.const {length})) {RESULT}"
    )
}

/// A result whose text is the one digit that `value` gives, an i32 of 0 to 9.
fn digit(value: &str) -> String {
    format!("(i32.store8 (i32.const 40) (i32.add (i32.const 48) {value})) {}", result(0, 40, 1))
}

/// A program that does nothing but answer with `text`, as `ok` (0) or as an error (1).
fn answering(error: u32, text: &str) -> String {
    let escaped: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let fields = format!("(data (i32.const 1024) \"{escaped}\")");
    let run = result(error, 1024, text.len() as u32);
    Program { fields: &fields, run: &run, ..Program::default() }.text()
}

/// A door that answers as it is told, and keeps what it was asked.
struct Scripted {
    answer: fn(&HostCall) -> Result<HostReply, Denied>,
    asked: Mutex<Vec<HostCall>>,
}

impl Scripted {
    fn new(answer: fn(&HostCall) -> Result<HostReply, Denied>) -> Arc<Scripted> {
        Arc::new(Scripted { answer, asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<HostCall> {
        self.asked.lock().unwrap().clone()
    }
}

impl Door for Scripted {
    fn call(&self, call: HostCall, _: Duration) -> BoxFuture<'static, Result<HostReply, Denied>> {
        let answer = (self.answer)(&call);
        self.asked.lock().unwrap().push(call);
        Box::pin(async { answer })
    }
}

fn compile(text: &str) -> Result<Artifact, CompileError> {
    let code = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    compile_in(shared(), code)
}

fn compile_in(harness: &Harness, code: Vec<u8>) -> Result<Artifact, CompileError> {
    let compiled = harness.runtime.block_on(harness.sandbox.compile(Mode::ComponentV1, code.into()))?;
    Ok(harness.sandbox.install(&compiled).unwrap())
}

fn compiled(text: &str) -> Artifact {
    compile(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn run(text: &str, input: &str, limits: Limits) -> Completion {
    shared().run(&compiled(text), input, limits)
}

fn run_with(text: &str, input: &str, door: Arc<dyn Door>) -> Completion {
    let job = Job { door, ..job(&compiled(text), input, WIDE) };
    let harness = shared();
    harness.runtime.block_on(harness.sandbox.run(job, Lease::none())).unwrap()
}

fn refused(text: &str) -> Refusal {
    match compile(text) {
        Err(CompileError::Refused(refusal)) => refusal,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was let in"),
    }
}
