//! The simulated vendor and a store: what a whole cycle needs, besides the servers that consume it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use trustsync::clock::{Clock, SimulatedClock, SystemClock};
use trustsync::cycle::{self, Clients, Options, Report};
use trustsync::settings::{self, resolved::Settings};
use trustsync::simulator::pki::{ClientCertificate, DAY};
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::{VendorOptions, World};
use trustsync::targets::kind::Kinds;
use trustsync::targets::table::KINDS;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::plan::set::{Denial, DenialReason};
use trustsync::trust::values::timestamp::Timestamp;

use crate::program;

/// nginx judges validity by the machine's clock, so the simulated story is one that has just ended: whatever is issued in
/// its days is valid now.
const DAYS_AGO: u32 = 118;

/// What the first current certificate has left when the story begins.
const DAYS_LEFT: u32 = 130;

/// See the head of this file.
pub struct Stage {
    _dir: TempDir,
    root: PathBuf,
    vendor: Vendor,
    clock: SimulatedClock,
    start: Timestamp,
    source: String,
    store: String,
    crl_policy: &'static str,
    kinds: Kinds,
    session: Option<(Settings, Clients)>,
}

/// How the binary ended.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Stage {
    /// A story in simulated time, for [`Stage::cycle`].
    pub async fn begin() -> Self {
        let start = SystemClock.now().minus(DAY * DAYS_AGO);
        let clock = SimulatedClock::at(start);
        Self::with(Arc::new(clock.clone()), clock, DAYS_LEFT).await
    }

    /// A vendor in the machine's own time, for [`Stage::run`].
    pub async fn begin_now() -> Self {
        Self::with(Arc::new(SystemClock), SimulatedClock::at(SystemClock.now()), 200).await
    }

    async fn with(shared: Arc<dyn Clock>, clock: SimulatedClock, days_left: u32) -> Self {
        let mut options = VendorOptions::new(shared);
        options.days_left = Some(days_left);
        options.rotate_at_days_left = None;
        let vendor = Vendor::start(options).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let write = |name: &str, text: &str| fs::write(root.join(name), text).unwrap();
        write("api-ca.pem", vendor.ca_pem());
        write("digicert-root.pem", &pem::encode("CERTIFICATE", vendor.world().pki().digicert_root.der()));
        write("genesys-root.pem", &pem::encode("CERTIFICATE", vendor.world().pki().genesys_root.der()));
        write("other-root.pem", &pem::encode("CERTIFICATE", vendor.world().pki().other_root.der()));
        write("client-secret", vendor.client_secret());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(root.join("client-secret"), mode).unwrap();
        let start = clock.now();
        Self {
            _dir: dir,
            root,
            vendor,
            clock,
            start,
            source: String::new(),
            store: String::new(),
            crl_policy: "off",
            kinds: KINDS,
            session: None,
        }
    }

    /// More lines of `[source.us]` and of `[store.main]`.
    pub fn with_lines(mut self, source: &str, store: &str) -> Self {
        self.source = source.to_owned();
        self.store = store.to_owned();
        self
    }

    /// Another table of kinds of server.
    pub fn with_kinds(mut self, kinds: Kinds) -> Self {
        self.kinds = kinds;
        self
    }

    /// The vendor's CRLs act.
    pub fn with_crls(mut self) -> Self {
        self.crl_policy = "soft";
        self
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn world(&self) -> &World {
        self.vendor.world()
    }

    /// The link that the target's server reads by.
    pub fn link(&self, target: &str) -> PathBuf {
        self.root.join("store/target").join(target)
    }

    /// The number that the target's link names.
    pub fn linked(&self, target: &str) -> u64 {
        let link = fs::read_link(self.link(target)).unwrap();
        link.file_name().unwrap().to_str().unwrap().parse().unwrap()
    }

    /// Lets the target's link name another generation, as a restored backup would.
    pub fn switch_by_hand(&self, target: &str, number: u64) {
        let link = self.link(target);
        let fresh = link.with_extension("by-hand");
        std::os::unix::fs::symlink(format!("../generations/{number:06}"), &fresh).unwrap();
        fs::rename(fresh, link).unwrap();
    }

    /// Writes and reads the configuration with these `[target.*]` tables.
    pub fn configure_targets(&mut self, targets: &str) {
        let text = format!(
            r#"[source.us]
region = "us-east-1"
client_id = "{id}"
client_secret_file = "client-secret"
api = "{api}"
login = "{api}"
ca_file = "api-ca.pem"
digicert_anchors = ["digicert-root.pem"]
builtin_anchors = false
{source}
[crl]
policy = "{crl}"
allow_private = true

[store.main]
path = "store"
grace = "14d"
{store}
{targets}"#,
            id = self.vendor.client_id(),
            api = self.vendor.api_url(),
            source = self.source,
            store = self.store,
            crl = self.crl_policy,
        );
        let path = self.root.join("config.toml");
        fs::write(&path, text).unwrap();
        let settings = settings::read_by(self.kinds, &path, &BTreeMap::new()).unwrap().settings;
        let clients = Clients::of(&settings).unwrap();
        self.session = Some((settings, clients));
    }

    /// Moves the story's clock.
    pub fn on_day(&self, day: u32) {
        self.clock.set(self.start.plus(DAY * day));
    }

    /// Moves the story's clock by an hour.
    pub fn an_hour_later(&self) {
        self.clock.set(self.clock.now().plus(Duration::from_secs(3_600)));
    }

    /// One cycle in simulated time.
    pub async fn cycle(&mut self) -> Report {
        let options =
            Options { deadline: Duration::from_secs(20), lock_timeout: Duration::from_secs(5), command: "test" };
        let (settings, clients) = self.session.as_mut().expect("configure first");
        let store = settings.stores.values().next().unwrap();
        cycle::run(settings, store, clients, &self.clock, &options).await.unwrap()
    }

    /// The binary, on the same configuration.
    pub async fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, &[]).await
    }

    /// The same, with these variables besides.
    pub async fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
        let output = tokio::process::Command::new(program())
            .args(arguments)
            .envs(variables.iter().copied())
            .arg("--config")
            .arg(self.root.join("config.toml"))
            .env_remove("CREDENTIALS_DIRECTORY")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        Done {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// `state.json`.
    pub fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.root.join("store/state.json")).unwrap()).unwrap()
    }

    /// How the servers were told, each time, as evidence has it.
    pub fn reload_reports(&self) -> Vec<String> {
        let evidence = fs::read_to_string(self.root.join("store/evidence.jsonl")).unwrap();
        let lines = evidence.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == "told").map(|line| line["detail"].as_str().unwrap().to_owned()).collect()
    }

    /// The last of them.
    #[track_caller]
    pub fn last_reload_report(&self) -> String {
        self.reload_reports().pop().unwrap()
    }

    /// Denies a leaf in `state.json`, as `distrust` does.
    pub fn deny(&self, leaf: &ClientCertificate) {
        let certificate = Certificate::parse(leaf.der()).unwrap();
        let denial = Denial {
            sha1: Some(certificate.facts().sha1.clone()),
            pem_sha1: Some(certificate.pem_sha1()),
            ..Denial::new(DenialReason::Distrusted, self.world().now())
        };
        let mut state = self.state();
        state["memory"]["denied"][certificate.fingerprint().to_string()] = serde_json::to_value(denial).unwrap();
        fs::write(self.root().join("store/state.json"), state.to_string()).unwrap();
    }

    /// The ids of the alarms that stand.
    pub fn alarms(&self) -> Vec<String> {
        self.state()["alarms"].as_object().unwrap().keys().cloned().collect()
    }
}
