//! What HAProxy's master says of a reload. USR2 and `systemctl reload` succeed whatever the new configuration is: that
//! its worker did not come up shows nowhere but in the master's `show proc`, as `[failed: N]`.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::socket::{HaproxyError, Trouble, ask};
use crate::targets::reload::{ReloadError, ReloadReport, request};
use crate::targets::ways::OwnReload;
use crate::trust::values::excerpt;

/// For how long the master may not answer before the reload: it does not listen while it starts, nor at the end of each
/// reload, when it executes itself anew.
const BUSY: Duration = Duration::from_secs(2);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(10);

/// How much of an answer is quoted that names no master.
const ANSWER_SHOWN: usize = 200;

/// A reload that lasts until the master says whether it succeeded.
pub(super) static RELOAD: OwnReload = OwnReload {
    key: "master",
    has_fallback: false,
    request: |socket, by, environment, limit| {
        Box::pin(async move {
            let deadline = Instant::now() + limit;
            let before = reloads(socket).await.map_err(|error| {
                ReloadError::Own(format!("the master could not be asked before the reload, so there was none: {error}"))
            })?;
            let by = request(by, environment, deadline.saturating_duration_since(Instant::now())).await?;
            reloaded(socket, before, deadline).await.map_err(|error| ReloadError::Own(error.to_string()))?;
            Ok(ReloadReport::Own(format!("{by}, and its master says that the reload succeeded")))
        })
    },
};

/// The master's counts of reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reloads {
    /// Since the master was started.
    pub tried: u64,
    /// Those in a row that failed.
    pub failed: u64,
}

/// Asks the master before it is to reload.
pub async fn reloads(socket: &Path) -> Result<Reloads, HaproxyError> {
    let deadline = Instant::now() + BUSY;
    loop {
        match reloads_now(socket).await {
            Err(HaproxyError { trouble: Trouble::Silent, .. }) if Instant::now() < deadline => sleep(PAUSE).await,
            decided => return decided,
        }
    }
}

async fn reloads_now(socket: &Path) -> Result<Reloads, HaproxyError> {
    let answer = ask(socket, "show proc", None).await?;
    parse(&answer).ok_or_else(|| {
        let answer = excerpt::beginning(&answer, ANSWER_SHOWN);
        let path = socket.display();
        HaproxyError::lasting(format!("{path} is not a socket of a HAProxy master: `show proc` answers {answer:?}"))
    })
}

/// Waits for the reload after that of `before`, until `deadline`, and says whether it succeeded. While it reloads, the
/// master does not listen.
pub async fn reloaded(socket: &Path, before: Reloads, deadline: Instant) -> Result<(), HaproxyError> {
    loop {
        let last = match reloads_now(socket).await {
            Ok(Reloads { tried, failed: 0 }) if tried != before.tried => return Ok(()),
            Ok(Reloads { tried, failed }) if tried != before.tried => {
                return Err(HaproxyError::lasting(format!(
                    "HAProxy was asked to reload and could not (`show proc` of its master: failed reloads in a row: \
                     {failed}); the worker with the old trust goes on: its own log says why, and `haproxy -c` may"
                )));
            }
            Ok(_) => "it counts no new reload".to_owned(),
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(HaproxyError::lasting(format!("HAProxy's master did not reload in time ({last})")));
        }
        sleep(PAUSE).await;
    }
}
/// `1162            master          5 [failed: 0]   0d00h02m07s     2.5`
fn parse(answer: &str) -> Option<Reloads> {
    let line = answer.lines().find(|line| line.split_whitespace().nth(1) == Some("master"))?;
    let mut words = line.split_whitespace().skip(2);
    let tried = words.next()?.parse().ok()?;
    let failed = match words.next() {
        Some("[failed:") => words.next()?.strip_suffix(']')?.parse().ok()?,
        _ => return None,
    };
    Some(Reloads { tried, failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masters_line_is_read_and_nothing_else() {
        let answer = "#<PID>          <type>          <reloads>       <uptime>        <version>      
13316           master          3 [failed: 2]   0d00h01m01s     2.6.12-1+deb12u4
# workers
14594           worker          2               0d00h00m03s     2.6.12-1+deb12u4
# programs";
        assert_eq!(parse(answer), Some(Reloads { tried: 3, failed: 2 }));
        assert_eq!(parse("Unknown command: 'show proc', but maybe one of the following ones is a better match:"), None);
        assert_eq!(parse(""), None);
    }
}
