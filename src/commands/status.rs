//! `trustsync status`: what is trusted, a timeline, sources, targets, alarms. Needs neither the lock nor write access.
//! Exits as monitoring plugins do: 0 ok, 1 warning, 2 critical, 3 unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use super::{Failure, load, print, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, TargetReport};
use crate::exit::Exit;
use crate::settings::Loaded;
use crate::settings::resolved::{Settings, Source, Store, Target};
use crate::store::contents::Contents;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::event::{Event, LogLine};
use crate::trust::plan::observation::IdentityRule;
use crate::trust::plan::planner_state::{Hold, TrustOverride};
use crate::trust::plan::set::{Denial, NameRule, Role};
use crate::trust::records::state::{Alarm, SourceState, TargetState};
use crate::trust::turn::{Evidence, Owed};
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::{Timestamp, span};
use crate::trust::verify::Identity;

/// After this long without a successful poll, staleness is critical.
const LONG_STALE: Duration = Duration::from_secs(7 * 86_400);

/// How wide the timeline is, and how many days it shows.
const TIMELINE: i64 = 60;

#[derive(Serialize)]
struct Status {
    store: String,
    path: std::path::PathBuf,
    state: &'static str,
    generation: Option<u64>,
    committed: Option<Timestamp>,
    deny_all: bool,
    trusted: Vec<Trusted>,
    name_rules: Vec<String>,
    denied: BTreeMap<Fingerprint, Denial>,
    hold: Option<Hold>,
    slots: BTreeMap<String, SlotStatus>,
    sources: BTreeMap<String, SourceState>,
    targets: BTreeMap<String, TargetStatus>,
    alarms: Vec<Alarm>,
}

#[derive(Serialize)]
struct Trusted {
    role: Role,
    name: String,
    sha256: String,
    not_before: Timestamp,
    not_after: Timestamp,
    days_left: i64,
    slots: Vec<String>,
    /// The operator's override for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<TrustOverride>,
}

#[derive(Serialize)]
struct SlotStatus {
    /// The names that its leaves must carry; none: any.
    identity: Vec<String>,
    /// The line that pins them, where they were learned from the vendor and are not the region's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin_by: Option<String>,
    last_clean: Option<Timestamp>,
    disagreements: u64,
}

#[derive(Serialize)]
struct TargetStatus {
    serves: Option<u64>,
    /// What it means that its server tells no leaf from another of its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_only: Option<&'static str>,
    #[serde(flatten)]
    state: TargetState,
}

/// A status that cannot be had is unknown (3), whatever the reason: another code would be taken for a verdict.
pub fn run(global: &Global) -> Exit {
    or_unknown(show(global), LogLine::StatusUnknown)
}

/// The exit, or "unknown" and why.
pub fn or_unknown(judged: Result<Exit, Failure>, line: LogLine) -> Exit {
    judged.unwrap_or_else(|failure| {
        if !super::is_broken_pipe(&failure) {
            tracing::error!(event = line.name(), exit = UNKNOWN as u8, "{failure}");
        }
        UNKNOWN
    })
}

/// Monitoring plugins' "unknown".
const UNKNOWN: Exit = Exit::Configuration;

fn show(global: &Global) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let now = SystemClock.now();
    let (worst, shown) =
        each(global, &loaded, now, |store, contents, alarms| status(&loaded.settings, store, contents, alarms, now))?;
    print(global.output, &shown, || shown.iter().map(|status| text(status, &loaded.settings, now)).collect())?;
    Ok(worst.exit())
}

/// What `show` makes of each store that is meant and of its alarms; and the worst of them all.
pub fn each<T>(
    global: &Global,
    loaded: &Loaded,
    now: Timestamp,
    show: impl Fn(&Store, &Contents, Vec<Alarm>) -> T,
) -> Result<(Worst, Vec<T>), Failure> {
    let mut worst = Worst::Ok;
    let mut shown = Vec::new();
    for store in the_stores(global, loaded)? {
        let contents = cycle::read(store)?;
        let alarms = alarms(&loaded.settings, store, &contents, now);
        worst = worst.max(worst_of(&alarms, contents.manifest.is_some()));
        shown.push(show(store, &contents, alarms));
    }
    Ok((worst, shown))
}

/// In the order of urgency of a monitoring plugin's worst-of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worst {
    Ok,
    Unknown,
    Warning,
    Critical,
}

impl Worst {
    pub fn exit(self) -> Exit {
        match self {
            Self::Ok => Exit::Done,
            Self::Warning => Exit::Unexpected,
            Self::Critical => Exit::Usage,
            Self::Unknown => UNKNOWN,
        }
    }
}

/// `published`: whether there is a generation.
fn worst_of(alarms: &[Alarm], published: bool) -> Worst {
    let alarms = alarms.iter().map(|alarm| match alarm.finding.severity {
        Severity::Critical => Worst::Critical,
        Severity::Warning => Worst::Warning,
        Severity::Note => Worst::Ok,
    });
    let unknown = if published { Worst::Ok } else { Worst::Unknown };
    alarms.chain([unknown]).max().unwrap_or(Worst::Ok)
}

/// The alarms that stand, with what the clock and the disk have brought since the last cycle; the most urgent first.
pub fn alarms(settings: &Settings, store: &Store, contents: &Contents, now: Timestamp) -> Vec<Alarm> {
    let mut alarms: Vec<Alarm> = contents.state.alarms.values().cloned().collect();
    let present = contents.findings.iter().cloned().chain(stale(settings, store, contents, now));
    let present = present.chain(ending(store, contents, now)).chain(behind(store, contents));
    for finding in present.filter(|finding| finding.severity > Severity::Note) {
        match alarms.iter_mut().find(|alarm| alarm.finding.alarm_id() == finding.alarm_id()) {
            Some(known) => known.unseen = false,
            None => alarms.push(Alarm { finding, since: now, unseen: false }),
        }
    }
    alarms.sort_by(|one, other| other.finding.severity.cmp(&one.finding.severity).then(one.since.cmp(&other.since)));
    alarms
}

fn status(settings: &Settings, store: &Store, contents: &Contents, alarms: Vec<Alarm>, now: Timestamp) -> Status {
    let trusted = contents.set.pins.values().map(|pin| {
        let facts = pin.leaf.facts();
        Trusted {
            role: pin.role(),
            name: pin.leaf.identity_names().first().unwrap_or(&facts.subject).clone(),
            sha256: facts.fingerprint.to_string(),
            not_before: facts.not_before,
            not_after: facts.not_after,
            days_left: now.days_until(facts.not_after),
            slots: pin.roles.keys().map(ToString::to_string).collect(),
            word: word_for(contents, &facts.fingerprint).cloned(),
        }
    });
    let mut trusted: Vec<Trusted> = trusted.collect();
    trusted.sort_by_key(|held| (held.role, held.not_after));
    let targets = store.targets.iter().map(|target| {
        let state = contents.state.targets.get(&target.name).cloned().unwrap_or_default();
        (target.name.clone(), TargetStatus { serves: state.acknowledged, ca_only: target.ca_only(), state })
    });
    let mut status = Status {
        store: store.name.clone(),
        path: store.path.clone(),
        state: "ok",
        generation: contents.manifest.as_ref().map(|manifest| manifest.generation),
        committed: contents.manifest.as_ref().map(|manifest| manifest.committed),
        deny_all: contents.manifest.as_ref().is_some_and(|manifest| manifest.deny_all),
        trusted,
        name_rules: contents.set.name_rules.iter().map(name_rule).collect(),
        denied: contents.state.planner.denied.clone(),
        hold: contents.state.planner.hold.clone().filter(|hold| hold.until > now),
        slots: slots(settings, store, contents),
        sources: contents.state.sources.clone(),
        targets: targets.collect(),
        alarms,
    };
    status.state = match worst_of(&status.alarms, status.generation.is_some()) {
        Worst::Ok => "ok",
        Worst::Unknown => "unknown",
        Worst::Warning => "warning",
        Worst::Critical => "critical",
    };
    status
}

fn word_for<'a>(contents: &'a Contents, leaf: &Fingerprint) -> Option<&'a TrustOverride> {
    let slots = contents.state.planner.slots.values();
    slots.filter_map(|held| held.entries.get(leaf)?.trusted.word.as_ref()).max_by_key(|word| word.until)
}

fn slots(settings: &Settings, store: &Store, contents: &Contents) -> BTreeMap<String, SlotStatus> {
    let planner = &contents.state.planner;
    let status = |(source, slot, authority): (&Source, SlotId, Authority)| {
        let regions: BTreeSet<String> = source.region_name.clone().into_iter().collect();
        let (identity, pin_by) = match cycle::identity_rule(source, &slot, authority, planner) {
            IdentityRule::Fixed(Identity::Any) => (BTreeSet::new(), None),
            IdentityRule::Fixed(Identity::Names(names)) => (names, None),
            IdentityRule::Learn { learned, .. } => {
                let learned = learned.unwrap_or_default();
                let is_own = !learned.is_empty() && learned != regions;
                let line = is_own.then(|| cycle::pin_line(&learned));
                (learned, line)
            }
        };
        let held = planner.slots.get(&slot);
        let status = SlotStatus {
            identity: identity.into_iter().collect(),
            pin_by,
            last_clean: held.and_then(|held| held.last_clean),
            disagreements: held.map_or(0, |held| held.disagreements),
        };
        (slot.to_string(), status)
    };
    settings.slots_of(store).map(status).collect()
}

fn name_rule(rule: &NameRule) -> String {
    let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
    let names = if names.is_empty() { "any name (issuer alone)".to_owned() } else { names.join(", ") };
    format!("{names}, signed by {}, until {}", quoted(&rule.root.facts().subject), rule.root.facts().not_after)
}

/// Health is the time since the last successful poll, not whether something runs.
fn stale(settings: &Settings, store: &Store, contents: &Contents, now: Timestamp) -> Vec<Finding> {
    let allowed = settings.schedule.stale_after();
    let mut findings = Vec::new();
    for source in &store.sources {
        let last = contents.state.sources.get(source).and_then(|state| state.last_success);
        let Some(last) = last else {
            let seed = contents.manifest.as_ref().is_some_and(|manifest| manifest.cause == cycle::seed::CAUSE);
            let text = if seed {
                "The source was never polled with success: what is trusted comes from the seed, and a rotation since \
                 it was made would go unseen. Run trustsync sync."
            } else {
                "The source was never polled with success: what it lists is unknown. Run trustsync sync."
            };
            findings.push(Finding::graded(Severity::Warning, Event::SourceStale, Subject::source(source), text));
            continue;
        };
        let age = now.since(last);
        if age > allowed {
            let severity = if age > LONG_STALE { Severity::Critical } else { Severity::Warning };
            let text = format!(
                "The last successful poll was on {last}: a rotation since then would go unseen. Is `trustsync sync` \
                 run every {}?",
                span(settings.schedule.interval)
            );
            findings.push(Finding::graded(severity, Event::SourceStale, Subject::source(source), text));
        }
    }
    findings
}

/// What the clock alone has brought since the last cycle.
fn ending(store: &Store, contents: &Contents, now: Timestamp) -> Vec<Finding> {
    let unexpired = contents.set.pins.values().any(|pin| pin.leaf.facts().not_after >= now);
    if contents.set.pins.is_empty() || unexpired {
        return Vec::new();
    }
    let text = "Every pinned certificate has expired: servers refuse the vendor's calls. Run trustsync sync.";
    vec![Finding::new(Event::LastCertificateExpired, Subject::store(&store.name), text)]
}

/// Targets whose servers are not known to serve what is in place, though nothing was recorded as owed: the cycle that
/// published it died, or could not save what came of their turns.
fn behind(store: &Store, contents: &Contents) -> Vec<Finding> {
    let Some(wanted) = contents.manifest.as_ref().map(|manifest| manifest.generation) else { return Vec::new() };
    let known = |target: &Target| contents.state.targets.get(&target.name);
    let is_behind =
        |target: &&Target| known(target).is_none_or(|known| known.owed.is_none() && known.acknowledged != Some(wanted));
    let finding = |target: &Target| {
        let serves = known(target).and_then(|known| known.acknowledged);
        let serves = serves.map_or_else(|| "nothing yet".to_owned(), |number| format!("generation {number:06}"));
        let text = format!(
            "Generation {wanted:06} is in place, and the server is known to serve {serves}: its turn was not taken, or \
             its outcome could not be saved. Run trustsync sync, and see what it says."
        );
        Finding::new(Event::TargetBehind, Subject::target(&target.name), text)
    };
    store.targets.iter().filter(is_behind).map(finding).collect()
}

/// How a target's turn ended: a line, and what the user should add to the server's configuration.
pub fn turn_text(turn: &TargetReport) -> String {
    let mut text = format!("target {}: {}\n", turn.target, target_line(turn.settled.as_ref(), turn.owed.as_ref()));
    if let Some(lines) = &turn.to_add {
        let _ = writeln!(text, "\nTo wire it, add these lines to the server's configuration and reload it:\n\n{lines}");
    }
    text
}

/// The state of a target, in a line.
pub fn target_line(settled: Option<&Evidence>, owed: Option<&Owed>) -> String {
    match (owed, settled) {
        (Some(owed), _) => format!("OWED: {owed}"),
        (None, Some(evidence)) => {
            let why = evidence.reason().map(|why| format!(" ({})", quoted(why))).unwrap_or_default();
            format!("{}{why}", evidence.words())
        }
        (None, None) => "never reloaded".to_owned(),
    }
}

// Long because it is the page itself, line by line.
fn text(status: &Status, settings: &Settings, now: Timestamp) -> String {
    let mut text = String::new();
    let generation = match (status.generation, status.committed) {
        (Some(number), Some(committed)) => format!("generation {number:06}, committed {committed}"),
        _ => "no generation yet: run trustsync sync".to_owned(),
    };
    let _ = writeln!(text, "{}: {} - {generation}", status.store, status.state.to_uppercase());
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
        let why = format!("{:?}", denial.reason).to_lowercase();
        let (since, said) = (denial.since, denial.said.suffix());
        let _ = writeln!(text, "\n  denied    sha256 {fingerprint}\n            {why}, since {since}{said}");
    }
    text.push('\n');
    for (name, source) in &status.sources {
        let last = source.last_success.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let failed = if source.failures > 0 { format!(", {} failed since", source.failures) } else { String::new() };
        let _ = writeln!(text, "  source {name}: last successful poll {last}{failed}");
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
        let line = target_line(target.state.evidence.as_ref(), target.state.owed.as_ref());
        let _ = writeln!(text, "  target {name}: serves {serves}; {line}");
        if let Some(ca_only) = target.ca_only {
            let _ = writeln!(text, "    {ca_only}");
        }
    }
    for alarm in &status.alarms {
        let id = alarm.finding.alarm_id();
        let over = if alarm.unseen {
            format!(" It is over. Once seen, end the alarm with: trustsync alarms ack {id}")
        } else {
            String::new()
        };
        let severity = alarm.finding.severity.to_string().to_uppercase();
        let _ = writeln!(text, "\n  {severity} since {}: [{id}] {}{over}", alarm.since, alarm.finding.text);
    }
    text
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
