//! `trustsync distrust`: denies a certificate for good, in every store that is meant, and at once. It refuses nothing: who
//! says it has a reason, and hears what it costs.

use super::{EachStore, Failure, load, open, the_stores};
use crate::cli::Global;
use crate::clock::{Clock, SystemClock};
use crate::cycle::{Report, Session};
use crate::exit::Exit;
use crate::settings::resolved::{Settings, Store};
use crate::trust::difference::{Action, Change};
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::overrides;
use crate::trust::refusal::quoted;
use crate::trust::subject::Subject;

pub async fn run(global: &Global, fingerprint: Fingerprint) -> Result<Exit, Failure> {
    let loaded = load(global)?;
    let mut each = EachStore::new();
    for store in the_stores(global, &loaded)? {
        each.note(store, deny(global, &loaded.settings, store, fingerprint).await);
    }
    each.conclude(global, |store, report| said(store, fingerprint, report))
}

async fn deny(
    global: &Global,
    settings: &Settings,
    store: &Store,
    fingerprint: Fingerprint,
) -> Result<Report, Failure> {
    let mut session = open(global, store, "trustsync distrust")?;
    let mut planner = session.contents.state.planner.clone();
    let known = session.digests_of(&fingerprint);
    overrides::distrust(&mut planner, fingerprint, known, SystemClock.now());
    let reached =
        planner.denied.get(&fingerprint).is_some_and(|denial| denial.sha1.is_some() && denial.pem_sha1.is_some());
    let odd = odd(&session, fingerprint, reached);
    let set = session.contents.set.clone();
    let word = format!("distrust {fingerprint}");
    let mut report = session.act_on_override(settings, planner, &set, &word).await?;
    report.findings.extend(odd);
    session.close_between(&mut report);
    Ok(report)
}

/// Where the word reaches less far than it sounds.
fn odd(session: &Session<'_>, fingerprint: Fingerprint, reached: bool) -> Option<Finding> {
    let set = &session.contents.set;
    let is_rule = set.name_rules.iter().any(|rule| rule.root.fingerprint() == fingerprint);
    let text = if let Some(issuer) = set.chain.get(&fingerprint).filter(|_| !is_rule) {
        format!(
            "{} is an issuer, and a server asks for leaves: what it has signed stays trusted. Distrust the leaves, or take \
             the anchor out of the configuration.",
            quoted(&issuer.facts().subject)
        )
    } else if !reached {
        "No generation here knows the certificate, so its SHA-1, by which nginx and Apache ask, is unknown: it never enters \
         a trust set, but where a name rule would admit it, they do so until the vendor has listed it once."
            .to_owned()
    } else {
        return None;
    };
    Some(Finding::new(Event::DistrustIsPartial, Subject::Certificate(fingerprint), text))
}

fn said(store: &str, fingerprint: Fingerprint, report: &Report) -> String {
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
