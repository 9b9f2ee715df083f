//! `completions` and `man`: what shells and manuals know of the commands, from the same definition as the help.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::error::CliError;
use super::output::Report;

/// The program's name, as it is typed.
const NAME: &str = "at-functions";

/// Print what your shell needs to complete commands and flags.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions completions bash > ~/.local/share/bash-completion/completions/at-functions
  at-functions completions zsh > ~/.zfunc/_at-functions
  at-functions completions fish > ~/.config/fish/completions/at-functions.fish

",
    exit_codes!()
))]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write the manual: a page for each command.
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions man ~/.local/share/man/man1
  man at-functions-deploy

",
    exit_codes!()
))]
pub(super) struct ManArgs {
    /// The folder to write into; it is made if it is not there
    dir: PathBuf,
}

/// Runs `completions`.
pub(super) fn completions(args: &CompletionsArgs) -> Report {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    Report::done(script)
}

/// Runs `man`.
pub(super) fn man(args: &ManArgs) -> Result<Report, CliError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Write { path, source }
    };
    std::fs::create_dir_all(&args.dir).map_err(unwritable(&args.dir))?;
    let mut pages = Vec::new();
    let mut program = Cli::command();
    program.build();
    collect(&program, NAME.to_owned(), &mut pages);
    for (name, page) in &pages {
        let path = args.dir.join(format!("{name}.1"));
        std::fs::write(&path, page).map_err(unwritable(&path))?;
    }
    Ok(Report::done(format!("{} pages in {}", pages.len(), super::home::shown(&args.dir))))
}

/// The page of a command and those of the commands below it.
fn collect(command: &Command, name: String, pages: &mut Vec<(String, Vec<u8>)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        collect(below, format!("{name}-{}", below.get_name()), pages);
    }
    let mut page = Vec::new();
    // A built command has its full name for display. Into memory, which does not fail.
    if clap_mangen::Man::new(command.clone()).render(&mut page).is_ok() {
        pages.push((name, page));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_is_told_of_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::Elvish, Shell::PowerShell] {
            let script = String::from_utf8(completions(&CompletionsArgs { shell }).text).unwrap();
            assert!(script.contains("rollback") && script.contains("same-version"), "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_flags_and_exit_codes() {
        let dir = tempfile::tempdir().unwrap();
        let into = dir.path().join("man1");
        man(&ManArgs { dir: into.clone() }).unwrap();
        let page = |name: &str| std::fs::read_to_string(into.join(name)).unwrap();
        assert!(page("at-functions.1").contains("rollback"));
        let deploy = page("at-functions-deploy.1");
        assert!(deploy.starts_with(".ie") && deploy.contains("same\\-version"), "{deploy}");
        assert!(deploy.contains("Exit codes"), "{deploy}");
        assert!(page("at-functions-did-check.1").contains("did\\-check"));
        let taken = dir.path().join("file");
        std::fs::write(&taken, "").unwrap();
        assert!(matches!(man(&ManArgs { dir: taken }), Err(CliError::Write { .. })));
    }
}
