//! The lexicon files: sound by the rules of the Lexicon language, and true to what is published.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// Every error of `at.functions.run`: name and status.
const RUN_ERRORS: [(&str, u16); 28] = [
    ("InvalidRequest", 400),
    ("FunctionNotFound", 400),
    ("InvalidFunction", 400),
    ("InvalidInput", 400),
    ("FunctionChanged", 400),
    ("IdempotencyKeyReuse", 400),
    ("AuthMissing", 401),
    ("BadJwt", 401),
    ("BadJwtType", 401),
    ("JwtExpired", 401),
    ("BadJwtAudience", 401),
    ("BadJwtLexiconMethod", 401),
    ("BadJwtIss", 401),
    ("BadJwtSignature", 401),
    ("JwtReplayed", 401),
    ("CallerBlocked", 403),
    ("FunctionBlocked", 403),
    ("FunctionNotPublic", 403),
    ("AuthorInactive", 403),
    ("PayloadTooLarge", 413),
    ("UnsupportedMediaType", 415),
    ("RateLimitExceeded", 429),
    ("MethodNotImplemented", 501),
    ("IssuerUnreachable", 502),
    ("RepoUnreachable", 502),
    ("UnverifiedFunction", 502),
    ("NotEnoughResources", 503),
    ("RepoTimeout", 504),
];

/// Words that Lexicon does not have but that stand in a published file, which stays as it is
/// (`lexicons/README.md`).
const PUBLISHED_MISTAKES: [(&str, &str); 2] =
    [("at.functions.workflow", "minItems"), ("at.functions.workflow", "maxItems")];

fn lexicons() -> Vec<(PathBuf, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lexicons");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn lexicon(id: &str) -> Value {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("lexicons/{id}.json")))
}

#[test]
fn every_file_is_a_lexicon_of_its_name() {
    let mut ids = Vec::new();
    for (path, lexicon) in lexicons() {
        let id = lexicon["id"].as_str().unwrap();
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), format!("{id}.json"));
        at_functions::lexicon::Nsid::parse(id).unwrap();
        check_lexicon(id, &lexicon).unwrap_or_else(|fault| panic!("{id}: {fault}"));
        ids.push(id.to_owned());
    }
    assert_eq!(
        ids,
        [
            "at.functions.describe",
            "at.functions.grant",
            "at.functions.metadata",
            "at.functions.run",
            "at.functions.workflow"
        ]
    );
}

#[test]
fn the_check_of_lexicons_finds_faults() {
    let broken = |change: fn(&mut Value)| {
        let mut lexicon = lexicon("at.functions.run");
        change(&mut lexicon);
        check_lexicon("at.functions.run", &lexicon).unwrap_err()
    };
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 9] = [
        (|l| l["lexicon"] = 2.into(), "version"),
        (|l| l["defs"]["usage"]["required"] = serde_json::json!(["nope"]), "required: nope"),
        (|l| l["defs"]["usage"]["properties"]["cache"]["type"] = "text".into(), "cache: type text"),
        (|l| l["defs"]["usage"]["properties"]["cache"]["maxItems"] = 1.into(), "cache: maxItems"),
        (|l| l["defs"]["usage"]["properties"]["cache"]["format"] = "uuid".into(), "cache: format uuid"),
        (|l| l["defs"]["usage"]["properties"]["cpuMicros"]["minimum"] = 0.5.into(), "cpuMicros: minimum"),
        (|l| l["defs"]["main"]["output"]["schema"]["properties"]["usage"]["ref"] = "#use".into(), "ref #use"),
        (|l| l["defs"]["main"]["errors"][0]["name"] = "Not a name".into(), "error name"),
        (|l| l["defs"]["other"] = l["defs"]["main"].clone(), "other: type procedure"),
    ];
    for (change, fault) in cases {
        let found = broken(change);
        assert!(found.contains(fault), "{found} for {fault}");
    }
}

#[test]
fn the_run_lexicon_lists_every_error_and_no_other() {
    let run = lexicon("at.functions.run");
    let listed: Vec<(String, String)> = run["defs"]["main"]["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["name"].as_str().unwrap().into(), error["description"].as_str().unwrap().into()))
        .collect();
    let names: Vec<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, RUN_ERRORS.map(|(name, _)| name));
    for ((name, description), (_, status)) in listed.iter().zip(RUN_ERRORS) {
        assert!(description.starts_with(&format!("{status}. ")), "{name}: {description}");
    }
}

#[test]
fn the_describe_lexicon_has_errors_of_a_run_with_their_statuses() {
    let describe = lexicon("at.functions.describe");
    let errors = describe["defs"]["main"]["errors"].as_array().unwrap();
    let statuses: std::collections::BTreeMap<&str, u16> = RUN_ERRORS.into_iter().collect();
    for error in errors {
        let (name, description) = (text(error, "name").unwrap(), text(error, "description").unwrap());
        assert!(description.starts_with(&format!("{}. ", statuses[name])), "{name}: {description}");
    }
    // All but those of inputs, bodies and runs, and one that is an answer here.
    let left_out: Vec<&str> =
        statuses.into_keys().filter(|name| !errors.iter().any(|error| error["name"] == *name)).collect();
    assert_eq!(
        left_out,
        [
            "FunctionChanged",
            "FunctionNotPublic",
            "IdempotencyKeyReuse",
            "InvalidInput",
            "JwtReplayed",
            "PayloadTooLarge",
            "UnsupportedMediaType"
        ]
    );
}

#[test]
fn the_manual_for_callers_has_a_row_for_every_error() {
    let manual = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/calling.md")).unwrap();
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let status: u16 = cells.next()?.parse().ok()?;
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), status))
    };
    let rows: Vec<(String, u16)> = manual.lines().filter_map(row).collect();
    assert_eq!(rows, RUN_ERRORS.map(|(name, status)| (name.to_owned(), status)));
}

#[test]
fn the_run_lexicon_lists_every_outcome_of_a_failed_run() {
    let run = lexicon("at.functions.run");
    assert_eq!(
        run["defs"]["main"]["output"]["schema"]["properties"]["outcome"]["knownValues"],
        serde_json::json!([
            "guestError",
            "trap",
            "timeout",
            "memoryExceeded",
            "outputInvalid",
            "outputTooLarge",
            "hostCallLimit",
            "canceled"
        ])
    );
}

#[test]
fn what_is_published_is_only_added_to() {
    for id in ["at.functions.metadata", "at.functions.run"] {
        let path = format!("{}/tests/it/lexicons/published/{id}.json", env!("CARGO_MANIFEST_DIR"));
        check_extends(id, &read(Path::new(&path)), &lexicon(id)).unwrap();
    }
}

#[test]
fn the_readme_names_every_extension_of_what_is_published_and_no_other() {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/lexicons/README.md")).unwrap();
    let told = |row: &str| -> BTreeSet<String> {
        let start = format!("| {row} | ");
        let cell = readme.lines().find_map(|line| line.strip_prefix(start.as_str())).expect(row);
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let names = |value: &Value| -> BTreeSet<String> {
        match value {
            Value::Object(fields) => fields.keys().cloned().collect(),
            values => strings(values).unwrap().into_iter().map(str::to_owned).collect(),
        }
    };
    let added = |id: &str, pointers: &[&str]| -> BTreeSet<String> {
        let path = format!("{}/tests/it/lexicons/published/{id}.json", env!("CARGO_MANIFEST_DIR"));
        let (published, extended) = (read(Path::new(&path)), lexicon(id));
        let at = |lexicon: &Value, pointer: &str| names(lexicon.pointer(pointer).expect(pointer));
        pointers.iter().flat_map(|pointer| &at(&extended, pointer) - &at(&published, pointer)).collect()
    };
    let record = "/defs/main/record/properties";
    let modes = "/defs/main/record/properties/mode/knownValues";
    let (input, output) = ("/defs/main/input/schema/properties", "/defs/main/output/schema/properties");
    assert_eq!(told("`at.functions.metadata`"), added("at.functions.metadata", &[record, modes]));
    assert_eq!(told("`at.functions.run`, input"), added("at.functions.run", &[input]));
    assert_eq!(told("`at.functions.run`, output"), added("at.functions.run", &[output]));
}

/// Whether `extended` has all of `published` unchanged, and only what the evolution rules let it add.
fn check_extends(at: &str, published: &Value, extended: &Value) -> Result<(), String> {
    match (published, extended) {
        (Value::Object(published), Value::Object(extended)) => {
            for (key, value) in published {
                let at = format!("{at}/{key}");
                let counterpart = extended.get(key).ok_or(format!("{at} is gone"))?;
                match key.as_str() {
                    "knownValues" => check_superset(&at, value, counterpart)?,
                    _ => check_extends(&at, value, counterpart)?,
                }
            }
            // Constraints may not be added to what exists; fields, definitions and errors may.
            let may_grow = at.ends_with("/properties") || at.ends_with("/defs");
            match extended.keys().find(|key| !published.contains_key(*key) && *key != "errors") {
                Some(key) if !may_grow => Err(format!("{at}/{key} is new")),
                _ => Ok(()),
            }
        }
        (published, extended) if published == extended => Ok(()),
        _ => Err(format!("{at} changed")),
    }
}

fn check_superset(at: &str, published: &Value, extended: &Value) -> Result<(), String> {
    let extended = extended.as_array().ok_or(format!("{at} is no array"))?;
    let published = published.as_array().ok_or(format!("{at} is no array"))?;
    if extended.starts_with(published) { Ok(()) } else { Err(format!("{at} lost a value")) }
}

/// The Lexicon language, as far as these files use it: <https://atproto.com/specs/lexicon>.
fn check_lexicon(id: &str, lexicon: &Value) -> Result<(), String> {
    if lexicon["lexicon"] != 1 {
        return Err("the version of the language is 1".into());
    }
    only(id, "the file", object(lexicon)?, &["lexicon", "id", "description", "defs"])?;
    let defs = object(&lexicon["defs"])?;
    if !defs.contains_key("main") {
        return Err("there is no main".into());
    }
    let file = File { id, defs: defs.keys().map(String::as_str).collect() };
    for (name, def) in defs {
        match (name.as_str(), text(def, "type")?) {
            ("main", "record") => {
                file.only(name, def, &["type", "description", "key", "record"])?;
                if !matches!(text(def, "key")?, "any" | "tid" | "nsid") {
                    return Err(format!("{name}: key"));
                }
                file.object(name, &def["record"])?;
            }
            ("main", "procedure") => {
                file.only(name, def, &["type", "description", "input", "output", "errors"])?;
                for body in ["input", "output"] {
                    file.only(body, &def[body], &["encoding", "schema", "description"])?;
                    text(&def[body], "encoding")?;
                    file.object(body, &def[body]["schema"])?;
                }
                file.errors(&def["errors"])?;
            }
            ("main", "query") => {
                file.only(name, def, &["type", "description", "parameters", "output", "errors"])?;
                file.parameters(&def["parameters"])?;
                file.only("output", &def["output"], &["encoding", "schema", "description"])?;
                text(&def["output"], "encoding")?;
                file.object("output", &def["output"]["schema"])?;
                file.errors(&def["errors"])?;
            }
            (_, "object") => file.object(name, def)?,
            (_, other) => return Err(format!("{name}: type {other} is not defined here")),
        }
    }
    Ok(())
}

struct File<'a> {
    id: &'a str,
    defs: BTreeSet<&'a str>,
}

impl File<'_> {
    fn object(&self, at: &str, schema: &Value) -> Result<(), String> {
        self.only(at, schema, &["type", "description", "required", "nullable", "properties"])?;
        if text(schema, "type")? != "object" {
            return Err(format!("{at}: not an object"));
        }
        let properties = object(&schema["properties"])?;
        for name in strings(&schema["required"])? {
            if !properties.contains_key(name) {
                return Err(format!("{at}: required: {name} is no property"));
            }
        }
        properties.iter().try_for_each(|(name, field)| self.field(name, field))
    }

    fn parameters(&self, params: &Value) -> Result<(), String> {
        if text(params, "type")? != "params" {
            return Err("parameters: not params".into());
        }
        for (name, field) in object(&params["properties"])? {
            if !["boolean", "integer", "string", "unknown", "array"].contains(&text(field, "type")?) {
                return Err(format!("{name}: no type of a parameter"));
            }
        }
        let as_object = serde_json::json!({
            "type": "object", "required": params["required"], "properties": params["properties"],
        });
        self.object("parameters", &as_object)
    }

    fn field(&self, at: &str, field: &Value) -> Result<(), String> {
        let (words, integers): (&[&str], &[&str]) = match text(field, "type")? {
            "boolean" => (&["default", "const"], &[]),
            "integer" => (&["default", "const", "enum"], &["minimum", "maximum"]),
            "string" => (
                &["format", "default", "const", "enum", "knownValues"],
                &["minLength", "maxLength", "minGraphemes", "maxGraphemes"],
            ),
            "array" => (&["items"], &["minLength", "maxLength"]),
            "blob" => (&["accept"], &["maxSize"]),
            "ref" => (&["ref"], &[]),
            "unknown" => (&[], &[]),
            other => return Err(format!("{at}: type {other}")),
        };
        self.only(at, field, &[&["type", "description"], words, integers].concat())?;
        for name in integers {
            if field.get(name).is_some_and(|value| value.as_i64().is_none()) {
                return Err(format!("{at}: {name} is not an integer"));
            }
        }
        for name in ["knownValues", "enum", "accept"] {
            strings(&field[name]).map_err(|fault| format!("{at}: {name}: {fault}"))?;
        }
        if let Some(format) = field.get("format")
            && !["at-uri", "cid", "datetime", "did"].iter().any(|known| format == known)
        {
            return Err(format!("{at}: format {}", format.as_str().unwrap_or("?")));
        }
        if let Some(target) = field.get("ref") {
            let target = target.as_str().unwrap_or_default();
            if !target.strip_prefix('#').is_some_and(|name| self.defs.contains(name)) {
                return Err(format!("{at}: ref {target}"));
            }
        }
        match field.get("items") {
            Some(items) => self.field(&format!("{at} items"), items),
            None => Ok(()),
        }
    }

    fn errors(&self, errors: &Value) -> Result<(), String> {
        for error in errors.as_array().ok_or("errors: no array")? {
            self.only("errors", error, &["name", "description"])?;
            let name = text(error, "name")?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(format!("error name {name}"));
            }
            text(error, "description")?;
        }
        Ok(())
    }

    fn only(&self, at: &str, value: &Value, words: &[&str]) -> Result<(), String> {
        only(self.id, at, object(value)?, words)
    }
}

fn only(id: &str, at: &str, object: &Map<String, Value>, words: &[&str]) -> Result<(), String> {
    let known = |word: &str| words.contains(&word) || PUBLISHED_MISTAKES.contains(&(id, word));
    match object.keys().find(|word| !known(word)) {
        Some(word) => Err(format!("{at}: {word} is no word of Lexicon here")),
        None => Ok(()),
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("no object: {value}"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    value[name].as_str().ok_or_else(|| format!("{name} is no string in {value}"))
}

/// The strings of an array; an absent array has none.
fn strings(value: &Value) -> Result<Vec<&str>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        value => value
            .as_array()
            .ok_or("no array")?
            .iter()
            .map(|item| item.as_str().ok_or_else(|| "not all are strings".to_owned()))
            .collect(),
    }
}
