//! `trustsync distrust`: denies a certificate for good, in every store that is meant, and at once. It refuses nothing:
//! anyone who says it has a reason, and is shown what it costs.

use super::{EachStore, Failure};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::{Report, Session};
use crate::exit::Exit;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::difference::{Action, Change};
use crate::trust::plan::overrides;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;

pub async fn run(global: &Global, fingerprint: Fingerprint) -> Result<Exit, Failure> {
    let noted = format!("distrust {fingerprint}");
    let each = EachStore::overrule(global, ("trustsync distrust", &noted), |session, planner| {
        let known = session.digests_of(&fingerprint);
        overrides::distrust(planner, fingerprint, known, SystemClock.now());
        let denial = planner.denied.get(&fingerprint);
        let is_whole = denial.is_some_and(|denial| denial.sha1.is_some() && denial.pem_sha1.is_some());
        partial(session, fingerprint, is_whole)
    });
    each.await?.conclude(global, |store, report| text(store, fingerprint, report))
}

/// Where the denial reaches less far than it sounds.
fn partial(session: &Session<'_>, fingerprint: Fingerprint, is_whole: bool) -> Option<Finding> {
    let set = &session.contents.set;
    let is_rule = set.name_rules.iter().any(|rule| rule.root.fingerprint() == fingerprint);
    let text = if let Some(issuer) = set.chain.get(&fingerprint).filter(|_| !is_rule) {
        format!(
            "{} is an issuer, and a server asks for leaves: what it has signed stays trusted. Distrust the leaves, or \
             take the anchor out of the configuration.",
            quoted(&issuer.facts().subject)
        )
    } else if !is_whole {
        "No generation here knows the certificate, so its SHA-1, by which nginx and Apache ask, is unknown: it never \
         enters a trust set, but where a name rule would admit it, they do so until the vendor has listed it once."
            .to_owned()
    } else {
        return None;
    };
    Some(Finding::new(Event::DistrustIsPartial, Subject::Certificate(fingerprint), text))
}

fn text(store: &str, fingerprint: Fingerprint, report: &Report) -> String {
    let given_up = |change: &&Change| change.action == Action::Removed && change.what != "chain";
    let line = |change: &Change| {
        format!("{store}: given up: {} {}: calls with it fail from now on.\n", change.what, quoted(&change.subject))
    };
    let mut text = format!("{store}: {fingerprint} is denied for good.\n");
    text.extend(report.difference.changes.iter().filter(given_up).map(line));
    if report.deny_all {
        text.push_str(&format!("{store}: that was the last one: nobody is admitted any more.\n"));
    }
    text
}
