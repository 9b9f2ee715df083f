//! A page of a collection, as a PDS lists it. Nothing proves it: what is checked is that it has the form
//! of such a page, and is of the repo and collection that were asked for.
//!
//! Source: lexicon `com.atproto.repo.listRecords`.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use ipld_core::cid::Cid;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::egress::Redirects;
use crate::identity::Did;
use crate::lexicon::{AtUri, Authority, InvalidAtUri, Nsid, RecordKey};
use crate::repo::cid_from_text;

use super::home::{self, Errand, Question};
use super::record::work;
use super::{RegistryError, Sources, Unproved};

/// The most records of a page, by the lexicon.
pub const MAX_LIMIT: u32 = 100;
/// The longest cursor that is sent or believed. That of a PDS is a record key.
pub const MAX_CURSOR_BYTES: usize = 1024;
/// The longest page: a hundred records of the size that a PDS lets its users write through JSON are
/// some 15 MB, but a hundred posts are 100 kB.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// How long a PDS has to send it.
const TIMEOUT: Duration = Duration::from_secs(4);
/// How deep a value may nest: records nest half as deep at most, and parsers stop at 128.
const MAX_DEPTH: usize = 64;

/// Which page is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PageName {
    /// The collection.
    pub collection: Nsid,
    /// Where the page before ended; at most [`MAX_CURSOR_BYTES`].
    pub cursor: Option<String>,
    /// How many records, at most [`MAX_LIMIT`].
    pub limit: u32,
}

/// Some records of a collection, as the repo's PDS lists them: not proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The records in the host's order.
    pub records: Vec<PageRecord>,
    /// Where the next page begins, if there is one.
    pub cursor: Option<String>,
}

/// One record of a [`Page`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRecord {
    /// Its key; repo and collection are those of the page.
    pub rkey: RecordKey,
    /// Its CID, as the host says.
    pub cid: Cid,
    /// Its value: the text of a JSON object.
    pub value: Bytes,
}

/// Fetches a page from where the repo's document says.
pub(super) async fn fetch(
    sources: &Sources,
    errand: &Errand,
    name: &PageName,
) -> Result<Page, RegistryError> {
    let limit = name.limit.to_string();
    let mut parameters = vec![
        ("repo", errand.repo.as_str()),
        ("collection", name.collection.as_str()),
        ("limit", limit.as_str()),
    ];
    parameters.extend(name.cursor.as_deref().map(|cursor| ("cursor", cursor)));
    let body = home::wherever_it_lives(sources, errand, |document| {
        let parameters = &parameters;
        async move {
            let question = Question {
                method: "com.atproto.repo.listRecords",
                parameters,
                accept: "application/json",
                max_bytes: MAX_PAGE_BYTES,
                timeout: TIMEOUT,
                redirects: Redirects::Follow(2),
            };
            Ok(home::ask(sources, &document, errand, question).await?.body)
        }
    })
    .await?;
    let (repo, name) = (errand.repo.clone(), name.clone());
    let page = work(&sources.reading, &errand.for_author, move || read(&body, &repo, &name)).await?;
    page.map_err(|invalid| RegistryError::Unproved(Unproved::Listing(invalid)))
}

fn read(body: &[u8], repo: &Did, name: &PageName) -> Result<Page, InvalidListing> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        records: Vec<Entry<'a>>,
        cursor: Option<String>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        uri: String,
        cid: String,
        #[serde(borrow)]
        value: &'a RawValue,
    }
    // Serde would fill the fields of an object from an array too.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(InvalidListing::Syntax);
    }
    let parsed: Body<'_> = serde_json::from_slice(body).map_err(|_| InvalidListing::Syntax)?;
    if parsed.records.len() > name.limit as usize {
        return Err(InvalidListing::TooMany);
    }
    if parsed.cursor.as_ref().is_some_and(|cursor| cursor.len() > MAX_CURSOR_BYTES) {
        return Err(InvalidListing::Cursor);
    }
    let mut keys = HashSet::new();
    let mut records = Vec::with_capacity(parsed.records.len());
    for entry in parsed.records {
        let rkey = key_of(&entry.uri, repo, &name.collection)?;
        if !keys.insert(rkey.clone()) {
            return Err(InvalidListing::Twice);
        }
        let cid = cid_from_text(&entry.cid).ok_or(InvalidListing::Cid)?;
        let value = entry.value.get();
        if !value.starts_with('{') || nests_deeper(value, MAX_DEPTH) {
            return Err(InvalidListing::Value);
        }
        records.push(PageRecord { rkey, cid, value: Bytes::copy_from_slice(value.as_bytes()) });
    }
    Ok(Page { records, cursor: parsed.cursor })
}

fn key_of(uri: &str, repo: &Did, collection: &Nsid) -> Result<RecordKey, InvalidListing> {
    let uri = AtUri::parse(uri).map_err(InvalidListing::Uri)?;
    if uri.authority == Authority::Did(repo.clone()) && uri.collection == *collection {
        Ok(uri.rkey)
    } else {
        Err(InvalidListing::Elsewhere)
    }
}

/// Whether the arrays and objects of a valid JSON text nest deeper than `most`.
fn nests_deeper(json: &str, most: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

/// Why an answer is not the page that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidListing {
    /// A record's CID is none of AT Protocol.
    #[error("a record's cid is not a CID")]
    Cid,
    /// The cursor is too long.
    #[error("its cursor has more than {MAX_CURSOR_BYTES} bytes")]
    Cursor,
    /// A record is of another repo or collection.
    #[error("a record is of another repo or collection")]
    Elsewhere,
    /// It is not a JSON object with `records`, each with `uri`, `cid` and `value`.
    #[error("it is not JSON of the form of com.atproto.repo.listRecords")]
    Syntax,
    /// It has more records than were asked for.
    #[error("it has more records than were asked for")]
    TooMany,
    /// A record is on it twice.
    #[error("a record is on it twice")]
    Twice,
    /// A record's at-uri is none.
    #[error("a record's uri is not an at-uri: {0}")]
    Uri(InvalidAtUri),
    /// A record's value is not an object, or nests too deep.
    #[error("a record's value is not an object that nests at most {MAX_DEPTH} deep")]
    Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPO: &str = "did:web:a.com";
    const CID: &str = "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454";

    fn read(body: &str) -> Result<Page, InvalidListing> {
        let body = body.replace("REPO", REPO).replace("CID", CID);
        let name = PageName { collection: Nsid::parse("com.example.post").unwrap(), cursor: None, limit: 2 };
        super::read(body.as_bytes(), &Did::parse(REPO).unwrap(), &name)
    }

    fn entry(key: &str) -> String {
        format!(r#"{{"uri":"at://REPO/com.example.post/{key}","cid":"CID","value":{{"n": 1.50}}}}"#)
    }

    #[test]
    fn a_page_is_read_with_its_values_as_they_are_written() {
        let page =
            read(&format!(r#" {{"records":[{},{}],"cursor":"b","more":[1]}}"#, entry("a"), entry("b")));
        let record = |key| PageRecord {
            rkey: RecordKey::parse(key).unwrap(),
            cid: cid_from_text(CID).unwrap(),
            value: Bytes::from_static(br#"{"n": 1.50}"#),
        };
        let expected = Page { records: vec![record("a"), record("b")], cursor: Some("b".into()) };
        assert_eq!(page, Ok(expected));
        let empty = Page { records: vec![], cursor: None };
        assert_eq!(read(r#"{"records":[]}"#), Ok(empty.clone()));
        assert_eq!(read(r#"{"records":[],"cursor":null}"#), Ok(empty));
    }

    #[test]
    fn what_is_not_the_page_that_was_asked_for_is_refused_with_its_reason() {
        let with = |uri: &str, cid: &str, value: &str| {
            format!(r#"{{"records":[{{"uri":"{uri}","cid":"{cid}","value":{value}}}]}}"#)
        };
        let good = "at://REPO/com.example.post/a";
        let deep = format!("{}{}", r#"{"a":"#.repeat(MAX_DEPTH + 1), "}".repeat(MAX_DEPTH + 1));
        let deep = deep.replace(":}", ":1}");
        use InvalidListing::*;
        let cases = [
            (String::new(), Syntax),
            ("<html>".into(), Syntax),
            ("[[],null]".into(), Syntax),
            ("{}".into(), Syntax),
            (r#"{"records":{}}"#.into(), Syntax),
            (r#"{"records":[]"#.into(), Syntax),
            (r#"{"records":[]} x"#.into(), Syntax),
            (r#"{"records":[{}]}"#.into(), Syntax),
            (r#"{"records":[],"cursor":7}"#.into(), Syntax),
            (format!(r#"{{"records":[],"cursor":"{}"}}"#, "c".repeat(MAX_CURSOR_BYTES + 1)), Cursor),
            (format!(r#"{{"records":[{},{},{}]}}"#, entry("a"), entry("b"), entry("c")), TooMany),
            (format!(r#"{{"records":[{},{}]}}"#, entry("a"), entry("a")), Twice),
            (with("https://a.com", CID, "{}"), Uri(InvalidAtUri::Scheme)),
            (with("at://REPO/com.example.post", CID, "{}"), Uri(InvalidAtUri::Segments)),
            (with("at://did:web:b.com/com.example.post/a", CID, "{}"), Elsewhere),
            (with("at://a.com/com.example.post/a", CID, "{}"), Elsewhere),
            (with("at://REPO/com.example.posts/a", CID, "{}"), Elsewhere),
            (with(good, "", "{}"), Cid),
            (with(good, "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", "{}"), Cid),
            (with(good, CID, "[]"), Value),
            (with(good, CID, "null"), Value),
            (with(good, CID, "\"{}\""), Value),
            (with(good, CID, &deep), Value),
        ];
        for (body, reason) in cases {
            assert_eq!(read(&body), Err(reason), "{body}");
        }
    }

    #[test]
    fn only_brackets_outside_of_text_nest() {
        assert!(!nests_deeper(r#"{"[[[\"[[":"]]{{\\"}"#, 1));
        assert!(nests_deeper(r#"{"\\":[]}"#, 1));
        assert!(!nests_deeper("[[],[],[[]]]", 3));
    }
}
