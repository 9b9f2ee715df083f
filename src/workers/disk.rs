//! The way between the store, which blocks, and callers that may not.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use ipld_core::cid::Cid;
use tokio::sync::Semaphore;

use super::store::{Flaw, Name, Store};
use crate::lexicon::Mode;
use crate::sandbox::{Artifact, Compiled, InstallError, Sandbox};

/// Artifacts that are read and installed at once. Each may be 64 MiB.
const LOADS_AT_ONCE: usize = 4;
/// Artifacts that are written at once, or wait for the disk to take them. Of more than these some are
/// not kept: the disk is slower than the compiler.
const SAVES_AT_ONCE: usize = 4;

/// How long the disk has for one. A disk that hangs must not hang the service; the compiler is there.
const PATIENCE: Duration = Duration::from_secs(3);

/// A store, for one sandbox.
pub(super) struct Disk {
    store: Arc<Store>,
    sandbox: Arc<dyn Sandbox>,
    fingerprint: u64,
    loads: Arc<Semaphore>,
    saves: Arc<Semaphore>,
    patience: Duration,
}

impl Disk {
    pub(super) fn new(store: Store, sandbox: Arc<dyn Sandbox>) -> Disk {
        Disk {
            store: Arc::new(store),
            fingerprint: sandbox.fingerprint(),
            sandbox,
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            saves: Arc::new(Semaphore::new(SAVES_AT_ONCE)),
            patience: PATIENCE,
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The artifact of this module, if a sound one is kept and the disk gives it out in time.
    pub(super) async fn load(&self, cid: &Cid, mode: Mode) -> Option<Artifact> {
        let name = Name::new(cid, mode, self.fingerprint);
        let (store, sandbox) = (Arc::clone(&self.store), Arc::clone(&self.sandbox));
        let places = Arc::clone(&self.loads);
        let load = async move {
            // Never closed.
            let place = places.acquire_owned().await.ok()?;
            let loaded = tokio::task::spawn_blocking(move || {
                let _place = place;
                load(&store, &*sandbox, &name, mode)
            });
            // One that panicked is none; the log has the panic.
            loaded.await.ok().flatten()
        };
        tokio::time::timeout(self.patience, load).await.ok().flatten()
    }

    /// Keeps what was compiled, by and by.
    pub(super) fn save(&self, cid: &Cid, mode: Mode, compiled: Compiled) {
        let Ok(place) = Arc::clone(&self.saves).try_acquire_owned() else { return self.store.skip() };
        let name = Name::new(cid, mode, self.fingerprint);
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || {
            let _place = place;
            store.save(&name, &[&compiled.initial_bytes().to_be_bytes(), compiled.code()]);
        });
    }
}

fn load(store: &Store, sandbox: &dyn Sandbox, name: &Name, mode: Mode) -> Option<Artifact> {
    let Some(compiled) = compiled(mode, store.load(name)?) else {
        store.discard(name, Flaw::Unloadable);
        return None;
    };
    match sandbox.install(&compiled) {
        Ok(artifact) => Some(artifact),
        Err(InstallError::Foreign(reason)) => {
            tracing::warn!(reason, "what was kept of a module does not fit the engine");
            store.discard(name, Flaw::Unloadable);
            None
        }
        // Nothing is wrong with the file.
        Err(error) => {
            tracing::error!(%error, "a compiled module on disk was not installed");
            None
        }
    }
}

/// What was saved, from bytes that the store has authenticated under a name that holds the mode.
fn compiled(mode: Mode, mut bytes: Bytes) -> Option<Compiled> {
    let initial_bytes = bytes.try_get_u64().ok()?;
    Some(Compiled::vouched_for(mode, initial_bytes, bytes))
}

#[cfg(test)]
mod tests {
    use ipld_core::cid::multihash::Multihash;

    use super::*;
    use crate::clock::Clock;
    use crate::sandbox::{ThreadSandbox, ThreadSandboxConfig};
    use crate::workers::StoreConfig;

    fn cid() -> Cid {
        Cid::new_v1(0x55, Multihash::wrap(0x12, &[1; 32]).unwrap())
    }

    fn module() -> Bytes {
        let text = r#"(module (memory (export "memory") 1)
            (func (export "alloc") (param i32) (result i32) i32.const 1024)
            (func (export "run") (param i32 i32) (result i64) i64.const 0))"#;
        wat::parse_str(text).unwrap().into()
    }

    #[tokio::test]
    async fn a_disk_that_hangs_is_not_waited_for() {
        let data = tempfile::tempdir().unwrap();
        let config = StoreConfig { keep_free_bytes: 0, ..StoreConfig::new(data.path(), 1 << 20) };
        let store = Store::open(config, Clock::system()).unwrap();
        let sandbox: Arc<dyn Sandbox> =
            Arc::new(ThreadSandbox::start(ThreadSandboxConfig { slots: 4, ..Default::default() }).unwrap());
        let compiled = sandbox.compile(Mode::PureV1, module()).await.unwrap();
        let mut disk = Disk::new(store, sandbox);

        // As many as may be under way are, and do not end.
        let hung = Arc::clone(&disk.saves).acquire_many_owned(SAVES_AT_ONCE as u32).await.unwrap();
        disk.save(&cid(), Mode::PureV1, compiled.clone());
        assert_eq!((disk.store().stats().stored, disk.store().stats().not_stored), (0, 1));
        drop(hung);
        disk.save(&cid(), Mode::PureV1, compiled);
        while disk.store().stats().stored == 0 {
            tokio::task::yield_now().await;
        }

        let hung = Arc::clone(&disk.loads).acquire_many_owned(LOADS_AT_ONCE as u32).await.unwrap();
        disk.patience = Duration::from_millis(10);
        assert!(disk.load(&cid(), Mode::PureV1).await.is_none());
        drop(hung);
        disk.patience = PATIENCE;
        assert!(disk.load(&cid(), Mode::PureV1).await.is_some());
        assert_eq!(disk.store().stats().discarded.iter().sum::<u64>(), 0);
    }
}
