//! A real HAProxy (master and worker) in the foreground, on loopback, with everything of it in one folder; stopped when
//! dropped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::foreground::{self, Foreground, answers, wait_until};
use crate::port;

/// See the head of this file.
pub struct Haproxy {
    dir: PathBuf,
    port: u16,
    master: Foreground,
}

/// A configuration: what stands in `global`, and what follows `defaults`. In both `@PORT@` stands for a free port and
/// `@DIR@` for the folder; the server's certificate and key lie in `@DIR@/server.pem`.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    pub global: String,
    pub sections: String,
}

impl From<&str> for Configuration {
    fn from(sections: &str) -> Self {
        Self { global: String::new(), sections: sections.to_owned() }
    }
}

impl From<String> for Configuration {
    fn from(sections: String) -> Self {
        Self { global: String::new(), sections }
    }
}

impl Haproxy {
    /// Starts HAProxy in `dir` (made if need be). Returns once its worker is up.
    pub fn start(dir: &Path, configuration: impl Into<Configuration>) -> Self {
        fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        foreground::own_certificate_with_key(&dir, "localhost");
        let port = port::free_port();
        write_configuration(&dir, port, &configuration.into());
        let master = launch(&dir, port);
        Self { dir, port, master }
    }

    /// Ends it, whole.
    pub fn stop(&mut self) {
        self.master.stop();
    }

    /// Starts it again after [`Haproxy::stop`], at the same port.
    pub fn start_again(&mut self) {
        self.master = launch(&self.dir, self.port);
    }

    /// Whether its master has ended.
    pub fn has_ended(&mut self) -> bool {
        self.master.has_ended()
    }

    /// Writes the configuration anew, for the next check or reload.
    pub fn rewrite(&self, configuration: impl Into<Configuration>) {
        write_configuration(&self.dir, self.port, &configuration.into());
    }

    /// Reloads as an operator would. Returns once the new worker is up and the old one has ended.
    pub fn reload(&self) {
        let before = self.reloads().0;
        self.master.signal(Signal::USR2);
        wait_until("the new worker alone is there", || {
            let shown = self.ask_master("show proc").unwrap_or_default();
            let workers = shown.lines().filter(|line| line.split_whitespace().nth(1) == Some("worker")).count();
            workers == 1 && reloads_in(&shown).is_some_and(|now| now.0 > before && now.1 == 0)
        });
    }

    /// How often it was told to reload, and how many of the last ones in a row failed.
    pub fn reloads(&self) -> (usize, usize) {
        let mut found = None;
        wait_until("the master answers", || {
            found = self.ask_master("show proc").ok().and_then(|shown| reloads_in(&shown));
            found.is_some()
        });
        found.unwrap()
    }

    /// What the runtime socket answers.
    pub fn ask(&self, command: &str) -> String {
        ask(&self.socket(), command).unwrap()
    }

    fn ask_master(&self, command: &str) -> io::Result<String> {
        ask(&self.master_socket(), command)
    }

    /// What belongs into `check =`.
    pub fn check_command(&self) -> Vec<String> {
        ["haproxy", "-c", "-f", self.dir.join("haproxy.cfg").to_str().unwrap()].map(String::from).to_vec()
    }

    /// The master's pidfile.
    pub fn pidfile(&self) -> PathBuf {
        self.dir.join("haproxy.pid")
    }

    /// The runtime socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("admin.sock")
    }

    /// The master's socket.
    pub fn master_socket(&self) -> PathBuf {
        self.dir.join("master.sock")
    }

    /// `127.0.0.1:` and the port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it said.
    pub fn log(&self) -> String {
        log_of(&self.dir)
    }
}

fn launch(dir: &Path, port: u16) -> Foreground {
    let log = File::options().create(true).append(true).open(dir.join("haproxy.log")).unwrap();
    let mut command = Command::new("haproxy");
    command.args(["-W", "-S"]).arg(dir.join("master.sock")).arg("-p").arg(dir.join("haproxy.pid"));
    command.arg("-f").arg(dir.join("haproxy.cfg")).current_dir(dir);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut master = Foreground::spawn(&mut command, "HAProxy is needed for this test: apt-get install haproxy");
    let shows = || ask(&dir.join("admin.sock"), "show info").is_ok_and(|shown| shown.contains("Name: HAProxy"));
    master.wait_until(|| answers(port) && shows(), || log_of(dir));
    master
}

/// One command at one of its sockets.
pub fn ask(socket: &Path, command: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("{command}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn reloads_in(shown: &str) -> Option<(usize, usize)> {
    let line = shown.lines().find(|line| line.split_whitespace().nth(1) == Some("master"))?;
    let words: Vec<&str> = line.split_whitespace().collect();
    Some((words.get(2)?.parse().ok()?, words.get(4)?.trim_end_matches(']').parse().ok()?))
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("haproxy.log")).unwrap_or_default()
}

fn write_configuration(dir: &Path, port: u16, configuration: &Configuration) {
    let text = format!(
        "global
    stats socket @DIR@/admin.sock mode 660 level admin expose-fd listeners
    {global}
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
{sections}
",
        global = configuration.global,
        sections = configuration.sections,
    );
    let text = text.replace("@PORT@", &port.to_string()).replace("@DIR@", dir.to_str().unwrap());
    fs::write(dir.join("haproxy.cfg"), text).unwrap();
}
