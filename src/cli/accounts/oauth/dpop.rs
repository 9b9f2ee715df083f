//! Proofs of possession (DPoP, RFC 9449): each request is signed with the key that its tokens are bound to, so that a token
//! alone is of no use to a thief.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::pkce;
use crate::cli::client::{Budget, Http};
use crate::cli::error::CliError;
use crate::clock::Clock;

/// Longer than the nonces of any server.
const MAX_NONCE_BYTES: usize = 1024;
/// What a server says that wants another nonce in the proof.
const WANTS_NONCE: &str = "use_dpop_nonce";

/// A P-256 key of one session. No `Debug`: its private half is shown nowhere.
pub(super) struct Key {
    pair: EcdsaKeyPair,
}

impl Key {
    pub(super) fn generate() -> Result<Key, CliError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| unusable())?;
        Ok(Key { pair })
    }

    /// The key as it was kept.
    pub(super) fn parse(kept: &str) -> Option<Key> {
        let document = BASE64.decode(kept.as_bytes()).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &document).ok()?;
        Some(Key { pair })
    }

    /// The key to be kept: PKCS #8 in base64.
    pub(super) fn to_kept(&self) -> Result<String, CliError> {
        let document = self.pair.to_pkcs8v1().map_err(|_| unusable())?;
        Ok(BASE64.encode(document.as_ref()))
    }

    /// The public half.
    fn jwk(&self) -> Value {
        // A point without compression: 0x04, then both coordinates.
        let point = self.pair.public_key().as_ref();
        let coordinate = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len().saturating_sub(1) / 2);
        json!({"kty": "EC", "crv": "P-256", "x": coordinate(x), "y": coordinate(y)})
    }

    fn signed(&self, claims: &Claims<'_>) -> Result<String, CliError> {
        let header = json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()});
        // Strings and numbers always serialise.
        let claims = serde_json::to_vec(claims).map_err(|_| unusable())?;
        let text = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(header.to_string().as_bytes()),
            BASE64URL_NOPAD.encode(&claims)
        );
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| unusable())?;
        Ok(format!("{text}.{}", BASE64URL_NOPAD.encode(signature.as_ref())))
    }
}

fn unusable() -> CliError {
    CliError::setting("this machine", "it could not make or use a key")
}

/// What a proof says (RFC 9449, section 4.2).
#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    htm: &'a str,
    /// Without query and fragment.
    htu: String,
    iat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
    /// The hash of the access token that goes along.
    #[serde(skip_serializing_if = "Option::is_none")]
    ath: Option<String>,
}

/// A key as one server sees it: with the nonce that this server wants in the next proof.
pub(super) struct Proofs {
    key: Arc<Key>,
    clock: Clock,
    nonce: Mutex<Option<String>>,
}

impl Proofs {
    pub(super) fn new(key: Arc<Key>, clock: Clock) -> Proofs {
        Proofs { key, clock, nonce: Mutex::new(None) }
    }

    /// Sends a request with a proof, and once more if the server wants one with another nonce.
    pub(super) async fn send(
        &self,
        http: &Http,
        request: Request<Vec<u8>>,
        token: Option<&str>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        let before = self.nonce();
        let first = self.prove(request.clone(), token, before.as_deref())?;
        let answer = http.exchange(first, budget).await?;
        let now = self.learn(&answer);
        if now == before || !wants_nonce(&answer) {
            return Ok(answer);
        }
        let second = self.prove(request, token, now.as_deref())?;
        let answer = http.exchange(second, budget).await?;
        self.learn(&answer);
        Ok(answer)
    }

    fn prove(
        &self,
        mut request: Request<Vec<u8>>,
        token: Option<&str>,
        nonce: Option<&str>,
    ) -> Result<Request<Vec<u8>>, CliError> {
        let uri = request.uri();
        let claims = Claims {
            jti: pkce::random()?,
            htm: request.method().as_str(),
            htu: format!(
                "{}://{}{}",
                uri.scheme_str().unwrap_or_default(),
                uri.authority().map_or("", |authority| authority.as_str()),
                uri.path()
            ),
            iat: self.clock.unix_seconds(),
            nonce,
            ath: token.map(|token| BASE64URL_NOPAD.encode(&Sha256::digest(token.as_bytes()))),
        };
        let proof = HeaderValue::from_str(&self.key.signed(&claims)?).map_err(|_| unusable())?;
        request.headers_mut().insert("dpop", proof);
        Ok(request)
    }

    fn nonce(&self) -> Option<String> {
        self.nonce.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the nonce of an answer, if it brings one, and tells the one that counts now.
    fn learn(&self, answer: &Response<Vec<u8>>) -> Option<String> {
        let told = answer.headers().get("dpop-nonce").and_then(|nonce| nonce.to_str().ok());
        let mut nonce = self.nonce.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = told.filter(|told| !told.is_empty() && told.len() <= MAX_NONCE_BYTES) {
            *nonce = Some(told.to_owned());
        }
        nonce.clone()
    }
}

/// An authorization server says it in the body (RFC 9449, section 8), a PDS in a header (section 9).
fn wants_nonce(answer: &Response<Vec<u8>>) -> bool {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    match answer.status() {
        StatusCode::BAD_REQUEST => {
            serde_json::from_slice::<Body>(answer.body()).is_ok_and(|body| body.error == WANTS_NONCE)
        }
        StatusCode::UNAUTHORIZED => {
            let mut challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter();
            challenges.any(|value| value.to_str().is_ok_and(|text| text.contains(WANTS_NONCE)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use p256::ecdsa::signature::Verifier;
    use p256::ecdsa::{Signature, VerifyingKey};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn proofs(key: Key) -> Proofs {
        Proofs::new(Arc::new(key), Clock::manual(NOW))
    }

    fn request(url: &str) -> Request<Vec<u8>> {
        Request::post(url).body(Vec::new()).unwrap()
    }

    /// Header and claims of a proof whose signature is that of the key in its header, checked by another implementation.
    fn verified(request: &Request<Vec<u8>>) -> (Value, Value) {
        let proof = request.headers()["dpop"].to_str().unwrap();
        let (text, signature) = proof.rsplit_once('.').unwrap();
        let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
        let (header, claims) = text.split_once('.').unwrap();
        let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
        let (header, claims) = (json(header), json(claims));
        let coordinate = |name: &str| decoded(header["jwk"][name].as_str().unwrap());
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let key = VerifyingKey::from_sec1_bytes(&point).unwrap();
        key.verify(text.as_bytes(), &Signature::from_slice(&decoded(signature)).unwrap()).unwrap();
        (header, claims)
    }

    #[test]
    fn a_proof_is_signed_and_says_what_it_is_for() {
        let proofs = proofs(Key::generate().unwrap());
        let bare = proofs.prove(request("https://as.example.com/oauth/par?x=1"), None, None).unwrap();
        let (header, claims) = verified(&bare);
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert_eq!((&header["jwk"]["kty"], &header["jwk"]["crv"]), (&json!("EC"), &json!("P-256")));
        assert!(header["jwk"].get("d").is_none(), "the private half is told");
        let jti = claims["jti"].as_str().unwrap();
        let expected =
            json!({"jti": jti, "htm": "POST", "htu": "https://as.example.com/oauth/par", "iat": NOW});
        assert_eq!(claims, expected);

        let full = request("http://localhost:2583/xrpc/a.b.c");
        let full = proofs.prove(full, Some("the token"), Some("n-1")).unwrap();
        let (_, claims) = verified(&full);
        assert_ne!(claims["jti"], jti, "each proof is good for one request");
        assert_eq!(claims["nonce"], "n-1");
        assert_eq!(claims["htu"], "http://localhost:2583/xrpc/a.b.c");
        // openssl dgst -sha256 of "the token", in base64url.
        assert_eq!(claims["ath"], BASE64URL_NOPAD.encode(&Sha256::digest(b"the token")));
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = Key::generate().unwrap();
        let again = Key::parse(&key.to_kept().unwrap()).unwrap();
        assert_eq!(key.jwk(), again.jwk());
        assert_ne!(key.jwk(), Key::generate().unwrap().jwk());
        for text in ["", "nonsense", "AAAA", "=", &BASE64.encode(&[0x30; 138])] {
            assert!(Key::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_server_says_that_it_wants_a_nonce_in_two_ways() {
        let answer = |status: u16, header: &str, body: &str| {
            let builder = Response::builder().status(status).header(WWW_AUTHENTICATE, header);
            wants_nonce(&builder.body(body.as_bytes().to_vec()).unwrap())
        };
        assert!(answer(400, "x", r#"{"error":"use_dpop_nonce","error_description":"x"}"#));
        assert!(answer(401, r#"DPoP error="use_dpop_nonce", error_description="x""#, "{}"));
        assert!(!answer(400, r#"DPoP error="use_dpop_nonce""#, r#"{"error":"invalid_grant"}"#));
        assert!(!answer(401, r#"DPoP error="invalid_token""#, r#"{"error":"use_dpop_nonce"}"#));
        assert!(!answer(200, r#"DPoP error="use_dpop_nonce""#, r#"{"error":"use_dpop_nonce"}"#));
    }

    #[test]
    fn the_last_nonce_counts_and_nonsense_does_not() {
        let proofs = proofs(Key::generate().unwrap());
        let told = |nonce: &str| {
            proofs.learn(&Response::builder().header("dpop-nonce", nonce).body(Vec::new()).unwrap())
        };
        assert_eq!(told(""), None);
        assert_eq!(told("one").as_deref(), Some("one"));
        assert_eq!(told(&"x".repeat(MAX_NONCE_BYTES + 1)).as_deref(), Some("one"));
        assert_eq!(told("two").as_deref(), Some("two"));
        assert_eq!(proofs.learn(&Response::new(Vec::new())).as_deref(), Some("two"));
    }
}
