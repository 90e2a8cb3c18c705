//! `trustsync status`: what is trusted, a timeline, sources, targets, alarms. Needs neither the lock nor write access.
//! Exits as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::{Failure, load, output, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, TargetReport};
use crate::exit::Exit;
use crate::report::heartbeat;
pub use crate::report::status::target_line;
use crate::report::status::{Document, Status, Trusted};
use crate::settings::Loaded;
use crate::settings::resolved::{Settings, Store};
use crate::trust::event::LogLine;
use crate::trust::plan::set::Role;
use crate::trust::records::health::{Health, Verdict};
use crate::trust::records::state::{Alarm, SourceState};
use crate::trust::records::summary::StoreSummary;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::timestamp::Timestamp;

/// How wide the timeline is, and how many days it shows.
const TIMELINE: i64 = 60;

/// A status that cannot be had is unknown (3), whatever the reason: another code would be taken for a verdict.
pub fn run(global: &Global) -> Exit {
    or_unknown(global, show(global), LogLine::StatusUnknown)
}

/// The exit, or "unknown" and why.
pub fn or_unknown(global: &Global, judged: Result<Exit, Failure>, line: LogLine) -> Exit {
    judged.unwrap_or_else(|failure| {
        if !super::is_broken_pipe(&failure) {
            say_unknown(line, &failure);
            super::print_error(global.output, UNKNOWN, failure);
        }
        UNKNOWN
    })
}

fn say_unknown(line: LogLine, failure: &Failure) {
    tracing::error!(event = line.name(), exit = UNKNOWN as u8, "{failure}");
}

/// Monitoring plugins' "unknown".
pub const UNKNOWN: Exit = Exit::Configuration;

/// As a monitoring plugin exits.
fn exit(verdict: Verdict) -> Exit {
    match verdict {
        Verdict::Ok => Exit::Done,
        Verdict::Warning => Exit::Unexpected,
        Verdict::Critical => Exit::Usage,
        Verdict::Unknown => UNKNOWN,
    }
}

fn show(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let now = SystemClock.now();
    let Judged { exit, judged, unknown } = each(global, &loaded, now, LogLine::StatusUnknown)?;
    let shown = judged.iter().map(|(summary, health)| (summary, health));
    let document = Document::of(&loaded.settings, shown, None, now);
    let mut json = serde_json::to_value(&document).map_err(|error| Failure::Refused(error.to_string()))?;
    if let Some(stores) = json.get_mut("stores").and_then(Value::as_object_mut) {
        stores.extend(unknown.iter().map(|(store, failure)| (store.clone(), output::error(UNKNOWN, failure))));
    }
    print(global.output, &json, || {
        let unknown: String = unknown.iter().map(unknown_text).collect();
        text(&document, &loaded.settings, &unknown)
    })?;
    Ok(exit)
}

/// How the stores that are meant stand.
pub struct Judged {
    /// The worst of all.
    pub exit: Exit,
    /// Those that could be read.
    pub judged: Vec<(StoreSummary, Health)>,
    /// By name: why the others could not.
    pub unknown: Vec<(String, Failure)>,
}

/// A store that could not be read, in a line.
pub fn unknown_text((store, failure): &(String, Failure)) -> String {
    format!("{store}: UNKNOWN - {failure}\n")
}

/// How each store that is meant stands. One that cannot be read is unknown, and hides no other.
pub fn each(global: &Global, loaded: &Loaded, now: Timestamp, line: LogLine) -> Result<Judged, Failure> {
    let mut worst = Verdict::Ok;
    let (mut judged, mut unknown) = (Vec::new(), Vec::new());
    for store in the_stores(global, loaded)? {
        match judge(&loaded.settings, store, now) {
            Ok((summary, health)) => {
                worst = worst.max(health.verdict);
                judged.push((summary, health));
            }
            Err(failure) => {
                say_unknown(line, &failure);
                worst = worst.max(Verdict::Unknown);
                unknown.push((store.name.clone(), failure));
            }
        }
    }
    Ok(Judged { exit: exit(worst), judged, unknown })
}

/// How a store stands now, by what it shows and what a daemon says of it.
pub fn judge(settings: &Settings, store: &Store, now: Timestamp) -> Result<(StoreSummary, Health), Failure> {
    let summary = heartbeat::beside(cycle::summary(store)?, &store.path);
    let health = Health::of(&summary, &cycle::meant(&settings.schedule, store), now);
    Ok((summary, health))
}

/// How a target's turn ended: a line, and what the user should add to the server's configuration.
pub fn turn_text(turn: &TargetReport) -> String {
    let mut text = format!("target {}: {}\n", turn.target, target_line(turn.settled.as_ref(), turn.owed.as_ref()));
    if let Some(lines) = &turn.to_add {
        let _ = writeln!(text, "\nTo wire it, add these lines to the server's configuration and reload it:\n\n{lines}");
    }
    text
}

fn text(document: &Document, settings: &Settings, unknown: &str) -> String {
    let now = document.now;
    let mut text: String =
        document.stores.iter().map(|(name, status)| store_text(name, status, settings, now)).collect();
    text.push_str(unknown);
    let _ = write!(text, "\n  trustsync {}, {now}", document.version);
    if let Some(seen) = document.daemon.seen {
        let version = document.daemon.version.as_deref().filter(|version| *version != document.version);
        let other = version.map(|version| format!(" (version {})", quoted(version))).unwrap_or_default();
        let _ = write!(text, "; the daemon{other} was last seen {seen}");
    }
    if let Some(next) = document.daemon.next_poll {
        let _ = write!(text, "; next poll {next}");
    }
    text.push('\n');
    text
}

// Long because it is the page itself, line by line.
fn store_text(name: &str, status: &Status, settings: &Settings, now: Timestamp) -> String {
    let mut text = String::new();
    let generation = match (status.generation, status.committed) {
        (Some(number), Some(committed)) => format!("generation {number:06}, committed {committed}"),
        _ => "no generation yet: run trustsync sync".to_owned(),
    };
    let _ = writeln!(text, "{name}: {} - {generation}", status.state.name().to_uppercase());
    let _ = writeln!(text, "  {}", status.path.display());
    if status.deny_all {
        let _ = writeln!(text, "  DENY ALL: nobody is admitted");
    }
    if let Some(hold) = &status.hold {
        let why = format!("{}{}", quoted(&hold.reason), hold.said.suffix());
        let _ = writeln!(text, "  HELD until {} ({why}); end it with: trustsync release", hold.until);
    }
    for held in &status.trusted {
        let _ = writeln!(
            text,
            "\n  {:<9} {}\n            sha256 {}\n            until {} ({} days left)",
            held.role.to_string(),
            quoted(&held.name),
            held.sha256,
            held.not_after,
            held.days_left
        );
        if let Some(confirming) = held.confirming {
            let (answers, of, published) = (confirming.answers, confirming.of, confirming.published);
            let _ = writeln!(
                text,
                "            confirming ({answers} of {of}): published as {published} until {of} clean answers agree"
            );
        }
        if held.role == Role::Retiring {
            let _ = match held.leaves {
                Some(leaves) if leaves <= now => writeln!(
                    text,
                    "            no longer listed; leaves with the next clean answer without it, on {} at the latest",
                    held.not_after
                ),
                Some(leaves) => {
                    writeln!(text, "            no longer listed; leaves {leaves}, if no answer lists it again")
                }
                None => writeln!(text, "            no longer listed; stays, as the last that its slot trusts"),
            };
        }
        if let Some(word) = &held.word {
            let (until, said) = (word.until, word.said.suffix());
            let _ = writeln!(text, "            by the operator's override until {until}{said}");
        }
        let _ = writeln!(text, "            {}", timeline(held, settings, now));
    }
    if !status.trusted.is_empty() {
        let _ = writeln!(text, "            {:<30}{:>30}", "^ today", "120 days ahead");
        let _ = writeln!(text, "            = valid   w window, the upcoming one is expected   . not valid");
    }
    for rule in &status.name_rules {
        let _ = writeln!(text, "\n  name rule {rule}");
    }
    for (fingerprint, denial) in &status.denied {
        let by_issuers = !denial.issuers.is_empty();
        let why =
            if by_issuers { "its issuer is revoked".to_owned() } else { format!("{:?}", denial.reason).to_lowercase() };
        let (since, said) = (denial.since, denial.said.suffix());
        let _ = writeln!(text, "\n  denied    sha256 {fingerprint}\n            {why}, since {since}{said}");
    }
    text.push('\n');
    for (name, source) in &status.sources {
        let _ = writeln!(text, "  source {name}: {}", source_line(source));
    }
    if let Some(last) = status.last_cycle.as_ref().filter(|last| last.exit != Exit::Done as u8) {
        let why = last.why.as_ref().map(|why| format!(": {}", quoted(why))).unwrap_or_default();
        let _ = writeln!(text, "  the last cycle failed (exit {}) on {}{why}", last.exit, last.ended);
    }
    for (name, slot) in &status.slots {
        if let Some(line) = &slot.pin_by {
            let _ = writeln!(text, "  slot {name}: identity learned from the vendor; to pin it: {line}");
        }
        if slot.disagreements > 0 {
            let times = slot.disagreements;
            let _ = writeln!(text, "  slot {name}: the two listings of a poll contradicted each other {times} time(s)");
        }
    }
    for (name, target) in &status.targets {
        let serves = target.serves.map_or_else(|| "nothing known".to_owned(), |number| format!("{number:06}"));
        let _ = writeln!(text, "  target {name}: serves {serves}; {}", target.reason);
        if let Some(ca_only) = target.ca_only {
            let _ = writeln!(text, "    {ca_only}");
        }
    }
    for alarm in &status.alarms {
        let _ = writeln!(text, "\n  {}", alarm_line(alarm));
    }
    text
}

fn source_line(source: &SourceState) -> String {
    let last = source.last_success.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let mut line = format!("last successful poll {last}");
    if source.failures > 0 {
        let why = source.last_error.as_ref().map(|why| format!(" ({})", quoted(why))).unwrap_or_default();
        let _ = write!(line, ", {} failed since{why}", source.failures);
    }
    match source.next_due {
        Some(next) => drop(write!(line, ", next poll {next}")),
        None => line.push_str(", next poll at once"),
    }
    line
}

fn alarm_line(alarm: &Alarm) -> String {
    let id = alarm.finding.alarm_id();
    let over = if alarm.unseen {
        format!(" It is over. Once seen, end the alarm with: trustsync alarms ack {id}")
    } else {
        String::new()
    };
    let severity = alarm.finding.severity.to_string().to_uppercase();
    format!("{severity} since {}: [{id}] {}{over}", alarm.since, alarm.finding.text)
}

/// Two days a character, from today on.
fn timeline(held: &Trusted, settings: &Settings, now: Timestamp) -> String {
    let window = held.not_after.minus(settings.plan.window);
    (0..TIMELINE)
        .map(|step| now.plus(Duration::from_secs(u64::try_from(step).unwrap_or(0).saturating_mul(2 * 86_400))))
        .map(|moment| {
            if moment < held.not_before || moment > held.not_after {
                '.'
            } else if held.role == Role::Current && moment >= window {
                'w'
            } else {
                '='
            }
        })
        .collect()
}
