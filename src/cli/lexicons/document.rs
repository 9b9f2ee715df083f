//! A lexicon document, checked by the rules of the language (<https://atproto.com/specs/lexicon>).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::types::{FORMATS, PARAMETERS, Place, RANGES, Shape, TYPES, Type};
use crate::lexicon::Nsid;

/// No lexicon is nested as deep; what is would use up the stack.
const MAX_DEPTH: usize = 64;

/// What a check finds, each with its JSON Pointer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// What breaks a rule.
    pub(super) faults: Vec<String>,
    /// What readers pass over, which may be a misspelling.
    pub(super) remarks: Vec<String>,
}

/// The NSID that a document gives itself, if it is one.
pub(super) fn id(document: &Value) -> Option<Nsid> {
    Nsid::parse(document["id"].as_str()?).ok()
}

/// Checks a document.
pub(super) fn check(document: &Value) -> Findings {
    let Some(fields) = document.as_object() else {
        return Findings { faults: vec!["a lexicon is a JSON object".to_owned()], remarks: Vec::new() };
    };
    let defs = document["defs"].as_object();
    let names = defs.map(|defs| defs.keys().map(String::as_str).collect()).unwrap_or_default();
    let mut check = Check { id: id(document), names, findings: Findings::default() };
    if document["lexicon"] != 1 {
        check.fault("/lexicon", "the version of the language is 1");
    }
    if check.id.is_none() {
        check.fault("/id", "expected an NSID such as com.example.thing");
    }
    for name in fields.keys() {
        if !["$type", "lexicon", "id", "revision", "description", "defs"].contains(&name.as_str()) {
            check.remark(&format!("/{name}"), "no word of Lexicon");
        }
    }
    match defs {
        Some(defs) if !defs.is_empty() => {
            defs.iter().for_each(|(name, def)| check.definition(name, def));
        }
        _ => check.fault("/defs", "expected definitions by name"),
    }
    check.findings
}

struct Check<'a> {
    id: Option<Nsid>,
    names: BTreeSet<&'a str>,
    findings: Findings,
}

impl<'a> Check<'a> {
    fn fault(&mut self, at: &str, why: impl std::fmt::Display) {
        self.findings.faults.push(format!("{at}: {why}"));
    }

    fn remark(&mut self, at: &str, what: &str) {
        self.findings.remarks.push(format!("{at}: {what}"));
    }

    fn definition(&mut self, name: &str, def: &'a Value) {
        let at = format!("/defs/{name}");
        let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !fits {
            self.fault(&at, "the name of a definition is letters and digits");
        }
        let Some(ty) = self.type_of(&at, def) else { return };
        match ty.place {
            Place::Main if name != "main" => {
                self.fault(&at, format!("{} stands under the name main only", ty.name));
            }
            Place::Field | Place::Parameters => {
                self.fault(&at, format!("{} is no definition of its own", ty.name));
            }
            _ => {}
        }
        self.words(&at, ty, def, 0);
        if ty.name == "record" {
            self.key(&at, &def["key"]);
        }
    }

    fn key(&mut self, at: &str, key: &Value) {
        let fits = |key: &str| matches!(key, "any" | "nsid" | "tid") || key.starts_with("literal:");
        if key.as_str().is_some_and(|key| !fits(key)) {
            self.fault(&format!("{at}/key"), "expected tid, nsid, any or literal:VALUE");
        }
    }

    fn type_of(&mut self, at: &str, value: &Value) -> Option<&'static Type> {
        let name = value["type"].as_str().unwrap_or_default();
        let found = TYPES.iter().find(|ty| ty.name == name);
        if found.is_none() {
            let names: Vec<&str> = TYPES.iter().map(|ty| ty.name).collect();
            self.fault(&format!("{at}/type"), format!("expected one of {}", names.join(", ")));
        }
        found
    }

    /// The words of a value whose type is known.
    fn words(&mut self, at: &str, ty: &'static Type, value: &'a Value, depth: usize) {
        let Some(fields) = value.as_object() else { return };
        if depth > MAX_DEPTH {
            return self.fault(at, "nested too deep");
        }
        for word in ty.required.iter().filter(|word| !fields.contains_key(**word)) {
            self.fault(at, format!("{} needs `{word}`", ty.name));
        }
        for (word, given) in fields {
            let at = format!("{at}/{word}");
            match ty.words.iter().find(|(known, _)| known == word) {
                Some((_, shape)) => self.word(&at, *shape, ty, given, depth),
                None if word == "type" => {}
                None if word == "description" => self.word(&at, Shape::Text, ty, given, depth),
                None => self.remark(&at, "no word of this type"),
            }
        }
        for (low, high) in RANGES {
            if let (Some(least), Some(most)) = (value[low].as_i64(), value[high].as_i64())
                && least > most
            {
                self.fault(at, format!("{low} is above {high}"));
            }
        }
        if let Some(format) = value["format"].as_str().filter(|format| !FORMATS.contains(format)) {
            self.fault(
                &format!("{at}/format"),
                format!("there is no format {format}; there are {}", FORMATS.join(", ")),
            );
        }
        self.names_of_properties(at, fields);
    }

    /// `required` and `nullable` name what is there.
    fn names_of_properties(&mut self, at: &str, fields: &'a Map<String, Value>) {
        let properties = fields.get("properties").and_then(Value::as_object);
        for word in ["required", "nullable"] {
            for name in
                fields.get(word).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
            {
                if properties.is_none_or(|properties| !properties.contains_key(name)) {
                    self.fault(&format!("{at}/{word}"), format!("{name} is no property"));
                }
            }
        }
    }

    fn word(&mut self, at: &str, shape: Shape, ty: &'static Type, value: &'a Value, depth: usize) {
        let all = |test: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(test));
        let expected = match shape {
            Shape::Text => (!value.is_string()).then_some("expected a text"),
            Shape::Bool => (!value.is_boolean()).then_some("expected true or false"),
            Shape::Integer => (!value.is_i64()).then_some("expected a whole number"),
            Shape::Count => (!value.is_u64()).then_some("expected a whole number from zero"),
            Shape::Texts => (!all(Value::is_string)).then_some("expected a list of texts"),
            Shape::Integers => (!all(Value::is_i64)).then_some("expected a list of whole numbers"),
            Shape::Same => (!is_of(ty.name, value)).then_some("expected a value of the type it stands in"),
            Shape::Any => None,
            Shape::Reference => return self.reference(at, value),
            Shape::References => match value.as_array() {
                Some(references) => {
                    return references
                        .iter()
                        .enumerate()
                        .for_each(|(index, reference)| self.reference(&format!("{at}/{index}"), reference));
                }
                None => Some("expected a list of references"),
            },
            Shape::Field => return self.field(at, value, depth, None),
            Shape::Fields => match value.as_object() {
                Some(fields) => {
                    let only = (ty.name == "params").then_some(&PARAMETERS[..]);
                    return fields
                        .iter()
                        .for_each(|(name, field)| self.field(&format!("{at}/{name}"), field, depth, only));
                }
                None => Some("expected fields by name"),
            },
            Shape::Parameters => return self.of_type(at, "params", value, depth),
            Shape::Object => return self.of_type(at, "object", value, depth),
            Shape::Body => return self.body(at, value, depth),
            Shape::Message => return self.message(at, value, depth),
            Shape::Errors => return self.errors(at, value),
        };
        if let Some(expected) = expected {
            self.fault(at, expected);
        }
    }

    fn field(&mut self, at: &str, field: &'a Value, depth: usize, only: Option<&[&str]>) {
        let Some(ty) = self.type_of(at, field) else { return };
        if matches!(ty.place, Place::Main | Place::Definition | Place::Parameters) {
            self.fault(at, format!("{} is no type of a field", ty.name));
        }
        if let Some(only) = only {
            let inner = if ty.name == "array" {
                field["items"]["type"].as_str().unwrap_or_default()
            } else {
                ty.name
            };
            if !only.contains(&inner) {
                self.fault(at, format!("a parameter is one of {}, or a list of them", only.join(", ")));
            }
        }
        self.words(at, ty, field, depth + 1);
    }

    fn of_type(&mut self, at: &str, name: &str, value: &'a Value, depth: usize) {
        match TYPES.iter().find(|ty| ty.name == name) {
            Some(ty) if value["type"] == name => self.words(at, ty, value, depth + 1),
            _ => self.fault(&format!("{at}/type"), format!("expected {name}")),
        }
    }

    fn body(&mut self, at: &str, body: &'a Value, depth: usize) {
        if !body["encoding"].is_string() {
            self.fault(&format!("{at}/encoding"), "expected a media type such as application/json");
        }
        self.schema_of(at, body, depth, &["object", "ref", "union"], &["encoding", "schema", "description"]);
    }

    fn message(&mut self, at: &str, message: &'a Value, depth: usize) {
        self.schema_of(at, message, depth, &["union"], &["schema", "description"]);
    }

    fn schema_of(&mut self, at: &str, value: &'a Value, depth: usize, types: &[&str], words: &[&str]) {
        let Some(fields) = value.as_object() else { return self.fault(at, "expected an object") };
        for word in fields.keys().filter(|word| !words.contains(&word.as_str())) {
            self.remark(&format!("{at}/{word}"), "no word of Lexicon here");
        }
        if let Some(schema) = fields.get("schema") {
            let at = format!("{at}/schema");
            if !types.iter().any(|ty| schema["type"] == *ty) {
                self.fault(&format!("{at}/type"), format!("expected {}", types.join(", ")));
            }
            self.field(&at, schema, depth, None);
        }
    }

    fn errors(&mut self, at: &str, errors: &Value) {
        let Some(errors) = errors.as_array() else { return self.fault(at, "expected a list of errors") };
        for (index, error) in errors.iter().enumerate() {
            let fits = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
            if !error["name"].as_str().is_some_and(fits) {
                self.fault(&format!("{at}/{index}/name"), "expected a name without spaces");
            }
        }
    }

    /// `#name`, `NSID` or `NSID#name`; what is in this document is looked up.
    fn reference(&mut self, at: &str, value: &Value) {
        let text = value.as_str().unwrap_or_default();
        let (document, name) = text.split_once('#').unwrap_or((text, "main"));
        let is_here = document.is_empty() || self.id.as_ref().is_some_and(|id| id.as_str() == document);
        if text.is_empty() || name.is_empty() || (!document.is_empty() && Nsid::parse(document).is_err()) {
            self.fault(at, "expected #NAME, an NSID, or NSID#NAME");
        } else if is_here && !self.names.contains(name) {
            self.fault(at, format!("there is no definition {name} here"));
        }
    }
}

fn is_of(ty: &str, value: &Value) -> bool {
    match ty {
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        _ => value.is_string(),
    }
}

#[cfg(test)]
mod tests;
