//! The commands: `serve` and `dev` for operators, the rest for authors and callers.
//!
//! In: arguments, variables, files. Out: text for people, `--json` for scripts, an exit code.
//! Never: give an author's credentials to anything but the author's PDS and the authorization server that it names.
//!
//! A command is a function from its arguments to a `Report`; only this file prints one. What
//! goes wrong is a `CliError`, whose exit code and advice stand beside it.

/// The exit codes, as help texts show them. Before the modules, which use it too.
macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    done; for `invoke`: the service answered `ok: true`
  1    refused or failed: by the function, the service, the PDS, or a `no` at the question
  2    wrong usage: flags, variables, files, credentials that are not given
  3    no usable answer: the network failed, or HTTP 429, 502, 503, 504; trying again may help
  130  interrupted (Ctrl-C)"
    };
}

mod accounts;
mod advice;
mod anatomy;
mod ask;
mod audit;
mod build;
mod changes;
mod check;
mod client;
mod colour;
mod credential;
mod delete;
mod deploy;
mod deployed;
mod describe;
mod described;
mod dev;
mod did;
mod did_check;
mod error;
mod files;
mod grants;
mod guest;
mod health;
mod home;
mod invoke;
mod lexicons;
mod limits;
mod list;
mod local;
mod locate;
mod manual;
mod new;
mod output;
mod output_schema;
mod private_files;
mod progress;
mod project;
mod put;
mod record;
mod rollback;
mod run;
mod schemas;
mod serve;
mod session;
mod target;
mod templates;
mod txt;
mod unbroken;
mod upload;
mod usage;
mod verdict;
mod waiting;
mod wasm;
mod way;
mod wrap;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::client::Http;
use self::error::CliError;
use self::home::Home;
use self::output::{Exit, Report};
use self::unbroken::Unbroken;
use crate::clock::Clock;

/// Functions that live in AT Protocol repos: try, deploy, call and look at them.
#[derive(Parser)]
#[command(
    name = "at-functions",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = exit_codes!(),
    after_long_help = concat!(
        "\
Examples:
  at-functions login alice.example.com
  export AT_FUNCTIONS_SERVICE=did:web:functions.example.com#at_functions
  at-functions new my-function
  at-functions deploy echo.wasm --name echo
  at-functions list
  at-functions run echo.wasm --input '{\"a\": 1}'
  at-functions invoke at://alice.example.com/at.functions.metadata/echo --input '{\"a\": 1}'

Credentials: `at-functions login` opens your PDS's page in the browser once, or asks for an app
password (--app-password), and keeps the session. In scripts the handle comes from
AT_FUNCTIONS_HANDLE and the password from AT_FUNCTIONS_PASSWORD or --password-file, never from the
command line. It goes to your own PDS alone.

",
        exit_codes!(),
    ),
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Each variant's help is the comment on its arguments: one here would hide that.
#[derive(Subcommand)]
enum Command {
    Serve(Box<serve::ServeArgs>),
    Dev(Box<dev::DevArgs>),
    New(Box<new::NewArgs>),
    Build(Box<build::BuildCommandArgs>),
    Login(Box<accounts::LoginCommand>),
    Logout(Box<accounts::LogoutArgs>),
    Accounts(Box<accounts::AccountsArgs>),
    Deploy(Box<deploy::DeployArgs>),
    Rollback(Box<rollback::RollbackArgs>),
    Invoke(Box<invoke::InvokeArgs>),
    List(Box<list::ListArgs>),
    Describe(Box<describe::DescribeArgs>),
    Delete(Box<delete::DeleteArgs>),
    Grant(Box<grants::GrantArgs>),
    Ungrant(Box<grants::UngrantArgs>),
    Grants(Box<grants::GrantsArgs>),
    Check(Box<check::CheckArgs>),
    Run(Box<run::RunArgs>),
    Health(health::HealthArgs),
    Did(Box<did::DidArgs>),
    Audit(Box<audit::AuditArgs>),
    Lexicon(Box<lexicons::LexiconArgs>),
    Completions(manual::CompletionsArgs),
    Man(manual::ManArgs),
}

/// What the commands of authors and callers reach the world through.
#[derive(Clone)]
struct Tools {
    http: Http,
    clock: Clock,
    /// Where things are kept, if anything says where.
    home: Option<Home>,
    /// What is let end, though the command is interrupted.
    unbroken: Unbroken,
}

/// The program: reads the arguments, runs the command, prints what comes of it.
pub fn main() -> ExitCode {
    let command = match Cli::parse().command {
        Command::Serve(args) => return service(serve::run(*args)).into(),
        Command::Dev(args) => return service(dev::run(*args)).into(),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::finish(Err(CliError::Runtime(error))).into(),
    };
    let exit = runtime.block_on(interruptible(command));
    // A question that still waits for an answer on stdin must not hold the exit up.
    runtime.shutdown_background();
    exit.into()
}

/// What comes of a command that stays up until it is told to stop.
fn service(ended: anyhow::Result<()>) -> Exit {
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            output::note(&format!("error: {error:#}"));
            // A service that does not start was given something wrong: a setting, an address, a directory.
            Exit::Usage
        }
    }
}

async fn interruptible(command: Command) -> Exit {
    let unbroken = Unbroken::default();
    let exit = tokio::select! {
        // First, so that it is listened for before the command does anything.
        biased;
        Ok(()) = tokio::signal::ctrl_c() => {
            output::note("interrupted");
            Exit::Interrupted
        }
        outcome = run(command, unbroken.clone()) => output::finish(outcome),
    };
    // Also after a command that ended by itself: one that waited with a limit leaves work behind too.
    unbroken.ended().await;
    exit
}

async fn run(command: Command, unbroken: Unbroken) -> Result<Report, CliError> {
    let tools = Tools { http: Http::new()?, clock: Clock::system(), home: Home::of_user(), unbroken };
    match command {
        // These two stay up, and are taken before.
        Command::Serve(_) | Command::Dev(_) => Ok(Report::done("")),
        Command::Health(args) => health::run(&args),
        Command::New(args) => new::new(&args),
        Command::Build(args) => build::build(*args).await,
        Command::Login(args) => accounts::login(&tools, *args).await,
        Command::Logout(args) => accounts::logout(&tools, *args).await,
        Command::Accounts(args) => accounts::accounts(&tools, *args).await,
        Command::Deploy(args) => deploy::deploy(&tools, *args).await,
        Command::Rollback(args) => rollback::rollback(&tools, *args).await,
        Command::Invoke(args) => invoke::invoke(&tools, *args).await,
        Command::List(args) => list::list(&tools, *args).await,
        Command::Describe(args) => describe::describe(&tools, *args).await,
        Command::Delete(args) => delete::delete(&tools, *args).await,
        Command::Grant(args) => grants::grant(&tools, *args).await,
        Command::Ungrant(args) => grants::ungrant(&tools, *args).await,
        Command::Grants(args) => grants::grants(&tools, *args).await,
        Command::Check(args) => check::check(*args).await,
        Command::Run(args) => run::run(*args).await,
        Command::Did(args) => did::did(&tools, *args).await,
        Command::Audit(args) => audit::run(*args).await,
        Command::Lexicon(args) => lexicons::lexicon(&tools, *args).await,
        Command::Completions(args) => Ok(manual::completions(&args)),
        Command::Man(args) => manual::man(&args),
    }
}

/// Parses the arguments of one command, for tests.
#[cfg(test)]
fn parse(arguments: &[&str]) -> Result<Command, clap::Error> {
    Cli::try_parse_from([&["at-functions"], arguments].concat()).map(|cli| cli.command)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn the_definition_of_the_arguments_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_misspelt_flag_is_answered_with_the_right_one() {
        let error = parse(&["deploy", "a.wasm", "--nam", "echo"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::UnknownArgument);
        assert!(error.to_string().contains("--name"), "{error}");
        let error = parse(&["deplyo"]).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidSubcommand);
        assert!(error.to_string().contains("deploy"), "{error}");
    }

    #[test]
    fn no_command_takes_a_password_as_an_argument() {
        for command in Cli::command().get_subcommands() {
            for argument in command.get_arguments() {
                let long = argument.get_long().unwrap_or_default();
                let takes_one = long.contains("password") && argument.get_action().takes_values();
                assert!(!takes_one || long == "password-file", "{long}");
                assert_ne!(argument.get_env().and_then(|e| e.to_str()), Some("AT_FUNCTIONS_PASSWORD"));
            }
        }
    }
}
