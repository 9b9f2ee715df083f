//! Logging in: a handle, an app password, and the PDS that they are for.

use std::path::{Path, PathBuf};

use atrium_api::com::atproto::server::create_session::{InputData, NSID as CREATE_SESSION};
use clap::Args;
use serde::Deserialize;
use url::Url;

use super::Tools;
use super::accounts::{self, Accounts, Kept};
use super::client::{Http, Xrpc, host_of};
use super::credential::Credential;
use super::error::CliError;
use super::files;
use super::locate::{self, Account, NetworkArgs};
use crate::identity::{Did, Handle};
use crate::lexicon::Authority;

/// No app password comes near it; a password file that is longer is some other file.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Where scripts put the app password.
pub(super) const PASSWORD_VARIABLE: &str = "AT_FUNCTIONS_PASSWORD";

/// Whose account to use.
#[derive(Args)]
#[command(next_help_heading = "Account")]
pub(super) struct AccountArgs {
    /// One of the accounts that are logged in (`at-functions accounts`), whatever the variables say
    #[arg(long, value_name = "HANDLE", value_parser = authority)]
    pub(super) account: Option<Authority>,
    /// Your handle or DID [default: the default account of those logged in]
    #[arg(long, env = "AT_FUNCTIONS_HANDLE", value_name = "HANDLE", value_parser = authority)]
    pub(super) handle: Option<Authority>,
}

/// How to log in.
#[derive(Args)]
#[command(next_help_heading = "Account")]
pub(super) struct LoginArgs {
    #[command(flatten)]
    pub(super) account: AccountArgs,
    /// A file that holds your app password, or - for stdin. Without it and AT_FUNCTIONS_PASSWORD, the session of
    /// `at-functions login` is used
    #[arg(long, value_name = "FILE", conflicts_with = "account")]
    pub(super) password_file: Option<PathBuf>,
}

/// Parses a handle, with or without the `@` that people write before it, or a DID.
pub(super) fn authority(text: &str) -> Result<Authority, String> {
    Authority::parse(text.strip_prefix('@').unwrap_or(text))
        .map_err(|_| "expected a handle such as alice.example.com, or a DID".to_owned())
}

impl LoginArgs {
    /// Whether nothing says who the caller is.
    pub(super) fn is_nobody(&self, tools: &Tools) -> Result<bool, CliError> {
        let account = &self.account;
        Ok(account.account.is_none() && account.handle.is_none() && default_account(tools)?.is_none())
    }
}

/// The caller's own account, for what needs no session: at `--pds` where that is given.
pub(super) async fn own_account(
    tools: &Tools,
    at: &NetworkArgs,
    who: &AccountArgs,
) -> Result<Account, CliError> {
    let kept = match (&who.account, &who.handle) {
        (Some(account), _) => logged_in(tools, account)?,
        (None, Some(handle)) => return locate::own_account(tools, at, handle).await,
        (None, None) => default_account(tools)?.ok_or_else(nobody)?,
    };
    let pds = at.pds.clone().unwrap_or(kept.pds);
    Ok(Account { did: kept.did, pds })
}

/// A logged-in account.
pub(super) struct Session {
    pub(super) did: Did,
    /// As it was at the login, or as the PDS states it.
    pub(super) handle: Option<Handle>,
    pds: Url,
    credential: Credential,
}

/// Where a password is.
pub(super) enum Secret {
    File(PathBuf),
    Variable(String),
}

/// A password: shown nowhere, kept nowhere.
pub(super) struct Password(String);

/// Where an account is, before it is logged in to.
pub(super) struct Place {
    pub(super) pds: Url,
    /// Whose session the PDS must give, where more than the PDS's own word says so.
    pub(super) did: Option<Did>,
}

/// What the PDS answers; the rest of it is of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionOutput {
    did: String,
    handle: String,
    access_jwt: String,
    #[serde(default)]
    refresh_jwt: String,
}

/// A session as a PDS gave it.
pub(super) struct Created {
    pub(super) did: Did,
    /// As the PDS states it, if it is one.
    pub(super) handle: Option<Handle>,
    pub(super) access_jwt: String,
    pub(super) refresh_jwt: String,
}

impl Session {
    /// Logs in at the account's PDS, or goes on with a session that is kept. `--account` names one of those; otherwise a
    /// password wins, as scripts give it.
    pub(super) async fn open(tools: &Tools, who: &LoginArgs, at: &NetworkArgs) -> Result<Session, CliError> {
        let account = &who.account;
        let secret = match &account.account {
            Some(_) => None,
            None => Secret::given(who.password_file.as_deref()),
        };
        if let Some(secret) = secret {
            let why =
                "give your handle, or set AT_FUNCTIONS_HANDLE: the password alone does not say whose it is";
            let identifier = account.handle.as_ref().ok_or_else(|| CliError::setting("--handle", why))?;
            // Before anything is sent, so that a wrong one costs no time.
            let password = secret.read().await?;
            let place = find(tools, at, identifier).await?;
            let Created { did, handle, access_jwt, .. } = create(tools, identifier, &place, password).await?;
            return Ok(Session { did, handle, pds: place.pds, credential: Credential::Bearer(access_jwt) });
        }
        let kept = match account.account.as_ref().or(account.handle.as_ref()) {
            Some(who) => logged_in(tools, who)?,
            None => default_account(tools)?.ok_or_else(nobody)?,
        };
        if at.pds.as_ref().is_some_and(|pds| pds.origin() != kept.pds.origin()) {
            let why = format!(
                "you are logged in at {}: leave it out (and AT_FUNCTIONS_PDS), or log in there with `at-functions login`",
                host_of(&kept.pds)
            );
            return Err(CliError::setting("--pds", why));
        }
        let accounts = Accounts::of(tools.home.as_ref())?;
        let kept = accounts::fresh(tools, &accounts, kept).await?;
        let (did, handle, pds) = (kept.did.clone(), kept.handle.clone(), kept.pds.clone());
        Ok(Session { did, handle, pds, credential: accounts::credential(tools, &accounts, kept)? })
    }

    /// Calls to the account's PDS in its name.
    pub(super) fn xrpc<'a>(&'a self, http: &'a Http) -> Xrpc<'a> {
        Xrpc::with(http, &self.pds, &self.credential)
    }

    /// The account's PDS.
    pub(super) fn pds(&self) -> &Url {
        &self.pds
    }

    /// What it shows, for calls that are not made through [`Session::xrpc`] but go to the same PDS.
    pub(super) fn into_credential(self) -> Credential {
        self.credential
    }
}

fn default_account(tools: &Tools) -> Result<Option<Kept>, CliError> {
    // Where nothing can be kept, nobody is logged in.
    tools.home.as_ref().map_or(Ok(None), |home| Accounts::of(Some(home))?.default())
}

fn logged_in(tools: &Tools, who: &Authority) -> Result<Kept, CliError> {
    let kept = match &tools.home {
        Some(home) => Accounts::of(Some(home))?.find(who)?,
        None => None,
    };
    kept.ok_or_else(|| {
        let why = format!(
            "it is not logged in: `at-functions login --handle {who}`, or set AT_FUNCTIONS_PASSWORD or give --password-file, with an app password (Settings, App Passwords)"
        );
        CliError::setting(who.to_string(), why)
    })
}

fn nobody() -> CliError {
    CliError::setting(
        "account",
        "nobody is logged in, or several and none is the default: `at-functions login`, or give --account; in scripts, set AT_FUNCTIONS_HANDLE and AT_FUNCTIONS_PASSWORD",
    )
}

/// Where an account's password may go.
pub(super) async fn find(tools: &Tools, at: &NetworkArgs, who: &Authority) -> Result<Place, CliError> {
    Ok(match &at.pds {
        Some(pds) => Place { pds: pds.clone(), did: None },
        None => {
            let account = locate::account(tools, at, who).await?;
            Place { pds: account.pds, did: Some(account.did) }
        }
    })
}

/// Makes a session.
pub(super) async fn create(
    tools: &Tools,
    who: &Authority,
    place: &Place,
    password: Password,
) -> Result<Created, CliError> {
    let input = InputData {
        allow_takendown: None,
        auth_factor_token: None,
        identifier: who.to_string(),
        password: password.0,
    };
    let output: SessionOutput =
        Xrpc::anonymous(&tools.http, &place.pds).procedure(CREATE_SESSION, input).await?;
    let expected = |did: &Did| place.did.as_ref().is_none_or(|expected| did == expected);
    let asked = |did: &Did| !matches!(who, Authority::Did(asked) if asked != did);
    match Did::parse(&output.did).ok().filter(expected).filter(asked) {
        Some(did) => Ok(Created {
            did,
            handle: Handle::parse(&output.handle).ok(),
            access_jwt: output.access_jwt,
            refresh_jwt: output.refresh_jwt,
        }),
        None => Err(CliError::Unusable {
            host: host_of(&place.pds),
            why: "a session for another account".to_owned(),
        }),
    }
}

impl Secret {
    /// What the flag or, without it, the variable names.
    pub(super) fn given(file: Option<&Path>) -> Option<Secret> {
        Secret::from(file, std::env::var(PASSWORD_VARIABLE).ok())
    }

    fn from(file: Option<&Path>, variable: Option<String>) -> Option<Secret> {
        let variable = variable.filter(|value| !value.is_empty()).map(Secret::Variable);
        file.map(|path| Secret::File(path.to_owned())).or(variable)
    }

    /// The password itself.
    pub(super) async fn read(self) -> Result<Password, CliError> {
        match self {
            Secret::File(path) => Password::parse("--password-file", password_in(&path).await?),
            Secret::Variable(value) => Password::parse(PASSWORD_VARIABLE, value),
        }
    }
}

impl Password {
    /// The password in a text that `what` gave; the end of its line is none of it.
    pub(super) fn parse(what: &str, text: String) -> Result<Password, CliError> {
        let text = text.trim_end_matches(['\r', '\n']);
        match text {
            "" => Err(CliError::setting(what, "it is empty")),
            _ if text.contains(['\r', '\n']) => Err(CliError::setting(what, "expected one line")),
            _ if text.len() > MAX_PASSWORD_BYTES => Err(CliError::setting(what, "too long for a password")),
            _ => Ok(Password(text.to_owned())),
        }
    }
}

async fn password_in(path: &Path) -> Result<String, CliError> {
    // With its line end.
    let bytes = files::read(path, MAX_PASSWORD_BYTES as u64 + 2).await?;
    String::from_utf8(bytes).map_err(|_| CliError::setting("--password-file", "it is not text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn take(file: Option<&Path>, variable: Option<&str>) -> Option<Result<Password, CliError>> {
        Some(Secret::from(file, variable.map(str::to_owned))?.read().await)
    }

    fn why(result: Result<Password, CliError>) -> String {
        result.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn the_password_comes_from_the_file_before_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for content in ["from file", "from file\n", "from file\r\n"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(take(Some(&path), Some("from variable")).await.unwrap().unwrap().0, "from file");
        }
        assert_eq!(take(None, Some(" kept as is ")).await.unwrap().unwrap().0, " kept as is ");
        assert!(take(None, None).await.is_none() && take(None, Some("")).await.is_none());
    }

    #[tokio::test]
    async fn a_password_that_is_none_is_refused_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for (content, expected) in [
            ("", "--password-file: it is empty"),
            ("\n\n", "--password-file: it is empty"),
            ("secret\nmore", "--password-file: expected one line"),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(why(take(Some(&path), None).await.unwrap()), expected);
        }
        std::fs::write(&path, "s".repeat(1 << 20)).unwrap();
        assert_eq!(why(take(Some(&path), None).await.unwrap()), "--password-file: too long for a password");
        let absent = take(Some(Path::new("/nonexistent/x")), None).await.unwrap();
        assert!(matches!(absent, Err(CliError::File { .. })));
    }

    #[test]
    fn an_account_is_a_handle_or_a_did() {
        assert_eq!(authority("@Alice.example.com").unwrap().to_string(), "alice.example.com");
        assert_eq!(authority("did:web:a.com").unwrap().to_string(), "did:web:a.com");
        assert!(authority("alice").is_err());
        assert!(authority("alice@example.com").is_err());
    }
}
