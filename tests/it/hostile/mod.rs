//! Those that mean harm, against the whole service over HTTP: callers and hosts (`callers`), and
//! functions, class by class.
//!
//! Each row of a class has its module in view, and asserts what its caller is told. All of them are
//! watched ([`Arena::watch`]): while a row goes on, the service's health is asked for again and again,
//! and answers quickly; when it is over, every place, instance, stack and byte that was reserved is
//! given back, and another author's function answers as it always does.

mod abi;
mod bombs;
mod callers;
mod components;
mod cpu;
mod determinism;
mod memory;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use at_functions::config::{Anonymous, Settings};
use at_functions::dev::Published;
use serde_json::{Value, json};

use crate::world::{Answer, ECHO, World};

/// How soon health is answered: half of the times, nine times of ten, and at worst. The machine of the
/// tests is busy with other tests, so these are far from what a service of its own has, and far from
/// what a guest that holds the service up would make of them.
const HEALTH_HALF: Duration = Duration::from_millis(50);
const HEALTH_MOST: Duration = Duration::from_millis(250);
const HEALTH_ALL: Duration = Duration::from_millis(2_000);
/// How soon everything is given back after the last answer: two ticks, and the reset of the memory.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// The service under attack, and a function of somebody who has no part in it.
struct Arena {
    world: World,
    bystander: Published,
    published: AtomicUsize,
}

/// What a record allows its function.
#[derive(Clone, Copy)]
struct Allowed {
    memory_mb: u32,
    millis: u64,
}

/// What a record allows that says nothing of it.
const USUAL: Allowed = Allowed { memory_mb: 32, millis: 100 };
/// As much time as there is, for rows that are not about time.
const LONG: Allowed = Allowed { memory_mb: 32, millis: 5_000 };

impl Arena {
    async fn start() -> Arena {
        Arena::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Arena {
        let settings = Settings { anonymous: Some(Anonymous::Public), ..settings };
        let world = World::start_with(settings).await;
        let bystander = world.publish("bystander", ECHO);
        let arena = Arena { world, bystander, published: AtomicUsize::new(0) };
        arena.bystander_is_served().await;
        arena
    }

    /// Publishes a module.
    fn publish(&self, wasm: &[u8], allowed: Allowed) -> Published {
        let rkey = format!("f{}", self.published.fetch_add(1, Ordering::Relaxed));
        self.world.publish_record(&rkey, wasm, |record| {
            record["maxMemoryMb"] = allowed.memory_mb.into();
            record["maxDurationMs"] = allowed.millis.into();
        })
    }

    /// Publishes the module of this text and calls it, watched.
    async fn attack(&self, text: &str, allowed: Allowed) -> Answer {
        let function = self.publish(&wasm(text), allowed);
        self.watch(self.world.run(&function.uri, json!({}))).await
    }

    /// Has a published function called so many times at once, watched.
    async fn attack_at_once(&self, function: &Published, times: usize) -> Vec<Answer> {
        let calls = (0..times).map(|_| self.world.run(&function.uri, json!({})));
        self.watch(futures_util::future::join_all(calls)).await
    }

    /// Calls a function that is refused before it runs, watched, and gives the reason.
    async fn refusal(&self, code: &[u8]) -> String {
        let function = self.publish(code, USUAL);
        let answer = self.watch(self.world.run(&function.uri, json!({}))).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
        answer.message().to_owned()
    }

    /// Goes through an attack, and holds the service to what must be so meanwhile and afterwards.
    async fn watch<T>(&self, attack: impl Future<Output = T>) -> T {
        let over = Arc::new(AtomicBool::new(false));
        let health = tokio::spawn(ask_for_health(self.world.endpoint.clone(), Arc::clone(&over)));
        let result = attack.await;
        over.store(true, Ordering::Relaxed);
        let mut took = health.await.unwrap();
        took.sort();
        for (part, limit) in [(50, HEALTH_HALF), (90, HEALTH_MOST), (100, HEALTH_ALL)] {
            let slowest = took[(took.len() * part / 100).min(took.len() - 1)];
            assert!(slowest <= limit, "{part}% of {} health checks: {slowest:?}", took.len());
        }
        self.all_is_given_back().await;
        self.bystander_is_served().await;
        result
    }

    async fn all_is_given_back(&self) {
        let began = Instant::now();
        loop {
            let stats = self.world.stats();
            let held = (stats.runs, stats.waiting_runs, stats.preparing, stats.memory_reserved_bytes);
            let inside = (stats.sandbox.instances, stats.sandbox.stacks, stats.sandbox.ready);
            if held == (0, 0, 0, 0) && inside == (0, 0, 0) && stats.sandbox.compiling == 0 {
                return;
            }
            assert!(began.elapsed() < GIVEN_BACK, "{stats:?}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn bystander_is_served(&self) {
        let answer = self.world.run(&self.bystander.uri, json!("still there?")).await;
        let echoed = json!({ "ok": true, "echo": "still there?", "mode": "pure-v1" });
        assert_eq!(answer.output(), &echoed);
    }
}

/// Asks until it is over, at least ten times, and gives how long each answer took.
async fn ask_for_health(endpoint: String, over: Arc<AtomicBool>) -> Vec<Duration> {
    #[allow(clippy::disallowed_methods)] // The test's own client, to the service under test.
    let client = reqwest::Client::new();
    let ask = || client.get(format!("{endpoint}/xrpc/_health")).send();
    // The first one makes the connection.
    assert_eq!(ask().await.unwrap().status(), 200);
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) || took.len() < 10 {
        let began = Instant::now();
        assert_eq!(ask().await.unwrap().status(), 200);
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    took
}

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// A module of the ABI with one page of memory, whose input goes to 1024, and with `body` as `run`.
fn run(body: &str) -> String {
    module("(memory (export \"memory\") 1)", "i32.const 1024", body)
}

/// A module of the ABI with these fields (its memory among them), this `alloc` and this `run`.
fn module(fields: &str, alloc: &str, run: &str) -> String {
    format!(
        r#"(module {fields}
             (func (export "alloc") (param $length i32) (result i32) {alloc})
             (func (export "run") (param $pointer i32) (param $length i32) (result i64) {run}))"#
    )
}

/// A section of this id around these bytes.
fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// The result of `run` that hands out `length` bytes at `pointer`.
fn output_at(pointer: u32, length: u32) -> String {
    format!("i64.const {}", (u64::from(pointer) << 32 | u64::from(length)) as i64)
}

/// What the guest did wrong, and nothing of the host.
fn failed(answer: &Answer, outcome: &str) {
    assert_eq!(answer.outcome(), outcome, "{answer:?}");
    tells_nothing_of_the_host(&answer.body);
}

/// No path, address, line of source or variable of the machine is in an answer.
fn tells_nothing_of_the_host(body: &Value) {
    let text = body.to_string();
    let home = std::env::var("HOME").unwrap_or_default();
    let here = env!("CARGO_MANIFEST_DIR");
    let hidden = [here, &home, "/tmp", "/proc", ".cargo", ".rs:", "127.0.0.1", "0x", "wasmtime", "cranelift"];
    for part in hidden.into_iter().filter(|part| part.len() > 1) {
        assert!(!text.contains(part), "{part} is in {text}");
    }
}
