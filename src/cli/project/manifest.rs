//! What `at-functions.toml` says of a function, checked. What is wrong names its line.

use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::Error as _;
use toml::Spanned;

use super::super::{deploy, record};
use super::keys;
use crate::lexicon::{FunctionMetadata, Mode, RecordKey};
use crate::policy::MAX_SCOPES;

/// A function as its author describes it; the fields of its record that do not come from the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Manifest {
    pub(in crate::cli) name: String,
    /// `rkey`, or the name.
    pub(in crate::cli) rkey: RecordKey,
    pub(in crate::cli) version: String,
    pub(in crate::cli) description: Option<String>,
    /// Absent: by what the module imports and exports.
    pub(in crate::cli) mode: Option<Mode>,
    pub(in crate::cli) public: bool,
    /// MiB.
    pub(in crate::cli) max_memory_mb: u16,
    /// Milliseconds.
    pub(in crate::cli) max_duration_ms: u16,
    /// Absent: any public repo that an operator lets it; empty: none.
    pub(in crate::cli) allowed_hosts: Option<Vec<String>>,
    /// Within the project.
    pub(in crate::cli) input_schema: Option<PathBuf>,
    /// Within the project.
    pub(in crate::cli) output_schema: Option<PathBuf>,
    pub(in crate::cli) strict_output: bool,
    pub(in crate::cli) build: Build,
}

/// How the module comes to be. Paths start at the project's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(in crate::cli) struct Build {
    /// A line for the shell, run in the project's folder; absent: the module is there already.
    #[serde(default, deserialize_with = "command")]
    pub(in crate::cli) command: Option<String>,
    /// What the command writes.
    #[serde(deserialize_with = "path")]
    pub(in crate::cli) module: PathBuf,
    /// Files and folders whose change calls for a build; absent: all but what builds write.
    #[serde(default, deserialize_with = "paths")]
    pub(in crate::cli) watch: Option<Vec<PathBuf>>,
}

/// What is wrong with a manifest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Counted from one.
    pub(super) line: Option<usize>,
    pub(super) why: String,
}

impl Manifest {
    /// Reads a manifest.
    pub(super) fn parse(text: &str) -> Result<Manifest, Fault> {
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let why = keys::told(&error.message().trim_end().replace('\n', " "));
            Fault { line: error.span().map(|span| line_of(text, &span)), why }
        })?;
        raw.checked().map_err(|(span, why)| Fault { line: Some(line_of(text, &span)), why })
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}

/// The file's own shape; each value is checked where it stands, so that an error knows its line.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Raw {
    #[serde(deserialize_with = "name")]
    name: Spanned<String>,
    #[serde(default, deserialize_with = "rkey")]
    rkey: Option<RecordKey>,
    #[serde(deserialize_with = "version")]
    version: String,
    #[serde(default, deserialize_with = "description")]
    description: Option<String>,
    #[serde(default, deserialize_with = "mode")]
    mode: Option<Mode>,
    #[serde(default = "yes")]
    public: bool,
    #[serde(default = "default_memory", deserialize_with = "memory")]
    max_memory_mb: u16,
    #[serde(default = "default_duration", deserialize_with = "duration")]
    max_duration_ms: u16,
    #[serde(default, deserialize_with = "hosts")]
    allowed_hosts: Option<Vec<String>>,
    #[serde(default, deserialize_with = "some_path")]
    input_schema: Option<PathBuf>,
    #[serde(default, deserialize_with = "some_path")]
    output_schema: Option<PathBuf>,
    #[serde(default)]
    strict_output: Option<Spanned<bool>>,
    build: Build,
}

impl Raw {
    /// What one value says of another.
    fn checked(self) -> Result<Manifest, (Range<usize>, String)> {
        let rkey = match self.rkey {
            Some(rkey) => rkey,
            None => RecordKey::parse(self.name.get_ref()).map_err(|error| {
                let slug = record::slug(self.name.get_ref());
                (self.name.span(), format!("name: as key of the record {error}; add `rkey = \"{slug}\"`"))
            })?,
        };
        let strict_output = match self.strict_output {
            Some(strict) if *strict.get_ref() && self.output_schema.is_none() => {
                let why =
                    "strict-output: there is no schema to be strict about; add `output-schema = \"FILE\"`";
                return Err((strict.span(), why.to_owned()));
            }
            strict => strict.is_some_and(Spanned::into_inner),
        };
        Ok(Manifest {
            name: self.name.into_inner(),
            rkey,
            version: self.version,
            description: self.description,
            mode: self.mode,
            public: self.public,
            max_memory_mb: self.max_memory_mb,
            max_duration_ms: self.max_duration_ms,
            allowed_hosts: self.allowed_hosts,
            input_schema: self.input_schema,
            output_schema: self.output_schema,
            strict_output,
            build: self.build,
        })
    }
}

type Deserialized<'de, D, T> = Result<T, <D as serde::Deserializer<'de>>::Error>;

/// A text that `check` takes; the key is named in what is said of one that it does not take.
fn text<'de, D: serde::Deserializer<'de>, T>(
    deserializer: D,
    key: &str,
    check: impl FnOnce(&str) -> Result<T, String>,
) -> Deserialized<'de, D, T> {
    let text = String::deserialize(deserializer)?;
    check(&text).map_err(|why| D::Error::custom(format!("{key}: {why}")))
}

fn name<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Spanned<String>> {
    let name = Spanned::<String>::deserialize(deserializer)?;
    deploy::name(name.get_ref()).map_err(|why| D::Error::custom(format!("name: {why}")))?;
    Ok(name)
}

fn rkey<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<RecordKey>> {
    text(deserializer, "rkey", deploy::rkey).map(Some)
}

fn version<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, String> {
    text(deserializer, "version", deploy::version)
}

fn description<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<String>> {
    text(deserializer, "description", deploy::description).map(Some)
}

fn mode<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<Mode>> {
    text(deserializer, "mode", deploy::mode).map(Some)
}

fn command<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<String>> {
    text(deserializer, "command", |command| match command.trim() {
        "" => Err("it is empty; leave it out where the module is there already".to_owned()),
        command => Ok(Some(command.to_owned())),
    })
}

fn path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, PathBuf> {
    text(deserializer, "path", file_path)
}

fn some_path<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<PathBuf>> {
    path(deserializer).map(Some)
}

fn paths<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<Vec<PathBuf>>> {
    let paths = Vec::<String>::deserialize(deserializer)?;
    let checked = paths.iter().map(|path| file_path(path)).collect::<Result<_, _>>();
    checked.map(Some).map_err(|why| D::Error::custom(format!("watch: {why}")))
}

fn file_path(path: &str) -> Result<PathBuf, String> {
    match path {
        "" => Err("it is empty; give a path that starts at the project's folder".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

fn hosts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, Option<Vec<String>>> {
    let hosts = Vec::<String>::deserialize(deserializer)?;
    if hosts.len() > MAX_SCOPES {
        let why = format!("allowed-hosts: {} entries, a service considers {MAX_SCOPES}", hosts.len());
        return Err(D::Error::custom(why));
    }
    let checked = hosts.iter().map(|host| deploy::allowed(host).map_err(|why| format!("\"{host}\": {why}")));
    let checked = checked.collect::<Result<_, _>>();
    checked.map(Some).map_err(|why| D::Error::custom(format!("allowed-hosts: {why}")))
}

fn memory<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, u16> {
    within(deserializer, "max-memory-mb", FunctionMetadata::MAX_MEMORY_MB)
}

fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Deserialized<'de, D, u16> {
    within(deserializer, "max-duration-ms", FunctionMetadata::MAX_DURATION_MS)
}

fn within<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
    key: &str,
    max: u16,
) -> Deserialized<'de, D, u16> {
    let given = i64::deserialize(deserializer)?;
    let value = u16::try_from(given).ok().filter(|value| (1..=max).contains(value));
    value.ok_or_else(|| D::Error::custom(format!("{key}: {given} is not within 1 to {max}")))
}

fn default_memory() -> u16 {
    FunctionMetadata::DEFAULT_MEMORY_MB
}

fn default_duration() -> u16 {
    FunctionMetadata::DEFAULT_DURATION_MS
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = \"words\"\nversion = \"0.1.0\"\n[build]\nmodule = \"words.wasm\"\n";

    fn fault(text: &str) -> (usize, String) {
        let fault = Manifest::parse(text).unwrap_err();
        (fault.line.unwrap(), fault.why)
    }

    /// The least manifest, with these lines above its table.
    fn with(lines: &str) -> String {
        LEAST.replace("[build]", &format!("{lines}\n[build]"))
    }

    #[test]
    fn what_is_left_out_is_as_the_lexicon_has_it() {
        let manifest = Manifest::parse(LEAST).unwrap();
        let expected = Manifest {
            name: "words".into(),
            rkey: RecordKey::parse("words").unwrap(),
            version: "0.1.0".into(),
            description: None,
            mode: None,
            public: true,
            max_memory_mb: 32,
            max_duration_ms: 100,
            allowed_hosts: None,
            input_schema: None,
            output_schema: None,
            strict_output: false,
            build: Build { command: None, module: "words.wasm".into(), watch: None },
        };
        assert_eq!(manifest, expected);
    }

    #[test]
    fn every_field_is_read() {
        let text = r#"
            name = "Word count"
            rkey = "words"
            version = "1.2.0"
            description = "Counts words"
            mode = "host-v1"
            public = false
            max-memory-mb = 16
            max-duration-ms = 50
            allowed-hosts = ["at://alice.example.com"]
            input-schema = "schemas/input.json"
            output-schema = "schemas/output.json"
            strict-output = true
            [build]
            command = "make"
            module = "out/words.wasm"
            watch = ["src", "schemas"]
        "#;
        let expected = Manifest {
            name: "Word count".into(),
            rkey: RecordKey::parse("words").unwrap(),
            version: "1.2.0".into(),
            description: Some("Counts words".into()),
            mode: Some(Mode::HostV1),
            public: false,
            max_memory_mb: 16,
            max_duration_ms: 50,
            allowed_hosts: Some(vec!["at://alice.example.com".into()]),
            input_schema: Some("schemas/input.json".into()),
            output_schema: Some("schemas/output.json".into()),
            strict_output: true,
            build: Build {
                command: Some("make".into()),
                module: "out/words.wasm".into(),
                watch: Some(vec!["src".into(), "schemas".into()]),
            },
        };
        assert_eq!(Manifest::parse(text).unwrap(), expected);
        let none = Manifest::parse(&with("allowed-hosts = []")).unwrap();
        assert_eq!(none.allowed_hosts, Some(vec![]));
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line_and_what_would_do() {
        let long = "x".repeat(33);
        let cases = [
            ("mode = \"pure-v2\"", "mode: there are these modes: pure-v1, "),
            ("max-memory-mb = 0", "max-memory-mb: 0 is not within 1 to 256"),
            ("max-memory-mb = 257", "max-memory-mb: 257 is not within 1 to 256"),
            ("max-duration-ms = -1", "max-duration-ms: -1 is not within 1 to 5000"),
            ("public = \"no\"", "invalid type: string \"no\", expected a boolean"),
            (
                "allowed-hosts = [\"https://a.com\"]",
                "allowed-hosts: \"https://a.com\": this covers nothing: ",
            ),
            ("rkey = \"a b\"", "rkey: "),
            ("description = \"\"", "description: it must not be empty"),
            (
                "strict-output = true",
                "strict-output: there is no schema to be strict about; add `output-schema",
            ),
            ("input-schema = \"\"", "path: it is empty; give a path"),
            ("max-memory = 5", "there is no key `max-memory`: did you mean `max-memory-mb`?"),
            ("public = maybe", ""),
        ];
        for (line, why) in cases {
            let (at, told) = fault(&with(line));
            assert_eq!(at, 3, "{line}: {told}");
            assert!(told.starts_with(why), "{line}: {told}");
        }
        let (at, told) = fault(&LEAST.replace("0.1.0", &long));
        assert_eq!((at, told.as_str()), (2, "version: it has 33 bytes, at most 32 are allowed"));
    }

    #[test]
    fn a_name_that_is_no_record_key_is_answered_with_one() {
        let (at, told) = fault(&LEAST.replace("words\"\nv", "Word count\"\nv"));
        assert_eq!(at, 1);
        assert!(told.ends_with("add `rkey = \"word-count\"`"), "{told}");
        assert!(
            fault(&LEAST.replace("name = \"words\"\n", "")).1.contains("there is no name, which is needed")
        );
        assert!(fault("name = \"a\"\nversion = \"1\"\n").1.contains("there is no build, which is needed"));
    }
}
