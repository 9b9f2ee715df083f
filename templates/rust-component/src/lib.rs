//! Counts the words of a text or of a post: `{"text": "one two"}` or `{"post": "at://..."}` → `{"words": 2}`

use at_functions::{Error, context, log, read_record};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("examples" = [{"text": "one two"}])))]
struct Input {
    text: Option<String>,
    /// The at-uri of a post.
    post: Option<String>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Output {
    words: usize,
}

/// What is needed of a record of app.bsky.feed.post.
#[derive(Deserialize)]
struct Post {
    text: String,
}

#[at_functions::function]
fn run(input: Input) -> Result<Output, Error> {
    let text = match (input.text, input.post) {
        (Some(text), None) => text,
        (None, Some(uri)) => read_record::<Post>(&uri)?.text,
        _ => return Err("give either a text or a post".into()),
    };
    let words = text.split_whitespace().count();
    log::info(&format!("{words} words for {}", context().caller.as_deref().unwrap_or("nobody")));
    Ok(Output { words })
}

#[cfg(test)]
mod tests {
    use at_functions::testing::World;

    use super::*;

    #[test]
    fn words_of_a_post_are_counted() {
        let post = "at://did:plc:alice/app.bsky.feed.post/1";
        let world = World::new().record(post, r#"{"text": "one two"}"#);
        let output = world.run(|| run(Input { text: None, post: Some(post.into()) })).unwrap();
        assert_eq!(output.words, 2);
    }

    /// Fails once after a type changed, and writes its schema anew.
    #[test]
    fn the_schemas_are_those_of_the_types() {
        let input = at_functions::schema::keep::<Input>("schemas/input.json");
        let output = at_functions::schema::keep::<Output>("schemas/output.json");
        input.and(output).unwrap();
    }
}
