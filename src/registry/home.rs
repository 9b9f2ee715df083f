//! Where a repo lives, and how it is asked there.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use crate::egress::{Get, Redirects, Response};
use crate::identity::{Did, DidDocument};

use super::{Missing, RegistryError, Sources, Trouble};

/// Whose repo is asked, and on behalf of which author: the hosts' queues are fair between these.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) repo: Did,
    pub(super) for_author: Did,
    pub(super) purpose: Purpose,
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To run a function: the highest revision is kept on disk, so that old code does not come back with
    /// a restart.
    Function,
    /// To tell a guest, who can name any number of repos: revisions are kept in memory, since on disk each
    /// would cost a write and stay for good, and accounts are looked up within bounds.
    Guest,
}

impl Errand {
    /// To an author's repo, to run a function of theirs.
    pub(super) fn for_function(author: Did) -> Errand {
        Errand { for_author: author.clone(), repo: author, purpose: Purpose::Function }
    }

    /// To anybody's repo, for a guest of `for_author`.
    pub(super) fn for_guest(repo: Did, for_author: Did) -> Errand {
        Errand { repo, for_author, purpose: Purpose::Guest }
    }
}

/// One method of a PDS, with what the answer may cost.
pub(super) struct Question<'a> {
    pub(super) method: &'static str,
    pub(super) parameters: &'a [(&'static str, &'a str)],
    pub(super) accept: &'static str,
    pub(super) max_bytes: usize,
    pub(super) timeout: Duration,
    pub(super) redirects: Redirects,
}

/// Does `ask` with the document of the repo's owner. Where the answer may mean that the account moved
/// or changed keys since its document was cached, asks for the document once more, and again with what
/// it says now.
pub(super) async fn wherever_it_lives<T, F>(
    sources: &Sources,
    errand: &Errand,
    ask: impl Fn(Arc<DidDocument>) -> F,
) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let document = document(sources, errand).await?;
    match ask(Arc::clone(&document)).await {
        Err(error) if error.may_mean_moved() => {
            let renewed = renewed(sources, errand).await?;
            if renewed.pds == document.pds && renewed.signing_key == document.signing_key {
                return Err(error);
            }
            ask(renewed).await
        }
        other => other,
    }
}

/// The document of the repo's owner.
pub(super) async fn document(sources: &Sources, errand: &Errand) -> Result<Arc<DidDocument>, RegistryError> {
    let (resolver, repo) = (Arc::clone(&sources.resolver), errand.repo.clone());
    let lookup = async move { resolver.document(&repo).await.map_err(RegistryError::of_author) };
    match errand.purpose {
        Purpose::Guest => {
            let known = || sources.resolver.knows(&errand.repo);
            sources.lookups.look_up(&errand.for_author, known, lookup).await
        }
        Purpose::Function => lookup.await,
    }
}

async fn renewed(sources: &Sources, errand: &Errand) -> Result<Arc<DidDocument>, RegistryError> {
    let (resolver, repo) = (Arc::clone(&sources.resolver), errand.repo.clone());
    let lookup = async move { resolver.refresh(&repo).await.map_err(RegistryError::of_author) };
    match errand.purpose {
        Purpose::Guest => sources.lookups.look_up(&errand.for_author, async || false, lookup).await,
        Purpose::Function => lookup.await,
    }
}

/// Asks the PDS that the document names. An answer other than 200 is an error.
pub(super) async fn ask(
    sources: &Sources,
    document: &DidDocument,
    errand: &Errand,
    question: Question<'_>,
) -> Result<Response, RegistryError> {
    let pds = document.pds.as_ref().ok_or(RegistryError::NotFound(Missing::Pds))?;
    let mut url = pds.clone();
    url.set_path(&format!("/xrpc/{}", question.method));
    url.query_pairs_mut().clear().extend_pairs(question.parameters);
    let request = Get {
        url: &url,
        accept: question.accept,
        max_bytes: question.max_bytes,
        timeout: question.timeout,
        redirects: question.redirects,
        for_author: Some(&errand.for_author),
        rationed: errand.purpose == Purpose::Guest,
    };
    let response = sources.egress.get(request).await.map_err(RegistryError::of_egress)?;
    if response.status == 200 { Ok(response) } else { Err(refusal(&response)) }
}

/// What a PDS means by an answer that is not the data.
fn refusal(response: &Response) -> RegistryError {
    #[derive(Deserialize)]
    struct Body {
        error: Option<String>,
    }
    let name = serde_json::from_slice::<Body>(&response.body).ok().and_then(|body| body.error);
    match (response.status, name.as_deref()) {
        (400..=499, Some("RepoDeactivated")) => RegistryError::AuthorInactive("deactivated"),
        (400..=499, Some("RepoTakendown")) => RegistryError::AuthorInactive("taken down"),
        (400..=499, Some("RepoSuspended")) => RegistryError::AuthorInactive("suspended"),
        (400..=499, Some("RepoNotFound")) => RegistryError::NotFound(Missing::Repo),
        (400..=499, _) => RegistryError::NotFound(Missing::Refused),
        _ => RegistryError::Unreachable(Trouble::Failed),
    }
}
