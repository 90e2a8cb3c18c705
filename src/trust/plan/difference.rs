//! What changes from one trust set to another, for people: by fingerprint, name and expiry.

use serde::Serialize;

use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::set::{NameRule, Pin, TrustSet};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::timestamp::Timestamp;

/// What changes from one set to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Each change, additions first.
    pub changes: Vec<Change>,
}

/// One change of a certificate or a name rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether it enters, changes or leaves.
    pub action: Action,
    /// To what: `current`, `upcoming`, `trusted`, `retiring`, `chain`, `name rule`, `denied`, `extra anchor`.
    pub what: String,
    /// SHA-256 of the certificate.
    #[serde(rename = "sha256")]
    pub fingerprint: Fingerprint,
    /// RFC 2253 text; empty where only the fingerprint is known.
    pub subject: String,
    /// Last valid second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// What happens to a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It enters.
    Added,
    /// It has another role.
    Changed,
    /// It leaves.
    Removed,
}

impl Difference {
    /// From `before` to `after`.
    #[must_use]
    pub fn between(before: &TrustSet, after: &TrustSet) -> Self {
        let mut changes = Vec::new();
        for (key, pin) in &after.pins {
            if let Some(old) = before.pins.get(key).map(Pin::role).filter(|old| *old != pin.role()) {
                changes.push(change(Action::Changed, format!("{old} to {}", pin.role()), &pin.leaf));
            }
        }
        for (action, set, other) in [(Action::Added, after, before), (Action::Removed, before, after)] {
            let pins = set.pins.iter().filter(|(key, _)| !other.pins.contains_key(*key));
            changes.extend(pins.map(|(_, pin)| change(action, pin.role().name(), &pin.leaf)));
            let is_known =
                |rule: &&NameRule| other.name_rules.iter().any(|one| one.root == rule.root && one.names == rule.names);
            let rules = set.name_rules.iter().filter(|rule| !is_known(rule));
            changes.extend(rules.map(|rule| change(action, name_of(rule), &rule.root)));
            for (what, ours, theirs) in
                [("chain", &set.chain, &other.chain), ("extra anchor", &set.extra, &other.extra)]
            {
                let new = ours.iter().filter(|(key, _)| !theirs.contains_key(*key));
                changes.extend(new.map(|(_, certificate)| change(action, what, certificate)));
            }
            let denied = set.denied.keys().filter(|key| !other.denied.contains_key(*key));
            changes.extend(denied.map(|key| Change {
                action,
                what: "denied".to_owned(),
                fingerprint: *key,
                subject: String::new(),
                not_after: None,
            }));
        }
        changes.sort_by_key(|change| change.action);
        Self { changes }
    }

    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// One line a change.
    #[must_use]
    pub fn to_text(&self) -> String {
        let line = |change: &Change| {
            let sign = match change.action {
                Action::Added => '+',
                Action::Changed => '~',
                Action::Removed => '-',
            };
            let until = change.not_after.map(|end| format!(" until {end}")).unwrap_or_default();
            format!("{sign} {:<20} sha256:{} {}{until}\n", change.what, change.fingerprint, change.subject)
        };
        self.changes.iter().map(line).collect()
    }
}

fn change(action: Action, what: impl Into<String>, certificate: &Certificate) -> Change {
    Change {
        action,
        what: what.into(),
        fingerprint: certificate.fingerprint(),
        subject: certificate.facts().subject.clone(),
        not_after: Some(certificate.facts().not_after),
    }
}

fn name_of(rule: &NameRule) -> String {
    let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
    format!("name rule: {}", if names.is_empty() { "issuer alone".to_owned() } else { names.join(", ") })
}
