//! Compiled modules on disk, over restarts of the whole service.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use at_functions::config::{Anonymous, Settings};
use at_functions::workers::{Flaw, StoreStats};
use serde_json::json;

use crate::patience::soon;
use crate::world::{ECHO, World};

/// The files of compiled modules.
fn artifacts(world: &World) -> Vec<PathBuf> {
    let entries = fs::read_dir(world.data_dir().join("artifacts")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// What is compiled is written when the call has its answer already.
async fn has_stored(world: &World, artifacts: u64) {
    soon(async || world.stats().store.stored >= artifacts).await;
}

/// Calls the echo, which must answer, and tells where its code came from.
async fn echo(world: &World, uri: &impl ToString) -> String {
    let answer = world.run(uri, json!([1, "two"])).await;
    assert_eq!(answer.output()["echo"], json!([1, "two"]));
    answer.body["usage"]["cache"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_restart_answers_its_first_call_without_a_compile() {
    let mut world = World::start().await;
    let published = world.publish("echo", ECHO);
    assert_eq!(echo(&world, &published.uri).await, "cold");
    has_stored(&world, 1).await;
    world.restart().await;
    assert_eq!(echo(&world, &published.uri).await, "disk");
    assert_eq!(echo(&world, &published.uri).await, "warm");
    assert_eq!(world.compiles(), 0);
    let bytes = world.stats().store.bytes;
    assert!(bytes > ECHO.len() as u64, "{bytes}");
    assert_eq!(world.stats().store, StoreStats { loaded: 1, bytes, ..StoreStats::default() });
}

#[tokio::test]
async fn whatever_is_wrong_on_disk_the_right_answer_comes_from_a_compile() {
    fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(path).unwrap();
        edit(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
    type Damage = fn(&Path, &Path);
    let cases: [(&str, Flaw, Damage); 14] = [
        ("empty", Flaw::Length, |file, _| edit(file, Vec::clear)),
        ("cut in the header", Flaw::Length, |file, _| edit(file, |bytes| bytes.truncate(33))),
        ("cut in the code", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes.truncate(20_000))),
        ("cut at the end", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes.truncate(bytes.len() - 1))),
        ("a bit of the MAC", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes[0] ^= 1)),
        ("a bit of the time", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes[39] ^= 1)),
        ("a bit of the memory's size", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes[46] ^= 1)),
        ("a bit of the code", Flaw::Unauthentic, |file, _| edit(file, |bytes| bytes[30_000] ^= 0x80)),
        ("huge", Flaw::Length, |file, _| {
            fs::OpenOptions::new().write(true).open(file).unwrap().set_len(1 << 40).unwrap();
        }),
        ("another function's", Flaw::Unauthentic, |file, other| assert!(fs::copy(other, file).unwrap() > 0)),
        ("a link to what it was", Flaw::NotAFile, |file, _| {
            let aside = file.with_extension("aside");
            fs::rename(file, &aside).unwrap();
            symlink(aside, file).unwrap();
        }),
        ("open to all", Flaw::Permissions, |file, _| {
            fs::set_permissions(file, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("a directory", Flaw::NotAFile, |file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
        ("a rotated key", Flaw::Unauthentic, |file, _| {
            let data_dir = file.ancestors().nth(2).unwrap();
            fs::write(data_dir.join("artifacts.key"), [3; 32]).unwrap();
        }),
    ];
    let mut world = World::start().await;
    let function = world.publish("echo", ECHO);
    echo(&world, &function.uri).await;
    has_stored(&world, 1).await;
    let file = artifacts(&world).remove(0);
    // The same with a name of its own.
    let other = wat::parse_str(format!(
        "(module (memory (export \"memory\") 1) (data (i32.const 0) \"7\") \
           (func (export \"alloc\") (param i32) (result i32) i32.const 1024) \
           (func (export \"run\") (param i32 i32) (result i64) i64.const {}))",
        1
    ));
    let other = world.publish("other", other.unwrap());
    assert_eq!(world.run(&other.uri, json!({})).await.output(), 7);
    has_stored(&world, 2).await;
    let others_file = artifacts(&world).into_iter().find(|path| *path != file).unwrap();

    for (what, flaw, damage) in cases {
        world.stop().await;
        damage(&file, &others_file);
        world.restart().await;
        assert_eq!(echo(&world, &function.uri).await, "cold", "{what}");
        assert_eq!(world.compiles(), 1, "{what}");
        let stats = world.stats().store;
        assert_eq!((stats.loaded, stats.discarded_for(flaw)), (0, 1), "{what}: {stats:?}");
        // A sound one is in its place again.
        has_stored(&world, 1).await;
        world.restart().await;
        assert_eq!((&*echo(&world, &function.uri).await, world.compiles()), ("disk", 0), "{what}");
    }
}

#[tokio::test]
async fn nothing_is_kept_where_the_operator_wants_none() {
    let settings =
        Settings { anonymous: Some(Anonymous::Public), artifact_cache: Some(0), ..Settings::default() };
    let mut world = World::start_with(settings).await;
    let function = world.publish("echo", ECHO);
    assert_eq!(echo(&world, &function.uri).await, "cold");
    world.restart().await;
    assert_eq!(echo(&world, &function.uri).await, "cold");
    let names = fs::read_dir(world.data_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let artifacts: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with("artifacts")).collect();
    assert_eq!(artifacts, Vec::<std::ffi::OsString>::new());
}

#[tokio::test]
async fn a_service_that_cannot_keep_anything_serves_without() {
    let data_dir = tempfile::tempdir().unwrap().keep();
    fs::write(data_dir.join("artifacts"), "something else").unwrap();
    let settings = Settings {
        anonymous: Some(Anonymous::Public),
        data_dir: Some(data_dir.clone()),
        ..Settings::default()
    };
    let world = World::start_with(settings).await;
    let function = world.publish("echo", ECHO);
    assert_eq!(echo(&world, &function.uri).await, "cold");
    assert_eq!(echo(&world, &function.uri).await, "warm");
    assert_eq!(world.stats().store, StoreStats::default());
    assert_eq!(fs::read(data_dir.join("artifacts")).unwrap(), b"something else");
}
