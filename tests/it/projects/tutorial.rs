//! `docs/writing-functions.md`: its command lines, run as they stand, and its code as it is in the templates.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::BINARY;
use super::templates::{missing_for, stand_in_for};
use crate::dev::Dev;

pub(crate) const TUTORIAL: &str = include_str!("../../../docs/writing-functions.md");

/// A fenced block.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let parts: Vec<&str> = text.split("\n```").collect();
    parts
        .iter()
        .skip(1)
        .step_by(2)
        .map(|block| {
            let (language, text) = block.split_once('\n').unwrap();
            Block { language: language.to_owned(), text: text.to_owned() }
        })
        .collect()
}

/// The sections that begin with a project, by their headings.
fn sections() -> Vec<(&'static str, Vec<Block>)> {
    let all = TUTORIAL.split("\n## ").map(|section| (section.lines().next().unwrap(), blocks(section)));
    all.filter(|(_, blocks)| blocks.iter().any(|block| block.text.contains("at-functions new"))).collect()
}

/// An author who types what the tutorial says.
struct Reader {
    folder: PathBuf,
    /// Where `at-functions` is.
    bin: PathBuf,
    /// The last output.
    said: String,
}

impl Reader {
    fn types(&mut self, line: &str) {
        if let Some(folder) = line.strip_prefix("cd ") {
            self.folder.push(folder);
            return;
        }
        if line == "at-functions dev" {
            Dev::start(&[self.folder.to_str().unwrap()]).line_with("published ");
            return;
        }
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").unwrap());
        let ran = Command::new("sh").args(["-c", line]).current_dir(&self.folder).env("PATH", path).output();
        let ran = ran.unwrap();
        let told = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{line}: {told}");
        self.said = String::from_utf8(ran.stdout).unwrap();
        if let Some(new) = line.strip_prefix("at-functions new ") {
            let template = new.split("--template ").nth(1).unwrap_or("rust-pure");
            let project = self.folder.join(new.split(' ').next().unwrap());
            if let Some(missing) = missing_for(template) {
                stand_in_for(&project, template, missing);
            }
        }
    }
}

fn read(blocks: &[Block], folder: &Path, bin: &Path) {
    let mut reader = Reader { folder: folder.to_owned(), bin: bin.to_owned(), said: String::new() };
    let mut outputs = 0;
    for block in blocks {
        match block.language.as_str() {
            "sh" => {
                for line in block.text.lines() {
                    // What is said last is the output of the function.
                    let said = std::mem::take(&mut reader.said);
                    reader.types(line);
                    if !line.starts_with("at-functions run") {
                        reader.said = said;
                    }
                }
            }
            "json" => {
                let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(parsed(&reader.said), parsed(&block.text));
                outputs += 1;
            }
            _ => {}
        }
    }
    assert_eq!(outputs, 1);
}

/// Types all commands of the section with this heading.
fn follow(heading: &str) {
    let home = tempfile::tempdir().unwrap();
    let bin = home.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(BINARY, bin.join("at-functions")).unwrap();
    let (_, blocks) = sections().into_iter().find(|(section, _)| *section == heading).unwrap();
    read(&blocks, home.path(), &bin);
}

#[test]
fn no_section_of_the_tutorial_is_left_out() {
    let headings: Vec<_> = sections().into_iter().map(|(heading, _)| heading).collect();
    assert_eq!(headings, ["Rust", "Rust that reads records", "AssemblyScript", "C", "Zig"]);
}

#[test]
fn the_commands_of_the_tutorial_do_what_it_says_in_rust() {
    follow("Rust");
}

#[test]
fn the_commands_of_the_tutorial_do_what_it_says_in_rust_that_reads() {
    follow("Rust that reads records");
}

#[test]
fn the_commands_of_the_tutorial_do_what_it_says_in_assemblyscript() {
    follow("AssemblyScript");
}

#[test]
fn the_commands_of_the_tutorial_do_what_it_says_in_c() {
    follow("C");
}

#[test]
fn the_commands_of_the_tutorial_do_what_it_says_in_zig() {
    follow("Zig");
}

#[test]
fn the_code_of_the_tutorial_is_that_of_the_templates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let source = |template: &str| {
        fs::read_to_string(root.join("templates").join(template).join("src/lib.rs")).unwrap()
    };
    // What only tests see of the types is left out.
    let plain: String = source("rust-pure")
        .lines()
        .filter(|line| !line.starts_with("#[cfg_attr"))
        .map(|l| format!("{l}\n"))
        .collect();
    let host = source("rust-host");
    let quoted: Vec<String> = blocks(TUTORIAL)
        .into_iter()
        .filter(|block| block.language == "rust")
        .map(|block| format!("{}\n", block.text))
        .collect();
    assert_eq!(quoted.len(), 2);
    assert!(plain.contains(&quoted[0]) && host.contains(&quoted[1]));
    assert_eq!(host, source("rust-component"));
}

#[test]
fn the_sdk_has_the_released_wit() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sdk = fs::read(root.join("sdk/rust/at-functions-guest/wit/runtime.wit")).unwrap();
    assert_eq!(sdk, fs::read(root.join("wit/atfunc-runtime-0.2.0/runtime.wit")).unwrap());
}
