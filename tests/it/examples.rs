//! The examples in each language, and that each module is built from its sources as they are. Those that read what people
//! write have theirs in `network::examples`, on a real PDS.

mod pages;
mod readmes;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use at_functions::lexicon::{Nsid, RecordKey};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{Answer, Caller, World};

const HOST_LISTER: &[u8] = include_bytes!("../../examples/host-rust/lister.wasm");
const COMPONENT_LISTER: &[u8] = include_bytes!("../../examples/component-rust/lister.wasm");
const COMPONENT_LISTER_V2: &[u8] = include_bytes!("../../examples/component-rust-v2/lister.wasm");
const TEXTSTAT: &[u8] = include_bytes!("../../examples/wasi-c/textstat.wasm");
const TID: &[u8] = include_bytes!("../../examples/assemblyscript/tid.wasm");

/// The listers, by mode.
const LISTERS: [(&str, &str, &[u8]); 3] = [
    ("host-rust", "host-v1", HOST_LISTER),
    ("component-rust", "component-v1", COMPONENT_LISTER),
    ("component-rust-v2", "component-v1", COMPONENT_LISTER_V2),
];

const NOTES: &str = "com.example.note";

#[test]
fn every_module_is_built_from_its_sources_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let built: Vec<PathBuf> = [root.join("examples"), root.join("tests/guests")]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    assert!(built.len() >= 8, "{built:?}");
    for module in built {
        let record = fs::read_to_string(module.with_extension("sources")).unwrap();
        let mut recorded = BTreeSet::new();
        for line in record.lines() {
            let (digest, name) = line.split_once("  ").unwrap();
            let file = root.join(name);
            let now = fs::read(&file).map(|bytes| hex(&Sha256::digest(bytes)));
            assert_eq!(
                now.unwrap(),
                digest,
                "{name} is not what {} was built with: run examples/build",
                module.display()
            );
            recorded.insert(file);
        }
        assert!(recorded.contains(&module), "{} is not in its own record", module.display());
        let is_source = |path: &PathBuf| {
            let name = path.extension().unwrap_or_default();
            name != "wasm" && name != "sources" && name != "md"
        };
        for source in files(module.parent().unwrap()).into_iter().filter(is_source) {
            assert!(recorded.contains(&source), "{} is new: run examples/build", source.display());
        }
        // What a template is compiled to is not beside it.
        if module.parent().unwrap().ends_with("tests/guests/templates") {
            let template = root.join("templates").join(module.file_stem().unwrap());
            for source in files(&template) {
                assert!(recorded.contains(&source), "{} is new: run examples/build", source.display());
            }
        }
    }
}

#[test]
fn modules_hold_no_paths_of_the_machine_that_built_them() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for module in files(&root.join("examples")).iter().chain(&files(&root.join("tests/guests"))) {
        if module.extension().is_some_and(|extension| extension == "wasm") {
            let code = fs::read(module).unwrap();
            for folder in ["/home/", "/root/", "/Users/", "/tmp/", "\\Users\\"] {
                let found = code.windows(folder.len()).any(|window| window == folder.as_bytes());
                assert!(!found, "{} holds {folder}", module.display());
            }
        }
    }
}

#[tokio::test]
async fn listers_give_a_collection_page_by_page() {
    let world = World::start().await;
    let notes = put_notes(&world, 5);
    let repo = world.author.did().to_string();
    for (n, (name, mode, wasm)) in LISTERS.into_iter().enumerate() {
        let allowed = format!("at://{repo}/{NOTES}");
        let lister = publish(&world, n, mode, wasm, json!([allowed]));
        let mut seen = Vec::new();
        let mut counts = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let mut input = json!({ "repo": repo, "collection": NOTES, "limit": 2 });
            if cursor.is_string() {
                input["cursor"] = cursor.take();
            }
            let answer = world.run(&lister, input).await;
            let output = answer.output().clone();
            counts.push(output["count"].as_u64().unwrap());
            // Context and log are no host calls.
            assert_eq!(answer.body["usage"]["hostCalls"], 1, "{name}");
            seen.extend(output["records"].as_array().unwrap().iter().cloned());
            cursor = output["cursor"].clone();
            if cursor.is_null() {
                break;
            }
            assert!(counts.len() < 9, "{name} does not come to an end");
        }
        seen.sort_by_key(|record| record["uri"].to_string());
        assert_eq!(seen, notes, "{name}");
        // A last page may turn out to be empty.
        assert_eq!(counts[..3], [2, 2, 1], "{name}");
    }
}

#[tokio::test]
async fn listers_are_refused_outside_their_allowed_hosts() {
    let world = World::start().await;
    put_notes(&world, 1);
    let repo = world.author.did().to_string();
    for (n, (name, mode, wasm)) in LISTERS.into_iter().enumerate() {
        let lister = publish(&world, n, mode, wasm, json!([format!("at://{repo}/com.example.other")]));
        let answer = world.run(&lister, json!({ "repo": repo, "collection": NOTES })).await;
        let reason = reason(&answer, mode);
        assert!(reason.contains(&format!("at://{repo}/{NOTES}")), "{name}: {reason}");
    }
}

#[tokio::test]
async fn listers_say_what_is_wrong_with_their_input() {
    let world = World::start().await;
    let cases = [
        (json!([1]), "input: "),
        (json!({ "repo": "did:web:nobody.example" }), "collection"),
        (json!({ "repo": "did:web:nobody.example", "collection": "no nsid" }), "NSID"),
        (json!({ "repo": "::", "collection": NOTES }), "repo"),
        (json!({ "repo": "did:web:nobody.example", "collection": NOTES, "limit": "2" }), "input: "),
    ];
    for (n, (name, mode, wasm)) in LISTERS.into_iter().enumerate() {
        let lister = publish(&world, n, mode, wasm, Value::Null);
        for (input, word) in &cases {
            let answer = world.run(&lister, input.clone()).await;
            let reason = reason(&answer, mode);
            assert!(reason.contains(word), "{name} on {input}: {reason}");
        }
    }
}

#[tokio::test]
async fn without_a_repo_listers_that_know_their_caller_list_the_callers_own() {
    let world = World::start().await;
    let notes = put_notes(&world, 2);
    let author = Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() };
    let listers = LISTERS.into_iter().enumerate().filter(|(_, (name, ..))| *name != "component-rust");
    for (n, (name, mode, wasm)) in listers {
        let lister = publish(&world, n, mode, wasm, Value::Null);
        let input = json!({ "collection": NOTES });
        let answer = world.run_as(&author, &lister, input.clone()).await;
        assert_eq!(answer.output()["count"], 2, "{name}");
        let mut records = answer.output()["records"].as_array().unwrap().clone();
        records.sort_by_key(|record| record["uri"].to_string());
        assert_eq!(records, notes, "{name}");

        let line = format!("2 records of {NOTES} in {}", author.did);
        assert_eq!(answer.body["logs"][0], json!({ "level": "info", "message": line }), "{name}");

        let anonymous = world.run(&lister, input).await;
        assert_eq!(reason(&anonymous, mode), "repo: is needed, as the call is anonymous", "{name}");

        // Others have the same output, and no log.
        let input = json!({ "collection": NOTES, "repo": author.did });
        let stranger = world.run_as(&world.caller(1), &lister, input.clone()).await;
        for others in [stranger, world.run(&lister, input).await] {
            assert_eq!(others.output()["count"], 2, "{name}");
            assert_eq!(others.body.get("logs"), None, "{name}: the log is for the author");
        }
    }
}

#[tokio::test]
async fn the_host_example_reads_a_record_and_a_blob() {
    let world = World::start().await;
    let notes = put_notes(&world, 1);
    let lister = publish(&world, 0, "host-v1", HOST_LISTER, Value::Null);
    let read = world.run(&lister, json!({ "record": notes[0]["uri"] })).await;
    assert_eq!(read.output(), &json!({ "record": notes[0]["value"], "cid": notes[0]["cid"] }));

    // A length of each remainder, since base64 comes in groups of three.
    for (n, length) in [0, 1, 2, 3, 1000].into_iter().enumerate() {
        let blob = Bytes::from(vec![n as u8; length]);
        let cid = at_functions::repo::blob_cid(&blob).to_string();
        let record = json!({
            "$type": NOTES,
            "file": { "$type": "blob", "ref": { "$link": cid }, "mimeType": "image/png", "size": length },
        });
        put(&world, &format!("file{n}"), &record, [blob]);
        let answer = world.run(&lister, json!({ "blob": cid })).await;
        assert_eq!(answer.output()["size"], length, "{answer:?}");
        let input = json!({ "blob": cid, "repo": world.author.did() });
        assert_eq!(world.run(&lister, input).await.output()["size"], length);
    }

    let unknown =
        world.run(&lister, json!({ "record": format!("at://{}/{NOTES}/none", world.author.did()) })).await;
    assert!(unknown.output()["error"].is_string(), "{unknown:?}");
}

#[tokio::test]
async fn the_c_example_counts_what_is_in_a_text() {
    let world = World::start().await;
    let textstat = publish(&world, 0, "wasi-v1", TEXTSTAT, Value::Null);
    let counts = |bytes, characters, words, lines| json!({ "bytes": bytes, "characters": characters, "words": words, "lines": lines });
    let cases = [
        (r#"{"text":""}"#, counts(0, 0, 0, 0)),
        (r#"{"text":"one two\n"}"#, counts(8, 8, 2, 1)),
        (
            r#"{ "a" : [ {"text":"no"}, "]\"" ] , "t\u0065xt" : "gr\u00fc\u00df \ud83d\ude00\n\n😀" }"#,
            counts(17, 9, 3, 2),
        ),
        (r#"{"text":"a","text":"\u0000\\\" b","n":-1.5e3}"#, counts(5, 5, 2, 0)),
        (r#"{"textx":"x","tex":"y","text":"ok","z":null}"#, counts(2, 2, 1, 0)),
    ];
    for (input, output) in cases {
        let answer = call(&world, &textstat, input).await;
        assert_eq!(answer.output(), &output, "{input}");
    }
    for input in ["{}", "[]", "3", r#"{"text":1}"#, r#"{"text":"a","text":null}"#] {
        let answer = call(&world, &textstat, input).await;
        assert_eq!(answer.outcome(), "guestError", "{input}: {answer:?}");
        let error = answer.body["error"].as_str().unwrap();
        assert!(error.contains("is expected"), "{input}: {error}");
    }
    let long = format!(r#"{{"text":"{}"}}"#, "wort ".repeat(150_000));
    assert_eq!(call(&world, &textstat, &long).await.output(), &counts(750_000, 750_000, 150_000, 0));
}

#[tokio::test]
async fn the_assemblyscript_example_reads_the_time_out_of_a_tid() {
    let world = World::start().await;
    let tid = publish(&world, 0, "cstr-v1", TID, Value::Null);
    let cases = [
        (
            r#"{"tid":"3jzfcijpj2z2a"}"#,
            json!({ "time": "2023-06-30T15:03:01.887Z", "microseconds": 1_688_137_381_887_007_u64, "clock": 6 }),
        ),
        (
            r#"{"a":{"tid":"x"},"b":"\"}","t\u0069d":"\u0032222222222222"}"#,
            json!({ "time": "1970-01-01T00:00:00.000Z", "microseconds": 0, "clock": 0 }),
        ),
        (
            r#"{"tid":"bzzzzzzzzzzzz"}"#,
            json!({ "time": "2255-06-05T23:47:34.740Z", "microseconds": 9_007_199_254_740_991_u64, "clock": 1023 }),
        ),
        (r#"{"tid":"czzzzzzzzzzzz"}"#, json!({ "error": "tid: the first character is one of 234567ab" })),
        (
            r#"{"tid":"3JZFCIJPJ2Z2A"}"#,
            json!({ "error": "tid: only the digits 2 to 7 and lower-case letters are expected" }),
        ),
        (r#"{"tid":"3jz"}"#, json!({ "error": "tid: 13 characters are expected" })),
        (r#"{"tid":"ü😀"}"#, json!({ "error": "tid: 13 characters are expected" })),
        (r#"{"tid":3}"#, json!({ "error": "tid: a string is expected" })),
        (r#"[]"#, json!({ "error": "tid: a string is expected" })),
    ];
    for (input, output) in cases {
        assert_eq!(call(&world, &tid, input).await.output(), &output, "{input}");
    }
}

/// Puts so many notes into the author's repo, and gives them as listings do, in the order of their keys.
fn put_notes(world: &World, count: usize) -> Vec<Value> {
    let note = |n| {
        let value = json!({ "$type": NOTES, "text": format!("note {n}"), "tags": [n, "ü"] });
        let (uri, cid) = put(world, &format!("note{n}"), &value, []);
        json!({ "uri": uri, "cid": cid, "value": value })
    };
    (0..count).map(note).collect()
}

fn put<const N: usize>(world: &World, rkey: &str, value: &Value, blobs: [Bytes; N]) -> (String, String) {
    let (collection, rkey) = (Nsid::parse(NOTES).unwrap(), RecordKey::parse(rkey).unwrap());
    let put = world.author.put_into(collection, &rkey, value, blobs).unwrap();
    (put.uri.to_string(), put.cid.to_string())
}

/// Publishes a function that may read what `allowed_hosts` says.
fn publish(world: &World, n: usize, mode: &str, wasm: &[u8], allowed_hosts: Value) -> String {
    let published = world.publish_record(&format!("f{n}"), wasm, |record| {
        record["mode"] = mode.into();
        // A run begins only if this still fits into the time of the call, after the compile.
        record["maxDurationMs"] = 2000.into();
        if !allowed_hosts.is_null() {
            record["allowedHosts"] = allowed_hosts;
        }
    });
    published.uri.to_string()
}

/// Calls a function with this very input.
async fn call(world: &World, function: &str, input: &str) -> Answer {
    world.post(format!(r#"{{"function":"{function}","input":{input}}}"#), None).await
}

/// Why a function says that it failed: `host-v1` answers with it, components have it as their error.
fn reason(answer: &Answer, mode: &str) -> String {
    let error = match mode {
        "host-v1" => &answer.output()["error"],
        _ => {
            assert_eq!(answer.outcome(), "guestError", "{answer:?}");
            &answer.body["error"]
        }
    };
    error.as_str().unwrap_or_else(|| panic!("no reason: {answer:?}")).to_owned()
}

/// All files below, but for what tools put there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            found.push(path);
        } else if !["node_modules", "target", "build", "dist"].iter().any(|made| path.ends_with(made)) {
            found.extend(files(&path));
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
