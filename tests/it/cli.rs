//! The commands, as a person or script runs them: arguments and variables in, stdout, stderr and the
//! exit code out. Servers in this process play PLC directory, PDS and service, and keep what they
//! were sent.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Notify;

const AUTHOR: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const FUNCTION: &str = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo";
const PASSWORD: &str = "abcd-efgh-ijkl-mnop";
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
const MODULE_CID: &str = "bafkreieturf3xfwhkeqy4taa2r46jqkdlajcuoe2zsqwebnr4tinyx4uoy";

/// What a server was sent.
#[derive(Clone)]
struct Seen {
    method: Method,
    path: String,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// An answer: status, headers, body.
#[derive(Clone)]
struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

fn answer(status: u16, body: &Value) -> Answer {
    text(status, "application/json", &body.to_string())
}

fn text(status: u16, content_type: &str, body: &str) -> Answer {
    Answer(status, vec![("content-type", content_type.to_owned())], body.into())
}

/// A server on loopback; every path that has no answer of its own is 404.
struct Server {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// The latest for a path counts.
    answers: Mutex<Vec<(String, Answer)>>,
    arrived: Notify,
}

impl Server {
    async fn start() -> Server {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(reply).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Server { port, shared }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn did(&self) -> String {
        format!("did:web:localhost%3A{}", self.port)
    }

    fn on(&self, path: &str, answer: Answer) -> &Server {
        self.shared.answers.lock().unwrap().push((path.to_owned(), answer));
        self
    }

    fn all_seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request to this path.
    fn seen(&self, path: &str) -> Seen {
        let mut found: Vec<_> = self.all_seen().into_iter().filter(|seen| seen.path == path).collect();
        assert_eq!(found.len(), 1, "{path}");
        found.remove(0)
    }

    fn paths(&self) -> Vec<String> {
        self.all_seen().into_iter().map(|seen| seen.path).collect()
    }
}

async fn reply(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    shared.seen.lock().unwrap().push(Seen {
        method,
        path: path.clone(),
        query: query.clone(),
        headers,
        body,
    });
    shared.arrived.notify_one();
    let with_query = format!("{path}?{query}");
    let found = {
        let answers = shared.answers.lock().unwrap();
        answers
            .iter()
            .rev()
            .find(|(on, _)| *on == path || *on == with_query)
            .map(|(_, answer)| answer.clone())
    };
    let Answer(status, headers, body) = found.unwrap_or_else(|| text(404, "text/plain", "no such path"));
    if status == 0 {
        return std::future::pending().await;
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A server that is the author's PDS and the PLC directory, and lets the author log in.
async fn pds() -> Server {
    let server = Server::start().await;
    let document = json!({
        "id": AUTHOR,
        "alsoKnownAs": ["at://alice.test"],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": server.url()}],
    });
    server
        .on(&format!("/{AUTHOR}"), answer(200, &document))
        .on("/xrpc/com.atproto.identity.resolveHandle", answer(200, &json!({"did": AUTHOR})))
        .on(
            "/xrpc/com.atproto.server.createSession",
            answer(200, &json!({"did": AUTHOR, "handle": "alice.test", "accessJwt": "session-token", "refreshJwt": "r"})),
        )
        .on("/xrpc/com.atproto.server.describeServer", answer(200, &json!({"did": "did:web:a.com"})))
        .on(
            "/xrpc/com.atproto.repo.uploadBlob",
            answer(
                200,
                &json!({"blob": {"$type": "blob", "ref": {"$link": MODULE_CID}, "mimeType": "application/wasm", "size": 8}}),
            ),
        )
        .on("/xrpc/com.atproto.repo.putRecord", answer(200, &json!({"uri": FUNCTION, "cid": "bafyrecord"})))
        .on(
            "/xrpc/com.atproto.repo.getRecord",
            answer(200, &json!({"uri": FUNCTION, "cid": "bafyrecord", "value": {"name": "echo", "version": "1.0.0"}})),
        )
        .on("/xrpc/com.atproto.repo.deleteRecord", answer(200, &json!({"commit": {}})))
        .on("/xrpc/com.atproto.server.getServiceAuth", answer(200, &json!({"token": "service-token"})));
    server
}

/// A server that is an AT Functions service.
async fn service() -> Server {
    let server = Server::start().await;
    server
        .on("/.well-known/did.json", answer(200, &service_document(&server)))
        .on("/xrpc/at.functions.run", answer(200, &json!({"ok": true, "output": {"a": 1}, "durationMs": 2})));
    server
}

fn service_document(server: &Server) -> Value {
    json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": server.did(),
        "service": [{
            "id": "#at_functions",
            "type": "AtFunctionsService",
            "serviceEndpoint": format!("http://localhost:{}", server.port),
        }],
    })
}

/// The program with nothing of this machine's environment.
fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_at-functions"));
    command.env_clear().args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// The program with the author's account at `pds`.
fn as_author(pds: &Server, arguments: &[&str]) -> Command {
    let mut command = program(arguments);
    command
        .env("AT_FUNCTIONS_HANDLE", AUTHOR)
        .env("AT_FUNCTIONS_PASSWORD", PASSWORD)
        .env("AT_FUNCTIONS_PLC_URL", pds.url());
    command
}

/// Its exit code, stdout and stderr.
async fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().await.unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

fn module_file(dir: &Path) -> String {
    let path = dir.join("echo.wasm");
    std::fs::write(&path, MODULE).unwrap();
    path.to_str().unwrap().to_owned()
}

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
        json!({"uri": FUNCTION, "cid": "bafyrecord", "codeCid": MODULE_CID, "codeSize": 8})
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
                    "size": 8,
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
        "deployed echo 0.1.0\n  function  {FUNCTION}\n  record    bafyrecord\n  code      {MODULE_CID} (8 bytes)\n\n\
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
    let (not_wasm, schema) = (not_wasm.to_str().unwrap(), schema.to_str().unwrap());
    let cases: [(&[&str], &str); 8] = [
        (&["deploy", "/nonexistent.wasm", "--name", "a"], "cannot read /nonexistent.wasm"),
        (&["deploy", not_wasm, "--name", "a"], "wat2wasm"),
        (&["deploy", &file, "--name", "My Echo"], "--rkey my-echo"),
        (&["deploy", &file, "--name", "a", "--input-schema", schema], "/properties/a/multipleOf: 0.5"),
        (&["deploy", &file, "--name", "a", "--mode", "pure-v9"], "there are these modes: pure-v1"),
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
    let (code, _, stderr) = run(&mut program(&["deploy", &file, "--name", "a"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("AT_FUNCTIONS_HANDLE"), "{stderr}");
    assert_eq!(pds.paths(), Vec::<String>::new());
}

#[tokio::test]
async fn a_file_over_the_limit_that_the_pds_states_is_not_uploaded() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    pds.on("/xrpc/com.atproto.server.describeServer", answer(200, &json!({"blobUploadLimit": 7})));
    let file = module_file(dir.path());
    let (code, _, stderr) = run(&mut as_author(&pds, &["deploy", &file, "--name", "echo"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("it has 8 bytes"), "{stderr}");
    assert!(stderr.contains("files of up to 7 bytes"), "{stderr}");
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.uploadBlob".to_owned()));
}

#[tokio::test]
async fn a_blob_that_is_not_the_file_makes_no_record() {
    let (pds, dir) = (pds().await, tempfile::tempdir().unwrap());
    let other = json!({"blob": {"$type": "blob", "ref": {"$link": "bafkreiother"}, "mimeType": "application/wasm", "size": 8}});
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
    let arguments = ["invoke", FUNCTION, "--service", &service.did(), "--direct"];
    let (code, stdout, stderr) = run(&mut as_author(&pds, &arguments)).await;
    assert_eq!((code, stdout.as_str()), (0, "{\n  \"a\": 1\n}\n"), "{stderr}");
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
    for seen in service.all_seen() {
        assert!(!format!("{:?}{:?}", seen.headers, seen.body).contains(PASSWORD));
        assert!(!format!("{:?}", seen.headers).contains("session-token"));
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
    let unused = format!("did:web:localhost%3A{}", unused_port());
    let (code, _, stderr) =
        run(&mut program(&["invoke", FUNCTION, "--anonymous", "--service", &unused])).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("no connection could be made"), "{stderr}");
    // A host without a DID document is no service.
    let (code, _, stderr) = run(&mut program(&["invoke", FUNCTION, "--anonymous", "--service", &gone])).await;
    assert_eq!(code, 1, "{stderr}");
}

/// A port that was free a moment ago.
fn unused_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
async fn list_shows_every_page_of_an_accounts_functions() {
    let pds = pds().await;
    let record = |rkey: &str, value: Value| json!({"uri": format!("at://{AUTHOR}/at.functions.metadata/{rkey}"), "cid": "bafy", "value": value});
    let first = json!({"cursor": "next", "records": [record("a", json!({
        "name": "alpha", "version": "1.0.0", "mode": "pure-v1", "code": {"size": 2048},
    }))]});
    let second = json!({"records": [
        record("b", json!({"name": "be\u{1b}[2Jta", "public": false, "weight": 0.5})),
        record("c", json!("no object")),
    ]});
    let path = format!(
        "/xrpc/com.atproto.repo.listRecords?repo={}&collection=at.functions.metadata&limit=100",
        AUTHOR.replace(':', "%3A")
    );
    pds.on(&path, answer(200, &first)).on(&format!("{path}&cursor=next"), answer(200, &second));
    // A list needs no password.
    let (code, stdout, stderr) = run(as_author(&pds, &["list"]).env_remove("AT_FUNCTIONS_PASSWORD")).await;
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{stdout}");
    assert!(lines[0].starts_with("NAME"), "{stdout}");
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        cells(lines[1]),
        ["alpha", "1.0.0", "pure-v1", "2.0 KiB", "all", &format!("at://{AUTHOR}/at.functions.metadata/a")]
    );
    assert_eq!(cells(lines[2])[..5], [r"be\u{1b}[2Jta", "?", "?", "?", "granted"]);
    assert!(stderr.starts_with("unproved: "), "{stderr}");

    let (code, stdout, stderr) = run(&mut as_author(&pds, &["list", AUTHOR, "--json"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["repo"], &told["verified"], &told["complete"]),
        (&json!(AUTHOR), &json!(false), &json!(true))
    );
    assert_eq!(told["functions"].as_array().unwrap().len(), 3);
    assert_eq!(told["functions"][1]["record"]["weight"], 0.5);
}

#[tokio::test]
async fn a_listing_that_never_ends_is_cut_and_said_to_be() {
    let pds = pds().await;
    let page = |cursor: &str| json!({"cursor": cursor, "records": [{"uri": "at://x", "cid": "bafy", "value": {"name": cursor}}]});
    let path = format!(
        "/xrpc/com.atproto.repo.listRecords?repo={}&collection=at.functions.metadata&limit=100",
        AUTHOR.replace(':', "%3A")
    );
    pds.on("/xrpc/com.atproto.repo.listRecords", answer(200, &page("even")));
    pds.on(&format!("{path}&cursor=even"), answer(200, &page("odd")));
    let (code, stdout, _) = run(&mut as_author(&pds, &["list", "--json"])).await;
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["complete"], false);
    assert_eq!(told["functions"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_handle_that_its_did_does_not_claim_back_leads_nowhere() {
    let pds = pds().await;
    let list = |handle: &str| {
        let mut command = program(&["list", handle, "--pds", &pds.url()]);
        command.env("AT_FUNCTIONS_PLC_URL", pds.url());
        command
    };
    pds.on("/xrpc/com.atproto.repo.listRecords", answer(200, &json!({"records": []})));
    let (code, stdout, stderr) = run(&mut list("alice.test")).await;
    assert_eq!((code, stdout), (0, format!("{AUTHOR} has no functions\n")), "{stderr}");
    let (code, _, stderr) = run(&mut list("mallory.test")).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("does not claim this handle back"), "{stderr}");
}

#[tokio::test]
async fn describe_shows_a_record_and_says_that_it_is_unverified() {
    let pds = pds().await;
    let (code, stdout, stderr) = run(&mut as_author(&pds, &["describe", FUNCTION])).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with(&format!("{FUNCTION}\n  name      echo\n")), "{stdout}");
    assert!(stderr.starts_with("unverified: as 127.0.0.1"), "{stderr}");
    let (code, stdout, _) = run(&mut as_author(&pds, &["describe", FUNCTION, "--json"])).await;
    assert_eq!(code, 0);
    assert_eq!(
        serde_json::from_str::<Value>(&stdout).unwrap(),
        json!({"uri": FUNCTION, "cid": "bafyrecord", "verified": false, "record": {"name": "echo", "version": "1.0.0"}})
    );
    pds.on(
        "/xrpc/com.atproto.repo.getRecord",
        answer(400, &json!({"error": "RecordNotFound", "message": "Could not locate record"})),
    );
    let (code, _, stderr) = run(&mut as_author(&pds, &["describe", FUNCTION])).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("Could not locate record") && stderr.contains("at-functions list"), "{stderr}");
}

#[tokio::test]
async fn delete_removes_the_version_that_it_looked_at() {
    let pds = pds().await;
    for target in ["echo", FUNCTION, "at://alice.test/at.functions.metadata/echo"] {
        let (code, stdout, stderr) = run(&mut as_author(&pds, &["delete", target, "--yes", "--json"])).await;
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(
            serde_json::from_str::<Value>(&stdout).unwrap(),
            json!({"uri": FUNCTION, "cid": "bafyrecord", "deleted": true})
        );
    }
    let deletions: Vec<Value> = pds
        .all_seen()
        .iter()
        .filter(|seen| seen.path == "/xrpc/com.atproto.repo.deleteRecord")
        .map(|seen| {
            assert_eq!(seen.header("authorization"), Some("Bearer session-token"));
            seen.json()
        })
        .collect();
    let expected = json!({"repo": AUTHOR, "collection": "at.functions.metadata", "rkey": "echo", "swapRecord": "bafyrecord"});
    assert_eq!(deletions, vec![expected; 3]);
}

#[tokio::test]
async fn delete_does_nothing_that_was_not_confirmed_or_is_not_ones_own() {
    let pds = pds().await;
    let (code, _, stderr) = run(&mut as_author(&pds, &["delete", "echo"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--yes"), "{stderr}");
    for foreign in
        ["at://did:web:other.com/at.functions.metadata/echo", "at://bob.test/at.functions.metadata/echo"]
    {
        let (code, _, stderr) = run(&mut as_author(&pds, &["delete", foreign, "--yes"])).await;
        assert_eq!(code, 2);
        assert!(stderr.contains("not in your repo"), "{stderr}");
    }
    pds.on(
        "/xrpc/com.atproto.repo.getRecord",
        answer(400, &json!({"error": "RecordNotFound", "message": "no"})),
    );
    let (code, _, _) = run(&mut as_author(&pds, &["delete", "echo", "--yes"])).await;
    assert_eq!(code, 1);
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.deleteRecord".to_owned()));
}

#[tokio::test]
async fn did_check_says_whether_pdses_can_use_a_document() {
    let service = service().await;
    let host = format!("localhost:{}", service.port);
    let (code, stdout, stderr) = run(&mut program(&["did", "check", &host])).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.ends_with(&format!("PDSes can use it as {}#at_functions\n", service.did())), "{stdout}");

    let mut broken = service_document(&service);
    broken["service"][0]["serviceEndpoint"] = format!("http://localhost:{}/xrpc", service.port).into();
    service.on("/.well-known/did.json", answer(200, &broken));
    let (code, stdout, _) = run(&mut program(&["did", "check", &host, "--json"])).await;
    assert_eq!(code, 1);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["did"], &told["usable"]), (&json!(service.did()), &json!(false)));
    let fails: Vec<&Value> = told["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["result"] == "FAILS")
        .map(|c| &c["check"])
        .collect();
    assert_eq!(fails, ["endpoint"]);

    let elsewhere = Answer(302, vec![("location", format!("http://{host}/did.json"))], Vec::new());
    service.on("/.well-known/did.json", elsewhere);
    let (code, stdout, _) = run(&mut program(&["did", "check", &host])).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("PDSes follow no redirect"), "{stdout}");
    let (code, _, _) = run(&mut program(&["did", "check", &format!("localhost:{}", unused_port())])).await;
    assert_eq!(code, 3);
}

#[tokio::test]
async fn did_shows_the_document_of_the_key_in_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let arguments = ["did", "--hostname", "fn.example.com", "--data-dir", path];
    let (code, _, stderr) = run(&mut program(&arguments)).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no key at"), "{stderr}");
    let (code, first, stderr) = run(program(&arguments).arg("--create-key")).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("https://fn.example.com/.well-known/did.json"), "{stderr}");
    let (code, again, _) = run(&mut program(&arguments)).await;
    assert_eq!((code, &again), (0, &first));
    let document: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(document["id"], "did:web:fn.example.com");
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

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_call_that_waits() {
    let service = service().await;
    service.on("/xrpc/at.functions.run", text(0, "", ""));
    let arguments = ["invoke", FUNCTION, "--anonymous", "--service", &service.did()];
    let child = program(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !service.paths().contains(&"/xrpc/at.functions.run".to_owned()) {
        service.shared.arrived.notified().await;
    }
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "interrupted\n");
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let service = service().await;
    let large = json!({"ok": true, "output": vec!["x".repeat(1000); 1000]});
    service.on("/xrpc/at.functions.run", answer(200, &large));
    let mut child = program(&["invoke", FUNCTION, "--anonymous", "--service", &service.did()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[tokio::test]
async fn help_and_version_are_there() {
    let (code, stdout, _) = run(&mut program(&["--version"])).await;
    assert_eq!((code, stdout), (0, format!("at-functions {}\n", env!("CARGO_PKG_VERSION"))));
    for command in ["deploy", "invoke", "list", "describe", "delete", "did"] {
        let (code, stdout, _) = run(&mut program(&[command, "--help"])).await;
        assert_eq!(code, 0);
        assert!(stdout.contains("Examples:") && stdout.contains("Exit codes:"), "{stdout}");
    }
    let (code, _, stderr) = run(&mut program(&[])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("Usage:"), "{stderr}");
    let (code, _, stderr) = run(program(&["list"]).env("AT_FUNCTIONS_PLC_URL", "nonsense")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--plc-url"), "{stderr}");
}
