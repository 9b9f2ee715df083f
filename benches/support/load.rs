//! The load generator: keep-alive connections, each with one request after the other.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is sent.
#[derive(Clone)]
pub(crate) enum Request {
    /// A call with each of these bodies in turn, which must succeed. Without tokens it is anonymous.
    Calls { bodies: Arc<Vec<String>>, tokens: Option<Arc<Vec<String>>> },
    /// The same, whatever comes of it: for those who mean harm.
    Attack { bodies: Arc<Vec<String>>, tokens: Arc<Vec<String>> },
    /// A look at the service's health.
    Health,
}

/// What came of a round.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
    /// All latencies in microseconds, in ascending order.
    pub(crate) micros: Vec<f64>,
}

/// Sends calls of one body over so many connections for `round`, or until the tokens are used up. Without
/// tokens, as many as fit.
pub(crate) async fn load(
    address: SocketAddr,
    connections: usize,
    body: &str,
    tokens: Option<Arc<Vec<String>>>,
    round: Duration,
) -> anyhow::Result<Figures> {
    let bodies = Arc::new(vec![body.to_owned()]);
    load_in_turn(address, connections, Request::Calls { bodies, tokens }, round).await
}

/// Sends such requests over so many connections for `round`, or until the tokens are used up.
pub(crate) async fn load_in_turn(
    address: SocketAddr,
    connections: usize,
    request: Request,
    round: Duration,
) -> anyhow::Result<Figures> {
    load_paced(address, connections, request, round, None).await
}

/// The same, with one request of each connection `every` so long, where that is given. What is late because
/// the one before it took too long is late from when it was due: whoever is slow does not choose when he is
/// looked at.
pub(crate) async fn load_paced(
    address: SocketAddr,
    connections: usize,
    request: Request,
    round: Duration,
    every: Option<Duration>,
) -> anyhow::Result<Figures> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..connections {
        calls.spawn(connection(address, request.clone(), Arc::clone(&next), started + round, every));
    }
    let mut micros = Vec::new();
    while let Some(of_one) = calls.join_next().await {
        micros.extend(of_one??);
    }
    let seconds = started.elapsed().as_secs_f64();
    anyhow::ensure!(!micros.is_empty(), "no request was answered");
    micros.sort_by(f64::total_cmp);
    Ok(Figures {
        per_second: micros.len() as f64 / seconds,
        p50_micros: at_share(&micros, 0.5),
        p99_micros: at_share(&micros, 0.99),
        micros,
    })
}

/// One call and its answer.
pub(crate) struct Called {
    pub(crate) micros: f64,
    /// Where the compiled function was, as the answer's `usage.cache` says; empty where it did not run.
    pub(crate) cache: String,
    /// The body, where it did not run.
    pub(crate) refusal: String,
}

/// Makes one call after the other over one connection, one token each.
pub(crate) async fn call_each(
    address: SocketAddr,
    bodies: &[String],
    tokens: &[String],
) -> anyhow::Result<Vec<Called>> {
    let mut stream = connected(address).await?;
    let (mut bytes, mut response) = (Vec::new(), vec![0; 64 * 1024]);
    let mut called = Vec::new();
    for (body, token) in bodies.iter().zip(tokens) {
        bytes.clear();
        call(&mut bytes, body, token)?;
        let sent = Instant::now();
        stream.write_all(&bytes).await?;
        let said = read(&mut stream, &mut response).await?;
        let micros = sent.elapsed().as_secs_f64() * 1e6;
        let cache = said.split_once(r#""cache":""#).and_then(|(_, rest)| rest.split_once('"'));
        let cache = cache.map_or("", |(cache, _)| cache).to_owned();
        let refusal = if cache.is_empty() { said.rsplit("\r\n").next().unwrap_or_default() } else { "" };
        called.push(Called { micros, refusal: refusal.to_owned(), cache });
    }
    Ok(called)
}

/// The value below which this share of ascending figures is.
pub(crate) fn at_share(ascending: &[f64], share: f64) -> f64 {
    ascending[((ascending.len() - 1) as f64 * share) as usize]
}

/// One connection's requests, one after the other; their latencies in microseconds.
async fn connection(
    address: SocketAddr,
    request: Request,
    next: Arc<AtomicUsize>,
    end: Instant,
    every: Option<Duration>,
) -> anyhow::Result<Vec<f64>> {
    let mut stream = connected(address).await?;
    let mut latencies = Vec::new();
    let (mut bytes, mut response) = (Vec::new(), vec![0; 64 * 1024]);
    let mut due = Instant::now();
    while Instant::now() < end {
        let mut is_late = false;
        if let Some(every) = every {
            due += every;
            is_late = due < Instant::now();
            tokio::time::sleep_until(due.into()).await;
        }
        let n = next.fetch_add(1, Ordering::Relaxed);
        bytes.clear();
        let written = match &request {
            Request::Health => health(&mut bytes),
            Request::Calls { bodies, tokens: None } => call(&mut bytes, &bodies[n % bodies.len()], ""),
            Request::Calls { bodies, tokens: Some(tokens) } | Request::Attack { bodies, tokens } => {
                let Some(token) = tokens.get(n) else { break };
                call(&mut bytes, &bodies[n % bodies.len()], token)
            }
        };
        written?;
        let sent = if is_late { due } else { Instant::now() };
        stream.write_all(&bytes).await?;
        let said = read(&mut stream, &mut response).await?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        let is_good = match &request {
            Request::Health => said.starts_with("HTTP/1.1 200"),
            Request::Calls { .. } => said.contains(r#""ok":true"#),
            Request::Attack { .. } => true,
        };
        anyhow::ensure!(is_good, "not the answer that was hoped for: {said}");
    }
    Ok(latencies)
}

async fn connected(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn call(bytes: &mut Vec<u8>, body: &str, token: &str) -> std::io::Result<()> {
    write!(
        bytes,
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         authorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn health(bytes: &mut Vec<u8>) -> std::io::Result<()> {
    write!(bytes, "GET /xrpc/_health HTTP/1.1\r\nhost: localhost\r\n\r\n")
}

/// Reads one response.
async fn read<'a>(stream: &mut TcpStream, buffer: &'a mut [u8]) -> anyhow::Result<&'a str> {
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
            break;
        }
    }
    Ok(std::str::from_utf8(&buffer[..filled])?)
}
