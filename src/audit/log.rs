//! The log as calls hold it.
//!
//! A call writes its line itself, and with it those of all calls that wait by then: no thread has to wake for
//! it, and none for the call to go on. While somebody writes, others leave their lines in the queue, and
//! whoever writes looks there once more when it is done. Only while the disk is slow, all is left to the
//! thread that signs (`writer`), so that calls hold up nothing but themselves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use data_encoding::HEXLOWER;
use serde_json::json;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::config::AuditRule;
use crate::identity::SigningKey;

use super::chain::{Chain, moment};
use super::error::{OpenError, Unwritten};
use super::files::{self, LogFile};
use super::head::{HeadStore, STORE_NAME};
use super::record::CallRecord;
use super::state::{Entry, State, Stats};
use super::sync::{Pending, Syncer};
use super::writer::{self, Writer};

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct AuditLogConfig {
    /// The data directory: the log is in `audit/` there, the head in `audit.redb`.
    pub data_dir: PathBuf,
    /// What happens to calls whose line cannot be written.
    pub rule: AuditRule,
    /// How large a file gets before the next one is begun.
    pub max_bytes: u64,
    /// Files that are kept, the one being written included; 0 for all.
    pub keep: usize,
}

/// The log, open for writing. The value's end waits until all is written, signed and synced.
pub struct AuditLog {
    rule: AuditRule,
    clock: Clock,
    pub(super) state: Arc<State>,
    /// Who holds it writes. None where nobody does.
    writer: Option<Arc<Mutex<Writer>>>,
    pub(super) threads: Vec<JoinHandle<()>>,
}

/// How often a call that writes looks for more lines before it leaves them to the thread: it has a caller
/// of its own, who waits.
const LOOKS: usize = 4;

/// Where the log of a data directory is.
pub(super) fn directory(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}

impl AuditLog {
    /// Opens the log, mends what a crash left of a last line, and goes on after the last whole one. `service` is
    /// the service's DID; `key` signs the checkpoints.
    pub fn open(
        config: &AuditLogConfig,
        service: &str,
        key: SigningKey,
        clock: Clock,
    ) -> Result<AuditLog, OpenError> {
        let directory = directory(&config.data_dir);
        let (store, committed) = HeadStore::open(&config.data_dir.join(STORE_NAME))?;
        let recovered = files::recover(&directory, committed.map(|committed| committed.head))?;
        let file_is_new = recovered.file.is_none();
        let file = match recovered.file {
            Some(file) => file,
            None => LogFile::create(&directory, recovered.head.seq + 1)?,
        };
        let mut start = json!({
            "time": moment(clock.since_epoch()), "kind": "start", "service": service,
            "version": env!("CARGO_PKG_VERSION"), "committed": recovered.found.as_str(),
        });
        if let Some(torn) = recovered.torn {
            start["tornBytes"] = torn.bytes.into();
            start["tornSha256"] = HEXLOWER.encode(&torn.hash).into();
        }
        let (state, pending) = (Arc::new(State::default()), Arc::new(Pending::default()));
        let mut writer = Writer {
            chain: Chain { head: recovered.head },
            file,
            directory: directory.clone(),
            max_bytes: config.max_bytes,
            public_key: key.public().to_multikey(),
            key,
            clock: clock.clone(),
            state: Arc::clone(&state),
            pending: Arc::clone(&pending),
            unsigned: 0,
            signed_at: None,
            noted: 0,
            is_due: false,
            file_is_new,
            buffer: Vec::new(),
        };
        let syncer = Syncer {
            directory,
            store,
            keep: config.keep,
            first: committed.map_or(1, |committed| committed.first),
            state: Arc::clone(&state),
            pending,
            told: None,
        };
        // Signed at once, so that no log is without a signature.
        writer.turn([Entry { body: start.to_string(), written: None }].into(), false);
        let syncing = thread::Builder::new().name("audit-sync".into()).spawn(|| syncer.run());
        let writer = Arc::new(Mutex::new(writer));
        let writing = thread::Builder::new().name("audit".into()).spawn({
            let writer = Arc::clone(&writer);
            move || writer::run(&writer)
        });
        let threads = vec![writing.map_err(OpenError::Thread)?, syncing.map_err(OpenError::Thread)?];
        Ok(AuditLog { rule: config.rule, clock, state, writer: Some(writer), threads })
    }

    /// A log that nobody writes.
    #[cfg(test)]
    pub(super) fn unattended(rule: AuditRule, clock: Clock) -> AuditLog {
        AuditLog { rule, clock, state: Arc::default(), writer: None, threads: Vec::new() }
    }

    /// Whether calls can be taken: not while they could have no line, unless the operator takes that.
    pub fn admits(&self) -> Result<(), Unwritten> {
        match self.rule {
            AuditRule::Refuse if self.state.is_failing() => Err(Unwritten { may_have_run: false }),
            _ => Ok(()),
        }
    }

    /// Why the service is not ready for calls, as long as that is so.
    pub fn not_ready(&self) -> Option<String> {
        self.admits().err()?;
        let trouble = self.stats().trouble?;
        Some(format!("the audit log cannot be written: {trouble}"))
    }

    /// Has a call's line written, and returns when it is: the answer may go out. Dropping what waits does not
    /// take the line back.
    pub async fn write(&self, call: &CallRecord, request: &str, took: Duration) -> Result<(), Unwritten> {
        let (written, is_written) = oneshot::channel();
        self.push(call, request, took, Some(written));
        self.write_what_waits();
        match (is_written.await, self.rule) {
            (Err(_), AuditRule::Refuse) => Err(Unwritten { may_have_run: true }),
            _ => Ok(()),
        }
    }

    /// Has a call's line written, for which nobody waits.
    pub fn note(&self, call: &CallRecord, request: &str, took: Duration) {
        self.push(call, request, took, None);
        self.state.call();
    }

    /// The state of the log.
    pub fn stats(&self) -> Stats {
        self.state.stats()
    }

    /// Writes the lines that wait, unless somebody is at it, who will then see to these too.
    fn write_what_waits(&self) {
        let Some(writer) = &self.writer else { return };
        if self.state.is_slow() {
            return self.state.call();
        }
        for _ in 0..LOOKS {
            match writer.try_lock() {
                Ok(mut writer) => writer.write_for_all(),
                Err(TryLockError::WouldBlock) => return,
                Err(TryLockError::Poisoned(writer)) => writer.into_inner().write_for_all(),
            }
            if !self.state.some_wait() {
                return;
            }
        }
        self.state.call();
    }

    fn push(&self, call: &CallRecord, request: &str, took: Duration, written: Option<oneshot::Sender<()>>) {
        let body = call.body(request, took, self.clock.since_epoch());
        self.state.push(Entry { body, written });
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.state.close();
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ = thread.join();
        }
    }
}
