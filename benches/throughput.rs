//! Warm verified echo calls a second, beside a bare axum handler in the same run.
//!
//! `cargo bench --bench throughput` starts the embedded author, the service, and callers with a key
//! of their own on loopback, then sends calls over keep-alive connections, each with a fresh token that
//! the service verifies. Beside it, measured in the same run with the same client, connections and
//! body: an axum handler that parses the envelope and sends the input back. The load generator shares
//! the machine with what it measures, so only the ratio means something.

mod support;

use std::time::Duration;

use at_functions::config::Isolation;
use at_functions::dev::Modules;
use at_functions::lexicon::Mode;
use at_functions::server::{self, Listener};
use axum::Router;
use axum::routing::post;
use serde_json::json;
use serde_json::value::RawValue;

use support::{CONNECTIONS, Stage, load, median};

const ROUND: Duration = Duration::from_secs(5);
/// More calls than a round gets through.
const TOKENS: usize = 150_000;
/// What the TypeScript proof of concept answers on this class of machine (two shared cores),
/// unauthenticated, with the load generator beside it.
const PROOF_OF_CONCEPT: f64 = 263.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut stage = Stage::start(Isolation::Thread).await?;
    let module = Modules::example();
    let published = stage.author.publish(&module.rkey, Mode::PureV1, module.wasm)?;
    let bare = Listener::bind("bare", ([127, 0, 0, 1], 0).into()).await?;
    let bare_address = bare.address();
    tokio::spawn(server::serve(bare, bare_router(), std::future::pending()));

    let body = json!({ "function": published.uri.to_string(), "input": { "hello": "world" } }).to_string();
    println!(
        "{CONNECTIONS} keep-alive connections, {} s a round, the load generator beside it",
        ROUND.as_secs()
    );
    let mut ratios = Vec::new();
    for round in 1..=3 {
        let tokens = stage.tokens(TOKENS);
        let bare = load(bare_address, CONNECTIONS, &body, None, ROUND).await?;
        let verified = load(stage.service, CONNECTIONS, &body, Some(tokens), ROUND).await?;
        println!(
            "round {round}: bare axum {:>7.0}/s p50 {:>6.0} us | verified echo {:>6.0}/s p50 {:>6.0} us p99 {:>6.0} us | ratio {:.3} | {:.0}x the proof of concept",
            bare.per_second,
            bare.p50_micros,
            verified.per_second,
            verified.p50_micros,
            verified.p99_micros,
            verified.per_second / bare.per_second,
            verified.per_second / PROOF_OF_CONCEPT,
        );
        ratios.push(verified.per_second / bare.per_second);
    }
    println!("median ratio {:.3}", median(&ratios));
    Ok(())
}

/// The floor: the same envelope parsed, the input sent back, nothing verified and nothing run.
fn bare_router() -> Router {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        input: &'a RawValue,
    }
    async fn echo(body: axum::body::Bytes) -> String {
        match serde_json::from_slice::<Envelope<'_>>(&body) {
            Ok(envelope) => format!(r#"{{"ok":true,"output":{}}}"#, envelope.input),
            Err(_) => String::new(),
        }
    }
    Router::new().route("/xrpc/at.functions.run", post(echo))
}
