//! The one place where a token's signature meets its issuer's key, on both curves.
//!
//! jsonwebtoken verifies ES256 and knows no ES256K, which libsecp256k1 verifies. Both are lenient about
//! high-S: JOSE libraries do not normalise, and the reference implementation takes either form.

use jsonwebtoken::DecodingKey;

use super::error::SignatureFault;
use crate::identity::{Curve, PublicKey};

/// The two algorithms of AT Protocol. Nothing else has a name here, so nothing else can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518).
    Es256,
    /// ECDSA on secp256k1 with SHA-256 (RFC 8812).
    Es256K,
}

impl Algorithm {
    /// The algorithm of a header's `alg`; names are case-sensitive (RFC 7515 section 4.1.1).
    pub(super) fn from_name(name: &str) -> Option<Algorithm> {
        match name {
            "ES256" => Some(Algorithm::Es256),
            "ES256K" => Some(Algorithm::Es256K),
            _ => None,
        }
    }

    fn curve(self) -> Curve {
        match self {
            Algorithm::Es256 => Curve::P256,
            Algorithm::Es256K => Curve::K256,
        }
    }
}

/// What a token says to be signed, and by what.
pub(super) struct Signed<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) message: &'a [u8],
    /// `r‖s`.
    pub(super) signature: [u8; 64],
}

impl Signed<'_> {
    /// Whether `key` made the signature. The key decides the curve; the token's `alg` must agree.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), SignatureFault> {
        if key.curve() != self.algorithm.curve() {
            return Err(SignatureFault::Algorithm);
        }
        let made = match self.algorithm {
            Algorithm::Es256 => self.verify_es256(key),
            Algorithm::Es256K => key.verify_lenient(self.message, &self.signature).is_ok(),
        };
        if made { Ok(()) } else { Err(SignatureFault::Mismatch) }
    }

    fn verify_es256(&self, key: &PublicKey) -> bool {
        // For EC keys jsonwebtoken hands the "DER" to aws-lc as it is, which reads a bare SEC1 point.
        let key = DecodingKey::from_ec_der(key.compressed());
        let signature = data_encoding::BASE64URL_NOPAD.encode(&self.signature);
        jsonwebtoken::crypto::verify(&signature, self.message, &key, jsonwebtoken::Algorithm::ES256)
            .unwrap_or(false)
    }
}
