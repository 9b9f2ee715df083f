//! `new`: a project that builds and runs at once.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::error::CliError;
use super::output::{Report, printable};
use super::record;
use super::templates::{self, Template};

/// Names that Rust or Cargo keeps for itself.
const KEPT_BY_RUST: [&str; 60] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];
const MAX_NAME_BYTES: usize = 64;

/// Make a new project of a function, which builds and runs at once.
///
/// The folder gets an at-functions.toml, a function with a test of its own, schemas and a README. Those in Rust also get the SDK
/// they are built with, as source: it belongs to the project, and no registry or service is needed to build it.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Templates:
  rust-pure       Rust, pure-v1: computes something of its input alone
  rust-host       Rust, host-v1: reads records, knows its caller, logs
  rust-component  Rust, component-v1: the same, with errors that are errors
  assemblyscript  AssemblyScript, cstr-v1: for those who write TypeScript
  c               C, wasi-v1: a program that reads stdin and writes stdout
  zig             Zig, pure-v1

Examples:
  at-functions new my-function
  at-functions new my-function --template assemblyscript

",
    exit_codes!()
))]
pub(super) struct NewArgs {
    /// The folder to make; it must not exist, or be empty
    dir: PathBuf,
    /// What to start from
    #[arg(long, short, value_enum, default_value_t = Template::RustPure)]
    template: Template,
    /// The function's name [default: the folder's]
    #[arg(long)]
    name: Option<String>,
    /// Print JSON: {dir, name, template, files}
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn new(args: &NewArgs) -> Result<Report, CliError> {
    let name = match &args.name {
        Some(name) => checked(name, args.template).map_err(|why| CliError::setting("--name", why))?,
        None => {
            let folder = folder_name(&args.dir)?;
            checked(&folder, args.template)
                .map_err(|why| CliError::setting(format!("the name {folder}"), why))?
        }
    };
    must_be_empty(&args.dir)?;
    let files = templates::files(args.template, &name);
    for (path, text) in &files {
        write(&args.dir.join(path), text)?;
    }
    let paths: Vec<_> = files.iter().map(|(path, _)| path).collect();
    let value = json!({"dir": args.dir, "name": name, "template": args.template.as_str(), "files": paths});
    Ok(Report::json_or(args.json, &value, || told(args, &name, files.len())))
}

fn told(args: &NewArgs, name: &str, files: usize) -> String {
    let dir = printable(&args.dir.display().to_string());
    let enter = if dir == "." { String::new() } else { format!("  cd {}\n", quoted(&dir)) };
    format!(
        "made {name} in {dir}, {files} files: start with README.md\n\n{enter}  at-functions build\n  at-functions run\n  at-functions dev"
    )
}

/// As a shell takes it.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    match path.chars().all(is_plain) {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// The name of the folder, which may be `.`.
fn folder_name(dir: &Path) -> Result<String, CliError> {
    let absolute = std::path::absolute(dir).map_err(|source| file_error(dir, source))?;
    let absolute = absolute.canonicalize().unwrap_or(absolute);
    match absolute.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(name.to_owned()),
        None => Err(CliError::setting(dir.display().to_string(), "it has no name: give one with --name")),
    }
}

/// A name that does for a record key, for a crate and for a package.
fn checked(name: &str, template: Template) -> Result<String, String> {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !name.ends_with('-')
        && name.len() <= MAX_NAME_BYTES;
    if !is_plain {
        let slug = record::slug(name);
        let slug = slug.trim_start_matches(|c: char| !c.is_ascii_lowercase());
        let slug = &slug[..slug.len().min(MAX_NAME_BYTES)];
        let better = if slug.is_empty() { "my-function" } else { slug.trim_end_matches('-') };
        return Err(format!(
            "a name is a letter, then letters, digits and hyphens, all lower case, up to {MAX_NAME_BYTES}: try --name {better}"
        ));
    }
    if template.is_rust() && KEPT_BY_RUST.contains(&name) {
        return Err(format!("Rust keeps this name for itself: try --name my-{name}"));
    }
    Ok(name.to_owned())
}

fn must_be_empty(dir: &Path) -> Result<(), CliError> {
    let mut entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|source| file_error(dir, source))?,
    };
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let why = "this folder is not empty: give one that is not there yet";
            Err(CliError::setting(dir.display().to_string(), why))
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, text));
    let written = written.and_then(|()| if text.starts_with("#!") { runnable(path) } else { Ok(()) });
    written
        .map_err(|error| CliError::setting(path.display().to_string(), format!("cannot be written: {error}")))
}

fn runnable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

fn file_error(path: &Path, source: std::io::Error) -> CliError {
    CliError::File { path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_do_is_answered_with_one_that_does() {
        for name in ["a", "my-function", "words2"] {
            assert_eq!(checked(name, Template::RustPure).as_deref(), Ok(name));
        }
        let long = "a".repeat(65);
        for (name, better) in [
            ("My Function", "my-function"),
            ("2words", "words"),
            ("words_", "words"),
            ("ü", "my-function"),
            ("", "my-function"),
            ("123", "my-function"),
            ("a-", "a"),
            (&long, &long[..64]),
        ] {
            let why = checked(name, Template::RustPure).unwrap_err();
            assert!(why.ends_with(&format!("try --name {better}")), "{name}: {why}");
            assert_eq!(checked(better, Template::RustPure).as_deref(), Ok(better));
        }
        assert!(checked("test", Template::RustHost).unwrap_err().ends_with("try --name my-test"));
        assert_eq!(checked("test", Template::C).as_deref(), Ok("test"));
    }

    #[test]
    fn a_path_is_quoted_where_a_shell_would_take_it_apart() {
        assert_eq!(quoted("a/b-c.d"), "a/b-c.d");
        assert_eq!(quoted("a b'c"), r"'a b'\''c'");
    }
}
