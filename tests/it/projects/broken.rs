//! What a person is told who has made a mistake.

use std::fs;

use super::{Copied, constant, manifest, run_in};

#[test]
fn new_refuses_a_folder_that_is_not_empty_and_names_that_do_not_do() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("full")).unwrap();
    fs::write(home.path().join("full/x"), "").unwrap();
    fs::create_dir(home.path().join("empty")).unwrap();
    let cases: [(&[&str], &str); 5] = [
        (&["new", "full"], "error: full: this folder is not empty: give one that is not there yet\n"),
        (
            &["new", "My Words"],
            "error: the name My Words: a name is a letter, then letters, digits and hyphens, all lower case, up to 64: try --name my-words\n",
        ),
        (&["new", "test"], "error: the name test: Rust keeps this name for itself: try --name my-test\n"),
        (
            &["new", "a", "--name", "B"],
            "error: --name: a name is a letter, then letters, digits and hyphens, all lower case, up to 64: try --name b\n",
        ),
        (&["new", "full/x/y"], "error: cannot read full/x/y: Not a directory (os error 20)\n"),
    ];
    for (arguments, told) in cases {
        let ran = run_in(home.path(), arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, told), "{arguments:?}");
    }
    assert!(!home.path().join("My Words").exists() && !home.path().join("test").exists());
    let unknown = run_in(home.path(), &["new", "a", "--template", "cobol"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("rust-pure"), "{}", unknown.stderr);

    let here = run_in(&home.path().join("empty"), &["new", ".", "--template", "c", "--json"]).done();
    assert!(here.stdout.contains(r#""name": "empty""#), "{}", here.stdout);
    assert!(home.path().join("empty/at-functions.toml").is_file());
}

#[test]
fn commands_without_a_project_say_how_to_get_one() {
    let home = tempfile::tempdir().unwrap();
    let none = "error: at-functions.toml: there is none here or in a folder above: give the path of a .wasm file or of a project, or make one with `at-functions new DIR`\n";
    for command in ["build", "run", "check"] {
        let ran = run_in(home.path(), &[command]);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, none), "{command}");
        let ran = run_in(home.path(), &[command, "."]);
        let told = "error: .: it has no at-functions.toml: `at-functions new DIR` makes a project\n";
        assert_eq!((ran.code, ran.stderr.as_str()), (2, told), "{command}");
    }
}

#[test]
fn a_project_that_is_not_built_or_older_than_its_sources_is_told() {
    let project = Copied::with(&manifest(""));
    let told = "error: at-functions.toml: the project is not built yet: `at-functions build` does it\n";
    for command in ["run", "check"] {
        let ran = run_in(&project.path(), &[command]);
        assert_eq!((ran.code, ran.stderr.as_str()), (2, told), "{command}");
    }
    run_in(&project.path(), &["build"]).done();
    let fresh = run_in(&project.path(), &["run"]).done();
    assert!(!fresh.stderr.contains("newer"), "{}", fresh.stderr);
    let built = fs::metadata(project.path().join("dist/words.wasm")).unwrap().modified().unwrap();
    let later = built + std::time::Duration::from_secs(1);
    fs::File::open(project.path().join("code")).unwrap().set_modified(later).unwrap();
    let stale = run_in(&project.path(), &["run"]).done();
    let note = "note: code is newer than the module: `at-functions build` builds it again\n";
    assert!(stale.stderr.starts_with(note), "{}", stale.stderr);
}

#[test]
fn a_build_tells_what_is_wrong_and_what_would_do() {
    let project = Copied::with(&manifest(""));
    let build = |manifest: &str| {
        project.write("at-functions.toml", manifest.as_bytes());
        let ran = run_in(&project.path(), &["build"]);
        (
            ran.code,
            ran.stderr
                .lines()
                .skip_while(|line| line.starts_with("building "))
                .collect::<Vec<_>>()
                .join("\n"),
        )
    };
    let with = |command: &str| manifest("").replace("cp code out.wasm", command);
    assert_eq!(build(&with("exit 4")), (1, "error: the build failed (exit code 4): exit 4".to_owned()));
    assert_eq!(
        build(&with("true")),
        (1, "error: the build left no out.wasm: write the path that it does write to `module` in at-functions.toml".to_owned())
    );
    let (code, told) =
        build(&with("cargo build --target wasm64-unknown-unknown --manifest-path absent.toml"));
    assert_eq!(code, 1);
    assert!(told.contains("Rust has no target wasm64-unknown-unknown here: "), "{told}");
    assert!(told.ends_with("`rustup target add wasm64-unknown-unknown` installs it"), "{told}");
    let (code, told) = build(&manifest("max-memory-mb = 0"));
    assert_eq!(
        (code, told.as_str()),
        (2, "error: at-functions.toml, line 3: max-memory-mb: 0 is not within 1 to 256")
    );
}

#[test]
fn a_program_that_is_not_installed_is_named() {
    let project = Copied::with(&manifest("").replace("cp code out.wasm", "zig build"));
    // Nothing but what a shell has.
    let bin = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    let sh = std::env::split_paths(&path).map(|folder| folder.join("sh")).find(|sh| sh.is_file()).unwrap();
    std::os::unix::fs::symlink(sh, bin.path().join("sh")).unwrap();
    let ran = std::process::Command::new(super::BINARY)
        .arg("build")
        .current_dir(project.path())
        .env("PATH", bin.path())
        .output()
        .unwrap();
    let told = String::from_utf8(ran.stderr).unwrap();
    let expected =
        "zig is not installed: `pip install ziglang` installs it, or see https://ziglang.org/download\n";
    assert!(told.ends_with(expected), "{told}");
    assert_eq!(ran.status.code(), Some(1));
}

#[test]
fn a_module_that_services_refuse_is_built_and_the_refusal_told() {
    let project = Copied::with(&manifest("mode = \"host-v1\"\nallowed-hosts = [\"at://alice.example.com\"]"));
    project.write("code", &wat::parse_str("(module (memory (export \"memory\") 1))").unwrap());
    let ran = run_in(&project.path(), &["build"]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("services refuse it as host-v1\n  the module does not export `alloc`"),
        "{}",
        ran.stdout
    );
    project.write("code", &constant("{}"));
    project.write("at-functions.toml", manifest("allowed-hosts = [\"at://alice.example.com\"]").as_bytes());
    let warned = run_in(&project.path(), &["build"]).done().stdout;
    assert!(
        warned.contains("warning: allowed-hosts has no effect: functions of pure-v1 read nothing"),
        "{warned}"
    );
}

#[test]
fn wasm_opt_is_used_where_it_makes_a_module_smaller_that_is_as_good() {
    let project = Copied::with(&manifest(""));
    project.write("code", &std::fs::read(super::ECHO).unwrap());
    let small = project.path().join("small");
    // A wasm-opt that answers with the file `small`; the last argument is where to.
    let bin = tempfile::tempdir().unwrap();
    let script = format!("#!/bin/sh\nfor to; do :; done\nexec cp {} \"$to\"\n", small.display());
    let program = bin.path().join("wasm-opt");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let build = |arguments: &[&str]| {
        let ran = std::process::Command::new(super::BINARY)
            .arg("build")
            .args(arguments)
            .current_dir(project.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        (String::from_utf8(ran.stdout).unwrap(), fs::read(project.path().join("dist/words.wasm")).unwrap())
    };
    let good = constant("{}");
    fs::write(&small, &good).unwrap();
    let (told, built) = build(&[]);
    assert!(told.contains("\n  wasm-opt "), "{told}");
    assert_eq!(built, good);
    let (told, built) = build(&["--no-optimise"]);
    assert!(!told.contains("wasm-opt") && built.len() > good.len(), "{told}");
    // One that services refuse does not count.
    fs::write(&small, wat::parse_str("(module)").unwrap()).unwrap();
    let (told, built) = build(&[]);
    assert!(!told.contains("wasm-opt") && built.len() > good.len(), "{told}");
}

#[test]
fn a_module_that_tells_where_it_was_built_is_warned_of() {
    let project = Copied::with(&manifest(""));
    let build = || {
        let ran = std::process::Command::new(super::BINARY)
            .arg("build")
            .current_dir(project.path())
            .env("HOME", "/home/alice")
            .output()
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8(ran.stdout).unwrap()
    };
    project.write("code", &constant(r#"{"at":"/home/alice/src/lib.rs"}"#));
    let told = build();
    assert!(told.contains("warning: it holds paths below /home/alice, which tell who built it"), "{told}");
    project.write("code", &constant(r#"{"at":"/home/alicex/src/lib.rs"}"#));
    assert!(!build().contains("it holds paths"));
}

#[test]
fn a_run_over_its_limit_names_the_key_to_raise() {
    let project = Copied::with(&manifest("max-duration-ms = 20"));
    let endless = r#"(module (memory (export "memory") 1) (func (export "alloc") (param i32) (result i32) i32.const 64)
                       (func (export "run") (param i32 i32) (result i64) (loop (br 0)) unreachable))"#;
    project.write("code", &wat::parse_str(endless).unwrap());
    run_in(&project.path(), &["build"]).done();
    let ran = run_in(&project.path(), &["run"]);
    assert_eq!(ran.code, 1);
    let advice = "Do less, or raise max-duration-ms in at-functions.toml (now 20, at most 5000).";
    assert!(ran.stderr.contains(advice), "{}", ran.stderr);
    let given = run_in(&project.path(), &["run", "--max-duration-ms", "30"]).stderr;
    assert!(given.contains("(now 30, at most 5000)"), "{given}");
}
