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
use crate::cli::output::{Report, printable};
use crate::cli::session::authority;
use crate::lexicon::Authority;

/// End a session: at your PDS, and on this machine.
///
/// Without HANDLE, the default account's. If the PDS cannot be reached, nothing is changed, so that the session cannot live on
/// there unseen; --local forgets it here all the same.
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
    for kept in chosen(&accounts, &args)? {
        let lock = accounts.lock(&kept.did).await?;
        // As it is now: another process may have refreshed it.
        let Some(kept) = accounts.get(&kept.did)? else { continue };
        if !args.local {
            end_at_pds(tools, &kept).await?;
        }
        accounts.remove(&kept.did, &lock)?;
        ended.push(kept);
    }
    let value = json!({"loggedOut": ended.iter().map(|kept| json!({"did": kept.did, "handle": kept.handle})).collect::<Vec<_>>()});
    Ok(Report::json_or(args.json, &value, || {
        let line = |kept: &Kept| format!("logged out {} ({})", printable(&kept.handle), kept.did);
        match ended.as_slice() {
            [] => "no account is logged in".to_owned(),
            ended => ended.iter().map(line).collect::<Vec<_>>().join("\n"),
        }
    }))
}

fn chosen(accounts: &Accounts, args: &LogoutArgs) -> Result<Vec<Kept>, CliError> {
    if args.all {
        return accounts.all();
    }
    if let Some(who) = &args.handle {
        let kept = accounts.find(who)?;
        let why = "it is not logged in: `at-functions accounts` shows which are";
        return kept.map(|kept| vec![kept]).ok_or_else(|| CliError::setting(who.to_string(), why));
    }
    match accounts.default()? {
        Some(kept) => Ok(vec![kept]),
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
