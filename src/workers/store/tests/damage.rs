//! Files, keys and directories that are not what was made.

use super::*;

#[test]
fn a_file_that_is_not_what_was_written_is_deleted_and_never_loaded() {
    fn cut(path: &Path, bytes: u64) {
        fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
    }
    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fn replace_by(path: &Path, make: impl FnOnce(&Path)) {
        fs::rename(path, path.with_extension("aside")).unwrap();
        make(path);
    }
    let cases: [(&str, Flaw, Damage); 25] = [
        ("nothing left", Flaw::Length, |path| cut(path, 0)),
        ("one byte left", Flaw::Length, |path| cut(path, 1)),
        ("half a header left", Flaw::Length, |path| cut(path, 39)),
        ("a header left", Flaw::Unauthentic, |path| cut(path, 40)),
        ("half left", Flaw::Unauthentic, |path| cut(path, 500)),
        ("a byte missing", Flaw::Unauthentic, |path| cut(path, 1_039)),
        ("a zero more", Flaw::Unauthentic, |path| cut(path, 1_041)),
        ("zeros to the end of the longest", Flaw::Unauthentic, |path| cut(path, MAX_ARTIFACT_BYTES)),
        ("longer than the longest", Flaw::Length, |path| cut(path, MAX_ARTIFACT_BYTES + 1)),
        ("a tebibyte", Flaw::Length, |path| cut(path, 1 << 40)),
        ("readable by the group", Flaw::Permissions, |path| mode(path, 0o640)),
        ("readable by all", Flaw::Permissions, |path| mode(path, 0o604)),
        ("writable by all", Flaw::Permissions, |path| mode(path, 0o602)),
        ("executable", Flaw::Permissions, |path| mode(path, 0o700)),
        ("with a changed user", Flaw::Permissions, |path| mode(path, 0o4600)),
        ("with a second name", Flaw::Links, |path| fs::hard_link(path, path.with_extension("too")).unwrap()),
        ("a link to the sound file", Flaw::NotAFile, |path| {
            replace_by(path, |path| symlink(path.with_extension("aside"), path).unwrap());
        }),
        ("a link to itself", Flaw::NotAFile, |path| replace_by(path, |path| symlink(path, path).unwrap())),
        ("a link to nothing", Flaw::NotAFile, |path| replace_by(path, |path| symlink("no", path).unwrap())),
        ("a link to a device", Flaw::NotAFile, |path| {
            replace_by(path, |path| symlink("/dev/zero", path).unwrap());
        }),
        ("a directory", Flaw::NotAFile, |path| replace_by(path, |path| fs::create_dir(path).unwrap())),
        ("a pipe", Flaw::NotAFile, |path| {
            replace_by(path, |path| {
                rustix::fs::mknodat(CWD, path, FileType::Fifo, FileMode::from_bits_truncate(0o600), 0)
                    .unwrap();
            });
        }),
        ("a socket", Flaw::NotAFile, |path| {
            // Its path must be short, so it is made elsewhere.
            replace_by(path, |path| {
                let near = tempfile::tempdir().unwrap();
                let socket = std::os::unix::net::UnixListener::bind(near.path().join("s")).unwrap();
                fs::rename(near.path().join("s"), path).unwrap();
                drop(socket);
            });
        }),
        ("another module's", Flaw::Unauthentic, |path| {
            fs::rename(file_of(path.ancestors().nth(2).unwrap(), &name(2)), path).unwrap();
        }),
        ("of another service", Flaw::Unauthentic, |path| {
            let other = tempfile::tempdir().unwrap();
            open(other.path()).save(&name(1), &[&[7; 1_000]]);
            fs::copy(file_of(other.path(), &name(1)), path).unwrap();
        }),
    ];
    for (what, flaw, damage) in cases {
        let data = tempfile::tempdir().unwrap();
        let store = open(data.path());
        store.save(&name(1), &[&[7; 1_000]]);
        store.save(&name(2), &[&[8; 1_000]]);
        let file = file_of(data.path(), &name(1));
        assert_eq!(fs::metadata(&file).unwrap().len(), 1_040);
        damage(&file);
        assert_eq!(store.load(&name(1)), None, "{what}");
        let stats = store.stats();
        assert_eq!((stats.loaded, stats.discarded_for(flaw)), (0, 1), "{what}: {stats:?}");
        assert_eq!(stats.discarded.iter().sum::<u64>(), 1, "{what}");
        assert!(fs::symlink_metadata(&file).is_err(), "{what} is still there");
        // What is made anew takes its place.
        assert_eq!(store.load(&name(1)), None, "{what}");
        store.save(&name(1), &[&[7; 1_000]]);
        assert_eq!(store.load(&name(1)).unwrap(), [7; 1_000][..], "{what}");
        assert_eq!(store.stats().discarded.iter().sum::<u64>(), 1, "{what}");
    }
}

#[test]
fn each_of_many_bits_counts() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    let file = file_of(data.path(), &name(1));
    store.save(&name(1), &[&[7; 1_000]]);
    let sound = fs::read(&file).unwrap();
    let bits = sound.len() * 8;
    let flips = (0..bits).step_by(97).chain([bits - 1]);
    let mut flipped = 0;
    for bit in flips {
        store.save(&name(1), &[&[7; 1_000]]);
        let mut bytes = fs::read(&file).unwrap();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, bytes).unwrap();
        flipped += 1;
        assert_eq!(store.load(&name(1)), None, "bit {bit}");
        assert_eq!(store.stats().discarded_for(Flaw::Unauthentic), flipped, "bit {bit}");
    }
    assert!(flipped > 80);
}

#[test]
fn somebody_elses_file_is_not_taken() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path());
    store.save(&name(1), &[b"code"]);
    let file = file_of(data.path(), &name(1));
    match std::os::unix::fs::chown(&file, Some(54_321), None) {
        Ok(()) => {
            assert_eq!(store.load(&name(1)), None);
            assert_eq!(store.stats().discarded_for(Flaw::Owner), 1);
            assert!(!file.exists());
        }
        // Only root can make such a file.
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_ne!(fs::metadata(&file).unwrap().uid(), 0);
        }
    }
}

#[test]
fn what_a_rotated_key_authenticated_is_not_taken() {
    let data = tempfile::tempdir().unwrap();
    open(data.path()).save(&name(1), &[b"code"]);
    fs::remove_file(data.path().join(KEY_FILE)).unwrap();
    let store = open(data.path());
    assert_eq!(store.load(&name(1)), None);
    assert_eq!(store.stats().discarded_for(Flaw::Unauthentic), 1);
}

#[test]
fn artifacts_have_their_time() {
    let cases = [
        ("at once", Duration::ZERO, Duration::ZERO, true),
        ("until the last second", Duration::ZERO, MAX_AGE, true),
        ("too old", Duration::ZERO, MAX_AGE + Duration::from_secs(1), false),
        ("by a clock a little ahead", CLOCK_SKEW, Duration::ZERO, true),
        ("by a clock far ahead", CLOCK_SKEW + Duration::from_secs(1), Duration::ZERO, false),
    ];
    for (what, made, used, sound) in cases {
        let data = tempfile::tempdir().unwrap();
        let (maker, user) = (now(), now());
        maker.advance(made);
        Store::open(config(data.path()), maker).unwrap().save(&name(1), &[b"code"]);
        let store = Store::open(config(data.path()), user.clone()).unwrap();
        user.advance(used);
        assert_eq!(store.load(&name(1)).is_some(), sound, "{what}");
        assert_eq!(store.stats().discarded_for(Flaw::Age), u64::from(!sound), "{what}");
    }
}

#[test]
fn a_place_that_is_no_directory_of_ours_is_refused_with_its_path() {
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().to_owned();
    type Make = Box<dyn Fn(&Path)>;
    let cases: [(&str, Make); 3] = [
        ("a file", Box::new(|path| fs::write(path, "").unwrap())),
        ("a link to a directory", Box::new(move |path| symlink(&target, path).unwrap())),
        ("a link to nothing", Box::new(|path| symlink("nowhere", path).unwrap())),
    ];
    for (what, make) in cases {
        let data = tempfile::tempdir().unwrap();
        let path = data.path().join(DIRECTORY);
        make(&path);
        let Err(error) = Store::open(config(data.path()), now()) else { panic!("{what} is taken") };
        let start = format!("compiled modules cannot be kept at {}: ", path.display());
        assert!(error.to_string().starts_with(&start), "{what}: {error}");
    }
    let absent = elsewhere.path().join("absent");
    assert!(Store::open(config(&absent), now()).is_err());
    // As somebody else's, where we can make one.
    let data = tempfile::tempdir().unwrap();
    drop(open(data.path()));
    let owned = std::os::unix::fs::chown(data.path().join(DIRECTORY), Some(54_321), None);
    assert_eq!(Store::open(config(data.path()), now()).is_err(), owned.is_ok());
}

#[test]
fn a_key_that_is_no_good_is_replaced() {
    let key = |data: &TempDir| data.path().join(KEY_FILE);
    let cases: [(&str, Damage); 7] = [
        ("empty", |path| fs::write(path, "").unwrap()),
        ("short", |path| fs::write(path, [1; 31]).unwrap()),
        ("long", |path| fs::write(path, [1; 33]).unwrap()),
        ("readable by others", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap()),
        ("a link", |path| {
            fs::rename(path, path.with_extension("aside")).unwrap();
            symlink(path.with_extension("aside"), path).unwrap();
        }),
        ("a second name", |path| fs::hard_link(path, path.with_extension("too")).unwrap()),
        ("a pipe", |path| {
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(CWD, path, FileType::Fifo, FileMode::from_bits_truncate(0o600), 0).unwrap();
        }),
    ];
    for (what, damage) in cases {
        let data = tempfile::tempdir().unwrap();
        open(data.path()).save(&name(1), &[b"code"]);
        let before = fs::read(key(&data)).unwrap();
        damage(&key(&data));
        let store = open(data.path());
        let after = fs::read(key(&data)).unwrap();
        assert!(after.len() == 32 && after != before, "{what}");
        assert_eq!(mode_of(&key(&data)), 0o600, "{what}");
        assert_eq!(store.load(&name(1)), None, "{what}");
        store.save(&name(1), &[b"code"]);
        assert_eq!(open(data.path()).load(&name(1)).unwrap(), "code", "{what}");
    }
    let data = tempfile::tempdir().unwrap();
    fs::create_dir(key(&data)).unwrap();
    let Err(error) = Store::open(config(data.path()), now()) else {
        panic!("a directory is taken for a key")
    };
    assert!(error.to_string().contains(KEY_FILE), "{error}");
}
