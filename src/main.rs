//! The program `at-functions`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    at_functions::cli::main()
}
