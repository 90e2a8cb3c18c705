//! The server's own check of its configuration, with the new generation where it will stand.
//!
//! ```text
//!  in private (root):   unshare --mount ─▶ bind NEW over what the link resolves to ─▶ nginx -t     nobody else sees it
//!  in place:            nginx -t, before the link is switched and after
//!  a start (root):      unshare the network, processes, IPC too ─▶ bind ─▶ the server itself, until it serves
//!  no namespaces:       of a start, the same program's own test is left: apache2ctl -t, in place
//! ```
//! Whether a check notices a broken file is seen by showing it one: see [`canary`].

pub mod canary;
mod room;

use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

pub use crate::targets::process::Environment;
use crate::targets::process::{OUTPUT_KEPT, Ran, Run, RunError};
use crate::targets::ways::{Check, CheckWay, Start};
use room::Room;

/// Which files a check reads.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// Those that stand there.
    AsItStands,
    /// Those of the folder `new`, where `link` leads, seen by nobody else.
    Private {
        /// The folder of one generation.
        new: &'a Path,
        /// The path that the server's configuration names.
        link: &'a Path,
    },
}

/// What the server's own check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The server would load this.
    Passed,
    /// The server would refuse this.
    Failed {
        /// How the check ended, and what it said.
        output: String,
    },
    /// The check itself could not be run, so nothing is known of the generation.
    CouldNotRun(String),
    /// No private view of the files could be made; a check in place may still work.
    PrivateUnavailable(String),
}

/// Runs the check in its own way. A start is private in any case, and only the files are as they stand. Where a start
/// of those is unavailable, the same program's own test takes its place: it sees less, but what it refuses would end
/// the server.
pub async fn run(check: Check<'_>, view: View<'_>, environment: &Environment, limit: Duration) -> CheckOutcome {
    if check.argv.is_empty() {
        return CheckOutcome::CouldNotRun(RunError::Empty.to_string());
    }
    let bound = match view {
        View::AsItStands => None,
        View::Private { new, link } => match resolved(new).and_then(|new| Ok([new, resolved(link)?])) {
            Ok(bound) => Some(bound),
            Err(why) => return CheckOutcome::PrivateUnavailable(why),
        },
    };
    match (check.way, bound) {
        (CheckWay::Test, None) => in_place(check.argv, environment, limit).await,
        (CheckWay::Test, Some([new, old])) => {
            let argv = in_namespaces(&["--mount"], IN_PRIVATE, &[&new, &old], check.argv);
            in_view(&argv, environment, limit, "no private mount namespace with the new files over the old").await
        }
        (CheckWay::Start(start), bound) => {
            let is_as_it_stands = bound.is_none();
            match started(start, check.argv, bound.unwrap_or_default(), environment, limit).await {
                CheckOutcome::PrivateUnavailable(_) if is_as_it_stands => {
                    in_place(&check.in_place(), environment, limit).await
                }
                outcome => outcome,
            }
        }
    }
}

async fn in_place(argv: &[String], environment: &Environment, limit: Duration) -> CheckOutcome {
    match (Run { argv, environment, limit, output_kept: OUTPUT_KEPT }).to_end().await {
        Ok(ran) => verdict(ran),
        Err(error) => CheckOutcome::CouldNotRun(error.to_string()),
    }
}

/// Starts the server in private, with the first of the `bound` folders where the second stands, and ends it once it
/// would serve.
async fn started(
    start: &Start,
    argv: &[String],
    bound: [String; 2],
    environment: &Environment,
    limit: Duration,
) -> CheckOutcome {
    if !rustix::process::geteuid().is_root() {
        return CheckOutcome::PrivateUnavailable("a start in namespaces of its own needs root".to_owned());
    }
    let room = match Room::new() {
        Ok(room) => room,
        Err(why) => return CheckOutcome::PrivateUnavailable(why),
    };
    let [new, old] = bound;
    let flags = ["--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child"];
    let argv = in_namespaces(&flags, start.script, &[&room.path().to_string_lossy(), &new, &old], argv);
    in_view(&argv, environment, limit, "no namespaces of its own with the new files over the old").await
}

/// `$1` is bound over `$2`, then the rest is run.
const IN_PRIVATE: &str = r#"mount --bind -- "$1" "$2" || exit 1
printf '%s\n' 'trustsync: the private view stands'
shift 2
exec "$@""#;

/// The command that runs `script` in new namespaces, with `arguments` and then the check's own command.
fn in_namespaces(flags: &[&str], script: &str, arguments: &[&str], argv: &[String]) -> Vec<String> {
    let shell = ["--propagation", "private", "--", "sh", "-c", script, "sh"];
    let unshare = ["unshare"].iter().chain(flags).chain(&shell).chain(arguments).map(ToString::to_string);
    unshare.chain(argv.iter().cloned()).collect()
}

/// Says that the private view stands: what failed before this line was ours, what fails after it is the check.
pub const VIEW_STANDS: &str = "trustsync: the private view stands";

/// Runs what makes a private view, says so by [`VIEW_STANDS`], and then is the check. `missing` is what could not be
/// made if that line never comes.
async fn in_view(argv: &[String], environment: &Environment, limit: Duration, missing: &str) -> CheckOutcome {
    let ran = match (Run { argv, environment, limit, output_kept: OUTPUT_KEPT }).to_end().await {
        Ok(ran) => ran,
        Err(error) => return CheckOutcome::PrivateUnavailable(error.to_string()),
    };
    match ran.output.split_once(VIEW_STANDS).map(|(_, output)| output.to_owned()) {
        Some(output) => verdict(Ran { output, ..ran }),
        None => CheckOutcome::PrivateUnavailable(format!("{missing} could be made ({})", ran.describe())),
    }
}

/// 126 and 127 are what `exec` of a shell, and every wrapper after its model, say of a program that cannot be run. One
/// that may not read what it checks says nothing of it.
fn verdict(ran: Ran) -> CheckOutcome {
    match ran.status.code() {
        _ if ran.timed_out => CheckOutcome::CouldNotRun(ran.describe()),
        Some(0) => CheckOutcome::Passed,
        Some(126 | 127) => CheckOutcome::CouldNotRun(ran.describe()),
        _ => {
            let user = rustix::process::geteuid();
            match refused_access(&ran.output) {
                Some(line) if !user.is_root() => CheckOutcome::CouldNotRun(format!(
                    "as uid {} it may not read what it must (EACCES), and privileged = true has root make it\n{line}",
                    user.as_raw()
                )),
                _ => CheckOutcome::Failed { output: ran.describe() },
            }
        }
    }
}

/// The line of a failed check that says that access was refused, if that is what ended it: servers say last what broke,
/// and before it they may warn of a log that they cannot open.
#[must_use]
pub fn refused_access(said: &str) -> Option<&str> {
    let errno = io::Error::from(Errno::ACCESS).to_string();
    let words = errno.split(" (").next().unwrap_or("Permission denied");
    let says = |line: &&str| line.contains(words);
    let emergency = said.lines().rfind(|line| line.contains("emerg"));
    emergency.map_or_else(|| said.lines().rfind(says), |line| Some(line).filter(says)).map(str::trim)
}

/// Where a path leads, without symlinks.
fn resolved(path: &Path) -> Result<String, String> {
    let whole = path.canonicalize().map_err(|error| format!("{} cannot be resolved: {error}", path.display()))?;
    whole.into_os_string().into_string().map_err(|path| format!("{path:?} is not UTF-8"))
}
