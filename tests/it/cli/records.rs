//! `list`, `describe`, `delete`.

use serde_json::{Value, json};

use super::*;
use crate::world::function_record;

const PROOF: &str = "/xrpc/com.atproto.sync.getRecord";

#[tokio::test]
async fn list_shows_every_page_of_an_accounts_functions() {
    let pds = pds().await;
    let record = |rkey: &str, value: Value| json!({"uri": format!("at://{AUTHOR}/at.functions.metadata/{rkey}"), "cid": "bafy", "value": value});
    let first = json!({"cursor": "next", "records": [record("a", json!({
        "name": "alpha", "version": "1.0.0", "mode": "pure-v1", "code": {"size": 2048},
    }))]});
    let second = json!({"records": [
        record("b", json!({"name": "be\u{1b}[2Jta", "public": false, "weight": 0.5})),
        record("c", json!("no object")),
    ]});
    let path = format!(
        "/xrpc/com.atproto.repo.listRecords?repo={}&collection=at.functions.metadata&limit=100",
        AUTHOR.replace(':', "%3A")
    );
    pds.on(&path, answer(200, &first)).on(&format!("{path}&cursor=next"), answer(200, &second));
    // A list needs no password.
    let (code, stdout, stderr) = run(as_author(&pds, &["list"]).env_remove("AT_FUNCTIONS_PASSWORD")).await;
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<&str> = stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{stdout}");
    assert!(lines[0].starts_with("NAME"), "{stdout}");
    let cells = |line: &str| {
        line.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        cells(lines[1]),
        ["alpha", "1.0.0", "pure-v1", "2.0 KiB", "all", &format!("at://{AUTHOR}/at.functions.metadata/a")]
    );
    assert_eq!(cells(lines[2])[..5], [r"be\u{1b}[2Jta", "?", "?", "?", "author"]);
    assert!(stderr.starts_with("unproved: "), "{stderr}");

    let (code, stdout, stderr) = run(&mut as_author(&pds, &["list", AUTHOR, "--json"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["repo"], &told["verified"], &told["complete"]),
        (&json!(AUTHOR), &json!(false), &json!(true))
    );
    assert_eq!(told["functions"].as_array().unwrap().len(), 3);
    assert_eq!(told["functions"][1]["record"]["weight"], 0.5);
}

#[tokio::test]
async fn a_listing_that_never_ends_is_cut_and_said_to_be() {
    let pds = pds().await;
    let page = |cursor: &str| json!({"cursor": cursor, "records": [{"uri": "at://x", "cid": "bafy", "value": {"name": cursor}}]});
    let path = format!(
        "/xrpc/com.atproto.repo.listRecords?repo={}&collection=at.functions.metadata&limit=100",
        AUTHOR.replace(':', "%3A")
    );
    pds.on("/xrpc/com.atproto.repo.listRecords", answer(200, &page("even")));
    pds.on(&format!("{path}&cursor=even"), answer(200, &page("odd")));
    let (code, stdout, _) = run(&mut as_author(&pds, &["list", "--json"])).await;
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["complete"], false);
    assert_eq!(told["functions"].as_array().unwrap().len(), 50);
}

#[tokio::test]
async fn a_handle_that_its_did_does_not_claim_back_leads_nowhere() {
    let pds = pds().await;
    let list = |handle: &str| {
        let mut command = program(&["list", handle, "--pds", &pds.url()]);
        command.env("AT_FUNCTIONS_PLC_URL", pds.url());
        command
    };
    pds.on("/xrpc/com.atproto.repo.listRecords", answer(200, &json!({"records": []})));
    let (code, stdout, stderr) = run(&mut list("alice.test")).await;
    assert_eq!((code, stdout), (0, format!("{AUTHOR} has no functions\n")), "{stderr}");
    let (code, _, stderr) = run(&mut list("mallory.test")).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("does not claim this handle back"), "{stderr}");
}

#[tokio::test]
async fn describe_shows_what_the_authors_signature_proves() {
    let pds = pds().await;
    let record = function_record(MODULE);
    pds.on(PROOF, proof(author_key(), Some(&record)));
    let (code, stdout, stderr) = run(&mut as_author(&pds, &["describe", FUNCTION])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with(&format!("{FUNCTION}\n  name      ")), "{stdout}");
    assert!(stdout.contains("\n  verified  by the author's signature, rev 3"), "{stdout}");
    assert!(stdout.contains(&format!("\n  code      {MODULE_CID} (30.9 KiB)\n")), "{stdout}");
    assert!(!stdout.contains("InvalidFunction"), "{stdout}");
    let asked = pds.seen(PROOF);
    let query = format!("did={}&collection=at.functions.metadata&rkey=echo", AUTHOR.replace(':', "%3A"));
    assert_eq!(asked.query, query);

    let (code, stdout, _) = run(&mut as_author(&pds, &["describe", FUNCTION, "--json"])).await;
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    let mut repository = Repository::new(Did::parse(AUTHOR).unwrap(), author_key(), Clock::system());
    let (collection, rkey) = ("at.functions.metadata", RecordKey::parse("echo").unwrap());
    let cid =
        repository.put(&Nsid::parse(collection).unwrap(), &rkey, &json_to_ipld(&record).unwrap()).unwrap();
    assert_eq!(told["cid"], cid.to_string());
    assert_eq!((&told["verified"], &told["invalidFunction"]), (&json!(true), &Value::Null));
    assert_eq!((&told["uri"], &told["record"]), (&json!(FUNCTION), &record));
    assert_eq!(told["rev"].as_str().unwrap().len(), 13);
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.getRecord".to_owned()));
}

#[tokio::test]
async fn describe_says_why_a_proved_record_does_not_run() {
    let pds = pds().await;
    let mut record = function_record(MODULE);
    record["mode"] = "wasi-v9".into();
    pds.on(PROOF, proof(author_key(), Some(&record)));
    let (code, stdout, stderr) = run(&mut as_author(&pds, &["describe", FUNCTION])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let why = "`mode` is \"wasi-v9\", an unknown mode; use one of: pure-v1, host-v1, component-v1, wasi-v1, cstr-v1";
    assert!(stdout.contains(&format!("\n  runs      no. InvalidFunction: {why}\n")), "{stdout}");
    let (_, stdout, _) = run(&mut as_author(&pds, &["describe", FUNCTION, "--json"])).await;
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["verified"], &told["invalidFunction"]), (&json!(true), &json!(why)));
}

#[tokio::test]
async fn describe_shows_nothing_that_is_not_proved() {
    let pds = pds().await;
    let record = function_record(MODULE);
    let stranger = SigningKey::from_bytes(&[8; 32]).unwrap();
    let mut damaged = proof(author_key(), Some(&record));
    *damaged.2.last_mut().unwrap() ^= 1;
    let json = answer(200, &json!({"uri": FUNCTION, "cid": "bafyrecord", "value": record}));
    let gone = answer(400, &json!({"error": "RepoDeactivated", "message": "gone for now"}));
    for (sent, code, expected) in [
        (
            proof(stranger, Some(&record)),
            1,
            "does not prove itself: the commit's signature is not of the author's key",
        ),
        (damaged, 1, "does not prove itself: the CAR is invalid"),
        (proof(author_key(), None), 1, "there is no such record, as the author's signature proves"),
        (gone, 1, "gone for now"),
        (json, 3, "com.atproto.sync.getRecord: it is JSON"),
    ] {
        pds.on(PROOF, sent);
        for more in [&[][..], &["--json"]] {
            let arguments = [&["describe", FUNCTION], more].concat();
            let (found, stdout, stderr) = run(&mut as_author(&pds, &arguments)).await;
            assert_eq!((found, stdout.as_str()), (code, ""), "{expected}: {stderr}");
            assert!(stderr.contains(expected), "{stderr}");
        }
    }
    pds.on(PROOF, proof(author_key(), Some(&record)));
    let mut document = author_document(&pds);
    document["verificationMethod"] = json!([]);
    pds.on(&format!("/{AUTHOR}"), answer(200, &document));
    let (code, stdout, stderr) = run(&mut as_author(&pds, &["describe", FUNCTION])).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("no #atproto key that can be used"), "{stderr}");
    let post = format!("at://{AUTHOR}/app.bsky.feed.post/3k");
    let (code, _, stderr) = run(&mut as_author(&pds, &["describe", &post])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("expected at://AUTHOR/at.functions.metadata/KEY"), "{stderr}");
}

#[tokio::test]
async fn delete_removes_the_version_that_it_looked_at() {
    let pds = pds().await;
    // Older PDSes answer with nothing at all.
    pds.on("/xrpc/com.atproto.repo.deleteRecord", Answer(200, Vec::new(), Vec::new()));
    for target in ["echo", FUNCTION, "at://alice.test/at.functions.metadata/echo"] {
        let (code, stdout, stderr) = run(&mut as_author(&pds, &["delete", target, "--yes", "--json"])).await;
        assert_eq!(code, 0, "{stderr}");
        assert_eq!(
            serde_json::from_str::<Value>(&stdout).unwrap(),
            json!({"uri": FUNCTION, "cid": "bafyrecord", "deleted": true})
        );
    }
    let deletions: Vec<Value> = pds
        .all_seen()
        .iter()
        .filter(|seen| seen.path == "/xrpc/com.atproto.repo.deleteRecord")
        .map(|seen| {
            assert_eq!(seen.header("authorization"), Some("Bearer session-token"));
            seen.json()
        })
        .collect();
    let expected = json!({"repo": AUTHOR, "collection": "at.functions.metadata", "rkey": "echo", "swapRecord": "bafyrecord"});
    assert_eq!(deletions, vec![expected; 3]);
}

#[tokio::test]
async fn delete_does_nothing_that_was_not_confirmed_or_is_not_ones_own() {
    let pds = pds().await;
    let (code, _, stderr) = run(&mut as_author(&pds, &["delete", "echo"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--yes"), "{stderr}");
    for foreign in
        ["at://did:web:other.com/at.functions.metadata/echo", "at://bob.test/at.functions.metadata/echo"]
    {
        let (code, _, stderr) = run(&mut as_author(&pds, &["delete", foreign, "--yes"])).await;
        assert_eq!(code, 2);
        assert!(stderr.contains("not in your repo"), "{stderr}");
    }
    pds.on(
        "/xrpc/com.atproto.repo.getRecord",
        answer(400, &json!({"error": "RecordNotFound", "message": "no"})),
    );
    let (code, _, _) = run(&mut as_author(&pds, &["delete", "echo", "--yes"])).await;
    assert_eq!(code, 1);
    assert!(!pds.paths().contains(&"/xrpc/com.atproto.repo.deleteRecord".to_owned()));
}
