//! A host for tests, on the machine that a function is written at.

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::log::Level;
use crate::{Context, Listing};

/// Records, blobs and a caller; what was logged.
///
/// ```
/// use at_functions::testing::World;
///
/// let world = World::new()
///     .caller("did:plc:alice")
///     .record("at://did:plc:alice/app.bsky.actor.profile/self", r#"{"displayName": "Alice"}"#);
/// let name = world.run(|| {
///     let caller = at_functions::context().caller.unwrap();
///     let profile: serde_json::Value =
///         at_functions::read_record(&format!("at://{caller}/app.bsky.actor.profile/self")).unwrap();
///     profile["displayName"].clone()
/// });
/// assert_eq!(name, "Alice");
/// ```
#[derive(Debug, Default)]
pub struct World {
    records: BTreeMap<String, Value>,
    blobs: BTreeMap<String, Vec<u8>>,
    caller: Option<String>,
    lines: RefCell<Vec<(Level, String)>>,
}

thread_local! {
    static CURRENT: RefCell<World> = RefCell::default();
}

impl World {
    /// An empty world, and an anonymous caller.
    pub fn new() -> World {
        World::default()
    }

    /// Has a DID call.
    pub fn caller(mut self, did: &str) -> World {
        self.caller = Some(did.to_owned());
        self
    }

    /// Puts a record at an at-uri.
    ///
    /// # Panics
    ///
    /// If `value` is no JSON.
    pub fn record(mut self, at_uri: &str, value: &str) -> World {
        let value = serde_json::from_str(value).expect("the value of a record is JSON");
        self.records.insert(at_uri.to_owned(), value);
        self
    }

    /// Puts a blob, in any repo.
    pub fn blob(mut self, cid: &str, bytes: impl Into<Vec<u8>>) -> World {
        self.blobs.insert(cid.to_owned(), bytes.into());
        self
    }

    /// Runs something in this world.
    pub fn run<T>(&self, run: impl FnOnce() -> T) -> T {
        let copy = World {
            records: self.records.clone(),
            blobs: self.blobs.clone(),
            caller: self.caller.clone(),
            lines: RefCell::default(),
        };
        let before = CURRENT.replace(copy);
        let result = run();
        let after = CURRENT.replace(before);
        self.lines.borrow_mut().extend(after.lines.into_inner());
        result
    }

    /// What runs in this world have logged.
    pub fn logged(&self) -> Vec<(Level, String)> {
        self.lines.borrow().clone()
    }
}

/// What [`crate::raw`] is made of here.
pub(crate) mod host {
    use super::*;

    /// What is left of every run here.
    const REMAINING_MS: u32 = 5_000;

    pub(crate) fn read_record(at_uri: &str) -> Result<String, String> {
        let found = CURRENT.with_borrow(|world| world.records.get(at_uri).map(Value::to_string));
        found.ok_or_else(|| format!("{at_uri}: there is no such record"))
    }

    pub(crate) fn read_blob(cid: &str, _repo: Option<&str>) -> Result<Vec<u8>, String> {
        let found = CURRENT.with_borrow(|world| world.blobs.get(cid).cloned());
        found.ok_or_else(|| format!("{cid}: there is no such blob"))
    }

    pub(crate) fn list_collection(listing: &Listing<'_>) -> Result<String, String> {
        let start = format!("at://{}/{}/", listing.repo, listing.collection);
        let limit = if listing.limit == 0 { 25 } else { listing.limit as usize };
        CURRENT.with_borrow(|world| {
            let after = |uri: &str| listing.cursor.is_none_or(|cursor| uri > cursor);
            let mut rest = world.records.iter().filter(|(uri, _)| uri.starts_with(&start) && after(uri));
            let page: Vec<_> = rest.by_ref().take(limit).collect();
            let records: Vec<Value> = page
                .iter()
                .map(|(uri, value)| json!({"uri": uri, "cid": "bafyreitest", "value": value}))
                .collect();
            let cursor = page.last().filter(|_| rest.next().is_some()).map(|(uri, _)| uri);
            let reply = match cursor {
                Some(cursor) => json!({"records": records, "cursor": cursor}),
                None => json!({ "records": records }),
            };
            Ok(reply.to_string())
        })
    }

    pub(crate) fn context() -> Context {
        Context {
            caller: CURRENT.with_borrow(|world| world.caller.clone()),
            function: "at://did:web:author.test/at.functions.metadata/test".to_owned(),
            function_cid: "bafyreitest".to_owned(),
            request_id: "test".to_owned(),
        }
    }

    pub(crate) fn remaining_ms() -> u32 {
        REMAINING_MS
    }

    pub(crate) fn log(level: Level, message: &str) {
        CURRENT.with_borrow(|world| world.lines.borrow_mut().push((level, message.to_owned())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records;

    #[test]
    fn records_come_page_by_page_to_their_end() {
        let note = |n: usize| format!("at://did:plc:alice/com.example.note/{n:04}");
        let mut world = World::new().record("at://did:plc:alice/com.example.other/1", "0");
        for n in 0..250 {
            world = world.record(&note(n), &n.to_string());
        }
        let seen: Vec<(String, usize)> = world.run(|| {
            let all = records::<usize>("did:plc:alice", "com.example.note");
            all.map(|entry| entry.map(|entry| (entry.uri, entry.value)).unwrap()).collect()
        });
        assert_eq!(seen, (0..250).map(|n| (note(n), n)).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_ends_the_records() {
        let world = World::new().record("at://did:plc:alice/com.example.note/1", "\"text\"");
        let seen: Vec<_> = world.run(|| records::<usize>("did:plc:alice", "com.example.note").collect());
        assert_eq!(seen.len(), 1);
        let error = seen[0].as_ref().unwrap_err().to_string();
        assert!(error.starts_with("com.example.note of did:plc:alice: invalid type"), "{error}");
    }

    #[test]
    fn nothing_of_a_world_is_left_behind() {
        let world = World::new().caller("did:plc:alice");
        world.run(|| crate::log::info("one"));
        assert_eq!(crate::context().caller, None);
        World::new().run(|| crate::log::info("two"));
        assert_eq!(world.logged(), [(Level::Info, "one".to_owned())]);
    }
}
