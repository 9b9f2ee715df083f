//! Functions that misuse what they may ask for, and hosts that answer with something else.

use std::io::Write;
use std::time::Duration;

use at_functions::lexicon::{Nsid, RecordKey};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};

use crate::arena::*;
use crate::modules::*;
use crate::world::{Answer, ECHO, World, xrpc_error};

const POST: &str = "com.example.post";
const READ: &str = "host_read_record";
const LIST: &str = "host_list_collection";
const BLOB: &str = "host_read_blob";

/// Puts a record, and gives its at-uri.
fn post(world: &World, key: &str) -> String {
    let (collection, key) = (Nsid::parse(POST).unwrap(), RecordKey::parse(key).unwrap());
    let record = json!({ "$type": POST, "text": "hello" });
    world.author.put_into(collection, &key, &record, []).unwrap().uri.to_string()
}

impl Arena {
    /// Publishes the `host-v1` module of this text with these `allowedHosts`, and calls it.
    async fn ask(&self, text: &str, allowed: Option<Value>, millis: u64, input: Value) -> Answer {
        let function = self.publish_record(&wasm(text), |record| {
            record["mode"] = "host-v1".into();
            record["maxDurationMs"] = millis.into();
            if let Some(allowed) = allowed {
                record["allowedHosts"] = allowed;
            }
        });
        self.world.run(&function.uri, input).await
    }

    /// What a function is told that asks for this: an error.
    async fn refused(&self, call: &str, allowed: Option<Value>, input: Value) -> String {
        let answer = self.ask(&asking(call), allowed, 5_000, input).await;
        assert_eq!(answer.output()["ok"], false, "{answer:?}");
        tells_nothing_of_the_host(&json!(answer.output()["error"]));
        answer.output()["error"].as_str().unwrap().to_owned()
    }
}

pub(crate) async fn a_million_host_calls_end_at_the_thousandth(arena: &Arena) {
    let uri = post(&arena.world, "quota");
    let forever = asking_in(
        READ,
        "(loop $more (drop (call $call (local.get $pointer) (local.get $length))) (br $more)) unreachable",
    );
    let answer = arena.ask(&forever, None, 5_000, json!({ "atUri": uri })).await;
    failed(&answer, "hostCallLimit");
    assert_eq!(answer.body["usage"]["hostCalls"], 1_000);
}

pub(crate) async fn a_host_call_about_memory_that_is_not_there_is_a_trap(arena: &Arena) {
    for (pointer, length) in [(0x1f_ffff, 2), (-1, 2), (8, -1), (0x20_0001, 0), (-1, -1)] {
        let text = asking_in(READ, &format!("(call $call (i32.const {pointer}) (i32.const {length}))"));
        let answer = arena.ask(&text, None, 5_000, json!({})).await;
        failed(&answer, "trap");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains("which is not within the 2097152 bytes of memory"), "{error}");
    }
}

pub(crate) async fn an_alloc_that_misbehaves_while_the_host_waits_ends_the_run(arena: &Arena) {
    let input = json!({ "atUri": post(&arena.world, "reply") });
    let run = "(call $call (local.get $pointer) (local.get $length))";
    let cases = [
        ("(loop $forever (br $forever)) unreachable", "timeout"),
        ("unreachable", "trap"),
        ("(drop (call $call (i32.const 1024) (i32.const 2))) i32.const 65536", "trap"),
        ("(drop (call $run (i32.const 1024) (i32.const 2))) i32.const 65536", "trap"),
        ("i32.const 0", "outputInvalid"),
        ("i32.const -1", "outputInvalid"),
        ("i32.const 0x1fffff", "outputInvalid"),
    ];
    for (alloc, outcome) in cases {
        let millis = if outcome == "timeout" { 300 } else { 5_000 };
        let answer = arena.ask(&asking_with(READ, "", alloc, run), None, millis, input.clone()).await;
        assert_eq!(answer.outcome(), outcome, "{alloc}: {answer:?}");
        tells_nothing_of_the_host(&answer.body);
    }
    // And where it only grows the memory, the reply is in what has grown.
    let grows = "(i32.mul (memory.grow (i32.const 1)) (i32.const 65536))";
    let answer = arena.ask(&asking_with(READ, "", grows, run), None, 5_000, input).await;
    assert_eq!(answer.output()["record"]["text"], "hello");
}

pub(crate) async fn what_a_record_does_not_allow_is_refused_by_the_entry_it_needs(arena: &Arena) {
    let did = arena.world.author.did().to_string();
    let uri = post(&arena.world, "mine");
    let other = arena.stranger().await;
    let theirs = post(&other, "theirs");
    let own = || Some(json!([format!("at://{did}/{POST}")]));
    let needs = [
        (own(), theirs.clone(), theirs.clone()),
        (own(), format!("at://{did}/{POST}.other/mine"), format!("at://{did}/{POST}.other/mine")),
        (Some(json!([])), uri.clone(), uri.clone()),
        (Some(json!([format!("at://{did}/{POST}/mi")])), uri.clone(), uri.clone()),
    ];
    for (allowed, asked, needed) in needs {
        let told = arena.refused(READ, allowed, json!({ "atUri": asked })).await;
        assert!(told.contains(&format!("it would need {needed} in its allowedHosts")), "{told}");
    }
    let invalid = [
        "",
        "https://example.com/",
        "at://",
        &format!("at://{did}/{POST}/.."),
        &format!("at://{did}/{POST}/a/../mine"),
        &format!("at://{did}/{POST}/%2e%2e"),
        "at://did:key:z6Mk/com.example.post/a",
        "at://127.0.0.1/com.example.post/a",
    ];
    for asked in invalid {
        let told = arena.refused(READ, None, json!({ "atUri": asked })).await;
        assert!(told.len() < 300, "{asked}: {told}");
    }
    assert_eq!(other.asked("/xrpc/"), 0);
    // A handle and its DID mean the same.
    let by_handle = format!("at://author.test/{POST}/mine");
    let answer = arena.ask(&asking(READ), own(), 5_000, json!({ "atUri": by_handle })).await;
    assert_eq!(answer.output()["record"]["text"], "hello");
}

pub(crate) async fn a_host_that_never_answers_ends_the_run_at_its_own_limit(arena: &Arena) {
    let other = arena.stranger().await;
    let input = json!({ "repo": other.author.did(), "collection": POST });
    other.delay([("listRecords", Duration::from_secs(60))]);
    let answer = arena.ask(&asking(LIST), None, 300, input).await;
    failed(&answer, "timeout");
    assert!(duration(&answer) >= Duration::from_millis(300), "{answer:?}");
    arena.within("a read that never ends", duration(&answer), Duration::from_millis(350));
}

/// 10 GB that are announced, and a body that never ends.
fn endless() -> Response {
    let mebibyte = Bytes::from(vec![b' '; 1 << 20]);
    Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(mebibyte.clone()))).into_response()
}

fn announced() -> Response {
    let nothing = stream::pending::<Result<Bytes, std::io::Error>>();
    ([("content-length", "10737418240")], Body::from_stream(nothing)).into_response()
}

fn gzip_bomb() -> Response {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..100 {
        encoder.write_all(&[b' '; 1 << 20]).unwrap();
    }
    ([("content-encoding", "gzip"), ("content-type", "application/json")], encoder.finish().unwrap())
        .into_response()
}

pub(crate) async fn an_answer_without_end_is_cut(arena: &Arena) {
    let bombs: [fn() -> Response; 3] = [endless, announced, gzip_bomb];
    for bomb in bombs {
        let other = arena.stranger().await;
        let (did, uri) = (other.author.did(), post(&other, "a"));
        other.fail_with(move |path| path.contains("/xrpc/").then(bomb));
        let asked = [
            (READ, json!({ "atUri": uri })),
            (LIST, json!({ "repo": did, "collection": POST })),
            (BLOB, json!({ "repo": did, "cid": at_functions::repo::blob_cid(b"endless").to_string() })),
        ];
        for (call, input) in asked {
            let told = arena.refused(call, None, input).await;
            assert!(told.contains("more than is taken"), "{call}: {told}");
        }
    }
}

pub(crate) async fn a_listing_that_leads_back_to_itself_ends_at_the_quota(arena: &Arena) {
    let other = arena.stranger().await;
    other.fail_with(|path| {
        path.contains("listRecords").then(|| {
            ([("content-type", "application/json")], r#"{"records":[],"cursor":"again"}"#).into_response()
        })
    });
    let forever = asking_in(
        LIST,
        "(loop $more (drop (call $call (local.get $pointer) (local.get $length))) (br $more)) unreachable",
    );
    let input = json!({ "repo": other.author.did(), "collection": POST, "cursor": "again" });
    let answer = arena.ask(&forever, None, 5_000, input).await;
    failed(&answer, "hostCallLimit");
    // The same page is not asked for each time.
    assert!(other.asked("listRecords") <= 3, "{}", other.asked("listRecords"));
}

/// A did:plc of its own for each call.
fn somebody() -> String {
    let letters: String =
        (0..24).map(|_| char::from(b'a' + (getrandom::u32().unwrap() % 26) as u8)).collect();
    format!("did:plc:{letters}")
}

/// The document of somebody whose PDS is there.
fn document(did: &str, pds: &str) -> Value {
    let key = at_functions::identity::SigningKey::from_bytes(&[9; 32]).unwrap().public().to_multikey();
    json!({
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did, "publicKeyMultibase": key,
        }],
        "service": [{
            "id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
        }],
    })
}

fn function_of(did: &str) -> String {
    format!("at://{did}/at.functions.metadata/f")
}

pub(crate) async fn no_document_leads_to_a_place_where_no_pds_is(arena: &Arena) {
    let host = arena.world.author.origin().strip_prefix("http://").unwrap().to_owned();
    let to = [
        (format!("http://user@{host}"), "FunctionNotFound"),
        (format!("http://{host}/path"), "FunctionNotFound"),
        (format!("ftp://{host}"), "FunctionNotFound"),
        ("file:///etc/passwd".into(), "FunctionNotFound"),
        ("gopher://127.0.0.1:70".into(), "FunctionNotFound"),
        ("http://127.0.0.1:22".into(), "RepoUnreachable"),
        ("http://[::ffff:127.0.0.1]:25".into(), "RepoUnreachable"),
        ("http://0x7f.1:22".into(), "RepoUnreachable"),
        ("http://localhost.:8080".into(), "RepoUnreachable"),
    ];
    for (pds, name) in to {
        let did = somebody();
        let told = document(&did, &pds).to_string();
        arena.world.fail_with(move |path| {
            path.starts_with("/did:plc:")
                .then(|| ([("content-type", "application/json")], told.clone()).into_response())
        });
        let before = arena.world.asked("/xrpc/");
        let answer = arena.world.run(&function_of(&did), json!({})).await;
        assert_eq!(answer.error().1, name, "{pds}: {answer:?}");
        assert_eq!(arena.world.asked("/xrpc/"), before, "{pds}");
    }
    // A host may not lead elsewhere either.
    for to in [format!("http://user@{host}/"), "http://127.0.0.1:22/".into(), "file:///etc/passwd".into()] {
        let other = arena.stranger().await;
        let function = other.publish("f", ECHO);
        other.fail_with(move |path| {
            path.contains("sync.getRecord")
                .then(|| (http::StatusCode::FOUND, [("location", to.clone())]).into_response())
        });
        let answer = other.run(&function.uri, json!({})).await;
        assert_eq!(answer.error(), (502, "RepoUnreachable"), "{answer:?}");
    }
}

pub(crate) async fn a_service_of_the_public_network_connects_to_no_private_address(arena: &Arena) {
    let public = arena.one_of_the_public_network().await;
    let port = public.world.author.origin().rsplit(':').next().unwrap().to_owned();
    let refused = [
        (public.world.author.did().to_string(), (502, "RepoUnreachable")),
        ("did:web:localhost".into(), (502, "RepoUnreachable")),
        ("did:web:metadata.google.internal".into(), (502, "RepoUnreachable")),
        ("did:web:router.lan".into(), (502, "RepoUnreachable")),
        // The directory and the resolver of handles are there too.
        ("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz".into(), (502, "RepoUnreachable")),
        ("author.test".into(), (502, "RepoUnreachable")),
        (format!("did:web:127.0.0.1%3A{port}"), (400, "InvalidRequest")),
        (format!("did:web:%5B::1%5D%3A{port}"), (400, "InvalidRequest")),
        (format!("did:web:0x7f.1%3A{port}"), (400, "InvalidRequest")),
        ("did:web:169.254.169.254".into(), (400, "InvalidRequest")),
    ];
    for (author, error) in refused {
        let answer = public.world.run(&function_of(&author), json!({})).await;
        assert_eq!(answer.error(), error, "{author}: {answer:?}");
        tells_nothing_of_the_host(&json!(answer.message().replace(&author, "")));
    }
    assert_eq!(public.world.asked(""), 0);
}

pub(crate) async fn redirects_have_their_end(arena: &Arena) {
    let other = arena.stranger().await;
    let function = other.publish("f", ECHO);
    other.fail_with(|path| {
        let again = path.to_owned();
        path.contains("sync.getRecord")
            .then(|| (http::StatusCode::FOUND, [("location", again)]).into_response())
    });
    let answer = other.run(&function.uri, json!({})).await;
    assert_eq!(answer.error(), (502, "RepoUnreachable"), "{answer:?}");
    // Each time two redirects are followed; and the author's document is looked at once more.
    assert!((3..=6).contains(&other.asked("sync.getRecord")), "{}", other.asked("sync.getRecord"));
}

pub(crate) async fn what_does_not_prove_itself_never_runs(arena: &Arena) {
    let functions = || Nsid::parse("at.functions.metadata").unwrap();
    type Forge = fn(Vec<u8>, Vec<u8>) -> Vec<u8>;
    let forged: [(&str, Forge); 5] = [
        ("nothing", |_, _| Vec::new()),
        ("html", |_, _| b"<html>".to_vec()),
        ("another record", |_, other| other),
        ("a cut", |own, _| own[..own.len() - 1].to_vec()),
        ("a bit", |mut own, _| {
            let last = own.len() - 5;
            own[last] ^= 1;
            own
        }),
    ];
    for (what, forge) in forged {
        let other = arena.stranger().await;
        let function = other.publish("f", ECHO);
        other.publish("g", ECHO);
        let car = |key| other.author.record_car(&functions(), &RecordKey::parse(key).unwrap());
        let forged = forge(car("f"), car("g"));
        other.fail_with(move |path| path.contains("sync.getRecord").then(|| forged.clone().into_response()));
        let answer = other.run(&function.uri, json!({})).await;
        assert_eq!(answer.error(), (502, "UnverifiedFunction"), "{what}: {answer:?}");
        // What a guest reads is held to the same.
        let told = arena.refused(READ, None, json!({ "atUri": function.uri.to_string() })).await;
        assert!(told.contains("was refused: the "), "{what}: {told}");
    }
    // Somebody else's signature.
    let (other, impostor) = (arena.stranger().await, arena.stranger().await);
    let function = other.publish("f", ECHO);
    impostor.publish("f", ECHO);
    let car = impostor.author.record_car(&functions(), &RecordKey::parse("f").unwrap());
    other.fail_with(move |path| path.contains("sync.getRecord").then(|| car.clone().into_response()));
    let answer = other.run(&function.uri, json!({})).await;
    assert_eq!(answer.error(), (502, "UnverifiedFunction"), "{answer:?}");
}

pub(crate) async fn documents_that_are_too_much_are_no_documents(arena: &Arena) {
    type Fault = fn() -> Response;
    let faults: [(&str, Fault, (u16, &str)); 5] = [
        ("endless", endless, (502, "UnverifiedFunction")),
        ("10 GB", announced, (502, "UnverifiedFunction")),
        ("a bomb", gzip_bomb, (502, "UnverifiedFunction")),
        (
            "itself",
            || (http::StatusCode::FOUND, [("location", "/.well-known/did.json")]).into_response(),
            (502, "RepoUnreachable"),
        ),
        ("nested", || "[".repeat(60_000).into_response(), (502, "UnverifiedFunction")),
    ];
    for (what, fault, expected) in faults {
        let other = arena.stranger().await;
        let function = other.publish("f", ECHO);
        other.fail_with(move |path| path.contains("did.json").then(fault));
        let answer = other.run(&function.uri, json!({})).await;
        assert_eq!(answer.error(), expected, "{what}: {answer:?}");
        assert!(other.asked("did.json") <= 2, "{what}: {}", other.asked("did.json"));
        assert_eq!(other.asked("/xrpc/"), 0, "{what}");
    }
}

pub(crate) async fn what_changes_under_a_call_is_told_and_never_mixed(arena: &Arena) {
    // What was executed is what the answer names.
    let other = arena.stranger().await;
    let first = other.publish_record("f", ECHO, patient);
    let answer = other.run(&first.uri, json!(1)).await;
    assert_eq!(
        (answer.output()["echo"].clone(), &answer.body["functionCid"]),
        (json!(1), &json!(first.cid.to_string()))
    );
    let second = other.publish_record("f", &plain(&seven()), patient);
    let pinned = json!({ "function": second.uri.to_string(), "input": 1, "cid": second.cid.to_string() });
    let answer = other.post(pinned.to_string(), None).await;
    assert_eq!((answer.output(), &answer.body["functionCid"]), (&json!(7), &json!(second.cid.to_string())));
    // A blob that is not what the record names, or not there.
    type Blob = fn() -> Response;
    let flipped: Blob = || {
        let mut bytes = ECHO.to_vec();
        bytes[100] ^= 1;
        bytes.into_response()
    };
    let blobs: [(Blob, (u16, &str)); 4] = [
        (flipped, (502, "UnverifiedFunction")),
        (|| ECHO[..ECHO.len() - 1].into_response(), (502, "UnverifiedFunction")),
        (|| xrpc_error(400, "BlobNotFound"), (400, "InvalidFunction")),
        (|| xrpc_error(400, "BlobTakenDown"), (400, "InvalidFunction")),
    ];
    for (blob, expected) in blobs {
        let other = arena.stranger().await;
        // A module that nobody has compiled yet.
        let function = other.publish_record("f", &[ECHO, &section(0, &[1, b'x', 0])].concat(), |_| {});
        other.fail_with(move |path| path.contains("sync.getBlob").then(blob));
        let answer = other.run(&function.uri, json!({})).await;
        assert_eq!(answer.error(), expected, "{answer:?}");
    }
    let other = arena.stranger().await;
    let function = other.publish_record("f", ECHO, |record| record["code"]["size"] = (ECHO.len() + 1).into());
    assert_eq!(other.run(&function.uri, json!({})).await.error(), (502, "UnverifiedFunction"));
    let missing = format!("at://{}/at.functions.metadata/gone", other.author.did());
    assert_eq!(other.run(&missing, json!({})).await.error(), (400, "FunctionNotFound"));
}

pub(crate) async fn functions_of_an_account_that_is_gone_do_not_run(arena: &Arena) {
    for (name, expected) in [
        ("RepoDeactivated", (403, "AuthorInactive")),
        ("RepoTakendown", (403, "AuthorInactive")),
        ("RepoSuspended", (403, "AuthorInactive")),
        ("RepoNotFound", (400, "FunctionNotFound")),
    ] {
        let other = arena.stranger().await;
        let function = other.publish("f", ECHO);
        other.fail_with(move |path| path.contains("sync.getRecord").then(|| xrpc_error(400, name)));
        assert_eq!(other.run(&function.uri, json!({})).await.error(), expected, "{name}");
    }
    // The directory's word for a DID that was tombstoned, and for one that never was.
    for status in [410, 404] {
        arena.world.fail_with(move |path| path.starts_with("/did:plc:").then(|| xrpc_error(status, "gone")));
        let answer = arena.world.run(&function_of(&somebody()), json!({})).await;
        assert_eq!(answer.error(), (400, "FunctionNotFound"), "{status}: {answer:?}");
    }
}
