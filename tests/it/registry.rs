//! From an at-uri to proved code, against a repo host that fails, lies, moves and goes back in time.

use std::time::{Duration, Instant};

use at_functions::config::{Anonymous, Settings};
use at_functions::lexicon::{Mode, Nsid, RecordKey};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::patience::soon_within;
use crate::world::{Caller, ECHO, World, answer, xrpc_error};

#[tokio::test]
async fn at_uris_that_name_no_function_are_refused_by_what_is_wrong() {
    let world = World::start().await;
    let did = world.author.did();
    let long_rkey = "x".repeat(513);
    let cases = [
        ("", 400, "InvalidRequest"),
        ("echo", 400, "InvalidRequest"),
        ("https://example.com/at.functions.metadata/echo", 400, "InvalidRequest"),
        ("at://", 400, "InvalidRequest"),
        ("at://{did}", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/echo/", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/echo/more", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/echo#main", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/echo?x=1", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/a b", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/..", 400, "InvalidRequest"),
        ("at://{did}/at.functions.metadata/%65cho", 400, "InvalidRequest"),
        ("at://{did}/functions/echo", 400, "InvalidRequest"),
        ("at://{did}/app.bsky.feed.post/echo", 400, "InvalidRequest"),
        ("at://{did}/At.functions.metadata/echo", 400, "InvalidRequest"),
        ("AT://{did}/at.functions.metadata/echo", 400, "InvalidRequest"),
        (
            "at://did:key:zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF/at.functions.metadata/echo",
            400,
            "InvalidRequest",
        ),
        ("at://did:web:127.0.0.1/at.functions.metadata/echo", 400, "InvalidRequest"),
        ("at://alice/at.functions.metadata/echo", 400, "InvalidRequest"),
        ("at://{did}/at.functions.workflow/x", 501, "MethodNotImplemented"),
        ("at://{did}/at.functions.metadata/absent", 400, "FunctionNotFound"),
        ("at://{did}/at.functions.metadata/ECHO", 400, "FunctionNotFound"),
        ("at://nobody.test/at.functions.metadata/echo", 400, "FunctionNotFound"),
        ("at://did:plc:zzzzzzzzzzzzzzzzzzzzzzzz/at.functions.metadata/echo", 400, "FunctionNotFound"),
    ];
    world.publish("echo", ECHO);
    for (uri, status, name) in cases {
        let uri = uri.replace("{did}", did.as_str());
        let answer = world.run(&uri, json!({})).await;
        assert_eq!(answer.error(), (status, name), "{uri}: {answer:?}");
    }
    let uri = format!("at://{did}/at.functions.metadata/{long_rkey}");
    assert_eq!(world.run(&uri, json!({})).await.error(), (400, "InvalidRequest"));
    let workflow = world.run(&format!("at://{did}/at.functions.workflow/x"), json!({})).await;
    assert!(workflow.message().contains("at.functions.workflow"), "{workflow:?}");
}

#[tokio::test]
async fn a_handle_leads_to_the_same_function_as_its_did() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let by_handle = world.run(&"at://author.test/at.functions.metadata/echo", json!({ "a": 1 })).await;
    assert_eq!(by_handle.output()["echo"], json!({ "a": 1 }));
    assert_eq!(by_handle.body["functionCid"], echo.cid.to_string());
    let by_did = world.run(&echo.uri, json!({})).await;
    assert_eq!(by_did.body["usage"]["cache"], "warm", "both names are one function: {by_did:?}");
}

#[tokio::test]
async fn records_that_are_no_functions_are_refused_with_the_field_that_is_wrong() {
    type Edit = fn(&mut Value);
    let cases: &[(Edit, &str)] = &[
        (|r| r["mode"] = "pure-v9".into(), "mode"),
        (|r| r["mode"] = "component-v1".into(), "mode"),
        (|r| r["mode"] = 1.into(), "mode"),
        (|r| drop(r.as_object_mut().unwrap().remove("mode")), "mode"),
        (|r| drop(r.as_object_mut().unwrap().remove("code")), "code"),
        (|r| drop(r.as_object_mut().unwrap().remove("name")), "name"),
        (|r| r["name"] = "x".repeat(129).into(), "name"),
        (|r| r["entrypoint"] = "main".into(), "entrypoint"),
        (|r| r["inputEncoding"] = "text/plain".into(), "inputEncoding"),
        (|r| r["outputEncoding"] = "text/plain".into(), "outputEncoding"),
        (|r| r["maxMemoryMb"] = 0.into(), "maxMemoryMb"),
        (|r| r["maxMemoryMb"] = 257.into(), "maxMemoryMb"),
        (|r| r["maxMemoryMb"] = "32".into(), "maxMemoryMb"),
        (|r| r["maxDurationMs"] = 5001.into(), "maxDurationMs"),
        (|r| r["maxDurationMs"] = (-1).into(), "maxDurationMs"),
        (|r| r["maxDurationMs"] = Value::Null, "maxDurationMs"),
        (|r| r["public"] = "no".into(), "public"),
        (|r| r["allowedHosts"] = "at://x".into(), "allowedHosts"),
        (|r| r["inputSchema"] = "x".into(), "inputSchema"),
        (|r| r["strictOutput"] = 1.into(), "strictOutput"),
        (|r| r["code"] = "x".into(), "code"),
        (|r| r["code"]["size"] = 0.into(), "code"),
        (
            |r| {
                r["code"]["ref"] =
                    json!({ "$link": "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454" })
            },
            "code",
        ),
    ];
    let world = World::start().await;
    for (n, (edit, field)) in cases.iter().enumerate() {
        let published = world.publish_record(&format!("bad{n}"), ECHO, edit);
        let answer = world.run(&published.uri, json!({})).await;
        assert_eq!(answer.error(), (400, "InvalidFunction"), "case {n} ({field}): {answer:?}");
        assert!(answer.message().contains(field), "case {n} ({field}): {answer:?}");
    }
}

#[tokio::test]
async fn a_private_function_runs_for_its_author_alone() {
    let world = World::start().await;
    let published = world.publish_record("private", ECHO, |record| record["public"] = false.into());
    assert_eq!(world.run(&published.uri, json!({})).await.error(), (403, "FunctionNotPublic"));
    let stranger = world.caller(1);
    assert_eq!(world.run_as(&stranger, &published.uri, json!({})).await.error(), (403, "FunctionNotPublic"));
    let author = Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() };
    let token = world.token(&author);
    let body = json!({ "function": published.uri.to_string(), "input": 7 }).to_string();
    assert_eq!(world.post(body, Some(&token)).await.output()["echo"], 7);
}

#[tokio::test]
async fn without_a_token_nothing_runs_unless_the_operator_says_so() {
    let world = World::start_with(Settings { anonymous: Some(Anonymous::Deny), ..Settings::default() }).await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!({})).await.error(), (401, "AuthMissing"));
    assert_eq!(world.asked(""), 0, "an unauthenticated call made the service ask somebody");
    let caller = world.caller(1);
    assert_eq!(world.run_as(&caller, &echo.uri, json!(1)).await.output()["echo"], 1);
}

#[tokio::test]
async fn authentication_comes_before_the_body_is_looked_at() {
    let world = World::start_with(Settings::default()).await;
    assert_eq!(world.post("{", None).await.error(), (401, "AuthMissing"));
    assert_eq!(world.post("{", Some("x.y.z")).await.error(), (401, "BadJwt"));
    let large = vec![b'x'; 3 * 1024 * 1024];
    assert_eq!(world.post(large, None).await.error(), (401, "AuthMissing"));
}

#[tokio::test]
async fn a_token_runs_once_and_a_refusal_for_size_gives_it_back() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let caller = world.caller(1);
    let body = json!({ "function": echo.uri.to_string(), "input": {} }).to_string();
    let token = world.token(&caller);
    let large = vec![b' '; 1024 * 1024 + 1];
    assert_eq!(world.post(large, Some(&token)).await.error(), (413, "PayloadTooLarge"));
    assert_eq!(world.post(body.clone(), Some(&token)).await.output()["ok"], true);
    assert_eq!(world.post(body.clone(), Some(&token)).await.error(), (401, "JwtReplayed"));
    let used_for_nothing = world.token(&caller);
    assert_eq!(world.post("{", Some(&used_for_nothing)).await.error(), (400, "InvalidRequest"));
    assert_eq!(world.post(body, Some(&used_for_nothing)).await.error(), (401, "JwtReplayed"));
}

#[tokio::test]
async fn a_pinned_call_runs_that_version_or_none() {
    let world = World::start().await;
    let first = world.publish("echo", ECHO);
    let pinned = |cid: &dyn ToString| {
        json!({ "function": first.uri.to_string(), "input": 1, "cid": cid.to_string() }).to_string()
    };
    assert_eq!(world.post(pinned(&first.cid), None).await.output()["echo"], 1);
    let second = world.publish_record("echo", ECHO, |record| record["version"] = "0.2.0".into());
    // The record of the first version is cached still: the pin to the second makes it be read anew.
    let answer = world.post(pinned(&second.cid), None).await;
    assert_eq!(answer.output()["echo"], 1);
    assert_eq!(answer.body["functionCid"], second.cid.to_string());
    let answer = world.post(pinned(&first.cid), None).await;
    assert_eq!(answer.error(), (400, "FunctionChanged"));
    assert!(answer.message().contains(&second.cid.to_string()), "{answer:?}");
}

#[tokio::test]
async fn wrong_pins_neither_read_the_record_each_time_nor_take_the_function_away() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    let other = at_functions::repo::record_cid(b"no such version");
    let pinned =
        json!({ "function": echo.uri.to_string(), "input": 1, "cid": other.to_string() }).to_string();
    let started = Instant::now();
    let post = || answer(world.request().body(pinned.clone()));
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(post())).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().error(), (400, "FunctionChanged"));
    }
    // One for the first call, one at once, one for each second after that.
    let most = 3 + started.elapsed().as_secs() as usize;
    assert!(world.asked("sync.getRecord") <= most, "{} reads", world.asked("sync.getRecord"));

    // The forced read of another function fails: who does not force one still has what is known.
    let second = world.publish("second", ECHO);
    assert_eq!(world.run(&second.uri, json!(2)).await.output()["echo"], 2);
    world.fail_with(|path| path.contains("sync.getRecord").then(|| xrpc_error(503, "x")));
    let pinned =
        json!({ "function": second.uri.to_string(), "input": 1, "cid": other.to_string() }).to_string();
    assert_eq!(world.post(pinned, None).await.error(), (502, "RepoUnreachable"));
    assert_eq!(world.run(&second.uri, json!(3)).await.output()["echo"], 3);
}

#[tokio::test]
async fn a_forced_read_that_finds_the_author_taken_down_counts_for_all() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    world.fail_with(|path| path.contains("sync.getRecord").then(|| xrpc_error(400, "RepoTakendown")));
    let other = at_functions::repo::record_cid(b"no such version");
    let pinned =
        json!({ "function": echo.uri.to_string(), "input": 1, "cid": other.to_string() }).to_string();
    assert_eq!(world.post(pinned, None).await.error(), (403, "AuthorInactive"));
    assert_eq!(world.run(&echo.uri, json!(1)).await.error(), (403, "AuthorInactive"));
}

#[tokio::test]
async fn a_blob_taken_down_stops_code_that_is_compiled_once_its_time_is_over() {
    // More than lies between the first two calls.
    let code_ttl = Duration::from_secs(5);
    let settings = Settings { anonymous: Some(Anonymous::Public), ..Settings::default() };
    let world = World::start_with_code_ttl(settings, code_ttl).await;
    let echo = world.publish("echo", ECHO);
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    world.fail_with(|path| path.contains("sync.getBlob").then(|| xrpc_error(400, "InvalidRequest")));
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    assert_eq!(world.asked("sync.getBlob"), 1);
    tokio::time::sleep(code_ttl).await;
    // The record is cached and the artifact at hand: it is the blob alone that is asked for.
    assert_eq!(world.run(&echo.uri, json!(1)).await.error(), (400, "InvalidFunction"));
    assert_eq!(world.asked("sync.getRecord"), 1);
}

#[tokio::test]
async fn a_size_is_checked_for_each_record_that_states_one() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let wrong = world.publish_record("wrong", ECHO, |r| r["code"]["size"] = (ECHO.len() + 1).into());
    assert_eq!(world.run(&wrong.uri, json!(1)).await.error(), (502, "UnverifiedFunction"));
    // Neither does the wrong size stand in the way of the right one, nor does what is known hide it.
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);
    assert_eq!(world.run(&wrong.uri, json!(1)).await.error(), (502, "UnverifiedFunction"));
}

#[tokio::test]
async fn two_hundred_callers_of_a_cold_function_cost_one_fetch_and_one_compile() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let body = json!({ "function": echo.uri.to_string(), "input": { "n": 1 } }).to_string();
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(answer(world.request().body(body.clone())))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().output()["echo"]["n"], 1);
    }
    assert_eq!(world.asked("did.json"), 1);
    assert_eq!(world.asked("sync.getRecord"), 1);
    assert_eq!(world.asked("sync.getBlob"), 1);
    assert_eq!(world.compiles(), 1);
}

#[tokio::test]
async fn what_a_failing_host_does_is_told_apart() {
    let cases: &[(&str, u16, &str, u16, &str)] = &[
        ("sync.getRecord", 400, "RepoDeactivated", 403, "AuthorInactive"),
        ("sync.getRecord", 400, "RepoTakendown", 403, "AuthorInactive"),
        ("sync.getRecord", 400, "RepoSuspended", 403, "AuthorInactive"),
        ("sync.getRecord", 400, "RepoNotFound", 400, "FunctionNotFound"),
        ("sync.getRecord", 404, "NotFound", 400, "FunctionNotFound"),
        ("sync.getRecord", 500, "InternalServerError", 502, "RepoUnreachable"),
        ("sync.getRecord", 503, "x", 502, "RepoUnreachable"),
        ("sync.getRecord", 429, "RateLimitExceeded", 503, "NotEnoughResources"),
        ("sync.getBlob", 400, "InvalidRequest", 400, "InvalidFunction"),
        ("sync.getBlob", 404, "BlobNotFound", 400, "InvalidFunction"),
        ("sync.getBlob", 400, "RepoTakendown", 403, "AuthorInactive"),
        ("sync.getBlob", 502, "x", 502, "RepoUnreachable"),
        ("did.json", 404, "x", 400, "FunctionNotFound"),
        ("did.json", 500, "x", 502, "RepoUnreachable"),
    ];
    for &(part, status, name, told, told_name) in cases {
        let world = World::start().await;
        let echo = world.publish("echo", ECHO);
        world.fail_with(move |path| path.contains(part).then(|| xrpc_error(status, name)));
        let answer = world.run(&echo.uri, json!({})).await;
        assert_eq!(answer.error(), (told, told_name), "{part} {status} {name}: {answer:?}");
        if told == 503 {
            assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() >= 1);
            assert!(answer.message().contains("retry in "), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn what_does_not_prove_itself_never_runs() {
    type Forge = fn(&World) -> Vec<u8>;
    let car: &[(&str, Forge)] = &[
        ("nothing", |_| Vec::new()),
        ("html", |_| b"<html>".to_vec()),
        ("a flipped bit in the record", |world| {
            let mut car = record_car(world, "echo");
            let last = car.len() - 5;
            car[last] ^= 1;
            car
        }),
        ("a cut", |world| {
            let car = record_car(world, "echo");
            car[..car.len() - 1].to_vec()
        }),
        ("the proof of another record", |world| {
            world.publish("other", ECHO);
            let car = record_car(world, "other");
            world.publish("echo", &b"\0asm\x01\0\0\0"[..]);
            car
        }),
        ("another author's repo", |_| {
            let stranger =
                at_functions::dev::Author::at_port(1, at_functions::clock::Clock::system()).unwrap();
            let echo = RecordKey::parse("echo").unwrap();
            stranger.publish(&echo, Mode::PureV1, bytes::Bytes::from_static(ECHO)).unwrap();
            stranger.record_car(&functions(), &echo)
        }),
    ];
    for (what, forge) in car {
        let world = World::start().await;
        let echo = world.publish("echo", ECHO);
        let forged = forge(&world);
        world.fail_with(move |path| path.contains("sync.getRecord").then(|| forged.clone().into_response()));
        let answer = world.run(&echo.uri, json!({})).await;
        assert_eq!(answer.error(), (502, "UnverifiedFunction"), "{what}: {answer:?}");
    }
    let mut flipped = ECHO.to_vec();
    flipped[100] ^= 1;
    let of_the_same_length = ECHO.iter().rev().copied().collect();
    let shorter = ECHO[..ECHO.len() - 1].to_vec();
    for (what, blob) in [("a flipped bit", flipped), ("other bytes", of_the_same_length), ("a cut", shorter)]
    {
        let world = World::start().await;
        let echo = world.publish("echo", ECHO);
        world.fail_with(move |path| path.contains("sync.getBlob").then(|| blob.clone().into_response()));
        let answer = world.run(&echo.uri, json!({})).await;
        assert_eq!(answer.error(), (502, "UnverifiedFunction"), "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn a_repo_that_goes_back_in_time_is_refused_also_after_a_restart() {
    let mut world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let old = record_car(&world, "echo");
    world.publish_record("echo", ECHO, |record| record["version"] = "0.2.0".into());
    assert_eq!(world.run(&echo.uri, json!(1)).await.output()["echo"], 1);

    // The author's host now answers with the older repo, rightly signed.
    world.fail_with(move |path| path.contains("sync.getRecord").then(|| old.clone().into_response()));
    world.restart().await;
    let answer = world.run(&echo.uri, json!(1)).await;
    assert_eq!(answer.error(), (502, "UnverifiedFunction"), "{answer:?}");
    assert!(answer.message().contains("older"), "{answer:?}");
    assert_eq!(world.asked("sync.getRecord"), 3, "one before the restart, one after, and one more try");
}

#[tokio::test]
async fn a_slow_host_costs_a_refusal_within_nine_seconds() {
    for (part, name) in [("sync.getRecord", "RepoTimeout"), ("sync.getBlob", "RepoTimeout")] {
        soon_within(Duration::from_millis(9500), async || {
            let world = World::start().await;
            let echo = world.publish("echo", ECHO);
            world.slow_down(part, Duration::from_secs(60));
            let started = Instant::now();
            let answer = world.run(&echo.uri, json!({})).await;
            assert_eq!(answer.error(), (504, name), "{part}: {answer:?}");
            started.elapsed()
        })
        .await;
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_not_called_a_bad_token() {
    let world = World::start().await;
    let echo = world.publish("echo", ECHO);
    let caller = world.caller(3);
    world.fail_with(|path| path.starts_with("/did:plc:").then(|| xrpc_error(500, "x")));
    assert_eq!(world.run_as(&caller, &echo.uri, json!({})).await.error(), (502, "IssuerUnreachable"));
}

fn record_car(world: &World, rkey: &str) -> Vec<u8> {
    world.author.record_car(&functions(), &RecordKey::parse(rkey).unwrap())
}

fn functions() -> Nsid {
    Nsid::parse("at.functions.metadata").unwrap()
}
