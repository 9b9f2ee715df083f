//! The words that each type of a lexicon knows (<https://atproto.com/specs/lexicon>).

/// What a word's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    Bool,
    /// Any whole number.
    Integer,
    /// A whole number from zero.
    Count,
    Texts,
    Integers,
    /// Of the type that the word stands in.
    Same,
    /// A reference to a definition.
    Reference,
    References,
    /// A schema of a field.
    Field,
    /// Fields by name.
    Fields,
    /// The fields of parameters.
    Parameters,
    /// The object of a record.
    Object,
    /// The body of a method.
    Body,
    /// The messages of a subscription.
    Message,
    Errors,
    /// Held to no shape here.
    Any,
}

use Shape::{
    Any, Body, Bool, Count, Errors, Field, Fields, Integer, Integers, Message, Object, Parameters, Reference,
    References, Same, Text, Texts,
};

/// A type: its name, and its words beside `type` and `description`.
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) words: &'static [(&'static str, Shape)],
    pub(super) required: &'static [&'static str],
    pub(super) place: Place,
}

/// Where a type may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Only as the definition `main`.
    Main,
    /// As a definition, not as a field.
    Definition,
    /// As a field, not as a definition.
    Field,
    Anywhere,
    /// Only as the parameters of a method.
    Parameters,
}

const fn ty(
    name: &'static str,
    place: Place,
    required: &'static [&'static str],
    words: &'static [(&'static str, Shape)],
) -> Type {
    Type { name, words, required, place }
}

pub(super) const TYPES: [Type; 19] = [
    ty("record", Place::Main, &["key", "record"], &[("key", Text), ("record", Object)]),
    ty("query", Place::Main, &[], &[("parameters", Parameters), ("output", Body), ("errors", Errors)]),
    ty(
        "procedure",
        Place::Main,
        &[],
        &[("parameters", Parameters), ("input", Body), ("output", Body), ("errors", Errors)],
    ),
    ty(
        "subscription",
        Place::Main,
        &[],
        &[("parameters", Parameters), ("message", Message), ("infos", Any), ("errors", Errors)],
    ),
    ty(
        "permission-set",
        Place::Main,
        &["permissions"],
        &[("title", Text), ("title:lang", Any), ("detail", Text), ("detail:lang", Any), ("permissions", Any)],
    ),
    ty("token", Place::Definition, &[], &[]),
    ty("object", Place::Anywhere, &[], &[("properties", Fields), ("required", Texts), ("nullable", Texts)]),
    ty("params", Place::Parameters, &[], &[("properties", Fields), ("required", Texts)]),
    ty("array", Place::Anywhere, &["items"], &[("items", Field), ("minLength", Count), ("maxLength", Count)]),
    ty("boolean", Place::Anywhere, &[], &[("default", Same), ("const", Same)]),
    ty(
        "integer",
        Place::Anywhere,
        &[],
        &[("minimum", Integer), ("maximum", Integer), ("enum", Integers), ("default", Same), ("const", Same)],
    ),
    ty(
        "string",
        Place::Anywhere,
        &[],
        &[
            ("format", Text),
            ("minLength", Count),
            ("maxLength", Count),
            ("minGraphemes", Count),
            ("maxGraphemes", Count),
            ("knownValues", Texts),
            ("enum", Texts),
            ("default", Same),
            ("const", Same),
        ],
    ),
    ty("bytes", Place::Anywhere, &[], &[("minLength", Count), ("maxLength", Count)]),
    ty("cid-link", Place::Anywhere, &[], &[]),
    ty("blob", Place::Anywhere, &[], &[("accept", Texts), ("maxSize", Count)]),
    ty("null", Place::Field, &[], &[]),
    ty("ref", Place::Field, &["ref"], &[("ref", Reference)]),
    ty("union", Place::Field, &["refs"], &[("refs", References), ("closed", Bool)]),
    ty("unknown", Place::Anywhere, &[], &[]),
];

/// The formats of strings.
pub(super) const FORMATS: [&str; 11] = [
    "at-identifier",
    "at-uri",
    "cid",
    "datetime",
    "did",
    "handle",
    "language",
    "nsid",
    "record-key",
    "tid",
    "uri",
];

/// Pairs of which the first may not be above the second.
pub(super) const RANGES: [(&str, &str); 3] =
    [("minimum", "maximum"), ("minLength", "maxLength"), ("minGraphemes", "maxGraphemes")];

/// What parameters of a method may be, or be arrays of.
pub(super) const PARAMETERS: [&str; 4] = ["boolean", "integer", "string", "unknown"];
