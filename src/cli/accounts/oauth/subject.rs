//! Whose tokens these are. A server may say any name; that it may speak for the account is what the account's own DID
//! document says, through the PDS that it names (<https://atproto.com/specs/oauth#identity-authentication>).

use std::sync::Arc;

use serde::Deserialize;

use super::bound::Bound;
use super::dpop::Key;
use super::server::Server;
use super::tokens::Tokens;
use crate::cli::Tools;
use crate::cli::client::{Xrpc, host_of};
use crate::cli::credential::Credential;
use crate::cli::error::CliError;
use crate::cli::locate::{self, Account, NetworkArgs};
use crate::cli::session::Place;
use crate::identity::{Did, Handle};
use crate::lexicon::Authority;

/// Whose session was asked for.
pub(super) struct Asked<'a> {
    pub(super) network: &'a NetworkArgs,
    pub(super) who: &'a Authority,
    pub(super) at: &'a Place,
}

/// The account of the tokens, if the server may speak for it and it is the one that was asked for, and its handle, if that is
/// known.
pub(super) async fn checked(
    tools: &Tools,
    asked: &Asked<'_>,
    server: &Server,
    tokens: &Tokens,
    key: &Arc<Key>,
) -> Result<(Account, Option<Handle>), CliError> {
    let &Asked { network, who, at } = asked;
    let unusable = |why: &str| CliError::Unusable { host: host_of(&server.issuer), why: why.to_owned() };
    let did = Did::parse(&tokens.sub).map_err(|_| unusable("it does not say whose session it gave"))?;
    // With --pds, nobody looked yet whether the handle is that account's, as its DID document says.
    let named = match (who, &at.did) {
        (Authority::Did(named), _) | (_, Some(named)) => named.clone(),
        (Authority::Handle(_), None) => locate::account(tools, network, who).await?.did,
    };
    if named != did {
        return Err(another(&did, who));
    }
    let account = locate::account(tools, network, &Authority::Did(did)).await?;
    if Server::named_by(&tools.http, &account.pds).await? != server.issuer {
        return Err(unusable("it gave a session for an account whose PDS does not name it"));
    }
    let stated = handle(tools, &account, tokens, key).await?;
    let handle = match who {
        Authority::Handle(proved) => Some(proved.clone()),
        Authority::Did(_) => Handle::parse(&stated).ok(),
    };
    Ok((account, handle))
}

fn another(did: &Did, who: &Authority) -> CliError {
    CliError::NotLoggedIn(format!(
        "in the browser you chose {did}, which is not {who}: nothing was kept. Choose that account there, or name the other one here"
    ))
}

/// What the PDS says of the session: which proves too that it takes the tokens.
async fn handle(
    tools: &Tools,
    account: &Account,
    tokens: &Tokens,
    key: &Arc<Key>,
) -> Result<String, CliError> {
    #[derive(Deserialize)]
    struct Output {
        did: String,
        handle: String,
    }
    let credential = Credential::Bound(Bound::unkept(tools, &tokens.access_token, key));
    let pds = Xrpc::with(&tools.http, &account.pds, &credential);
    let no_parameters: [(&str, &str); 0] = [];
    let Output { did, handle } = pds.query("com.atproto.server.getSession", no_parameters).await?;
    match did == account.did.as_str() {
        true => Ok(handle),
        false => {
            let why = "a session for another account".to_owned();
            Err(CliError::Unusable { host: host_of(&account.pds), why })
        }
    }
}
