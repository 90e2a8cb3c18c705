//! Apache as a row of the stories, and real ones on a [`Stage`].

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::apache::snippet;
use trustsync::trust::formats::certificate::Certificate;

use crate::apache::Apache;
use crate::cast;
use crate::doors::Behind;
use crate::server::{Checked, Server};
use crate::stage::Stage;

/// A server that knows nothing of us yet.
pub const PLAIN: &str = "";

impl Stage {
    /// Starts a server, by its target's name, with these lines in its virtual host.
    pub fn serve_apache(&self, target: &str, virtual_host: &str) -> Apache {
        // Its children come this way.
        fs::set_permissions(self.root(), Permissions::from_mode(0o755)).unwrap();
        Apache::start(&self.root().join(format!("server-{target}")), virtual_host)
    }

    /// The snippet, as shipped.
    pub fn wired_apache(&self, target: &str) -> String {
        snippet::virtual_host(&self.link(target))
    }
}

/// What a client gets of this server, by openssl and by both versions of TLS: `200`, `403`; `nothing` where its certificate
/// is refused in the handshake.
pub fn knock(apache: &Apache, who: Option<&ClientCertificate>) -> String {
    cast::knock(&apache.address(), who)
}

impl Server for Apache {
    type Row = ();

    const TARGET: &'static str = "apache";
    const IS_RELOADED: bool = true;
    const UNVERIFIED: &'static str = "nothing";
    const UNLISTED: &'static str = "403";
    const NOBODY: &'static str = "403";
    const READS: &'static str = "apache/admit.conf";
    const DENY_ALL: &'static [(&'static str, &'static str)] = &[("apache/admit.conf", "deny all")];

    fn start(stage: &Stage, (): ()) -> Self {
        stage.serve_apache(Self::TARGET, PLAIN)
    }

    fn wire(&mut self, stage: &Stage) {
        self.rewrite(&stage.wired_apache(Self::TARGET));
        Apache::reload(self);
    }

    fn shipped(stage: &Stage) -> Vec<String> {
        let link = stage.link(Self::TARGET).display().to_string();
        vec![
            "SSLVerifyClient optional".to_owned(),
            format!("SSLCACertificateFile \"{link}/trust-bundle.pem\""),
            format!("Include \"{link}/apache/admit.conf\""),
            format!("Include \"{link}/apache/generation.conf\""),
            "Require all denied".to_owned(),
        ]
    }

    fn reload(&self) {
        Apache::reload(self);
    }

    fn stop(&mut self) {
        Apache::stop(self);
    }

    fn start_again(&mut self) {
        // Apache itself starts beside no pidfile of a process that runs.
        let _ = fs::remove_file(self.pidfile());
        Apache::start_again(self);
    }

    fn has_ended(&mut self) -> bool {
        Apache::has_ended(self)
    }

    fn address(&self) -> String {
        Apache::address(self)
    }

    fn reload_requests(&self, _: &Stage) -> usize {
        Apache::reload_requests(self)
    }

    fn why_not_reloaded(&self) -> &'static [&'static str] {
        &["httpd.pid", "does not run"]
    }

    fn signalled_by(&self) -> Option<PathBuf> {
        Some(self.pidfile())
    }

    fn share_ticket_keys(&self, stage: &Stage) {
        let keys = stage.root().join("ticket.key");
        fs::write(&keys, [7_u8; 48]).unwrap();
        let wired = stage.wired_apache(Self::TARGET);
        self.rewrite(&format!("SSLSessionTicketKeyFile \"{}\"\n{wired}", keys.display()));
        Apache::reload(self);
    }

    /// Its old process has closed it.
    fn kept(&self) -> Behind {
        Behind::Closed
    }

    fn is_shut(&self, (behind, _): (Behind, bool)) -> bool {
        matches!(behind, Behind::Status(403) | Behind::Closed)
    }

    fn check_command(&self) -> Vec<String> {
        Apache::check_command(self)
    }

    fn table(&self, target: &str, check: &[String]) -> String {
        format!(
            "[target.{target}]\nkind = \"apache\"\ncheck = {check:?}\nreload = {{ pidfile = {:?} }}\n\
             proof = {{ connect = [\"{}\"], server_name = \"api.example.com\", timeout = \"6s\" }}\n",
            self.pidfile(),
            self.address(),
        )
    }
}

impl Checked for Apache {
    /// It is a real start, in namespaces of its own.
    const NEEDS_ROOT: bool = true;
    const GENERATION: &'static str = "apache/generation.conf";
    /// As if the disk had changed the new bundle after it was read back.
    const REFUSING: (&'static str, &'static str) =
        ("mount --bind refuse \"$LINK/trust-bundle.pem\" || exit 1", "before it came to serve");
    const BROKEN: &'static str = "before it came to serve";

    /// By a fault that would end the server at its next reload.
    fn break_elsewhere(&self, _: &Stage) {
        self.edit(|text| text.replace("/server.key", "/server.pem"));
    }

    fn admit_too(&self, stage: &Stage, other: &ClientCertificate) {
        let issuer = Certificate::parse(other.der()).unwrap().facts().issuer.clone();
        let example = "#     Require expr \"%{SSL_CLIENT_VERIFY} == 'SUCCESS' && %{SSL_CLIENT_I_DN} == 'CN=Your CA'\"";
        let shipped = stage.wired_apache(Self::TARGET);
        assert!(shipped.contains(example), "the comment has changed");
        let own = example.replace("#     ", "").replace("CN=Your CA", &issuer);
        self.rewrite(&shipped.replace(example, &own));
        Apache::reload(self);
    }
}
