//! Handles, which count only where their DID points back.

use super::*;

#[tokio::test]
async fn a_handle_is_resolved_by_the_dns_first() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.hosts.set("alice.com/.well-known/atproto-did", 200, BOB);
    test.dns.set_txt("_atproto.alice.com", &["v=spf1", &format!("did={ALICE}")]);
    assert_eq!(test.handle("Alice.com").await.unwrap().as_str(), ALICE);
    assert_eq!(test.hosts.asked("alice.com/.well-known/atproto-did"), 0);
}

#[tokio::test]
async fn a_handle_is_resolved_by_its_host_when_the_dns_has_no_record() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    test.hosts.redirect("alice.com/.well-known/atproto-did", "/did.txt");
    test.hosts.set("alice.com/did.txt", 200, format!("{ALICE}\n"));
    assert_eq!(test.handle("alice.com").await.unwrap().as_str(), ALICE);
    test.clock.advance(MINUTE);
    assert_eq!(test.handle("alice.com").await.unwrap().as_str(), ALICE);
    assert_eq!(test.hosts.asked("alice.com/did.txt"), 1);
}

#[tokio::test]
async fn a_handle_that_does_not_resolve_says_why() {
    let test = Test::start().await;
    let record = format!("did={ALICE}");
    test.dns.set_txt("_atproto.two.com", &[&record, &format!("did={BOB}")]);
    test.hosts.set("two.com/.well-known/atproto-did", 200, ALICE);
    test.hosts.set("down.com/.well-known/atproto-did", 502, "");
    test.hosts.set("html.com/.well-known/atproto-did", 200, "<html>");
    test.hosts.set("long.com/.well-known/atproto-did", 200, "a".repeat(5000));
    test.dns.set_addresses("gone.com", &[]);
    test.dns.break_txt("_atproto.dark.com");
    let cases = [
        ("two.com", IdentityError::NotFound),
        ("none.com", IdentityError::NotFound),
        ("html.com", IdentityError::NotFound),
        ("long.com", IdentityError::NotFound),
        ("gone.com", IdentityError::NotFound),
        ("down.com", IdentityError::Status(502)),
        ("dark.com", unreachable()),
    ];
    for (handle, error) in cases {
        assert_eq!(test.handle(handle).await, Err(error), "{handle}");
    }
}

#[tokio::test]
async fn a_handle_counts_only_when_its_did_points_back() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.com", 1));
    for thief in ["thief.com", "sub.alice.com"] {
        test.dns.set_txt(&format!("_atproto.{thief}"), &[&format!("did={ALICE}")]);
        assert_eq!(test.handle(thief).await, Err(IdentityError::HandleMismatch), "{thief}");
    }
    test.dns.set_txt("_atproto.nobody.com", &[&format!("did={BOB}")]);
    assert_eq!(test.handle("nobody.com").await, Err(IdentityError::NotFound));
    assert_eq!(test.hosts.asked_of_alice(), 1);
}

#[tokio::test]
async fn a_handle_that_the_account_took_just_now_is_seen() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "old.com", 1));
    test.document(ALICE).await.unwrap();
    test.clock.advance(MINUTE);
    test.hosts.set_plc(ALICE, document(ALICE, "new.com", 1));
    test.dns.set_txt("_atproto.new.com", &[&format!("did={ALICE}")]);
    assert_eq!(test.handle("new.com").await.unwrap().as_str(), ALICE);
}

#[tokio::test]
async fn a_handle_that_moved_to_another_account_is_followed() {
    let test = Test::start().await;
    test.hosts.set_plc(ALICE, document(ALICE, "moving.com", 1));
    test.dns.set_txt("_atproto.moving.com", &[&format!("did={ALICE}")]);
    assert_eq!(test.handle("moving.com").await.unwrap().as_str(), ALICE);
    test.clock.advance(MINUTE);
    test.hosts.set_plc(ALICE, document(ALICE, "other.com", 1));
    test.hosts.set_plc(BOB, document(BOB, "moving.com", 2));
    test.dns.set_txt("_atproto.moving.com", &[&format!("did={BOB}")]);
    test.refresh(ALICE).await.unwrap();
    assert_eq!(test.handle("moving.com").await.unwrap().as_str(), BOB);
}

#[tokio::test]
async fn handles_for_tests_are_never_asked_of_the_public_network() {
    let test = Test::start().await;
    test.dns.set_txt("_atproto.alice.test", &[&format!("did={ALICE}")]);
    assert_eq!(test.handle("alice.test").await, Err(IdentityError::NotFound));
    assert_eq!(test.dns.asked(), 0);
}

#[tokio::test]
async fn a_handle_service_takes_the_place_of_dns_and_host() {
    let test = Test::with(|config| {
        let handle_resolver = Some(config.plc_url.clone());
        ResolverConfig { handle_resolver, ..config }
    })
    .await;
    test.hosts.set_plc(ALICE, document(ALICE, "alice.test", 1));
    let answer = |did: &str| json!({"did": did}).to_string();
    let at = |handle: &str| format!("plc.com/xrpc/com.atproto.identity.resolveHandle?handle={handle}");
    test.hosts.set(&at("alice.test"), 200, answer(ALICE));
    test.hosts.set(&at("thief.com"), 200, answer(ALICE));
    test.hosts.set(&at("none.com"), 400, "{\"error\":\"HandleNotFound\"}");
    test.hosts.set(&at("odd.com"), 200, answer("did:key:zQ3sh"));
    test.hosts.set(&at("html.com"), 200, "<html>");
    test.hosts.set(&at("down.com"), 500, "");
    assert_eq!(test.handle("alice.test").await.unwrap().as_str(), ALICE);
    let cases = [
        ("thief.com", IdentityError::HandleMismatch),
        ("none.com", IdentityError::NotFound),
        ("odd.com", IdentityError::NotFound),
        ("html.com", IdentityError::Status(200)),
        ("down.com", IdentityError::Status(500)),
        ("unset.com", IdentityError::Status(404)),
    ];
    for (handle, error) in cases {
        assert_eq!(test.handle(handle).await, Err(error), "{handle}");
    }
}
