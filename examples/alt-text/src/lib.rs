//! Finds images and videos without alternative text among an account's latest posts: `{"account": "alice.example.com"}`.

mod embed;

use at_functions::{Entry, Error, Listing, Page, context, list_collection, remaining_ms};
use serde::{Deserialize, Serialize};

use embed::{Media, Record};

const POSTS: &str = "app.bsky.feed.post";
/// Posts that are looked at where nobody says how many, and at most.
const USUAL_POSTS: u32 = 100;
const MOST_POSTS: u32 = 1_000;
/// Records in a page: as many as services give.
const PAGE: u32 = 100;
/// Pages that are read at most: a host may give as many empty ones as it likes.
const MOST_PAGES: u32 = 100;
/// Left for the answer, in milliseconds: what the slowest page that is still begun may take.
const RESERVE_MS: u32 = 1_000;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("examples" = [{"account": "alice.example.com"}])))]
struct Input {
    /// A DID or a handle; the caller's own account where it is left out.
    account: Option<String>,
    /// How many of the latest posts are looked at; 100 where it is left out.
    #[cfg_attr(test, schemars(range(min = 1, max = 1000)))]
    posts: Option<u32>,
    /// Of an answer: goes on where that ended.
    cursor: Option<String>,
}

#[derive(Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Output {
    /// How many posts were looked at.
    posts: u32,
    /// How many of them show images or a video of their own.
    with_media: u32,
    /// Images and videos in these.
    media: usize,
    /// Those without alternative text.
    without_alt: usize,
    /// Of a hundred, how many are without; rounded up, so that 0 is none.
    percent_without_alt: usize,
    /// The posts that lack some, the latest first.
    missing: Vec<Missing>,
    /// To go on from here; absent where the account has no older posts.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Missing {
    /// The post's at-uri.
    uri: String,
    media: usize,
    without_alt: usize,
}

#[at_functions::function]
fn run(input: Input) -> Result<Output, Error> {
    let account = account(input.account)?;
    let wanted = input.posts.unwrap_or(USUAL_POSTS);
    if !(1..=MOST_POSTS).contains(&wanted) {
        return Err(Error::new(format_args!(
            "posts: a number from 1 to {MOST_POSTS} is expected, not {wanted}"
        )));
    }
    let mut output = Output { cursor: input.cursor, ..Output::default() };
    let mut pages = 0;
    while output.posts < wanted && pages < MOST_PAGES && remaining_ms() >= RESERVE_MS {
        pages += 1;
        let limit = PAGE.min(wanted - output.posts);
        let listing = Listing { repo: &account, collection: POSTS, cursor: output.cursor.as_deref(), limit };
        let page: Page<Record> =
            list_collection(&listing).map_err(|why| Error::new(format_args!("account: {account}: {why}")))?;
        // A host that gives the same cursor again would keep this going until the time is over.
        let is_last = page.cursor.is_none() || page.cursor == output.cursor;
        for post in page.records {
            output.look_at(post);
        }
        output.cursor = page.cursor.filter(|_| !is_last);
        if is_last {
            break;
        }
    }
    output.percent_without_alt = (output.without_alt * 100).div_ceil(output.media.max(1));
    Ok(output)
}

/// Whose posts are meant.
fn account(named: Option<String>) -> Result<String, Error> {
    let Some(named) = named else {
        return context().caller.ok_or_else(|| "account: is needed, as the call is anonymous".into());
    };
    match named.strip_prefix('@') {
        Some(handle) => Err(Error::new(format_args!("account: leave out the @: {handle}"))),
        None if named.contains('/') => Err(Error::new(format_args!(
            "account: a DID or a handle is expected, and not what has a / in it: {named}"
        ))),
        None => Ok(named),
    }
}

impl Output {
    fn look_at(&mut self, post: Entry<Record>) {
        self.posts += 1;
        let Media { all, without_alt } = post.value.media();
        self.with_media += u32::from(all > 0);
        self.media += all;
        self.without_alt += without_alt;
        if without_alt > 0 {
            self.missing.push(Missing { uri: post.uri, media: all, without_alt });
        }
    }
}

#[cfg(test)]
mod tests;
