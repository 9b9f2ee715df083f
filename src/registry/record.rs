//! One record, fetched from its author's PDS and proved.

use std::sync::Arc;
use std::time::Duration;

use crate::egress::{Gate, Redirects};
use crate::identity::{Did, DidDocument};
use crate::lexicon::{Nsid, RecordKey};
use crate::repo::{self, Expected, Proof, Tid};

use super::error::Unproved;
use super::home::{self, Errand, Purpose, Question};
use super::{RegistryError, Sources, Trouble};

/// The largest proof that is taken: a record of 1 MiB and its path, twice over.
const MAX_CAR_BYTES: usize = 2 * 1024 * 1024;
/// How long a PDS has to send one.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A record of the repo that an errand goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordPath {
    pub(super) collection: Nsid,
    pub(super) rkey: RecordKey,
}

/// A proof and how long it was, by which caches weigh what comes of it.
pub(super) struct Proved {
    pub(super) proof: Proof,
    pub(super) bytes: usize,
}

/// Fetches and proves a record, or its absence.
pub(super) async fn fetch(
    sources: &Sources,
    errand: &Errand,
    path: &RecordPath,
) -> Result<Proved, RegistryError> {
    home::wherever_it_lives(sources, errand, |document| async move {
        match prove(sources, &document, errand, path).await {
            // A replica behind its master looks the same as a rollback, for a moment.
            Err(RegistryError::Unproved(Unproved::Rollback)) => prove(sources, &document, errand, path).await,
            other => other,
        }
    })
    .await
}

/// Fetches one proof and checks all of it, the revision against what was proved *before the fetch
/// was sent* included: of two fetches under way, the slower must not be called a rollback.
async fn prove(
    sources: &Sources,
    document: &DidDocument,
    errand: &Errand,
    path: &RecordPath,
) -> Result<Proved, RegistryError> {
    if document.signing_key.is_none() {
        return Err(RegistryError::Unproved(Unproved::NoKey));
    }
    let floor = highest(sources, &errand.repo)?;
    let parameters = [
        ("did", errand.repo.as_str()),
        ("collection", path.collection.as_str()),
        ("rkey", path.rkey.as_str()),
    ];
    let question = Question {
        method: "com.atproto.sync.getRecord",
        parameters: &parameters,
        accept: "application/vnd.ipld.car",
        max_bytes: MAX_CAR_BYTES,
        timeout: TIMEOUT,
        redirects: Redirects::Follow(2),
    };
    let car = home::ask(sources, document, errand, question).await?.body;
    let bytes = car.len();
    let proof = verify(sources, car, document, errand, path).await?;
    if floor.is_some_and(|floor| proof.rev < floor) {
        return Err(RegistryError::Unproved(Unproved::Rollback));
    }
    if floor != Some(proof.rev) {
        remember(sources, errand, proof.rev).await;
    }
    Ok(Proved { proof, bytes })
}

async fn verify(
    sources: &Sources,
    car: bytes::Bytes,
    document: &DidDocument,
    errand: &Errand,
    path: &RecordPath,
) -> Result<Proof, RegistryError> {
    let key = document.signing_key.clone().ok_or(RegistryError::Unproved(Unproved::NoKey))?;
    let (did, path, now) = (errand.repo.clone(), path.clone(), sources.clock.since_epoch());
    let places = match errand.purpose {
        Purpose::Function => &sources.verifying,
        Purpose::Guest => &sources.reading,
    };
    let verified = work(places, &errand.for_author, move || {
        let expected = Expected { did: &did, collection: &path.collection, rkey: &path.rkey, key: &key, now };
        repo::verify_record(&car, &expected)
    });
    verified.await?.map_err(|error| RegistryError::Unproved(Unproved::Proof(error)))
}

/// Does work on a thread that may take its time over two hostile megabytes, a few pieces at once:
/// decoding them can take some 30 MiB each. What is done for one author waits for the others' turns,
/// and not for all of what another's functions have brought in.
pub(super) async fn work<T: Send + 'static>(
    places: &Arc<Gate<Did>>,
    for_author: &Did,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RegistryError> {
    let entered = places.enter(for_author.clone()).await;
    let place = entered.map_err(|_| RegistryError::Overloaded(Duration::from_secs(1)))?;
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        job()
    });
    done.await.map_err(|_| RegistryError::Unreachable(Trouble::Internal))
}

fn highest(sources: &Sources, repo: &Did) -> Result<Option<Tid>, RegistryError> {
    let on_disk = sources.revs.highest(repo).map_err(|error| {
        tracing::error!(%error, "the highest revision of a repo could not be read from disk");
        RegistryError::Store
    })?;
    Ok(on_disk.max(sources.recent_revs.get(repo)))
}

/// Keeps the highest revision. The proof stands even where the disk fails; a restart before it takes this one
/// would let the host go back to the highest that it took before.
async fn remember(sources: &Sources, errand: &Errand, rev: Tid) {
    if errand.purpose == Purpose::Guest {
        let raised = |known: Option<moka::Entry<Did, Tid>>| match known {
            Some(known) => rev.max(known.into_value()),
            None => rev,
        };
        sources.recent_revs.entry(errand.repo.clone()).and_upsert_with(raised);
        return;
    }
    let (revs, repo) = (Arc::clone(&sources.revs), errand.repo.clone());
    // The file itself tells when it cannot be written.
    let _ = tokio::task::spawn_blocking(move || revs.raise(&repo, rev)).await;
}
