//! The server's own check of its configuration, with the new generation where it will stand.
//!
//! ```text
//!  in private (root):   unshare --mount ─▶ bind NEW over what the link resolves to ─▶ nginx -t     nobody else sees it
//!  in place:            nginx -t, before the link is switched and after
//!  a start (root):      unshare the network, processes, IPC too ─▶ bind ─▶ the server itself, until it serves
//!  no namespaces:       of a start, the same program's own test is left: apache2ctl -t, in place
//! ```
//! Whether a check looks at the files at all is seen by showing it broken ones: see [`canary`].

pub mod canary;
mod start;
mod verdict;

use std::path::Path;
use std::time::Duration;

pub use crate::targets::process::Environment;
use crate::targets::process::{OUTPUT_KEPT, Run, RunError};
use crate::targets::ways::{Check, CheckWay};
pub use verdict::{CheckOutcome, VIEW_STANDS};
use verdict::{judged, run_in_view};

/// How long a server's check may take: a big configuration with slow name resolution takes tens of seconds.
pub const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// Which files a check is to judge.
#[derive(Debug, Clone, Copy)]
pub enum View<'a> {
    /// Those that stand there.
    AsItStands,
    /// Those of the folder `new`, where `link` leads, seen by nobody else.
    Private {
        /// The generation.
        new: &'a Path,
        /// What the server's files name.
        link: &'a Path,
    },
}

/// Judges by the check's own way. A start is private in any case, and only the files are as they stand; where it is not to
/// be had, what stands is judged by the same program's own test, which sees less, but what it refuses would end the server.
pub async fn judge(check: Check<'_>, view: View<'_>, environment: &Environment, limit: Duration) -> CheckOutcome {
    match (check.way, view) {
        (CheckWay::Test, View::AsItStands) => in_place(check.argv, environment, limit).await,
        (CheckWay::Test, View::Private { new, link }) => in_private(check.argv, new, link, environment, limit).await,
        (CheckWay::Start(start), View::AsItStands) => {
            match start::judge(start, check.argv, None, environment, limit).await {
                CheckOutcome::PrivateUnavailable(_) => in_place(&check.in_place(), environment, limit).await,
                judged => judged,
            }
        }
        (CheckWay::Start(start), View::Private { new, link }) => match resolved(new, link) {
            Ok((new, old)) => start::judge(start, check.argv, Some((&new, &old)), environment, limit).await,
            Err(reason) => CheckOutcome::PrivateUnavailable(reason),
        },
    }
}

/// Runs the check with the files as they stand.
pub async fn in_place(argv: &[String], environment: &Environment, limit: Duration) -> CheckOutcome {
    match (Run { argv, environment, limit, output_kept: OUTPUT_KEPT }).to_end().await {
        Ok(ran) => judged(&ran, &ran.output),
        Err(error) => CheckOutcome::CouldNotRun(error.to_string()),
    }
}

/// `$1` is bound over `$2`, then the rest is run.
const IN_PRIVATE: &str = r#"mount --bind -- "$1" "$2" || exit 1
printf '%s\n' 'trustsync: the private view stands'
shift 2
exec "$@""#;

/// Runs the check in a mount namespace of its own, where the directory that `link` resolves to shows the content of
/// `new`. The rest of the machine goes on seeing the old one. Needs root and util-linux.
pub async fn in_private(
    argv: &[String],
    new: &Path,
    link: &Path,
    environment: &Environment,
    limit: Duration,
) -> CheckOutcome {
    if argv.is_empty() {
        return CheckOutcome::CouldNotRun(RunError::Empty.to_string());
    }
    let (new, old) = match resolved(new, link) {
        Ok(resolved) => resolved,
        Err(reason) => return CheckOutcome::PrivateUnavailable(reason),
    };
    let mut wrapped: Vec<String> =
        ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", IN_PRIVATE, "sh"]
            .map(String::from)
            .to_vec();
    wrapped.extend([new, old]);
    wrapped.extend_from_slice(argv);
    run_in_view(&wrapped, environment, limit, "no private mount namespace with the new files over the old").await
}

/// Where the new folder stands and the one that the link resolves to.
fn resolved(new: &Path, link: &Path) -> Result<(String, String), String> {
    let stands = |path: &Path| {
        path.canonicalize()
            .map_err(|error| format!("{} cannot be resolved: {error}", path.display()))
            .and_then(|path| path.into_os_string().into_string().map_err(|path| format!("{path:?} is no UTF-8")))
    };
    Ok((stands(new)?, stands(link)?))
}
