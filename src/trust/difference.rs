//! What changes from one trust set to another, for people: by fingerprint, name and expiry.

use serde::Serialize;

use crate::trust::certificate::Certificate;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::set::{NameRule, Role, TrustSet};
use crate::trust::timestamp::Timestamp;

/// What changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Each change, additions first.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens.
    pub action: Action,
    /// To what: `current`, `upcoming`, `trusted`, `retiring`, `chain`, `name rule`, `denied`, `extra anchor`.
    pub what: String,
    /// SHA-256 of the certificate.
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
            match before.pins.get(key) {
                None => changes.push(change(Action::Added, pin.role().name(), &pin.leaf)),
                Some(old) if old.role() != pin.role() => {
                    changes.push(change(Action::Changed, &format!("{} to {}", old.role(), pin.role()), &pin.leaf));
                }
                Some(_) => {}
            }
        }
        for pin in before.pins.values().filter(|pin| !after.pins.contains_key(&pin.leaf.fingerprint())) {
            changes.push(change(Action::Removed, Role::name(pin.role()), &pin.leaf));
        }
        let rule = |action, rule: &NameRule| {
            let names: Vec<&str> = rule.names.iter().map(String::as_str).collect();
            let what = if names.is_empty() {
                "name rule: issuer alone".to_owned()
            } else {
                format!("name rule: {}", names.join(", "))
            };
            change(action, &what, &rule.root)
        };
        let same = |one: &NameRule, others: &[NameRule]| {
            others.iter().any(|other| other.root == one.root && other.names == one.names)
        };
        changes.extend(
            after.name_rules.iter().filter(|one| !same(one, &before.name_rules)).map(|one| rule(Action::Added, one)),
        );
        changes.extend(
            before.name_rules.iter().filter(|one| !same(one, &after.name_rules)).map(|one| rule(Action::Removed, one)),
        );
        for (what, old, new) in [("chain", &before.chain, &after.chain), ("extra anchor", &before.extra, &after.extra)]
        {
            changes.extend(
                new.iter()
                    .filter(|(key, _)| !old.contains_key(*key))
                    .map(|(_, held)| change(Action::Added, what, held)),
            );
            changes.extend(
                old.iter()
                    .filter(|(key, _)| !new.contains_key(*key))
                    .map(|(_, held)| change(Action::Removed, what, held)),
            );
        }
        let denied = |action, fingerprint: &Fingerprint| Change {
            action,
            what: "denied".to_owned(),
            fingerprint: *fingerprint,
            subject: String::new(),
            not_after: None,
        };
        changes.extend(
            after.denied.keys().filter(|key| !before.denied.contains_key(*key)).map(|key| denied(Action::Added, key)),
        );
        changes.extend(
            before.denied.keys().filter(|key| !after.denied.contains_key(*key)).map(|key| denied(Action::Removed, key)),
        );
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

fn change(action: Action, what: &str, certificate: &Certificate) -> Change {
    Change {
        action,
        what: what.to_owned(),
        fingerprint: certificate.fingerprint(),
        subject: certificate.facts().subject.clone(),
        not_after: Some(certificate.facts().not_after),
    }
}
