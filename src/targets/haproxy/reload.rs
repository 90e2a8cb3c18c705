//! HAProxy without a reload, through its runtime socket; and with one, of which its master says how it ended.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::targets::haproxy::update::UpdateError;
use crate::targets::haproxy::{master, update};
use crate::targets::process::Environment;
use crate::targets::reload::{ReloadError, Told, tell};
use crate::targets::ways::Reload;

/// The files of the target through the socket, within half of `limit`; where that fails, the reload instead.
pub async fn update(
    socket: &Path,
    fallback: &Reload,
    environment: &Environment,
    limit: Duration,
) -> Result<Told, ReloadError> {
    let began = Instant::now();
    let half = limit / 2;
    let updated = timeout(half, update::update(socket, environment.directory())).await;
    let why = match updated.unwrap_or(Err(UpdateError::Slow(half))) {
        Ok(updated) => return Ok(Told::Updated { lists: updated.lists, ca_files: updated.ca_files }),
        Err(why) => why,
    };
    if *fallback == Reload::None {
        return Err(ReloadError::NotUpdated(why));
    }
    match Box::pin(tell(fallback, environment, limit.saturating_sub(began.elapsed()))).await {
        Ok(by) => Ok(Told::Reloaded { why: why.to_string(), by: Box::new(by) }),
        Err(reload) => Err(ReloadError::Neither { why, reload: Box::new(reload) }),
    }
}

/// The reload, and the master's word that it succeeded.
pub async fn watched(
    by: &Reload,
    master: &Path,
    environment: &Environment,
    limit: Duration,
) -> Result<Told, ReloadError> {
    let deadline = Instant::now() + limit;
    let before = master::reloads(master).await?;
    let by = Box::pin(tell(by, environment, deadline.saturating_duration_since(Instant::now()))).await?;
    master::reloaded(master, before, deadline).await?;
    Ok(Told::CameUp { by: Box::new(by) })
}
