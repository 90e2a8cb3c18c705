//! The child of root's command that runs as the store's owner: how it becomes the owner, and how root keeps it in
//! check.
//!
//! ```text
//!  root ──▶ child, still root: session of its own · no new rights · the owner's uid and gid, no other group, no capability
//!    │         · closed to the owner's other processes ──▶ only now: command line, configuration, store, network
//!    ├─ reads its output through pipes, and passes on what no terminal obeys
//!    └─ ends it: at the deadline, at SIGINT, SIGTERM, SIGHUP; and the kernel does if root's process is gone
//! ```
//! The owner may be captured, and all that runs with its uid works for somebody else. So the child has no terminal
//! whose keys could be typed for root, and no open file of root's. What the kernel can do from outside (pipes, no other
//! file) is done by root before it begins. The rest is done by the child, and root relies on it: until it is the owner,
//! it is root's own program run as root, which has read no byte of the owner's and which the owner cannot touch. It
//! does not become the owner by an exec, after which the kernel would lay it open until it says otherwise
//! (PR_SET_DUMPABLE): at no moment can another process of the owner's trace it or read its memory and its environment,
//! in which a source's secret may stand.

use std::ffi::OsStr;
use std::io::{self, Stderr, Stdout};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{DumpableBehavior, Pid, Signal, getppid, kill_process};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child as Process, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::signal::unix::SignalKind;
use tokio::time::{sleep, timeout};

use super::relay::Relay;
use crate::commands::{Failure, operator};
use crate::exit::Exit;
use crate::signals::Signals;
use crate::targets::process::LAST_GRACE;

/// Set for the child: the uid and gid it becomes, and its parent's pid.
const MARK: &str = "TRUSTSYNC_AS_OWNER";

/// How long root may take to answer a question.
const ANSWERING: Duration = Duration::from_secs(600);

/// How long we read on, at most, once the child has ended: what it wrote is in the pipes by then, and what it started
/// may hold them open for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// A user and its group.
pub type Owner = (u32, u32);

/// This process was started to become the store's owner, and cannot.
#[derive(Debug, thiserror::Error)]
#[error(
    "this process could not become the store's owner ({what}: {why}), and goes no further as root. Nothing was done; \
     trust is unchanged. In a container, root needs the capabilities SETUID, SETGID and KILL for a store that is \
     another user's"
)]
pub struct StillRoot {
    what: &'static str,
    why: String,
}

/// Where root has started this process as its child, becomes the store's owner for good; whether it is one. To be
/// called before anything is read, and before there is a second thread: uids are threads' own to the kernel.
pub fn begin() -> Result<bool, StillRoot> {
    let Some(mark) = std::env::var_os(MARK) else { return Ok(false) };
    if !rustix::process::geteuid().is_root() {
        // It was set by somebody who is not root, and has nothing to give up.
        return Ok(false);
    }
    let Some(((user, group), parent)) = read(&mark) else {
        return Err(StillRoot { what: MARK, why: format!("{mark:?} names no user, group and parent") });
    };
    let step = |what| move |errno: rustix::io::Errno| StillRoot { what, why: errno.to_string() };
    let closed = || rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    closed().map_err(step("prctl(PR_SET_DUMPABLE)"))?;
    rustix::process::setsid().map_err(step("setsid"))?;
    rustix::thread::set_no_new_privs(true).map_err(step("prctl(PR_SET_NO_NEW_PRIVS)"))?;
    rustix::thread::set_thread_groups(&[]).map_err(step("setgroups"))?;
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    rustix::thread::set_thread_res_gid(group, group, group).map_err(step("setresgid"))?;
    rustix::thread::set_thread_res_uid(user, user, user).map_err(step("setresuid"))?;
    // They went with the uid, unless root's own process keeps them (securebits).
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, none).map_err(step("capset"))?;
    // The change of uid has set it to fs.suid_dumpable, which opens no process unless an administrator made it 1
    // (debug), and has taken the death signal away.
    closed().map_err(step("prctl(PR_SET_DUMPABLE)"))?;
    let death = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
    death.map_err(step("prctl(PR_SET_PDEATHSIG)"))?;
    if getppid() != Some(parent) {
        return Err(StillRoot { what: "getppid", why: "root's process has ended meanwhile".to_owned() });
    }
    Ok(true)
}

fn read(mark: &OsStr) -> Option<(Owner, Pid)> {
    let mut numbers = mark.to_str()?.split(':');
    let owner = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let parent = Pid::from_raw(numbers.next()?.parse().ok()?)?;
    (owner.0 != 0 && numbers.next().is_none()).then_some((owner, parent))
}

/// In the child: returns when root asks it to end; what the command has started ends with it.
pub async fn asked_to_end() {
    match Signals::listen([((), SignalKind::terminate())]) {
        Ok(mut signals) => signals.next().await,
        // The signal ends the process by itself, then.
        Err(_) => std::future::pending().await,
    }
}

const WHAT_STANDS: &str = "What servers trust is whole, the generation from before or a new one: `trustsync status` \
                           shows which, and what is still owed is paid in the next cycle.";

/// The running child. Killed when dropped.
pub struct Child {
    process: Process,
    owner: Owner,
    asks: bool,
    stdout: Relay<ChildStdout, Stdout>,
    stderr: Relay<ChildStderr, Stderr>,
    signals: Signals<&'static str>,
}

impl Child {
    /// Starts the same command again, with these variables alone. With `asks`, root answers its question.
    pub fn start(owner: Owner, variables: impl Iterator<Item = (String, String)>, asks: bool) -> Result<Self, Failure> {
        let failed = |what: &str, error: io::Error| {
            let user = owner.0;
            Failure::Other(format!(
                "the command could not be run as the store's owner, uid {user} ({what}: {error}). Nothing was done; \
                 trust is unchanged"
            ))
        };
        let signals = signals_to_end().map_err(|error| failed("signals", error))?;
        let program = std::env::current_exe().map_err(|error| failed("where we are is unknown", error))?;
        // Root's shell may have left us any file open, its terminal too, and a lock that only its end gives free.
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        let (user, group) = owner;
        let mut process = Command::new(program)
            .args(std::env::args_os().skip(1))
            .env_clear()
            .envs(variables)
            .env(MARK, format!("{user}:{group}:{}", std::process::id()))
            .env(operator::OPERATOR, operator::who())
            .envs(asks.then_some((operator::ASKS, "1")))
            .stdin(if asks { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed("it could not be started", error))?;
        let (Some(stdout), Some(stderr)) = (process.stdout.take(), process.stderr.take()) else {
            return Err(failed("its output", io::Error::from(io::ErrorKind::NotFound)));
        };
        if let Some(to) = process.stdin.take() {
            tokio::spawn(pass_answer_on(to));
        }
        Ok(Self {
            process,
            owner,
            asks,
            stdout: Relay::new(stdout, io::stdout(), "stdout"),
            stderr: Relay::new(stderr, io::stderr(), "stderr"),
            signals,
        })
    }

    /// Passes on what it says until it ends, and ends it if it does not within the limit, or if a signal asks us to
    /// end.
    pub async fn watch(mut self, limit: Duration) -> Result<Exit, Failure> {
        let user = self.owner.0;
        let limit = if self.asks { limit.saturating_add(ANSWERING) } else { limit };
        let unfinished = tokio::select! {
            status = self.process.wait() => Ok(status),
            never = self.stdout.drain_on() => match never {},
            never = self.stderr.drain_on() => match never {},
            () = sleep(limit) => {
                let limit = humantime::format_duration(limit);
                Err(format!(
                    "the command did not end within {limit}, the longest that it can take, and was ended (it ran as \
                     the store's owner, uid {user}). {WHAT_STANDS} If somebody stopped it (SIGSTOP), look at what runs \
                     as that user; then run the command again"
                ))
            }
            signal = self.signals.next() => Err(format!("the command was ended, since {signal} came. {WHAT_STANDS}")),
        };
        let ended = match unfinished {
            Ok(status) => Ok(status.map_err(Failure::other)?),
            Err(unfinished) => {
                self.end().await;
                Err(unfinished)
            }
        };
        let last_words = async { tokio::join!(self.stdout.drain(), self.stderr.drain()) };
        let _ = timeout(LAST_WORDS, last_words).await;
        let passed_on = self.stdout.finish().and(self.stderr.finish());
        let exit = ended.and_then(|status| exit_of(user, status)).map_err(Failure::other)?;
        passed_on.map_err(Failure::Output)?;
        Ok(exit)
    }

    /// TERM, so that it ends what it has started; then KILL.
    async fn end(&mut self) {
        // As long as we have not waited for it, its pid belongs to no other process; once we have, `id` is empty.
        let pid = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        for signal in [Signal::TERM, Signal::CONT] {
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
        let Self { process, stdout, stderr, .. } = self;
        let in_time = async {
            tokio::select! {
                _ = process.wait() => {}
                never = stdout.drain_on() => match never {},
                never = stderr.drain_on() => match never {},
            }
        };
        if timeout(LAST_GRACE, in_time).await.is_err() {
            let _ = self.process.start_kill();
            // Not even KILL ends one that waits for a disk that has gone away; then it is left to the kernel.
            let _ = timeout(LAST_GRACE, self.process.wait()).await;
        }
    }
}

/// One line of root's terminal, and no more: what else is typed there is for root's shell. A child that never asks ends
/// while this waits.
async fn pass_answer_on(mut to: ChildStdin) {
    if let Ok(Ok(line)) = tokio::task::spawn_blocking(operator::read_line).await {
        // One that has ended needs no answer.
        let _ = to.write_all(line.as_bytes()).await;
    }
}

fn exit_of(user: u32, status: ExitStatus) -> Result<Exit, String> {
    match (status.code(), status.signal()) {
        (None, Some(signal)) => Err(format!(
            "the command, which ran as the store's owner (uid {user}), was ended by signal {signal}, which root did \
             not send. {WHAT_STANDS} Look at what runs as that user, and whether memory ran out; then run the command \
             again"
        )),
        (code, _) => {
            let known = Exit::ALL.into_iter().find(|exit| Some(*exit as i32) == code);
            Ok(known.unwrap_or(Exit::Unexpected))
        }
    }
}

/// The signals that ask us to end. One that our caller wants ignored (nohup) stays ignored.
fn signals_to_end() -> io::Result<Signals<&'static str>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let all = [
        ("SIGINT", SignalKind::interrupt()),
        ("SIGTERM", SignalKind::terminate()),
        ("SIGHUP", SignalKind::hangup()),
        ("SIGQUIT", SignalKind::quit()),
    ];
    Signals::listen(all.into_iter().filter(|(_, kind)| {
        let bit = u32::try_from(kind.as_raw_value().saturating_sub(1)).unwrap_or_default();
        ignored.checked_shr(bit).unwrap_or(0) & 1 == 0
    }))
}
