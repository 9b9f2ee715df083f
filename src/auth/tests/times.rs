//! Expiry, issue and life, to the second.

use super::*;

const LONG: AuthError = AuthError::Malformed(Malformed::LivesTooLong { most: Duration::from_secs(3600) });
const NEEDS_ID: AuthError = AuthError::Malformed(Malformed::NeedsId { most: Duration::from_secs(60) });

async fn judged(cases: Vec<(&str, String, Result<(), AuthError>)>) {
    for (name, token, expected) in cases {
        let world = World::new();
        let judged = world.call(&token).await.map(|_| ());
        assert_eq!(judged, expected, "{name}");
        assert_eq!(world.asked().is_empty(), expected.is_err(), "{name}: nothing is fetched for a bad token");
    }
}

#[tokio::test]
async fn a_token_ends_five_seconds_after_its_expiry() {
    let exp = |exp: u64| alice_token(&[("exp", Some(json!(exp))), ("iat", None)]);
    judged(vec![
        ("now", exp(NOW), Ok(())),
        ("5 s ago", exp(NOW - 5), Ok(())),
        ("6 s ago", exp(NOW - 6), Err(AuthError::Expired)),
        ("in 1970", exp(0), Err(AuthError::Expired)),
        ("in milliseconds", exp(NOW * 1000), Err(LONG)),
        ("at the end of time", exp(u64::MAX), Err(LONG)),
    ])
    .await;
}

#[tokio::test]
async fn a_token_may_be_issued_five_seconds_ahead() {
    let iat = |iat: u64| alice_token(&[("iat", Some(json!(iat)))]);
    let nbf = |nbf: u64| alice_token(&[("nbf", Some(json!(nbf)))]);
    judged(vec![
        ("iat in 5 s", iat(NOW + 5), Ok(())),
        ("iat in 6 s", iat(NOW + 6), Err(Malformed::IssuedInFuture.into())),
        ("iat at the end of time", iat(u64::MAX), Err(Malformed::IssuedInFuture.into())),
        ("nbf in 5 s", nbf(NOW + 5), Ok(())),
        ("nbf in 6 s", nbf(NOW + 6), Err(Malformed::NotYetValid.into())),
        ("nbf long ago", nbf(0), Ok(())),
    ])
    .await;
}

#[tokio::test]
async fn a_token_lives_an_hour_and_a_minute_of_skew_at_most() {
    let lives = |iat: Option<u64>, exp: u64| {
        alice_token(&[("iat", iat.map(|iat| json!(iat))), ("exp", Some(json!(exp)))])
    };
    judged(vec![
        ("an hour", lives(Some(NOW), NOW + 3600), Ok(())),
        ("an hour, by a clock a minute ahead", lives(None, NOW + 3660), Ok(())),
        ("more", lives(None, NOW + 3661), Err(LONG)),
        ("an hour and a minute from its issue", lives(Some(NOW - 3600), NOW + 60), Ok(())),
        ("more from its issue", lives(Some(NOW - 3601), NOW + 60), Err(LONG)),
        ("more, shortened by a late iat", lives(Some(NOW + 5), NOW + 3661), Err(LONG)),
        ("since 1970", lives(Some(0), NOW + 60), Err(LONG)),
    ])
    .await;
}

#[tokio::test]
async fn without_an_id_a_token_lives_a_minute_and_the_leeway_at_most() {
    let lives = |iat: Option<u64>, exp: u64| {
        alice_token(&[("jti", None), ("iat", iat.map(|iat| json!(iat))), ("exp", Some(json!(exp)))])
    };
    judged(vec![
        ("a minute", lives(Some(NOW), NOW + 60), Ok(())),
        ("a minute, by a clock 5 s ahead", lives(Some(NOW + 5), NOW + 65), Ok(())),
        ("no iat", lives(None, NOW + 65), Ok(())),
        ("more", lives(None, NOW + 66), Err(NEEDS_ID)),
        ("more from its issue", lives(Some(NOW - 6), NOW + 60), Err(NEEDS_ID)),
        ("an hour", lives(Some(NOW), NOW + 3600), Err(NEEDS_ID)),
        ("a day", lives(Some(NOW), NOW + 86_400), Err(LONG)),
    ])
    .await;
}

#[tokio::test]
async fn the_operators_shorter_life_counts_for_all_tokens() {
    let config = VerifierConfig::new(Did::parse(SERVICE).unwrap(), "at_functions", [9; 32]);
    let world = World::with(VerifierConfig { most_life: Duration::from_secs(30), ..config });
    let most = Duration::from_secs(30);
    let token = |jti: Option<&str>, life: u64| {
        alice_token(&[("exp", Some(json!(NOW + life))), ("jti", jti.map(|id| json!(id)))])
    };
    assert_eq!(world.refuse(&token(Some("a"), 91)).await, Malformed::LivesTooLong { most }.into());
    assert!(world.call(&token(Some("a"), 90)).await.is_ok());
    assert_eq!(world.refuse(&token(None, 36)).await, Malformed::NeedsId { most }.into());
    assert!(world.call(&token(None, 35)).await.is_ok());
}

#[tokio::test]
async fn a_token_that_expires_while_its_key_is_fetched_is_refused_and_not_remembered() {
    let world = World::new();
    *world.documents.takes.lock().unwrap() = Duration::from_secs(66);
    assert_eq!(world.refuse(&alice_token(&[])).await, AuthError::Expired);
    assert_eq!(world.verifier.remembered(), 0);
    *world.documents.takes.lock().unwrap() = Duration::from_secs(65);
    let later = NOW + 66;
    let token = alice_token(&[("iat", Some(json!(later))), ("exp", Some(json!(later + 60)))]);
    assert!(world.call(&token).await.is_ok());
}
