//! The library's errors in our words, without a stranger's value in them.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::clip;
use super::error::Mismatch;

/// The longest path that an answer repeats.
const MAX_PATH_BYTES: usize = 512;

/// Where, and what.
pub(super) fn mismatch(error: &ValidationError<'_>) -> Mismatch {
    Mismatch { path: whole_tokens(error.instance_path().as_str()).to_owned(), problem: problem(error) }
}

/// A pointer, cut after as many whole tokens as an answer has room for.
fn whole_tokens(pointer: &str) -> &str {
    if pointer.len() <= MAX_PATH_BYTES {
        return pointer;
    }
    let room = pointer.floor_char_boundary(MAX_PATH_BYTES);
    &pointer[..pointer[..room].rfind('/').unwrap_or(0)]
}

fn problem(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind: TypeKind::Single(wanted) } => format!("is not of the type {wanted}"),
        Kind::Type { kind: TypeKind::Multiple(wanted) } => {
            let wanted: Vec<String> = wanted.iter().map(|kind| kind.to_string()).collect();
            format!("is of none of the types {}", wanted.join(", "))
        }
        Kind::Required { property } => format!("lacks the member {}", quoted(property)),
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let first = unexpected.first().map(String::as_str).unwrap_or_default();
            format!("has the member {:?}, which the schema does not know", clip(first))
        }
        Kind::AdditionalItems { limit } => format!("has more than {limit} items"),
        Kind::Minimum { limit } => format!("is less than {}", number(limit)),
        Kind::Maximum { limit } => format!("is more than {}", number(limit)),
        Kind::ExclusiveMinimum { limit } => format!("is not more than {}", number(limit)),
        Kind::ExclusiveMaximum { limit } => format!("is not less than {}", number(limit)),
        Kind::MultipleOf { multiple_of } => format!("is no multiple of {multiple_of}"),
        Kind::MinLength { limit } => format!("has fewer than {limit} characters"),
        Kind::MaxLength { limit } => format!("has more than {limit} characters"),
        Kind::MinItems { limit } => format!("has fewer than {limit} items"),
        Kind::MaxItems { limit } => format!("has more than {limit} items"),
        Kind::MinProperties { limit } => format!("has fewer than {limit} members"),
        Kind::MaxProperties { limit } => format!("has more than {limit} members"),
        Kind::Pattern { pattern } => format!("does not match the pattern {:?}", clip(pattern)),
        Kind::UniqueItems => "has two equal items".to_owned(),
        Kind::Contains => "has not the items that `contains` asks for".to_owned(),
        Kind::Enum { .. } => "is not one of the values of `enum`".to_owned(),
        Kind::Constant { .. } => "is not the value of `const`".to_owned(),
        Kind::FalseSchema => "may not be there".to_owned(),
        Kind::PropertyNames { error } => format!("has a member whose name {}", problem(error)),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => {
            format!("meets none of the schemas of `{}`", error.kind().keyword())
        }
        Kind::OneOfMultipleValid { .. } => "meets more than one of the schemas of `oneOf`".to_owned(),
        _ => format!("does not meet `{}`", error.kind().keyword()),
    }
}

/// A limit of the schema, which is a number.
fn number(limit: &Value) -> String {
    clip(&limit.to_string())
}

/// The name of a member.
fn quoted(name: &Value) -> String {
    format!("{:?}", clip(name.as_str().unwrap_or_default()))
}
