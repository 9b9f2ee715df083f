//! The guide for authors: its examples run, and what it quotes is what is there.

use std::fs;

use at_functions::lexicon::{Mode, Nsid, RecordKey};
use serde_json::{Value, json};

use crate::world::World;

const NOTES: &str = "com.example.note";

/// A fenced block, with the third-level heading that it stands under.
struct Block {
    section: String,
    language: String,
    text: String,
}

fn guide() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/functions.md")).unwrap()
}

fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut section = String::new();
    let mut open = false;
    for line in guide.lines() {
        match (line.strip_prefix("```"), line.strip_prefix("### ")) {
            (Some(_), _) if open => open = false,
            (Some(language), _) => {
                open = true;
                let (section, language) = (section.clone(), language.to_owned());
                blocks.push(Block { section, language, text: String::new() });
            }
            (None, Some(heading)) if !open => section = heading.to_owned(),
            _ if open => {
                let block = blocks.last_mut().unwrap();
                block.text += line;
                block.text += "\n";
            }
            _ => {}
        }
    }
    blocks
}

#[test]
fn every_mode_has_its_section_and_its_row() {
    let guide = guide();
    for mode in Mode::ALL {
        assert!(guide.contains(&format!("\n### {mode}\n")), "{mode}");
        assert!(guide.contains(&format!("\n| [`{mode}`](#{mode}) |")), "{mode}");
    }
}

#[test]
fn the_wit_in_the_guide_is_the_released_one() {
    let quoted: Vec<String> = blocks(&guide())
        .into_iter()
        .filter(|block| block.language == "wit")
        .map(|block| block.text)
        .collect();
    let released = ["0.2.0", "0.1.0"].map(|version| {
        let root = env!("CARGO_MANIFEST_DIR");
        fs::read_to_string(format!("{root}/wit/atfunc-runtime-{version}/runtime.wit")).unwrap()
    });
    assert_eq!(quoted, released);
}

#[tokio::test]
async fn the_modules_in_the_guide_run() {
    let world = World::start().await;
    let note = json!({ "$type": NOTES, "text": "ü" });
    let (collection, rkey) = (Nsid::parse(NOTES).unwrap(), RecordKey::parse("one").unwrap());
    let put = world.author.put_into(collection, &rkey, &note, []).unwrap();
    let listed = json!({ "uri": put.uri.to_string(), "cid": put.cid.to_string(), "value": note });

    let cases = [
        ("pure-v1", json!({}), json!({ "hello": "world" })),
        (
            "host-v1",
            json!({ "repo": world.author.did(), "collection": NOTES }),
            json!({ "ok": true, "records": [listed] }),
        ),
        ("cstr-v1", json!({}), json!({ "hello": "world" })),
    ];
    let modules: Vec<Block> = blocks(&guide()).into_iter().filter(|block| block.language == "wat").collect();
    assert_eq!(modules.len(), cases.len());
    for (module, (mode, input, output)) in modules.iter().zip(cases) {
        assert_eq!(module.section, mode);
        let wasm = wat::parse_str(&module.text).unwrap();
        let function = world.publish_record(mode, &wasm, |record| {
            record["mode"] = mode.into();
            record["maxDurationMs"] = 2000.into();
        });
        assert_eq!(without_cursor(world.run(&function.uri, input).await.output()), output, "{mode}");
    }
}

/// A host may give a cursor to what turns out to be an empty page.
fn without_cursor(output: &Value) -> Value {
    let mut output = output.clone();
    if let Some(members) = output.as_object_mut() {
        members.remove("cursor");
    }
    output
}
