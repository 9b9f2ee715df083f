//! Counts the words of a text: `{"text": "one two"}` → `{"words": 2}`

use at_functions::Error;
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(extend("examples" = [{"text": "one two"}])))]
struct Input {
    text: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Output {
    words: usize,
}

#[at_functions::function]
fn run(input: Input) -> Result<Output, Error> {
    if input.text.is_empty() {
        return Err("text: it is empty".into());
    }
    Ok(Output { words: input.text.split_whitespace().count() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted() {
        let output = run(Input { text: "one two".into() }).unwrap();
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
