//! `at-functions dev`, as its user starts it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::patience::{soon, until};
use crate::world::{ECHO, answer};

const BINARY: &str = env!("CARGO_BIN_EXE_at-functions");

/// A running `dev`, ended with its value.
pub struct Dev {
    child: Child,
    /// The lines of its stderr, which is always read: it tells of every call, and would wait for a reader.
    told: mpsc::Receiver<String>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Dev {
    pub fn start(arguments: &[&str]) -> Dev {
        let mut child = Command::new(BINARY)
            .arg("dev")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--repo-listen",
                "127.0.0.1:0",
            ])
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                // A test may have seen enough.
                let _ = tell.send(line.unwrap());
            }
        });
        Dev { child, told, lines }
    }

    /// The first printed line that holds `part`.
    pub fn line_with(&mut self, part: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(part)).expect("dev ended early")
    }

    /// The next line on stderr that starts so.
    pub fn told(&self, start: &str) -> String {
        self.told.iter().find(|line| line.starts_with(start)).expect("dev ended early")
    }

    /// The URL and body of the printed curl line.
    pub fn curl(&mut self) -> (String, Value) {
        let line = self.line_with("curl");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
        let body = line.split(" -d '").nth(1).unwrap().strip_suffix('\'').unwrap();
        (url, serde_json::from_str(body).unwrap())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for what a change of a file brings. A service that believes records for as long as others do
/// would take longer.
async fn is_soon_so(is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    soon(is_so).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[allow(clippy::disallowed_methods)] // The test's own client.
pub fn client() -> reqwest::Client {
    reqwest::Client::new()
}

#[tokio::test]
async fn the_printed_curl_line_answers() {
    let mut dev = Dev::start(&[]);
    let (url, body) = dev.curl();
    let answer =
        answer(client().post(url).header("content-type", "application/json").body(body.to_string())).await;
    assert_eq!(answer.output()["ok"], true);
    assert_eq!(answer.output()["echo"], body["input"]);
    assert_eq!(answer.output()["mode"], "pure-v1");
}

#[tokio::test]
async fn every_command_of_the_first_screen_works_as_it_is_printed() {
    let mut dev = Dev::start(&[]);
    let commands: Vec<String> = (0..3).map(|_| dev.line_with(&format!("  {BINARY} "))).collect();
    let expected = [
        ("invoke at://", "\"world\""),
        ("describe at://", "verified  by the author"),
        ("list did:web:", "echo"),
    ];
    for (line, (start, told)) in commands.iter().zip(expected) {
        assert!(line.trim().strip_prefix(BINARY).unwrap().trim_start().starts_with(start), "{line}");
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && stdout.contains(told), "{line}: {stdout} {:?}", output.stderr);
    }
}

#[test]
fn a_module_that_services_refuse_is_not_published() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.wasm"), wat::parse_str("(module)").unwrap()).unwrap();
    std::fs::write(dir.path().join("text.wasm"), "(module)").unwrap();
    let mut dev = Dev::start(&[dir.path().to_str().unwrap()]);
    dev.line_with("Nothing is published yet");
    let refused = || dev.told.iter().find(|line| line.contains("not published"));
    assert_eq!(
        refused().as_deref(),
        Some("not published: bad: the module does not export `memory`, which must be a memory")
    );
    assert_eq!(
        refused().as_deref(),
        Some(
            "not published: text: wasm text: turn it into a binary first, with `wat2wasm` or `wasm-tools parse`"
        )
    );
    std::fs::write(dir.path().join("good.wasm"), ECHO).unwrap();
    let published = dev.line_with("published ");
    assert!(published.contains("/at.functions.metadata/good"), "{published}");
}

#[test]
fn a_deploy_into_its_repo_is_answered_with_what_to_do_instead() {
    let mut dev = Dev::start(&[]);
    let author = dev.line_with("author   ").replace("author   ", "");
    let pds = dev.line_with("a signed repo in memory");
    let pds = pds.trim().split(',').next().unwrap();
    let echo = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");
    let deployed = Command::new(BINARY)
        .args(["deploy", echo, "--name", "echo", "--handle", author.trim(), "--pds", pds])
        .env("AT_FUNCTIONS_PASSWORD", "password")
        .output()
        .unwrap();
    let told = String::from_utf8(deployed.stderr).unwrap();
    assert_eq!(deployed.status.code(), Some(1), "{told}");
    let expected = "this is the repo of `at-functions dev`, into which nobody logs in: give the file to `dev` in place of `deploy`, and it is published\n";
    assert!(told.ends_with(expected), "{told}");
}

#[tokio::test]
async fn the_least_module_of_the_manual_answers_as_it_says() {
    let manual = include_str!("../../docs/functions.md");
    let text = manual.split("```wat\n").nth(1).unwrap().split("```").next().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("least.wasm"), wat::parse_str(text).unwrap()).unwrap();
    let mut dev = Dev::start(&[dir.path().to_str().unwrap()]);
    let (url, body) = dev.curl();
    let answer = answer(client().post(url).body(body.to_string())).await;
    assert_eq!(answer.output(), &serde_json::json!({ "hello": "world" }));
}

#[tokio::test]
async fn what_the_author_should_see_of_a_call_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let odd = r#"(module (memory (export "memory") 1) (data (i32.const 0) "{\"a\":0.5}")
                   (func (export "alloc") (param i32) (result i32) i32.const 64)
                   (func (export "run") (param i32 i32) (result i64) i64.const 9))"#;
    std::fs::write(dir.path().join("odd.wasm"), wat::parse_str(odd).unwrap()).unwrap();
    let mut dev = Dev::start(&[dir.path().to_str().unwrap()]);
    let published = dev.line_with("published ");
    assert!(published.contains("/at.functions.metadata/odd  (pure-v1, "), "{published}");
    let (url, body) = dev.curl();
    let request = || client().post(&url).body(body.to_string());
    // It reaches the caller as it is.
    assert_eq!(answer(request()).await.output(), &serde_json::json!({ "a": 0.5 }));
    assert_eq!(
        dev.told("warning: "),
        "warning: /a: 0.5 is a fraction; write a text or a scaled whole number"
    );

    std::fs::write(
        dir.path().join("odd.wasm"),
        wat::parse_str(odd.replace("i64.const 9", "unreachable")).unwrap(),
    )
    .unwrap();
    dev.line_with("published ");
    is_soon_so(async || answer(request()).await.body["ok"] == false).await;
    assert!(dev.told("failed: ").starts_with("failed: trap: "));
}

#[tokio::test]
async fn a_module_that_changes_is_published_again() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mine.wasm");
    std::fs::write(&file, ECHO).unwrap();
    let mut dev = Dev::start(&[dir.path().to_str().unwrap()]);
    let (url, body) = dev.curl();
    assert!(body["function"].as_str().unwrap().ends_with("/at.functions.metadata/mine"), "{body}");
    let call = || answer(client().post(&url).body(body.to_string()));
    assert_eq!(call().await.output()["mode"], "pure-v1");
    let constant = wat::parse_str(
        r#"(module (memory (export "memory") 1) (data (i32.const 0) "\"changed\"")
             (func (export "alloc") (param i32) (result i32) i32.const 64)
             (func (export "run") (param i32 i32) (result i64) i64.const 9))"#,
    )
    .unwrap();
    std::fs::write(&file, constant).unwrap();
    dev.line_with("published");
    is_soon_so(async || call().await.output() == "changed").await;
}

#[test]
fn an_interrupt_ends_it_cleanly() {
    let mut dev = Dev::start(&[]);
    dev.curl();
    let pid = rustix::process::Pid::from_child(&dev.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut ended = None;
    until(|| {
        ended = dev.child.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success(), "{ended:?}");
    let told: String = dev.told.iter().collect();
    // A pipe is no terminal: no escape codes.
    assert!(told.contains("stopping") && !told.contains('\x1b'), "{told:?}");
}
