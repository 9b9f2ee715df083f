//! Compiling in processes: a fresh one for each module, of which one is kept ready.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rustix::io::Errno;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::answer;
use super::connection::{self, Started};
use super::memfile;
use super::message::{FromCompiler, Payload, ToCompiler, message, packet};
use super::program::{End, Role, Starter};
use super::socket::Incoming;
use crate::lexicon::Mode;
use crate::sandbox::{CompileError, Compiled, MAX_COMPILED_BYTES, Refusal, judge};

/// What a compile may take, waiting for the processor included. Its processor time has a limit of its
/// own, which is lower.
const WALL_TIME: Duration = Duration::from_secs(6);

/// Compilers, one a module.
pub(super) struct Compilers {
    starter: Starter,
    runtime: Handle,
    /// One that has seen nothing yet.
    spare: Mutex<Option<Started>>,
    under_way: AtomicUsize,
}

impl Compilers {
    pub(super) fn new(starter: Starter) -> Arc<Compilers> {
        let compilers = Arc::new(Compilers {
            starter,
            runtime: Handle::current(),
            spare: Mutex::default(),
            under_way: AtomicUsize::new(0),
        });
        compilers.keep_spare();
        compilers
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    pub(super) async fn compile(self: Arc<Self>, mode: Mode, code: Bytes) -> Result<Compiled, CompileError> {
        let _counted = Counted::new(&self.under_way);
        // Reading a module is safe to do here, costs little beside a process, and gives the verdict in
        // our own words.
        let judged = {
            let code = code.clone();
            tokio::task::spawn_blocking(move || judge(mode, &code)).await
        };
        let admitted = judged.map_err(|_| CompileError::Lost)??;
        let length = code.len();
        let (incoming, compiler) = match timeout(WALL_TIME, self.ask(mode, code)).await {
            Ok(answered) => answered?,
            Err(_) => {
                tracing::warn!(length, "a compile took too long and was ended");
                return Err(CompileError::Lost);
            }
        };
        drop(compiler);
        let Incoming { file, .. } = &incoming;
        match (message(&incoming), file) {
            (Ok(FromCompiler::Compiled), Some(file)) => {
                let code = memfile::read(file, MAX_COMPILED_BYTES as u64).map_err(|error| {
                    tracing::error!(%error, "what a compiler made was not taken");
                    CompileError::Lost
                })?;
                Ok(Compiled::vouched_for(mode, admitted.initial_bytes, code.into()))
            }
            (Ok(FromCompiler::TooLarge { bytes }), None) => {
                Err(CompileError::Refused(Refusal::ArtifactTooLarge { bytes }))
            }
            (Ok(FromCompiler::Refused { reason }), None) => {
                Err(CompileError::Refused(Refusal::Compiler { reason: answer::shown(&reason) }))
            }
            (Ok(FromCompiler::Unlinkable { reason }), None) => {
                Err(CompileError::Refused(Refusal::Unlinkable { reason: answer::shown(&reason) }))
            }
            _ => Err(CompileError::Lost),
        }
    }

    async fn ask(self: &Arc<Self>, mode: Mode, code: Bytes) -> Result<(Incoming, Started), CompileError> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
        let question = ToCompiler { mode, code: Payload(code) };
        let send =
            |compiler: &Started| -> Result<(), Errno> { compiler.connection.send(packet(&question, None)?) };
        let compiler = match spare {
            Some(compiler) if send(&compiler).is_ok() => compiler,
            // The one that waited is gone, or there was none.
            _ => {
                let compiler = self.start().await.ok_or(CompileError::Lost)?;
                send(&compiler).map_err(|error| {
                    tracing::error!(%error, "a module could not be sent to its compiler");
                    CompileError::Lost
                })?;
                compiler
            }
        };
        self.keep_spare();
        drop(question);
        let Started { process, connection, mut receiver, walls } = compiler;
        let received = tokio::select! {
            received = connection.receive(&mut receiver) => received,
            broken = connection.send_what_waits() => Err(broken),
        };
        match received {
            Ok(incoming) => {
                let compiler = Started { process, connection, receiver, walls };
                Ok((incoming, compiler))
            }
            Err(broken) => match process.end().await {
                End::CpuLimit => Err(CompileError::Refused(Refusal::TooSlow)),
                End::Other => {
                    tracing::warn!(%broken, "a compiler ended without an answer");
                    Err(CompileError::Lost)
                }
            },
        }
    }

    async fn start(&self) -> Option<Started> {
        match connection::start(&self.starter, Role::Compiler, 0, 0).await {
            Ok(started) => Some(started),
            Err(error) => {
                tracing::error!(%error, "a compiler could not be started");
                None
            }
        }
    }

    fn keep_spare(self: &Arc<Self>) {
        let compilers = Arc::downgrade(self);
        self.runtime.spawn(async move {
            let Some(compilers) = compilers.upgrade() else { return };
            if let Some(started) = compilers.start().await {
                *compilers.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(started);
            }
        });
    }
}

struct Counted<'a>(&'a AtomicUsize);

impl Counted<'_> {
    fn new(count: &AtomicUsize) -> Counted<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
