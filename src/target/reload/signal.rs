//! A reload by a signal to the process that a pidfile names.
//!
//! A pidfile outlives its process and numbers are used again, so the process is first held by a pidfd, which can come to
//! mean no other one, then asked who it is, and only then signalled through that pidfd.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use crate::settings::resolved::Signal;
use crate::target::process::printable;
use crate::target::reload::{ReloadError, Told};

/// The longest name that /proc/PID/comm shows (`TASK_COMM_LEN` - 1, proc_pid_comm(5)).
const COMM_LENGTH: usize = 15;

/// More than any number with its line end.
const PIDFILE_LENGTH: u64 = 64;

pub(super) fn send(signal: Signal, pidfile: &Path, process: &str) -> Result<Told, ReloadError> {
    let pid = read_pidfile(pidfile)?;
    let number = pid.as_raw_nonzero().get();
    let stale = || ReloadError::Stale { path: pidfile.to_owned(), pid: number };
    let held = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| match errno {
        Errno::SRCH => stale(),
        errno => ReloadError::Signal { pid: number, reason: errno.to_string() },
    })?;
    let name = name_of(number, process);
    // A zombie still has a name, and one that ended while we looked has none.
    if has_ended(&held) {
        return Err(stale());
    }
    match name {
        Ok(found) if found == process => {}
        Ok(found) => {
            let wanted = process.to_owned();
            return Err(ReloadError::OtherProcess { path: pidfile.to_owned(), pid: number, found, wanted });
        }
        Err(error) => {
            return Err(ReloadError::Hidden { path: pidfile.to_owned(), pid: number, reason: error.to_string() });
        }
    }
    let sent = match signal {
        Signal::Hup => rustix::process::Signal::HUP,
        Signal::Usr1 => rustix::process::Signal::USR1,
        Signal::Usr2 => rustix::process::Signal::USR2,
    };
    match pidfd_send_signal(&held, sent) {
        Ok(()) => Ok(Told::Signalled { pid: number, signal }),
        Err(Errno::SRCH) => Err(stale()),
        Err(errno @ Errno::PERM) => Err(ReloadError::NotPermitted { pid: number, reason: errno.to_string() }),
        Err(errno) => Err(ReloadError::Signal { pid: number, reason: errno.to_string() }),
    }
}

/// One decimal number above 1 (0 and negative ones mean groups to kill(2), 1 is init), with a line end at most.
fn read_pidfile(path: &Path) -> Result<Pid, ReloadError> {
    let unreadable = |source| ReloadError::PidfileUnreadable { path: path.to_owned(), source };
    // NONBLOCK: a FIFO in its place must not hold us up.
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY).bits()).unwrap_or(0);
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is no regular file")));
    }
    let mut content = Vec::new();
    file.take(PIDFILE_LENGTH + 1).read_to_end(&mut content).map_err(unreadable)?;
    let digits = content.trim_ascii();
    let number =
        (content.len() as u64 <= PIDFILE_LENGTH && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit))
            .then(|| std::str::from_utf8(digits).ok()?.parse::<i32>().ok())
            .flatten()
            .filter(|number| *number > 1);
    number.and_then(Pid::from_raw).ok_or_else(|| ReloadError::PidfileGarbage {
        path: path.to_owned(),
        found: printable(&content).chars().take(40).collect(),
    })
}

/// The file name of its executable, where we may see it, else its `comm`.
fn name_of(pid: i32, wanted: &str) -> io::Result<String> {
    if let Ok(executable) = fs::read_link(format!("/proc/{pid}/exe")) {
        let name = executable.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // An upgraded server runs on from a file that is gone.
        return Ok(name.strip_suffix(" (deleted)").map_or(name.clone(), str::to_owned));
    }
    let mut comm = fs::read_to_string(format!("/proc/{pid}/comm"))?;
    if comm.ends_with('\n') {
        comm.pop();
    }
    // comm is cut: as much of it as can be seen must agree.
    Ok(if wanted.len() > COMM_LENGTH && wanted.get(..COMM_LENGTH) == Some(&comm) { wanted.to_owned() } else { comm })
}

/// A pidfd is readable once its process has ended (pidfd_open(2)).
fn has_ended(held: &OwnedFd) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(held.as_fd(), PollFlags::IN)];
    matches!(poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}
