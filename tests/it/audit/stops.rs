//! What is left of the log when the service is killed, and when it is stopped, under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::process::{self, Process, calls, lines, verify};
use crate::patience::soon;
use crate::world::{ECHO, World};

/// Callers that call one after the other until the service is gone.
const CALLERS: usize = 6;

/// Request ids of the answers that callers got, once the service is gone.
async fn answers_until_gone(world: &World, stop: impl AsyncFnOnce()) -> Vec<String> {
    let function = world.publish("echo", ECHO).uri.to_string();
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let body = json!({ "function": function, "input": 1 }).to_string();
        let (world, answered) =
            (world.request().header("content-type", "application/json"), answered.clone());
        let request = world.body(body).build().unwrap();
        let client = reqwest_client();
        callers.spawn(async move {
            let mut ids = Vec::new();
            while let Ok(response) = client.execute(request.try_clone().unwrap()).await {
                assert_eq!(response.status().as_u16(), 200);
                let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
                // What is accepted is answered whole.
                match response.bytes().await {
                    Ok(_) => ids.push(id),
                    Err(_) => break,
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            ids
        });
    }
    soon(async || answered.load(Ordering::Relaxed) > 200).await;
    stop().await;
    callers.join_all().await.concat()
}

#[allow(clippy::disallowed_methods)] // The test's own client, to the service under test.
fn reqwest_client() -> reqwest::Client {
    reqwest::Client::new()
}

/// How many lines each of these answers has.
fn lines_of(process: &Process, answers: &[String]) -> BTreeMap<usize, usize> {
    let calls = calls(&process.data_dir());
    let mut of = BTreeMap::new();
    for call in &calls {
        *of.entry(call["request"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    let mut counts = BTreeMap::new();
    for id in answers {
        *counts.entry(of.get(id).copied().unwrap_or(0)).or_insert(0) += 1;
    }
    counts
}

#[tokio::test]
async fn a_kill_under_load_leaves_a_whole_log_with_every_answer_in_it() {
    let (world, mut process) = process::start(&[]).await;
    let answers = answers_until_gone(&world, async || process.signal(Signal::KILL)).await;
    assert_eq!(process.ended(), None);
    assert_eq!(lines_of(&process, &answers), BTreeMap::from([(1, answers.len())]));
    let (code, told) = verify(&process.data_dir(), &[]);
    assert_eq!((code, &told["issues"]), (0, &json!([])), "{told}");
    assert!(told["calls"].as_u64().unwrap() >= answers.len() as u64, "{told}");

    process.start_again().await;
    let starts: Vec<_> =
        lines(&process.data_dir()).into_iter().filter(|line| line["kind"] == "start").collect();
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[1]["committed"], "found");
    assert_eq!(starts[1]["tornBytes"].as_u64().unwrap_or(0), told["tornBytes"].as_u64().unwrap());
    let (code, told) = verify(&process.data_dir(), &[]);
    assert_eq!((code, &told["issues"], &told["tornBytes"]), (0, &json!([]), &json!(0)), "{told}");
}

#[tokio::test]
async fn a_stop_under_load_loses_no_call_and_no_line() {
    let (world, mut process) = process::start(&[]).await;
    let answers = answers_until_gone(&world, async || process.signal(Signal::TERM)).await;
    assert_eq!(process.ended(), Some(0));
    assert_eq!(lines_of(&process, &answers), BTreeMap::from([(1, answers.len())]));
    // Every call that was let in has its answer, and what is written is signed.
    assert_eq!(calls(&process.data_dir()).len(), answers.len());
    let (code, told) = verify(&process.data_dir(), &[]);
    assert_eq!((code, &told["issues"], &told["unsignedTail"]), (0, &json!([]), &json!(0)), "{told}");

    // The last line gone, and a head that was kept elsewhere.
    let head = told["last"].as_str().unwrap().to_owned();
    let audit = process.data_dir().join("audit");
    let path = audit.join("00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    std::fs::write(&path, &text[..cut]).unwrap();
    let file = path.to_str().unwrap();
    for (more, code) in [(&[][..], 1), (&[file], 0), (&["--head", &head, file], 1)] {
        let (exit, told) = verify(&process.data_dir(), more);
        assert_eq!(exit, code, "{told}");
        if code == 1 {
            assert_eq!(told["issues"][0]["flaw"], "truncated", "{told}");
            assert_eq!(told["issues"][0]["line"], text[..cut].lines().count(), "{told}");
        }
    }
}
