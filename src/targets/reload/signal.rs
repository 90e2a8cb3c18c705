//! A reload by a signal to the server's process: the one that a pidfile names, the one of a name, or the main
//! process of a systemd unit.
//!
//! ```text
//!  find its number ─▶ hold it by a pidfd ─▶ is it still who is meant? ─▶ signal through the pidfd
//! ```
//! A pidfile outlives its process and numbers are used again: a pidfd can come to mean no other process, so whatever is
//! read while it is held is true of the process that the signal reaches. Nothing is remembered from one time to the
//! next.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::report::{ReloadError, ReloadReport};
use super::systemd;
use crate::children;
use crate::targets::process::{Environment, printable};
use crate::targets::ways::{Addressee, Signal};

/// The longest name that /proc/PID/comm shows (`TASK_COMM_LEN` - 1, proc_pid_comm(5)).
const COMM_LENGTH: usize = 15;

/// More than any number with its line end.
const PIDFILE_LENGTH: u64 = 64;

pub(super) async fn send(
    signal: Signal,
    to: &Addressee,
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    match to {
        Addressee::Pidfile { pidfile, process } => by_pidfile(signal, pidfile, process),
        Addressee::Process(process) => by_name(signal, process),
        Addressee::Unit(unit) => by_unit(signal, unit, environment, limit / 2).await,
    }
}

fn by_pidfile(signal: Signal, pidfile: &Path, process: &str) -> Result<ReloadReport, ReloadError> {
    let refused = |why: String| ReloadError::Pidfile { path: pidfile.to_owned(), why };
    let pid = read_pidfile(pidfile).map_err(refused)?;
    let number = pid.as_raw_nonzero().get();
    let names = |what: String| refused(format!("names process {number}, which {what}"));
    let stale = || names("does not exist: the server has stopped or crashed".to_owned());
    let held = Held::of(pid)?.ok_or_else(stale)?;
    let name = name_of(number, process);
    let is_worker =
        || parent_of(number).is_ok_and(|parent| name_of(parent, process).is_ok_and(|name| name.is(process)));
    let is_worker = matches!(&name, Ok(Name::Comm(_))) && is_worker();
    // A zombie still has a name, and one that ended meanwhile has none.
    if held.has_ended() {
        return Err(stale());
    }
    match name {
        // A process that is known only by a name that any process may give itself is known by its parent too.
        Ok(name) if name.is(process) && is_worker => {
            Err(names(format!("is a child of another {process:?}, and so not the master")))
        }
        Ok(name) if name.is(process) => held.send(signal)?.ok_or_else(stale),
        Ok(Name::Executable(found) | Name::Comm(found)) => {
            Err(names(format!("is {found:?} and not {process:?}: a stale pidfile, or `process` is wrong")))
        }
        Err(error) => Err(names(format!(
            "exists, but /proc/{number} does not show its name ({error}): /proc is hidden (hidepid, ProtectProc=) or \
             not mounted, and it might be any program"
        ))),
    }
}

/// The one process of this name whose parent has another: what its workers are children of.
fn by_name(signal: Signal, process: &str) -> Result<ReloadReport, ReloadError> {
    let refused = |why: String| ReloadError::Process { process: process.to_owned(), why };
    let hidden = |error: io::Error| {
        refused(format!(
            "cannot be looked for ({error}): /proc is hidden (hidepid, ProtectProc=) or not mounted, and there might \
             be several. Give its pidfile, or its systemd unit"
        ))
    };
    // Those who may not see init do not see every process.
    fs::read_to_string("/proc/1/comm").map_err(hidden)?;
    let mut masters = Vec::new();
    for entry in fs::read_dir("/proc").map_err(hidden)? {
        let number = entry.map_err(hidden)?.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
        let Some(pid) = number.filter(|number| *number > 1 && is_master(*number, process)).and_then(Pid::from_raw)
        else {
            continue;
        };
        let Some(held) = Held::of(pid)? else { continue };
        // Again, of the one that we hold.
        if is_master(held.number, process) && !held.has_ended() {
            masters.push(held);
        }
    }
    match masters.as_slice() {
        [] => Err(refused(
            "was not found: the server does not run, or has another name (that of its program's file; a script has its \
             interpreter's)"
                .to_owned(),
        )),
        [master] => {
            let ended = || ReloadError::Signal { pid: master.number, why: "ended just now".to_owned() };
            master.send(signal)?.ok_or_else(ended)
        }
        several => {
            let mut pids: Vec<i32> = several.iter().map(|master| master.number).collect();
            pids.sort_unstable();
            Err(refused(format!(
                "might be any of {pids:?}, which are not children of one: give its pidfile, or its systemd unit"
            )))
        }
    }
}

fn is_master(pid: i32, process: &str) -> bool {
    let has_name = |pid| name_of(pid, process).is_ok_and(|name| name.is(process));
    has_name(pid) && parent_of(pid).is_ok_and(|parent| !has_name(parent))
}

async fn by_unit(
    signal: Signal,
    unit: &str,
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    let refused = |why: String| ReloadError::Unit { unit: unit.to_owned(), why };
    let found = systemd::main_pid(unit, environment, limit).await?;
    // 1 would be the service manager itself.
    let pid = found.parse().ok().filter(|number| *number > 1).and_then(Pid::from_raw).ok_or_else(|| {
        let found = printable(found.as_bytes());
        refused(format!("has no main process ({found}): it does not run, or there is no such unit"))
    })?;
    let restarted = || {
        let number = pid.as_raw_nonzero();
        refused(format!("was restarted just now (process {number} is no longer its main process)"))
    };
    let held = Held::of(pid)?.ok_or_else(restarted)?;
    if systemd::main_pid(unit, environment, limit).await? != found {
        return Err(restarted());
    }
    held.send(signal)?.ok_or_else(restarted)
}

/// Why this process, or the user of this number, may not signal the server that is running now; nothing is signalled.
/// `None` also where that cannot be seen.
pub async fn obstacle(to: &Addressee, user: Option<u32>, environment: &Environment, limit: Duration) -> Option<String> {
    let pid = match to {
        Addressee::Pidfile { pidfile, .. } => match read_little(pidfile) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(format!("cannot read the server's pidfile {} (EACCES)", pidfile.display()));
            }
            _ => read_pidfile(pidfile).ok()?,
        },
        Addressee::Process(process) => {
            if user.is_none() && fs::read_to_string("/proc/1/comm").is_err() {
                return Some(format!(
                    "cannot look for the process {process:?}, since /proc is hidden (hidepid, ProtectProc=)"
                ));
            }
            let numbers =
                fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            Pid::from_raw(numbers.filter(|number: &i32| *number > 1).find(|number| is_master(*number, process))?)?
        }
        Addressee::Unit(unit) => {
            let found = systemd::main_pid(unit, environment, limit).await.ok()?;
            found.parse().ok().filter(|number| *number > 1).and_then(Pid::from_raw)?
        }
    };
    let may = match user {
        None => rustix::process::test_kill_process(pid) != Err(Errno::PERM),
        Some(user) => users_of(pid).is_none_or(|users| users.contains(&user)),
    };
    (!may).then(|| format!("may not signal the server, process {pid} of another user (EPERM)"))
}

/// Whose signals a process takes besides root's: its real and its saved user's (kill(2)).
fn users_of(pid: Pid) -> Option<[u32; 2]> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let users: Vec<u32> = users.split_whitespace().filter_map(|user| user.parse().ok()).collect();
    Some([*users.first()?, *users.get(2)?])
}

/// A process that is held: its number means nobody else.
struct Held {
    number: i32,
    pidfd: OwnedFd,
}

impl Held {
    /// None if there is no such process.
    fn of(pid: Pid) -> Result<Option<Self>, ReloadError> {
        let number = pid.as_raw_nonzero().get();
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { number, pidfd })),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(not_signalled(number, errno)),
        }
    }

    /// A pidfd is readable once its process has ended (pidfd_open(2)).
    fn has_ended(&self) -> bool {
        let mut watched = [PollFd::from_borrowed_fd(self.pidfd.as_fd(), PollFlags::IN)];
        matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }

    /// None if it has ended.
    fn send(&self, signal: Signal) -> Result<Option<ReloadReport>, ReloadError> {
        let pid = self.number;
        let sent = match signal {
            Signal::Hup => rustix::process::Signal::HUP,
            Signal::Usr1 => rustix::process::Signal::USR1,
            Signal::Usr2 => rustix::process::Signal::USR2,
        };
        match pidfd_send_signal(&self.pidfd, sent) {
            Ok(()) => Ok(Some(ReloadReport::Signalled { pid, signal })),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(not_signalled(pid, errno)),
        }
    }
}

fn not_signalled(pid: i32, errno: Errno) -> ReloadError {
    let advice = match errno {
        Errno::PERM => {
            ": only root or the server's own user may do so; use `reload = { systemd = ... }` or `privileged = true`"
        }
        _ => "",
    };
    ReloadError::Signal { pid, why: format!("could not be signalled ({errno}){advice}") }
}

/// One decimal number above 1 (0 and negative ones mean groups to kill(2), 1 is init), with a line end at most.
fn read_pidfile(path: &Path) -> Result<Pid, String> {
    let content = read_little(path).map_err(|error| {
        format!("cannot be read ({error}): the server does not run, or writes its pidfile elsewhere")
    })?;
    if content.trim_ascii().is_empty() {
        return Err("is empty: the server does not run (nginx -t leaves such a file where it does not)".to_owned());
    }
    let is_short = content.len() as u64 <= PIDFILE_LENGTH;
    let digits = std::str::from_utf8(content.trim_ascii())
        .ok()
        .filter(|text| is_short && text.len() <= 10 && !text.starts_with('+'));
    let number = digits.and_then(|digits| digits.parse().ok()).filter(|number| *number > 1);
    number.and_then(Pid::from_raw).ok_or_else(|| {
        let found: String = printable(&content).chars().take(40).collect();
        format!("holds {found:?}, which is not the number of a server process")
    })
}

/// A little more than a pidfile holds, of a regular file.
fn read_little(path: &Path) -> io::Result<Vec<u8>> {
    // NONBLOCK: a FIFO in its place must not hold us up.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(PIDFILE_LENGTH.saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}

/// By what a process is known.
enum Name {
    /// The file name of its executable.
    Executable(String),
    /// Its `comm`, which it may have given itself.
    Comm(String),
}

impl Name {
    fn is(&self, wanted: &str) -> bool {
        let (Self::Executable(name) | Self::Comm(name)) = self;
        name == wanted
    }
}

/// The file name of its executable, where we may see it, else its `comm`.
fn name_of(pid: i32, wanted: &str) -> io::Result<Name> {
    if let Ok(executable) = fs::read_link(format!("/proc/{pid}/exe")) {
        let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // An upgraded server runs on from a file that is gone.
        return Ok(Name::Executable(name.strip_suffix(" (deleted)").map_or(name.clone(), str::to_owned)));
    }
    let mut comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if comm.ends_with('\n') {
        comm.pop();
    }
    // comm is cut: as much of it as can be seen must agree.
    let is_cut = wanted.len() > COMM_LENGTH && wanted.get(..COMM_LENGTH) == Some(&comm);
    Ok(Name::Comm(if is_cut { wanted.to_owned() } else { comm }))
}

fn parent_of(pid: i32) -> io::Result<i32> {
    children::state_and_parent(pid).map(|(_, parent)| parent)
}
