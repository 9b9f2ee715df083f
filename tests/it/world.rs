//! A whole runtime in the test's process, on loopback: the embedded author's repo host, with faults
//! on demand and a count of what is asked of it, a PLC directory of test callers, and the service.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::config::{Anonymous, Config, Settings};
use at_functions::dev::{Author, Published, host_router};
use at_functions::identity::{Did, SigningKey};
use at_functions::lexicon::{Mode, RecordKey};
use at_functions::policy::limits::Limit;
use at_functions::server::{self, Listener, Service};
use at_functions::workers::Stats;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value, json};

/// The echo example.
pub const ECHO: &[u8] = include_bytes!("../../examples/pure-rust/echo.wasm");

/// What the repo host does in place of answering, decided per request.
pub type Fault = Arc<dyn Fn(&str) -> Option<Pin<Box<dyn Future<Output = Response> + Send>>> + Send + Sync>;

/// The runtime, and handles on all around it.
pub struct World {
    pub author: Arc<Author>,
    pub endpoint: String,
    pub service_did: String,
    pub client: reqwest::Client,
    settings: Settings,
    record_ttl: Option<Duration>,
    code_ttl: Duration,
    service: Option<Arc<Service>>,
    upstream: Upstream,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    pub served: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Clone, Default)]
struct Upstream {
    asked: Arc<Mutex<Vec<String>>>,
    fault: Arc<Mutex<Option<Fault>>>,
    plc: Arc<Mutex<HashMap<String, Value>>>,
    delays: Arc<Mutex<Vec<(&'static str, Duration)>>>,
}

/// Somebody with a did:plc and a key.
pub struct Caller {
    pub did: Did,
    pub key: SigningKey,
}

/// An answer of the service.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl World {
    /// A service that lets anonymous callers run public functions.
    pub async fn start() -> World {
        World::start_with(Settings { anonymous: Some(Anonymous::Public), ..Settings::default() }).await
    }

    /// A service with these settings; addresses, identity and directories are the world's.
    pub async fn start_with(settings: Settings) -> World {
        World::start_with_code_ttl(settings, Duration::from_secs(3600)).await
    }

    /// A service with these settings that believes a blob to be given out for `code_ttl`.
    pub async fn start_with_code_ttl(settings: Settings, code_ttl: Duration) -> World {
        let mut world = World::without_service(settings, code_ttl).await;
        world.start_service().await;
        world
    }

    /// All but the service, which is elsewhere: `start` is given the origin of the world's directories,
    /// and gives the service's endpoint and DID.
    pub async fn around(start: impl AsyncFnOnce(&str) -> (String, String)) -> World {
        let world = World::without_service(Settings::default(), Duration::from_secs(3600)).await;
        let (endpoint, service_did) = start(world.author.origin()).await;
        World { endpoint, service_did, ..world }
    }

    async fn without_service(settings: Settings, code_ttl: Duration) -> World {
        let repo = Listener::bind("repo", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let author = Arc::new(Author::at_port(repo.address().port(), Clock::system()).unwrap());
        let upstream = Upstream::default();
        let router = host_router(Arc::clone(&author));
        let router = router.layer(middleware::from_fn_with_state(upstream.clone(), intercept));
        tokio::spawn(server::serve(repo, router, std::future::pending()));
        #[allow(clippy::disallowed_methods)] // The test's own client, to the service under test.
        let client = reqwest::Client::new();
        World {
            endpoint: String::new(),
            service_did: String::new(),
            client,
            settings: Settings {
                // The directory outlives the test on purpose: the service still has files open in it.
                data_dir: Some(settings.data_dir.unwrap_or_else(|| tempfile::tempdir().unwrap().keep())),
                plc_url: Some(author.origin().parse().unwrap()),
                handle_resolver: Some(author.origin().parse().unwrap()),
                allow_private_network: Some(true),
                memory_budget: settings.memory_budget.or(Some(1024)),
                // All tests' callers are at one address, and some tests are floods.
                caller_limit: settings.caller_limit.or(Some(Limit::NONE)),
                host_limit: settings.host_limit.or(Some(Limit::NONE)),
                address_limit: settings.address_limit.or(Some(Limit::NONE)),
                author_limit: settings.author_limit.or(Some(Limit::NONE)),
                function_limit: settings.function_limit.or(Some(Limit::NONE)),
                ..settings
            },
            record_ttl: None,
            code_ttl,
            author,
            upstream,
            service: None,
            stop: None,
            served: None,
        }
    }

    async fn start_service(&mut self) {
        let public = Listener::bind("service", ([127, 0, 0, 1], 0).into()).await.unwrap();
        let config = Config::complete(Settings {
            hostname: Some(format!("localhost:{}", public.address().port())),
            ..self.settings.clone()
        })
        .unwrap();
        let record_ttl = self.record_ttl.unwrap_or(config.record_ttl);
        let config = Config { code_ttl: self.code_ttl, record_ttl, ..config };
        self.endpoint = config.hostname.origin();
        self.service_did = config.hostname.did().to_string();
        let service = Service::start(&config, Clock::system()).unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let router = server::router(Arc::clone(&service));
        self.service = Some(service);
        self.stop = Some(stop);
        self.served = Some(tokio::spawn(server::serve(public, router, async {
            let _ = stopped.await;
        })));
    }

    /// Stops the service and starts another one, which believes a proved record for `record_ttl`.
    pub async fn restart_with_record_ttl(&mut self, record_ttl: Duration) {
        self.record_ttl = Some(record_ttl);
        self.restart().await;
    }

    /// Stops the service and starts another one on the same data directory.
    pub async fn restart(&mut self) {
        self.stop().await;
        let mut service = self.service.take().unwrap();
        // Its files are closed when it is gone, not when nobody else has it.
        while let Err(shared) = Arc::try_unwrap(service) {
            service = shared;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.start_service().await;
    }

    /// The state of the service's pool.
    pub fn stats(&self) -> Stats {
        self.service.as_ref().unwrap().worker_stats()
    }

    /// What the service keeps of outputs.
    pub fn memo(&self) -> at_functions::memo::Stats {
        self.service.as_ref().unwrap().memo_stats()
    }

    /// Has the service read its policy file, as SIGHUP does, and says whether it took it.
    pub async fn reload_policy(&self) -> bool {
        self.service.as_ref().unwrap().reload_policy().await
    }

    /// The directory of the service's key and state.
    pub fn data_dir(&self) -> &Path {
        self.settings.data_dir.as_ref().unwrap()
    }

    /// How many modules the service has handed to its compiler.
    pub fn compiles(&self) -> u64 {
        self.stats().compiles_begun
    }

    /// Publishes a public function of this wasm under `rkey`, with the default limits.
    pub fn publish(&self, rkey: &str, wasm: impl Into<Bytes>) -> Published {
        self.author.publish(&RecordKey::parse(rkey).unwrap(), Mode::PureV1, wasm.into()).unwrap()
    }

    /// Publishes the module of this text, changing its record with `edit` first.
    pub fn publish_record(&self, rkey: &str, wasm: &[u8], edit: impl FnOnce(&mut Value)) -> Published {
        let mut record = function_record(wasm);
        edit(&mut record);
        let wasm = Bytes::copy_from_slice(wasm);
        self.author.put(&RecordKey::parse(rkey).unwrap(), &record, [wasm]).unwrap()
    }

    /// A caller whose DID document the world's PLC directory serves.
    pub fn caller(&self, seed: u8) -> Caller {
        self.caller_named(&char::from(b'a' + seed % 26).to_string().repeat(24), seed)
    }

    /// The same, with the 24 letters of a `did:plc`.
    pub fn caller_named(&self, letters: &str, seed: u8) -> Caller {
        self.caller_at(letters, seed, self.author.origin())
    }

    /// The same, whose DID document names this origin as their PDS.
    pub fn caller_at(&self, letters: &str, seed: u8, pds: &str) -> Caller {
        let key = SigningKey::from_bytes(&[seed; 32]).unwrap();
        let did = Did::parse(&format!("did:plc:{letters}")).unwrap();
        let document = json!({
            "id": did,
            "verificationMethod": [{
                "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
                "publicKeyMultibase": key.public().to_multikey(),
            }],
            "service": [{
                "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
            }],
        });
        self.upstream.plc.lock().unwrap().insert(did.to_string(), document);
        Caller { did, key }
    }

    /// A fresh token of `caller` for one call.
    pub fn token(&self, caller: &Caller) -> String {
        ServiceToken::new(&caller.did, &self.service_did, "at.functions.run", Clock::system().unix_seconds())
            .id(format!("{:x}", getrandom::u64().unwrap()))
            .sign(&caller.key)
    }

    /// Runs `function` on `input`, without a token.
    pub async fn run(&self, function: &impl ToString, input: Value) -> Answer {
        self.post(json!({ "function": function.to_string(), "input": input }).to_string(), None).await
    }

    /// Runs `function` as `caller`, with a fresh token.
    pub async fn run_as(&self, caller: &Caller, function: &impl ToString, input: Value) -> Answer {
        let body = json!({ "function": function.to_string(), "input": input }).to_string();
        self.post(body, Some(&self.token(caller))).await
    }

    /// Posts a body as JSON.
    pub async fn post(&self, body: impl Into<reqwest::Body>, token: Option<&str>) -> Answer {
        let mut request = self.request().header("content-type", "application/json").body(body);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        answer(request).await
    }

    /// A POST to the method, without headers or body yet.
    pub fn request(&self) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/xrpc/at.functions.run", self.endpoint))
    }

    /// From here on, the repo host does as `fault` says for the paths that it takes.
    pub fn fail_with(&self, fault: impl Fn(&str) -> Option<Response> + Send + Sync + 'static) {
        *self.upstream.fault.lock().unwrap() = Some(Arc::new(move |path| {
            let response = fault(path)?;
            Some(Box::pin(std::future::ready(response)))
        }));
    }

    /// From here on, the repo host waits `delay` before answering paths that hold `part`.
    pub fn slow_down(&self, part: &'static str, delay: Duration) {
        *self.upstream.fault.lock().unwrap() = Some(Arc::new(move |path| {
            path.contains(part).then(|| -> Pin<Box<dyn Future<Output = Response> + Send>> {
                Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
                })
            })
        }));
    }

    /// From here on, paths that hold one of these parts are answered as always, only later.
    pub fn delay(&self, delays: impl IntoIterator<Item = (&'static str, Duration)>) {
        *self.upstream.delays.lock().unwrap() = delays.into_iter().collect();
    }

    /// How often the repo host was asked for paths that hold `part`.
    pub fn asked(&self, part: &str) -> usize {
        self.upstream.asked.lock().unwrap().iter().filter(|path| path.contains(part)).count()
    }

    /// Tells the service to stop, and waits until it has drained.
    pub async fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(served) = self.served.take() {
            served.await.unwrap();
        }
    }
}

impl Answer {
    /// The name of the error, which the answer must be.
    pub fn error(&self) -> (u16, &str) {
        assert_eq!(self.body["ok"], false, "{self:?}");
        assert_eq!(self.body["requestId"], self.headers["x-request-id"].to_str().unwrap(), "{self:?}");
        (self.status, self.body["error"].as_str().unwrap())
    }

    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }

    /// The output, which the answer must have.
    pub fn output(&self) -> &Value {
        assert_eq!((self.status, &self.body["ok"]), (200, &Value::Bool(true)), "{self:?}");
        &self.body["output"]
    }

    /// The outcome of a run that failed in the guest.
    pub fn outcome(&self) -> &str {
        assert_eq!((self.status, &self.body["ok"]), (200, &Value::Bool(false)), "{self:?}");
        self.body["outcome"].as_str().unwrap()
    }
}

/// Sends a request and reads its answer.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Answer { status, headers, body }
}

/// A record as `deploy` writes it, for this wasm.
pub fn function_record(wasm: &[u8]) -> Value {
    json!({
        "$type": "at.functions.metadata",
        "name": "test",
        "version": "0.1.0",
        "mode": "pure-v1",
        "code": {
            "$type": "blob",
            "ref": { "$link": at_functions::repo::blob_cid(wasm).to_string() },
            "mimeType": "application/wasm",
            "size": wasm.len(),
        },
        "entrypoint": "run",
        "inputEncoding": "application/json",
        "outputEncoding": "application/json",
    })
}

/// A response of the repo host with an XRPC error.
pub fn xrpc_error(status: u16, name: &str) -> Response {
    let body = json!({ "error": name, "message": "made by the test" }).to_string();
    let status = http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/json")], body).into_response()
}

async fn intercept(
    axum::extract::State(upstream): axum::extract::State<Upstream>,
    request: Request<Body>,
    next: Next,
) -> Response {
    let path = request.uri().to_string();
    upstream.asked.lock().unwrap().push(path.clone());
    let delays = upstream.delays.lock().unwrap().clone();
    if let Some((_, delay)) = delays.iter().find(|(part, _)| path.contains(part)) {
        tokio::time::sleep(*delay).await;
    }
    let fault = upstream.fault.lock().unwrap().clone();
    if let Some(response) = fault.and_then(|fault| fault(&path)) {
        return response.await;
    }
    if let Some(did) = path.strip_prefix("/did:") {
        let document = upstream.plc.lock().unwrap().get(&format!("did:{did}")).cloned();
        return match document {
            Some(document) => ([("content-type", "application/json")], document.to_string()).into_response(),
            None => http::StatusCode::NOT_FOUND.into_response(),
        };
    }
    next.run(request).await
}
