//! Looking through repos for what belongs to a thread.

use std::collections::BTreeMap;

use at_functions::{Entry, Error, Listing, Page, list_collection, remaining_ms};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::post::{POSTS, Post, PostUri, Subject};
use crate::words;

/// Left for the answer, in milliseconds: what the slowest page that is still begun may take.
const RESERVE_MS: u32 = 1_000;
/// Pages that are read at most: services let the functions of one author ask a host for some hundreds at once.
const MOST_PAGES: u32 = 300;

const LIKES: &str = "app.bsky.feed.like";
const REPOSTS: &str = "app.bsky.feed.repost";

/// The length of a TID (<https://atproto.com/specs/tid>): keys that sort by when they were made.
const TID_CHARS: usize = 13;

/// What was found so far.
pub struct Search {
    pub root: PostUri,
    /// By who wrote them.
    pub replies: BTreeMap<String, usize>,
    pub words: usize,
    pub likes: usize,
    pub reposts: usize,
    pub last_reply_at: Option<String>,
    /// Whether time and reads did.
    pub complete: bool,
    pages: u32,
}

/// A like or a repost.
#[derive(Deserialize)]
struct Mark {
    subject: Subject,
}

/// People write what they like into their repos: what has not the form of its collection belongs to no thread.
#[derive(Deserialize)]
#[serde(untagged)]
enum Record<T> {
    Fit(T),
    Unfit(IgnoredAny),
}

impl Search {
    pub fn of(root: PostUri) -> Search {
        Search {
            root,
            replies: BTreeMap::new(),
            words: 0,
            likes: 0,
            reposts: 0,
            last_reply_at: None,
            complete: true,
            pages: 0,
        }
    }

    /// Looks through a repo. False: time or reads did not do.
    pub fn look_through(&mut self, did: &str) -> Result<bool, Error> {
        let root = self.root.to_string();
        let (mut likes, mut reposts) = (false, false);
        let looked = self.each(did, POSTS, |search, post: Post| {
            if post.reply.is_some_and(|reply| reply.root.uri == root) {
                *search.replies.entry(did.to_owned()).or_default() += 1;
                search.words += words(&post.text);
                search.last_reply_at = search.last_reply_at.take().max(post.created_at);
            }
        })? && self.each(did, LIKES, |_, like: Mark| likes |= like.subject.uri == root)?
            && self.each(did, REPOSTS, |_, repost: Mark| reposts |= repost.subject.uri == root)?;
        // Who likes a post twice is one who likes it.
        self.likes += usize::from(likes);
        self.reposts += usize::from(reposts);
        self.complete &= looked;
        Ok(looked)
    }

    /// Shows `found` the records of a collection that may be younger than the thread.
    fn each<T: DeserializeOwned>(
        &mut self,
        did: &str,
        collection: &str,
        mut found: impl FnMut(&mut Search, T),
    ) -> Result<bool, Error> {
        let mut cursor: Option<String> = None;
        loop {
            if self.pages == MOST_PAGES || remaining_ms() < RESERVE_MS {
                return Ok(false);
            }
            self.pages += 1;
            let listing = Listing { repo: did, collection, cursor: cursor.as_deref(), limit: 100 };
            let page: Page<Record<T>> = list_collection(&listing)?;
            for Entry { uri, value, .. } in page.records {
                // The latest come first.
                if is_older(&uri, &self.root.key) {
                    return Ok(true);
                }
                if let Record::Fit(value) = value {
                    found(self, value);
                }
            }
            // A host that gives the same cursor again would keep this going until the time is over.
            if page.cursor.is_none() || page.cursor == cursor {
                return Ok(true);
            }
            cursor = page.cursor;
        }
    }
}

/// Whether a record was made before the thread began, as far as both keys tell when they were made.
fn is_older(uri: &str, root: &str) -> bool {
    let key = uri.rsplit('/').next().unwrap_or_default();
    key.len() == TID_CHARS && root.len() == TID_CHARS && key < root
}

/// The DID of a repo. A handle's is told by the names of the posts in it.
pub fn did_of(repo: &str) -> Result<String, Error> {
    if repo.starts_with("did:") {
        return Ok(repo.to_owned());
    }
    let listing = Listing { repo, collection: POSTS, cursor: None, limit: 1 };
    let page: Page<IgnoredAny> = list_collection(&listing)?;
    let named = page.records.first().and_then(|post| post.uri.strip_prefix("at://")?.split('/').next());
    let did = named.ok_or("this handle has no posts that would tell its DID: give the DID")?;
    Ok(did.to_owned())
}
