//! The crash harness: kills a real process at its Nth system call of a kind, and reads from a record of its system calls
//! whether what a rename exposes had been fsynced.
//!
//! A SIGKILL leaves the page cache alone, so it cannot find a missing fsync: that is what [`durability_faults`] is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Calls that do the same to the disk; which one a program uses depends on its machine and its library.
pub type Family = &'static [&'static str];

pub const WRITE: Family = &["write", "writev", "pwrite64", "copy_file_range", "sendfile"];
pub const RENAME: Family = &["rename", "renameat", "renameat2"];
pub const SYMLINK: Family = &["symlink", "symlinkat"];
pub const FSYNC: Family = &["fsync", "fdatasync"];
pub const UNLINK: Family = &["unlink", "unlinkat", "rmdir"];
pub const MKDIR: Family = &["mkdir", "mkdirat"];
pub const CHMOD: Family = &["fchmod", "fchmodat", "chmod"];
pub const TRUNCATE: Family = &["ftruncate", "truncate"];

/// Everything that changes a store.
pub const ALL: &[Family] = &[WRITE, RENAME, SYMLINK, FSYNC, UNLINK, MKDIR, CHMOD, TRUNCATE];

/// More kills than any cycle of ours has calls: the process does not end.
const ENDLESS: u32 = 5_000;

/// Whose calls are counted. strace counts for each thread by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Those of the process' first thread: for a program whose work is done there, and whose children must live.
    MainThread,
    /// Those of every thread and child, each counted by itself: for a test binary, which works in a thread.
    Everything,
}

/// Where a run was killed: before its `when`-th call of `syscall` took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KillPoint {
    pub syscall: &'static str,
    pub when: u32,
}

impl fmt::Display for KillPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at {} number {}", self.syscall, self.when)
    }
}

/// Runs what `prepare` yields again and again, killing it at the 1st, 2nd, 3rd... call of every kind in `families`,
/// until a run of that kind ends by itself, which it must do with success. After every run, killed or not, `verify`
/// says whether the world is as it must be (it panics if not). Yields how often each call was hit.
///
/// The order is fixed and nothing is left out, so there is no seed to print. Fails if a family was never hit.
pub fn kill_points(
    follow: Follow,
    families: &[Family],
    mut prepare: impl FnMut() -> Command,
    mut verify: impl FnMut(Option<KillPoint>),
) -> BTreeMap<&'static str, u32> {
    let mut hits = BTreeMap::new();
    for family in families {
        for syscall in *family {
            for when in 1.. {
                assert!(when < ENDLESS, "{syscall}: still killed after {when} runs");
                let point = KillPoint { syscall, when };
                let ended = run_killed(&prepare(), follow, point);
                if ended.status.signal() == Some(9) {
                    *hits.entry(*syscall).or_default() += 1;
                    verify(Some(point));
                    continue;
                }
                assert!(
                    ended.status.success(),
                    "{point}: not killed, yet it failed with {}\n{}{}",
                    ended.status,
                    String::from_utf8_lossy(&ended.stdout),
                    String::from_utf8_lossy(&ended.stderr),
                );
                verify(None);
                break;
            }
        }
        assert!(
            family.iter().any(|syscall| hits.contains_key(syscall)),
            "no call of {family:?} was ever hit: the test proves nothing"
        );
    }
    println!("kill points, every one in order: {hits:?}");
    hits
}

pub fn run_killed(command: &Command, follow: Follow, point: KillPoint) -> Output {
    let KillPoint { syscall, when } = point;
    // `?`: a call that this machine does not have (aarch64 has no rename) is not an error, it is just never made.
    let trace = format!("trace=?{syscall}");
    let inject = format!("inject=?{syscall}:signal=SIGKILL:when={when}");
    let mut options = vec!["-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    if follow == Follow::Everything {
        options.push("-f");
    }
    traced(command, &options).output().expect("strace is needed (tests/run installs it)")
}

/// One system call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub pid: u32,
    pub name: String,
    pub arguments: Vec<Argument>,
    /// What it returned, -1 for an error; `None` where the process did not live to see it.
    pub result: Option<i64>,
}

/// One argument, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A file descriptor and where it leads (`AT_FDCWD` has number -100).
    Descriptor(i64, PathBuf),
    /// A text: a path or data.
    Text(String),
    /// Flags, numbers, structures.
    Other(String),
}

impl Call {
    /// A call as a test writes it by hand.
    pub fn made(name: &str, arguments: Vec<Argument>) -> Self {
        Self { pid: 1, name: name.to_owned(), arguments, result: Some(0) }
    }

    fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// Where its first descriptor leads.
    pub fn descriptor(&self) -> Option<&Path> {
        self.arguments.iter().find_map(|argument| match argument {
            Argument::Descriptor(_, path) => Some(path.as_path()),
            _ => None,
        })
    }

    /// Its path arguments, each joined to the directory descriptor before it.
    pub fn paths(&self) -> Vec<PathBuf> {
        let mut directory: Option<&Path> = None;
        let mut paths = Vec::new();
        for argument in &self.arguments {
            match argument {
                Argument::Descriptor(_, path) => directory = Some(path),
                Argument::Text(text) => {
                    paths.push(directory.map_or_else(|| text.into(), |at| at.join(text)));
                }
                Argument::Other(_) => {}
            }
        }
        paths
    }

    fn flags(&self) -> &str {
        self.arguments
            .iter()
            .find_map(|argument| match argument {
                Argument::Other(text) if text.contains("O_") => Some(text.as_str()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// Whether some argument that is neither a path nor a descriptor has this text in it.
    pub fn mentions(&self, text: &str) -> bool {
        self.arguments.iter().any(|argument| matches!(argument, Argument::Other(other) if other.contains(text)))
    }

    /// Whether it touches `root` or anything beneath.
    pub fn touches(&self, root: &Path) -> bool {
        self.descriptor().is_some_and(|path| path.starts_with(root))
            || self.paths().iter().any(|path| path.starts_with(root))
    }
}

/// How many of `calls` were of this family and touched `root` or anything beneath: as many kills must at least hit.
pub fn count(calls: &[Call], family: Family, root: &Path) -> u32 {
    let ours = |call: &&Call| family.contains(&call.name.as_str()) && call.touches(root);
    u32::try_from(calls.iter().filter(ours).count()).unwrap()
}

/// Runs `command` to its end (which must be a success) and yields every call that it and its children made of those
/// that matter to a disk.
pub fn record(command: &Command) -> Vec<Call> {
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut names: Vec<&str> = ALL.concat();
    names.extend(["open", "openat", "openat2", "creat", "link", "linkat", "fallocate"]);
    let set: Vec<String> = names.iter().map(|name| format!("?{name}")).collect();
    let ended = traced(
        command,
        &[
            "-f",
            "-y",
            "-qq",
            "-s",
            "4096",
            "-o",
            log.path().to_str().unwrap(),
            "-e",
            &format!("trace={}", set.join(",")),
            "-e",
            "signal=none",
        ],
    )
    .output()
    .expect("strace is needed (tests/run installs it)");
    assert!(
        ended.status.success(),
        "the recorded command failed with {}\n{}{}",
        ended.status,
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    parse(&fs::read_to_string(log.path()).unwrap())
}

/// The command, run under strace with these options.
pub fn traced(command: &Command, options: &[&str]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(options);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => traced.env(name, value),
            None => traced.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        traced.current_dir(directory);
    }
    traced.arg("--").arg(command.get_program()).args(command.get_args());
    traced
}

/// Reads the output of `strace -f -y`; a call that was interrupted by another thread's stands where it was finished.
pub fn parse(log: &str) -> Vec<Call> {
    let mut unfinished: BTreeMap<u32, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((pid, text)) = line.split_once(' ') else {
            continue;
        };
        let Ok(pid) = pid.parse::<u32>() else {
            panic!("not a line of strace -f: {line}");
        };
        let text = text.trim_start();
        if let Some(head) = text.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, head.to_owned());
        } else if let Some((_, tail)) = text.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            let head = unfinished.remove(&pid).unwrap_or_default();
            calls.extend(parse_call(pid, &format!("{head}{tail}")));
        } else {
            calls.extend(parse_call(pid, text));
        }
    }
    calls
}

fn parse_call(pid: u32, text: &str) -> Option<Call> {
    // Lines such as `+++ exited with 0 +++` and `--- SIGCHLD ---` are not calls.
    let (name, rest) = text.split_once('(')?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return None;
    }
    let (arguments, after) = split_arguments(rest);
    let result = after.split_once('=').and_then(|(_, result)| {
        let result = result.trim_start();
        let end = result.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(result.len());
        result[..end].parse().ok()
    });
    Some(Call { pid, name: name.to_owned(), arguments: arguments.iter().map(|text| argument(text)).collect(), result })
}

/// Splits at the commas that stand outside quotes, brackets and `<paths>`; yields what follows the closing parenthesis.
fn split_arguments(text: &str) -> (Vec<String>, &str) {
    let (mut arguments, mut current) = (Vec::new(), String::new());
    let (mut depth, mut quoted, mut escaped, mut in_path) = (0_u32, false, false, false);
    for (at, c) in text.char_indices() {
        if quoted {
            quoted = escaped || c != '"';
            escaped = !escaped && c == '\\';
        } else if in_path {
            in_path = c != '>';
        } else {
            match c {
                '"' => quoted = true,
                '<' => in_path = true,
                '[' | '{' | '(' => depth += 1,
                ')' if depth == 0 => {
                    if !current.trim().is_empty() {
                        arguments.push(current.trim().to_owned());
                    }
                    return (arguments, &text[at + 1..]);
                }
                ']' | '}' | ')' => depth -= 1,
                ',' if depth == 0 => {
                    arguments.push(std::mem::take(&mut current).trim().to_owned());
                    continue;
                }
                _ => {}
            }
        }
        current.push(c);
    }
    (arguments, "")
}

fn argument(text: &str) -> Argument {
    if let Some(quoted) = text.strip_prefix('"') {
        let quoted = quoted.trim_end_matches('.');
        return Argument::Text(quoted.strip_suffix('"').unwrap_or(quoted).replace("\\\"", "\""));
    }
    if let Some((number, path)) = text.split_once('<')
        && let Some(path) = path.strip_suffix("(deleted)").unwrap_or(path).strip_suffix('>')
    {
        let number = if number == "AT_FDCWD" { Some(-100) } else { number.parse().ok() };
        if let Some(number) = number {
            return Argument::Descriptor(number, PathBuf::from(path));
        }
    }
    Argument::Other(text.to_owned())
}

/// Panics, naming each fault, unless everything that `calls` exposed beneath `root` was durable.
pub fn assert_durable(calls: &[Call], root: &Path) {
    let faults = durability_faults(calls, root);
    assert!(faults.is_empty(), "not durable:\n  {}", faults.join("\n  "));
}

/// What a power cut could tear. The rules, for everything beneath `root` but the lock's file (which promises nothing):
///
/// 1. A file is fsynced after its last write, truncation or change of mode, before a rename exposes it or a directory
///    above it, and at the latest by the end.
/// 2. A new directory is fsynced after its last entry, before a rename exposes it.
/// 3. After a rename, both its directories are fsynced: before the next rename beneath the root, and before anything
///    beneath the renamed thing is unlinked.
/// 4. A directory that got a new file (such as the first line of evidence) is fsynced by the end.
///
/// No rename at all beneath `root` is a fault as well: nothing was shown.
pub fn durability_faults(calls: &[Call], root: &Path) -> Vec<String> {
    let mut watch = Watch { root, ..Watch::default() };
    for call in calls.iter().filter(|call| call.succeeded()) {
        watch.see(call);
    }
    watch.finish()
}

struct Watch<'a> {
    root: &'a Path,
    /// Files with bytes or a mode, and directories with entries, that were not fsynced yet.
    unsynced: BTreeSet<PathBuf>,
    /// Directories that a rename changed, with what was renamed to.
    renamed: BTreeMap<PathBuf, PathBuf>,
    renames: usize,
    faults: Vec<String>,
}

impl Default for Watch<'_> {
    fn default() -> Self {
        Self {
            root: Path::new("/"),
            unsynced: BTreeSet::new(),
            renamed: BTreeMap::new(),
            renames: 0,
            faults: Vec::new(),
        }
    }
}

impl Watch<'_> {
    fn ours(&self, path: &Path) -> bool {
        path.starts_with(self.root) && path != self.root.join("lock")
    }

    fn see(&mut self, call: &Call) {
        let name = call.name.as_str();
        if ["open", "openat", "openat2", "creat"].contains(&name) {
            self.opened(call);
        } else if WRITE.contains(&name) {
            self.changed(if name == "copy_file_range" {
                // (from, offset, to, ...)
                call.arguments.iter().rev().find_map(|argument| match argument {
                    Argument::Descriptor(_, path) => Some(path.as_path()),
                    _ => None,
                })
            } else {
                call.descriptor()
            });
        } else if TRUNCATE.contains(&name) || name == "fallocate" || name == "fchmod" {
            self.changed(call.descriptor());
        } else if name == "fchmodat" || name == "chmod" {
            self.changed(call.paths().first().map(PathBuf::as_path));
        } else if FSYNC.contains(&name) {
            if let Some(path) = call.descriptor() {
                self.unsynced.remove(path);
                self.renamed.remove(path);
            }
        } else if MKDIR.contains(&name) {
            for path in call.paths() {
                self.new_entry(&path);
                self.changed(Some(&path));
            }
        } else if SYMLINK.contains(&name) || ["link", "linkat"].contains(&name) {
            if let Some(path) = call.paths().last() {
                self.new_entry(path);
            }
        } else if UNLINK.contains(&name) {
            for path in call.paths() {
                self.unlinked(&path);
            }
        } else if RENAME.contains(&name)
            && let [from, to] = call.paths().as_slice()
        {
            self.rename(from, to);
        }
    }

    fn opened(&mut self, call: &Call) {
        let Some(path) = call.paths().into_iter().next() else {
            return;
        };
        let flags = call.flags();
        // O_CREAT without O_EXCL may have found the file there: only what is written to it counts then.
        if call.name == "creat" || flags.contains("O_EXCL") {
            self.new_entry(&path);
            self.changed(Some(&path));
        } else if flags.contains("O_TRUNC") {
            self.changed(Some(&path));
        }
    }

    fn changed(&mut self, path: Option<&Path>) {
        if let Some(path) = path.filter(|path| self.ours(path)) {
            self.unsynced.insert(path.to_owned());
        }
    }

    fn new_entry(&mut self, path: &Path) {
        if self.ours(path)
            && let Some(parent) = path.parent().filter(|parent| parent.starts_with(self.root))
        {
            self.unsynced.insert(parent.to_owned());
        }
    }

    fn unlinked(&mut self, path: &Path) {
        if let Some((parent, _)) =
            self.renamed.iter().find(|(_, renamed)| path.starts_with(renamed) && path != renamed.as_path())
        {
            self.faults.push(format!(
                "{} was unlinked before {} was fsynced after the rename of what held it",
                path.display(),
                parent.display()
            ));
        }
        // Whether the removal survives a power cut does not matter: the next sweep does it again.
        self.unsynced.remove(path);
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if !self.ours(from) && !self.ours(to) {
            return;
        }
        self.renames += 1;
        for (parent, renamed) in std::mem::take(&mut self.renamed) {
            self.faults.push(format!(
                "{} was not fsynced after {} was renamed, before {} was",
                parent.display(),
                renamed.display(),
                to.display()
            ));
        }
        for path in &self.unsynced {
            if path.starts_with(from) {
                self.faults.push(format!(
                    "{} was not fsynced before the rename that exposes it as {}",
                    path.display(),
                    to.display()
                ));
            }
        }
        let moved = |path: &PathBuf| match path.strip_prefix(from) {
            Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
            Ok(rest) => to.join(rest),
            Err(_) => path.clone(),
        };
        self.unsynced = self.unsynced.iter().map(moved).collect();
        for parent in [from.parent(), to.parent()].into_iter().flatten() {
            self.renamed.insert(parent.to_owned(), to.to_owned());
        }
    }

    fn finish(mut self) -> Vec<String> {
        for path in &self.unsynced {
            self.faults.push(format!("{} was never fsynced after its last change", path.display()));
        }
        for (parent, renamed) in &self.renamed {
            self.faults.push(format!("{} was never fsynced after {} was renamed", parent.display(), renamed.display()));
        }
        if self.renames == 0 {
            self.faults.push(format!("nothing beneath {} was ever renamed: nothing is shown", self.root.display()));
        }
        self.faults
    }
}
