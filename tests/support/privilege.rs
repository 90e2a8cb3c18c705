//! Tests that need a privileged machine: mounts, other users. They run wherever they can; where they cannot, they say so
//! loudly, and with `TRUSTSYNC_REQUIRE_ALL` set they fail.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A user that owns nothing.
pub const NOBODY: u32 = 65534;

/// The name that the test runner has for the test in whose thread this is called: harness and nextest name the thread by it.
pub fn this_test() -> String {
    let thread = std::thread::current();
    let name = thread.name().filter(|name| *name != "main");
    name.expect("called in a test's own thread").to_owned()
}

/// Reports a test that cannot run here: on stderr past the capture, and into the file that `tests/run` reads.
pub fn not_run(why: &str) {
    let test = this_test();
    assert!(
        std::env::var_os("TRUSTSYNC_REQUIRE_ALL").is_none(),
        "{test} could not run ({why}), and TRUSTSYNC_REQUIRE_ALL is set"
    );
    let line = format!("{test}: {why}\n");
    let _ = std::io::stderr().write_all(format!("NOT RUN {line}").as_bytes());
    if let Some(path) = std::env::var_os("TRUSTSYNC_NOT_RUN") {
        OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// Whether this is root; reports the running test if not.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        not_run("needs root");
    }
    root
}

/// A tiny filesystem of its own, unmounted at the end.
pub struct Tmpfs {
    at: TempDir,
}

impl Tmpfs {
    /// Mounts it with these options (`size=64k,nr_inodes=20`), or reports the test.
    pub fn mount(options: &str) -> Option<Self> {
        if !is_root() {
            return None;
        }
        let at = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "trustsync-test"])
            .arg(at.path())
            .output()
            .expect("mount (util-linux) is needed");
        if !mounted.status.success() {
            let why = String::from_utf8_lossy(&mounted.stderr);
            not_run(&format!("needs a machine where root may mount: {}", why.trim()));
            return None;
        }
        Some(Self { at })
    }

    pub fn path(&self) -> &Path {
        self.at.path()
    }

    /// Changes its options: `ro`, `rw`.
    pub fn remount(&self, option: &str) {
        let status =
            Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(self.path()).status().unwrap();
        assert!(status.success(), "remount,{option} failed");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Another process that runs the calling test of this binary in its second role: it finds `role` in the environment variable
/// `TRUSTSYNC_TEST_ROLE` and the directory in `TRUSTSYNC_TEST_ROOT`.
pub fn second_role(program: &Path, role: &str, root: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .args(["--exact", &this_test(), "--nocapture", "--test-threads=1"])
        .env("TRUSTSYNC_TEST_ROLE", role)
        .env("TRUSTSYNC_TEST_ROOT", root);
    command
}

/// The role that [`second_role`] gave us, with its directory.
pub fn role() -> Option<(String, PathBuf)> {
    let role = std::env::var("TRUSTSYNC_TEST_ROLE").ok()?;
    Some((role, PathBuf::from(std::env::var_os("TRUSTSYNC_TEST_ROOT")?)))
}

/// A copy of this binary that every user can run, wherever the build directory stands.
pub fn binary_for_everyone(program: &Path) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let copy = directory.path().join("program");
    fs::copy(program, &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    File::open(&copy).unwrap();
    (directory, copy)
}

/// The same command, run as a user that owns nothing.
pub fn as_nobody(command: &Command) -> Command {
    let mut other = Command::new("setpriv");
    other.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()]);
    other.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        other.env(name, value.map(OsString::from).unwrap_or_default());
    }
    other
}

/// Runs the calling test again as a user that owns nothing, in its role `unprivileged`, where this is root.
#[track_caller]
pub fn again_as_nobody() {
    if !is_root() {
        return;
    }
    let (_directory, program) = binary_for_everyone(&std::env::current_exe().unwrap());
    let mut role = as_nobody(&second_role(&program, "unprivileged", "/".as_ref()));
    assert_passes(role.env("HOME", "/").env("TMPDIR", "/tmp").current_dir("/"));
}

/// Runs the calling test in its second role, which must pass.
#[track_caller]
pub fn assert_passes(role: &mut Command) {
    let output = role.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The same command as root without CAP_SYS_ADMIN, as in a container with Docker's default capabilities: no namespaces, no
/// mounts.
pub fn without_namespaces(command: &Command) -> Command {
    let mut other = Command::new("setpriv");
    other.args(["--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]);
    other.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        other.env(name, value.map(OsString::from).unwrap_or_default());
    }
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other
}
