//! `trustsync run`: the daemon.

use std::sync::Arc;

use super::{Failure, environment};
use crate::children;
use crate::cli::Global;
use crate::clock::SystemClock;
use crate::daemon::{self, LEAST_GAP, Origin};
use crate::exit::Exit;

pub async fn run(global: &Global) -> Result<Exit, Failure> {
    let origin = Origin { path: global.config.clone(), environment: environment() };
    // In a container we may be process 1.
    let orphans = tokio::spawn(children::wait_for_orphans());
    let ended = daemon::run(origin, Arc::new(SystemClock), LEAST_GAP).await;
    orphans.abort();
    ended?;
    Ok(Exit::Done)
}
