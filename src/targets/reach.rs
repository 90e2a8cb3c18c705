//! Whether a user may do what a target's turn needs: read what the server's own check reads, and reach the server that
//! is to be told. It is seen before the first change, not at it: until then, a server that somebody else has told
//! proves everything.
//!
//! Nothing is told and nothing is changed: the check runs on the files as they stand, and a process is asked about
//! without a signal. What cannot be seen without doing it (`systemctl reload`, a command, a `POST`) is not judged.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};

use super::check::{self, CheckOutcome, View};
use super::process::Environment;
use super::reload::signal_obstacle;
use super::ways::{Check, CheckWay, Reload};
use crate::trust::values::excerpt::beginning;

/// More of a check's line is not shown.
const SHOWN: usize = 300;

/// Another user than ourselves, in whose place root looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What this process, or that user, may not do of it; each as the rest of a sentence.
pub async fn obstacles(
    check: Option<Check<'_>>,
    reload: &Reload,
    user: Option<User>,
    environment: &Environment,
    limit: Duration,
) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(check) = check {
        let argv = check.in_place();
        let outcome = run(&argv, user, environment, limit).await;
        found.extend(denied(&outcome).map(|line| {
            let (program, line) = (argv.first().map_or("", String::as_str), beginning(line, SHOWN));
            format!("cannot run the check ({program}) to its end, because it is refused access (EACCES): {line}")
        }));
    }
    for reload in reload.ways() {
        match reload {
            Reload::Signal { to, .. } => {
                found.extend(signal_obstacle(to, user.map(|user| user.uid), environment, limit).await)
            }
            Reload::Own { socket, .. } if socket.exists() => {
                if !may_connect(socket, user, environment, limit).await {
                    found.push(format!("may not connect to the server's socket {} (EACCES)", socket.display()));
                }
            }
            Reload::Own { .. } | Reload::Systemd { .. } | Reload::Command(_) | Reload::Http(_) | Reload::None => {}
        }
    }
    found
}

/// The line of a failed check that says that access was refused. A check that fails for another reason is the turn's to
/// tell.
fn denied(outcome: &CheckOutcome) -> Option<&str> {
    let (CheckOutcome::Failed { output: said } | CheckOutcome::CouldNotRun(said)) = outcome else { return None };
    check::refused_access(said)
}

async fn may_connect(socket: &Path, user: Option<User>, environment: &Environment, limit: Duration) -> bool {
    if user.is_none() {
        return !matches!(access(socket, Access::WRITE_OK), Err(rustix::io::Errno::ACCESS));
    }
    let argv = ["test", "-w", &socket.to_string_lossy()].map(str::to_owned);
    // 1 is the answer no; anything else means that nobody was asked.
    !matches!(run(&argv, user, environment, limit).await, CheckOutcome::Failed { output } if output == "exit code 1")
}

async fn run(argv: &[String], user: Option<User>, environment: &Environment, limit: Duration) -> CheckOutcome {
    let judge = |argv: Vec<String>| async move {
        check::run(Check { argv: &argv, way: CheckWay::Test }, View::AsItStands, environment, limit).await
    };
    let Some(user) = user else { return judge(argv.to_vec()).await };
    // A user without a name has no groups besides.
    let groups = if has_name(user.uid) { "--init-groups" } else { "--clear-groups" };
    let (uid, gid) = (format!("--reuid={}", user.uid), format!("--regid={}", user.gid));
    let become_user = ["setpriv", &uid, &gid, groups, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"];
    judge(become_user.iter().map(ToString::to_string).chain(argv.iter().cloned()).collect()).await
}

fn has_name(uid: u32) -> bool {
    let number = uid.to_string();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    users.lines().any(|line| line.split(':').nth(2) == Some(&number))
}
