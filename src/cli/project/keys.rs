//! Keys of `at-functions.toml` that are not known: what the person may have meant.

use strsim::normalized_damerau_levenshtein;

/// Less alike, from 0 to 1, and the guess would mislead.
const ALIKE: f64 = 0.5;

/// The parser's own message, but for a key that is not known: the one that is most like it, or all that there are.
pub(super) fn told(message: &str) -> String {
    let Some((key, known)) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'))
    else {
        return message.to_owned();
    };
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
        assert_eq!(super::told("missing field `name`"), "missing field `name`");
    }
}
