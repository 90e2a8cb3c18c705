//! The services of `deploy/`, as shipped, in Go, Python and Node.js: on loopback, each in a folder of its own; killed when
//! dropped.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::port;
use crate::{program, repository};

/// In which language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    Go,
    Python,
    Node,
}

impl Language {
    /// What is run, before the arguments.
    fn command(self) -> Command {
        let shipped = |name: &str| repository().join("deploy").join(name);
        match self {
            Self::Go => Command::new(built_by_go(&shipped("go/service.go"))),
            Self::Python => {
                let mut command = Command::new("python3");
                command.arg(shipped("python/service.py"));
                command
            }
            Self::Node => {
                let mut command = Command::new("node");
                command.arg(shipped("node/service.mjs"));
                command
            }
        }
    }

    /// What a client gets whose certificate does not verify.
    pub fn unverified(self) -> &'static str {
        match self {
            Self::Go | Self::Python => "nothing",
            Self::Node => "403",
        }
    }

    /// Whether its certificate request names the authorities, and with them the marker.
    pub fn shows_chain(self) -> bool {
        self != Self::Python
    }
}

/// Built once for all tests; whoever comes while it is built waits.
pub fn built_by_go(source: &Path) -> PathBuf {
    let dir = program().with_file_name("built-by-go");
    fs::create_dir_all(&dir).unwrap();
    let digest = trustsync::trust::fingerprint::Fingerprint::of(&fs::read(source).unwrap()).to_string();
    let program = dir.join(digest);
    let lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    if !program.exists() {
        let fresh = dir.join("fresh");
        let built = Command::new(std::env::var_os("TRUSTSYNC_TEST_GO").unwrap_or("go".into()))
            .args(["build", "-o"])
            .arg(&fresh)
            .arg(source)
            // Nothing but the standard library, by the Go that is here.
            .env("GOCACHE", dir.join("cache"))
            .env("GOPATH", dir.join("path"))
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("CGO_ENABLED", "0")
            .output()
            .expect("go is needed for this test: tests/run installs it");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        fs::rename(fresh, &program).unwrap();
    }
    program
}

/// See the head of this file.
pub struct Service {
    dir: PathBuf,
    port: u16,
    process: Child,
}

impl Service {
    /// Starts it in `dir` (made if need be), with the trust of this link. Returns once its port answers.
    pub fn start(language: Language, dir: &Path, link: &Path) -> Self {
        // Somebody else may take the port between our look and its start: then another one.
        for _ in 0..5 {
            let mut service = Self::begin(language, dir, link);
            if service.comes_up() {
                return service;
            }
        }
        panic!("{language:?} did not start: {}", fs::read_to_string(dir.join("log")).unwrap_or_default());
    }

    /// Starts it, and waits until it has ended by itself: its exit code.
    pub fn fails_to_start(language: Language, dir: &Path, link: &Path) -> i32 {
        let mut service = Self::begin(language, dir, link);
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = service.process.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it runs");
            sleep(Duration::from_millis(5));
        }
    }

    fn begin(language: Language, dir: &Path, link: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let server = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
        fs::write(dir.join("server.pem"), server.cert.pem()).unwrap();
        fs::write(dir.join("server.key"), server.signing_key.serialize_pem()).unwrap();
        let port = port::free_port();
        let log = File::create(dir.join("log")).unwrap();
        let process = language
            .command()
            .arg(format!("127.0.0.1:{port}"))
            .arg(link)
            .arg(dir.join("server.pem"))
            .arg(dir.join("server.key"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{language:?} is needed for this test ({error}): tests/run installs it"));
        Self { dir: dir.to_owned(), port, process }
    }

    fn comes_up(&mut self) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && self.is_alive() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            sleep(Duration::from_millis(5));
        }
        false
    }

    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// `127.0.0.1:` and its port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
