//! Many functions in one service: memory, latency as the number grows, and what bounded caches do when they
//! overflow.
//!
//! `cargo bench --bench density` has distinct functions (the example's echo, each with a CID of its own, of a hundred
//! authors) called for the first time until there are 1, 100, 1,000 and 10,000 of them, and stops earlier where
//! that takes longer than `PATIENCE`: each is fetched, proved and compiled. At each number it measures the
//! memory of the service and its workers, a warm function's latency, and a sample of all functions called again, by
//! where their code was. From a thousand functions on, the new ones are the least echo that there is, which
//! compiles faster.
//!
//! Workers are sealed, so that only root may see their memory.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use at_functions::config::Isolation;
use at_functions::dev::Author;
use at_functions::lexicon::Mode;
use serde_json::json;

use support::processes::{Memory, memory, tree};
use support::report::Report;
use support::{Called, Stage, call_each, call_of, median, modules, network};

const NUMBERS: [usize; 4] = [1, 100, 1_000, 10_000];
const AUTHORS: usize = 100;
/// As many functions are the example's echo; the others are less.
const ECHOES: usize = 1_000;
/// The longest that one isolation's first calls may take.
const PATIENCE: Duration = Duration::from_secs(400);
/// Connections that first calls are made over.
const CONNECTIONS: usize = 8;
/// Functions called between two looks at the clock.
const BATCH: usize = 200;
/// How often a first call is made, at most.
const TRIES: usize = 20;
const WARM_CALLS: usize = 500;
/// Functions that are called again.
const SAMPLE: usize = 400;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut report = Report::begin("density")?;
    for (name, isolation) in [("process", Isolation::Process), ("thread", Isolation::Thread)] {
        Side::start(name, isolation).await?.measure(&mut report).await?;
    }
    report.end()
}

/// One isolation's service.
struct Side {
    name: &'static str,
    stage: Stage,
    authors: Vec<Arc<Author>>,
    bodies: Vec<String>,
    least: Vec<u8>,
}

/// What was found at a number of functions.
struct Found {
    functions: usize,
    memory: Memory,
    warm_micros: f64,
    again: Vec<Called>,
}

impl Side {
    async fn start(name: &'static str, isolation: Isolation) -> anyhow::Result<Side> {
        let stage = Stage::start(isolation).await?;
        let mut authors = Vec::new();
        for _ in 0..AUTHORS {
            authors.push(network::author().await?);
        }
        let least = modules::least_echoes()?.remove(0).1;
        Ok(Side { name, stage, authors, bodies: Vec::new(), least })
    }

    async fn measure(mut self, report: &mut Report) -> anyhow::Result<()> {
        let empty = self.memory()?;
        let service = memory(&[self.stage.running.pid()])?;
        let ready = self.stage.running.ready_after;
        let start = [
            (
                "resident, the service",
                megabytes(service.resident),
                service.resident as f64,
                "60 MB, goal 40 MB",
            ),
            (
                "proportional, the service and its processes",
                megabytes(empty.proportional),
                empty.proportional as f64,
                "",
            ),
            (
                "ready within",
                format!("{} ms", ready.as_millis()),
                ready.as_secs_f64() * 1e3,
                "300 ms, goal 100 ms",
            ),
        ];
        let rows = start.map(|(what, told, figure, bar)| {
            report.figure(format!("{}, {what}", self.name), figure);
            vec![what.to_owned(), told, bar.to_owned()]
        });
        report.table(&format!("Isolation {}: at start", self.name), &["what", "here", "bar"], &rows);

        let began = Instant::now();
        let mut all = Vec::new();
        for number in NUMBERS {
            while self.bodies.len() < number && began.elapsed() < PATIENCE {
                self.grow(number).await?;
            }
            let is_whole = self.bodies.len() >= number;
            all.push(self.look().await?);
            if !is_whole {
                println!("{}: stopped at {} functions, the time is over", self.name, self.bodies.len());
                break;
            }
        }
        self.tell(report, empty, &all);
        Ok(())
    }

    fn memory(&self) -> anyhow::Result<Memory> {
        memory(&tree(self.stage.running.pid()))
    }

    /// Publishes some more functions and calls each for the first time.
    async fn grow(&mut self, number: usize) -> anyhow::Result<()> {
        let first = self.bodies.len();
        let mut new = Vec::new();
        for n in first..number.min(first + BATCH) {
            let wasm = if n < ECHOES { &modules::echo() } else { &self.least };
            let wasm = modules::salted(wasm, n as u64);
            let input = json!({ "hello": "world" });
            new.push(call_of(&self.authors[n % AUTHORS], &format!("f-{n}"), Mode::PureV1, wasm, &input)?);
        }
        self.bodies.extend(new.iter().cloned());
        // Where the machine is busy, some are told that they are still being compiled.
        for _ in 0..TRIES {
            new = self.refused(&new).await?;
            if new.is_empty() {
                return Ok(());
            }
        }
        anyhow::bail!("{} first calls were refused {TRIES} times", new.len())
    }

    /// Calls each of these at once over some connections; those that did not run.
    async fn refused(&mut self, bodies: &[String]) -> anyhow::Result<Vec<String>> {
        let tokens = self.stage.tokens(bodies.len());
        let share = bodies.len().div_ceil(CONNECTIONS).max(1);
        let mut calls = tokio::task::JoinSet::new();
        for (bodies, tokens) in bodies.chunks(share).zip(tokens.chunks(share)) {
            let (service, bodies, tokens) = (self.stage.service, bodies.to_vec(), tokens.to_vec());
            calls.spawn(async move {
                let called = call_each(service, &bodies, &tokens).await?;
                let refused = bodies.into_iter().zip(called).filter(|(_, call)| call.cache.is_empty());
                anyhow::Ok(refused.map(|(body, _)| body).collect::<Vec<_>>())
            });
        }
        let mut refused = Vec::new();
        while let Some(of_one) = calls.join_next().await {
            refused.extend(of_one??);
        }
        Ok(refused)
    }

    async fn look(&mut self) -> anyhow::Result<Found> {
        let functions = self.bodies.len();
        // The newest, since the oldest may have had to go.
        let newest = vec![self.bodies[functions - 1].clone(); WARM_CALLS + 20];
        let warm = self.stage.one_after_the_other(&newest).await?;
        let warm: Vec<f64> = warm[20..].iter().map(|call| call.micros).collect();
        let memory = self.memory()?;
        // Spread evenly over all that there are, from the oldest to the newest.
        let sampled = SAMPLE.min(functions);
        let sample: Vec<_> = (0..sampled).map(|n| self.bodies[n * functions / sampled].clone()).collect();
        let again = self.stage.one_after_the_other(&sample).await?;
        Ok(Found { functions, memory, warm_micros: median(&warm), again })
    }

    fn tell(&self, report: &mut Report, empty: Memory, all: &[Found]) {
        let mut rows = Vec::new();
        for found in all {
            let taken = found.memory.taken().saturating_sub(empty.taken());
            let each = taken as f64 / found.functions as f64;
            let slower = found.warm_micros / all[0].warm_micros;
            let name = |what: &str| format!("{}, {} functions, {what}", self.name, found.functions);
            report.figure(name("bytes a function"), each);
            report.figure(name("bytes"), found.memory.taken());
            report.figure(name("warm us"), found.warm_micros);
            rows.push(vec![
                found.functions.to_string(),
                megabytes(found.memory.taken()),
                format!("{:.0} kB", each / 1e3),
                format!("{:.0} us", found.warm_micros),
                format!("{slower:.2}"),
                by_cache(&found.again),
            ]);
        }
        let head = [
            "functions",
            "memory",
            "more, a function",
            "warm, p50",
            "beside one function",
            "all again: share and p50 by where the code was",
        ];
        let title = format!(
            "Isolation {}: as the number grows (bars: 400 kB a function at 1,000, goal 200; 1.2 times at 10,000, goal 1.05)",
            self.name
        );
        report.table(&title, &head, &rows);
    }
}

/// Such as `64% warm 310 us, 36% disk 2100 us`.
fn by_cache(called: &[Called]) -> String {
    let mut by: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for call in called {
        by.entry(&call.cache).or_default().push(call.micros);
    }
    let told = by.iter().rev().map(|(cache, micros)| {
        let share = micros.len() as f64 * 100.0 / called.len() as f64;
        format!("{share:.0}% {cache} {:.0} us", median(micros))
    });
    told.collect::<Vec<_>>().join(", ")
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
