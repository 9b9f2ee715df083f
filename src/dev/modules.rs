//! What `dev` publishes: the embedded example, or the `.wasm` files that it was given, again
//! whenever they change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use crate::lexicon::RecordKey;

/// The echo of `examples/pure-rust`, built.
static ECHO: &[u8] = include_bytes!("../../examples/pure-rust/echo.wasm");

/// A module and the record key that it is published under.
#[derive(Clone, Debug)]
pub struct Module {
    /// The file's name without `.wasm`.
    pub rkey: RecordKey,
    /// Its bytes.
    pub wasm: Bytes,
}

/// The modules to publish.
pub struct Modules {
    paths: Vec<PathBuf>,
    seen: HashMap<PathBuf, (SystemTime, u64)>,
}

impl Modules {
    /// The modules at `paths` (files, or directories of `.wasm` files); the example when there are none.
    pub fn at(paths: Vec<PathBuf>) -> Modules {
        Modules { paths, seen: HashMap::new() }
    }

    /// The built-in example, published when no paths are given.
    pub fn example() -> Module {
        // A constant that parses.
        Module { rkey: RecordKey::parse("echo").expect("a record key"), wasm: Bytes::from_static(ECHO) }
    }

    /// Whether there are files to watch.
    pub fn is_watching(&self) -> bool {
        !self.paths.is_empty()
    }

    /// The modules that are new or changed since the last look, each with its file's trouble if it
    /// has any. A file that is gone stays published.
    pub fn changed(&mut self) -> Vec<Result<Module, ModuleError>> {
        let mut files = Vec::new();
        let mut found = Vec::new();
        for path in &self.paths {
            match files_at(path) {
                Ok(more) => files.extend(more),
                // Told once: the path's own name stands in for the file's.
                Err(_) if self.seen.contains_key(path) => {}
                Err(error) => {
                    self.seen.insert(path.clone(), (SystemTime::UNIX_EPOCH, 0));
                    found.push(Err(error));
                }
            }
        }
        for file in files {
            let Ok(state) = std::fs::metadata(&file).and_then(|meta| Ok((meta.modified()?, meta.len())))
            else {
                continue;
            };
            if self.seen.insert(file.clone(), state) != Some(state) {
                found.push(module(&file));
            }
        }
        found
    }
}

fn files_at(path: &Path) -> Result<Vec<PathBuf>, ModuleError> {
    let failed = |error: std::io::Error| ModuleError(format!("{}: {error}", path.display()));
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "wasm") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

fn module(file: &Path) -> Result<Module, ModuleError> {
    let failed = |why: &dyn std::fmt::Display| ModuleError(format!("{}: {why}", file.display()));
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let rkey = RecordKey::parse(stem)
        .map_err(|error| failed(&format_args!("its name is no record key: {error}")))?;
    let wasm = std::fs::read(file).map_err(|error| failed(&error))?;
    Ok(Module { rkey, wasm: wasm.into() })
}

/// A file that cannot be published, and why.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ModuleError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_of_once_and_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hello.wasm");
        std::fs::write(&file, b"\0asm-one").unwrap();
        std::fs::write(dir.path().join("notes.txt"), b"x").unwrap();
        let mut modules = Modules::at(vec![dir.path().to_owned()]);
        let first = modules.changed();
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].as_ref().unwrap().rkey.as_str(), "hello");
        assert!(modules.changed().is_empty());
        std::fs::write(&file, b"\0asm-three").unwrap();
        assert_eq!(modules.changed()[0].as_ref().unwrap().wasm, &b"\0asm-three"[..]);
    }

    #[test]
    fn what_cannot_be_published_is_named_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a b.wasm"), b"\0asm").unwrap();
        let mut modules = Modules::at(vec![dir.path().to_owned(), dir.path().join("absent.wasm")]);
        let messages: Vec<_> =
            modules.changed().into_iter().map(|found| found.unwrap_err().to_string()).collect();
        assert!(messages.iter().any(|m| m.contains("a b.wasm") && m.contains("record key")), "{messages:?}");
        assert!(messages.iter().any(|m| m.contains("absent.wasm")), "{messages:?}");
        assert!(modules.changed().is_empty());
    }
}
