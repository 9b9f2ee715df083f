//! The program `at-functions`; all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Workers have nothing of what follows, not even a second thread.
    #[cfg(target_os = "linux")]
    if let Some(code) = at_functions::workers::process::main_of_worker() {
        return code;
    }
    at_functions::cli::main()
}
