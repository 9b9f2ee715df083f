//! `invoke`: the three ways to a service, and what its answers mean.

use axum::http::Method;
use serde_json::json;

use super::*;

const DESCRIBE: &str = "/xrpc/at.functions.describe";

#[tokio::test]
async fn invoke_goes_through_the_callers_pds() {
    let pds = pds().await;
    pds.on(
        "/xrpc/at.functions.run",
        answer(
            200,
            &json!({"ok": true, "output": {"a": [1]}, "durationMs": 2, "usage": {"cpuMicros": 7, "cache": "cold"}}),
        ),
    );
    let arguments = [
        "invoke",
        FUNCTION,
        "--service",
        "did:web:fn.example.com",
        "--input",
        r#"{"x": 1.0}"#,
        "--cid",
        MODULE_CID,
    ];
    let (code, stdout, stderr) = run(&mut as_author(&pds, &arguments)).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stdout, "{\n  \"a\": [\n    1\n  ]\n}\n");
    assert_eq!(stderr, "2 ms, 7 µs CPU, code cold\n");
    let call = pds.seen("/xrpc/at.functions.run");
    assert_eq!(call.method, Method::POST);
    assert_eq!(call.header("atproto-proxy"), Some("did:web:fn.example.com#at_functions"));
    assert_eq!(call.header("authorization"), Some("Bearer session-token"));
    assert_eq!(call.header("content-type"), Some("application/json"));
    let expected = format!(r#"{{"function":"{FUNCTION}","input":{{"x": 1.0}},"cid":"{MODULE_CID}"}}"#);
    assert_eq!(call.body, expected);
}

#[tokio::test]
async fn a_direct_call_takes_a_token_for_this_call_alone_to_the_service() {
    let (pds, service) = (pds().await, service().await);
    let arguments = ["invoke", FUNCTION, "--service", &service.did(), "--direct", "--json"];
    let (code, stdout, stderr) = run(&mut as_author(&pds, &arguments)).await;
    assert_eq!((code, stderr.as_str()), (0, "2 ms\n"));
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["output"], json!({"a": 1}));
    let asked = pds.seen("/xrpc/com.atproto.server.getServiceAuth");
    assert_eq!(asked.header("authorization"), Some("Bearer session-token"));
    let parameters: Vec<(String, String)> =
        url::form_urlencoded::parse(asked.query.as_bytes()).into_owned().collect();
    let parameter =
        |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).unwrap();
    assert_eq!(parameter("aud"), format!("{}#at_functions", service.did()));
    assert_eq!(parameter("lxm"), "at.functions.run");
    let life = parameter("exp").parse::<i64>().unwrap() - jiff::Timestamp::now().as_second();
    assert!((1..=60).contains(&life), "{life}");

    let call = service.seen("/xrpc/at.functions.run");
    assert_eq!(call.header("authorization"), Some("Bearer service-token"));
    assert_eq!(call.header("atproto-proxy"), None);
    assert_eq!(call.json(), json!({"function": FUNCTION, "input": {}}));
    assert!(!pds.paths().contains(&"/xrpc/at.functions.run".to_owned()));
    assert!(!service.paths().contains(&DESCRIBE.to_owned()), "more than the call was sent");
    for seen in service.all_seen() {
        assert!(!format!("{:?}{:?}", seen.headers, seen.body).contains(PASSWORD));
        assert!(!format!("{:?}", seen.headers).contains("session-token"));
    }
}

#[tokio::test]
async fn what_a_run_used_stands_beside_the_limits_in_force() {
    let (pds, service) = (pds().await, service().await);
    let usage = json!({"peakMemoryBytes": 65536, "hostCalls": 0, "inputBytes": 2});
    let ran = json!({"ok": true, "output": 1, "durationMs": 3, "functionCid": "bafyrec", "usage": usage});
    service.on("/xrpc/at.functions.run", answer(200, &ran));
    let limits = json!({
        "maxMemoryMb": 32, "maxDurationMs": 100, "maxRequestBytes": 1 << 20, "maxOutputBytes": 1 << 20,
        "maxHostCalls": 0,
    });
    service.on(DESCRIBE, answer(200, &json!({"cid": "bafyrec", "limits": limits})));
    let beside = [
        "  time        3 ms      of 100 ms    3 %",
        "  memory      64.0 KiB  of 32.0 MiB  1 %",
        "  host calls  0",
        "  input       2 bytes   of 1.0 MiB   1 %",
        "  record      bafyrec",
    ];
    let did = service.did();
    let told = async |arguments: &[&str]| {
        let all = [&["invoke", FUNCTION, "--service", &did], arguments].concat();
        let (code, stdout, stderr) = run(&mut as_author(&pds, &all)).await;
        assert_eq!((code, stdout.as_str()), (0, "1\n"), "{stderr}");
        stderr.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(told(&["--anonymous"]).await, beside);
    assert_eq!(told(&["--direct"]).await, beside);
    // Each method has a token of its own.
    let asked = pds.all_seen().into_iter().filter(|seen| seen.path.ends_with("getServiceAuth"));
    let mut methods: Vec<_> =
        asked.map(|seen| seen.query.rsplit("lxm=").next().unwrap().to_owned()).collect();
    methods.sort();
    assert_eq!(methods, ["at.functions.describe", "at.functions.run"]);
    // A service that does not say it, or does not answer, holds up nothing.
    for silent in [text(404, "text/plain", "no such path"), text(0, "text/plain", "")] {
        service.on(DESCRIBE, silent);
        let alone = "3 ms, 64.0 KiB memory, 2 bytes in, record bafyrec";
        assert_eq!(told(&["--anonymous"]).await, [alone]);
    }
}

#[tokio::test]
async fn an_anonymous_call_says_nothing_of_the_caller() {
    let (pds, service) = (pds().await, service().await);
    let arguments = ["invoke", FUNCTION, "--anonymous", "--service", &service.did()];
    let (code, _, stderr) = run(&mut as_author(&pds, &arguments)).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(service.seen("/xrpc/at.functions.run").header("authorization"), None);
    assert_eq!(pds.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn the_exit_code_of_invoke_says_whether_trying_again_may_help() {
    let service = service().await;
    let error = |name: &str| json!({"error": name, "message": "the reason"}).to_string();
    let cases = [
        (200, r#"{"ok":true,"output":null}"#.to_owned(), 0),
        (200, r#"{"ok":false,"outcome":"trap","error":"unreachable"}"#.to_owned(), 1),
        (200, r#"{"output":1}"#.to_owned(), 1),
        (200, "<html>".to_owned(), 3),
        (400, error("InvalidInput"), 1),
        (401, error("AuthMissing"), 1),
        (403, error("FunctionNotPublic"), 1),
        (429, error("RateLimitExceeded"), 3),
        (501, error("MethodNotImplemented"), 1),
        (502, error("UnverifiedFunction"), 1),
        (502, "Bad Gateway".to_owned(), 3),
        (503, error("NotEnoughResources"), 3),
        (504, error("RepoTimeout"), 3),
    ];
    for (status, body, expected) in cases {
        service.on("/xrpc/at.functions.run", text(status, "application/json", &body));
        let arguments = ["invoke", FUNCTION, "--anonymous", "--service", &service.did()];
        let (code, stdout, stderr) = run(&mut program(&arguments)).await;
        assert_eq!(code, expected, "{status} {body}: {stderr}");
        if expected != 0 {
            assert_eq!(stdout, "", "{status} {body}");
            assert!(stderr.starts_with("error: "), "{stderr}");
        }
        // For scripts: the answer as it came, and the same exit code.
        let (code, stdout, _) = run(program(&arguments).arg("--json")).await;
        assert_eq!((code, stdout), (expected, format!("{body}\n")), "{status}");
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_a_network_failure() {
    let gone = Server::start().await.did();
    let unused = format!("did:web:localhost%3A{}", crate::ports::closed_port());
    let (code, _, stderr) =
        run(&mut program(&["invoke", FUNCTION, "--anonymous", "--service", &unused])).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no connection could be made"), "{stderr}");
    // A host without a DID document is no service.
    let (code, _, stderr) = run(&mut program(&["invoke", FUNCTION, "--anonymous", "--service", &gone])).await;
    assert_eq!(code, 1, "{stderr}");
}

#[tokio::test]
async fn a_service_is_found_under_its_own_did_and_id_alone() {
    let service = service().await;
    let did = service.did();
    let other_id = format!("{did}#other");
    let invoke = |service: &str| program(&["invoke", FUNCTION, "--anonymous", "--service", service]);
    let (code, _, stderr) = run(&mut invoke(&other_id)).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("no such service"), "{stderr}");
    let mut forged = service_document(&service);
    forged["id"] = "did:web:other.com".into();
    service.on("/.well-known/did.json", answer(200, &forged));
    let (code, _, stderr) = run(&mut invoke(&did)).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("damaged, or of another DID"), "{stderr}");
    assert!(!service.paths().contains(&"/xrpc/at.functions.run".to_owned()));
}

#[tokio::test]
async fn an_answer_larger_than_any_is_not_read_to_its_end() {
    let service = service().await;
    service.on("/xrpc/at.functions.run", text(200, "application/json", &" ".repeat(17 << 20)));
    let (code, stdout, stderr) =
        run(&mut program(&["invoke", FUNCTION, "--anonymous", "--json", "--service", &service.did()])).await;
    assert_eq!((code, stdout.as_str()), (3, ""));
    assert!(stderr.contains("longer than any that is expected"), "{stderr}");
}
