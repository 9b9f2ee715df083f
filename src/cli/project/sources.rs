//! The files that a build is made of, as they are: to see whether they changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{FINISHED, MANIFEST, Project};

/// Files that are looked at, at most: a project that is a whole disk is not walked to its end.
const MAX_FILES: usize = 10_000;
/// Folders that builds and package managers write.
const WRITTEN: [&str; 5] = ["target", "node_modules", FINISHED, "build", "zig-out"];

/// When each file was changed, and how long it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Sources(BTreeMap<PathBuf, (SystemTime, u64)>);

impl Sources {
    /// What the manifest names to be watched; else all of the project but what builds write and what is hidden. The
    /// manifest and the schemas are always among them.
    pub(in crate::cli) fn of(project: &Project) -> Sources {
        let (mut sources, manifest) = (Sources::default(), &project.manifest);
        let built = project.root.join(&manifest.build.module);
        if manifest.build.command.is_none() {
            // Whoever writes it does so unasked.
            sources.add(&built, Path::new(""));
        }
        match &manifest.build.watch {
            Some(watched) => watched.iter().for_each(|path| sources.add(&project.root.join(path), &built)),
            None => sources.add_folder(project.folder(), &built),
        }
        let named = [&manifest.input_schema, &manifest.output_schema].into_iter().flatten();
        named.for_each(|schema| sources.add(&project.root.join(schema), &built));
        sources.add(&project.root.join(MANIFEST), &built);
        sources
    }

    /// A file that was changed after `built`.
    pub(super) fn newer_than(&self, built: SystemTime) -> Option<&Path> {
        self.0.iter().find(|(_, (changed, _))| *changed > built).map(|(path, _)| path.as_path())
    }

    fn add(&mut self, path: &Path, built: &Path) {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => self.add_folder(path, built),
            Ok(meta) if path != built => {
                let changed = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                self.0.insert(path.to_owned(), (changed, meta.len()));
            }
            _ => {}
        }
    }

    fn add_folder(&mut self, folder: &Path, built: &Path) {
        // What cannot be read is not there for a build either.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_written = is_folder && WRITTEN.iter().any(|written| name == *written);
            if !is_hidden && !is_written && self.0.len() < MAX_FILES {
                match is_folder {
                    true => self.add_folder(&entry.path(), built),
                    // A link to a folder is not followed: it may lead in a circle.
                    false if entry.path().is_dir() => {}
                    false => self.add(&entry.path(), built),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Manifest;
    use super::*;

    fn project(root: &Path, build: &str) -> Project {
        let text = format!(
            "name = \"a\"\nversion = \"1\"\ninput-schema = \"in.json\"\n[build]\nmodule = \"a.wasm\"\n{build}"
        );
        Project { root: root.to_owned(), manifest: Manifest::parse(&text).unwrap() }
    }

    fn names(sources: &Sources, root: &Path) -> Vec<String> {
        sources.0.keys().map(|path| path.strip_prefix(root).unwrap().display().to_string()).collect()
    }

    #[test]
    fn what_builds_write_is_no_source() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["src/deep", "target", "node_modules", "dist", ".git", "src/target"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("f"), "x").unwrap();
        }
        for file in ["at-functions.toml", "a.wasm", "in.json", "b.wasm"] {
            fs::write(dir.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join("round")).unwrap();
        let command = "command = \"make\"\n";
        let all = Sources::of(&project(dir.path(), command));
        assert_eq!(names(&all, dir.path()), ["at-functions.toml", "b.wasm", "in.json", "src/deep/f"]);
        // Unless nothing is said to write it.
        let all = Sources::of(&project(dir.path(), ""));
        assert_eq!(
            names(&all, dir.path()),
            ["a.wasm", "at-functions.toml", "b.wasm", "in.json", "src/deep/f"]
        );
        let named = format!("{command}watch = [\"src/deep\", \"absent\"]");
        let named = Sources::of(&project(dir.path(), &named));
        assert_eq!(names(&named, dir.path()), ["at-functions.toml", "in.json", "src/deep/f"]);
    }

    #[test]
    fn a_change_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let project = project(dir.path(), "");
        fs::write(dir.path().join("one"), "x").unwrap();
        let before = Sources::of(&project);
        assert_eq!(Sources::of(&project), before);
        fs::write(dir.path().join("one"), "xy").unwrap();
        assert_ne!(Sources::of(&project), before);
        let changed = fs::metadata(dir.path().join("one")).unwrap().modified().unwrap();
        let sources = Sources::of(&project);
        assert_eq!(sources.newer_than(changed), None);
        let earlier = changed - std::time::Duration::from_secs(1);
        assert_eq!(sources.newer_than(earlier), Some(dir.path().join("one").as_path()));
    }
}
