//! nginx as a row of the stories, and real ones on a [`Stage`].

use std::fs;
use std::path::{Path, PathBuf};

use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::nginx::snippet;
use trustsync::trust::formats::certificate::Certificate;

use crate::cast;
use crate::doors::Behind;
use crate::nginx::Nginx;
use crate::server::{Checked, Server};
use crate::stage::Stage;

/// A server that knows nothing of us yet.
pub const PLAIN: &str =
    "server { listen 127.0.0.1:@PORT@ ssl; server_name api.example.com; location / { return 200 in; } }";

impl Stage {
    /// Starts a server, by its target's name, with these contents of the `http` block.
    pub fn serve(&self, target: &str, http: &str) -> Nginx {
        Nginx::start(&self.root().join(format!("server-{target}")), http)
    }

    /// The `http` block of a server with both snippets, as shipped.
    pub fn wired(&self, target: &str) -> String {
        wired(&self.link(target))
    }

    /// The same with a change to what stands in the server block.
    pub fn wired_with(&self, target: &str, change: impl Fn(String) -> String) -> String {
        wired_with(&self.link(target), change)
    }
}

/// The `http` block of a server that reads by this link, with both snippets as shipped.
pub fn wired(link: &Path) -> String {
    wired_with(link, |server| server)
}

fn wired_with(link: &Path, change: impl Fn(String) -> String) -> String {
    format!("{}\n{}", snippet::http(link), server_block(&change(snippet::server(link))))
}

/// A server block with these lines.
pub fn server_block(lines: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:@PORT@ ssl; server_name api.example.com;\n{lines}\nlocation / {{ return 200 in; \
         }} }}"
    )
}

/// What a client gets of this server, by openssl and by both versions of TLS: `200`, `403`, `400`.
pub fn knock(nginx: &Nginx, who: Option<&ClientCertificate>) -> String {
    cast::knock(&nginx.address(), who)
}

impl Server for Nginx {
    type Row = ();

    const TARGET: &'static str = "nginx";
    const IS_RELOADED: bool = true;
    const UNVERIFIED: &'static str = "400";
    const UNLISTED: &'static str = "403";
    const NOBODY: &'static str = "400";
    const READS: &'static str = "trust-bundle.pem";
    const DENY_ALL: &'static [(&'static str, &'static str)] =
        &[("fingerprints.txt", "deny all"), ("nginx/admit.map", "deny all")];

    fn start(stage: &Stage, (): ()) -> Self {
        stage.serve(Self::TARGET, PLAIN)
    }

    fn wire(&mut self, stage: &Stage) {
        self.rewrite(&stage.wired(Self::TARGET));
        Nginx::reload(self);
    }

    fn shipped(stage: &Stage) -> Vec<String> {
        let link = stage.link(Self::TARGET).display().to_string();
        vec![
            "ssl_verify_client on;".to_owned(),
            format!("include \"{link}/nginx/admit.map\";"),
            format!("include \"{link}/nginx/generation.map\";"),
            format!("ssl_client_certificate \"{link}/trust-bundle.pem\";"),
            "if ($trustsync_admit = \"\") {".to_owned(),
        ]
    }

    fn reload(&self) {
        Nginx::reload(self);
    }

    fn stop(&mut self) {
        Nginx::stop(self);
    }

    fn start_again(&mut self) {
        Nginx::start_again(self);
    }

    fn has_ended(&mut self) -> bool {
        Nginx::has_ended(self)
    }

    fn address(&self) -> String {
        Nginx::address(self)
    }

    fn reload_requests(&self, _: &Stage) -> usize {
        Nginx::reload_requests(self)
    }

    fn why_not_reloaded(&self) -> &'static [&'static str] {
        &["nginx.pid", "does not run"]
    }

    fn signalled_by(&self) -> Option<PathBuf> {
        Some(self.pidfile())
    }

    fn share_ticket_keys(&self, stage: &Stage) {
        let keys = self.dir().join("ticket.key");
        fs::write(&keys, [7; 80]).unwrap();
        let with_keys = |server: String| {
            format!("ssl_session_cache shared:s:1m; ssl_session_ticket_key {}; {server}", keys.display())
        };
        self.rewrite(&stage.wired_with(Self::TARGET, with_keys));
        Nginx::reload(self);
    }

    /// Its old worker has ended.
    fn kept(&self) -> Behind {
        Behind::Closed
    }

    fn is_shut(&self, (behind, _): (Behind, bool)) -> bool {
        behind == Behind::Status(403)
    }

    fn check_command(&self) -> Vec<String> {
        Nginx::check_command(self)
    }

    fn table(&self, target: &str, check: &[String]) -> String {
        format!(
            "[target.{target}]\nkind = \"nginx\"\ncheck = {check:?}\nreload = {{ pidfile = {:?} }}\nproof = {{ \
             connect = [\"{}\"], server_name = \"api.example.com\", timeout = \"6s\" }}\n",
            self.pidfile(),
            self.address(),
        )
    }
}

impl Checked for Nginx {
    const GENERATION: &'static str = "nginx/generation.map";
    const REFUSING: (&'static str, &'static str) = ("echo 'not this one' >&2; exit 1", "not this one");
    const BROKEN: &'static str = "unknown directive \"no_such_directive\"";

    fn break_elsewhere(&self, stage: &Stage) {
        let wired = stage.wired(Self::TARGET);
        self.rewrite(&format!("{wired}\nserver {{ listen 127.0.0.1:9; no_such_directive on; }}"));
    }

    fn admit_too(&self, stage: &Stage, other: &ClientCertificate) {
        let sha1 = Certificate::parse(other.der()).unwrap().facts().sha1.clone();
        let combined = "map \"$trustsync_admit|$your_variable\" $admitted { default \"\"; \"~^[^|]+\\|\" trustsync; \
                        \"~\\|yes$\" yours; }";
        let shipped = stage.wired(Self::TARGET);
        assert!(shipped.contains(&format!("#     {combined}")), "the comment has changed");
        let own = format!(
            "map \"$ssl_client_verify|$ssl_client_fingerprint\" $your_variable {{ default \"\"; \
             \"~^SUCCESS\\|{sha1}$\" yes; }}"
        );
        let ask = |server: String| server.replace("if ($trustsync_admit = \"\")", "if ($admitted = \"\")");
        self.rewrite(&format!("{own}\n{combined}\n{}", stage.wired_with(Self::TARGET, ask)));
        Nginx::reload(self);
    }
}
