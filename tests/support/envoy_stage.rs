//! Real Envoys on a [`Stage`](crate::stage::Stage).

use trustsync::targets::envoy::snippet::whole;

use crate::envoy::{Envoy, Version};
use crate::stage::Stage;

impl Stage {
    /// Starts a server of the target `envoy`, with the configuration as shipped.
    pub fn serve_envoy(&self, version: Version) -> Envoy {
        Envoy::start_version(version, &self.root().join("server"), &whole(&self.link("envoy")))
    }

    /// Writes and reads the configuration with this target, and more lines in its table or below.
    pub fn configure_envoy(&mut self, envoy: &Envoy, more: &str) {
        self.configure_targets(&table(&envoy.address(), &envoy.admin(), more));
    }
}

/// The table of the target `envoy`.
pub fn table(address: &str, admin: &str, more: &str) -> String {
    format!(
        "[target.envoy]\nkind = \"envoy\"\nproof = {{ connect = [\"{address}\"], server_name = \"api.example.com\", \
         envoy = \"{admin}\", timeout = \"6s\" }}\n{more}"
    )
}
