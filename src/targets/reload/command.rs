//! A reload by a command, without a shell; exit code 0 is success.

use std::time::Duration;

use super::report::{ReloadError, ReloadReport};
use crate::targets::process::{Environment, OUTPUT_KEPT, Run};

pub(super) async fn run(
    argv: &[String],
    environment: &Environment,
    limit: Duration,
) -> Result<ReloadReport, ReloadError> {
    let ran = Run { argv, environment, limit, output_kept: OUTPUT_KEPT }.to_end().await?;
    if ran.succeeded() {
        Ok(ReloadReport::Ran { output: ran.output })
    } else {
        Err(ReloadError::Failed { command: argv.join(" "), how: ran.describe() })
    }
}
