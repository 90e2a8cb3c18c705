//! How a store stands, as whoever asks can see it: read without the lock, and without writing.

use super::read;
use crate::settings::resolved::Store as StoreSettings;
use crate::store::contents::{self, ContentsError};
use crate::store::unwritable;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::schedule::Schedule;
use crate::trust::records::health::Meant;
use crate::trust::records::summary::StoreSummary;

/// The folder of the revocation lists that are kept.
const LISTS: &str = "crl";

/// Everything that the store shows.
pub fn summary(store: &StoreSettings) -> Result<StoreSummary, ContentsError> {
    let contents = read(store)?;
    let summary = StoreSummary::of(&store.name, &contents.state, &contents.set);
    let mut summary = summary.publishing(contents.manifest.as_ref());
    summary.found = contents.findings;
    summary.found.extend(unwritable_now(store));
    Ok(summary)
}

/// What of the store could not be written now: a look at this moment, without writing.
#[must_use]
pub fn unwritable_now(store: &StoreSettings) -> Vec<Finding> {
    let found = unwritable(&store.path, contents::STATE, &[contents::EVIDENCE, LISTS]);
    let mut findings = Vec::new();
    if !found.store.is_empty() {
        let text = format!(
            "Nothing new can be published or remembered now: {}. What is published stays, and servers serve it; a \
             rotation would not reach them.",
            found.store.join("; ")
        );
        findings.push(Finding::new(Event::StoreFailing, Subject::store(&store.name), text));
    }
    if let Some(what) = found.scarce {
        let text = format!("The next generation may not have room at {what}. What is published stays.");
        findings.push(Finding::new(Event::StoreNearlyFull, Subject::store(&store.name), text));
    }
    for (name, problem) in found.besides {
        let (event, text) = if name == LISTS {
            (Event::CrlNotKept, format!("Revocation lists cannot be kept: {problem}."))
        } else {
            (Event::EvidenceNotWritten, format!("The evidence cannot be written: {problem}. Trust is not concerned."))
        };
        findings.push(Finding::new(event, Subject::store(&store.name), text));
    }
    findings
}

/// By whom and what a store is meant to be minded.
#[must_use]
pub fn meant<'a>(schedule: &'a Schedule, store: &'a StoreSettings) -> Meant<'a> {
    Meant {
        sources: &store.sources,
        targets: store.targets.iter().map(|target| target.name.as_str()).collect(),
        schedule,
        by_its_daemon: false,
    }
}
