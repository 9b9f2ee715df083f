//! Accounts: where they live, whether they are active, how they move.

use serde_json::json;

use super::published_pds;
use crate::network::xrpc::{Answer, Call, text};
use crate::network::{Account, Network, Pds};

async fn repo_status(pds: &Pds, did: &str) -> Answer {
    Call::query(&pds.url, "com.atproto.sync.getRepoStatus").param("did", did).send().await
}

async fn resolve(resolver: &str, handle: &str) -> Answer {
    Call::query(resolver, "com.atproto.identity.resolveHandle").param("handle", handle).send().await
}

async fn latest_commit(account: &Account) -> Answer {
    Call::query(&account.pds.url, "com.atproto.sync.getLatestCommit").param("did", &account.did).send().await
}

#[tokio::test]
async fn accounts_live_on_either_pds_and_one_resolver_knows_both() {
    let Some(network) = Network::shared() else { return };
    for index in [0, 1] {
        let pds = network.pds(index);
        let account = network.create_account(pds).await;
        let document = network.did_document(&account.did).await.unwrap();
        assert_eq!(document["alsoKnownAs"], json!([format!("at://{}", account.handle)]));
        assert_eq!(published_pds(network, &account.did).await, pds.url);
        assert_eq!(repo_status(pds, &account.did).await.ok()["active"], true);
        let resolved = resolve(network.handle_resolver_url(), &account.handle).await;
        assert_eq!(resolved.ok()["did"], account.did.as_str());
        let elsewhere = resolve(&network.pds(1 - index).url, &account.handle).await;
        assert_eq!(elsewhere.refusal(), (400, "InvalidRequest".to_owned()));
        let server = Call::query(&pds.url, "com.atproto.server.describeServer").send().await.ok();
        assert_eq!(server["did"], pds.did.as_str());
    }
}

#[tokio::test]
async fn the_resolver_says_of_a_handle_what_it_was_told() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let resolver = network.handle_resolver_url();
    let stolen = format!("{}.elsewhere.test", network.new_name());
    assert_eq!(resolve(resolver, &stolen).await.refusal(), (400, "InvalidRequest".to_owned()));
    network.set_handle(&stolen, Some(&account.did)).await;
    assert_eq!(resolve(resolver, &stolen).await.ok()["did"], account.did.as_str());
    network.set_handle(&stolen, None).await;
    assert_eq!(resolve(resolver, &stolen).await.refusal(), (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn a_deactivated_account_is_told_as_such_until_it_is_active_again() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    account.deactivate().await;
    let status = repo_status(&account.pds, &account.did).await.ok();
    assert_eq!((&status["active"], &status["status"]), (&json!(false), &json!("deactivated")));
    assert_eq!(latest_commit(&account).await.refusal(), (400, "RepoDeactivated".to_owned()));
    account.activate().await;
    assert_eq!(repo_status(&account.pds, &account.did).await.ok()["active"], true);
    assert_eq!(latest_commit(&account).await.status, 200);
}

#[tokio::test]
async fn a_taken_down_account_is_told_as_such_until_it_is_up_again() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    account.take_down(true).await;
    let status = repo_status(&account.pds, &account.did).await.ok();
    assert_eq!((&status["active"], &status["status"]), (&json!(false), &json!("takendown")));
    assert_eq!(latest_commit(&account).await.refusal(), (400, "RepoTakendown".to_owned()));
    account.take_down(false).await;
    assert_eq!(repo_status(&account.pds, &account.did).await.ok()["active"], true);
}

#[tokio::test]
async fn a_tombstoned_did_is_gone_from_the_directory() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    network.tombstone(&account.did).await;
    assert_eq!(network.did_document(&account.did).await, Err(404));
}

#[tokio::test]
async fn an_account_moves_with_its_records_and_blobs() {
    let Some(network) = Network::shared() else { return };
    let before = network.create_account(network.pds(0)).await;
    let wasm = wat::parse_str("(module)").unwrap();
    let blob = before.upload_blob("application/wasm", &wasm).await;
    let blob_cid = text(&blob, "/ref/$link");
    let record = json!({ "$type": "at.functions.metadata", "code": { "ref": blob } });
    let (uri, cid) = before.put_record("at.functions.metadata", "moves", &record).await;

    let after = network.migrate(&before, network.pds(1)).await;

    assert_eq!(after.did, before.did);
    assert_eq!(published_pds(network, &after.did).await, network.pds(1).url);
    let status = repo_status(network.pds(0), &before.did).await.ok();
    assert_eq!((&status["active"], &status["status"]), (&json!(false), &json!("deactivated")));
    assert_eq!(repo_status(network.pds(1), &after.did).await.ok()["active"], true);
    let read = after.query("com.atproto.repo.getRecord");
    let read = read.param("repo", &after.did).param("collection", "at.functions.metadata");
    let read = read.param("rkey", "moves").send().await.ok();
    assert_eq!((text(&read, "/uri"), text(&read, "/cid")), (uri, cid));
    let read = Call::query(&after.pds.url, "com.atproto.sync.getBlob").param("did", &after.did);
    assert_eq!(read.param("cid", blob_cid).send().await.body, wasm);
    // The account can go on writing where it is now.
    after.put_record("at.functions.metadata", "stays", &record).await;
}

#[tokio::test]
async fn a_pds_that_stops_refuses_connections_and_has_its_accounts_when_it_is_back() {
    let Some(network) = Network::shared() else { return };
    let pds = network.own_pds().await;
    let account = network.create_account(&pds).await;
    let (_, cid) = account.put_record("app.test.note", "note", &json!({ "$type": "app.test.note" })).await;

    pds.stop().await;
    let read = || {
        let query = Call::query(&pds.url, "com.atproto.repo.getRecord").param("repo", &account.did);
        query.param("collection", "app.test.note").param("rkey", "note").try_send()
    };
    let refused = read().await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");

    pds.start_again().await;
    assert_eq!(text(&read().await.unwrap().ok(), "/cid"), cid);
}
