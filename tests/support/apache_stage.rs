//! Real Apache servers on a [`Stage`](crate::stage::Stage).

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::apache::snippet;

use crate::apache::Apache;
use crate::cast;
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

    /// Writes and reads the configuration with these targets.
    pub fn configure_apache(&mut self, targets: &[(&str, &Apache, Option<Vec<String>>)]) {
        self.configure_apache_with(targets, "");
    }

    /// The same, with more lines in each target.
    pub fn configure_apache_with(&mut self, targets: &[(&str, &Apache, Option<Vec<String>>)], more: &str) {
        let mut text = String::new();
        for (name, apache, check) in targets {
            let check = check.clone().unwrap_or_else(|| apache.check_command());
            let _ = write!(
                text,
                r#"[target.{name}]
kind = "apache"
check = {check}
reload = {{ pidfile = "{pidfile}" }}
proof = {{ connect = ["{address}"], server_name = "api.example.com", timeout = "6s" }}
{more}
"#,
                check = serde_json::to_string(&check).unwrap(),
                pidfile = apache.pidfile().display(),
                address = apache.address(),
            );
        }
        self.configure_targets(&text);
    }

    /// A start that goes wrong as the script has it, in the namespaces that it runs in. `$LINK` is the target's link.
    pub fn wrapped_start(&self, target: &str, apache: &Apache, script: &str) -> Vec<String> {
        let path = self.root().join(format!("check-{target}"));
        let link = self.link(target);
        let text =
            format!("cd '{}' || exit 1\nLINK='{}'\n{script}\nexec \"$@\"\n", self.root().display(), link.display());
        fs::write(&path, text).unwrap();
        let mut argv = vec!["sh".to_owned(), path.display().to_string()];
        argv.extend(apache.check_command());
        argv
    }
}

/// What a client gets of this server, by openssl and by both versions of TLS: `200`, `403`; `nothing` where its certificate
/// is refused in the handshake.
pub fn knock(apache: &Apache, who: Option<&ClientCertificate>) -> String {
    cast::knock(&apache.address(), who)
}
