//! Host calls as a run's door answers them, against a repo host that fails, lies and takes its time.

mod allowed;
mod called;
mod hosts;
mod limits;
mod pages;
mod proved;
mod shared;

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use at_functions::clock::Clock;
use at_functions::config::{Anonymous, Settings, UndeclaredReads};
use at_functions::dev::Author;
use at_functions::door::RunDoor;
use at_functions::egress::{Egress, EgressConfig};
use at_functions::identity::{Resolver, ResolverConfig};
use at_functions::lexicon::{Nsid, RecordKey};
use at_functions::policy::Reads;
use at_functions::registry::Registry;
use at_functions::repo::{RevFloor, blob_cid};
use at_functions::sandbox::{Denied, Door, HostCall, HostReply};
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};

use crate::patience::{PATIENCE, soon};
use crate::world::{World, xrpc_error};

const POST: &str = "com.example.post";
/// More than any of these reads takes.
const LONG: Duration = PATIENCE;

type Answer = Result<HostReply, Denied>;

/// A world, and what a run in it reads with.
struct Reader {
    world: World,
    registry: Registry,
}

impl Reader {
    async fn start() -> Reader {
        let world = World::start().await;
        let registry = registry(&world, true);
        Reader { world, registry }
    }

    fn did(&self) -> String {
        self.world.author.did().to_string()
    }

    /// A door for a function of the world's author with these `allowedHosts`, in which SELF is its DID.
    fn door(&self, allowed: Option<&[&str]>) -> RunDoor {
        let allowed: Option<Vec<String>> =
            allowed.map(|entries| entries.iter().map(|entry| entry.replace("SELF", &self.did())).collect());
        let reads = Reads::of(allowed.as_deref(), UndeclaredReads::Any);
        RunDoor::new(
            self.registry.clone(),
            reads,
            self.world.author.did().clone(),
            tokio::runtime::Handle::current(),
        )
    }

    fn post(&self, key: &str, value: Value) -> String {
        let mut record = json!({ "$type": POST });
        record.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        put(&self.world.author, key, &record, [])
    }

    fn blob(&self, bytes: &'static [u8]) -> String {
        let key = RecordKey::parse("holder").unwrap();
        let collection = Nsid::parse("com.example.holder").unwrap();
        let record = json!({ "$type": "com.example.holder" });
        self.world.author.put_into(collection, &key, &record, [Bytes::from_static(bytes)]).unwrap();
        blob_cid(bytes).to_string()
    }
}

fn registry(world: &World, private_repos: bool) -> Registry {
    registry_with(world, private_repos, Duration::from_secs(60))
}

/// A registry that keeps what is proved for so long.
fn registry_that_keeps(world: &World, ttl: Duration) -> Registry {
    registry_with(world, true, ttl)
}

fn registry_with(world: &World, private_repos: bool, ttl: Duration) -> Registry {
    let clock = Clock::system();
    let origin: url::Url = world.author.origin().parse().unwrap();
    let egress = |allow_private_network| Egress::new(EgressConfig { allow_private_network }).unwrap();
    let config =
        ResolverConfig { plc_url: origin.clone(), handle_resolver: Some(origin), allow_localhost: true };
    let resolver = Arc::new(Resolver::new(config, egress(true), clock.clone()));
    // What is open outlives its name.
    let directory = tempfile::tempdir().unwrap();
    let revs = Arc::new(RevFloor::open(&directory.path().join("revs.redb")).unwrap());
    Registry::new(resolver, egress(private_repos), revs, clock, ttl, ttl)
}

fn put(author: &Author, key: &str, record: &Value, blobs: impl IntoIterator<Item = Bytes>) -> String {
    let collection = Nsid::parse(POST).unwrap();
    author.put_into(collection, &RecordKey::parse(key).unwrap(), record, blobs).unwrap().uri.to_string()
}

fn record(at_uri: impl Into<String>) -> HostCall {
    HostCall::ReadRecord { at_uri: at_uri.into() }
}

fn blob(cid: &str, repo: Option<&str>) -> HostCall {
    HostCall::ReadBlob { cid: cid.into(), repo: repo.map(Into::into) }
}

fn list(repo: &str, cursor: Option<&str>, limit: u32) -> HostCall {
    let cursor = cursor.map(Into::into);
    HostCall::ListCollection { repo: repo.into(), collection: POST.into(), cursor, limit }
}

async fn ask(door: &RunDoor, call: HostCall) -> Answer {
    door.call(call, LONG).await
}

/// The value and CID of the record that was read.
fn value(answer: Answer) -> (Value, String) {
    match answer {
        Ok(HostReply::Record { cid, value }) => (serde_json::from_slice(&value).unwrap(), cid),
        other => panic!("{other:?}"),
    }
}

/// The keys of the listed records, and the cursor.
fn page(answer: Answer) -> (Vec<String>, Option<String>) {
    match answer {
        Ok(HostReply::Listing { records, cursor }) => {
            let key = |uri: &str| uri.rsplit('/').next().unwrap().to_owned();
            (records.iter().map(|listed| key(&listed.uri)).collect(), cursor)
        }
        other => panic!("{other:?}"),
    }
}

fn refusal(answer: Answer) -> String {
    answer.expect_err("a refusal").0
}

/// The refusal for want of an entry, which it must name.
fn needs(answer: Answer, entry: &str) {
    let message = refusal(answer);
    assert!(message.contains(&format!("would need {entry} in its allowedHosts")), "{entry}: {message}");
}
