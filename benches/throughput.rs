//! Warm verified echo calls a second, beside what this machine could do at most.
//!
//! `cargo bench --bench throughput` starts a service of each isolation in processes of their own, and calls
//! them over keep-alive connections with a fresh token a call. The limit that each is held to is cores / the sum of
//! processor seconds (user and system, of all processes, load generator included) of what a call cannot do
//! without, each measured alone in the same rounds:
//!
//! - HTTP: an axum handler that parses the same envelope and sends the input back, with the same client,
//!   connections, tokens and body;
//! - one verification of the token's signature, by the fastest implementation of its curve that there is;
//! - one instance of the guest made, called with this input, and dropped, with the engine's settings and no more;
//! - with worker processes, a packet of the input's size to another process and back.
//!
//! Nothing else is counted as needed: no replay check, no record, policy, limits, metrics, log or audit. Rounds
//! of all take turns, so that whatever else the machine does meets all of them. With them, where there is one, takes turns
//! `wasmtime serve`, which answers the same requests with a component that says hello to anybody.

#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

mod support;
#[path = "throughput/terms.rs"]
mod terms;
#[path = "throughput/wasmtime_serve.rs"]
mod wasmtime_serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::lexicon::Mode;
use serde_json::json;

use support::processes::{cores, measured};
use support::report::Report;
use support::{CONNECTIONS, Key, Options, Request, Stage, load_in_turn, median, modules, network};
use terms::Terms;
use wasmtime_serve::WasmtimeServe;

const ROUND: Duration = Duration::from_millis(2_000);
const ROUND_OF_A_MODE: Duration = Duration::from_millis(800);
const ROUNDS: usize = 7;
/// Calls a second that a first round has tokens for; the next ones go by it. Signing takes longer than calling.
const FIRST_PER_SECOND: f64 = 10_000.0;
const AUTHORS: usize = 100;
/// What the TypeScript proof of concept answers on this class of machine (two shared cores),
/// unauthenticated, with the load generator beside it.
const PROOF_OF_CONCEPT: f64 = 263.0;
/// What `wasmtime serve` 48 answers on this class of machine, with the load generator beside it: a hello
/// component, a fresh instance a request, no authentication. Not of this run, and not of this hour.
const WASMTIME_SERVE: f64 = 19_600.0;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    if network::was_mirror() {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(compare())
}

/// One line of the tables: what is called, and what came of it.
struct Line {
    name: String,
    key: Key,
    bodies: Arc<Vec<String>>,
    round: Duration,
    per_second: Vec<f64>,
    p50_micros: Vec<f64>,
    p99_micros: Vec<f64>,
    cpu_micros: Vec<f64>,
}

impl Line {
    fn new(name: impl Into<String>, key: Key, bodies: Vec<String>, round: Duration) -> Line {
        let (per_second, p50_micros, p99_micros, cpu_micros) = Default::default();
        let bodies = Arc::new(bodies);
        Line { name: name.into(), key, bodies, round, per_second, p50_micros, p99_micros, cpu_micros }
    }

    async fn take_turn(
        &mut self,
        service: SocketAddr,
        tokens: Option<Arc<Vec<String>>>,
    ) -> anyhow::Result<()> {
        let request = Request::Calls { bodies: Arc::clone(&self.bodies), tokens };
        let (figures, cost) = measured(load_in_turn(service, CONNECTIONS, request, self.round)).await;
        let figures = figures?;
        self.per_second.push(figures.per_second);
        self.p50_micros.push(figures.p50_micros);
        self.p99_micros.push(figures.p99_micros);
        self.cpu_micros.push(cost.cpu_seconds * 1e6 / figures.micros.len() as f64);
        Ok(())
    }

    /// Somewhat more than it got through at best.
    fn tokens_wanted(&self) -> usize {
        let best = self.per_second.iter().copied().fold(0.0, f64::max);
        let expected = if best > 0.0 { best * 1.25 } else { FIRST_PER_SECOND };
        (self.round.as_secs_f64() * expected) as usize
    }

    fn rate(&self) -> f64 {
        median(&self.per_second)
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            format!("{:.0}", self.rate()),
            format!("{:.2} ms", median(&self.p50_micros) / 1e3),
            format!("{:.2} ms", median(&self.p99_micros) / 1e3),
            format!("{:.0} us", median(&self.cpu_micros)),
        ]
    }
}

/// One service and its lines.
struct Side {
    name: &'static str,
    isolation: Isolation,
    stage: Stage,
    echoes: Vec<Line>,
    authors: Line,
    modes: Vec<Line>,
}

impl Side {
    async fn start(name: &'static str, isolation: Isolation) -> anyhow::Result<Side> {
        let stage = Stage::start_with(Options::new(isolation)).await?;
        let body = stage.publish("echo", Mode::PureV1, modules::echo())?;
        let echoes = Key::ALL
            .map(|key| Line::new(format!("{name}, {}", key.algorithm()), key, vec![body.clone()], ROUND));
        let mut of_many = Vec::new();
        for _ in 0..AUTHORS {
            let author = network::author().await?;
            let input = json!({ "hello": "world" });
            of_many.push(support::call_of(&author, "echo", Mode::PureV1, modules::echo(), &input)?);
        }
        let authors = Line::new(format!("{name}, {AUTHORS} authors in turn"), Key::K256, of_many, ROUND);
        let mut modes = Vec::new();
        for (mode, wasm) in modules::least_echoes()? {
            let body = stage.publish(mode.as_str(), mode, wasm)?;
            modes.push(Line::new(format!("{name}, {mode}"), Key::K256, vec![body], ROUND_OF_A_MODE));
        }
        let mut side = Side { name, isolation, stage, echoes: echoes.into(), authors, modes };
        // What fetches and compiles is no round.
        let all: Vec<String> = side.lines().flat_map(|line| line.bodies.to_vec()).collect();
        side.stage.one_after_the_other(&all).await?;
        Ok(side)
    }

    fn lines(&mut self) -> impl Iterator<Item = &mut Line> {
        self.echoes.iter_mut().chain([&mut self.authors]).chain(&mut self.modes)
    }

    async fn take_turns(&mut self) -> anyhow::Result<()> {
        let Side { stage, echoes, authors, modes, .. } = self;
        for line in echoes.iter_mut().chain([authors]).chain(modes) {
            let tokens = stage.tokens_of(line.key, line.tokens_wanted());
            line.take_turn(stage.service, Some(tokens)).await?;
        }
        Ok(())
    }
}

async fn compare() -> anyhow::Result<()> {
    let mut report = Report::begin("throughput")?;
    println!(
        "{CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {} s each in turn, the load generator beside it; medians",
        ROUND.as_secs_f64()
    );
    let bare = network::bare_handler().await?;
    let mut sides =
        [Side::start("process", Isolation::Process).await?, Side::start("thread", Isolation::Thread).await?];
    let mut again = Apart::start(
        "process, ES256K, the same call again (memo)",
        Options { memo_mb: 64, ..Options::new(Isolation::Process) },
    )
    .await?;
    let mut a_core = Apart::start(
        "process, ES256K, a service thread a core",
        Options { service_threads: Some(cores()), ..Options::new(Isolation::Process) },
    )
    .await?;
    let body = sides[0].echoes[0].bodies[0].clone();
    let mut floor = Line::new("bare axum handler", Key::K256, vec![body.clone()], ROUND);
    let serve = WasmtimeServe::start().await?;
    let mut served = Line::new("wasmtime serve, a hello component", Key::K256, vec![body], ROUND);
    let mut terms = Terms::default();
    for _ in 0..ROUNDS {
        let tokens = again_and_again(&sides[0].stage.tokens(1), 400_000);
        floor.take_turn(bare, Some(Arc::clone(&tokens))).await?;
        if let Some(serve) = &serve {
            served.take_turn(serve.address, Some(tokens)).await?;
        }
        terms.http.push(floor.cpu_micros[floor.cpu_micros.len() - 1]);
        terms = tokio::task::spawn_blocking(move || terms.measure()).await??;
        for side in &mut sides {
            side.take_turns().await?;
        }
        for apart in [&mut a_core, &mut again] {
            let tokens = apart.stage.tokens(apart.line.tokens_wanted());
            apart.line.take_turn(apart.stage.service, Some(tokens)).await?;
        }
    }
    let served = serve.is_some().then_some(&served);
    tell(&mut report, &sides, (&floor, served), &terms, [&a_core.line, &again.line]);
    report.end()
}

/// A service of the default isolation with other settings.
struct Apart {
    stage: Stage,
    line: Line,
}

impl Apart {
    async fn start(name: &str, options: Options) -> anyhow::Result<Apart> {
        let mut stage = Stage::start_with(options).await?;
        let body = stage.publish("echo", Mode::PureV1, modules::echo())?;
        // Each caller has made the call before.
        stage.one_after_the_other(&vec![body.clone(); 100]).await?;
        Ok(Apart { stage, line: Line::new(name, Key::K256, vec![body], ROUND) })
    }
}

/// One token again and again, for those who do not look at it.
fn again_and_again(tokens: &[String], count: usize) -> Arc<Vec<String>> {
    Arc::new(tokens.iter().cycle().take(count).cloned().collect())
}

fn tell(
    report: &mut Report,
    sides: &[Side; 2],
    (floor, served): (&Line, Option<&Line>),
    terms: &Terms,
    apart: [&Line; 2],
) {
    let head = ["what a call cannot do without", "processor time"];
    let mut rows = Vec::new();
    for (name, micros) in terms.told() {
        report.figure(format!("term {name}"), micros);
        rows.push(vec![name.to_owned(), format!("{micros:.1} us")]);
    }
    report.table("The terms of the limit, each measured alone", &head, &rows);

    let mut rows = Vec::new();
    for line in [floor].into_iter().chain(served) {
        report.figure(format!("{} calls/s", line.name), line.rate());
        rows.push([line.cells(), vec![String::new(), String::new()]].concat());
    }
    for side in sides {
        for line in &side.echoes {
            let limit = cores() as f64 * 1e6 / terms.sum_micros(line.key, side.isolation);
            let ratio = line.rate() / limit;
            report.figure(format!("{} calls/s", line.name), line.rate());
            report.figure(format!("{} limit calls/s", line.name), limit);
            report.figure(format!("{} of its limit", line.name), ratio);
            report.figure(format!("{} processor us a call", line.name), median(&line.cpu_micros));
            rows.push([line.cells(), vec![format!("{limit:.0}"), format!("{ratio:.2}")]].concat());
        }
    }
    let [a_core, again] = apart;
    let limit = cores() as f64 * 1e6 / terms.sum_micros(Key::K256, Isolation::Process);
    let of_limit = vec![format!("{limit:.0}"), format!("{:.2}", a_core.rate() / limit)];
    for (line, of_limit) in [(a_core, of_limit), (again, vec![String::new(); 2])] {
        report.figure(format!("{} calls/s", line.name), line.rate());
        rows.push([line.cells(), of_limit].concat());
    }
    let head =
        ["warm verified echo", "calls/s", "p50", "p99", "processor time a call", "limit", "of its limit"];
    report.table("Warm verified echo beside its limit", &head, &rows);

    let head = ["least echo", "calls/s", "p50", "p99", "processor time a call", "beside pure-v1"];
    for side in sides {
        let pure = side.modes[0].rate();
        let rows: Vec<_> = side
            .modes
            .iter()
            .map(|line| {
                report.figure(format!("{} calls/s", line.name), line.rate());
                [line.cells(), vec![format!("{:.2}", line.rate() / pure)]].concat()
            })
            .collect();
        report.table(&format!("Modes, isolation {}", side.name), &head, &rows);
    }

    let [process, thread] = sides;
    let mut ratios = vec![
        ("process / thread isolation", process.echoes[0].rate() / thread.echoes[0].rate(), 0.75, 0.90),
        (
            "default isolation / the proof of concept's 263/s",
            process.echoes[0].rate() / PROOF_OF_CONCEPT,
            35.0,
            75.0,
        ),
        (
            "default isolation / the 19,600/s of wasmtime serve on such a machine",
            process.echoes[0].rate() / WASMTIME_SERVE,
            0.5,
            1.0,
        ),
        (
            "of its limit, default isolation, ES256K",
            process.echoes[0].rate() * terms.sum_micros(Key::K256, process.isolation)
                / (cores() as f64 * 1e6),
            0.65,
            0.85,
        ),
    ];
    if let Some(served) = served {
        let ratio = process.echoes[0].rate() / served.rate();
        ratios.push(("default isolation / wasmtime serve in this run", ratio, 0.5, 1.0));
    }
    for side in sides {
        let name = if side.name == "process" {
            "100 authors in turn / one, process"
        } else {
            "100 authors in turn / one, thread"
        };
        ratios.push((name, side.authors.rate() / side.echoes[0].rate(), 0.6, 0.85));
        let component = side.modes.iter().find(|line| line.name.ends_with("component-v1"));
        let host = side.modes.iter().find(|line| line.name.ends_with("host-v1"));
        if let (Some(component), Some(host)) = (component, host) {
            let name = if side.name == "process" {
                "component-v1 / host-v1 call, process"
            } else {
                "component-v1 / host-v1 call, thread"
            };
            ratios.push((name, host.rate() / component.rate(), 2.0, 1.3));
        }
        report.figure(format!("{} calls/s", side.authors.name), side.authors.rate());
    }
    let rows: Vec<_> = ratios
        .into_iter()
        .map(|(name, ratio, bar, goal)| {
            report.figure(name, ratio);
            vec![name.to_owned(), format!("{ratio:.2}"), format!("{bar}"), format!("{goal}")]
        })
        .collect();
    report.table("Ratios", &["ratio", "here", "bar", "goal"], &rows);
}
