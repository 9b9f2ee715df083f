//! What the parser of `at-functions.toml` finds wrong with its keys, told with what the person may have meant.

use strsim::normalized_damerau_levenshtein;

/// Less alike, from 0 to 1, and the guess would mislead.
const ALIKE: f64 = 0.5;

/// The parser's own message, with what would mend it.
pub(super) fn told(message: &str) -> String {
    let named = |start: &str| message.strip_prefix(start)?.split_once('`');
    if let Some((key, known)) = named("unknown field `") {
        return unknown(key, known);
    }
    match (named("missing field `"), message.ends_with(", expected a string")) {
        (Some((key, _)), _) => format!("there is no {key}, which is needed: add {}", least(key)),
        (None, true) => format!("{message}: put it into quotes"),
        (None, false) => message.to_owned(),
    }
}

/// What a key that is needed says at least.
fn least(key: &str) -> String {
    match key {
        "build" => "[build] with module = \"FILE.wasm\"".to_owned(),
        "module" => "module = \"FILE.wasm\"".to_owned(),
        "version" => "version = \"0.1.0\"".to_owned(),
        key => format!("{key} = \"...\""),
    }
}

/// The key that is most like one that is not known, or all that there are.
fn unknown(key: &str, known: &str) -> String {
    // `, expected one of `a`, `b``, or `, expected `a``
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let alike =
        known.iter().map(|known| (normalized_damerau_levenshtein(&key.replace('_', "-"), known), known));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((likeness, meant)) if likeness >= ALIKE => {
            format!("there is no key `{key}`: did you mean `{meant}`?")
        }
        _ => format!("there is no key `{key}`; the keys are: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_is_answered_with_the_one_that_was_meant() {
        let told = |key: &str| {
            told(&format!("unknown field `{key}`, expected one of `name`, `max-memory-mb`, `rkey`"))
        };
        assert_eq!(told("max_memory_mb"), "there is no key `max_memory_mb`: did you mean `max-memory-mb`?");
        assert_eq!(told("nmae"), "there is no key `nmae`: did you mean `name`?");
        assert_eq!(told("colour"), "there is no key `colour`; the keys are: name, max-memory-mb, rkey");
        assert_eq!(
            super::told("unknown field `x`, expected `module`"),
            "there is no key `x`; the keys are: module"
        );
    }

    #[test]
    fn what_is_missing_or_of_another_type_is_told_with_what_to_write() {
        let cases = [
            ("missing field `version`", "there is no version, which is needed: add version = \"0.1.0\""),
            ("missing field `name`", "there is no name, which is needed: add name = \"...\""),
            (
                "missing field `build`",
                "there is no build, which is needed: add [build] with module = \"FILE.wasm\"",
            ),
            (
                "invalid type: integer `1`, expected a string",
                "invalid type: integer `1`, expected a string: put it into quotes",
            ),
            ("invalid basic string", "invalid basic string"),
        ];
        for (message, expected) in cases {
            assert_eq!(told(message), expected);
        }
    }
}
