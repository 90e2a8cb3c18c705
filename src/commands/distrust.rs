//! `trustsync distrust`: denies a certificate in every store that is meant, at once and until `undistrust`. Since it may
//! be the wrong one, it is named and asked for; one that is known nowhere here may be a typo.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::{EachStore, Failure, load, operator, the_stores};
use crate::cli::{Distrust, Global};
use crate::clock::{Clock, SystemClock};
use crate::cycle::{self, KnownCertificate, Report, Session};
use crate::exit::Exit;
use crate::settings::resolved::Store;
use crate::store::contents::Contents;
use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::plan::difference::{Action, Change};
use crate::trust::plan::overrides::{self, Digests};
use crate::trust::plan::set::DenialReason;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::fingerprint::Fingerprint;

/// How many hexadecimal digits a typo may have got wrong, for the right fingerprint to be named.
const TYPO: usize = 8;

pub async fn run(global: &Global, arguments: &Distrust) -> Result<Exit, Failure> {
    let fingerprint = arguments.fingerprint;
    let loaded = load(global)?;
    let mut looked = Vec::new();
    for store in the_stores(global, &loaded)? {
        // One that cannot be read says why when it is its turn, and keeps no other from the denial.
        looked.extend(cycle::read(store).ok().map(|contents| (store, contents)));
    }
    let known: BTreeSet<Fingerprint> =
        looked.iter().flat_map(|(store, contents)| cycle::known_fingerprints(store, contents)).collect();
    if !arguments.unknown && !known.contains(&fingerprint) {
        return Err(unknown(&fingerprint, &known));
    }
    let is_distrusted = |(_, contents): &(&Store, Contents)| {
        let denial = contents.state.planner.denied.get(&fingerprint);
        denial.is_some_and(|denial| denial.reason == DenialReason::Distrusted)
    };
    // Nothing more is given up by saying it again.
    let is_done = !looked.is_empty() && looked.iter().all(is_distrusted);
    operator::confirm(arguments.yes || is_done, &question(&fingerprint, &looked)).await?;

    let said = operator::said(arguments.reason.as_deref());
    let noted = format!("distrust {fingerprint}");
    let each =
        EachStore::overrule(global, &loaded, ("trustsync distrust", &noted, &said), |store, session, planner| {
            let known = cycle::known_certificate(store, &session.contents, &fingerprint);
            let digests = known.map_or_else(Digests::default, |known| known.digests);
            overrides::distrust(planner, fingerprint, digests, said.clone(), SystemClock.now());
            let denial = planner.denied.get(&fingerprint);
            let is_whole = denial.is_some_and(|denial| denial.sha1.is_some() && denial.pem_sha1.is_some());
            partial(session, fingerprint, is_whole)
        });
    each.await?.conclude(global, |store, report| text(store, fingerprint, report))
}

/// Most often a typo. The one that may have been meant is named.
fn unknown(fingerprint: &Fingerprint, known: &BTreeSet<Fingerprint>) -> Failure {
    let typed = fingerprint.to_string();
    let differ = |other: &Fingerprint| strsim::hamming(&typed, &other.to_string()).unwrap_or(usize::MAX);
    let near = known.iter().map(|other| (differ(other), other)).min().filter(|(differ, _)| *differ <= TYPO);
    let near = near.map_or_else(String::new, |(_, near)| format!(" Did you mean {near}?"));
    Failure::Refused(format!(
        "{fingerprint} is the SHA-256 of no certificate that is trusted here, or was in a generation that is \
         kept.{near} Nothing was changed; trustsync status lists what is trusted. To deny it all the same, say \
         --unknown."
    ))
}

/// What would be denied, and what that gives up.
fn question(fingerprint: &Fingerprint, looked: &[(&Store, Contents)]) -> String {
    let mut text = String::new();
    for (store, contents) in looked {
        let name = &store.name;
        let _ = match cycle::known_certificate(store, contents, fingerprint) {
            Some(KnownCertificate { what, subject, not_after, .. }) => {
                let subject = quoted(&subject);
                writeln!(
                    text,
                    "{name}: deny {what} {subject} (sha256 {fingerprint}), which is valid until {not_after}."
                )
            }
            None => writeln!(text, "{name}: deny sha256 {fingerprint}, of which nothing more is known."),
        };
        let set = &contents.set;
        if set.pins.contains_key(fingerprint) {
            text.push_str("  Calls with it fail at once.\n");
        }
        let roots = set.name_rules.iter().map(|rule| rule.root.fingerprint());
        let others = set.pins.keys().copied().chain(roots).any(|key| key != *fingerprint);
        if !set.is_empty() && !others {
            text.push_str("  It is the last one: nobody would be admitted any more.\n");
        }
    }
    text
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
    let mut text = format!("{store}: {fingerprint} is denied for good; only trustsync undistrust takes that back.\n");
    text.extend(report.difference.changes.iter().filter(given_up).map(line));
    if report.deny_all {
        text.push_str(&format!("{store}: that was the last one: nobody is admitted any more.\n"));
    }
    text
}
