//! Sums up a thread: who replied, how often, and how many accounts like or repost its first post.
//!
//! Nothing on AT Protocol lists the replies to a post but an index of the whole network. A function reads repos, so it
//! looks through those of the accounts that it is told of: `{"post": "at://...", "among": ["bob.example.com"]}`.

mod post;
mod search;

use std::collections::{BTreeMap, BTreeSet};

use at_functions::{Error, context, log};
use serde::{Deserialize, Serialize};

use post::PostUri;
use search::{Search, did_of};

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("examples" = [{
    "post": "at://alice.example.com/app.bsky.feed.post/3jzfcijpj2z2a", "among": ["bob.example.com"]
}])))]
struct Input {
    /// The at-uri of a post. If it is a reply, its whole thread is meant.
    post: String,
    /// Whose repos are looked through, besides those of the thread's author and of the caller: DIDs or handles.
    #[serde(default)]
    #[cfg_attr(test, schemars(length(max = 32)))]
    among: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
struct Output {
    /// The at-uri of the thread's first post.
    root: String,
    /// Replies that were found, however deep.
    replies: usize,
    /// Words of the first post and of these replies.
    words: usize,
    /// Who wrote the replies, who wrote most of them first.
    repliers: Vec<Replier>,
    /// Accounts that like the first post.
    likes: usize,
    /// Accounts that reposted it.
    reposts: usize,
    /// When the latest reply was written, as it says itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_reply_at: Option<String>,
    /// How many repos were looked through.
    looked_through: usize,
    /// Those that could not be, and why.
    unread: Vec<Unread>,
    /// False: a run's time and reads did not do for all of it, and there may be more.
    complete: bool,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Replier {
    did: String,
    replies: usize,
}

#[derive(Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Unread {
    repo: String,
    why: String,
}

#[at_functions::function]
fn run(input: Input) -> Result<Output, Error> {
    let (root, first) = post::root_of(&PostUri::parse(&input.post)?)?;
    let mut search = Search::of(root);
    search.words = words(&first.text);

    let mut unread = Vec::new();
    let mut repos = BTreeSet::from([search.root.repo.clone()]);
    repos.extend(context().caller);
    for named in input.among {
        match did_of(&named) {
            Ok(did) => {
                repos.insert(did);
            }
            Err(why) => unread.push(Unread { repo: named, why: why.to_string() }),
        }
    }
    let mut looked_through = 0;
    for repo in repos {
        match search.look_through(&repo) {
            Ok(true) => looked_through += 1,
            Ok(false) => {}
            Err(why) => unread.push(Unread { repo, why: why.to_string() }),
        }
    }
    log::info(&format!("{looked_through} repos looked through, {} could not be", unread.len()));

    Ok(Output {
        root: search.root.to_string(),
        replies: search.replies.values().sum(),
        words: search.words,
        repliers: ranked(search.replies),
        likes: search.likes,
        reposts: search.reposts,
        last_reply_at: search.last_reply_at,
        looked_through,
        unread,
        complete: search.complete,
    })
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

fn ranked(replies: BTreeMap<String, usize>) -> Vec<Replier> {
    let mut ranked: Vec<_> = replies.into_iter().map(|(did, replies)| Replier { did, replies }).collect();
    ranked.sort_by_key(|replier| usize::MAX - replier.replies);
    ranked
}

#[cfg(test)]
mod tests;
