//! Documents that are sound, and each fault that a check finds.

use serde_json::json;

use super::*;

#[test]
fn our_own_lexicons_are_sound() {
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/lexicons")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let document = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            assert_eq!(check(&document).faults, Vec::<String>::new(), "{}", path.display());
        }
    }
}

fn with(main: Value) -> Findings {
    check(
        &json!({"lexicon": 1, "id": "com.example.thing", "defs": {"main": main, "other": {"type": "token"}}}),
    )
}

#[test]
fn every_type_is_taken_in_its_place() {
    let fields = json!({
        "a": {"type": "null"}, "b": {"type": "boolean", "default": true}, "c": {"type": "integer", "minimum": -1, "maximum": 5, "enum": [1]},
        "d": {"type": "string", "format": "at-uri", "maxLength": 9, "maxGraphemes": 3, "knownValues": ["x"], "const": "x"},
        "e": {"type": "bytes", "maxLength": 1}, "f": {"type": "cid-link"}, "g": {"type": "blob", "accept": ["*/*"], "maxSize": 1},
        "h": {"type": "array", "items": {"type": "ref", "ref": "#other"}}, "i": {"type": "union", "refs": ["com.example.thing", "com.example.other#x"], "closed": true},
        "j": {"type": "unknown"}, "k": {"type": "object", "properties": {}},
    });
    let object = json!({"type": "object", "properties": fields, "required": ["a"], "nullable": ["b"]});
    let record = with(json!({"type": "record", "key": "literal:self", "record": object}));
    assert_eq!(record, Findings::default());
    let params =
        json!({"type": "params", "properties": {"q": {"type": "array", "items": {"type": "string"}}}});
    let method = json!({
        "type": "procedure", "description": "d", "parameters": params, "errors": [{"name": "Bad", "description": "d"}],
        "input": {"encoding": "application/json", "schema": {"type": "ref", "ref": "com.example.thing#other"}},
        "output": {"encoding": "*/*"},
    });
    assert_eq!(with(method), Findings::default());
    let stream =
        json!({"type": "subscription", "message": {"schema": {"type": "union", "refs": ["#other"]}}});
    assert_eq!(with(stream), Findings::default());
}

#[test]
fn what_breaks_a_rule_is_told_with_its_place() {
    let object = |field: Value| json!({"type": "object", "properties": {"a": field}});
    let cases = [
        (json!({"type": "thing"}), "/defs/main/type: expected one of record, query"),
        (json!({"type": "record", "key": "tid"}), "/defs/main: record needs `record`"),
        (
            json!({"type": "record", "key": "x", "record": object(json!({"type": "null"}))}),
            "/defs/main/key: expected tid",
        ),
        (
            json!({"type": "record", "key": "tid", "record": {"type": "string"}}),
            "/defs/main/record/type: expected object",
        ),
        (json!({"type": "ref", "ref": "#other"}), "/defs/main: ref is no definition of its own"),
        (object(json!({"type": "token"})), "/defs/main/properties/a: token is no type of a field"),
        (
            object(json!({"type": "string", "format": "uuid"})),
            "/defs/main/properties/a/format: there is no format uuid",
        ),
        (
            object(json!({"type": "string", "maxLength": 1.5})),
            "/defs/main/properties/a/maxLength: expected a whole number from zero",
        ),
        (
            object(json!({"type": "string", "minLength": 2, "maxLength": 1})),
            "/defs/main/properties/a: minLength is above maxLength",
        ),
        (
            object(json!({"type": "integer", "default": "1"})),
            "/defs/main/properties/a/default: expected a value of the type",
        ),
        (object(json!({"type": "array"})), "/defs/main/properties/a: array needs `items`"),
        (
            object(json!({"type": "ref", "ref": "#nope"})),
            "/defs/main/properties/a/ref: there is no definition nope here",
        ),
        (
            object(json!({"type": "ref", "ref": "nope"})),
            "/defs/main/properties/a/ref: expected #NAME, an NSID",
        ),
        (
            object(json!({"type": "union", "refs": ["com.example.thing#x"]})),
            "/defs/main/properties/a/refs/0: there is no definition x",
        ),
        (
            json!({"type": "object", "properties": {}, "required": ["b"]}),
            "/defs/main/required: b is no property",
        ),
        (json!({"type": "query", "output": {}}), "/defs/main/output/encoding: expected a media type"),
        (json!({"type": "query", "errors": [{"name": "a b"}]}), "/defs/main/errors/0/name: expected a name"),
        (
            json!({"type": "query", "parameters": {"type": "params", "properties": {"a": {"type": "blob"}}}}),
            "/a: a parameter is one of",
        ),
    ];
    for (main, expected) in cases {
        let faults = with(main).faults;
        assert!(faults.len() == 1 && faults[0].contains(expected), "{faults:?} for {expected}");
    }
    let outer = check(
        &json!({"lexicon": 2, "id": "x", "defs": {"a-b": {"type": "record", "key": "tid", "record": object(json!({"type": "null"}))}}}),
    );
    assert_eq!(outer.faults.len(), 4, "{:?}", outer.faults);
    assert_eq!(check(&json!([])).faults, ["a lexicon is a JSON object"]);
    assert_eq!(
        check(&json!({"lexicon": 1, "id": "a.b.c", "defs": {}})).faults,
        ["/defs: expected definitions by name"]
    );
}

#[test]
fn a_word_that_nobody_reads_is_a_remark() {
    let found = with(json!({"type": "string", "maxLenght": 1}));
    assert_eq!(
        (found.faults.len(), found.remarks),
        (0, vec!["/defs/main/maxLenght: no word of this type".to_owned()])
    );
}

#[test]
fn deep_nesting_is_survived() {
    let mut field = json!({"type": "null"});
    for _ in 0..100 {
        field = json!({"type": "array", "items": field});
    }
    assert!(with(field).faults[0].ends_with("nested too deep"));
}
