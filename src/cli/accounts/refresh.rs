//! A token that is good for the next minutes: the one that is kept, or a new one for the refresh token.

use data_encoding::BASE64URL_NOPAD;
use serde::Deserialize;

use super::kept::{Accounts, Kept};
use super::oauth;
use crate::cli::Tools;
use crate::cli::client::{Xrpc, host_of};
use crate::cli::credential::Credential;
use crate::cli::error::{CliError, Refusal};

/// Of a token's life, in seconds, what is left to the command that gets it: enough for an upload over a slow line.
const NEEDED_LIFE: u64 = 660;

/// What the PDS answers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Refreshed {
    did: String,
    access_jwt: String,
    refresh_jwt: String,
}

/// The session with a token that is good for a while.
pub(in crate::cli) async fn fresh(tools: &Tools, accounts: &Accounts, kept: Kept) -> Result<Kept, CliError> {
    let now = tools.clock.unix_seconds();
    if lives_on(&kept, now) {
        return Ok(kept);
    }
    let lock = accounts.lock(&kept.did).await?;
    // Another process may have refreshed it, or logged out, while this one waited.
    let kept = accounts.get(&kept.did)?.ok_or_else(|| kept.ended())?;
    if lives_on(&kept, now) {
        return Ok(kept);
    }
    if let Some(oauth) = kept.oauth.clone() {
        return oauth::renewed(tools, accounts, kept, oauth, lock).await;
    }
    // A disk that takes nothing is found before the refresh token is used up.
    accounts.put(&kept, &lock)?;
    let (unbroken, tools, accounts) = (&tools.unbroken, tools.clone(), accounts.clone());
    let renewal = async move {
        let kept = refreshed(&tools, kept).await?;
        accounts.put(&kept, &lock)?;
        Ok(kept)
    };
    unbroken.run(renewal).await
}

/// A session by app password with new tokens. Its handle stays the one of the login, which was looked up then.
async fn refreshed(tools: &Tools, kept: Kept) -> Result<Kept, CliError> {
    let credential = Credential::Bearer(kept.refresh_jwt.clone());
    let pds = Xrpc::with(&tools.http, &kept.pds, &credential);
    let refreshed: Refreshed = match pds.bare_procedure("com.atproto.server.refreshSession").await {
        Ok(refreshed) => refreshed,
        Err(CliError::Refused(refusal)) if is_end(&refusal) => return Err(kept.ended()),
        Err(error) => return Err(error),
    };
    if refreshed.did != kept.did.as_str() {
        let why = "a session for another account".to_owned();
        return Err(CliError::Unusable { host: host_of(&kept.pds), why });
    }
    let Refreshed { access_jwt, refresh_jwt, .. } = refreshed;
    Ok(Kept { access_jwt, refresh_jwt, ..kept })
}

/// Whether the access token lives on for long enough.
pub(super) fn lives_on(kept: &Kept, now: u64) -> bool {
    match &kept.oauth {
        // Its tokens are for the servers to read.
        Some(oauth) => {
            let (end, life) = oauth.end_and_life();
            end >= now.saturating_add(needed(life))
        }
        None => is_good(&kept.access_jwt, now),
    }
}

/// What must be left of a token's life: no more than half of it, or each command would refresh a short one.
fn needed(life: Option<u64>) -> u64 {
    life.map_or(NEEDED_LIFE, |life| NEEDED_LIFE.min(life / 2))
}

/// Whether the PDS says that the session is over, and not that something else is wrong.
pub(super) fn is_end(refusal: &Refusal) -> bool {
    refusal.status == 401 || matches!(refusal.name.as_str(), "ExpiredToken" | "InvalidToken")
}

/// Whether a token lives on for long enough. The PDS judges it; this only looks when it says that it ends.
fn is_good(token: &str, now: u64) -> bool {
    claims(token).is_some_and(|claims| {
        let life = claims.iat.map(|iat| claims.exp.saturating_sub(iat));
        claims.exp >= now.saturating_add(needed(life))
    })
}

/// Whether a token was given for the account's own password rather than for an app password.
pub(super) fn is_of_main_password(token: &str) -> bool {
    claims(token).is_some_and(|claims| claims.scope == "com.atproto.access")
}

#[derive(Deserialize)]
struct Claims {
    exp: u64,
    #[serde(default)]
    iat: Option<u64>,
    #[serde(default)]
    scope: String,
}

fn claims(token: &str) -> Option<Claims> {
    let payload = BASE64URL_NOPAD.decode(token.split('.').nth(1)?.as_bytes()).ok()?;
    serde_json::from_slice(&payload).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::accounts::kept::LOCK_WAIT;
    use crate::cli::accounts::oauth::FORGET_WAIT;
    use crate::cli::client::Budget;

    #[test]
    fn a_token_that_ends_soon_or_says_nothing_is_refreshed() {
        let token = |claims: &str| format!("h.{}.s", BASE64URL_NOPAD.encode(claims.as_bytes()));
        assert!(is_good(&token(r#"{"exp":1660}"#), 1000));
        assert!(!is_good(&token(r#"{"exp":1659}"#), 1000));
        // Of ten minutes, five are enough.
        assert!(is_good(&token(r#"{"exp":1300,"iat":700}"#), 1000));
        assert!(!is_good(&token(r#"{"exp":1299,"iat":699}"#), 1000));
        for text in ["", "opaque", "h.s", "h.!.s", &token("{}"), &token(r#"{"exp":"9"}"#), &token("[]")] {
            assert!(!is_good(text, 0), "{text}");
        }
    }

    #[test]
    fn half_of_a_short_life_is_enough() {
        let cases = [(None, 660), (Some(3600), 660), (Some(1320), 660), (Some(300), 150), (Some(0), 0)];
        for (life, expected) in cases {
            assert_eq!(needed(life), expected, "{life:?}");
        }
    }

    #[test]
    fn the_lock_is_waited_for_longer_than_anybody_holds_it() {
        // A refresh: the server's metadata, the form twice where a nonce is wanted, and tokens that are given back. A
        // logout: the metadata, and the form twice.
        let held = Budget::DOCUMENT.time + 2 * Budget::TOKEN.time + FORGET_WAIT;
        assert!(LOCK_WAIT > held.max(Budget::CALL.time) + Duration::from_secs(5));
        assert!(Budget::TOKEN.time > Budget::DOCUMENT.time);
    }

    #[test]
    fn the_password_of_the_account_itself_is_told_from_an_app_password() {
        let token = |scope: &str| {
            let claims = format!(r#"{{"exp":1,"scope":"{scope}"}}"#);
            is_of_main_password(&format!("h.{}.s", BASE64URL_NOPAD.encode(claims.as_bytes())))
        };
        assert!(token("com.atproto.access"));
        assert!(!token("com.atproto.appPass") && !token("com.atproto.appPassPrivileged"));
        assert!(!is_of_main_password("opaque"));
    }

    #[test]
    fn only_a_refused_token_ends_a_session() {
        let refusal = |status, name: &str| Refusal {
            host: String::new(),
            status,
            name: name.into(),
            message: String::new(),
        };
        assert!(is_end(&refusal(401, "AuthenticationRequired")));
        assert!(is_end(&refusal(400, "ExpiredToken")) && is_end(&refusal(400, "InvalidToken")));
        for (status, name) in
            [(400, "InvalidRequest"), (429, "RateLimitExceeded"), (500, ""), (403, "AccountTakedown")]
        {
            assert!(!is_end(&refusal(status, name)), "{status} {name}");
        }
    }
}
