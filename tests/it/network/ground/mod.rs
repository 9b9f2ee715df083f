//! Proves the ground that the tests of the service stand on: what the real directory and PDSes do, and
//! that the harness tells it as it is.

mod accounts;
mod keys;
mod proxying;
mod repos;
mod start;

use std::collections::HashMap;

use at_functions::identity::PublicKey;
use data_encoding::BASE64URL_NOPAD;
use ipld_core::cid::Cid;
use serde_json::Value;

use super::Network;
use super::xrpc::text;

/// The header and the payload of a JWT, unverified.
fn decode_token(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// Whether a JWT is signed with `key`.
fn is_signed_with(token: &str, key: &PublicKey) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    key.verify_lenient(signed.as_bytes(), &signature).is_ok()
}

/// The blocks of a CAR file (ipld.io/specs/transport/car/carv1), by CID.
fn blocks_of(mut car: &[u8]) -> HashMap<Cid, Vec<u8>> {
    take_section(&mut car).expect("a CAR file has a header");
    let mut blocks = HashMap::new();
    while let Some(mut block) = take_section(&mut car) {
        let cid = Cid::read_bytes(&mut block).unwrap();
        blocks.insert(cid, block.to_vec());
    }
    blocks
}

/// Takes the next part of a CAR file, which is led by its length as a variable-length integer.
fn take_section<'a>(car: &mut &'a [u8]) -> Option<&'a [u8]> {
    let digits = car.iter().position(|byte| byte & 0x80 == 0)? + 1;
    let length = car[..digits].iter().rev().fold(0, |length, byte| (length << 7) | usize::from(byte & 0x7f));
    let (section, rest) = car[digits..].split_at(length);
    *car = rest;
    Some(section)
}

/// The `#atproto` key that the directory has for a DID.
async fn published_key(network: &Network, did: &str) -> PublicKey {
    let document = network.did_document(did).await.unwrap();
    let methods = document["verificationMethod"].as_array().unwrap();
    let id = format!("{did}#atproto");
    let method = methods.iter().find(|method| method["id"] == id.as_str()).unwrap();
    PublicKey::from_multikey(&text(method, "/publicKeyMultibase")).unwrap()
}

/// The origin that the directory has for a DID's PDS.
async fn published_pds(network: &Network, did: &str) -> String {
    text(&network.did_document(did).await.unwrap(), "/service/0/serviceEndpoint")
}
