//! `/metrics`, in Prometheus' classic text format: rendered whole from how the stores stand, so that no counter has to be
//! kept, or can be forgotten.

use std::collections::BTreeMap;
use std::fmt::{Display, Write};

use super::InForce;
use super::health::is_stale;
use crate::settings::resolved::Store;
use crate::trust::finding::Severity;
use crate::trust::state::{SourceState, TargetState};
use crate::trust::summary::StoreSummary;
use crate::trust::timestamp::Timestamp;

/// The format's own media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything, as of now. What is configured has its lines as soon as its store was looked at, whether anything happened
/// to it yet or not; what never happened was at 0, and is infinitely long ago.
#[must_use]
pub fn render(in_force: &InForce, healthy: bool, summaries: &[StoreSummary], now: Timestamp) -> String {
    let settings = &in_force.settings;
    let stores: Vec<(&Store, Option<&StoreSummary>)> = settings
        .stores
        .values()
        .map(|store| (store, summaries.iter().find(|summary| summary.store == store.name)))
        .collect();
    let looked_at: Vec<(&Store, &StoreSummary)> =
        stores.iter().filter_map(|(store, summary)| Some((*store, (*summary)?))).collect();
    let mut text = Text::default();

    text.family("build_info", "The version that runs.");
    text.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    text.family("healthy", "Whether everything that runs makes progress, as /healthz says.");
    text.sample(&[], u8::from(healthy));
    text.family(
        "config_last_reload_successful",
        "Whether the configuration in force is the newest one, 0 if that one was refused.",
    );
    text.sample(&[], u8::from(!in_force.newer_refused));
    text.family("config_last_reload_success_timestamp_seconds", "Since when the configuration in force is.");
    text.sample(&[], in_force.since.unix());
    text.family("ready", "Whether the store has a generation in place, as /readyz says.");
    for (store, summary) in &stores {
        text.sample(&[("store", &store.name)], u8::from(summary.is_some_and(|summary| summary.generation > 0)));
    }

    text.family("generation", "The newest committed generation, 0 before the first.");
    text.each(&looked_at, |summary| Some(summary.generation));
    text.family("deny_all", "Whether nobody at all is admitted.");
    text.each(&looked_at, |summary| Some(u8::from(summary.deny_all)));
    text.family("hold", "Whether an operator's hold is in force.");
    text.each(&looked_at, |summary| Some(u8::from(hold_end(summary, now).is_some())));
    text.family("hold_end_timestamp_seconds", "When the hold that is in force ends.");
    text.each(&looked_at, |summary| hold_end(summary, now).map(Timestamp::unix));
    text.family(
        "store_failing",
        "Whether the store cannot be read or written: nothing is added, removed, told or proven.",
    );
    text.each(&looked_at, |summary| Some(u8::from(summary.failing.is_some())));
    text.family("alarms", "Alarms that stand, by severity.");
    for (store, summary) in &looked_at {
        for severity in [Severity::Warning, Severity::Critical] {
            let labels = [("store", store.name.as_str()), ("severity", &severity.to_string())];
            text.sample(&labels, summary.alarms_of(severity));
        }
    }
    text.family("alarms_by_event", "Alarms that stand, by event: the runbook says what each means.");
    for (store, summary) in &looked_at {
        let mut counted: BTreeMap<_, usize> = BTreeMap::new();
        for of in summary.alarms.values() {
            let count = counted.entry(of).or_default();
            *count = count.saturating_add(1);
        }
        for ((event, severity), count) in counted {
            let labels = [("store", store.name.as_str()), ("event", event.name()), ("severity", &severity.to_string())];
            text.sample(&labels, count);
        }
    }
    text.family("alarms_over", "Those of them that are over, and stand until somebody has seen them.");
    text.each(&looked_at, |summary| Some(summary.over.len()));

    let ends: Vec<_> = looked_at.iter().map(|(store, summary)| (*store, latest_ends(summary))).collect();
    text.family(
        "certificate_expiration_timestamp_seconds",
        "The last valid second of the latest-ending certificate that is trusted, by slot and role.",
    );
    for (store, ends) in &ends {
        for ((slot, role), end) in ends {
            text.sample(&[("store", &store.name), ("slot", slot), ("role", role)], end.unix());
        }
    }
    text.family("certificate_remaining_seconds", "The time left until then, negative once it has passed.");
    for (store, ends) in &ends {
        for ((slot, role), end) in ends {
            let left = end.unix().saturating_sub(now.unix());
            text.sample(&[("store", &store.name), ("slot", slot), ("role", role)], left);
        }
    }

    let sources: Vec<(&str, &str, Option<&SourceState>)> = looked_at
        .iter()
        .flat_map(|(store, summary)| {
            store.sources.iter().map(|name| (store.name.as_str(), name.as_str(), summary.sources.get(name)))
        })
        .collect();
    let mut of_sources = |name, help, value: &dyn Fn(Option<&SourceState>) -> String| {
        text.family(name, help);
        for (store, source, summary) in &sources {
            text.sample(&[("store", store), ("source", source)], value(*summary));
        }
    };
    of_sources(
        "source_last_success_timestamp_seconds",
        "The last successful poll, 0 if there never was one.",
        &|known| moment(known.and_then(|known| known.last_success)),
    );
    of_sources(
        "source_last_success_age_seconds",
        "The time since the last successful poll, +Inf if there never was one.",
        &|known| {
            let last = known.and_then(|known| known.last_success);
            last.map_or_else(|| "+Inf".to_owned(), |last| now.since(last).as_secs().to_string())
        },
    );
    of_sources("source_stale", "Whether that is longer ago than three intervals, as /readyz says.", &|known| {
        let stale = is_stale(settings, known.and_then(|known| known.last_success), now);
        u8::from(stale).to_string()
    });
    of_sources(
        "source_last_attempt_timestamp_seconds",
        "The last poll, successful or not, 0 if there never was one.",
        &|known| moment(known.and_then(|known| known.last_attempt)),
    );
    of_sources("source_next_poll_timestamp_seconds", "When the source is asked next, 0 if at once.", &|known| {
        moment(known.and_then(|known| known.next_due))
    });
    of_sources("source_consecutive_failures", "Polls without success since the last successful one.", &|known| {
        known.map_or(0, |known| known.failures).to_string()
    });

    let targets: Vec<(&str, &str, Option<&TargetState>)> = looked_at
        .iter()
        .flat_map(|(store, summary)| {
            let targets = store.targets.iter();
            targets.map(|target| (store.name.as_str(), target.name.as_str(), summary.targets.get(&target.name)))
        })
        .collect();
    let mut of_targets = |name, help, value: &dyn Fn(Option<&TargetState>) -> Option<String>| {
        text.family(name, help);
        for (store, target, summary) in &targets {
            if let Some(value) = value(*summary) {
                text.sample(&[("store", store), ("target", target)], value);
            }
        }
    };
    of_targets("target_generation", "The generation that the server is known to serve, 0 if none.", &|known| {
        Some(known.and_then(|known| known.acknowledged).unwrap_or(0).to_string())
    });
    of_targets(
        "target_owed",
        "Whether the server does not, as far as is known, serve the newest generation.",
        &|known| Some(u8::from(known.is_none_or(|known| known.owed_since.is_some())).to_string()),
    );
    of_targets("target_owed_since_timestamp_seconds", "Since when it does not.", &|known| {
        Some(known?.owed_since?.unix().to_string())
    });
    of_targets("target_last_proof_timestamp_seconds", "When the server was last proven, 0 if never.", &|known| {
        Some(moment(known.and_then(|known| known.proven)))
    });
    text.text
}

/// The end of the hold in force.
fn hold_end(summary: &StoreSummary, now: Timestamp) -> Option<Timestamp> {
    summary.hold.as_ref().map(|hold| hold.until).filter(|until| *until > now)
}

/// By slot and role, the end of what ends last.
fn latest_ends(summary: &StoreSummary) -> BTreeMap<(String, String), Timestamp> {
    let mut latest = BTreeMap::new();
    for (slot, role, end) in &summary.ends {
        let known = latest.entry((slot.clone(), role.to_string())).or_insert(*end);
        *known = (*known).max(*end);
    }
    latest
}

fn moment(at: Option<Timestamp>) -> String {
    at.map_or(0, Timestamp::unix).to_string()
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

    fn each<V: Display>(&mut self, stores: &[(&Store, &StoreSummary)], value: impl Fn(&StoreSummary) -> Option<V>) {
        for (store, summary) in stores {
            if let Some(value) = value(summary) {
                self.sample(&[("store", &store.name)], value);
            }
        }
    }
}

/// As the format wants a label's value.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
