//! Asks a server to load what its link names now. That it was asked proves nothing: see [`crate::targets::proof`].

mod command;
mod http;
mod report;
mod signal;
mod systemd;

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::targets::haproxy;
use crate::targets::haproxy::master;
use crate::targets::haproxy::socket::HaproxyError;
pub use crate::targets::process::Environment;
use crate::targets::ways::Reload;
pub use report::{ReloadError, ReloadReport};

/// How long a server has to answer a `POST`.
pub const HTTP_LIMIT: Duration = Duration::from_secs(10);

/// Asks the server to reload. Whatever the way, it takes no longer than `limit`, and a command as long again as it has
/// from TERM to KILL ([`LAST_GRACE`](crate::targets::process::LAST_GRACE)).
pub async fn request(reload: &Reload, environment: &Environment, limit: Duration) -> Result<ReloadReport, ReloadError> {
    match reload {
        Reload::Signal { signal, to } => signal::send(*signal, to, environment, limit).await,
        Reload::Systemd { unit } => systemd::reload(unit, environment, limit).await,
        Reload::Command(argv) => command::run(argv, environment, limit).await,
        Reload::Http(endpoint) => http::post(endpoint, HTTP_LIMIT.min(limit)).await,
        Reload::Haproxy { socket, fallback } => update(socket, fallback, environment, limit).await,
        Reload::Watched { by, master } => watched(by, master, environment, limit).await,
        Reload::None => Ok(ReloadReport::Nobody),
    }
}

/// The files of the target through the socket, within half of `limit`; where that fails, the reload instead.
async fn update(
    socket: &Path,
    fallback: &Reload,
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    let began = Instant::now();
    let half = limit / 2;
    let updated = timeout(half, haproxy::update::update(socket, environment.directory())).await;
    let slow = |_| {
        let half = humantime::format_duration(half);
        Err(HaproxyError::lasting(format!("HAProxy's runtime socket did not take everything within {half}")))
    };
    let why = match updated.unwrap_or_else(slow) {
        Ok(updated) => return Ok(ReloadReport::Updated { lists: updated.lists, ca_files: updated.ca_files }),
        Err(why) => why,
    };
    if *fallback == Reload::None {
        let why = format!("{why}; no reload is configured instead (reload.fallback)");
        return Err(HaproxyError::lasting(why).into());
    }
    match Box::pin(request(fallback, environment, limit.saturating_sub(began.elapsed()))).await {
        Ok(by) => Ok(ReloadReport::Reloaded { why: why.to_string(), by: Box::new(by) }),
        Err(reload) => Err(ReloadError::Neither { why, reload: Box::new(reload) }),
    }
}

/// The reload, until the master says that it succeeded.
async fn watched(
    by: &Reload,
    master: &Path,
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    let deadline = Instant::now() + limit;
    let before = master::reloads(master).await.map_err(|error| {
        let text = format!("the master could not be asked before the reload, so there was none: {error}");
        HaproxyError::lasting(text)
    })?;
    let by = Box::pin(request(by, environment, deadline.saturating_duration_since(Instant::now()))).await?;
    master::reloaded(master, before, deadline).await?;
    Ok(ReloadReport::CameUp { by: Box::new(by) })
}
