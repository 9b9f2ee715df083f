//! `--otlp-endpoint`: spans of calls at a collector on loopback, and what a collector that is away costs nobody.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};

use crate::patience::soon;
use crate::served::Served;
use crate::world::{Answer, ECHO, World, answer};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that keeps what it was sent.
struct Collector {
    url: String,
    kept: Kept,
}

#[derive(Clone)]
struct Kept {
    requests: Arc<Mutex<Vec<Bytes>>>,
    /// What it answers, first to last; then 200.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Collector {
    async fn start(answers: &[u16]) -> Collector {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/otlp", listener.local_addr().unwrap());
        let kept = Kept { requests: Arc::default(), answers: Arc::new(Mutex::new(answers.to_vec())) };
        let router = Router::new().route("/otlp/v1/traces", post(take)).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { url, kept }
    }

    /// All requests so far.
    fn requests(&self) -> Vec<Bytes> {
        self.kept.requests.lock().unwrap().clone()
    }

    /// All spans so far, as they came.
    fn spans(&self) -> Vec<Span> {
        self.requests().iter().flat_map(|request| spans(request)).collect()
    }

    /// The spans of calls, once there are so many.
    async fn calls(&self, count: usize) -> Vec<Span> {
        soon(async || self.spans().iter().filter(|span| span.is_call()).count() >= count).await;
        let calls: Vec<Span> = self.spans().into_iter().filter(Span::is_call).collect();
        assert_eq!(calls.len(), count, "{calls:?}");
        calls
    }
}

async fn take(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let mut answers = kept.answers.lock().unwrap();
    match answers.is_empty() {
        true => {
            kept.requests.lock().unwrap().push(body);
            StatusCode::OK
        }
        false => StatusCode::from_u16(answers.remove(0)).unwrap(),
    }
}

/// A span, as far as the tests ask.
#[derive(Clone, Debug, PartialEq)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: u64,
    began: u64,
    ended: u64,
    attributes: Value,
    status: Option<(String, u64)>,
}

impl Span {
    fn is_call(&self) -> bool {
        self.name == "at.functions.run"
    }
}

/// One field of a message: its number, and what it holds.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, as <https://protobuf.dev/programming-guides/encoding/> has them.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let (byte, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)),
            1 => {
                let (number, rest) = bytes.split_first_chunk().unwrap();
                bytes = rest;
                Field::Number(u64::from_le_bytes(*number))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes)).unwrap();
                let (inner, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(inner)
            }
            other => panic!("wire type {other}"),
        };
        found.push((tag >> 3, field));
    }
    found
}

/// The messages or texts of one number in a message.
fn all(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    let of_number = fields(bytes).into_iter().filter(|(found, _)| *found == number);
    of_number
        .map(|(_, field)| if let Field::Bytes(bytes) = field { bytes } else { panic!("a number") })
        .collect()
}

fn one(bytes: &[u8], number: u64) -> &[u8] {
    all(bytes, number).first().copied().unwrap_or_default()
}

fn number(bytes: &[u8], number: u64) -> u64 {
    let found = fields(bytes).into_iter().find(|(found, _)| *found == number);
    found.map_or(0, |(_, field)| if let Field::Number(number) = field { number } else { panic!("bytes") })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(of: &[u8], field: u64) -> Value {
    let attribute = |attribute: &&[u8]| {
        let (name, value) = (text(one(attribute, 1)), one(attribute, 2));
        let value = match fields(value).first() {
            Some((1, Field::Bytes(string))) => text(string).into(),
            Some((4, Field::Number(bits))) => f64::from_bits(*bits).into(),
            _ => panic!("{name} has another kind of value"),
        };
        (name, value)
    };
    Value::Object(all(of, field).iter().map(attribute).collect())
}

/// The spans of an `ExportTraceServiceRequest`, all of this service.
fn spans(request: &[u8]) -> Vec<Span> {
    let resource_spans = one(request, 1);
    let service = json!({ "service.name": "at-functions", "service.version": env!("CARGO_PKG_VERSION") });
    assert_eq!(attributes(one(resource_spans, 1), 1), service);
    let span = |bytes: &&[u8]| {
        let status = all(bytes, 15).first().map(|status| (text(one(status, 2)), number(status, 3)));
        Span {
            trace: hex(one(bytes, 1)),
            id: hex(one(bytes, 2)),
            parent: hex(one(bytes, 4)),
            name: text(one(bytes, 5)),
            kind: number(bytes, 6),
            began: number(bytes, 7),
            ended: number(bytes, 8),
            attributes: attributes(bytes, 9),
            status,
        }
    };
    all(one(resource_spans, 2), 2).iter().map(span).collect()
}

async fn call(world: &World, function: &str, input: &str, traceparent: Option<&str>) -> Answer {
    let body = json!({ "function": function, "input": input }).to_string();
    let mut request = world.request().header("content-type", "application/json").body(body);
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    answer(request).await
}

async fn counted(world: &World, served: &Served, ended: &str) -> u64 {
    let text = world.client.get(served.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    let series = format!("at_functions_traced_calls_total{{ended=\"{ended}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_call_is_a_span_below_its_senders_with_its_stages_below_it() {
    let collector = Collector::start(&[]).await;
    let (world, served) = Served::start(&["--otlp-endpoint", &collector.url]).await;
    let echo = world.publish("echo", ECHO);
    let uri = echo.uri.to_string();
    let before = at_functions::clock::Clock::system().since_epoch().as_nanos() as u64;
    let answer = call(&world, &uri, "only for the guest", Some(&format!("00-{TRACE}-{PARENT}-01"))).await;
    assert_eq!(answer.output()["echo"], "only for the guest");
    let request = answer.headers["x-request-id"].to_str().unwrap().to_owned();

    let span = collector.calls(1).await.remove(0);
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.id.as_str()), (TRACE, PARENT, &*request));
    assert_eq!((span.kind, &span.status), (2, &None));
    let mut told = span.attributes.clone();
    assert!(told["at_functions.cpu_ms"].take().as_f64().unwrap() > 0.0, "{told}");
    let expected = json!({
        "at_functions.request": request, "at_functions.decided": "ok", "at_functions.function": uri,
        "at_functions.cid": echo.cid.to_string(), "at_functions.cache": "cold", "at_functions.cpu_ms": null,
    });
    assert_eq!(told, expected);
    assert!(before <= span.began && span.began < span.ended, "{span:?}");

    let stages: Vec<Span> = collector.spans().into_iter().filter(|span| !span.is_call()).collect();
    let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let way = ["auth", "body", "record", "policy", "input", "code", "compile", "queue", "run", "answer"];
    assert_eq!(names, way);
    let mut ended = span.began;
    for stage in &stages {
        assert_eq!((&*stage.trace, &*stage.parent, stage.kind), (TRACE, &*request, 1));
        assert_eq!((stage.began, &stage.attributes), (ended, &json!({})));
        assert!(stage.began <= stage.ended && stage.ended <= span.ended, "{stage:?} in {span:?}");
        assert!(stages.iter().filter(|other| other.id == stage.id).count() == 1 && stage.id != span.id);
        ended = stage.ended;
    }
    for request in collector.requests() {
        assert!(!String::from_utf8_lossy(&request).contains("only for the guest"));
    }
    soon(async || counted(&world, &served, "exported").await == 1).await;
}

#[tokio::test]
async fn what_was_decided_is_told_and_what_its_sender_does_not_record_is_not() {
    let collector = Collector::start(&[]).await;
    let (world, _served) = Served::start(&["--otlp-endpoint", &collector.url]).await;
    let caller = world.caller(1);
    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into());
    let hidden = hidden.uri.to_string();
    let unsampled = call(&world, &hidden, "x", Some(&format!("00-{TRACE}-{PARENT}-00"))).await;
    assert_eq!(unsampled.error(), (403, "FunctionNotPublic"));
    let token = world.token(&caller);
    let body = json!({ "function": hidden, "input": "x" }).to_string();
    assert_eq!(world.post(body, Some(&token)).await.error(), (403, "FunctionNotPublic"));

    let span = collector.calls(1).await.remove(0);
    assert_eq!(span.status, Some(("FunctionNotPublic".into(), 2)));
    assert_eq!((span.trace.len(), span.trace != TRACE, span.parent.as_str()), (32, true, ""));
    assert_eq!(span.attributes["at_functions.caller"], caller.did.as_str());
    assert_eq!(span.attributes["at_functions.rule"], "public");
    for request in collector.requests() {
        assert!(!String::from_utf8_lossy(&request).contains(&token[..40]));
    }
}

#[tokio::test]
async fn what_a_collector_cannot_take_now_is_sent_again_and_what_it_refuses_is_not() {
    let collector = Collector::start(&[503, 400]).await;
    let (world, served) = Served::start(&["--otlp-endpoint", &collector.url]).await;
    let echo = world.publish("echo", ECHO).uri.to_string();
    // Busy first, and then refused.
    assert_eq!(call(&world, &echo, "x", None).await.status, 200);
    soon(async || counted(&world, &served, "failed").await == 1).await;
    assert_eq!(call(&world, &echo, "x", None).await.status, 200);
    assert_eq!(collector.calls(1).await[0].attributes["at_functions.cache"], "warm");
    soon(async || counted(&world, &served, "exported").await == 1).await;
    let lines = served.stopped().await;
    let told = |text: &str| lines.iter().filter(|line| line["message"] == text).count();
    assert_eq!(told("the OTLP collector does not take spans; they are dropped"), 1);
    assert_eq!(told("the OTLP collector takes spans again"), 1);
}

#[tokio::test]
async fn a_stop_sends_what_waits() {
    let collector = Collector::start(&[]).await;
    let (world, served) = Served::start(&["--otlp-endpoint", &collector.url]).await;
    let echo = world.publish("echo", ECHO).uri.to_string();
    for _ in 0..20 {
        assert_eq!(call(&world, &echo, "x", None).await.status, 200);
    }
    served.stopped().await;
    assert_eq!(collector.spans().iter().filter(|span| span.is_call()).count(), 20);
}

#[tokio::test]
async fn a_collector_that_takes_and_says_nothing_holds_up_neither_calls_nor_the_stop() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (world, served) = Served::start(&["--otlp-endpoint", &url]).await;
    let echo = world.publish("echo", ECHO).uri.to_string();
    for _ in 0..20 {
        assert_eq!(call(&world, &echo, "x", None).await.status, 200);
    }
    // It is asked, and does not answer.
    let (_connection, _) = listener.accept().await.unwrap();
    assert_eq!(call(&world, &echo, "x", None).await.status, 200);
    let lines = served.stopped().await;
    let last = "the OTLP collector did not take the last spans in time";
    assert!(lines.iter().any(|line| line["message"] == last), "{lines:?}");
    assert_eq!(lines.last().unwrap()["message"], "stopped");
}
