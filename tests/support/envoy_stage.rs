//! Envoy as two rows of the stories, the oldest and the newest, and real ones on a [`Stage`].

use trustsync::targets::envoy::snippet::whole;

use crate::doors::Behind;
use crate::envoy::{Envoy, Version};
use crate::server::Server;
use crate::stage::Stage;

impl Stage {
    /// Starts a server of the target `envoy`, with the configuration as shipped.
    pub fn serve_envoy(&self, version: Version) -> Envoy {
        Envoy::start_version(version, &self.root().join("server-envoy"), &whole(&self.link("envoy")))
    }

    /// The configuration as shipped, without the lines that are ours.
    pub fn plain_envoy(&self) -> String {
        let whole = whole(&self.link("envoy"));
        let (before, rest) = whole.split_once("          # ---- trustsync").unwrap();
        let (_, after) = rest.split_once("            # ----\n").unwrap();
        format!("{before}          common_tls_context:\n{after}")
    }
}

/// The table of the target `envoy`.
pub fn table(address: &str, admin: &str) -> String {
    format!(
        "[target.envoy]\nkind = \"envoy\"\nproof = {{ connect = [\"{address}\"], server_name = \"api.example.com\", \
         envoy = \"{admin}\", timeout = \"6s\" }}\n"
    )
}

impl Server for Envoy {
    type Row = Version;

    const TARGET: &'static str = "envoy";
    const IS_RELOADED: bool = false;
    const UNVERIFIED: &'static str = "nothing";
    const UNLISTED: &'static str = "nothing";
    const NOBODY: &'static str = "nothing";
    const READS: &'static str = "envoy/sds.json";
    const DENY_ALL: &'static [(&'static str, &'static str)] =
        &[("envoy/sds.json", "0000000000000000000000000000000000000000000000000000000000000000")];

    fn start(stage: &Stage, version: Version) -> Self {
        Self::start_version(version, &stage.root().join("server-envoy"), &stage.plain_envoy())
    }

    fn wire(&mut self, stage: &Stage) {
        self.restart(&whole(&stage.link(Self::TARGET)));
    }

    fn shipped(stage: &Stage) -> Vec<String> {
        vec![
            "require_client_certificate: true".to_owned(),
            format!("path: \"{}/envoy/sds.json\"", stage.link(Self::TARGET).display()),
        ]
    }

    fn stop(&mut self) {
        Envoy::stop(self);
    }

    fn start_again(&mut self) {
        Envoy::start_again(self);
    }

    fn has_ended(&mut self) -> bool {
        Envoy::has_ended(self)
    }

    fn address(&self) -> String {
        Envoy::address(self)
    }

    /// As README says: until max_connection_duration.
    fn kept(&self) -> Behind {
        Behind::Status(200)
    }

    fn is_shut(&self, found: (Behind, bool)) -> bool {
        found == (Behind::Closed, false)
    }

    /// It has no check.
    fn table(&self, _: &str, _: &[String]) -> String {
        table(&self.address(), &self.admin())
    }
}
