//! The same work in every mode: warm verified calls a second, one table, all in one run.
//!
//! `cargo bench --bench modes` runs the least echo that there is in each mode, and the listers of
//! `examples/` on a page of ten records that the service has at hand. Rounds of the functions take turns, so
//! that whatever else the machine does meets all of them; the load generator shares the machine with what
//! it measures, so only ratios mean something.

mod support;

use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::lexicon::{Mode, RecordKey};
use serde_json::{Value, json};

use support::{CONNECTIONS, Stage, load, median, modules};

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 3;
/// More calls than a round gets through.
const TOKENS: usize = 50_000;

/// One line of the table.
struct Line {
    name: String,
    body: String,
    per_second: Vec<f64>,
    p50_micros: Vec<f64>,
    p99_micros: Vec<f64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut stage = Stage::start(Isolation::Thread).await?;
    let host_lister = include_bytes!("../examples/host-rust/lister.wasm");
    let component_lister = include_bytes!("../examples/component-rust/lister.wasm");
    let component_lister_2 = include_bytes!("../examples/component-rust-v2/lister.wasm");
    let echoes = modules::least_echoes()?;
    let filler = echoes[0].1.clone();
    let listers = [
        ("host-v1, list 10", Mode::HostV1, host_lister.to_vec()),
        ("component-v1 @0.1.0, list 10", Mode::ComponentV1, component_lister.to_vec()),
        ("component-v1 @0.2.0, list 10", Mode::ComponentV1, component_lister_2.to_vec()),
    ];
    let mut lines = Vec::new();
    let input = json!({ "hello": "world" });
    for (mode, wasm) in echoes {
        lines.push(line(&stage, &format!("{mode}, echo"), mode, wasm, &input)?);
    }
    let input = json!({ "repo": stage.author.did(), "collection": "at.functions.metadata", "limit": 10 });
    for (name, mode, wasm) in listers {
        lines.push(line(&stage, name, mode, wasm, &input)?);
    }
    // So that a page of ten is full.
    for number in 0..10 {
        let rkey = RecordKey::parse(&format!("filler-{number}"))?;
        stage.author.publish(&rkey, Mode::PureV1, filler.clone().into())?;
    }

    println!(
        "{CONNECTIONS} keep-alive connections, {ROUNDS} rounds of {} s in turn, the load generator beside it",
        ROUND.as_secs()
    );
    for round in 0..=ROUNDS {
        for line in &mut lines {
            let tokens = stage.tokens(TOKENS);
            let figures = load(stage.service, CONNECTIONS, &line.body, Some(tokens), ROUND).await?;
            // The first round compiles and fetches.
            if round > 0 {
                line.per_second.push(figures.per_second);
                line.p50_micros.push(figures.p50_micros);
                line.p99_micros.push(figures.p99_micros);
            }
        }
    }
    println!("| function | calls/s | p50 | p99 | beside pure-v1 |\n|---|---|---|---|---|");
    let pure = median(&lines[0].per_second);
    for line in &lines {
        println!(
            "| {} | {:.0} | {:.2} ms | {:.2} ms | {:.2} |",
            line.name,
            median(&line.per_second),
            median(&line.p50_micros) / 1e3,
            median(&line.p99_micros) / 1e3,
            median(&line.per_second) / pure,
        );
    }
    Ok(())
}

fn line(stage: &Stage, name: &str, mode: Mode, wasm: Vec<u8>, input: &Value) -> anyhow::Result<Line> {
    let rkey: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let published = stage.author.publish(&RecordKey::parse(&rkey)?, mode, wasm.into())?;
    let body = json!({ "function": published.uri.to_string(), "input": input }).to_string();
    Ok(Line {
        name: name.to_owned(),
        body,
        per_second: Vec::new(),
        p50_micros: Vec::new(),
        p99_micros: Vec::new(),
    })
}
