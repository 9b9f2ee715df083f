//! Input that nobody meant for a token.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// One runtime and one world for all cases: queries leave nothing behind in it.
static WORLD: LazyLock<(Runtime, World)> =
    LazyLock::new(|| (Builder::new_multi_thread().worker_threads(1).build().unwrap(), World::new()));

fn verify(header: &[u8]) -> Result<Did, AuthError> {
    let (runtime, world) = &*WORLD;
    runtime
        .block_on(world.verifier.verify(Some(header), METHOD, Repeat::Repeatable))
        .map(|call| call.caller.did().clone())
}

fn verify_token(token: &str) -> Result<Did, AuthError> {
    verify(format!("Bearer {token}").as_bytes())
}

fn good_token(p256: bool) -> String {
    if p256 { Key::bob().token(ES256, &claims(&[("iss", Some(json!(BOB)))])) } else { alice_token(&[]) }
}

/// JSON of any shape, with the names and values that matter often among it.
fn json_text() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "alg", "typ", "kid", "crit", "iss", "aud", "exp", "iat", "nbf", "lxm", "jti", "x",
    ]);
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        Just("[[[]]]".to_owned()),
        Just(format!("\"{SERVICE}\"")),
        Just(format!("\"{ALICE}\"")),
        Just(format!("\"{METHOD}\"")),
        Just("\"ES256K\"".to_owned()),
        any::<u64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        (NOW - 10..NOW + 4000).prop_map(|n| n.to_string()),
        ".{0,20}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        ".{0,8}",
    ];
    prop::collection::vec((name, value), 0..9).prop_map(|members| {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #[test]
    fn bytes_at_random_never_verify(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(verify(&bytes).is_err());
        prop_assert!(verify(&[b"Bearer ", &bytes[..]].concat()).is_err());
    }

    #[test]
    fn parts_at_random_never_verify(
        header in prop::collection::vec(any::<u8>(), 0..80),
        claims in prop::collection::vec(any::<u8>(), 0..200),
        signature in prop::collection::vec(any::<u8>(), 60..70),
    ) {
        let parts = [header, claims, signature].map(|part| BASE64URL_NOPAD.encode(&part));
        prop_assert!(verify_token(&parts.join(".")).is_err());
    }

    #[test]
    fn json_at_random_never_verifies_unsigned(header in json_text(), claims in json_text(), signature in any::<[u8; 32]>()) {
        let token = assemble(&header, &claims, |_| [signature, signature].concat());
        prop_assert!(verify_token(&token).is_err());
        let token = assemble(ES256K, &claims, |_| [signature, signature].concat());
        prop_assert!(verify_token(&token).is_err());
    }

    #[test]
    fn json_at_random_signed_by_its_issuer_verifies_only_as_that_issuer(claims in json_text()) {
        let token = Key::alice().token(ES256K, &claims);
        if let Ok(caller) = verify_token(&token) {
            let claims: Value = serde_json::from_str(&claims).unwrap();
            prop_assert_eq!(caller.as_str(), ALICE);
            prop_assert_eq!(claims["iss"].as_str(), Some(ALICE));
            prop_assert_eq!(claims["aud"].as_str(), Some(SERVICE));
            prop_assert_eq!(claims["lxm"].as_str(), Some(METHOD));
        }
    }

    #[test]
    fn a_good_token_with_one_byte_changed_never_verifies(p256: bool, at: prop::sample::Index, byte: u8) {
        let mut token = good_token(p256).into_bytes();
        let at = at.index(token.len());
        // A space at its start would belong to the header, not to the token.
        prop_assume!(token[at] != byte && (at, byte) != (0, b' '));
        token[at] = byte;
        prop_assert!(verify(&[b"Bearer ", &token[..]].concat()).is_err());
    }

    #[test]
    fn a_good_token_with_a_bit_of_a_decoded_part_flipped_never_verifies(p256: bool, part in 0..3usize, bit: prop::sample::Index) {
        let token = good_token(p256);
        let mut parts: Vec<_> =
            token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).collect();
        let bit = bit.index(parts[part].len() * 8);
        parts[part][bit / 8] ^= 1 << (bit % 8);
        let parts: Vec<_> = parts.iter().map(|part| BASE64URL_NOPAD.encode(part)).collect();
        prop_assert!(verify_token(&parts.join(".")).is_err());
    }

    #[test]
    fn a_good_token_cut_or_added_to_never_verifies(
        p256: bool, at: prop::sample::Index, len in 1..40usize, added in "[A-Za-z0-9_.=-]{1,12}",
    ) {
        let token = good_token(p256);
        let at = at.index(token.len());
        let end = (at + len).min(token.len());
        prop_assert!(verify_token(&[&token[..at], &token[end..]].concat()).is_err());
        prop_assert!(verify_token(&[&token[..at], &added, &token[at..]].concat()).is_err());
    }

    #[test]
    fn parts_of_two_good_tokens_never_verify_together(take in 1..7u8) {
        let other = alice_token(&[("jti", Some(json!("other"))), ("iat", Some(json!(NOW - 1)))]);
        let bob = good_token(true);
        let (one, two): (Vec<_>, Vec<_>) = (bob.split('.').collect(), other.split('.').collect());
        let mixed: Vec<_> = (0..3).map(|part| if (take >> part) & 1 == 1 { one[part] } else { two[part] }).collect();
        prop_assert!(verify_token(&mixed.join(".")).is_err());
    }
}
