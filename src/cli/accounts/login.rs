//! `login`: an app password is shown to the account's PDS once, and the session that it gives is kept.

use clap::Args;
use serde_json::json;

use super::kept::{Accounts, Kept};
use super::logout::end_at_pds;
use super::refresh::is_of_main_password;
use crate::cli::Tools;
use crate::cli::ask;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::locate::NetworkArgs;
use crate::cli::output::{self, Report, printable};
use crate::cli::session::{self, LoginArgs, Password, Secret, authority};
use crate::lexicon::Authority;

/// Log in, so that the other commands need no password.
///
/// Asks for an app password (Settings, App Passwords), shows it to your own PDS and forgets it. The session that
/// the PDS gives is kept on this machine, for you alone to read, and renewed as it is used. The account becomes the default;
/// --account HANDLE picks another one in any command.
///
/// Where there is nobody to ask, as in CI, no login is needed: set AT_FUNCTIONS_HANDLE and AT_FUNCTIONS_PASSWORD. They win over
/// what is logged in.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions login
  at-functions login --handle alice.example.com
  pass show bsky/app | at-functions login --handle alice.example.com --password-file -

Sessions are kept in $XDG_STATE_HOME/at-functions/accounts (~/.local/state/at-functions/accounts), or below
AT_FUNCTIONS_HOME. A session that is not used ends after some weeks, as the PDS has it.

",
    exit_codes!()
))]
pub(in crate::cli) struct LoginCommand {
    /// Print JSON: {did, handle, pds}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// Runs the command.
pub(in crate::cli) async fn login(tools: &Tools, args: LoginCommand) -> Result<Report, CliError> {
    if args.login.account.account.is_some() {
        return Err(CliError::setting("--account", "it picks one that is logged in: use --handle to log in"));
    }
    let accounts = Accounts::of(tools.home.as_ref())?;
    let secret = Secret::given(args.login.password_file.as_deref());
    if secret.is_none() && !ask::can_ask() {
        let why = "give it, or set AT_FUNCTIONS_PASSWORD, where nobody can be asked";
        return Err(CliError::setting("--password-file", why));
    }
    let who = who(&args.login).await?;
    let at = session::find(tools, &args.network, &who).await?;
    let password = match secret {
        Some(secret) => secret.read().await?,
        None => ask_password(&who, &host_of(&at.pds)).await?,
    };
    let made = session::create(tools, &who, &at, password).await?;

    let kept = Kept {
        did: made.did,
        handle: made.handle,
        pds: at.pds,
        access_jwt: made.access_jwt,
        refresh_jwt: made.refresh_jwt,
    };
    let lock = accounts.lock(&kept.did).await?;
    let older = accounts.get(&kept.did);
    accounts.put(&kept, &lock)?;
    accounts.set_default(&kept.did)?;
    if let Ok(Some(older)) = older {
        // It is of no more use to anybody; that the PDS may not hear of it changes nothing here.
        let _ = end_at_pds(tools, &older).await;
    }
    Ok(report(&accounts, &kept, args.json))
}

async fn who(login: &LoginArgs) -> Result<Authority, CliError> {
    if let Some(handle) = &login.account.handle {
        return Ok(handle.clone());
    }
    if !ask::can_ask() {
        return Err(CliError::setting("--handle", "give your handle, or set AT_FUNCTIONS_HANDLE"));
    }
    let unread = |error| CliError::setting("your handle", error);
    let line = ask::line("Your handle, such as alice.example.com: ").await.map_err(unread)?;
    authority(line.trim()).map_err(|why| CliError::setting("your handle", why))
}

async fn ask_password(who: &Authority, host: &str) -> Result<Password, CliError> {
    output::note(&format!("{who} is at {host}. The password goes there and is not kept."));
    let typed = ask::password("App password: ".to_owned())
        .await
        .map_err(|error| CliError::setting("the password", error))?;
    Password::parse("the password", typed)
}

fn report(accounts: &Accounts, kept: &Kept, json: bool) -> Report {
    let value =
        json!({"did": kept.did, "handle": kept.handle, "pds": kept.pds.origin().ascii_serialization()});
    let report = Report::json_or(json, &value, || {
        format!(
            "logged in as {} ({}) at {}\nthe session is kept in {}; `at-functions logout` ends it",
            printable(&kept.handle),
            kept.did,
            host_of(&kept.pds),
            accounts.place()
        )
    });
    if is_of_main_password(&kept.access_jwt) {
        return report.with_notes(
            "note: that was the account's own password. With an app password (Settings, App Passwords) a lost session \
             cannot change your account, and you can revoke it by itself.",
        );
    }
    report
}
