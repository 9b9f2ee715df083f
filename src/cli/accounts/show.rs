//! `accounts`: which are logged in, and which of them is the default.

use clap::Args;
use serde_json::{Value, json};

use super::kept::{Accounts, Kept};
use crate::cli::Tools;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::output::{self, Report};
use crate::cli::session::authority;
use crate::lexicon::Authority;

/// Show the accounts that are logged in on this machine, and choose the default.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions accounts
  at-functions accounts --default bob.example.com

",
    exit_codes!()
))]
pub(in crate::cli) struct AccountsArgs {
    /// Make this account the one that commands use without --account
    #[arg(long, value_name = "HANDLE", value_parser = authority)]
    default: Option<Authority>,
    /// Print JSON: {accounts: [{did, handle, pds, default}]}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(in crate::cli) async fn accounts(tools: &Tools, args: AccountsArgs) -> Result<Report, CliError> {
    let accounts = Accounts::of(tools.home.as_ref())?;
    if let Some(who) = &args.default {
        let why = || {
            CliError::setting(
                who.to_string(),
                format!("it is not logged in: `at-functions login --handle {who}`"),
            )
        };
        accounts.set_default(&accounts.find(who)?.ok_or_else(why)?.did)?;
    }
    let default = accounts.default_did()?;
    let all = accounts.all()?;
    let is_default = |kept: &Kept| Some(&kept.did) == default.as_ref();
    let listed: Vec<Value> = all
        .iter()
        .map(|kept| {
            let pds = kept.pds.origin().ascii_serialization();
            json!({"did": kept.did, "handle": kept.handle_text(), "pds": pds, "default": is_default(kept)})
        })
        .collect();
    Ok(Report::json_or(args.json, &json!({ "accounts": listed }), || {
        if all.is_empty() {
            return "no account is logged in: `at-functions login`".to_owned();
        }
        let head = ["", "HANDLE", "DID", "PDS"].map(str::to_owned);
        let row = |kept: &Kept| {
            let mark = if is_default(kept) { "*" } else { "" };
            [
                mark.to_owned(),
                kept.handle_text().unwrap_or_default().to_owned(),
                kept.did.to_string(),
                host_of(&kept.pds),
            ]
        };
        output::table(&std::iter::once(head).chain(all.iter().map(row)).collect::<Vec<_>>())
    }))
}
