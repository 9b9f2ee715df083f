//! What a request shows of who sends it.
//!
//! In: a token of a session. Out: the request with what proves that its sender may use that token. Never: put a token
//! where logs or messages show it.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response};

use super::accounts::Bound;
use super::client::{Budget, Http};
use super::error::CliError;

/// What a server takes for the account that a session is of. No `Debug`: it is a key to the account.
pub(super) enum Credential {
    /// Whoever has the token may use it: sessions by app password, tokens for one call of a service.
    Bearer(String),
    /// Only who has the key that the token is bound to may use it (RFC 9449): sessions by OAuth.
    Bound(Bound),
}

impl Credential {
    /// Sends a request with the credential, and again where the server wants another proof, or a newer token.
    pub(super) async fn send(
        &self,
        http: &Http,
        mut request: Request<Vec<u8>>,
        budget: Budget,
    ) -> Result<Response<Vec<u8>>, CliError> {
        match self {
            Credential::Bearer(token) => {
                request.headers_mut().insert(AUTHORIZATION, authorization("Bearer", token)?);
                http.exchange(request, budget).await
            }
            Credential::Bound(bound) => bound.send(http, request, budget).await,
        }
    }

    /// Whether the server's next answer may be that it wants another proof or token, after all of the body was sent.
    pub(super) fn may_be_refused_once(&self) -> bool {
        matches!(self, Credential::Bound(_))
    }
}

/// The header that shows a token.
pub(super) fn authorization(scheme: &str, token: &str) -> Result<HeaderValue, CliError> {
    let unusable = |_| CliError::setting("the session", "its token cannot be sent: log in again");
    let mut value = HeaderValue::from_str(&format!("{scheme} {token}")).map_err(unusable)?;
    value.set_sensitive(true);
    Ok(value)
}
