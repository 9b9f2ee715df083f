//! A disk that is full: a limit on the size of files, which the kernel tells like a disk without space.
#![cfg(target_os = "linux")]

use serde_json::{Value, json};

use super::process::{self, Process, calls, lines, verify};
use crate::patience::soon;
use crate::world::{Answer, ECHO, World};

/// Lets the log grow by less than a line from here on. What the service needs else is in smaller files.
fn fill_the_disk(process: &Process) {
    let log = process.data_dir().join("audit/00000000000000000001.jsonl");
    process.limit_files(Some(log.metadata().unwrap().len() + 40));
}

async fn echo(world: &World, input: u64) -> Answer {
    let function = format!("at://{}/at.functions.metadata/echo", world.author.did());
    world.run(&function, json!(input)).await
}

/// A service that has had a call, so that nothing but the log is still to be written.
async fn started(rule: &str) -> (World, Process) {
    let (world, process) = process::start(&["--audit", rule, "--artifact-cache=0"]).await;
    world.publish("echo", ECHO);
    assert_eq!(echo(&world, 0).await.output()["echo"], 0);
    // All is signed and at rest.
    soon(async || {
        let written = process.metric("at_functions_audit_seq").await;
        let last = lines(&process.data_dir()).pop().unwrap();
        last["kind"] == "checkpoint" && process.metric("at_functions_audit_committed_seq").await == written
    })
    .await;
    (world, process)
}

async fn is_written_again(process: &Process) {
    soon(async || process.metric("at_functions_audit_writable").await == 1).await;
}

fn dropped(process: &Process) -> u64 {
    let gaps = lines(&process.data_dir()).into_iter().filter(|line| line["kind"] == "dropped");
    gaps.map(|line| line["dropped"].as_u64().unwrap()).sum()
}

#[tokio::test]
async fn on_a_full_disk_calls_are_refused_until_there_is_room() {
    let (world, process) = started("refuse").await;
    assert_eq!(process.admin("readyz").await.unwrap().0, 200);
    fill_the_disk(&process);
    // The first finds out, the second is not let in.
    for input in 1..=2 {
        let answer = echo(&world, input).await;
        assert_eq!(answer.error(), (503, "NotEnoughResources"));
        assert!(answer.message().contains("audit log") && answer.headers.contains_key("retry-after"));
    }
    let (status, why) = process.admin("readyz").await.unwrap();
    assert_eq!((status, why.contains("the audit log cannot be written: ")), (503, true), "{why}");
    assert_eq!(process.admin("livez").await.unwrap().0, 200);
    assert_eq!(process.metric("at_functions_audit_writable").await, 0);
    assert_eq!(process.metric("at_functions_audit_dropped_total").await, 2);
    process.limit_files(None);
    is_written_again(&process).await;
    assert_eq!(process.admin("readyz").await.unwrap().0, 200);
    assert_eq!(echo(&world, 3).await.output()["echo"], 3);
    outcome(&process);
}

#[tokio::test]
async fn on_a_full_disk_calls_are_answered_and_counted_if_the_operator_chose_that() {
    let (world, process) = started("drop").await;
    fill_the_disk(&process);
    for input in 1..=2 {
        assert_eq!(echo(&world, input).await.output()["echo"], input);
    }
    assert_eq!(process.admin("readyz").await.unwrap().0, 200);
    assert_eq!(process.metric("at_functions_audit_dropped_total").await, 2);
    assert_eq!(process.metric("at_functions_audit_writable").await, 0);
    process.limit_files(None);
    is_written_again(&process).await;
    assert_eq!(echo(&world, 3).await.output()["echo"], 3);
    outcome(&process);
}

/// Two calls have no line, which the log says; it is whole.
fn outcome(process: &Process) {
    let outcomes: Vec<Value> =
        calls(&process.data_dir()).into_iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!(outcomes, ["ok", "ok"]);
    assert_eq!(dropped(process), 2);
    let (code, told) = verify(&process.data_dir(), &[]);
    assert_eq!((code, &told["issues"], &told["dropped"]), (0, &json!([]), &json!(2)), "{told}");
    assert!(process.log().contains("the audit log cannot be written"), "{}", process.log());
}
