//! Asks a server to load what its link names now. That it was asked proves nothing: see [`crate::targets::proof`].

mod command;
mod http;
pub(super) mod report;
mod signal;
mod systemd;

use std::time::Duration;

pub use crate::targets::process::Environment;
use crate::targets::ways::Reload;
pub use report::{ReloadError, ReloadReport};
pub(super) use signal::obstacle as signal_obstacle;

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
        Reload::Own { way, socket, within } => (way.request)(socket, within, environment, limit).await,
        Reload::None => Ok(ReloadReport::Nobody),
    }
}
