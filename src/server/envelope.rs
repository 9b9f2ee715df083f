//! The body of `at.functions.run`, taken apart without touching the caller's input: it crosses as
//! the bytes that were sent.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use ipld_core::cid::Cid;

use crate::lexicon::AtUri;
use crate::repo::cid_from_text;

use super::XrpcError;

/// How deeply objects and arrays may nest: what most JSON libraries in guests take.
const MAX_DEPTH: usize = 128;

/// What is to be run, on what.
#[derive(Debug)]
pub(super) struct RunRequest<'a> {
    pub(super) function: AtUri,
    /// One JSON value, verbatim.
    pub(super) input: &'a RawValue,
    /// The version of the function that the caller expects, by its record's CID.
    pub(super) cid: Option<Cid>,
    /// The caller's name for this call, as it was sent.
    pub(super) idempotency_key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    function: Cow<'a, str>,
    #[serde(borrow)]
    input: &'a RawValue,
    cid: Option<Cow<'a, str>>,
    idempotency_key: Option<Cow<'a, str>>,
}

impl<'a> RunRequest<'a> {
    /// Parses the body; every error is a 400 `InvalidRequest` that names the field.
    pub(super) fn parse(body: &'a [u8]) -> Result<RunRequest<'a>, XrpcError> {
        if body.is_empty() {
            return Err(XrpcError::invalid_request(
                "a request body is expected but none was provided; send {\"function\": \"at://...\", \"input\": {...}}",
            ));
        }
        if nests_too_deeply(body) {
            return Err(XrpcError::invalid_request(format!("the body nests deeper than {MAX_DEPTH} levels")));
        }
        let envelope: Envelope<'a> = serde_json::from_slice(body).map_err(|error| {
            XrpcError::invalid_request(format!("the body is not as the lexicon says: {}", told(&error)))
        })?;
        let function = AtUri::parse(&envelope.function)
            .map_err(|error| XrpcError::invalid_request(format!("function: {error}")))?;
        let cid = envelope
            .cid
            .map(|text| {
                cid_from_text(&text)
                    .ok_or_else(|| XrpcError::invalid_request("cid: not a CID (the record's, as bafy...)"))
            })
            .transpose()?;
        Ok(RunRequest { function, input: envelope.input, cid, idempotency_key: envelope.idempotency_key })
    }
}

/// What the parser says. Where a value is of a wrong kind it repeats the value, which may be all of a
/// large body.
fn told(error: &serde_json::Error) -> String {
    const MAX_CHARS: usize = 200;
    let text = error.to_string();
    match text.char_indices().nth(MAX_CHARS) {
        None => text,
        Some((end, _)) => {
            format!("{}... at line {} column {}", &text[..end], error.line(), error.column())
        }
    }
}

/// Counts brackets outside strings. It need not know whether the JSON is valid: whatever parser
/// reads it next cannot nest deeper than there are brackets.
fn nests_too_deeply(json: &[u8]) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const URI: &str = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/at.functions.metadata/echo";

    fn refusal(body: &str) -> String {
        let error = RunRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!((error.status.as_u16(), error.name), (400, "InvalidRequest"), "{body}");
        error.message
    }

    #[test]
    fn the_input_crosses_verbatim() {
        for input in [r#"{"a" : 1.50, "b":"\u00e9" }"#, "null", "[1,2]", "\"x\"", "-0.0", "1e400", "{}"] {
            let body = format!(r#"{{"input":{input} ,"function":"{URI}","extra":[1]}}"#);
            let request = RunRequest::parse(body.as_bytes()).unwrap();
            assert_eq!(request.input.get(), input);
            assert_eq!(request.function.to_string(), URI);
        }
    }

    #[test]
    fn a_body_that_is_not_the_lexicons_is_refused_by_field() {
        assert!(refusal("").contains("body is expected"));
        assert!(refusal("{").contains("EOF"));
        assert!(refusal("[]").contains("not as the lexicon says"));
        let large = format!("\"\u{202e}\\u001b[31m{}\"", "é".repeat(100_000));
        let repeated = refusal(&large);
        assert!(repeated.contains("invalid type: string \"\\u{202e}\\u{1b}[31méé"), "{repeated}");
        assert!(repeated.ends_with(&format!("éé... at line 1 column {}", large.len())), "{repeated}");
        assert!(repeated.len() < 500, "{repeated}");
        assert!(refusal(r#"{"input":{}}"#).contains("`function`"));
        assert!(refusal(&format!(r#"{{"function":"{URI}"}}"#)).contains("`input`"));
        assert!(refusal(r#"{"function":7,"input":{}}"#).contains("expected"));
        assert!(refusal(r#"{"function":"https://x/y","input":{}}"#).contains("at://"));
        assert!(refusal(&format!(r#"{{"function":"{URI}","input":{{}},"cid":"nope"}}"#)).starts_with("cid"));
        assert!(
            refusal(&format!(r#"{{"function":"{URI}","function":"{URI}","input":1}}"#)).contains("duplicate")
        );
        assert!(
            refusal(&format!(r#"{{"function":"{URI}","input":1,"idempotencyKey":7}}"#)).contains("expected")
        );
        assert!(refusal(&format!(r#"{{"function":"{URI}","input":1}} x"#)).contains("trailing"));
        assert!(RunRequest::parse(b"{\"function\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_pin_is_a_cid_in_its_one_spelling() {
        let pinned = |cid: &str| format!(r#"{{"function":"{URI}","input":1,"cid":"{cid}"}}"#);
        let cid = crate::repo::record_cid(b"a record");
        let body = pinned(&cid.to_string());
        assert_eq!(RunRequest::parse(body.as_bytes()).unwrap().cid, Some(cid));
        // Base 58 and 36 take time by the square of their length: this one would take minutes.
        for base in ["z", "k"] {
            assert!(refusal(&pinned(&format!("{base}{}", "2".repeat(1_000_000)))).starts_with("cid"));
        }
    }

    #[test]
    fn nesting_is_counted_outside_strings_only() {
        let nested =
            |n: usize| format!(r#"{{"function":"{URI}","input":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(RunRequest::parse(nested(127).as_bytes()).is_ok());
        assert!(refusal(&nested(128)).contains("128 levels"));
        assert!(refusal(&"[".repeat(1_000_000)).contains("128 levels"));
        let quoted = format!(r#"{{"function":"{URI}","input":"{}\"{}"}}"#, "[".repeat(300), "{".repeat(300));
        assert!(RunRequest::parse(quoted.as_bytes()).is_ok());
    }
}
