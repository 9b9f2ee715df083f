//! CIDs in the one form that AT Protocol has: version 1, SHA-256, of a record (dag-cbor) or a blob (raw).
//!
//! Source: <https://atproto.com/specs/data-model#link-and-cid-formats>.

use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;
use sha2::{Digest, Sha256};

/// Multicodec of a record, a commit or a tree node.
pub(super) const DAG_CBOR: u64 = 0x71;
/// Multicodec of a blob.
pub(super) const RAW: u64 = 0x55;
/// Multihash code of SHA-256.
const SHA2_256: u64 = 0x12;

/// Bytes of a CID: version, codec, hash, length of the digest, digest.
pub(super) const CID_BYTES: usize = 36;

/// The CID of a record, commit or tree node with these bytes.
pub fn record_cid(bytes: &[u8]) -> Cid {
    hashed(DAG_CBOR, bytes)
}

/// The CID of a blob with these bytes.
pub fn blob_cid(bytes: &[u8]) -> Cid {
    hashed(RAW, bytes)
}

/// Reads a CID from the text of a `$link`: base32 in lower case, nothing else.
pub fn cid_from_text(text: &str) -> Option<Cid> {
    // "b" and 58 characters for 36 bytes.
    if text.len() != 59 || !text.starts_with('b') {
        return None;
    }
    let (_, bytes) = ipld_core::cid::multibase::decode(text).ok()?;
    let cid = from_bytes(&bytes)?;
    // The last character has two spare bits: only one spelling of them is the CID's own.
    (cid.to_string() == text).then_some(cid)
}

/// Whether it is the CID of a blob, not of a record, a commit or a tree node.
pub fn is_blob_cid(cid: &Cid) -> bool {
    cid.codec() == RAW && cid.hash().code() == SHA2_256
}

/// The CID of `bytes` under the codec.
pub(super) fn hashed(codec: u64, bytes: &[u8]) -> Cid {
    of_digest(codec, &Sha256::digest(bytes).into())
}

/// Reads exactly the 36 bytes of a CID; none of any other version, codec or hash.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Cid> {
    match bytes {
        [0x01, codec @ (0x71 | 0x55), 0x12, 0x20, digest @ ..] => {
            Some(of_digest(u64::from(*codec), digest.try_into().ok()?))
        }
        _ => None,
    }
}

fn of_digest(codec: u64, digest: &[u8; 32]) -> Cid {
    // 32 bytes always fit into a multihash of 64.
    let hash = Multihash::wrap(SHA2_256, digest).expect("a SHA-256 digest fits");
    Cid::new_v1(codec, hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cid_is_the_hash_of_the_bytes() {
        // The CIDs of empty bytes and of an empty map, as any IPLD tool prints them.
        assert_eq!(blob_cid(b"").to_string(), "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
        assert_eq!(
            record_cid(&[0xa0]).to_string(),
            "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"
        );
    }

    #[test]
    fn bytes_and_texts_read_back_as_they_were_written() {
        for cid in [blob_cid(b"wasm"), record_cid(&[0xa0])] {
            assert_eq!(from_bytes(&cid.to_bytes()), Some(cid));
            assert_eq!(cid_from_text(&cid.to_string()), Some(cid));
        }
        assert!(is_blob_cid(&blob_cid(b"wasm")));
        assert!(!is_blob_cid(&record_cid(&[0xa0])));
    }

    #[test]
    fn other_forms_of_a_cid_are_refused() {
        let good = blob_cid(b"wasm");
        let bytes = good.to_bytes();
        for (index, value) in [(0, 0), (0, 2), (1, 0x70), (2, 0x1e), (3, 0x1f), (3, 0x21)] {
            let mut bad = bytes.clone();
            bad[index] = value;
            assert_eq!(from_bytes(&bad), None, "byte {index} is {value}");
        }
        assert_eq!(from_bytes(&bytes[..35]), None);
        assert_eq!(from_bytes(&[&bytes[..], &[0]].concat()), None);

        let text = good.to_string();
        let base58 = good.to_string_of_base(ipld_core::cid::multibase::Base::Base58Btc).unwrap();
        let upper = good.to_string_of_base(ipld_core::cid::multibase::Base::Base32Upper).unwrap();
        let version_0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
        for bad in ["", "b", ".", &text[..58], &format!("{text}a"), &base58, &upper, version_0] {
            assert_eq!(cid_from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_cid_has_one_spelling() {
        let text = blob_cid(b"wasm").to_string();
        let spellings = "abcdefghijklmnopqrstuvwxyz234567"
            .chars()
            .filter(|last| cid_from_text(&format!("{}{last}", &text[..58])) == Some(blob_cid(b"wasm")));
        assert_eq!(spellings.count(), 1);
    }
}
