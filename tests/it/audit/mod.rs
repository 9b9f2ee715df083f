//! The audit log over HTTP: a line for each call, also over crashes, stops and full disks.

mod disk;
pub mod process;
mod stops;

use at_functions::config::{Anonymous, AuditRule, Settings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::patience::soon;
use crate::world::{Answer, ECHO, World};
pub use process::calls;
use process::{lines, verify};

/// A module whose `run` is this.
fn module(run: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) \
           (func (export \"alloc\") (param i32) (result i32) i32.const 1024) \
           (func (export \"run\") (param i32 i32) (result i64) {run}))"
    ))
    .unwrap()
}

fn request_id(answer: &Answer) -> &str {
    answer.headers["x-request-id"].to_str().unwrap()
}

/// The line of this call, which is the only one, without what is another each time.
fn line_of(world: &World, answer: &Answer) -> Value {
    let mut found: Vec<Value> =
        calls(world.data_dir()).into_iter().filter(|line| line["request"] == request_id(answer)).collect();
    assert_eq!(found.len(), 1, "{answer:?}");
    let mut line = found.remove(0);
    let members = line.as_object_mut().unwrap();
    assert!(members.remove("seq").unwrap().as_u64().unwrap() > 2);
    assert_eq!(members.remove("prev").unwrap().as_str().unwrap().len(), 64);
    let time: jiff::Timestamp = members.remove("time").unwrap().as_str().unwrap().parse().unwrap();
    assert!(jiff::Timestamp::from_second(1_600_000_000).unwrap() < time);
    assert!(members.remove("durationMicros").unwrap().is_u64());
    members.remove("request");
    if let Some(usage) = members.get_mut("usage") {
        for measured in ["cpuMicros", "peakMemoryBytes"] {
            assert!(usage.as_object_mut().unwrap().remove(measured).unwrap().is_u64());
        }
    }
    line
}

#[tokio::test]
async fn each_kind_of_call_leaves_one_line_that_says_what_was_decided() {
    let world = World::start().await;
    let (caller, input) = (world.caller(1), json!({"secret": "only for the guest"}));
    let bytes = input.to_string().len();
    let echo = world.publish("echo", ECHO);
    let trap = world.publish("trap", module("unreachable"));
    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into());
    let absent = format!("at://{}/at.functions.metadata/absent", world.author.did());

    let answer = world.run_as(&caller, &echo.uri, input.clone()).await;
    let output_bytes = answer.body["usage"]["outputBytes"].clone();
    assert!(output_bytes.as_u64().unwrap() > bytes as u64);
    let usage = json!({"hostCalls": 0, "inputBytes": bytes, "outputBytes": output_bytes});
    assert_eq!(
        line_of(&world, &answer),
        json!({
            "kind": "call", "decision": "allowed", "outcome": "ok", "caller": caller.did,
            "function": echo.uri.to_string(), "cid": echo.cid.to_string(), "usage": usage,
        })
    );
    let answer = world.run(&trap.uri, input.clone()).await;
    assert_eq!(
        line_of(&world, &answer),
        json!({
            "kind": "call", "decision": "allowed", "outcome": "trap", "function": trap.uri.to_string(),
            "cid": trap.cid.to_string(),
            "usage": {"hostCalls": 0, "inputBytes": bytes, "outputBytes": 0},
        })
    );
    let answer = world.run_as(&caller, &hidden.uri, input.clone()).await;
    assert_eq!(
        line_of(&world, &answer),
        json!({
            "kind": "call", "decision": "refused", "error": "FunctionNotPublic", "caller": caller.did,
            "function": hidden.uri.to_string(), "cid": hidden.cid.to_string(), "rule": "public",
        })
    );
    let answer = world.run(&absent, input.clone()).await;
    let refused =
        json!({"kind": "call", "decision": "refused", "error": "FunctionNotFound", "function": absent});
    assert_eq!(line_of(&world, &answer), refused);
    let answer = world.post("{", None).await;
    let refused = json!({"kind": "call", "decision": "refused", "error": "InvalidRequest"});
    assert_eq!(line_of(&world, &answer), refused);
    let token = world.token(&caller);
    let answer = world.post(input.to_string(), Some(&token[..token.len() - 4])).await;
    assert_eq!(answer.status, 401);
    let refused = json!({"kind": "call", "decision": "refused", "error": answer.error().1});
    assert_eq!(line_of(&world, &answer), refused);

    assert_eq!(calls(world.data_dir()).len(), 6);
    let text: String = lines(world.data_dir()).iter().map(Value::to_string).collect();
    assert!(!text.contains("only for the guest") && !text.contains(&token[..40]), "{text}");
    let (code, told) = verify(world.data_dir(), &[]);
    assert_eq!((code, &told["whole"], &told["calls"]), (0, &json!(true), &json!(6)), "{told}");
}

#[tokio::test]
async fn the_line_of_a_call_that_is_sent_again_says_where_its_answer_came_from() {
    let world = World::start().await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO));
    let call = json!({ "function": echo.uri.to_string(), "input": 1, "idempotencyKey": "k" }).to_string();
    let mut told = Vec::new();
    for _ in 0..2 {
        let answer = world.post(call.clone(), Some(&world.token(&caller))).await;
        assert_eq!(answer.output()["echo"], 1);
        let line = line_of(&world, &answer);
        assert_eq!((&line["decision"], &line["outcome"]), (&json!("allowed"), &json!("ok")));
        told.push((line["answerFrom"].clone(), line["usage"].is_object()));
    }
    assert_eq!(told, [(Value::Null, true), (json!("kept"), false)]);
    let (code, told) = verify(world.data_dir(), &[]);
    assert_eq!((code, &told["calls"]), (0, &json!(2)), "{told}");
}

#[tokio::test]
async fn a_call_whose_caller_goes_away_has_its_line() {
    let world = World::start().await;
    let address = world.endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /xrpc/at.functions.run HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The end of what is sent, and a reset for what would be answered.
    drop(stream);
    soon(async || calls(world.data_dir()).len() == 1).await;
    let line = calls(world.data_dir()).remove(0);
    // Whether the body's end or the connection's is seen first is not ours to say.
    assert!(line["decision"] == "abandoned" || line["error"] == "InvalidRequest", "{line}");
}

#[tokio::test]
async fn the_log_goes_on_over_a_restart() {
    let mut world = World::start().await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!(1)).await.status, 200);
    world.restart().await;
    assert_eq!(world.run(&echo.uri, json!(2)).await.status, 200);
    let starts = lines(world.data_dir()).into_iter().filter(|line| line["kind"] == "start");
    let found: Vec<Value> = starts.map(|line| line["committed"].clone()).collect();
    assert_eq!(found, ["new", "found"]);
    let (code, told) = verify(world.data_dir(), &[]);
    assert_eq!((code, &told["calls"]), (0, &json!(2)), "{told}");
}

#[tokio::test]
async fn the_rule_changes_nothing_while_the_log_can_be_written() {
    let rule = Some(AuditRule::Drop);
    let settings = Settings { anonymous: Some(Anonymous::Public), audit: rule, ..Settings::default() };
    let world = World::start_with(settings).await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!(1)).await.status, 200);
    assert_eq!(calls(world.data_dir()).len(), 1);
}
