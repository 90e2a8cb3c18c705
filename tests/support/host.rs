//! A host as the packages leave it: the daemon's half runs as a user of its own, root's half as root, and between them
//! stand the store, which is that user's, and the folder of the privileged targets, which is root's. Needs root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use trustsync::simulator::world::VendorOptions;

use crate::foreground::wait_until;
use crate::nginx::Nginx;
use crate::nginx_stage;
use crate::privilege::{NOBODY, as_nobody, binary_for_everyone, is_root};
use crate::program;
use crate::sandbox::{Ran, Sandbox, run};
use crate::server::Server;

/// See the head of this file.
pub struct Host {
    pub sandbox: Sandbox,
    program: PathBuf,
    _program: TempDir,
}

impl Host {
    /// A host with a privileged target `edge` of kind `generic`; `None` where this is not root, which is reported.
    pub fn new() -> Option<Self> {
        Self::with(|_| ())
    }

    /// With other options of the vendor.
    pub fn with(change: impl FnOnce(&mut VendorOptions)) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let sandbox = Sandbox::with(change);
        let (folder, program) = binary_for_everyone(&program());
        fs::set_permissions(sandbox.folder.path(), Permissions::from_mode(0o755)).unwrap();
        chown(sandbox.path("client-secret"), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::create_dir(sandbox.store()).unwrap();
        chown(sandbox.store(), Some(NOBODY), Some(NOBODY)).unwrap();
        let host = Self { sandbox, program, _program: folder };
        host.sandbox.append("privileged_path = \"targets\"\n");
        Some(host)
    }

    /// Adds a privileged target that is told by a line in a file which root alone can write.
    pub fn add_target(&self, name: &str, more: &str) {
        self.sandbox.append(&format!(
            "\n[target.{name}]\nkind = \"generic\"\nprivileged = true\nreload_timeout = \"2s\"\ncheck_timeout = \
             \"2s\"\nreload = {{ command = [\"/bin/sh\", \"-c\", \"id -u >> {}\"] }}\n{more}\n",
            self.path(&format!("told-{name}")).display()
        ));
    }

    /// Adds a privileged server, with this check.
    pub fn add_server<S: Server>(&self, name: &str, server: &S, check: &[String]) {
        self.sandbox.append(&format!("\n{}privileged = true\n", server.table(name, check)));
    }

    /// A server whose key is root's alone, with these contents of the `http` block.
    pub fn serve(&self, http: &str) -> Nginx {
        let nginx = Nginx::start(&self.path("server"), http);
        fs::set_permissions(nginx.dir().join("server.key"), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(fs::metadata(nginx.dir().join("server.key")).unwrap().uid(), 0);
        nginx
    }

    /// The `http` block of a server with both snippets, as shipped.
    pub fn wired(&self, target: &str) -> String {
        nginx_stage::wired(&self.link(target))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// The link that the target's server reads by.
    pub fn link(&self, target: &str) -> PathBuf {
        self.path("targets").join(target)
    }

    /// The number that the link names, if it names one.
    pub fn linked(&self, target: &str) -> Option<u64> {
        fs::read_link(self.link(target)).ok()?.file_name()?.to_str()?.parse().ok()
    }

    /// How often the target was told, and by whom.
    pub fn told_by(&self, target: &str) -> Vec<String> {
        let told = fs::read_to_string(self.path(&format!("told-{target}"))).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// The command, run by this very program; the other halves of the name say as whom.
    fn command(&self, arguments: &[&str]) -> Command {
        let ours = self.sandbox.command(arguments);
        let mut command = Command::new(&self.program);
        command.args(ours.get_args()).env_clear().current_dir(self.sandbox.folder.path());
        for (name, value) in ours.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }

    /// As root, and not waited for.
    pub fn start(&self, arguments: &[&str]) -> std::process::Child {
        self.command(arguments).stdin(Stdio::null()).spawn().unwrap()
    }

    /// The same, with its output kept for those who wait for it, and with a file of root's left open by a careless shell.
    pub fn start_piped(&self, arguments: &[&str]) -> std::process::Child {
        let ours = self.command(arguments);
        let mut command = Command::new("/bin/sh");
        let lent = format!("exec 7<>'{}'; exec \"$0\" \"$@\"", self.path("lent-by-root").display());
        command.args(["-c", &lent]).arg(ours.get_program()).args(ours.get_args()).env_clear();
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
        command.current_dir(self.sandbox.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The same, with its log in a file.
    pub fn start_logged(&self, arguments: &[&str], log: &Path) -> std::process::Child {
        let log = fs::File::create(log).unwrap();
        self.command(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// The command as a line for a shell.
    pub fn shell_line(&self, arguments: &[&str]) -> String {
        let ours = self.command(arguments);
        let words = std::iter::once(ours.get_program()).chain(ours.get_args());
        words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
    }

    /// Waits until something is so.
    #[track_caller]
    pub fn until(&self, is_so: impl Fn() -> bool) {
        wait_until("it comes to be so", is_so);
    }

    /// As root: `sudo trustsync ...`.
    pub fn root(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// As the daemon's user.
    pub fn daemon(&self, arguments: &[&str]) -> Ran {
        let mut command = as_nobody(&self.command(arguments));
        run(command.current_dir("/").stdin(Stdio::null()))
    }

    /// `sync` as the daemon's user, with root's half at hand.
    pub fn sync(&self) -> Ran {
        let _unit = self.path_unit(&["edge"]);
        self.daemon(&["sync"])
    }

    /// What systemd's path units do, until it is dropped: `apply` wherever there is a request.
    pub fn path_unit(&self, targets: &[&str]) -> PathUnit {
        self.path_unit_as(targets, |command| command)
    }

    /// The same, with less than systemd lets it have.
    pub fn path_unit_as(&self, targets: &[&str], lessened: impl Fn(Command) -> Command) -> PathUnit {
        let stop = Arc::new(AtomicBool::new(false));
        self.make_requests();
        let watched: Vec<(PathBuf, Command)> = targets
            .iter()
            .map(|target| (self.path("targets/requests").join(target), lessened(self.command(&["apply", target]))))
            .collect();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut watched = watched;
            let mut runs = 0;
            while !stopped.load(Ordering::SeqCst) {
                for (request, command) in &mut watched {
                    // As PathExists= does: a symlink that leads nowhere is not a path.
                    if request.exists() {
                        runs += 1;
                        command.output().unwrap();
                    }
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            runs
        });
        PathUnit { stop, thread: Some(thread) }
    }

    /// The folder that tmpfiles makes.
    pub fn make_requests(&self) {
        let (targets, requests) = (self.path("targets"), self.path("targets/requests"));
        if !targets.exists() {
            fs::create_dir(&targets).unwrap();
            fs::set_permissions(&targets, Permissions::from_mode(0o755)).unwrap();
        }
        if !requests.exists() {
            fs::create_dir(&requests).unwrap();
            chown(&requests, Some(0), Some(NOBODY)).unwrap();
            fs::set_permissions(&requests, Permissions::from_mode(0o1730)).unwrap();
        }
    }

    /// `apply` of the target, as root.
    pub fn apply(&self, target: &str) -> Ran {
        self.root(&["apply", target])
    }

    /// As root, not run yet.
    pub fn root_command(&self, arguments: &[&str]) -> Command {
        self.command(arguments)
    }

    /// The same, not run yet.
    pub fn apply_command(&self, target: &str) -> Command {
        self.command(&["apply", target])
    }

    /// Does something as the daemon's user would: by a shell.
    pub fn shell(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("set -e; cd '{}'; {script}", self.sandbox.store().display())]);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("ROOT", self.sandbox.folder.path());
        let output = as_nobody(&command).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What root's half said last.
    pub fn outcome(&self, target: &str) -> Value {
        let path = self.path("targets/outcomes").join(format!("{target}.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    /// The current manifest of the store, for a change by its owner.
    pub fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.sandbox.store().join("current/manifest.json")).unwrap()).unwrap()
    }

    /// Writes it back, as the owner.
    pub fn forge(&self, manifest: &Value) {
        let path = self.sandbox.store().join("current/manifest.json");
        fs::write(path, serde_json::to_vec_pretty(manifest).unwrap()).unwrap();
    }

    /// Writes a file of the current generation, with its digest in the manifest, as the owner could.
    pub fn forge_file(&self, name: &str, text: &str) {
        fs::write(self.sandbox.store().join("current").join(name), text).unwrap();
        let mut manifest = self.manifest();
        manifest["files"][name] =
            trustsync::trust::values::fingerprint::Fingerprint::of(text.as_bytes()).to_string().into();
        self.forge(&manifest);
    }

    /// Whoever is not root owns all of the store and nothing of the privileged folder.
    #[track_caller]
    pub fn owners_are_kept(&self) {
        for (root, owner, except) in [(self.sandbox.store(), NOBODY, None), (self.path("targets"), 0, Some("requests"))]
        {
            let mut open = vec![root];
            while let Some(path) = open.pop() {
                let found = fs::symlink_metadata(&path).unwrap();
                assert_eq!(found.uid(), owner, "{}", path.display());
                if found.is_dir() && path.file_name().and_then(|name| name.to_str()) != except {
                    open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                }
            }
        }
    }
}

/// See [`Host::path_unit`].
pub struct PathUnit {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

impl PathUnit {
    /// Stops it; how often it started `apply`.
    pub fn stop(mut self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for PathUnit {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
