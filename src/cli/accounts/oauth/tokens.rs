//! Tokens: for a code, for a refresh token, and taken back.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

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
use crate::identity::Handle;

/// Seconds that a token is believed to live where the server does not say.
const UNSAID_LIFE: u64 = 300;
/// For a revocation that nothing depends on.
pub(in crate::cli::accounts) const FORGET_WAIT: Duration = Duration::from_secs(10);

/// What a server gives. No `Debug`: tokens are shown nowhere.
#[derive(Deserialize)]
pub(super) struct Tokens {
    pub(super) access_token: String,
    token_type: String,
    #[serde(default)]
    pub(super) refresh_token: String,
    #[serde(default)]
    pub(super) scope: Option<String>,
    /// Whose they are, as the server says: a DID.
    #[serde(default)]
    pub(super) sub: String,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
}

/// Whole seconds however a server writes them: to refuse tokens for this alone could end a session. What is no number is
/// not said.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => text.trim().parse().ok().or_else(|| whole(text.trim().parse().ok()?)),
        _ => None,
    })
}

// Rounded down, and no more than there are seconds.
fn whole(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then_some(seconds as u64)
}

impl Tokens {
    /// The first second in which the access token may be over.
    pub(super) fn end(&self, now: u64) -> u64 {
        now.saturating_add(self.life())
    }

    /// Seconds that the access token lives for.
    pub(super) fn life(&self) -> u64 {
        self.expires_in.unwrap_or(UNSAID_LIFE)
    }

    /// The one whose end ends both.
    pub(super) fn to_revoke(&self) -> &str {
        &self.refresh_token
    }

    /// What is kept of them, once it is known whose they are.
    pub(super) fn to_kept(
        &self,
        account: Account,
        handle: Option<Handle>,
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
            life: Some(self.life()),
        };
        Ok(Kept {
            did: account.did,
            handle,
            pds: account.pds,
            access_jwt: self.access_token.clone(),
            refresh_jwt: self.refresh_token.clone(),
            oauth: Some(oauth),
        })
    }

    /// `asked`: what they are for where the server does not say.
    fn sound(self, asked: &str) -> Result<Tokens, &'static str> {
        let scope = self.scope.as_deref().unwrap_or(asked);
        match () {
            // Anything else is a token that a thief could use.
            () if !self.token_type.eq_ignore_ascii_case("DPoP") => Err("a token that is not bound to a key"),
            () if self.access_token.is_empty() => Err("no access token"),
            () if self.refresh_token.is_empty() => Err("no refresh token"),
            () if !scope.split_ascii_whitespace().any(|scope| scope == "atproto") => {
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
    // The specification has the scope in this answer.
    taken(endpoint, server, &fields, "").await
}

/// Changes a refresh token, which is good for this one time, for new tokens.
pub(super) async fn refresh(
    endpoint: &Endpoint<'_>,
    server: &Server,
    refresh_token: &str,
) -> Result<Tokens, CliError> {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    // Without a scope, it is the one of before (RFC 6749, section 5.1 and 6), which had this.
    taken(endpoint, server, &fields, "atproto").await
}

/// Tokens that are not taken are of no use to anybody, and the server is told so.
async fn taken(
    endpoint: &Endpoint<'_>,
    server: &Server,
    fields: &[(&str, &str)],
    asked: &str,
) -> Result<Tokens, CliError> {
    let answer: Value = endpoint.post(&server.token, fields).await?;
    let to_revoke = answer["refresh_token"].as_str().unwrap_or_default().to_owned();
    let tokens = serde_json::from_value::<Tokens>(answer).map_err(|_| "no tokens of OAuth");
    match tokens.and_then(|tokens| tokens.sound(asked)) {
        Ok(tokens) => Ok(tokens),
        Err(why) => {
            forget(endpoint, server, &to_revoke).await;
            Err(CliError::Unusable { host: host_of(&server.token), why: why.to_owned() })
        }
    }
}

/// The same as [`revoke`] for tokens that are not kept: that the server may not hear of it changes nothing here.
pub(super) async fn forget(endpoint: &Endpoint<'_>, server: &Server, token: &str) {
    if !token.is_empty() {
        let _ = tokio::time::timeout(FORGET_WAIT, revoke(endpoint, server, token)).await;
    }
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
    use serde_json::json;

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
        serde_json::from_value::<Tokens>(tokens).map_err(|_| "no tokens")?.sound("")
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

    #[test]
    fn the_life_of_a_token_is_read_however_it_is_written() {
        for (said, life) in [
            (json!(3600), 3600),
            (json!(3600.0), 3600),
            (json!("3600"), 3600),
            (json!(" 3600.5 "), 3600),
            (json!(1e300), u64::MAX),
            (json!(-1), UNSAID_LIFE),
            (json!("NaN"), UNSAID_LIFE),
            (json!("soon"), UNSAID_LIFE),
            (json!(null), UNSAID_LIFE),
            (json!([3600]), UNSAID_LIFE),
        ] {
            let mut tokens = tokens();
            tokens["expires_in"] = said.clone();
            assert_eq!(judged(tokens).map(|tokens| tokens.life()).ok(), Some(life), "{said}");
        }
    }

    #[test]
    fn a_scope_that_a_refresh_does_not_say_is_the_one_of_before() {
        let mut unsaid = tokens();
        unsaid.as_object_mut().unwrap().remove("scope");
        let parsed = || serde_json::from_value::<Tokens>(unsaid.clone()).unwrap();
        assert!(parsed().sound("atproto").is_ok());
        let why = parsed().sound("").map(|_| ());
        assert_eq!(why, Err("a token that is not for AT Protocol (scope atproto)"));
        let mut other = tokens();
        other["scope"] = "openid".into();
        assert!(serde_json::from_value::<Tokens>(other).unwrap().sound("atproto").is_err());
    }
}
