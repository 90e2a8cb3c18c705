//! Real nginx servers on a [`Stage`](crate::stage::Stage).

use std::fmt::Write as _;
use std::fs;

use trustsync::simulator::pki::ClientCertificate;
use trustsync::targets::nginx::snippet;

use crate::cast;
use crate::nginx::Nginx;
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
        self.wired_with(target, |server| server)
    }

    /// The same with a change to what stands in the server block.
    pub fn wired_with(&self, target: &str, change: impl Fn(String) -> String) -> String {
        let link = self.link(target);
        format!("{}\n{}", snippet::http(&link), server_block(&change(snippet::server(&link))))
    }

    /// Writes and reads the configuration with these targets.
    pub fn configure(&mut self, targets: &[(&str, &Nginx, Option<Vec<String>>)]) {
        let mut text = String::new();
        for (name, nginx, check) in targets {
            let check = check.clone().unwrap_or_else(|| nginx.check_command());
            let _ = write!(
                text,
                r#"[target.{name}]
kind = "nginx"
check = {check}
reload = {{ pidfile = "{pidfile}" }}
proof = {{ connect = ["{address}"], server_name = "api.example.com", timeout = "6s" }}
"#,
                check = serde_json::to_string(&check).unwrap(),
                pidfile = nginx.pidfile().display(),
                address = nginx.address(),
            );
        }
        self.configure_targets(&text);
    }

    /// A check that fails as the script says, else is nginx's own. `$LINK` is the target's link.
    pub fn wrapped_check(&self, target: &str, nginx: &Nginx, script: &str) -> Vec<String> {
        let path = self.root().join(format!("check-{target}"));
        fs::write(
            &path,
            format!(
                "cd '{}' || exit 1\nLINK='{}'\n{script}\nexec \"$@\"\n",
                self.root().display(),
                self.link(target).display()
            ),
        )
        .unwrap();
        let mut argv = vec!["sh".to_owned(), path.display().to_string()];
        argv.extend(nginx.check_command());
        argv
    }
}

/// A server block with these lines.
pub fn server_block(lines: &str) -> String {
    format!(
        "server {{ listen 127.0.0.1:@PORT@ ssl; server_name api.example.com;\n{lines}\nlocation / {{ return 200 in; }} }}"
    )
}

/// How often nginx was told.
pub fn told(nginx: &Nginx) -> usize {
    nginx.log().matches("signal 1 (SIGHUP) received").count()
}

/// What a client gets of this server, by openssl and by both versions of TLS: `200`, `403`, `400`.
pub fn knock(nginx: &Nginx, who: Option<&ClientCertificate>) -> String {
    cast::knock(&nginx.address(), who)
}
