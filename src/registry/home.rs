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
}

impl Errand {
    /// To an author's own repo.
    pub(super) fn to(author: Did) -> Errand {
        Errand { for_author: author.clone(), repo: author }
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
    repo: &Did,
    ask: impl Fn(Arc<DidDocument>) -> F,
) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let document = sources.resolver.document(repo).await.map_err(RegistryError::of_author)?;
    match ask(Arc::clone(&document)).await {
        Err(error) if error.may_mean_moved() => {
            let renewed = sources.resolver.refresh(repo).await.map_err(RegistryError::of_author)?;
            if renewed.pds == document.pds && renewed.signing_key == document.signing_key {
                return Err(error);
            }
            ask(renewed).await
        }
        other => other,
    }
}

/// Asks the PDS that the document names. An answer other than 200 is an error.
pub(super) async fn ask(
    sources: &Sources,
    document: &DidDocument,
    for_author: &Did,
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
        for_author: Some(for_author),
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
