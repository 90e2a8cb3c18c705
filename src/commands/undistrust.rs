//! `trustsync undistrust`: takes an operator's denial back. What a CA has revoked stays denied.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{EachStore, Failure, load, operator, the_stores};
use crate::cli::Global;
use crate::cycle;
use crate::exit::Exit;
use crate::trust::plan::overrides::{self, Undistrusted};
use crate::trust::plan::set::DenialReason;
use crate::trust::values::fingerprint::Fingerprint;

pub async fn run(global: &Global, fingerprint: Fingerprint, reason: &str) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut denials = Vec::new();
    for store in the_stores(global, &loaded)? {
        denials.extend(cycle::read(store)?.state.planner.denied.get(&fingerprint).map(|denial| denial.reason));
    }
    if !denials.contains(&DenialReason::Distrusted) {
        let why = if denials.is_empty() {
            "is not denied here (trustsync status lists what is)"
        } else {
            "was revoked by its CA: no operator lifts that, and it ends with the certificate's expiry"
        };
        return Err(Failure::Refused(format!("{fingerprint} {why}. Nothing was changed.")));
    }
    let noted = format!("undistrust {fingerprint}");
    let said = operator::said(Some(reason));
    let outcomes = RefCell::new(BTreeMap::new());
    let each =
        EachStore::overrule(global, &loaded, ("trustsync undistrust", &noted, &said), |store, session, planner| {
            let outcome = overrides::undistrust(planner, &fingerprint);
            if outcome == Undistrusted::Lifted {
                // Whether the vendor lists it is asked no later than at the daemon's next look.
                session.contents.state.sources.values_mut().for_each(|source| source.next_due = None);
            }
            outcomes.borrow_mut().insert(store.name.clone(), outcome);
            None
        });
    let each = each.await?;
    let outcomes = outcomes.into_inner();
    each.conclude(global, |store, _| {
        let outcome = match outcomes.get(store) {
            Some(Undistrusted::Lifted) => {
                "is no longer distrusted: it enters again with the next answer that lists it (trustsync sync asks now)"
            }
            Some(Undistrusted::StillRevoked) => "is no longer distrusted, and stays denied: its CA has revoked it",
            Some(Undistrusted::Revoked) => "stays denied: its CA has revoked it",
            Some(Undistrusted::NotDenied) | None => "was not denied",
        };
        format!("{store}: {fingerprint} {outcome}.\n")
    })
}
