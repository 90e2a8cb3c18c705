//! Real HAProxy servers on a [`Stage`](crate::stage::Stage).

use std::path::Path;

use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::haproxy::snippet;

use crate::cast;
use crate::haproxy::{Configuration, Haproxy};
use crate::stage::Stage;

/// A server that knows nothing of us yet.
pub const PLAIN: &str = "frontend api
    bind 127.0.0.1:@PORT@ ssl crt @DIR@/server.pem
    http-request return status 200 content-type text/plain string in";

/// How it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By USR2 to its master.
    Reload,
    /// By its runtime socket, without a reload.
    Runtime,
}

pub const WAYS: [Way; 2] = [Way::Reload, Way::Runtime];

impl Way {
    /// The lines of the target's table.
    pub fn lines(self, haproxy: &Haproxy) -> String {
        let (pidfile, socket, master) = (haproxy.pidfile(), haproxy.socket(), haproxy.master_socket());
        let signal = format!("pidfile = {pidfile:?}, master = {master:?}");
        match self {
            Self::Reload => format!("reload = {{ {signal} }}\n"),
            Self::Runtime => format!("reload = {{ haproxy = {socket:?}, fallback = {{ {signal} }} }}\n"),
        }
    }
}

impl Stage {
    /// Starts a server, by its target's name.
    pub fn serve_haproxy(&self, target: &str, configuration: impl Into<Configuration>) -> Haproxy {
        Haproxy::start(&self.root().join(format!("server-{target}")), configuration)
    }

    /// The sections of a server with both snippets, as shipped.
    pub fn wired_haproxy(&self, target: &str) -> String {
        frontend(&self.link(target))
    }

    /// Configures one target, by the wire and by its socket proven.
    pub fn configure_haproxy(&mut self, target: &str, haproxy: &Haproxy, way: Way) {
        let proof = format!(
            "connect = [\"{}\"], server_name = \"api.example.com\", haproxy = {:?}",
            haproxy.address(),
            haproxy.socket()
        );
        self.configure_haproxy_with(target, haproxy, &way.lines(haproxy), &proof);
    }

    /// The same, told and proven in other ways.
    pub fn configure_haproxy_with(&mut self, target: &str, haproxy: &Haproxy, lines: &str, proof: &str) {
        let check = serde_json::to_string(&haproxy.check_command()).unwrap();
        self.configure_targets(&format!(
            "[target.{target}]\nkind = \"haproxy\"\ncheck = {check}\n{lines}proof = {{ {proof}, timeout = \"6s\" }}\n"
        ));
    }
}

/// The frontend as the snippets' comments describe it: the words of the one on the bind line, the lines of the other below.
pub fn frontend(link: &Path) -> String {
    let words = snippet::bind(link);
    let words: Vec<&str> = words.lines().filter(|line| !line.starts_with('#')).collect();
    format!(
        "frontend api
    bind 127.0.0.1:@PORT@ ssl crt @DIR@/server.pem alpn http/1.1 {words}
{lines}
    http-request return status 200 content-type text/plain string in",
        words = words.join(" "),
        lines = snippet::frontend(link),
    )
}

/// What a client gets of this server, by openssl and by both versions of TLS: `200`, `403`, or `nothing`.
pub fn knock(haproxy: &Haproxy, who: Option<&ClientCertificate>) -> String {
    cast::knock(&haproxy.address(), who)
}
