//! Hosts as policy entries name them: one host, or all below a domain.

use url::{Host, Url};

use crate::identity::{PdsHost, is_domain_name};

/// `HOST`, `HOST:PORT` or `*.DOMAIN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    /// This host.
    One(PdsHost),
    /// Every host below the domain, and not the domain itself.
    Below(Domain),
}

/// The names below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domain(Box<str>);

/// Which ports of a host an entry without a port means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// Any: nobody gets around a block by naming another.
    Any,
    /// The scheme's own: who has another port of a host need not be whom the operator trusts.
    Usual,
}

impl HostPattern {
    /// Parses an entry; the error says what was expected.
    pub(super) fn parse(text: &str) -> Result<HostPattern, &'static str> {
        match text.strip_prefix("*.") {
            Some(domain) => Domain::parse(domain).map(HostPattern::Below),
            None => one_host(text).map(HostPattern::One).ok_or(
                "expected the name of a host, as in pds:pds.example.com, pds:pds.example.com:8443 or pds:*.example.com",
            ),
        }
    }

    /// Whether `host` is meant.
    pub(super) fn covers(&self, host: &PdsHost, ports: Ports) -> bool {
        match self {
            HostPattern::One(named) => {
                let same_port = match (named.port(), ports) {
                    (None, Ports::Any) => true,
                    (port, _) => port == host.port(),
                };
                same_port && named.name() == host.name()
            }
            HostPattern::Below(domain) => {
                domain.has_below(host.name()) && (ports == Ports::Any || host.port().is_none())
            }
        }
    }
}

impl Domain {
    /// Parses what stands after `*.`.
    pub(super) fn parse(text: &str) -> Result<Domain, &'static str> {
        let domain = text.to_ascii_lowercase();
        let names_some = is_domain_name(&format!("a.{domain}"));
        if names_some {
            Ok(Domain(domain.into()))
        } else {
            Err("expected a domain after *. and nothing else")
        }
    }

    /// Whether `name` is below the domain.
    pub(super) fn has_below(&self, name: &str) -> bool {
        name.strip_suffix(&*self.0).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
    }
}

fn one_host(text: &str) -> Option<PdsHost> {
    // An entry is a host and nothing around it, whatever else would make a URL.
    let around = |c: char| c.is_control() || "/@?#\\* %".contains(c);
    let bare = !text.is_empty() && !text.contains(around);
    let url = Url::parse(&format!("https://{text}/")).ok().filter(|_| bare)?;
    // One label is a name only in development (`localhost`, a container's).
    let is_name = match url.host()? {
        Host::Domain(name) => !name.ends_with('.'),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    PdsHost::of(&url).filter(|_| is_name)
}
