//! Colours, where somebody sees them: not in a pipe, not where `NO_COLOR` is set (<https://no-color.org>), not on a
//! terminal that knows none.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// Whether and how texts get a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour {
    on: bool,
}

impl Colour {
    /// For what goes to stderr.
    pub(super) fn of_stderr() -> Colour {
        Colour::by(io::stderr().is_terminal(), |name| std::env::var_os(name))
    }

    fn by(is_terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> Colour {
        let refused = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
        let knows_none = variable("TERM").is_some_and(|value| value == "dumb");
        Colour { on: is_terminal && !refused && !knows_none }
    }

    /// None.
    #[cfg(test)]
    pub(super) const OFF: Colour = Colour { on: false };

    /// What is taken away, or wrong.
    pub(super) fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What is added, or right.
    pub(super) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// What to look at.
    pub(super) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Lines with their first word in colour, if it says what kind of line it is.
    pub(super) fn lines(self, text: &str) -> String {
        type Paint = fn(Colour, &str) -> String;
        let kinds: [(&str, Paint); 3] =
            [("error:", Colour::red), ("warning:", Colour::yellow), ("note:", Colour::yellow)];
        let line = |line: &str| {
            let kind = kinds.iter().find(|(word, _)| line.starts_with(word));
            kind.map_or_else(
                || line.to_owned(),
                |(word, paint)| format!("{}{}", paint(self, word), &line[word.len()..]),
            )
        };
        if self.on { text.split('\n').map(line).collect::<Vec<_>>().join("\n") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_owner_wants_them() {
        let on = |is_terminal, variables: &[(&str, &str)]| {
            let set =
                |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
            Colour::by(is_terminal, set).on
        };
        assert!(on(true, &[]) && on(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!on(false, &[]) && !on(true, &[("NO_COLOR", "1")]) && !on(true, &[("TERM", "dumb")]));
    }

    #[test]
    fn only_the_kind_of_a_line_is_coloured() {
        let on = Colour { on: true };
        let text = "error: a note: b\nadvice\nnote: c";
        assert_eq!(on.lines(text), "\x1b[31merror:\x1b[0m a note: b\nadvice\n\x1b[33mnote:\x1b[0m c");
        assert_eq!(Colour::OFF.lines(text), text);
        assert_eq!(Colour::OFF.green("x"), "x");
    }
}
