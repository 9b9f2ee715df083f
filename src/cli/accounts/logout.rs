//! `logout`: ends a session at its PDS, and forgets it.

use clap::Args;
use serde_json::json;

use super::kept::{Accounts, Kept};
use super::oauth;
use super::refresh::is_end;
use crate::cli::Tools;
use crate::cli::client::Xrpc;
use crate::cli::credential::Credential;
use crate::cli::error::CliError;
use crate::cli::output::Report;
use crate::cli::session::authority;
use crate::identity::{Did, Handle};
use crate::lexicon::Authority;

/// End a session: at your PDS, and on this machine.
///
/// Without HANDLE, the default account's. If the PDS cannot be reached, nothing is changed, so that the session cannot live on
/// there unseen; --local forgets it here all the same, also one that cannot be read (give its DID).
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions logout
  at-functions logout alice.example.com
  at-functions logout --all

",
    exit_codes!()
))]
pub(in crate::cli) struct LogoutArgs {
    /// The account [default: the default account]
    #[arg(value_parser = authority)]
    handle: Option<Authority>,
    /// All accounts that are logged in
    #[arg(long, conflicts_with = "handle")]
    all: bool,
    /// Do not tell the PDS
    #[arg(long)]
    local: bool,
    /// Print JSON: {loggedOut: [{did, handle}]}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(in crate::cli) async fn logout(tools: &Tools, args: LogoutArgs) -> Result<Report, CliError> {
    let accounts = Accounts::of(tools.home.as_ref())?;
    let mut ended = Vec::new();
    for did in chosen(&accounts, &args)? {
        let lock = accounts.lock(&did).await?;
        // As it is now: another process may have refreshed it.
        let kept = match accounts.get(&did) {
            Ok(None) => continue,
            // What cannot be read is forgotten all the same.
            Err(_) if args.local => None,
            kept => kept?,
        };
        if let Some(kept) = kept.as_ref().filter(|_| !args.local) {
            end_at_pds(tools, kept).await?;
        }
        accounts.remove(&did, &lock)?;
        ended.push((did, kept.and_then(|kept| kept.handle)));
    }
    let told = |(did, handle): &(Did, Option<Handle>)| json!({"did": did, "handle": handle.as_ref().map(Handle::as_str)});
    let value = json!({"loggedOut": ended.iter().map(told).collect::<Vec<_>>()});
    Ok(Report::json_or(args.json, &value, || {
        let line = |(did, handle): &(Did, Option<Handle>)| match handle {
            Some(handle) => format!("logged out {handle} ({did})"),
            None => format!("logged out {did}"),
        };
        match ended.as_slice() {
            [] => "no account is logged in".to_owned(),
            ended => ended.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    }))
}

fn chosen(accounts: &Accounts, args: &LogoutArgs) -> Result<Vec<Did>, CliError> {
    let dids = |all: Vec<Kept>| all.into_iter().map(|kept| kept.did).collect();
    if args.all {
        return accounts.all().map(dids);
    }
    if let Some(who) = &args.handle {
        let did = match who {
            Authority::Did(did) => accounts.has(did).then(|| did.clone()),
            Authority::Handle(_) => accounts.find(who)?.map(|kept| kept.did),
        };
        let why = "it is not logged in: `at-functions accounts` shows which are";
        return did.map(|did| vec![did]).ok_or_else(|| CliError::setting(who.to_string(), why));
    }
    match accounts.default_did()? {
        Some(did) => Ok(vec![did]),
        None if accounts.all()?.is_empty() => Ok(Vec::new()),
        None => {
            Err(CliError::setting("HANDLE", "several accounts are logged in: give one of them, or --all"))
        }
    }
}

/// Has the PDS forget a session; one that it has forgotten already is ended too.
pub(super) async fn end_at_pds(tools: &Tools, kept: &Kept) -> Result<(), CliError> {
    if let Some(oauth) = &kept.oauth {
        return oauth::revoked(tools, kept, oauth).await;
    }
    let credential = Credential::Bearer(kept.refresh_jwt.clone());
    let pds = Xrpc::with(&tools.http, &kept.pds, &credential);
    match pds.bare_command("com.atproto.server.deleteSession").await {
        Err(CliError::Refused(refusal)) if is_end(&refusal) => Ok(()),
        ended => ended,
    }
}
