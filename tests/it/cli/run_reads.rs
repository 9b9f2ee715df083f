//! `run` of functions that read: what they get, and what they are refused.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::patience::soon_within;

/// A function of host-v1 whose input goes to `host_read_record`, and whose output is the answer; it logs
/// its input first.
fn reader(dir: &Path) -> String {
    host_function(
        dir,
        "(call $log (i32.const 2) (local.get 0) (local.get 1)) (call $read (local.get 0) (local.get 1))",
    )
}

fn host_function(dir: &Path, body: &str) -> String {
    let text = format!(
        r#"(module
             (import "host" "host_read_record" (func $read (param i32 i32) (result i64)))
             (import "host" "host_get_context" (func $context (result i64)))
             (import "env" "host_log" (func $log (param i32 i32 i32)))
             (memory (export "memory") 4)
             (global $next (mut i32) (i32.const 1024))
             (func (export "alloc") (param i32) (result i32)
               global.get $next
               (global.set $next (i32.add (global.get $next) (local.get 0))))
             (func (export "run") (param i32 i32) (result i64) {body}))"#
    );
    let path = dir.join("host.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn reads_are_refused_offline_with_the_flag_that_allows_them() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let path = reader(dir.path());
    let input = json!({"atUri": FUNCTION}).to_string();
    let (code, stdout, stderr) =
        run(&mut as_author(&pds, &["run", &path, "--input", &input, "--allow", FUNCTION])).await;
    assert_eq!(code, 0, "{stderr}");
    let why =
        format!("cannot read {FUNCTION}: this run is offline (`at-functions run --online` lets it read)");
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), json!({"ok": false, "error": why}));
    assert!(stderr.contains("  mode        host-v1 "), "{stderr}");
    assert!(stderr.contains("\n  host calls  1 "), "{stderr}");
    assert!(stderr.contains("\n  may read    nothing "), "{stderr}");
    assert!(stderr.ends_with(&format!("\ndenied: {why}\nlog warn: {input}\n")), "{stderr}");
    assert_eq!(pds.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn an_online_run_reads_what_is_allowed_proved_and_nothing_else() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let record = json!({"$type": "at.functions.metadata", "name": "echo"});
    pds.on("/xrpc/com.atproto.sync.getRecord", proof(author_key(), Some(&record)));
    let path = reader(dir.path());
    let input = json!({"atUri": FUNCTION}).to_string();
    let online = ["run", &path, "--input", &input, "--online", "--allow-private-network", "--json"];
    let ran = async |more: &[&str]| {
        let (code, stdout, stderr) = run(as_author(&pds, &online).args(more)).await;
        assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
        serde_json::from_str::<Value>(&stdout).unwrap()
    };

    let told = ran(&[]).await;
    let needed = told["output"]["error"].as_str().unwrap();
    assert!(needed.contains(FUNCTION), "{told}");
    assert_eq!(told["denied"], json!([needed]));
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.sync.getRecord".to_owned()));

    let told = ran(&["--allow", FUNCTION, "--max-duration-ms", "5000"]).await;
    assert_eq!((&told["output"]["ok"], &told["output"]["record"]), (&json!(true), &record), "{told}");
    assert_eq!((&told["denied"], &told["usage"]["hostCalls"]), (&json!([]), &json!(1)));
    assert_eq!(told["logs"], json!([{"level": "warn", "message": input}]));

    // By a key that is not the author's.
    let forged = proof(SigningKey::from_bytes(&[8; 32]).unwrap(), Some(&record));
    pds.on("/xrpc/com.atproto.sync.getRecord", forged);
    let told = ran(&["--allow", FUNCTION, "--max-duration-ms", "5000"]).await;
    assert_eq!(told["output"]["ok"], false, "{told}");

    // Not to this machine, unless it is said.
    let closed = [
        "run",
        &path,
        "--input",
        &input,
        "--online",
        "--json",
        "--allow",
        FUNCTION,
        "--max-duration-ms",
        "5000",
    ];
    let before = pds.paths().len();
    let (_, stdout, _) = run(&mut as_author(&pds, &closed)).await;
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["output"]["ok"], false, "{stdout}");
    assert_eq!(pds.paths().len(), before);
}

#[tokio::test]
async fn a_slow_host_holds_a_run_up_no_longer_than_its_deadline() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    pds.on("/xrpc/com.atproto.sync.getRecord", text(0, "", ""));
    let path = reader(dir.path());
    let input = json!({"atUri": FUNCTION}).to_string();
    let arguments = [
        "run",
        &path,
        "--input",
        &input,
        "--online",
        "--allow-private-network",
        "--allow",
        FUNCTION,
        "--json",
    ];
    soon_within(Duration::from_millis(400), async || {
        let (_, stdout, stderr) = run(as_author(&pds, &arguments).args(["--max-duration-ms", "300"])).await;
        assert_eq!(stderr, "");
        // The door's own timer may end the read a moment before the run's ends the run.
        let told: Value = serde_json::from_str(&stdout).unwrap();
        assert!(told["outcome"] == "timeout" || told["output"]["ok"] == false, "{told}");
        let took = Duration::from_millis(told["durationMs"].as_u64().unwrap());
        assert!(took >= Duration::from_millis(250), "{told}");
        took
    })
    .await;
}

#[tokio::test]
async fn the_function_is_told_the_caller_and_itself_as_the_flags_say() {
    let dir = tempfile::tempdir().unwrap();
    let path = host_function(dir.path(), "call $context");
    let arguments = ["run", &path, "--caller", AUTHOR, "--function", FUNCTION];
    let (code, stdout, stderr) = run(&mut program(&arguments)).await;
    assert_eq!(code, 0, "{stderr}");
    let mut context: Value = serde_json::from_str(&stdout).unwrap();
    assert!(context["timeLeftMs"].take().as_u64().unwrap() <= 100, "{stdout}");
    let cid = at_functions::repo::blob_cid(&std::fs::read(&path).unwrap()).to_string();
    let expected = json!({"caller": AUTHOR, "function": FUNCTION, "functionCid": cid, "requestId": "local", "timeLeftMs": null});
    assert_eq!(context, expected);
    let (_, stdout, _) = run(&mut program(&["run", &path])).await;
    let context: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(context.get("caller"), None);
    assert_eq!(context["function"], "at://did:web:author.test/at.functions.metadata/local");
}
