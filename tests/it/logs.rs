//! What the service writes to its log: a line a call, its trace, and nothing of what was said.

use serde_json::{Value, json};

use crate::served::Served;
use crate::world::{Answer, ECHO, answer};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

/// The lines of one request.
fn of<'a>(lines: &'a [Value], request: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["request"] == request).collect()
}

/// The names of a line's fields, but for the time and the span.
fn fields(line: &Value) -> Vec<&str> {
    let names = line.as_object().unwrap().keys().map(String::as_str);
    let mut names: Vec<&str> = names.filter(|name| !["timestamp", "span"].contains(name)).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn each_call_is_one_line_that_says_who_called_what_and_what_came_of_it() {
    let (world, served) = Served::start(&[]).await;
    let caller = world.caller(1);
    let published = world.publish("echo", ECHO);
    let uri = published.uri.to_string();
    let ran = world.run_as(&caller, &uri, json!(1)).await;
    assert_eq!(ran.output()["echo"], 1);
    let again = world.run(&uri, json!(1)).await;
    let refused = world.run(&uri.replace("echo", "absent"), json!(1)).await;
    assert_eq!(refused.error().1, "FunctionNotFound");
    let unknown = world.post("{}", Some("x.y.z")).await;
    let describe = format!("{}/xrpc/at.functions.describe", world.endpoint);
    let describe = url::Url::parse_with_params(&describe, [("function", &uri)]).unwrap();
    let described = answer(world.client.get(describe)).await;
    let lines = served.stopped().await;

    let line = |answer: &Answer, target: &str| {
        let found = of(&lines, &id(answer));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((&found[0]["target"], &found[0]["level"]), (&json!(target), &json!("INFO")));
        found[0].clone()
    };
    let first = line(&ran, "call");
    let all = ["cache", "caller", "cid", "cpu_ms", "decided", "function", "level", "ms", "request", "target"];
    assert_eq!(fields(&first), all);
    assert_eq!((&first["decided"], &first["cache"]), (&json!("ok"), &json!("cold")));
    assert_eq!((&first["caller"], &first["function"]), (&json!(caller.did), &json!(uri)));
    assert_eq!(first["cid"], published.cid.to_string());
    assert!(first["ms"].as_f64().unwrap() > first["cpu_ms"].as_f64().unwrap(), "{first}");

    let second = line(&again, "call");
    assert_eq!((second.get("caller"), &second["cache"]), (None, &json!("warm")));
    let third = line(&refused, "call");
    assert_eq!(fields(&third), ["decided", "function", "level", "ms", "request", "target"]);
    assert_eq!(third["decided"], "FunctionNotFound");
    let fourth = line(&unknown, "call");
    assert_eq!(fields(&fourth), ["decided", "level", "ms", "request", "target"]);
    assert_eq!(fourth["decided"], "BadJwt");
    let fifth = line(&described, "describe");
    assert_eq!(fields(&fifth), ["cid", "decided", "function", "level", "ms", "request", "target"]);
}

#[tokio::test]
async fn the_time_of_each_stage_is_a_second_line_at_debug() {
    let (world, served) = Served::start(&["--log=info,call=debug"]).await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    let ran = world.run(&uri, json!(1)).await;
    let refused = world.post("{}", None).await;
    let lines = served.stopped().await;
    let stages = |answer: &Answer| {
        let found = of(&lines, &id(answer));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((&found[0]["level"], &found[1]["level"]), (&json!("INFO"), &json!("DEBUG")));
        assert_eq!(found[1]["message"], "stages");
        let names = fields(found[1]).into_iter().filter_map(|name| name.strip_suffix("_ms"));
        let times = names.clone().map(|name| found[1][format!("{name}_ms")].as_f64().unwrap()).sum::<f64>();
        assert!(times <= found[0]["ms"].as_f64().unwrap() + 1.0, "{found:?}");
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let all = ["answer", "auth", "body", "code", "compile", "input", "policy", "queue", "record", "run"];
    assert_eq!(stages(&ran), all);
    assert_eq!(stages(&refused), ["auth", "body"]);
}

#[tokio::test]
async fn a_direct_callers_trace_is_in_the_lines_of_its_call_and_a_malformed_one_is_not() {
    let (world, served) = Served::start(&["--log=info,call=debug"]).await;
    let uri = world.publish("echo", ECHO).uri.to_string();
    let run = async |traceparent: &str| {
        let body = json!({ "function": uri, "input": 1 }).to_string();
        let request = world.request().header("content-type", "application/json").body(body);
        answer(request.header("traceparent", traceparent)).await
    };
    let traced = run(&format!("00-{TRACE}-00f067aa0ba902b7-01")).await;
    let malformed = run(&format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32))).await;
    assert_eq!((traced.output(), malformed.output()), (traced.output(), traced.output()));
    let lines = served.stopped().await;
    let found = of(&lines, &id(&traced));
    assert_eq!(found.len(), 2, "{found:?}");
    for line in found {
        assert_eq!(line["trace_id"], TRACE, "{line}");
        assert_eq!(line["span"]["trace_id"], TRACE, "{line}");
        assert_eq!(line["span"]["request"], line["request"], "{line}");
    }
    for line in of(&lines, &id(&malformed)) {
        assert_eq!((line.get("trace_id"), line["span"].get("trace_id")), (None, None), "{line}");
    }
}

#[tokio::test]
async fn no_token_input_or_output_is_logged_at_any_level() {
    let filter = "--log=warn,at_functions=trace,call=trace,describe=trace,audit=trace";
    let (world, served) = Served::start(&[filter]).await;
    let caller = world.caller(1);
    let (said, answered, key) = ("tulip-input-4711", "tulip-output-4712", "tulip-key-4713");
    let echo = world.publish("echo", ECHO).uri.to_string();
    let constant = world.publish("constant", constant(answered)).uri.to_string();
    let typed =
        world.publish_record("typed", ECHO, |record| record["inputSchema"] = json!({ "type": "integer" }));
    let mut tokens = Vec::new();
    let mut post = async |body: String| {
        let token = world.token(&caller);
        let answer = world.post(body, Some(&token)).await;
        tokens.push(token.clone());
        // The same once more: used by now, if the first time was not in vain.
        world.post(json!({ "function": echo, "input": said }).to_string(), Some(&token)).await;
        answer
    };
    let echoed = post(json!({ "function": echo, "input": said }).to_string()).await;
    assert_eq!(echoed.output()["echo"], said);
    let given = post(json!({ "function": constant, "input": {} }).to_string()).await;
    assert_eq!(given.output(), answered);
    let uri = typed.uri.to_string();
    assert_eq!(post(json!({ "function": uri, "input": said }).to_string()).await.error().1, "InvalidInput");
    assert_eq!(post(format!("{{\"function\": [\"{said}\"]}}")).await.error().1, "InvalidRequest");
    assert_eq!(post(format!("{{\"{said}\"")).await.error().1, "InvalidRequest");
    let keyed = json!({ "function": echo, "input": said, "idempotencyKey": { "no": key } }).to_string();
    assert_eq!(post(keyed).await.error().1, "InvalidRequest");
    let describe = format!("{}/xrpc/at.functions.describe?function={said}", world.endpoint);
    let token = world.token(&caller);
    let wrong = world.client.get(describe).bearer_auth(&token);
    assert_eq!(answer(wrong).await.error().1, "BadJwtLexiconMethod");
    tokens.push(token);

    let lines = served.stopped().await;
    let log = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    assert!(log.contains("\"stages\"") && log.contains("BadJwtLexiconMethod"), "{log}");
    let parts = tokens.iter().flat_map(|token| token.split('.').skip(1));
    for secret in parts.chain([said, answered, key]) {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
}

/// A function that answers this text, whatever its input.
fn constant(text: &str) -> Vec<u8> {
    let module = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "\"{text}\"")
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) i64.const {}))"#,
        text.len() + 2
    );
    wat::parse_str(module).unwrap()
}
