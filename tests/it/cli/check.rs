//! `check`: what a file is, which modes it fits, what services would refuse.

use serde_json::{Value, json};

use super::*;

/// The least function of pure-v1, with what else it has.
fn pure(more: &str) -> String {
    format!(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "{{}}")
             (func $alloc (export "alloc") (param i32) (result i32) i32.const 64)
             (func $run (export "run") (param i32 i32) (result i64) i64.const 2) {more})"#
    )
}

fn file(dir: &Path, name: &str, bytes: &[u8]) -> String {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn wasm(dir: &Path, name: &str, text: &str) -> String {
    file(dir, name, &wat::parse_str(text).unwrap())
}

/// `text` without the line of the compiler's time, which is never the same.
fn without_times(text: &str) -> (String, bool) {
    let compiles = |line: &&str| line.starts_with("  compiles ") && line.contains(" ms, to ");
    let others: Vec<&str> = text.lines().filter(|line| !compiles(line)).collect();
    (others.join("\n"), text.lines().any(|line| compiles(&line)))
}

#[tokio::test]
async fn a_file_that_fits_is_told_with_all_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = module_file(dir.path());
    let (code, stdout, stderr) = run(&mut program(&["check", &path, "--json"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["cid"], &told["size"], &told["kind"]),
        (&json!(MODULE_CID), &json!(MODULE.len()), &json!("core module"))
    );
    assert_eq!(
        (&told["mode"], &told["fits"], &told["compiled"]["ok"]),
        (&json!("pure-v1"), &json!(true), &json!(true))
    );
    assert_eq!(told["imports"], json!([]));
    assert_eq!(told["exports"][0], json!({"name": "memory", "type": "a memory"}));
    let modes = told["modes"].as_array().unwrap();
    assert_eq!(modes.len(), 5);
    assert_eq!(modes[0], json!({"mode": "pure-v1", "fits": true, "reason": null}));
    assert_eq!(modes[2]["mode"], "component-v1");
    assert_eq!(modes[2]["fits"], false);
    assert!(modes[2]["reason"].is_string(), "{told}");
    assert_eq!(
        told["warnings"],
        json!(["it has no names of functions, so the message of a trap will name none"])
    );
}

#[tokio::test]
async fn people_are_told_line_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = wasm(dir.path(), "least.wasm", &pure(""));
    let (code, stdout, stderr) = run(&mut program(&["check", &path, "--mode", "pure-v1"])).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let (told, compiles) = without_times(&stdout);
    assert!(compiles, "{stdout}");
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], path);
    assert_eq!(
        lines[1],
        format!("  kind          core module, {} bytes", std::fs::metadata(&path).unwrap().len())
    );
    assert!(lines[2].starts_with("  blob          bafkrei"), "{stdout}");
    assert_eq!(
        lines[3..8],
        [
            "  imports       none",
            "  exports       memory: a memory",
            "                alloc: a function (i32) -> (i32)",
            "                run: a function (i32, i32) -> (i64)",
            "  pure-v1       fits",
        ]
    );
    assert_eq!(lines[12..], ["", "services run it as pure-v1"]);
}

#[tokio::test]
async fn what_services_refuse_is_told_with_the_reason_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func)) (memory (export "memory") 1))"#;
    let cases = [
        (file(dir.path(), "empty.wasm", b""), "  no WebAssembly binary: the file is empty"),
        (file(dir.path(), "text.wasm", b"(module)"), "wat2wasm"),
        (file(dir.path(), "elf", b"\x7fELF"), "  no WebAssembly binary: this is not WebAssembly"),
        (wasm(dir.path(), "bare.wasm", "(module)"), "services refuse it; it looks built for pure-v1"),
        (wasm(dir.path(), "bare2.wasm", "(module)"), "no: the module does not export `memory`"),
        (wasm(dir.path(), "wasi.wasm", wasi), "services refuse it; it looks built for wasi-v1"),
        (wasm(dir.path(), "wasi2.wasm", wasi), "  imports       wasi_snapshot_preview1.fd_write: a function"),
        (
            wasm(dir.path(), "shell.wasm", "(component)"),
            "services refuse it; it looks built for component-v1",
        ),
        (wasm(dir.path(), "wide.wasm", "(module (memory i64 1))"), "64-bit memories"),
    ];
    for (path, expected) in cases {
        let (code, stdout, stderr) = run(&mut program(&["check", &path])).await;
        assert_eq!((code, stderr.as_str()), (1, ""), "{path}: {stdout}");
        assert!(stdout.contains(expected), "{expected} in {stdout}");
        assert!(!stdout.contains("compiles"), "{stdout}");
        let (code, stdout, _) = run(&mut program(&["check", &path, "--json"])).await;
        assert_eq!(code, 1);
        let told: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&told["fits"], &told["compiled"]), (&json!(false), &Value::Null));
    }
}

#[tokio::test]
async fn the_mode_that_is_given_decides() {
    let dir = tempfile::tempdir().unwrap();
    let path = wasm(dir.path(), "least.wasm", &pure(""));
    let (code, stdout, _) = run(&mut program(&["check", &path, "--mode", "component-v1"])).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("  pure-v1       fits\n"), "{stdout}");
    assert!(stdout.ends_with("\n\nservices refuse it as component-v1\n"), "{stdout}");
    let (code, _, stderr) = run(&mut program(&["check", &path, "--mode", "pure-v9"])).await;
    assert_eq!(code, 2);
    assert!(
        stderr.contains("there are these modes: pure-v1, host-v1, component-v1, wasi-v1, cstr-v1"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&mut program(&["check", "/nonexistent.wasm"])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot read /nonexistent.wasm"), "{stderr}");
}

#[tokio::test]
async fn what_services_take_and_an_author_may_regret_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = wasm(dir.path(), "least.wasm", &pure(""));
    let nameless = wasm(dir.path(), "nameless.wasm", &pure("").replace("$alloc", "").replace("$run", ""));
    let hungry = wasm(dir.path(), "hungry.wasm", &pure("").replace("\"memory\") 1)", "\"memory\") 640)"));
    let mut large = wat::parse_str(pure("")).unwrap();
    // A custom section without a name of that length: read over, by any service.
    let length = 5 * 1024 * 1024 + 1;
    large.extend([0, 0x80 | (length & 0x7f) as u8, 0x80 | (length >> 7 & 0x7f) as u8]);
    large.extend([0x80 | (length >> 14 & 0x7f) as u8, (length >> 21) as u8]);
    large.extend(std::iter::repeat_n(0, length));
    let large = file(dir.path(), "large.wasm", &large);
    let many: Vec<&str> = std::iter::repeat_n(["--allow", "at://a.com"], 65).flatten().collect();
    let schema =
        file(dir.path(), "schema.json", br#"{"type": "object", "properties": {"a": {"type": "number"}}}"#);
    let cases: [(&str, &[&str], &str); 7] = [
        (
            &path,
            &["--output-schema", &schema],
            "warning: --output-schema: /properties/a: a `number` may be a fraction, which is no data of AT Protocol; say `integer`\n",
        ),
        (&nameless, &[], "warning: it has no names of functions, so the message of a trap will name none\n"),
        (
            &hungry,
            &[],
            "warning: it starts with 40 MiB of memory: deploy and run it with --max-memory-mb 40 or more\n",
        ),
        (
            &large,
            &[],
            "warning: larger than 5.0 MiB, which is what many PDSes take: optimise for size and strip it\n",
        ),
        (
            &path,
            &["--allow", "at://a.com"],
            "warning: --allow has no effect: functions of pure-v1 read nothing\n",
        ),
        (
            &path,
            &["--allow", "https://a.com"],
            "warning: --allow https://a.com covers nothing: an at-uri starts with at://\n",
        ),
        (
            &path,
            &many,
            "warning: --allow at://a.com covers nothing: a service considers the first 64 entries\n",
        ),
    ];
    for (path, more, warning) in cases {
        let (code, stdout, _) = run(program(&["check", path]).args(more)).await;
        assert_eq!(code, 0, "{stdout}");
        assert!(stdout.contains(warning), "{warning} in {stdout}");
    }
    // Of a file that no service admits, nothing is left to be warned of.
    let huge = file(dir.path(), "huge.wasm", &vec![0; 10 * 1024 * 1024 + 1]);
    for path in [&path, &huge] {
        let (_, stdout, _) = run(&mut program(&["check", path])).await;
        assert!(!stdout.contains("warning"), "{stdout}");
    }
}

#[tokio::test]
async fn a_schema_that_services_refuse_is_told_with_the_reason_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    let path = wasm(dir.path(), "least.wasm", &pure(""));
    let good = file(dir.path(), "good.json", br#"{"type": "object"}"#);
    let (code, stdout, _) =
        run(&mut program(&["check", &path, "--input-schema", &good, "--output-schema", &good])).await;
    assert_eq!(code, 0, "{stdout}");
    let rows = "  inputSchema   services take it\n  outputSchema  services take it\n";
    assert!(stdout.contains(rows), "{stdout}");
    assert!(stdout.ends_with("\n\nservices run it as pure-v1, which it looks built for\n"), "{stdout}");

    for (name, text, why) in [
        ("text.json", "{", "not JSON: EOF while parsing an object"),
        ("bare.json", "true", "a schema in a record is an object"),
        ("float.json", r#"{"minimum": 0.5}"#, "/minimum: 0.5 is not a whole number"),
        ("remote.json", r#"{"$ref": "https://a.com/s"}"#, "services would refuse it: it refers to"),
    ] {
        let bad = file(dir.path(), name, text.as_bytes());
        for (flag, field) in [("--input-schema", "inputSchema"), ("--output-schema", "outputSchema")] {
            let (code, stdout, stderr) = run(&mut program(&["check", &path, flag, &bad])).await;
            assert_eq!((code, stderr.as_str()), (1, ""), "{stdout}");
            let row = format!("\n  {field:<12}  no: {why}");
            assert!(stdout.contains(&row), "{row} in {stdout}");
            let end = format!("; they refuse a record with this {field}\n");
            assert!(stdout.ends_with(&end), "{stdout}");
            let (code, stdout, _) = run(&mut program(&["check", &path, flag, &bad, "--json"])).await;
            let told: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!((code, &told["fits"], &told[field]["ok"]), (1, &json!(true), &json!(false)));
            assert!(told[field]["reason"].as_str().unwrap().starts_with(why), "{told}");
        }
    }
}

#[tokio::test]
async fn a_hostile_file_is_told_without_driving_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let exports: String = (0..900).map(|i| format!(r#"(func (export "\1b[2J{i}"))"#)).collect();
    let path = wasm(dir.path(), "odd.wasm", &pure(&exports));
    let (code, stdout, _) = run(&mut program(&["check", &path])).await;
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains(r"\u{1b}[2J0: a function () -> ()") && !stdout.contains('\x1b'), "{stdout}");
    assert!(stdout.contains("and 879 more\n"), "{stdout}");
    assert!(stdout.lines().count() < 45, "{stdout}");
}
