//! Bad tokens, each with its exact error.

use data_encoding::BASE64URL_NOPAD;

use super::*;
use crate::identity::InvalidDid;

const JSON_CLAIMS: AuthError = AuthError::Malformed(Malformed::Json(TokenPart::Claims));
const JSON_HEADER: AuthError = AuthError::Malformed(Malformed::Json(TokenPart::Header));
const ALGORITHM: AuthError = AuthError::Malformed(Malformed::Algorithm);

fn audience() -> AuthError {
    AuthError::Audience { service: SERVICE.into(), service_id: "at_functions".into() }
}

fn method() -> AuthError {
    AuthError::LexiconMethod { expected: METHOD.into() }
}

fn not_a_did(why: InvalidDid) -> AuthError {
    IssuerFault::NotADid(why).into()
}

/// Verifies each token, and that no document was asked for.
async fn refused_before_a_fetch(cases: Vec<(&str, String, AuthError)>) {
    let world = World::new();
    for (name, token, error) in cases {
        assert_eq!(world.refuse(&token).await, error, "{name}");
        assert_eq!(world.asked(), [], "{name}");
    }
    assert_eq!(world.verifier.remembered(), 0);
}

#[tokio::test]
async fn a_header_that_is_not_ours_is_refused() {
    let with = |header: &str| Key::alice().token(header, &claims(&[]));
    refused_before_a_fetch(vec![
        ("no algorithm", with(r#"{"typ":"JWT"}"#), JSON_HEADER),
        ("algorithm null", with(r#"{"alg":null}"#), JSON_HEADER),
        ("algorithm a number", with(r#"{"alg":256}"#), JSON_HEADER),
        ("algorithm twice", with(r#"{"alg":"ES256K","alg":"ES256K"}"#), JSON_HEADER),
        ("algorithm twice by escape", with(r#"{"alg":"ES256K","\u0061lg":"none"}"#), JSON_HEADER),
        ("typ twice", with(r#"{"typ":"JWT","alg":"ES256K","typ":"JWT"}"#), JSON_HEADER),
        ("typ null", with(r#"{"typ":null,"alg":"ES256K"}"#), JSON_HEADER),
        ("kid null", with(r#"{"kid":null,"alg":"ES256K"}"#), JSON_HEADER),
        ("kid a list", with(r##"{"kid":["#atproto"],"alg":"ES256K"}"##), JSON_HEADER),
        ("a list", with(r#"["ES256K","JWT"]"#), JSON_HEADER),
        ("a string", with(r#""ES256K""#), JSON_HEADER),
        ("empty", with(""), JSON_HEADER),
        ("trailing text", with(r#"{"alg":"ES256K"} x"#), JSON_HEADER),
        ("two objects", with(r#"{"alg":"ES256K"}{"alg":"ES256K"}"#), JSON_HEADER),
        ("byte order mark", with("\u{feff}{\"alg\":\"ES256K\"}"), JSON_HEADER),
        ("access token", with(r#"{"typ":"at+jwt","alg":"HS256"}"#), AuthError::Type),
        ("refresh token", with(r#"{"typ":"refresh+jwt","alg":"ES256K"}"#), AuthError::Type),
        ("DPoP proof", with(r#"{"typ":"dpop+jwt","alg":"ES256"}"#), AuthError::Type),
        (
            "space credential",
            with(r#"{"typ":"atproto-space-credential+jwt","alg":"ES256K"}"#),
            AuthError::Type,
        ),
        ("typ empty", with(r#"{"typ":"","alg":"ES256K"}"#), AuthError::Type),
        ("typ as media type", with(r#"{"typ":"application/jwt","alg":"ES256K"}"#), AuthError::Type),
        ("algorithm in lower case", with(r#"{"alg":"es256k"}"#), ALGORITHM),
        ("algorithm of another curve", with(r#"{"alg":"ES384"}"#), ALGORITHM),
        ("algorithm RS256", with(r#"{"alg":"RS256"}"#), ALGORITHM),
        ("algorithm EdDSA", with(r#"{"alg":"EdDSA"}"#), ALGORITHM),
        ("algorithm NONE", with(r#"{"alg":"NONE"}"#), ALGORITHM),
        ("kid of another key", with(r##"{"alg":"ES256K","kid":"#atproto_label"}"##), Malformed::KeyId.into()),
        ("kid without #", with(r#"{"alg":"ES256K","kid":"atproto"}"#), Malformed::KeyId.into()),
        (
            "kid with the DID",
            with(&format!(r##"{{"alg":"ES256K","kid":"{ALICE}#atproto"}}"##)),
            Malformed::KeyId.into(),
        ),
        ("kid empty", with(r#"{"alg":"ES256K","kid":""}"#), Malformed::KeyId.into()),
        ("crit", with(r#"{"alg":"ES256K","crit":["exp"]}"#), Malformed::Critical.into()),
        (
            "unencoded payload",
            with(r#"{"alg":"ES256K","crit":["b64"],"b64":false}"#),
            Malformed::Critical.into(),
        ),
        ("crit empty", with(r#"{"alg":"ES256K","crit":[]}"#), Malformed::Critical.into()),
        ("crit null", with(r#"{"alg":"ES256K","crit":null}"#), Malformed::Critical.into()),
    ])
    .await;
}

#[tokio::test]
async fn claims_that_are_no_claims_are_refused() {
    let with = |claims: &str| Key::alice().token(ES256K, claims);
    let set = |name: &str, value: Value| alice_token(&[(name, Some(value))]);
    let without = |name: &str| alice_token(&[(name, None)]);
    let twice = |member: &str| with(&claims(&[]).replacen('{', &format!("{{{member},"), 1));
    let list = alice_claims().as_object().unwrap().values().cloned().collect::<Value>();
    refused_before_a_fetch(vec![
        ("empty", with(""), JSON_CLAIMS),
        ("an empty object", with("{}"), JSON_CLAIMS),
        ("a list of the claims", with(&list.to_string()), JSON_CLAIMS),
        ("null", with("null"), JSON_CLAIMS),
        ("cut short", with(&claims(&[])[..60]), JSON_CLAIMS),
        ("no iss", without("iss"), JSON_CLAIMS),
        ("no aud", without("aud"), JSON_CLAIMS),
        ("no exp", without("exp"), JSON_CLAIMS),
        ("iss a number", set("iss", json!(1)), JSON_CLAIMS),
        ("aud a list", set("aud", json!([SERVICE])), JSON_CLAIMS),
        ("aud a list of many", set("aud", json!([SERVICE, "did:web:other.com"])), JSON_CLAIMS),
        ("aud null", set("aud", json!(null)), JSON_CLAIMS),
        ("exp a string", set("exp", json!("1790000060")), JSON_CLAIMS),
        ("exp negative", set("exp", json!(-1)), JSON_CLAIMS),
        ("exp a fraction", set("exp", json!(1790000060.5)), JSON_CLAIMS),
        ("exp a float", with(&claims(&[]).replace("1790000060", "1790000060.0")), JSON_CLAIMS),
        ("exp with an exponent", with(&claims(&[]).replace("1790000060", "1.79e9")), JSON_CLAIMS),
        ("exp past 64 bits", with(&claims(&[]).replace("1790000060", "18446744073709551616")), JSON_CLAIMS),
        ("exp null", set("exp", json!(null)), JSON_CLAIMS),
        ("iat null", set("iat", json!(null)), JSON_CLAIMS),
        ("iat a string", set("iat", json!("now")), JSON_CLAIMS),
        ("nbf a string", set("nbf", json!("now")), JSON_CLAIMS),
        ("lxm a list", set("lxm", json!([METHOD])), JSON_CLAIMS),
        ("lxm null", set("lxm", json!(null)), JSON_CLAIMS),
        ("jti a number", set("jti", json!(7)), JSON_CLAIMS),
        ("jti null", set("jti", json!(null)), JSON_CLAIMS),
        ("exp twice", twice(r#""exp":1790000060"#), JSON_CLAIMS),
        ("iss twice", twice(r#""iss":"did:web:mallory.com""#), JSON_CLAIMS),
        ("aud twice by escape", twice(r#""\u0061ud":"did:web:fn.example.com""#), JSON_CLAIMS),
        ("jti twice", twice(r#""jti":"other""#), JSON_CLAIMS),
        ("half a surrogate", with(&claims(&[]).replace(METHOD, "\\ud800")), JSON_CLAIMS),
    ])
    .await;
}

#[tokio::test]
async fn claims_for_others_are_refused() {
    let set = |name: &str, value: &str| alice_token(&[(name, Some(json!(value)))]);
    let aud = |value: &str| set("aud", value);
    let iss = |value: &str| set("iss", value);
    refused_before_a_fetch(vec![
        ("another service", aud("did:web:other.example.com"), audience()),
        ("aud empty", aud(""), audience()),
        ("aud of another fragment", aud("did:web:fn.example.com#bsky_appview"), audience()),
        ("aud of an empty fragment", aud("did:web:fn.example.com#"), audience()),
        ("aud of two fragments", aud("did:web:fn.example.com#at_functions#at_functions"), audience()),
        ("aud in upper case", aud("did:web:FN.example.com"), audience()),
        ("aud with a longer fragment", aud("did:web:fn.example.com#at_functions2"), audience()),
        ("aud with a shorter fragment", aud("did:web:fn.example.com#at_function"), audience()),
        ("aud that only begins as ours", aud("did:web:fn.example.com.evil.com"), audience()),
        ("aud with a space", aud("did:web:fn.example.com "), audience()),
        ("aud a URL", aud("https://fn.example.com"), audience()),
        ("aud the fragment alone", aud("#at_functions"), audience()),
        ("no lxm", alice_token(&[("lxm", None)]), method()),
        ("lxm empty", set("lxm", ""), method()),
        ("lxm of another method", set("lxm", "at.functions.describe"), method()),
        ("lxm a wildcard", set("lxm", "*"), method()),
        ("lxm that only begins so", set("lxm", "at.functions.runAll"), method()),
        ("lxm in other case", set("lxm", "at.functions.Run"), method()),
        ("iss empty", iss(""), not_a_did(InvalidDid::NotADid)),
        ("iss a handle", iss("alice.example.com"), not_a_did(InvalidDid::NotADid)),
        ("iss with a fragment", iss(&format!("{ALICE}#atproto")), not_a_did(InvalidDid::Plc)),
        ("iss a labeler", iss(&format!("{BOB}#atproto_labeler")), not_a_did(InvalidDid::Web)),
        (
            "iss did:key",
            iss(&format!("did:key:{}", Key::alice().public().to_multikey())),
            not_a_did(InvalidDid::Method),
        ),
        ("iss did:example", iss("did:example:iss"), not_a_did(InvalidDid::Method)),
        ("iss an address", iss("did:web:169.254.169.254"), not_a_did(InvalidDid::Web)),
        ("iss with a path", iss("did:web:example.com:user"), not_a_did(InvalidDid::Web)),
        ("iss with a port", iss("did:web:example.com%3A22"), not_a_did(InvalidDid::Web)),
        ("iss in upper case", iss(&ALICE.to_uppercase()), not_a_did(InvalidDid::NotADid)),
        ("iss too long", iss(&format!("did:web:{}.com", "a".repeat(3000))), not_a_did(InvalidDid::TooLong)),
    ])
    .await;
}

#[tokio::test]
async fn a_signature_of_no_use_is_refused_before_a_fetch() {
    let input = |header: &str| {
        format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.as_bytes()),
            BASE64URL_NOPAD.encode(claims(&[]).as_bytes())
        )
    };
    let signed = |signature: &[u8]| format!("{}.{}", input(ES256K), BASE64URL_NOPAD.encode(signature));
    let good = Key::alice().sign(input(ES256K).as_bytes());
    let length = || AuthError::Signature(SignatureFault::Length);
    let encoding = |part| AuthError::Malformed(Malformed::Encoding(part));
    // HMAC with the public key as its secret, as a verifier would compute it that lets the token choose.
    let hs256 = {
        let input = input(r#"{"typ":"JWT","alg":"HS256"}"#);
        let public = jsonwebtoken::EncodingKey::from_secret(Key::alice().public().compressed());
        let mac =
            jsonwebtoken::crypto::sign(input.as_bytes(), &public, jsonwebtoken::Algorithm::HS256).unwrap();
        format!("{input}.{mac}")
    };
    let token = alice_token(&[]);
    let stray_bits = {
        // The last character of 64 bytes carries 2 bits and 4 that must be zero.
        let last = token.chars().last().unwrap();
        let next = char::from(last as u8 + 1);
        format!("{}{next}", &token[..token.len() - 1])
    };
    refused_before_a_fetch(vec![
        ("HS256 under the public key", hs256, ALGORITHM),
        ("none, unsigned", format!("{}.", input(r#"{"typ":"JWT","alg":"none"}"#)), ALGORITHM),
        ("ES256K, unsigned", signed(b""), length()),
        ("DER on secp256k1", assemble(ES256K, &claims(&[]), |i| Key::alice().sign_der(i)), length()),
        (
            "DER on P-256",
            assemble(ES256, &claims(&[("iss", Some(json!(BOB)))]), |i| Key::bob().sign_der(i)),
            length(),
        ),
        ("63 bytes", signed(&good[..63]), length()),
        ("65 bytes", signed(&[&good[..], &[0]].concat()), length()),
        ("padding", format!("{token}=="), encoding(TokenPart::Signature)),
        ("stray bits", stray_bits, encoding(TokenPart::Signature)),
        ("the other alphabet", format!("{}.++//", input(ES256K)), encoding(TokenPart::Signature)),
        ("claims not base64", token.replacen('.', ".!", 1), encoding(TokenPart::Claims)),
        ("header not base64", format!("!{token}"), encoding(TokenPart::Header)),
        ("two parts", input(ES256K), Malformed::Parts.into()),
        ("four parts", format!("{token}.x"), Malformed::Parts.into()),
        ("encrypted, five parts", format!("{token}.x.y"), Malformed::Parts.into()),
        ("dots only", "..".to_owned(), JSON_HEADER),
    ])
    .await;
}

#[tokio::test]
async fn bytes_that_are_not_text_are_refused() {
    let b64 = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let (header, body, signature) = (b64(ES256K.as_bytes()), b64(claims(&[]).as_bytes()), b64(&[1; 64]));
    refused_before_a_fetch(vec![
        (
            "header",
            format!("{}.{body}.{signature}", b64(b"{\"alg\":\"ES256K\",\"x\":\"\xff\"}")),
            JSON_HEADER,
        ),
        ("claims", format!("{header}.{}.{signature}", b64(b"{\"iss\":\"\xc0\xaf\"}")), JSON_CLAIMS),
        (
            "a line break in a string",
            format!("{header}.{}.{signature}", b64(b"{\"iss\":\"\n\"}")),
            JSON_CLAIMS,
        ),
        ("a NUL after the object", format!("{header}.{}.{signature}", b64(b"{}\0")), JSON_CLAIMS),
        ("deep nesting", format!("{header}.{}.{signature}", b64("[".repeat(5000).as_bytes())), JSON_CLAIMS),
        (
            "deep nesting of what is not read",
            format!("{header}.{}.{signature}", b64(format!("{{\"x\":{}", "[".repeat(5000)).as_bytes())),
            JSON_CLAIMS,
        ),
    ])
    .await;
}

#[tokio::test]
async fn signatures_of_others_are_refused() {
    let world = World::new();
    let bob = |header: &str, key: &Key| key.token(header, &claims(&[("iss", Some(json!(BOB)))]));
    let algorithm = || AuthError::Signature(SignatureFault::Algorithm);
    let mismatch = || AuthError::Signature(SignatureFault::Mismatch);
    let good = alice_token(&[]);
    let (signing_input, signature) = good.rsplit_once('.').unwrap();
    let cases = [
        ("P-256 key labelled ES256K", bob(ES256K, &Key::bob()), algorithm()),
        ("secp256k1 key labelled ES256", Key::alice().token(ES256, &claims(&[])), algorithm()),
        ("another secp256k1 key", Key::k256(3).token(ES256K, &claims(&[])), mismatch()),
        ("another P-256 key", bob(ES256, &Key::p256(3)), mismatch()),
        ("the same scalar on the other curve", bob(ES256, &Key::p256(1)), mismatch()),
        ("zeros", format!("{signing_input}.{}", BASE64URL_NOPAD.encode(&[0; 64])), mismatch()),
        ("ones", format!("{signing_input}.{}", BASE64URL_NOPAD.encode(&[0xff; 64])), mismatch()),
        ("P-256 zeros", assemble(ES256, &claims(&[("iss", Some(json!(BOB)))]), |_| vec![0; 64]), mismatch()),
        (
            "P-256 ones",
            assemble(ES256, &claims(&[("iss", Some(json!(BOB)))]), |_| vec![0xff; 64]),
            mismatch(),
        ),
        (
            "the signature of another token",
            format!("{}.{signature}", alice_token(&[("jti", Some(json!("2")))]).rsplit_once('.').unwrap().0),
            mismatch(),
        ),
        (
            "a signature over the claims alone",
            assemble(ES256K, &claims(&[]), |_| Key::alice().sign(claims(&[]).as_bytes())),
            mismatch(),
        ),
        (
            "its own key in the header",
            Key::k256(3).token(
                r#"{"alg":"ES256K","jwk":{"kty":"EC","crv":"secp256k1"},"jku":"https://evil.com/keys"}"#,
                &claims(&[]),
            ),
            mismatch(),
        ),
    ];
    for (name, token, error) in cases {
        assert_eq!(world.refuse(&token).await, error, "{name}");
    }
    assert_eq!(world.verifier.remembered(), 0);
}

#[tokio::test]
async fn of_many_faults_the_first_in_order_is_named() {
    let header_faults = [
        (r#"{"typ":"at+jwt","alg":"none","crit":[],"kid":""}"#, AuthError::Type),
        (r#"{"typ":"JWT","alg":"none","crit":[],"kid":""}"#, ALGORITHM),
        (r#"{"typ":"JWT","alg":"ES256K","crit":[],"kid":""}"#, Malformed::Critical.into()),
        (r#"{"typ":"JWT","alg":"ES256K","kid":""}"#, Malformed::KeyId.into()),
        (r#"{"typ":"JWT","alg":"ES256K"}"#, JSON_CLAIMS),
    ];
    let most = Duration::from_secs(3600);
    let mut bad = vec![
        ("aud", json!("x"), json!(SERVICE), audience()),
        ("exp", json!(1), json!(NOW + 9_000), AuthError::Expired),
        ("iat", json!(NOW + 6), json!(NOW), Malformed::IssuedInFuture.into()),
        ("nbf", json!(NOW + 6), json!(NOW), Malformed::NotYetValid.into()),
        ("exp", json!(NOW + 9_000), json!(NOW + 60), Malformed::LivesTooLong { most }.into()),
        ("lxm", json!("x"), json!(METHOD), method()),
        ("iss", json!("x"), json!(ALICE), not_a_did(InvalidDid::NotADid)),
    ];
    let world = World::new();
    let unsigned = |header: &str, claims: &Value| assemble(header, &claims.to_string(), |_| Vec::new());
    for (header, error) in header_faults {
        assert_eq!(world.refuse(&unsigned(header, &json!([]))).await, error, "{header}");
    }
    // From here everything is wrong, and one after the other is put right.
    let mut claims = alice_claims();
    for (name, wrong, ..) in bad.iter().rev() {
        claims[*name] = wrong.clone();
    }
    for (name, _, right, error) in bad.drain(..) {
        assert_eq!(world.refuse(&unsigned(ES256K, &claims)).await, error, "{name}");
        claims[name] = right;
    }
    let unsigned = unsigned(ES256K, &claims);
    assert_eq!(world.refuse(&unsigned).await, SignatureFault::Length.into());
    assert_eq!(world.asked(), []);
}

#[tokio::test]
async fn a_call_without_a_token_is_not_taken_for_a_bad_one() {
    let world = World::new();
    for header in [None, Some(&b""[..])] {
        let error = world.verifier.verify(header, METHOD, Repeat::SingleUse).await.unwrap_err();
        assert_eq!((error.name(), error.status()), ("AuthMissing", 401));
    }
    assert_eq!(world.asked(), []);
}
