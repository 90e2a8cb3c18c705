//! Java as two rows of the stories, the JDK's own server and Tomcat.

use crate::doors::Behind;
use crate::jvm::{Flavour, Jvm};
use crate::server::Server;
use crate::stage::Stage;

/// The truststore that shows its generation.
pub const WITH_MARKER: &str = "truststore-with-marker.p12";

impl Server for Jvm {
    type Row = Flavour;

    const TARGET: &'static str = "java";
    const IS_RELOADED: bool = false;
    /// Our classes are what it is made of.
    const IS_WIRED: bool = true;
    const UNVERIFIED: &'static str = "nothing";
    const UNLISTED: &'static str = "nothing";
    const NOBODY: &'static str = "403";
    const READS: &'static str = WITH_MARKER;
    const DENY_ALL: &'static [(&'static str, &'static str)] = &[];

    fn start(stage: &Stage, flavour: Flavour) -> Self {
        Self::start(flavour, &stage.root().join("server-java"), &stage.link(Self::TARGET), WITH_MARKER)
    }

    fn wire(&mut self, _: &Stage) {}

    fn shipped(_: &Stage) -> Vec<String> {
        Vec::new()
    }

    fn stop(&mut self) {
        Jvm::stop(self);
    }

    fn start_again(&mut self) {
        Jvm::start_again(self);
    }

    fn has_ended(&mut self) -> bool {
        Jvm::has_ended(self)
    }

    fn address(&self) -> String {
        Jvm::address(self)
    }

    fn kept(&self) -> Behind {
        Behind::Status(403)
    }

    /// The trust manager is not asked again, so the session lives on; the filter is.
    fn is_shut(&self, found: (Behind, bool)) -> bool {
        found == (Behind::Status(403), true)
    }

    /// It has no check.
    fn table(&self, target: &str, _: &[String]) -> String {
        format!(
            "[target.{target}]\nkind = \"java\"\nproof = {{ connect = [\"{}\"], server_name = \"api.example.com\", \
             timeout = \"6s\" }}\n",
            self.address()
        )
    }
}
