//! `login --oauth` while it waits for the browser.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

use super::super::accounts::Person;

/// The command, from its start to its end.
pub(super) struct Login {
    process: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    /// The link that it shows.
    pub(super) page: String,
}

impl Login {
    /// Starts it, and waits until it shows the link.
    pub(super) async fn start(person: &Person<'_>, arguments: &[&str]) -> Login {
        let all = [&["login", "--oauth", "--no-browser", "--json"], arguments].concat();
        let mut command = person.command(&all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the binary was built with this test");
        let mut stderr = BufReader::new(process.stderr.take().expect("stderr is piped")).lines();
        let mut told = Vec::new();
        let page = loop {
            let line = stderr.next_line().await.expect("text");
            let line = line.unwrap_or_else(|| panic!("it ended before it showed a link: {told:?}"));
            match line.strip_prefix("  http") {
                Some(rest) => break format!("http{rest}"),
                None => told.push(line),
            }
        };
        Login { process, stderr, page }
    }

    /// Ctrl-C.
    pub(super) fn interrupt(&self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("it runs");
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("a child can be signalled");
    }

    /// What it came to; stderr from the link on.
    pub(super) async fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        let mut rest = self.stderr.into_inner();
        let mut stdout = Vec::new();
        let mut out = self.process.stdout.take().expect("stdout is piped");
        let (read, also) = tokio::join!(rest.read_to_end(&mut stderr), out.read_to_end(&mut stdout));
        read.and(also).expect("it can be read");
        let status = self.process.wait().await.expect("it ends");
        Output { status, stdout, stderr }
    }
}
