//! What differs between two records of a function, for its author to look at before one replaces the other.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::colour::Colour;
use super::error::shown;
use super::output;
use crate::lexicon::FunctionMetadata;

/// The order in which fields are told; others follow by name.
const ORDER: [&str; 11] = [
    "name",
    "version",
    "description",
    "mode",
    "code",
    "maxMemoryMb",
    "maxDurationMs",
    "public",
    "allowedHosts",
    "inputSchema",
    "outputSchema",
];
/// What differs each time, or never.
const UNTOLD: [&str; 2] = ["$type", "updatedAt"];
/// What every record says alike.
const CONSTANTS: [&str; 4] = ["entrypoint", "inputEncoding", "outputEncoding", "strictOutput"];
/// Lines of one field that are shown.
const MAX_LINES: usize = 12;
/// Bytes of an old and a new value together that fit beside their field's name in 80 columns.
const MAX_ON_ONE_LINE: usize = 56;
/// Stands for what is not there.
const NONE: &str = "none";

/// The differences of two records.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    fields: Vec<(String, Vec<Line>)>,
}

/// One difference in a field: where, what it was, what it is.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    place: String,
    old: Option<String>,
    new: Option<String>,
}

impl Changes {
    /// What becomes different when `new` takes the place of `old`; all of `new` where there is no `old`.
    pub(super) fn between(old: Option<&Value>, new: &Value) -> Changes {
        let new = complete(new);
        // Of a first record, what is the same in all of them is not worth telling.
        let constant = |(name, _): &(&String, &Value)| CONSTANTS.contains(&name.as_str());
        let first =
            || new.iter().filter(constant).map(|(name, value)| (name.clone(), value.clone())).collect();
        let old = old.map_or_else(first, complete);
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        let rank = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
        names.sort_by_key(|name| (rank(name), name.as_str()));
        names.dedup();
        let told = names.into_iter().filter(|name| !UNTOLD.contains(&name.as_str()));
        let fields = told
            .map(|name| (name.clone(), field(name, old.get(name), new.get(name))))
            .filter(|(_, lines)| !lines.is_empty());
        Changes { fields: fields.collect() }
    }

    /// What becomes different between two documents of any kind, a line for each leaf.
    pub(super) fn of_documents(old: &Value, new: &Value) -> Changes {
        let lines = leaves(Some(old), Some(new));
        Changes { fields: if lines.is_empty() { Vec::new() } else { vec![(String::new(), lines)] } }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Whether this field is among them.
    pub(super) fn touch(&self, name: &str) -> bool {
        self.fields.iter().any(|(field, _)| field == name)
    }

    /// For a terminal, each line indented.
    pub(super) fn text(&self, colour: Colour) -> String {
        let width = self.fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut out = String::new();
        for (name, lines) in &self.fields {
            for (index, line) in lines.iter().take(MAX_LINES).enumerate() {
                let head = if index == 0 { shown(name) } else { String::new() };
                out.push_str(&format!("  {head:width$}  {}\n", line.text(colour)));
            }
            if lines.len() > MAX_LINES {
                out.push_str(&format!("  {:width$}  and {} more\n", "", lines.len() - MAX_LINES));
            }
        }
        out
    }
}

impl Line {
    fn text(&self, colour: Colour) -> String {
        let place = if self.place.is_empty() { String::new() } else { format!("{} ", shown(&self.place)) };
        match (&self.old, &self.new) {
            (Some(old), Some(new)) => {
                format!("{place}{} -> {}", colour.red(&shown(old)), colour.green(&shown(new)))
            }
            (Some(old), None) => colour.red(&format!("- {place}{}", shown(old))),
            (None, new) => colour.green(&format!("+ {place}{}", shown(new.as_deref().unwrap_or(NONE)))),
        }
    }
}

/// A record with what its absent fields stand for, where that is fixed.
fn complete(record: &Value) -> Map<String, Value> {
    let mut fields = record.as_object().cloned().unwrap_or_default();
    let fixed = [
        ("entrypoint", Value::from("run")),
        ("inputEncoding", Value::from("application/json")),
        ("outputEncoding", Value::from("application/json")),
        ("maxMemoryMb", FunctionMetadata::DEFAULT_MEMORY_MB.into()),
        ("maxDurationMs", FunctionMetadata::DEFAULT_DURATION_MS.into()),
        ("public", true.into()),
        ("strictOutput", false.into()),
    ];
    for (name, value) in fixed {
        fields.entry(name).or_insert(value);
    }
    fields
}

fn field(name: &str, old: Option<&Value>, new: Option<&Value>) -> Vec<Line> {
    if old == new {
        return Vec::new();
    }
    match (name, old, new) {
        ("code", ..) => whole(old.map(code), new.map(code)),
        ("allowedHosts", Some(Value::Array(old)), Some(Value::Array(new))) => entries(old, new),
        ("allowedHosts", ..) => whole(Some(reads(old)), Some(reads(new))),
        (_, Some(Value::Object(_)), Some(Value::Object(_))) => leaves(old, new),
        (_, None, Some(Value::Object(_))) | (_, Some(Value::Object(_)), None) => leaves(old, new),
        _ => whole(old.map(plain), new.map(plain)),
    }
}

/// The value as a whole: on one line, or on two where that would be too long.
fn whole(old: Option<String>, new: Option<String>) -> Vec<Line> {
    let line = |old, new| Line { place: String::new(), old, new };
    match (old, new) {
        (old, new) if old == new => Vec::new(),
        (Some(old), Some(new)) if old.len() + new.len() > MAX_ON_ONE_LINE => {
            vec![line(Some(old), None), line(None, Some(new))]
        }
        (old, new) => vec![line(old, new)],
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A blob by its CID and size; both its written forms are read.
fn code(value: &Value) -> String {
    let cid = value["ref"]["$link"].as_str().or(value["ref"].as_str()).or(value["cid"].as_str());
    let size = value["size"].as_u64().map(|size| format!(" ({})", output::size(size)));
    format!("{}{}", cid.unwrap_or("?"), size.unwrap_or_default())
}

fn reads(value: Option<&Value>) -> String {
    match value {
        None => "any public repo".to_owned(),
        Some(Value::Array(entries)) if entries.is_empty() => "nothing".to_owned(),
        Some(Value::Array(entries)) => entries.iter().map(plain).collect::<Vec<_>>().join(", "),
        Some(value) => plain(value),
    }
}

/// What left a list and what came into it.
fn entries(old: &[Value], new: &[Value]) -> Vec<Line> {
    let gone = old.iter().filter(|entry| !new.contains(entry));
    let come = new.iter().filter(|entry| !old.contains(entry));
    let line = |old: Option<&Value>, new: Option<&Value>| Line {
        place: String::new(),
        old: old.map(plain),
        new: new.map(plain),
    };
    let lines: Vec<Line> =
        gone.map(|entry| line(Some(entry), None)).chain(come.map(|entry| line(None, Some(entry)))).collect();
    // In another order, or twice: the same entries all the same, but another record.
    if lines.is_empty() {
        whole(Some(reads(Some(&old.into()))), Some(reads(Some(&new.into()))))
    } else {
        lines
    }
}

/// A line for each leaf that differs, by its JSON Pointer.
fn leaves(old: Option<&Value>, new: Option<&Value>) -> Vec<Line> {
    let (mut before, mut after) = (BTreeMap::new(), BTreeMap::new());
    old.into_iter().for_each(|value| collect(value, &mut String::new(), &mut before));
    new.into_iter().for_each(|value| collect(value, &mut String::new(), &mut after));
    let places: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing = places.into_iter().filter(|place| before.get(*place) != after.get(*place));
    differing
        .map(|place| Line {
            place: place.clone(),
            old: before.get(place).cloned(),
            new: after.get(place).cloned(),
        })
        .collect()
}

fn collect(value: &Value, place: &mut String, into: &mut BTreeMap<String, String>) {
    let length = place.len();
    let mut below = |name: &str, value: &Value| {
        place.push('/');
        place.push_str(&name.replace('~', "~0").replace('/', "~1"));
        collect(value, place, into);
        place.truncate(length);
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| below(name, value));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(index, value)| below(&index.to_string(), value));
        }
        leaf => {
            into.insert(place.clone(), leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(old: Option<Value>, new: &Value) -> String {
        Changes::between(old.as_ref(), new).text(Colour::OFF)
    }

    fn record() -> Value {
        json!({
            "$type": "at.functions.metadata", "name": "echo", "version": "0.1.0", "updatedAt": "then", "mode": "pure-v1",
            "code": {"$type": "blob", "ref": {"$link": "bafkone"}, "mimeType": "application/wasm", "size": 2048},
            "entrypoint": "run", "inputEncoding": "application/json", "outputEncoding": "application/json",
            "maxMemoryMb": 32, "maxDurationMs": 100, "public": true,
        })
    }

    #[test]
    fn records_that_say_the_same_have_no_changes() {
        let mut later = record();
        later["updatedAt"] = "now".into();
        assert!(Changes::between(Some(&record()), &later).is_empty());
        // An older record leaves out what is the default.
        let mut bare = record();
        for name in
            ["entrypoint", "inputEncoding", "outputEncoding", "maxMemoryMb", "maxDurationMs", "public"]
        {
            bare.as_object_mut().unwrap().remove(name);
        }
        assert!(Changes::between(Some(&bare), &record()).is_empty());
    }

    #[test]
    fn each_field_that_changes_is_told_in_a_fixed_order() {
        let mut new = record();
        new["public"] = false.into();
        new["maxMemoryMb"] = 64.into();
        new["version"] = "0.2.0".into();
        new["description"] = "says it again".into();
        new["code"] = json!({"ref": {"$link": "bafktwo"}, "size": 3072});
        new["allowedHosts"] = json!([]);
        new["strictOutput"] = true.into();
        assert_eq!(
            text(Some(record()), &new),
            "  version       0.1.0 -> 0.2.0\n\
             \x20 description   + says it again\n\
             \x20 code          bafkone (2.0 KiB) -> bafktwo (3.0 KiB)\n\
             \x20 maxMemoryMb   32 -> 64\n\
             \x20 public        true -> false\n\
             \x20 allowedHosts  any public repo -> nothing\n\
             \x20 strictOutput  false -> true\n"
        );
        let changes = Changes::between(Some(&record()), &new);
        assert!(changes.touch("code") && !changes.touch("mode"));
    }

    #[test]
    fn long_values_stand_below_each_other() {
        let mut new = record();
        new["description"] = "b".repeat(30).into();
        let mut old = record();
        old["description"] = "a".repeat(30).into();
        let (a, b) = ("a".repeat(30), "b".repeat(30));
        assert_eq!(text(Some(old), &new), format!("  description  - {a}\n               + {b}\n"));
    }

    #[test]
    fn lists_and_schemas_are_told_by_what_left_and_what_came() {
        let (mut old, mut new) = (record(), record());
        old["allowedHosts"] = json!(["at://a.com", "at://b.com"]);
        new["allowedHosts"] = json!(["at://b.com", "at://c.com/x.y.z"]);
        old["inputSchema"] =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}});
        new["inputSchema"] = json!({"type": "object", "required": ["a", "b/c"], "properties": {"a": {"type": "number"}, "b/c": {}}});
        assert_eq!(
            text(Some(old.clone()), &new),
            "  allowedHosts  - at://a.com\n\
             \x20               + at://c.com/x.y.z\n\
             \x20 inputSchema   /properties/a/type \"string\" -> \"number\"\n\
             \x20               + /properties/b~1c {}\n\
             \x20               + /required/1 \"b/c\"\n"
        );
        new["allowedHosts"] = json!(["at://b.com", "at://a.com"]);
        assert!(Changes::between(Some(&old), &new).touch("allowedHosts"));
    }

    #[test]
    fn a_first_record_is_all_new_and_a_long_field_is_cut() {
        let mut new = record();
        let many: Map<String, Value> = (0..40).map(|n| (format!("p{n}"), json!(n))).collect();
        new["inputSchema"] = many.into();
        let told = text(None, &new);
        assert!(told.starts_with("  name           + echo\n"), "{told}");
        assert!(told.contains("and 28 more") && !told.contains("entrypoint"), "{told}");
    }

    #[test]
    fn a_strangers_record_cannot_drive_the_terminal() {
        let told =
            text(Some(json!({"name": "\x1b[2J", "\x1b]0;x": 1, "code": 7, "allowedHosts": "x"})), &record());
        assert!(!told.contains('\x1b'), "{told}");
    }
}
