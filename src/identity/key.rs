//! Public keys of accounts, on the two curves of AT Protocol, and the two ways to check a
//! signature: strict (low-S only) for commits, lenient for JWTs.
//!
//! Source: <https://atproto.com/specs/cryptography>.
//!
//! On secp256k1, libsecp256k1 verifies, in half the time that `k256` takes; `k256` signs.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use k256::ecdsa::{Signature as K256Signature, SigningKey as K256SigningKey};
use secp256k1::Message;
use secp256k1::ecdsa::{self, Signature};
use sha2::{Digest, Sha256};

/// Multicodec prefixes (unsigned varints) of a Multikey.
const CODEC_K256: [u8; 2] = [0xe7, 0x01];
const CODEC_P256: [u8; 2] = [0x80, 0x24];

/// Half the order of P-256, big-endian: an `s` above it is "high".
const P256_HALF_ORDER: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde,
    0x73, 0x7d, 0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// The curves that AT Protocol signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Curve {
    /// secp256k1; JWT algorithm `ES256K`.
    K256,
    /// NIST P-256; JWT algorithm `ES256`.
    P256,
}

/// An account's public key: a point that is on its curve.
#[derive(Clone)]
pub struct PublicKey {
    curve: Curve,
    /// SEC1 compressed point, 33 bytes.
    compressed: [u8; 33],
    point: Point,
}

#[derive(Clone)]
enum Point {
    K256(secp256k1::PublicKey),
    P256(std::sync::Arc<ParsedPublicKey>),
}

impl PublicKey {
    /// Reads the `publicKeyMultibase` of a `Multikey` verification method.
    pub fn from_multikey(text: &str) -> Result<PublicKey, InvalidKey> {
        let bytes = decode_multibase(text)?;
        let (codec, point) = bytes.split_at_checked(2).ok_or(InvalidKey::Encoding)?;
        match codec {
            c if c == CODEC_K256 => PublicKey::from_sec1(Curve::K256, point),
            c if c == CODEC_P256 => PublicKey::from_sec1(Curve::P256, point),
            _ => Err(InvalidKey::Curve),
        }
    }

    /// Reads the `publicKeyMultibase` of one of the two legacy verification methods, which hold the
    /// bare point, compressed or not, of the curve that the method's type names.
    pub fn from_legacy(curve: Curve, text: &str) -> Result<PublicKey, InvalidKey> {
        PublicKey::from_sec1(curve, &decode_multibase(text)?)
    }

    /// Reads a SEC1 point of 33 (compressed) or 65 bytes.
    pub fn from_sec1(curve: Curve, bytes: &[u8]) -> Result<PublicKey, InvalidKey> {
        let compressed = match bytes {
            [2 | 3, rest @ ..] if rest.len() == 32 => bytes.try_into().map_err(|_| InvalidKey::Point)?,
            [4, rest @ ..] if rest.len() == 64 => {
                let mut short = [0; 33];
                short[0] = 2 + (rest[63] & 1);
                short[1..].copy_from_slice(&rest[..32]);
                short
            }
            _ => return Err(InvalidKey::Point),
        };
        let point = match curve {
            Curve::K256 => {
                Point::K256(secp256k1::PublicKey::from_slice(bytes).map_err(|_| InvalidKey::Point)?)
            }
            Curve::P256 => Point::P256(std::sync::Arc::new(
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, bytes).map_err(|_| InvalidKey::Point)?,
            )),
        };
        Ok(PublicKey { curve, compressed, point })
    }

    /// The curve it lies on.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The SEC1 compressed point, 33 bytes.
    pub fn compressed(&self) -> &[u8; 33] {
        &self.compressed
    }

    /// The key as a DID document's `publicKeyMultibase` has it.
    pub fn to_multikey(&self) -> String {
        let codec = match self.curve {
            Curve::K256 => CODEC_K256,
            Curve::P256 => CODEC_P256,
        };
        multibase::encode(multibase::Base::Base58Btc, [&codec[..], &self.compressed].concat())
    }

    /// Checks an ECDSA/SHA-256 signature of 64 bytes `r‖s`, refusing high-S, as repository commits
    /// demand (a high-S twin would give one commit two CIDs).
    pub fn verify_strict(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let s = signature.get(32..64).ok_or(BadSignature)?;
        match &self.point {
            // libsecp256k1 itself refuses high-S.
            Point::K256(key) => verify_k256(key, message, &k256_signature(signature)?),
            Point::P256(_) if s > &P256_HALF_ORDER[..] => Err(BadSignature),
            Point::P256(key) => verify_p256(key, message, signature),
        }
    }

    /// Checks an ECDSA/SHA-256 signature of 64 bytes `r‖s`, high-S or low, as JWTs are checked
    /// (JOSE libraries do not normalise, and the reference accepts both).
    pub fn verify_lenient(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.point {
            Point::K256(key) => {
                let mut signature = k256_signature(signature)?;
                signature.normalize_s();
                verify_k256(key, message, &signature)
            }
            Point::P256(key) => verify_p256(key, message, signature),
        }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &PublicKey) -> bool {
        self.curve == other.curve && self.compressed == other.compressed
    }
}

impl Eq for PublicKey {}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_multikey())
    }
}

fn decode_multibase(text: &str) -> Result<Vec<u8>, InvalidKey> {
    // 65 bytes in base 2 are the longest spelling of a key; anything longer is not one.
    if text.len() > 600 {
        return Err(InvalidKey::Encoding);
    }
    multibase::decode(text).map(|(_, bytes)| bytes).map_err(|_| InvalidKey::Encoding)
}

/// Refuses other lengths than 64 bytes, and numbers beyond the order. A zero is refused by the verification.
fn k256_signature(bytes: &[u8]) -> Result<Signature, BadSignature> {
    Signature::from_compact(bytes).map_err(|_| BadSignature)
}

fn verify_k256(
    key: &secp256k1::PublicKey,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    let digest = Message::from_digest(Sha256::digest(message).into());
    ecdsa::verify(signature, digest, key).map_err(|_| BadSignature)
}

fn verify_p256(key: &ParsedPublicKey, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
    key.verify_sig(message, signature).map_err(|_| BadSignature)
}

/// A secp256k1 private key: the service's own, or that of an embedded repository.
#[derive(Clone)]
pub struct SigningKey {
    secret: K256SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// A key from 32 bytes that the caller took from a secure source; refuses zero and values past the order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<SigningKey, InvalidKey> {
        let secret = K256SigningKey::from_slice(bytes).map_err(|_| InvalidKey::Point)?;
        let point = secret.verifying_key().to_sec1_point(true);
        let public = PublicKey::from_sec1(Curve::K256, point.as_bytes())?;
        Ok(SigningKey { secret, public })
    }

    /// The 32 secret bytes, to be kept on disk.
    pub fn to_secret_bytes(&self) -> [u8; 32] {
        self.secret.to_bytes().into()
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public.clone()
    }

    /// Signs SHA-256 of `message`: 64 bytes `r‖s`, low-S.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        use k256::ecdsa::signature::Signer;
        let signature: K256Signature = self.secret.sign(message);
        signature.normalize_s().to_bytes().into()
    }
}

impl std::fmt::Debug for SigningKey {
    /// Shows the public half only.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.public().to_multikey())
    }
}

/// A signature that this key did not make over this message, or not in the form demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match the key")]
pub struct BadSignature;

/// Why a text or bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// A key of another curve than secp256k1 and P-256.
    #[error("only secp256k1 and P-256 keys are supported")]
    Curve,
    /// Not multibase.
    #[error("the key is not multibase text")]
    Encoding,
    /// Not a point of its curve, or not a scalar of its group.
    #[error("the key is not a point of its curve")]
    Point,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32]).unwrap()
    }

    #[test]
    fn a_multikey_reads_back_as_it_was_written() {
        let text = "zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF";
        assert_eq!(PublicKey::from_multikey(text).unwrap().to_multikey(), text);
        let own = key(7).public();
        assert_eq!(PublicKey::from_multikey(&own.to_multikey()).unwrap(), own);
    }

    #[test]
    fn a_legacy_key_is_the_same_key() {
        let legacy =
            "zQYEBzXeuTM9UR3rfvNag6L3RNAs5pQZyYPsomTsgQhsxLdEgCrPTLgFna8yqCnxPpNT7DBk6Ym3dgPKNu86vt9GR";
        let multikey = PublicKey::from_multikey("zQ3shXjHeiBuRCKmM36cuYnm7YEMzhGnCmCyW92sRJ9pribSF").unwrap();
        assert_eq!(PublicKey::from_legacy(Curve::K256, legacy).unwrap(), multikey);
    }

    #[test]
    fn high_s_is_refused_strictly_and_accepted_leniently_on_both_curves() {
        use k256::elliptic_curve::ops::Neg;
        let message = b"message";
        let secret = key(9);
        let low = k256::ecdsa::Signature::from_slice(&secret.sign(message)).unwrap();
        let (r, s) = low.split_scalars();
        let high = k256::ecdsa::Signature::from_scalars(*r, s.neg()).unwrap();
        let p256_secret = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
        let p256_public =
            PublicKey::from_sec1(Curve::P256, p256_secret.verifying_key().to_sec1_point(false).as_bytes())
                .unwrap();
        let p256_low: p256::ecdsa::Signature =
            p256::ecdsa::signature::Signer::<p256::ecdsa::Signature>::sign(&p256_secret, message)
                .normalize_s();
        let (r, s) = p256_low.split_scalars();
        let p256_high = p256::ecdsa::Signature::from_scalars(*r, s.neg()).unwrap();
        let cases = [
            (secret.public(), low.to_bytes().to_vec(), high.to_bytes().to_vec()),
            (p256_public, p256_low.to_bytes().to_vec(), p256_high.to_bytes().to_vec()),
        ];
        for (public, low, high) in cases {
            assert_eq!(public.verify_strict(message, &low), Ok(()));
            assert_eq!(public.verify_lenient(message, &low), Ok(()));
            assert_eq!(public.verify_strict(message, &high), Err(BadSignature));
            assert_eq!(public.verify_lenient(message, &high), Ok(()));
            assert_eq!(public.verify_lenient(b"other", &low), Err(BadSignature));
            assert_eq!(public.verify_strict(message, &low[..63]), Err(BadSignature));
        }
    }

    /// Whether `k256` takes this for a signature of the key, strictly and leniently.
    fn by_k256(key: &SigningKey, message: &[u8], bytes: &[u8]) -> (bool, bool) {
        use k256::ecdsa::signature::Verifier;
        let Ok(signature) = K256Signature::from_slice(bytes) else { return (false, false) };
        let key = key.secret.verifying_key();
        (key.verify(message, &signature).is_ok(), key.verify(message, &signature.normalize_s()).is_ok())
    }

    #[test]
    fn on_secp256k1_two_implementations_agree_on_every_edge() {
        use k256::elliptic_curve::ops::Neg;
        let order = data_encoding::HEXUPPER
            .decode(b"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141")
            .unwrap();
        let half = data_encoding::HEXUPPER
            .decode(b"7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0")
            .unwrap();
        let plus = |number: &[u8], more: i16| {
            let mut number = number.to_vec();
            number[31] = (i16::from(number[31]) + more) as u8;
            number
        };
        let scalars = [vec![0; 32], plus(&[0; 32], 1), half.clone(), plus(&half, 1), plus(&order, -1)];
        let scalars = scalars.into_iter().chain([order.clone(), plus(&order, 1), vec![0xff; 32]]);
        let scalars: Vec<Vec<u8>> = scalars.collect();
        let (mut accepted, mut refused) = (0, 0);
        for seed in 1..=20 {
            let (secret, message) = (key(seed), [seed; 40]);
            let low = secret.sign(&message);
            let (r, s) = K256Signature::from_slice(&low).unwrap().split_scalars();
            let high = K256Signature::from_scalars(*r, s.neg()).unwrap().to_bytes().to_vec();
            let mut cases = vec![low.to_vec(), high, low[..63].to_vec(), [&low[..], &[0]].concat(), vec![]];
            for scalar in &scalars {
                cases.push([scalar, &low[32..]].concat());
                cases.push([&low[..32], scalar].concat());
                cases.extend(scalars.iter().map(|other| [&scalar[..], other].concat()));
            }
            cases.extend((0..64).map(|at| {
                let mut flipped = low.to_vec();
                flipped[at] ^= 1 << (at % 8);
                flipped
            }));
            // Another encoding of the same numbers.
            cases.push(K256Signature::from_slice(&low).unwrap().to_der().as_bytes().to_vec());
            for bytes in cases {
                let public = secret.public();
                let ours = (
                    public.verify_strict(&message, &bytes).is_ok(),
                    public.verify_lenient(&message, &bytes).is_ok(),
                );
                assert_eq!(ours, by_k256(&secret, &message, &bytes), "{bytes:02x?}");
                accepted += usize::from(ours.1);
                refused += usize::from(!ours.1);
            }
        }
        // The low and the high one of each key, and nothing else.
        assert_eq!((accepted, refused), (40, 2_960));
    }

    #[test]
    fn on_secp256k1_two_implementations_take_the_same_bytes_for_keys() {
        let uncompressed = key(3).secret.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        let compressed = key(3).public().compressed().to_vec();
        let mut cases = vec![vec![2; 33], vec![3; 33], [&[4][..], &[0; 64]].concat(), vec![0], vec![]];
        for tag in 0..=8 {
            for point in [&uncompressed, &compressed] {
                cases.push([&[tag], &point[1..]].concat());
            }
        }
        // The field's order, and one above: an x that has a second spelling.
        let field = [&[0xff; 27][..], &[0xfe, 0xff, 0xff, 0xfc, 0x2f]].concat();
        for x in 0..=64 {
            for tag in [2, 3] {
                let mut small = [0; 33];
                (small[0], small[32]) = (tag, x);
                cases.push(small.to_vec());
                let mut beyond = [&[tag][..], &field].concat();
                beyond[32] = beyond[32].wrapping_add(x);
                cases.push(beyond);
            }
        }
        cases.push([&uncompressed[..64], &[uncompressed[64] ^ 1]].concat());
        for bytes in cases {
            let known = matches!(bytes.first(), Some(2..=4));
            let theirs = known && k256::ecdsa::VerifyingKey::from_sec1_bytes(&bytes).is_ok();
            assert_eq!(PublicKey::from_sec1(Curve::K256, &bytes).is_ok(), theirs, "{bytes:02x?}");
        }
    }

    #[test]
    fn bytes_that_are_no_key_are_refused() {
        let multikey = |bytes: &[u8]| multibase::encode(multibase::Base::Base58Btc, bytes);
        let compressed = *key(1).public().compressed();
        assert_eq!(PublicKey::from_multikey("").unwrap_err(), InvalidKey::Encoding);
        assert_eq!(PublicKey::from_multikey("z0OIl").unwrap_err(), InvalidKey::Encoding);
        assert_eq!(PublicKey::from_multikey(&"z".repeat(700)).unwrap_err(), InvalidKey::Encoding);
        assert_eq!(PublicKey::from_multikey(&multikey(&[0xed, 1, 2])).unwrap_err(), InvalidKey::Curve);
        let short = [&CODEC_K256[..], &compressed[..32]].concat();
        assert_eq!(PublicKey::from_multikey(&multikey(&short)).unwrap_err(), InvalidKey::Point);
        let off_curve = [&CODEC_P256[..], &[2], &[0xff; 32]].concat();
        assert_eq!(PublicKey::from_multikey(&multikey(&off_curve)).unwrap_err(), InvalidKey::Point);
    }
}
