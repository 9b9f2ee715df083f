//! The files that `new` writes: the folders of `templates/`, and the SDK for Rust. All are in the program, so that a project can be
//! made without a network, and is of the version of the program that made it.

use clap::ValueEnum;

/// The name that stands in the templates for that of the function; as a crate it is spelt with an underscore.
const NAME: &str = "my-function";
/// Where the SDK is, within a project.
const SDK_FOLDER: &str = "at-functions-guest";

/// What a project can start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Template {
    /// Rust, pure-v1
    RustPure,
    /// Rust, host-v1
    RustHost,
    /// Rust, component-v1
    RustComponent,
    /// AssemblyScript, cstr-v1
    #[value(name = "assemblyscript")]
    AssemblyScript,
    /// C, wasi-v1
    C,
    /// Zig, pure-v1
    Zig,
}

impl Template {
    /// As the flag spells it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Template::RustPure => "rust-pure",
            Template::RustHost => "rust-host",
            Template::RustComponent => "rust-component",
            Template::AssemblyScript => "assemblyscript",
            Template::C => "c",
            Template::Zig => "zig",
        }
    }

    /// Whether it is built with the SDK for Rust.
    pub(super) fn is_rust(self) -> bool {
        matches!(self, Template::RustPure | Template::RustHost | Template::RustComponent)
    }

    fn own_files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Template::RustPure => RUST_PURE,
            Template::RustHost => RUST_HOST,
            Template::RustComponent => RUST_COMPONENT,
            Template::AssemblyScript => ASSEMBLYSCRIPT,
            Template::C => C,
            Template::Zig => ZIG,
        }
    }
}

/// The files of a project with this name: path and text.
pub(super) fn files(template: Template, name: &str) -> Vec<(String, String)> {
    let named = |text: &str| text.replace(NAME, name).replace(&underscored(NAME), &underscored(name));
    let own = template.own_files().iter().map(|(path, text)| ((*path).to_owned(), named(text)));
    let sdk = if template.is_rust() { SDK } else { &[] };
    let sdk = sdk.iter().map(|(path, text)| (format!("{SDK_FOLDER}/{path}"), (*text).to_owned()));
    own.chain(sdk).collect()
}

fn underscored(name: &str) -> String {
    name.replace('-', "_")
}

/// Paths below a folder of this repository, with the text of each.
macro_rules! files {
    ($folder:literal: $($path:literal,)*) => {
        &[$(($path, include_str!(concat!("../../", $folder, "/", $path)))),*]
    };
}

static RUST_PURE: &[(&str, &str)] = files!("templates/rust-pure":
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "at-functions.toml",
    "schemas/input.json",
    "schemas/output.json",
    "src/lib.rs",
);

static RUST_HOST: &[(&str, &str)] = files!("templates/rust-host":
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "at-functions.toml",
    "schemas/input.json",
    "schemas/output.json",
    "src/lib.rs",
);

static RUST_COMPONENT: &[(&str, &str)] = files!("templates/rust-component":
    ".gitignore",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "at-functions.toml",
    "schemas/input.json",
    "schemas/output.json",
    "src/lib.rs",
);

static ASSEMBLYSCRIPT: &[(&str, &str)] = files!("templates/assemblyscript":
    ".gitignore",
    "README.md",
    "asconfig.json",
    "assembly/index.ts",
    "assembly/json.ts",
    "assembly/tsconfig.json",
    "at-functions.toml",
    "package-lock.json",
    "package.json",
    "schemas/input.json",
    "schemas/output.json",
    "test.mjs",
);

static C: &[(&str, &str)] = files!("templates/c":
    ".gitignore",
    "README.md",
    "at-functions.toml",
    "schemas/input.json",
    "schemas/output.json",
    "src/json.c",
    "src/json.h",
    "src/main.c",
    "test.sh",
);

static ZIG: &[(&str, &str)] = files!("templates/zig":
    ".gitignore",
    "README.md",
    "at-functions.toml",
    "schemas/input.json",
    "schemas/output.json",
    "src/main.zig",
);

static SDK: &[(&str, &str)] = files!("sdk/rust/at-functions-guest":
    "Cargo.toml",
    "macros/Cargo.toml",
    "macros/src/lib.rs",
    "src/abi.rs",
    "src/answer.rs",
    "src/base64.rs",
    "src/component.rs",
    "src/context.rs",
    "src/error.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/panics.rs",
    "src/raw/host.rs",
    "src/raw/mod.rs",
    "src/raw/wit.rs",
    "src/reads.rs",
    "src/schema.rs",
    "src/testing.rs",
    "wit/runtime.wit",
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// What git has below a folder. What builds leave there is none of it.
    fn there(folder: &Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let (path, name) = {
                let entry = entry.unwrap();
                (entry.path(), entry.file_name().into_string().unwrap())
            };
            match path.is_dir() {
                true if ["target", "node_modules", "dist", "build", ".zig-cache"]
                    .contains(&name.as_str()) => {}
                true => found.extend(there(&path).into_iter().map(|below| format!("{name}/{below}"))),
                false => {
                    found.insert(name);
                }
            }
        }
        found
    }

    #[test]
    fn every_file_of_a_template_is_in_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for template in Template::value_variants() {
            let name = template.to_possible_value().unwrap().get_name().to_owned();
            assert_eq!(name, template.as_str());
            let listed: BTreeSet<_> =
                template.own_files().iter().map(|(path, _)| (*path).to_owned()).collect();
            assert_eq!(listed, there(&root.join("templates").join(&name)), "{name}");
        }
        let listed: BTreeSet<_> = SDK.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(listed, there(&root.join("sdk/rust/at-functions-guest")));
    }

    #[test]
    fn a_project_has_its_own_name_throughout() {
        for template in Template::value_variants() {
            for (path, text) in files(*template, "word-count") {
                assert!(!text.contains("my-function") && !text.contains("my_function"), "{path}");
            }
        }
        let rust = files(Template::RustPure, "word-count");
        let manifest = &rust.iter().find(|(path, _)| path == "at-functions.toml").unwrap().1;
        assert!(manifest.contains("release/word_count.wasm"), "{manifest}");
        assert!(rust.iter().any(|(path, _)| path == "at-functions-guest/macros/src/lib.rs"));
    }
}
