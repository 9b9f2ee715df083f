//! The files of the log: `audit/` in the data directory, each named by the number of its first line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::chain::{Head, Line, MAX_LINE_BYTES, hash};
use super::error::OpenError;

/// What the names of the log's files end with.
const EXTENSION: &str = "jsonl";
/// Digits of a name, so that names sort as numbers do.
const DIGITS: usize = 20;

/// The files of a log, in the order of their lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFiles(pub Vec<PathBuf>);

impl LogFiles {
    /// The files in this directory; none where there is no such directory.
    pub fn in_directory(directory: &Path) -> io::Result<LogFiles> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LogFiles::default()),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if first_seq(&path).is_some() {
                files.push(path);
            }
        }
        Ok(LogFiles(in_order(files)))
    }
}

/// The files in the order that their names tell, or as they are where a name tells none.
pub fn in_order(mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    if files.iter().all(|path| first_seq(path).is_some()) {
        files.sort_by_key(|path| first_seq(path));
    }
    files
}

/// The number of the first line of a file with this name.
pub(super) fn first_seq(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    (digits.len() == DIGITS).then(|| digits.parse().ok())?
}

/// A file that is being written. It holds whole lines only, unless the disk does not even let it be cut.
pub(super) struct LogFile {
    pub(super) file: Arc<File>,
    pub(super) bytes: u64,
    is_torn: bool,
}

impl LogFile {
    /// A new file whose first line will be that of `seq`.
    pub(super) fn create(directory: &Path, seq: u64) -> Result<LogFile, OpenError> {
        make_directory(directory).map_err(OpenError::file(directory))?;
        let path = directory.join(format!("{seq:0DIGITS$}.{EXTENSION}"));
        let mut options = OpenOptions::new();
        options.append(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(OpenError::file(path))?;
        Ok(LogFile { file: Arc::new(file), bytes: 0, is_torn: false })
    }

    /// Opens the file of a log that goes on, and cuts it after its last whole line.
    fn open(path: &Path, whole_bytes: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() != whole_bytes {
            file.set_len(whole_bytes)?;
            file.sync_data()?;
        }
        Ok(LogFile { file: Arc::new(file), bytes: whole_bytes, is_torn: false })
    }

    /// Writes whole lines, or nothing.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            self.file.set_len(self.bytes)?;
            self.is_torn = false;
        }
        match (&*self.file).write_all(lines) {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                self.is_torn = self.file.set_len(self.bytes).is_err();
                Err(error)
            }
        }
    }

    /// Whether the file is no longer in its directory, so that what is written into it would be lost.
    pub(super) fn is_gone(&self) -> bool {
        #[cfg(unix)]
        let gone = self.file.metadata().is_ok_and(|data| std::os::unix::fs::MetadataExt::nlink(&data) == 0);
        #[cfg(not(unix))]
        let gone = false;
        gone
    }
}

/// Where a log goes on that another process wrote.
pub(super) struct Recovered {
    pub(super) head: Head,
    /// The file to go on in, where there is one.
    pub(super) file: Option<LogFile>,
    pub(super) found: Found,
    /// What stood after the last whole line, and was cut off.
    pub(super) torn: Option<Torn>,
}

/// What was found of the committed head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No head is committed, and there is no log.
    New,
    /// No head is committed, though there is a log.
    None,
    /// The log holds the line.
    Held,
    /// The log holds another line of that number.
    Changed,
    /// The log ends before it.
    Missing,
}

impl Found {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Found::New => "new",
            Found::None => "none",
            Found::Held => "found",
            Found::Changed => "changed",
            Found::Missing => "missing",
        }
    }
}

pub(super) struct Torn {
    pub(super) bytes: u64,
    pub(super) hash: [u8; 32],
}

/// Finds where the log in `directory` ends, mends a line that was being written when its process ended, and
/// compares it with the head that was committed. A log that was cut goes on with the number after that head,
/// so that the gap stays visible.
pub(super) fn recover(directory: &Path, committed: Option<Head>) -> Result<Recovered, OpenError> {
    let files = LogFiles::in_directory(directory).map_err(OpenError::file(directory))?.0;
    let Some(newest) = files.last() else {
        let found = if committed.is_some() { Found::Missing } else { Found::New };
        return Ok(Recovered { head: committed.unwrap_or(Head::START), file: None, found, torn: None });
    };
    // From the file that holds the committed head on; without it, the newest, in which there may be no line yet.
    let seq = committed.map_or(u64::MAX, |head| head.seq);
    let mut from = files.iter().rposition(|path| first_seq(path) <= Some(seq)).unwrap_or(0);
    let mut end = End::default();
    loop {
        for path in &files[from..] {
            end.read(path, seq).map_err(OpenError::file(path))?;
        }
        if end.last_line.is_some() || from == 0 {
            break;
        }
        (from, end) = (from - 1, End::default());
    }
    let last = match &end.last_line {
        None => Head::START,
        Some(line) => match Line::parse(line) {
            Some(parsed) => Head { seq: parsed.seq, hash: hash(line) },
            None => return Err(OpenError::Damaged(end.last_path)),
        },
    };
    let (head, found) = match committed {
        None if last == Head::START => (last, Found::New),
        None => (last, Found::None),
        Some(committed) if last.seq < committed.seq => (committed, Found::Missing),
        Some(committed) if end.sought == Some(committed.hash) => (last, Found::Held),
        Some(_) => (last, Found::Changed),
    };
    let file = LogFile::open(newest, end.whole_bytes).map_err(OpenError::file(newest))?;
    Ok(Recovered { head, file: Some(file), found, torn: end.torn })
}

/// What reading to the end of the log found.
#[derive(Default)]
struct End {
    last_line: Option<Vec<u8>>,
    last_path: PathBuf,
    /// The hash of the line that was looked for.
    sought: Option<[u8; 32]>,
    /// Of the file read last: how much of it is whole lines, and what is not.
    whole_bytes: u64,
    torn: Option<Torn>,
}

impl End {
    fn read(&mut self, path: &Path, seq: u64) -> io::Result<()> {
        let mut reader = BufReader::new(File::open(path)?);
        (self.whole_bytes, self.torn) = (0, None);
        let sought = format!("{{\"seq\":{seq},");
        loop {
            let mut line = Vec::new();
            reader.read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                self.torn = Some(Torn { bytes: line.len() as u64, hash: hash(&line) });
                return Ok(());
            }
            self.whole_bytes += line.len() as u64;
            line.pop();
            if line.starts_with(sought.as_bytes()) {
                self.sought = Some(hash(&line));
            }
            self.last_line = Some(line);
            path.clone_into(&mut self.last_path);
        }
    }
}

/// Reads one line of at most [`MAX_LINE_BYTES`], its line feed included; more of it is read and left out.
pub(super) fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let (length, ends) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), false),
        };
        // One byte more than a line may have, and its end, tell that it is too long.
        let room = (MAX_LINE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&buffer[..length.min(room)]);
        if ends && line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        reader.consume(length);
        if ends {
            return Ok(());
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes new names survive a power cut; only Unix lets a directory be opened for that.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
