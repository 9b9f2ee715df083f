//! "Deploy it" of `docs/writing-functions.md`: its lines, typed by an author with an account on the real PDS.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;

use super::accounts::stderr;
use super::{Account, Network, Service};
use crate::patience::PATIENCE;
use crate::projects::templates::{missing_for, stand_in_for};
use crate::projects::tutorial::{TUTORIAL, blocks};

/// An author in a shell.
struct Reader<'a> {
    network: &'a Network,
    account: Account,
    app_password: String,
    service: Service,
    home: tempfile::TempDir,
    /// What was exported.
    variables: Vec<(String, String)>,
}

impl Reader<'_> {
    fn project(&self) -> PathBuf {
        self.home.path().join("words")
    }

    /// The project of the section before, built.
    fn begins(&self) {
        let made = std::process::Command::new(env!("CARGO_BIN_EXE_at-functions"))
            .args(["new", "words"])
            .current_dir(self.home.path())
            .output();
        assert!(made.expect("the binary was built with this test").status.success());
        if let Some(missing) = missing_for("rust-pure") {
            stand_in_for(&self.project(), "rust-pure", missing);
        }
    }

    /// The line as it is for this author, on this network.
    fn own(&self, line: &str) -> String {
        let line = line.replace("alice.example.com", &self.account.handle);
        let line = line.replace("did:web:functions.example.com", &self.service.did());
        let asks = ["deploy", "rollback", "delete"]
            .iter()
            .any(|command| line.starts_with(&format!("at-functions {command}")));
        // Nobody can be asked here.
        if asks { format!("{line} --yes") } else { line }
    }

    async fn types(&mut self, line: &str) -> String {
        let line = self.own(line);
        if let Some((name, value)) =
            line.strip_prefix("export ").and_then(|variable| variable.split_once('='))
        {
            self.variables.push((name.to_owned(), value.to_owned()));
            return String::new();
        }
        let mut shell = tokio::process::Command::new("sh");
        // The test's own PATH and homes of toolchains, for the build; of our variables, those of this network alone.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AT_FUNCTIONS_"))
        {
            shell.env_remove(name);
        }
        let bin = PathBuf::from(env!("CARGO_BIN_EXE_at-functions"));
        let bin = bin.parent().expect("a program is in a folder").display().to_string();
        let path = format!("{bin}:{}", std::env::var("PATH").expect("there is a PATH"));
        shell.args(["-c", &line]).current_dir(self.project()).stdin(Stdio::null()).kill_on_drop(true);
        shell.env("PATH", path).env("AT_FUNCTIONS_HOME", self.home.path());
        shell
            .env("AT_FUNCTIONS_PLC_URL", self.network.plc_url())
            .env("AT_FUNCTIONS_PDS", &self.account.pds.url);
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        if line.starts_with("at-functions login") {
            shell.env("AT_FUNCTIONS_PASSWORD", &self.app_password);
        }
        let mut output = shell.output().await.expect("a shell starts");
        let began = std::time::Instant::now();
        // A service that still compiles says so, and a person asks again.
        while stderr(&output).starts_with("error: NotEnoughResources ") && began.elapsed() < PATIENCE {
            output = shell.output().await.expect("a shell starts");
        }
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    }
}

#[tokio::test]
async fn the_lines_on_deploying_do_what_they_say() {
    let Some(network) = Network::shared() else { return };
    let account = network.create_account(network.pds(0)).await;
    let mut reader = Reader {
        network,
        app_password: account.create_app_password("laptop").await,
        account,
        service: Service::start(network, &["--isolation=thread"]).await,
        home: tempfile::tempdir().expect("a directory"),
        variables: Vec::new(),
    };
    reader.begins();
    reader.types("at-functions build").await;
    let (_, section) = TUTORIAL.split_once("\n## Deploy it\n").expect("the tutorial has this section");
    let (section, _) = section.split_once("\n## ").expect("it is not the last one");
    let (mut said, mut lines, mut outputs) = (String::new(), 0, 0);
    for block in blocks(section) {
        match block.language.as_str() {
            "sh" => {
                for line in block.text.lines() {
                    said = reader.types(line).await;
                    lines += 1;
                }
            }
            "json" => {
                let parsed = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
                assert_eq!(parsed(&said), parsed(&block.text));
                outputs += 1;
            }
            language => panic!("nobody types {language}"),
        }
    }
    assert_eq!((lines, outputs), (11, 1));
    let left = reader.account.query("com.atproto.repo.listRecords").param("repo", &reader.account.did);
    let left = left.param("collection", "at.functions.metadata").send().await.ok();
    assert_eq!(left["records"], serde_json::json!([]));
}
