use serde_json::{Map, Value, json};

use super::*;

/// The verdict on a value: `None` if it passes, else the path and the problem.
fn verdict(schema: &Value, value: &str) -> Option<(String, String)> {
    match Schema::compile(schema).unwrap().check(value.as_bytes()) {
        Ok(()) => None,
        Err(CheckError::Mismatch(mismatch)) => Some((mismatch.path, mismatch.problem)),
        Err(other) => panic!("{schema}: {value}: {other:?}"),
    }
}

#[test]
fn the_first_mismatch_is_told_with_its_place() {
    let person = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 3},
            "age": {"type": "integer", "minimum": 0, "maximum": 150, "multipleOf": 5},
            "a/b~c": {"const": 1},
            "tags": {"items": {"enum": ["x", "y"]}, "uniqueItems": true, "maxItems": 2},
            "kind": {"type": ["string", "null"]},
            "code": {"pattern": "^[a-z]{2}$"},
            "either": {"oneOf": [{"type": "number"}, {"minimum": 5}]},
            "both": {"anyOf": [{"const": 1}, {"const": 2}]},
        },
        "additionalProperties": false,
    });
    let cases = [
        (r#"{"name":"a","age":5,"tags":["x","y"],"code":"ab","a/b~c":1.0}"#, None),
        ("[]", Some(("", "is not of the type object"))),
        ("{}", Some(("", "lacks the member \"name\""))),
        (r#"{"name":1}"#, Some(("/name", "is not of the type string"))),
        (r#"{"name":""}"#, Some(("/name", "has fewer than 1 characters"))),
        (r#"{"name":"ééé"}"#, None),
        (r#"{"name":"éééé"}"#, Some(("/name", "has more than 3 characters"))),
        (r#"{"name":"a","age":-5}"#, Some(("/age", "is less than 0"))),
        (r#"{"name":"a","age":155}"#, Some(("/age", "is more than 150"))),
        (r#"{"name":"a","age":7}"#, Some(("/age", "is no multiple of 5"))),
        (r#"{"name":"a","age":5.5}"#, Some(("/age", "is not of the type integer"))),
        (r#"{"name":"a","a/b~c":2}"#, Some(("/a~1b~0c", "is not the value of `const`"))),
        (r#"{"name":"a","tags":["x","z"]}"#, Some(("/tags/1", "is not one of the values of `enum`"))),
        (r#"{"name":"a","tags":["x","x"]}"#, Some(("/tags", "has two equal items"))),
        (r#"{"name":"a","kind":1}"#, Some(("/kind", "is of none of the types null, string"))),
        (r#"{"name":"a","code":"abc"}"#, Some(("/code", "does not match the pattern \"^[a-z]{2}$\""))),
        (r#"{"name":"a","either":7}"#, Some(("/either", "meets more than one of the schemas of `oneOf`"))),
        (r#"{"name":"a","both":3}"#, Some(("/both", "meets none of the schemas of `anyOf`"))),
        (r#"{"name":"a","more":1}"#, Some(("", "has the member \"more\", which the schema does not know"))),
    ];
    for (value, expected) in cases {
        let expected = expected.map(|(path, problem)| (path.to_owned(), problem.to_owned()));
        assert_eq!(verdict(&person, value), expected, "{value}");
    }
}

#[test]
fn each_draft_has_its_own_meaning() {
    let draft = |uri: &str| json!({"$schema": uri});
    let with = |mut schema: Value, more: Value| {
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    let tuple = json!({"items": [{"type": "string"}], "additionalItems": false});
    let prefix = json!({"prefixItems": [{"type": "string"}], "items": false});
    let bound = json!({"maximum": 5, "exclusiveMaximum": true});
    let dependent = json!({"dependentRequired": {"a": ["b"]}});
    let cases = [
        (with(draft("http://json-schema.org/draft-04/schema#"), tuple.clone()), "[\"a\",1]", false),
        (with(draft("http://json-schema.org/draft-04/schema#"), bound), "5", false),
        (with(draft("http://json-schema.org/draft-06/schema#"), tuple.clone()), "[\"a\",1]", false),
        (with(draft("http://json-schema.org/draft-07/schema#"), tuple.clone()), "[\"a\",1]", false),
        (with(draft("http://json-schema.org/draft-07/schema"), dependent.clone()), "{\"a\":1}", true),
        (with(draft("https://json-schema.org/draft/2019-09/schema"), tuple), "[\"a\",1]", false),
        (with(draft("https://json-schema.org/draft/2019-09/schema"), dependent.clone()), "{\"a\":1}", false),
        (with(draft("https://json-schema.org/draft/2020-12/schema"), prefix.clone()), "[\"a\",1]", false),
        (prefix, "[\"a\",1]", false),
        (dependent, "{\"a\":1}", false),
        // Draft 4 tells integers by how they are written, later ones by their value.
        (json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}), "1.0", false),
        (json!({"type": "integer"}), "1.0", true),
    ];
    for (schema, value, passes) in cases {
        assert_eq!(verdict(&schema, value).is_none(), passes, "{schema} {value}");
    }
}

#[test]
fn references_within_the_schema_are_followed() {
    let list = |reference: &str| json!({"type": "array", "items": {"$ref": reference}});
    let mut named = list("#top");
    named["$anchor"] = json!("top");
    let mut by_id = list("https://example.com/list");
    by_id["$id"] = json!("https://example.com/list");
    let mut old = list("#top");
    old["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    old["definitions"] = json!({"x": {"$id": "#top", "type": "array"}});
    let dynamic = json!({"$dynamicAnchor": "node", "type": "array", "items": {"$dynamicRef": "#node"}});
    let recursive = json!({
        "$schema": "https://json-schema.org/draft/2019-09/schema",
        "$recursiveAnchor": true, "type": "array", "items": {"$recursiveRef": "#"},
    });
    let defs = json!({"items": {"$ref": "#/$defs/a%20b~1c"}, "$defs": {"a b/c": {"type": "array"}}});
    for schema in [list("#"), named, by_id, old, dynamic, recursive, defs] {
        assert_eq!(verdict(&schema, "[[],[]]"), None, "{schema}");
        let (path, problem) = verdict(&schema, "[[],7]").unwrap();
        assert_eq!((path.as_str(), problem.as_str()), ("/1", "is not of the type array"), "{schema}");
    }
}

#[test]
fn what_only_annotates_is_not_asserted() {
    for draft in [
        "draft-04/schema#",
        "draft-06/schema#",
        "draft-07/schema#",
        "draft/2019-09/schema",
        "draft/2020-12/schema",
    ] {
        let schema = json!({
            "$schema": format!("http://json-schema.org/{draft}"),
            "format": "date-time", "contentEncoding": "base64", "contentMediaType": "application/json",
        });
        assert_eq!(verdict(&schema, "\"no date, no base64!\""), None, "{draft}");
    }
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_reason() {
    let text = |text: &str| text.to_owned();
    let doubling = |levels: usize| {
        let step = |level: usize| {
            let reference = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            (format!("d{level}"), json!({"allOf": [reference, reference]}))
        };
        let mut defs: Map<String, Value> = (0..levels).map(step).collect();
        defs.insert(format!("d{levels}"), json!({"type": "string"}));
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    };
    let nested =
        |levels: usize, keyword: &str| (0..levels).fold(json!({}), |inner, _| json!({keyword: inner}));
    let long_name = json!({"properties": {"k".repeat(30_000): {"properties":
        (0..1000).map(|i| (format!("p{i}"), json!({}))).collect::<Map<_, _>>()}}});
    let cases = [
        (
            json!({"$schema": "https://example.com/own"}),
            SchemaError::Dialect(text("https://example.com/own")),
        ),
        (json!({"$schema": 7}), SchemaError::Dialect(text("7"))),
        (
            json!({"$defs": {"a": {"$schema": "http://json-schema.org/draft-07/schema#"}}}),
            SchemaError::MixedDialects(text("/$defs/a")),
        ),
        (json!({"$defs": {"a": {"$id": "https://example.com/a"}}}), SchemaError::Nested(text("/$defs/a"))),
        (
            json!({"$id": "https://json-schema.org/draft/2020-12/schema"}),
            SchemaError::Reserved(text("https://json-schema.org/draft/2020-12/schema")),
        ),
        (json!({"$anchor": "a", "not": {"$anchor": "a"}}), SchemaError::Anchor(text("a"))),
        (json!({"$ref": "#/$defs/none"}), SchemaError::Reference(text("#/$defs/none"))),
        (json!({"$ref": "#none"}), SchemaError::Reference(text("#none"))),
        (json!({"$ref": "other.json"}), SchemaError::Reference(text("other.json"))),
        (
            json!({"items": {"$ref": "http://127.0.0.1:1/a"}}),
            SchemaError::Reference(text("http://127.0.0.1:1/a")),
        ),
        (
            json!({"items": {"$ref": "file:///etc/passwd"}}),
            SchemaError::Reference(text("file:///etc/passwd")),
        ),
        (
            json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}),
            SchemaError::Reference(text("https://json-schema.org/draft/2020-12/schema")),
        ),
        (json!({"$ref": "#/const", "const": {"type": "string"}}), SchemaError::Reference(text("#/const"))),
        (json!({"$ref": "#"}), SchemaError::Circular(text(""))),
        (json!({"allOf": [{"not": {"$ref": "#/allOf/0"}}]}), SchemaError::Circular(text("/allOf/0"))),
        (json!({"dependentSchemas": {"a": {"$ref": "#"}}}), SchemaError::Circular(text(""))),
        (json!({"pattern": "(?=a)b"}), SchemaError::Pattern(text("(?=a)b"))),
        (json!({"pattern": "(a)\\1"}), SchemaError::Pattern(text("(a)\\1"))),
        (json!({"pattern": "("}), SchemaError::Pattern(text("("))),
        (json!({"patternProperties": {"(?<!a)b": {}}}), SchemaError::Pattern(text("(?<!a)b"))),
        (json!({"pattern": "(a{1,100}){1,100}"}), SchemaError::Pattern(text("(a{1,100}){1,100}"))),
        (json!({"pattern": "a".repeat(5000)}), SchemaError::TooManyPatterns { max: 64, max_bytes: 4096 }),
        (
            json!({"patternProperties": (0..65).map(|i| (format!("^{i}"), json!({}))).collect::<Map<_, _>>()}),
            SchemaError::TooManyPatterns { max: 64, max_bytes: 4096 },
        ),
        (json!({"items": {"multipleOf": 0.5}}), SchemaError::Fraction(text("/items/multipleOf"))),
        (json!({"type": "text"}), SchemaError::Invalid { path: text("/type"), keyword: text("anyOf") }),
        (
            json!({"minLength": -1}),
            SchemaError::Invalid { path: text("/minLength"), keyword: text("minimum") },
        ),
        (doubling(13), SchemaError::TooCostly { max: 16_384 }),
        (doubling(40), SchemaError::TooCostly { max: 16_384 }),
        (nested(97, "not"), SchemaError::TooDeep { max: 96 }),
        (nested(97, "items"), SchemaError::TooDeep { max: 96 }),
        (json!({"description": "x".repeat(65_536)}), SchemaError::TooLarge { bytes: 65_554, max: 65_536 }),
        (long_name, SchemaError::TooManyPaths { max: 2 * 1024 * 1024 }),
    ];
    for (schema, expected) in cases {
        let shown: String = schema.to_string().chars().take(100).collect();
        assert_eq!(Schema::compile(&schema).map(|_| ()), Err(expected), "{shown}");
    }
}

#[test]
fn what_looks_like_a_reference_in_data_or_in_names_is_none() {
    let schema = json!({
        "properties": {"$ref": {"type": "string"}, "not": {"$ref": "#/$defs/a"}, "$id": {"type": "string"}},
        "const": {"$ref": "https://example.com/x", "$id": "x", "not": {"$ref": "#"}},
        "default": {"$ref": "#/nowhere"},
        "$defs": {"a": {}},
    });
    assert_eq!(verdict(&schema, r##"{"$ref":"https://example.com/x","$id":"x","not":{"$ref":"#"}}"##), None);
}

#[test]
fn numbers_compare_by_their_value() {
    let cases = [
        (json!({"const": 100}), "1e2", true),
        (json!({"const": 0}), "-0.0", true),
        (json!({"enum": [1, "a"]}), "1.0", true),
        (json!({"const": 9_007_199_254_740_993u64}), "9007199254740993", true),
        (json!({"const": 9_007_199_254_740_993u64}), "9007199254740992", false),
        (json!({"maximum": i64::MAX}), "18446744073709551615", false),
        (json!({"maximum": i64::MAX}), "1e308", false),
        (json!({"type": "integer"}), "1e308", true),
        (json!({"type": "integer"}), "123456789012345678901234567890", true),
        (json!({"uniqueItems": true}), "[1,1.0]", false),
        (json!({"uniqueItems": true}), "[18446744073709551615,18446744073709551614]", true),
        (json!({"uniqueItems": true}), "[1e308,1e307,-0.0,false,\"0\",null,[],{}]", true),
        (json!({"uniqueItems": true}), "[0,-0.0]", false),
        (json!({"uniqueItems": true}), r#"[{"a":[1,2],"b":2},{"b":2.0,"a":[1,2]}]"#, false),
        (json!({"uniqueItems": true}), "[[],[[]],[[[]]],[[],[]]]", true),
    ];
    for (schema, value, passes) in cases {
        assert_eq!(verdict(&schema, value).is_none(), passes, "{schema} {value}");
    }
}

#[test]
fn names_of_members_are_checked_as_texts() {
    let schema = json!({"propertyNames": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 3, "not": {"const": "no"}}});
    assert_eq!(verdict(&schema, r#"{"abc":1}"#), None);
    for (value, problem) in [
        (r#"{"ab1":1}"#, "has a member whose name does not match the pattern \"^[a-z]+$\""),
        (r#"{"abcd":1}"#, "has a member whose name has more than 3 characters"),
        (r#"{"no":1}"#, "has a member whose name does not meet `not`"),
    ] {
        assert_eq!(verdict(&schema, value), Some((String::new(), problem.to_owned())), "{value}");
    }
}

#[test]
fn a_long_path_is_cut_between_its_tokens() {
    let schema = json!({"additionalProperties": {"additionalProperties": {"type": "string"}}});
    let value = format!("{{\"{}\":{{\"{}\":1}}}}", "k".repeat(300), "é".repeat(300));
    assert_eq!(verdict(&schema, &value).unwrap().0, format!("/{}", "k".repeat(300)));
}

#[test]
fn a_brief_check_leaves_what_is_large_to_the_full_one() {
    let schema = Schema::compile(&json!({"items": {"type": "integer"}})).unwrap();
    let large = format!("[{}0]", "0,".repeat(100_000));
    let mut deep = "[".repeat(100);
    deep.push_str(&"]".repeat(100));
    let recursive = Schema::compile(&json!({"items": {"$ref": "#"}})).unwrap();
    assert_eq!(schema.check_briefly(b"[1,2]"), Some(Ok(())));
    assert!(matches!(schema.check_briefly(b"[1,\"2\"]"), Some(Err(CheckError::Mismatch(_)))));
    assert_eq!(schema.check_briefly(b"1e999"), Some(Err(CheckError::Unreadable)));
    assert_eq!(schema.check_briefly(large.as_bytes()), None);
    assert_eq!(schema.check(large.as_bytes()), Ok(()));
    assert_eq!(recursive.check_briefly(deep.as_bytes()), None);
    assert_eq!(recursive.check(deep.as_bytes()), Ok(()));
}

mod hostile;
mod random;

/// More than a machine has addresses for, so that no thread ever gets it.
const NO_STACK: usize = 1 << 62;

#[test]
fn a_machine_without_a_thread_says_nothing_about_schema_or_value() {
    let schema = json!({"type": "array", "items": {"$ref": "#"}});
    assert_eq!(Schema::compile_on(NO_STACK, &schema).err(), Some(SchemaError::NoThread));

    let schema = Schema::compile(&schema).unwrap();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let without = Effort { stack_bytes: NO_STACK, ..FULL };
    for (depth, checked) in [(5, Ok(())), (100, Err(CheckError::NoThread))] {
        let json = nested(depth);
        assert_eq!(schema.measure(json.as_bytes(), without).map(|_| ()), checked, "{depth}");
        assert_eq!(schema.check(json.as_bytes()), Ok(()), "{depth}");
    }
}
