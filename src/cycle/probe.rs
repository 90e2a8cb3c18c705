//! What a source answers now, assessed as in a cycle on an empty store: nothing is read of any store, nothing is
//! written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::{Clients, CycleError, observe};
use crate::clock::Clock;
use crate::exit::Exit;
use crate::settings::resolved::Settings;
use crate::trust::event::finding::Finding;
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan;
use crate::trust::plan::observation::{ListedStatus, SlotAnswer, SlotVerdict};
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::plan::set::TrustSet;
use crate::trust::values::excerpt::quoted;
use crate::trust::verify::Identity;

/// What every source answered.
#[derive(Debug, Serialize)]
pub struct Probe {
    /// What each source answered, by its name.
    pub sources: BTreeMap<String, ProbedSource>,
    /// What was found.
    pub findings: Vec<Finding>,
    /// Why the exit is not 0.
    #[serde(skip)]
    pub causes: BTreeSet<Exit>,
}

/// A source, and what it answered.
#[derive(Debug, Serialize)]
pub struct ProbedSource {
    /// The AWS name of its region.
    pub region: String,
    /// The authorities that it is asked for.
    pub authorities: Vec<&'static str>,
    /// What each slot makes of it, by the slot's id.
    pub slots: BTreeMap<String, ProbedSlot>,
}

/// What a slot makes of the listing.
#[derive(Debug, Serialize)]
pub struct ProbedSlot {
    /// Each entity, and what policy says of it.
    pub entities: Vec<ProbedEntity>,
    /// The line that pins the names that were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_by: Option<String>,
}

/// One entity of the listing.
#[derive(Debug, Serialize)]
pub struct ProbedEntity {
    /// `current` or `upcoming`.
    pub listed: &'static str,
    /// Whether it would enter.
    pub accepted: bool,
    /// The certificate in a line, or why it is refused.
    pub says: String,
}

/// Asks every source once.
pub async fn probe(
    settings: &Settings,
    clients: &mut Clients,
    clock: &dyn Clock,
    deadline: Duration,
) -> Result<Probe, CycleError> {
    let names: BTreeSet<String> = settings.sources.keys().cloned().collect();
    let observed = observe::ask(settings, &names, clients, clock, deadline).await;
    let now = clock.now();
    let interpreted = observe::assess(settings, &observed, &PlannerState::default())?;
    let configured = settings.sources.values().flat_map(|source| source.slots().map(|(slot, _)| slot)).collect();
    let plan = plan::plan(&plan::Input {
        planner: &PlannerState::default(),
        committed: &TrustSet::default(),
        configured: &configured,
        answers: &interpreted.answers,
        extra_anchors: &BTreeMap::new(),
        policy: &settings.plan,
        now,
        clock_doubted: false,
    });
    let mut causes: BTreeSet<Exit> = observed.iter().flat_map(super::Observed::exits).collect();
    if plan.answer_refused {
        causes.insert(Exit::Answer);
    }
    let sources = settings.sources.values().map(|source| {
        let slots = source.slots().filter_map(|(slot, _)| {
            let answer = interpreted.answers.iter().find(|answer| answer.slot == slot)?;
            Some((slot.to_string(), ProbedSlot { entities: entities(answer), pin_by: pin_by(answer) }))
        });
        let authorities = source.authorities.iter().map(|authority| authority.name()).collect();
        (source.name.clone(), ProbedSource { region: source.region.clone(), authorities, slots: slots.collect() })
    });
    let sources = sources.collect();
    let findings = interpreted.findings.into_iter().chain(plan.findings).collect();
    Ok(Probe { sources, findings, causes })
}

fn entities(answer: &SlotAnswer) -> Vec<ProbedEntity> {
    let in_short = |leaf: &Certificate| {
        let facts = leaf.facts();
        let name = leaf.identity_names().first().unwrap_or(&facts.subject);
        format!("{} until {} sha256 {}", quoted(name), facts.not_after, facts.fingerprint)
    };
    let entity = |listed: &crate::trust::plan::observation::ListedCertificate| ProbedEntity {
        listed: match listed.status {
            ListedStatus::Current => "current",
            ListedStatus::Upcoming => "upcoming",
        },
        accepted: matches!(listed.verdict, SlotVerdict::Accepted(_)),
        says: match &listed.verdict {
            SlotVerdict::Accepted(verified) => in_short(verified.leaf()),
            SlotVerdict::Expired(_, refusal) | SlotVerdict::Refused(refusal) => refusal.to_string(),
        },
    };
    answer.certificates.iter().map(entity).collect()
}

/// The names that all accepted Currents have; of those that a configured identity admits, where there is one.
fn pin_by(answer: &SlotAnswer) -> Option<String> {
    let currents = answer.certificates.iter().filter(|listed| listed.status == ListedStatus::Current);
    let names = currents
        .filter_map(|listed| match &listed.verdict {
            SlotVerdict::Accepted(verified) => Some(verified.leaf()),
            _ => None,
        })
        .map(|leaf| leaf.identity_names().iter().map(|name| name.to_ascii_lowercase()).collect())
        .reduce(|agreed: BTreeSet<String>, names| agreed.intersection(&names).cloned().collect())?;
    let bound = match &answer.identity {
        Some(Identity::Names(expected)) => {
            let expected: BTreeSet<String> = expected.iter().map(|name| name.to_ascii_lowercase()).collect();
            names.intersection(&expected).cloned().collect()
        }
        _ => names,
    };
    (!bound.is_empty()).then(|| observe::pin_line(&bound))
}
