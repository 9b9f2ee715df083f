//! Reads for guests over a small internet on which not every address is public.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use ipld_core::ipld::Ipld;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::record::RecordPath;
use super::*;
use crate::egress::testing::{PRIVATE, PUBLIC, RawServer, TestDns, egress};
use crate::identity::{ResolverConfig, SigningKey};
use crate::repo::blob_cid;
use crate::repo::writer::Repository;

const DID: &str = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa";
const POST: &str = "com.example.post";

/// An account whose repo is at new.com, a PLC directory that says where it is, and a host inside.
struct Net {
    registry: Registry,
    clock: Clock,
    /// The host that the account's document names.
    pds: Arc<Mutex<&'static str>>,
    inside: RawServer,
    _server: RawServer,
}

impl Net {
    async fn start() -> Net {
        let clock = Clock::manual(1_800_000_000);
        let key = SigningKey::from_bytes(&[7; 32]).unwrap();
        let did = Did::parse(DID).unwrap();
        let mut repository = Repository::new(did, key.clone(), clock.clone());
        let record = Ipld::Map([("$type".to_owned(), Ipld::String(POST.to_owned()))].into());
        repository.put(&collection(), &rkey(), &record).unwrap();
        let car = repository.record_car(&collection(), &rkey());

        let inside = RawServer::saying(PRIVATE, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await;
        let pds = Arc::new(Mutex::new("new.com"));
        let answers = Arc::new((car, key.public().to_multikey(), inside.port, Arc::clone(&pds)));
        let server = RawServer::start(PUBLIC, move |head: String, mut stream: TcpStream| {
            let answers = Arc::clone(&answers);
            async move {
                let (car, key, inside, pds) = &*answers;
                let answer = answer(&head, car, key, *inside, *pds.lock().unwrap());
                let _ = stream.write_all(&answer).await;
            }
        })
        .await;

        let dns = TestDns::default();
        let addresses: [&[IpAddr]; 1] = [&[PRIVATE]];
        dns.set_addresses("inside.com", &addresses);
        let config = ResolverConfig {
            plc_url: format!("http://plc.com:{}", server.port).parse().unwrap(),
            handle_resolver: None,
            allow_localhost: true,
        };
        let resolver = Arc::new(Resolver::new(config, egress(&dns), clock.clone()));
        // What is open outlives its name.
        let directory = tempfile::tempdir().unwrap();
        let revs = Arc::new(RevFloor::open(&directory.path().join("revs.redb")).unwrap());
        let ttl = Duration::from_secs(60);
        let registry = Registry::new(resolver, egress(&dns), revs, clock.clone(), ttl, ttl);
        Net { registry, clock, pds, inside, _server: server }
    }

    async fn record(&self) -> Result<Arc<ReadRecord>, RegistryError> {
        let did = Did::parse(DID).unwrap();
        self.registry.record(&did, &did, &collection(), &rkey()).await
    }
}

fn collection() -> Nsid {
    Nsid::parse(POST).unwrap()
}

fn rkey() -> RecordKey {
    RecordKey::parse("a").unwrap()
}

/// What the hosts of the net answer: all are one server, and told apart by the `Host` header.
fn answer(head: &str, car: &[u8], key: &str, inside: u16, pds: &str) -> Vec<u8> {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let (host, port) = host.split_once(':').unwrap_or_default();
    let with = |status: &str, body: &[u8]| {
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    match (host, path) {
        ("plc.com", _) => {
            let document = json!({
                "id": DID,
                "verificationMethod": [{
                    "id": format!("{DID}#atproto"), "type": "Multikey", "controller": DID,
                    "publicKeyMultibase": key,
                }],
                "service": [{
                    "id": "#atproto_pds", "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": format!("http://{pds}:{port}"),
                }],
            });
            with("200 OK", document.to_string().as_bytes())
        }
        ("new.com", path) if path.contains("sync.getRecord") => with("200 OK", car),
        ("new.com", _) => with(&format!("302 Found\r\nlocation: http://inside.com:{inside}/"), b""),
        _ => with("400 Bad Request", br#"{"error":"RepoNotFound"}"#),
    }
}

#[tokio::test]
async fn an_account_that_moved_is_found_at_its_new_host() {
    let net = Net::start().await;
    let did = Did::parse(DID).unwrap();
    *net.pds.lock().unwrap() = "old.com";
    assert!(matches!(net.registry.claimed_handle(&did, &did).await, Ok(None)));
    *net.pds.lock().unwrap() = "new.com";
    // The document is cached; one that is asked for anew is at least ten seconds younger.
    net.clock.advance(Duration::from_secs(11));
    assert_eq!(net.record().await.unwrap().json, format!(r#"{{"$type":"{POST}"}}"#));
}

#[tokio::test]
async fn an_account_that_did_not_move_is_told_as_its_host_says() {
    let net = Net::start().await;
    *net.pds.lock().unwrap() = "old.com";
    assert!(matches!(net.record().await, Err(RegistryError::NotFound(Missing::Repo))));
}

#[tokio::test]
async fn a_redirect_to_an_address_that_is_not_public_is_not_followed() {
    let net = Net::start().await;
    let did = Did::parse(DID).unwrap();
    let blob = net.registry.blob(&did, &did, &blob_cid(b"secret")).await;
    assert!(matches!(blob, Err(RegistryError::Unreachable(Trouble::Address))), "{blob:?}");
    let page = PageName { collection: collection(), cursor: None, limit: 1 };
    let page = net.registry.page(&did, &did, &page).await;
    assert!(matches!(page, Err(RegistryError::Unreachable(Trouble::Address))), "{page:?}");
    assert_eq!(net.inside.connections(), 0);

    // Neither is a document that names such a host.
    let net = Net::start().await;
    *net.pds.lock().unwrap() = "inside.com";
    assert!(matches!(net.record().await, Err(RegistryError::Unreachable(Trouble::Address))));
    assert_eq!(net.inside.connections(), 0);
}

#[tokio::test]
async fn what_guests_read_leaves_nothing_on_disk() {
    let net = Net::start().await;
    let did = Did::parse(DID).unwrap();
    net.record().await.unwrap();
    assert_eq!(net.registry.sources.revs.highest(&did).unwrap(), None);
    assert!(net.registry.sources.recent_revs.get(&did).is_some());
}

#[tokio::test]
async fn what_waits_to_be_proved_for_one_author_leaves_places_for_another() {
    let net = Net::start().await;
    let other = Did::parse("did:web:other.com").unwrap();
    let places = [&net.registry.sources.reading, &net.registry.sources.verifying];
    let (mut held, mut waiting) = (Vec::new(), Vec::new());
    for gate in places {
        for _ in 0..20 {
            let mut entering = Box::pin(gate.enter(other.clone()));
            match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(place) => held.push(place.unwrap()),
                Poll::Pending => waiting.push(entering),
            }
        }
    }
    assert!(waiting.len() > held.len());
    let soon = Duration::from_secs(60);
    assert!(tokio::time::timeout(soon, net.record()).await.unwrap().is_ok());
    let (did, path) = (Did::parse(DID).unwrap(), RecordPath { collection: collection(), rkey: rkey() });
    let errand = Errand::for_function(did);
    let proved = record::fetch(&net.registry.sources, &errand, &path);
    assert!(tokio::time::timeout(soon, proved).await.unwrap().is_ok());
}

#[tokio::test]
async fn one_authors_schemas_leave_a_place_for_anothers() {
    let net = Net::start().await;
    let [loud, quiet] = ["did:web:loud.com", "did:web:quiet.com"].map(|did| Did::parse(did).unwrap());
    let compiling = &net.registry.sources.compiling;
    let _first = compiling.enter(loud.clone()).await.unwrap();
    let mut second = Box::pin(compiling.enter(loud));
    assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let compiled = record::work(compiling, &quiet, || 7).await;
    assert!(matches!(compiled, Ok(7)));
}
