//! What callers notice of guests that mean harm: latency of the echo and of `/xrpc/_health`, quiet and under attack.
//!
//! `cargo bench --bench isolation` asks for both at a steady pace while another author's functions, called by
//! as many connections as said, do their worst: spin to their limit of 5 s, take and touch 256 MiB each, or are
//! new modules that take the compiler long. A request that is late because the one before it was slow counts from
//! when it was due.

mod support;

use std::sync::Arc;
use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::lexicon::Mode;

use support::processes::cores;
use support::report::Report;
use support::{Figures, Request, Stage, at_share, load_in_turn, load_paced, modules, network, record_of};

const ROUND: Duration = Duration::from_secs(6);
/// Until an attack is under way.
const RUN_UP: Duration = Duration::from_secs(1);
/// Of each connection.
const EVERY: Duration = Duration::from_millis(8);
const ECHO_CONNECTIONS: usize = 4;
const HEALTH_CONNECTIONS: usize = 2;
/// The echo's p99 under attack is held against this where the quiet one is lower.
const LEAST_P99_MICROS: f64 = 5_000.0;
/// More bombs than are compiled in a round.
const BOMBS: u64 = 60;
const COMPILE_CONNECTIONS: usize = 4;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut report = Report::begin("isolation")?;
    println!(
        "echo {} a second, /xrpc/_health {} a second, {} s each",
        ECHO_CONNECTIONS as f64 / EVERY.as_secs_f64(),
        HEALTH_CONNECTIONS as f64 / EVERY.as_secs_f64(),
        ROUND.as_secs()
    );
    for (name, isolation) in [("process", Isolation::Process), ("thread", Isolation::Thread)] {
        measure(&mut report, name, isolation).await?;
    }
    report.end()
}

/// Somebody's calls beside those that are measured.
struct Attack {
    name: String,
    connections: usize,
    bodies: Vec<String>,
}

async fn measure(report: &mut Report, isolation_name: &str, isolation: Isolation) -> anyhow::Result<()> {
    let mut stage = Stage::start(isolation).await?;
    let echo = stage.publish("echo", Mode::PureV1, modules::echo())?;
    let warm_up: Vec<String> = std::iter::repeat_n(echo.clone(), 200).collect();
    stage.one_after_the_other(&warm_up).await?;

    let mut rows = Vec::new();
    let mut quiet_p99 = LEAST_P99_MICROS;
    for attack in attacks().await? {
        let tokens = stage.tokens(attack.connections * 100);
        let request = Request::Attack { bodies: Arc::new(attack.bodies), tokens };
        let is_quiet = attack.connections == 0;
        let address = stage.service;
        let attackers = tokio::spawn(async move {
            match attack.connections {
                0 => Ok(()),
                connections => {
                    let all = RUN_UP + ROUND + Duration::from_millis(500);
                    load_in_turn(address, connections, request, all).await.map(drop)
                }
            }
        });
        tokio::time::sleep(RUN_UP).await;
        let tokens =
            stage.tokens((ROUND.as_secs_f64() / EVERY.as_secs_f64()) as usize * (ECHO_CONNECTIONS + 1));
        let calls = Request::Calls { bodies: Arc::new(vec![echo.clone()]), tokens: Some(tokens) };
        let (echo, health) = tokio::join!(
            load_paced(address, ECHO_CONNECTIONS, calls, ROUND, Some(EVERY)),
            load_paced(address, HEALTH_CONNECTIONS, Request::Health, ROUND, Some(EVERY)),
        );
        let (echo, health) = (echo?, health?);
        attackers.await??;
        if is_quiet {
            quiet_p99 = quiet_p99.max(echo.p99_micros);
        }
        let ratio = echo.p99_micros / quiet_p99;
        for (what, figures) in [("echo", &echo), ("health", &health)] {
            for (share, at) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
                let name = format!("{isolation_name}, {}, {what} {share} us", attack.name);
                report.figure(name, at_share(&figures.micros, at));
            }
        }
        let mut row = vec![attack.name, told(&echo), format!("{ratio:.2}"), told(&health)];
        row.push(format!("{:.2}", health.p99_micros / 10_000.0));
        rows.push(row);
    }
    let head =
        ["while", "echo p50, p99, p99.9", "p99 / quiet (or 5 ms)", "health p50, p99, p99.9", "p99 / 10 ms"];
    report.table(&format!("Isolation {isolation_name}"), &head, &rows);
    Ok(())
}

fn told(figures: &Figures) -> String {
    let millis = |share: f64| at_share(&figures.micros, share) / 1e3;
    format!("{:.2}, {:.2}, {:.2} ms", millis(0.5), millis(0.99), millis(0.999))
}

/// Each with an author of its own.
async fn attacks() -> anyhow::Result<Vec<Attack>> {
    let many = 4 * cores();
    let longest = (5_000, 32);
    let (spins, takes) = (network::author().await?, network::author().await?);
    let spinner = record_of(&spins, "spin", modules::spinner()?, longest)?;
    let hog = record_of(&takes, "hog", modules::memory_hog()?, (5_000, 256))?;
    let bomber = network::author().await?;
    let bomb = modules::compile_bomb()?;
    let bombs = (0..BOMBS)
        .map(|n| record_of(&bomber, &format!("bomb-{n}"), modules::salted(&bomb, n), longest))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(vec![
        Attack { name: "quiet".into(), connections: 0, bodies: Vec::new() },
        Attack { name: format!("{many} guests spin"), connections: many, bodies: vec![spinner] },
        Attack { name: format!("{many} guests touch 256 MiB"), connections: many, bodies: vec![hog] },
        Attack { name: "compile bombs arrive".into(), connections: COMPILE_CONNECTIONS, bodies: bombs },
    ])
}
