//! Who may call what, on real PDSes: each kind of caller, of function and of rule in one table.

use std::path::Path;

use at_functions::auth::ServiceToken;
use at_functions::clock::Clock;
use at_functions::identity::{Did, SigningKey};
use at_functions::lexicon::{GrantSubject, RecordKey};
use serde_json::{Value, json};

use crate::patience::soon;
use crate::world::ECHO;

use super::functions::{RUN, run_directly};
use super::xrpc::{Answer, Call};
use super::{Account, Network, Service};

/// How a decision is written in the table.
const SIGNS: [(&str, u16, &str); 5] = [
    ("T", 401, "AuthMissing"),
    ("C", 403, "CallerBlocked"),
    ("F", 403, "FunctionBlocked"),
    ("P", 403, "FunctionNotPublic"),
    ("0", 400, "FunctionNotFound"),
];

fn sign(answer: &Answer) -> String {
    let body = answer.json();
    if answer.status == 200 {
        assert_eq!(body["output"]["echo"], 1, "{body}");
        return "+".into();
    }
    let found = (answer.status.as_u16(), body["error"].as_str().unwrap_or_default());
    let known = SIGNS.iter().find(|(_, status, name)| (*status, *name) == found);
    known.map_or_else(|| format!("{found:?}"), |(sign, _, _)| (*sign).to_owned())
}

async fn grant(author: &Account, rkey: &str, caller: &str, expires_at: Option<&str>) {
    let did = |text: &str| Did::parse(text).expect("the network's DIDs are DIDs");
    let subject = GrantSubject {
        author: did(&author.did),
        function: RecordKey::parse(rkey).expect("a key"),
        caller: did(caller),
    };
    let mut record = json!({
        "$type": "at.functions.grant",
        "function": subject.function_uri(),
        "caller": caller,
        "createdAt": "2026-01-01T00:00:00Z",
    });
    if let Some(moment) = expires_at {
        record["expiresAt"] = moment.into();
    }
    author.put_record("at.functions.grant", subject.record_key().as_str(), &record).await;
}

/// Has the running service take another policy.
async fn rule(service: &Service, file: &Path, policy: &str) {
    let taken = || service.log().matches("the policy file is in force").count();
    let before = taken();
    std::fs::write(file, policy).expect("a file of our own");
    service.hang_up();
    soon(async || taken() > before).await;
}

#[tokio::test]
async fn who_calls_against_what_is_called_under_which_rules() {
    let Some(network) = Network::shared() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("policy.toml");
    std::fs::write(&file, "").expect("a file of our own");
    let policy = format!("--policy={}", file.display());
    let service = Service::start(network, &[&policy, "--anonymous=public"]).await;

    let [home, away] = [network.pds(0), network.pds(1)];
    let author = network.create_account(home).await;
    let stranger = network.create_account(home).await;
    let granted = network.create_account(home).await;
    let expired = network.create_account(home).await;
    let blocked = network.create_account(home).await;
    let elsewhere = network.create_account(away).await;
    // Whoever has a DID can claim to be anywhere.
    let key = SigningKey::from_bytes(&[7; 32]).expect("a key");
    let did_key = format!("did:key:{}", key.public().to_multikey());
    let name = format!("{}{}", network.new_name(), home.handle_domain);
    let impostor = network.create_identity(&name, &home.url, &did_key).await;
    let impostor = Did::parse(&impostor).expect("the directory's DIDs are DIDs");

    let (open, _) = author.publish("open", ECHO, |_| {}).await;
    let (hidden, _) = author.publish("hidden", ECHO, |record| record["public"] = false.into()).await;
    let absent = open.replace("open", "absent");
    grant(&author, "hidden", &granted.did, None).await;
    grant(&author, "hidden", &expired.did, Some("2026-01-02T00:00:00Z")).await;
    grant(&author, "hidden", &blocked.did, None).await;
    grant(&author, "hidden", &elsewhere.did, None).await;

    let home_entry = home.url.replace("http://", "pds:");
    let away_entry = away.url.replace("http://", "pds:");
    let no_rules = String::new();
    let blocks = format!("callers.block = [\"{}\", \"{away_entry}\"]", blocked.did);
    let allows = format!("callers.block = [\"{}\"]\ncallers.allow = [\"{home_entry}\"]", blocked.did);
    let blocks_open = format!("functions.block = [\"{open}\"]\nanonymous = \"deny\"");
    let blocks_author = format!("authors.block = [\"{}\"]", author.did);
    let authors_here = format!("authors.allow = [\"{home_entry}\"]\nfunctions.allow = [\"{home_entry}\"]");
    let authors_away = format!("authors.allow = [\"{away_entry}\"]");
    // For each caller, what becomes of a public function, of a private one, and of one that is not there.
    //    policy       anonymous stranger granted expired author blocked elsewhere impostor
    let table = [
        (no_rules, ["+P0", "+P0", "++0", "+P0", "++0", "++0", "++0", "+P0"]),
        (blocks, ["+P0", "+P0", "++0", "+P0", "++0", "CCC", "CCC", "+P0"]),
        (allows, ["TTT", "+P0", "++0", "+P0", "++0", "CCC", "CCC", "CCC"]),
        (blocks_open, ["TTT", "FP0", "F+0", "FP0", "F+0", "F+0", "F+0", "FP0"]),
        (blocks_author, ["FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF"]),
        (authors_here, ["+P0", "+P0", "++0", "+P0", "++0", "++0", "++0", "+P0"]),
        (authors_away, ["FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF", "FFF"]),
    ];
    let through = [&stranger, &granted, &expired, &author, &blocked, &elsewhere];
    for (policy, row) in table {
        rule(&service, &file, &policy).await;
        let mut found = vec![String::new(); row.len()];
        for uri in [&open, &hidden, &absent] {
            let token = |number: u64| {
                ServiceToken::new(&impostor, &service.did(), RUN, Clock::system().unix_seconds())
                    .id(format!("{number:x}"))
                    .sign(&key)
            };
            let mut calls: Vec<Call> = vec![anonymously(&service, uri)];
            calls.extend(through.iter().map(|account| account.run(&service, uri, &json!(1))));
            let number = getrandom::u64().expect("a random number");
            calls.push(run_directly(&service, &token(number), uri, &json!(1)));
            for (signs, call) in found.iter_mut().zip(calls) {
                *signs += &sign(&call.send().await);
            }
        }
        assert_eq!(found, row, "under: {policy}");
    }
    assert!(!service.log().contains("the policy file is wrong"), "{}", service.log());
}

fn anonymously(service: &Service, function: &str) -> Call {
    let body: Value = json!({ "function": function, "input": 1 });
    service.procedure(RUN).json(&body)
}
