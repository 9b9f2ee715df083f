//! Reads of public data, as far as the record's `allowedHosts` say. An error says what happened and, for a read that was
//! refused, which entry would allow it.

use std::collections::VecDeque;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Error, raw};

/// The largest page that services give.
const LARGEST_PAGE: u32 = 100;

/// Reads a record: its value, proved by its author's signature. Of a repo the at-uri has the DID or the handle.
///
/// ```
/// use at_functions::testing::World;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Post {
///     text: String,
/// }
///
/// let uri = "at://did:plc:alice/app.bsky.feed.post/1";
/// let world = World::new().record(uri, r#"{"text": "one two"}"#);
/// let post: Post = world.run(|| at_functions::read_record(uri)).unwrap();
/// assert_eq!(post.text, "one two");
/// ```
pub fn read_record<T: DeserializeOwned>(at_uri: &str) -> Result<T, Error> {
    let value = raw::read_record(at_uri)?;
    serde_json::from_str(&value).map_err(|error| Error::new(format_args!("{at_uri}: {error}")))
}

/// Reads a blob of `repo`, or of the function's author: its bytes, which hash to the CID.
///
/// ```
/// # use at_functions::testing::World;
/// let world = World::new().blob("bafkreib", *b"\x89PNG");
/// let bytes = world.run(|| at_functions::read_blob("bafkreib", Some("did:plc:alice"))).unwrap();
/// assert_eq!(bytes, b"\x89PNG");
/// ```
pub fn read_blob(cid: &str, repo: Option<&str>) -> Result<Vec<u8>, Error> {
    Ok(raw::read_blob(cid, repo)?)
}

/// Which page of which collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing<'a> {
    /// A DID or a handle.
    pub repo: &'a str,
    /// An NSID.
    pub collection: &'a str,
    /// Of the page before; none for the first page.
    pub cursor: Option<&'a str>,
    /// Records in the page, up to 100; 0 for the service's default, 25.
    pub limit: u32,
}

/// A page of a collection, as the repo's host gives it: **it is not proved**. [`read_record`] proves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Page<T> {
    /// The records.
    pub records: Vec<Entry<T>>,
    /// For the next page; none after the last.
    pub cursor: Option<String>,
}

/// A record in a page.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry<T> {
    /// Its at-uri.
    pub uri: String,
    /// Its CID, as the repo's host says.
    pub cid: String,
    /// Its value, as the repo's host says.
    pub value: T,
}

/// Lists a page of a collection.
///
/// ```
/// use at_functions::testing::World;
/// use at_functions::{Listing, list_collection};
/// use serde_json::Value;
///
/// let world = World::new().record("at://did:plc:alice/com.example.note/1", r#"{"text": "a"}"#);
/// let listing = Listing { repo: "did:plc:alice", collection: "com.example.note", ..Listing::default() };
/// let page = world.run(|| list_collection::<Value>(&listing)).unwrap();
/// assert_eq!(page.records[0].value["text"], "a");
/// assert_eq!(page.cursor, None);
/// ```
pub fn list_collection<T: DeserializeOwned>(listing: &Listing<'_>) -> Result<Page<T>, Error> {
    let page = raw::list_collection(listing)?;
    serde_json::from_str(&page)
        .map_err(|error| Error::new(format_args!("{} of {}: {error}", listing.collection, listing.repo)))
}

/// All records of a collection, page by page. Each page is a host call, of which a run has 1,000, and takes of its time.
///
/// ```
/// # use at_functions::testing::World;
/// # use serde_json::Value;
/// # let world = World::new().record("at://did:plc:alice/com.example.note/1", "{}");
/// # world.run(|| -> Result<(), at_functions::Error> {
/// let mut count = 0;
/// for record in at_functions::records::<Value>("did:plc:alice", "com.example.note") {
///     let _value = record?.value;
///     count += 1;
/// }
/// assert_eq!(count, 1);
/// # Ok(()) }).unwrap();
/// ```
pub fn records<T: DeserializeOwned>(repo: &str, collection: &str) -> Records<T> {
    Records {
        repo: repo.to_owned(),
        collection: collection.to_owned(),
        page: VecDeque::new(),
        cursor: None,
        is_over: false,
    }
}

/// The records of a collection; see [`records`]. It ends after the first error.
#[derive(Debug)]
pub struct Records<T> {
    repo: String,
    collection: String,
    page: VecDeque<Entry<T>>,
    cursor: Option<String>,
    is_over: bool,
}

impl<T: DeserializeOwned> Iterator for Records<T> {
    type Item = Result<Entry<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.page.is_empty() && !self.is_over {
            let listing = Listing {
                repo: &self.repo,
                collection: &self.collection,
                cursor: self.cursor.as_deref(),
                limit: LARGEST_PAGE,
            };
            match list_collection(&listing) {
                Ok(page) => {
                    self.page = page.records.into();
                    // A host that gives the same cursor again would keep this going until the run's time is over.
                    self.is_over = page.cursor.is_none() || page.cursor == self.cursor;
                    self.cursor = page.cursor;
                }
                Err(error) => {
                    self.is_over = true;
                    return Some(Err(error));
                }
            }
        }
        self.page.pop_front().map(Ok)
    }
}
