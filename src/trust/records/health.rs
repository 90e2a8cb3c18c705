//! Health: how well a store is, judged at the time of asking. One pure function for all who ask: `status` and its exit,
//! JSON, probes, metrics, the service manager's line.
//!
//! ```text
//!  what the last cycle left (alarms, turns, polls) ┐
//!  what is in place, and whether it can be written ┼─▶ StoreSummary ─▶ Health: alarms, the worst of them
//!  who minds it, and when it was last seen to      ┘        ▲ the clock
//! ```
//! Nothing is good because it once was: a cycle that could not save its outcome, a daemon that is gone, and a
//! certificate that the operator took out while the vendor presents it are all seen here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use serde::Serialize;

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::severity::Severity;
use crate::trust::event::subject::Subject;
use crate::trust::plan::planner_state::{Listed, kept_out};
use crate::trust::plan::schedule::Schedule;
use crate::trust::plan::set::Role;
use crate::trust::records::manifest::SEED_CAUSE;
use crate::trust::records::minder::Minder;
use crate::trust::records::state::Alarm;
use crate::trust::records::summary::StoreSummary;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::SlotId;
use crate::trust::values::timestamp::{Timestamp, span};

/// After this long without a successful poll, staleness is critical.
const LONG_STALE: Duration = Duration::from_secs(7 * 86_400);

/// A daemon gives a sign of life every two minutes at least.
pub const DAEMON_SILENT: Duration = Duration::from_secs(3 * 60);

/// How late a daemon's poll may be: asking, revocation lists and slow targets take their time.
pub const POLL_LATE: Duration = Duration::from_secs(10 * 60);

/// By whom and what a store is meant to be minded, as configured.
#[derive(Debug, Clone)]
pub struct Meant<'a> {
    /// Its sources.
    pub sources: &'a BTreeSet<String>,
    /// Its targets.
    pub targets: Vec<&'a str>,
    /// When its sources are asked.
    pub schedule: &'a Schedule,
    /// Whether it is the daemon itself that asks, which lives.
    pub by_its_daemon: bool,
}

/// How well a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The worst of all.
    pub verdict: Verdict,
    /// Why: the most urgent first.
    pub alarms: Vec<Alarm>,
}

/// In the order of urgency of a monitoring plugin's worst-of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing calls for anyone.
    Ok,
    /// Nothing is published, and nothing says why.
    Unknown,
    /// Somebody should look at it.
    Warning,
    /// Somebody must act.
    Critical,
}

impl Verdict {
    /// Its name in every output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl Health {
    /// How many alarms there are of a severity.
    #[must_use]
    pub fn alarms_of(&self, severity: Severity) -> usize {
        self.alarms.iter().filter(|alarm| alarm.finding.severity == severity).count()
    }

    /// Judges the store: the alarms that stand, with what the disk, the clock and the operator have brought since the
    /// last cycle.
    #[must_use]
    pub fn of(summary: &StoreSummary, meant: &Meant<'_>, now: Timestamp) -> Self {
        let judge = Judge { summary, meant, now };
        let standing = summary.state.alarms.values().filter(|alarm| alarm.unseen || judge.still_holds(alarm));
        let mut alarms: Vec<Alarm> = standing.cloned().collect();
        let found = summary.found.iter().cloned();
        let found = found.chain(judge.failing()).chain(judge.stale()).chain(judge.expired());
        let found = found.chain(judge.behind()).chain(judge.unminded()).chain(judge.overdue());
        for finding in found.chain(judge.given_up()).filter(|finding| finding.severity > Severity::Note) {
            match alarms.iter_mut().find(|alarm| alarm.finding.alarm_id() == finding.alarm_id()) {
                Some(known) => {
                    known.unseen = false;
                    // What is denied now counts, not what was at the last poll.
                    let is_newer = finding.event == Event::DeniedCertificateListed;
                    if is_newer || known.finding.severity < finding.severity {
                        known.finding = finding;
                    }
                }
                None => {
                    let since = judge.began(&finding).unwrap_or(now).min(now);
                    alarms.push(Alarm { finding, since, unseen: false });
                }
            }
        }
        alarms
            .sort_by(|one, other| other.finding.severity.cmp(&one.finding.severity).then(one.since.cmp(&other.since)));
        let graded = alarms.iter().map(|alarm| match alarm.finding.severity {
            Severity::Critical => Verdict::Critical,
            Severity::Warning => Verdict::Warning,
            Severity::Note => Verdict::Ok,
        });
        let published = if summary.generation() == 0 { Verdict::Unknown } else { Verdict::Ok };
        let verdict = graded.chain([published]).max().unwrap_or(Verdict::Unknown);
        Self { verdict, alarms }
    }

    /// One line of truth: `main: generation 000042, current 73 days left, next poll 14:05Z, 1 owed, 1 critical`.
    #[must_use]
    pub fn line<'a>(&self, summary: &StoreSummary, targets: impl Iterator<Item = &'a str>, now: Timestamp) -> String {
        let mut line = match summary.generation() {
            0 => format!("{}: nothing published yet", summary.store),
            number => format!("{}: generation {number:06}", summary.store),
        };
        if let Some((since, _)) = &summary.failing {
            let _ = write!(line, ", CANNOT BE WORKED ON since {since}");
        } else if summary.unwritable().is_some() {
            line.push_str(", CANNOT BE WRITTEN");
        }
        if summary.deny_all() {
            line.push_str(", DENY ALL");
        }
        for role in [Role::Current, Role::Upcoming] {
            if let Some(end) = end_of(summary, role) {
                let _ = write!(line, ", {role} {} days left", now.days_until(end));
            }
        }
        if summary.hold(now).is_some() {
            line.push_str(", HELD");
        }
        if let Some(next) = summary.next_poll() {
            // 2026-11-25T14:05:00Z
            let next = next.to_string();
            let _ = write!(line, ", next poll {}Z", next.get(11..16).unwrap_or(&next));
        }
        let owed = targets.filter(|target| summary.owes(target)).count();
        for (count, what) in [
            (owed, "owed"),
            (self.alarms_of(Severity::Critical), "critical"),
            (self.alarms_of(Severity::Warning), "warning"),
        ] {
            if count > 0 {
                let _ = write!(line, ", {count} {what}");
            }
        }
        line
    }
}

/// The end of the latest-ending leaf of a role.
fn end_of(summary: &StoreSummary, role: Role) -> Option<Timestamp> {
    summary.ends().iter().filter(|(_, of, _)| *of == role).map(|(.., end)| *end).max()
}

struct Judge<'a> {
    summary: &'a StoreSummary,
    meant: &'a Meant<'a>,
    now: Timestamp,
}

impl Judge<'_> {
    /// Since when a finding of ours is true, where that can be known: it must not seem new whenever somebody asks.
    fn began(&self, finding: &Finding) -> Option<Timestamp> {
        let schedule = self.meant.schedule;
        match (finding.event, &finding.subject) {
            (Event::StoreFailing, _) => self.failing_since().map(|(since, _)| *since),
            (Event::DaemonSilent, _) => Some(self.last_sign()?.plus(DAEMON_SILENT)),
            (Event::PollOverdue, _) => self.first_overdue(Duration::ZERO).map(|(_, due)| due),
            (Event::SourceStale, Subject::Source(source)) => {
                Some(self.last_success(source)?.plus(schedule.stale_after()))
            }
            (Event::LastCertificateExpired, _) => {
                self.summary.set.pins.values().map(|pin| pin.leaf.facts().not_after).max()
            }
            (Event::TargetBehind | Event::ListedNotTrusted, _) => {
                self.summary.published.as_ref().map(|published| published.committed)
            }
            _ => None,
        }
    }

    fn failing_since(&self) -> Option<&(Timestamp, String)> {
        let seen = self.summary.daemon.as_ref().filter(|_| !self.is_silent());
        self.summary.failing.as_ref().or_else(|| seen?.store.failing.as_ref())
    }

    /// The store cannot be worked on: as whoever tries to has found.
    fn failing(&self) -> Option<Finding> {
        let (since, why) = self.failing_since()?;
        let text = format!(
            "Since {since} the store cannot be worked on: {why} Nothing is added, removed, reloaded or proven until \
             that is mended; what is published stays."
        );
        Some(Finding::new(Event::StoreFailing, Subject::store(&self.summary.store), text))
    }

    fn last_success(&self, source: &str) -> Option<Timestamp> {
        self.summary.state.sources.get(source)?.last_success
    }

    /// What a source last said is long ago.
    fn stale(&self) -> Vec<Finding> {
        let seeded = self.summary.published.as_ref().is_some_and(|published| published.cause == SEED_CAUSE);
        let allowed = self.meant.schedule.stale_after();
        let finding = |source: &String| {
            let (severity, text) = match self.last_success(source) {
                None if seeded => (
                    Severity::Warning,
                    "The source was never polled with success: what is trusted comes from the seed, and a rotation \
                     since it was made would go unseen. Run trustsync sync."
                        .to_owned(),
                ),
                None => (
                    Severity::Warning,
                    "The source was never polled with success: what it lists is unknown. Run trustsync sync."
                        .to_owned(),
                ),
                Some(last) => {
                    let age = self.now.since(last);
                    let severity = if age > LONG_STALE { Severity::Critical } else { Severity::Warning };
                    let text = format!(
                        "The last successful poll was on {last}: a rotation since then would go unseen. Is `trustsync \
                         sync` run every {}, or the daemon?",
                        span(self.meant.schedule.interval)
                    );
                    if age <= allowed {
                        return None;
                    }
                    (severity, text)
                }
            };
            Some(Finding::graded(severity, Event::SourceStale, Subject::source(source), text))
        };
        self.meant.sources.iter().filter_map(finding).collect()
    }

    /// What the clock alone has brought since the last cycle.
    fn expired(&self) -> Option<Finding> {
        let pins = &self.summary.set.pins;
        let unexpired = pins.values().any(|pin| pin.leaf.facts().not_after >= self.now);
        if pins.is_empty() || unexpired {
            return None;
        }
        let text = "Every pinned certificate has expired: servers refuse the vendor's calls. Run trustsync sync.";
        Some(Finding::new(Event::LastCertificateExpired, Subject::store(&self.summary.store), text))
    }

    /// Targets whose servers are not known to serve what is in place, though nothing was recorded as owed: the cycle
    /// that published it died, or could not save what came of their turns.
    fn behind(&self) -> Vec<Finding> {
        let Some(wanted) = self.summary.published.as_ref().map(|published| published.generation) else {
            return Vec::new();
        };
        let targets = &self.summary.state.targets;
        let is_behind = |name: &&&str| {
            targets.get(**name).is_none_or(|known| known.owed.is_none() && known.acknowledged != Some(wanted))
        };
        let finding = |name: &&str| {
            let serves = targets.get(*name).and_then(|known| known.acknowledged);
            let serves = serves.map_or_else(|| "nothing yet".to_owned(), |number| format!("generation {number:06}"));
            let text = format!(
                "Generation {wanted:06} is in place, and the server is known to serve {serves}: its turn was not \
                 taken, or its outcome could not be saved. Run trustsync sync, and see what it says."
            );
            Finding::new(Event::TargetBehind, Subject::target(*name), text)
        };
        self.meant.targets.iter().filter(is_behind).map(finding).collect()
    }

    /// When the daemon that minds the store was last known to live; none where none does, or none can be seen to.
    fn last_sign(&self) -> Option<Timestamp> {
        let Minder::Daemon { heartbeat: Some(_), .. } = &self.summary.state.minder else {
            return self.summary.daemon.as_ref().map(|seen| seen.at);
        };
        let worked = self.summary.state.known_times().latest;
        self.summary.daemon.as_ref().map(|seen| seen.at).or(worked)
    }

    fn is_silent(&self) -> bool {
        !self.meant.by_its_daemon && self.last_sign().is_some_and(|last| self.now.since(last) > DAEMON_SILENT)
    }

    /// The first poll that is overdue: the source, and since when.
    fn first_overdue(&self, allowed: Duration) -> Option<(&String, Timestamp)> {
        let due = |source: &String| {
            let known = self.summary.state.sources.get(source)?;
            // An operator's command has asked for a poll at once.
            known.next_due.or_else(|| Some(known.last_attempt?.plus(self.meant.schedule.interval)))
        };
        let dues = self.meant.sources.iter().filter_map(|source| Some((source, due(source)?)));
        dues.filter(|(_, due)| self.now.since(*due) > allowed).min_by_key(|(_, due)| *due)
    }

    /// The daemon that minds the store gives no sign of life.
    fn unminded(&self) -> Option<Finding> {
        if !matches!(self.summary.state.minder, Minder::Daemon { .. }) || !self.is_silent() {
            return None;
        }
        let last = self.last_sign()?;
        let (severity, overdue) = match self.first_overdue(DAEMON_SILENT) {
            Some((source, due)) => (
                Severity::Critical,
                format!(" The poll of source {source} is overdue since {due}: a rotation would go unseen."),
            ),
            None => (Severity::Warning, String::new()),
        };
        let text = format!(
            "The daemon that minds the store has given no sign of life since {last}.{overdue} Start it again \
             (systemctl status trustsync); if a timer has taken its place, this ends with the timer's third cycle."
        );
        Some(Finding::graded(severity, Event::DaemonSilent, Subject::store(&self.summary.store), text))
    }

    /// A source was not asked when it was due: nobody minds the store, or whoever does gets nowhere.
    fn overdue(&self) -> Option<Finding> {
        let schedule = self.meant.schedule;
        let by_daemon = matches!(self.summary.state.minder, Minder::Daemon { .. });
        // What cannot be saved is not known to be asked; and of a silent daemon that is said already.
        if self.failing().is_some() || (by_daemon && self.is_silent()) {
            return None;
        }
        let allowed = if by_daemon { POLL_LATE } else { schedule.interval.saturating_add(POLL_LATE) };
        let (source, due) = self.first_overdue(allowed)?;
        let long = by_daemon || self.now.since(due) > schedule.stale_after();
        let severity = if long { Severity::Critical } else { Severity::Warning };
        let ask = if by_daemon {
            "Does the daemon run, and what does its log say (systemctl status trustsync)?".to_owned()
        } else {
            let interval = span(schedule.interval);
            format!(
                "Does the timer run that starts `trustsync sync` (systemctl list-timers)? By schedule.interval it \
                     runs every {interval}."
            )
        };
        let text = format!("The source was due on {due} and was not asked: a rotation would go unseen. {ask}");
        Some(Finding::graded(severity, Event::PollOverdue, Subject::source(source), text))
    }

    /// What the vendor lists and the operator has taken out, or keeps out: one finding of each kind a slot, since an
    /// alarm is one of its event and subject.
    fn given_up(&self) -> Vec<Finding> {
        let planner = &self.summary.state.planner;
        if self.summary.generation() == 0 {
            return Vec::new();
        }
        let mut given_up: BTreeMap<(&SlotId, bool), Vec<(Role, String)>> = BTreeMap::new();
        for (slot, key, Listed { role, name, until }) in planner.listed_not_trusted(self.now) {
            let denied = planner.denied.contains_key(key);
            if denied || !self.is_said(slot, key) {
                let leaf = format!("{} ({}, until {until})", quoted(name), key.short());
                given_up.entry((slot, denied)).or_default().push((*role, leaf));
            }
        }
        let remedy = match self.summary.hold(self.now) {
            Some(hold) => format!(
                "It is kept out by the hold until {} ({}): trustsync release lets it in.",
                hold.until,
                quoted(&hold.reason)
            ),
            None => "The next poll lets it in: trustsync sync.".to_owned(),
        };
        let finding = |((slot, denied), leaves): ((&SlotId, bool), Vec<(Role, String)>)| {
            let (leaves, means) = kept_out(leaves);
            if denied {
                let text =
                    format!("The vendor lists {leaves}, denied here (revoked or distrusted) and kept out. {means}");
                return Finding::new(Event::DeniedCertificateListed, slot, text);
            }
            let text =
                format!("The vendor's last clean answer lists {leaves}, and it is not trusted. {means} {remedy}");
            Finding::new(Event::ListedNotTrusted, slot, text)
        };
        given_up.into_iter().map(finding).collect()
    }

    /// Whether an alarm of the slot that stands says of this very leaf why it is kept out.
    fn is_said(&self, slot: &SlotId, key: &Fingerprint) -> bool {
        let says_why = |event| {
            use Event::{AdditionHeldBack, DeniedCertificateListed, ServersWouldRefuse, TooManyPins};
            matches!(event, AdditionHeldBack | DeniedCertificateListed | ServersWouldRefuse | TooManyPins)
        };
        let of_slot = |alarm: &&Alarm| alarm.finding.subject == Subject::from(slot) && says_why(alarm.finding.event);
        let standing = self.summary.state.alarms.values().filter(of_slot);
        let mut standing = standing.filter(|alarm| !alarm.unseen && self.still_holds(alarm));
        standing.any(|alarm| alarm.finding.text.contains(&key.short()))
    }

    /// Whether the operator's word since the last poll has left an alarm its cause.
    fn still_holds(&self, alarm: &Alarm) -> bool {
        match alarm.finding.event {
            Event::AdditionHeldBack => self.summary.hold(self.now).is_some(),
            Event::DeniedCertificateListed => {
                let mut denied = self.summary.state.planner.denied.keys();
                denied.any(|key| alarm.finding.text.contains(&key.short()))
            }
            _ => true,
        }
    }
}
