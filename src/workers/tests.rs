//! Preparing and running, over a sandbox that does as it is told.

mod on_disk;
mod preparing;
mod runs;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use ipld_core::cid::Cid;
use ipld_core::cid::multihash::Multihash;
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::clock::Clock;
use crate::lexicon::Mode;
use crate::sandbox::{
    Artifact, BoxFuture, CompileError, Compiled, Completion, InstallError, Job, Lease, Limits, Logs, Lost,
    NoDoor, Owner, Refusal, Usage,
};

/// Compiles and runs as permits are given; counts what it does.
struct Puppet {
    compile_permits: Arc<Semaphore>,
    run_permits: Arc<Semaphore>,
    compiles: AtomicUsize,
    started: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    verdict: Result<(), CompileError>,
    fingerprint: u64,
}

impl Puppet {
    fn new() -> Puppet {
        Puppet {
            compile_permits: Arc::new(Semaphore::new(0)),
            run_permits: Arc::new(Semaphore::new(0)),
            compiles: AtomicUsize::new(0),
            started: Arc::default(),
            changed: Arc::default(),
            verdict: Ok(()),
            fingerprint: 0,
        }
    }

    fn compiles(&self) -> usize {
        self.compiles.load(Ordering::SeqCst)
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    async fn has_started(&self, runs: usize) {
        while self.started() < runs {
            self.changed.notified().await;
        }
    }
}

impl Sandbox for Puppet {
    fn compile(&self, mode: Mode, code: Bytes) -> BoxFuture<'static, Result<Compiled, CompileError>> {
        self.compiles.fetch_add(1, Ordering::SeqCst);
        let (permits, verdict) = (Arc::clone(&self.compile_permits), self.verdict.clone());
        Box::pin(async move {
            permits.acquire().await.unwrap().forget();
            verdict.map(|()| Compiled::vouched_for(mode, 0, code))
        })
    }

    fn install(&self, compiled: &Compiled) -> Result<Artifact, InstallError> {
        Ok(Artifact::new(Arc::new(()), compiled.code().len()))
    }

    fn max_compiles(&self) -> usize {
        100
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn run(&self, job: Job, lease: Lease) -> BoxFuture<'static, Result<Completion, Lost>> {
        let permits = Arc::clone(&self.run_permits);
        let (started, changed) = (Arc::clone(&self.started), Arc::clone(&self.changed));
        Box::pin(async move {
            started.fetch_add(1, Ordering::SeqCst);
            changed.notify_one();
            permits.acquire().await.unwrap().forget();
            drop(lease);
            Ok(Completion {
                result: Ok(job.input),
                wall: Duration::ZERO,
                usage: Usage::default(),
                logs: Logs::default(),
            })
        })
    }

    fn max_runs(&self) -> usize {
        100
    }

    fn load(&self) -> Load {
        Load::default()
    }
}

const CONFIG: WorkersConfig = WorkersConfig {
    memory_budget_bytes: 100 << 20,
    max_runs: 10,
    max_waiting_runs: 10,
    max_compiles: 2,
    max_preparing: 8,
    max_preparing_per_author: 2,
    artifact_cache_bytes: 100 << 20,
    max_artifacts: 200,
    refusal_ttl: Duration::from_secs(600),
};

fn start(config: WorkersConfig, puppet: Puppet) -> (Workers, Arc<Puppet>) {
    let puppet = Arc::new(puppet);
    (Workers::start(config, Arc::clone(&puppet) as Arc<dyn Sandbox>, None), puppet)
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn cid(number: u8) -> Cid {
    Cid::new_v1(0x55, Multihash::wrap(0x12, &[number; 32]).unwrap())
}

fn module(number: u8, author: &str) -> Prepare {
    Prepare { cid: cid(number), mode: Mode::PureV1, author: author.into(), deadline: far() }
}

#[derive(Debug, PartialEq, Eq)]
struct NoBlob;

async fn some_code() -> Result<Bytes, NoBlob> {
    Ok(Bytes::from_static(b"code"))
}

fn party(name: &str) -> Arc<str> {
    name.into()
}
