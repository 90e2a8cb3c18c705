//! Our child processes; and as process 1 of a container also those that nobody else waits for.
//!
//! ```text
//!  spawn ─▶ ours, until we have waited for it
//!  SIGCHLD ─▶ a child that has ended and is not ours: waited for, so that it does not stay as a zombie
//! ```
//! A process whose parent has ended becomes a child of process 1. Whatever a check or a reload leaves behind comes to
//! us that way, where we are that process. How one of our own ended is for its own waiter to learn.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitId, WaitIdOptions, getpid, waitid};
use tokio::process::{Child as Process, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Our children, by number; whether somebody still holds each.
static OURS: Mutex<BTreeMap<u32, bool>> = Mutex::new(BTreeMap::new());

fn ours() -> MutexGuard<'static, BTreeMap<u32, bool>> {
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child of ours.
#[derive(Debug)]
pub struct Child(Process);

/// Starts a child.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    // It may end at once: nobody looks until it is known to be ours.
    let mut ours = ours();
    let process = command.spawn()?;
    ours.extend(process.id().map(|id| (id, true)));
    Ok(Child(process))
}

impl Child {
    /// Its number, until it was waited for.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// How it ended. May be dropped, and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let id = self.0.id();
        let status = self.0.wait().await?;
        id.and_then(|id| ours().remove(&id));
        Ok(status)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The runtime still waits for it, so it stays ours until it is gone.
        if let Some(id) = self.0.id() {
            ours().entry(id).and_modify(|held| *held = false);
        }
    }
}

/// As process 1, waits for every child that is not ours, for ever. It does nothing in any other process, which has
/// none.
pub async fn wait_for_orphans() {
    if !getpid().is_init() {
        return;
    }
    let Ok(mut ended) = signal(SignalKind::child()) else { return };
    loop {
        reap();
        ended.recv().await;
    }
}

fn reap() {
    let mut ours = ours();
    let children: BTreeMap<i32, char> = children_of(getpid());
    ours.retain(|id, held| *held || i32::try_from(*id).is_ok_and(|id| children.contains_key(&id)));
    for (number, state) in children {
        let is_ours = u32::try_from(number).is_ok_and(|id| ours.contains_key(&id));
        if state == 'Z'
            && !is_ours
            && let Some(pid) = Pid::from_raw(number)
        {
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
    }
}

/// The children of a process, each with its state, as far as `/proc` shows them.
fn children_of(parent: Pid) -> BTreeMap<i32, char> {
    let numbers = fs::read_dir("/proc").into_iter().flatten();
    let numbers = numbers.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    numbers
        .filter_map(|number| {
            let (state, of) = state_and_parent(number).ok()?;
            (of == parent.as_raw_nonzero().get()).then_some((number, state))
        })
        .collect()
}

/// The third and fourth field of /proc/PID/stat; the second, in parentheses, may hold anything (proc_pid_stat(5)).
pub fn state_and_parent(pid: i32) -> io::Result<(char, i32)> {
    let stat = fs::read(format!("/proc/{pid}/stat"))?;
    let stat = String::from_utf8_lossy(&stat);
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = after_name.split_whitespace();
    let state = fields.next().and_then(|field| field.chars().next());
    let parent = fields.next().and_then(|field| field.parse().ok());
    state.zip(parent).ok_or_else(|| io::Error::other("no state and parent"))
}
