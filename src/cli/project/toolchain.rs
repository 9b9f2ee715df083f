//! What a build needs of the machine, and the command that installs it, when it is not there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

/// Programs that builds of functions call, and where they come from.
const PROGRAMS: [(&str, &str); 7] = [
    ("cargo", "it comes with Rust: see https://rustup.rs, then `rustup target add wasm32-unknown-unknown`"),
    ("npm", "it comes with Node: see https://nodejs.org, or `apt install npm`"),
    ("npx", "it comes with Node: see https://nodejs.org, or `apt install npm`"),
    ("node", "see https://nodejs.org, or `apt install nodejs`"),
    ("zig", "`pip install ziglang` installs it, or see https://ziglang.org/download"),
    ("clang", "`apt install clang lld` installs it, or see https://releases.llvm.org"),
    ("make", "`apt install make` installs it"),
];

/// Where a program is, by `PATH`.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// The words of a command that could be programs: the first of each part, behind variables that it sets.
fn called(command: &str) -> impl Iterator<Item = &str> {
    let parts = command.split(['&', '|', ';', '\n', '(', ')']);
    parts.filter_map(|part| part.split_whitespace().find(|word| !word.contains('=')))
}

/// What stands before the command so that the shell finds `zig` in the Python package, when that is where it is.
pub(super) async fn stand_in(command: &str) -> &'static str {
    let is_needed = called(command).any(|program| program == "zig") && find("zig").is_none();
    match is_needed && succeeds(Command::new("python3").args(["-c", "import ziglang"])).await {
        true => "zig() { python3 -m ziglang \"$@\"; }\n",
        false => "",
    }
}

/// What is missing for a command that failed, with what installs it.
pub(super) async fn missing(command: &str, root: &Path) -> Option<String> {
    for (program, source) in PROGRAMS {
        let is_called = called(command).any(|word| word == program);
        // A stand-in was tried before.
        if is_called && find(program).is_none() && stand_in(command).await.is_empty() {
            return Some(format!("{program} is not installed: {source}"));
        }
    }
    missing_target(command, root).await
}

/// The target of a call of cargo, if Rust has no library for it.
async fn missing_target(command: &str, root: &Path) -> Option<String> {
    called(command).find(|program| *program == "cargo")?;
    let target = target(command)?;
    // In the project's folder, where a `rust-toolchain.toml` may say which Rust it is.
    let asked = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(root)
        .stdin(Stdio::null())
        .output();
    let answer = asked.await.ok().filter(|answer| answer.status.success())?;
    let library = String::from_utf8(answer.stdout).ok()?;
    let is_there = Path::new(library.trim()).is_dir();
    (!is_there).then(|| match find("rustup") {
        Some(_) => format!("Rust has no target {target} here: `rustup target add {target}` installs it"),
        None => format!("Rust has no target {target} here: with rustup (https://rustup.rs), `rustup target add {target}` installs it"),
    })
}

fn target(command: &str) -> Option<&str> {
    let mut words = command.split_whitespace();
    while let Some(word) = words.next() {
        match word.strip_prefix("--target") {
            Some("") => return words.next(),
            Some(rest) if rest.starts_with('=') => return Some(&rest[1..]),
            _ => {}
        }
    }
    None
}

async fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_of_a_command_are_seen() {
        let words = |command: &'static str| called(command).collect::<Vec<_>>();
        assert_eq!(words("cargo build --release"), ["cargo"]);
        assert_eq!(words("RUSTFLAGS=-g cargo build && cp a b"), ["cargo", "cp"]);
        assert_eq!(words("[ -d node_modules ] || npm ci && npx asc"), ["[", "npm", "npx"]);
    }

    #[test]
    fn the_target_of_a_command_is_seen() {
        for (command, expected) in [
            ("cargo build --target wasm32-wasip1 --release", Some("wasm32-wasip1")),
            ("cargo build --target=wasm32-wasip2", Some("wasm32-wasip2")),
            ("cargo build --target-dir x", None),
            ("cargo build", None),
        ] {
            assert_eq!(target(command), expected, "{command}");
        }
    }

    #[tokio::test]
    async fn what_is_not_installed_is_named_with_what_installs_it() {
        let here = Path::new(".");
        // This machine has a shell and Rust, and no such target.
        assert_eq!(missing("sh -c true", here).await, None);
        let told = missing("cargo build --target wasm64-unknown-unknown", here).await.unwrap();
        assert!(told.contains("`rustup target add wasm64-unknown-unknown`"), "{told}");
    }
}
