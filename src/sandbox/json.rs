//! Whether a guest's output is exactly one JSON value.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Cuts the whitespace around the one JSON value (RFC 8259) that `output` holds.
///
/// Stricter than a parser that skips: numbers must be finite as 64-bit floats, escapes must make
/// Unicode scalar values (no lone surrogates), and arrays and objects nest at most 127 deep, so that
/// no reader of the answer can be surprised. A name may occur twice in an object: RFC 8259 leaves
/// that open, and the text goes on to the caller as it is.
pub(super) fn one_value(output: &[u8]) -> Result<&[u8], NotOneValue> {
    let text = std::str::from_utf8(output).map_err(|_| NotOneValue::NotUtf8)?;
    let value = text.trim_matches([' ', '\t', '\r', '\n']);
    if value.is_empty() {
        return Err(NotOneValue::Empty);
    }
    match serde_json::from_str::<Checked>(value) {
        Ok(Checked) => Ok(value.as_bytes()),
        Err(error) => Err(NotOneValue::Syntax(error.to_string())),
    }
}

/// Why an output is not one JSON value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotOneValue {
    #[error("the output is empty, where one JSON value is expected")]
    Empty,
    #[error("the output is not UTF-8")]
    NotUtf8,
    #[error("the output is not one JSON value: {0}")]
    Syntax(String),
}

/// Visits every part of a value and keeps none. (`serde::de::IgnoredAny` would let the parser skip
/// over numbers and escapes without reading them.)
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Checked, A::Error> {
        while map.next_entry::<Checked, Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Checked, A::Error> {
        while seq.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_unit<E: Error>(self) -> Result<Checked, E> {
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_passes_unchanged_but_for_the_space_around_it() {
        let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
        let cases = [
            ("null", "null"),
            (" \t\r\n{\"a\" : [1, 2.50e3, -0, true]}\n", "{\"a\" : [1, 2.50e3, -0, true]}"),
            ("\"\"", "\"\""),
            ("\"\\ud83d\\ude00\"", "\"\\ud83d\\ude00\""),
            ("\"\\u0000\"", "\"\\u0000\""),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("1e308", "1e308"),
            ("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"),
            (deepest.as_str(), deepest.as_str()),
        ];
        for (output, value) in cases {
            assert_eq!(one_value(output.as_bytes()), Ok(value.as_bytes()), "{output}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_reason() {
        let too_deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
        let unclosed = "[".repeat(10_000);
        let cases: [(&[u8], &str); 19] = [
            (b"", "the output is empty, where one JSON value is expected"),
            (b" \n", "the output is empty, where one JSON value is expected"),
            (b"\"\xff\"", "the output is not UTF-8"),
            (b"\"\xed\xa0\x80\"", "the output is not UTF-8"),
            (b"{\"a\":", "EOF while parsing a value at line 1 column 5"),
            (b"{} {}", "trailing characters at line 1 column 4"),
            (b"1,", "trailing characters at line 1 column 2"),
            (b"\xef\xbb\xbf1", "expected value at line 1 column 1"),
            (b"\xc2\xa01", "expected value at line 1 column 1"),
            (b"NaN", "expected value at line 1 column 1"),
            (b"Infinity", "expected value at line 1 column 1"),
            (b"-Infinity", "invalid number at line 1 column 2"),
            (b"1e400", "number out of range at line 1 column 5"),
            (b"01", "invalid number at line 1 column 2"),
            (b"\"\\ud800\"", "unexpected end of hex escape at line 1 column 8"),
            (b"\"\\udc00\"", "lone leading surrogate in hex escape at line 1 column 7"),
            (b"{\"\\ud800\":1}", "unexpected end of hex escape at line 1 column 9"),
            (too_deep.as_bytes(), "recursion limit exceeded at line 1 column 128"),
            (unclosed.as_bytes(), "recursion limit exceeded at line 1 column 128"),
        ];
        for (output, reason) in cases {
            let refusal = one_value(output).unwrap_err().to_string();
            assert!(refusal.ends_with(reason), "{}: {refusal}", String::from_utf8_lossy(output));
        }
    }
}
