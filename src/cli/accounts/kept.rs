//! Sessions as they are kept: a file for each account, one that names the default, and a lock for each.
//!
//! A refresh token is good for one use, so whoever changes an account's file holds its lock, from before it reads what is
//! there until what comes of it is written.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::oauth::OAuth;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::home::{self, Home};
use crate::cli::private_files;
use crate::identity::Did;
use crate::lexicon::Authority;

/// Many times what two tokens and a key have.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Longer than a refresh takes, whose request ends after 30 s.
const LOCK_WAIT: Duration = Duration::from_secs(45);
/// The file that names the default account.
const DEFAULT: &str = "default";

/// A session of an account. No `Debug`: the tokens are shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Kept {
    pub(in crate::cli) did: Did,
    /// As the PDS stated it last.
    pub(in crate::cli) handle: String,
    /// The one server that the tokens are for.
    pub(in crate::cli) pds: Url,
    pub(in crate::cli) access_jwt: String,
    pub(in crate::cli) refresh_jwt: String,
    /// What there is beside the tokens, where they are of OAuth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) oauth: Option<OAuth>,
}

impl Kept {
    fn is(&self, who: &Authority) -> bool {
        match who {
            Authority::Did(did) => *did == self.did,
            Authority::Handle(handle) => self.handle.eq_ignore_ascii_case(handle.as_str()),
        }
    }

    /// That the PDS takes its tokens no more.
    pub(in crate::cli) fn ended(&self) -> CliError {
        CliError::Ended { handle: self.handle.clone(), host: host_of(&self.pds) }
    }
}

/// The folder of sessions.
pub(in crate::cli) struct Accounts {
    folder: PathBuf,
}

impl Accounts {
    pub(in crate::cli) fn of(home: Option<&Home>) -> Result<Accounts, CliError> {
        Ok(Accounts { folder: Home::required(home)?.accounts() })
    }

    /// For messages.
    pub(in crate::cli) fn place(&self) -> String {
        home::shown(&self.folder)
    }

    /// All that are logged in, by their handles.
    pub(in crate::cli) fn all(&self) -> Result<Vec<Kept>, CliError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(CliError::File { path: self.folder.clone(), source }),
        };
        let mut all = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "json") {
                all.extend(read(&path)?);
            }
        }
        all.sort_by(|a, b| (&a.handle, a.did.as_str()).cmp(&(&b.handle, b.did.as_str())));
        Ok(all)
    }

    /// The session of an account.
    pub(in crate::cli) fn get(&self, did: &Did) -> Result<Option<Kept>, CliError> {
        Ok(read(&self.file(did, "json"))?.filter(|kept| kept.did == *did))
    }

    /// The same, by handle or DID.
    pub(in crate::cli) fn find(&self, who: &Authority) -> Result<Option<Kept>, CliError> {
        Ok(self.all()?.into_iter().find(|kept| kept.is(who)))
    }

    /// The account to use where nothing names one: the one that was made the default, or the only one.
    pub(in crate::cli) fn default(&self) -> Result<Option<Kept>, CliError> {
        let named = private_files::read(&self.folder.join(DEFAULT), MAX_FILE_BYTES)?;
        let named = named.and_then(|bytes| Did::parse(str::from_utf8(&bytes).ok()?.trim()).ok());
        if let Some(did) = named
            && let Some(kept) = self.get(&did)?
        {
            return Ok(Some(kept));
        }
        let mut all = self.all()?;
        Ok(if all.len() == 1 { all.pop() } else { None })
    }

    /// Keeps a session, in place of an older one. The lock is held.
    pub(in crate::cli) fn put(&self, kept: &Kept, _: &Lock) -> Result<(), CliError> {
        let json = serde_json::to_vec(kept).map_err(|error| CliError::setting("the session", error))?;
        private_files::write(&self.file(&kept.did, "json"), &json)
    }

    /// Forgets a session. The lock is held, and its file stays: another process may wait for it.
    pub(in crate::cli) fn remove(&self, did: &Did, _: &Lock) -> Result<(), CliError> {
        private_files::remove(&self.file(did, "json"))
    }

    /// Makes an account the default.
    pub(in crate::cli) fn set_default(&self, did: &Did) -> Result<(), CliError> {
        private_files::write(&self.folder.join(DEFAULT), format!("{did}\n").as_bytes())
    }

    /// Waits until no other process changes this account's session.
    pub(in crate::cli) async fn lock(&self, did: &Did) -> Result<Lock, CliError> {
        let path = self.file(did, "lock");
        let opened = path.clone();
        let locking = tokio::task::spawn_blocking(move || {
            let file = private_files::open_lock(&opened)?;
            file.lock().map(|()| Lock { _file: file })
        });
        match tokio::time::timeout(LOCK_WAIT, locking).await {
            Ok(locked) => locked
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(|source| CliError::Write { path, source }),
            Err(_) => {
                let why = "another at-functions has held it for long: wait for that one, or end it";
                Err(CliError::setting(home::shown(&path), why))
            }
        }
    }

    fn file(&self, did: &Did, extension: &str) -> PathBuf {
        // Not `with_extension`, which would take a dot of the DID for one.
        self.folder.join(format!("{}.{extension}", home::file_name(did)))
    }
}

/// The right to change an account's session; it ends with the value, or with the process.
pub(in crate::cli) struct Lock {
    _file: File,
}

fn read(path: &std::path::Path) -> Result<Option<Kept>, CliError> {
    let Some(bytes) = private_files::read_secret(path, MAX_FILE_BYTES)? else { return Ok(None) };
    let damaged = |_| CliError::setting(home::shown(path), "it is damaged: delete it and log in again");
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> (tempfile::TempDir, Accounts) {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts { folder: dir.path().join("accounts") };
        (dir, accounts)
    }

    fn kept(did: &str, handle: &str) -> Kept {
        Kept {
            did: Did::parse(did).unwrap(),
            handle: handle.to_owned(),
            pds: Url::parse("https://pds.example.com").unwrap(),
            access_jwt: format!("access of {handle}"),
            refresh_jwt: "refresh".to_owned(),
            oauth: None,
        }
    }

    async fn put(accounts: &Accounts, kept: &Kept) {
        let lock = accounts.lock(&kept.did).await.unwrap();
        accounts.put(kept, &lock).unwrap();
    }

    #[tokio::test]
    async fn an_account_is_found_by_its_did_and_by_its_handle() {
        let (_dir, accounts) = accounts();
        let who = |text: &str| Authority::parse(text).unwrap();
        assert!(accounts.find(&who("alice.test")).unwrap().is_none());
        put(&accounts, &kept("did:web:localhost%3A3000", "bob.test")).await;
        put(&accounts, &kept("did:web:a.com", "alice.test")).await;
        let token = |text: &str| accounts.find(&who(text)).unwrap().map(|kept| kept.access_jwt);
        assert_eq!(token("Alice.test").as_deref(), Some("access of alice.test"));
        assert_eq!(token("did:web:localhost%3A3000").as_deref(), Some("access of bob.test"));
        assert_eq!(token("did:web:b.com"), None);
        let handles: Vec<_> = accounts.all().unwrap().into_iter().map(|kept| kept.handle).collect();
        assert_eq!(handles, ["alice.test", "bob.test"]);
    }

    #[tokio::test]
    async fn the_default_is_the_one_that_was_named_or_the_only_one() {
        let (_dir, accounts) = accounts();
        let default = || accounts.default().unwrap().map(|kept| kept.handle);
        assert_eq!(default(), None);
        let (alice, bob) = (kept("did:web:a.com", "alice.test"), kept("did:web:b.com", "bob.test"));
        put(&accounts, &alice).await;
        assert_eq!(default().as_deref(), Some("alice.test"));
        put(&accounts, &bob).await;
        assert_eq!(default(), None);
        accounts.set_default(&bob.did).unwrap();
        assert_eq!(default().as_deref(), Some("bob.test"));
        let lock = accounts.lock(&bob.did).await.unwrap();
        accounts.remove(&bob.did, &lock).unwrap();
        assert_eq!(default().as_deref(), Some("alice.test"));
    }

    #[tokio::test]
    async fn a_damaged_file_is_named() {
        let (dir, accounts) = accounts();
        let alice = kept("did:web:a.com", "alice.test");
        put(&accounts, &alice).await;
        private_files::write(&dir.path().join("accounts/did_web_a.com.json"), b"{}").unwrap();
        let told = accounts.get(&alice.did).err().unwrap().to_string();
        assert!(told.ends_with("did_web_a.com.json: it is damaged: delete it and log in again"), "{told}");
    }

    #[tokio::test]
    async fn one_process_at_a_time_changes_a_session() {
        let (_dir, accounts) = accounts();
        let did = Did::parse("did:web:a.com").unwrap();
        let first = accounts.lock(&did).await.unwrap();
        let mut second = std::pin::pin!(accounts.lock(&did));
        // Another account's is free meanwhile, which also gives the second its turn to wait.
        accounts.lock(&Did::parse("did:web:b.com").unwrap()).await.unwrap();
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        second.await.unwrap();
    }
}
