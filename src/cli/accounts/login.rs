//! `login`: the account's PDS gives a session, for a yes in the browser (OAuth) or an app password, and it is kept.

use clap::Args;
use serde_json::json;

use super::kept::{Accounts, Kept};
use super::logout::end_at_pds;
use super::oauth;
use super::refresh::is_of_main_password;
use crate::cli::Tools;
use crate::cli::ask;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::locate::{self, NetworkArgs};
use crate::cli::output::{self, Report};
use crate::cli::session::{self, LoginArgs, Password, Place, Secret, authority};
use crate::lexicon::Authority;

/// Log in, so that the other commands need no password.
///
/// At a terminal it opens your PDS's own page in the browser (OAuth): you log in there and see what is asked for, and this
/// program gets no password, and a session that can write functions, grants and lexicons, upload code and call services,
/// and no more. A PDS ends it after two weeks at the latest.
///
/// With --app-password it asks for an app password instead (Settings, App Passwords), shows it to your PDS and forgets
/// it: for machines without a browser, and for PDSes without OAuth.
///
/// The session is kept on this machine, for you alone to read, and renewed as it is used. The account becomes the default;
/// --account HANDLE picks another one in any command.
///
/// Where there is nobody to ask, as in CI, no login is needed: set AT_FUNCTIONS_HANDLE and AT_FUNCTIONS_PASSWORD. They win over
/// what is logged in.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions login
  at-functions login alice.example.com
  at-functions login alice.example.com --no-browser
  at-functions login alice.example.com --app-password
  pass show bsky/app | at-functions login alice.example.com --password-file -

The browser brings its answer to a port of this machine. If it runs on another one, use --app-password there, or
log in here with the port forwarded: ssh -L PORT:127.0.0.1:PORT, with the PORT that is told.

Sessions are kept in $XDG_STATE_HOME/at-functions/accounts (~/.local/state/at-functions/accounts), or below
AT_FUNCTIONS_HOME. A session that is not used ends after some weeks, as the PDS has it.

",
    exit_codes!()
))]
pub(in crate::cli) struct LoginCommand {
    /// Your handle or DID, as --handle
    #[arg(value_name = "HANDLE", value_parser = authority)]
    who: Option<Authority>,
    /// Log in in the browser, also where nobody is at the terminal or a password is set
    #[arg(long, conflicts_with_all = ["app_password", "password_file"])]
    oauth: bool,
    /// Ask for an app password
    #[arg(long, conflicts_with = "password_file")]
    app_password: bool,
    /// Do not open the browser: the link is shown
    #[arg(long)]
    no_browser: bool,
    /// Print JSON: {did, handle, pds}
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    login: LoginArgs,
    #[command(flatten)]
    network: NetworkArgs,
}

/// What the PDS is shown for a session.
enum How {
    /// A yes in the browser.
    OAuth,
    /// A password that is given.
    Password(Secret),
    /// A password that is asked for.
    Asked,
}

/// Runs the command.
pub(in crate::cli) async fn login(tools: &Tools, args: LoginCommand) -> Result<Report, CliError> {
    if args.login.account.account.is_some() {
        return Err(CliError::setting("--account", "it picks one that is logged in: use --handle to log in"));
    }
    let accounts = Accounts::of(tools.home.as_ref())?;
    let how = how(&args, Secret::given(args.login.password_file.as_deref()), ask::can_ask())?;
    let who = who(&args).await?;
    let at = session::find(tools, &args.network, &who).await?;
    let kept = match how {
        How::OAuth => oauth::log_in(tools, &args.network, &who, &at, !args.no_browser).await?,
        How::Password(secret) => by_password(tools, &args.network, &who, at, secret.read().await?).await?,
        How::Asked => {
            let password = ask_password(&who, &host_of(&at.pds)).await?;
            by_password(tools, &args.network, &who, at, password).await?
        }
    };

    let older = match keep(&accounts, &kept).await {
        Ok(older) => older,
        Err(error) => {
            // Nobody could use it any more; that the PDS may not hear of it changes nothing here.
            let _ = end_at_pds(tools, &kept).await;
            return Err(error);
        }
    };
    accounts.set_default(&kept.did)?;
    if let Some(older) = older {
        // It is of no more use either.
        let _ = end_at_pds(tools, &older).await;
    }
    Ok(report(&accounts, &kept, args.json))
}

/// Keeps a session, and gives the one that it takes the place of.
async fn keep(accounts: &Accounts, kept: &Kept) -> Result<Option<Kept>, CliError> {
    let lock = accounts.lock(&kept.did).await?;
    // One that cannot be read goes too.
    let older = accounts.get(&kept.did).unwrap_or_default();
    accounts.put(kept, &lock)?;
    Ok(older)
}

fn how(args: &LoginCommand, secret: Option<Secret>, can_ask: bool) -> Result<How, CliError> {
    match secret {
        _ if args.oauth => Ok(How::OAuth),
        Some(secret) if !args.app_password => Ok(How::Password(secret)),
        _ if can_ask && args.app_password => Ok(How::Asked),
        _ if can_ask => Ok(How::OAuth),
        _ => {
            let why = "give it, or set AT_FUNCTIONS_PASSWORD, where nobody can be asked; or log in in a browser with --oauth";
            Err(CliError::setting("--password-file", why))
        }
    }
}

async fn by_password(
    tools: &Tools,
    network: &NetworkArgs,
    who: &Authority,
    at: Place,
    password: Password,
) -> Result<Kept, CliError> {
    let made = session::create(tools, who, &at, password).await?;
    let handle = match who {
        Authority::Did(_) => made.handle,
        Authority::Handle(proved) if at.did.is_some() => Some(proved.clone()),
        // With --pds, nobody looked yet whether it is that account's. It is but a name here: the DID does as well.
        Authority::Handle(named) => {
            let account = locate::account(tools, network, who).await.ok();
            account.filter(|account| account.did == made.did).map(|_| named.clone())
        }
    };
    Ok(Kept {
        did: made.did,
        handle,
        pds: at.pds,
        access_jwt: made.access_jwt,
        refresh_jwt: made.refresh_jwt,
        oauth: None,
    })
}

async fn who(args: &LoginCommand) -> Result<Authority, CliError> {
    if let Some(handle) = args.who.as_ref().or(args.login.account.handle.as_ref()) {
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
    let pds = kept.pds.origin().ascii_serialization();
    let value = json!({"did": kept.did, "handle": kept.handle_text(), "pds": pds});
    let report = Report::json_or(json, &value, || {
        format!(
            "logged in as {} ({}) at {}\nthe session is kept in {}; `at-functions logout` ends it",
            kept.name(),
            kept.did,
            host_of(&kept.pds),
            accounts.place()
        )
    });
    if kept.oauth.is_none() && is_of_main_password(&kept.access_jwt) {
        return report.with_notes(
            "note: that was the account's own password. With an app password (Settings, App Passwords) a lost session \
             cannot change your account, and you can revoke it by itself.",
        );
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn args(arguments: &[&str]) -> Result<LoginCommand, clap::Error> {
        match parse(&[&["login"], arguments].concat())? {
            Command::Login(args) => Ok(*args),
            _ => unreachable!("login was asked for"),
        }
    }

    #[test]
    fn the_browser_is_the_way_of_people_and_a_given_password_that_of_scripts() {
        for (arguments, is_given, can_ask, expected) in [
            (&[][..], false, true, "oauth"),
            (&[], true, true, "given"),
            (&[], true, false, "given"),
            (&[], false, false, "nothing"),
            (&["--oauth"], false, false, "oauth"),
            (&["--oauth"], true, true, "oauth"),
            (&["--app-password"], false, true, "asked"),
            (&["--app-password"], true, true, "asked"),
            (&["--app-password"], false, false, "nothing"),
        ] {
            let secret = is_given.then(|| Secret::Variable("x".to_owned()));
            let told = match how(&args(arguments).unwrap(), secret, can_ask) {
                Ok(How::OAuth) => "oauth",
                Ok(How::Password(_)) => "given",
                Ok(How::Asked) => "asked",
                Err(_) => "nothing",
            };
            assert_eq!(told, expected, "{arguments:?}, given: {is_given}, terminal: {can_ask}");
        }
    }

    #[tokio::test]
    async fn the_account_is_named_with_or_without_a_flag() {
        for arguments in
            [&["@alice.test"][..], &["--handle", "alice.test"], &["alice.test", "--handle", "b.test"]]
        {
            assert_eq!(who(&args(arguments).unwrap()).await.unwrap().to_string(), "alice.test");
        }
    }

    #[test]
    fn one_way_is_chosen() {
        for arguments in [
            ["--oauth", "--app-password"],
            ["--oauth", "--password-file=x"],
            ["--app-password", "--password-file=x"],
        ] {
            let error = args(&arguments).err().unwrap();
            assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict, "{arguments:?}");
        }
    }
}
