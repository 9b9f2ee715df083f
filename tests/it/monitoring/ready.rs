//! `/readyz`: whether the service takes calls, and what is in the way.

use at_functions::clock::Clock;
use at_functions::config::{Config, Settings};
use at_functions::server::{self, Admin, Listener, Part, Service};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::patience;
use crate::served::Served;
use crate::world::{ECHO, answer};

const READY: &str = r#"{"ready":true,"reasons":[]}"#;

async fn get(url: String) -> (u16, Value) {
    #[allow(clippy::disallowed_methods)] // The test's own client, to the service under test.
    let answer = answer(reqwest::Client::new().get(url)).await;
    (answer.status, answer.body)
}

#[tokio::test]
async fn a_service_that_starts_says_what_it_waits_for_and_then_that_it_is_ready() {
    let listener = Listener::bind("test", ([127, 0, 0, 1], 0).into()).await.unwrap();
    let at = |path: &str| format!("http://{}{path}", listener.address());
    let (ready, alive) = (at("/readyz"), at("/livez"));
    let admin = Admin::starting(PrometheusBuilder::new().build_recorder().handle());
    tokio::spawn(server::serve(listener, admin.clone().router(), std::future::pending()));
    let lacking = |parts: [(&str, &str); 3]| {
        let reasons = parts.map(|(part, why)| json!({ "part": part, "why": why }));
        (503, json!({ "ready": false, "reasons": reasons }))
    };
    let all = [
        ("identity", "the service's key is not loaded yet"),
        ("sandbox", "it is not sealed and tried yet"),
        ("store", "it is not open yet"),
    ];
    assert_eq!(get(ready.clone()).await, lacking(all));
    assert_eq!(get(alive.clone()).await.0, 200);

    admin.readiness().has(Part::Sandbox);
    let (_, told) = get(ready.clone()).await;
    assert_eq!(told["reasons"].as_array().unwrap().len(), 2, "{told}");

    let directory = tempfile::tempdir().unwrap();
    let config = Config::complete(Settings {
        hostname: Some("localhost:3000".into()),
        data_dir: Some(directory.path().into()),
        ..Settings::default()
    });
    admin.stands(Service::start(&config.unwrap(), Clock::system()).unwrap());
    assert_eq!(get(ready.clone()).await, (200, serde_json::from_str(READY).unwrap()));

    admin.readiness().lacks(Part::Store, "the disk is full");
    let full = json!({ "ready": false, "reasons": [{ "part": "store", "why": "the disk is full" }] });
    assert_eq!(get(ready).await, (503, full));
    assert_eq!(get(alive).await.0, 200);
}

#[tokio::test]
async fn a_service_that_was_told_to_stop_is_not_ready_and_finishes_what_it_has() {
    let (world, served) = Served::start(&[]).await;
    let ready = served.admin_url("/readyz");
    assert_eq!(get(ready.clone()).await.0, 200);
    let uri = world.publish("echo", ECHO).uri.to_string();
    let body = json!({ "function": uri, "input": "late" }).to_string();
    let (first, rest) = body.split_at(10);
    let mut call = TcpStream::connect(served.listen()).await.unwrap();
    let head = format!(
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    call.write_all(head.as_bytes()).await.unwrap();
    // It is read as far as its body: the service asks for that.
    let mut asked = [0; 25];
    call.read_exact(&mut asked).await.unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    call.write_all(first.as_bytes()).await.unwrap();

    served.terminate();
    patience::soon(async || get(ready.clone()).await.0 == 503).await;
    let (_, told) = get(ready).await;
    let draining = json!([{ "part": "draining", "why": "the service was told to stop" }]);
    assert_eq!((&told["ready"], &told["reasons"]), (&json!(false), &draining));

    call.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    call.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""echo":"late""#), "{answer}");
}
