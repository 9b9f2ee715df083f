//! The author of the embedded repo: a DID, a key made at the start, and the functions published.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ipld_core::cid::Cid;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::identity::{Did, InvalidDid, InvalidKey, SigningKey};
use crate::lexicon::{AtUri, FUNCTION_COLLECTION, Mode, Nsid, RecordKey};
use crate::registry::function_collection;
use crate::repo::writer::Repository;
use crate::repo::{blob_cid, json_to_ipld};

/// The handle of the embedded author; `.test` names exist in development only.
pub(super) const HANDLE: &str = "author.test";

/// An author with a repo of their own at `http://localhost:PORT`.
pub struct Author {
    did: Did,
    origin: String,
    key: SigningKey,
    clock: Clock,
    contents: Mutex<Contents>,
}

pub(super) struct Contents {
    pub(super) repository: Repository,
    pub(super) blobs: HashMap<Cid, Bytes>,
}

/// A function that was put into the repo.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its name on the network.
    pub uri: AtUri,
    /// The CID of its record.
    pub cid: Cid,
    /// The CID of its code.
    pub code: Cid,
}

impl Author {
    /// The author whose repo is served at `localhost:port`, with a new random key.
    pub fn at_port(port: u16, clock: Clock) -> Result<Author, AuthorError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_| AuthorError::Randomness)?;
        let key = SigningKey::from_bytes(&secret)?;
        let did = Did::parse(&format!("did:web:localhost%3A{port}"))?;
        let repository = Repository::new(did.clone(), key.clone(), clock.clone());
        let contents = Contents { repository, blobs: HashMap::new() };
        let origin = format!("http://localhost:{port}");
        Ok(Author { did, origin, key, clock, contents: Mutex::new(contents) })
    }

    /// Who they are.
    pub fn did(&self) -> &Did {
        &self.did
    }

    /// Where their repo is served.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Their secret: what signs their commits, and what they would call with.
    pub fn signing_key(&self) -> &SigningKey {
        &self.key
    }

    /// The proof of a record, or of its absence, as `com.atproto.sync.getRecord` answers.
    pub fn record_car(&self, collection: &Nsid, rkey: &RecordKey) -> Vec<u8> {
        self.contents().repository.record_car(collection, rkey)
    }

    /// Their DID document, as a `did:web` host serves it.
    pub fn did_document(&self) -> Value {
        json!({
            "@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
            "id": self.did,
            "alsoKnownAs": [format!("at://{HANDLE}")],
            "verificationMethod": [{
                "id": format!("{}#atproto", self.did),
                "type": "Multikey",
                "controller": self.did,
                "publicKeyMultibase": self.key.public().to_multikey(),
            }],
            "service": [{
                "id": "#atproto_pds",
                "type": "AtprotoPersonalDataServer",
                "serviceEndpoint": self.origin,
            }],
        })
    }

    /// Puts a function into the repo, as a deploy to a PDS would: the blob, then the signed record.
    pub fn publish(&self, rkey: &RecordKey, mode: Mode, wasm: Bytes) -> Result<Published, AuthorError> {
        let code = blob_cid(&wasm);
        let now = jiff::Timestamp::from_millisecond(self.clock.since_epoch().as_millis() as i64)
            .map_err(|_| AuthorError::Clock)?
            .to_string();
        self.put(
            rkey,
            &json!({
                "$type": FUNCTION_COLLECTION,
                "name": rkey.as_str(),
                "version": "0.1.0",
                "updatedAt": now,
                "mode": mode.as_str(),
                "code": {
                    "$type": "blob",
                    "ref": { "$link": code.to_string() },
                    "mimeType": "application/wasm",
                    "size": wasm.len(),
                },
                "entrypoint": "run",
                "inputEncoding": "application/json",
                "outputEncoding": "application/json",
            }),
            [wasm],
        )
    }

    /// Puts any record at `rkey` of the collection of functions, and the blobs that it names.
    pub fn put(
        &self,
        rkey: &RecordKey,
        record: &Value,
        blobs: impl IntoIterator<Item = Bytes>,
    ) -> Result<Published, AuthorError> {
        self.put_into(function_collection(), rkey, record, blobs)
    }

    /// Puts any record at `rkey` of any collection, and the blobs that it names.
    pub fn put_into(
        &self,
        collection: Nsid,
        rkey: &RecordKey,
        record: &Value,
        blobs: impl IntoIterator<Item = Bytes>,
    ) -> Result<Published, AuthorError> {
        let ipld = json_to_ipld(record).map_err(|error| AuthorError::Record(error.to_string()))?;
        let code = record["code"]["ref"]["$link"].as_str().and_then(|text| Cid::try_from(text).ok());
        let mut contents = self.contents();
        contents.blobs.extend(blobs.into_iter().map(|blob| (blob_cid(&blob), blob)));
        let cid = contents
            .repository
            .put(&collection, rkey, &ipld)
            .map_err(|error| AuthorError::Record(error.to_string()))?;
        let uri = AtUri::of_record(self.did.clone(), collection, rkey.clone());
        Ok(Published { uri, cid, code: code.unwrap_or(cid) })
    }

    /// The at-uris of what is published.
    pub fn functions(&self) -> Vec<AtUri> {
        let collection = function_collection();
        let listed = self.contents().repository.list(&collection);
        listed
            .into_iter()
            .map(|(rkey, _, _)| AtUri::of_record(self.did.clone(), collection.clone(), rkey))
            .collect()
    }

    pub(super) fn contents(&self) -> MutexGuard<'_, Contents> {
        // Nothing that holds the lock leaves the repo half written.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a function could not be published.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorError {
    /// The clock shows a time that no record can state.
    #[error("the machine's clock is out of range")]
    Clock,
    /// The port gives no DID.
    #[error(transparent)]
    Did(#[from] InvalidDid),
    /// The random bytes are no key (one in 2^128).
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The machine has no randomness.
    #[error("the machine's random source failed")]
    Randomness,
    /// The record is outside the data model.
    #[error("the record cannot be written: {0}")]
    Record(String),
}
