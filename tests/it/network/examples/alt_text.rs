//! `examples/alt-text` over an account's posts with and without alternative text.

use serde_json::{Value, json};

use super::{Author, tid, time};
use crate::network::{Account, Network};

const POSTS: &str = "app.bsky.feed.post";

/// Posts that show nothing, before those that do.
const PLAIN: usize = 120;

fn post(n: usize, embed: Option<Value>) -> (String, Value) {
    let mut post = json!({ "$type": POSTS, "text": format!("post {n}"), "createdAt": time(n) });
    if let Some(embed) = embed {
        post["embed"] = embed;
    }
    (tid(n), post)
}

impl Account {
    /// Writes posts of all kinds, and gives the at-uris of those that lack something, the latest first.
    async fn write_posts(&self) -> [String; 3] {
        let picture = self.upload_blob("image/png", b"\x89PNG not really").await;
        let film = self.upload_blob("video/mp4", b"not a film at all").await;
        let image = |alt: &str| json!({ "image": picture, "alt": alt });
        let images = |alts: &[&str]| {
            let images: Vec<_> = alts.iter().map(|alt| image(alt)).collect();
            json!({ "$type": "app.bsky.embed.images", "images": images })
        };
        let link = json!({
            "$type": "app.bsky.embed.external",
            "external": { "uri": "https://example.com", "title": "", "description": "", "thumb": picture },
        });
        let quote = json!({
            "$type": "app.bsky.embed.recordWithMedia",
            "record": { "$type": "app.bsky.embed.record", "record": {
                "uri": format!("at://{}/{POSTS}/{}", self.did, tid(0)),
                "cid": "bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454",
            } },
            "media": images(&[" "]),
        });
        let embeds = [
            images(&["a cat", "a dog"]),
            images(&["a cat", "", "a dog"]),
            json!({ "$type": "app.bsky.embed.video", "video": film, "alt": "a walk" }),
            json!({ "$type": "app.bsky.embed.video", "video": film }),
            link,
            quote,
            json!({ "$type": "app.bsky.embed.images", "images": 7 }),
        ];
        let plain = (0..PLAIN).map(|n| post(n, None));
        let shown = embeds.into_iter().enumerate().map(|(n, embed)| post(PLAIN + n, Some(embed)));
        self.write_all(POSTS, &plain.chain(shown).collect::<Vec<_>>()).await;
        [5, 3, 1].map(|n| format!("at://{}/{POSTS}/{}", self.did, tid(PLAIN + n)))
    }
}

#[tokio::test]
async fn images_and_videos_without_alternative_text_are_found_among_many_posts() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start(network).await;
    let alice = network.create_account(network.pds(1)).await;
    let [quote, film, images] = alice.write_posts().await;
    let entry = format!("at://{}/{POSTS}", alice.did);
    let function = author.deploys("alt-text", &["--allow", &entry]).await;

    let missing =
        |uri: &str, media: u32, without: u32| json!({ "uri": uri, "media": media, "withoutAlt": without });
    let missing = [missing(&quote, 1, 1), missing(&film, 1, 1), missing(&images, 3, 1)];
    let expected = |posts: usize, cursor: Option<String>| {
        let mut expected = json!({
            "posts": posts, "withMedia": 5, "media": 8, "withoutAlt": 3, "percentWithoutAlt": 38,
            "missing": missing,
        });
        if let Some(cursor) = cursor {
            expected["cursor"] = cursor.into();
        }
        expected
    };
    // All posts, by handle: two pages with posts, and the empty one that the PDS's last cursor leads to.
    let input = json!({ "account": alice.handle, "posts": 1000 });
    let answer = author.answers(&function, &input, &expected(PLAIN + 7, None)).await;
    assert_eq!(answer["usage"]["hostCalls"], 3, "{answer}");
    // The latest hundred, and on from there.
    author.answers(&function, &json!({ "account": alice.did }), &expected(100, Some(tid(27)))).await;
    let input = json!({ "account": alice.did, "posts": 5, "cursor": tid(27) });
    let rest = json!({
        "posts": 5, "withMedia": 0, "media": 0, "withoutAlt": 0, "percentWithoutAlt": 0, "missing": [],
        "cursor": tid(22),
    });
    author.answers(&function, &input, &rest).await;
}

#[tokio::test]
async fn what_is_no_account_or_may_not_be_read_is_an_error_that_says_what_would_do() {
    let Some(network) = Network::shared() else { return };
    let author = Author::start_in_threads(network).await;
    let alice = network.create_account(network.pds(1)).await;
    let function = author.deploys("alt-text", &["--allow", &format!("at://{}", alice.did)]).await;
    let bob = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb";
    let cases = [
        ("@alice.example.com".to_owned(), "account: leave out the @: alice.example.com".to_owned()),
        (
            format!("at://{}/{POSTS}/1", alice.did),
            "account: a DID or a handle is expected, and not what has a / in it: at://".to_owned(),
        ),
        (
            "alice".to_owned(),
            "account: alice: `repo` is neither a did:plc, a did:web nor a handle".to_owned(),
        ),
        (
            bob.to_owned(),
            format!(
                "account: {bob}: the function's record does not allow this read; it would need at://{bob}/{POSTS} in its allowedHosts"
            ),
        ),
    ];
    for (account, why) in cases {
        let told = author.refusal(&function, &json!({ "account": account })).await;
        assert!(told.contains(&format!("guestError: {why}")), "{told}");
    }
    let told = author.refusal(&function, &json!({ "account": alice.did, "posts": 1001 })).await;
    assert!(told.contains("InvalidInput "), "{told}");
}
