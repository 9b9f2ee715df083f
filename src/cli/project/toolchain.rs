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

/// Whether a program is among the words of a command.
fn calls(command: &str, program: &str) -> bool {
    let is_between = |c: char| c.is_whitespace() || "&|;()".contains(c);
    command.split(is_between).any(|word| word == program)
}

/// What stands before the command so that the shell finds `zig` in the Python package, when that is where it is.
pub(super) async fn stand_in(command: &str) -> &'static str {
    let is_needed = calls(command, "zig") && find("zig").is_none();
    match is_needed && succeeds(Command::new("python3").args(["-c", "import ziglang"])).await {
        true => "zig() { python3 -m ziglang \"$@\"; }\n",
        false => "",
    }
}

/// What is missing for a command that failed, with what installs it.
pub(super) async fn missing(command: &str, root: &Path) -> Option<String> {
    for (program, source) in PROGRAMS {
        // A stand-in was tried before.
        if calls(command, program) && find(program).is_none() && stand_in(command).await.is_empty() {
            return Some(format!("{program} is not installed: {source}"));
        }
    }
    missing_target(command, root).await
}

/// The target of a call of cargo, if Rust has no library for it.
async fn missing_target(command: &str, root: &Path) -> Option<String> {
    let target = target(command).filter(|_| calls(command, "cargo"))?;
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
        for (command, program, expected) in [
            ("cargo build --release", "cargo", true),
            ("RUSTFLAGS=\"-g $RUSTFLAGS\" cargo build && cp a b", "cargo", true),
            ("{ [ -d node_modules ] || npm ci; } && npx asc", "npx", true),
            ("cp cargo.wasm b", "cargo", false),
        ] {
            assert_eq!(calls(command, program), expected, "{command}");
        }
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
        let command = "RUSTFLAGS=\"-g $RUSTFLAGS\" cargo build --target wasm64-unknown-unknown";
        let told = missing(command, here).await.unwrap();
        assert!(told.contains("`rustup target add wasm64-unknown-unknown`"), "{told}");
    }
}
