//! Records in words.

use super::*;

fn proved(record: Value) -> Proved {
    Proved {
        uri: "at://did:web:a.com/at.functions.metadata/k".into(),
        cid: "bafyrec".into(),
        rev: Tid::parse("3kczqm6lnjk2c").unwrap(),
        invalid: fault(&crate::repo::json_to_ipld(&record).unwrap()),
        record,
        unresolved: vec![Handle::parse("gone.com").unwrap()],
    }
}

fn described(record: Value) -> String {
    text(&proved(record))
}

fn readable(record: Value) -> Vec<String> {
    super::readable(&proved(record))
}

#[test]
fn a_record_is_told_in_words() {
    let record = json!({
        "$type": "at.functions.metadata", "name": "echo", "version": "1.0.0", "updatedAt": "then", "mode": "host-v1",
        "description": "two\nlines",
        "code": {
            "$type": "blob", "mimeType": "application/wasm", "size": 2048,
            "ref": {"$link": "bafkreidakqso2hrcofdqrzxmlr2hf7oxba57lsdgdamprna3ffjyappiha"},
        },
        "maxMemoryMb": 64, "public": false, "allowedHosts": ["at://b.com", "https://c.com", "at://gone.com/a.b.c"],
        "outputSchema": {"type": "string"}, "strictOutput": true,
    });
    let expected = "\
at://did:web:a.com/at.functions.metadata/k
  name         echo
  version      1.0.0
  description  two\\u{a}lines
  updated      then
  record       bafyrec
  verified     by the author's signature, rev 3kczqm6lnjk2c
  code         bafkreidakqso2hrcofdqrzxmlr2hf7oxba57lsdgdamprna3ffjyappiha (2.0 KiB)
  mode         host-v1
  memory       64 MiB
  time         100 ms (default)
  callers      the author alone
  may read     at://b.com
  may read     https://c.com (covers nothing: an at-uri starts with at://)
  may read     at://gone.com/a.b.c (covers nothing: the handle does not resolve)
  output schema (strictOutput: a run whose output does not meet it fails)
{
  \"type\": \"string\"
}
";
    assert_eq!(described(record), expected);
}

#[test]
fn a_broken_record_is_told_as_broken() {
    let text = described(json!({"mode": "\x1b[31m", "maxMemoryMb": "x", "public": 1, "allowedHosts": {}}));
    for expected in [
        "code      none: it cannot run",
        r"mode      \u{1b}[31m (unknown",
        "memory    \"x\": not a limit",
        "callers   `public` is neither",
        "may read  `allowedHosts` is no list",
        "runs      no. InvalidFunction: `$type` is missing",
    ] {
        assert!(text.contains(expected), "{expected} in {text}");
    }
}

#[test]
fn older_forms_of_a_blob_are_read() {
    assert_eq!(code(&json!({"ref": "bafkold", "size": 3})), "bafkold (3 bytes)");
    assert_eq!(
        code(&json!({"cid": "bafklegacy", "mimeType": "application/wasm"})),
        "bafklegacy (size not stated)"
    );
}

#[test]
fn what_may_be_read_depends_on_mode_and_entries() {
    let host = |allowed: Value| readable(json!({"mode": "host-v1", "allowedHosts": allowed}));
    let lines = host(json!(vec!["at://a.com"; 66]));
    assert_eq!(lines.len(), 65);
    assert_eq!(lines[63], "at://a.com");
    assert_eq!(lines[64], "(2 more, which no service considers)");
    assert_eq!(host(json!([])), ["nothing"]);
    assert_eq!(host(json!([7])), ["7 (covers nothing: not text)"]);
    assert_eq!(
        readable(json!({"mode": "component-v1"})),
        ["any public repo, unless the service's operator says otherwise"]
    );
    assert_eq!(readable(json!({"mode": "pure-v1"})), ["nothing: pure-v1 functions make no host calls"]);
    assert_eq!(
        readable(json!({"mode": "wasi-v1", "allowedHosts": ["at://a.com"]})),
        ["nothing: wasi-v1 functions make no host calls; its allowedHosts mean nothing"]
    );
}
