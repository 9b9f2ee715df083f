//! The documents: what they link to inside the repository exists.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold no documents of ours.
const SKIPPED: [&str; 3] = ["target", "node_modules", ".git"];

#[test]
fn every_relative_link_of_every_document_resolves() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    collect(root, &mut documents);
    let mut checked = 0;
    for document in &documents {
        let text = fs::read_to_string(document).unwrap();
        for target in targets(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            assert!(place.exists(), "{} links to {target}", document.display());
            let is_markdown = place.extension().is_some_and(|extension| extension == "md");
            if !anchor.is_empty() && is_markdown {
                let headings = anchors(&fs::read_to_string(&place).unwrap());
                assert!(headings.iter().any(|h| h == anchor), "{} links to {target}", document.display());
            }
            checked += 1;
        }
    }
    assert!(documents.iter().any(|path| path.ends_with("README.md")) && checked > 20, "{checked} links");
}

#[test]
fn links_and_anchors_are_read_as_they_are_written() {
    let text = "# A `b` title: 1.5\n[x](a/b.md#c) ![i](i.png) [u](https://e.org/x) `[no](none)`\n```\n[no](none)\n# no\n```\n";
    assert_eq!(targets(text).collect::<Vec<_>>(), ["a/b.md#c", "i.png"]);
    assert_eq!(anchors(text), ["a-b-title-15"]);
}

fn collect(folder: &Path, documents: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !path.is_symlink() && !SKIPPED.contains(&name.as_str()) {
            collect(&path, documents);
        } else if name.ends_with(".md") {
            documents.push(path);
        }
    }
}

/// The lines that are not in a fenced code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// The targets of inline links that lead to a place inside the repository.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    // Every second piece between backticks is code.
    prose(text)
        .flat_map(|line| line.split('`').step_by(2))
        .flat_map(|piece| {
            piece.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        })
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
}

/// The anchors of the headings, made as forges make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text)
        .filter_map(|line| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    headings
        .map(|heading| {
            let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
        })
        .collect()
}
