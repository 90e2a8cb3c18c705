//! The services of `deploy/`, as shipped, in Go, Python and Node.js: on loopback, each in a folder of its own; killed when
//! dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::foreground::{self, Foreground, answers};
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

/// Built once for all tests; those who come while it is built wait.
pub fn built_by_go(source: &Path) -> PathBuf {
    let dir = program().with_file_name("built-by-go");
    fs::create_dir_all(&dir).unwrap();
    let digest = trustsync::trust::values::fingerprint::Fingerprint::of(&fs::read(source).unwrap()).to_string();
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
    process: Foreground,
}

impl Service {
    /// Starts it in `dir` (made if need be), with the trust of this link. Returns once its port answers.
    pub fn start(language: Language, dir: &Path, link: &Path) -> Self {
        let mut service = Self::launch(language, dir, link);
        let log = dir.join("log");
        let port = service.port;
        service.process.wait_until(|| answers(port), || fs::read_to_string(&log).unwrap_or_default());
        service
    }

    /// Starts it, and waits until it has ended by itself: its exit code.
    pub fn fails_to_start(language: Language, dir: &Path, link: &Path) -> i32 {
        Self::launch(language, dir, link).process.wait()
    }

    fn launch(language: Language, dir: &Path, link: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        foreground::own_certificate(dir, "api.example.com");
        let port = port::free_port();
        let log = File::create(dir.join("log")).unwrap();
        let mut command = language.command();
        command.arg(format!("127.0.0.1:{port}")).arg(link).arg(dir.join("server.pem")).arg(dir.join("server.key"));
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let needed = format!("{language:?} is needed for this test: tests/run installs it");
        let process = Foreground::spawn(&mut command, &needed);
        Self { dir: dir.to_owned(), port, process }
    }

    pub fn is_alive(&mut self) -> bool {
        !self.process.has_ended()
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
