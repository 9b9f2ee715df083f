//! A service that is killed between a run and its answer.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::network::Service;
use crate::patience::soon;

use super::*;

/// A world whose service is a process.
async fn start() -> (World, Service) {
    let mut started = None;
    let world = World::around(async |origin| {
        let service = Service::try_start_among(origin, origin, &["--isolation=thread"]).await.unwrap();
        let names = (service.url(), service.did());
        started = Some(service);
        names
    })
    .await;
    (world, started.unwrap())
}

/// Sends a call of [`counting`] whose answer is never read.
async fn send_unread(world: &World, caller: &Caller, body: &Value) -> TcpStream {
    let (body, token) = (body.to_string(), world.token(caller));
    let address = world.endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// One figure of the service's metrics.
async fn metric(world: &World, service: &Service, name: &str) -> String {
    let text = world.client.get(format!("{}/metrics", service.admin_url())).send().await.unwrap();
    let text = text.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().to_owned()
}

#[tokio::test]
async fn an_answer_that_was_kept_is_given_after_a_kill_and_one_that_was_not_is_made_anew() {
    let (world, mut service) = start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let first = call(&world, &caller, &function, json!(0), "given").await;
    assert_eq!((first.status, first.replayed), (200, false), "{first:?}");
    const KEPT: &str = "at_functions_kept_answers";
    assert_eq!(metric(&world, &service, KEPT).await, "1");

    // It ran and was kept; who called has not heard of it.
    let unheard = json!({ "function": function, "input": 1, "idempotencyKey": "unheard" });
    let stream = send_unread(&world, &caller, &unheard).await;
    soon(async || metric(&world, &service, KEPT).await == "2").await;
    // It runs.
    world.delay([(RUNS, Duration::from_secs(600))]);
    let running = json!({ "function": function, "input": 2, "idempotencyKey": "running" });
    let other = send_unread(&world, &caller, &running).await;
    soon(async || runs(&world) == 3).await;
    service.restart().await;
    drop((stream, other));
    world.delay([]);

    assert_eq!(call(&world, &caller, &function, json!(0), "given").await, first.again());
    let answer = send(request(&world, &caller, &unheard)).await;
    assert_eq!((answer.status, answer.replayed, runs(&world)), (200, true, 3), "{answer:?}");
    let anew = send(request(&world, &caller, &running)).await;
    assert_eq!((anew.status, anew.replayed, runs(&world)), (200, false, 4), "{anew:?}");
    assert_eq!(send(request(&world, &caller, &running)).await, anew.again());
    for (name, figure) in [
        (KEPT, "3"),
        ("at_functions_answers_can_be_kept", "1"),
        ("at_functions_named_calls_total{from=\"kept\"}", "3"),
        ("at_functions_named_calls_total{from=\"run\"}", "1"),
    ] {
        assert_eq!(metric(&world, &service, name).await, figure, "{name}");
    }
}

#[tokio::test]
async fn whoever_had_an_answer_before_a_kill_under_load_has_it_again() {
    const CALLS: usize = 60;
    let (world, mut service) = start().await;
    let caller = world.caller(1);
    let function = publish_counting(&world, "counting", |_| ());
    let body = |number: usize| json!({ "function": function, "input": number, "idempotencyKey": format!("call-{number}") });
    let (told, mut answers) = tokio::sync::mpsc::channel(CALLS);
    for number in 0..CALLS {
        let (told, call) = (told.clone(), request(&world, &caller, &body(number)));
        tokio::spawn(async move {
            // One that the kill cuts off has no answer.
            let Ok(response) = call.send().await else { return };
            let status = response.status().as_u16();
            let Ok(body) = response.bytes().await else { return };
            told.send((number, Raw { status, replayed: false, body })).await.unwrap();
        });
    }
    drop(told);
    let mut had = vec![answers.recv().await.unwrap()];
    while had.len() < CALLS / 4 {
        had.push(answers.recv().await.unwrap());
    }
    service.kill();
    while let Some(answer) = answers.recv().await {
        had.push(answer);
    }
    service.restart().await;
    for (number, answer) in &had {
        // A busy service may refuse: that is no answer.
        if answer.status == 200 {
            assert_eq!(send(request(&world, &caller, &body(*number))).await, answer.again(), "{number}");
        }
    }
    assert!(had.iter().any(|(_, answer)| answer.status == 200), "{had:?}");
}
