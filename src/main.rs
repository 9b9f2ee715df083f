//! The program `at-functions`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Workers have nothing of what follows, not even a second thread.
    at_functions::workers::process::main_of_worker().unwrap_or_else(at_functions::cli::main)
}
