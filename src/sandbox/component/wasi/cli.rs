//! `wasi:cli`: a program without arguments, environment, input or terminal.

use wasmtime::component::Resource;

use super::of_nothing;
use crate::sandbox::component::bindings::wasi::cli::terminal_input::{HostTerminalInput, TerminalInput};
use crate::sandbox::component::bindings::wasi::cli::terminal_output::{HostTerminalOutput, TerminalOutput};
use crate::sandbox::component::bindings::wasi::cli::{
    environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
    terminal_stdin, terminal_stdout,
};
use crate::sandbox::component::state::{Nothing, Stream};
use crate::sandbox::guest::{Guest, Stop};
use crate::sandbox::{Failure, Outcome};

impl environment::Host for Guest {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(Vec::new())
    }

    fn get_arguments(&mut self) -> wasmtime::Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn initial_cwd(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(None)
    }
}

impl exit::Host for Guest {
    fn exit(&mut self, status: Result<(), ()>) -> wasmtime::Result<()> {
        self.exit_with_code(u8::from(status.is_err()))
    }

    /// Whatever the code is: who exits has not answered.
    fn exit_with_code(&mut self, code: u8) -> wasmtime::Result<()> {
        let message = format!("the function exited with code {code} before it answered (wasi:cli/exit)");
        Err(Stop(Failure::new(Outcome::GuestError, message)).into())
    }
}

impl stdin::Host for Guest {
    fn get_stdin(&mut self) -> wasmtime::Result<Resource<Nothing>> {
        self.component.push(Nothing)
    }
}

impl stdout::Host for Guest {
    fn get_stdout(&mut self) -> wasmtime::Result<Resource<Stream>> {
        self.component.push(Stream::Stdout)
    }
}

impl stderr::Host for Guest {
    fn get_stderr(&mut self) -> wasmtime::Result<Resource<Stream>> {
        self.component.push(Stream::Stderr)
    }
}

impl terminal_input::Host for Guest {}
impl terminal_output::Host for Guest {}

of_nothing! {
    HostTerminalInput for TerminalInput {}
    HostTerminalOutput for TerminalOutput {}
}

impl terminal_stdin::Host for Guest {
    fn get_terminal_stdin(&mut self) -> wasmtime::Result<Option<Resource<TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Guest {
    fn get_terminal_stdout(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Guest {
    fn get_terminal_stderr(&mut self) -> wasmtime::Result<Option<Resource<TerminalOutput>>> {
        Ok(None)
    }
}
