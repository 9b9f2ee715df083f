//! Which addresses the service may talk to.
//!
//! `IpAddr::is_global` is not stable, so the ranges stand here, from the IANA registries
//! "IPv4 Special-Purpose Address Space", "IPv6 Special-Purpose Address Space" (RFC 6890) and
//! "IPv6 Global Unicast Address Assignments". When in doubt an address is refused.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where connections may go.
#[derive(Clone, Debug)]
pub(super) enum Addresses {
    /// Public unicast addresses only.
    Public,
    /// Anything: the operator lifted the rule for development.
    Any,
    /// Exactly these, so that a test can put "public" and "private" hosts on loopback.
    #[cfg(test)]
    Only(Vec<IpAddr>),
}

impl Addresses {
    /// Whether a connection to `address` may be made.
    pub(super) fn allow(&self, address: IpAddr) -> bool {
        match self {
            Addresses::Public => is_public_unicast(address),
            Addresses::Any => true,
            #[cfg(test)]
            Addresses::Only(allowed) => allowed.contains(&address),
        }
    }
}

/// IPv4 networks that are not public unicast, as (first address, prefix length).
const REFUSED_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),       // "this network" (RFC 791)
    ([10, 0, 0, 0], 8),      // private (RFC 1918)
    ([100, 64, 0, 0], 10),   // carrier-grade NAT (RFC 6598)
    ([127, 0, 0, 0], 8),     // loopback (RFC 1122)
    ([169, 254, 0, 0], 16),  // link-local, cloud metadata (RFC 3927)
    ([172, 16, 0, 0], 12),   // private (RFC 1918)
    ([192, 0, 0, 0], 24),    // protocol assignments (RFC 6890)
    ([192, 0, 2, 0], 24),    // documentation (RFC 5737)
    ([192, 31, 196, 0], 24), // AS112 sink (RFC 7535)
    ([192, 88, 99, 0], 24),  // 6to4 relays (RFC 7526)
    ([192, 168, 0, 0], 16),  // private (RFC 1918)
    ([198, 18, 0, 0], 15),   // benchmarks (RFC 2544)
    ([198, 51, 100, 0], 24), // documentation (RFC 5737)
    ([203, 0, 113, 0], 24),  // documentation (RFC 5737)
    ([224, 0, 0, 0], 4),     // multicast (RFC 5771)
    ([240, 0, 0, 0], 4),     // reserved, broadcast (RFC 1112)
];

/// The only IPv6 network in which unicast addresses have been given out.
const GLOBAL_UNICAST_V6: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is not public unicast inside [`GLOBAL_UNICAST_V6`].
const REFUSED_V6: [([u16; 8], u32); 5] = [
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23), // protocol assignments: Teredo, ORCHID, benchmarks
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32), // documentation (RFC 3849)
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16), // 6to4 carries an IPv4 address (RFC 3056)
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48), // AS112 sink (RFC 7534)
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20), // documentation (RFC 9637)
];

/// Whether `address` is one that a host on the public internet may have.
///
/// An IPv4-mapped address is judged as the IPv4 address that a socket would really reach. The
/// other forms that carry one (compatible, translated, NAT64, 6to4, Teredo) are refused whole.
pub(super) fn is_public_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    let within = |(first, prefix): &([u8; 4], u32)| {
        (bits ^ Ipv4Addr::from_octets(*first).to_bits()) >> (32 - prefix) == 0
    };
    !REFUSED_V4.iter().any(within)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let within = |(first, prefix): &([u16; 8], u32)| {
        (bits ^ Ipv6Addr::from_segments(*first).to_bits()) >> (128 - prefix) == 0
    };
    within(&GLOBAL_UNICAST_V6) && !REFUSED_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(text: &str) -> bool {
        is_public_unicast(text.parse().unwrap())
    }

    #[test]
    fn the_edges_of_every_refused_network_are_refused_and_their_neighbours_are_not() {
        // (last address before, first in, last in, first address after); "" = there is no public neighbour.
        let networks = [
            ["", "0.0.0.0", "0.255.255.255", "1.0.0.0"],
            ["9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"],
            ["100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0"],
            ["126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0"],
            ["169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0"],
            ["172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"],
            ["191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0"],
            ["192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"],
            ["192.31.195.255", "192.31.196.0", "192.31.196.255", "192.31.197.0"],
            ["192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0"],
            ["192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0"],
            ["198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0"],
            ["198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0"],
            ["203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0"],
            ["223.255.255.255", "224.0.0.0", "239.255.255.255", ""],
            ["", "240.0.0.0", "255.255.255.255", ""],
            ["", "::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""],
            ["2000:ffff:ffff::", "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"],
            ["2001:db7:ffff::", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"],
            ["2001:ffff:ffff::", "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"],
            ["2620:4f:7fff::", "2620:4f:8000::", "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", "2620:4f:8001::"],
            ["3ffe:ffff:ffff::", "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"],
            ["3fff:ffff:ffff::", "4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""],
        ];
        for [before, first, last, after] in networks {
            for refused in [first, last] {
                assert!(!public(refused), "{refused}");
            }
            for neighbour in [before, after].into_iter().filter(|a| !a.is_empty()) {
                assert!(public(neighbour), "{neighbour}");
            }
        }
    }

    #[test]
    fn addresses_that_hide_an_ipv4_address_do_not_get_it_past_the_rule() {
        let refused = [
            "::1",                    // loopback
            "::ffff:127.0.0.1",       // mapped
            "::ffff:169.254.169.254", // mapped, metadata
            "::ffff:0:127.0.0.1",     // translated (RFC 2765)
            "::127.0.0.1",            // compatible
            "::8.8.8.8",              // compatible, public inside
            "64:ff9b::7f00:1",        // NAT64
            "64:ff9b::808:808",       // NAT64, public inside
            "64:ff9b:1::7f00:1",      // local NAT64
            "2002:7f00:1::",          // 6to4
            "2001:0:7f00:1::",        // Teredo
            "fe80::1",                // link-local
            "fe80::5efe:7f00:1",      // ISATAP
            "fec0::1",                // site-local
            "fc00::1",                // unique local
            "fd12:3456::1",           // unique local
            "fd00:ec2::254",          // metadata
            "ff02::1",                // multicast
            "100::1",                 // discard
            "5f00::1",                // segment routing
        ];
        for text in refused {
            assert!(!public(text), "{text}");
        }
        for text in ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"] {
            assert!(public(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_the_standard_library_calls_special_never_passes(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let special = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast()
                || v4.is_documentation() || v4.is_multicast() || v4.is_unspecified();
            prop_assert!(!(special && is_public_unicast(v4.into())));
            prop_assert_eq!(is_public_unicast(v4.into()), is_public_unicast(v4.to_ipv6_mapped().into()));
            prop_assert!(!is_public_unicast(v4.to_ipv6_compatible().into()));
        }

        #[test]
        fn no_ipv6_address_outside_the_assigned_unicast_space_passes(bits: u128) {
            let v6 = Ipv6Addr::from_bits(bits);
            if v6.segments()[0] >> 13 != 1 && v6.to_ipv4_mapped().is_none() {
                prop_assert!(!is_public_unicast(v6.into()));
            }
            let special = v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_multicast();
            prop_assert!(!(special && is_public_unicast(v6.into())));
        }

        #[test]
        fn an_address_within_any_refused_network_is_refused(network in 0..REFUSED_V4.len(), low: u32) {
            let (first, prefix) = REFUSED_V4[network];
            let address = Ipv4Addr::from_bits(Ipv4Addr::from_octets(first).to_bits() | low >> prefix);
            prop_assert!(!is_public_unicast(address.into()));
        }

        #[test]
        fn an_ipv6_address_within_any_refused_network_is_refused(network in 0..REFUSED_V6.len(), low: u128) {
            let (first, prefix) = REFUSED_V6[network];
            let address = Ipv6Addr::from_bits(Ipv6Addr::from_segments(first).to_bits() | low >> prefix);
            prop_assert!(!is_public_unicast(address.into()));
        }
    }
}
