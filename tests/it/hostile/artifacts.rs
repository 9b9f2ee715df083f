//! What is kept on disk, in the hands of somebody else.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use at_functions::dev::Published;
use serde_json::json;

use crate::arena::*;
use crate::modules::*;

const STORED: &str = "at_functions_artifacts_stored_total";

fn files(data: &Path) -> Vec<PathBuf> {
    fs::read_dir(data.join("artifacts")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

impl Arena {
    /// Publishes a module that answers 7, calls it, and gives the file in which it was kept.
    async fn kept(&self) -> (Published, PathBuf) {
        let (before, stored) = (files(&self.service.data_dir()), self.service.metric(STORED));
        let function = self.publish(&wasm(&seven()), LONG);
        assert_eq!(self.call(&function).await.output(), &json!(7));
        self.until(STORED, |now| now > stored).await;
        let mut new = files(&self.service.data_dir());
        new.retain(|file| !before.contains(file));
        assert_eq!(new.len(), 1, "{new:?}");
        (function, new.remove(0))
    }

    /// Calls it, which must answer, and tells where its code came from.
    async fn source(&self, function: &Published) -> String {
        let answer = self.call(function).await;
        assert_eq!(answer.output(), &json!(7));
        answer.body["usage"]["cache"].as_str().unwrap().to_owned()
    }

    fn discarded(&self, reason: &str) -> u64 {
        self.service.metric(&format!("at_functions_artifacts_discarded_total{{reason=\"{reason}\"}}"))
    }
}

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    edit(&mut bytes);
    fs::write(path, bytes).unwrap();
}

pub(crate) async fn whatever_is_wrong_with_a_file_it_is_compiled_anew(arena: &Arena) {
    type Damage = fn(&Path, &Path);
    let damages: [(&str, Damage); 9] = [
        ("length", |file, _| edit(file, Vec::clear)),
        ("length", |file, _| edit(file, |bytes| bytes.truncate(33))),
        ("unauthentic", |file, _| edit(file, |bytes| bytes.truncate(bytes.len() - 1))),
        ("unauthentic", |file, _| edit(file, |bytes| bytes[0] ^= 1)),
        ("unauthentic", |file, _| edit(file, |bytes| bytes[3_000] ^= 0x80)),
        ("unauthentic", |file, other| assert!(fs::copy(other, file).unwrap() > 0)),
        ("notAFile", |file, _| {
            let aside = file.with_extension("aside");
            fs::rename(file, &aside).unwrap();
            symlink(aside, file).unwrap();
        }),
        ("permissions", |file, _| fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap()),
        ("links", |file, _| fs::hard_link(file, file.with_extension("twin")).unwrap()),
    ];
    let mut own = arena.another(&[]).await;
    let mut kept = Vec::new();
    for _ in 0..=damages.len() {
        kept.push(own.kept().await);
    }
    let (sound, others_file) = kept.pop().unwrap();
    own.service
        .restart(|_| {
            for ((_, damage), (_, file)) in damages.iter().zip(&kept) {
                damage(file, &others_file);
            }
        })
        .await;
    for ((reason, _), (function, _)) in damages.iter().zip(&kept) {
        let before = own.discarded(reason);
        assert_eq!(own.source(function).await, "cold", "{reason}");
        assert_eq!(own.discarded(reason), before + 1, "{reason}");
    }
    assert_eq!(own.source(&sound).await, "disk");
    // A key that was lost makes none of them any good.
    own.service.restart(|data| fs::write(data.join("artifacts.key"), [3; 32]).unwrap()).await;
    assert_eq!(own.source(&sound).await, "cold");
    assert_eq!(own.discarded("unauthentic"), 1);
}

pub(crate) async fn a_disk_that_takes_nothing_costs_nothing_but_the_cache(arena: &Arena) {
    let mut own = arena.another(&[]).await;
    own.service
        .restart(|data| {
            fs::remove_dir_all(data.join("artifacts")).unwrap();
            fs::write(data.join("artifacts"), "something else").unwrap();
        })
        .await;
    for _ in 0..3 {
        let function = own.publish(&wasm(&seven()), LONG);
        assert_eq!(own.source(&function).await, "cold");
        assert_eq!(own.source(&function).await, "warm");
    }
    let told = own.service.log().matches("compiled again after a restart").count();
    assert_eq!(told, 1, "{}", own.service.log());
    assert_eq!(own.service.metric(STORED), 0);
}

pub(crate) async fn two_services_do_not_share_a_directory(arena: &Arena) {
    let own = arena.another(&[]).await;
    let (function, file) = own.kept().await;
    let bytes = fs::read(&file).unwrap();
    let second = own.service.second_on_the_same_data();
    second.is_gone_soon().await;
    assert!(second.log().contains("only one service can use a data directory"), "{}", second.log());
    assert_eq!(own.source(&function).await, "warm");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}
