//! Host calls as a run's door answers them, against a repo host that fails, lies and takes its time.

mod limits;
mod pages;

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

#[tokio::test]
async fn a_record_comes_proved_as_json_with_its_cid() {
    let reader = Reader::start().await;
    let image = reader.blob(b"image");
    let post = json!({ "$type": POST, "text": "hi", "n": 7, "bytes": { "$bytes": "AAE" },
        "image": { "$type": "blob", "ref": { "$link": image }, "mimeType": "a/b", "size": 5 } });
    let uri = reader.post("a", post.clone());
    let (found, cid) = value(ask(&reader.door(None), record(&uri)).await);
    assert_eq!(found, post);
    let listed = ask(&reader.door(None), list(&reader.did(), None, 10)).await.unwrap();
    let HostReply::Listing { records, .. } = listed else { panic!("a page") };
    assert_eq!((records[0].uri.as_str(), records[0].cid.as_str()), (uri.as_str(), cid.as_str()));
    assert_eq!(serde_json::from_slice::<Value>(&records[0].value).unwrap(), post);
}

#[tokio::test]
async fn a_record_that_is_not_there_is_told_as_proved_absent() {
    let reader = Reader::start().await;
    let uri = format!("at://{}/{POST}/none", reader.did());
    let message = refusal(ask(&reader.door(None), record(uri)).await);
    assert!(message.contains("no such record") && message.contains("signature"), "{message}");
}

#[tokio::test]
async fn what_does_not_prove_itself_is_an_error_and_never_a_value() {
    type Forge = fn(&Reader) -> Vec<u8>;
    let car = |reader: &Reader, key: &str| {
        reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse(key).unwrap())
    };
    let forgeries: [(&str, Forge); 6] = [
        ("nothing", |_| Vec::new()),
        ("json", |_| br#"{"uri":"x","value":{}}"#.to_vec()),
        ("a flipped bit", |reader| {
            let mut car =
                reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap());
            let last = car.len() - 3;
            car[last] ^= 1;
            car
        }),
        ("a cut", |reader| {
            let car =
                reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap());
            car[..car.len() - 1].to_vec()
        }),
        ("the record of another key", |reader| {
            reader.post("b", json!({ "text": "other" }));
            reader.world.author.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("b").unwrap())
        }),
        ("the record of another repo", |_| {
            let stranger = Author::at_port(1, Clock::system()).unwrap();
            put(&stranger, "a", &json!({ "$type": POST }), []);
            stranger.record_car(&Nsid::parse(POST).unwrap(), &RecordKey::parse("a").unwrap())
        }),
    ];
    for (what, forge) in forgeries {
        let reader = Reader::start().await;
        let uri = reader.post("a", json!({ "text": "true" }));
        let forged = forge(&reader);
        reader
            .world
            .fail_with(move |path| path.contains("sync.getRecord").then(|| forged.clone().into_response()));
        let message = refusal(ask(&reader.door(None), record(uri)).await);
        assert!(message.contains("was refused"), "{what}: {message}");
    }

    // An older state of the repo, rightly signed, after a newer one was seen.
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "old" }));
    let old = car(&reader, "a");
    reader.post("b", json!({ "text": "new" }));
    value(ask(&reader.door(None), record(uri.replace("/a", "/b"))).await);
    reader.world.fail_with(move |path| path.contains("rkey=a").then(|| old.clone().into_response()));
    let message = refusal(ask(&reader.door(None), record(uri)).await);
    assert!(message.contains("older"), "{message}");
}

#[tokio::test]
async fn a_blob_is_the_bytes_of_its_cid_and_the_authors_unless_a_repo_is_named() {
    let reader = Reader::start().await;
    let cid = reader.blob(b"some bytes");
    let door = reader.door(None);
    let expected =
        HostReply::Blob { mime_type: "application/wasm".into(), bytes: Bytes::from_static(b"some bytes") };
    assert_eq!(ask(&door, blob(&cid, None)).await, Ok(expected.clone()));
    assert_eq!(ask(&door, blob(&cid, Some(&reader.did()))).await, Ok(expected.clone()));
    assert_eq!(ask(&door, blob(&cid, Some("author.test"))).await, Ok(expected));
    assert_eq!(reader.world.asked("sync.getBlob"), 1);

    let message = refusal(ask(&door, blob(&blob_cid(b"none").to_string(), None)).await);
    assert!(message.contains("does not have the blob"), "{message}");
    reader.world.fail_with(|path| path.contains("sync.getBlob").then(|| "other bytes".into_response()));
    let message = refusal(ask(&door, blob(&blob_cid(b"lie").to_string(), None)).await);
    assert!(message.contains("do not hash to the CID"), "{message}");
}

#[tokio::test]
async fn a_listing_goes_on_from_its_cursor() {
    let reader = Reader::start().await;
    for key in ["a", "b", "c", "d", "e"] {
        reader.post(key, json!({}));
    }
    let door = reader.door(Some(&["at://SELF/com.example.post"]));
    let (did, mut cursor, mut pages) = (reader.did(), None::<String>, Vec::new());
    loop {
        let (keys, next) = page(ask(&door, list(&did, cursor.as_deref(), 2)).await);
        pages.push(keys.concat());
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
    // Never more than a hundred are asked for, and never none.
    for (limit, sent) in [(0, "limit=1&"), (5000, "limit=100")] {
        page(ask(&door, list(&did, Some("a"), limit)).await);
        assert_eq!(reader.world.asked(sent), 1, "{limit}");
    }
}

#[tokio::test]
async fn a_listing_of_something_else_is_refused() {
    let reader = Reader::start().await;
    reader.post("a", json!({}));
    let (did, cid) = (reader.did(), at_functions::repo::record_cid(b"x"));
    let cases = [
        (json!({}), "form"),
        (
            json!({ "records": [{ "uri": format!("at://{did}/com.example.other/a"), "cid": cid.to_string(), "value": {} }] }),
            "another",
        ),
        (
            json!({ "records": [{ "uri": format!("at://did:web:b.com/{POST}/a"), "cid": cid.to_string(), "value": {} }] }),
            "another",
        ),
        (
            json!({ "records": [{ "uri": format!("at://{did}/{POST}/a"), "cid": cid.to_string(), "value": 7 }] }),
            "value",
        ),
        (json!({ "records": [{ "uri": format!("at://{did}/{POST}/a"), "cid": "x", "value": {} }] }), "CID"),
        (json!({ "records": [], "cursor": "c".repeat(2000) }), "cursor"),
    ];
    for (number, (body, reason)) in cases.into_iter().enumerate() {
        let sent = body.to_string();
        reader
            .world
            .fail_with(move |path| path.contains("listRecords").then(|| sent.clone().into_response()));
        let cursor = number.to_string();
        let message = refusal(ask(&reader.door(None), list(&did, Some(&cursor), 5)).await);
        assert!(message.contains("was refused") && message.contains(reason), "{body}: {message}");
    }
}

#[tokio::test]
async fn what_the_record_does_not_allow_is_refused_by_the_entry_it_needs_and_asks_nobody() {
    let reader = Reader::start().await;
    let did = reader.did();
    let cid = reader.blob(b"x");
    let door = reader.door(Some(&[]));
    needs(ask(&door, record(format!("at://{did}/{POST}/a"))).await, &format!("at://{did}/{POST}/a"));
    needs(ask(&door, list(&did, None, 5)).await, &format!("at://{did}/{POST}"));
    needs(ask(&door, blob(&cid, None)).await, &format!("at://{did}"));
    needs(
        ask(&door, record("at://secret.evil.com/com.example.post/a")).await,
        "at://secret.evil.com/com.example.post/a",
    );
    needs(
        ask(&door, list("did:web:secret.evil.com", None, 5)).await,
        "at://did:web:secret.evil.com/com.example.post",
    );

    // Entries of other collections, of one record, of nothing: still nobody is asked.
    let door =
        reader.door(Some(&["at://SELF/com.example.other", "at://SELF/com.example.post/b", "at://SELF/"]));
    needs(ask(&door, record(format!("at://{did}/{POST}/a"))).await, &format!("at://{did}/{POST}/a"));
    needs(ask(&door, list(&did, None, 5)).await, &format!("at://{did}/{POST}"));
    needs(ask(&door, blob(&cid, None)).await, &format!("at://{did}"));
    assert_eq!(reader.world.asked(""), 0);

    // A name that the guest makes up is not looked up: only those that the record names are.
    let door = reader.door(Some(&["at://SELF"]));
    needs(
        ask(&door, record("at://secret.evil.com/com.example.post/a")).await,
        "at://secret.evil.com/com.example.post/a",
    );
    assert_eq!((reader.world.asked("resolveHandle"), reader.world.asked("did.json")), (0, 1));
}

#[tokio::test]
async fn without_allowed_hosts_the_operator_decides() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    value(ask(&reader.door(None), record(&uri)).await);
    let (author, runtime) = (reader.world.author.did().clone(), tokio::runtime::Handle::current());
    let closed = Reads::of(None, UndeclaredReads::None);
    let door = RunDoor::new(reader.registry.clone(), closed, author, runtime);
    needs(ask(&door, record(&uri)).await, &uri);
}

#[tokio::test]
async fn handles_mean_the_dids_that_they_lead_to_on_either_side() {
    let reader = Reader::start().await;
    let by_did = reader.post("a", json!({ "text": "hi" }));
    let by_handle = format!("at://author.test/{POST}/a");
    for entries in [
        &["at://SELF"][..],
        &["at://author.test"],
        &["at://AUTHOR.test/com.example.post"],
        &["at://gone.test", "at://author.test/com.example.post/a"],
        &["at://gone.test", "at://SELF/com.example.post/a"],
    ] {
        for uri in [&by_did, &by_handle] {
            let (found, _) = value(ask(&reader.door(Some(entries)), record(uri)).await);
            assert_eq!(found["text"], "hi", "{entries:?} {uri}");
        }
    }
    // A handle that leads nowhere covers nothing, and the refusal says which one it is.
    let door = reader.door(Some(&["at://gone.test", "at://SELF/com.example.other"]));
    let message = refusal(ask(&door, record(&by_did)).await);
    assert!(message.contains(&format!("would need {by_did}")), "{message}");
    assert!(message.contains("at://gone.test is there, but does not resolve"), "{message}");
    let message = refusal(
        ask(&reader.door(Some(&["at://gone.test"])), record(format!("at://gone.test/{POST}/a"))).await,
    );
    assert!(message.contains("gone.test could not be resolved"), "{message}");
    // Somebody else's DID under a handle that is covered.
    let door = reader.door(Some(&["at://author.test"]));
    needs(
        ask(&door, record(format!("at://did:web:b.com/{POST}/a"))).await,
        &format!("at://did:web:b.com/{POST}/a"),
    );
}

#[tokio::test]
async fn a_handle_that_a_covered_did_claims_counts_only_if_it_leads_there() {
    let reader = Reader::start().await;
    reader.post("a", json!({ "text": "hi" }));
    reader.world.fail_with(|path| path.contains("resolveHandle").then(|| xrpc_error(400, "HandleNotFound")));
    let answer = ask(&reader.door(Some(&["at://SELF"])), record(format!("at://author.test/{POST}/a"))).await;
    let message = refusal(answer);
    assert!(message.contains("author.test could not be resolved"), "{message}");
    assert_eq!(reader.world.asked("sync.getRecord"), 0);
}

#[tokio::test]
async fn a_run_learns_of_so_many_blobs_and_no_more() {
    const MOST: usize = 4096;
    let reader = Reader::start().await;
    let mut blobs: Vec<Bytes> = (0..=MOST).map(|number| Bytes::from(format!("blob {number}"))).collect();
    // In the order in which they are learned.
    blobs.sort_by_key(|blob| blob_cid(blob).hash().digest().to_vec());
    let named: Vec<String> = blobs.iter().map(|blob| blob_cid(blob).to_string()).collect();
    let holder = json!({ "$type": POST, "named": named });
    let uri = put(&reader.world.author, "many", &holder, blobs[MOST - 1..].to_vec());
    let door = reader.door(Some(&["at://SELF/com.example.post/many"]));
    value(ask(&door, record(uri)).await);
    assert!(ask(&door, blob(&named[MOST - 1], None)).await.is_ok());
    needs(ask(&door, blob(&named[MOST], None)).await, &format!("at://{}", reader.did()));
}

#[tokio::test]
async fn a_blob_may_be_read_where_a_record_that_the_run_read_by_itself_names_it() {
    let reader = Reader::start().await;
    let (named, other) = (reader.blob(b"named"), reader.blob(b"other"));
    let link =
        json!({ "image": { "$type": "blob", "ref": { "$link": named }, "mimeType": "a/b", "size": 5 } });
    let uri = reader.post("a", link);
    let legacy = reader.post("b", json!({ "image": { "cid": other, "mimeType": "a/b" } }));
    let did = reader.did();
    let door = reader.door(Some(&["at://SELF/com.example.post"]));
    let needed = format!("at://{did}");

    needs(ask(&door, blob(&named, None)).await, &needed);
    // To have seen it listed is not enough.
    assert_eq!(page(ask(&door, list(&did, None, 5)).await).0.concat(), "ab");
    needs(ask(&door, blob(&named, None)).await, &needed);

    value(ask(&door, record(&uri)).await);
    assert!(ask(&door, blob(&named, None)).await.is_ok());
    assert!(ask(&door, blob(&named, Some("author.test"))).await.is_ok());
    needs(ask(&door, blob(&other, None)).await, &needed);
    needs(ask(&door, blob(&named, Some("did:web:b.com"))).await, "at://did:web:b.com");
    needs(ask(&door, blob(&named, Some("b.test"))).await, "at://b.test");
    value(ask(&door, record(&legacy)).await);
    assert!(ask(&door, blob(&other, None)).await.is_ok());
    // What one run learned, another did not.
    needs(ask(&reader.door(Some(&["at://SELF/com.example.post"])), blob(&named, None)).await, &needed);
}

#[tokio::test]
async fn texts_that_name_nothing_are_refused_with_what_is_wrong() {
    let reader = Reader::start().await;
    let door = reader.door(None);
    let long = "x".repeat(5000);
    let did = reader.did();
    let with = |repo: &str, collection: &str, cursor: Option<&str>| HostCall::ListCollection {
        repo: repo.into(),
        collection: collection.into(),
        cursor: cursor.map(Into::into),
        limit: 5,
    };
    let cases = [
        (record(""), "at-uri"),
        (record("https://a.com"), "at://"),
        (record(format!("at://{did}/{POST}")), "at-uri"),
        (record(format!("at://{did}/{POST}/..")), "record key"),
        (record(format!("at://{did}/{POST}/a/../b")), "at-uri"),
        (record(format!("at://{did}/{POST}/%2e%2e")), "record key"),
        (record(format!("at://{did}/{POST}/{}", "x".repeat(9000))), "at most"),
        (record("at://did:key:z6Mk/com.example.post/a"), "authority"),
        (with("", POST, None), "repo"),
        (with("localhost", POST, None), "repo"),
        (with("127.0.0.1", POST, None), "repo"),
        (with(&long, POST, None), "repo"),
        (with(&did, "", None), "NSID"),
        (with(&did, "post", None), "NSID"),
        (with(&did, &format!("com.example.{long}"), None), "NSID"),
        (with(&did, POST, Some(&long)), "cursor"),
        (blob("", None), "CID"),
        (blob("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454", None), "CID of a blob"),
        (blob(&long, None), "CID"),
        (blob(&blob_cid(b"x").to_string(), Some("a b")), "repo"),
    ];
    for (call, reason) in cases {
        let told = format!("{call:?}");
        let message = refusal(ask(&door, call).await);
        assert!(message.contains(reason) && message.len() < 300, "{told:.80}: {message}");
    }
    assert_eq!(reader.world.asked(""), 0);
}

#[tokio::test]
async fn two_hundred_equal_reads_at_once_are_one() {
    let reader = Reader::start().await;
    let cid = reader.blob(b"shared");
    let uri = reader.post("a", json!({ "text": "hi" }));
    reader.world.delay([("/xrpc/", Duration::from_millis(50))]);
    let calls = [
        ("sync.getRecord", record(uri)),
        ("sync.getBlob", blob(&cid, None)),
        ("repo.listRecords", list(&reader.did(), None, 5)),
    ];
    for (method, call) in calls {
        let answers: Vec<_> =
            (0..200).map(|_| tokio::spawn(reader.door(None).call(call.clone(), LONG))).collect();
        for answer in answers {
            assert!(answer.await.unwrap().is_ok(), "{method}");
        }
        assert_eq!(reader.world.asked(method), 1, "{method}");
    }
    assert_eq!(reader.world.asked("did.json"), 1);
}

#[tokio::test]
async fn host_calls_are_counted_by_their_end_and_reads_by_where_they_came_from() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let reader = Reader::start().await;
    let (uri, cid) = (reader.post("a", json!({ "text": "hi" })), reader.blob(b"slow"));
    for _ in 0..2 {
        value(ask(&reader.door(None), record(&uri)).await);
    }
    refusal(ask(&reader.door(Some(&[])), record(&uri)).await);
    reader.world.delay([("repo.listRecords", Duration::from_millis(50))]);
    let pages: Vec<_> =
        (0..3).map(|_| tokio::spawn(reader.door(None).call(list(&reader.did(), None, 5), LONG))).collect();
    for listed in pages {
        page(listed.await.unwrap());
    }
    reader.world.slow_down("sync.getBlob", Duration::from_secs(60));
    refusal(reader.door(None).call(blob(&cid, None), Duration::from_millis(50)).await);

    let rendered = recorder.handle().render();
    let mut counted: Vec<_> = rendered.lines().filter(|line| line.starts_with("at_functions_")).collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            r#"at_functions_host_calls_total{call="listCollection",answered="given"} 3"#,
            r#"at_functions_host_calls_total{call="readBlob",answered="abandoned"} 1"#,
            r#"at_functions_host_calls_total{call="readRecord",answered="given"} 2"#,
            r#"at_functions_host_calls_total{call="readRecord",answered="refused"} 1"#,
            r#"at_functions_reads_total{what="page",from="network"} 1"#,
            r#"at_functions_reads_total{what="page",from="shared"} 2"#,
            r#"at_functions_reads_total{what="record",from="memory"} 1"#,
            r#"at_functions_reads_total{what="record",from="network"} 1"#,
        ]
    );
}

#[tokio::test]
async fn a_slow_host_is_left_at_the_runs_end_and_not_later() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    let cid = reader.blob(b"slow");
    reader.world.slow_down("/xrpc/", Duration::from_secs(60));
    for call in [record(uri), blob(&cid, None), list(&reader.did(), None, 5)] {
        let started = Instant::now();
        let message = refusal(reader.door(None).call(call, Duration::from_millis(200)).await);
        assert!(message.contains("within the run's time"), "{message}");
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(10), "{took:?}");
    }
    // Nobody waits for them any more, so nothing of them is left: whoever comes now asks again.
    let uri = format!("at://{}/{POST}/a", reader.did());
    let before = reader.world.asked("sync.getRecord");
    let again = reader.door(None).call(record(uri), LONG);
    soon(async || reader.world.asked("sync.getRecord") == before + 1).await;
    drop(again);
}

#[tokio::test]
async fn a_read_that_others_wait_for_outlives_the_run_that_began_it() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    reader.world.delay([("sync.getRecord", Duration::from_secs(2))]);
    // Each is begun where it is made, so the second finds the first one's read.
    let first = reader.door(None).call(record(&uri), Duration::from_millis(500));
    let second = reader.door(None).call(record(&uri), LONG);
    refusal(first.await);
    assert_eq!(value(second.await).0["text"], "hi");
    assert_eq!(reader.world.asked("sync.getRecord"), 1);
}

#[tokio::test]
async fn a_host_that_asks_for_it_is_left_alone() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            let mut response = xrpc_error(429, "RateLimitExceeded");
            response.headers_mut().insert("retry-after", "60".parse().unwrap());
            response
        })
    });
    let door = reader.door(None);
    for call in [record(&uri), record(uri.replace("/a", "/b")), list(&reader.did(), None, 5)] {
        let message = refusal(ask(&door, call).await);
        assert!(message.contains("try again in 60 s") || message.contains("try again in 59 s"), "{message}");
    }
    assert_eq!(reader.world.asked("/xrpc/"), 1);
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            let mebibyte = Bytes::from(vec![b' '; 1 << 20]);
            let endless =
                futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(mebibyte.clone()));
            Body::from_stream(endless).into_response()
        })
    });
    let cid = blob_cid(b"endless").to_string();
    for call in [record(uri), blob(&cid, None), list(&reader.did(), None, 5)] {
        let message = refusal(ask(&reader.door(None), call).await);
        assert!(message.contains("more than is taken"), "{message}");
    }
    reader.world.fail_with(|path| {
        path.contains("/xrpc/").then(|| {
            // Ten gigabytes are announced.
            (
                [("content-length", "10737418240")],
                Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()),
            )
                .into_response()
        })
    });
    let message = refusal(ask(&reader.door(None), blob(&blob_cid(b"large").to_string(), None)).await);
    assert!(message.contains("more than is taken"), "{message}");
}

#[tokio::test]
async fn the_rules_on_addresses_hold_for_what_guests_read() {
    let world = World::start().await;
    let registry = registry(&world, false);
    let author = world.author.did().clone();
    let uri = put(&world.author, "a", &json!({ "$type": POST }), []);
    let door = RunDoor::new(registry, Reads::Any, author.clone(), tokio::runtime::Handle::current());
    for call in [record(uri), blob(&blob_cid(b"x").to_string(), None), list(author.as_str(), None, 5)] {
        let message = refusal(ask(&door, call).await);
        assert!(message.contains("address that this service does not connect to"), "{message}");
    }
    assert_eq!(world.asked("/xrpc/"), 0);
}

#[tokio::test]
async fn what_a_failing_host_does_is_told_apart() {
    const DOWN: &str = "is not active (taken down)";
    // What is told of a record, a blob and a page.
    let cases = [
        (400, "RepoTakendown", [DOWN; 3]),
        (400, "RepoDeactivated", ["is not active (deactivated)"; 3]),
        (400, "RepoSuspended", ["is not active (suspended)"; 3]),
        (400, "RepoNotFound", ["does not have its repo", "does not have the blob", "does not have its repo"]),
        (400, "InvalidRequest", ["refuses this read", "does not have the blob", "refuses this read"]),
        (500, "InternalServerError", ["failed; try again"; 3]),
        (302, "Found", ["cannot be reached"; 3]),
    ];
    for (status, name, told) in cases {
        let reader = Reader::start().await;
        let uri = reader.post("a", json!({}));
        reader.world.fail_with(move |path| path.contains("/xrpc/").then(|| xrpc_error(status, name)));
        let cid = blob_cid(b"x").to_string();
        let calls = [record(&uri), blob(&cid, None), list(&reader.did(), None, 5)];
        for (call, told) in calls.into_iter().zip(told) {
            let message = refusal(ask(&reader.door(None), call.clone()).await);
            assert!(message.contains(told), "{status} {name} {call:?}: {message}");
            assert!(!message.contains("127.0.0.1") && !message.contains("made by the test"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_repo_that_does_not_exist_is_told_so() {
    let reader = Reader::start().await;
    let nobody = "did:plc:zzzzzzzzzzzzzzzzzzzzzzzz";
    let message = refusal(ask(&reader.door(None), record(format!("at://{nobody}/{POST}/a"))).await);
    assert_eq!(message, format!("{nobody} does not exist"));
}

/// Wakes the thread that waits.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[tokio::test]
async fn a_door_is_used_from_threads_that_know_no_runtime() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    let door = reader.door(None);
    let thread = thread::spawn(move || {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut call = door.call(record(uri), LONG);
        loop {
            match call.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park_timeout(LONG),
            }
        }
    });
    let answer = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
    assert_eq!(value(answer).0["text"], "hi");
}

#[tokio::test]
async fn a_call_that_is_dropped_asks_no_further() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({}));
    reader.world.delay([("did.json", Duration::from_millis(500))]);
    let call = reader.door(None).call(record(uri), LONG);
    soon(async || reader.world.asked("did.json") == 1).await;
    drop(call);
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!((reader.world.asked("did.json"), reader.world.asked("sync.getRecord")), (1, 0));
}

/// A module of host-v1 that hands its input to one host call, and answers with what that answers.
fn passing_on(call: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "host" "{call}" (func $call (param i32 i32) (result i64)))
            (memory (export "memory") 32)
            (global $next (mut i32) (i32.const 16))
            (func (export "alloc") (param $length i32) (result i32)
                (global.get $next)
                (global.set $next (i32.add (global.get $next) (local.get $length))))
            (func (export "run") (param i32 i32) (result i64)
                (call $call (local.get 0) (local.get 1))))"#
    );
    wat::parse_str(text).unwrap()
}

/// Publishes [`passing_on`] under the call's name, with this `allowedHosts` and time.
fn publish(world: &World, call: &str, allowed: Option<Value>, millis: u32) -> String {
    let published = world.publish_record(call, &passing_on(call), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = millis.into();
        if let Some(allowed) = allowed {
            record["allowedHosts"] = allowed;
        }
    });
    published.uri.to_string()
}

#[tokio::test]
async fn a_function_reads_what_its_record_allows_and_no_more() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    let bytes = Bytes::from_static(b"blob");
    let cid = blob_cid(&bytes).to_string();
    let image = json!({ "$type": "blob", "ref": { "$link": cid }, "mimeType": "a/b", "size": 4 });
    let post = json!({ "$type": POST, "image": image });
    let uri = put(&world.author, "a", &post, [bytes]);
    put(&world.author, "b", &json!({ "$type": POST }), []);

    let collection = json!([format!("at://{did}/{POST}")]);
    let read = publish(&world, "host_read_record", Some(collection.clone()), 5000);
    let answer = world.run(&read, json!({ "atUri": uri })).await;
    assert_eq!(answer.output()["record"], post);
    assert_eq!(answer.body["usage"]["hostCalls"], 1);
    let refused = world.run(&read, json!({ "atUri": format!("at://{did}/com.example.other/a") })).await;
    assert_eq!(refused.output()["ok"], false);
    let needed = format!("it would need at://{did}/com.example.other/a in its allowedHosts");
    assert!(refused.output()["error"].as_str().unwrap().contains(&needed), "{refused:?}");

    let list = publish(&world, "host_list_collection", Some(collection.clone()), 5000);
    let request = json!({ "repo": "author.test", "collection": POST, "limit": 1 });
    let first = world.run(&list, request).await;
    assert_eq!(first.output()["records"][0]["uri"], uri);
    let request = json!({ "repo": did, "collection": POST, "cursor": first.output()["cursor"] });
    let second = world.run(&list, request).await;
    assert_eq!(second.output()["records"][0]["uri"], format!("at://{did}/{POST}/b"));
    assert!(second.output().get("cursor").is_none(), "{second:?}");

    let request = json!({ "cid": cid });
    let blob = publish(&world, "host_read_blob", Some(collection), 5000);
    assert_eq!(world.run(&blob, request.clone()).await.output()["ok"], false);
    // Absent is any repo: what is cached of the record lives on for a while, so under another name.
    let blob = world.publish_record("any-blob", &passing_on("host_read_blob"), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 5000.into();
    });
    assert_eq!(world.run(&blob.uri, request).await.output()["bytesBase64"], "YmxvYg==");
}

#[tokio::test]
async fn the_operator_may_close_what_functions_do_not_declare() {
    let settings = Settings {
        anonymous: Some(Anonymous::Public),
        undeclared_reads: Some(UndeclaredReads::None),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let uri = put(&world.author, "a", &json!({ "$type": POST }), []);
    let read = publish(&world, "host_read_record", None, 5000);
    let answer = world.run(&read, json!({ "atUri": uri })).await;
    assert!(answer.output()["error"].as_str().unwrap().contains(&format!("would need {uri}")), "{answer:?}");
}

#[tokio::test]
async fn a_slow_pds_ends_the_run_at_its_deadline() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    let list = publish(&world, "host_list_collection", None, 5000);
    let request = json!({ "repo": did, "collection": POST });
    // The code and the repo are known by then.
    assert_eq!(world.run(&list, request.clone()).await.output()["records"], json!([]));
    let hurried = world.publish_record("hurried", &passing_on("host_list_collection"), |record| {
        record["mode"] = "host-v1".into();
        record["maxDurationMs"] = 300.into();
    });
    world.slow_down("listRecords", Duration::from_secs(60));
    let request = json!({ "repo": did, "collection": "com.example.slow" });
    let started = Instant::now();
    let answer = world.run(&hurried.uri, request).await;
    let took = started.elapsed();
    assert_eq!(answer.outcome(), "timeout");
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn two_hundred_concurrent_runs_of_a_lister_make_one_read() {
    let world = World::start().await;
    let did = world.author.did().to_string();
    put(&world.author, "a", &json!({ "$type": POST }), []);
    let list = publish(&world, "host_list_collection", None, 5000);
    let input = json!({ "repo": did, "collection": POST });
    world.delay([("listRecords", Duration::from_millis(500))]);
    let body = json!({ "function": list, "input": input }).to_string();
    let calls: Vec<_> =
        (0..200).map(|_| tokio::spawn(crate::world::answer(world.request().body(body.clone())))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().output()["records"][0]["uri"], format!("at://{did}/{POST}/a"));
    }
    assert_eq!(world.asked("listRecords"), 1);
}

#[tokio::test]
async fn accounts_that_guests_make_the_service_look_up_are_bounded() {
    let reader = Reader::start().await;
    let uri = reader.post("a", json!({ "text": "hi" }));
    let door = reader.door(None);
    let nobody = |n: usize| {
        let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
        format!("at://did:plc:{}{}{}/{POST}/a", "z".repeat(22), letter(n), letter(n / 26))
    };
    let mut refused = 0;
    for n in 0..260 {
        let message = refusal(ask(&door, record(nobody(n))).await);
        refused += usize::from(message.contains("by this author's functions; try again in"));
    }
    let asked = reader.world.asked("/did:plc:");
    assert!((200..250).contains(&asked) && refused == 260 - asked, "{asked} asked, {refused} refused");
    // Other authors' functions look up as before; and what is known costs nothing.
    let reads = Reads::of(None, UndeclaredReads::Any);
    let other = at_functions::identity::Did::parse("did:web:other.com").unwrap();
    let door = RunDoor::new(reader.registry.clone(), reads, other, tokio::runtime::Handle::current());
    assert_eq!(value(ask(&door, record(&uri)).await).0["text"], "hi");
    assert_eq!(value(ask(&reader.door(None), record(&uri)).await).0["text"], "hi");
}
