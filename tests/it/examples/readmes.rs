//! The READMEs of the examples that have one: their lines run, and the outputs that they show are of the schema.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::projects::tutorial::blocks;

#[test]
fn what_the_readmes_of_examples_show_is_what_the_examples_take_and_give() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = Path::new(env!("CARGO_BIN_EXE_at-functions"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    for (example, denied) in [
        ("thread-summary", "cannot read at://alice.example.com/app.bsky.feed.post/3jzfcijpj2z2a"),
        ("follow-overlap", "cannot list at://alice.example.com/app.bsky.graph.follow"),
        ("alt-text", "cannot list at://alice.example.com/app.bsky.feed.post"),
    ] {
        let folder = root.join("examples").join(example);
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        let [line, output] = &blocks(&readme)[..] else { panic!("{example}: a line and an output") };
        // The accounts are nobody's, so the first read ends it, on this machine as on the network.
        let line = line.text.replace(" --online", "");
        let ran =
            Command::new("sh").args(["-c", &line]).current_dir(root).env("PATH", &path).output().unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert!(told.contains(&format!("denied: {denied}: this run is offline")), "{example}: {told}");

        let output: Value = serde_json::from_str(&output.text).unwrap();
        let schema: Value =
            serde_json::from_slice(&fs::read(folder.join("schemas/output.json")).unwrap()).unwrap();
        let known = schema["properties"].as_object().unwrap();
        for (name, _) in output.as_object().unwrap() {
            assert!(known.contains_key(name), "{example}: {name}");
        }
        for needed in schema["required"].as_array().unwrap() {
            assert!(output.get(needed.as_str().unwrap()).is_some(), "{example}: {needed}");
        }
    }
}
