//! Sessions as they are kept: a file for each account, one that names the default, and a lock for each.
//!
//! A refresh token is good for one use, so whoever changes an account's file holds its lock, from before it reads what is
//! there until what comes of it is written.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::Url;

use super::oauth::OAuth;
use crate::cli::client::host_of;
use crate::cli::error::CliError;
use crate::cli::home::{self, Home};
use crate::cli::output;
use crate::cli::private_files;
use crate::identity::{Did, Handle};
use crate::lexicon::Authority;

/// Many times what two tokens and a key have.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Longer than whoever holds it takes, whose requests end after 80 s.
pub(super) const LOCK_WAIT: Duration = Duration::from_secs(100);
/// The file that names the default account.
const DEFAULT: &str = "default";

/// A session of an account. No `Debug`: the tokens are shown nowhere.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Kept {
    pub(in crate::cli) did: Did,
    /// As it was at the login, if the account had one.
    #[serde(default, serialize_with = "handle_to_text", deserialize_with = "handle_of_text")]
    pub(in crate::cli) handle: Option<Handle>,
    /// The one server that the tokens are for.
    pub(in crate::cli) pds: Url,
    pub(in crate::cli) access_jwt: String,
    pub(in crate::cli) refresh_jwt: String,
    /// What there is beside the tokens, where they are of OAuth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) oauth: Option<OAuth>,
}

impl Kept {
    fn has_handle(&self, handle: &Handle) -> bool {
        self.handle.as_ref() == Some(handle)
    }

    /// What it is called: by its handle, where it has one.
    pub(in crate::cli) fn name(&self) -> Authority {
        self.handle.clone().map_or_else(|| Authority::Did(self.did.clone()), Authority::Handle)
    }

    /// The handle as JSON has it.
    pub(in crate::cli) fn handle_text(&self) -> Option<&str> {
        self.handle.as_ref().map(Handle::as_str)
    }

    /// That the PDS takes its tokens no more.
    pub(in crate::cli) fn ended(&self) -> CliError {
        CliError::Ended { who: self.name(), host: host_of(&self.pds) }
    }
}

fn handle_to_text<S: Serializer>(handle: &Option<Handle>, serializer: S) -> Result<S::Ok, S::Error> {
    handle.as_ref().map(Handle::as_str).serialize(serializer)
}

/// A text that is no handle is none: the session is its account's all the same.
fn handle_of_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Handle>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| Handle::parse(&text).ok()))
}

/// The folder of sessions.
#[derive(Clone)]
pub(in crate::cli) struct Accounts {
    folder: PathBuf,
    /// The files that the person was told of.
    told: Arc<Mutex<BTreeSet<PathBuf>>>,
}

impl Accounts {
    pub(in crate::cli) fn of(home: Option<&Home>) -> Result<Accounts, CliError> {
        Ok(Accounts::at(Home::required(home)?.accounts()))
    }

    fn at(folder: PathBuf) -> Accounts {
        Accounts { folder, told: Arc::default() }
    }

    /// For messages.
    pub(in crate::cli) fn place(&self) -> String {
        home::shown(&self.folder)
    }

    /// All that are logged in, by their handles. A file that cannot be read is told and passed over: it says nothing of the
    /// other accounts.
    pub(in crate::cli) fn all(&self) -> Result<Vec<Kept>, CliError> {
        Ok(self.listed()?.0)
    }

    /// The same, and whether that is all there are files for.
    fn listed(&self) -> Result<(Vec<Kept>, bool), CliError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), true)),
            Err(source) => return Err(CliError::File { path: self.folder.clone(), source }),
        };
        let (mut all, mut is_whole) = (Vec::new(), true);
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_some_and(|extension| extension == "json") {
                match read(&path) {
                    Ok(kept) => all.extend(kept),
                    Err(error) => {
                        is_whole = false;
                        self.tell(path, &error);
                    }
                }
            }
        }
        all.sort_by_cached_key(|kept| (kept.handle.clone(), kept.did.clone()));
        Ok((all, is_whole))
    }

    fn tell(&self, path: PathBuf, error: &CliError) {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(path) {
            output::note(&format!("note: a session is passed over: {error}"));
        }
    }

    /// The session of an account.
    pub(in crate::cli) fn get(&self, did: &Did) -> Result<Option<Kept>, CliError> {
        Ok(read(&self.file(did, "json"))?.filter(|kept| kept.did == *did))
    }

    /// The same, by handle or DID. A handle that two sessions have names neither: one of them is older than its move.
    pub(in crate::cli) fn find(&self, who: &Authority) -> Result<Option<Kept>, CliError> {
        let handle = match who {
            Authority::Did(did) => return self.get(did),
            Authority::Handle(handle) => handle,
        };
        let mut found: Vec<Kept> = self.all()?.into_iter().filter(|kept| kept.has_handle(handle)).collect();
        if found.len() > 1 {
            let dids = found.iter().map(|kept| kept.did.as_str()).collect::<Vec<_>>().join(", ");
            return Err(CliError::setting(
                handle.as_str(),
                format!("give one of the DIDs that have it: {dids}"),
            ));
        }
        Ok(found.pop())
    }

    /// Whether something is kept of an account, though it may be damaged.
    pub(in crate::cli) fn has(&self, did: &Did) -> bool {
        self.file(did, "json").exists()
    }

    /// The account to use where nothing names one.
    pub(in crate::cli) fn default(&self) -> Result<Option<Kept>, CliError> {
        self.default_did()?.map_or(Ok(None), |did| self.get(&did))
    }

    /// The same, though its session may be damaged: the one that was made the default, or the only one.
    pub(in crate::cli) fn default_did(&self) -> Result<Option<Did>, CliError> {
        let named = private_files::read(&self.folder.join(DEFAULT), MAX_FILE_BYTES)?;
        let named = named.and_then(|bytes| Did::parse(str::from_utf8(&bytes).ok()?.trim()).ok());
        if let Some(did) = named.filter(|did| self.has(did)) {
            return Ok(Some(did));
        }
        let (mut all, is_whole) = self.listed()?;
        Ok(if all.len() == 1 && is_whole { all.pop().map(|kept| kept.did) } else { None })
    }

    /// Keeps a session, in place of an older one. The lock is held.
    pub(in crate::cli) fn put(&self, kept: &Kept, _: &Lock) -> Result<(), CliError> {
        let json = serde_json::to_vec(kept).map_err(|error| CliError::setting("the session", error))?;
        if json.len() as u64 > MAX_FILE_BYTES {
            let why = "its tokens are longer than any that are kept: tell the PDS's operator".to_owned();
            return Err(CliError::Unusable { host: host_of(&kept.pds), why });
        }
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

fn read(path: &Path) -> Result<Option<Kept>, CliError> {
    let Some(bytes) = private_files::read_secret(path, MAX_FILE_BYTES)? else { return Ok(None) };
    let damaged = |_| CliError::setting(home::shown(path), "it is damaged: delete it and log in again");
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> (tempfile::TempDir, Accounts) {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::at(dir.path().join("accounts"));
        (dir, accounts)
    }

    fn kept(did: &str, handle: &str) -> Kept {
        Kept {
            did: Did::parse(did).unwrap(),
            handle: Handle::parse(handle).ok(),
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
        let handles: Vec<_> = accounts.all().unwrap().iter().map(|kept| kept.name().to_string()).collect();
        assert_eq!(handles, ["alice.test", "bob.test"]);
    }

    #[tokio::test]
    async fn the_default_is_the_one_that_was_named_or_the_only_one() {
        let (_dir, accounts) = accounts();
        let default = || accounts.default().unwrap().map(|kept| kept.name().to_string());
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
    async fn a_damaged_file_is_named_and_stands_in_no_other_accounts_way() {
        let (dir, accounts) = accounts();
        let (alice, bob) = (kept("did:web:a.com", "alice.test"), kept("did:web:b.com", "bob.test"));
        put(&accounts, &alice).await;
        put(&accounts, &bob).await;
        let file = dir.path().join("accounts/did_web_a.com.json");
        private_files::write(&file, b"{}").unwrap();
        let told = accounts.get(&alice.did).err().unwrap().to_string();
        assert!(told.ends_with("did_web_a.com.json: it is damaged: delete it and log in again"), "{told}");
        for bytes in [&b"{}"[..], &[b' '; MAX_FILE_BYTES as usize + 1]] {
            private_files::write(&file, bytes).unwrap();
            let dids = |all: Vec<Kept>| all.into_iter().map(|kept| kept.did).collect::<Vec<_>>();
            assert_eq!(dids(accounts.all().unwrap()), std::slice::from_ref(&bob.did));
            assert!(accounts.find(&bob.name()).unwrap().is_some());
            // Not the only one.
            assert!(accounts.default().unwrap().is_none());
            accounts.set_default(&alice.did).unwrap();
            assert!(accounts.default().is_err());
            accounts.set_default(&Did::parse("did:web:none.com").unwrap()).unwrap();
        }
    }

    #[tokio::test]
    async fn what_could_not_be_read_back_is_not_kept() {
        let (_dir, accounts) = accounts();
        let small = kept("did:web:a.com", "alice.test");
        put(&accounts, &small).await;
        let large = Kept { access_jwt: "x".repeat(MAX_FILE_BYTES as usize), ..small.clone() };
        let lock = accounts.lock(&small.did).await.unwrap();
        assert!(matches!(accounts.put(&large, &lock), Err(CliError::Unusable { .. })));
        assert_eq!(accounts.get(&small.did).unwrap().unwrap().access_jwt, small.access_jwt);
    }

    #[tokio::test]
    async fn a_handle_that_two_sessions_have_names_neither() {
        let (_dir, accounts) = accounts();
        put(&accounts, &kept("did:web:a.com", "alice.test")).await;
        put(&accounts, &kept("did:web:b.com", "alice.test")).await;
        let told = accounts.find(&Authority::parse("alice.test").unwrap()).err().unwrap().to_string();
        assert_eq!(told, "alice.test: give one of the DIDs that have it: did:web:a.com, did:web:b.com");
    }

    #[tokio::test]
    async fn what_is_no_handle_is_shown_nowhere() {
        let (dir, accounts) = accounts();
        let alice = kept("did:web:a.com", "alice.test");
        put(&accounts, &alice).await;
        let file = dir.path().join("accounts/did_web_a.com.json");
        let text = std::fs::read_to_string(&file).unwrap();
        for handle in ["handle.invalid", "x`; rm -rf ~ #", ""] {
            private_files::write(
                &file,
                text.replace("alice.test\",\"pds", &format!("{handle}\",\"pds")).as_bytes(),
            )
            .unwrap();
            let kept = accounts.get(&alice.did).unwrap().unwrap();
            assert_eq!(kept.handle, None, "{handle}");
            let told = kept.ended().to_string();
            let expected = "the session of did:web:a.com at pds.example.com has ended: `at-functions login --handle did:web:a.com`";
            assert_eq!(told, expected);
        }
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
