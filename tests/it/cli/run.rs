//! `run`: a function from a file, on this machine.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use super::*;
use crate::patience::soon;

/// A function of pure-v1 whose `run` is `body`, with 32 pages of memory.
fn function(dir: &Path, body: &str) -> String {
    let text = format!(
        r#"(module (memory (export "memory") 32) (data (i32.const 0) "{{\"a\":[1,0.5]}}no json")
             (func $alloc (export "alloc") (param i32) (result i32) i32.const 1024)
             (func $run (export "run") (param $ptr i32) (param $len i32) (result i64) {body}))"#
    );
    let path = dir.join("function.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_output_is_on_stdout_and_each_figure_beside_its_limit_on_stderr() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    let (code, stdout, stderr) = run(&mut program(&["run", &path, "--input", r#"{"n": 1.0}"#])).await;
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        stdout,
        "{\n  \"ok\": true,\n  \"echo\": {\n    \"n\": 1.0\n  },\n  \"mode\": \"pure-v1\"\n}\n"
    );
    let rows: Vec<Vec<&str>> = stderr
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(
        names,
        ["mode", "compile", "time", "cpu", "memory", "host calls", "input", "output"],
        "{stderr}"
    );
    assert_eq!(rows[0], ["mode", "pure-v1", "guessed"]);
    assert_eq!(rows[2][2], "of 100 ms");
    assert_eq!(rows[4], ["memory", "1.1 MiB", "of 32.0 MiB", "4 %"]);
    assert_eq!(rows[5], ["host calls", "0", "of 1000", "0 %"]);
    assert_eq!(rows[6], ["input", "10 bytes", "of 1.0 MiB", "1 %"]);
    assert_eq!(rows[7], ["output", "46 bytes", "of 1.0 MiB", "1 %"]);
}

#[tokio::test]
async fn scripts_get_what_a_service_answers_and_the_limits() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    let arguments =
        ["run", &path, "--json", "--mode", "pure-v1", "--max-memory-mb", "2", "--max-duration-ms", "5000"];
    let (code, stdout, stderr) = run(&mut program(&arguments)).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let mut told: Value = serde_json::from_str(&stdout).unwrap();
    for (object, measured) in
        [("", "durationMs"), ("", "compileMs"), ("usage", "cpuMicros"), ("usage", "peakMemoryBytes")]
    {
        let object = if object.is_empty() { &mut told } else { &mut told[object] };
        assert!(object[measured].take().is_u64(), "{stdout}");
    }
    assert_eq!(
        told,
        json!({
            "ok": true,
            "output": {"ok": true, "echo": {}, "mode": "pure-v1"},
            "durationMs": null,
            "usage": {"cpuMicros": null, "peakMemoryBytes": null, "hostCalls": 0, "inputBytes": 2, "outputBytes": 38},
            "logs": [],
            "logsCut": false,
            "mode": "pure-v1",
            "compileMs": null,
            "limits": {
                "durationMs": 5000, "memoryBytes": 2 << 20, "hostCalls": 1000, "hostBytes": 32 << 20,
                "inputBytes": 1 << 20, "outputBytes": 1 << 20,
            },
            "denied": [],
            "warnings": [],
        })
    );
}

#[tokio::test]
async fn a_run_that_fails_is_told_with_what_to_raise() {
    let dir = tempfile::tempdir().unwrap();
    let grow = "(drop (memory.grow (i32.const 4000))) unreachable";
    let cases: [(&str, &[&str], &str, &str); 6] = [
        (
            "(loop br 0) unreachable",
            &["--max-duration-ms", "20"],
            "timeout: ",
            "raise --max-duration-ms (now 20, at most 5000)",
        ),
        (grow, &["--max-memory-mb", "3"], "memoryExceeded: ", "raise --max-memory-mb (now 3, at most 256)"),
        ("unreachable", &[], "trap: ", "The function crashed, where the message names it."),
        ("(i64.const 7) (i64.const 60129542144) i64.or", &[], "outputInvalid: ", "exactly one JSON value"),
        ("i64.const 1500000", &[], "outputTooLarge: ", "only an operator can raise this"),
        ("i64.const 9223372036854775807", &[], "outputInvalid: ", "within the function's memory"),
    ];
    for (body, more, error, advice) in cases {
        let path = function(dir.path(), body);
        let (code, stdout, stderr) = run(program(&["run", &path]).args(more)).await;
        assert_eq!((code, stdout.as_str()), (1, ""), "{body}: {stderr}");
        assert!(stderr.starts_with(&format!("error: {error}")), "{stderr}");
        assert!(stderr.contains(advice) && stderr.contains("\n  time "), "{stderr}");
        let (code, stdout, _) = run(program(&["run", &path, "--json"]).args(more)).await;
        let told: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &told["ok"]), (1, &json!(false)));
        assert_eq!(told["outcome"], error.trim_end_matches(": "));
    }
}

#[tokio::test]
async fn an_output_that_typed_clients_refuse_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    // The data begins with {"a":[1,0.5]}, of which 5 bytes in there is [1,0.5].
    for (body, warnings) in [
        ("i64.const 13", vec!["/a/1: 0.5 is a fraction; write a text or a scaled whole number"]),
        (
            "(i64.shl (i64.const 5) (i64.const 32)) i64.const 7 i64.or",
            vec![
                "the output is an array, not an object; put it into one",
                "/1: 0.5 is a fraction; write a text or a scaled whole number",
            ],
        ),
    ] {
        let path = function(dir.path(), body);
        let (code, _, stderr) = run(&mut program(&["run", &path])).await;
        assert_eq!(code, 0);
        let told: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix("warning: ")).collect();
        let last = "clients that check the data model refuse an answer with such an output";
        assert_eq!(told, [&warnings[..], &[last]].concat());
        let (_, stdout, _) = run(&mut program(&["run", &path, "--json"])).await;
        assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["warnings"], json!(told));
    }
}

/// A file with a schema.
fn schema(dir: &Path, name: &str, schema: &Value) -> String {
    let path = dir.join(name);
    std::fs::write(&path, schema.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_input_that_does_not_meet_its_schema_is_refused_as_a_service_refuses_it() {
    let dir = tempfile::tempdir().unwrap();
    // It would trap.
    let path = function(dir.path(), "unreachable");
    let schema = schema(dir.path(), "in.json", &json!({"properties": {"a": {"type": "string"}}}));
    let arguments = ["run", &path, "--input-schema", &schema, "--input", r#"{"a": 1}"#];
    let (code, stdout, stderr) = run(&mut program(&arguments)).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    let message = r#"the input does not meet the function's inputSchema: "/a" is not of the type string; correct the input"#;
    let advice = "Nothing ran: services refuse such a call before they start the function.";
    assert_eq!(stderr, format!("error: InvalidInput: {message}\n{advice}\n"));
    let (code, stdout, stderr) = run(program(&arguments).arg("--json")).await;
    assert_eq!((code, stderr.as_str()), (1, ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told, json!({"ok": false, "error": "InvalidInput", "message": message}));

    let arguments = ["run", &path, "--input-schema", &schema, "--input", r#"{"a": "1"}"#];
    let (_, _, stderr) = run(&mut program(&arguments)).await;
    assert!(stderr.starts_with("error: trap: "), "{stderr}");
}

#[tokio::test]
async fn an_output_beside_its_schema_is_told_and_fails_a_strict_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    let of_echo = |ty: &str| json!({"properties": {"echo": {"properties": {"a": {"type": ty}}}}});
    let wrong = schema(dir.path(), "wrong.json", &of_echo("string"));
    let right = schema(dir.path(), "right.json", &of_echo("integer"));
    let ran = async |more: &[&str]| {
        let arguments = ["run", &path, "--input", r#"{"a": 1}"#];
        let (code, stdout, stderr) = run(program(&arguments).args(more)).await;
        let (json_code, json, _) = run(program(&arguments).args(more).arg("--json")).await;
        assert_eq!(json_code, code);
        (code, stdout, stderr, serde_json::from_str::<Value>(&json).unwrap())
    };

    let (code, _, stderr, told) = ran(&["--output-schema", &right, "--strict-output"]).await;
    assert_eq!((code, told.get("outputSchemaMismatch"), &told["warnings"]), (0, None, &json!([])));
    assert!(!stderr.contains("schema"), "{stderr}");

    let (code, stdout, stderr, told) = ran(&["--output-schema", &wrong]).await;
    let warning = r#"the output does not meet its schema: "/echo/a" is not of the type string; callers are told so in `outputSchemaMismatch`; with --strict-output the run fails"#;
    assert_eq!((code, &told["ok"], &told["outputSchemaMismatch"]), (0, &json!(true), &json!("/echo/a")));
    assert!(stdout.contains("\"echo\""), "{stdout}");
    assert!(stderr.ends_with(&format!("\nwarning: {warning}\n")), "{stderr}");
    assert_eq!(told["warnings"], json!([warning]));

    let (code, stdout, stderr, told) = ran(&["--output-schema", &wrong, "--strict-output"]).await;
    let why = r#"the output does not meet the function's outputSchema: "/echo/a" is not of the type string"#;
    assert_eq!((code, stdout.as_str(), &told["outcome"]), (1, "", &json!("outputInvalid")));
    assert!(stderr.starts_with(&format!("error: outputInvalid: {why}\n")), "{stderr}");
    assert_eq!((&told["error"], told.get("output")), (&json!(why), None));
}

#[tokio::test]
async fn what_cannot_be_run_is_told_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    let bare = dir.path().join("bare.wasm");
    std::fs::write(&bare, wat::parse_str("(module)").unwrap()).unwrap();
    let bare = bare.to_str().unwrap();
    let not_wasm = dir.path().join("a.wat");
    std::fs::write(&not_wasm, "(module)").unwrap();
    let large = dir.path().join("large.json");
    std::fs::write(&large, format!("\"{}\"", "x".repeat(1 << 20))).unwrap();
    let large = format!("@{}", large.display());
    let many: Vec<&str> = std::iter::repeat_n(["--allow", "at://a.com"], 65).flatten().collect();
    let schema = schema(dir.path(), "schema.json", &json!({"$ref": "https://a.com/schema"}));
    let cases: [(Vec<&str>, &str); 16] = [
        (vec!["/nonexistent.wasm"], "cannot read /nonexistent.wasm"),
        (vec![bare], "bare.wasm: as pure-v1: the module does not export `memory`"),
        (vec![not_wasm.to_str().unwrap()], "a.wat: wasm text: turn it into a binary first"),
        (vec![&path, "--mode", "component-v1"], "echo.wasm: as component-v1: "),
        (vec![&path, "--mode", "pure-v9"], "there are these modes"),
        (vec![&path, "--input", "{a}"], "--input: not JSON"),
        (
            vec![&path, "--input", &large],
            "--input: it has 1.0 MiB; a service takes 1.0 MiB, unless its operator raised it",
        ),
        (vec![&path, "--max-memory-mb", "257"], "1..=256"),
        (vec![&path, "--max-duration-ms", "0"], "1..=5000"),
        (vec![&path, "--caller", "alice.example.com"], "--caller"),
        (
            vec![&path, "--function", "at://a.com/at.functions.metadata/x"],
            "write the author's DID in place of the handle",
        ),
        (vec![&path, "--allow", "https://a.com"], "this covers nothing"),
        (vec![&path, "--input-schema", &schema], "schema.json: services would refuse it: it refers to"),
        (vec![&path, "--output-schema", &schema], "schema.json: services would refuse it: it refers to"),
        (vec![&path, "--strict-output"], "--output-schema"),
        ([&[path.as_str()], &many[..]].concat(), "--allow: given 65 times, a service considers 64 entries"),
    ];
    for (arguments, expected) in cases {
        let (code, stdout, stderr) = run(program(&["run"]).args(&arguments)).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{expected} in {stderr}");
    }
}

#[tokio::test]
async fn input_and_wasm_come_from_stdin_too_but_not_both() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    for (arguments, input, echo) in [
        (["run", &path, "--input", "-"], &b"[7]"[..], json!([7])),
        (["run", "-", "--input", "{}"], MODULE, json!({})),
    ] {
        let mut child =
            program(&arguments).arg("--json").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).await.unwrap();
        let output = child.wait_with_output().await.unwrap();
        assert!(output.status.success());
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["output"]["echo"], echo);
    }
    let (code, _, stderr) = run(&mut program(&["run", "-", "--input", "-"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("stdin is the wasm already"), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = function(dir.path(), "(loop br 0) unreachable");
    let child = program(&["run", &path, "--max-duration-ms", "5000"]).stderr(Stdio::piped()).spawn().unwrap();
    // So much processor time that it is in the middle of it; were it earlier, it would end in the same way.
    let stat = format!("/proc/{}/stat", child.id().unwrap());
    soon(async || {
        let stat = std::fs::read_to_string(&stat).unwrap();
        // The fourteenth field (proc_pid_stat(5)), in hundredths of a second.
        stat.split_whitespace().nth(13).unwrap().parse::<u64>().unwrap() > 100
    })
    .await;
    super::program::interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "interrupted\n");
}

#[tokio::test]
async fn the_run_in_the_readme_is_what_the_program_shows() {
    let readme = include_str!("../../../README.md");
    let shown = readme.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let (command, shown) = shown.split_once('\n').unwrap();
    assert_eq!(command, r#"$ at-functions run examples/wasi-c/textstat.wasm --input '{"text": "one two"}'"#);
    let path = "examples/wasi-c/textstat.wasm";
    let mut program = program(&["run", path, "--input", r#"{"text": "one two"}"#]);
    let (code, stdout, stderr) = run(program.current_dir(env!("CARGO_MANIFEST_DIR"))).await;
    assert_eq!(code, 0, "{stderr}");
    // Words between runs of spaces, but for the times, which are never the same.
    let rows = |text: &str| -> Vec<String> {
        let is_timed =
            |line: &&str| ["compile", "time", "cpu"].iter().any(|name| line.trim().starts_with(name));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        text.lines().filter(|line| !is_timed(line)).map(words).collect()
    };
    assert_eq!(rows(shown), rows(&(stdout + &stderr)));
}

/// An example of the repository, with the mode that it is built for.
struct Example {
    path: &'static str,
    mode: &'static str,
    input: Value,
    /// A part of what it answers, offline.
    answers: (&'static str, Value),
}

#[tokio::test]
async fn each_example_is_known_for_its_mode_and_runs() {
    let list = json!({"repo": AUTHOR, "collection": "a.b.c"});
    let echo = Example {
        path: "pure-rust/echo.wasm",
        mode: "pure-v1",
        input: json!({"a": 1}),
        answers: ("/output/echo/a", json!(1)),
    };
    let words = Example {
        path: "wasi-c/textstat.wasm",
        mode: "wasi-v1",
        input: json!({"text": "one two"}),
        answers: ("/output/words", json!(2)),
    };
    let tid = Example {
        path: "assemblyscript/tid.wasm",
        mode: "cstr-v1",
        input: json!({}),
        answers: ("/output/error", json!("tid: a string is expected")),
    };
    let refused = format!(
        "cannot list at://{AUTHOR}/a.b.c: this run is offline (`at-functions run --online` lets it read)"
    );
    let lister =
        |path, mode| Example { path, mode, input: list.clone(), answers: ("/denied/0", json!(refused)) };
    for example in [
        echo,
        words,
        tid,
        lister("host-rust/lister.wasm", "host-v1"),
        lister("component-rust/lister.wasm", "component-v1"),
        lister("component-rust-v2/lister.wasm", "component-v1"),
    ] {
        let path = format!("{}/examples/{}", env!("CARGO_MANIFEST_DIR"), example.path);
        let (code, stdout, _) = run(&mut program(&["check", &path, "--json"])).await;
        let told: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((code, &told["mode"], &told["fits"]), (0, &json!(example.mode), &json!(true)), "{stdout}");
        let input = example.input.to_string();
        let (_, stdout, stderr) = run(&mut program(&["run", &path, "--json", "--input", &input])).await;
        assert_eq!(stderr, "", "{path}");
        let told: Value = serde_json::from_str(&stdout).unwrap();
        let (place, expected) = example.answers;
        assert_eq!(told.pointer(place), Some(&expected), "{stdout}");
        assert_eq!((&told["mode"], &told["warnings"]), (&json!(example.mode), &json!([])), "{stdout}");
    }
}
