//! Each template as a new author has it: new, build, run, deploy, call, dev, an edit, the new answer; then the new version is
//! deployed, called, pinned, rolled back, and deleted.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::{Ran, constant, run_in};
use crate::dev::{Dev, client};
use crate::network::walk::Walker;
use crate::patience::soon;
use crate::world::answer;

/// What has an author with a compiler write something else.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

struct Template {
    name: &'static str,
    mode: &'static str,
    edit: Edit,
}

const RUST_EDIT: Edit =
    Edit { file: "src/lib.rs", from: ".split_whitespace().count()", to: ".chars().count()" };

fn all() -> [Template; 6] {
    let rust = |name, mode| Template { name, mode, edit: RUST_EDIT };
    [
        rust("rust-pure", "pure-v1"),
        rust("rust-host", "host-v1"),
        rust("rust-component", "component-v1"),
        Template {
            name: "assemblyscript",
            mode: "cstr-v1",
            edit: Edit { file: "assembly/index.ts", from: "let words = 0;", to: "let words = 5;" },
        },
        Template {
            name: "c",
            mode: "wasi-v1",
            edit: Edit { file: "src/main.c", from: "words = 0;", to: "words = 5;" },
        },
        Template {
            name: "zig",
            mode: "pure-v1",
            edit: Edit { file: "src/main.zig", from: "words: usize = 0;", to: "words: usize = 5;" },
        },
    ]
}

/// The compiler that is not there, if one is not.
pub(crate) fn missing_for(template: &str) -> Option<&'static str> {
    let is_there = |program: &str, arguments: &[&str]| {
        let command = &mut Command::new(program);
        let command =
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    match template {
        "assemblyscript" => None,
        "c" | "zig" => {
            let found = is_there("zig", &["version"]) || is_there("python3", &["-c", "import ziglang"]);
            (!found).then_some("zig")
        }
        _ => {
            let target = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
            let library = Command::new("rustc").args(target).output().unwrap().stdout;
            let found = Path::new(String::from_utf8(library).unwrap().trim()).is_dir();
            (!found).then_some("cargo with the target wasm32-unknown-unknown")
        }
    }
}

/// Has the build take what the compiler of the template writes from where it was written before.
pub(crate) fn stand_in_for(project: &Path, template: &str, missing: &str) {
    eprintln!("{missing} is not on this machine: for the template {template} the committed module stands in");
    let committed = format!("{}/tests/guests/templates/{template}.wasm", env!("CARGO_MANIFEST_DIR"));
    let module = project.join(compiled(project));
    fs::create_dir_all(module.parent().unwrap()).unwrap();
    fs::copy(committed, module).unwrap();
    change(project, |manifest| {
        manifest
            .lines()
            .filter(|line| !line.starts_with("command = "))
            .map(|line| format!("{line}\n"))
            .collect()
    });
}

/// What the module is called that the compiler writes.
fn compiled(project: &Path) -> String {
    let manifest = fs::read_to_string(project.join("at-functions.toml")).unwrap();
    let line = manifest.lines().find(|line| line.starts_with("module = ")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn change(project: &Path, edit: impl FnOnce(String) -> String) {
    let path = project.join("at-functions.toml");
    fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
}

/// The way of an author from nothing to an edited function that answers, and on the network to its end.
async fn author(template: &str) {
    let template = all().into_iter().find(|each| each.name == template).unwrap();
    let home = tempfile::tempdir().unwrap();
    let told = run_in(home.path(), &["new", "my-words", "--template", template.name]).done().stdout;
    assert!(told.starts_with("made my-words in my-words, "), "{told}");
    assert!(
        told.ends_with("\n\n  cd my-words\n  at-functions build\n  at-functions run\n  at-functions dev\n"),
        "{told}"
    );
    let project = home.path().join("my-words");
    let missing = missing_for(template.name);
    if let Some(missing) = missing {
        stand_in_for(&project, template.name, missing);
    }

    let Ran { stdout: built, .. } = run_in(&project, &["build"]).done();
    assert!(built.starts_with("built my-words 0.1.0 in "), "{built}");
    assert!(built.contains(&format!("\nservices run it as {}\n", template.mode)), "{built}");
    let is_component = built.contains("made a component");
    assert_eq!(is_component, template.mode == "component-v1", "{built}");

    // From a folder below, with the example of the schema.
    let below = project.join(Path::new(template.edit.file).parent().unwrap());
    let Ran { stdout, stderr, .. } = run_in(&below, &["run"]).done();
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), json!({ "words": 2 }), "{stderr}");
    assert!(stderr.contains(r#"input: {"text":"one two"}  (the example of its schema)"#), "{stderr}");
    assert!(!stderr.contains("warning"), "{stderr}");
    let refused = run_in(&project, &["run", "--input", r#"{"text": 1}"#]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("error: InvalidInput: "), "{}", refused.stderr);

    let walker = Walker::start().await;
    let input = json!({ "text": "one two" });
    let first = match &walker {
        Some(walker) => {
            let first = walker.deploys(&project, &["/my-words is new:\n"]).await;
            assert_eq!(walker.calls(&first, &input).await, json!({ "words": 2 }));
            Some(first)
        }
        None => None,
    };

    let mut dev = Dev::start(&[project.to_str().unwrap()]);
    let (url, body) = dev.curl();
    assert!(body["function"].as_str().unwrap().ends_with("/at.functions.metadata/my-words"), "{body}");
    let call = || answer(client().post(&url).body(body.to_string()));
    // Until it is compiled, it is busy.
    soon(async || call().await.body["output"] == json!({ "words": 2 })).await;
    match missing {
        Some(_) => {
            fs::write(project.join(compiled(&project)), constant(r#"{"words":7}"#)).unwrap();
            change(&project, |manifest| manifest.replace(template.mode, "pure-v1"));
        }
        None => {
            let Edit { file, from, to } = template.edit;
            let source = fs::read_to_string(project.join(file)).unwrap();
            assert!(source.contains(from), "{file}");
            fs::write(project.join(file), source.replace(from, to)).unwrap();
        }
    }
    soon(async || call().await.body["output"] == json!({ "words": 7 })).await;
    drop(dev);

    // What `dev` built is what is deployed.
    let (Some(walker), Some(first)) = (walker, first) else { return };
    let told = walker.is_refused(&project).await;
    assert!(told.contains("raise the version (to 0.1.1, say)"), "{told}");
    change(&project, |manifest| manifest.replace("version = \"0.1.0\"", "version = \"0.2.0\""));
    let second = walker.deploys(&project, &["  version  0.1.0 -> 0.2.0\n"]).await;
    assert_eq!(walker.calls(&second, &input).await, json!({ "words": 7 }));
    walker.is_not_served(&first, "FunctionChanged").await;
    walker.rolls_back_to(&first, "my-words").await;
    assert_eq!(walker.calls(&first, &input).await, json!({ "words": 2 }));
    walker.is_not_served(&second, "FunctionChanged").await;
    walker.deletes(&first, "my-words").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_in_rust() {
    author("rust-pure").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_in_rust_that_reads() {
    author("rust-host").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_with_a_component_in_rust() {
    author("rust-component").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_in_assemblyscript() {
    author("assemblyscript").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_in_c() {
    author("c").await;
}

#[tokio::test]
async fn a_new_author_goes_all_the_way_in_zig() {
    author("zig").await;
}
