//! Output streams as log lines.

use crate::sandbox::Logs;

/// Gathers what is written to a stream into lines. Holds no more than one line, and looks at nothing
/// once it has given as much as a log takes, so that a guest that writes without end costs nothing.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
    given_lines: usize,
    given_bytes: usize,
}

impl Lines {
    /// Takes what is written and gives each line that it ends.
    pub(super) fn write(&mut self, bytes: &[u8], mut give: impl FnMut(&str)) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n').filter(|_| !self.is_done()) {
            self.keep(&rest[..end]);
            self.give(&mut give);
            rest = &rest[end + 1..];
        }
        if !self.is_done() {
            self.keep(rest);
        }
    }

    /// Gives what is left without an end.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&str)) {
        if !self.pending.is_empty() && !self.is_done() {
            self.give(&mut give);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more than a line of the log, so that the log sees that it was longer.
        let room = (Logs::MAX_LINE_BYTES + 1).saturating_sub(self.pending.len());
        self.pending.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn give(&mut self, give: &mut impl FnMut(&str)) {
        give(&String::from_utf8_lossy(&self.pending));
        self.given_lines += 1;
        self.given_bytes += self.pending.len();
        self.pending.clear();
    }

    /// One line and one byte beyond what a log takes: it then knows that there was more.
    fn is_done(&self) -> bool {
        self.given_lines > Logs::MAX_LINES || self.given_bytes > Logs::MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(writes: &[&[u8]]) -> Vec<String> {
        let mut stream = Lines::default();
        let mut given = Vec::new();
        for bytes in writes {
            stream.write(bytes, |line| given.push(line.to_owned()));
        }
        stream.finish(|line| given.push(line.to_owned()));
        given
    }

    #[test]
    fn lines_end_where_the_guest_ends_them() {
        let cases: [(&[&[u8]], &[&str]); 7] = [
            (&[], &[]),
            (&[b""], &[]),
            (&[b"one\n"], &["one"]),
            (&[b"o", b"n", b"e\ntwo"], &["one", "two"]),
            (&[b"\n\na\n"], &["", "", "a"]),
            (&[b"\xc3", b"\xa4\n"], &["\u{e4}"]),
            (&[b"\xff\n"], &["\u{fffd}"]),
        ];
        for (writes, expected) in cases {
            assert_eq!(lines(writes), expected, "{writes:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_kept_only_as_far_as_a_log_takes_it() {
        let mut stream = Lines::default();
        for _ in 0..100 {
            stream.write(&[b'a'; 1000], |_| panic!("no line has ended"));
        }
        assert_eq!(stream.pending.len(), Logs::MAX_LINE_BYTES + 1);
    }

    #[test]
    fn what_a_log_does_not_take_is_not_looked_at() {
        assert_eq!(lines(&[&[b'\n'; 1_000_000]]).len(), Logs::MAX_LINES + 1);
        let long = [[b'a'; 8191].as_slice(), b"\n"].concat().repeat(1000);
        assert_eq!(lines(&[&long]).len(), Logs::MAX_BYTES / (Logs::MAX_LINE_BYTES + 1) + 1);
    }
}
