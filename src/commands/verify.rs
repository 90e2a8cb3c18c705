//! `trustsync verify`: the cycle's own policy, offline, on files. Exit 0 accepted, 5 refused.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use super::inspect::{read_as_pem, read_bounded};
use super::{Failure, load, print};
use crate::cli::{Global, Verify};
use crate::clock::{Clock, SystemClock};
use crate::exit::Exit;
use crate::settings::resolved::IdentitySetting;
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::slot::Authority;
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::anchor::Anchors;
use crate::trust::verify::crl::{self, Crl, UnreadableCrl};
use crate::trust::verify::refusal::{Refusal, Rule};
use crate::trust::verify::{self, Identity, Policy, Verdict};

pub fn run(global: &Global, arguments: &Verify) -> Result<Exit, Failure> {
    let anchors = anchors(&arguments.anchors, arguments.authority)?;
    if arguments.list_anchors {
        return list(global, &anchors);
    }
    let Some(leaf) = &arguments.leaf else {
        return Err(Failure::Usage("verify needs a file with the leaf, or --list-anchors".to_owned()));
    };
    let mut text = read_as_pem(leaf)?;
    for intermediate in &arguments.intermediates {
        text.push('\n');
        text.push_str(&read_as_pem(intermediate)?);
    }
    let at = arguments.at.unwrap_or_else(|| SystemClock.now());
    let (policy, configured) = configured(global)?;
    let names = if arguments.names.is_empty() { configured } else { arguments.names.iter().cloned().collect() };
    let lists = arguments.crls.iter().map(|file| Ok((file.display().to_string(), Crl::read(read_bounded(file)?))));
    let lists: Vec<_> = lists.collect::<Result<_, Failure>>()?;
    let judged = assess(&text, &anchors, &policy, &names, &lists, at);
    print(global.output, &judged.to_json(), || judged.to_text())?;
    Ok(if judged.refusal.is_none() { Exit::Done } else { Exit::Answer })
}

/// With a configuration, its `[verify]`, and the names that its one source expects; without one, the defaults and none.
fn configured(global: &Global) -> Result<(Policy, BTreeSet<String>), Failure> {
    if !global.config.exists() {
        return Ok((Policy::default(), BTreeSet::new()));
    }
    let settings = load(global)?.settings;
    let mut sources = settings.sources.values();
    let names = match (sources.next(), sources.next()) {
        (Some(only), None) => match &only.identity {
            IdentitySetting::Names(names) => names.clone(),
            IdentitySetting::Learn => only.region_name.iter().cloned().collect(),
            IdentitySetting::Any => BTreeSet::new(),
        },
        _ => BTreeSet::new(),
    };
    Ok((settings.verify, names))
}

/// The files replace the built-in anchors.
fn anchors(files: &[PathBuf], authority: Authority) -> Result<Anchors, Failure> {
    if files.is_empty() {
        return match authority {
            Authority::DigiCert => Ok(Anchors::digicert()),
            Authority::Genesys => Err(Failure::Usage(
                "the Genesys root comes as a file from the vendor's page: name it with --anchor".to_owned(),
            )),
        };
    }
    files.iter().try_fold(Anchors::default(), |anchors, file| {
        let read = Anchors::read(&read_bounded(file)?);
        Ok(anchors.and(read.map_err(|error| Failure::Usage(format!("{}: {error}", file.display())))?))
    })
}

fn list(global: &Global, anchors: &Anchors) -> Result<Exit, Failure> {
    let mut held: Vec<&Certificate> = anchors.0.iter().collect();
    held.sort_by_key(|anchor| &anchor.facts().subject);
    let rows: Vec<_> = held
        .iter()
        .map(|anchor| {
            let facts = anchor.facts();
            json!({"subject": facts.subject, "sha256": facts.fingerprint, "not_after": facts.not_after})
        })
        .collect();
    print(global.output, &rows, || {
        let line = |anchor: &&Certificate| {
            format!(
                "{}  until {}  {}\n",
                anchor.fingerprint(),
                anchor.facts().not_after,
                quoted(&anchor.facts().subject)
            )
        };
        held.iter().map(line).collect()
    })?;
    Ok(Exit::Done)
}

/// The verdict on a leaf, and what led to it.
struct Judged {
    at: Timestamp,
    /// Leaf, intermediates, anchor.
    path: Vec<Certificate>,
    rules: Vec<CheckedRule>,
    notes: Vec<String>,
    refusal: Option<Refusal>,
}

/// A rule, how it fared, and what is to be said of it.
type CheckedRule = (Rule, RuleStatus, String);

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum RuleStatus {
    Holds,
    Broken,
    /// It was not asked for.
    NotChecked,
    /// Another broken rule kept it from being judged, or it holds.
    NotBroken,
}

fn assess(
    text: &str,
    anchors: &Anchors,
    policy: &Policy,
    names: &BTreeSet<String>,
    lists: &[(String, Result<Crl, UnreadableCrl>)],
    at: Timestamp,
) -> Judged {
    let (mut path, mut notes) = (Vec::new(), Vec::new());
    let (candidate, refusal) = match verify::verify_string(text, anchors, policy, at) {
        Verdict::Accepted(candidate) => (Some(candidate), None),
        Verdict::Expired(candidate, refusal) => (Some(candidate), Some(refusal)),
        Verdict::Refused(refusal) => (None, Some(refusal)),
    };
    let mut revocation = Revocation::NotAsked;
    let mut refusals: Vec<Refusal> = refusal.into_iter().collect();
    if let Some(candidate) = candidate {
        path = std::iter::once(candidate.leaf()).chain(candidate.chain()).cloned().collect();
        notes = candidate.notes().to_vec();
        if !lists.is_empty() {
            let issuers: Vec<Certificate> = candidate.issuers().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            let answer = crl::given::ask(candidate.leaf(), &issuers, lists, policy.clock_skew, at);
            revocation = if answer.covered { Revocation::Covered } else { Revocation::Partly };
            refusals.extend(Refusal::of_violations(Some(candidate.leaf()), answer.violations));
            notes.extend(answer.notes);
        }
        if !names.is_empty() {
            refusals.extend(candidate.admit(&Identity::Names(names.clone())).err());
        }
    }
    let refusal = Refusal::all(refusals);
    let rules = rules(refusal.as_ref(), names.is_empty(), revocation);
    Judged { at, path, rules, notes, refusal }
}

/// What the lists were asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Revocation {
    /// There were none, or no path.
    NotAsked,
    /// They speak for a part of the path.
    Partly,
    /// They speak for all of it below the anchor.
    Covered,
}

fn rules(refusal: Option<&Refusal>, unnamed: bool, revocation: Revocation) -> Vec<CheckedRule> {
    let broken = |rule: Rule| {
        let violations =
            refusal.into_iter().flat_map(|refusal| std::iter::once(&*refusal.first).chain(&refusal.others));
        violations.into_iter().find(|violation| violation.rule == rule).map(|violation| violation.what.clone())
    };
    let not_asked = |rule: Rule| match rule {
        Rule::Identity if unnamed => Some("no --name was given, and no configuration names one"),
        Rule::Revoked | Rule::UnusableCrl if revocation == Revocation::NotAsked => {
            Some("no --crl was given, or there is no path to ask it about")
        }
        Rule::Revoked if revocation == Revocation::Partly => Some("no --crl speaks for a part of the path, see below"),
        Rule::RevocationUnknown => Some("a rule of the cycle under crl.policy = \"hard\""),
        _ => None,
    };
    let unbroken = if refusal.is_none() { RuleStatus::Holds } else { RuleStatus::NotBroken };
    let judged = |rule: Rule| match (broken(rule), not_asked(rule)) {
        (Some(what), _) => (rule, RuleStatus::Broken, what),
        (None, Some(why)) => (rule, RuleStatus::NotChecked, why.to_owned()),
        (None, None) => (rule, unbroken, rule.statement().to_owned()),
    };
    Rule::ALL.iter().copied().map(judged).collect()
}

impl Judged {
    fn to_json(&self) -> Value {
        let step = |certificate: &Certificate| {
            let facts = certificate.facts();
            json!({"subject": facts.subject, "sha256": facts.fingerprint, "not_after": facts.not_after})
        };
        let rule = |(rule, outcome, says): &CheckedRule| json!({"rule": rule.name(), "outcome": outcome, "says": says});
        let mut json = json!({
            "accepted": self.refusal.is_none(),
            "at": self.at,
            "path": self.path.iter().map(step).collect::<Vec<_>>(),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "notes": self.notes,
        });
        if let (Some(refusal), Some(fields)) = (&self.refusal, json.as_object_mut()) {
            fields.insert("refusal".to_owned(), refusal.to_string().into());
        }
        json
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let verdict = if self.refusal.is_none() { "ACCEPTED" } else { "REFUSED" };
        let _ = writeln!(text, "{verdict} at {}", self.at);
        if let Some(refusal) = &self.refusal {
            let _ = writeln!(text, "\n{refusal}");
        }
        if !self.path.is_empty() {
            text.push_str("\npath\n");
        }
        for (at, certificate) in self.path.iter().enumerate() {
            let what = match at {
                0 => "leaf",
                last if last.saturating_add(1) == self.path.len() => "anchor",
                _ => "intermediate",
            };
            let facts = certificate.facts();
            let _ = writeln!(text, "  {what:<13} {}", quoted(&facts.subject));
            let _ = writeln!(text, "                sha256 {} until {}", facts.fingerprint, facts.not_after);
        }
        text.push_str("\nrules\n");
        for (rule, status, says) in &self.rules {
            let mark = match status {
                RuleStatus::Holds => "ok         ",
                RuleStatus::Broken => "BROKEN     ",
                RuleStatus::NotChecked => "not checked",
                RuleStatus::NotBroken => "not broken ",
            };
            let _ = writeln!(text, "  {mark} {:<27} {says}", rule.name());
        }
        for note in &self.notes {
            let _ = writeln!(text, "\nnote: {note}");
        }
        text
    }
}
