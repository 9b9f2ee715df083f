//! Calls of functions over the real network: through a PDS and directly, and what a caller learns when
//! there is nothing to run.

use std::time::{Duration, Instant};

use at_functions::identity::Did;
use at_functions::lexicon::{GrantSubject, RecordKey};
use serde_json::{Value, json};

use crate::world::ECHO;

use super::client::{ClientCall, Proxy};
use super::functions::{RUN, constant, run_directly};
use super::xrpc::Answer;
use super::{Account, Network, Service};

/// The record TTL of design and docs, and a little for the call itself.
const RECORD_TTL: Duration = Duration::from_secs(30);
/// What may come on top of it on a busy machine.
const SLACK: Duration = Duration::from_secs(30);

/// Asserts that a refusal came through a PDS: exactly the two strings that it passes on.
pub(super) fn assert_proxied_refusal(answer: &Answer, status: u16, name: &str) {
    let body = answer.json();
    assert_eq!((answer.status.as_u16(), body["error"].as_str()), (status, Some(name)), "{body}");
    let fields: Vec<_> = body.as_object().expect("an error is an object").keys().collect();
    assert_eq!(fields, ["error", "message"], "{body}");
    assert!(body["message"].as_str().is_some_and(|message| message.contains("(request ")), "{body}");
}

#[tokio::test]
async fn a_bluesky_client_runs_a_function_through_its_pds() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let caller = network.create_account(network.pds(1)).await;
    let (uri, cid) = author.publish_echo().await;

    let lexicon = include_str!("../../../lexicons/at.functions.run.json");
    let call = ClientCall {
        nsid: RUN,
        proxy: Some(Proxy { did: service.did(), id: "at_functions".into() }),
        body: json!({ "function": uri, "input": { "hello": "world" } }),
        lexicon: Some(serde_json::from_str(lexicon).expect("a lexicon is JSON")),
    };
    let answer = network.call_as_client(&caller, call).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.data["output"], json!({ "ok": true, "echo": { "hello": "world" }, "mode": "pure-v1" }));
    assert_eq!(answer.data["functionCid"], cid);
    assert_eq!(answer.sent.len(), 1, "{answer:?}");
}

#[tokio::test]
async fn a_client_learns_a_refusal_by_name_and_does_not_send_again() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let caller = network.create_account(network.pds(0)).await;
    let lexicon = include_str!("../../../lexicons/at.functions.run.json");
    let call = ClientCall {
        nsid: RUN,
        proxy: Some(Proxy { did: service.did(), id: "at_functions".into() }),
        body: json!({ "function": format!("at://{}/at.functions.metadata/none", caller.did), "input": {} }),
        lexicon: Some(serde_json::from_str(lexicon).expect("a lexicon is JSON")),
    };
    let answer = network.call_as_client(&caller, call).await;
    assert_eq!((answer.status, answer.error.as_deref()), (400, Some("FunctionNotFound")), "{answer:?}");
    assert_eq!(answer.sent.len(), 1, "{answer:?}");
}

#[tokio::test]
async fn a_token_from_get_service_auth_runs_once() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish_echo().await;
    for audience in [service.did(), service.audience()] {
        let token = author.service_token(&audience, RUN).await;
        let first = run_directly(&service, &token, &uri, &json!({ "n": 1 })).send().await.ok();
        assert_eq!(first["output"]["echo"]["n"], 1, "{audience}");
        let second = run_directly(&service, &token, &uri, &json!({ "n": 2 })).send().await;
        assert_eq!(second.refusal(), (401, "JwtReplayed".into()), "{audience}");
    }
    let in_an_hour = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs() + 3590;
    let long = author.service_auth(&service.audience(), Some(RUN), Some(in_an_hour)).await.ok();
    let token = long["token"].as_str().expect("a token").to_owned();
    assert_eq!(run_directly(&service, &token, &uri, &json!(3)).send().await.ok()["output"]["echo"], 3);
}

#[tokio::test]
async fn tokens_for_something_else_are_refused() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish_echo().await;
    let cases = [
        ("did:web:elsewhere.example.com".to_owned(), Some(RUN), "BadJwtAudience"),
        (format!("{}#other", service.did()), Some(RUN), "BadJwtAudience"),
        (service.did(), Some("at.functions.discover"), "BadJwtLexiconMethod"),
        (service.did(), None, "BadJwtLexiconMethod"),
    ];
    for (audience, lxm, name) in cases {
        let answer = author.service_auth(&audience, lxm, None).await.ok();
        let token = answer["token"].as_str().expect("a token");
        let refused = run_directly(&service, token, &uri, &json!({})).send().await;
        assert_eq!(refused.refusal(), (401, name.into()), "{audience} {lxm:?}");
        assert_eq!(refused.header("www-authenticate"), None);
    }
    let session = run_directly(&service, &author.access_jwt, &uri, &json!({})).send().await;
    assert_eq!(session.refusal().0, 401);
    let none = service.procedure(RUN).json(&json!({ "function": uri, "input": {} })).send().await;
    assert_eq!(none.refusal(), (401, "AuthMissing".into()));
}

#[tokio::test]
async fn an_updated_record_runs_its_new_code_within_the_record_ttl() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let (uri, first) = author.publish("changing", &constant("\"one\""), |_| {}).await;
    let call = async || author.run(&service, &uri, &Value::Null).send().await.ok();
    let answer = call().await;
    assert_eq!((&answer["output"], &answer["functionCid"]), (&json!("one"), &json!(first)));
    let (_, second) = author.publish("changing", &constant("\"two\""), |_| {}).await;
    let started = Instant::now();
    let answer = loop {
        let answer = call().await;
        if answer["output"] == "two" {
            break answer;
        }
        assert_eq!(answer["output"], "one");
        assert!(
            started.elapsed() < RECORD_TTL + SLACK,
            "the old code still runs after {:?}",
            started.elapsed()
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert_eq!(answer["functionCid"], json!(second));
}

#[tokio::test]
async fn a_private_function_is_refused_to_others_and_runs_for_its_author() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--anonymous=public"]).await;
    let author = network.create_account(network.pds(0)).await;
    let other = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish("private", ECHO, |record| record["public"] = false.into()).await;
    assert_proxied_refusal(&other.run(&service, &uri, &json!({})).send().await, 403, "FunctionNotPublic");
    assert_eq!(author.run(&service, &uri, &json!(1)).send().await.ok()["output"]["echo"], 1);
    let anonymous = service.procedure(RUN).json(&json!({ "function": uri, "input": {} })).send().await;
    assert_eq!(anonymous.refusal(), (403, "FunctionNotPublic".into()));
}

#[tokio::test]
async fn a_grant_lets_its_caller_in_until_it_is_deleted() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let friend = network.create_account(network.pds(0)).await;
    let stranger = network.create_account(network.pds(1)).await;
    let (uri, _) = author.publish("private", ECHO, |record| record["public"] = false.into()).await;
    let grant = |of: &Account, caller: &Account| {
        let subject = GrantSubject {
            author: Did::parse(&of.did).expect("a DID"),
            function: RecordKey::parse("private").expect("a record key"),
            caller: Did::parse(&caller.did).expect("a DID"),
        };
        let record = json!({
            "$type": "at.functions.grant",
            "function": subject.function_uri(),
            "caller": caller.did,
            "createdAt": "2026-01-01T00:00:00.000Z",
        });
        (subject.record_key(), record)
    };
    // One in the repo of whoever would like to be let in is worth nothing.
    let (key, record) = grant(&author, &stranger);
    stranger.put_record("at.functions.grant", key.as_str(), &record).await;
    assert_proxied_refusal(&stranger.run(&service, &uri, &json!(1)).send().await, 403, "FunctionNotPublic");

    let (key, record) = grant(&author, &friend);
    author.put_record("at.functions.grant", key.as_str(), &record).await;
    assert_eq!(friend.run(&service, &uri, &json!(7)).send().await.ok()["output"]["echo"], 7);
    author.delete_record("at.functions.grant", key.as_str()).await;
    let started = Instant::now();
    loop {
        let answer = friend.run(&service, &uri, &json!(7)).send().await;
        if answer.status != 200 {
            assert_proxied_refusal(&answer, 403, "FunctionNotPublic");
            break;
        }
        assert!(started.elapsed() < RECORD_TTL, "still let in after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_call_with_a_key_runs_once_through_a_pds_and_a_crash() {
    let Some(network) = Network::shared() else { return };
    let mut service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let caller = network.create_account(network.pds(1)).await;
    let (uri, _) = author.publish_echo().await;
    let call = async |service: &Service, input: u32| {
        let body = json!({ "function": uri, "input": input, "idempotencyKey": "8e03978e-40d5-43dd" });
        caller.procedure(RUN).through(&service.audience()).json(&body).send().await
    };
    let first = call(&service, 1).await;
    assert_eq!((first.status.as_u16(), &first.json()["output"]["echo"]), (200, &json!(1)));
    assert_eq!(call(&service, 1).await.body, first.body);
    assert_proxied_refusal(&call(&service, 2).await, 400, "IdempotencyKeyReuse");
    service.restart().await;
    assert_eq!(call(&service, 1).await.body, first.body);
    assert_proxied_refusal(&call(&service, 2).await, 400, "IdempotencyKeyReuse");
}

#[tokio::test]
async fn refusals_reach_a_proxied_caller_as_name_and_message() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let (no_wasm, _) = author.publish("nowasm", b"\0asm but no module", |_| {}).await;
    let (mode, _) = author.publish("mode", ECHO, |record| record["mode"] = "future-v9".into()).await;
    let (memory, _) = author.publish("memory", ECHO, |record| record["maxMemoryMb"] = 300.into()).await;
    let did = &author.did;
    let cases = [
        (no_wasm, 400, "InvalidFunction"),
        (mode, 400, "InvalidFunction"),
        (memory, 400, "InvalidFunction"),
        (format!("at://{did}/at.functions.metadata/absent"), 400, "FunctionNotFound"),
        ("at://nobody.a.test/at.functions.metadata/echo".into(), 400, "FunctionNotFound"),
        (format!("at://{did}/app.bsky.actor.profile/self"), 400, "InvalidRequest"),
        (format!("at://{did}/at.functions.workflow/w"), 501, "MethodNotImplemented"),
        ("nonsense".into(), 400, "InvalidRequest"),
    ];
    for (uri, status, name) in cases {
        assert_proxied_refusal(&author.run(&service, &uri, &json!({})).send().await, status, name);
    }
    let large = json!("x".repeat(1_100_000));
    let (echo, _) = author.publish_echo().await;
    assert_proxied_refusal(&author.run(&service, &echo, &large).send().await, 413, "PayloadTooLarge");
    let get = author.query(RUN).through(&service.audience()).send().await;
    assert_proxied_refusal(&get, 400, "InvalidRequest");
}

#[tokio::test]
async fn guests_that_fail_are_told_of_in_a_body_that_the_pds_passes_on() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let spin = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 16)
             (func (export "run") (param i32 i32) (result i64) (loop $l (br $l)) i64.const 0))"#,
    )
    .expect("the module is right");
    let (uri, cid) = author.publish("spin", &spin, |record| record["maxDurationMs"] = 50.into()).await;
    let answer = author.run(&service, &uri, &json!({})).send().await.ok();
    assert_eq!((&answer["ok"], &answer["outcome"]), (&json!(false), &json!("timeout")));
    assert_eq!(answer["functionCid"], json!(cid));
    assert!(answer["usage"]["cpuMicros"].as_u64().is_some_and(|micros| micros > 10_000), "{answer}");
}

#[tokio::test]
async fn a_service_that_is_down_is_told_by_the_pds() {
    let Some(network) = Network::shared() else { return };
    let mut service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish_echo().await;
    assert_eq!(author.run(&service, &uri, &json!(1)).send().await.ok()["ok"], true);
    service.kill();
    let answer = author.run(&service, &uri, &json!(1)).send().await;
    assert_eq!(answer.refusal(), (502, "UpstreamFailure".into()));
    service.restart().await;
    assert_eq!(author.run(&service, &uri, &json!(2)).send().await.ok()["output"]["echo"], 2);
}

#[tokio::test]
async fn many_calls_at_once_through_both_pdses_are_each_answered_their_own() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let callers = [author.clone(), network.create_account(network.pds(1)).await];
    let (uri, _) = author.publish_echo().await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..60_usize {
        let call = callers[n % 2].run(&service, &uri, &json!({ "n": n }));
        calls.spawn(async move { (n, call.send().await.ok()) });
    }
    while let Some(called) = calls.join_next().await {
        let (n, answer) = called.expect("a call does not panic");
        assert_eq!(answer["output"]["echo"]["n"], n);
    }
}

#[tokio::test]
async fn operators_see_what_was_decided_and_nothing_of_what_was_said() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--log-format=json"]).await;
    let author = network.create_account(network.pds(0)).await;
    let (uri, cid) = author.publish_echo().await;
    let secret = json!({ "secret": "tulip-4711" });
    assert_eq!(author.run(&service, &uri, &secret).send().await.ok()["output"]["echo"], secret);
    let refused = author.run(&service, "nonsense", &secret).send().await;
    assert_proxied_refusal(&refused, 400, "InvalidRequest");

    let log = service.log();
    let calls: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is JSON"))
        .filter(|line| line["target"] == "call")
        .collect();
    assert_eq!(calls.len(), 2, "{log}");
    assert_eq!(calls[0]["decided"], "ok");
    assert_eq!(calls[0]["caller"], author.did);
    assert_eq!(calls[0]["function"], uri);
    assert_eq!(calls[0]["cid"], cid);
    assert_eq!(calls[1]["decided"], "InvalidRequest");
    assert!(!log.contains("tulip-4711"), "an input is in the log: {log}");

    let metrics = plain_get(&format!("{}/metrics", service.admin_url())).await;
    for line in [
        r#"at_functions_calls_total{decided="ok"} 1"#,
        r#"at_functions_calls_total{decided="InvalidRequest"} 1"#,
        "at_functions_call_seconds_count 2",
        "at_functions_runs 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in {metrics}");
    }
    let ready = plain_get(&format!("{}/readyz", service.admin_url())).await;
    assert_eq!(ready, r#"{"ready":true,"reasons":[]}"#);
    let key = std::fs::metadata(service.data_dir().join("service.key")).expect("the key is there");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
}

async fn plain_get(url: &str) -> String {
    let answer = super::xrpc::client().get(url).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}
