//! `at-functions health`: whether a service on this machine is ready, for container health checks
//! (slim images have no curl).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::error::{CliError, Unreachable};
use super::output::{Report, printable};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask the service on this machine whether it is ready (exit code 0 when it is)
#[derive(Debug, clap::Args)]
#[command(after_help = concat!(
    "\
Examples:
  at-functions health
  at-functions health --admin-listen 127.0.0.1:3001 && echo it is

",
    exit_codes!()
))]
pub(super) struct HealthArgs {
    /// Where the service answers /readyz
    #[arg(
        long,
        env = "AT_FUNCTIONS_ADMIN_LISTEN",
        default_value = "127.0.0.1:3001",
        value_name = "ADDR:PORT"
    )]
    admin_listen: SocketAddr,
}

/// Asks once.
pub(super) fn run(args: &HealthArgs) -> Result<Report, CliError> {
    let mut address = args.admin_listen;
    if address.ip().is_unspecified() {
        // The service listens everywhere; here is the nearest of those places.
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    let host = address.to_string();
    let answer =
        ask(address).map_err(|_| CliError::Unreachable { host: host.clone(), why: Unreachable::Connect })?;
    if answer.starts_with("HTTP/1.1 200") {
        Ok(Report::done("ready"))
    } else {
        Err(CliError::Unusable { host, why: why(&answer) })
    }
}

/// The reasons that the service gives, or else how its answer begins.
fn why(answer: &str) -> String {
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let told: Value = serde_json::from_str(body).unwrap_or_default();
    let reasons = told["reasons"].as_array().into_iter().flatten();
    let reasons: Vec<String> = reasons
        .filter_map(|reason| Some(format!("{}: {}", reason["part"].as_str()?, reason["why"].as_str()?)))
        .collect();
    match reasons.is_empty() {
        true => printable(answer.lines().next().unwrap_or("nothing")),
        false => printable(&format!("it is not ready ({})", reasons.join("; "))),
    }
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_a_service_are_told_and_else_how_its_answer_begins() {
        let body =
            r#"{"ready":false,"reasons":[{"part":"sandbox","why":"not yet"},{"part":"store","why":"full"}]}"#;
        let answer =
            format!("HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\r\n{body}");
        assert_eq!(why(&answer), "it is not ready (sandbox: not yet; store: full)");
        assert_eq!(why("HTTP/1.1 404 Not Found\r\n\r\nnothing"), "HTTP/1.1 404 Not Found");
        assert_eq!(why(""), "nothing");
    }
}
