//! The fixed world of the targets: one author with a key and a repo, one moment. Everything is the
//! same in each run, so that inputs and seeds keep their meaning.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use at_functions::auth::{
    Freshness, Issuer, IssuerFuture, Issuers, Repeat, ServiceToken, Verifier, VerifierConfig,
};
use at_functions::clock::Clock;
use at_functions::identity::{Did, PublicKey, SigningKey};
use at_functions::lexicon::{Nsid, RecordKey};
use at_functions::repo::writer::Repository;
use at_functions::repo::{Expected, Proof, ProofError, verify_record};
use ipld_core::ipld::Ipld;

/// Seconds since 1970.
pub const NOW: u64 = 1_790_000_000;
const AUTHOR: &str = "did:plc:ewvi7nxzyoun6zhxrhs64oiz";
const SERVICE: &str = "did:web:fn.example.com";
const COLLECTION: &str = "at.functions.metadata";
const METHOD: &str = "at.functions.run";

/// The author's key.
pub fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32]).expect("a key")
}

/// The author.
pub fn author() -> Did {
    Did::parse(AUTHOR).expect("a DID")
}

/// A record as `deploy` writes it.
pub fn record(name: &str) -> Ipld {
    let code = Ipld::Map(
        [
            ("$type".to_owned(), Ipld::String("blob".to_owned())),
            ("mimeType".to_owned(), Ipld::String("application/wasm".to_owned())),
            ("ref".to_owned(), Ipld::Link(at_functions::repo::blob_cid(name.as_bytes()))),
            ("size".to_owned(), Ipld::Integer(name.len() as i128)),
        ]
        .into(),
    );
    let text = |text: &str| Ipld::String(text.to_owned());
    Ipld::Map(
        [
            ("$type".to_owned(), text(COLLECTION)),
            ("code".to_owned(), code),
            ("maxMemoryMb".to_owned(), Ipld::Integer(32)),
            ("mode".to_owned(), text("pure-v1")),
            ("name".to_owned(), text(name)),
            ("public".to_owned(), Ipld::Bool(true)),
            ("version".to_owned(), text("0.1.0")),
        ]
        .into(),
    )
}

/// The proof of a record in a repo of thirty, which has several levels.
pub fn car(rkey: &str) -> Vec<u8> {
    let mut repository = Repository::new(author(), key(), Clock::manual(NOW));
    let collection = Nsid::parse(COLLECTION).expect("an NSID");
    for number in 0..30 {
        let name = format!("fn{number}");
        let key = RecordKey::parse(&name).expect("a record key");
        repository.put(&collection, &key, &record(&name)).expect("a record");
    }
    repository.record_car(&collection, &RecordKey::parse(rkey).expect("a record key"))
}

/// The record whose proof the targets look for.
pub const RKEY: &str = "fn7";

/// What a CAR proves of that record.
pub fn verify(car: &[u8]) -> Result<Proof, ProofError> {
    static EXPECTED: LazyLock<(Did, Nsid, RecordKey, PublicKey)> = LazyLock::new(|| {
        let collection = Nsid::parse(COLLECTION).expect("an NSID");
        (author(), collection, RecordKey::parse(RKEY).expect("a record key"), key().public())
    });
    let (did, collection, rkey, key) = &*EXPECTED;
    verify_record(car, &Expected { did, collection, rkey, key, now: Duration::from_secs(NOW) })
}

/// What that record's true proof proves.
pub fn truth() -> &'static Proof {
    static TRUTH: LazyLock<Proof> = LazyLock::new(|| verify(&car(RKEY)).expect("a proof"));
    &TRUTH
}

/// A network that holds the author alone.
struct OneIssuer(PublicKey);

impl Issuers for OneIssuer {
    fn issuer<'a>(&'a self, did: &'a Did, _: Freshness) -> IssuerFuture<'a> {
        let key = (did.as_str() == AUTHOR).then(|| self.0.clone());
        Box::pin(async { Ok(Issuer { key, pds: None }) })
    }
}

/// Who a header's token proves to call, if it proves anybody.
pub fn caller(authorization: &[u8]) -> Option<Did> {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let service = Did::parse(SERVICE).expect("a DID");
        let config = VerifierConfig::new(service, "at_functions", [1; 32]);
        Verifier::new(config, Arc::new(OneIssuer(key().public())), Clock::manual(NOW))
    });
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    // Repeatable, so that no input changes what the next one meets.
    let verifying = VERIFIER.verify(Some(authorization), METHOD, Repeat::Repeatable);
    RUNTIME.with(|runtime| runtime.block_on(verifying)).ok().map(|call| call.caller.did().clone())
}

/// A token that is valid at [`NOW`].
pub fn token() -> String {
    ServiceToken::new(&author(), SERVICE, METHOD, NOW).id("4f1d2c").sign(&key())
}
