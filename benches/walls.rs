//! What the second wall costs: warm verified echo calls with guests in threads and in processes.
//!
//! `cargo bench --bench walls` starts one service of each isolation and has them take turns, at
//! 16 connections and at one. Beside them, in the same turns, a bare round trip between two processes: one
//! packet each way over a socket of the kind that workers have, with nothing done on either side. The load
//! generator shares the machine with what it measures, so only ratios and differences mean something.

// Elsewhere there are no worker processes to measure.
#![cfg_attr(not(target_os = "linux"), allow(dead_code, unused_imports))]

mod support;

use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::dev::Modules;
use at_functions::lexicon::Mode;
use serde_json::json;

use support::network::{self, Mirror};
use support::{CONNECTIONS, Stage, load, median};

const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 5;
/// More calls than a round gets through.
const TOKENS: usize = 40_000;
const ROUND_TRIPS: usize = 5_000;

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    if network::was_mirror() {
        return Ok(());
    }
    tokio::runtime::Runtime::new()?.block_on(compare())
}

/// One isolation's service, and what came of its rounds.
struct Side {
    name: &'static str,
    stage: Stage,
    body: String,
    per_second: Vec<f64>,
    alone_micros: Vec<f64>,
}

impl Side {
    async fn start(name: &'static str, isolation: Isolation) -> anyhow::Result<Side> {
        let stage = Stage::start(isolation).await?;
        let module = Modules::example();
        let published = stage.author.publish(&module.rkey, Mode::PureV1, module.wasm)?;
        let body =
            json!({ "function": published.uri.to_string(), "input": { "hello": "world" } }).to_string();
        Ok(Side { name, stage, body, per_second: Vec::new(), alone_micros: Vec::new() })
    }

    async fn take_turn(&mut self) -> anyhow::Result<()> {
        let tokens = self.stage.tokens(TOKENS);
        let many = load(self.stage.service, CONNECTIONS, &self.body, Some(tokens), ROUND).await?;
        let tokens = self.stage.tokens(TOKENS);
        let one = load(self.stage.service, 1, &self.body, Some(tokens), ROUND).await?;
        self.per_second.push(many.per_second);
        self.alone_micros.push(one.p50_micros);
        println!(
            "{:>8}: {CONNECTIONS} connections {:>6.0}/s p50 {:>5.0} us p99 {:>6.0} us | 1 connection p50 {:>4.0} us p99 {:>5.0} us",
            self.name, many.per_second, many.p50_micros, many.p99_micros, one.p50_micros, one.p99_micros
        );
        Ok(())
    }
}

async fn compare() -> anyhow::Result<()> {
    let mut threads = Side::start("thread", Isolation::Thread).await?;
    let mut processes = Side::start("process", Isolation::Process).await?;
    let mut bare_micros = Vec::new();
    for round in 0..=ROUNDS {
        threads.take_turn().await?;
        processes.take_turn().await?;
        bare_micros.push(tokio::task::spawn_blocking(bare_round_trip).await??);
        println!("    bare: round trip p50 {:.0} us", bare_micros[bare_micros.len() - 1]);
        // The first round compiles and fetches.
        if round == 0 {
            threads.per_second.clear();
            threads.alone_micros.clear();
            processes.per_second.clear();
            processes.alone_micros.clear();
            bare_micros.clear();
        }
    }
    let share = median(&processes.per_second) / median(&threads.per_second);
    let added = median(&processes.alone_micros) - median(&threads.alone_micros);
    let bare = median(&bare_micros);
    println!(
        "throughput at {CONNECTIONS} connections: process/thread {share:.3}; at one connection the wall adds {added:.0} us, \
         {:.2} of a bare round trip ({bare:.0} us)",
        added / bare
    );
    Ok(())
}

/// What a packet to another process and back takes, in microseconds; the median of many.
fn bare_round_trip() -> anyhow::Result<f64> {
    let mirror = Mirror::start()?;
    let timed = (0..ROUND_TRIPS).map(|_| mirror.round_trip()).collect::<Result<Vec<_>, _>>();
    Ok(median(&timed?))
}
