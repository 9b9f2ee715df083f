//! Strangers, callers, authors and hosts that mean harm, over the whole way of a call.

use std::time::{Duration, Instant};

use at_functions::config::Settings;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{ECHO, World, answer, xrpc_error};

/// The head of a call over a bare socket.
fn head(token: Option<&str>, length: usize, more: &str) -> String {
    let authorization = token.map_or(String::new(), |token| format!("authorization: Bearer {token}\r\n"));
    format!(
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{authorization}\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.endpoint.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Everything that comes until the service closes the connection.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_slow_issuer_does_not_take_the_time_of_the_body() {
    let world = World::start_with(Settings::default()).await;
    let echo = world.publish("echo", ECHO);
    let caller = world.caller(1);
    world.delay([("/did:plc:", Duration::from_millis(2500))]);
    let body = json!({ "function": echo.uri.to_string(), "input": 1 }).to_string();
    let mut stream = connect(&world).await;
    stream.write_all(head(Some(&world.token(&caller)), body.len(), "").as_bytes()).await.unwrap();
    for part in body.as_bytes().chunks(body.len().div_ceil(3)) {
        tokio::time::sleep(Duration::from_millis(1900)).await;
        stream.write_all(part).await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(json_of(&answer)["output"]["echo"], 1);
}

#[tokio::test]
async fn whatever_is_slow_an_answer_comes_within_nine_seconds() {
    // Issuer, body, document, record, code: each within its own time, all of them not within a call's.
    let world = World::start_with(Settings::default()).await;
    let echo = world.publish("echo", ECHO);
    let caller = world.caller(1);
    world.delay([
        ("/did:plc:", Duration::from_millis(2000)),
        ("did.json", Duration::from_millis(1500)),
        ("sync.getRecord", Duration::from_millis(2500)),
        ("sync.getBlob", Duration::from_millis(4000)),
    ]);
    let body = json!({ "function": echo.uri.to_string(), "input": 1 }).to_string();
    let mut stream = connect(&world).await;
    let started = Instant::now();
    stream.write_all(head(Some(&world.token(&caller)), body.len(), "").as_bytes()).await.unwrap();
    for part in body.as_bytes().chunks(body.len().div_ceil(2)) {
        tokio::time::sleep(Duration::from_millis(1750)).await;
        stream.write_all(part).await.unwrap();
    }
    let answer = read_to_end(&mut stream).await;
    let took = started.elapsed();
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert_eq!(json_of(&answer)["error"], "RepoTimeout");
    assert!(took > Duration::from_millis(8500) && took < Duration::from_millis(9400), "{took:?}");

    // The same for a refusal whose body is still on its way when the time is up.
    world.delay([("/did:plc:", Duration::from_secs(60))]);
    let other = world.caller(2);
    let started = Instant::now();
    let mut stream = connect(&world).await;
    stream.write_all(head(Some(&world.token(&other)), 100, "").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    assert!(started.elapsed() < Duration::from_millis(9400), "{:?}", started.elapsed());
}

#[tokio::test]
async fn who_waits_to_be_asked_for_a_body_is_not_asked_when_refused() {
    let world = World::start_with(Settings::default()).await;
    let mut stream = connect(&world).await;
    let expecting = head(Some("a.b.c"), 100_000, "expect: 100-continue\r\n");
    stream.write_all(expecting.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
}

#[tokio::test]
async fn headers_that_could_be_read_in_two_ways_are_refused() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let caller = world.caller(1);
    let body = json!({ "function": echo.uri.to_string(), "input": 1 }).to_string();
    let good = format!("Bearer {}", world.token(&caller));
    for pair in [[&*good, "Bearer a.b.c"], ["", &good], [&good, &good]] {
        let mut request = world.request().body(body.clone());
        for value in pair {
            request = request.header("authorization", value);
        }
        assert_eq!(answer(request).await.error(), (401, "BadJwt"), "{pair:?}");
    }
    let types =
        world.request().header("content-type", "application/json").header("content-type", "text/html");
    assert_eq!(answer(types.body(body.clone())).await.error(), (400, "InvalidRequest"));
    // None of the refusals used the token.
    assert_eq!(answer(world.request().header("authorization", good).body(body)).await.output()["echo"], 1);
}

#[tokio::test]
async fn a_message_repeats_only_a_little_of_what_was_sent() {
    let world = World::start().await;
    let method = http::Method::from_bytes(&[b'A'; 9000]).unwrap();
    let long_verb = world.client.request(method, format!("{}/xrpc/at.functions.run", world.endpoint));
    let verb = answer(long_verb).await;
    assert!(
        verb.message().starts_with("Incorrect HTTP method (AAAAAAAAAAAAAAAAAAAA) expected POST"),
        "{verb:?}"
    );
    let body = world.post(format!("\"{}\"", "x".repeat(1_000_000)), None).await;
    assert_eq!(body.error(), (400, "InvalidRequest"));
    assert!(body.message().len() < 500, "{}", body.message().len());
}

#[tokio::test]
async fn a_pin_cannot_make_the_service_hammer_an_authors_host() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let another = world.publish("another", ECHO).cid.to_string();
    let pinned = json!({ "function": echo.uri.to_string(), "input": 1, "cid": another }).to_string();
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    assert_eq!(world.asked("rkey=echo"), 1);
    let started = Instant::now();
    for round in 0..3 {
        let calls = (0..20).map(|_| world.post(pinned.clone(), None));
        for refused in futures_util::future::join_all(calls).await {
            assert_eq!(refused.error(), (400, "FunctionChanged"), "{round}");
        }
    }
    // One at once, then one a second.
    let most = 2 + started.elapsed().as_secs() as usize + 1;
    let asked = world.asked("rkey=echo");
    assert!((2..=most).contains(&asked), "{asked} of {most}");

    // And what is known stays for others when a read that was forced fails.
    world.fail_with(|path| path.contains("getRecord").then(|| xrpc_error(500, "x")));
    assert_eq!(world.post(pinned, None).await.error(), (502, "RepoUnreachable"));
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn a_host_that_wants_a_moments_rest_is_asked_again_after_it() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    world.fail_with(|path| {
        path.contains("getRecord").then(|| {
            let mut busy = xrpc_error(429, "RateLimitExceeded");
            busy.headers_mut().insert("retry-after", http::HeaderValue::from_static("1"));
            busy
        })
    });
    assert_eq!(world.run(&echo.uri, json!(1)).await.error(), (503, "NotEnoughResources"));
    world.fail_with(|_| None);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn of_all_who_present_a_token_at_once_one_runs() {
    let world = World::start_with(Settings::default()).await;
    let echo = world.publish("echo", ECHO);
    let token = world.token(&world.caller(1));
    let body = json!({ "function": echo.uri.to_string(), "input": 1 }).to_string();
    // Calls that are refused for their size give the token back, while others try to use it.
    let large = " ".repeat(1024 * 1024 + 1);
    let calls =
        (0..60).map(|n| world.post(if n % 2 == 0 { body.clone() } else { large.clone() }, Some(&token)));
    let mut answers = futures_util::future::join_all(calls).await;
    answers.push(world.post(body, Some(&token)).await);
    let mut ran = 0;
    for answer in &answers {
        match answer.status {
            200 => ran += 1,
            413 => assert_eq!(answer.error(), (413, "PayloadTooLarge")),
            _ => assert_eq!(answer.error(), (401, "JwtReplayed")),
        }
    }
    assert_eq!(ran, 1);
}
