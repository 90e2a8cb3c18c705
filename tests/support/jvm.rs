//! A real Java server, wired as `deploy/java/` ships it, on loopback; stopped when dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::foreground::{self, Foreground, answers};
use crate::port;
use crate::repository;

const NEEDED: &str = "a JDK is needed for this test: apt-get install default-jdk-headless";

/// Debian's Tomcat, in one piece, and what it needs.
const TOMCAT: &str = "/usr/share/java/tomcat10-embed-core.jar:/usr/share/java/jakarta-annotation-api.jar";

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// The JDK's own.
    Jdk,
    /// Tomcat.
    Tomcat,
}

/// See the head of this file.
pub struct Jvm {
    flavour: Flavour,
    dir: PathBuf,
    port: u16,
    link: PathBuf,
    truststore: String,
    process: Foreground,
}

impl Jvm {
    /// Compiles what is shipped and starts it in `dir` (made if need be), reading by this link. Returns once it answers.
    pub fn start(flavour: Flavour, dir: &Path, link: &Path, truststore: &str) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        compile(flavour, &dir);
        own_certificate(&dir);
        let port = port::free_port();
        let process = launch(flavour, &dir, port, link, truststore);
        Self { flavour, dir, port, link: link.to_owned(), truststore: truststore.to_owned(), process }
    }

    /// Starts it again after [`Jvm::stop`], at the same port.
    pub fn start_again(&mut self) {
        self.process = launch(self.flavour, &self.dir, self.port, &self.link, &self.truststore);
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// `127.0.0.1:` and its port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn compile(flavour: Flavour, dir: &Path) {
    let shipped = repository().join("deploy/java");
    let mut folders = vec![shipped.clone()];
    if flavour == Flavour::Tomcat {
        let there = TOMCAT.split(':').all(|jar| Path::new(jar).exists());
        assert!(there, "this test needs: apt-get install libtomcat10-embed-java libjakarta-annotation-api-java");
        folders.push(shipped.join("tomcat"));
    }
    let sources = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut javac = Command::new("javac");
    // As old a Java as is still maintained.
    javac.args(["--release", "11", "-Werror", "-cp", TOMCAT, "-d"]).arg(dir);
    javac.args(sources.filter(|path| path.extension().is_some_and(|ending| ending == "java")));
    let output = javac.output().expect(NEEDED);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn own_certificate(dir: &Path) {
    foreground::own_certificate_with_key(dir, "api.example.com");
    let output = Command::new("openssl")
        .args(["pkcs12", "-export", "-passout", "pass:secret", "-in", "server.pem", "-out", "server.p12"])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn launch(flavour: Flavour, dir: &Path, port: u16, link: &Path, truststore: &str) -> Foreground {
    let mut java = Command::new("java");
    java.arg("-XX:TieredStopAtLevel=1");
    let of_server = [&port.to_string(), "server.p12", "secret"];
    match flavour {
        Flavour::Jdk => java.args(["-cp", ".", "Server"]).args(of_server).arg(link).arg(truststore),
        Flavour::Tomcat => java
            .arg(format!("-Dtrustsync.link={}", link.display()))
            .arg(format!("-Dtrustsync.truststore={truststore}"))
            .args(["-cp", &format!(".:{TOMCAT}"), "TomcatServer"])
            .args(of_server),
    };
    java.current_dir(dir).stdout(Stdio::null()).stderr(File::create(dir.join("log")).unwrap());
    let mut process = Foreground::spawn(&mut java, NEEDED);
    process.wait_until(|| answers(port), || fs::read_to_string(dir.join("log")).unwrap_or_default());
    process
}
