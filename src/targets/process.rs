//! Runs a program that is not ours: a server's own check, a reload command, a hook.
//!
//! What the rest of trustsync may rely on: no shell is involved; the program gets `PATH`, `LANG=C` and the
//! `TRUSTSYNC_*` variables it was given, and no input; when its time is over, it is ended with all that it started in
//! its process group; its output is kept up to a bound; and nothing that it leaves behind can hold us up, or is harmed
//! by our end: a server that it started in the background goes on writing to where we read no more, and a process of
//! its own reads that and throws it away. (A file in memory in the pipe's place would need no reader, but has to be
//! bounded: then that server's writes fail one day, which ends those that take a failed write to heart, and a script's
//! `>/dev/stderr`, which truncates, fails at once.)

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::children::{self, Child};
use crate::trust::values::excerpt;

/// How much of a program's output is kept, unless its caller says otherwise.
pub const OUTPUT_KEPT: usize = 64 * 1024;

/// How long a program has between TERM and KILL.
pub const LAST_GRACE: Duration = Duration::from_secs(2);

/// How long we read on, at most, once the program itself has ended: what it started may hold its output open for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// How much of a command is logged.
const COMMAND_SHOWN: usize = 400;

/// Where programs are found when we have no `PATH` of our own.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Where servers and their tools are, and where nobody's `PATH` need look: cron's has none of these.
const ALWAYS_SEARCHED: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The `TRUSTSYNC_*` variables that a program is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// With `TRUSTSYNC_<name>` set to `value`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.insert(format!("TRUSTSYNC_{name}"), value.as_ref().to_owned());
        self
    }

    /// `TRUSTSYNC_DIRECTORY`: the link beneath which the server reads its files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.0.get("TRUSTSYNC_DIRECTORY").map_or(Path::new(""), Path::new)
    }
}

/// What to run, and its bounds.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    /// The program and its arguments.
    pub argv: &'a [String],
    /// The variables it is given.
    pub environment: &'a Environment,
    /// How long it may take.
    pub limit: Duration,
    /// How many bytes of its output are kept; the rest is read and thrown away.
    pub output_kept: usize,
}

/// What became of a program that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code, or the signal that ended it.
    pub status: ExitStatus,
    /// The beginning of what it wrote to stdout and stderr, in the order written, with no control characters but line
    /// ends and tabs.
    pub output: String,
    /// It wrote more than was kept.
    pub output_cut: bool,
    /// We ended it, since its time was over.
    pub timed_out: bool,
}

/// Why a program could not be run, so that nothing is known of how it ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The list is empty.
    #[error("the command is empty: it needs at least a program's name")]
    Empty,
    /// The program could not be started, or not watched to its end.
    #[error("{program} could not be {what}: {source}")]
    Failed {
        /// Its name, as configured.
        program: String,
        /// `started` or `watched`.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Ran {
    /// It ended in time, with exit code 0.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.success() && !self.timed_out
    }

    /// How it ended, and what it wrote, for people: `exit code 1: nginx: [emerg] ...`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = if self.timed_out {
            "it did not end in time and was killed".to_owned()
        } else if let Some(code) = self.status.code() {
            format!("exit code {code}")
        } else {
            self.status.to_string()
        };
        let output = self.output.trim();
        if !output.is_empty() {
            text.push_str(": ");
            text.push_str(output);
        }
        if self.output_cut {
            text.push_str(" [...]");
        }
        text
    }
}

impl Run<'_> {
    /// Runs it to its end, or to the end of its time, and logs that. If the future is dropped, the whole group is
    /// killed.
    pub async fn to_end(&self) -> Result<Ran, RunError> {
        let begun = Instant::now();
        let ran = self.watch().await;
        let ended = match &ran {
            Ok(Ran { timed_out: true, .. }) => "timed out".to_owned(),
            Ok(ran) => ran.status.to_string(),
            Err(error) => error.to_string(),
        };
        // All users of the machine can see the arguments of a process, so they are not a secret.
        let words: Vec<&str> = self.argv.iter().flat_map(|argument| argument.split_whitespace()).collect();
        let command = excerpt::beginning(&words.join(" "), COMMAND_SHOWN);
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        log_line!(CommandEnded, command, took_ms, ended, "a command was run to its end");
        ran
    }

    // Long because one loop over one process: its output, its end, its deadline.
    async fn watch(&self) -> Result<Ran, RunError> {
        let Some((program, arguments)) = self.argv.split_first() else {
            return Err(RunError::Empty);
        };
        let failed = |what| move |source| RunError::Failed { program: program.clone(), what, source };
        let lost = failed("watched");
        let deadline = Instant::now() + self.limit;

        let (reader, writer) = io::pipe().map_err(lost)?;
        let mut output = Output {
            from: Some(pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(lost)?),
            kept: Vec::new(),
            bound: self.output_kept,
            cut: false,
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", search_path())
            .env("LANG", "C")
            .envs(&self.environment.0)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(lost)?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = children::spawn(&mut command).map_err(failed("started"))?;
        // It holds our end of its output.
        drop(command);
        // Declared after the child, so dropped before it: as long as the child is not reaped, no other process can have
        // the group's number.
        let mut group = Group::of(&child);

        let in_time = tokio::select! {
            // Cancel-safe: `wait` may be called again, and a dropped `read` has read nothing.
            status = timeout_at(deadline, child.wait()) => status.ok(),
            never = output.read_and_wait() => match never {},
        };
        let (status, timed_out) = match in_time {
            Some(status) => (status, false),
            None => {
                group.signal(Signal::TERM);
                let _ = timeout(LAST_GRACE, async {
                    output.read().await;
                    while !group.leader_has_ended() {
                        sleep(Duration::from_millis(20)).await;
                    }
                })
                .await;
                group.signal(Signal::KILL);
                (child.wait().await, true)
            }
        };
        group.ended();
        // What it started may live on for a purpose (a restarted server): it is left alone.
        if timeout(LAST_OUTPUT, output.read()).await.is_err() {
            output.leave();
        }
        Ok(Ran { status: status.map_err(lost)?, output: printable(&output.kept), output_cut: output.cut, timed_out })
    }
}

/// Our own, and where servers are.
fn search_path() -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut folders: Vec<PathBuf> = std::env::split_paths(&own).collect();
    for folder in ALWAYS_SEARCHED.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    std::env::join_paths(folders).unwrap_or(own)
}

/// The output, read as long as there is any and kept as far as is wanted.
struct Output {
    /// None once another process reads it.
    from: Option<pipe::Receiver>,
    kept: Vec<u8>,
    bound: usize,
    cut: bool,
}

impl Output {
    /// Reads to the end.
    async fn read(&mut self) {
        let Some(from) = &mut self.from else { return };
        let mut chunk = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            let space = self.bound.saturating_sub(self.kept.len());
            self.cut |= read > space;
            self.kept.extend(chunk.iter().take(read.min(space)));
        }
    }

    /// Leaves the rest to a process that reads it to its end, however long that takes: its writers live on, and would
    /// be ended by a pipe that nobody reads.
    fn leave(&mut self) {
        let Some(Ok(rest)) = self.from.take().map(pipe::Receiver::into_blocking_fd) else { return };
        let mut reader = Command::new("cat");
        reader.env_clear().env("PATH", search_path()).process_group(0);
        // Where there is no such program, the writers are on their own.
        let _ = children::spawn(reader.stdin(rest).stdout(Stdio::null()).stderr(Stdio::null()));
    }

    /// Reads to the end, and then waits for ever: an arm of a `select!` that only the other one ends.
    async fn read_and_wait(&mut self) -> std::convert::Infallible {
        self.read().await;
        std::future::pending().await
    }
}

/// The process group that a child leads. Killed when dropped, unless the child was seen to end.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.pid())
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            let _ = kill_process_group(leader, signal);
        }
    }

    /// Whether the leader is gone, without reaping it.
    fn leader_has_ended(&self) -> bool {
        let Some(leader) = self.0 else { return true };
        let without_reaping = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(leader), without_reaping), Ok(None))
    }

    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Output as it may be shown on a terminal or in a log: no control characters but line ends and tabs.
#[must_use]
pub fn printable(output: &[u8]) -> String {
    String::from_utf8_lossy(output).chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}
