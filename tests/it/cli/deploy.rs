//! `deploy`: what is uploaded and written, where the password goes, and what is refused before.

use std::process::Stdio;

use axum::http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test]
async fn deploy_uploads_the_code_and_writes_the_record() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let file = module_file(dir.path());
    let (code, stdout, stderr) =
        run(&mut as_author(&pds, &["deploy", &file, "--name", "echo", "--private", "--json"])).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(stderr, "");
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).unwrap(),
        json!({"uri": FUNCTION, "cid": "bafyrecord", "codeCid": MODULE_CID, "codeSize": MODULE.len()})
    );

    let login = pds.seen("/xrpc/com.atproto.server.createSession");
    assert_eq!(login.json(), json!({"identifier": AUTHOR, "password": PASSWORD}));
    let upload = pds.seen("/xrpc/com.atproto.repo.uploadBlob");
    assert_eq!(upload.method, Method::POST);
    assert_eq!(upload.header("content-type"), Some("application/wasm"));
    assert_eq!(upload.header("authorization"), Some("Bearer session-token"));
    assert_eq!(upload.body, MODULE);
    let mut put = pds.seen("/xrpc/com.atproto.repo.putRecord").json();
    let updated_at = put["record"]["updatedAt"].take();
    assert!(updated_at.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{updated_at}");
    assert_eq!(
        put,
        json!({
            "repo": AUTHOR,
            "collection": "at.functions.metadata",
            "rkey": "echo",
            "record": {
                "$type": "at.functions.metadata",
                "name": "echo",
                "version": "0.1.0",
                "updatedAt": null,
                "mode": "pure-v1",
                "code": {
                    "$type": "blob",
                    "ref": {"$link": MODULE_CID},
                    "mimeType": "application/wasm",
                    "size": MODULE.len(),
                },
                "entrypoint": "run",
                "inputEncoding": "application/json",
                "outputEncoding": "application/json",
                "maxMemoryMb": 32,
                "maxDurationMs": 100,
                "public": false,
            },
        })
    );
}

#[tokio::test]
async fn deploy_tells_people_how_to_invoke_what_they_deployed() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let file = module_file(dir.path());
    let (code, stdout, _) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 0);
    let expected = format!(
        "deployed echo 0.1.0\n  function  {FUNCTION}\n  record    bafyrecord\n  code      {MODULE_CID} (30.9 KiB)\n  mode      pure-v1\n\n\
         invoke it:\n  at-functions invoke {FUNCTION} --service did:web:HOST --input '{{}}'\n\
         pin this very version with:\n  --cid bafyrecord\n"
    );
    assert_eq!(stdout, expected);
}

#[tokio::test]
async fn a_password_comes_from_a_file_or_stdin_too() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let file = module_file(dir.path());
    let mut child = as_author(&pds, &["deploy", &file, "--name", "echo", "--password-file", "-"])
        .env_remove("AT_FUNCTIONS_PASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"from-stdin\n").await.unwrap();
    assert!(child.wait().await.unwrap().success());
    assert_eq!(pds.seen("/xrpc/com.atproto.server.createSession").json()["password"], "from-stdin");
}

#[tokio::test]
async fn a_wrong_password_is_answered_with_app_passwords() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let mut refusal =
        answer(401, &json!({"error": "AuthenticationRequired", "message": "Invalid identifier or password"}));
    // Some PDSes send it; it must not hide the message.
    refusal.1.push(("www-authenticate", "Bearer".to_owned()));
    pds.on("/xrpc/com.atproto.server.createSession", refusal);
    let file = module_file(dir.path());
    let (code, stdout, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("Invalid identifier or password"), "{stderr}");
    assert!(stderr.contains("use an app password"), "{stderr}");
    assert!(!stderr.contains(PASSWORD), "{stderr}");
}

#[tokio::test]
async fn what_is_wrong_on_this_side_is_told_before_anything_is_sent() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let file = module_file(dir.path());
    let not_wasm = dir.path().join("a.wat");
    std::fs::write(&not_wasm, "(module)").unwrap();
    let schema = dir.path().join("schema.json");
    std::fs::write(&schema, r#"{"properties": {"a": {"multipleOf": 0.5}}}"#).unwrap();
    let no_function = dir.path().join("b.wasm");
    std::fs::write(&no_function, wat::parse_str("(module)").unwrap()).unwrap();
    let no_function = no_function.to_str().unwrap();
    let (not_wasm, schema) = (not_wasm.to_str().unwrap(), schema.to_str().unwrap());
    let cases: [(&[&str], &str); 10] = [
        (&["deploy", "/nonexistent.wasm", "--name", "a"], "cannot read /nonexistent.wasm"),
        (&["deploy", not_wasm, "--name", "a"], "wat2wasm"),
        (&["deploy", no_function, "--name", "a"], "b.wasm: the module does not export `memory`"),
        (&["deploy", &file, "--name", "a", "--max-memory-mb", "1"], "the module starts with 2 MiB"),
        (&["deploy", &file, "--name", "My Echo"], "--rkey my-echo"),
        (&["deploy", &file, "--name", "a", "--input-schema", schema], "/properties/a/multipleOf: 0.5"),
        (
            &["deploy", &file, "--name", "a", "--mode", "pure-v9"],
            "there are these modes: pure-v1, host-v1, component-v1, wasi-v1, cstr-v1",
        ),
        (&["deploy", &file, "--name", "a", "--max-memory-mb", "300"], "1..=256"),
        (&["deploy", &file, "--name", "a", "--pasword-file", "x"], "--password-file"),
        (&["invoke", FUNCTION, "--service", "did:web:a.com", "--input", "{a}"], "--input: not JSON"),
    ];
    for (arguments, expected) in cases {
        let (code, stdout, stderr) = run(&mut as_author(&pds, arguments)).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(stderr.contains(expected), "{stderr}");
    }
    let (code, _, stderr) =
        run(as_author(&pds, &["deploy", &file, "--name", "a"]).env_remove("AT_FUNCTIONS_PASSWORD")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("AT_FUNCTIONS_PASSWORD"), "{stderr}");
    for (arguments, variable) in [
        (&["invoke", FUNCTION, "--anonymous"][..], "AT_FUNCTIONS_SERVICE"),
        (
            &["invoke", FUNCTION, "--service", "did:web:a.com"],
            "AT_FUNCTIONS_HANDLE; or call with --anonymous",
        ),
    ] {
        let (code, _, stderr) = run(&mut program(arguments)).await;
        assert_eq!(code, 2);
        assert!(stderr.contains(variable), "{stderr}");
    }
    let (code, _, stderr) = run(&mut program(&["deploy", &file, "--name", "a"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("AT_FUNCTIONS_HANDLE"), "{stderr}");
    assert_eq!(pds.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_over_the_limit_that_the_pds_states_is_not_uploaded() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    pds.on("/xrpc/com.atproto.server.describeServer", answer(200, &json!({"blobUploadLimit": 1000})));
    let file = module_file(dir.path());
    let (code, _, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("it has 30.9 KiB"), "{stderr}");
    assert!(stderr.contains("files of up to 1000 bytes"), "{stderr}");
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.uploadBlob".to_owned()));
}

#[tokio::test]
async fn a_blob_that_is_not_the_file_makes_no_record() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let other = json!({"blob": {"$type": "blob", "ref": {"$link": "bafkreiother"}, "mimeType": "application/wasm", "size": MODULE.len()}});
    pds.on("/xrpc/com.atproto.repo.uploadBlob", answer(200, &other));
    let file = module_file(dir.path());
    let (code, _, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("not the file that was sent"), "{stderr}");
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.putRecord".to_owned()));
}

#[tokio::test]
async fn a_session_for_another_account_is_not_used() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let other =
        json!({"did": "did:web:other.com", "handle": "alice.test", "accessJwt": "t", "refreshJwt": "r"});
    pds.on("/xrpc/com.atproto.server.createSession", answer(200, &other));
    let file = module_file(dir.path());
    let (code, _, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 3);
    assert!(stderr.contains("a session for another account"), "{stderr}");
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.uploadBlob".to_owned()));
}

#[tokio::test]
async fn a_redirect_does_not_carry_the_password_away() {
    let (pds, elsewhere, dir) = (pds().await, Server::start().await, tempfile::tempdir().unwrap());
    let location = format!("{}/xrpc/com.atproto.server.createSession", elsewhere.url());
    pds.on("/xrpc/com.atproto.server.createSession", Answer(307, vec![("location", location)], Vec::new()));
    let file = module_file(dir.path());
    let (code, _, _) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 1);
    assert_eq!(elsewhere.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn a_pds_over_plain_http_elsewhere_gets_no_password() {
    let pds = pds().await;
    let document = json!({
        "id": AUTHOR,
        "service": [{"id": "#atproto_pds", "serviceEndpoint": "http://pds.example.com"}],
    });
    pds.on(&format!("/{AUTHOR}"), answer(200, &document));
    let (code, _, stderr) = run(&mut as_author(&pds, &["delete", "echo", "--yes"])).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("names no PDS that can be used"), "{stderr}");
    assert!(stderr.contains("--pds URL"), "{stderr}");
}

#[tokio::test]
async fn waiting_ends_when_the_service_has_the_record() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let describe = "/xrpc/at.functions.describe";
    pds.on(describe, answer(200, &json!({"cid": "bafyolder", "mayRun": true})));
    let file = module_file(dir.path());
    let arguments = ["deploy", &file, "--name", "echo", "--wait=did:web:fn.example.com"];
    let child = as_author(&pds, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !pds.paths().contains(&describe.to_owned()) {
        pds.shared.arrived.notified().await;
    }
    pds.on(describe, answer(200, &json!({"cid": "bafyrecord", "mayRun": true})));
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b"the service has it\n"[..]));
    let asked: Vec<Seen> = pds.all_seen().into_iter().filter(|seen| seen.path == describe).collect();
    assert!(asked.len() >= 2);
    assert_eq!(asked[0].header("atproto-proxy"), Some("did:web:fn.example.com#at_functions"));
    assert_eq!(asked[0].header("authorization"), Some("Bearer session-token"));
    assert_eq!(asked[0].query, format!("function={}", FUNCTION.replace(':', "%3A").replace('/', "%2F")));
}

#[tokio::test]
async fn a_service_that_would_not_run_what_was_deployed_is_told_with_its_reason() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let file = module_file(dir.path());
    let refusal = json!({"error": "FunctionBlocked", "message": "not here"});
    let told = answer(200, &json!({"cid": "bafyrecord", "mayRun": false, "refusal": refusal}));
    let unknown = answer(501, &json!({"error": "MethodNotImplemented", "message": "no such method"}));
    for (described, expected) in [(told, "FunctionBlocked: not here"), (unknown, "MethodNotImplemented")] {
        pds.on("/xrpc/at.functions.describe", described);
        let mut command = as_author(&pds, &["deploy", &file, "--name", "echo", "--wait"]);
        let (code, stdout, stderr) = run(command.env("AT_FUNCTIONS_SERVICE", "did:web:fn.example.com")).await;
        assert_eq!(code, 1);
        assert!(stdout.starts_with("deployed echo 0.1.0"), "{stdout}");
        assert!(
            stderr.contains("it is written, but the service does not run it") && stderr.contains(expected),
            "{stderr}"
        );
    }
    let (code, _, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo", "--wait"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--wait=did:web:functions.example.com"), "{stderr}");
}
