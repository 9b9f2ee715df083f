use clap::error::ErrorKind;

use super::super::project::Project;
use super::super::{Command, parse};
use super::*;
use crate::cli::record::Draft;
use crate::lexicon::Mode;

fn args(arguments: &[&str]) -> Result<DeployArgs, clap::Error> {
    match parse(&[&["deploy"], arguments].concat())? {
        Command::Deploy(args) => Ok(*args),
        _ => unreachable!("deploy was asked for"),
    }
}

const ECHO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/pure-rust/echo.wasm");

async fn wanted(arguments: &[&str]) -> Result<Wanted, CliError> {
    let args = args(arguments).unwrap();
    let subject = Subject::at(args.path.as_deref())?;
    Wanted::read(&args, &subject).await
}

async fn draft(arguments: &[&str]) -> Draft {
    wanted(&[&[ECHO, "--name", "echo"], arguments].concat()).await.unwrap().draft
}

/// A project as its build leaves it.
fn project(more: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("in.json"), r#"{"type": "object"}"#).unwrap();
    let text = format!("name = \"echo\"\nversion = \"1.2.3\"\n{more}\n[build]\nmodule = \"f.wasm\"\n");
    std::fs::write(dir.path().join("at-functions.toml"), text).unwrap();
    let module = Project::at(Some(dir.path())).unwrap().module();
    std::fs::create_dir(module.parent().unwrap()).unwrap();
    std::fs::copy(ECHO, module).unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    (dir, path)
}

#[tokio::test]
async fn the_defaults_are_the_lexicons() {
    let draft = draft(&[]).await;
    assert_eq!((draft.max_memory_mb, draft.max_duration_ms, draft.mode), (32, 100, Mode::PureV1));
    assert_eq!((draft.version.as_str(), draft.public), ("0.1.0", true));
    assert_eq!(draft.allowed_hosts, None);
}

#[tokio::test]
async fn a_project_says_what_flags_do_not() {
    let more = "rkey = \"key\"\npublic = false\nmax-memory-mb = 64\nmax-duration-ms = 500\nallowed-hosts = [\"at://a.com\"]\ninput-schema = \"in.json\"\ndescription = \"d\"";
    let (_dir, path) = project(more);
    let of_project = wanted(&[&path]).await.unwrap();
    assert_eq!(of_project.rkey.as_str(), "key");
    let Draft { name, version, public, max_memory_mb, max_duration_ms, .. } = &of_project.draft;
    assert_eq!((name.as_str(), version.as_str(), *public), ("echo", "1.2.3", false));
    assert_eq!((*max_memory_mb, *max_duration_ms), (64, 500));
    assert_eq!(of_project.draft.allowed_hosts, Some(vec!["at://a.com".to_owned()]));
    assert_eq!(of_project.draft.input_schema, Some(json!({"type": "object"})));
    assert_eq!(of_project.draft.description.as_deref(), Some("d"));
    let flags = ["--version", "2.0.0", "--allow-none", "--max-memory-mb", "128", "--rkey", "other"];
    let with_flags = wanted(&[&[path.as_str()], &flags[..]].concat()).await.unwrap();
    assert_eq!(with_flags.rkey.as_str(), "other");
    assert_eq!((with_flags.draft.version.as_str(), with_flags.draft.max_memory_mb), ("2.0.0", 128));
    assert_eq!(with_flags.draft.allowed_hosts, Some(vec![]));
}

#[tokio::test]
async fn what_a_project_lacks_is_told() {
    let (dir, path) = project("");
    std::fs::remove_file(dir.path().join("dist/echo.wasm")).unwrap();
    let told = wanted(&[&path, "--no-build"]).await.err().unwrap().to_string();
    assert!(
        told.ends_with("at-functions.toml: the project is not built yet: `at-functions build` does it"),
        "{told}"
    );
    let told = wanted(&[ECHO]).await.err().unwrap().to_string();
    assert!(told.starts_with("--name: give the function's name, or deploy a project"), "{told}");
    let told = wanted(&[ECHO, "--name", "a", "--strict-output"]).await.err().unwrap().to_string();
    assert!(told.contains("--output-schema"), "{told}");
}

#[tokio::test]
async fn what_may_be_read_is_anything_a_list_or_nothing() {
    assert_eq!(draft(&["--allow-none"]).await.allowed_hosts, Some(vec![]));
    assert_eq!(
        draft(&["--allow", "at://a.com", "--allow", "at://b.com/x.y.z"]).await.allowed_hosts,
        Some(vec!["at://a.com".to_owned(), "at://b.com/x.y.z".to_owned()])
    );
    let error = args(&[ECHO, "--allow-none", "--allow", "at://a.com"]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::ArgumentConflict);
    let many: Vec<&str> = std::iter::repeat_n(["--allow", "at://a.com"], 65).flatten().collect();
    assert!(wanted(&[&[ECHO, "--name", "a"], many.as_slice()].concat()).await.is_err());
}

#[test]
fn a_service_to_wait_for_is_given_or_set() {
    let wait = |arguments: &[&str]| args(arguments).unwrap().wait;
    assert!(wait(&[]).service().unwrap().is_none());
    let given = wait(&["--wait=did:web:a.com", "dir"]);
    assert_eq!(given.service().unwrap().unwrap().to_string(), "did:web:a.com#at_functions");
    let told = wait(&["--wait", "dir"]).service().unwrap_err().to_string();
    assert!(told.contains("AT_FUNCTIONS_SERVICE"), "{told}");
}

#[test]
fn values_out_of_bounds_are_refused_before_anything_is_read() {
    let long = "x".repeat(2049);
    for arguments in [
        ["--max-memory-mb", "0"],
        ["--max-memory-mb", "257"],
        ["--max-duration-ms", "0"],
        ["--max-duration-ms", "5001"],
        ["--max-duration-ms", "-1"],
        ["--mode", "pure-v2"],
        ["--version", ""],
        ["--version", &long],
        ["--description", &long],
        ["--rkey", "a b"],
        ["--rkey", ".."],
        ["--allow", "https://a.com"],
        ["--pds", "pds.example.com"],
        ["--handle", "alice"],
    ] {
        let error = args(&arguments).err().unwrap();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ValueValidation | ErrorKind::UnknownArgument | ErrorKind::InvalidValue
            ),
            "{arguments:?}: {error}"
        );
    }
}
