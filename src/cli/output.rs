//! What a command leaves behind: text on stdout, notes on stderr, an exit code.
//!
//! Records, errors and outputs come from strangers: nothing of theirs reaches a terminal with
//! control characters in it. The colours that there are come last, and only where they are wanted.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::colour::Colour;
use super::error::CliError;
use super::wrap;

/// Beyond this depth JSON is printed on one line: indentation grows with the square of the depth.
const PRETTY_DEPTH: usize = 32;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// All was done.
    Done,
    /// A server, function or person said no.
    Refused,
    /// The command was given wrongly.
    Usage,
    /// No usable answer.
    Network,
    /// Ctrl-C; 128 + SIGINT, as shells have it.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::Network => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// What a command has to say at its end.
pub(super) struct Report {
    /// For stdout; a line end is added where there is none.
    pub(super) text: Vec<u8>,
    /// For stderr, after the text; may be empty.
    pub(super) notes: String,
    pub(super) exit: Exit,
}

impl Report {
    /// A command that did what it was asked.
    pub(super) fn done(text: impl Into<Vec<u8>>) -> Report {
        Report { text: text.into(), notes: String::new(), exit: Exit::Done }
    }

    /// The same for scripts or for people.
    pub(super) fn json_or(json: bool, value: &Value, text: impl FnOnce() -> String) -> Report {
        if json { Report::done(pretty(&value.to_string())) } else { Report::done(text()) }
    }

    pub(super) fn with_notes(self, notes: impl Into<String>) -> Report {
        Report { notes: notes.into(), ..self }
    }
}

/// Prints what came of a command.
pub(super) fn finish(outcome: Result<Report, CliError>) -> Exit {
    match outcome {
        Ok(report) => {
            let stdout = io::stdout();
            let text = if stdout.is_terminal() { disarmed(&report.text).into_bytes() } else { report.text };
            // A reader that has seen enough (`| head`) is no failure of ours.
            if let Err(error) = print(stdout.lock(), &text)
                && error.kind() != io::ErrorKind::BrokenPipe
            {
                note(&format!("error: cannot write the output: {error}"));
                return Exit::Refused;
            }
            note(&report.notes);
            report.exit
        }
        Err(error) => {
            note(&failure(&error.to_string(), error.advice()));
            error.exit()
        }
    }
}

/// How a failure is told.
pub(super) fn failure(what: &str, advice: Option<&str>) -> String {
    match advice {
        Some(advice) => format!("error: {what}\n{advice}"),
        None => format!("error: {what}"),
    }
}

/// A line on stderr; nothing for an empty one.
pub(super) fn note(text: &str) {
    if !text.is_empty() {
        // There is nowhere left to say that stderr is gone.
        let _ = print(io::stderr().lock(), Colour::of_stderr().lines(&wrap::for_stderr(text)).as_bytes());
    }
}

/// A line on stderr for people who watch; scripts and logs get none.
pub(super) fn progress(text: &str) {
    if io::stderr().is_terminal() {
        note(text);
    }
}

fn print(mut to: impl Write, text: &[u8]) -> io::Result<()> {
    to.write_all(text)?;
    if !text.is_empty() && !text.ends_with(b"\n") {
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Characters that a terminal acts on, or that reorder what is read (bidirectional controls).
fn drives_a_terminal(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` on one line, with what a terminal would act on spelt out.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if drives_a_terminal(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
        out
    })
}

/// What may be shown of bytes from a stranger as they came (`invoke --json`): their lines, and in
/// place of what a terminal would act on, its escape as JSON strings spell it.
fn disarmed(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if drives_a_terminal(c) && !matches!(c, '\n' | '\t') {
            escape(c, &mut out);
        } else {
            out.push(c);
        }
        out
    })
}

/// JSON text indented by two spaces, with its numbers and the order of its keys as they are (a
/// parsed and printed number may be another). `json` must be JSON; strings lose nothing, but what a
/// terminal would act on in them is written as `\u`.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                copy_string(&mut chars, &mut out);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                // As deep as the line before it, so that the two agree on whether lines are broken.
                if depth < PRETTY_DEPTH {
                    break_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    if depth <= PRETTY_DEPTH {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    } else if out.ends_with(',') {
        out.push(' ');
    }
}

/// Copies the rest of a string, its closing quote included.
fn copy_string(chars: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push('"');
                return;
            }
            '\\' => {
                out.push('\\');
                out.extend(chars.next());
            }
            c if drives_a_terminal(c) => escape(c, out),
            c => out.push(c),
        }
    }
}

/// Writes a character that drives a terminal as JSON escapes it; all of these lie below U+10000.
fn escape(c: char, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\u{:04x}", u32::from(c));
}

/// Rows with columns as wide as their widest cell; cells are made printable.
pub(super) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| std::array::from_fn(|i| printable(&row[i]))).collect();
    let widths: [usize; N] =
        std::array::from_fn(|i| rows.iter().map(|row| row[i].chars().count()).max().unwrap_or_default());
    let mut out = String::new();
    for row in &rows {
        let line: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// `1536` as `1.5 KiB`.
pub(super) fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = KIB * KIB;
    match bytes {
        0..KIB => format!("{bytes} bytes"),
        KIB..MIB => format!("{:.1} KiB", bytes as f64 / KIB as f64),
        _ => format!("{:.1} MiB", bytes as f64 / MIB as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_otherwise_kept() {
        let cases = [
            ("null", "null"),
            ("{}", "{}"),
            ("[ \n ]", "[]"),
            (
                r#"{"b":1,"a":[1.50,1e400,123456789012345678901234567890]}"#,
                "{\n  \"b\": 1,\n  \"a\": [\n    1.50,\n    1e400,\n    123456789012345678901234567890\n  ]\n}",
            ),
            (r#"["a,b:{}[]\"\\",{"x":{}}]"#, "[\n  \"a,b:{}[]\\\"\\\\\",\n  {\n    \"x\": {}\n  }\n]"),
        ];
        for (json, expected) in cases {
            assert_eq!(pretty(json), expected, "{json}");
        }
    }

    #[test]
    fn indented_json_means_the_same() {
        let json = "{\"k\u{7f}\":\"\u{9b}31m\u{202e}é\\n\\u001b\",\"n\":[[],{},[1,[2,{\"a\":null}]]]}";
        let out = pretty(json);
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(value(&out), value(json));
        assert!(!out.chars().any(|c| c != '\n' && drives_a_terminal(c)), "{out}");
    }

    #[test]
    fn deep_json_does_not_grow_with_the_square_of_its_depth() {
        let deep = format!("{}1,2{}", "[".repeat(100_000), "]".repeat(100_000));
        let out = pretty(&deep);
        assert!(out.len() < deep.len() + 10_000, "{}", out.len());
        let flat: String = out.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(flat, deep);
    }

    #[test]
    fn bytes_from_a_stranger_are_shown_but_not_obeyed() {
        assert_eq!(disarmed(b"{\"a\":\t1}\n"), "{\"a\":\t1}\n");
        assert_eq!(disarmed("\x1b[2J\r\u{9b}1m\u{202e}".as_bytes()), r"\u001b[2J\u000d\u009b1m\u202e");
        assert_eq!(disarmed(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn a_table_lines_its_columns_up_and_disarms_its_cells() {
        let rows =
            [["a".into(), "long\x1b[2J".into(), "z".into()], ["bbb".into(), "é".into(), String::new()]];
        assert_eq!(table(&rows), "a    long\\u{1b}[2J  z\nbbb  é\n");
    }

    #[test]
    fn sizes_are_told_in_their_unit() {
        let cases = [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 20, "5.0 MiB")];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }
}
