//! systemd: `systemctl reload UNIT`, which as an unprivileged user needs a polkit rule, and a unit's main process,
//! which anyone may ask for.

use std::time::Duration;

use super::command;
use super::report::{ReloadError, ReloadReport};
use crate::targets::process::{Environment, OUTPUT_KEPT, Run};

fn systemctl(arguments: &[&str]) -> Vec<String> {
    ["systemctl", "--no-ask-password"].iter().chain(arguments).map(ToString::to_string).collect()
}

pub(super) async fn reload(
    unit: &str,
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    command::run(&systemctl(&["reload", "--", unit]), environment, limit).await
}

/// What systemd says of the unit's main process: `0` where there is none.
pub(super) async fn main_pid(unit: &str, environment: &Environment, limit: Duration) -> Result<String, ReloadError> {
    let argv = systemctl(&["show", "--property=MainPID", "--value", "--", unit]);
    let ran = Run { argv: &argv, environment, limit, output_kept: OUTPUT_KEPT }.to_end().await?;
    if ran.succeeded() {
        Ok(ran.output.trim().chars().take(40).collect())
    } else {
        let why = format!("could not be looked up: systemd did not show its main process ({})", ran.describe());
        Err(ReloadError::Unit { unit: unit.to_owned(), why })
    }
}
