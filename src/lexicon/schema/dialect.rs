//! The drafts of JSON Schema.

use jsonschema::Draft;
use serde_json::Value;

use super::clip;
use super::error::SchemaError;

/// A draft that schemas may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Draft4,
    Draft6,
    Draft7,
    Draft2019,
    Draft2020,
}

impl Dialect {
    /// The draft that a schema names; 2020-12 where it names none.
    pub(super) fn of(schema: &Value) -> Result<Dialect, SchemaError> {
        match schema.get("$schema") {
            None => Ok(Dialect::Draft2020),
            Some(Value::String(uri)) => Dialect::of_uri(uri).ok_or_else(|| SchemaError::Dialect(clip(uri))),
            Some(other) => Err(SchemaError::Dialect(clip(&other.to_string()))),
        }
    }

    /// The draft of this URI, an empty fragment allowed, by either scheme.
    pub(super) fn of_uri(uri: &str) -> Option<Dialect> {
        let uri = uri.strip_suffix('#').unwrap_or(uri);
        let name = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"))?;
        match name {
            "json-schema.org/draft-04/schema" => Some(Dialect::Draft4),
            "json-schema.org/draft-06/schema" => Some(Dialect::Draft6),
            "json-schema.org/draft-07/schema" => Some(Dialect::Draft7),
            "json-schema.org/draft/2019-09/schema" => Some(Dialect::Draft2019),
            "json-schema.org/draft/2020-12/schema" => Some(Dialect::Draft2020),
            _ => None,
        }
    }

    /// Whether a name is of the place that holds the schemas of the drafts themselves.
    pub(super) fn owns(id: &str) -> bool {
        let name = id.strip_prefix("https://").or_else(|| id.strip_prefix("http://"));
        name.is_some_and(|name| name.starts_with("json-schema.org/"))
    }

    /// The keyword by which a schema names itself.
    pub(super) fn id_keyword(self) -> &'static str {
        match self {
            Dialect::Draft4 => "id",
            _ => "$id",
        }
    }

    /// The same draft, as the library calls it.
    pub(super) fn draft(self) -> Draft {
        match self {
            Dialect::Draft4 => Draft::Draft4,
            Dialect::Draft6 => Draft::Draft6,
            Dialect::Draft7 => Draft::Draft7,
            Dialect::Draft2019 => Draft::Draft201909,
            Dialect::Draft2020 => Draft::Draft202012,
        }
    }
}
