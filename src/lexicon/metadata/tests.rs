use ipld_core::cid::Cid;
use ipld_core::cid::multibase::Base;
use ipld_core::cid::multihash::Multihash;
use serde_json::json;

use super::*;
use crate::repo::{blob_cid, json_to_ipld, record_cid};

fn wasm() -> Cid {
    blob_cid(b"\0asm")
}

fn map<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    Ipld::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: &str) -> Ipld {
    Ipld::String(text.to_owned())
}

/// A record with no more than it needs.
fn least() -> Ipld {
    map([
        ("$type", text("at.functions.metadata")),
        ("name", text("adder")),
        ("version", text("1.0.0")),
        ("mode", text("pure-v1")),
        ("code", map([("ref", Ipld::Link(wasm()))])),
    ])
}

fn with(field: &str, value: Ipld) -> Ipld {
    let Ipld::Map(mut map) = least() else { panic!("a map") };
    map.insert(field.to_owned(), value);
    Ipld::Map(map)
}

fn without(field: &str) -> Ipld {
    let Ipld::Map(mut map) = least() else { panic!("a map") };
    map.remove(field);
    Ipld::Map(map)
}

fn code<const N: usize>(fields: [(&str, Ipld); N]) -> Ipld {
    with("code", map(fields))
}

fn code_ref(reference: &str) -> Ipld {
    code([("ref", text(reference))])
}

#[test]
fn a_record_as_tools_publish_it_is_read_whole() {
    let record = json!({
        "$type": "at.functions.metadata",
        "name": "adder",
        "version": "1.2.3",
        "updatedAt": "2026-08-08T00:00:00.000Z",
        "description": "adds",
        "mode": "pure-v1",
        "code": {
            "$type": "blob",
            "ref": { "$link": wasm().to_string() },
            "mimeType": "application/wasm",
            "size": 4,
        },
        "entrypoint": "run",
        "inputEncoding": "application/json",
        "outputEncoding": "application/json",
        "maxMemoryMb": 64,
        "maxDurationMs": 5000,
        "public": false,
        "allowedHosts": ["at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.a", "anything"],
        "inputSchema": { "type": "object", "$defs": { "a": { "$ref": "#/$defs/b" } } },
        "outputSchema": {},
        "strictOutput": true,
    });
    let metadata = FunctionMetadata::from_record(&json_to_ipld(&record).unwrap()).unwrap();
    assert_eq!(
        metadata,
        FunctionMetadata {
            name: "adder".to_owned(),
            version: "1.2.3".to_owned(),
            description: Some("adds".to_owned()),
            mode: Mode::PureV1,
            code: CodeRef { cid: wasm(), size: Some(4) },
            max_memory_mb: 64,
            max_duration_ms: 5000,
            public: false,
            allowed_hosts: Some(vec![
                "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.a".to_owned(),
                "anything".to_owned(),
            ]),
            input_schema: Some(record["inputSchema"].clone()),
            output_schema: Some(json!({})),
            strict_output: true,
            updated_at: Some("2026-08-08T00:00:00.000Z".to_owned()),
        }
    );
}

/// The constants too may be absent, as records of the first implementation lack them.
#[test]
fn what_is_absent_has_its_default() {
    assert_eq!(
        FunctionMetadata::from_record(&least()).unwrap(),
        FunctionMetadata {
            name: "adder".to_owned(),
            version: "1.0.0".to_owned(),
            description: None,
            mode: Mode::PureV1,
            code: CodeRef { cid: wasm(), size: None },
            max_memory_mb: 32,
            max_duration_ms: 100,
            public: true,
            allowed_hosts: None,
            input_schema: None,
            output_schema: None,
            strict_output: false,
            updated_at: None,
        }
    );
}

#[test]
fn records_at_the_edge_of_a_rule_are_taken() {
    let records = [
        with("name", text(&"n".repeat(128))),
        with("name", text("")),
        with("name", text(&"é".repeat(64))),
        with("version", text("not semver at all")),
        with("version", text(&"v".repeat(32))),
        with("updatedAt", text("yesterday")),
        with("updatedAt", text(&"u".repeat(64))),
        with("description", text(&"d".repeat(2048))),
        with("maxMemoryMb", Ipld::Integer(1)),
        with("maxMemoryMb", Ipld::Integer(256)),
        with("maxDurationMs", Ipld::Integer(1)),
        with("maxDurationMs", Ipld::Integer(5000)),
        with("allowedHosts", Ipld::List(vec![])),
        with("inputSchema", map([])),
        with("unknown", Ipld::Null),
        with("unknown", Ipld::Float(1.5)),
        with("$unknown", Ipld::Bytes(vec![])),
        with("entrypoint", text("run")),
    ];
    for record in records {
        assert!(FunctionMetadata::from_record(&record).is_ok(), "{record:?}");
    }
    let none_allowed = FunctionMetadata::from_record(&with("allowedHosts", Ipld::List(vec![]))).unwrap();
    assert_eq!(none_allowed.allowed_hosts, Some(vec![]));
}

#[test]
fn the_blob_is_found_in_every_form_that_was_ever_written() {
    let cid = wasm();
    let spelled = cid.to_string();
    let mime = ("mimeType", text("application/wasm"));
    let cases = [
        (code([("$type", text("blob")), ("ref", Ipld::Link(cid)), ("size", Ipld::Integer(9))]), Some(9)),
        (code([("ref", Ipld::Link(cid)), ("size", Ipld::Integer(i64::MAX.into()))]), Some(i64::MAX as u64)),
        (code([("ref", text(&spelled)), mime.clone()]), None),
        (code([("ref", text(&format!(" {spelled}\n")))]), None),
        (code([("cid", text(&spelled)), mime.clone()]), None),
        (code([("cid", Ipld::Link(cid))]), None),
        (code([("ref", Ipld::Link(cid)), ("cid", text(&spelled))]), None),
        (code([("ref", Ipld::Link(cid)), ("unknown", Ipld::Null)]), None),
    ];
    for (record, size) in cases {
        let metadata = FunctionMetadata::from_record(&record).unwrap();
        assert_eq!(metadata.code, CodeRef { cid, size }, "{record:?}");
    }
}

#[test]
fn bad_records_are_refused_with_the_field_and_the_problem() {
    use Problem::*;
    let range = |min, max, found| OutOfRange { min, max, found };
    let long = |bytes, max| TooLong { bytes, max };
    let schema_with_float = map([("properties", Ipld::List(vec![map([("multipleOf", Ipld::Float(0.1))])]))]);
    let cases = [
        (Ipld::Null, "record", Kind("an object")),
        (Ipld::List(vec![least()]), "record", Kind("an object")),
        (without("$type"), "$type", Missing),
        (with("$type", Ipld::Null), "$type", Null),
        (with("$type", Ipld::Integer(1)), "$type", NotConstant("at.functions.metadata")),
        (with("$type", text("at.functions.workflow")), "$type", NotConstant("at.functions.metadata")),
        (with("$type", text("at.functions.metadata#main")), "$type", NotConstant("at.functions.metadata")),
        (without("name"), "name", Missing),
        (with("name", Ipld::Null), "name", Null),
        (with("name", Ipld::Integer(1)), "name", Kind("a text")),
        (with("name", Ipld::Bytes(b"adder".to_vec())), "name", Kind("a text")),
        (with("name", text(&"n".repeat(129))), "name", long(129, 128)),
        // 65 characters, of two bytes each.
        (with("name", text(&"é".repeat(65))), "name", long(130, 128)),
        (without("version"), "version", Missing),
        (with("version", Ipld::Integer(1)), "version", Kind("a text")),
        (with("version", text(&"v".repeat(33))), "version", long(33, 32)),
        (with("updatedAt", Ipld::Null), "updatedAt", Null),
        (with("updatedAt", Ipld::Integer(0)), "updatedAt", Kind("a text")),
        (with("updatedAt", text(&"u".repeat(65))), "updatedAt", long(65, 64)),
        (with("description", Ipld::Null), "description", Null),
        (with("description", Ipld::List(vec![])), "description", Kind("a text")),
        (with("description", text(&"d".repeat(2049))), "description", long(2049, 2048)),
        (without("mode"), "mode", Missing),
        (with("mode", Ipld::Bool(true)), "mode", Kind("a text")),
        (with("mode", text("")), "mode", UnknownMode(String::new())),
        (with("mode", text("pure-v2")), "mode", UnknownMode("pure-v2".to_owned())),
        (with("mode", text("PURE-V1")), "mode", UnknownMode("PURE-V1".to_owned())),
        (with("mode", text(&"m".repeat(500))), "mode", UnknownMode(format!("{}…", "m".repeat(64)))),
        (with("entrypoint", text("main")), "entrypoint", NotConstant("run")),
        (with("entrypoint", Ipld::Null), "entrypoint", Null),
        (with("inputEncoding", text("application/cbor")), "inputEncoding", NotConstant("application/json")),
        (with("outputEncoding", Ipld::Integer(1)), "outputEncoding", NotConstant("application/json")),
        (with("maxMemoryMb", Ipld::Integer(0)), "maxMemoryMb", range(1, 256, 0)),
        (with("maxMemoryMb", Ipld::Integer(257)), "maxMemoryMb", range(1, 256, 257)),
        (with("maxMemoryMb", Ipld::Integer(-1)), "maxMemoryMb", range(1, 256, -1)),
        (with("maxMemoryMb", Ipld::Integer(i128::MAX)), "maxMemoryMb", range(1, 256, i128::MAX)),
        (with("maxMemoryMb", Ipld::Float(32.0)), "maxMemoryMb", Float),
        (with("maxMemoryMb", text("32")), "maxMemoryMb", Kind("an integer")),
        (with("maxMemoryMb", Ipld::Null), "maxMemoryMb", Null),
        (with("maxDurationMs", Ipld::Integer(0)), "maxDurationMs", range(1, 5000, 0)),
        (with("maxDurationMs", Ipld::Integer(5001)), "maxDurationMs", range(1, 5000, 5001)),
        (with("maxDurationMs", Ipld::Integer(65_636)), "maxDurationMs", range(1, 5000, 65_636)),
        (with("maxDurationMs", Ipld::Float(1.5)), "maxDurationMs", Float),
        (with("public", text("true")), "public", Kind("true or false")),
        (with("public", Ipld::Integer(1)), "public", Kind("true or false")),
        (with("public", Ipld::Null), "public", Null),
        (with("strictOutput", Ipld::Integer(0)), "strictOutput", Kind("true or false")),
        (with("strictOutput", Ipld::Null), "strictOutput", Null),
        (with("allowedHosts", text("at://a.com")), "allowedHosts", Kind("an array of texts")),
        (with("allowedHosts", Ipld::List(vec![Ipld::Null])), "allowedHosts", Kind("an array of texts")),
        (
            with("allowedHosts", Ipld::List(vec![text("a"), Ipld::Integer(1)])),
            "allowedHosts",
            Kind("an array of texts"),
        ),
        (with("allowedHosts", Ipld::Null), "allowedHosts", Null),
        (with("inputSchema", Ipld::Bool(true)), "inputSchema", Kind("an object")),
        (with("inputSchema", text("{}")), "inputSchema", Kind("an object")),
        (with("inputSchema", Ipld::List(vec![])), "inputSchema", Kind("an object")),
        (with("inputSchema", Ipld::Link(wasm())), "inputSchema", Kind("an object")),
        (with("inputSchema", Ipld::Null), "inputSchema", Null),
        (with("inputSchema", schema_with_float.clone()), "inputSchema", Float),
        (with("outputSchema", Ipld::Integer(1)), "outputSchema", Kind("an object")),
        (with("outputSchema", schema_with_float), "outputSchema", Float),
    ];
    for (record, field, problem) in cases {
        let error = FunctionMetadata::from_record(&record).unwrap_err();
        assert_eq!(error, InvalidMetadata::new(field, problem), "{record:?}");
    }
}

#[test]
fn code_that_names_no_module_is_refused_with_the_reason() {
    use Problem::*;
    let wrap = |codec, hash, digest: &[u8]| Cid::new_v1(codec, Multihash::wrap(hash, digest).unwrap());
    let spelled = wasm().to_string();
    let base58 = wasm().to_string_of_base(Base::Base58Btc).unwrap();
    let zeros = wrap(0x55, 0x12, &[0; 32]);
    let blake3 = wrap(0x55, 0x1e, &[7; 32]);
    let short = wrap(0x55, 0x12, &[7; 20]);
    let record = record_cid(b"\xa0");
    let link = |cid| code([("ref", Ipld::Link(cid))]);
    let placeholder = |text: &str| Placeholder(text.to_owned());
    let not_a_blob = |cid: Cid| NotABlob(invalid::clip(&cid.to_string()));
    let cases = [
        (without("code"), "code", Missing),
        (with("code", Ipld::Null), "code", Null),
        (with("code", text(&spelled)), "code", Kind("a blob")),
        (with("code", Ipld::Link(wasm())), "code", Kind("a blob")),
        (with("code", Ipld::Bytes(b"\0asm".to_vec())), "code", Kind("a blob")),
        (code([]), "code.ref", Missing),
        (code([("$type", text("blob"))]), "code.ref", Missing),
        (code([("$type", text("file")), ("ref", Ipld::Link(wasm()))]), "code.$type", NotConstant("blob")),
        (
            code([("mimeType", text("text/plain")), ("ref", Ipld::Link(wasm()))]),
            "code.mimeType",
            NotConstant("application/wasm"),
        ),
        (
            code([("mimeType", Ipld::Null), ("ref", Ipld::Link(wasm()))]),
            "code.mimeType",
            NotConstant("application/wasm"),
        ),
        (code([("ref", Ipld::Null)]), "code.ref", Null),
        (code([("ref", Ipld::Integer(1))]), "code.ref", Kind("a link to a blob")),
        (code([("ref", map([("$link", text(&spelled))]))]), "code.ref", Kind("a link to a blob")),
        (code([("cid", Ipld::Bytes(wasm().to_bytes()))]), "code.cid", Kind("a link to a blob")),
        (code([("cid", Ipld::Null), ("ref", Ipld::Link(wasm()))]), "code.cid", Null),
        (code([("cid", Ipld::Link(blob_cid(b"other"))), ("ref", Ipld::Link(wasm()))]), "code", TwoBlobs),
        (code([("ref", Ipld::Link(wasm())), ("size", Ipld::Integer(0))]), "code.size", EmptyBlob),
        (
            code([("ref", Ipld::Link(wasm())), ("size", Ipld::Integer(-1))]),
            "code.size",
            Kind("a positive integer"),
        ),
        (
            code([("ref", Ipld::Link(wasm())), ("size", Ipld::Integer(i128::MAX))]),
            "code.size",
            Kind("a positive integer"),
        ),
        (code([("ref", Ipld::Link(wasm())), ("size", text("4"))]), "code.size", Kind("a positive integer")),
        (code([("ref", Ipld::Link(wasm())), ("size", Ipld::Float(4.0))]), "code.size", Float),
        (code([("ref", Ipld::Link(wasm())), ("size", Ipld::Null)]), "code.size", Null),
        (link(blob_cid(b"")), "code.ref", EmptyBlob),
        (code_ref(&blob_cid(b"").to_string()), "code.ref", EmptyBlob),
        (code([("cid", text(&blob_cid(b"").to_string()))]), "code.cid", EmptyBlob),
        (link(record), "code.ref", not_a_blob(record)),
        (code_ref(&record.to_string()), "code.ref", not_a_blob(record)),
        (link(blake3), "code.ref", not_a_blob(blake3)),
        (code_ref(&blake3.to_string()), "code.ref", not_a_blob(blake3)),
        (link(short), "code.ref", not_a_blob(short)),
        (code_ref(&base58), "code.ref", NotABlob(base58.clone())),
        (link(zeros), "code.ref", placeholder(&zeros.to_string())),
        (code_ref(&zeros.to_string()), "code.ref", placeholder(&zeros.to_string())),
        (code_ref(""), "code.ref", placeholder("")),
        (code_ref("bafk..."), "code.ref", placeholder("bafk...")),
        (code_ref("bafkreiPLACEHOLDER"), "code.ref", placeholder("bafkreiPLACEHOLDER")),
        (code_ref("bafkrei"), "code.ref", NotACid("bafkrei".to_owned())),
        (
            code_ref("https://example.com/a.wasm"),
            "code.ref",
            NotACid("https://example.com/a.wasm".to_owned()),
        ),
        (code_ref(&spelled[..58]), "code.ref", NotACid(spelled[..58].to_owned())),
        // Decoding base58 takes the square of its length.
        (code_ref(&"z".repeat(900_000)), "code.ref", NotACid(format!("{}…", "z".repeat(64)))),
    ];
    for (record, field, problem) in cases {
        let error = FunctionMetadata::from_record(&record).unwrap_err();
        let record = format!("{record:?}");
        assert_eq!(error, InvalidMetadata::new(field, problem), "{}", &record[..record.len().min(300)]);
    }
}

#[test]
fn every_mode_is_read() {
    for name in ["pure-v1", "host-v1", "component-v1", "wasi-v1", "cstr-v1"] {
        let metadata = FunctionMetadata::from_record(&with("mode", text(name))).unwrap();
        assert_eq!(metadata.mode.as_str(), name);
    }
}

#[test]
fn messages_name_the_field_and_say_what_to_do() {
    let message = |record: Ipld| FunctionMetadata::from_record(&record).unwrap_err().to_string();
    let offered = Mode::ALL.map(Mode::as_str).join(", ");
    let cases = [
        (without("name"), "`name` is missing; add it to the record and publish it again".to_owned()),
        (with("public", Ipld::Null), "`public` is null; leave the field out instead".to_owned()),
        (with("maxMemoryMb", Ipld::Integer(512)), "`maxMemoryMb` is 512, and must be 1 to 256".to_owned()),
        (
            with("mode", text("\"\n")),
            format!("`mode` is \"\\\"\\n\", an unknown mode; use one of: {offered}"),
        ),
        (
            code_ref("bafk..."),
            "`code.ref` is the placeholder \"bafk...\"; upload the compiled module and put its blob here"
                .to_owned(),
        ),
        (
            with("version", text(&"v".repeat(40))),
            "`version` has 40 bytes of UTF-8, and may have 32; shorten it".to_owned(),
        ),
    ];
    for (record, expected) in cases {
        assert_eq!(message(record), expected);
    }
}
