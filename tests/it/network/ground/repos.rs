//! Records and blobs: what authors write and the service reads back.

use at_functions::identity::{PublicKey, SigningKey};
use serde_json::{Value, json};

use super::{blocks_of, published_key, published_pds};
use crate::network::xrpc::{Answer, Call, text};
use crate::network::{Account, Network};

const COLLECTION: &str = "at.functions.metadata";

/// A function record as the lexicon has it.
fn function(blob: &Value) -> Value {
    json!({
        "$type": COLLECTION,
        "name": "echo",
        "version": "1.0.0",
        "mode": "pure-v1",
        "entrypoint": "run",
        "code": { "ref": blob },
        "updatedAt": "2026-01-01T00:00:00Z",
    })
}

async fn record_car(account: &Account, rkey: &str) -> Answer {
    let call = Call::query(&account.pds.url, "com.atproto.sync.getRecord").param("did", &account.did);
    call.param("collection", COLLECTION).param("rkey", rkey).send().await
}

async fn blob(account: &Account, cid: &str) -> Answer {
    Call::query(&account.pds.url, "com.atproto.sync.getBlob")
        .param("did", &account.did)
        .param("cid", cid)
        .send()
        .await
}

#[tokio::test]
async fn a_function_record_and_its_blob_are_read_back_as_written() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let wasm = wat::parse_str(r#"(module (memory (export "memory") 1))"#).unwrap();
    let uploaded = author.upload_blob("application/wasm", &wasm).await;
    assert_eq!((&uploaded["mimeType"], &uploaded["size"]), (&json!("application/wasm"), &json!(wasm.len())));

    let (uri, cid) = author.put_record(COLLECTION, "echo", &function(&uploaded)).await;

    assert_eq!(uri, format!("at://{}/{COLLECTION}/echo", author.did));
    let car = record_car(&author, "echo").await;
    assert_eq!(car.status, 200);
    assert_eq!(car.header("content-type"), Some("application/vnd.ipld.car"));
    assert!(blocks_of(&car.body).contains_key(&cid.parse().unwrap()));
    let served = blob(&author, &text(&uploaded, "/ref/$link")).await;
    assert_eq!(served.header("content-type"), Some("application/wasm"));
    assert_eq!(served.body, wasm);
}

#[tokio::test]
async fn a_deleted_record_is_proved_absent_and_its_blob_is_gone() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let uploaded = author.upload_blob("application/wasm", &wat::parse_str("(module)").unwrap()).await;
    let (_, cid) = author.put_record(COLLECTION, "echo", &function(&uploaded)).await;

    author.delete_record(COLLECTION, "echo").await;

    let car = record_car(&author, "echo").await;
    assert_eq!(car.status, 200);
    assert!(!blocks_of(&car.body).contains_key(&cid.parse().unwrap()));
    let gone = blob(&author, &text(&uploaded, "/ref/$link")).await;
    assert_eq!(gone.refusal(), (400, "InvalidRequest".to_owned()));
}

#[tokio::test]
async fn a_blob_that_is_taken_down_is_not_served() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let wasm = wat::parse_str("(module)").unwrap();
    let uploaded = author.upload_blob("application/wasm", &wasm).await;
    author.put_record(COLLECTION, "echo", &function(&uploaded)).await;
    let cid = text(&uploaded, "/ref/$link");

    author.take_down_blob(&cid, true).await;
    assert_eq!(blob(&author, &cid).await.refusal(), (400, "InvalidRequest".to_owned()));
    author.take_down_blob(&cid, false).await;
    assert_eq!(blob(&author, &cid).await.body, wasm);
}

#[tokio::test]
async fn an_identity_can_be_made_for_a_repo_that_lives_elsewhere() {
    let Some(network) = Network::shared() else { return };
    let key = SigningKey::from_bytes(&[7; 32]).unwrap().public();
    let handle = format!("{}.elsewhere.test", network.new_name());
    let did = network.create_identity(&handle, "http://localhost:1", &did_key(&key)).await;
    assert_eq!(published_pds(network, &did).await, "http://localhost:1");
    assert_eq!(published_key(network, &did).await, key);

    network.update_identity(&did, json!({ "pds": network.pds(0).url })).await;
    assert_eq!(published_pds(network, &did).await, network.pds(0).url);
    assert_eq!(published_key(network, &did).await, key);
}

fn did_key(key: &PublicKey) -> String {
    format!("did:key:{}", key.to_multikey())
}
