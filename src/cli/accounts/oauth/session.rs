//! A session by OAuth once it is kept: used, refreshed, ended.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use url::Url;

use super::bound::Bound;
use super::dpop::{Key, Proofs};
use super::endpoint::Endpoint;
use super::server::Server;
use super::tokens::{self, Tokens};
use crate::cli::Tools;
use crate::cli::accounts::kept::{Accounts, Kept, Lock};
use crate::cli::client::host_of;
use crate::cli::credential::Credential;
use crate::cli::error::CliError;

/// What is kept of a session by OAuth beside its tokens. No `Debug`: the key is shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct OAuth {
    /// The authorization server that gave the tokens, and the only one that they are shown to beside the PDS.
    pub(super) issuer: String,
    /// The client that they were given to.
    pub(super) client_id: String,
    /// The key that they are bound to: PKCS #8 in base64.
    pub(super) key: String,
    /// Unix seconds after which the access token may be over.
    pub(super) expires_at: u64,
    /// Seconds that the access token lived for when it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) life: Option<u64>,
}

impl OAuth {
    /// When the access token may be over, in Unix seconds, and how many seconds it lived for when it was given.
    pub(in crate::cli::accounts) fn end_and_life(&self) -> (u64, Option<u64>) {
        (self.expires_at, self.life)
    }

    pub(super) fn key(&self) -> Result<Arc<Key>, CliError> {
        let damaged = || CliError::setting("the session", "its key is damaged: log in again");
        Key::parse(&self.key).map(Arc::new).ok_or_else(damaged)
    }

    async fn server(&self, tools: &Tools) -> Result<Server, CliError> {
        let damaged = |_| CliError::setting("the session", "its issuer is damaged: log in again");
        Server::at(&tools.http, &Url::parse(&self.issuer).map_err(damaged)?).await
    }
}

/// What requests show that are made with a session.
pub(in crate::cli) fn credential(
    tools: &Tools,
    accounts: &Accounts,
    kept: Kept,
) -> Result<Credential, CliError> {
    Ok(match &kept.oauth {
        None => Credential::Bearer(kept.access_jwt),
        Some(oauth) => {
            let key = oauth.key()?;
            Credential::Bound(Bound::kept(tools, accounts, kept, &key))
        }
    })
}

/// The session with new tokens, which are kept. The refresh token is good for this one time, so whatever happens to the
/// command, the account's lock is held until they are.
pub(in crate::cli::accounts) async fn renewed(
    tools: &Tools,
    accounts: &Accounts,
    kept: Kept,
    oauth: OAuth,
    lock: Lock,
) -> Result<Kept, CliError> {
    let server = oauth.server(tools).await?;
    let proofs = Proofs::new(oauth.key()?, tools.clock.clone());
    // A disk that takes nothing is found before the token is used up.
    accounts.put(&kept, &lock)?;
    let (unbroken, tools, accounts) = (&tools.unbroken, tools.clone(), accounts.clone());
    let renewal = async move {
        let endpoint = Endpoint::of(&tools.http, &proofs, &oauth.client_id);
        let tokens = match tokens::refresh(&endpoint, &server, &kept.refresh_jwt).await {
            Err(CliError::Refused(refusal)) if is_end(&refusal.name) => return Err(kept.ended()),
            tokens => tokens?,
        };
        let to_revoke = tokens.to_revoke().to_owned();
        let unusable = |why: &str| CliError::Unusable { host: host_of(&server.issuer), why: why.to_owned() };
        let renewed = with(&kept, &oauth, tokens, tools.clock.unix_seconds()).map_err(unusable);
        let renewed = renewed.and_then(|renewed| accounts.put(&renewed, &lock).map(|()| renewed));
        if renewed.is_err() {
            tokens::forget(&endpoint, &server, &to_revoke).await;
        }
        renewed
    };
    unbroken.run(renewal).await
}

fn with(kept: &Kept, oauth: &OAuth, tokens: Tokens, now: u64) -> Result<Kept, &'static str> {
    if tokens.sub != kept.did.as_str() {
        return Err("a session for another account");
    }
    let oauth = OAuth { expires_at: tokens.end(now), life: Some(tokens.life()), ..oauth.clone() };
    Ok(Kept {
        access_jwt: tokens.access_token,
        refresh_jwt: tokens.refresh_token,
        oauth: Some(oauth),
        ..kept.clone()
    })
}

/// Has the authorization server forget a session; one that it has forgotten already is ended too.
pub(in crate::cli::accounts) async fn revoked(
    tools: &Tools,
    kept: &Kept,
    oauth: &OAuth,
) -> Result<(), CliError> {
    let server = oauth.server(tools).await?;
    let proofs = Proofs::new(oauth.key()?, tools.clock.clone());
    let endpoint = Endpoint::of(&tools.http, &proofs, &oauth.client_id);
    match tokens::revoke(&endpoint, &server, &kept.refresh_jwt).await {
        Err(CliError::Refused(refusal)) if is_end(&refusal.name) => Ok(()),
        revoked => revoked,
    }
}

/// Whether the server says that the session is over, and not that something else is wrong (RFC 6749, section 5.2).
fn is_end(error: &str) -> bool {
    matches!(error, "invalid_grant" | "invalid_token")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::identity::{Did, Handle};

    fn kept() -> Kept {
        Kept {
            did: Did::parse("did:web:a.com").unwrap(),
            handle: Handle::parse("alice.test").ok(),
            pds: Url::parse("https://pds.example.com").unwrap(),
            access_jwt: "old".to_owned(),
            refresh_jwt: "old refresh".to_owned(),
            oauth: Some(OAuth {
                issuer: "https://as.example.com".to_owned(),
                client_id: "http://localhost".to_owned(),
                key: Key::generate().unwrap().to_kept().unwrap(),
                expires_at: 1,
                life: None,
            }),
        }
    }

    fn tokens(sub: &str) -> Tokens {
        let json = json!({"access_token": "new", "token_type": "DPoP", "refresh_token": "new refresh", "sub": sub, "expires_in": 60});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn new_tokens_keep_their_account_and_their_key() {
        let kept = kept();
        let oauth = kept.oauth.as_ref().unwrap();
        let after = with(&kept, oauth, tokens("did:web:a.com"), 1000).unwrap();
        assert_eq!((after.access_jwt.as_str(), after.refresh_jwt.as_str()), ("new", "new refresh"));
        let new = after.oauth.unwrap();
        assert_eq!(new.end_and_life(), (1060, Some(60)));
        assert_eq!((new.key, new.issuer), (oauth.key.clone(), oauth.issuer.clone()));
        for other in ["did:web:b.com", ""] {
            let why = with(&kept, oauth, tokens(other), 1000).map(|_| ());
            assert_eq!(why, Err("a session for another account"), "{other}");
        }
    }

    #[test]
    fn only_a_token_that_is_refused_ends_a_session() {
        assert!(is_end("invalid_grant") && is_end("invalid_token"));
        for error in ["", "invalid_client", "invalid_request", "server_error", "invalid_dpop_proof"] {
            assert!(!is_end(error), "{error}");
        }
    }
}
