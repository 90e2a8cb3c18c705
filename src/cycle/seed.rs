//! The seed: what an empty store trusts before its first poll, so that a new machine starts while the vendor is down.

use std::collections::BTreeMap;
use std::path::Path;

use super::{CycleError, Report, Session, anchors, observe};
use crate::settings::resolved::{Settings, Store as StoreSettings};
use crate::store::adopt::{self, Foreign};
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::Plan;
use crate::trust::plan::observation::SlotRules;
use crate::trust::records::adopt::{Giver, Input, adopt};
use crate::trust::records::manifest::SEED_CAUSE;

impl Session<'_> {
    /// Adopts the seed at `folder` as a generation. One that cannot be used is reported, and the poll goes on.
    pub(super) fn plant(&mut self, settings: &Settings, folder: &Path) -> Result<Vec<Finding>, CycleError> {
        let shown = folder.display();
        let unusable = |store: &StoreSettings, why: &dyn std::fmt::Display| {
            let text = format!(
                "The seed {shown} was not adopted: {why}. The store stays empty until the vendor has answered."
            );
            Finding::new(Event::SeedUnusable, Subject::store(&store.name), text)
        };
        let Foreign { manifest, certificates } = match adopt::seed(folder) {
            Ok(foreign) => foreign,
            Err(error) => return Ok(vec![unusable(self.store, &error)]),
        };
        let planner = &self.contents.state.planner;
        let rules: Vec<SlotRules> = settings
            .slots_of(self.store)
            .map(|(source, slot, authority)| observe::rules(source, slot, authority, planner))
            .collect::<Result<_, _>>()?;
        let adopted = adopt(&Input {
            giver: Giver::Seed,
            manifest: &manifest,
            certificates: &certificates,
            rules: &rules,
            earlier: None,
            earlier_certificates: &BTreeMap::new(),
            lists: &[],
            denied: &planner.denied,
            extra: &anchors::extra(self.store)?,
            policy: &settings.verify,
            now: self.clock.now(),
        });
        let adopted = match adopted {
            Ok(adopted) => adopted,
            Err(why) => return Ok(vec![unusable(self.store, &why)]),
        };
        let text = format!(
            "The seed {shown} was adopted, as committed on {}: what the vendor lists by now is unknown until its first \
             answer.",
            manifest.committed
        );
        let mut findings = vec![Finding::new(Event::SeedAdopted, Subject::store(&self.store.name), text)];
        findings.extend(adopted.refused.iter().map(|why| {
            let text = format!(
                "Of the seed {shown}, this was not let in: {why}. It enters once the vendor lists it and it verifies."
            );
            Finding::new(Event::SeedRefused, Subject::store(&self.store.name), text)
        }));
        let plan = Plan { set: adopted.set, planner: adopted.planner, findings: Vec::new(), answer_refused: false };
        let mut report = Report::without_poll(&self.contents);
        if let Err(error) = self.adopt(&plan, SEED_CAUSE, &mut report) {
            return Ok(vec![unusable(self.store, &error)]);
        }
        self.unwritten.append(&mut report.unwritten);
        Ok(findings)
    }
}
