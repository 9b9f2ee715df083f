//! What was deployed from this machine, kept so that it can be brought back: a PDS drops a blob that no record names.
//!
//! A folder for each function of each account: `MILLIS-CID.json` holds a record as it was written, `CID.wasm` its code. The last
//! of them are kept, up to a number and a size.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::CliError;
use super::home::{self, Home};
use super::private_files;
use super::wasm::MAX_CODE_BYTES;
use crate::identity::Did;
use crate::lexicon::RecordKey;
use crate::repo::blob_cid;

/// Records of one function that are kept.
const MAX_RECORDS: usize = 20;
/// Their code, all together. The newest two are kept whatever their size.
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// A PDS takes records of about 150 kB.
const MAX_RECORD_BYTES: u64 = 1024 * 1024;

/// A record that was written, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deployed {
    pub(super) rkey: String,
    /// CID of the record.
    pub(super) cid: String,
    /// Milliseconds since the epoch.
    pub(super) at_millis: u64,
    pub(super) record: Value,
}

impl Deployed {
    pub(super) fn version(&self) -> &str {
        self.record["version"].as_str().unwrap_or("?")
    }

    pub(super) fn code_cid(&self) -> &str {
        self.record["code"]["ref"]["$link"].as_str().unwrap_or("?")
    }

    fn code_bytes(&self) -> u64 {
        self.record["code"]["size"].as_u64().unwrap_or(MAX_CODE_BYTES)
    }
}

/// What one account deployed from here.
pub(super) struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    pub(super) fn of(home: Option<&Home>, account: &Did) -> Result<Shelf, CliError> {
        Ok(Shelf { folder: Home::required(home)?.deployed().join(home::file_name(account)) })
    }

    /// The functions that something is kept of.
    pub(super) fn functions(&self) -> Result<Vec<RecordKey>, CliError> {
        let names = names_in(&self.folder)?;
        let mut keys: Vec<RecordKey> =
            names.iter().filter_map(|name| RecordKey::parse(&name.replace('=', ":")).ok()).collect();
        keys.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        Ok(keys)
    }

    /// What is kept of a function, the oldest first.
    pub(super) fn all(&self, rkey: &RecordKey) -> Result<Vec<Deployed>, CliError> {
        let folder = self.folder_of(rkey);
        let mut names = names_in(&folder)?;
        names.retain(|name| name.ends_with(".json"));
        names.sort();
        let read = |name: &String| {
            let bytes = private_files::read(&folder.join(name), MAX_RECORD_BYTES).ok()??;
            // One that is damaged is as good as gone.
            let kept: Deployed = serde_json::from_slice(&bytes).ok()?;
            (kept.rkey == rkey.as_str()).then_some(kept)
        };
        Ok(names.iter().filter_map(read).collect())
    }

    /// Keeps a record and its code, and lets go of the oldest.
    pub(super) fn keep(&self, kept: &Deployed, code: &[u8], rkey: &RecordKey) -> Result<(), CliError> {
        let folder = self.folder_of(rkey);
        let code_file = folder.join(code_name(kept.code_cid()));
        if !code_file.exists() {
            private_files::write(&code_file, code)?;
        }
        let json = serde_json::to_vec(kept).map_err(|error| CliError::setting("the record", error))?;
        private_files::write(&folder.join(record_name(kept)), &json)?;
        self.tidy(rkey)
    }

    /// The code of what is kept, if it is whole.
    pub(super) fn code(&self, kept: &Deployed, rkey: &RecordKey) -> Result<(PathBuf, Vec<u8>), CliError> {
        let file = self.folder_of(rkey).join(code_name(kept.code_cid()));
        match private_files::read(&file, MAX_CODE_BYTES)? {
            Some(code) if blob_cid(&code).to_string() == kept.code_cid() => Ok((file, code)),
            Some(_) => Err(CliError::setting(
                home::shown(&file),
                "it is damaged: build and deploy that version anew",
            )),
            None => {
                Err(CliError::setting(home::shown(&file), "it is gone: build and deploy that version anew"))
            }
        }
    }

    fn tidy(&self, rkey: &RecordKey) -> Result<(), CliError> {
        let all = self.all(rkey)?;
        let folder = self.folder_of(rkey);
        let mut codes = BTreeSet::new();
        let (mut bytes, mut full) = (0, false);
        for (index, kept) in all.iter().rev().enumerate() {
            let is_new = !codes.contains(kept.code_cid());
            let with_it = bytes + if is_new { kept.code_bytes() } else { 0 };
            full = full || index >= MAX_RECORDS || (index >= 2 && with_it > MAX_BYTES);
            if full {
                private_files::remove(&folder.join(record_name(kept)))?;
            } else {
                bytes = with_it;
                codes.insert(kept.code_cid());
            }
        }
        for name in names_in(&folder)?.into_iter().filter(|name| name.ends_with(".wasm")) {
            if !codes.iter().any(|cid| code_name(cid) == name) {
                private_files::remove(&folder.join(name))?;
            }
        }
        Ok(())
    }

    fn folder_of(&self, rkey: &RecordKey) -> PathBuf {
        // A colon is not for every file system, and an equals sign for no record key.
        self.folder.join(rkey.as_str().replace(':', "="))
    }
}

/// The moment as it is kept.
pub(super) fn millis(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

fn record_name(kept: &Deployed) -> String {
    // As long for all moments, so that names sort by them.
    format!("{:014}-{}.json", kept.at_millis, plain(&kept.cid))
}

fn code_name(cid: &str) -> String {
    format!("{}.wasm", plain(cid))
}

/// A CID that came from a server, as part of a name.
fn plain(cid: &str) -> String {
    cid.chars().filter(char::is_ascii_alphanumeric).take(100).collect()
}

fn names_in(folder: &Path) -> Result<Vec<String>, CliError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(CliError::File { path: folder.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shelf() -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf { folder: dir.path().join("did_web_a.com") };
        (dir, shelf)
    }

    fn deployed(rkey: &str, at: u64, code: &[u8], size: u64) -> Deployed {
        let code_cid = blob_cid(code).to_string();
        let record =
            json!({"version": format!("0.0.{at}"), "code": {"ref": {"$link": code_cid}, "size": size}});
        Deployed { rkey: rkey.to_owned(), cid: format!("bafyrecord{at}"), at_millis: at, record }
    }

    #[test]
    fn what_is_kept_comes_back_whole_and_in_order() {
        let (_dir, shelf) = shelf();
        let key = RecordKey::parse("echo:v1").unwrap();
        assert_eq!((shelf.all(&key).unwrap(), shelf.functions().unwrap().len()), (vec![], 0));
        let all = [
            deployed("echo:v1", 9, b"one", 3),
            deployed("echo:v1", 10, b"two", 3),
            deployed("echo:v1", 200, b"one", 3),
        ];
        for (kept, code) in all.iter().zip([b"one", b"two", b"one"]) {
            shelf.keep(kept, code, &key).unwrap();
        }
        assert_eq!(shelf.all(&key).unwrap(), all);
        assert_eq!(shelf.code(&all[1], &key).unwrap().1, b"two");
        assert_eq!(shelf.functions().unwrap(), [key]);
    }

    #[test]
    fn code_that_is_damaged_or_gone_is_not_handed_out() {
        let (_dir, shelf) = shelf();
        let key = RecordKey::parse("echo").unwrap();
        let kept = deployed("echo", 1, b"one", 3);
        shelf.keep(&kept, b"one", &key).unwrap();
        let (file, _) = shelf.code(&kept, &key).unwrap();
        std::fs::write(&file, "other").unwrap();
        assert!(shelf.code(&kept, &key).unwrap_err().to_string().contains("it is damaged"));
        std::fs::remove_file(&file).unwrap();
        assert!(shelf.code(&kept, &key).unwrap_err().to_string().contains("it is gone"));
    }

    #[test]
    fn the_oldest_go_with_their_code_when_there_are_many() {
        let (_dir, shelf) = shelf();
        let key = RecordKey::parse("echo").unwrap();
        for at in 1..=MAX_RECORDS as u64 + 2 {
            shelf.keep(&deployed("echo", at, &[at as u8], 1), &[at as u8], &key).unwrap();
        }
        let kept = shelf.all(&key).unwrap();
        assert_eq!((kept.len(), kept[0].at_millis), (MAX_RECORDS, 3));
        assert_eq!(names_in(&shelf.folder_of(&key)).unwrap().len(), 2 * MAX_RECORDS);
        assert!(shelf.code(&kept[0], &key).is_ok());
    }

    #[test]
    fn the_oldest_go_when_they_are_large_but_never_the_last_two() {
        let (_dir, shelf) = shelf();
        let key = RecordKey::parse("echo").unwrap();
        for at in 1..=4 {
            shelf.keep(&deployed("echo", at, &[at as u8], MAX_BYTES), &[at as u8], &key).unwrap();
        }
        let at: Vec<u64> = shelf.all(&key).unwrap().iter().map(|kept| kept.at_millis).collect();
        assert_eq!(at, [3, 4]);
    }
}
