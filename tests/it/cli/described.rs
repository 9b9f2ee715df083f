//! `describe --service`: the three ways to a service, and what it says of a function.

use axum::http::Method;
use serde_json::json;

use super::*;

const METHOD: &str = "/xrpc/at.functions.describe";

fn description() -> Value {
    json!({
        "uri": FUNCTION, "cid": "bafyrecord", "rev": "3kczqm6lnjk2c", "name": "echo", "version": "1.0.0",
        "mode": "pure-v1", "public": false, "code": { "cid": MODULE_CID, "size": MODULE.len() },
        "limits": {
            "maxMemoryMb": 32, "maxDurationMs": 50, "maxRequestBytes": 1048576, "maxOutputBytes": 1048576,
            "maxHostCalls": 0, "maxHostBytes": 0, "functionCalls": "5/s burst 10 at-once 2",
        },
        "reads": { "rule": "none" },
        "mayRun": false,
        "refusal": { "error": "FunctionNotPublic", "message": "this function is not public" },
    })
}

/// What the request asks for.
fn function_of(seen: &Seen) -> String {
    let mut parameters = url::form_urlencoded::parse(seen.query.as_bytes()).into_owned();
    let (Some((name, value)), None) = (parameters.next(), parameters.next()) else {
        panic!("{}", seen.query)
    };
    assert_eq!((name.as_str(), &seen.method), ("function", &Method::GET));
    value
}

#[tokio::test]
async fn the_service_is_asked_through_the_callers_pds() {
    let pds = pds().await;
    pds.on(METHOD, answer(200, &description()));
    let arguments = ["describe", FUNCTION, "--service", "did:web:fn.example.com"];
    let (code, stdout, stderr) = run(&mut as_author(&pds, &arguments)).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    for line in [
        FUNCTION,
        "  record    bafyrecord",
        "  time      50 ms",
        "  calls     5/s burst 10 at-once 2",
        "  you       may not run it. FunctionNotPublic: this function is not public",
    ] {
        assert!(stdout.lines().any(|found| found == line), "{line} is not in {stdout}");
    }
    let asked = pds.seen(METHOD);
    assert_eq!(function_of(&asked), FUNCTION);
    assert_eq!(asked.header("atproto-proxy"), Some("did:web:fn.example.com#at_functions"));
    assert_eq!(asked.header("authorization"), Some("Bearer session-token"));
}

#[tokio::test]
async fn the_service_is_asked_directly_with_a_token_for_this_alone_or_without_one() {
    let (pds, service) = (pds().await, service().await);
    service.on(METHOD, answer(200, &description()));
    let ask = |how: &'static str| as_author(&pds, &["describe", FUNCTION, "--service", &service.did(), how]);
    let (code, _, stderr) = run(&mut ask("--direct")).await;
    assert_eq!(code, 0, "{stderr}");
    let token = pds.seen("/xrpc/com.atproto.server.getServiceAuth");
    assert!(token.query.contains("lxm=at.functions.describe"), "{}", token.query);
    let asked = service.seen(METHOD);
    assert_eq!((function_of(&asked).as_str(), asked.header("atproto-proxy")), (FUNCTION, None));
    assert_eq!(asked.header("authorization"), Some("Bearer service-token"));

    let logins = pds.paths().len();
    let (code, ..) = run(&mut ask("--anonymous")).await;
    assert_eq!((code, pds.paths().len()), (0, logins));
    assert_eq!(service.all_seen().last().unwrap().header("authorization"), None);
}

#[tokio::test]
async fn for_scripts_the_answer_comes_as_it_is_and_the_exit_code_tells_what_it_was() {
    let service = service().await;
    let error = |name: &str| json!({ "error": name, "message": "the reason" }).to_string();
    for (status, body, expected) in [
        (200, description().to_string(), 0),
        (200, "{}".to_owned(), 3),
        (400, error("FunctionNotFound"), 1),
        (403, error("FunctionBlocked"), 1),
        (429, error("RateLimitExceeded"), 3),
        (501, error("MethodNotImplemented"), 1),
    ] {
        service.on(METHOD, text(status, "application/json", &body));
        let arguments = ["describe", FUNCTION, "--service", &service.did(), "--anonymous", "--json"];
        let (code, stdout, stderr) = run(&mut program(&arguments)).await;
        assert_eq!((code, stdout), (expected, format!("{body}\n")), "{status}: {stderr}");
        assert_eq!(stderr.starts_with("error: "), expected != 0, "{stderr}");
    }
}

#[tokio::test]
async fn a_way_to_a_service_needs_a_service() {
    for how in ["--direct", "--anonymous"] {
        let (code, _, stderr) = run(&mut program(&["describe", FUNCTION, how])).await;
        assert_eq!(code, 2);
        assert!(stderr.contains("--service <DID[#ID]>"), "{stderr}");
    }
    let arguments = ["describe", FUNCTION, "--service", "did:web:a.com"];
    let (code, _, stderr) = run(&mut program(&arguments)).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("log in with `at-functions login`"), "{stderr}");
}
