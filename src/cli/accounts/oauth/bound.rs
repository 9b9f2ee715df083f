//! A session by OAuth in use. Its token may end while a command holds it: by its age, or because another process refreshed
//! it, with which servers may end the older token at once. So one that is refused is looked up again where it is kept.

use std::sync::{Arc, Mutex, PoisonError};

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{Request, Response, StatusCode};
use serde::Deserialize;

use super::dpop::{Key, Proofs};
use super::session::renewed;
use crate::cli::Tools;
use crate::cli::accounts::kept::{Accounts, Kept};
use crate::cli::accounts::refresh::lives_on;
use crate::cli::client::{Budget, Http};
use crate::cli::credential::authorization;
use crate::cli::error::CliError;
use crate::identity::Did;

/// What a server says that takes a token no more (RFC 6750, section 3.1).
const REFUSES_TOKEN: &str = "invalid_token";

/// A token with the key that it is bound to. No `Debug`: it is a key to the account.
pub(in crate::cli) struct Bound {
    held: Mutex<Arc<Held>>,
    renewal: Option<Renewal>,
}

/// What requests are made with now.
struct Held {
    token: String,
    proofs: Proofs,
    /// Whether the token before it was refused.
    is_second: bool,
}

/// Where a newer token is, or comes from.
struct Renewal {
    tools: Tools,
    accounts: Accounts,
    did: Did,
}

impl Bound {
    /// A token that is not kept: where it is refused, there is no other.
    pub(super) fn unkept(tools: &Tools, token: &str, key: &Arc<Key>) -> Bound {
        let proofs = Proofs::new(Arc::clone(key), tools.clock.clone());
        let held = Held { token: token.to_owned(), proofs, is_second: false };
        Bound { held: Mutex::new(Arc::new(held)), renewal: None }
    }

    /// The token of a kept session.
    pub(super) fn kept(tools: &Tools, accounts: &Accounts, kept: Kept, key: &Arc<Key>) -> Bound {
        let bound = Bound::unkept(tools, &kept.access_jwt, key);
        let renewal = Renewal { tools: tools.clone(), accounts: accounts.clone(), did: kept.did };
        Bound { renewal: Some(renewal), ..bound }
    }

    /// Sends a request with the token, and once more with a newer one if that is refused.
    pub(in crate::cli) async fn send(
        &self,
        http: &Http,
        request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        let held = Arc::clone(&self.held.lock().unwrap_or_else(PoisonError::into_inner));
        let answer = held.send(http, request.clone(), budget).await?;
        let Some(renewal) = self.renewal.as_ref().filter(|_| refuses_token(&answer)) else {
            return Ok(answer);
        };
        let Some(newer) = renewal.instead_of(&held).await?.map(Arc::new) else { return Ok(answer) };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&newer);
        newer.send(http, request, budget).await
    }
}

impl Held {
    async fn send(
        &self,
        http: &Http,
        mut request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        request.headers_mut().insert(AUTHORIZATION, authorization("DPoP", &self.token)?);
        self.proofs.send(http, request, Some(&self.token), budget).await
    }
}

impl Renewal {
    /// What to use in place of a token that was refused; `None` where there is nothing better.
    async fn instead_of(&self, refused: &Held) -> Result<Option<Held>, CliError> {
        let Renewal { tools, accounts, did } = self;
        let lock = accounts.lock(did).await?;
        // Another process may have logged out, or logged in by another way.
        let Some(kept) = accounts.get(did)? else { return Ok(None) };
        let Some(oauth) = kept.oauth.clone() else { return Ok(None) };
        let key = oauth.key()?;
        let kept = match kept.access_jwt == refused.token {
            false => kept,
            // It is not its age that is wrong with it: a service behind the PDS could have each call use up a token.
            true if refused.is_second && lives_on(&kept, tools.clock.unix_seconds()) => return Ok(None),
            true => renewed(tools, accounts, kept, oauth, lock).await?,
        };
        let proofs = Proofs::new(key, tools.clock.clone());
        Ok(Some(Held { token: kept.access_jwt, proofs, is_second: true }))
    }
}

/// Whether the server takes the token no more: it says so in a header (RFC 9449, section 7.1), some in the body alone.
fn refuses_token(answer: &Response<Vec<u8>>) -> bool {
    #[derive(Deserialize)]
    struct Body {
        error: String,
    }
    let mut challenges = answer.headers().get_all(WWW_AUTHENTICATE).iter();
    answer.status() == StatusCode::UNAUTHORIZED
        && (challenges.any(|value| value.to_str().is_ok_and(|text| text.contains(REFUSES_TOKEN)))
            || serde_json::from_slice::<Body>(answer.body()).is_ok_and(|body| body.error == REFUSES_TOKEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_that_is_refused_is_looked_up_again() {
        let answer = |status: u16, header: &str| {
            let builder = Response::builder().status(status).header(WWW_AUTHENTICATE, header);
            refuses_token(&builder.body(Vec::new()).unwrap())
        };
        assert!(answer(401, r#"DPoP error="invalid_token", error_description="revoked""#));
        assert!(!answer(401, r#"DPoP error="use_dpop_nonce""#));
        assert!(!answer(403, r#"DPoP error="invalid_token""#));
        let answer = |status: u16, body: &str| {
            refuses_token(&Response::builder().status(status).body(body.as_bytes().to_vec()).unwrap())
        };
        assert!(answer(401, r#"{"error":"invalid_token","message":"revoked"}"#));
        assert!(!answer(400, r#"{"error":"invalid_token"}"#));
        assert!(!answer(401, r#"{"error":"AuthMissing","message":"invalid_token"}"#));
        assert!(!answer(401, ""));
    }
}
