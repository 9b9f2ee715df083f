//! Identities and repos that change between two calls: keys, hosts, handles, accounts.

use std::time::{Duration, Instant};

use at_functions::identity::Curve;
use serde_json::{Value, json};

use crate::patience::PATIENCE;
use crate::world::ECHO;

use super::calls::assert_proxied_refusal;
use super::functions::{RUN, constant, run_directly};
use super::{KeyHome, Network, Service};

/// Beyond the record TTL, in which the last proved version may still run.
const RECORD_TTL: Duration = Duration::from_secs(30);
/// What may come on top of it on a busy machine.
const SLACK: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_cleanly_rotated_key_is_noticed_of_caller_and_author_on_both_curves() {
    let Some(network) = Network::shared() else { return };
    for curve in [Curve::K256, Curve::P256] {
        let service = Service::start(network, &[]).await;
        let author = network.create_account(network.pds(0)).await;
        let (before, _) = author.publish("before", ECHO, |_| {}).await;
        assert_eq!(author.run(&service, &before, &json!(1)).send().await.ok()["output"]["echo"], 1);
        network.rotate_key(&author, curve, KeyHome::Everywhere).await;
        // Both the token and the commit are now signed by a key that no cached document has. The
        // service may ask for a document again only once in a while; a caller tries again.
        let (after, _) = author.publish("after", ECHO, |_| {}).await;
        let answer = eventually(async || author.run(&service, &after, &json!(2)).send().await.json()).await;
        assert_eq!(answer["output"]["echo"], 2, "{curve:?}: {answer}");
    }
}

#[tokio::test]
async fn a_key_that_changed_in_the_directory_alone_makes_tokens_bad() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let caller = network.create_account(network.pds(1)).await;
    let (uri, _) = author.publish_echo().await;
    network.rotate_key(&caller, Curve::K256, KeyHome::DirectoryOnly).await;
    assert_proxied_refusal(&caller.run(&service, &uri, &json!({})).send().await, 401, "BadJwtSignature");
    // The same of an author: the repo is no longer signed by the key that the directory names.
    network.rotate_key(&author, Curve::K256, KeyHome::DirectoryOnly).await;
    let reader = network.create_account(network.pds(1)).await;
    assert_proxied_refusal(&reader.run(&service, &uri, &json!({})).send().await, 502, "UnverifiedFunction");
}

#[tokio::test]
async fn an_author_who_moved_between_two_calls_is_found_at_the_new_pds() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let caller = network.create_account(network.pds(1)).await;
    let (first, _) = author.publish("first", ECHO, |_| {}).await;
    let (second, _) = author.publish("second", &constant("\"moved\""), |_| {}).await;
    assert_eq!(caller.run(&service, &first, &json!(1)).send().await.ok()["output"]["echo"], 1);
    let moved = network.migrate(&author, network.pds(1)).await;
    // A PDS imports a repo as it was signed, by the key that the account had before. Until the author
    // writes something at the new PDS, nothing there is signed by the key that the directory names.
    moved.publish("third", ECHO, |_| {}).await;
    let answer = eventually(async || caller.run(&service, &second, &json!(2)).send().await.json()).await;
    assert_eq!(answer["output"], "moved", "{answer}");
    let answer = eventually(async || moved.run(&service, &second, &json!(3)).send().await.json()).await;
    assert_eq!(answer["output"], "moved", "{answer}");
}

#[tokio::test]
async fn functions_of_an_account_that_is_not_active_do_not_run() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let taken_down = network.create_account(network.pds(0)).await;
    let caller = network.create_account(network.pds(1)).await;
    let (uri, _) = author.publish_echo().await;
    let (other, _) = taken_down.publish_echo().await;
    assert_eq!(caller.run(&service, &uri, &json!(1)).send().await.ok()["ok"], true);
    author.deactivate().await;
    taken_down.take_down(true).await;
    assert_proxied_refusal(&caller.run(&service, &other, &json!(1)).send().await, 403, "AuthorInactive");
    let started = Instant::now();
    loop {
        let answer = caller.run(&service, &uri, &json!(1)).send().await;
        if answer.status == 403 {
            assert_proxied_refusal(&answer, 403, "AuthorInactive");
            break;
        }
        assert!(started.elapsed() < RECORD_TTL + SLACK, "still runs after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    author.activate().await;
    let answer = eventually(async || caller.run(&service, &uri, &json!(2)).send().await.json()).await;
    assert_eq!(answer["output"]["echo"], 2, "{answer}");
}

#[tokio::test]
async fn a_deleted_record_and_a_tombstoned_author_are_not_found() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let gone = network.create_account(network.pds(0)).await;
    let (deleted, _) = author.publish("deleted", ECHO, |_| {}).await;
    author.publish("kept", ECHO, |_| {}).await;
    author.delete_record("at.functions.metadata", "deleted").await;
    let (of_nobody, _) = gone.publish_echo().await;
    network.tombstone(&gone.did).await;
    assert_proxied_refusal(&author.run(&service, &deleted, &json!({})).send().await, 400, "FunctionNotFound");
    assert_proxied_refusal(
        &author.run(&service, &of_nobody, &json!({})).send().await,
        400,
        "FunctionNotFound",
    );
}

#[tokio::test]
async fn a_blob_that_was_taken_down_is_an_invalid_function() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let wasm = constant("\"taken down\"");
    let (uri, _) = author.publish("fn", &wasm, |_| {}).await;
    let cid = at_functions::repo::blob_cid(&wasm).to_string();
    author.take_down_blob(&cid, true).await;
    let answer = author.run(&service, &uri, &json!({})).send().await;
    assert_proxied_refusal(&answer, 400, "InvalidFunction");
    assert!(
        answer.json()["message"].as_str().is_some_and(|message| message.contains(&cid)),
        "{:?}",
        answer.json()
    );
}

#[tokio::test]
async fn a_handle_is_an_authority_only_while_both_sides_say_so() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let author = network.create_account(network.pds(0)).await;
    let other = network.create_account(network.pds(1)).await;
    author.publish_echo().await;
    let uri = |handle: &str| format!("at://{handle}/at.functions.metadata/echo");
    assert_eq!(other.run(&service, &uri(&author.handle), &json!(1)).send().await.ok()["output"]["echo"], 1);
    // A name that points to the author, but that the author's document does not claim.
    network.set_handle("claimed.a.test", Some(&author.did)).await;
    let answer = other.run(&service, &uri("claimed.a.test"), &json!(1)).send().await;
    assert_proxied_refusal(&answer, 400, "FunctionNotFound");
}

#[tokio::test]
async fn an_authors_pds_that_is_down_is_told_apart_from_an_absent_function() {
    let Some(network) = Network::shared() else { return };
    let service = Service::start(network, &[]).await;
    let pds = network.own_pds().await;
    let author = network.create_account(&pds).await;
    let caller = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish_echo().await;
    pds.stop().await;
    assert_proxied_refusal(&caller.run(&service, &uri, &json!(1)).send().await, 502, "RepoUnreachable");
    pds.start_again().await;
    let answer = eventually(async || caller.run(&service, &uri, &json!(1)).send().await.json()).await;
    assert_eq!(answer["output"]["echo"], 1, "{answer}");
}

#[tokio::test]
async fn an_issuer_whose_directory_is_down_is_not_called_a_bad_token() {
    let Some(network) = Network::shared() else { return };
    let author = network.create_account(network.pds(0)).await;
    let (uri, _) = author.publish_echo().await;
    // A service whose PLC directory is a port that nobody listens at.
    let service = Service::start(network, &["--plc-url=http://localhost:9"]).await;
    let token = author.service_token(&service.did(), RUN).await;
    let answer = run_directly(&service, &token, &uri, &json!(1)).send().await;
    assert_eq!(answer.refusal(), (502, "IssuerUnreachable".into()));
}

/// The first answer that says `ok: true`, or the last one before patience ends.
async fn eventually(call: impl AsyncFn() -> Value) -> Value {
    let started = Instant::now();
    loop {
        let answer = call().await;
        if answer["ok"] == true || started.elapsed() > PATIENCE {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
