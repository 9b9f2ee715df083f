//! The thread that writes the log: all lines that wait go into one write, and their calls go on.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::clock::Clock;
use crate::identity::SigningKey;

use super::chain::{CHECKPOINT, Chain, moment};
use super::files::LogFile;
use super::state::{Entry, Source, State};
use super::sync::{Job, Pending, RETRY};

/// How long lines stay unsigned at most.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

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
    /// Whether the file is new, so that its name has to be synced too.
    pub(super) file_is_new: bool,
    pub(super) buffer: Vec<u8>,
}

impl Writer {
    /// Writes what comes until nothing more does.
    pub(super) fn run(mut self) {
        loop {
            let (entries, is_last) = self.state.take(self.due_in());
            self.turn(entries, is_last);
            if is_last {
                self.pending.close();
                return;
            }
        }
    }

    /// How long there is nothing to do unless a line comes.
    fn due_in(&self) -> Option<Duration> {
        if self.state.is_failing() || self.state.dropped() > self.noted {
            return Some(RETRY);
        }
        (self.unsigned > 0).then(|| CHECKPOINT_EVERY.saturating_sub(self.since_checkpoint()))
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
        match self.file.append(&self.buffer) {
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
