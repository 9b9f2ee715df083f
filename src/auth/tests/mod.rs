//! The room from outside: tokens in, callers or errors out. Shared here: a small world of issuers
//! with known keys, a clock that stands still, and tokens made of any JSON.

mod accepted;
mod hostile;
mod keys;
mod memory;
mod refused;
mod single_use;
mod times;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use url::Url;

use super::token::assemble;
use super::*;
use crate::clock::Clock;
use crate::identity::{Curve, Did, PublicKey, SigningKey};

const NOW: u64 = 1_790_000_000;
const SERVICE: &str = "did:web:fn.example.com";
const METHOD: &str = "at.functions.run";
/// Signs with secp256k1.
const ALICE: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
/// Signs with P-256.
const BOB: &str = "did:web:bob.example.com";
const PDS: &str = "https://pds.example.com/";

const ES256K: &str = r#"{"typ":"JWT","alg":"ES256K"}"#;
const ES256: &str = r#"{"typ":"JWT","alg":"ES256"}"#;

/// A private key of either curve.
enum Key {
    K256(SigningKey),
    P256(p256::ecdsa::SigningKey),
}

impl Key {
    fn k256(seed: u8) -> Key {
        Key::K256(SigningKey::from_bytes(&[seed; 32]).unwrap())
    }

    fn p256(seed: u8) -> Key {
        Key::P256(p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap())
    }

    fn alice() -> Key {
        Key::k256(1)
    }

    fn bob() -> Key {
        Key::p256(2)
    }

    fn public(&self) -> PublicKey {
        match self {
            Key::K256(key) => key.public(),
            Key::P256(key) => {
                let point = key.verifying_key().to_sec1_point(false);
                PublicKey::from_sec1(Curve::P256, point.as_bytes()).unwrap()
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Key::K256(key) => key.sign(message).to_vec(),
            Key::P256(key) => {
                let signature: p256::ecdsa::Signature = p256::ecdsa::signature::Signer::sign(key, message);
                signature.normalize_s().to_bytes().to_vec()
            }
        }
    }

    /// The other signature of the same message.
    fn sign_high(&self, message: &[u8]) -> Vec<u8> {
        use k256::elliptic_curve::ops::Neg;
        let low = self.sign(message);
        match self {
            Key::K256(_) => {
                let (r, s) = k256::ecdsa::Signature::from_slice(&low).unwrap().split_scalars();
                k256::ecdsa::Signature::from_scalars(*r, s.neg()).unwrap().to_bytes().to_vec()
            }
            Key::P256(_) => {
                let (r, s) = p256::ecdsa::Signature::from_slice(&low).unwrap().split_scalars();
                p256::ecdsa::Signature::from_scalars(*r, s.neg()).unwrap().to_bytes().to_vec()
            }
        }
    }

    fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let raw = self.sign(message);
        match self {
            Key::K256(_) => k256::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec(),
            Key::P256(_) => p256::ecdsa::Signature::from_slice(&raw).unwrap().to_der().as_bytes().to_vec(),
        }
    }

    /// A token of this header and these claims.
    fn token(&self, header: &str, claims: &str) -> String {
        assemble(header, claims, |input| self.sign(input))
    }
}

/// The claims of a proxied call of Alice's.
fn alice_claims() -> Value {
    json!({"iat": NOW, "iss": ALICE, "aud": SERVICE, "exp": NOW + 60, "lxm": METHOD,
        "jti": "0123456789abcdef0123456789abcdef"})
}

/// The claims of a proxied call of Alice's with some set, or left out where `None`.
fn claims(changes: &[(&str, Option<Value>)]) -> String {
    let mut claims = alice_claims();
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes {
        match value {
            Some(value) => members.insert((*name).to_owned(), value.clone()),
            None => members.remove(*name),
        };
    }
    claims.to_string()
}

/// A token of Alice's with some claims changed.
fn alice_token(changes: &[(&str, Option<Value>)]) -> String {
    Key::alice().token(ES256K, &claims(changes))
}

/// DID documents, and who asked for them.
struct Documents {
    cached: Mutex<HashMap<String, Result<Issuer, IssuerError>>>,
    /// Where it differs from what is cached.
    refreshed: Mutex<HashMap<String, Result<Issuer, IssuerError>>>,
    asked: Mutex<Vec<(String, Freshness)>>,
    clock: Clock,
    /// What a fetch takes.
    takes: Mutex<Duration>,
}

impl Issuers for Documents {
    fn issuer<'a>(&'a self, did: &'a Did, freshness: Freshness) -> IssuerFuture<'a> {
        Box::pin(async move {
            self.asked.lock().unwrap().push((did.to_string(), freshness));
            self.clock.advance(*self.takes.lock().unwrap());
            tokio::task::yield_now().await;
            let cached = self.cached.lock().unwrap().get(did.as_str()).cloned();
            let refreshed = self.refreshed.lock().unwrap().get(did.as_str()).cloned();
            let found = if freshness == Freshness::Refreshed { refreshed.or(cached) } else { cached };
            found.unwrap_or(Err(IssuerError::NotFound))
        })
    }
}

/// A verifier in a world of its own.
struct World {
    clock: Clock,
    documents: Arc<Documents>,
    verifier: Arc<Verifier>,
}

impl World {
    fn new() -> World {
        World::with_capacity(1024)
    }

    fn with_capacity(replay_capacity: usize) -> World {
        let config = VerifierConfig::new(Did::parse(SERVICE).unwrap(), "at_functions", [9; 32]);
        World::with(VerifierConfig { replay_capacity, ..config })
    }

    fn with(config: VerifierConfig) -> World {
        let clock = Clock::manual(NOW);
        let documents = Arc::new(Documents {
            cached: Mutex::default(),
            refreshed: Mutex::default(),
            asked: Mutex::default(),
            clock: clock.clone(),
            takes: Mutex::default(),
        });
        let verifier = Arc::new(Verifier::new(config, Arc::clone(&documents) as _, clock.clone()));
        let world = World { clock, documents, verifier };
        world.cache(ALICE, &Key::alice());
        world.cache(BOB, &Key::bob());
        world
    }

    fn cache(&self, did: &str, key: &Key) {
        self.cache_answer(did, Ok(issuer(Some(key.public()))));
    }

    fn cache_answer(&self, did: &str, answer: Result<Issuer, IssuerError>) {
        self.documents.cached.lock().unwrap().insert(did.to_owned(), answer);
    }

    fn refresh_answer(&self, did: &str, answer: Result<Issuer, IssuerError>) {
        self.documents.refreshed.lock().unwrap().insert(did.to_owned(), answer);
    }

    /// What was asked of the documents since this was last called.
    fn asked(&self) -> Vec<(String, Freshness)> {
        std::mem::take(&mut *self.documents.asked.lock().unwrap())
    }

    async fn verify(&self, token: &str, repeat: Repeat) -> Result<VerifiedCall, AuthError> {
        self.verifier.verify(Some(format!("Bearer {token}").as_bytes()), METHOD, repeat).await
    }

    /// The caller of a procedure.
    async fn call(&self, token: &str) -> Result<VerifiedCall, AuthError> {
        self.verify(token, Repeat::SingleUse).await
    }

    /// The error of a procedure's call.
    async fn refuse(&self, token: &str) -> AuthError {
        self.call(token).await.expect_err("the token was to be refused")
    }
}

fn issuer(key: Option<PublicKey>) -> Issuer {
    Issuer { key, pds: Some(Url::parse(PDS).unwrap()) }
}
