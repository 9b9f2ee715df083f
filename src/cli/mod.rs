//! The commands: `serve` and `dev` for operators, the rest for authors and callers.
//!
//! In: arguments, variables, files. Out: text for people, `--json` for scripts, an exit code.
//! Never: give an author's credentials to anything but the author's PDS.
