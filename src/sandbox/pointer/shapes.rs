//! The JSON of host calls in `host-v1`, as the proof of concept has it.

use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

use crate::sandbox::{Context, HostCall, HostReply};

/// Reads `{atUri}`.
pub(super) fn read_record(request: &[u8]) -> Result<HostCall, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        at_uri: String,
    }
    let Shape { at_uri } = parse(request)?;
    Ok(HostCall::ReadRecord { at_uri })
}

/// Reads `{cid, repo?}`.
pub(super) fn read_blob(request: &[u8]) -> Result<HostCall, String> {
    #[derive(Deserialize)]
    struct Shape {
        cid: String,
        repo: Option<String>,
    }
    let Shape { cid, repo } = parse(request)?;
    Ok(HostCall::ReadBlob { cid, repo })
}

/// Reads `{repo, collection, cursor?, limit?}`.
pub(super) fn list_collection(request: &[u8]) -> Result<HostCall, String> {
    #[derive(Deserialize)]
    struct Shape {
        repo: String,
        collection: String,
        cursor: Option<String>,
        // Some languages have floats only.
        limit: Option<f64>,
    }
    let Shape { repo, collection, cursor, limit } = parse(request)?;
    let limit = match limit {
        None => HostCall::DEFAULT_LIMIT,
        Some(limit) if limit.fract() != 0.0 => {
            return Err(format!("the request's `limit` must be a whole number, not {limit}"));
        }
        // The cast saturates.
        Some(limit) => (limit as u32).clamp(1, HostCall::MAX_LIMIT),
    };
    Ok(HostCall::ListCollection { repo, collection, cursor, limit })
}

/// Members that are not known are left alone, as the proof of concept did.
fn parse<'a, T: Deserialize<'a>>(request: &'a [u8]) -> Result<T, String> {
    // Serde would take an array for an object whose names are left out.
    if request.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err("the request is not a JSON object".into());
    }
    serde_json::from_slice(request).map_err(|error| format!("the request is not what it should be: {error}"))
}

/// What is handed to a guest: text of our own, and bytes that are not copied on the way.
#[derive(Default)]
pub(super) struct Reply(Vec<Part>);

enum Part {
    Text(String),
    Json(Bytes),
    Base64(Bytes),
}

impl Reply {
    /// Its length in bytes.
    pub(super) fn length(&self) -> usize {
        self.0.iter().map(Part::length).sum()
    }

    /// Writes it to a place of exactly its length.
    pub(super) fn write(&self, mut target: &mut [u8]) {
        for part in &self.0 {
            let (place, rest) = target.split_at_mut(part.length());
            match part {
                Part::Text(text) => place.copy_from_slice(text.as_bytes()),
                Part::Json(bytes) => place.copy_from_slice(bytes),
                Part::Base64(bytes) => BASE64.encode_mut(bytes, place),
            }
            target = rest;
        }
    }

    fn text(mut self, text: impl Into<String>) -> Reply {
        self.0.push(Part::Text(text.into()));
        self
    }

    fn string(self, text: &str) -> Reply {
        self.text(json!(text).to_string())
    }

    fn json(mut self, value: Bytes) -> Reply {
        self.0.push(Part::Json(value));
        self
    }

    fn base64(mut self, bytes: Bytes) -> Reply {
        self.0.push(Part::Base64(bytes));
        self
    }
}

impl Part {
    fn length(&self) -> usize {
        match self {
            Part::Text(text) => text.len(),
            Part::Json(bytes) => bytes.len(),
            Part::Base64(bytes) => BASE64.encode_len(bytes.len()),
        }
    }
}

/// `{ok: true, ...}`, by what was asked for.
pub(super) fn reply(reply: HostReply) -> Reply {
    let start = Reply::default();
    match reply {
        HostReply::Record { cid, value } => {
            start.text(r#"{"ok":true,"record":"#).json(value).text(r#","cid":"#).string(&cid).text("}")
        }
        HostReply::Blob { mime_type, bytes } => start
            .text(r#"{"ok":true,"mimeType":"#)
            .string(&mime_type)
            .text(r#","bytesBase64":""#)
            .base64(bytes)
            .text(r#""}"#),
        HostReply::Listing { records, cursor } => {
            let mut reply = start.text(r#"{"ok":true,"records":["#);
            for (index, record) in records.into_iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                let (uri, cid) = (json!(record.uri), json!(record.cid));
                reply = reply
                    .text(format!(r#"{comma}{{"uri":{uri},"cid":{cid},"value":"#))
                    .json(record.value)
                    .text("}");
            }
            match cursor {
                Some(cursor) => reply.text(r#"],"cursor":"#).string(&cursor).text("}"),
                None => reply.text("]}"),
            }
        }
    }
}

/// `{ok: false, error}`.
pub(super) fn failure(error: &str) -> Reply {
    Reply::default().text(json!({ "ok": false, "error": error }).to_string())
}

/// `{caller?, function, functionCid, requestId, timeLeftMs}`.
pub(super) fn context(context: &Context, time_left: Duration) -> Reply {
    let mut shape = json!({
        "function": context.function,
        "functionCid": context.function_cid,
        "requestId": context.request_id,
        // Runs last seconds.
        "timeLeftMs": u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(caller) = &context.caller {
        shape["caller"] = json!(caller);
    }
    Reply::default().text(shape.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Listed;

    fn written(reply: &Reply) -> String {
        let mut bytes = vec![0; reply.length()];
        reply.write(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    fn list(limit: u32, cursor: Option<&str>) -> Result<HostCall, String> {
        let (repo, collection) = ("did:plc:a".to_owned(), "app.b.c".to_owned());
        Ok(HostCall::ListCollection { repo, collection, cursor: cursor.map(str::to_owned), limit })
    }

    #[test]
    fn requests_are_read_as_the_proof_of_concept_wrote_them() {
        let record = |uri: &str| Ok(HostCall::ReadRecord { at_uri: uri.into() });
        let blob =
            |repo: Option<&str>| Ok(HostCall::ReadBlob { cid: "bafk".into(), repo: repo.map(str::to_owned) });
        assert_eq!(read_record(br#"{"atUri":"at://a/b/c"}"#), record("at://a/b/c"));
        assert_eq!(read_record(br#" { "more" : [1], "atUri" : "\u0061" } "#), record("a"));
        assert_eq!(read_blob(br#"{"cid":"bafk"}"#), blob(None));
        assert_eq!(read_blob(br#"{"cid":"bafk","repo":null}"#), blob(None));
        assert_eq!(read_blob(br#"{"cid":"bafk","repo":"did:plc:a"}"#), blob(Some("did:plc:a")));
        // An empty text is not the author.
        assert_eq!(read_blob(br#"{"cid":"bafk","repo":""}"#), blob(Some("")));
        let start = r#"{"repo":"did:plc:a","collection":"app.b.c""#;
        let cases = [
            ("}", list(25, None)),
            (r#","cursor":"x"}"#, list(25, Some("x"))),
            (r#","cursor":null,"limit":null}"#, list(25, None)),
            (r#","limit":7}"#, list(7, None)),
            (r#","limit":7.0}"#, list(7, None)),
            (r#","limit":100}"#, list(100, None)),
            (r#","limit":101}"#, list(100, None)),
            (r#","limit":1e300}"#, list(100, None)),
            (r#","limit":0}"#, list(1, None)),
            (r#","limit":-5}"#, list(1, None)),
            (r#","limit":2.5}"#, Err("the request's `limit` must be a whole number, not 2.5".into())),
        ];
        for (rest, call) in cases {
            assert_eq!(list_collection(format!("{start}{rest}").as_bytes()), call, "{rest}");
        }
    }

    #[test]
    fn requests_of_another_shape_are_refused_with_the_reason() {
        let deep = format!(r#"{{"atUri":"a","x":{}}}"#, "[".repeat(1_000));
        let cases: [(&[u8], &str); 9] = [
            (b"", "EOF while parsing a value at line 1 column 0"),
            (b"{", "EOF while parsing an object at line 1 column 1"),
            (b"{}", "missing field `atUri` at line 1 column 2"),
            (br#"{"atUri":1}"#, "invalid type: integer `1`, expected a string at line 1 column 10"),
            (br#"{"atUri":"a","atUri":"b"}"#, "duplicate field `atUri` at line 1 column 20"),
            (br#"{"atUri":"a"}x"#, "trailing characters at line 1 column 14"),
            (b"{\"atUri\":\"\xff\"}", "invalid unicode code point at line 1 column 11"),
            (br#"{"atUri":"\ud800"}"#, "unexpected end of hex escape at line 1 column 17"),
            (deep.as_bytes(), "expected value at line 1 column 1018"),
        ];
        for (request, reason) in cases {
            let error = read_record(request).unwrap_err();
            assert_eq!(error, format!("the request is not what it should be: {reason}"));
        }
        for request in [&b"null"[..], b" [\"at://a/b/c\"]", b"\"at://a/b/c\"", b"\xef\xbb\xbf{}", b"7"] {
            assert_eq!(read_record(request).unwrap_err(), "the request is not a JSON object");
        }
    }

    #[test]
    fn replies_have_the_documented_shapes() {
        let listed = |name: &str, value: &'static str| Listed {
            uri: format!("at://a/b/{name}"),
            cid: "bafy\"".into(),
            value: Bytes::from_static(value.as_bytes()),
        };
        let cases = [
            (
                reply(HostReply::Record { cid: "bafy".into(), value: Bytes::from_static(b"{\"a\":[1]}") }),
                r#"{"ok":true,"record":{"a":[1]},"cid":"bafy"}"#,
            ),
            (
                reply(HostReply::Blob {
                    mime_type: "text/\"x\"".into(),
                    bytes: Bytes::from_static(b"\xff\xfe\0"),
                }),
                r#"{"ok":true,"mimeType":"text/\"x\"","bytesBase64":"//4A"}"#,
            ),
            (
                reply(HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::from_static(b"hello") }),
                r#"{"ok":true,"mimeType":"a/b","bytesBase64":"aGVsbG8="}"#,
            ),
            (
                reply(HostReply::Blob { mime_type: "a/b".into(), bytes: Bytes::new() }),
                r#"{"ok":true,"mimeType":"a/b","bytesBase64":""}"#,
            ),
            (reply(HostReply::Listing { records: Vec::new(), cursor: None }), r#"{"ok":true,"records":[]}"#),
            (
                reply(HostReply::Listing {
                    records: vec![listed("1", "{}"), listed("2", "null")],
                    cursor: Some("\u{7}".into()),
                }),
                "{\"ok\":true,\"records\":[{\"uri\":\"at://a/b/1\",\"cid\":\"bafy\\\"\",\"value\":{}},\
                 {\"uri\":\"at://a/b/2\",\"cid\":\"bafy\\\"\",\"value\":null}],\"cursor\":\"\\u0007\"}",
            ),
            (failure("no \"x\"\n"), r#"{"error":"no \"x\"\n","ok":false}"#),
        ];
        for (reply, text) in cases {
            assert_eq!(written(&reply), text);
        }
    }

    #[test]
    fn the_context_leaves_out_a_caller_that_is_not_known() {
        let mut of = Context {
            caller: Some("did:plc:caller".into()),
            function: "at://did:plc:a/at.functions.metadata/f".into(),
            function_cid: "bafy".into(),
            request_id: "r1".into(),
            started: Duration::from_secs(1),
        };
        let read = |of: &Context| -> serde_json::Value {
            serde_json::from_str(&written(&context(of, Duration::from_micros(1_234_567)))).unwrap()
        };
        let mut expected = json!({
            "caller": "did:plc:caller", "function": "at://did:plc:a/at.functions.metadata/f",
            "functionCid": "bafy", "requestId": "r1", "timeLeftMs": 1234,
        });
        assert_eq!(read(&of), expected);
        of.caller = None;
        expected.as_object_mut().unwrap().remove("caller");
        assert_eq!(read(&of), expected);
    }
}
