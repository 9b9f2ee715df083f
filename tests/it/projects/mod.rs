//! Projects as their authors have them: made by `new`, built, run, served by `dev`, edited.
//!
//! Where the compiler of a template is not on the machine, that is told by name on stderr, and what it would write is taken from
//! `tests/guests/templates`, which `examples/build` makes.

mod broken;
mod live;
mod mistakes;
pub(crate) mod templates;
pub(crate) mod tutorial;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_at-functions");
const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");

/// What the program answers, run in a folder.
struct Ran {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run_in(folder: &Path, arguments: &[&str]) -> Ran {
    let Output { status, stdout, stderr } =
        Command::new(BINARY).args(arguments).current_dir(folder).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: status.code().unwrap(), stdout: text(stdout), stderr: text(stderr) }
}

impl Ran {
    fn done(self) -> Ran {
        assert_eq!(self.code, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A project whose build copies the module `code` from beside it.
struct Copied {
    dir: TempDir,
}

impl Copied {
    fn with(manifest: &str) -> Copied {
        let dir = tempfile::tempdir().unwrap();
        let project = Copied { dir };
        project.write("code", &std::fs::read(ECHO).unwrap());
        project.write("at-functions.toml", manifest.as_bytes());
        project
    }

    fn path(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(name), bytes).unwrap();
    }
}

/// A module that answers with this JSON, whatever it is asked.
fn constant(json: &str) -> Vec<u8> {
    let escaped = json.replace('"', "\\\"");
    let text = format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{escaped}")
             (func (export "alloc") (param i32) (result i32) i32.const 1024)
             (func (export "run") (param i32 i32) (result i64) i64.const {}))"#,
        json.len()
    );
    wat::parse_str(text).unwrap()
}

/// A manifest with these lines, and a build that copies.
fn manifest(lines: &str) -> String {
    format!(
        "name = \"words\"\nversion = \"0.1.0\"\n{lines}\n[build]\ncommand = \"cp code out.wasm\"\nmodule = \"out.wasm\"\nwatch = [\"code\"]\n"
    )
}
