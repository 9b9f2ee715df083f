//! `examples/thread-summary` over a thread of three accounts on two PDSes.

use serde_json::{Value, json};

use super::{Author, tid, time};
use crate::network::{Account, Network};

const POSTS: &str = "app.bsky.feed.post";
const LIKES: &str = "app.bsky.feed.like";
const REPOSTS: &str = "app.bsky.feed.repost";

/// When the thread begins.
const BEGIN: usize = 1_000;

/// What a record needs to name another.
fn strong(name: &(String, String)) -> Value {
    json!({ "uri": name.0, "cid": name.1 })
}

impl Account {
    async fn post(&self, n: usize, text: &str, replies: Option<[&(String, String); 2]>) -> (String, String) {
        let mut post = json!({ "$type": POSTS, "text": text, "createdAt": time(n) });
        if let Some([root, parent]) = replies {
            post["reply"] = json!({ "root": strong(root), "parent": strong(parent) });
        }
        self.put_record(POSTS, &tid(n), &post).await
    }

    async fn mark(&self, collection: &str, n: usize, subject: &(String, String)) {
        let mark = json!({ "$type": collection, "subject": strong(subject), "createdAt": time(n) });
        self.put_record(collection, &tid(n), &mark).await;
    }

    /// Posts that belong to no thread, one of which says it in a form of its own.
    async fn chat(&self, from: usize, count: usize) {
        let post = |n| (tid(n), json!({ "$type": POSTS, "text": "chat", "createdAt": time(n) }));
        let mut posts: Vec<_> = (from..from + count).map(post).collect();
        posts[0].1["reply"] = json!("none");
        self.write_all(POSTS, &posts).await;
    }
}

/// A thread: Alice on one PDS begins it, Bob and Carol on the other reply.
struct Thread {
    alice: Account,
    bob: Account,
    carol: Account,
    root: String,
    deepest: String,
}

impl Thread {
    async fn write(network: &Network) -> Thread {
        let alice = network.create_account(network.pds(0)).await;
        let bob = network.create_account(network.pds(1)).await;
        let carol = network.create_account(network.pds(1)).await;
        let other = alice.post(BEGIN - 1, "another thread", None).await;
        let root = alice.post(BEGIN, "what is a function?", None).await;
        // Before the thread began: nobody looks so far back.
        bob.chat(0, 150).await;
        let first = bob.post(BEGIN + 1, "code in a repo", Some([&root, &root])).await;
        let second = alice.post(BEGIN + 2, "whose?", Some([&root, &first])).await;
        let deepest = carol.post(BEGIN + 3, "the author's", Some([&root, &second])).await;
        bob.post(BEGIN + 4, "ours", Some([&root, &deepest])).await;
        bob.post(BEGIN + 5, "not of it", Some([&other, &other])).await;
        // More than a page since.
        bob.chat(BEGIN + 10, 130).await;
        bob.mark(LIKES, BEGIN + 3, &root).await;
        bob.mark(LIKES, BEGIN + 4, &root).await;
        bob.mark(LIKES, BEGIN + 5, &deepest).await;
        carol.mark(LIKES, BEGIN + 6, &root).await;
        carol.mark(REPOSTS, BEGIN + 6, &root).await;
        Thread { alice, bob, carol, root: root.0, deepest: deepest.0 }
    }
}

fn replier(account: &Account, replies: u32) -> Value {
    json!({ "did": account.did, "replies": replies })
}

#[tokio::test]
async fn a_thread_over_two_pdses_is_summed_up_from_any_of_its_posts() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start(network).await;
    let Thread { alice, bob, carol, root, deepest } = &Thread::write(network).await;
    let function = author.deploys("thread-summary", &[]).await;
    let mut one_reply_each = [alice, carol];
    one_reply_each.sort_by_key(|account| &account.did);
    let expected = json!({
        "root": root,
        "replies": 4,
        "words": 12,
        "repliers": [replier(bob, 2), replier(one_reply_each[0], 1), replier(one_reply_each[1], 1)],
        "likes": 2,
        "reposts": 1,
        "lastReplyAt": time(BEGIN + 4),
        // The caller's repo is one of them.
        "lookedThrough": 4,
        "unread": [],
        "complete": true,
    });
    let by_handle = root.replace(&alice.did, &alice.handle);
    for (post, among) in [
        (root, [&bob.did, &carol.did]),
        (deepest, [&bob.handle, &carol.handle]),
        (&by_handle, [&bob.did, &carol.handle]),
    ] {
        author.answers(&function, &json!({ "post": post, "among": among }), &expected).await;
    }
    // Without others, only what the thread's author and the caller wrote.
    let alone = json!({
        "root": root, "replies": 1, "words": 5, "repliers": [replier(alice, 1)], "likes": 0, "reposts": 0,
        "lastReplyAt": time(BEGIN + 2), "lookedThrough": 2, "unread": [], "complete": true,
    });
    author.answers(&function, &json!({ "post": root }), &alone).await;
}

#[tokio::test]
async fn repos_that_the_record_does_not_allow_are_named_and_the_rest_counts() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start_in_threads(network).await;
    let Thread { alice, bob, carol, root, .. } = &Thread::write(network).await;
    let entries = [alice, bob].map(|account| format!("at://{}", account.did));
    let function = author.deploys("thread-summary", &["--allow", &entries[0], "--allow", &entries[1]]).await;
    let caller = author.person.json(&["accounts"]).await["accounts"][0]["did"].clone();
    let caller = caller.as_str().expect("a DID");
    let mut refused = [carol.did.as_str(), caller];
    refused.sort_unstable();
    let why = |did: &str| {
        format!(
            "the function's record does not allow this read; it would need at://{did}/{POSTS} in its allowedHosts"
        )
    };
    let expected = json!({
        "root": root, "replies": 3, "words": 10, "repliers": [replier(bob, 2), replier(alice, 1)], "likes": 1,
        "reposts": 0, "lastReplyAt": time(BEGIN + 4), "lookedThrough": 2, "complete": true,
        "unread": refused.map(|did| json!({ "repo": did, "why": why(did) })),
    });
    author.answers(&function, &json!({ "post": root, "among": [bob.did, carol.did] }), &expected).await;
}

#[tokio::test]
async fn what_is_no_post_is_answered_with_what_would_do() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start_in_threads(network).await;
    let alice = network.create_account(network.pds(0)).await;
    let function = author.deploys("thread-summary", &[]).await;
    let absent = format!("at://{}/{POSTS}/{}", alice.did, tid(1));
    let cases = [
        (
            format!("https://bsky.app/profile/{}/post/{}", alice.handle, tid(1)),
            format!(
                "post: https://bsky.app/profile/{0}/post/{1} is the address of a page; the at-uri of the post is at://{0}/{POSTS}/{1}",
                alice.handle,
                tid(1)
            ),
        ),
        (
            format!("at://{}/{LIKES}/1", alice.did),
            format!(
                "post: at://{}/{LIKES}/1 is a record of {LIKES}, and no post: at://REPO/{POSTS}/KEY is expected",
                alice.did
            ),
        ),
        (
            absent.clone(),
            format!(
                "post: {absent}: there is no such record: the repo of {} proves it by its signature",
                alice.did
            ),
        ),
    ];
    for (post, why) in cases {
        let output = author.output_of_failure(&function, &json!({ "post": post })).await;
        assert_eq!(output, json!({ "error": why }));
    }
}
