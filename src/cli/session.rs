//! Logging in: a handle, an app password, and the PDS that they are for.

use std::path::{Path, PathBuf};

use atrium_api::com::atproto::server::create_session::{InputData, NSID as CREATE_SESSION};
use clap::Args;
use serde::Deserialize;
use url::Url;

use super::Tools;
use super::client::{Http, Xrpc, host_of};
use super::error::CliError;
use super::files;
use super::locate::{self, NetworkArgs};
use crate::identity::Did;
use crate::lexicon::Authority;

/// No app password comes near it; a password file that is longer is some other file.
const MAX_PASSWORD_BYTES: usize = 1024;

/// Whose account to use.
#[derive(Args)]
#[command(next_help_heading = "Account")]
pub(super) struct AccountArgs {
    /// Your handle or DID
    #[arg(long, env = "AT_FUNCTIONS_HANDLE", value_name = "HANDLE", value_parser = authority)]
    pub(super) handle: Option<Authority>,
}

/// How to log in.
#[derive(Args)]
#[command(next_help_heading = "Account")]
pub(super) struct LoginArgs {
    #[command(flatten)]
    pub(super) account: AccountArgs,
    /// A file that holds your app password, or - for stdin; without it, AT_FUNCTIONS_PASSWORD is used
    #[arg(long, value_name = "FILE")]
    pub(super) password_file: Option<PathBuf>,
}

/// Parses a handle, with or without the `@` that people write before it, or a DID.
pub(super) fn authority(text: &str) -> Result<Authority, String> {
    Authority::parse(text.strip_prefix('@').unwrap_or(text))
        .map_err(|_| "expected a handle such as alice.example.com, or a DID".to_owned())
}

impl AccountArgs {
    pub(super) fn required(&self) -> Result<&Authority, CliError> {
        self.handle
            .as_ref()
            .ok_or_else(|| CliError::setting("--handle", "give your handle, or set AT_FUNCTIONS_HANDLE"))
    }
}

/// A logged-in account.
pub(super) struct Session {
    pub(super) did: Did,
    /// As the PDS states it.
    pub(super) handle: String,
    pds: Url,
    token: String,
}

/// A password: shown nowhere.
struct Password(String);

/// What the PDS answers; the rest of it is of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SessionOutput {
    did: String,
    handle: String,
    access_jwt: String,
}

impl Session {
    /// Logs in at the account's PDS.
    pub(super) async fn open(tools: &Tools, who: &LoginArgs, at: &NetworkArgs) -> Result<Session, CliError> {
        let identifier = who.account.required()?;
        // Before anything is sent, so that a missing one costs no time.
        let password =
            Password::take(who.password_file.as_deref(), std::env::var("AT_FUNCTIONS_PASSWORD").ok()).await?;
        let (pds, expected) = match &at.pds {
            Some(pds) => (pds.clone(), None),
            None => {
                let account = locate::account(tools, at, identifier).await?;
                (account.pds, Some(account.did))
            }
        };
        let input = InputData {
            allow_takendown: None,
            auth_factor_token: None,
            identifier: identifier.to_string(),
            password: password.0,
        };
        let output: SessionOutput =
            Xrpc::anonymous(&tools.http, &pds).procedure(CREATE_SESSION, input).await?;
        let did = Did::parse(&output.did).ok().filter(|did| expected.is_none_or(|expected| *did == expected));
        let Some(did) = did else {
            return Err(CliError::Unusable {
                host: host_of(&pds),
                why: "a session for another account".to_owned(),
            });
        };
        Ok(Session { did, handle: output.handle, pds, token: output.access_jwt })
    }

    /// Calls to the account's PDS in its name.
    pub(super) fn xrpc<'a>(&'a self, http: &'a Http) -> Xrpc<'a> {
        Xrpc::with_token(http, &self.pds, &self.token)
    }

    /// The account's PDS.
    pub(super) fn pds(&self) -> &Url {
        &self.pds
    }

    /// The access token, for calls that are not made through [`Session::xrpc`] but go to the same PDS.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Password {
    /// The password from a file, or from the variable's value.
    async fn take(file: Option<&Path>, variable: Option<String>) -> Result<Password, CliError> {
        let (what, text) = match (file, variable) {
            (Some(path), _) => ("--password-file", password_in(path).await?),
            (None, Some(value)) if !value.is_empty() => ("AT_FUNCTIONS_PASSWORD", value),
            (None, _) => {
                return Err(CliError::setting(
                    "password",
                    "set AT_FUNCTIONS_PASSWORD or give --password-file, with an app password (Settings, App Passwords)",
                ));
            }
        };
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

    fn why(result: Result<Password, CliError>) -> String {
        result.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn the_password_comes_from_the_file_before_the_variable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        for content in ["from file", "from file\n", "from file\r\n"] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(
                Password::take(Some(&path), Some("from variable".into())).await.unwrap().0,
                "from file"
            );
        }
        assert_eq!(Password::take(None, Some(" kept as is ".into())).await.unwrap().0, " kept as is ");
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
            assert_eq!(why(Password::take(Some(&path), None).await), expected);
        }
        std::fs::write(&path, "s".repeat(1 << 20)).unwrap();
        assert_eq!(why(Password::take(Some(&path), None).await), "--password-file: too long for a password");
        assert!(why(Password::take(None, None).await).contains("AT_FUNCTIONS_PASSWORD"));
        assert!(why(Password::take(None, Some(String::new())).await).contains("AT_FUNCTIONS_PASSWORD"));
        assert!(matches!(
            Password::take(Some(Path::new("/nonexistent/x")), None).await,
            Err(CliError::File { .. })
        ));
    }

    #[test]
    fn an_account_is_a_handle_or_a_did() {
        assert_eq!(authority("@Alice.example.com").unwrap().to_string(), "alice.example.com");
        assert_eq!(authority("did:web:a.com").unwrap().to_string(), "did:web:a.com");
        assert!(authority("alice").is_err());
        assert!(authority("alice@example.com").is_err());
    }
}
