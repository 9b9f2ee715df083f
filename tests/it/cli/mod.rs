//! The commands, as a person or script runs them: arguments and variables in, stdout, stderr and the
//! exit code out. Servers in this process play PLC directory, PDS and service, and keep what they
//! were sent.

// Clippy takes only functions marked as tests for tests; these are their helpers.
#![allow(clippy::unwrap_used)]

mod accounts;
mod check;
mod deploy;
mod described;
mod did;
mod invoke;
mod oauth;
mod program;
mod records;
mod renewal;
mod run;
mod run_reads;

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use at_functions::clock::Clock;
use at_functions::identity::{Did, SigningKey};
use at_functions::lexicon::{Nsid, RecordKey};
use at_functions::repo::json_to_ipld;
use at_functions::repo::writer::Repository;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::Notify;

const AUTHOR: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const FUNCTION: &str = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo";
const PASSWORD: &str = "abcd-efgh-ijkl-mnop";
const MODULE: &[u8] = crate::world::ECHO;
const MODULE_CID: &str = "bafkreic6b77kygbatggxywztb62ncdzhqj7mdwtyef6fd3nz3c57ijmvwm";

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

/// An answer: status, headers, body. With status 0 there is none, until there is another for its path.
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
    changed: Notify,
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
        self.shared.changed.notify_waiters();
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
    let Answer(status, headers, body) = loop {
        let changed = shared.changed.notified();
        let found = {
            let answers = shared.answers.lock().unwrap();
            let is_it = |(on, _): &&(String, Answer)| *on == path || *on == with_query;
            answers.iter().rev().find(is_it).map(|(_, answer)| answer.clone())
        };
        match found.unwrap_or_else(|| text(404, "text/plain", "no such path")) {
            Answer(0, ..) => changed.await,
            answer => break answer,
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in headers {
        // What is another one in each answer.
        let value = value.replace("{fresh}", &shared.seen.lock().unwrap().len().to_string());
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// A server that is the author's PDS and the PLC directory, and lets the author log in.
async fn pds() -> Server {
    let server = Server::start().await;
    let document = author_document(&server);
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
                &json!({"blob": {"$type": "blob", "ref": {"$link": MODULE_CID}, "mimeType": "application/wasm", "size": MODULE.len()}}),
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

/// What the PLC directory says of the author.
fn author_document(pds: &Server) -> Value {
    json!({
        "id": AUTHOR,
        "alsoKnownAs": ["at://alice.test"],
        "verificationMethod": [{
            "id": format!("{AUTHOR}#atproto"), "type": "Multikey", "controller": AUTHOR,
            "publicKeyMultibase": author_key().public().to_multikey(),
        }],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds.url()}],
    })
}

fn author_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).unwrap()
}

/// What `com.atproto.sync.getRecord` answers for the author's `echo`: the proof of a record or of its
/// absence, signed by `key`.
fn proof(key: SigningKey, record: Option<&Value>) -> Answer {
    let collection = Nsid::parse("at.functions.metadata").unwrap();
    let rkey = RecordKey::parse("echo").unwrap();
    let mut repository = Repository::new(Did::parse(AUTHOR).unwrap(), key, Clock::system());
    if let Some(record) = record {
        repository.put(&collection, &rkey, &json_to_ipld(record).unwrap()).unwrap();
    }
    let car = repository.record_car(&collection, &rkey);
    Answer(200, vec![("content-type", "application/vnd.ipld.car".to_owned())], car)
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
