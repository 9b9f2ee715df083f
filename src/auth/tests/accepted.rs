//! Good tokens: what PDSes, their users and other services send.

use super::*;
use crate::auth::signature::{Algorithm, Signed};
use data_encoding::BASE64URL_NOPAD;

fn bob_token(header: &str) -> String {
    Key::bob().token(header, &claims(&[("iss", Some(json!(BOB)))]))
}

#[tokio::test]
async fn a_proxied_call_is_its_issuers() {
    let world = World::new();
    let call = world.call(&alice_token(&[])).await.unwrap();
    assert_eq!(call.caller.did().as_str(), ALICE);
    assert_eq!(call.pds.unwrap().as_str(), PDS);
    assert_eq!(world.asked(), [(ALICE.to_owned(), Freshness::Cached)]);
    assert_eq!(world.verifier.remembered(), 1);
}

#[tokio::test]
async fn both_curves_are_taken_whatever_the_s() {
    let bob = claims(&[("iss", Some(json!(BOB)))]);
    for (did, key, header, claims) in
        [(ALICE, Key::alice(), ES256K, claims(&[])), (BOB, Key::bob(), ES256, bob)]
    {
        for high in [false, true] {
            let world = World::new();
            let sign = |input: &[u8]| if high { key.sign_high(input) } else { key.sign(input) };
            let token = assemble(header, &claims, sign);
            let call = world.call(&token).await.unwrap();
            assert_eq!(call.caller.did().as_str(), did, "high: {high}");
        }
    }
}

#[tokio::test]
async fn headers_of_every_honest_spelling_are_taken() {
    let world = World::new();
    for header in [
        r#"{"alg":"ES256K"}"#,
        r#"{"alg":"ES256K","typ":"jwt"}"#,
        r##"{"alg":"ES256K","typ":"Jwt","kid":"#atproto"}"##,
        r##" { "kid" : "#atproto" , "alg" : "ES256K" , "cty" : "x", "more" : [ { } ] } "##,
        r#"{"alg":"ES256\u004b"}"#,
    ] {
        let token = Key::alice().token(header, &claims(&[]));
        assert!(world.verify(&token, Repeat::Repeatable).await.is_ok(), "{header}");
    }
    assert!(world.verify(&bob_token(ES256), Repeat::Repeatable).await.is_ok());
}

#[tokio::test]
async fn the_audience_is_the_service_with_its_fragment_or_without() {
    let world = World::new();
    for aud in [SERVICE.to_owned(), format!("{SERVICE}#at_functions")] {
        let token = alice_token(&[("aud", Some(json!(aud))), ("jti", Some(json!(aud)))]);
        assert!(world.call(&token).await.is_ok(), "{aud}");
    }
}

#[tokio::test]
async fn claims_written_with_escapes_mean_the_same() {
    let world = World::new();
    let escaped = claims(&[]).replace("did:plc", r"did\u003aplc").replace(r#""exp""#, r#""\u0065xp""#);
    let call = world.call(&Key::alice().token(ES256K, &escaped)).await.unwrap();
    assert_eq!(call.caller.did().as_str(), ALICE);
    // The same `jti`, spelled otherwise, is the same token.
    let respelled = claims(&[]).replace("0123456789abcdef0123", r"\u0030123456789abcdef0123");
    assert_eq!(world.refuse(&Key::alice().token(ES256K, &respelled)).await, AuthError::Replayed);
}

#[tokio::test]
async fn the_scheme_is_read_in_any_case() {
    let world = World::new();
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        let header = format!("{scheme} {}", alice_token(&[]));
        let call = world.verifier.verify(Some(header.as_bytes()), METHOD, Repeat::Repeatable).await;
        assert!(call.is_ok(), "{scheme}");
    }
}

#[tokio::test]
async fn what_service_token_makes_is_taken() {
    let world = World::new();
    let Key::K256(key) = Key::alice() else { unreachable!() };
    let alice = Did::parse(ALICE).unwrap();
    let token = ServiceToken::new(&alice, SERVICE, METHOD, NOW);
    assert!(world.call(&token.clone().sign(&key)).await.is_ok());
    let hour = token.id("an hour's").life(Duration::from_secs(3600));
    assert!(world.call(&hour.sign(&key)).await.is_ok());
    assert_eq!(world.verifier.remembered(), 2);
}

/// Tokens that the Go implementation of AT Protocol publishes with its tests
/// (bluesky-social/indigo, `atproto/auth/jwt_test.go`).
#[test]
fn signatures_of_another_implementation_verify() {
    let cases = [
        (
            "zQ3shscXNYZQZSPwegiv7uQZZV5kzATLBRtgJhs7uRY7pfSk4",
            Algorithm::Es256K,
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NksifQ.eyJpc3MiOiJkaWQ6ZXhhbXBsZTppc3MiLCJhdWQiOiJkaWQ6ZXhhbXBsZTphdWQiLCJleHAiOjE3MTM1NzEwMTJ9.J_In_PQCMjygeeoIKyjybORD89ZnEy1bZTd--sdq_78qv3KCO9181ZAh-2Pl0qlXZjfUlxgIa6wiak2NtsT98g",
        ),
        (
            "zQ3shqKrpHzQ5HDfhgcYMWaFcpBK3SS39wZLdTjA5GeakX8G5",
            Algorithm::Es256K,
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NksifQ.eyJhdWQiOiJkaWQ6ZXhhbXBsZTphdWQiLCJpc3MiOiJkaWQ6ZXhhbXBsZTppc3MiLCJleHAiOjE3MTM1NzExMzJ9.itNeYcF5oFMZIGxtnbJhE4McSniv_aR-Yk1Wj8uWk1K8YjlS2fzuJMo0-fILV3payETxn6r45f0FfpTaqY0EZQ",
        ),
        (
            "zDnaeXRDKRCEUoYxi8ZJS2pDsgfxUh3pZiu3SES9nbY4DoART",
            Algorithm::Es256,
            "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJkaWQ6ZXhhbXBsZTppc3MiLCJhdWQiOiJkaWQ6ZXhhbXBsZTphdWQiLCJleHAiOjE3MTM1NzE1NTR9.FFRLm7SGbDUp6cL0WoCs0L5oqNkjCXB963TqbgI-KxIjbiqMQATVCalcMJx17JGTjMmfVHJP6Op_V4Z0TTjqog",
        ),
    ];
    for (key, algorithm, token) in cases {
        let key = PublicKey::from_multikey(key).unwrap();
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap().try_into().unwrap();
        let message = input.as_bytes();
        assert_eq!(Signed { algorithm, message, signature }.verify(&key), Ok(()), "{token}");
        let other = Signed { algorithm, message: &message[1..], signature };
        assert_eq!(other.verify(&key), Err(SignatureFault::Mismatch), "{token}");
    }
}
