//! What an `outputSchema` lets through that the data model of AT Protocol has no place for: as much of
//! a function's outputs as can be told without a run.

use serde_json::Value;

use super::output::printable;

/// Keywords of JSON Schema (draft 2020-12 and before) whose value is a schema, ...
const SCHEMAS: [&str; 14] = [
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "else",
    "if",
    "items",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// ... and those whose value has a schema for each name.
const MAPS: [&str; 5] = ["$defs", "definitions", "dependentSchemas", "patternProperties", "properties"];
/// Places that are told; the rest is counted.
const TOLD: usize = 5;

/// Warnings about a schema, each with its place.
pub(super) fn warnings(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(types) = schema.get("type")
        && !names(types, "object")
    {
        found.push("it describes an output that is no object; put it into one".to_owned());
    }
    look(schema, &mut String::new(), &mut found);
    let more = found.len().saturating_sub(TOLD);
    found.truncate(TOLD);
    if more > 0 {
        found.push(format!("{more} more places like these"));
    }
    found
}

fn look(schema: &Value, path: &mut String, found: &mut Vec<String>) {
    let Some(fields) = schema.as_object() else { return };
    let whole = fields.get("multipleOf").and_then(Value::as_f64).is_some_and(|step| step.fract() == 0.0);
    if fields.get("type").is_some_and(|types| names(types, "number")) && !whole {
        let place = if path.is_empty() { "the whole" } else { path.as_str() };
        found.push(format!(
            "{}: a `number` may be a fraction, which is no data of AT Protocol; say `integer`",
            printable(place)
        ));
    }
    for (name, value) in fields {
        if SCHEMAS.contains(&name.as_str()) {
            below(path, name, |path| match value {
                Value::Array(schemas) => {
                    for (index, schema) in schemas.iter().enumerate() {
                        below(path, &index.to_string(), |path| look(schema, path, found));
                    }
                }
                schema => look(schema, path, found),
            });
        } else if MAPS.contains(&name.as_str()) {
            below(path, name, |path| {
                for (name, schema) in value.as_object().into_iter().flatten() {
                    below(path, name, |path| look(schema, path, found));
                }
            });
        }
    }
}

/// Does something one segment further down (JSON Pointer, RFC 6901).
fn below(path: &mut String, segment: &str, work: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push('/');
    path.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    work(path);
    path.truncate(length);
}

/// Whether the value of `type` is this name or a list with it.
fn names(types: &Value, name: &str) -> bool {
    match types {
        Value::Array(types) => types.iter().any(|one| one == name),
        one => one == name,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_of_data_are_not_warned_of() {
        for schema in [
            json!({}),
            json!(true),
            json!({"type": ["object", "null"]}),
            json!({"type": "object", "properties": {"a": {"type": "integer"}, "type": {"type": "string"}}}),
            json!({"type": "object", "properties": {"a": {"type": "number", "multipleOf": 1}}}),
            json!({"const": {"type": "number"}, "enum": [{"type": "number"}], "not": {"type": "number"}}),
            json!({"properties": 7, "items": "x"}),
        ] {
            assert_eq!(warnings(&schema), Vec::<String>::new(), "{schema}");
        }
    }

    #[test]
    fn what_lets_other_outputs_through_is_told_with_its_place() {
        let number = |place: &str| {
            format!("{place}: a `number` may be a fraction, which is no data of AT Protocol; say `integer`")
        };
        let no_object = "it describes an output that is no object; put it into one".to_owned();
        let cases = [
            (json!({"type": "array"}), vec![no_object.clone()]),
            (json!({"type": "number"}), vec![no_object, number("the whole")]),
            (json!({"properties": {"a/b": {"type": ["number", "null"]}}}), vec![number("/properties/a~1b")]),
            (json!({"items": {"anyOf": [{}, {"type": "number"}]}}), vec![number("/items/anyOf/1")]),
            (
                json!({"$defs": {"x": {"additionalProperties": {"type": "number"}}}}),
                vec![number("/$defs/x/additionalProperties")],
            ),
            (
                json!({"multipleOf": 0.5, "oneOf": [{"type": "number", "multipleOf": 0.5}]}),
                vec![number("/oneOf/0")],
            ),
        ];
        for (schema, expected) in cases {
            assert_eq!(warnings(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn many_places_are_counted() {
        let told = warnings(&json!({"prefixItems": vec![json!({"type": "number"}); 100]}));
        assert_eq!((told.len(), told[TOLD].as_str()), (TOLD + 1, "95 more places like these"));
    }
}
