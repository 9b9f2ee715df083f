//! Schemas and values that were made to cost.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::super::*;

/// What no check may take, even unoptimised, on a core that others use too. Optimised and alone the
/// slowest here takes 60 ms.
const PATIENCE: Duration = Duration::from_secs(60);

fn numbers() -> String {
    format!("[{}0]", "0,".repeat(500_000))
}

fn members() -> String {
    format!("{{{}\"z\":0}}", (0..80_000).map(|i| format!("\"k{i:06}\":1,")).collect::<String>())
}

fn towers(open: &str, close: &str) -> String {
    format!("{}1{}", open.repeat(126), close.repeat(126))
}

/// Text that visits ever new states of an automaton.
fn noise() -> String {
    let mut state = 88_172_645_463_325_252_u64;
    let letters = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state & 1 == 0 { 'a' } else { 'b' }
    });
    letters.take(2_000_000).collect()
}

#[test]
fn every_check_ends_within_its_budget() {
    let named = |count: usize, schema: Value| -> Map<String, Value> {
        (0..count).map(|i| (format!("k{i:06}"), schema.clone())).collect()
    };
    let rec = json!({"$ref": "#"});
    let arrays = towers("[", "]");
    let objects = towers("{\"x\":", "}");
    let nests = format!(
        "[{}0]",
        (0..40_000)
            .map(|i| format!("{}{},", "[".repeat(1 + i % 9), "]".repeat(1 + i % 9)))
            .collect::<String>()
    );
    let long_name = format!("{{\"{}\":[{}0]}}", "k".repeat(500_000), "0,".repeat(200_000));
    let tall = (0..28).fold(json!({"items": rec, "minItems": 1}), |inner, _| json!({"anyOf": [inner]}));
    let options: Vec<Value> = (0..5000).flat_map(|i| [json!(i + 5), json!(format!("{i}"))]).collect();
    let cases = [
        (json!({"items": {"allOf": [rec, rec]}}), &arrays),
        (json!({"items": {"anyOf": [rec, rec]}, "minItems": 2}), &arrays),
        (json!({"properties": {"x": rec}, "patternProperties": {"x": rec, "^.$": rec}}), &objects),
        (
            json!({"oneOf": [{"properties": {"x": rec}}, {"additionalProperties": rec}, {"type": "number"}]}),
            &objects,
        ),
        (
            json!({"anyOf": [{"properties": {"x": rec}}, {"patternProperties": {"x": rec}}], "unevaluatedProperties": false}),
            &objects,
        ),
        (
            json!({"unevaluatedProperties": rec, "anyOf": [{"required": ["y"]}, {"properties": {"q": {}}}]}),
            &objects,
        ),
        (
            json!({"$dynamicAnchor": "n", "items": {"anyOf": [{"$dynamicRef": "#n"}, {"$dynamicRef": "#n"}]}, "minItems": 3}),
            &arrays,
        ),
        (tall, &arrays),
        (json!({"uniqueItems": true}), &nests),
        (json!({"uniqueItems": true}), &numbers()),
        (json!({"items": {"enum": options}}), &numbers()),
        (json!({"items": {"not": {"enum": options}}}), &numbers()),
        (json!({"anyOf": [{"items": {"not": {"enum": [0, options]}}}, false]}), &numbers()),
        (json!({"items": {"anyOf": vec![json!({"const": 1}); 2000]}}), &numbers()),
        (json!({"items": {"allOf": vec![json!(true); 8000]}}), &numbers()),
        (json!({"contains": {"const": 1}, "minContains": 3}), &numbers()),
        (json!({"items": {"multipleOf": 7}}), &format!("[{}0]", "1.7e308,".repeat(100_000))),
        (json!({"propertyNames": {"enum": options}}), &members()),
        (json!({"additionalProperties": false, "properties": named(2000, json!(true))}), &members()),
        (json!({"dependentSchemas": named(1200, json!({"required": ["a"]}))}), &members()),
        (json!({"required": (0..4000).map(|i| format!("k{i:06}")).collect::<Vec<_>>()}), &members()),
        (
            json!({"patternProperties": (0..64).map(|i| (format!("[ab]*k[0-9]{{5}}[ab]{{{i}}}"), json!({}))).collect::<Map<_, _>>()}),
            &members(),
        ),
        (json!({"anyOf": [{"additionalProperties": {"items": {"type": "string"}}}, false]}), &long_name),
        (
            json!({"allOf": vec![json!({"contains": {"const": 1}, "minContains": 0}); 60], "unevaluatedItems": {"const": 0}}),
            &numbers(),
        ),
    ];
    for (schema, value) in cases {
        let shown: String = schema.to_string().chars().take(120).collect();
        let schema = Schema::compile(&schema).unwrap();
        let begun = Instant::now();
        let cost = schema.measure(value.as_bytes(), FULL);
        assert!(begun.elapsed() < PATIENCE, "{shown}: {:?}", begun.elapsed());
        assert!(cost.is_err() || cost.is_ok_and(|cost| cost <= FULL.budget), "{shown}");
        let begun = Instant::now();
        let _ = schema.check_briefly(value.as_bytes());
        assert!(begun.elapsed() < PATIENCE / 10, "{shown}: {:?} for a brief check", begun.elapsed());
    }
}

#[test]
fn a_pattern_costs_by_its_size_and_the_text() {
    let noise = noise();
    for pattern in [
        "(a|a)*c",
        "[ab]*a[ab]{14}c",
        "[ab]*a[ab]{100}c",
        "[ab]*a[ab]{300}c",
        "((a?){10}){10}c",
        "(.*)(.*)(.*)(.*)c",
    ] {
        let schema = Schema::compile(&json!({"pattern": pattern})).unwrap();
        let price = schema.pattern_size / PATTERN_BYTES_A_UNIT as usize;
        // The longest text that the budget is enough for, and one that it is not enough for.
        for length in [7_900_000 / (price + 1), 8_000_000 / price] {
            let text = format!("\"{}\"", &noise[..length]);
            let begun = Instant::now();
            let checked = schema.check(text.as_bytes());
            assert!(begun.elapsed() < PATIENCE, "{pattern}: {:?}", begun.elapsed());
            let affordable = length < 8_000_000 / price;
            assert_eq!(checked == Err(CheckError::TooCostly), !affordable, "{pattern}: {length} bytes");
        }
    }
}

#[test]
fn every_schema_compiles_or_is_refused_soon() {
    let chain = |count: usize, link: fn(Value) -> Value| {
        let defs: Map<String, Value> = (0..count)
            .map(|i| (format!("d{i}"), link(json!({"$ref": format!("#/$defs/d{}", (i + 1) % count)}))))
            .collect();
        json!({"$ref": "#/$defs/d0", "$defs": defs})
    };
    let web = |keyword: &str| {
        let name = |i: usize| format!("d{i}");
        let links =
            || (0..36).map(|j| (name(j), json!({keyword: format!("#{}", name(j))}))).collect::<Map<_, _>>();
        let defs: Map<String, Value> =
            (0..36).map(|i| (name(i), json!({"$dynamicAnchor": name(i), "properties": links()}))).collect();
        json!({"$ref": "#d0", "$defs": defs})
    };
    let classes = |class: &str, count: usize| json!({"pattern": class.repeat(count)});
    let cases = [
        chain(1000, |next| json!({"properties": {"x": next}})),
        chain(800, |next| json!({"properties": {"x": next, "y": next}})),
        chain(90, |next| json!({"properties": {"x": {"items": {"additionalProperties": next}}}})),
        web("$ref"),
        web("$dynamicRef"),
        classes("\\p{L}", 800),
        classes("[^\\p{L}]", 500),
        json!({"allOf": vec![json!({"pattern": "[a-z]{1,60}[0-9]{1,60}"}); 64]}),
        json!({"properties": (0..3500).map(|i| (format!("p{i}"), json!({"$ref": "#"}))).collect::<Map<_, _>>()}),
        json!({"enum": (0..11_000).collect::<Vec<_>>()}),
        json!({"enum": [(0..60).fold(json!(1), |inner, _| json!([inner]))]}),
    ];
    for schema in cases {
        let shown: String = schema.to_string().chars().take(120).collect();
        let begun = Instant::now();
        let _ = Schema::compile(&schema);
        assert!(begun.elapsed() < PATIENCE, "{shown}: {:?}", begun.elapsed());
    }
}
