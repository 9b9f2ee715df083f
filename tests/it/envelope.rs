//! The XRPC envelope over HTTP: verbs, paths, types, encodings, sizes, times.

use std::io::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience::{PATIENCE, soon, soon_within};
use crate::world::{ECHO, World, answer};

#[tokio::test]
async fn an_echo_answers_in_the_lexicons_shape() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let cold = world.run(&echo.uri, json!({ "hello": "world" })).await;
    assert_eq!(cold.output(), &json!({ "ok": true, "echo": { "hello": "world" }, "mode": "pure-v1" }));
    assert_eq!(cold.body["functionCid"], echo.cid.to_string());
    assert_eq!(cold.body["usage"]["cache"], "cold");
    assert_eq!(cold.body["usage"]["inputBytes"], 17);
    let warm = world.run(&echo.uri, json!({ "hello": "world" })).await;
    assert_eq!(warm.body["usage"]["cache"], "warm");
    assert_eq!(warm.body["usage"]["hostCalls"], 0);
    assert_eq!(warm.body["usage"]["outputBytes"], cold.body["usage"]["outputBytes"]);
    for field in ["cpuMicros", "peakMemoryBytes"] {
        assert!(warm.body["usage"][field].as_u64().unwrap() > 0, "{field}: {warm:?}");
    }
    assert!(warm.body["durationMs"].is_u64(), "{warm:?}");
    let mut fields: Vec<_> = warm.body.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["durationMs", "functionCid", "ok", "output", "usage"]);
}

#[tokio::test]
async fn input_and_output_cross_as_they_are_written() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    // Numbers, escapes, spaces and the order of keys that no reading and writing again would leave as they are.
    let input = r#"{"b" : 1.50, "a":[-0,1e2,"\u00e9","é"],"n":123456789012345678901234567890}"#;
    let body = format!(r#"{{"function":"{}","input":{input}}}"#, echo.uri);
    let text = world.request().body(body).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(&format!(r#""echo":{input},"#)), "{text}");
}

#[tokio::test]
async fn an_answer_has_no_header_that_is_not_listed() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let listed = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "content-length",
        "content-type",
        "date",
        "retry-after",
        "vary",
        "x-request-id",
    ];
    let answers = [
        world.run(&echo.uri, json!({})).await,
        world.run(&"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/at.functions.metadata/x", json!({})).await,
        world.post("{", None).await,
        answer(world.client.get(format!("{}/xrpc/_health", world.endpoint))).await,
        answer(world.client.get(format!("{}/.well-known/did.json", world.endpoint))).await,
        answer(world.client.get(format!("{}/nothing", world.endpoint))).await,
    ];
    for answer in answers {
        for name in answer.headers.keys() {
            assert!(listed.contains(&name.as_str()), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn paths_and_verbs_are_answered_as_the_reference_does() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let body = json!({ "function": echo.uri.to_string(), "input": {} }).to_string();
    let url = |path: &str| format!("{}{path}", world.endpoint);
    let client = &world.client;
    let cases = [
        (
            client.get(url("/xrpc/at.functions.run")),
            400,
            "InvalidRequest",
            "Incorrect HTTP method (GET) expected POST",
        ),
        (
            client.put(url("/xrpc/at.functions.run")),
            400,
            "InvalidRequest",
            "Incorrect HTTP method (PUT) expected POST",
        ),
        (
            client.post(url("/xrpc/at.functions.discover")),
            501,
            "MethodNotImplemented",
            "at.functions.discover",
        ),
        (
            client.get(url("/xrpc/com.atproto.repo.getRecord")),
            501,
            "MethodNotImplemented",
            "at.functions.run",
        ),
        (client.post(url("/xrpc/nodots")), 400, "InvalidRequest", "invalid xrpc path"),
        (client.post(url("/xrpc/at.functions.run/x")), 400, "InvalidRequest", "invalid xrpc path"),
        (client.post(url("/xrpc/at.functions..run")), 400, "InvalidRequest", "invalid xrpc path"),
        (client.post(url("/xrpc/at.functions.run")), 400, "InvalidRequest", "a request body is expected"),
    ];
    for (request, status, name, message) in cases {
        let answer = answer(request).await;
        assert_eq!(answer.error(), (status, name));
        assert!(answer.message().contains(message), "{answer:?}");
        assert!(answer.message().contains(answer.body["requestId"].as_str().unwrap()), "{answer:?}");
    }
    let with_slash = answer(client.post(url("/xrpc/at.functions.run/")).body(body.clone())).await;
    assert_eq!(with_slash.output()["ok"], true);
    let with_query = answer(client.post(url("/xrpc/at.functions.run?x=1")).body(body)).await;
    assert_eq!(with_query.output()["ok"], true);
}

#[tokio::test]
async fn the_service_says_who_it_is_and_that_it_is_well() {
    let world = World::start().await;
    let get = |path: &str| answer(world.client.get(format!("{}{path}", world.endpoint)));
    let document = get("/.well-known/did.json").await;
    assert_eq!(document.headers["content-type"], "application/json");
    assert_eq!(document.headers["access-control-allow-origin"], "*");
    assert_eq!(document.body["id"], world.service_did);
    let service = &document.body["service"][0];
    assert_eq!(service["id"], "#at_functions");
    assert_eq!(service["type"], "AtFunctionsService");
    assert_eq!(service["serviceEndpoint"], world.endpoint);
    let method = &document.body["verificationMethod"][0];
    assert_eq!(method["id"], format!("{}#atproto", world.service_did));
    assert!(method["publicKeyMultibase"].as_str().unwrap().starts_with("zQ3s"), "{method}");
    assert_eq!(get("/xrpc/_health").await.body, json!({ "version": env!("CARGO_PKG_VERSION") }));
    assert!(get("/").await.body.as_str().unwrap().contains("at.functions.run"));
    assert!(get("/robots.txt").await.body.as_str().unwrap().contains("User-agent"));
    assert_eq!(get("/etc/passwd").await.status, 404);
}

#[tokio::test]
async fn a_content_type_is_json_or_absent() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let body = json!({ "function": echo.uri.to_string(), "input": {} }).to_string();
    for content_type in ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"] {
        let request = world.request().header("content-type", content_type).body(body.clone());
        assert_eq!(answer(request).await.output()["ok"], true, "{content_type}");
    }
    assert_eq!(answer(world.request().body(body.clone())).await.output()["ok"], true);
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "json", ""] {
        let request = world.request().header("content-type", content_type).body(body.clone());
        let answer = answer(request).await;
        assert_eq!(answer.error(), (400, "InvalidRequest"), "{content_type}");
        assert!(answer.message().starts_with("Wrong request encoding (Content-Type)"), "{answer:?}");
    }
}

#[tokio::test]
async fn encoded_bodies_are_decoded_and_unknown_encodings_refused() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let body = json!({ "function": echo.uri.to_string(), "input": { "x": "y".repeat(5000) } }).to_string();
    for (encoding, bytes) in [
        ("gzip", gzip(body.as_bytes())),
        ("deflate", deflate(body.as_bytes())),
        ("br", brotli(body.as_bytes())),
        ("identity", body.clone().into_bytes()),
    ] {
        let request = world.request().header("content-encoding", encoding).body(bytes);
        assert_eq!(answer(request).await.output()["echo"]["x"].as_str().unwrap().len(), 5000, "{encoding}");
    }
    for encoding in ["zstd", "compress", "gzip, br", "GZIPPED"] {
        let request = world.request().header("content-encoding", encoding).body(body.clone());
        assert_eq!(answer(request).await.error(), (415, "UnsupportedMediaType"), "{encoding}");
    }
    for encoding in ["gzip", "deflate", "br"] {
        let request = world.request().header("content-encoding", encoding).body(body.clone());
        assert_eq!(answer(request).await.error(), (400, "InvalidRequest"), "{encoding} that is none");
    }
}

#[tokio::test]
async fn a_body_over_the_cap_is_refused_however_it_comes() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let sized = |bytes: usize| {
        let frame = json!({ "function": echo.uri.to_string(), "input": "" }).to_string();
        frame.replace(r#""input":"""#, &format!(r#""input":"{}""#, "x".repeat(bytes - frame.len())))
    };
    let (fits, over) = (sized(1024 * 1024), sized(1024 * 1024 + 1));
    assert_eq!(fits.len(), 1024 * 1024);
    assert_eq!(world.post(fits, None).await.output()["mode"], "pure-v1");
    let stated = world.post(over.clone(), None).await;
    assert_eq!(stated.error(), (413, "PayloadTooLarge"));
    let chunks =
        over.into_bytes().chunks(10_000).map(|c| Ok::<_, std::io::Error>(c.to_vec())).collect::<Vec<_>>();
    let chunked = world.post(reqwest::Body::wrap(stream_body(chunks)), None).await;
    assert_eq!(chunked.error(), (413, "PayloadTooLarge"));
    assert_eq!(status_of_a_slow_stream(&world).await, "HTTP/1.1 413 Payload Too Large");
    let zeros = vec![b' '; 200 * 1024 * 1024];
    for (encoding, bomb) in [("gzip", gzip(&zeros)), ("br", brotli(&zeros)), ("deflate", deflate(&zeros))] {
        assert!(bomb.len() < 1024 * 1024, "{encoding}: {}", bomb.len());
        soon_within(Duration::from_secs(3), async || {
            let started = Instant::now();
            let request = world.request().header("content-encoding", encoding).body(bomb.clone());
            assert_eq!(answer(request).await.error(), (413, "PayloadTooLarge"), "{encoding}");
            started.elapsed()
        })
        .await;
    }
}

#[tokio::test]
async fn a_browser_may_call_from_any_origin() {
    let world = World::start().await;
    let preflight = world
        .client
        .request(http::Method::OPTIONS, format!("{}/xrpc/at.functions.run", world.endpoint))
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type")
        .send()
        .await
        .unwrap();
    let header = |name: &str| preflight.headers()[name].to_str().unwrap().to_lowercase();
    assert_eq!(preflight.status(), 200);
    assert_eq!(header("access-control-allow-origin"), "*");
    assert!(header("access-control-allow-methods").contains("post"));
    assert!(header("access-control-allow-headers").contains("authorization"));
    assert_eq!(header("access-control-max-age"), "86400");
    let refused = world.post("{", None).await;
    assert_eq!(refused.headers["access-control-allow-origin"], "*");
    let exposed = refused.headers["access-control-expose-headers"].to_str().unwrap();
    assert_eq!(
        exposed,
        "ratelimit-limit,ratelimit-remaining,ratelimit-reset,ratelimit-policy,retry-after,x-request-id,idempotency-replayed"
    );
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_off_and_idle_connections_are_not() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let address = world.endpoint.strip_prefix("http://").unwrap().replace("localhost", "127.0.0.1");
    let body = json!({ "function": echo.uri.to_string(), "input": {} }).to_string();
    let head = format!(
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );

    let slow_head = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let started = Instant::now();
        // One byte every 200 ms: a timeout that each byte renews would never fire.
        for byte in head.as_bytes().iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            let mut one = [0; 64];
            if let Ok(Ok(0) | Err(_)) =
                tokio::time::timeout(Duration::from_millis(200), stream.read(&mut one)).await
            {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "a slow head was let go on");
        }
        assert!(started.elapsed() > Duration::from_secs(4), "{:?}", started.elapsed());
    };
    let slow_body = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body.as_bytes()[..10]).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert!(answer.contains("did not arrive within 5 s"), "{answer}");
    };
    let idle = async {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        for pause in [0, 7] {
            tokio::time::sleep(Duration::from_secs(pause)).await;
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let mut answer = vec![0; 4096];
            let length = stream.read(&mut answer).await.unwrap();
            let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200"), "after {pause} s: {answer}");
        }
    };
    tokio::join!(slow_head, slow_body, idle);
}

#[tokio::test]
async fn a_stop_finishes_the_calls_in_flight_and_takes_no_new_ones() {
    let mut world = World::start().await;
    let spin = wat::parse_str(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "1")
             (func (export "alloc") (param i32) (result i32) i32.const 16)
             (func (export "run") (param i32 i32) (result i64) (local i64)
               (loop $l (local.set 2 (i64.add (local.get 2) (i64.const 1)))
                 (br_if $l (i64.lt_u (local.get 2) (i64.const 300000000))))
               i64.const 1))"#,
    )
    .unwrap();
    let published = world.publish_record("slow", &spin, |record| record["maxDurationMs"] = 5000.into());
    let warm = world.run(&published.uri, json!(1)).await;
    assert_eq!(warm.output(), &json!(1));
    let endpoint = world.endpoint.clone();
    let in_flight = tokio::spawn(answer(
        world.request().body(json!({ "function": published.uri.to_string(), "input": 1 }).to_string()),
    ));
    soon(async || world.stats().sandbox.instances == 1).await;
    world.stop().await;
    assert_eq!(in_flight.await.unwrap().output(), &json!(1));
    let refused = world.client.get(format!("{endpoint}/xrpc/_health")).send().await;
    assert!(refused.is_err(), "{refused:?}");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut encoder = brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22);
    encoder.write_all(bytes).unwrap();
    drop(encoder);
    encoded
}

/// A body of unknown length: it is sent chunked.
fn stream_body(
    chunks: Vec<Result<Vec<u8>, std::io::Error>>,
) -> impl http_body::Body<Data = bytes::Bytes, Error = std::io::Error> {
    http_body_util::StreamBody::new(futures_util::stream::iter(
        chunks.into_iter().map(|chunk| chunk.map(|bytes| http_body::Frame::data(bytes.into()))),
    ))
}

/// The first line of the answer to a client that sends a body of unstated length, too large by its last
/// four pieces, to its end before it reads.
async fn status_of_a_slow_stream(world: &World) -> String {
    let address = world.endpoint.replace("http://localhost", "127.0.0.1");
    let mut stream = TcpStream::connect(&address).await.unwrap();
    let head = "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat();
    for number in 0..20 {
        if number > 16 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stream.write_all(&chunk).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 64];
    let read = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..read]).lines().next().unwrap_or_default().to_owned()
}
