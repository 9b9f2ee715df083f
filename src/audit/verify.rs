//! Whether a log is what the service wrote: every line there, unchanged and in order, signed up to its tail, and
//! reaching at least the heads that are known to have been committed.

use std::io::{self, BufRead};
use std::path::Path;

use crate::identity::PublicKey;

use super::chain::{CHECKPOINT, Head, Line, hash, is_signed_by};
use super::files::{first_seq, read_line};

/// Flaws that are told one by one; of a log that has more, how many there are.
const MAX_ISSUES: usize = 1_000;

/// What is known of a log from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The keys that the service has signed with.
    pub keys: Vec<PublicKey>,
    /// Lines that are known to have been in the log.
    pub heads: Vec<Head>,
    /// The log begins no later than with this line.
    pub first: Option<u64>,
}

/// What is wrong with one line, or beside it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// It cannot be read.
    #[error("broken: this is no whole line of an audit log")]
    Broken,
    /// Its number is not the one that follows.
    #[error("broken: its number is {found}, but by its place in the chain it is line {expected}")]
    Renumbered {
        /// The number that stands there.
        found: u64,
        /// The one that is its own.
        expected: u64,
    },
    /// It is not what the next one was chained to.
    #[error("changed: its hash is not the one that the next line holds (or that one was changed)")]
    Changed,
    /// Lines before it are not there.
    #[error("missing: there are no lines {from} to {to} before this one")]
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// It stands after lines that follow it.
    #[error("reordered: line {0} stands after ones that follow it")]
    Reordered(u64),
    /// A line of its number was there before.
    #[error("repeated: there is a line {0} before it")]
    Repeated(u64),
    /// The log has another line in the place of one that was committed.
    #[error("changed: this is not the line {0} that was committed")]
    NotCommitted(u64),
    /// The log ends too early.
    #[error("truncated: the log ends here, but line {0} was committed")]
    Truncated(u64),
    /// The log begins too late.
    #[error("missing: the log begins here, with line {found}, but was kept from line {kept} on")]
    Beheaded {
        /// The first line that is there.
        found: u64,
        /// The first that should be.
        kept: u64,
    },
    /// When the service started, it found the log shorter than it had been.
    #[error("truncated: when the service started here, lines that were committed were not there")]
    CutBeforeStart,
    /// When the service started, it found another line in place of the committed one.
    #[error("changed: when the service started here, the log before it was not the one that was committed")]
    ChangedBeforeStart,
    /// A checkpoint whose signature is not that of its key.
    #[error("wrong signature: this checkpoint is not signed by the key that it names")]
    WrongSignature,
    /// A checkpoint by a key that is not the service's.
    #[error("unknown key: this checkpoint is signed by {0}, which is not a key of the service (see --key)")]
    UnknownKey(String),
    /// Nothing in the log is signed.
    #[error("unsigned: no checkpoint in the log is signed by a key of the service")]
    Unsigned,
}

impl Flaw {
    /// The kind, for scripts.
    pub fn name(&self) -> &'static str {
        match self {
            Flaw::Broken | Flaw::Renumbered { .. } => "broken",
            Flaw::Changed | Flaw::NotCommitted(_) | Flaw::ChangedBeforeStart => "changed",
            Flaw::Missing { .. } | Flaw::Beheaded { .. } => "missing",
            Flaw::Reordered(_) => "reordered",
            Flaw::Repeated(_) => "repeated",
            Flaw::Truncated(_) | Flaw::CutBeforeStart => "truncated",
            Flaw::WrongSignature => "wrongSignature",
            Flaw::UnknownKey(_) => "unknownKey",
            Flaw::Unsigned => "unsigned",
        }
    }
}

/// A flaw and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// The file, as it was named.
    pub file: String,
    /// The line in it, from 1; 0 where there is none.
    pub line: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong, in the order of the log. Nothing, in a log that is whole.
    pub issues: Vec<Issue>,
    /// How many more flaws there are.
    pub more_issues: u64,
    /// Files read.
    pub files: u64,
    /// Lines read.
    pub lines: u64,
    /// How many of them are calls.
    pub calls: u64,
    /// The number of the first line.
    pub first: Option<u64>,
    /// The last line that is in its place.
    pub last: Option<Head>,
    /// The number of the last checkpoint whose signature is right.
    pub signed: Option<u64>,
    /// Lines after it, which nothing but the chain vouches for yet.
    pub unsigned_tail: u64,
    /// Bytes of an unfinished line at the end: a crash, or a write that was under way.
    pub torn_bytes: u64,
    /// Calls that have no line because it could not be written, as the log itself says.
    pub dropped: u64,
    /// Starts (`FILE:LINE`) that found no committed head: what was before them may have been cut at its end.
    pub starts_without_head: Vec<String>,
}

/// Reads a log from its first file to its last. A file is its name and its bytes; names that the service gave
/// (`NUMBER.jsonl`) say where it begins.
pub fn verify<R: BufRead>(
    files: impl IntoIterator<Item = io::Result<(String, R)>>,
    expected: &Expected,
) -> io::Result<Findings> {
    let mut walk = Walk::new(expected);
    let mut files = files.into_iter().peekable();
    while let Some(file) = files.next() {
        let (name, mut reader) = file?;
        walk.begin(name);
        let mut line = Vec::new();
        loop {
            read_line(&mut reader, &mut line)?;
            match line.strip_suffix(b"\n") {
                Some(whole) => walk.line(whole),
                None if line.is_empty() => break,
                None if files.peek().is_none() => walk.findings.torn_bytes = line.len() as u64,
                None => walk.unfinished(),
            }
        }
    }
    Ok(walk.finish())
}

/// Where a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: usize,
    line: u64,
}

/// The last line in its place.
#[derive(Clone, Copy, Debug)]
struct Last {
    head: Head,
    place: Place,
    /// Lines after it that cannot be read.
    broken: u64,
    /// Whether its own flaw is told already, so that the next line's `prev` says nothing new.
    is_told: bool,
}

/// Lines that were passed over; one that comes later was moved.
struct Gap {
    from: u64,
    to: u64,
    place: Place,
}

struct Walk<'a> {
    expected: &'a Expected,
    findings: Findings,
    names: Vec<String>,
    place: Place,
    flaws: Vec<(Place, Flaw)>,
    gaps: Vec<Gap>,
    last: Option<Last>,
}

impl<'a> Walk<'a> {
    fn new(expected: &'a Expected) -> Walk<'a> {
        Walk {
            expected,
            findings: Findings::default(),
            names: Vec::new(),
            place: Place::default(),
            flaws: Vec::new(),
            gaps: Vec::new(),
            last: None,
        }
    }

    fn begin(&mut self, name: String) {
        self.place = Place { file: self.names.len(), line: 0 };
        self.names.push(name);
        self.findings.files += 1;
    }

    fn flaw(&mut self, place: Place, flaw: Flaw) {
        if self.flaws.len() < MAX_ISSUES {
            self.flaws.push((place, flaw));
        } else {
            self.findings.more_issues += 1;
        }
    }

    /// A line without an end, in a file that is not the last.
    fn unfinished(&mut self) {
        self.place.line += 1;
        self.findings.lines += 1;
        self.broken();
    }

    fn broken(&mut self) {
        self.flaw(self.place, Flaw::Broken);
        let named = self.named_first();
        match (&mut self.last, named) {
            (Some(last), _) => last.broken += 1,
            (None, Some(first)) => {
                let head = Head { seq: first - 1, hash: [0; 32] };
                self.last = Some(Last { head, place: self.place, broken: 1, is_told: true });
            }
            (None, None) => {}
        }
    }

    fn line(&mut self, bytes: &[u8]) {
        self.place.line += 1;
        self.findings.lines += 1;
        let parsed = Line::parse(bytes).and_then(|line| Some((line.prev()?, line)));
        let Some((prev, line)) = parsed else { return self.broken() };
        let head = Head { seq: line.seq, hash: hash(bytes) };
        if self.is_in_place(prev, head) {
            self.judge(bytes, &line, head);
        }
    }

    /// Puts the line after the last one, if it belongs there; what is wrong between the two is told.
    fn is_in_place(&mut self, prev: [u8; 32], head: Head) -> bool {
        let last = self.last.unwrap_or_else(|| self.beginning(prev, head.seq));
        let next = last.head.seq + 1;
        let mut is_told = false;
        if prev == last.head.hash && !last.is_told {
            if head.seq != next {
                self.flaw(self.place, Flaw::Renumbered { found: head.seq, expected: next });
                is_told = true;
            }
        } else if head.seq < next {
            self.misplaced(head.seq);
            return false;
        } else if head.seq - next > last.broken {
            let (from, to) = (next + last.broken, head.seq - 1);
            self.gaps.push(Gap { from, to, place: self.place });
        } else if last.broken == 0 && !last.is_told {
            self.flaw(last.place, Flaw::Changed);
        }
        let head = Head { seq: if is_told { next } else { head.seq }, ..head };
        self.last = Some(Last { head, place: self.place, broken: 0, is_told });
        true
    }

    /// What stands before the first line: as its file's name has it, or as it says itself.
    fn beginning(&mut self, prev: [u8; 32], seq: u64) -> Last {
        let first = self.named_first().unwrap_or(seq).max(1);
        let hash = if first == 1 { Head::START.hash } else { prev };
        self.findings.first = Some(first);
        if let Some(kept) = self.expected.first.filter(|kept| *kept < first) {
            self.flaw(self.place, Flaw::Beheaded { found: first, kept });
        }
        Last { head: Head { seq: first - 1, hash }, place: self.place, broken: 0, is_told: false }
    }

    /// The number that the file's name gives its first line, if that is where we are.
    fn named_first(&self) -> Option<u64> {
        let name = self.names.get(self.place.file).filter(|_| self.place.line == 1)?;
        first_seq(Path::new(name)).filter(|first| *first > 0)
    }

    /// A line whose number is behind: one that was passed over, or a second one.
    fn misplaced(&mut self, seq: u64) {
        let gap = self.gaps.iter().position(|gap| (gap.from..=gap.to).contains(&seq));
        let Some(gap) = gap else { return self.flaw(self.place, Flaw::Repeated(seq)) };
        let Gap { from, to, place } = self.gaps.swap_remove(gap);
        let rest = [(from, seq - 1), (seq + 1, to)].into_iter().filter(|(from, to)| from <= to);
        self.gaps.extend(rest.map(|(from, to)| Gap { from, to, place }));
        self.flaw(self.place, Flaw::Reordered(seq));
    }

    /// What a line says, beside its place.
    fn judge(&mut self, bytes: &[u8], line: &Line<'_>, head: Head) {
        self.findings.unsigned_tail += 1;
        if self.expected.heads.iter().any(|known| known.seq == head.seq && *known != head) {
            self.flaw(self.place, Flaw::NotCommitted(head.seq));
        }
        match &*line.kind {
            CHECKPOINT => self.checkpoint(bytes, line, head.seq),
            "call" => self.findings.calls += 1,
            "dropped" => self.findings.dropped += line.dropped.unwrap_or_default(),
            "start" => match line.committed.as_deref() {
                Some("changed") => self.flaw(self.place, Flaw::ChangedBeforeStart),
                Some("missing") => self.flaw(self.place, Flaw::CutBeforeStart),
                Some("none") => {
                    let place = format!("{}:{}", self.names[self.place.file], self.place.line);
                    self.findings.starts_without_head.push(place);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn checkpoint(&mut self, bytes: &[u8], line: &Line<'_>, seq: u64) {
        let named = line.key.as_deref().unwrap_or_default();
        let key = self.expected.keys.iter().find(|key| key.to_multikey() == named);
        match key {
            None => {
                let shown = named.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
                self.flaw(self.place, Flaw::UnknownKey(shown));
            }
            Some(key) if is_signed_by(bytes, key) => {
                self.findings.signed = Some(seq);
                self.findings.unsigned_tail = 0;
            }
            Some(_) => self.flaw(self.place, Flaw::WrongSignature),
        }
    }

    fn finish(mut self) -> Findings {
        let end = self.last.map_or(self.place, |last| last.place);
        let reached = self.last.map_or(0, |last| last.head.seq + last.broken);
        self.findings.last = self.last.map(|last| last.head);
        if let Some(head) = self.expected.heads.iter().max_by_key(|head| head.seq)
            && head.seq > reached
        {
            self.flaw(end, Flaw::Truncated(head.seq));
        }
        if self.findings.lines > 0 && self.findings.signed.is_none() {
            self.flaw(end, Flaw::Unsigned);
        }
        for Gap { from, to, place } in std::mem::take(&mut self.gaps) {
            self.flaw(place, Flaw::Missing { from, to });
        }
        self.flaws.sort_by_key(|(place, _)| *place);
        self.flaws.dedup();
        let name = |file: usize| self.names.get(file).cloned().unwrap_or_default();
        self.findings.issues = std::mem::take(&mut self.flaws)
            .into_iter()
            .map(|(place, flaw)| Issue { file: name(place.file), line: place.line, flaw })
            .collect();
        self.findings
    }
}
