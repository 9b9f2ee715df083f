//! The log on disk: over restarts, crashes, rotations, and a disk that takes nothing.

use super::*;

/// A data directory and the log in it.
struct Kept {
    directory: TempDir,
    max_bytes: u64,
    keep: usize,
}

impl Kept {
    fn new() -> Kept {
        Kept { directory: tempfile::tempdir().unwrap(), max_bytes: u64::MAX, keep: 0 }
    }

    fn open(&self, rule: AuditRule) -> AuditLog {
        let config = AuditLogConfig {
            data_dir: self.directory.path().into(),
            rule,
            max_bytes: self.max_bytes,
            keep: self.keep,
        };
        AuditLog::open(&config, "did:web:test", key(1), Clock::manual(0)).unwrap()
    }

    /// Opens the log, writes calls, and closes it.
    fn write(&self, calls: usize) {
        let log = self.open(AuditRule::Refuse);
        for call in 0..calls {
            assert_eq!(write_one(&log, &format!("call {call}")), Ok(()));
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        LogFiles::in_directory(&self.directory.path().join("audit")).unwrap().0
    }

    fn lines(&self) -> Vec<Value> {
        let text: String = self.files().iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn kinds(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["kind"].as_str().unwrap().to_owned()).collect()
    }

    fn verify(&self) -> Findings {
        let committed = committed(self.directory.path()).unwrap();
        let expected = Expected {
            keys: vec![key(1).public()],
            heads: committed.iter().map(|committed| committed.head).collect(),
            first: committed.map(|committed| committed.first),
        };
        let opened = |path: PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            Ok((name, io::BufReader::new(fs::File::open(path)?)))
        };
        verify(self.files().into_iter().map(opened), &expected).unwrap()
    }

    fn issues(&self) -> Vec<(String, u64, Flaw)> {
        self.verify().issues.into_iter().map(|issue| (issue.file, issue.line, issue.flaw)).collect()
    }
}

fn record() -> CallRecord {
    CallRecord { decided: "ok", ..CallRecord::default() }
}

fn write_one(log: &AuditLog, request: &str) -> Result<(), Unwritten> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.write(&record(), request, Duration::ZERO))
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn what_is_written_is_signed_and_committed_and_goes_on_after_a_restart() {
    let kept = Kept::new();
    kept.write(3);
    kept.write(2);
    assert_eq!(kept.files().iter().map(|path| name(path)).collect::<Vec<_>>(), [NAME]);
    let kinds = kept.kinds();
    let of = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
    assert_eq!((of("start"), of("call"), of("dropped")), (2, 5, 0));
    assert_eq!((&*kinds[0], &*kinds[1], &**kinds.last().unwrap()), ("start", "checkpoint", "checkpoint"));
    let found = kept.verify();
    assert_eq!((found.issues, found.calls, found.unsigned_tail), (Vec::new(), 5, 0));
    let committed = committed(kept.directory.path()).unwrap().unwrap();
    assert_eq!((Some(committed.head), committed.first), (found.last, 1));
    assert_eq!(committed.head.seq, kinds.len() as u64);
    let starts = kept.lines().into_iter().filter(|line| line["kind"] == "start");
    assert_eq!(starts.map(|line| line["committed"].clone()).collect::<Vec<_>>(), ["new", "found"]);
}

#[test]
fn a_line_is_there_before_the_call_goes_on() {
    let kept = Kept::new();
    let log = kept.open(AuditRule::Refuse);
    write_one(&log, "this one").unwrap();
    let text = fs::read_to_string(&kept.files()[0]).unwrap();
    assert!(text.contains("\"request\":\"this one\""), "{text}");
    assert!(log.stats().written >= 3);
}

#[test]
fn a_call_writes_its_line_without_the_thread_unless_the_disk_is_slow() {
    let kept = Kept::new();
    let mut log = kept.open(AuditRule::Refuse);
    log.state.was_slow(true);
    // By the thread, which finds that the disk is as fast as ever.
    assert_eq!(write_one(&log, "by the thread"), Ok(()));
    // Now there is no thread any more.
    log.state.close();
    log.threads.drain(..).for_each(|thread| thread.join().unwrap());
    log.state.was_slow(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let record = record();
    let written = runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), log.write(&record, "by itself", Duration::ZERO)).await
    });
    assert_eq!(written, Ok(Ok(())));
    let text = fs::read_to_string(&kept.files()[0]).unwrap();
    for request in ["by the thread", "by itself"] {
        assert!(text.contains(&format!("\"request\":\"{request}\"")), "{text}");
    }
}

#[test]
fn of_calls_that_end_at_once_each_has_its_line() {
    const CALLS: usize = 200;
    let kept = Kept::new();
    let log = kept.open(AuditRule::Refuse);
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for call in 0..CALLS {
                    assert_eq!(write_one(log, &format!("{caller} {call}")), Ok(()));
                }
            });
        }
    });
    drop(log);
    let requests: std::collections::BTreeSet<String> =
        kept.lines().iter().filter_map(|line| Some(line.get("request")?.as_str()?.to_owned())).collect();
    assert_eq!(requests.len(), 4 * CALLS);
    let found = kept.verify();
    assert_eq!((found.issues, found.calls, found.unsigned_tail), (Vec::new(), 4 * CALLS as u64, 0));
}

#[test]
fn the_head_of_a_log_that_is_open_is_known_too() {
    let kept = Kept::new();
    kept.write(1);
    let before = committed(kept.directory.path()).unwrap();
    let _log = kept.open(AuditRule::Refuse);
    assert!(committed(kept.directory.path()).unwrap().unwrap().head.seq >= before.unwrap().head.seq);
    assert_eq!(kept.issues(), []);
}

#[test]
fn a_torn_line_is_cut_and_told_and_the_chain_goes_on() {
    let kept = Kept::new();
    kept.write(2);
    let path = &kept.files()[0];
    let mut bytes = fs::read(path).unwrap();
    bytes.extend_from_slice(b"{\"seq\":9,\"prev\":\"00");
    fs::write(path, &bytes).unwrap();
    let found = kept.verify();
    assert_eq!((found.issues, found.torn_bytes), (Vec::new(), 19));
    kept.write(1);
    let found = kept.verify();
    assert_eq!((found.issues, found.torn_bytes, found.calls), (Vec::new(), 0, 3));
    let starts: Vec<Value> = kept.lines().into_iter().filter(|line| line["kind"] == "start").collect();
    assert_eq!((starts[1]["tornBytes"].clone(), starts[1]["committed"].clone()), (19.into(), "found".into()));
    assert_eq!(starts[1]["tornSha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_log_that_was_cut_or_changed_stays_so_over_a_restart() {
    let kept = Kept::new();
    kept.write(3);
    let path = &kept.files()[0];
    let text = fs::read_to_string(path).unwrap();
    let committed = text.lines().count() as u64;
    let whole = |lines: usize| text.lines().take(lines).map(|line| format!("{line}\n")).collect::<String>();
    fs::write(path, whole(3)).unwrap();
    assert_eq!(kept.issues(), [(NAME.into(), 3, Flaw::Truncated(committed))]);
    kept.write(1);
    let missing = Flaw::Missing { from: 4, to: committed };
    assert_eq!(kept.issues(), [(NAME.into(), 4, Flaw::CutBeforeStart), (NAME.into(), 4, missing)]);

    let kept = Kept::new();
    kept.write(3);
    let path = &kept.files()[0];
    let mut lines: Vec<String> = fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect();
    let last = lines.pop().unwrap();
    lines.push(last.replace("1970", "1971"));
    fs::write(path, lines.join("\n") + "\n").unwrap();
    kept.write(1);
    let at = lines.len() as u64;
    let changed = [(NAME.into(), at, Flaw::WrongSignature), (NAME.into(), at + 1, Flaw::ChangedBeforeStart)];
    assert_eq!(kept.issues(), changed);
}

#[test]
fn a_log_that_is_gone_is_missed() {
    let kept = Kept::new();
    kept.write(3);
    fs::remove_dir_all(kept.directory.path().join("audit")).unwrap();
    let head = committed(kept.directory.path()).unwrap().unwrap().head;
    assert_eq!(kept.issues(), [(String::new(), 0, Flaw::Truncated(head.seq))]);
    kept.write(1);
    let file = format!("{:020}.jsonl", head.seq + 1);
    let found = head.seq + 1;
    let flaws = [(file.clone(), 1, Flaw::Beheaded { found, kept: 1 }), (file, 1, Flaw::CutBeforeStart)];
    assert_eq!(kept.issues(), flaws);
}

#[test]
fn a_start_without_a_committed_head_is_told() {
    let kept = Kept::new();
    kept.write(1);
    fs::remove_file(kept.directory.path().join("audit.redb")).unwrap();
    let lines = kept.lines().len();
    kept.write(1);
    let found = kept.verify();
    assert_eq!(found.issues, []);
    assert_eq!(found.starts_without_head, [format!("{NAME}:{}", lines + 1)]);
}

#[test]
fn a_log_whose_last_line_is_damaged_does_not_go_on() {
    let kept = Kept::new();
    kept.write(1);
    let path = &kept.files()[0];
    fs::write(path, fs::read_to_string(path).unwrap() + "damaged\n").unwrap();
    let config = AuditLogConfig {
        data_dir: kept.directory.path().into(),
        rule: AuditRule::Drop,
        max_bytes: 1,
        keep: 0,
    };
    let opened = AuditLog::open(&config, "did:web:test", key(1), Clock::manual(0));
    assert!(matches!(opened.err(), Some(OpenError::Damaged(damaged)) if damaged == *path));
}

#[test]
fn a_log_that_cannot_be_made_stops_the_start() {
    let kept = Kept::new();
    let place = kept.directory.path().join("audit");
    fs::write(&place, "something else").unwrap();
    let config = AuditLogConfig {
        data_dir: kept.directory.path().into(),
        rule: AuditRule::Drop,
        max_bytes: 1,
        keep: 0,
    };
    let opened = AuditLog::open(&config, "did:web:test", key(1), Clock::manual(0));
    assert!(matches!(opened.err(), Some(OpenError::File { path, .. }) if path == place));
    assert_eq!(fs::read_to_string(place).unwrap(), "something else");
}

#[test]
fn a_log_that_is_deleted_under_way_goes_on_in_a_new_file_and_is_missed() {
    let kept = Kept::new();
    let log = kept.open(AuditRule::Refuse);
    fs::remove_dir_all(kept.directory.path().join("audit")).unwrap();
    write_one(&log, "into nothing").unwrap();
    drop(log);
    let head = committed(kept.directory.path()).unwrap().unwrap().head;
    assert_eq!(
        kept.files().iter().map(|path| name(path)).collect::<Vec<_>>(),
        [format!("{:020}.jsonl", head.seq + 1)]
    );
    assert_eq!(kept.verify().issues.last().unwrap().flaw, Flaw::Truncated(head.seq));
    kept.write(1);
    assert_eq!(kept.issues()[0].2, Flaw::Beheaded { found: head.seq + 1, kept: 1 });
}

/// Writes a log of one file a start.
fn rotated(starts: usize, keep: usize) -> Kept {
    let kept = Kept { max_bytes: 1, keep, ..Kept::new() };
    for _ in 0..starts {
        kept.write(1);
    }
    kept
}

#[test]
fn the_chain_goes_on_over_files_and_a_missing_one_is_found() {
    let kept = rotated(3, 0);
    let files = kept.files();
    assert!(files.len() >= 4, "{files:?}");
    assert_eq!(kept.issues(), []);
    let first_of = |path: &Path| super::files::first_seq(path).unwrap();

    let aside = kept.directory.path().join("aside");
    let (middle, after) = (&files[1], &files[2]);
    fs::rename(middle, &aside).unwrap();
    let missing = Flaw::Missing { from: first_of(middle), to: first_of(after) - 1 };
    assert_eq!(kept.issues(), [(name(after), 1, missing)]);
    fs::rename(&aside, middle).unwrap();

    fs::rename(&files[0], &aside).unwrap();
    let beheaded = Flaw::Beheaded { found: first_of(middle), kept: 1 };
    assert_eq!(kept.issues(), [(name(middle), 1, beheaded)]);
    fs::rename(&aside, &files[0]).unwrap();

    let with_lines: Vec<_> = files.iter().filter(|path| fs::metadata(path).unwrap().len() > 0).collect();
    let (last, before) = (with_lines[with_lines.len() - 1], with_lines[with_lines.len() - 2]);
    let lines = fs::read_to_string(before).unwrap().lines().count() as u64;
    let head = committed(kept.directory.path()).unwrap().unwrap().head;
    fs::remove_file(last).unwrap();
    assert_eq!(kept.issues(), [(name(before), lines, Flaw::Truncated(head.seq))]);
}

#[test]
fn a_file_that_is_not_the_last_ends_with_a_whole_line() {
    let kept = rotated(2, 0);
    let path = &kept.files()[0];
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_eq!(kept.issues(), [(name(path), lines, Flaw::Broken)]);
}

#[test]
fn old_files_are_deleted_and_where_the_log_begins_is_committed() {
    let kept = rotated(5, 2);
    let files = kept.files();
    assert_eq!(files.len(), 2, "{files:?}");
    let first = super::files::first_seq(&files[0]).unwrap();
    assert!(first > 3, "{first}");
    assert_eq!(committed(kept.directory.path()).unwrap().unwrap().first, first);
    assert_eq!(kept.issues(), []);
}

#[test]
fn while_nothing_can_be_written_calls_are_refused_or_counted_as_the_operator_chose() {
    for rule in [AuditRule::Refuse, AuditRule::Drop] {
        let log = AuditLog::unattended(rule, Clock::manual(0));
        assert_eq!((log.admits(), log.not_ready()), (Ok(()), None));
        let refused = |may_have_run| match rule {
            AuditRule::Refuse => Err(Unwritten { may_have_run }),
            AuditRule::Drop => Ok(()),
        };
        let why = |trouble| {
            (rule == AuditRule::Refuse).then(|| format!("the audit log cannot be written: {trouble}"))
        };
        log.state.tell(Source::Writing, Some("no space".into()));
        assert_eq!((log.admits(), log.not_ready()), (refused(false), why("no space")));
        assert_eq!(write_one(&log, "lost"), refused(true));
        assert_eq!(log.stats().dropped, 1);
        // Each source takes back what it said itself.
        log.state.tell(Source::Syncing, Some("no store".into()));
        log.state.tell(Source::Writing, None);
        assert_eq!((log.admits(), log.not_ready()), (refused(false), why("no store")));
        log.state.tell(Source::Syncing, None);
        assert_eq!((log.admits(), log.not_ready()), (Ok(()), None));
    }
}

#[test]
fn calls_that_have_no_line_are_counted_in_one() {
    let kept = Kept::new();
    let log = kept.open(AuditRule::Drop);
    log.state.drop_lines(3);
    drop(log);
    let gaps: Vec<Value> = kept.lines().into_iter().filter(|line| line["kind"] == "dropped").collect();
    assert_eq!(gaps.iter().map(|line| line["dropped"].clone()).collect::<Vec<_>>(), [3]);
    let found = kept.verify();
    assert_eq!((found.issues, found.dropped), (Vec::new(), 3));
}

#[test]
fn a_head_reads_back_as_it_is_told() {
    let (_, expected) = log();
    let head = expected.heads[0];
    assert_eq!(head.to_string().parse(), Ok(head));
    let digits = "a".repeat(64);
    for text in
        ["", "1", "1:", "x:00", &digits, &format!("1:{}", digits.to_uppercase()), &format!("-1:{digits}")]
    {
        assert_eq!(text.parse::<Head>(), Err(InvalidHead), "{text}");
    }
}
