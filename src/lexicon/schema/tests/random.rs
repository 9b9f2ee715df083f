//! Properties that hold for any schema and value.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::*;

/// Values, small and shaped like what schemas speak of.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        prop_oneof![Just(1.0), Just(0.5), Just(1e308), Just(-0.0)].prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        "[ab]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[ab]{0,2}", inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn members(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[ab]{0,2}", inner, 0..3)
        .prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Schemas of all applicators, references into each other included, not all of them usable.
fn schema() -> impl Strategy<Value = Value> {
    let reference =
        prop::sample::select(vec!["#", "#/$defs/a", "#/$defs/b", "#a", "#/items", "#/allOf/0", "x"]);
    let pattern = prop::sample::select(vec!["^a", "b$", "(a|b)*a", "[ab]{2}", "(?=a)", "\\w+", "("]);
    let size = 0_u64..4;
    let kind =
        prop::sample::select(vec!["object", "array", "string", "integer", "number", "null", "boolean"]);
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        reference.prop_map(|to| json!({"$ref": to})),
        kind.prop_map(|kind| json!({"type": kind})),
        pattern.prop_map(|pattern| json!({"pattern": pattern})),
        value().prop_map(|value| json!({"const": value})),
        prop::collection::vec(value(), 1..4).prop_map(|values| json!({"enum": values})),
        (size.clone(), size.clone()).prop_map(|(least, most)| {
            json!({"minItems": least, "maxLength": most, "maximum": most, "minProperties": least, "uniqueItems": true})
        }),
        prop::collection::vec("[ab]{0,2}", 0..3).prop_map(|mut names| {
            names.sort();
            names.dedup();
            json!({"required": names, "$anchor": "a"})
        }),
    ];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 1..4);
        let one = prop::sample::select(vec![
            "not",
            "if",
            "then",
            "else",
            "items",
            "contains",
            "additionalProperties",
            "propertyNames",
            "unevaluatedProperties",
            "unevaluatedItems",
        ]);
        let many = prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]);
        let named =
            prop::sample::select(vec!["properties", "patternProperties", "dependentSchemas", "$defs"]);
        let part = prop_oneof![
            (one, inner.clone()).prop_map(|(keyword, inner)| (keyword, inner)),
            (many, list).prop_map(|(keyword, list)| (keyword, Value::from(list))),
            (named, members(inner)).prop_map(|(keyword, members)| (keyword, members)),
        ];
        prop::collection::vec(part, 1..4).prop_map(|parts| {
            Value::Object(
                parts.into_iter().map(|(keyword, part)| (keyword.to_owned(), part)).collect::<Map<_, _>>(),
            )
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// The meter changes costs, not verdicts: the library says the same of the bare value.
    #[test]
    fn a_verdict_is_that_of_the_bare_library(schema in schema(), value in value()) {
        if let Ok(compiled) = Schema::compile(&schema) {
            let bare = jsonschema::options()
                .offline()
                .should_validate_formats(false)
                .with_pattern_options(PatternOptions::regex())
                .build(&schema)
                .unwrap();
            let checked = compiled.measure(value.to_string().as_bytes(), FULL);
            prop_assert_eq!(checked.is_ok(), bare.is_valid(&value), "{:?}", checked);
            prop_assert!(!matches!(checked, Err(CheckError::TooCostly | CheckError::Unreadable)));
        }
    }

    /// Whatever the budget, the cost stays within it, and a verdict that is given is the true one.
    #[test]
    fn no_check_costs_more_than_its_budget(schema in schema(), value in value(), budget in 0_u64..2000) {
        if let Ok(compiled) = Schema::compile(&schema) {
            let text = value.to_string();
            match compiled.measure(text.as_bytes(), Effort { budget, ..FULL }) {
                Ok(cost) => {
                    prop_assert!(cost <= budget);
                    prop_assert_eq!(compiled.check(text.as_bytes()), Ok(()));
                }
                Err(CheckError::Mismatch(_)) => prop_assert!(compiled.check(text.as_bytes()).is_err()),
                Err(error) => prop_assert_eq!(error, CheckError::TooCostly),
            }
        }
    }

    /// A mismatch names a place that is there.
    #[test]
    fn a_path_leads_into_the_value(schema in schema(), value in value()) {
        if let Ok(compiled) = Schema::compile(&schema)
            && let Err(CheckError::Mismatch(mismatch)) = compiled.check(value.to_string().as_bytes())
        {
            prop_assert!(value.pointer(&mismatch.path).is_some(), "{}", mismatch);
        }
    }

    /// Anything at all, as a schema and as a text.
    #[test]
    fn nothing_panics(schema in value(), text in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Schema::compile(&schema);
        let any = Schema::compile(&json!({"items": {"$ref": "#"}, "uniqueItems": true})).unwrap();
        let _ = any.check(&text);
    }
}
