//! What writes the log: all lines that wait go into one write, and their calls go on.
//!
//! It has a thread, which signs, begins new files, and comes back after trouble; lines are mostly written by
//! the calls that they are of (`log`).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clock::Clock;
use crate::identity::SigningKey;

use super::chain::{CHECKPOINT, Chain, moment};
use super::files::LogFile;
use super::state::{Entry, Source, State, lock};
use super::sync::{Job, Pending, RETRY};

/// How long lines stay unsigned at most.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);
/// From here on a write is slow. What writes serves other calls too, which must not wait for a disk.
const SLOW: Duration = Duration::from_millis(2);

pub(super) struct Writer {
    pub(super) chain: Chain,
    pub(super) file: LogFile,
    pub(super) directory: PathBuf,
    /// How large a file gets before the next one is begun.
    pub(super) max_bytes: u64,
    pub(super) key: SigningKey,
    pub(super) public_key: String,
    pub(super) clock: Clock,
    pub(super) state: Arc<State>,
    pub(super) pending: Arc<Pending>,
    /// Lines since the last checkpoint.
    pub(super) unsigned: usize,
    /// When the last checkpoint was made.
    pub(super) signed_at: Option<Instant>,
    /// How many of the calls that have no line are noted in the log.
    pub(super) noted: u64,
    /// Whether the thread comes back by itself, rather than when it is called.
    pub(super) is_due: bool,
    /// Whether the file is new, so that its name has to be synced too.
    pub(super) file_is_new: bool,
    pub(super) buffer: Vec<u8>,
}

/// Does what is the thread's to do until nothing more comes.
pub(super) fn run(writer: &Mutex<Writer>) {
    let state = Arc::clone(&lock(writer).state);
    let mut due_in = lock(writer).due_in();
    loop {
        let is_last = state.wait(due_in);
        let mut writer = lock(writer);
        let entries = state.take();
        writer.turn(entries, is_last);
        if is_last {
            writer.pending.close();
            return;
        }
        due_in = writer.due_in();
    }
}

impl Writer {
    /// Writes the lines that wait, in place of the thread.
    pub(super) fn write_for_all(&mut self) {
        let entries = self.state.take();
        if entries.is_empty() {
            return;
        }
        self.write_lines(entries);
        if !std::mem::replace(&mut self.is_due, true) {
            self.state.call();
        }
    }

    /// How long there is nothing to do unless the thread is called.
    fn due_in(&mut self) -> Option<Duration> {
        let due_in = if self.state.is_failing() || self.state.dropped() > self.noted {
            Some(RETRY)
        } else {
            (self.unsigned > 0).then(|| CHECKPOINT_EVERY.saturating_sub(self.since_checkpoint()))
        };
        self.is_due = due_in.is_some();
        due_in
    }

    fn since_checkpoint(&self) -> Duration {
        self.signed_at.map_or(Duration::MAX, |at| at.elapsed())
    }

    pub(super) fn turn(&mut self, entries: VecDeque<Entry>, is_last: bool) {
        if !self.write_lines(entries) {
            return;
        }
        let is_due = self.unsigned > 0 && (is_last || self.since_checkpoint() >= CHECKPOINT_EVERY);
        // While there is trouble, each is a question whether it is over.
        if is_due || self.state.is_failing() {
            self.checkpoint();
        }
    }

    /// Writes the lines, and before them how many there are not; false if they cannot be written.
    fn write_lines(&mut self, entries: VecDeque<Entry>) -> bool {
        let (before, dropped) = (self.chain, self.state.dropped());
        self.buffer.clear();
        if dropped > self.noted {
            let time = moment(self.clock.since_epoch());
            let gap = json!({ "time": time, "kind": "dropped", "dropped": dropped - self.noted });
            self.chain.line(&gap.to_string(), &mut self.buffer);
        }
        for entry in &entries {
            self.chain.line(&entry.body, &mut self.buffer);
        }
        let lines = (self.chain.head.seq - before.head.seq) as usize;
        if lines == 0 {
            return true;
        }
        if !self.append(before) {
            self.state.drop_lines(entries.len() as u64);
            return false;
        }
        self.noted = dropped;
        self.unsigned += lines;
        for written in entries.into_iter().filter_map(|entry| entry.written) {
            // Whoever went away meanwhile has their line all the same.
            let _ = written.send(());
        }
        true
    }

    /// Writes the buffer, or goes back to `before`.
    fn append(&mut self, before: Chain) -> bool {
        let began = Instant::now();
        let appended = self.file.append(&self.buffer);
        self.state.was_slow(began.elapsed() > SLOW);
        match appended {
            Ok(()) => {
                self.state.has_written(self.chain.head.seq);
                self.state.tell(Source::Writing, None);
                true
            }
            Err(error) => {
                self.chain = before;
                self.state.tell(Source::Writing, Some(error.to_string()));
                false
            }
        }
    }

    /// Signs all that is written, and has it synced. The next file is begun here if this one is large enough.
    fn checkpoint(&mut self) {
        let before = self.chain;
        self.buffer.clear();
        let time = moment(self.clock.since_epoch());
        let body = json!({ "time": time, "kind": CHECKPOINT, "key": self.public_key });
        self.chain.checkpoint(&body.to_string(), &self.key, &mut self.buffer);
        if !self.append(before) {
            return;
        }
        self.unsigned = 0;
        self.signed_at = Some(Instant::now());
        self.pending.add(Job {
            files: vec![Arc::clone(&self.file.file)],
            head: Some(self.chain.head),
            directory: std::mem::take(&mut self.file_is_new),
        });
        if self.file.bytes >= self.max_bytes || self.file.is_gone() {
            self.begin_file();
        }
    }

    /// Begins the next file. Where none can be made, this one grows on, which is better than no log.
    fn begin_file(&mut self) {
        match LogFile::create(&self.directory, self.chain.head.seq + 1) {
            Ok(file) => {
                self.file = file;
                self.file_is_new = true;
            }
            Err(error) => tracing::warn!(%error, "no new file of the audit log can be made"),
        }
    }
}
