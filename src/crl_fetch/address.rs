//! Which addresses a URL out of a certificate may lead to. Anyone who can put a certificate before us chooses its
//! distribution points, and could make us ask a cloud's metadata service or a neighbour's console: so only what the
//! whole internet can reach is asked, unless the operator allows more.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Whether an address is globally routable, after the IANA special-purpose address registries (RFC 6890).
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_global_v4(address),
        IpAddr::V6(address) => is_global_v6(address),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        // This network, private use, shared address space (carrier-grade NAT), loopback, link-local.
        (0 | 10 | 127, ..) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, 6to4 relays, benchmarking.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18..=19, _) | (198, 51, 100) | (203, 0, 113)
        // Multicast, reserved, broadcast.
        | (224..=255, ..)
    )
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let octets = address.octets();
    let [a, b, ..] = address.segments();
    // NAT64 (RFC 6052): what it leads to is the address that it holds.
    if let [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, held @ ..] = octets {
        return is_global_v4(Ipv4Addr::from(held));
    }
    let global_unicast = (0x2000..0x4000).contains(&a);
    // Protocol assignments (Teredo, ORCHID, benchmarking), documentation, 6to4, documentation.
    let special = (a == 0x2001 && (b < 0x200 || b == 0xdb8)) || a == 0x2002 || (a == 0x3fff && b < 0x1000);
    global_unicast && !special
}

/// An address that is not globally routable was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotGlobal {
    /// The host of the URL.
    pub host: String,
    /// What it is, or resolves to; none for a name that belongs to no host.
    pub address: Option<IpAddr>,
}

impl fmt::Display for NotGlobal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} leads to {address}, which is not globally routable", self.host),
            None => write!(f, "{} is not a host of the internet", self.host),
        }
    }
}

/// What can be said of a URL's host before anything is resolved.
pub(super) fn check_literal(url: &Url) -> Result<(), NotGlobal> {
    let literal = |address: IpAddr| {
        let refused = NotGlobal { host: address.to_string(), address: Some(address) };
        if is_global(address) { Ok(()) } else { Err(refused) }
    };
    match url.host() {
        // Every way of writing 127.0.0.1 (2130706433, 0x7f.1) was made an address when the URL was read.
        Some(Host::Ipv4(address)) => literal(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => literal(IpAddr::V6(address)),
        Some(Host::Domain(name)) => {
            let bare = name.trim_end_matches('.').to_ascii_lowercase();
            // Names that belong to no host (RFC 6761, 6.3 and 6.4): no resolver needs to be asked.
            let nobodys = [("localhost", ".localhost"), ("invalid", ".invalid")]
                .iter()
                .any(|(whole, end)| bare == *whole || bare.ends_with(end));
            if nobodys { Err(NotGlobal { host: bare, address: None }) } else { Ok(()) }
        }
        None => Err(NotGlobal { host: "(no host)".into(), address: None }),
    }
}

/// The system's resolver, of whose answers only globally routable ones are connected to: what is judged is the address
/// that the connection goes to, so a name that changes between two questions gains nothing.
pub(super) struct GlobalOnly;

impl Resolve for GlobalOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let global: Vec<SocketAddr> = found.iter().copied().filter(|found| is_global(found.ip())).collect();
            match (global.is_empty(), found.first()) {
                (true, Some(first)) => {
                    Err(Box::new(NotGlobal { host, address: Some(first.ip()) }) as Box<dyn Error + Send + Sync>)
                }
                _ => Ok(Box::new(global.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_internet_routes_is_global() {
        for special in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!is_global(special.parse().unwrap()), "{special}");
        }
        for global in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00:1450::1",
            "3fff:1000::1",
        ] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
    }

    #[test]
    fn every_way_of_writing_this_machine_is_seen_through() {
        for url in [
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://169.254.169.254/latest/meta-data",
        ] {
            assert!(check_literal(&url.parse().unwrap()).is_err(), "{url}");
        }
        // A host in other digits is not a URL.
        assert!("http://１２７.0.0.1/".parse::<Url>().is_err());
        for url in ["http://crl3.digicert.com/x.crl", "http://8.8.8.8/", "http://localhost.example.com/"] {
            check_literal(&url.parse().unwrap()).unwrap();
        }
    }
}
