//! The lines that a user adds to a server's configuration, with the target's own link in them.

use std::path::Path;

use crate::settings::resolved::Kind;
use crate::targets::{apache, envoy, haproxy, java, nginx};

/// What is to be added for a server of this kind, where it is known.
#[must_use]
pub fn of(kind: Kind, link: &Path) -> Option<String> {
    match kind {
        Kind::Nginx => Some(format!("{}\n{}", nginx::snippet::http(link), nginx::snippet::server(link))),
        Kind::Apache => Some(apache::virtual_host(link)),
        Kind::Haproxy => Some(format!("{}\n{}", haproxy::snippet::bind(link), haproxy::snippet::frontend(link))),
        Kind::Envoy => Some(envoy::lines(link)),
        Kind::Java => Some(java::lines(link)),
        Kind::CaOnly | Kind::Generic => None,
    }
}

/// The same lines by the files that have no generation marker.
#[must_use]
pub fn without_marker(lines: &str) -> String {
    lines
        .replace("/trust-bundle.pem", "/chain.pem")
        .replace("/envoy/sds.json", "/envoy/sds-without-marker.json")
        .replace("truststore-with-marker.p12", "truststore.p12")
}
