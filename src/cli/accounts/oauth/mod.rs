//! Logging in with OAuth, as the profile for AT Protocol has it (<https://atproto.com/specs/oauth>).
//!
//! In: an account and the PDS that holds it. Out: a session whose tokens are bound to a key that was made for it, to be
//! kept. Never: a password; a token from a server that the account's own PDS does not name as its authorization server; a
//! token that is kept before it is known whose it is.
//!
//! The way, in the order of the files: [`server`] finds the authorization server of the PDS and judges what it says of
//! itself. [`pushed`] tells it what is asked for, over [`endpoint`], whose requests are signed by [`dpop`]. The person says
//! yes or no in the browser ([`browser`]), which brings the answer to a port of this machine ([`callback`]). What it says
//! is changed for tokens ([`tokens`]), and whose these are is looked up ([`subject`]). [`client`] is who we are to all of
//! them. Once it is kept, [`session`] refreshes and ends it, and [`bound`] makes requests with it.

mod bound;
mod browser;
mod callback;
mod client;
mod dpop;
mod endpoint;
mod pkce;
mod pushed;
mod server;
mod session;
mod subject;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

pub(in crate::cli) use self::bound::Bound;
use self::callback::{Callback, Expected};
use self::client::Client;
use self::dpop::{Key, Proofs};
use self::endpoint::Endpoint;
use self::pkce::Pkce;
use self::server::Server;
pub(in crate::cli) use self::session::{OAuth, credential};
pub(super) use self::session::{renewed, revoked};
#[cfg(test)]
pub(super) use self::tokens::FORGET_WAIT;
use super::kept::Kept;
use crate::cli::Tools;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::locate::NetworkArgs;
use crate::cli::output;
use crate::cli::session::Place;
use crate::lexicon::Authority;

/// How long the person has, from the link to the answer. A request that was pushed lives about five minutes at the reference
/// PDS, and is given five more when somebody signs in.
const WAIT: Duration = Duration::from_secs(600);

/// Logs in to an account; nothing of it is kept yet.
pub(super) async fn log_in(
    tools: &Tools,
    network: &NetworkArgs,
    who: &Authority,
    at: &Place,
    open_browser: bool,
) -> Result<Kept, CliError> {
    let server = Server::of_pds(&tools.http, &at.pds).await?;
    let key = Arc::new(Key::generate()?);
    let proofs = Proofs::new(Arc::clone(&key), tools.clock.clone());
    let client = Client::of_this_program();
    let endpoint = Endpoint::new(&tools.http, &proofs, &client);
    let (pkce, state) = (Pkce::generate()?, pkce::random()?);

    // Before anything is asked for, so that the answer finds somebody.
    let callback = Callback::bind().await?;
    let asked = pushed::Asked { redirect_uri: callback.redirect_uri(), state: &state, pkce: &pkce, who };
    let page = pushed::push(&endpoint, &server, &asked).await?;
    let redirect_uri = callback.redirect_uri().to_owned();
    let expected = Expected { state, issuer: server.name() };
    let mut listening = callback.listen(expected);

    output::note(&browser::invitation(who, &host_of(&at.pds), &page, &redirect_uri, WAIT));
    if open_browser {
        browser::open(&page);
    }
    let code = listening.answer(WAIT).await?;

    let tokens = tokens::for_code(&endpoint, &server, &code, &redirect_uri, &pkce).await?;
    let asked = subject::Asked { network, who, at };
    let kept = match subject::checked(tools, &asked, &server, &tokens, &key).await {
        Ok((account, handle)) => {
            // Up to here, whoever came was told that it has its answer.
            drop(listening);
            tell_what_is_missing(&tokens);
            tokens.to_kept(account, handle, &server, &client, &key, tools.clock.unix_seconds())
        }
        Err(error) => Err(error),
    };
    if kept.is_err() {
        tokens::forget(&endpoint, &server, tokens.to_revoke()).await;
    }
    kept
}

fn tell_what_is_missing(tokens: &tokens::Tokens) {
    let missing = client::missing(tokens.scope.as_deref().unwrap_or_default());
    if !missing.is_empty() {
        output::note(&format!(
            "note: your PDS did not allow {}: commands that need it will be refused",
            missing.join(", ")
        ));
    }
}
