//! Waiting until a service has the record that was just written: `deploy --wait` and `rollback --wait`.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::Tools;
use super::error::{CliError, Refusal, shown};
use super::output::{self, Exit, Report};
use super::session::Session;
use crate::identity::ServiceRef;

/// A service believes a record for half a minute; this is that with room.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether to wait, and for whom.
#[derive(Args)]
pub(super) struct WaitArgs {
    /// Wait until this service has the new record, at most 90 s; without =SERVICE, AT_FUNCTIONS_SERVICE
    #[arg(
        long,
        value_name = "SERVICE",
        num_args = 0..=1,
        require_equals = true,
        value_parser = super::invoke::service
    )]
    wait: Option<Option<ServiceRef>>,
    /// What `--wait` without a service waits for. It is set by the variable; `invoke` has the flag
    #[arg(long = "wait-service", env = "AT_FUNCTIONS_SERVICE", hide = true, value_parser = super::invoke::service)]
    service: Option<ServiceRef>,
}

/// How the waiting ended.
pub(super) enum Waited {
    /// Nobody asked for it.
    Not,
    /// The service has the record, and would run it for its author.
    Ready,
    /// It has the record, and would not run it: why.
    Refused(String),
}

impl WaitArgs {
    /// The service to wait for, known before anything is written.
    pub(super) fn service(&self) -> Result<Option<&ServiceRef>, CliError> {
        match &self.wait {
            None => Ok(None),
            Some(given) => match given.as_ref().or(self.service.as_ref()) {
                Some(service) => Ok(Some(service)),
                None => Err(CliError::setting(
                    "--wait",
                    "say for which service: --wait=did:web:functions.example.com, or set AT_FUNCTIONS_SERVICE",
                )),
            },
        }
    }
}

impl Report {
    /// With how the waiting ended.
    pub(super) fn and(self, waited: &Waited) -> Report {
        let (told, exit) = match waited {
            Waited::Not => return self,
            Waited::Ready => ("the service has it".to_owned(), self.exit),
            Waited::Refused(why) => (
                format!("error: it is written, but the service does not run it: {}", shown(why)),
                Exit::Refused,
            ),
        };
        let notes = if self.notes.is_empty() { told } else { format!("{}\n{told}", self.notes) };
        Report { notes, exit, ..self }
    }
}

/// What a service tells of a function; the rest is of no use here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    cid: String,
    #[serde(default)]
    refusal: Option<Told>,
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    error: String,
    #[serde(default)]
    message: String,
}

/// Asks `service`, through the author's PDS, until it describes the record `cid` at `uri`.
pub(super) async fn until_it_has(
    tools: &Tools,
    session: &Session,
    service: Option<&ServiceRef>,
    uri: &str,
    cid: &str,
) -> Result<Waited, CliError> {
    let Some(service) = service else { return Ok(Waited::Not) };
    let name = service.to_string();
    output::progress(&format!("waiting until {} has it ...", service.did));
    let pds = session.xrpc(&tools.http).through(&name);
    let asking = async {
        loop {
            let asked = pds.query("at.functions.describe", [("function", uri)]).await;
            match asked {
                Ok(Description { cid: found, refusal }) if found == cid => {
                    return Ok(match refusal {
                        None => Waited::Ready,
                        Some(Told { error, message }) => Waited::Refused(format!("{error}: {message}")),
                    });
                }
                Ok(_) => {}
                // That it cannot say so now does not mean that it never will.
                Err(CliError::Refused(refusal)) if may_pass(&refusal) => {}
                Err(CliError::Refused(refusal)) => return Ok(Waited::Refused(refusal.to_string())),
                Err(CliError::Unreachable { .. }) => {}
                Err(error) => return Err(error),
            }
            tokio::time::sleep(INTERVAL).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| {
        Ok(Waited::Refused(format!("it had another record after {} s", PATIENCE.as_secs())))
    })
}

/// The record is there, so a service that does not find it looked before.
fn may_pass(refusal: &Refusal) -> bool {
    matches!(refusal.status, 429 | 502..=504) || refusal.name == "FunctionNotFound"
}
