//! The policy in force, and how another one takes its place.
//!
//! In: the file's name; an operator who wants it read again; time that passes. Out: the rules, of one file as a
//! whole. Never: rules of a file that is wrong, or of half a file: one that changed by itself is judged
//! once it has been the same for two looks, since whoever writes it may be in the middle of it.
//!
//! It is looked at by name, each second, and compared by its bytes: so it does not matter how it changes (written
//! in place, replaced by renaming another, or a link that points elsewhere, as in Kubernetes).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::{Basis, Policy};
use crate::clock::Clock;
use crate::telemetry::{self, PolicyReload};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest file: some fifteen thousand entries.
const MAX_BYTES: u64 = 1024 * 1024;

/// The operator's rules now. What has begun goes on under those that it began with.
pub struct Policies {
    current: RwLock<Arc<Policy>>,
    source: Option<Source>,
    basis: Basis,
    clock: Clock,
}

struct Source {
    path: PathBuf,
    seen: Mutex<Seen>,
}

/// What a look at the file found: its bytes, or why there are none.
type Found = Result<Vec<u8>, String>;

struct Seen {
    /// What the last judgement was about.
    judged: Found,
    /// What the last look found, where it was something else.
    changing: Option<Found>,
}

impl Policies {
    /// The rules of `file`, which must be right, or those of the settings alone.
    pub fn open(file: Option<&Path>, basis: Basis, clock: Clock) -> Result<Policies, PolicyFileError> {
        let mut policy = Policy::of_settings(&basis);
        let mut source = None;
        if let Some(path) = file {
            let error = |why| PolicyFileError { path: path.to_owned(), why };
            let bytes = read(path).map_err(error)?;
            policy = Policy::from_file(&bytes, &basis).map_err(|invalid| error(invalid.to_string()))?;
            telemetry::record_policy(PolicyReload::Loaded, clock.unix_seconds());
            let seen = Mutex::new(Seen { judged: Ok(bytes), changing: None });
            source = Some(Source { path: path.to_owned(), seen });
        }
        Ok(Policies { current: RwLock::new(Arc::new(policy)), source, basis, clock })
    }

    /// The rules in force.
    pub fn current(&self) -> Arc<Policy> {
        // What is behind the lock is replaced by one assignment.
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the file now, and puts it in force if it is right. Says whether it was; without a file there is
    /// nothing to read, and nothing wrong. Blocks while the disk does.
    pub fn reload(&self) -> bool {
        let Some(source) = &self.source else { return true };
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&source.path);
        self.judge(source, &mut seen, found)
    }

    /// Looks at the file each second from now on, until nobody else holds the policy.
    pub async fn watch(policies: Weak<Policies>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let Some(policies) = policies.upgrade().filter(|policies| policies.source.is_some()) else {
                return;
            };
            // A look that panicked leaves the rules as they are, and the next one comes.
            let _ = tokio::task::spawn_blocking(move || policies.look()).await;
        }
    }

    /// Judges the file if it is another one than the last that was judged, and the same as at the last look.
    fn look(&self) {
        let Some(source) = &self.source else { return };
        let mut seen = source.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let found = read(&source.path);
        if found == seen.judged {
            seen.changing = None;
        } else if seen.changing.as_ref() == Some(&found) {
            self.judge(source, &mut seen, found);
        } else {
            seen.changing = Some(found);
        }
    }

    fn judge(&self, source: &Source, seen: &mut Seen, found: Found) -> bool {
        let path = source.path.display();
        let result = match &found {
            Ok(bytes) => match Policy::from_file(bytes, &self.basis) {
                Ok(policy) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
                    tracing::info!(%path, "the policy file is in force");
                    PolicyReload::Loaded
                }
                Err(error) => {
                    tracing::error!(
                        %path,
                        line = error.line,
                        column = error.column,
                        "the policy file is wrong, and the rules before it stay in force: {error}"
                    );
                    PolicyReload::Refused
                }
            },
            Err(why) => {
                tracing::error!(
                    %path,
                    "the policy file cannot be read, and the rules before it stay in force: {why}"
                );
                PolicyReload::Unreadable
            }
        };
        telemetry::record_policy(result, self.clock.unix_seconds());
        *seen = Seen { judged: found, changing: None };
        result == PolicyReload::Loaded
    }
}

fn read(path: &Path) -> Found {
    let read = || {
        // Opening a pipe would wait for whoever writes to it.
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is not a file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > MAX_BYTES => Err(format!("it is longer than {MAX_BYTES} bytes")),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// A policy file that stops the start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--policy {}: {why}", path.display())]
pub struct PolicyFileError {
    path: PathBuf,
    why: String,
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::policy::tests::basis;
    use crate::policy::{Caller, Refusal};

    fn open(text: &str) -> (tempfile::TempDir, PathBuf, Policies) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        let policies = Policies::open(Some(&path), basis(), Clock::manual(1_000)).unwrap();
        (directory, path, policies)
    }

    fn blocks(policies: &Policies, did: &str) -> bool {
        let caller = Caller::Verified(crate::auth::CallerDid::without_proof(
            crate::identity::Did::parse(did).unwrap(),
        ));
        let refused = policies.current().admit(&caller, None);
        refused.is_err_and(|refused| refused.refusal == Refusal::CallerBlocked)
    }

    const A: &str = "did:web:a.com";
    const B: &str = "did:web:b.com";
    const BLOCKS_A: &str = "[callers]\nblock = [\"did:web:a.com\"]\n";
    const BLOCKS_B: &str = "[callers]\nblock = [\"did:web:b.com\"]\n";

    #[test]
    fn a_file_that_changed_is_in_force_once_it_was_the_same_twice() {
        let (_directory, path, policies) = open(BLOCKS_A);
        policies.look();
        std::fs::write(&path, "[callers]\n").unwrap();
        policies.look();
        assert!(blocks(&policies, A));
        std::fs::write(&path, BLOCKS_B).unwrap();
        policies.look();
        assert!(blocks(&policies, A));
        policies.look();
        assert!(!blocks(&policies, A) && blocks(&policies, B));
        // Something in between that is gone again is nothing.
        std::fs::write(&path, BLOCKS_A).unwrap();
        policies.look();
        std::fs::write(&path, BLOCKS_B).unwrap();
        policies.look();
        std::fs::write(&path, BLOCKS_A).unwrap();
        policies.look();
        assert!(blocks(&policies, B));
    }

    #[test]
    fn it_does_not_matter_how_the_file_changes() {
        let (directory, path, policies) = open(BLOCKS_A);
        let place = |name: &str, text: &str| {
            let place = directory.path().join(name);
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(&place, text).unwrap();
            place
        };
        let looked_at_twice = || (0..2).for_each(|_| policies.look());
        std::fs::rename(place("new.toml", BLOCKS_B), &path).unwrap();
        looked_at_twice();
        assert!(blocks(&policies, B));
        // Kubernetes: the file is a link to `..data/policy.toml`, and `..data` a link that is replaced.
        place("..1/policy.toml", BLOCKS_B);
        place("..2/policy.toml", BLOCKS_A);
        let data = directory.path().join("..data");
        std::os::unix::fs::symlink("..1", &data).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("..data/policy.toml", &path).unwrap();
        looked_at_twice();
        assert!(blocks(&policies, B));
        let next = directory.path().join("..next");
        std::os::unix::fs::symlink("..2", &next).unwrap();
        std::fs::rename(&next, &data).unwrap();
        looked_at_twice();
        assert!(blocks(&policies, A));
    }

    #[test]
    fn what_is_wrong_or_gone_leaves_the_rules_before_it_and_is_counted_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let figures = |line: &str| recorder.handle().render().lines().any(|found| found == line);
        metrics::with_local_recorder(&recorder, || {
            let (_directory, path, policies) = open(BLOCKS_A);
            assert!(figures("at_functions_policy_reloads_total{result=\"loaded\"} 1"));
            assert!(figures("at_functions_policy_loaded_timestamp_seconds 1000"));
            std::fs::write(&path, BLOCKS_B.replace("block", "blok")).unwrap();
            policies.clock.advance(Duration::from_secs(5));
            (0..5).for_each(|_| policies.look());
            assert!(blocks(&policies, A));
            assert!(figures("at_functions_policy_reloads_total{result=\"refused\"} 1"));
            // Whoever asks is told each time.
            assert!(!policies.reload());
            assert!(figures("at_functions_policy_reloads_total{result=\"refused\"} 2"));
            std::fs::remove_file(&path).unwrap();
            (0..5).for_each(|_| policies.look());
            assert!(blocks(&policies, A));
            assert!(figures("at_functions_policy_reloads_total{result=\"unreadable\"} 1"));
            assert!(figures("at_functions_policy_loaded_timestamp_seconds 1000"));
            std::fs::write(&path, BLOCKS_B).unwrap();
            assert!(policies.reload());
            assert!(blocks(&policies, B));
            assert!(figures("at_functions_policy_reloads_total{result=\"loaded\"} 2"));
            assert!(figures("at_functions_policy_loaded_timestamp_seconds 1005"));
        });
    }

    #[test]
    fn a_start_needs_a_file_that_is_right() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        let open =
            || Policies::open(Some(&path), basis(), Clock::manual(0)).map(drop).unwrap_err().to_string();
        assert!(open().starts_with(&format!("--policy {}: No such file", path.display())), "{}", open());
        std::fs::write(&path, "\n[callers]\nblock = [5]\n").unwrap();
        assert!(open().contains("line 3, column 10"), "{}", open());
        std::fs::write(&path, "#".repeat(MAX_BYTES as usize + 1)).unwrap();
        assert!(open().ends_with("it is longer than 1048576 bytes"), "{}", open());
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(open().ends_with("it is not a file"), "{}", open());
    }
}
