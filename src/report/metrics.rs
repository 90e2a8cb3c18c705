//! `/metrics`, in Prometheus' classic text format: rendered whole from how the stores stand, so that no counter has to
//! be kept, or can be forgotten.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use super::health::is_stale;
use super::{InForce, of_its_daemon};
use crate::settings::resolved::Store;
use crate::trust::event::severity::Severity;
use crate::trust::records::health::Health;
use crate::trust::records::state::SourceState;
use crate::trust::records::summary::StoreSummary;
use crate::trust::values::excerpt;
use crate::trust::values::timestamp::Timestamp;

/// The format's own media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many alarms of a store are named, the most urgent of them.
const MOST_ALARMS: usize = 100;

/// How long the name of a subject may be; those of revocation lists are addresses.
const LONGEST_SUBJECT: usize = 200;

/// Everything, as of now. What is configured has its lines as soon as its store was read, whether anything happened to
/// it yet or not; what never happened was at 0, and is infinitely long ago.
// Long because it is the list of the families, two lines each.
#[must_use]
pub fn render(in_force: &InForce, healthy: bool, summaries: &[StoreSummary], now: Timestamp) -> String {
    let settings = &in_force.settings;
    let summary_of = |store: &Store| summaries.iter().find(|summary| summary.store == store.name);
    let configured: Vec<_> =
        settings.stores.values().map(|store| ([("store", store.name.as_str())], (store, summary_of(store)))).collect();
    let known = || configured.iter().filter_map(|([label], (store, summary))| Some((*label, *store, (*summary)?)));
    let stores: Vec<_> = known().map(|(label, _, summary)| ([label], summary)).collect();
    let health = |(label, store, summary)| ([label], Health::of(summary, &of_its_daemon(settings, store), now));
    let healths: Vec<_> = known().map(health).collect();
    let sources: Vec<_> = known()
        .flat_map(|(label, store, summary)| {
            store.sources.iter().map(move |name| ([label, ("source", name)], summary.state.sources.get(name)))
        })
        .collect();
    let targets: Vec<_> = known()
        .flat_map(|(label, store, summary)| {
            let targets = store.targets.iter().map(|target| &target.name);
            let known = |name| (summary.state.targets.get(name), summary.owes(name));
            targets.map(move |name| ([label, ("target", name)], known(name)))
        })
        .collect();
    let mut text = Text::default();

    text.family("build_info", "The version that runs.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("healthy", "Whether everything that runs makes progress, as /healthz says.");
    text.sample(&[], u8::from(healthy));
    let help = "Whether the configuration in force is the newest one, 0 if that one was refused.";
    text.family("config_last_reload_successful", help);
    text.sample(&[], u8::from(!in_force.newer_refused));
    text.family("config_last_reload_success_timestamp_seconds", "Since when the configuration in force is.");
    text.sample(&[], in_force.since.unix());
    text.family("ready", "Whether the store has a generation in place, as /readyz says.");
    text.each(&configured, |(_, summary)| Some(u8::from(summary.is_some_and(|summary| summary.generation() > 0))));

    text.family("generation", "The newest committed generation, 0 before the first.");
    text.each(&stores, |summary| Some(summary.generation()));
    text.family("deny_all", "Whether nobody at all is admitted.");
    text.each(&stores, |summary| Some(u8::from(summary.deny_all())));
    text.family("hold", "Whether an operator's hold is in force.");
    text.each(&stores, |summary| Some(u8::from(summary.hold(now).is_some())));
    text.family("hold_end_timestamp_seconds", "When the hold that is in force ends.");
    text.each(&stores, |summary| summary.hold(now).map(|hold| hold.until.unix()));
    let help = "Whether the store cannot be read or written: nothing is added, removed, told or proven.";
    text.family("store_failing", help);
    text.each(&stores, |summary| Some(u8::from(summary.failing.is_some() || summary.unwritable().is_some())));
    text.family("alarms", "Alarms that stand, by severity.");
    for ([store], health) in &healths {
        for severity in [Severity::Warning, Severity::Critical] {
            text.sample(&[*store, ("severity", &severity.to_string())], health.alarms_of(severity));
        }
    }
    text.family("alarm", "Each alarm that stands: the runbook says what its event means.");
    for ([store], health) in &healths {
        let mut named = BTreeSet::new();
        for alarm in health.alarms.iter().take(MOST_ALARMS) {
            let (event, severity) = (alarm.finding.event.name(), alarm.finding.severity.to_string());
            let subject = excerpt::beginning(&alarm.finding.subject.to_string(), LONGEST_SUBJECT);
            // A store and a target may have one name.
            if named.insert((event, severity.clone(), subject.clone())) {
                text.sample(&[*store, ("event", event), ("severity", &severity), ("subject", &subject)], 1);
            }
        }
    }
    text.family("alarms_over", "Those of them that are over, and stand until somebody has seen them.");
    text.each(&healths, |health| Some(health.alarms.iter().filter(|alarm| alarm.unseen).count()));

    let latest: Vec<_> = stores.iter().map(|([store], summary)| (*store, summary.latest_ends())).collect();
    let ends = latest.iter().flat_map(|(store, ends)| {
        ends.iter().map(move |((slot, role), end)| ([*store, ("slot", slot.as_str()), ("role", role)], end.unix()))
    });
    let ends: Vec<_> = ends.collect();
    let help = "The last valid second of the latest-ending certificate that is trusted, by slot and role.";
    text.family("certificate_expiration_timestamp_seconds", help);
    text.each(&ends, |end| Some(*end));
    text.family("certificate_remaining_seconds", "The time left until then, negative once it has passed.");
    text.each(&ends, |end| Some(end.saturating_sub(now.unix())));

    let last_success = |known: &Option<&SourceState>| known.and_then(|known| known.last_success);
    text.family("source_last_success_timestamp_seconds", "The last successful poll, 0 if there never was one.");
    text.each(&sources, |known| Some(moment(last_success(known))));
    let help = "The time since the last successful poll, +Inf if there never was one.";
    text.family("source_last_success_age_seconds", help);
    text.each(&sources, |known| {
        Some(last_success(known).map_or_else(|| "+Inf".to_owned(), |last| now.since(last).as_secs().to_string()))
    });
    text.family("source_stale", "Whether that is longer ago than three intervals, as /readyz says.");
    text.each(&sources, |known| Some(u8::from(is_stale(settings, last_success(known), now))));
    let help = "The last poll, successful or not, 0 if there never was one.";
    text.family("source_last_attempt_timestamp_seconds", help);
    text.each(&sources, |known| Some(moment(known.and_then(|known| known.last_attempt))));
    text.family("source_next_poll_timestamp_seconds", "When the source is asked next, 0 if at once.");
    text.each(&sources, |known| Some(moment(known.and_then(|known| known.next_due))));
    text.family("source_consecutive_failures", "Polls without success since the last successful one.");
    text.each(&sources, |known| Some(known.map_or(0, |known| known.failures)));

    text.family("target_generation", "The generation that the server is known to serve, 0 if none.");
    text.each(&targets, |known| Some(known.0.and_then(|known| known.acknowledged).unwrap_or(0)));
    text.family("target_owed", "Whether the server does not, as far as is known, serve the newest generation.");
    text.each(&targets, |(_, owes)| Some(u8::from(*owes)));
    text.family("target_owed_since_timestamp_seconds", "Since when it does not.");
    text.each(&targets, |known| Some(known.0?.owed_since?.unix()));
    text.family("target_last_proof_timestamp_seconds", "When the server was last proven, 0 if never.");
    text.each(&targets, |known| Some(moment(known.0.and_then(|known| known.proven))));
    text.text
}

fn moment(at: Option<Timestamp>) -> i64 {
    at.map_or(0, Timestamp::unix)
}

/// The text so far, and the family that samples belong to.
#[derive(Default)]
struct Text {
    text: String,
    name: &'static str,
    /// Its heading, until a sample has come: a family without any is left out.
    heading: Option<String>,
}

impl Text {
    /// Begins a family of gauges: what all of this is, since it says how things stand.
    fn family(&mut self, name: &'static str, help: &str) {
        self.name = name;
        self.heading = Some(format!("# HELP trustsync_{name} {help}\n# TYPE trustsync_{name} gauge\n"));
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.text.push_str(&self.heading.take().unwrap_or_default());
        let _ = writeln!(self.text, "trustsync_{}{labels} {value}", self.name);
    }

    /// A sample of each of these that has a value, by its labels.
    fn each<const N: usize, T, V: Display>(
        &mut self,
        items: &[([(&str, &str); N], T)],
        value: impl Fn(&T) -> Option<V>,
    ) {
        for (labels, item) in items {
            if let Some(value) = value(item) {
                self.sample(labels, value);
            }
        }
    }
}

/// As the format wants a label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
