//! Common mistakes of an author at the terminal, and what each is told: the whole text, with what would mend it.
//!
//! Those that `broken` has are not here: no project, names that do not do, a toolchain that is not there, what is not built. Those that
//! need an account are in `network::projects`.

use std::process::{Command, Stdio};

use super::{BINARY, Copied, constant, manifest};

const ROLE: &str =
    r#"(func (export "alloc") (param i32) (result i32) i32.const 1024) (memory (export "memory") 1)"#;

/// A module with memory and `alloc`, and these parts.
fn module(imports: &str, run: &str) -> Vec<u8> {
    let text = format!("(module {imports} {ROLE} {run})");
    wat::parse_str(text).unwrap()
}

/// A module whose `run` does this.
fn doing(what: &str) -> Vec<u8> {
    module("", &format!(r#"(func $answer (export "run") (param i32 i32) (result i64) {what})"#))
}

/// A function of `host-v1` that passes its input on to the listing, and the reply back.
fn lister() -> Vec<u8> {
    module(
        r#"(import "host" "host_list_collection" (func $list (param i32 i32) (result i64)))"#,
        r#"(func (export "run") (param i32 i32) (result i64) (call $list (local.get 0) (local.get 1)))"#,
    )
}

struct Mistake {
    /// Lines of at-functions.toml.
    manifest: &'static str,
    code: Vec<u8>,
    schema: &'static str,
    line: &'static str,
    exit: i32,
    told: &'static str,
}

const NEEDS_TEXT: &str =
    r#"{"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}"#;

fn mistakes() -> Vec<Mistake> {
    let in_manifest = |manifest, told| Mistake {
        manifest,
        code: constant("{}"),
        schema: NEEDS_TEXT,
        line: "at-functions build",
        exit: 2,
        told,
    };
    let in_module = |manifest, code, told| Mistake { code, exit: 1, ..in_manifest(manifest, told) };
    let in_schema = |schema, told| Mistake {
        schema,
        exit: 1,
        code: doing("i64.const 0"),
        ..in_manifest("input-schema = \"in.json\"", told)
    };
    let at_run =
        |code, told| Mistake { line: "at-functions run", ..in_module("max-memory-mb = 1", code, told) };
    let in_input =
        |line, exit, told| Mistake { line, exit, ..in_manifest("input-schema = \"in.json\"", told) };
    let at_line = |line, told| Mistake { line, ..in_manifest("", told) };
    vec![
        in_manifest(
            "max-memory = 5",
            "error: at-functions.toml, line 3: there is no key `max-memory`: did you mean `max-memory-mb`?\n",
        ),
        in_manifest(
            "description = 1",
            "error: at-functions.toml, line 3: invalid type: integer `1`, expected a string: put it into quotes\n",
        ),
        in_manifest(
            "mode = \"pure\"",
            "error: at-functions.toml, line 3: mode: there are these modes: pure-v1, host-v1, component-v1, wasi-v1, cstr-v1\n",
        ),
        in_manifest(
            "max-duration-ms = 9000",
            "error: at-functions.toml, line 3: max-duration-ms: 9000 is not within 1 to 5000\n",
        ),
        in_manifest(
            "rkey = \"my words\"",
            "error: at-functions.toml, line 3: rkey: a record key has 1 to 512 characters of A-Z a-z 0-9 . _ : ~ -\n",
        ),
        in_manifest(
            "allowed-hosts = [\"alice.example.com\"]",
            "error: at-functions.toml, line 3: allowed-hosts: \"alice.example.com\": this covers nothing: an at-uri starts with at://; expected at://REPO, at://REPO/COLLECTION or at://REPO/COLLECTION/RKEY\n",
        ),
        in_module(
            "",
            module("", ""),
            "services refuse it; it looks built for pure-v1\n  the module does not export `run`, which must be a function (i32, i32) -> (i64)\n",
        ),
        in_module(
            "mode = \"host-v1\"",
            module(
                r#"(import "env" "fetch" (func (param i32)))"#,
                r#"(func (export "run") (param i32 i32) (result i64) i64.const 0)"#,
            ),
            "services refuse it as host-v1\n  the module imports a function `env.fetch`, which mode host-v1 does not have (it has host_read_record, host_read_blob, host_list_collection, host_get_context, host_log)\n",
        ),
        in_module(
            "mode = \"component-v1\"",
            constant("{}"),
            "services refuse it as component-v1\n  this is a core module; mode component-v1 takes a component (publish it as pure-v1, or wrap it into one: `wasm-tools component new`)\n",
        ),
        in_schema(
            "{\"type\": ",
            "services run it as pure-v1, which it looks built for; they refuse a record with this inputSchema\n  inputSchema in.json: not JSON: EOF while parsing a value at line 1 column 9\n",
        ),
        in_schema(
            r#"{"type": "objct"}"#,
            "services run it as pure-v1, which it looks built for; they refuse a record with this inputSchema\n  inputSchema in.json: services would refuse it: it is no valid JSON Schema at \"/type\" (`anyOf`); a type is one of array, boolean, integer, null, number, object, string, or a list of these\n",
        ),
        in_input(
            r#"at-functions run --input '{"txt": "one two"}'"#,
            1,
            "error: InvalidInput: the input does not meet the function's inputSchema: the whole value lacks the member \"text\"; correct the input\nNothing ran: services refuse such a call before they start the function.\n",
        ),
        in_input(
            "at-functions run --input hello",
            2,
            "error: --input: not JSON: expected value at line 1 column 1; a text has quotes of its own, '\"hello\"', and a file is @FILE\n",
        ),
        at_run(
            doing("(loop $l (br $l)) i64.const 0"),
            "error: timeout: the function did not finish within 100 ms (maxDurationMs)\nDo less, or raise max-duration-ms in at-functions.toml (now 100, at most 5000).\n",
        ),
        at_run(
            doing(
                "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable)) i64.const 0",
            ),
            "error: memoryExceeded: the function asked for more than its 1 MiB of memory (maxMemoryMb): wasm `unreachable` instruction executed, in answer\nDo less, or raise max-memory-mb in at-functions.toml (now 1, at most 256).\n",
        ),
        at_run(
            doing("unreachable"),
            "error: trap: wasm `unreachable` instruction executed, in answer\nThe function crashed, where the message names it.\n",
        ),
        at_run(
            doing("i64.const 3"),
            "error: outputInvalid: the output is not one JSON value: expected value at line 1 column 1\nAn output is exactly one JSON value in UTF-8, within the function's memory; under a strict schema, one that meets it.\n",
        ),
        Mistake {
            manifest: "mode = \"host-v1\"\nallowed-hosts = [\"at://did:web:a.com\"]",
            code: lister(),
            line: r#"at-functions run --online --input '{"repo": "did:web:b.com", "collection": "app.bsky.feed.post"}'"#,
            exit: 0,
            ..at_line(
                "",
                "denied: the function's record does not allow this read; it would need at://did:web:b.com/app.bsky.feed.post in its allowedHosts\nAdd the entry to allowed-hosts in at-functions.toml, or try it with --allow; --allow-private-network lets it read from this machine too\n",
            )
        },
        at_line(
            "at-functions deploy --yes",
            "error: account: nobody is logged in, or several and none is the default: `at-functions login`, or give --account; in scripts, set AT_FUNCTIONS_HANDLE and AT_FUNCTIONS_PASSWORD\n",
        ),
        at_line("at-functions deploy", "error: --yes: give it where nobody can be asked\n"),
        at_line(
            "at-functions invoke at://alice.example.com/at.functions.metadata/words",
            "error: --service: give the service that runs it, such as did:web:functions.example.com, or set AT_FUNCTIONS_SERVICE\n",
        ),
        at_line(
            "at-functions invoke https://bsky.app/profile/alice.example.com --service did:web:functions.example.com",
            "error: invalid value 'https://bsky.app/profile/alice.example.com' for '<AT_URI>': an at-uri starts with at://; expected at://AUTHOR/at.functions.metadata/KEY, as `list` shows it\n\nFor more information, try '--help'.\n",
        ),
    ]
}

/// What a line prints that a person reads of the mistake: without how the build went, and without figures of a run.
fn told(project: &Copied, line: &str) -> (i32, String) {
    let bin = std::path::Path::new(BINARY).parent().unwrap().display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
    {
        shell.env_remove(name);
    }
    let ran = shell
        .args(["-c", line])
        .current_dir(project.path())
        .env("PATH", path)
        .env("AT_FUNCTIONS_HOME", project.path().join("home"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8(ran.stdout).unwrap(), String::from_utf8(ran.stderr).unwrap());
    let verdict = stdout.split_once("\n\n").map(|(_, verdict)| verdict.to_owned());
    let is_figure = |line: &&str| line.starts_with("  ") || line.starts_with("building ");
    let lines: String =
        stderr.lines().filter(|line| !is_figure(line)).map(|line| format!("{line}\n")).collect();
    (
        ran.status.code().unwrap(),
        if line == "at-functions build" && lines.is_empty() { verdict.unwrap() } else { lines },
    )
}

#[test]
fn each_mistake_is_told_with_what_would_mend_it() {
    let mut wrong = Vec::new();
    for Mistake { manifest: lines, code, schema, line, exit, told: expected } in mistakes() {
        let project = Copied::with(&manifest(lines));
        project.write("code", &code);
        project.write("in.json", schema.as_bytes());
        if line.starts_with("at-functions run") || line.starts_with("at-functions deploy") {
            told(&project, "at-functions build");
        }
        let told = told(&project, line);
        if told != (exit, expected.to_owned()) {
            wrong.push((line, told, expected));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The tutorial shows some of them.
#[test]
fn what_the_tutorial_shows_of_mistakes_is_what_is_told() {
    let (_, section) = super::tutorial::TUTORIAL.split_once("\n## When something is wrong\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let known: Vec<String> =
        mistakes().iter().map(|mistake| format!("$ {}\n{}", mistake.line, mistake.told)).collect();
    let shown: Vec<_> =
        super::tutorial::blocks(section).into_iter().filter(|block| block.language == "console").collect();
    assert_eq!(shown.len(), 4);
    for block in shown {
        assert!(known.contains(&format!("{}\n", block.text)), "{}", block.text);
    }
}
