//! The log: one line an event, to standard error, with structured fields and stable event names. Only our own events:
//! what libraries trace may hold more of a request than should be written anywhere.

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::cli::LogFormat;
use crate::cycle::Report;
use crate::log_fields::Quoted;
use crate::trust::event::End;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;

/// Starts the log. Where journald cannot be reached, text is written instead, and says so.
pub fn start(format: LogFormat, verbose: u8) {
    let level = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let ours = Targets::new().with_target("trustsync", level);
    let registry = tracing_subscriber::registry().with(ours);
    let text = || {
        tracing_subscriber::fmt::layer()
            .fmt_fields(Quoted)
            .with_writer(std::io::stderr)
            .with_target(false)
            .with_ansi(in_colour())
    };
    // A second start (tests that call the library) leaves the first log in place.
    let _ = match format {
        LogFormat::Text => registry.with(text()).try_init(),
        LogFormat::Json => {
            let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
            registry.with(layer.with_target(false)).try_init()
        }
        LogFormat::Journald => match tracing_journald::layer() {
            Ok(layer) => registry.with(layer).try_init(),
            Err(error) => {
                let started = registry.with(text()).try_init();
                log_line!(JournaldUnreachable, %error, "journald cannot be reached: logging as text");
                started
            }
        },
    };
}

/// Whether the log is shown to somebody who did not say that they want no colour (<https://no-color.org>).
fn in_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Logs what was found: an alarm as a warning or an error; a note where something changed, else only with `-v`.
pub fn findings(findings: &[Finding], changed: bool) {
    for finding in findings {
        let facts = finding.event.facts();
        let (event, text) = (facts.name, &finding.text);
        let (subject_type, subject) = (finding.subject.subject_type().name(), finding.subject.to_string());
        match finding.severity {
            Severity::Critical => tracing::error!(event, subject_type, subject, "{text}"),
            Severity::Warning => tracing::warn!(event, subject_type, subject, "{text}"),
            Severity::Note if changed || facts.ends == End::PassingNote => {
                tracing::info!(event, subject_type, subject, "{text}");
            }
            Severity::Note => tracing::debug!(event, subject_type, subject, "{text}"),
        }
    }
}

/// Logs what a cycle came to, with those findings that are to be said; one without change at the level that is given.
pub fn cycle(store: &str, report: &Report, found: &[Finding], unchanged: Level) {
    findings(found, report.committed);
    let owed = report.targets.iter().filter(|target| target.owed.is_some()).count();
    let generation = report.generation.unwrap_or(0);
    let settled = report.targets.len().saturating_sub(owed);
    let changes = report.difference.changes.len();
    let text = "nothing changed";
    match (report.rehearsed, report.committed) {
        (true, _) => {
            log_line!(Rehearsed, store, generation, changes, "nothing was written, no server was reloaded");
        }
        (false, true) => {
            log_line!(Published, store, generation, changes, settled, owed, "a new generation was published")
        }
        (false, false) if unchanged == Level::INFO => {
            log_line!(Unchanged, store, generation, settled, owed, "{text}");
        }
        (false, false) => log_line!(UnchangedBetweenPolls, store, generation, settled, owed, "{text}"),
    }
}
