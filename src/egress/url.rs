//! Which URLs the service may ask for, judged before anything is sent and again at every redirect.
//!
//! This is where IP literals are caught: an HTTP client does not ask its resolver about them.

use ::url::{Host, Url};

use super::address::Addresses;
use crate::identity::is_domain_name;

/// The longest URL that is asked for: a DID (2 KiB, percent-encoded) beside the longest collection and
/// record key fits.
const MAX_BYTES: usize = 8 * 1024;

/// Ports below this belong to well-known services other than HTTP, which no URL may reach.
const FIRST_FREE_PORT: u16 = 1024;

/// Names, and names under which every name is, that never belong to a host on the public internet:
/// RFC 6761, 6762 (`local`), 7686, 8375 (`home.arpa`), 9476 (`alt`), ICANN's `internal`, and the
/// ones that routers and office networks are known to use.
const PRIVATE_NAMES: [&str; 16] = [
    "alt",
    "arpa",
    "corp",
    "example",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "mail",
    "onion",
    "private",
    "test",
];

/// What this service may reach.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Checked at connect, and here for literals.
    pub(super) addresses: Addresses,
    /// Whether names of private networks and IP literals are taken.
    pub(super) private_names: bool,
    /// Whether `http:` is taken.
    pub(super) plain_http: bool,
}

impl Rules {
    /// The public internet, over https.
    pub(super) fn public() -> Rules {
        Rules { addresses: Addresses::Public, private_names: false, plain_http: false }
    }

    /// Any address or name, with or without TLS: development.
    pub(super) fn private_network() -> Rules {
        Rules { addresses: Addresses::Any, private_names: true, plain_http: true }
    }

    /// Whether a request to `url` may be sent.
    pub(super) fn check(&self, url: &Url) -> Result<(), BlockReason> {
        if url.as_str().len() > MAX_BYTES {
            return Err(BlockReason::TooLong);
        }
        let default_port = match url.scheme() {
            "https" => 443,
            "http" if self.plain_http => 80,
            _ => return Err(BlockReason::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BlockReason::Credentials);
        }
        if url.port().is_some_and(|port| port != default_port && port < FIRST_FREE_PORT) {
            return Err(BlockReason::Port);
        }
        match url.host() {
            Some(Host::Domain(name)) => self.check_name(name),
            Some(Host::Ipv4(address)) => self.check_literal(address.into()),
            Some(Host::Ipv6(address)) => self.check_literal(address.into()),
            None => Err(BlockReason::Host),
        }
    }

    /// Whether a redirect from `from` may be followed to `to`. TLS is never given up on the way.
    pub(super) fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), BlockReason> {
        if from.scheme() == "https" && to.scheme() != "https" {
            return Err(BlockReason::Scheme);
        }
        self.check(to)
    }

    fn check_name(&self, name: &str) -> Result<(), BlockReason> {
        if self.private_names {
            // A trailing dot would be a second spelling of one host.
            return if name.is_empty() || name.ends_with('.') { Err(BlockReason::Host) } else { Ok(()) };
        }
        let top = name.rsplit('.').next().unwrap_or_default();
        if is_domain_name(name) && !PRIVATE_NAMES.contains(&top) { Ok(()) } else { Err(BlockReason::Host) }
    }

    fn check_literal(&self, address: std::net::IpAddr) -> Result<(), BlockReason> {
        if self.private_names && self.addresses.allow(address) { Ok(()) } else { Err(BlockReason::Address) }
    }
}

/// Which rule a request broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockReason {
    /// An IP literal, or a name whose every address is outside public unicast.
    #[error("its address is not a public one")]
    Address,
    /// A user name or password in the URL.
    #[error("it carries credentials")]
    Credentials,
    /// A host that is no public domain name.
    #[error("its host is not a public domain name")]
    Host,
    /// A well-known port of something other than HTTP.
    #[error("its port belongs to another service")]
    Port,
    /// Not https, or a redirect from https to http.
    #[error("it is not https")]
    Scheme,
    /// A URL past any that is needed.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rules: &Rules, text: &str) -> Result<(), BlockReason> {
        rules.check(&Url::parse(text).unwrap())
    }

    #[test]
    fn only_https_to_public_names_is_allowed() {
        use BlockReason::*;
        let cases = [
            ("https://pds.example.com/xrpc/x?did=did:plc:a", Ok(())),
            ("https://pds.example.com:8443/", Ok(())),
            ("https://pds.example.com:443/", Ok(())),
            ("https://PDS.Example.COM/", Ok(())),
            ("https://bücher.example.com/", Ok(())),
            ("http://pds.example.com/", Err(Scheme)),
            ("ftp://pds.example.com/", Err(Scheme)),
            ("file:///etc/passwd", Err(Scheme)),
            ("gopher://pds.example.com/", Err(Scheme)),
            ("data:text/plain,x", Err(Scheme)),
            ("https://user@pds.example.com/", Err(Credentials)),
            ("https://:secret@pds.example.com/", Err(Credentials)),
            ("https://pds.example.com@169.254.169.254/", Err(Credentials)),
            ("https://pds.example.com:22/", Err(Port)),
            ("https://pds.example.com:80/", Err(Port)),
            ("https://pds.example.com:0/", Err(Port)),
            ("https://pds.example.com:1023/", Err(Port)),
            ("https://127.0.0.1/", Err(Address)),
            ("https://8.8.8.8/", Err(Address)),
            ("https://0x7f.1/", Err(Address)),
            ("https://2130706433/", Err(Address)),
            ("https://0177.0.0.1/", Err(Address)),
            ("https://127.1/", Err(Address)),
            ("https://127.0.0.1./", Err(Address)),
            ("https://%31%32%37.0.0.1/", Err(Address)),
            ("https://①②⑦.0.0.1/", Err(Address)),
            ("https://[::1]/", Err(Address)),
            ("https://[::ffff:127.0.0.1]/", Err(Address)),
            ("https://[2606:4700:4700::1111]/", Err(Address)),
            ("https://localhost/", Err(Host)),
            ("https://localhost:8443/", Err(Host)),
            ("https://a.localhost/", Err(Host)),
            ("https://printer.local/", Err(Host)),
            ("https://metadata.google.internal/", Err(Host)),
            ("https://router.home.arpa/", Err(Host)),
            ("https://wiki.corp/", Err(Host)),
            ("https://pds.test/", Err(Host)),
            ("https://pds/", Err(Host)),
            ("https://com/", Err(Host)),
            ("https://pds.example.com./", Err(Host)),
            ("https://pds..example.com/", Err(Host)),
            ("https://-pds.example.com/", Err(Host)),
            ("https://a_b.example.com/", Err(Host)),
        ];
        for (text, expected) in cases {
            assert_eq!(check(&Rules::public(), text), expected, "{text}");
        }
        let long = format!("https://pds.example.com/{}", "a".repeat(MAX_BYTES));
        assert_eq!(check(&Rules::public(), &long), Err(TooLong));
    }

    #[test]
    fn a_private_network_lifts_the_rules_of_address_and_tls_and_nothing_else() {
        use BlockReason::*;
        let cases = [
            ("http://localhost:2583/", Ok(())),
            ("http://pds:2583/", Ok(())),
            ("http://127.0.0.1:2583/", Ok(())),
            ("http://[::1]:2583/", Ok(())),
            ("https://10.0.0.1/", Ok(())),
            ("http://pds.test/", Ok(())),
            ("ftp://localhost/", Err(Scheme)),
            ("http://user@localhost/", Err(Credentials)),
            ("http://localhost:25/", Err(Port)),
            ("http://localhost:443/", Err(Port)),
            ("http://localhost./", Err(Host)),
        ];
        for (text, expected) in cases {
            assert_eq!(check(&Rules::private_network(), text), expected, "{text}");
        }
    }

    #[test]
    fn a_redirect_never_gives_up_tls_and_is_judged_like_a_request() {
        let url = |text: &str| Url::parse(text).unwrap();
        let cases = [
            ("https://a.com/", "https://b.com/", Ok(())),
            ("http://a.com/", "https://b.com/", Ok(())),
            ("http://a.com/", "http://b.com/", Ok(())),
            ("https://a.com/", "http://a.com/", Err(BlockReason::Scheme)),
            ("https://a.com/", "ftp://a.com/", Err(BlockReason::Scheme)),
            ("https://a.com/", "https://x@a.com/", Err(BlockReason::Credentials)),
        ];
        for (from, to, expected) in cases {
            let judged = Rules::private_network().check_redirect(&url(from), &url(to));
            assert_eq!(judged, expected, "{from} -> {to}");
        }
        let to_metadata =
            Rules::public().check_redirect(&url("https://a.com/"), &url("https://169.254.169.254/"));
        assert_eq!(to_metadata, Err(BlockReason::Address));
    }
}
