//! Callers with keys of both curves, their DID documents on loopback, and tokens of theirs.

use std::sync::Arc;
use std::time::Duration;

use at_functions::auth::ServiceToken;
use at_functions::identity::{Curve, Did, PublicKey, SigningKey};
use at_functions::server::{self, Listener};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::routing::get;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

/// Callers of each curve, who take turns: one alone would use up its share of the memory of used tokens.
const CALLERS: usize = 12;

/// How long a token is good: it is used in the round that it is made for, and until it ends it takes of what their host
/// may have remembered of used tokens.
const LIFE: Duration = Duration::from_secs(30);

/// What a caller signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    K256,
    P256,
}

impl Key {
    pub(crate) const ALL: [Key; 2] = [Key::K256, Key::P256];

    /// The algorithm of its tokens.
    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Key::K256 => "ES256K",
            Key::P256 => "ES256",
        }
    }
}

/// The callers of one service.
pub(crate) struct Callers {
    k256: Signer,
    p256: Signer,
    made: usize,
}

struct Signer {
    secret: Secret,
    dids: Vec<Did>,
}

enum Secret {
    K256(SigningKey),
    P256(EcdsaKeyPair),
}

impl Callers {
    /// Has their DID documents served.
    pub(crate) async fn start() -> anyhow::Result<Callers> {
        let k256 = SigningKey::from_bytes(&[7; 32])?;
        let p256 = p256::ecdsa::SigningKey::from_slice(&[9; 32])?;
        let point = p256.verifying_key().to_sec1_point(false);
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_FIXED_SIGNING,
            &[9; 32],
            point.as_bytes(),
        )
        .map_err(|_| anyhow::anyhow!("the P-256 key is refused"))?;
        let p256_public = PublicKey::from_sec1(Curve::P256, point.as_bytes())?;
        let k256_public = k256.public();
        Ok(Callers {
            k256: Signer { secret: Secret::K256(k256), dids: documents(&k256_public).await? },
            p256: Signer { secret: Secret::P256(pair), dids: documents(&p256_public).await? },
            made: 0,
        })
    }

    /// Fresh tokens for calls of `audience`, of all callers of this curve in turn. All cores sign, before any
    /// clock starts: signing is the callers' work, not the service's.
    pub(crate) fn tokens(&mut self, key: Key, count: usize, audience: &str, now: u64) -> Arc<Vec<String>> {
        let signer = match key {
            Key::K256 => &self.k256,
            Key::P256 => &self.p256,
        };
        let first = self.made;
        self.made += count;
        let share = count.div_ceil(std::thread::available_parallelism().map_or(1, usize::from)).max(1);
        let numbers: Vec<usize> = (first..first + count).collect();
        let tokens = std::thread::scope(|scope| {
            let parts = numbers.chunks(share).map(|numbers| {
                scope.spawn(move || {
                    numbers.iter().map(|n| signer.token(*n, audience, now)).collect::<Vec<_>>()
                })
            });
            let parts: Vec<_> = parts.collect();
            parts.into_iter().flat_map(|part| part.join().expect("signing does not panic")).collect()
        });
        Arc::new(tokens)
    }
}

impl Signer {
    fn token(&self, number: usize, audience: &str, now: u64) -> String {
        let issuer = &self.dids[number % self.dids.len()];
        let token = ServiceToken::new(issuer, audience, "at.functions.run", now).life(LIFE);
        let token = token.id(format!("{number:012}"));
        match &self.secret {
            Secret::K256(key) => token.sign(key),
            Secret::P256(key) => {
                let claims = serde_json::to_string(&token).unwrap_or_default();
                let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"ES256"}"#);
                let input = format!("{header}.{}", BASE64URL_NOPAD.encode(claims.as_bytes()));
                let signature = key.sign(&SystemRandom::new(), input.as_bytes());
                let signature = signature.expect("a sound key signs");
                format!("{input}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
            }
        }
    }
}

async fn documents(key: &PublicKey) -> anyhow::Result<Vec<Did>> {
    let mut dids = Vec::new();
    for _ in 0..CALLERS {
        let listener = Listener::bind("caller", ([127, 0, 0, 1], 0).into()).await?;
        let did = Did::parse(&format!("did:web:localhost%3A{}", listener.address().port()))?;
        tokio::spawn(server::serve(listener, document(&did, key), std::future::pending()));
        dids.push(did);
    }
    Ok(dids)
}

fn document(did: &Did, key: &PublicKey) -> Router {
    let document = json!({
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "verificationMethod": [{
            "id": format!("{did}#atproto"), "type": "Multikey", "controller": did,
            "publicKeyMultibase": key.to_multikey(),
        }],
    })
    .to_string();
    let answer = move || async move { ([("content-type", "application/json")], document) };
    Router::new().route("/.well-known/did.json", get(answer))
}
