use at_functions::testing::World;

use super::*;

fn world(posts: &[&str]) -> World {
    let posts = posts.iter().enumerate();
    posts.fold(World::new().caller("did:plc:alice"), |world, (n, embed)| {
        world.record(&uri(n), &format!(r#"{{"text": "", "embed": {embed}}}"#))
    })
}

fn uri(n: usize) -> String {
    format!("at://did:plc:alice/app.bsky.feed.post/{n:04}")
}

fn ask(world: &World, posts: Option<u32>, cursor: Option<String>) -> Output {
    world.run(|| run(Input { account: None, posts, cursor })).unwrap()
}

#[test]
fn images_and_videos_without_text_are_found_wherever_a_post_has_them() {
    let images = r#"{"$type": "app.bsky.embed.images", "images": [{"alt": "a cat"}, {"alt": " "}, {}]}"#;
    let quoted =
        format!(r#"{{"$type": "app.bsky.embed.recordWithMedia", "record": {{}}, "media": {images}}}"#);
    let world = world(&[
        images,
        r#"{"$type": "app.bsky.embed.video", "alt": "a dog"}"#,
        r#"{"$type": "app.bsky.embed.video"}"#,
        &quoted,
        r#"{"$type": "app.bsky.embed.external", "external": {"thumb": {}}}"#,
        r#"{"$type": "app.bsky.embed.images", "images": "none"}"#,
        "null",
    ]);
    let missing = |n, media, without_alt| Missing { uri: uri(n), media, without_alt };
    let expected = Output {
        posts: 7,
        with_media: 4,
        media: 8,
        without_alt: 5,
        percent_without_alt: 63,
        missing: vec![missing(0, 3, 2), missing(2, 1, 1), missing(3, 3, 2)],
        cursor: None,
    };
    assert_eq!(ask(&world, None, None), expected);
}

#[test]
fn posts_come_in_parts() {
    let world = world(&[r#"{"$type": "app.bsky.embed.video"}"#; 250]);
    let first = ask(&world, Some(150), None);
    assert_eq!((first.posts, first.missing.len(), &first.missing[149].uri), (150, 150, &uri(149)));
    let rest = ask(&world, Some(1_000), first.cursor);
    assert_eq!((rest.posts, &rest.missing[0].uri, rest.cursor), (100, &uri(150), None));
}

#[test]
fn what_is_no_account_is_told_with_what_is_expected() {
    let refused = |account: Option<&str>| {
        let input = Input { account: account.map(str::to_owned), posts: None, cursor: None };
        World::new().run(|| run(input)).unwrap_err().to_string()
    };
    assert_eq!(refused(None), "account: is needed, as the call is anonymous");
    assert_eq!(refused(Some("@alice.example.com")), "account: leave out the @: alice.example.com");
    assert!(refused(Some("at://did:plc:alice")).ends_with("and not what has a / in it: at://did:plc:alice"));
}

/// Fails once after a type changed, and writes its schema anew.
#[test]
fn the_schemas_are_those_of_the_types() {
    let input = at_functions::schema::keep::<Input>("schemas/input.json");
    let output = at_functions::schema::keep::<Output>("schemas/output.json");
    input.and(output).unwrap();
}
