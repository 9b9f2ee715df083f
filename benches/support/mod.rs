//! A service and its surroundings on loopback, callers with keys, and a load generator.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::config::{Config, Isolation, Settings};
use at_functions::dev::{Author, host_router};
use at_functions::identity::{Did, SigningKey};
use at_functions::server::{self, Listener, Service};
use axum::Router;
use axum::routing::get;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

pub(crate) const CONNECTIONS: usize = 16;
/// Callers in turn: one alone would use up its share of the memory of used tokens.
const CALLERS: usize = 8;

/// A limit above what any machine does.
const UNREACHED: &str = "1000000/s burst 1000000 at-once 1000000";

/// The service, the embedded author, and callers.
pub(crate) struct Stage {
    pub(crate) author: Arc<Author>,
    pub(crate) service: SocketAddr,
    clock: Clock,
    config: Config,
    callers: Vec<Did>,
    key: SigningKey,
    tokens_made: usize,
    _data_dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn start(isolation: Isolation) -> anyhow::Result<Stage> {
        let clock = Clock::system();
        let data_dir = tempfile::tempdir()?;
        let repo = Listener::bind("repo", ([127, 0, 0, 1], 0).into()).await?;
        let public = Listener::bind("service", ([127, 0, 0, 1], 0).into()).await?;
        let author = Arc::new(Author::at_port(repo.address().port(), clock.clone())?);
        let config = Config::complete(Settings {
            hostname: Some(format!("localhost:{}", public.address().port())),
            data_dir: Some(data_dir.path().to_owned()),
            plc_url: Some(author.origin().parse()?),
            allow_private_network: Some(true),
            isolation: Some(isolation),
            // Counted, and out of reach.
            caller_limit: Some(UNREACHED.parse()?),
            host_limit: Some(UNREACHED.parse()?),
            author_limit: Some(UNREACHED.parse()?),
            function_limit: Some(UNREACHED.parse()?),
            ..Settings::default()
        })?;
        let service = Service::start_with(&config, clock.clone(), server::sandbox(&config).await?)?;
        let key = SigningKey::from_bytes(&[7; 32])?;
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let listener = Listener::bind("caller", ([127, 0, 0, 1], 0).into()).await?;
            let did = Did::parse(&format!("did:web:localhost%3A{}", listener.address().port()))?;
            tokio::spawn(server::serve(listener, caller_document(&did, &key), std::future::pending()));
            callers.push(did);
        }
        let address = public.address();
        tokio::spawn(server::serve(repo, host_router(Arc::clone(&author)), std::future::pending()));
        tokio::spawn(server::serve(public, server::router(service), std::future::pending()));
        Ok(Stage {
            author,
            service: address,
            clock,
            config,
            callers,
            key,
            tokens_made: 0,
            _data_dir: data_dir,
        })
    }

    /// Fresh tokens, of all callers in turn. They are made before the clock starts: signing them is the
    /// callers' work, not the service's.
    pub(crate) fn tokens(&mut self, count: usize) -> Arc<Vec<String>> {
        let now = self.clock.unix_seconds();
        let tokens = (self.tokens_made..self.tokens_made + count).map(|n| {
            let audience = self.config.hostname.did().as_str();
            ServiceToken::new(&self.callers[n % CALLERS], audience, "at.functions.run", now)
                .id(n.to_string())
                .sign(&self.key)
        });
        let tokens = tokens.collect();
        self.tokens_made += count;
        Arc::new(tokens)
    }
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

/// What came of a round.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

/// Sends calls over so many connections for `round`, or until the tokens are used up. Without tokens, as
/// many as fit.
pub(crate) async fn load(
    address: SocketAddr,
    connections: usize,
    body: &str,
    tokens: Option<Arc<Vec<String>>>,
    round: Duration,
) -> anyhow::Result<Figures> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..connections {
        calls.spawn(connection(address, body.to_owned(), tokens.clone(), Arc::clone(&next), started + round));
    }
    let mut latencies = Vec::new();
    while let Some(of_one) = calls.join_next().await {
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
    let (mut request, mut response) = (Vec::new(), vec![0; 64 * 1024]);
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

/// The figure in the middle.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
