//! The way between the store, which blocks, and callers that may not.

use std::sync::Arc;

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

/// A store, for one sandbox.
pub(super) struct Disk {
    store: Arc<Store>,
    sandbox: Arc<dyn Sandbox>,
    fingerprint: u64,
    loads: Arc<Semaphore>,
    saves: Arc<Semaphore>,
}

impl Disk {
    pub(super) fn new(store: Store, sandbox: Arc<dyn Sandbox>) -> Disk {
        Disk {
            store: Arc::new(store),
            fingerprint: sandbox.fingerprint(),
            sandbox,
            loads: Arc::new(Semaphore::new(LOADS_AT_ONCE)),
            saves: Arc::new(Semaphore::new(SAVES_AT_ONCE)),
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// The artifact of this module, if a sound one is kept.
    pub(super) async fn load(&self, cid: &Cid, mode: Mode) -> Option<Artifact> {
        // Never closed.
        let place = Arc::clone(&self.loads).acquire_owned().await.ok()?;
        let name = Name::new(cid, mode, self.fingerprint);
        let (store, sandbox) = (Arc::clone(&self.store), Arc::clone(&self.sandbox));
        let loaded = tokio::task::spawn_blocking(move || {
            let _place = place;
            load(&store, &*sandbox, &name, mode)
        });
        // One that panicked is none; the log has the panic.
        loaded.await.ok().flatten()
    }

    /// Keeps what was compiled, by and by.
    pub(super) fn save(&self, cid: &Cid, mode: Mode, compiled: Compiled) {
        let Ok(place) = Arc::clone(&self.saves).try_acquire_owned() else { return };
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
