//! `did` and `did check`.

use serde_json::{Value, json};

use super::*;

#[tokio::test]
async fn did_check_says_whether_pdses_can_use_a_document() {
    let service = service().await;
    let host = format!("localhost:{}", service.port);
    let (code, stdout, stderr) = run(&mut program(&["did", "check", &host])).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.ends_with(&format!("PDSes can use it as {}#at_functions\n", service.did())), "{stdout}");

    let mut broken = service_document(&service);
    broken["service"][0]["serviceEndpoint"] = format!("http://localhost:{}/xrpc", service.port).into();
    service.on("/.well-known/did.json", answer(200, &broken));
    let (code, stdout, _) = run(&mut program(&["did", "check", &host, "--json"])).await;
    assert_eq!(code, 1);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&told["did"], &told["usable"]), (&json!(service.did()), &json!(false)));
    let fails: Vec<&Value> = told["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["result"] == "FAILS")
        .map(|c| &c["check"])
        .collect();
    assert_eq!(fails, ["endpoint"]);

    let elsewhere = Answer(302, vec![("location", format!("http://{host}/did.json"))], Vec::new());
    service.on("/.well-known/did.json", elsewhere);
    let (code, stdout, _) = run(&mut program(&["did", "check", &host])).await;
    assert_eq!(code, 1);
    assert!(stdout.contains("PDSes follow no redirect"), "{stdout}");
    let (code, _, _) =
        run(&mut program(&["did", "check", &format!("localhost:{}", crate::ports::closed_port())])).await;
    assert_eq!(code, 3);
}

#[tokio::test]
async fn did_shows_the_document_of_the_key_in_a_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let arguments = ["did", "--hostname", "fn.example.com", "--data-dir", path];
    let (code, _, stderr) = run(&mut program(&arguments)).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no key at"), "{stderr}");
    let (code, first, stderr) = run(program(&arguments).arg("--create-key")).await;
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("https://fn.example.com/.well-known/did.json"), "{stderr}");
    let (code, again, _) = run(&mut program(&arguments)).await;
    assert_eq!((code, &again), (0, &first));
    let document: Value = serde_json::from_str(&first).unwrap();
    assert_eq!(document["id"], "did:web:fn.example.com");
}

#[tokio::test]
async fn a_key_that_is_not_there_yet_is_answered_with_how_to_make_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let arguments = ["did", "--hostname", "functions.example.com", "--data-dir", data];
    let (code, stdout, stderr) = run(&mut program(&arguments)).await;
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("--create-key makes the key now"), "{stderr}");
    let made = run(&mut program(&[&arguments[..], &["--create-key"]].concat())).await;
    assert_eq!(made.0, 0, "{}", made.2);
}
