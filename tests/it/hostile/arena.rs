//! Where the rows of the exam take place, and what must hold in each of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use at_functions::config::Isolation;
use at_functions::dev::Published;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::health::Health;
use crate::modules::wasm;
use crate::service::{OwnBytes, ServiceProcess};
use crate::world::{Answer, ECHO, World};

/// What the 99th percentile of health must be below while a row goes on; or, where the machine is too
/// busy for that, below three times what it is beside as many honest calls.
const HEALTH: Duration = Duration::from_millis(10);
/// How long honest calls are made for that, at least.
const HONEST: Duration = Duration::from_millis(400);
/// How far memory may be from what it was before a row.
const MEMORY: u64 = 16 << 20;
/// The figure of `/metrics` that counts the runs under way.
pub(crate) const RUNS: &str = "at_functions_runs";
/// How soon everything is given back after the last answer, and what a test waits for is so.
const GIVEN_BACK: Duration = Duration::from_secs(20);
/// How often a row is tried until its times hold too. Its outcomes must be right each time.
const ATTEMPTS: usize = 6;

/// Lets the service reach the world of the tests, which is on loopback.
const PRIVATE: &str = "--allow-private-network";

/// The service under attack, the world around it, and a function of somebody who has no part in it.
pub(crate) struct Arena {
    pub(crate) world: World,
    pub(crate) service: ServiceProcess,
    isolation: Isolation,
    bystander: Published,
    published: AtomicUsize,
    /// The most calls that the row has made at once.
    callers: AtomicUsize,
    /// What took longer than it should.
    late: Mutex<Vec<String>>,
}

/// What a record allows its function.
#[derive(Clone, Copy)]
pub(crate) struct Allowed {
    pub(crate) memory_mb: u32,
    pub(crate) millis: u64,
}

/// What a record allows that says nothing of it.
pub(crate) const USUAL: Allowed = Allowed { memory_mb: 32, millis: 100 };
/// As much time as there is, for rows that are not about time.
pub(crate) const LONG: Allowed = Allowed { memory_mb: 32, millis: 5_000 };

/// Gives a record as much time as there is: the machine of the tests may be busy.
pub(crate) fn patient(record: &mut Value) {
    record["maxDurationMs"] = 5_000.into();
}

/// Holds the service of this isolation to a row. Rows go on one after the other.
pub(crate) fn hold(isolation: Isolation, row: impl AsyncFn(&Arena)) {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    runtime().block_on(async {
        let arena = shared(isolation).await;
        let mut flaws = Vec::new();
        for _ in 0..ATTEMPTS {
            match arena.attempt(&row).await {
                flaw if flaw.is_empty() => return,
                flaw => flaws.push(flaw),
            }
        }
        panic!("not once in {ATTEMPTS} attempts: {flaws:#?}");
    });
}

/// One runtime for all that lasts longer than a test.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    })
}

/// One service for each isolation, started when it is first needed.
async fn shared(isolation: Isolation) -> &'static Arena {
    static SERVICES: [tokio::sync::OnceCell<Arena>; 2] =
        [tokio::sync::OnceCell::const_new(), tokio::sync::OnceCell::const_new()];
    SERVICES[isolation as usize].get_or_init(|| Arena::start(isolation, &[PRIVATE])).await
}

impl Arena {
    async fn start(isolation: Isolation, more: &[&str]) -> Arena {
        let mut started = None;
        let world = World::around(async |origin| {
            let service = ServiceProcess::start(origin, isolation, more).await;
            let port = started.insert(service).port();
            (format!("http://localhost:{port}"), format!("did:web:localhost%3A{port}"))
        })
        .await;
        let bystander = world.publish_record("bystander", ECHO, patient);
        let published = AtomicUsize::new(0);
        let service = started.unwrap();
        Arena {
            world,
            service,
            isolation,
            bystander,
            published,
            callers: AtomicUsize::default(),
            late: Mutex::default(),
        }
    }

    /// A service of one's own, for what cannot be done to the one that others need.
    pub(crate) async fn another(&self, more: &[&str]) -> Arena {
        Arena::start(self.isolation, &[&[PRIVATE], more].concat()).await
    }

    /// One that reaches public addresses only, as services do.
    pub(crate) async fn one_of_the_public_network(&self) -> Arena {
        Arena::start(self.isolation, &[]).await
    }

    /// Publishes these bytes.
    pub(crate) fn publish(&self, wasm: &[u8], allowed: Allowed) -> Published {
        self.publish_record(wasm, |record| {
            record["maxMemoryMb"] = allowed.memory_mb.into();
            record["maxDurationMs"] = allowed.millis.into();
        })
    }

    /// Publishes these bytes with as much time as there is and a record that `edit` has the last word on,
    /// under a name of their own.
    pub(crate) fn publish_record(&self, wasm: &[u8], edit: impl FnOnce(&mut Value)) -> Published {
        let rkey = format!("f{}", self.published.fetch_add(1, Ordering::Relaxed));
        self.world.publish_record(&rkey, wasm, |record| {
            patient(record);
            edit(record);
        })
    }

    /// Calls a function with an empty object.
    pub(crate) async fn call(&self, function: &Published) -> Answer {
        self.world.run(&function.uri, json!({})).await
    }

    /// Publishes the module of this text and calls it.
    pub(crate) async fn attack(&self, text: &str, allowed: Allowed) -> Answer {
        self.call(&self.publish(&wasm(text), allowed)).await
    }

    /// Has a published function called so many times at once.
    pub(crate) async fn attack_at_once(&self, function: &Published, times: usize) -> Vec<Answer> {
        self.makes_at_once(times);
        futures_util::future::join_all((0..times).map(|_| self.call(function))).await
    }

    /// Takes down how many calls the row makes at once.
    pub(crate) fn makes_at_once(&self, calls: usize) {
        self.callers.fetch_max(calls, Ordering::Relaxed);
    }

    /// So many calls that come one after the other within these milliseconds and do not wait for each
    /// other, as those of many callers do.
    pub(crate) async fn arrive<F: Future<Output = Answer>>(
        &self,
        calls: usize,
        millis: u64,
        call: impl Fn(usize) -> F,
    ) -> Vec<Answer> {
        self.makes_at_once(calls);
        let began = tokio::time::Instant::now();
        let calls = (0..calls).map(|n| {
            let arrival = began + Duration::from_millis(millis) * n as u32 / calls as u32;
            let call = &call;
            async move {
                tokio::time::sleep_until(arrival).await;
                call(n).await
            }
        });
        futures_util::future::join_all(calls).await
    }

    /// An author whose host is another one, with faults of its own.
    pub(crate) async fn stranger(&self) -> World {
        let (endpoint, did) = (self.world.endpoint.clone(), self.world.service_did.clone());
        World::around(async |_| (endpoint, did)).await
    }

    /// Calls a function that is refused before it runs, and gives the reason.
    pub(crate) async fn refusal(&self, code: &[u8]) -> String {
        let answer = self.call(&self.publish(code, USUAL)).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
        tells_nothing_of_the_host(&answer.body);
        answer.message().to_owned()
    }

    /// What should not take longer than this on a machine that has nothing else to do. Where it does, the
    /// row is tried again.
    pub(crate) fn within(&self, what: &str, took: Duration, limit: Duration) {
        println!("{what} took {took:?} of {limit:?}");
        if took > limit {
            self.late().push(format!("{what} took {took:?}, more than {limit:?}"));
        }
    }

    /// Goes through a row, and gives what did not hold though it should: times and memory, which the
    /// machine has a say in.
    async fn attempt(&self, row: &impl AsyncFn(&Arena)) -> Vec<String> {
        self.world.fail_with(|_| None);
        self.world.delay([]);
        self.late().clear();
        self.callers.store(0, Ordering::Relaxed);
        self.bystander_is_served().await;
        let before = (self.service.memory(), self.service.largest_worker());
        let health = Health::watch(self.service.port());
        row(self).await;
        let slow = health.p99();
        self.all_is_given_back().await;
        self.bystander_is_served().await;
        let more = self.memory_over(before).await;
        println!(
            "health {slow:?}, memory {before:?} and {:?}",
            (self.service.memory(), self.service.largest_worker())
        );
        let mut flaws = std::mem::take(&mut *self.late());
        if slow >= HEALTH {
            let honest = self.health_beside_honest_calls().await;
            if slow >= 3 * honest {
                flaws.push(format!("health has a p99 of {slow:?}, and of {honest:?} beside honest calls"));
            }
        }
        flaws.extend(more);
        flaws
    }

    /// Waits until a figure of `/metrics` is as it should be.
    pub(crate) async fn until(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        let began = Instant::now();
        while !is_so(self.service.metric(name)) {
            assert!(began.elapsed() < GIVEN_BACK, "{name} is {}", self.service.metric(name));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// What health has while as many ordinary calls as the row made at once are answered: on a machine
    /// that is too busy with these, an attack may take no more than a little over it.
    async fn health_beside_honest_calls(&self) -> Duration {
        let health = Health::watch(self.service.port());
        let callers = self.callers.load(Ordering::Relaxed).max(1);
        let began = Instant::now();
        while began.elapsed() < HONEST {
            futures_util::future::join_all((0..callers).map(|_| self.call(&self.bystander))).await;
        }
        health.p99()
    }

    /// Waits until nothing of any run is held any more.
    pub(crate) async fn all_is_given_back(&self) {
        let began = Instant::now();
        loop {
            let held = [
                RUNS,
                "at_functions_runs_waiting",
                "at_functions_instances",
                "at_functions_memory_reserved_bytes",
                "at_functions_modules_preparing",
                "at_functions_compiling",
            ]
            .map(|gauge| (gauge, self.service.metric(gauge)));
            if held.iter().all(|(_, value)| *value == 0) {
                return;
            }
            assert!(began.elapsed() < GIVEN_BACK, "{held:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn bystander_is_served(&self) {
        let answer = self.world.run(&self.bystander.uri, json!("still there?")).await;
        let echoed = json!({ "ok": true, "echo": "still there?", "mode": "pure-v1" });
        assert_eq!(answer.output(), &echoed);
    }

    /// The function that has no part in it.
    pub(crate) fn bystander(&self) -> &Published {
        &self.bystander
    }

    /// What the service, or a worker, has more than it had, where that is too much.
    async fn memory_over(&self, before: (OwnBytes, OwnBytes)) -> Option<String> {
        let began = Instant::now();
        loop {
            let now = (self.service.memory(), self.service.largest_worker());
            if now.0.0 <= before.0.0 + MEMORY && now.1.0 <= before.1.0 + MEMORY {
                return None;
            }
            if began.elapsed() > Duration::from_millis(500) {
                return Some(format!("memory of service and largest worker was {before:?}, is {now:?}"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn late(&self) -> MutexGuard<'_, Vec<String>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the guest did wrong, and nothing of the host.
pub(crate) fn failed(answer: &Answer, outcome: &str) {
    assert_eq!(answer.outcome(), outcome, "{answer:?}");
    tells_nothing_of_the_host(&answer.body);
}

/// No path, address, line of source or variable of the machine is in an answer.
pub(crate) fn tells_nothing_of_the_host(body: &Value) {
    let text = body.to_string();
    let home = std::env::var("HOME").unwrap_or_default();
    let here = env!("CARGO_MANIFEST_DIR");
    let hidden = [here, &home, "/tmp", "/proc", ".cargo", ".rs:", "127.0.0.1", "0x", "wasmtime", "cranelift"];
    for part in hidden.into_iter().filter(|part| part.len() > 1) {
        assert!(!text.contains(part), "{part} is in {text}");
    }
}

/// How long a run took by its answer.
pub(crate) fn duration(answer: &Answer) -> Duration {
    Duration::from_millis(answer.body["durationMs"].as_u64().unwrap())
}

/// The most memory that a run had.
pub(crate) fn peak(answer: &Answer) -> u64 {
    answer.body["usage"]["peakMemoryBytes"].as_u64().unwrap()
}
