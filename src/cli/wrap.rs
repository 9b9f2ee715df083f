//! Lines for people at a terminal, broken between words: a terminal breaks them anywhere.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use terminal_size::{Width, terminal_size_of};

/// Narrower terminals break lines as they do.
const NARROWEST: usize = 40;
/// Longer lines are hard to read.
const WIDEST: usize = 120;

/// What goes to stderr, as wide as the terminal there; unchanged where it is none, for scripts read whole lines.
pub(super) fn for_stderr(text: &str) -> String {
    for_terminal(&io::stderr(), text)
}

/// The same of what goes to stdout.
pub(super) fn for_stdout(text: &str) -> String {
    for_terminal(&io::stdout(), text)
}

fn for_terminal(to: &(impl IsTerminal + AsFd), text: &str) -> String {
    let size = if to.is_terminal() { terminal_size_of(to) } else { None };
    match size {
        Some((Width(width), _)) if usize::from(width) >= NARROWEST => {
            wrapped(text, usize::from(width).min(WIDEST))
        }
        _ => text.to_owned(),
    }
}

/// Breaks what is longer than `width`. The lines that follow are indented as the first one is, or stand in the column of what
/// they belong to. What stands in backquotes is to be copied, so it stays on one line; terminals know that it is one, however
/// long it is.
fn wrapped(text: &str, width: usize) -> String {
    text.split('\n').map(|line| wrapped_line(line, width)).collect::<Vec<_>>().join("\n")
}

fn wrapped_line(line: &str, width: usize) -> String {
    // Where there are colours, somebody has laid the line out.
    if line.chars().count() <= width || line.contains('\x1b') {
        return line.to_owned();
    }
    let (head, words) = line.split_at(column(line, width));
    let indent = " ".repeat(head.chars().count());
    let mut out = head.to_owned();
    let mut at = indent.len();
    for piece in pieces(words) {
        let length = piece.chars().count();
        let is_first = at == indent.len();
        if !is_first && at + 1 + length > width {
            out.push('\n');
            out.push_str(&indent);
            at = indent.len();
        } else if !is_first {
            out.push(' ');
            at += 1;
        }
        out.push_str(piece);
        at += length;
    }
    out
}

/// Where the text of a line begins: behind its indentation or, in a row of a table, at its second column.
fn column(line: &str, width: usize) -> usize {
    let start = line.len() - line.trim_start_matches(' ').len();
    let gap = line[start..].find("  ").map(|gap| start + gap);
    let second = gap.map(|gap| line.len() - line[gap..].trim_start_matches(' ').len());
    second.filter(|second| *second <= width / 2 && *second < line.len()).unwrap_or(start)
}

/// The words of a line; what stands in backquotes is one, with what touches it.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c| {
        quoted ^= c == '`';
        c == ' ' && !quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words() {
        let cases = [
            ("short", "short"),
            ("one two three four", "one two\nthree four"),
            ("  one two three four", "  one two\n  three\n  four"),
            ("one two\nthree four five", "one two\nthree four\nfive"),
            ("a    one two three", "a    one\n     two\n     three"),
            ("a      one two three", "a      one\ntwo three"),
            ("a-word-that-is-too-long b", "a-word-that-is-too-long\nb"),
            ("say `a b` or `c d`!", "say `a b`\nor `c d`!"),
            ("a `what is longer than a line` b", "a\n`what is longer than a line`\nb"),
            ("an `odd one is left as it is", "an\n`odd one is left as it is"),
            ("\x1b[31mone two three\x1b[0m", "\x1b[31mone two three\x1b[0m"),
            ("ü ü ü ü ü ü ü", "ü ü ü ü ü\nü ü"),
        ];
        for (text, expected) in cases {
            assert_eq!(wrapped(text, 10), expected, "{text}");
        }
    }
}
