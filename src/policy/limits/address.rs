//! Whose address a request comes from, where a front may stand before the service.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// The networks of the fronts whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A network, as an address and the bits of it that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// What is no list of networks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a network; expected ADDRESS/BITS or ADDRESS, several with commas, such as \"127.0.0.1, 10.0.0.0/8\""
)]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// The address that a request came from: that of the peer; or, where the peer is a trusted front, what
    /// it says. `forwarded` are the values of its `X-Forwarded-For`, in their order: each front appends who
    /// it was asked by, so they are read from the right, as far as those who wrote them are trusted. What
    /// stands left of that anybody may have made up.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        let mut said = forwarded.rev().flat_map(|value| value.rsplit(','));
        while self.include(client) {
            let Some(next) = said.next().and_then(address) else { break };
            client = next;
        }
        client
    }

    fn include(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.includes(address))
    }
}

/// The address that stands for all that its holder has: an IPv6 holder is given 64 bits and more.
pub fn one_holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// An address as fronts write it: some with the port.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse().ok().or_else(|| Some(text.parse::<std::net::SocketAddr>().ok()?.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            None => (text, None),
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Network { address, bits })
    }

    fn includes(&self, other: IpAddr) -> bool {
        let shared =
            |differing: u128, width: u32| differing.leading_zeros() - (128 - width) >= self.bits.into();
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => shared(u128::from(a.to_bits() ^ b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => shared(a.to_bits() ^ b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<TrustedProxies, InvalidNetwork> {
        let network = |part: &str| {
            Network::parse(part.trim()).ok_or_else(|| InvalidNetwork(part.trim().chars().take(100).collect()))
        };
        text.split(',').map(network).collect::<Result<_, _>>().map(TrustedProxies)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Network { address, bits }) in self.0.iter().enumerate() {
            write!(f, "{}{address}/{bits}", if n == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TrustedProxies, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn who_asks_is_the_last_whom_no_trusted_front_speaks_for() {
        let fronts = "127.0.0.1, 10.0.0.0/8, fd00::/8";
        let cases: [(&str, &[&str], &str); 16] = [
            // No front, so nobody is believed.
            ("192.0.2.1", &["203.0.113.7"], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("127.0.0.1", &["203.0.113.7"], "203.0.113.7"),
            ("127.0.0.2", &["203.0.113.7"], "127.0.0.2"),
            // What a client wrote itself stands on the left.
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["10.0.0.9, 203.0.113.7"], "203.0.113.7"),
            ("10.0.0.1", &["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
            ("10.0.0.1", &["198.51.100.1", "203.0.113.7,10.0.0.2", " 10.1.2.3 "], "203.0.113.7"),
            // All of them are fronts: then the first asked.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // What is no address ends it.
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            // As fronts write them.
            ("fd00::1", &["203.0.113.7:4711"], "203.0.113.7"),
            ("fd00::1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            ("fd00::1", &["[2001:db8::7]"], "2001:db8::7"),
            // One address in two spellings.
            ("::ffff:10.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7"),
        ];
        let fronts: TrustedProxies = fronts.parse().unwrap();
        for (peer, forwarded, client) in cases {
            assert_eq!(
                fronts.client(ip(peer), forwarded.iter().copied()),
                ip(client),
                "{peer} {forwarded:?}"
            );
        }
        assert_eq!(
            TrustedProxies::default().client(ip("127.0.0.1"), ["203.0.113.7"].into_iter()),
            ip("127.0.0.1")
        );
    }

    #[test]
    fn networks_are_compared_by_the_bits_that_count() {
        let cases = [
            ("0.0.0.0/0", "203.0.113.7", true),
            ("0.0.0.0/0", "::1", false),
            ("203.0.113.0/25", "203.0.113.127", true),
            ("203.0.113.0/25", "203.0.113.128", false),
            ("203.0.113.7/32", "203.0.113.6", false),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/33", "2001:db8:7fff::1", true),
            ("2001:db8::/33", "2001:db8:8000::1", false),
        ];
        for (network, address, included) in cases {
            assert_eq!(
                network.parse::<TrustedProxies>().unwrap().include(ip(address)),
                included,
                "{network} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0/8", "localhost", "10.0.0.0/", "10.0.0.1,", "10.0.0.0/-1"]
        {
            let error = text.parse::<TrustedProxies>().unwrap_err().to_string();
            assert!(error.contains("10.0.0.0/8"), "{error}");
        }
        let text = "127.0.0.1/32, fd00::/8";
        assert_eq!(text.parse::<TrustedProxies>().unwrap().to_string(), text);
    }

    #[test]
    fn all_that_one_holder_has_is_one() {
        let cases = [
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", "2001:db8:0:1::"),
            ("2001:db8:0:2::1", "2001:db8:0:2::"),
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
        ];
        for (address, holder) in cases {
            assert_eq!(one_holder(ip(address)), ip(holder));
        }
    }
}
