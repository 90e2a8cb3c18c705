//! A sandbox: a simulated vendor, a folder with a configuration for it, and the real binary run there.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use trustsync::clock::{Clock, SystemClock};
use trustsync::simulator::vendor::Vendor;
use trustsync::simulator::world::{VendorOptions, World};

use crate::program;

/// A vendor on a thread of its own, so that a test can wait for the binary meanwhile.
pub struct RunningVendor {
    pub world: World,
    pub url: String,
    pub ca_pem: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RunningVendor {
    pub fn start(options: VendorOptions) -> Self {
        let (ready, started) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let vendor = Vendor::start(options).await.unwrap();
                ready.send((vendor.world().clone(), vendor.api_url(), vendor.ca_pem().to_owned())).unwrap();
                let _ = stopped.await;
                vendor.stop().await;
            });
        });
        let (world, url, ca_pem) = started.recv().unwrap();
        Self { world, url, ca_pem, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for RunningVendor {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ran {
    pub fn of(output: Output, took: Duration) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("standard error is UTF-8"),
            took,
        }
    }

    /// Checks the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// Both outputs.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Checks that all of these stand somewhere in the output.
    #[track_caller]
    pub fn says(self, pieces: &[&str]) -> Self {
        for piece in pieces {
            assert!(
                self.all().contains(piece),
                "{piece:?} is not in\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// Checks that none of these stands anywhere in the output.
    #[track_caller]
    pub fn never_says(self, pieces: &[&str]) -> Self {
        for piece in pieces {
            assert!(
                !self.all().contains(piece),
                "{piece:?} is in\n--- stdout\n{}\n--- stderr\n{}",
                self.stdout,
                self.stderr
            );
        }
        self
    }

    /// Standard output as the one JSON document that it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// The lines of the log.
    pub fn log(&self) -> Vec<&str> {
        self.stderr.lines().collect()
    }

    /// The lines of a JSON log, each an object.
    #[track_caller]
    pub fn json_log(&self) -> Vec<Value> {
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stderr.lines().map(line).collect()
    }

    /// The `event` of each line of a JSON log.
    #[track_caller]
    pub fn events(&self) -> Vec<String> {
        self.json_log().iter().map(|line| line["event"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// What is at a path: mode, inode, time of change, and content or target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub mode: u32,
    pub inode: u64,
    pub modified: (i64, i64),
    pub content: Vec<u8>,
}

/// Everything below a folder, by relative path, the folder itself included.
pub fn tree(root: &Path) -> BTreeMap<PathBuf, Found> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if metadata.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        let name = path.strip_prefix(root).unwrap().to_owned();
        found.insert(name, Found { mode: metadata.mode(), inode: metadata.ino(), modified, content });
    }
    found
}

/// Writes a file that its owner alone may read.
pub fn write_secret(path: &Path, text: &str) {
    let _ = fs::remove_file(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// A folder with a vendor and a configuration.
pub struct Sandbox {
    pub folder: TempDir,
    pub vendor: RunningVendor,
    environment: BTreeMap<String, String>,
}

impl Sandbox {
    /// The vendor in us-east-1, outside the window, one source `us`, one store `main`, no target.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// With other options of the vendor.
    pub fn with(change: impl FnOnce(&mut VendorOptions)) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut options = VendorOptions::new(clock);
        options.days_left = Some(200);
        change(&mut options);
        let vendor = RunningVendor::start(options);
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Self { folder, vendor, environment: BTreeMap::new() };
        fs::write(sandbox.path("api-ca.pem"), &sandbox.vendor.ca_pem).unwrap();
        let root = |name: &str, der: &[u8]| {
            let pem = trustsync::trust::formats::pem::encode("CERTIFICATE", der);
            fs::write(sandbox.path(name), pem).unwrap();
        };
        root("digicert-root.pem", sandbox.vendor.world.pki().digicert_root.der());
        root("genesys-root.pem", sandbox.vendor.world.pki().genesys_root.der());
        write_secret(&sandbox.path("client-secret"), &format!("{}\n", sandbox.vendor.world.client_secret()));
        sandbox.configure(&format!(
            "[crl]\npolicy = \"off\"\n{}\n[store.main]\npath = \"store\"\n",
            sandbox.source("us", "us-east-1")
        ));
        sandbox
    }

    /// A source of that name at this vendor.
    pub fn source(&self, name: &str, region: &str) -> String {
        format!(
            "[source.{name}]\nregion = \"{region}\"\nclient_id = \"{}\"\nclient_secret_file = \"client-secret\"\napi \
             = \"{url}\"\nlogin = \"{url}\"\nca_file = \"api-ca.pem\"\ndigicert_anchors = [\"digicert-root.pem\"]\nbuiltin_anchors = false\n",
            trustsync::simulator::world::CLIENT_ID,
            url = self.vendor.url,
        )
    }

    pub fn world(&self) -> &World {
        &self.vendor.world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) {
        fs::write(self.path("config.toml"), text).unwrap();
    }

    /// The configuration as it stands.
    pub fn configuration(&self) -> String {
        fs::read_to_string(self.path("config.toml")).unwrap()
    }

    /// Adds to the configuration.
    pub fn append(&self, text: &str) {
        self.configure(&format!("{}{text}", self.configuration()));
    }

    /// A target without a proof whose reload leaves a line in a file, for [`Sandbox::told`].
    pub fn add_target(&self, name: &str) {
        let told = self.path(&format!("told-{name}"));
        self.append(&format!(
            "\n[target.{name}]\nkind = \"generic\"\nreload = {{ command = [\"/bin/sh\", \"-c\", \"echo told >> {}\"] \
             }}\n",
            told.display()
        ));
    }

    /// How often that target was told.
    pub fn reload_requests(&self, name: &str) -> usize {
        fs::read_to_string(self.path(&format!("told-{name}"))).unwrap_or_default().lines().count()
    }

    /// Sets a variable for every run from now on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// The binary with these arguments, this configuration and nothing else in its environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--config")
            .arg(self.path("config.toml"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.environment)
            .current_dir(self.folder.path());
        command
    }

    /// The environment of every run.
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// `trustsync sync` with these.
    pub fn sync(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["sync"], arguments].concat())
    }

    /// The generation that `current` names.
    pub fn current(&self) -> Option<u64> {
        let target = fs::read_link(self.store().join("current")).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// The generations on disk.
    pub fn generations(&self) -> Vec<u64> {
        let Ok(entries) = fs::read_dir(self.store().join("generations")) else { return Vec::new() };
        let mut numbers: Vec<u64> =
            entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok()).collect();
        numbers.sort_unstable();
        numbers
    }

    /// A file of the current generation.
    pub fn published(&self, name: &str) -> String {
        fs::read_to_string(self.store().join("current").join(name)).unwrap_or_default()
    }

    /// The sha256 of each pinned leaf of the current generation, with its role, as the manifest has them.
    pub fn pins(&self) -> BTreeMap<String, String> {
        let Ok(bytes) = fs::read(self.store().join("current/manifest.json")) else { return BTreeMap::new() };
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let slots = manifest["slots"].as_object().unwrap();
        let entries = slots.values().flat_map(|slot| slot["entries"].as_object().unwrap().clone());
        entries.map(|(key, entry)| (key, entry["role"].as_str().unwrap().to_owned())).collect()
    }

    /// `state.json`.
    pub fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.store().join("state.json")).unwrap()).unwrap()
    }

    /// The sha256 of what the vendor presents now.
    pub fn current_leaf(&self) -> String {
        fingerprint(self.world().current().unwrap().der())
    }

    /// The sha256 of what the vendor will present.
    pub fn upcoming_leaf(&self) -> String {
        fingerprint(self.world().upcoming().unwrap().expect("the window is open").der())
    }
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Ran {
    let begun = Instant::now();
    let output = command.output().unwrap();
    Ran::of(output, begun.elapsed())
}

/// SHA-256 in hexadecimal.
pub fn fingerprint(der: &[u8]) -> String {
    trustsync::trust::values::fingerprint::Fingerprint::of(der).to_string()
}
