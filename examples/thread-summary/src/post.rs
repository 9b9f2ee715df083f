//! Posts: how they are named, and the first of a thread.

use std::fmt;

use at_functions::{Error, read_record};
use serde::Deserialize;

use crate::search::did_of;

pub const POSTS: &str = "app.bsky.feed.post";

/// The name of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostUri {
    /// A DID, or a handle where somebody wrote one.
    pub repo: String,
    pub key: String,
}

/// What is needed of a post.
#[derive(Deserialize)]
pub struct Post {
    #[serde(default)]
    pub text: String,
    pub reply: Option<Reply>,
    #[serde(rename = "createdAt")]
    pub created_at: Option<String>,
}

/// Where a reply belongs.
#[derive(Deserialize)]
pub struct Reply {
    /// The first post of its thread.
    pub root: Subject,
}

/// What a record is about.
#[derive(Deserialize)]
pub struct Subject {
    pub uri: String,
}

impl PostUri {
    /// Reads an at-uri, and says of what people have in its place what to write.
    pub fn parse(text: &str) -> Result<PostUri, Error> {
        let uri = |repo: &str, key: &str| PostUri { repo: repo.to_owned(), key: key.to_owned() };
        let parts: Vec<&str> = text.split('/').collect();
        match parts[..] {
            ["at:", "", repo, POSTS, key] if !repo.is_empty() && !key.is_empty() => Ok(uri(repo, key)),
            ["at:", "", _, collection, _] => Err(Error::new(format_args!(
                "post: {text} is a record of {collection}, and no post: at://REPO/{POSTS}/KEY is expected"
            ))),
            ["https:", "", _, "profile", repo, "post", key] => Err(Error::new(format_args!(
                "post: {text} is the address of a page; the at-uri of the post is {}",
                uri(repo, key)
            ))),
            _ => {
                Err(Error::new(format_args!("post: {text} is no at-uri: at://REPO/{POSTS}/KEY is expected")))
            }
        }
    }
}

impl fmt::Display for PostUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at://{}/{POSTS}/{}", self.repo, self.key)
    }
}

/// The first post of a post's thread, by its DID. What names it and what stands in it are proved, for replies to it count.
pub fn root_of(named: &PostUri) -> Result<(PostUri, Post), Error> {
    let post: Post = read(named)?;
    let Some(reply) = post.reply else {
        // Replies say the DID.
        return Ok((PostUri { repo: did_of(&named.repo)?, key: named.key.clone() }, post));
    };
    let root = PostUri::parse(&reply.root.uri)
        .map_err(|why| Error::new(format_args!("the thread of {named}: {why}")))?;
    let first = read(&root)?;
    Ok((PostUri { repo: did_of(&root.repo)?, ..root }, first))
}

fn read(uri: &PostUri) -> Result<Post, Error> {
    read_record(&uri.to_string()).map_err(|why| Error::new(format_args!("post: {uri}: {why}")))
}
