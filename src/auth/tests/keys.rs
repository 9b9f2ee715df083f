//! Which key counts, and when it is asked for again.

use super::*;

fn asked(did: &str, freshnesses: &[Freshness]) -> Vec<(String, Freshness)> {
    freshnesses.iter().map(|&freshness| (did.to_owned(), freshness)).collect()
}

const ONCE: &[Freshness] = &[Freshness::Cached];
const TWICE: &[Freshness] = &[Freshness::Cached, Freshness::Refreshed];

#[tokio::test]
async fn a_new_key_is_seen_by_one_refresh() {
    let old = Key::k256(8);
    let rotations = [
        ("to another key of the curve", Ok(issuer(Some(old.public())))),
        ("to the other curve", Ok(issuer(Some(Key::bob().public())))),
        ("from no usable key", Ok(issuer(None))),
    ];
    for (name, cached) in rotations {
        let world = World::new();
        world.cache_answer(ALICE, cached);
        let moved = Url::parse("https://new.example.com/").unwrap();
        let fresh = Issuer { key: Some(Key::alice().public()), pds: Some(moved.clone()) };
        world.refresh_answer(ALICE, Ok(fresh));
        let call = world.call(&alice_token(&[])).await.unwrap();
        assert_eq!(call.pds, Some(moved), "{name}: the document that proved the caller tells its PDS");
        assert_eq!(world.asked(), asked(ALICE, TWICE), "{name}");
    }
}

#[tokio::test]
async fn a_key_that_was_replaced_is_refused() {
    let world = World::new();
    world.cache(ALICE, &Key::k256(8));
    world.refresh_answer(ALICE, Ok(issuer(Some(Key::k256(9).public()))));
    assert_eq!(world.refuse(&alice_token(&[])).await, SignatureFault::Mismatch.into());
    assert_eq!(world.asked(), asked(ALICE, TWICE));
}

#[tokio::test]
async fn a_bad_token_asks_for_one_refresh_and_no_more() {
    let world = World::new();
    let forged = Key::k256(66).token(ES256K, &claims(&[]));
    for _ in 0..3 {
        assert_eq!(world.refuse(&forged).await, SignatureFault::Mismatch.into());
        assert_eq!(world.asked(), asked(ALICE, TWICE));
    }
    // The forger has neither used up Alice's token nor kept her from calling.
    assert!(world.call(&alice_token(&[])).await.is_ok());
    assert_eq!(world.asked(), asked(ALICE, ONCE));
}

#[tokio::test]
async fn an_issuer_who_cannot_be_known_is_refused_with_the_reason() {
    let not_found = || Err(IssuerError::NotFound);
    let invalid = || Err(IssuerError::Invalid("its id is another DID".to_owned()));
    let unreachable = || Err(IssuerError::Unreachable);
    let busy = || Err(IssuerError::Busy);
    let other_key = || Ok(issuer(Some(Key::k256(8).public())));
    let network = AuthError::IssuerUnreachable(Trouble::Network);
    let document = AuthError::Issuer(IssuerFault::InvalidDocument("its id is another DID".to_owned()));
    let cases = [
        ("no such DID", not_found(), None, IssuerFault::NotFound.into(), ONCE),
        ("invalid document", invalid(), None, document.clone(), ONCE),
        ("network trouble", unreachable(), None, network.clone(), ONCE),
        ("too many wait", busy(), None, AuthError::IssuerUnreachable(Trouble::Busy), ONCE),
        ("no key", Ok(issuer(None)), None, IssuerFault::NoKey.into(), TWICE),
        ("the key was taken away", other_key(), Some(Ok(issuer(None))), IssuerFault::NoKey.into(), TWICE),
        ("deactivated since", other_key(), Some(not_found()), IssuerFault::NotFound.into(), TWICE),
        ("invalid since", other_key(), Some(invalid()), document, TWICE),
        ("trouble on refresh", other_key(), Some(unreachable()), network, TWICE),
        ("busy on refresh", other_key(), Some(busy()), AuthError::IssuerUnreachable(Trouble::Busy), TWICE),
    ];
    for (name, cached, refreshed, error, freshnesses) in cases {
        let world = World::new();
        world.cache_answer(ALICE, cached);
        if let Some(refreshed) = refreshed {
            world.refresh_answer(ALICE, refreshed);
        }
        assert_eq!(world.refuse(&alice_token(&[])).await, error, "{name}");
        assert_eq!(world.asked(), asked(ALICE, freshnesses), "{name}");
        assert_eq!(world.verifier.remembered(), 0, "{name}");
        let trouble = matches!(error, AuthError::IssuerUnreachable(_));
        assert_eq!(error.status(), if trouble { 502 } else { 401 }, "{name}");
    }
}
