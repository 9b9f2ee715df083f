//! `docs/dependencies.md`: a line for each dependency, and none for what is no dependency.

use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_dependency_has_its_line() {
    let root = env!("CARGO_MANIFEST_DIR");
    let manifest: toml::Table = fs::read_to_string(format!("{root}/Cargo.toml")).unwrap().parse().unwrap();
    let everywhere = ["dependencies", "dev-dependencies"].map(|section| &manifest[section]);
    // Those of one system alone.
    let somewhere = manifest["target"].as_table().unwrap().values().map(|target| &target["dependencies"]);
    let declared: BTreeSet<String> = everywhere
        .into_iter()
        .chain(somewhere)
        .flat_map(|section| section.as_table().unwrap().keys().cloned())
        .collect();
    let document = fs::read_to_string(format!("{root}/docs/dependencies.md")).unwrap();
    let explained: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert_eq!(declared, explained);
}
