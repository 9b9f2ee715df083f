//! Service tokens, and the keys that they are signed with.

use std::collections::BTreeMap;

use at_functions::clock::Clock;
use at_functions::identity::{Curve, PublicKey};
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use serde_json::json;

use super::{blocks_of, decode_token, is_signed_with, published_key};
use crate::network::xrpc::{Call, text};
use crate::network::{Account, KeyHome, Network};

const SERVICE: &str = "did:web:service.example.com#at_functions";
const METHOD: &str = "at.functions.run";

/// The newest commit of an account's repo.
async fn latest_commit(account: &Account) -> BTreeMap<String, Ipld> {
    let query = |nsid| Call::query(&account.pds.url, nsid).param("did", &account.did);
    let cid: Cid =
        text(&query("com.atproto.sync.getLatestCommit").send().await.ok(), "/cid").parse().unwrap();
    let car = query("com.atproto.sync.getBlocks").param("cids", cid).send().await.body;
    serde_ipld_dagcbor::from_slice(&blocks_of(&car)[&cid]).unwrap()
}

/// Verifies a commit as the repository specification has it: the signature is over all other fields.
fn assert_signed_with(mut commit: BTreeMap<String, Ipld>, key: &PublicKey) {
    let Some(Ipld::Bytes(signature)) = commit.remove("sig") else { panic!("a commit is signed") };
    let signed = serde_ipld_dagcbor::to_vec(&commit).unwrap();
    assert_eq!(key.verify_strict(&signed, &signature), Ok(()));
}

#[tokio::test]
async fn a_service_token_says_who_calls_whom_for_what_until_when() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let expires_at = Clock::system().unix_seconds() + 1800;
    let answer = account.service_auth(SERVICE, Some(METHOD), Some(expires_at)).await.ok();
    let token = text(&answer, "/token");

    let (header, claims) = decode_token(&token);
    assert_eq!(header, json!({ "typ": "JWT", "alg": "ES256K" }));
    let (issued_at, id) = (&claims["iat"], &claims["jti"]);
    assert_eq!(
        claims,
        json!({ "iss": account.did, "aud": SERVICE, "lxm": METHOD, "exp": expires_at, "iat": issued_at, "jti": id })
    );
    assert!(issued_at.as_u64().unwrap() <= Clock::system().unix_seconds());
    assert_eq!(id.as_str().unwrap().len(), 32);
    assert!(is_signed_with(&token, &published_key(network, &account.did).await));
}

#[tokio::test]
async fn service_tokens_live_an_hour_at_most_and_a_minute_without_a_method() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let now = Clock::system().unix_seconds();
    for (method, life, status) in
        [(Some(METHOD), 3590, 200), (Some(METHOD), 3700, 400), (None, 50, 200), (None, 300, 400)]
    {
        let answer = account.service_auth(SERVICE, method, Some(now + life)).await;
        assert_eq!(answer.status, status, "{method:?} for {life} s: {:?}", answer.json());
    }
}

#[tokio::test]
async fn an_app_password_gets_service_tokens_too() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let app = account.sign_in(&account.create_app_password("functions").await).await;
    assert_ne!(app.password, account.password);
    let (_, claims) = decode_token(&app.service_token(SERVICE, METHOD).await);
    assert_eq!(claims["iss"], account.did.as_str());
}

#[tokio::test]
async fn the_directory_writes_one_key_in_the_newer_form_or_the_older() {
    let Some(network) = Network::shared() else { return };
    let did = network.create_account(network.pds(0)).await.did;
    let method = async || network.did_document(&did).await.unwrap()["verificationMethod"][0].take();
    let newer = method().await;
    network.write_legacy_document(&did).await;
    let older = method().await;

    assert_eq!(
        (text(&newer, "/id"), text(&newer, "/type")),
        (format!("{did}#atproto"), "Multikey".to_owned())
    );
    assert_eq!(text(&older, "/id"), "#atproto");
    assert_eq!(text(&older, "/type"), "EcdsaSecp256k1VerificationKey2019");
    let key = |method| text(method, "/publicKeyMultibase");
    let newer = PublicKey::from_multikey(&key(&newer)).unwrap();
    assert_eq!(PublicKey::from_legacy(Curve::K256, &key(&older)).unwrap(), newer);
}

#[tokio::test]
async fn after_a_clean_rotation_the_pds_signs_with_the_published_key() {
    let Some(network) = Network::shared() else { return };
    for (curve, algorithm) in [(Curve::K256, "ES256K"), (Curve::P256, "ES256")] {
        let account = network.create_account(network.pds(0)).await;
        let old_key = published_key(network, &account.did).await;

        let did_key = network.rotate_key(&account, curve, KeyHome::Everywhere).await;

        let new_key = published_key(network, &account.did).await;
        assert_eq!(did_key, format!("did:key:{}", new_key.to_multikey()));
        assert_ne!(new_key, old_key);
        assert_eq!(new_key.curve(), curve);
        let token = account.service_token(SERVICE, METHOD).await;
        assert_eq!(decode_token(&token).0["alg"], algorithm);
        assert!(is_signed_with(&token, &new_key), "{curve:?}");
        assert_signed_with(latest_commit(&account).await, &new_key);
        // The repo goes on under the new key.
        account.put_record("app.test.note", "note", &json!({ "$type": "app.test.note" })).await;
        assert_signed_with(latest_commit(&account).await, &new_key);
    }
}

#[tokio::test]
async fn after_a_rotation_in_the_directory_alone_the_pds_signs_with_the_old_key() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let old_key = published_key(network, &account.did).await;

    network.rotate_key(&account, Curve::K256, KeyHome::DirectoryOnly).await;

    let token = account.service_token(SERVICE, METHOD).await;
    assert!(is_signed_with(&token, &old_key));
    assert!(!is_signed_with(&token, &published_key(network, &account.did).await));
}
