use at_functions::testing::World;

use super::*;

const ROOT: &str = "at://did:plc:alice/app.bsky.feed.post/3kaaaaaaaaa2a";

fn reply(text: &str, root: &str, at: &str) -> String {
    format!(r#"{{"text": "{text}", "reply": {{"root": {{"uri": "{root}"}}}}, "createdAt": "{at}"}}"#)
}

fn mark(uri: &str) -> String {
    format!(r#"{{"subject": {{"uri": "{uri}"}}}}"#)
}

fn ask(world: &World, post: &str, among: &[&str]) -> Result<Output, Error> {
    let among = among.iter().map(|&repo| repo.to_owned()).collect();
    world.run(|| run(Input { post: post.to_owned(), among }))
}

fn world() -> World {
    let bob = |collection: &str, key: &str| format!("at://did:plc:bob/app.bsky.feed.{collection}/{key}");
    World::new()
        .caller("did:plc:carol")
        .record(ROOT, r#"{"text": "one two three"}"#)
        .record(
            "at://did:plc:alice/app.bsky.feed.post/3kaaaaaaaaa2b",
            &reply("four", ROOT, "2026-01-02T00:00:00Z"),
        )
        .record(&bob("post", "3kaaaaaaaaa2c"), &reply("five six", ROOT, "2026-01-01T00:00:00Z"))
        .record(&bob("post", "3kaaaaaaaaa2d"), &reply("seven", ROOT, "2026-01-03T00:00:00Z"))
        .record(
            &bob("post", "3kaaaaaaaaa2e"),
            &reply("not this one", "at://did:plc:x/app.bsky.feed.post/1", ""),
        )
        .record(&bob("post", "3kaaaaaaaaa2f"), r#"{"text": 7, "reply": "none"}"#)
        .record(&bob("like", "3kaaaaaaaaa2a"), &mark(ROOT))
        .record(&bob("like", "3kaaaaaaaaa2b"), &mark(ROOT))
        .record(&bob("repost", "3kaaaaaaaaa2b"), &mark("at://did:plc:x/app.bsky.feed.post/1"))
        .record("at://did:plc:carol/app.bsky.feed.like/3kaaaaaaaaa2b", &mark(ROOT))
}

#[test]
fn what_belongs_to_a_thread_is_counted_whichever_of_its_posts_is_named() {
    let expected = Output {
        root: ROOT.to_owned(),
        replies: 3,
        words: 7,
        repliers: vec![
            Replier { did: "did:plc:bob".into(), replies: 2 },
            Replier { did: "did:plc:alice".into(), replies: 1 },
        ],
        likes: 2,
        reposts: 0,
        last_reply_at: Some("2026-01-03T00:00:00Z".into()),
        looked_through: 3,
        unread: vec![],
        complete: true,
    };
    for post in [ROOT, "at://did:plc:bob/app.bsky.feed.post/3kaaaaaaaaa2c"] {
        assert_eq!(ask(&world(), post, &["did:plc:bob"]).unwrap(), expected, "{post}");
    }
}

#[test]
fn a_repo_that_cannot_be_looked_through_is_told_and_the_rest_counts() {
    let output = ask(&world(), ROOT, &["dave.example.com"]).unwrap();
    assert_eq!((output.replies, output.looked_through, output.complete), (1, 2, true));
    let why = "this handle has no posts that would tell its DID: give the DID".to_owned();
    assert_eq!(output.unread, [Unread { repo: "dave.example.com".into(), why }]);
}

#[test]
fn what_is_no_post_is_told_with_what_is_expected() {
    let cases = [
        (
            "https://bsky.app/profile/alice.example.com/post/3kaaaaaaaaa2a",
            "post: https://bsky.app/profile/alice.example.com/post/3kaaaaaaaaa2a is the address of a page; the at-uri of the post is at://alice.example.com/app.bsky.feed.post/3kaaaaaaaaa2a",
        ),
        (
            "at://did:plc:alice/app.bsky.feed.like/1",
            "post: at://did:plc:alice/app.bsky.feed.like/1 is a record of app.bsky.feed.like, and no post: at://REPO/app.bsky.feed.post/KEY is expected",
        ),
        ("3kaaaaaaaaa2a", "post: 3kaaaaaaaaa2a is no at-uri: at://REPO/app.bsky.feed.post/KEY is expected"),
    ];
    for (post, told) in cases {
        assert_eq!(ask(&world(), post, &[]).unwrap_err().to_string(), told);
    }
}

/// Fails once after a type changed, and writes its schema anew.
#[test]
fn the_schemas_are_those_of_the_types() {
    let input = at_functions::schema::keep::<Input>("schemas/input.json");
    let output = at_functions::schema::keep::<Output>("schemas/output.json");
    input.and(output).unwrap();
}
