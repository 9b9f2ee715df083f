//! Resolution against a PLC directory and web hosts on loopback, at a clock that the test moves.

mod handles;

use std::collections::HashMap;
use std::sync::Mutex;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::sync::Semaphore;

use super::*;
use crate::egress::EgressConfig;
use crate::egress::testing::{PUBLIC, TestDns, egress};
use crate::identity::SigningKey;

const ALICE: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const BOB: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// All hosts of the test's internet: one listener that tells them apart by name.
#[derive(Clone)]
struct Hosts(Arc<Pages>);

struct Pages {
    port: u16,
    pages: Mutex<HashMap<String, Page>>,
    asked: Mutex<HashMap<String, usize>>,
    /// Hosts whose answers wait until the test lets them go.
    held: Mutex<HashMap<String, Arc<Semaphore>>>,
}

#[derive(Clone)]
struct Page {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Hosts {
    async fn start() -> Hosts {
        let listener = tokio::net::TcpListener::bind((PUBLIC, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (pages, asked, held) = Default::default();
        let hosts = Hosts(Arc::new(Pages { port, pages, asked, held }));
        let router = Router::new().fallback(serve).with_state(hosts.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        hosts
    }

    /// Sets what `host/path` (or `host/path?query`) answers.
    fn set(&self, at: &str, status: u16, body: impl Into<String>) {
        let page = Page { status, location: None, body: body.into() };
        self.0.pages.lock().unwrap().insert(at.to_owned(), page);
    }

    fn set_plc(&self, did: &str, document: serde_json::Value) {
        self.set(&format!("plc.com/{did}"), 200, document.to_string());
    }

    fn redirect(&self, at: &str, to: &str) {
        let page = Page { status: 302, location: Some(to.to_owned()), body: String::new() };
        self.0.pages.lock().unwrap().insert(at.to_owned(), page);
    }

    fn hold(&self, host: &str) -> Arc<Semaphore> {
        let door = Arc::new(Semaphore::new(0));
        self.0.held.lock().unwrap().insert(host.to_owned(), Arc::clone(&door));
        door
    }

    fn asked(&self, at: &str) -> usize {
        self.0.asked.lock().unwrap().get(at).copied().unwrap_or(0)
    }

    fn asked_of_alice(&self) -> usize {
        self.asked(&format!("plc.com/{ALICE}"))
    }

    async fn until_asked(&self, at: &str, times: usize) {
        while self.asked(at) < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn serve(State(hosts): State<Hosts>, request: Request) -> Response {
    let host = request.headers()["host"].to_str().unwrap();
    let host = host.split(':').next().unwrap().to_owned();
    let at = format!("{host}{}", request.uri().path_and_query().unwrap());
    *hosts.0.asked.lock().unwrap().entry(at.clone()).or_default() += 1;
    let door = hosts.0.held.lock().unwrap().get(&host).cloned();
    if let Some(door) = door {
        door.acquire().await.unwrap().forget();
    }
    let page = hosts.0.pages.lock().unwrap().get(&at).cloned();
    let Some(page) = page else { return StatusCode::NOT_FOUND.into_response() };
    let mut response = (StatusCode::from_u16(page.status).unwrap(), page.body).into_response();
    if let Some(location) = page.location {
        response.headers_mut().insert("location", location.parse().unwrap());
    }
    response
}

struct Test {
    hosts: Hosts,
    dns: TestDns,
    clock: Clock,
    resolver: Arc<Resolver>,
}

impl Test {
    async fn start() -> Test {
        Test::with(|config| config).await
    }

    async fn with(change: impl FnOnce(ResolverConfig) -> ResolverConfig) -> Test {
        let (hosts, dns, clock) = (Hosts::start().await, TestDns::default(), Clock::manual(1_700_000_000));
        let plc_url = Url::parse(&format!("http://plc.com:{}", hosts.0.port)).unwrap();
        let config = change(ResolverConfig { plc_url, handle_resolver: None, allow_localhost: false });
        let web = Web::Test { port: hosts.0.port };
        let resolver = Arc::new(Resolver::with_web(config, egress(&dns), clock.clone(), web));
        Test { hosts, dns, clock, resolver }
    }

    async fn document(&self, did: &str) -> Result<Arc<DidDocument>, IdentityError> {
        self.resolver.document(&Did::parse(did).unwrap()).await
    }

    async fn refresh(&self, did: &str) -> Result<Arc<DidDocument>, IdentityError> {
        self.resolver.refresh(&Did::parse(did).unwrap()).await
    }

    async fn handle(&self, handle: &str) -> Result<Did, IdentityError> {
        self.resolver.handle(&Handle::parse(handle).unwrap()).await
    }

    /// Waits until nothing is being fetched.
    async fn settle(&self) {
        while self.resolver.documents.is_fetching() || self.resolver.handles.is_fetching() {
            tokio::task::yield_now().await;
        }
    }
}

fn document(did: &str, handle: &str, key: u8) -> serde_json::Value {
    let key = SigningKey::from_bytes(&[key; 32]).unwrap().public().to_multikey();
    json!({
        "id": did,
        "alsoKnownAs": [format!("at://{handle}")],
        "verificationMethod": [{"id": format!("{did}#atproto"), "type": "Multikey", "publicKeyMultibase": key}],
        "service": [{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": "https://pds.com"}],
    })
}

fn key_of(document: &DidDocument) -> u8 {
    let key = document.signing_key.clone().unwrap();
    (1..=9).find(|n| SigningKey::from_bytes(&[*n; 32]).unwrap().public() == key).unwrap()
}

fn unreachable() -> IdentityError {
    IdentityError::Unreachable(EgressError::Unreachable)
}

#[tokio::test]
async fn a_plc_document_is_resolved_and_remembered() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    let found = test.document(ALICE).await.unwrap();
    assert_eq!(found.handle.as_ref().unwrap().as_str(), "alice.com");
    assert_eq!(found.pds.as_ref().unwrap().as_str(), "https://pds.com/");
    test.clock.advance(HOUR - MINUTE);
    assert_eq!(test.document(ALICE).await.unwrap(), found);
    assert_eq!(test.hosts.asked_of_alice(), 1);
}

#[tokio::test]
async fn a_web_document_is_resolved_from_its_host() {
    let test = Test::start().await;
    test.hosts.set("fn.com/.well-known/did.json", 200, document("did:web:fn.com", "fn.com", 2).to_string());
    assert_eq!(key_of(&test.document("did:web:fn.com").await.unwrap()), 2);
    let nobody = test.document("did:web:nobody.com").await;
    assert_eq!(nobody, Err(IdentityError::NotFound));
}

#[tokio::test]
async fn localhost_counts_only_in_development() {
    let test = Test::start().await;
    let did = format!("did:web:localhost%3A{}", test.hosts.0.port);
    let mut page = document(&did, "dev.com", 3);
    page["service"][0]["serviceEndpoint"] = "http://localhost:2583".into();
    test.hosts.set("localhost/.well-known/did.json", 200, page.to_string());
    assert_eq!(test.document(&did).await, Err(blocked(BlockReason::Host)));

    let plc_url = Url::parse("http://localhost:2582").unwrap();
    let config = ResolverConfig { plc_url, handle_resolver: None, allow_localhost: true };
    let egress = Egress::new(EgressConfig { allow_private_network: true }).unwrap();
    let resolver = Resolver::new(config, egress, test.clock.clone());
    let found = resolver.document(&Did::parse(&did).unwrap()).await.unwrap();
    assert_eq!(found.pds.as_ref().unwrap().as_str(), "http://localhost:2583/");
}

#[tokio::test]
async fn a_host_without_tls_is_no_pds_outside_development() {
    let mut page = document(ALICE, "alice.com", 1);
    page["service"][0]["serviceEndpoint"] = "http://pds.com".into();
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, page.clone());
    assert_eq!(test.document(ALICE).await.unwrap().pds, None);
    let development = Test::with(|config| ResolverConfig { allow_localhost: true, ..config }).await;
    development.hosts.set_plc(ALICE, page);
    assert_eq!(development.document(ALICE).await.unwrap().pds.as_ref().unwrap().scheme(), "http");
}

#[tokio::test]
async fn every_bad_answer_has_its_own_reason() {
    let good = document(ALICE, "alice.com", 1).to_string();
    let too_large = format!("{{\"padding\":\"{}\"}}", "a".repeat(MAX_BYTES));
    let mut twice = document(ALICE, "alice.com", 1);
    twice["service"] = json!([twice["service"][0], twice["service"][0]]);
    let cases = [
        (404, String::new(), IdentityError::NotFound),
        (410, String::new(), IdentityError::NotFound),
        (404, good.clone(), IdentityError::NotFound),
        (500, good.clone(), IdentityError::Status(500)),
        (503, String::new(), IdentityError::Status(503)),
        (400, String::new(), IdentityError::Status(400)),
        (302, String::new(), IdentityError::Status(302)),
        (204, String::new(), IdentityError::Status(204)),
        (200, "<html>".to_owned(), InvalidDocument::Json.into()),
        (200, document(BOB, "alice.com", 1).to_string(), InvalidDocument::WrongId.into()),
        (200, too_large, InvalidDocument::TooLarge.into()),
        (200, twice.to_string(), InvalidDocument::DuplicateService.into()),
    ];
    for (status, body, error) in cases {
        let test = Test::start().await;
        test.hosts.set(&format!("plc.com/{ALICE}"), status, body);
        assert_eq!(test.document(ALICE).await, Err(error), "{status}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let test = Test::start().await;
    test.hosts.redirect("fn.com/.well-known/did.json", "/elsewhere");
    test.hosts.set("fn.com/elsewhere", 200, document("did:web:fn.com", "fn.com", 2).to_string());
    assert_eq!(test.document("did:web:fn.com").await, Err(IdentityError::Status(302)));
    assert_eq!(test.hosts.asked("fn.com/elsewhere"), 0);
}

#[tokio::test]
async fn a_limiting_directory_is_trouble() {
    let test = Test::start().await;
    test.hosts.set(&format!("plc.com/{ALICE}"), 429, "");
    let error = test.document(ALICE).await.unwrap_err();
    assert!(matches!(error, IdentityError::Unreachable(EgressError::RateLimited { .. })), "{error:?}");
    assert!(error.is_trouble());
}

#[tokio::test]
async fn failures_are_remembered_briefly_and_trouble_for_less() {
    let cases = [(404, IdentityError::NotFound, 30), (500, IdentityError::Status(500), 10)];
    for (status, error, seconds) in cases {
        let test = Test::start().await;
        test.hosts.set(&format!("plc.com/{ALICE}"), status, "");
        assert_eq!(test.document(ALICE).await, Err(error.clone()));
        test.clock.advance(Duration::from_secs(seconds - 1));
        assert_eq!(test.document(ALICE).await, Err(error));
        assert_eq!(test.hosts.asked_of_alice(), 1);
        test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
        test.clock.advance(Duration::from_secs(1));
        assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
        assert_eq!(test.hosts.asked_of_alice(), 2);
    }
}

#[tokio::test]
async fn two_hundred_who_miss_at_once_cost_one_fetch() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    let door = test.hosts.hold("plc.com");
    let asking: Vec<_> = (0..200)
        .map(|_| {
            let resolver = Arc::clone(&test.resolver);
            tokio::spawn(async move { resolver.document(&Did::parse(ALICE).unwrap()).await })
        })
        .collect();
    test.hosts.until_asked(&format!("plc.com/{ALICE}"), 1).await;
    door.add_permits(200);
    for one in asking {
        assert_eq!(key_of(&one.await.unwrap().unwrap()), 1);
    }
    assert_eq!(test.hosts.asked_of_alice(), 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_the_first_who_asked_gives_up() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    let door = test.hosts.hold("plc.com");
    let resolver = Arc::clone(&test.resolver);
    let first = tokio::spawn(async move { resolver.document(&Did::parse(ALICE).unwrap()).await });
    test.hosts.until_asked(&format!("plc.com/{ALICE}"), 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    door.add_permits(10);
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
    assert_eq!(test.hosts.asked_of_alice(), 1);
}

#[tokio::test]
async fn a_stale_document_is_given_at_once_and_one_fetch_behind_it_renews_it() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.document(ALICE).await.unwrap();
    test.clock.advance(HOUR);
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 2));
    let door = test.hosts.hold("plc.com");
    for _ in 0..5 {
        assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
    }
    door.add_permits(5);
    test.settle().await;
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 2);
    assert_eq!(test.hosts.asked_of_alice(), 2);
}

#[tokio::test]
async fn a_stale_document_serves_while_the_directory_is_down_but_not_past_a_day() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.document(ALICE).await.unwrap();
    test.hosts.set(&format!("plc.com/{ALICE}"), 500, "");
    test.clock.advance(HOUR);
    for _ in 0..22 {
        assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
        test.settle().await;
        test.clock.advance(HOUR);
    }
    // While the trouble is fresh nothing more is tried.
    let before = test.hosts.asked_of_alice();
    assert_eq!(before, 23);
    test.document(ALICE).await.unwrap();
    test.settle().await;
    test.document(ALICE).await.unwrap();
    test.settle().await;
    assert_eq!(test.hosts.asked_of_alice(), before + 1);
    test.clock.advance(HOUR);
    assert_eq!(test.document(ALICE).await, Err(IdentityError::Status(500)));
}

#[tokio::test]
async fn a_document_that_is_gone_is_forgotten() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.document(ALICE).await.unwrap();
    test.hosts.set(&format!("plc.com/{ALICE}"), 410, "");
    test.clock.advance(HOUR);
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
    test.settle().await;
    assert_eq!(test.document(ALICE).await, Err(IdentityError::NotFound));
}

#[tokio::test]
async fn a_rotated_key_is_seen_after_a_refresh() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.document(ALICE).await.unwrap();
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 2));
    test.clock.advance(MINUTE);
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
    assert_eq!(key_of(&test.refresh(ALICE).await.unwrap()), 2);
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 2);
}

#[tokio::test]
async fn a_refresh_fetches_once_in_ten_seconds() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    assert_eq!(key_of(&test.refresh(ALICE).await.unwrap()), 1);
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 2));
    for _ in 0..50 {
        assert_eq!(key_of(&test.refresh(ALICE).await.unwrap()), 1);
    }
    assert_eq!(test.hosts.asked_of_alice(), 1);
    test.clock.advance(Duration::from_secs(10));
    assert_eq!(key_of(&test.refresh(ALICE).await.unwrap()), 2);
    assert_eq!(test.hosts.asked_of_alice(), 2);
}

#[tokio::test]
async fn a_refresh_that_fails_says_so_and_leaves_what_is_known() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.document(ALICE).await.unwrap();
    test.hosts.set(&format!("plc.com/{ALICE}"), 500, "");
    test.clock.advance(MINUTE);
    for _ in 0..3 {
        assert_eq!(test.refresh(ALICE).await, Err(IdentityError::Status(500)));
    }
    assert_eq!(test.hosts.asked_of_alice(), 2);
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
}

#[tokio::test]
async fn slow_hosts_hold_up_neither_the_directory_nor_other_sites() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.hosts.set("fn.com/.well-known/did.json", 200, document("did:web:fn.com", "a.com", 2).to_string());
    let mut slow = Vec::new();
    for n in 0..90 {
        test.hosts.hold(&format!("h{n}.slow.com"));
        let resolver = Arc::clone(&test.resolver);
        let did = Did::parse(&format!("did:web:h{n}.slow.com")).unwrap();
        slow.push(tokio::spawn(async move { resolver.document(&did).await }));
    }
    test.hosts.until_asked("h15.slow.com/.well-known/did.json", 1).await;
    // 16 are being asked, 64 wait, and the other ten are told at once.
    let mut refused = 0;
    while refused < 10 {
        tokio::task::yield_now().await;
        refused = slow.iter().filter(|one| one.is_finished()).count();
    }
    assert_eq!(key_of(&test.document(ALICE).await.unwrap()), 1);
    assert_eq!(key_of(&test.document("did:web:fn.com").await.unwrap()), 2);
    let asked = (0..90).filter(|n| test.hosts.asked(&format!("h{n}.slow.com/.well-known/did.json")) > 0);
    assert_eq!(asked.count(), 16);
    for one in slow {
        if one.is_finished() {
            assert_eq!(one.await.unwrap(), Err(IdentityError::Busy));
        } else {
            one.abort();
        }
    }
}

#[tokio::test]
async fn a_host_that_never_answers_is_trouble_in_time() {
    let test = Test::start().await;
    test.hosts.hold("slow.com");
    let started = tokio::time::Instant::now();
    let answer = test.document("did:web:slow.com").await;
    assert_eq!(answer, Err(IdentityError::Unreachable(EgressError::Timeout)));
    assert!(started.elapsed() < 10 * (TIMEOUT + LONGEST_WAIT));
}

#[test]
fn sites_are_named_by_their_last_two_labels() {
    for (host, expected) in [
        ("a.com", "a.com"),
        ("b.a.com", "a.com"),
        ("c.b.a.com", "a.com"),
        ("localhost", "localhost"),
        ("", ""),
    ] {
        assert_eq!(site(host), expected, "{host}");
    }
}
