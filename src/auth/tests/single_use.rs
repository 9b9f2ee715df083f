//! Tokens are good for one call of a procedure.

use super::*;

#[tokio::test]
async fn a_token_is_good_for_one_call() {
    for jti in [Some(json!("a")), None] {
        let world = World::new();
        let token = alice_token(&[("jti", jti)]);
        assert!(world.call(&token).await.is_ok());
        assert_eq!(world.refuse(&token).await, AuthError::Replayed);
        world.clock.advance(Duration::from_secs(65));
        assert_eq!(world.refuse(&token).await, AuthError::Replayed);
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.refuse(&token).await, AuthError::Expired);
    }
}

#[tokio::test]
async fn a_query_may_repeat_its_token() {
    let world = World::new();
    let token = alice_token(&[]);
    for _ in 0..3 {
        let call = world.verify(&token, Repeat::Repeatable).await.unwrap();
        call.ticket.give_back();
    }
    assert_eq!(world.verifier.remembered(), 0);
    assert!(world.call(&token).await.is_ok());
}

#[tokio::test]
async fn a_token_is_known_by_issuer_and_id_whatever_else_it_says() {
    let world = World::new();
    let set = |name: &str, value: Value| alice_token(&[(name, Some(value))]);
    assert!(world.call(&alice_token(&[])).await.is_ok());
    let same = [
        ("another expiry", set("exp", json!(NOW + 50))),
        ("a longer life", set("exp", json!(NOW + 3600))),
        ("the other audience", set("aud", json!(format!("{SERVICE}#at_functions")))),
        ("another issue", set("iat", json!(NOW - 1))),
        ("another header", Key::alice().token(r#"{"alg":"ES256K"}"#, &claims(&[]))),
    ];
    for (name, token) in same {
        assert_eq!(world.refuse(&token).await, AuthError::Replayed, "{name}");
    }
    let bobs = Key::bob().token(ES256, &claims(&[("iss", Some(json!(BOB)))]));
    assert!(world.call(&bobs).await.is_ok(), "the same id from another issuer");
    assert!(world.call(&set("jti", json!("other"))).await.is_ok());
    assert!(world.call(&alice_token(&[("jti", None)])).await.is_ok());
    assert!(world.call(&set("jti", json!(""))).await.is_ok());
}

#[tokio::test]
async fn the_twin_of_a_signature_makes_no_new_token() {
    for jti in [Some(json!("a")), None] {
        for (key, did, header) in [(Key::alice(), ALICE, ES256K), (Key::bob(), BOB, ES256)] {
            let world = World::new();
            let claims = claims(&[("jti", jti.clone()), ("iss", Some(json!(did)))]);
            let low = key.token(header, &claims);
            let high = assemble(header, &claims, |input| key.sign_high(input));
            assert_ne!(low, high);
            assert!(world.call(&low).await.is_ok());
            assert_eq!(world.refuse(&high).await, AuthError::Replayed, "{did}");
        }
    }
}

#[tokio::test]
async fn a_token_given_back_is_good_once_more() {
    for jti in [Some(json!("a")), None] {
        let world = World::new();
        let token = alice_token(&[("jti", jti)]);
        for _ in 0..3 {
            let call = world.call(&token).await.unwrap();
            assert_eq!(world.refuse(&token).await, AuthError::Replayed);
            call.ticket.give_back();
            assert_eq!(world.verifier.remembered(), 0);
        }
        drop(world.call(&token).await.unwrap().ticket);
        assert_eq!(world.refuse(&token).await, AuthError::Replayed);
    }
}

#[tokio::test]
async fn a_late_return_does_not_free_the_next_token_of_that_id() {
    let world = World::new();
    let first = world.call(&alice_token(&[])).await.unwrap();
    world.clock.advance(Duration::from_secs(66));
    let now = NOW + 66;
    let second = alice_token(&[("iat", Some(json!(now))), ("exp", Some(json!(now + 60)))]);
    assert!(world.call(&second).await.is_ok());
    first.ticket.give_back();
    assert_eq!(world.refuse(&second).await, AuthError::Replayed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_present_one_token_at_once_one_wins() {
    let world = World::new();
    for round in 0..20 {
        let claims = claims(&[
            ("jti", (round % 2 == 0).then(|| json!(round.to_string()))),
            ("exp", Some(json!(NOW + 60 - round))),
        ]);
        let low = Key::alice().token(ES256K, &claims);
        let high = assemble(ES256K, &claims, |input| Key::alice().sign_high(input));
        let start = Arc::new(tokio::sync::Barrier::new(16));
        let tasks: Vec<_> = (0..16)
            .map(|n| {
                let (start, verifier) = (Arc::clone(&start), Arc::clone(&world.verifier));
                let header = format!("Bearer {}", if n % 2 == 0 { &low } else { &high });
                tokio::spawn(async move {
                    start.wait().await;
                    verifier.verify(Some(header.as_bytes()), METHOD, Repeat::SingleUse).await
                })
            })
            .collect();
        let mut winners = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(_) => winners += 1,
                Err(error) => assert_eq!(error, AuthError::Replayed),
            }
        }
        assert_eq!(winners, 1, "round {round}");
    }
}

#[tokio::test]
async fn an_unproved_token_is_not_remembered() {
    let world = World::new();
    let forged = Key::k256(66).token(ES256K, &claims(&[]));
    assert_eq!(world.refuse(&forged).await, SignatureFault::Mismatch.into());
    assert_eq!(world.verifier.remembered(), 0);
    assert!(world.call(&alice_token(&[])).await.is_ok());
}

#[tokio::test]
async fn an_issuer_beyond_its_share_is_refused_alone() {
    // 64 tokens: 4 an issuer, of which 3 may live long.
    let world = World::with_capacity(64);
    let long =
        |id: u64| alice_token(&[("jti", Some(json!(id.to_string()))), ("exp", Some(json!(NOW + 3600)))]);
    let short = |id: u64| alice_token(&[("jti", Some(json!(id.to_string())))]);
    for id in 0..3 {
        assert!(world.call(&long(id)).await.is_ok());
    }
    let error = world.refuse(&long(3)).await;
    assert_eq!(error, AuthError::ShareExceeded(Holder::Issuer));
    assert_eq!((error.name(), error.status()), ("RateLimitExceeded", 429));
    let kept = world.call(&short(4)).await.unwrap();
    assert_eq!(world.refuse(&short(5)).await, AuthError::ShareExceeded(Holder::Issuer));
    assert_eq!(world.refuse(&short(4)).await, AuthError::Replayed, "a used token stays known");
    assert!(world.call(&Key::bob().token(ES256, &claims(&[("iss", Some(json!(BOB)))]))).await.is_ok());
    kept.ticket.give_back();
    assert!(world.call(&short(5)).await.is_ok(), "what is given back makes room");
    world.clock.advance(Duration::from_secs(66));
    let now = NOW + 66;
    let next =
        alice_token(&[("jti", Some(json!("6"))), ("iat", Some(json!(now))), ("exp", Some(json!(now + 60)))]);
    assert!(world.call(&next).await.is_ok(), "what has expired makes room");
    assert_eq!(world.refuse(&long(0)).await, AuthError::Replayed);
}
