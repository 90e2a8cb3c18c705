//! What a cycle's report says of one target, and of what is alarming.

use trustsync::cycle::{Report, TargetReport};
use trustsync::trust::event::severity::Severity;

/// The line of the target of this name.
#[track_caller]
pub fn target<'a>(report: &'a Report, name: &str) -> &'a TargetReport {
    report.targets.iter().find(|target| target.target == name).unwrap()
}

/// The line of the only target.
#[track_caller]
pub fn line(report: &Report) -> &TargetReport {
    assert_eq!(report.targets.len(), 1, "{report:?}");
    &report.targets[0]
}

/// The text of the one finding of this event, which must be critical, and one line.
#[track_caller]
pub fn alarm<'a>(report: &'a Report, event: &str) -> &'a str {
    let found: Vec<_> = report.findings.iter().filter(|finding| finding.event.name() == event).collect();
    assert_eq!(found.len(), 1, "{:?}", report.findings);
    assert_eq!(found[0].severity, Severity::Critical);
    assert!(!found[0].text.contains('\n'), "{}", found[0].text);
    &found[0].text
}
