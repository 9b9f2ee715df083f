//! Calls that are answered as the same one was before, over HTTP: who has such an answer, and who has not.

mod killed;

use std::time::Duration;

use at_functions::config::{Anonymous, Settings};
use serde_json::{Value, json};

use crate::audit;
use crate::served::Served;
use crate::world::{Answer, Caller, ECHO, World, xrpc_error};

/// A world whose anonymous callers may run public functions, with these further settings.
async fn world(settings: Settings) -> World {
    World::start_with(Settings { anonymous: Some(Anonymous::Public), ..settings }).await
}

/// Where the answer's code was, or that nothing ran; with an output, which it must have.
fn source(answer: &Answer) -> &str {
    answer.output();
    answer.body["usage"]["cache"].as_str().unwrap()
}

fn author(world: &World) -> Caller {
    Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() }
}

/// A module whose `run` is this.
fn module(run: &str) -> Vec<u8> {
    wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) (data (i32.const 8) \"7\") \
           (func (export \"alloc\") (param i32) (result i32) i32.const 1024) \
           (func (export \"run\") (param $pointer i32) (param $length i32) (result i64) {run}))"
    ))
    .unwrap()
}

/// A module that answers 7.
fn seven() -> Vec<u8> {
    module(&format!("i64.const {}", 8_u64 << 32 | 1))
}

#[tokio::test]
async fn the_same_call_is_answered_without_a_run_and_says_so() {
    let world = World::start().await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO));
    let input = json!({ "hello": ["world", 1.5] });
    let first = world.run_as(&caller, &echo.uri, input.clone()).await;
    assert_eq!(source(&first), "cold");
    let second = world.run_as(&caller, &echo.uri, input.clone()).await;
    assert_eq!(source(&second), "memo");
    assert_eq!(second.output(), first.output());
    let bytes = |answer: &Answer| answer.body["usage"]["outputBytes"].clone();
    assert_eq!(
        second.body["usage"],
        json!({
            "cpuMicros": 0, "peakMemoryBytes": 0, "hostCalls": 0, "inputBytes": input.to_string().len(),
            "outputBytes": bytes(&first), "cache": "memo",
        })
    );
    assert_eq!(
        (&second.body["durationMs"], &second.body["functionCid"]),
        (&json!(0), &json!(echo.cid.to_string()))
    );
    // A byte more is another input, whatever it means.
    let body = format!(r#"{{"function":"{}","input":{} }}"#, echo.uri, r#"{"hello":["world", 1.5]}"#);
    assert_eq!(source(&world.post(body, Some(&world.token(&caller))).await), "warm");
    assert_eq!(source(&world.run_as(&caller, &echo.uri, json!({})).await), "warm");
    let stats = world.memo();
    assert_eq!(stats.outputs, 3);
    assert!(stats.bytes > 3 * first.output().to_string().len() as u64, "{stats:?}");
}

#[tokio::test]
async fn nobody_has_what_another_caller_had() {
    let world = World::start().await;
    let [one, other] = [1, 2].map(|seed| world.caller(seed));
    let echo = world.publish("echo", ECHO).uri;
    assert_eq!(source(&world.run_as(&one, &echo, json!(1)).await), "cold");
    assert_eq!(source(&world.run_as(&one, &echo, json!(1)).await), "memo");
    assert_eq!(source(&world.run_as(&other, &echo, json!(1)).await), "warm");
    assert_eq!(source(&world.run_as(&other, &echo, json!(1)).await), "memo");
    // Those without a name are not one caller.
    for _ in 0..3 {
        assert_eq!(source(&world.run(&echo, json!(1)).await), "warm");
    }
}

#[tokio::test]
async fn callers_share_what_public_functions_answer_where_the_operator_says_so() {
    let world = world(Settings { memo_across_callers: Some(true), ..Settings::default() }).await;
    let [one, other] = [1, 2].map(|seed| world.caller(seed));
    let author = author(&world);
    let open = world.publish("open", ECHO).uri;
    assert_eq!(source(&world.run_as(&one, &open, json!(1)).await), "cold");
    assert_eq!(source(&world.run_as(&other, &open, json!(1)).await), "memo");
    assert_eq!(source(&world.run(&open, json!(1)).await), "memo");

    let hidden = world.publish_record("hidden", ECHO, |record| record["public"] = false.into()).uri;
    assert_eq!(source(&world.run_as(&author, &hidden, json!(1)).await), "warm");
    assert_eq!(source(&world.run_as(&author, &hidden, json!(1)).await), "memo");
    let refused = world.run_as(&one, &hidden, json!(1)).await;
    assert_eq!(refused.error(), (403, "FunctionNotPublic"));
}

#[tokio::test]
async fn what_did_not_end_well_runs_again() {
    let world = World::start().await;
    let caller = world.caller(1);
    for (name, run, outcome) in [
        ("trap", "unreachable".to_owned(), "trap"),
        ("nothing", "i64.const 0".to_owned(), "outputInvalid"),
        ("slow", "(loop $forever (br $forever)) unreachable".to_owned(), "timeout"),
    ] {
        let function = world.publish(name, module(&run)).uri;
        for cache in ["cold", "warm"] {
            let answer = world.run_as(&caller, &function, json!(1)).await;
            assert_eq!(
                (answer.outcome(), &answer.body["usage"]["cache"]),
                (outcome, &json!(cache)),
                "{name}"
            );
        }
    }
    assert_eq!(world.memo().outputs, 0);
}

#[tokio::test]
async fn a_mismatch_with_the_output_schema_is_told_again() {
    let world = World::start().await;
    let caller = world.caller(1);
    let edit = |record: &mut Value| record["outputSchema"] = json!({ "type": "string" });
    let function = world.publish_record("echo", ECHO, edit).uri;
    let first = world.run_as(&caller, &function, json!(1)).await;
    let second = world.run_as(&caller, &function, json!(1)).await;
    assert_eq!((source(&first), source(&second)), ("cold", "memo"));
    assert!(first.body["outputSchemaMismatch"].is_string(), "{first:?}");
    assert_eq!(second.body["outputSchemaMismatch"], first.body["outputSchemaMismatch"]);
}

#[tokio::test]
async fn a_record_that_changed_is_run_as_it_is_now() {
    let mut world = World::start().await;
    world.restart_with_record_ttl(Duration::ZERO).await;
    let caller = world.caller(1);
    let function = world.publish("f", ECHO).uri;
    assert_eq!(world.run_as(&caller, &function, json!(1)).await.output()["echo"], 1);
    assert_eq!(source(&world.run_as(&caller, &function, json!(1)).await), "memo");
    // The same code with another limit is another record.
    world.publish_record("f", ECHO, |record| record["maxDurationMs"] = 99.into());
    assert_eq!(source(&world.run_as(&caller, &function, json!(1)).await), "warm");
    world.publish("f", seven());
    let changed = world.run_as(&caller, &function, json!(1)).await;
    assert_eq!((changed.output(), source(&changed)), (&json!(7), "cold"));
}

#[tokio::test]
async fn the_operators_rules_and_limits_come_first() {
    let file = tempfile::tempdir().unwrap().keep().join("policy.toml");
    std::fs::write(&file, "").unwrap();
    let world = world(Settings { policy: Some(file.clone()), ..Settings::default() }).await;
    let rule = async |policy: String| {
        std::fs::write(&file, &policy).unwrap();
        assert!(world.reload_policy().await, "{policy}");
    };
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "cold");
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "memo");

    rule(format!("callers.block = [\"{}\"]", caller.did)).await;
    assert_eq!(world.run_as(&caller, &echo, json!(1)).await.error(), (403, "CallerBlocked"));
    rule(format!("functions.block = [\"{echo}\"]")).await;
    assert_eq!(world.run_as(&caller, &echo, json!(1)).await.error(), (403, "FunctionBlocked"));
    // What it may do now, it has not done yet; and that would not be enough for it.
    rule(format!("[[limits]]\nfunction = \"{echo}\"\nmax_memory_mb = 1\n")).await;
    assert_eq!(world.run_as(&caller, &echo, json!(1)).await.outcome(), "memoryExceeded");
    rule(format!("[[limits]]\nfunction = \"{echo}\"\nmax_duration_ms = 90\n")).await;
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "warm");
    rule(String::new()).await;
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "memo");
}

#[tokio::test]
async fn rates_are_charged_as_for_a_run() {
    let settings =
        Settings { caller_limit: Some("1/s burst 2 at-once 64".parse().unwrap()), ..Settings::default() };
    let world = world(settings).await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(world.run_as(&caller, &echo, json!(1)).await);
    }
    assert_eq!((source(&answers[0]), source(&answers[1])), ("cold", "memo"));
    // One comes back each second, and the calls take far less than that.
    assert!(answers.iter().any(|answer| answer.status == 429), "{answers:?}");
}

#[tokio::test]
async fn code_that_its_authors_pds_took_down_is_not_answered_for() {
    let settings = Settings { anonymous: Some(Anonymous::Public), ..Settings::default() };
    let world = World::start_with_code_ttl(settings, Duration::ZERO).await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    world.run_as(&caller, &echo, json!(1)).await;
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "memo");
    world.fail_with(|path| path.contains("sync.getBlob").then(|| xrpc_error(400, "BlobNotFound")));
    let answer = world.run_as(&caller, &echo, json!(1)).await;
    assert_eq!(answer.error(), (400, "InvalidFunction"), "{answer:?}");
}

#[tokio::test]
async fn a_call_with_an_idempotency_key_has_a_run_of_its_own() {
    let world = World::start().await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    let named = async || {
        let body = json!({ "function": echo.to_string(), "input": 1, "idempotencyKey": "k" }).to_string();
        world.post(body, Some(&world.token(&caller))).await
    };
    assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), "cold");
    let first = named().await;
    assert_eq!(source(&first), "warm");
    let again = named().await;
    assert_eq!((&again.body, again.headers.get("idempotency-replayed").is_some()), (&first.body, true));
    // And what it answered is nobody else's.
    let body = json!({ "function": echo.to_string(), "input": 2, "idempotencyKey": "l" }).to_string();
    assert_eq!(source(&world.post(body, Some(&world.token(&caller))).await), "warm");
    assert_eq!(source(&world.run_as(&caller, &echo, json!(2)).await), "warm");
}

#[tokio::test]
async fn nothing_is_kept_where_the_operator_wants_none() {
    let world = world(Settings { memo_cache: Some(0), ..Settings::default() }).await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    for cache in ["cold", "warm", "warm"] {
        assert_eq!(source(&world.run_as(&caller, &echo, json!(1)).await), cache);
    }
    assert_eq!(world.memo(), at_functions::memo::Stats::default());
}

#[tokio::test]
async fn an_answer_without_a_run_is_audited_logged_and_counted() {
    let (world, served) = Served::start(&[]).await;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri);
    world.run_as(&caller, &echo, json!(1)).await;
    let second = world.run_as(&caller, &echo, json!(1)).await;
    assert_eq!(source(&second), "memo");

    let lines = audit::calls(&served.data_dir());
    assert_eq!(lines.len(), 2);
    let [run, recalled] = [&lines[0], &lines[1]];
    assert!(run["usage"].is_object() && run.get("answerFrom").is_none(), "{run}");
    assert_eq!(
        (
            &recalled["request"],
            &recalled["decision"],
            &recalled["outcome"],
            &recalled["caller"],
            &recalled["answerFrom"],
            recalled.get("usage")
        ),
        (
            &json!(second.headers["x-request-id"].to_str().unwrap()),
            &json!("allowed"),
            &json!("ok"),
            &json!(caller.did),
            &json!("memo"),
            None
        )
    );

    let text = world.client.get(served.admin_url("/metrics")).send().await.unwrap().text().await.unwrap();
    for series in [
        "at_functions_memo_lookups_total{found=\"yes\"} 1",
        "at_functions_memo_lookups_total{found=\"no\"} 1",
        "at_functions_memo_outputs 1",
        "at_functions_artifact_lookups_total{from=\"warm\"} 1",
        "at_functions_stage_seconds_count{stage=\"run\"} 1",
        "at_functions_calls_total{decided=\"ok\"} 2",
    ] {
        assert!(text.lines().any(|line| line == series), "{series} is not in\n{text}");
    }
    let told: Vec<_> = served
        .stopped()
        .await
        .into_iter()
        .filter(|line| line["target"] == "call" && line["decided"] == "ok")
        .map(|line| (line["cache"].clone(), line["answer_from"].clone()))
        .collect();
    assert_eq!(told, [(json!("cold"), json!(null)), (json!("warm"), json!("memo"))]);
}
