//! What every command shares: help, Ctrl-C, pipes.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::*;

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_call_that_waits() {
    let service = service().await;
    service.on("/xrpc/at.functions.run", text(0, "", ""));
    let arguments = ["invoke", FUNCTION, "--anonymous", "--service", &service.did()];
    let child = program(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !service.paths().contains(&"/xrpc/at.functions.run".to_owned()) {
        service.shared.arrived.notified().await;
    }
    interrupt(&child);
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "interrupted\n");
}

#[cfg(unix)]
#[tokio::test]
async fn ctrl_c_ends_a_command_that_waits_for_stdin() {
    let service = service().await;
    let arguments = ["invoke", FUNCTION, "--anonymous", "--service", &service.did(), "--input", "-"];
    let mut child = program(&arguments).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // More than a pipe holds: once it is written, the program has been reading. The end never comes.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&vec![b' '; 1 << 20]).await.unwrap();
    interrupt(&child);
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(service.paths(), Vec::<String>::new());
    drop(stdin);
}

#[cfg(unix)]
pub(super) fn interrupt(child: &tokio::process::Child) {
    let pid = rustix::process::Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let service = service().await;
    let large = json!({"ok": true, "output": vec!["x".repeat(1000); 1000]});
    service.on("/xrpc/at.functions.run", answer(200, &large));
    let mut child = program(&["invoke", FUNCTION, "--anonymous", "--service", &service.did()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[tokio::test]
async fn help_and_version_are_there() {
    let (code, stdout, _) = run(&mut program(&["--version"])).await;
    assert_eq!((code, stdout), (0, format!("at-functions {}\n", env!("CARGO_PKG_VERSION"))));
    for command in [
        "new",
        "build",
        "login",
        "logout",
        "accounts",
        "deploy",
        "rollback",
        "lexicon check",
        "lexicon publish",
        "completions",
        "man",
        "invoke",
        "list",
        "describe",
        "delete",
        "grant",
        "ungrant",
        "grants",
        "check",
        "run",
        "did",
        "did check",
        "audit verify",
        "health",
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, stdout, _) = run(&mut program(&arguments)).await;
        assert_eq!(code, 0);
        assert!(stdout.contains("Examples:") && stdout.contains("Exit codes:"), "{stdout}");
    }
    let (_, help, _) = run(&mut program(&["deploy", "--help"])).await;
    assert!(help.contains("Only you may call it, and those to whom you `grant` it"), "{help}");
    let (code, _, stderr) = run(&mut program(&[])).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("Usage:"), "{stderr}");
    let (code, _, stderr) = run(program(&["list"]).env("AT_FUNCTIONS_PLC_URL", "nonsense")).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--plc-url"), "{stderr}");
}
