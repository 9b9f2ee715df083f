//! Warm verified echo calls a second, beside a bare axum handler in the same run.
//!
//! `cargo bench --bench throughput` starts the embedded author, the service, and a caller with a key
//! of its own on loopback, then sends calls over keep-alive connections, each with a fresh token that
//! the service verifies. Beside it, measured in the same run with the same client, connections and
//! body: an axum handler that parses the envelope and sends the input back. The load generator shares
//! the machine with what it measures, so only the ratio means something.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::config::{Config, Settings};
use at_functions::dev::{Author, Modules, host_router};
use at_functions::identity::{Did, SigningKey};
use at_functions::lexicon::Mode;
use at_functions::server::{self, Listener, Service};
use axum::Router;
use axum::routing::{get, post};
use serde_json::json;
use serde_json::value::RawValue;

use std::io::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CONNECTIONS: usize = 16;
const ROUND: Duration = Duration::from_secs(5);
/// Callers in turn: one alone would use up its share of the memory of used tokens.
const CALLERS: usize = 8;
/// More calls than a round gets through.
const TOKENS: usize = 150_000;
/// What the TypeScript proof of concept answers on this class of machine (two shared cores),
/// unauthenticated, with the load generator beside it.
const PROOF_OF_CONCEPT: f64 = 263.0;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let clock = Clock::system();
    let data_dir = tempfile::tempdir()?;
    let repo = Listener::bind("repo", ([127, 0, 0, 1], 0).into()).await?;
    let public = Listener::bind("service", ([127, 0, 0, 1], 0).into()).await?;
    let bare = Listener::bind("bare", ([127, 0, 0, 1], 0).into()).await?;

    let author = Arc::new(Author::at_port(repo.address().port(), clock.clone())?);
    let module = Modules::example();
    let published = author.publish(&module.rkey, Mode::PureV1, module.wasm)?;
    let config = Config::complete(Settings {
        hostname: Some(format!("localhost:{}", public.address().port())),
        data_dir: Some(data_dir.path().to_owned()),
        plc_url: Some(author.origin().parse()?),
        allow_private_network: Some(true),
        ..Settings::default()
    })?;
    let service = Service::start(&config, clock.clone())?;
    let key = SigningKey::from_bytes(&[7; 32])?;
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let listener = Listener::bind("caller", ([127, 0, 0, 1], 0).into()).await?;
        let did = Did::parse(&format!("did:web:localhost%3A{}", listener.address().port()))?;
        tokio::spawn(server::serve(listener, caller_document(&did, &key), std::future::pending()));
        callers.push(did);
    }

    let service_address = public.address();
    let bare_address = bare.address();
    tokio::spawn(server::serve(repo, host_router(author), std::future::pending()));
    tokio::spawn(server::serve(public, server::router(service), std::future::pending()));
    tokio::spawn(server::serve(bare, bare_router(), std::future::pending()));

    let body = json!({ "function": published.uri.to_string(), "input": { "hello": "world" } }).to_string();
    println!(
        "{CONNECTIONS} keep-alive connections, {} s a round, the load generator beside it",
        ROUND.as_secs()
    );
    // Tokens are made before the clock starts: signing them is the caller's work, not the service's.
    let mut ratios = Vec::new();
    for round in 1..=3 {
        let now = clock.unix_seconds();
        let tokens: Vec<_> = (0..TOKENS)
            .map(|n| {
                ServiceToken::new(
                    &callers[n % CALLERS],
                    config.hostname.did().as_str(),
                    "at.functions.run",
                    now,
                )
                .id(format!("{round}-{n}"))
                .sign(&key)
            })
            .collect();
        let bare = load(bare_address, &body, None).await?;
        let verified = load(service_address, &body, Some(Arc::new(tokens))).await?;
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
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.3}", ratios[1]);
    Ok(())
}

fn caller_document(did: &Did, key: &SigningKey) -> Router {
    let document = json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": key.public().to_multikey(),
        }],
    })
    .to_string();
    let answer = move || async move { ([("content-type", "application/json")], document) };
    Router::new().route("/.well-known/did.json", get(answer))
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

struct Figures {
    per_second: f64,
    p50_micros: f64,
    p99_micros: f64,
}

/// Sends calls over [`CONNECTIONS`] connections for [`ROUND`], or until the tokens are used up. Without
/// tokens, as many as fit.
async fn load(address: SocketAddr, body: &str, tokens: Option<Arc<Vec<String>>>) -> anyhow::Result<Figures> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(connection(
            address,
            body.to_owned(),
            tokens.clone(),
            Arc::clone(&next),
            started + ROUND,
        ));
    }
    let mut latencies = Vec::new();
    while let Some(of_one) = connections.join_next().await {
        latencies.extend(of_one??);
    }
    let seconds = started.elapsed().as_secs_f64();
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Figures { per_second: latencies.len() as f64 / seconds, p50_micros: at(0.5), p99_micros: at(0.99) })
}

/// One keep-alive connection's calls, one after the other; their latencies in microseconds.
async fn connection(
    address: SocketAddr,
    body: String,
    tokens: Option<Arc<Vec<String>>>,
    next: Arc<AtomicUsize>,
    end: Instant,
) -> anyhow::Result<Vec<f64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut latencies = Vec::new();
    let (mut request, mut response) = (Vec::new(), vec![0; 16 * 1024]);
    while Instant::now() < end {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let token = match tokens.as_deref().map(|tokens| tokens.get(n)) {
            None => "",
            Some(Some(token)) => token,
            Some(None) => break,
        };
        request.clear();
        write!(
            request,
            "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let sent = Instant::now();
        stream.write_all(&request).await?;
        read_ok(&mut stream, &mut response).await?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok(latencies)
}

/// Reads one response and insists that it says `"ok":true`.
async fn read_ok(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<()> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        anyhow::ensure!(read > 0, "the connection was closed");
        filled += read;
        let text = std::str::from_utf8(&buffer[..filled])?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| body.len() >= length) {
            anyhow::ensure!(body.contains(r#""ok":true"#), "not an answer: {head} {body}");
            return Ok(());
        }
    }
}
