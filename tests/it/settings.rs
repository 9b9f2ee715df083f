//! The settings as the documents state them.

use std::fs;

use at_functions::config::{Config, Settings};
use clap::{Args, Command};

fn document(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn the_readme_has_a_row_for_every_setting_and_no_other() {
    let command = Settings::augment_args(Command::new("serve"));
    let declared: Vec<[String; 3]> = command
        .get_arguments()
        .map(|argument| {
            let flag = argument.get_long().unwrap();
            let variable = argument.get_env().unwrap().to_str().unwrap();
            [format!("--{flag}"), variable.to_owned(), flag.replace('-', "_")]
        })
        .collect();
    let readme = document("README.md");
    let row = |line: &str| -> Option<[String; 3]> {
        let cells = line.strip_prefix("| `--")?.split('|').take(3);
        let names: Vec<String> = cells.map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let [flag, variable, key] = names.try_into().ok()?;
        Some([format!("--{flag}"), variable, key])
    };
    let mut rows: Vec<[String; 3]> = readme.lines().filter_map(row).collect();
    // One setting comes with a feature.
    rows.retain(|[flag, ..]| cfg!(feature = "otlp") || flag != "--otlp-endpoint");
    assert_eq!(rows, declared);
    for [_, variable, key] in rows {
        assert_eq!(variable, format!("AT_FUNCTIONS_{}", key.to_uppercase()));
    }
}

#[test]
fn the_settings_file_of_the_example_is_taken() {
    let settings = Settings::from_toml(&document("deploy/at-functions.toml")).unwrap();
    let config = Config::complete(settings).unwrap();
    assert_eq!(config.memory_budget_bytes, 2048 * 1024 * 1024);
}

#[test]
fn what_the_example_file_comments_out_is_the_default() {
    let commented =
        |line: &str| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).map(str::to_owned);
    let text = document("deploy/at-functions.toml");
    let defaults: Vec<String> = text.lines().filter_map(commented).collect();
    assert!(defaults.len() > 8, "{defaults:?}");
    let hostname = "hostname = \"functions.example.com\"\n";
    let stated =
        Config::complete(Settings::from_toml(&(hostname.to_owned() + &defaults.join("\n"))).unwrap());
    let absent = Config::complete(Settings::from_toml(hostname).unwrap());
    assert_eq!(format!("{stated:?}"), format!("{absent:?}"));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_service_has_as_many_threads_as_it_is_told() {
    use crate::served::Served;

    let (_world, few) = Served::start(&["--service-threads=1"]).await;
    let (_world, many) = Served::start(&["--service-threads=41"]).await;
    // Those that wait for disks come and go, but not by the dozen.
    let more = many.threads() - few.threads();
    assert!((30..=50).contains(&more), "{more}");
}
