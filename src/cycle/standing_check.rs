//! Whether a server that owes nothing could start again: its own check, made now and then of what stands there. Somebody
//! may have broken its configuration since, which shows in nothing that the running server does. The check is the one
//! of every turn, and changes nothing.

use crate::settings::resolved::Target;
use crate::targets::check::{self, CheckOutcome, View};
use crate::targets::process::Environment;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::records::state::StandingCheck;
use crate::trust::turn::LONGEST_REASON;
use crate::trust::values::excerpt;
use crate::trust::values::timestamp::Timestamp;

/// How much of the check's output is shown; servers say last what broke.
const SHOWN: usize = 1_500;

/// What the target's check says as things stand; none where it has none. One that cannot be run says nothing, so that
/// what was `known` to fail is known still.
pub async fn make(
    target: &Target,
    known: Option<&StandingCheck>,
    environment: &Environment,
    now: Timestamp,
) -> Option<StandingCheck> {
    let passed = StandingCheck { at: now, failed: None };
    let failed = match check::run(target.server_check()?, View::AsItStands, environment, target.check_timeout).await {
        CheckOutcome::Passed => None,
        CheckOutcome::Failed { output } => Some(excerpt::end(&output, LONGEST_REASON)),
        // What cannot be run is told where it is needed.
        CheckOutcome::CouldNotRun(_) | CheckOutcome::PrivateUnavailable(_) => {
            return Some(known.filter(|known| known.failed.is_some()).cloned().unwrap_or(passed));
        }
    };
    Some(StandingCheck { at: now, failed })
}

/// That the server would not start again.
pub fn finding(target: &Target, known: Option<&StandingCheck>) -> Option<Finding> {
    let known = known?;
    let said = known.failed.as_deref()?;
    // The daemon looks each time; root only when it takes its turn.
    let when = if target.privileged { format!(" (as of {}, when root last looked)", known.at) } else { String::new() };
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = format!(
        "The server serves what it should, but its own check fails as things stand{when}: its configuration was \
         broken on the disk meanwhile, and a restart or a reload would fail. The next change of trust could not be \
         loaded either. Correct what the check names. The check says: {}",
        excerpt::end(&lines.join(" / "), SHOWN)
    );
    Some(Finding::new(Event::TargetWouldNotStart, Subject::target(&target.name), text))
}
