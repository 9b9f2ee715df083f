//! The operator's policy over HTTP: who may call, and what runs.

mod file;
mod hosts;

use std::path::PathBuf;

use at_functions::clock::Clock;
use at_functions::config::{Anonymous, Settings};
use at_functions::identity::Did;
use at_functions::lexicon::{GrantSubject, Nsid, RecordKey};
use serde_json::json;

use crate::world::{Answer, Caller, ECHO, World};

/// A world whose operator has a policy file.
struct Governed {
    world: World,
    file: PathBuf,
}

impl Governed {
    /// With this file from the start, over a service that lets anonymous callers in.
    async fn start(policy: &str) -> Governed {
        let file = tempfile::tempdir().unwrap().keep().join("policy.toml");
        std::fs::write(&file, policy).unwrap();
        let settings = Settings {
            anonymous: Some(Anonymous::Public),
            policy: Some(file.clone()),
            ..Settings::default()
        };
        Governed { world: World::start_with(settings).await, file }
    }

    /// Another file in its place, at once.
    async fn rule(&self, policy: &str) {
        std::fs::write(&self.file, policy).unwrap();
        assert!(self.world.reload_policy().await, "{policy}");
    }

    async fn decided(&self, caller: Option<&Caller>, uri: &str) -> String {
        let answer = match caller {
            Some(caller) => self.world.run_as(caller, &uri, json!(1)).await,
            None => self.world.run(&uri, json!(1)).await,
        };
        name_of(&answer)
    }
}

/// `ok`, or the error's name, whose status must be its own.
fn name_of(answer: &Answer) -> String {
    if answer.status == 200 {
        assert_eq!(answer.output()["echo"], 1);
        return "ok".into();
    }
    let (status, name) = answer.error();
    let of_name = match name {
        "AuthMissing" => 401,
        "FunctionNotFound" => 400,
        _ => 403,
    };
    assert_eq!(status, of_name, "{answer:?}");
    name.to_owned()
}

fn author(world: &World) -> Caller {
    Caller { did: world.author.did().clone(), key: world.author.signing_key().clone() }
}

fn private(world: &World, rkey: &str) -> String {
    world.publish_record(rkey, ECHO, |record| record["public"] = false.into()).uri.to_string()
}

fn grant(world: &World, rkey: &str, caller: &Did, ends: Option<i64>) {
    let subject = GrantSubject {
        author: world.author.did().clone(),
        function: RecordKey::parse(rkey).unwrap(),
        caller: caller.clone(),
    };
    let mut record = json!({
        "$type": "at.functions.grant",
        "function": subject.function_uri(),
        "caller": subject.caller,
        "createdAt": "2026-01-01T00:00:00Z",
    });
    if let Some(from_now) = ends {
        let end = Clock::system().unix_seconds() as i64 + from_now;
        record["expiresAt"] = jiff::Timestamp::from_second(end).unwrap().to_string().into();
    }
    let collection = Nsid::parse("at.functions.grant").unwrap();
    world.author.put_into(collection, &subject.record_key(), &record, []).unwrap();
}

#[tokio::test]
async fn who_calls_against_what_is_called_under_which_rules() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let [stranger, granted, expired, blocked] = [1, 2, 3, 4].map(|seed| world.caller(seed));
    let elsewhere = world.caller_at(&"y".repeat(24), 5, "https://pds.bad.com");
    let author = author(world);
    let [open, hidden] = [world.publish("open", ECHO).uri.to_string(), private(world, "hidden")];
    let absent = open.replace("open", "absent");
    grant(world, "hidden", &granted.did, None);
    grant(world, "hidden", &expired.did, Some(-1));
    // A grant is no way around the operator.
    grant(world, "hidden", &blocked.did, None);
    grant(world, "hidden", &elsewhere.did, None);
    let a = author.did.clone();

    let blocks = format!("[callers]\nblock = [\"{}\", \"pds:pds.bad.com\"]\n", blocked.did);
    let allows = format!(
        "[callers]\nblock = [\"{}\", \"pds:*.bad.com\"]\nallow = [\"{}\", \"{}\", \"{}\", \"{}\"]",
        blocked.did, granted.did, expired.did, blocked.did, elsewhere.did
    );
    let blocks_open = format!("functions.block = [\"{open}\"]");
    let blocks_author = format!("authors.block = [\"{a}\"]");
    let other_author = "authors.allow = [\"did:web:other.com\"]".to_owned();
    let only_hidden = format!("functions.allow = [\"{hidden}\"]");
    let nobody = "callers.allow = []".to_owned();
    let no_strangers = "anonymous = \"deny\"".to_owned();
    const NAMES: [(&str, &str); 6] = [
        ("+", "ok"),
        ("T", "AuthMissing"),
        ("C", "CallerBlocked"),
        ("F", "FunctionBlocked"),
        ("P", "FunctionNotPublic"),
        ("0", "FunctionNotFound"),
    ];
    let callers = [
        None,
        Some(&stranger),
        Some(&granted),
        Some(&expired),
        Some(&author),
        Some(&blocked),
        Some(&elsewhere),
    ];
    // For each caller, what becomes of a public function, of a private one, and of one that is not there.
    //          policy            anonymous stranger granted expired author blocked elsewhere
    let table = [
        (String::new(), ["+P0", "+P0", "++0", "+P0", "++0", "++0", "++0"]),
        (blocks, ["+P0", "+P0", "++0", "+P0", "++0", "CCC", "CCC"]),
        (allows, ["TTT", "CCC", "++0", "+P0", "CCC", "CCC", "CCC"]),
        (nobody, ["TTT", "CCC", "CCC", "CCC", "CCC", "CCC", "CCC"]),
        (no_strangers, ["TTT", "+P0", "++0", "+P0", "++0", "++0", "++0"]),
        (blocks_open, ["FP0", "FP0", "F+0", "FP0", "F+0", "F+0", "F+0"]),
        (blocks_author, ["FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF"]),
        (other_author, ["FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF"]),
        (only_hidden, ["FPF", "FPF", "F+F", "FPF", "F+F", "F+F", "F+F"]),
    ];
    for (policy, row) in table {
        governed.rule(&policy).await;
        for (caller, expected) in callers.iter().zip(row) {
            let mut found = String::new();
            for uri in [&open, &hidden, &absent] {
                let decided = governed.decided(*caller, uri).await;
                found += NAMES.iter().find(|(_, name)| *name == decided).map_or(&*decided, |(sign, _)| sign);
            }
            assert_eq!(found, expected, "{:?} under: {policy}", caller.map(|caller| &caller.did));
        }
    }
}

#[tokio::test]
async fn what_is_blocked_costs_the_authors_host_nothing() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let (caller, echo) = (world.caller(1), world.publish("echo", ECHO).uri.to_string());
    governed.rule(&format!("callers.block = [\"{}\"]", caller.did)).await;
    assert_eq!(governed.decided(Some(&caller), &echo).await, "CallerBlocked");
    for policy in [
        format!("authors.block = [\"{}\"]", world.author.did()),
        format!("functions.block = [\"{echo}\"]"),
        "functions.allow = []".to_owned(),
    ] {
        governed.rule(&policy).await;
        assert_eq!(governed.decided(Some(&caller), &echo).await, "FunctionBlocked");
        // A handle means its DID.
        let by_handle = "at://author.test/at.functions.metadata/echo";
        assert_eq!(governed.decided(Some(&caller), by_handle).await, "FunctionBlocked");
    }
    assert_eq!(world.asked("com.atproto.sync.getRecord"), 0);
    governed.rule("").await;
    assert_eq!(governed.decided(Some(&caller), &echo).await, "ok");
    assert!(world.asked("com.atproto.sync.getRecord") > 0);
}

#[tokio::test]
async fn limits_are_lowered_for_an_author_and_for_a_function() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let did = world.author.did();
    let spin = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 16)
             (func (export "run") (param i32 i32) (result i64) (loop $l (br $l)) i64.const 0))"#,
    )
    .unwrap();
    let spin =
        world.publish_record("spin", &spin, |record| record["maxDurationMs"] = 100.into()).uri.to_string();
    let echo = world.publish("echo", ECHO).uri.to_string();
    let long = json!("x".repeat(3 * 1024));
    assert_eq!(world.run(&echo, long.clone()).await.output()["echo"], long);
    governed
        .rule(&format!(
            "[[limits]]\nauthor = \"{did}\"\nmax_output_kb = 2\n[[limits]]\nfunction = \"{spin}\"\nmax_duration_ms = 20\n\
             [[limits]]\nfunction = \"{echo}\"\nmax_memory_mb = 1"
        ))
        .await;
    let answer = world.run(&spin, json!(1)).await;
    assert_eq!(answer.outcome(), "timeout");
    assert_eq!(answer.body["error"], "the function did not finish within 20 ms (maxDurationMs)");
    // The echo example has 17 pages, which is more than a MiB.
    let answer = world.run(&echo, json!(1)).await;
    assert_eq!(answer.outcome(), "memoryExceeded", "{answer:?}");
    governed.rule(&format!("[[limits]]\nauthor = \"{did}\"\nmax_output_kb = 2")).await;
    assert_eq!(world.run(&echo, json!(1)).await.output()["echo"], 1);
    assert_eq!(world.run(&echo, long.clone()).await.outcome(), "outputTooLarge");
    governed.rule("[[limits]]\nauthor = \"did:web:other.com\"\nmax_output_kb = 2").await;
    assert_eq!(world.run(&echo, long.clone()).await.output()["echo"], long);
}

#[tokio::test]
async fn calls_are_limited_for_a_function_and_for_an_author_by_the_policy_file() {
    let governed = Governed::start("").await;
    let world = &governed.world;
    let [f, g] = ["f", "g"].map(|rkey| world.publish(rkey, ECHO).uri.to_string());
    let limits = |of: &str, calls: &str| format!("[[limits]]\n{of}\ncalls = \"{calls}\"\n");
    let author = limits(&format!("author = \"{}\"", world.author.did()), "1/h burst 3 at-once 9");
    governed.rule(&(limits(&format!("function = \"{f}\""), "1/h burst 2 at-once 9") + &author)).await;
    for _ in 0..2 {
        assert_eq!(governed.decided(None, &f).await, "ok");
    }
    let refused = world.run(&f, json!(1)).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    assert!(refused.message().starts_with("too many calls of this function; retry in "), "{refused:?}");
    // A call that is refused is charged to neither: the author has one left.
    assert_eq!(governed.decided(None, &g).await, "ok");
    let refused = world.run(&g, json!(1)).await;
    assert_eq!(refused.error(), (429, "RateLimitExceeded"));
    let told = "too many calls of this author's functions; retry in ";
    assert!(refused.message().starts_with(told), "{refused:?}");
    // Without the rule nothing is held against them, though an hour has not passed.
    governed.rule("").await;
    for uri in [&f, &g] {
        assert_eq!(governed.decided(None, uri).await, "ok");
    }
}
