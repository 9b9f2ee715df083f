//! The door of a run that may read: the service's own, with a way out and memory that are gone with
//! the command.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::runtime::Handle;
use url::Url;

use crate::cli::error::CliError;
use crate::cli::files::Scratch;
use crate::cli::locate::{PlcArgs, origin};
use crate::clock::Clock;
use crate::config::UndeclaredReads;
use crate::door::RunDoor;
use crate::egress::{Egress, EgressConfig};
use crate::identity::{Did, Resolver, ResolverConfig};
use crate::policy::Reads;
use crate::registry::Registry;
use crate::repo::RevFloor;

/// Longer than any run: what was read once is not read again.
const TTL: Duration = Duration::from_secs(3600);

/// Whether and how a run reads.
#[derive(Args)]
#[command(next_help_heading = "Network")]
pub(super) struct OnlineArgs {
    /// Let it read from the network what --allow or the project allows
    #[arg(long)]
    pub(super) online: bool,
    #[command(flatten)]
    plc: PlcArgs,
    /// A service whose com.atproto.identity.resolveHandle is asked about handles, in place of DNS and
    /// well-known
    #[arg(long, value_name = "URL", value_parser = origin)]
    handle_resolver: Option<Url>,
    /// Also read from private addresses and over plain http: for development
    #[arg(long)]
    allow_private_network: bool,
}

/// A service's door, and the directory that goes away with this value. Not with the door: that is in the
/// sandbox's hands, and a command that is interrupted does not wait for the sandbox.
pub(super) struct Online {
    pub(super) door: Arc<RunDoor>,
    _scratch: Scratch,
}

impl Online {
    /// The door of a function by `author` whose `allowedHosts` are `allowed`; without any, it may read all that is public.
    pub(super) fn open(
        args: &OnlineArgs,
        author: Did,
        allowed: Option<&[String]>,
    ) -> Result<Online, CliError> {
        let failed = |error: &dyn std::fmt::Display| CliError::Sandbox(error.to_string());
        let scratch = Scratch::make().map_err(|error| failed(&error))?;
        let revs = RevFloor::open(&revs(&scratch)).map_err(|error| failed(&error))?;
        let clock = Clock::system();
        let way_out = || Egress::new(EgressConfig { allow_private_network: args.allow_private_network });
        let config = ResolverConfig {
            plc_url: args.plc.plc_url.clone(),
            handle_resolver: args.handle_resolver.clone(),
            allow_localhost: args.allow_private_network,
        };
        let to_identities = way_out().map_err(|error| failed(&error))?;
        let to_repos = way_out().map_err(|error| failed(&error))?;
        let resolver = Arc::new(Resolver::new(config, to_identities, clock.clone()));
        let registry = Registry::new(resolver, to_repos, Arc::new(revs), clock, TTL, TTL);
        let reads = Reads::of(allowed, UndeclaredReads::Any);
        let door = Arc::new(RunDoor::new(registry, reads, author, Handle::current()));
        Ok(Online { door, _scratch: scratch })
    }
}

fn revs(scratch: &Scratch) -> PathBuf {
    scratch.path().join("revs.redb")
}
