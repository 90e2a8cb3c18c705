//! HAProxy without a reload, through its runtime socket; and with one, of which its master says how it ended.

use std::path::Path;

use crate::settings::resolved::Reload;
use crate::target::haproxy::{master, update};
use crate::target::process::Environment;
use crate::target::reload::{ReloadError, Told, tell};

/// The files beneath `link` through the socket; where that fails, the reload instead.
pub(super) async fn update(
    socket: &Path,
    fallback: &Reload,
    link: &Path,
    environment: &Environment,
) -> Result<Told, ReloadError> {
    let why = match update::update(socket, link).await {
        Ok(updated) => return Ok(Told::Updated { lists: updated.lists, ca_files: updated.ca_files }),
        Err(why) => why,
    };
    if *fallback == Reload::None {
        return Err(ReloadError::NotUpdated(why));
    }
    match Box::pin(tell(fallback, link, environment)).await {
        Ok(by) => Ok(Told::Reloaded { why: why.to_string(), by: Box::new(by) }),
        Err(reload) => Err(ReloadError::Neither { why, reload: Box::new(reload) }),
    }
}

/// The reload, and the master's word that it succeeded.
pub(super) async fn watched(
    by: &Reload,
    master: &Path,
    link: &Path,
    environment: &Environment,
) -> Result<Told, ReloadError> {
    let before = master::reloads(master).await?;
    let by = Box::pin(tell(by, link, environment)).await?;
    master::reloaded(master, before).await?;
    Ok(Told::CameUp { by: Box::new(by) })
}
