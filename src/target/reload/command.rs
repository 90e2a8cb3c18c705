//! A reload by a command, without a shell; exit code 0 is success.

use crate::target::process::{Environment, OUTPUT_KEPT, Run};
use crate::target::reload::{RELOAD_LIMIT, ReloadError, Told};

pub(super) async fn run(argv: &[String], environment: &Environment) -> Result<Told, ReloadError> {
    let ran = Run { argv, environment, limit: RELOAD_LIMIT, output_kept: OUTPUT_KEPT }.to_end().await?;
    if ran.succeeded() {
        Ok(Told::Ran { output: ran.output })
    } else {
        Err(ReloadError::Failed { command: argv.join(" "), how: ran.describe() })
    }
}
