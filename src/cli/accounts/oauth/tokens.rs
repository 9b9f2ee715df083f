//! Tokens: for a code, for a refresh token, and taken back.

use std::sync::Arc;

use serde::Deserialize;

use super::client::Client;
use super::dpop::Key;
use super::endpoint::Endpoint;
use super::pkce::Pkce;
use super::server::Server;
use super::session::OAuth;
use crate::cli::accounts::kept::Kept;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::locate::Account;

/// Seconds that a token is believed to live where the server does not say.
const UNSAID_LIFE: u64 = 300;

/// What a server gives. No `Debug`: tokens are shown nowhere.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    token_type: String,
    #[serde(default)]
    pub(super) refresh_token: String,
    #[serde(default)]
    pub(super) scope: String,
    /// Whose they are, as the server says: a DID.
    #[serde(default)]
    pub(super) sub: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Tokens {
    /// The first second in which the access token may be over.
    pub(super) fn end(&self, now: u64) -> u64 {
        now.saturating_add(self.expires_in.unwrap_or(UNSAID_LIFE))
    }

    /// The one whose end ends both.
    pub(super) fn to_revoke(&self) -> &str {
        &self.refresh_token
    }

    /// What is kept of them, once it is known whose they are.
    pub(super) fn into_kept(
        self,
        account: Account,
        handle: String,
        server: &Server,
        client: &Client,
        key: &Arc<Key>,
        now: u64,
    ) -> Result<Kept, CliError> {
        let oauth = OAuth {
            issuer: server.name(),
            client_id: client.id.clone(),
            key: key.to_kept()?,
            expires_at: self.end(now),
        };
        Ok(Kept {
            did: account.did,
            handle,
            pds: account.pds,
            access_jwt: self.access_token,
            refresh_jwt: self.refresh_token,
            oauth: Some(oauth),
        })
    }

    fn sound(self) -> Result<Tokens, &'static str> {
        match () {
            // Anything else is a token that a thief could use.
            () if !self.token_type.eq_ignore_ascii_case("DPoP") => Err("a token that is not bound to a key"),
            () if self.access_token.is_empty() => Err("no access token"),
            () if self.refresh_token.is_empty() => Err("no refresh token"),
            () if !self.scope.split_ascii_whitespace().any(|scope| scope == "atproto") => {
                Err("a token that is not for AT Protocol (scope atproto)")
            }
            () => Ok(self),
        }
    }
}

/// Changes the code that the browser brought for tokens.
pub(super) async fn for_code(
    endpoint: &Endpoint<'_>,
    server: &Server,
    code: &str,
    redirect_uri: &str,
    pkce: &Pkce,
) -> Result<Tokens, CliError> {
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", &pkce.verifier),
    ];
    taken(endpoint, server, &fields).await
}

/// Changes a refresh token, which is good for this one time, for new tokens.
pub(super) async fn refresh(
    endpoint: &Endpoint<'_>,
    server: &Server,
    refresh_token: &str,
) -> Result<Tokens, CliError> {
    taken(endpoint, server, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
}

async fn taken(
    endpoint: &Endpoint<'_>,
    server: &Server,
    fields: &[(&str, &str)],
) -> Result<Tokens, CliError> {
    let tokens: Tokens = endpoint.post(&server.token, fields).await?;
    let unusable = |why: &str| CliError::Unusable { host: host_of(&server.token), why: why.to_owned() };
    tokens.sound().map_err(unusable)
}

/// Has the server forget a session (RFC 7009).
pub(super) async fn revoke(endpoint: &Endpoint<'_>, server: &Server, token: &str) -> Result<(), CliError> {
    let Some(revocation) = &server.revocation else {
        let why = "it has no way to end a session: `at-functions logout --local` forgets it on this machine";
        return Err(CliError::Unusable { host: host_of(&server.issuer), why: why.to_owned() });
    };
    endpoint.tell(revocation, &[("token", token), ("token_type_hint", "refresh_token")]).await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tokens() -> Value {
        json!({
            "access_token": "a",
            "token_type": "DPoP",
            "refresh_token": "r",
            "scope": "atproto blob:*/*",
            "sub": "did:web:a.com",
            "expires_in": 3600,
        })
    }

    fn judged(tokens: Value) -> Result<Tokens, &'static str> {
        serde_json::from_value::<Tokens>(tokens).map_err(|_| "no tokens")?.sound()
    }

    #[test]
    fn tokens_that_break_a_rule_are_refused() {
        assert_eq!(judged(tokens()).map(|tokens| tokens.end(1000)).unwrap(), 4600);
        for (key, value, why) in [
            ("token_type", json!("Bearer"), "a token that is not bound to a key"),
            ("access_token", json!(""), "no access token"),
            ("access_token", json!(1), "no tokens"),
            ("refresh_token", json!(""), "no refresh token"),
            ("scope", json!("transition:generic"), "a token that is not for AT Protocol (scope atproto)"),
            ("scope", json!("atprotocol"), "a token that is not for AT Protocol (scope atproto)"),
        ] {
            let mut broken = tokens();
            broken[key] = value;
            assert_eq!(judged(broken).map(|_| ()), Err(why), "{key}");
        }
        let mut unsaid = tokens();
        unsaid.as_object_mut().unwrap().remove("expires_in");
        assert_eq!(judged(unsaid).map(|tokens| tokens.end(1000)).unwrap(), 1300);
    }
}
