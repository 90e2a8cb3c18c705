//! What a check that was run says, by how it ended.

use std::time::Duration;

use crate::targets::process::{Environment, OUTPUT_KEPT, Ran, Run};

/// What the server's own check says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckOutcome {
    /// The server would load this.
    Passed,
    /// It would not.
    Failed {
        /// How the check ended, and what it said.
        output: String,
    },
    /// The check itself could not be run, so nothing is known of the generation.
    CouldNotRun(String),
    /// No private view of the files could be made; a check in place may still work.
    PrivateUnavailable(String),
}

/// Says that the private view stands: what failed before this line was ours, what fails after it is the check.
pub const VIEW_STANDS: &str = "trustsync: the private view stands";

/// Runs what makes a private view, says so by a line, and then is the check. `missing` is what there is none of, if that line
/// never comes.
pub async fn run_in_view(
    wrapped: &[String],
    environment: &Environment,
    limit: Duration,
    missing: &str,
) -> CheckOutcome {
    let ran = match (Run { argv: wrapped, environment, limit, output_kept: OUTPUT_KEPT }).to_end().await {
        Ok(ran) => ran,
        Err(error) => return CheckOutcome::PrivateUnavailable(error.to_string()),
    };
    match ran.output.split_once(VIEW_STANDS) {
        Some((_, output)) => judged(&ran, output),
        None => CheckOutcome::PrivateUnavailable(format!("{missing} could be made ({})", ran.describe())),
    }
}

/// 126 and 127 are what `exec` of a shell, and every wrapper after its model, say of a program that cannot be run.
pub fn judged(ran: &Ran, output: &str) -> CheckOutcome {
    let told = Ran { output: output.to_owned(), ..ran.clone() };
    match ran.status.code() {
        _ if ran.timed_out => CheckOutcome::CouldNotRun(told.describe()),
        Some(0) => CheckOutcome::Passed,
        Some(126 | 127) => CheckOutcome::CouldNotRun(told.describe()),
        _ => CheckOutcome::Failed { output: told.describe() },
    }
}
