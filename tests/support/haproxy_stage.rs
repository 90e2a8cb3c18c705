//! HAProxy as two rows of the stories, by how it takes a change, and real ones on a [`Stage`].

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::haproxy::snippet;
use trustsync::trust::values::fingerprint::Fingerprint;

use crate::cast;
use crate::doors::Behind;
use crate::haproxy::{Configuration, Haproxy};
use crate::server::{Checked, Server};
use crate::stage::Stage;

/// A server that knows nothing of us yet.
pub const PLAIN: &str = "frontend api
    bind 127.0.0.1:@PORT@ ssl crt @DIR@/server.pem
    http-request return status 200 content-type text/plain string in";

/// How it takes a change.
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

/// A real one, and how it takes a change.
pub struct HaproxyBy {
    server: Haproxy,
    pub way: Way,
}

impl Deref for HaproxyBy {
    type Target = Haproxy;

    fn deref(&self) -> &Haproxy {
        &self.server
    }
}

impl DerefMut for HaproxyBy {
    fn deref_mut(&mut self) -> &mut Haproxy {
        &mut self.server
    }
}

impl Stage {
    /// Starts a server, by its target's name.
    pub fn serve_haproxy(&self, target: &str, way: Way, configuration: impl Into<Configuration>) -> HaproxyBy {
        HaproxyBy { server: Haproxy::start(&self.root().join(format!("server-{target}")), configuration), way }
    }

    /// The sections of a server with both snippets, as shipped.
    pub fn wired_haproxy(&self, target: &str) -> String {
        frontend(&self.link(target))
    }

    /// Configures one target, reloaded and proven in other ways than its row's.
    pub fn configure_haproxy(&mut self, target: &str, haproxy: &Haproxy, lines: &str, proof: &str) {
        self.configure_targets(&table(target, &haproxy.check_command(), lines, proof));
    }
}

fn table(target: &str, check: &[String], lines: &str, proof: &str) -> String {
    format!(
        "[target.{target}]\nkind = \"haproxy\"\ncheck = {check:?}\n{lines}proof = {{ {proof}, timeout = \"6s\" }}\n"
    )
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

impl Server for HaproxyBy {
    type Row = Way;

    const TARGET: &'static str = "haproxy";
    const IS_RELOADED: bool = true;
    const UNVERIFIED: &'static str = "nothing";
    const UNLISTED: &'static str = "403";
    const NOBODY: &'static str = "nothing";
    const READS: &'static str = "haproxy/pins.list";
    const DENY_ALL: &'static [(&'static str, &'static str)] = &[];

    fn start(stage: &Stage, way: Way) -> Self {
        stage.serve_haproxy(Self::TARGET, way, PLAIN)
    }

    fn wire(&mut self, stage: &Stage) {
        self.rewrite(stage.wired_haproxy(Self::TARGET));
        self.server.reload();
    }

    fn shipped(stage: &Stage) -> Vec<String> {
        let link = stage.link(Self::TARGET).display().to_string();
        vec![
            format!("ca-file \"{link}/trust-bundle.pem\" verify required"),
            format!("-f \"{link}/haproxy/pins.list\""),
            format!("-f \"{link}/haproxy/denied.list\""),
            format!("-f \"{link}/haproxy/names.list\""),
            "http-request deny deny_status 403 unless trustsync_admitted".to_owned(),
        ]
    }

    fn reload(&self) {
        self.server.reload();
    }

    fn stop(&mut self) {
        self.server.stop();
    }

    fn start_again(&mut self) {
        self.server.start_again();
    }

    fn has_ended(&mut self) -> bool {
        self.server.has_ended()
    }

    fn address(&self) -> String {
        self.server.address()
    }

    fn why_not_reloaded(&self) -> &'static [&'static str] {
        match self.way {
            Way::Reload => &["master.sock cannot be reached"],
            Way::Runtime => &["admin.sock cannot be reached"],
        }
    }

    fn share_ticket_keys(&self, stage: &Stage) {
        let keys = self.dir().join("ticket.keys");
        fs::write(&keys, [7, 8, 9].map(|byte: u8| BASE64_STANDARD.encode([byte; 48])).join("\n") + "\n").unwrap();
        let with_keys = format!("verify required tls-ticket-keys {}", keys.display());
        self.rewrite(stage.wired_haproxy(Self::TARGET).replace("verify required", &with_keys));
        self.server.reload();
    }

    fn kept(&self) -> Behind {
        match self.way {
            // The same worker asks the new list.
            Way::Runtime => Behind::Status(403),
            // Its old worker has ended.
            Way::Reload => Behind::Closed,
        }
    }

    /// Resumed, and refused by the list.
    fn is_shut(&self, found: (Behind, bool)) -> bool {
        found == (Behind::Status(403), true)
    }

    /// Two reloads are from its beginning: one that it is asked for, and its operator's when it is wired.
    fn assert_rotated(&self, stage: &Stage) {
        match self.way {
            Way::Reload => {
                assert!(self.reloads().0 > 2 && self.reloads().1 == 0, "{:?}", self.reloads());
                let report = stage.last_reload_report();
                assert!(report.contains("its master says that the reload succeeded"), "{report}");
            }
            Way::Runtime => assert_eq!(self.reloads(), (2, 0), "{:?}", stage.reload_reports()),
        }
    }

    fn check_command(&self) -> Vec<String> {
        self.server.check_command()
    }

    fn table(&self, target: &str, check: &[String]) -> String {
        let (address, socket) = (self.address(), self.socket());
        let proof = format!("connect = [\"{address}\"], server_name = \"api.example.com\", haproxy = {socket:?}");
        table(target, check, &self.way.lines(self), &proof)
    }
}

impl Checked for HaproxyBy {
    const GENERATION: &'static str = "haproxy/generation.map";
    const REFUSING: (&'static str, &'static str) = ("echo 'not this one' >&2; exit 1", "not this one");
    const BROKEN: &'static str = "no_such_keyword";

    fn break_elsewhere(&self, stage: &Stage) {
        self.rewrite(format!("{}\nfrontend other\n    no_such_keyword", stage.wired_haproxy(Self::TARGET)));
    }

    fn admit_too(&self, stage: &Stage, other: &ClientCertificate) {
        let combined = "unless trustsync_admitted or your_acl";
        let shipped = stage.wired_haproxy(Self::TARGET);
        assert!(shipped.contains(combined), "the comment has changed");
        let sha256 = Fingerprint::of(other.der()).to_string().to_uppercase();
        let own = format!(
            "acl your_acl ssl_c_der,sha2(256),hex -m str {sha256}\n    http-request deny deny_status 403 {combined}"
        );
        let ours = "    http-request deny deny_status 403 unless trustsync_admitted\n";
        self.rewrite(shipped.replace(ours, &format!("    {own}\n")));
        self.server.reload();
    }
}
