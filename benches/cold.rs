//! The first call of a function, beside what it cannot avoid.
//!
//! `cargo bench --bench cold` calls functions that the service has never seen, each of an author of its own whose PDS is
//! on loopback, then restarts the service again and again, calls one of them and then the others right behind it, and at the
//! end all once more. Beside the first calls: the three
//! fetches that prove a function (the author's DID document, the record's proof, the code), made by a plain client
//! over one connection, and the compile of the code alone. Beside the calls after the restart: the two
//! fetches that prove the record again, and verifying it. Callers are known before the clock starts.

mod support;
#[allow(dead_code, reason = "the throughput's own terms")]
#[path = "throughput/terms.rs"]
mod terms;

use std::sync::Arc;
use std::time::{Duration, Instant};

use at_functions::clock::Clock;
use at_functions::config::Isolation;
use at_functions::dev::Author;
use at_functions::lexicon::{FUNCTION_COLLECTION, Mode, Nsid, RecordKey};
use at_functions::repo::{Expected, blob_cid, verify_record};
use at_functions::sandbox::{Sandbox as _, ThreadSandbox, ThreadSandboxConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use support::report::Report;
use support::{Key, Stage, call_of, load, median, modules, network};
use terms::Terms;

/// Functions, each of an author of its own.
const FUNCTIONS: u64 = 25;
/// How often the service is restarted.
const RESTARTS: usize = 9;
/// From the calls that make the callers known to the one that is measured. Those calls took the worker that is kept in
/// reserve; by then there is another one.
const PAUSE: Duration = Duration::from_millis(300);
/// Calls that make the callers known.
const WARM_UP: usize = 100;

fn main() -> anyhow::Result<()> {
    if network::was_mirror() {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(measure())
}

/// A function of an author of its own.
struct Function {
    author: Arc<Author>,
    wasm: Vec<u8>,
    body: String,
}

impl Function {
    async fn publish(number: u64) -> anyhow::Result<Function> {
        let author = network::author().await?;
        let wasm = modules::salted(&modules::echo(), number);
        let body = call_of(&author, "echo", Mode::PureV1, wasm.clone(), &json!({ "hello": "world" }))?;
        Ok(Function { author, wasm, body })
    }

    /// What proves the record, and then the code.
    fn paths(&self) -> [String; 3] {
        let did = self.author.did().as_str().replace('%', "%25");
        [
            "/.well-known/did.json".into(),
            format!("/xrpc/com.atproto.sync.getRecord?did={did}&collection=at.functions.metadata&rkey=echo"),
            format!("/xrpc/com.atproto.sync.getBlob?did={did}&cid={}", blob_cid(&self.wasm)),
        ]
    }
}

async fn measure() -> anyhow::Result<()> {
    let mut report = Report::begin("cold")?;
    println!("{FUNCTIONS} functions (the example's echo), each of an author of its own; medians");
    let mut alone = Alone::default();
    let sandbox = ThreadSandbox::start(ThreadSandboxConfig { slots: 4, ..Default::default() })?;
    let mut rows = Vec::new();
    for (number, (name, isolation)) in
        [("process", Isolation::Process), ("thread", Isolation::Thread)].into_iter().enumerate()
    {
        let mut functions = Vec::new();
        for n in 0..FUNCTIONS {
            functions.push(Function::publish(number as u64 * FUNCTIONS + n).await?);
        }
        let sides = Side::measure(isolation, &functions, &mut alone, &sandbox).await?;
        rows.push((name, isolation, sides));
    }
    let bare = network::bare_handler().await?;
    let body = json!({ "function": "at://x", "input": { "hello": "world" } }).to_string();
    let floor = load(bare, 1, &body, None, Duration::from_millis(500)).await?.p50_micros;
    let terms = tokio::task::spawn_blocking(|| Terms::default().measure()).await??;
    tell(&mut report, &rows, &alone, floor, &terms);
    report.end()
}

/// What cannot be avoided, alone, in microseconds.
#[derive(Default)]
struct Alone {
    record: Vec<f64>,
    verified: Vec<f64>,
    code: Vec<f64>,
    compile: Vec<f64>,
}

/// Latencies of one isolation's calls, in microseconds.
struct Side {
    first: Vec<f64>,
    restarted: Vec<f64>,
    behind: Vec<f64>,
    warm: Vec<f64>,
}

impl Side {
    async fn measure(
        isolation: Isolation,
        functions: &[Function],
        alone: &mut Alone,
        sandbox: &ThreadSandbox,
    ) -> anyhow::Result<Side> {
        let mut stage = Stage::start(isolation).await?;
        let other = stage.publish("other", Mode::PureV1, modules::least_echoes()?.remove(0).1)?;
        let warm_up = vec![other; WARM_UP];
        stage.one_after_the_other(&warm_up).await?;
        let mut first = Vec::new();
        // In turn, so that whatever else the machine does meets all alike.
        for function in functions {
            let [record, verified, code] = fetched(function).await?;
            alone.record.push(record);
            alone.verified.push(verified);
            alone.code.push(code);
            let began = Instant::now();
            let compiled = sandbox.compile(Mode::PureV1, function.wasm.clone().into()).await?;
            sandbox.install(&compiled)?;
            alone.compile.push(began.elapsed().as_secs_f64() * 1e6);
            let called = stage.one_after_the_other(std::slice::from_ref(&function.body)).await?;
            first.extend(of(&called, "cold")?);
        }
        let all: Vec<String> = functions.iter().map(|function| function.body.clone()).collect();
        // Compiled code, that of the warm-up too, is written when the call has its answer.
        while stage.artifacts_on_disk() <= functions.len() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (mut restarted, mut behind) = (Vec::new(), Vec::new());
        for number in 0..RESTARTS {
            stage = stage.restart().await?;
            stage.one_after_the_other(&warm_up).await?;
            tokio::time::sleep(PAUSE).await;
            // Another one each time.
            let mut all = all.clone();
            all.rotate_left(number);
            let called = of(&stage.one_after_the_other(&all).await?, "disk")?;
            restarted.push(called[0]);
            behind.extend(&called[1..]);
        }
        let mut warm = Vec::new();
        for _ in 0..5 {
            warm.extend(of(&stage.one_after_the_other(&all).await?, "warm")?);
        }
        Ok(Side { first, restarted, behind, warm })
    }
}

/// The latencies of calls that found their code there.
fn of(called: &[support::Called], cache: &str) -> anyhow::Result<Vec<f64>> {
    anyhow::ensure!(called.iter().all(|call| call.cache == cache), "not every call was {cache}");
    Ok(called.iter().map(|call| call.micros).collect())
}

/// How long a plain client takes for what proves the record, for verifying it, and for the code, in microseconds.
async fn fetched(function: &Function) -> anyhow::Result<[f64; 3]> {
    let origin = function.author.origin().strip_prefix("http://").unwrap_or_default();
    let [document, record, code] = function.paths();
    let began = Instant::now();
    let mut stream = TcpStream::connect(origin).await?;
    stream.set_nodelay(true)?;
    get(&mut stream, origin, &document).await?;
    let car = get(&mut stream, origin, &record).await?;
    let fetched = began.elapsed();
    let key = function.author.signing_key().public();
    let expected = Expected {
        did: function.author.did(),
        collection: &Nsid::parse(FUNCTION_COLLECTION)?,
        rkey: &RecordKey::parse("echo")?,
        key: &key,
        now: Clock::system().since_epoch(),
    };
    let began = Instant::now();
    anyhow::ensure!(verify_record(&car, &expected)?.record.is_some(), "the record is not proved");
    let verified = began.elapsed();
    let began = Instant::now();
    get(&mut stream, origin, &code).await?;
    Ok([fetched, verified, began.elapsed()].map(|time| time.as_secs_f64() * 1e6))
}

/// The body of an answer.
async fn get(stream: &mut TcpStream, host: &str, path: &str) -> anyhow::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    loop {
        anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "{path}: the connection was closed");
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        if answer.len() >= end + 4 + length {
            anyhow::ensure!(head.starts_with("http/1.1 200"), "{path}: {head}");
            return Ok(answer.split_off(end + 4));
        }
    }
}

fn tell(report: &mut Report, rows: &[(&str, Isolation, Side)], alone: &Alone, floor: f64, terms: &Terms) {
    let [record, verified] = [median(&alone.record), median(&alone.verified)];
    let [code, compile] = [median(&alone.code), median(&alone.compile)];
    let millis = |micros: f64| format!("{:.2} ms", micros / 1e3);
    let told: Vec<Vec<String>> = [
        ("DID document and record's proof, fetched", record),
        ("record's proof, verified", verified),
        ("code, fetched", code),
        ("compile and load, in a thread", compile),
    ]
    .into_iter()
    .map(|(name, micros)| {
        report.figure(format!("alone, {name}, us"), micros);
        vec![name.to_owned(), millis(micros)]
    })
    .collect();
    report.table("What cannot be avoided, measured alone", &["what", "time"], &told);

    let mut told = Vec::new();
    for (name, isolation, side) in rows {
        let warm_needs = floor + terms.sum_micros(Key::K256, *isolation) - terms.http_micros();
        let cases = [
            ("first call ever", median(&side.first), record + code + compile, "1.3, goal 1.1"),
            ("first call after a restart", median(&side.restarted), record + verified, ""),
            ("other authors' functions right behind it", median(&side.behind), record + verified, ""),
            ("warm", median(&side.warm), warm_needs, ""),
        ];
        for (case, took, needs, bar) in cases {
            report.figure(format!("{name}, {case}, us"), took);
            report.figure(format!("{name}, {case}, unavoidable us"), needs);
            told.push(vec![
                format!("{name}, {case}"),
                millis(took),
                millis(needs),
                format!("{:.2}", took / needs),
                bar.to_owned(),
                millis(took - needs),
                if case.contains("restart") { "3 ms, goal 1 ms".into() } else { String::new() },
            ]);
        }
    }
    let head = ["call", "took", "unavoidable", "ratio", "bar", "beyond", "bar"];
    report.table("Calls beside what they cannot avoid", &head, &told);
}
