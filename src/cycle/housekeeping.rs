//! Housekeeping: sweeping, evidence, what is kept of revocation lists. None of it is the work itself, so none of it
//! stops the work: what could not be done is a warning that names the path, and is tried again by the next cycle.

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;

/// How many failures are named one by one.
const NAMED: usize = 3;

/// The warning about what could not be done, for these reasons; none where all could. `what` happened, and what it
/// `means`.
pub fn finding(
    event: Event,
    subject: Subject,
    what: &str,
    means: &str,
    reasons: impl IntoIterator<Item = String>,
) -> Option<Finding> {
    let mut reasons = reasons.into_iter();
    let mut named: Vec<String> = reasons.by_ref().take(NAMED).collect();
    if named.is_empty() {
        return None;
    }
    let more = reasons.count();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    Some(Finding::new(event, subject, format!("{what}: {}. {means}.", named.join("; "))))
}
