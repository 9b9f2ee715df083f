//! Functions that read: the listers of all modes over data of a real PDS, and what keeps them in bounds.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{Account, Network, Service};

/// A lister, by the mode that its record names.
#[derive(Clone, Copy, Debug)]
struct Lister {
    mode: &'static str,
    name: &'static str,
    wasm: &'static [u8],
}

const LISTERS: [Lister; 3] = [
    Lister { mode: "host-v1", name: "host", wasm: include_bytes!("../../../examples/host-rust/lister.wasm") },
    Lister {
        mode: "component-v1",
        name: "component-1",
        wasm: include_bytes!("../../../examples/component-rust/lister.wasm"),
    },
    Lister {
        mode: "component-v1",
        name: "component-2",
        wasm: include_bytes!("../../../examples/component-rust-v2/lister.wasm"),
    },
];

/// A collection that only these tests write.
const NOTES: &str = "com.example.note";

impl Lister {
    /// Puts the lister into `author`'s repo, allowed to read what `allowed` says, for up to `ms`.
    async fn publish(self, author: &Account, allowed: Option<&[String]>, ms: u32) -> String {
        let published = author.publish(self.name, self.wasm, |record| {
            record["mode"] = self.mode.into();
            record["maxDurationMs"] = ms.into();
            if let Some(allowed) = allowed {
                record["allowedHosts"] = json!(allowed);
            }
        });
        published.await.0
    }
}

impl Account {
    /// Writes `count` notes whose keys sort as their numbers do.
    async fn write_notes(&self, count: usize) {
        for number in 0..count {
            let note = json!({ "$type": NOTES, "number": number, "text": "a note — with “quotes”" });
            self.put_record(NOTES, &format!("note-{number:02}"), &note).await;
        }
    }
}

/// What a lister says of a read that it was refused: host-v1 has no way to fail but its output.
fn refusal(lister: Lister, answer: &Value) -> String {
    let told = match lister.mode {
        "host-v1" => {
            assert_eq!(answer["ok"], true, "{answer}");
            &answer["output"]["error"]
        }
        _ => {
            assert_eq!(
                (&answer["ok"], &answer["outcome"]),
                (&json!(false), &json!("guestError")),
                "{answer}"
            );
            &answer["error"]
        }
    };
    told.as_str().unwrap_or_else(|| panic!("{lister:?} was not refused: {answer}")).to_owned()
}

#[tokio::test]
async fn listers_of_every_mode_list_a_repo_page_by_page_through_a_pds() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let reader = network.create_account(network.pds(1)).await;
    let writer = network.create_account(network.pds(1)).await;
    writer.write_notes(12).await;
    for lister in LISTERS {
        let function = lister.publish(&author, None, 5_000).await;
        let mut numbers = Vec::new();
        let mut cursor = Value::Null;
        for page in 0.. {
            let mut input = json!({ "repo": writer.did, "collection": NOTES, "limit": 5 });
            if !cursor.is_null() {
                input["cursor"] = cursor.clone();
            }
            let answer = reader.run(&service, &function, &input).send().await.ok();
            let output = &answer["output"];
            assert_eq!(answer["ok"], true, "{lister:?}: {answer}");
            assert!(answer["usage"]["hostCalls"].as_u64() >= Some(1), "{lister:?}: {answer}");
            let records = output["records"].as_array().unwrap_or_else(|| panic!("{lister:?}: {answer}"));
            for record in records {
                let uri = record["uri"].as_str().expect("a record has its uri");
                assert!(uri.starts_with(&format!("at://{}/{NOTES}/note-", writer.did)), "{uri}");
                assert!(record["cid"].as_str().is_some_and(|cid| cid.starts_with("bafyrei")), "{record}");
                assert_eq!(record["value"]["text"], "a note — with “quotes”");
                numbers.push(record["value"]["number"].as_u64().expect("a note has its number"));
            }
            cursor = output["cursor"].clone();
            if cursor.is_null() {
                break;
            }
            assert!(page < 5, "{lister:?} never ends");
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..12).collect::<Vec<_>>(), "{lister:?}");
    }
}

#[tokio::test]
async fn listers_of_every_mode_read_only_what_their_record_allows() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let allowed = network.create_account(network.pds(1)).await;
    let other = network.create_account(network.pds(1)).await;
    for account in [&allowed, &other] {
        account.write_notes(1).await;
        account.put_record("com.example.other", "one", &json!({ "$type": "com.example.other" })).await;
    }
    let input =
        |account: &Account, collection: &str| json!({ "repo": account.did, "collection": collection });
    for lister in LISTERS {
        // The entry names the repo by its handle, the calls by its DID: the same repo.
        let entries = [format!("at://{}/{NOTES}", allowed.handle)];
        let function = lister.publish(&author, Some(&entries), 5_000).await;
        let answer = author.run(&service, &function, &input(&allowed, NOTES)).send().await.ok();
        assert_eq!(answer["output"]["count"], 1, "{lister:?}: {answer}");
        for (account, collection) in
            [(&other, NOTES), (&allowed, "com.example.other"), (&author, "at.functions.metadata")]
        {
            let answer = author.run(&service, &function, &input(account, collection)).send().await.ok();
            let told = refusal(lister, &answer);
            let entry = format!("at://{}/{collection}", account.did);
            assert!(told.contains(&entry), "{lister:?}: {told:?} does not name {entry}");
        }
    }
}

#[tokio::test]
async fn an_operator_can_close_what_functions_do_not_declare() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &["--undeclared-reads=none"]).await;
    let author = network.create_account(network.pds(0)).await;
    author.write_notes(1).await;
    let input = json!({ "repo": author.did, "collection": NOTES });
    for lister in LISTERS {
        let undeclared = lister.publish(&author, None, 5_000).await;
        let answer = author.run(&service, &undeclared, &input).send().await.ok();
        assert!(refusal(lister, &answer).contains("allowedHosts"), "{lister:?}: {answer}");
    }
}

#[tokio::test]
async fn records_and_blobs_are_read_with_proof_by_the_rules() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let writer = network.create_account(network.pds(1)).await;
    let picture = writer.upload_blob("image/png", b"\x89PNG not really").await;
    let stray = writer.upload_blob("image/png", b"\x89PNG another").await;
    let profile = json!({ "$type": "com.example.profile", "picture": picture });
    let (uri, cid) = writer.put_record("com.example.profile", "self", &profile).await;
    writer
        .put_record("com.example.stray", "self", &json!({ "$type": "com.example.stray", "b": stray }))
        .await;
    let lister = LISTERS[0];
    let entries = [format!("at://{}/com.example.profile/self", writer.did)];
    let function = lister.publish(&author, Some(&entries), 5_000).await;
    let run = async |input: Value| author.run(&service, &function, &input).send().await.ok();

    let answer = run(json!({ "record": uri })).await;
    assert_eq!(answer["output"], json!({ "record": profile, "cid": cid }), "{answer}");
    // The record may be read, so it names its blobs; but this run has not read it.
    let blob = picture["ref"]["$link"].as_str().expect("a blob has a CID");
    let answer = run(json!({ "blob": blob, "repo": writer.did })).await;
    let told = refusal(lister, &answer);
    assert!(told.contains(&format!("at://{}", writer.did)), "{told}");
    let absent = run(json!({ "record": format!("at://{}/com.example.profile/other", writer.did) })).await;
    assert!(refusal(lister, &absent).contains("at://"), "{absent}");

    // With the whole repo allowed, any blob of it is read, and its host says of what type it is.
    let second = network.create_account(network.pds(0)).await;
    let whole = [format!("at://{}", writer.did)];
    let function = lister.publish(&second, Some(&whole), 5_000).await;
    let input = json!({ "blob": blob, "repo": writer.handle });
    let answer = author.run(&service, &function, &input).send().await.ok();
    assert_eq!(answer["output"], json!({ "mimeType": "image/png", "size": 15 }), "{answer}");
}

#[tokio::test]
async fn a_repo_host_that_does_not_answer_ends_the_run_at_its_deadline() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://localhost:{}", silent.local_addr().expect("it has an address").port());
    let key = "did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme";
    let handle = format!("{}.a.test", network.new_name());
    let did = network.create_identity(&handle, &url, key).await;
    let input = json!({ "repo": did, "collection": NOTES });
    for lister in LISTERS {
        let function = lister.publish(&author, None, 400).await;
        // So that the code is compiled and the identity known.
        author.run(&service, &function, &input).send().await.ok();
        let started = Instant::now();
        let answer = author.run(&service, &function, &input).send().await.ok();
        let took = started.elapsed();
        assert_eq!(
            (&answer["ok"], &answer["outcome"]),
            (&json!(false), &json!("timeout")),
            "{lister:?}: {answer}"
        );
        let ms = answer["durationMs"].as_u64().expect("an answer says how long the run took");
        assert!((400..2_000).contains(&ms), "{lister:?} ended after {ms} ms: {answer}");
        // A read that the run's end did not end would go on for as long as hosts may take.
        assert!(took < Duration::from_secs(3), "{lister:?} was answered after {took:?}");
        assert_eq!(answer["usage"]["hostCalls"], 1, "{lister:?}: {answer}");
    }
}

#[tokio::test]
async fn what_a_function_logs_is_for_its_author() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let other = network.create_account(network.pds(1)).await;
    for account in [&author, &other] {
        account.write_notes(1).await;
    }
    for lister in [LISTERS[0], LISTERS[2]] {
        let function = lister.publish(&author, None, 5_000).await;
        for caller in [&author, &other] {
            // Without a repo, the caller's own is listed: the function learns who calls.
            let answer = caller.run(&service, &function, &json!({ "collection": NOTES })).send().await.ok();
            assert_eq!(answer["output"]["count"], 1, "{lister:?}: {answer}");
            let uri = answer["output"]["records"][0]["uri"].as_str().expect("a record has its uri");
            assert!(uri.starts_with(&format!("at://{}/", caller.did)), "{uri}");
            let first =
                json!({ "level": "info", "message": format!("1 records of {NOTES} in {}", caller.did) });
            if caller.did == author.did {
                assert_eq!(answer["logs"][0], first, "{lister:?}: {answer}");
            } else {
                assert_eq!(answer.get("logs"), None, "{lister:?}: {answer}");
            }
        }
    }
}
