//! The record of a function as `deploy` writes it.
//!
//! Rules: the lexicon `at.functions.metadata`, and the data model
//! (<https://atproto.com/specs/data-model>), which has no fractions and reserves some names.

use serde_json::{Value, json};

use crate::lexicon::{FUNCTION_COLLECTION, Mode, RecordKey};

/// The whole numbers that JSON carries between all implementations.
const MAX_INTEGER: f64 = 9_007_199_254_740_991.0;

/// What an author says about a function, checked.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) description: Option<String>,
    pub(super) mode: Mode,
    pub(super) max_memory_mb: u16,
    pub(super) max_duration_ms: u16,
    pub(super) public: bool,
    pub(super) allowed_hosts: Option<Vec<String>>,
    pub(super) input_schema: Option<Value>,
    pub(super) output_schema: Option<Value>,
    pub(super) strict_output: bool,
}

/// The code's blob, as the PDS took it.
pub(super) struct Code {
    pub(super) cid: String,
    pub(super) mime_type: String,
    pub(super) size: u64,
}

impl Draft {
    /// The record; `updated_at` is an RFC 3339 time.
    pub(super) fn record(&self, code: &Code, updated_at: &str) -> Value {
        let mut record = json!({
            "$type": FUNCTION_COLLECTION,
            "name": self.name,
            "version": self.version,
            "updatedAt": updated_at,
            "mode": self.mode.as_str(),
            "code": {
                "$type": "blob",
                "ref": {"$link": code.cid},
                "mimeType": code.mime_type,
                "size": code.size,
            },
            "entrypoint": "run",
            "inputEncoding": "application/json",
            "outputEncoding": "application/json",
            "maxMemoryMb": self.max_memory_mb,
            "maxDurationMs": self.max_duration_ms,
            "public": self.public,
        });
        let optional = [
            ("description", self.description.as_deref().map(Value::from)),
            ("allowedHosts", self.allowed_hosts.clone().map(Value::from)),
            ("inputSchema", self.input_schema.clone()),
            ("outputSchema", self.output_schema.clone()),
            ("strictOutput", self.strict_output.then_some(Value::Bool(true))),
        ];
        for (field, value) in optional {
            if let Some(value) = value {
                record[field] = value;
            }
        }
        record
    }
}

/// The record key that a name makes: the name itself.
pub(super) fn record_key(name: &str) -> Result<RecordKey, String> {
    RecordKey::parse(name)
        .map_err(|error| format!("{error}; give one with --rkey, such as --rkey {}", slug(name)))
}

pub(super) fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let slug = words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-");
    if slug.is_empty() { "my-function".to_owned() } else { slug }
}

/// Where a JSON Schema cannot stand in a record, and why: a path such as `/properties/a`.
pub(super) fn schema_fault(schema: &Value) -> Option<String> {
    if !schema.is_object() {
        return Some("a schema in a record is an object".to_owned());
    }
    fault_at(schema, &mut String::new())
}

fn fault_at(value: &Value, path: &mut String) -> Option<String> {
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().is_some_and(|n| n.fract() == 0.0 && n.abs() <= MAX_INTEGER);
            (!whole).then(|| {
                format!(
                    "{path}: {number} is not a whole number within ±(2^53 - 1), and a record holds no other"
                )
            })
        }
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(i, item)| fault_below(item, path, &i.to_string()))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, field)| match name.as_str() {
            "$type" | "$link" | "$bytes" => Some(format!("{path}: the name {name} is reserved in records")),
            name => fault_below(field, path, name),
        }),
        Value::Null | Value::Bool(_) | Value::String(_) => None,
    }
}

fn fault_below(value: &Value, path: &mut String, segment: &str) -> Option<String> {
    let length = path.len();
    path.push('/');
    path.push_str(segment);
    let fault = fault_at(value, path);
    path.truncate(length);
    fault
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::FunctionMetadata;

    fn draft() -> Draft {
        Draft {
            name: "echo".into(),
            version: "0.1.0".into(),
            description: None,
            mode: Mode::PureV1,
            max_memory_mb: 32,
            max_duration_ms: 100,
            public: true,
            allowed_hosts: None,
            input_schema: None,
            output_schema: None,
            strict_output: false,
        }
    }

    fn code() -> Code {
        Code { cid: "bafkreicode".into(), mime_type: "application/wasm".into(), size: 8 }
    }

    #[test]
    fn the_least_record_is_exactly_this() {
        assert_eq!(
            draft().record(&code(), "2026-11-21T05:00:00Z"),
            json!({
                "$type": "at.functions.metadata",
                "name": "echo",
                "version": "0.1.0",
                "updatedAt": "2026-11-21T05:00:00Z",
                "mode": "pure-v1",
                "code": {
                    "$type": "blob",
                    "ref": {"$link": "bafkreicode"},
                    "mimeType": "application/wasm",
                    "size": 8,
                },
                "entrypoint": "run",
                "inputEncoding": "application/json",
                "outputEncoding": "application/json",
                "maxMemoryMb": 32,
                "maxDurationMs": 100,
                "public": true,
            })
        );
    }

    #[test]
    fn a_service_takes_what_is_deployed() {
        let code = Code { cid: crate::repo::blob_cid(b"code").to_string(), ..code() };
        let full = Draft {
            description: Some("x".repeat(FunctionMetadata::MAX_DESCRIPTION_BYTES)),
            max_memory_mb: FunctionMetadata::MAX_MEMORY_MB,
            max_duration_ms: FunctionMetadata::MAX_DURATION_MS,
            allowed_hosts: Some(vec![]),
            input_schema: Some(json!({"maximum": 1.0})),
            output_schema: Some(json!({})),
            strict_output: true,
            ..draft()
        };
        for draft in [draft(), full] {
            let record = crate::repo::json_to_ipld(&draft.record(&code, "2026-11-21T05:00:00Z")).unwrap();
            let metadata = FunctionMetadata::from_record(&record).unwrap();
            assert_eq!(metadata.name, draft.name);
            assert_eq!(metadata.max_memory_mb, draft.max_memory_mb);
            assert_eq!(metadata.strict_output, draft.strict_output);
        }
    }

    #[test]
    fn what_the_author_adds_is_added() {
        let full = Draft {
            description: Some("says it again".into()),
            public: false,
            allowed_hosts: Some(vec![]),
            input_schema: Some(json!({"type": "object"})),
            output_schema: Some(json!({"type": "string"})),
            strict_output: true,
            ..draft()
        };
        let mut expected = draft().record(&code(), "now");
        expected["description"] = "says it again".into();
        expected["public"] = false.into();
        expected["allowedHosts"] = json!([]);
        expected["inputSchema"] = json!({"type": "object"});
        expected["outputSchema"] = json!({"type": "string"});
        expected["strictOutput"] = true.into();
        assert_eq!(full.record(&code(), "now"), expected);
    }

    #[test]
    fn a_name_is_its_record_key_where_it_can_be() {
        assert_eq!(record_key("echo.v1").unwrap().as_str(), "echo.v1");
        for (name, suggestion) in [
            ("My Function!", "--rkey my-function"),
            ("..", "--rkey my-function"),
            ("Größe 2", "--rkey gr-e-2"),
        ] {
            let error = record_key(name).unwrap_err();
            assert!(error.ends_with(suggestion), "{error}");
        }
    }

    #[test]
    fn schemas_that_no_record_can_hold_are_told_with_their_place() {
        let fine = json!({"$schema": "x", "$defs": {"a": {"$ref": "#"}}, "maximum": 1.0, "minimum": -5, "enum": [null, true]});
        assert_eq!(schema_fault(&fine), None);
        let cases = [
            (json!(true), "a schema in a record is an object"),
            (json!({"a": [1, {"multipleOf": 0.1}]}), "/a/1/multipleOf: 0.1 is not"),
            (json!({"a": 9_007_199_254_740_993_u64}), "/a: 9007199254740993 is not"),
            (json!({"maximum": 1e300}), "/maximum: 1e+300 is not"),
            (json!({"properties": {"$link": {}}}), "/properties: the name $link is reserved"),
        ];
        for (schema, start) in cases {
            let fault = schema_fault(&schema).unwrap();
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
