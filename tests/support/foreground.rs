//! A server's process in the foreground: started, waited for, and ended when dropped. Every real server of the tests is one.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything of a server may take. Far more than it does: what is late here is not slow but hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the head of this file.
pub struct Foreground {
    child: Child,
}

impl Foreground {
    /// Starts it, without an input. `needed` says what to install where the program is missing.
    pub fn spawn(command: &mut Command, needed: &str) -> Self {
        let child = command.stdin(std::process::Stdio::null()).spawn();
        Self { child: child.unwrap_or_else(|error| panic!("{error}: {needed}")) }
    }

    /// Waits until it serves; `log` is what it wrote, should it not come to that.
    #[track_caller]
    pub fn wait_until(&mut self, serves: impl Fn() -> bool, log: impl Fn() -> String) {
        let deadline = Instant::now() + PATIENCE;
        while !serves() {
            assert!(!self.has_ended() && Instant::now() < deadline, "the server does not start: {}", log());
            sleep(Duration::from_millis(5));
        }
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Its exit code, once it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> i32 {
        wait_until("it ends by itself", || self.has_ended());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it, and with it all that it started: TERM lets a master end its workers, KILL would orphan them.
    pub fn stop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// Whether somebody answers at this port of this machine.
pub fn answers(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Makes a server's own certificate, `server.pem`, and its key, `server.key`.
pub fn own_certificate(dir: &Path, name: &str) {
    let server = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    fs::write(dir.join("server.pem"), server.cert.pem()).unwrap();
    fs::write(dir.join("server.key"), server.signing_key.serialize_pem()).unwrap();
}

/// The same, both in `server.pem`.
pub fn own_certificate_with_key(dir: &Path, name: &str) {
    own_certificate(dir, name);
    let [certificate, key] = ["server.pem", "server.key"].map(|file| fs::read_to_string(dir.join(file)).unwrap());
    fs::write(dir.join("server.pem"), certificate + &key).unwrap();
}
