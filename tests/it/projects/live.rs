//! `dev` on a project: what is live, and when.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Copied, constant, manifest};
use crate::dev::{Dev, client};
use crate::patience::{soon, soon_within};
use crate::world::answer;

#[tokio::test]
async fn a_new_version_is_live_within_a_second_of_the_save() {
    let project = Copied::with(&manifest(""));
    let mut dev = Dev::start(&[project.path().to_str().unwrap()]);
    let (url, body) = dev.curl();
    let call = || answer(client().post(&url).body(body.to_string()));
    assert_eq!(call().await.output()["echo"], body["input"]);
    let mut version = 0;
    soon_within(Duration::from_secs(1), async || {
        version += 1;
        let expected = json!({ "version": version });
        project.write("code", &constant(&expected.to_string()));
        let saved = Instant::now();
        soon(async || call().await.body["output"] == expected).await;
        saved.elapsed()
    })
    .await;
}

#[tokio::test]
async fn a_broken_build_is_told_and_leaves_what_was_published() {
    let project = Copied::with(&manifest("max-memory-mb = 8"));
    let mut dev = Dev::start(&[project.path().to_str().unwrap()]);
    let (url, body) = dev.curl();
    let call = || answer(client().post(&url).body(body.to_string()));
    assert_eq!(call().await.output()["echo"], body["input"]);
    assert!(dev.told("call: ").starts_with("call: ok, "));

    project.write("at-functions.toml", manifest("").replace("cp code", "exit 3; cp code").as_bytes());
    assert_eq!(dev.told("error: "), "error: the build failed (exit code 3): exit 3; cp code out.wasm");
    assert_eq!(dev.told("not published: "), "not published: words; it is built again when a file changes");
    assert_eq!(call().await.output()["echo"], body["input"]);

    project.write("at-functions.toml", b"name = 7\n");
    assert!(dev.told("error: ").contains("at-functions.toml, line 1: "));
    // What services refuse is not published either.
    project.write("at-functions.toml", manifest("").as_bytes());
    project.write("code", &wat::parse_str("(module)").unwrap());
    let refused =
        "error: services refuse it as pure-v1: the module does not export `memory`, which must be a memory";
    soon(async || dev.told("error: ") == refused).await;
    assert_eq!(call().await.output()["echo"], body["input"]);

    project.write("code", &constant(r#"{"whole":true}"#));
    soon(async || call().await.body["output"] == json!({ "whole": true })).await;
}

#[tokio::test]
async fn the_manifest_holds_for_what_is_published() {
    let lines = "max-duration-ms = 50\nmax-memory-mb = 8\npublic = false\ndescription = \"Waits\"\ninput-schema = \"in.json\"";
    let project = Copied::with(&manifest(lines));
    project.write("in.json", br#"{"type": "object", "required": ["a"], "examples": [{"a": "it's"}]}"#);
    let endless = r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 64)
                       (func (export "run") (param i32 i32) (result i64) (loop (br 0)) unreachable))"#;
    project.write("code", &wat::parse_str(endless).unwrap());
    let mut dev = Dev::start(&[project.path().to_str().unwrap()]);
    let line = dev.line_with("  curl ");
    // As a shell takes it.
    assert!(line.contains(r#""input":{"a":"it'\''s"}"#), "{line}");
    let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let function = line.split(r#""function":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let call =
        |input| answer(client().post(&url).body(json!({"function": function, "input": input}).to_string()));
    assert_eq!(call(json!({})).await.body["error"], "InvalidInput");
    let timed_out = call(json!({ "a": 1 })).await;
    assert_eq!(timed_out.outcome(), "timeout");
    assert!(timed_out.body["error"].as_str().unwrap().contains("50 ms"), "{timed_out:?}");
}
