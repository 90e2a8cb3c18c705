//! The real `trustsync run`, watched through its log.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Far longer than anything here takes on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped.
pub struct Daemon {
    child: Child,
    log: PathBuf,
    /// How many lines of the log were there when it started.
    before: usize,
}

impl Daemon {
    /// Starts what `command` runs, with its log in JSON at `log` (added to what is there).
    pub fn start(command: &mut Command, log: PathBuf) -> Self {
        let before = lines(&log).len();
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command
            .args(["--log-format", "json", "-v"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log, before }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the kernel reports to it what changes in this folder (inotify's part of proc(5), `fdinfo`).
    pub fn watches(&self, folder: &Path) -> bool {
        let inode = format!(" ino:{:x} ", fs::metadata(folder).unwrap().ino());
        let descriptors = fs::read_dir(format!("/proc/{}/fdinfo", self.pid())).unwrap().flatten();
        descriptors.filter_map(|found| fs::read_to_string(found.path()).ok()).any(|text| text.contains(&inode))
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<Value> {
        lines(&self.log)[self.before..].iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// How often an event was logged.
    pub fn count(&self, event: &str) -> usize {
        self.log().iter().filter(|line| line["event"] == event).count()
    }

    /// The text of the latest event of that name.
    #[track_caller]
    pub fn text(&self, event: &str) -> String {
        let log = self.log();
        let line = log.iter().rfind(|line| line["event"] == event).unwrap_or_else(|| panic!("no {event} in {log:#?}"));
        line["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an event was logged so often.
    #[track_caller]
    pub fn wait_for(&self, event: &str, times: usize) {
        self.wait_until(&format!("{times} {event}"), || self.count(event) >= times);
    }

    /// Waits until something holds.
    #[track_caller]
    pub fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "not seen in time: {what}. The log: {:#?}", self.log());
            sleep(Duration::from_millis(20));
        }
    }

    /// Tells it to end, and says how long that took; it must end by itself, with 0.
    #[track_caller]
    pub fn stop(self) -> Duration {
        let begun = Instant::now();
        self.signal(Signal::TERM);
        self.wait_for_end(0);
        begun.elapsed()
    }

    /// Waits for an end with this code.
    #[track_caller]
    pub fn wait_for_end(mut self, code: i32) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it did not end. The log: {:#?}", self.log());
            sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(code), "signal {:?}, {:#?}", status.signal(), self.log());
    }

    /// SIGKILL, as a crash.
    pub fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(log: &PathBuf) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect()
}
