//! `trustsync verify`: the cycle's own policy, anchors and identity, offline, on files. Exit 0 accepted, 5 refused, 11
//! where nobody has said whose leaf it should be.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::inspect::{read_as_pem, read_bounded, told};
use super::{Failure, environment, print, the_one};
use crate::cli::{Global, Verify};
use crate::clock::{Clock, SystemClock};
use crate::cycle;
use crate::exit::Exit;
use crate::settings::resolved::{CrlPolicy, Settings, Source};
use crate::settings::{self, SettingsError};
use crate::trust::formats::certificate::Certificate;
use crate::trust::plan::observation::IdentityRule;
use crate::trust::plan::planner_state::PlannerState;
use crate::trust::values::excerpt::quoted;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::anchor::Anchors;
use crate::trust::verify::crl::{self, Crl, UnreadableCrl};
use crate::trust::verify::refusal::{Refusal, Rule};
use crate::trust::verify::served::{self, Unserved};
use crate::trust::verify::{self, Identity, Policy, Verdict};

pub fn run(global: &Global, arguments: &Verify) -> Result<Exit, Failure> {
    let slots = slots(global, arguments)?;
    if arguments.list_anchors {
        return list(global, &slots);
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
    let mut lists = Vec::new();
    for file in &arguments.crls {
        let name = file.display().to_string();
        lists.extend(Crl::read_all(read_bounded(file)?).into_iter().map(|list| (name.clone(), list)));
    }
    // Where the authority is not said, the one that accepts it is meant.
    let mut judged = slots.iter().map(|slot| assess((leaf, &text), slot, &lists, at)).collect::<Vec<_>>();
    judged.sort_by_key(|judged| (judged.refusal.is_some(), judged.unserved.is_some()));
    let Some(judged) = judged.into_iter().next() else {
        return Err(Failure::Usage("the source has no authority to judge by".to_owned()));
    };
    print(global.output, &judged.to_json(), || judged.to_text())?;
    Ok(match judged.identity {
        _ if judged.refusal.is_some() || judged.unserved.is_some() => Exit::Answer,
        Expected::Unknown => Exit::Refused,
        _ => Exit::Done,
    })
}

/// By what a leaf is judged: a slot of the configuration, or what the command line says.
struct Slot {
    anchors: Anchors,
    identity: Expected,
    policy: Policy,
    /// Whether the cycle lets nothing new in without a list that speaks for it.
    hard: bool,
}

/// Which names a leaf must carry.
#[derive(Clone)]
enum Expected {
    Names(BTreeSet<String>),
    /// None, says the operator; where it is said.
    Waived(&'static str),
    /// Nobody has said.
    Unknown,
}

/// Those that are meant, at least one; without a configuration, one by the defaults.
fn slots(global: &Global, arguments: &Verify) -> Result<Vec<Slot>, Failure> {
    if !global.config.exists() {
        let (authority, policy) = (arguments.authority.unwrap_or(Authority::DigiCert), Policy::default());
        let identity = said(arguments).unwrap_or(Expected::Unknown);
        let anchors = anchors(arguments, authority, None)?;
        return Ok(vec![Slot { anchors, identity, policy, hard: false }]);
    }
    // The secrets may be the daemon's alone, and no source is asked.
    let (loaded, problems) = settings::check_without_secrets(&global.config, &environment())?;
    if !problems.is_empty() {
        return Err(SettingsError::Wrong { path: global.config.clone(), problems }.into());
    }
    let settings = &loaded.settings;
    let sources: Vec<_> = settings.sources.iter().map(|(name, source)| (name.as_str(), source)).collect();
    let source = the_one("source", arguments.source.as_deref(), &sources)?;
    let planner = planner(settings, source);
    let authorities = arguments.authority.map_or_else(|| source.authorities.clone(), |named| [named].into());
    let slot = |authority: Authority| {
        let of_source = || {
            let id = SlotId::new(&source.name, &source.region, authority);
            match cycle::identity_rule(source, &id, authority, &planner) {
                IdentityRule::Fixed(Identity::Any) => Expected::Waived("identity = \"any\" in the configuration"),
                IdentityRule::Fixed(Identity::Names(names)) | IdentityRule::Learn { learned: Some(names), .. } => {
                    Expected::Names(names)
                }
                IdentityRule::Learn { region_name: Some(name), .. } => Expected::Names([name].into()),
                IdentityRule::Learn { .. } => Expected::Unknown,
            }
        };
        let identity = said(arguments).unwrap_or_else(of_source);
        let anchors = anchors(arguments, authority, Some(source))?;
        let hard = settings.crl.policy == CrlPolicy::Hard;
        Ok(Slot { anchors, identity, policy: settings.verify.clone(), hard })
    };
    authorities.into_iter().map(slot).collect()
}

/// What the command line says of the names.
fn said(arguments: &Verify) -> Option<Expected> {
    match arguments.names.as_slice() {
        [] => arguments.any_identity.then_some(Expected::Waived("--any-identity")),
        names => Some(Expected::Names(names.iter().cloned().collect())),
    }
}

/// What a store of the source has learned, where it can be read.
fn planner(settings: &Settings, source: &Source) -> PlannerState {
    let stores = settings.stores.values().filter(|store| store.sources.contains(&source.name));
    stores.filter_map(|store| cycle::read(store).ok()).map(|read| read.state.planner).next().unwrap_or_default()
}

/// The files of the command line, else the source's, else the built-in ones.
fn anchors(arguments: &Verify, authority: Authority, source: Option<&Source>) -> Result<Anchors, Failure> {
    let files = &arguments.anchors;
    if !files.is_empty() {
        return files.iter().try_fold(Anchors::default(), |anchors, file| {
            let read = Anchors::read(&read_bounded(file)?);
            Ok(anchors.and(read.map_err(|error| Failure::Refused(format!("{}: {error}", file.display())))?))
        });
    }
    let missing =
        || Failure::Usage("the Genesys root comes as a file from the vendor's page: name it with --anchor".to_owned());
    match (source, authority) {
        (Some(source), Authority::Genesys) if source.genesys_anchors.is_empty() => Err(missing()),
        (Some(source), _) => cycle::anchors_of(source, authority).map_err(|error| Failure::Cycle(error.into())),
        (None, Authority::DigiCert) => Ok(Anchors::digicert()),
        (None, Authority::Genesys) => Err(missing()),
    }
}

fn list(global: &Global, slots: &[Slot]) -> Result<Exit, Failure> {
    let anchors = slots.iter().fold(Anchors::default(), |anchors, slot| anchors.and(slot.anchors.clone()));
    let mut held: Vec<&Certificate> = anchors.0.iter().collect();
    held.sort_by_key(|anchor| &anchor.facts().subject);
    let rows: Vec<_> = held
        .iter()
        .map(|anchor| {
            let facts = anchor.facts();
            json!({"subject": facts.subject, "sha256": facts.fingerprint, "not_after": facts.not_after})
        })
        .collect();
    print(global.output, &json!({"anchors": rows}), || {
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
    file: PathBuf,
    at: Timestamp,
    /// Leaf, intermediates, anchor.
    path: Vec<Certificate>,
    rules: Vec<CheckedRule>,
    notes: Vec<String>,
    refusal: Option<Refusal>,
    /// Why servers would refuse it, though policy does not.
    unserved: Option<Unserved>,
    identity: Expected,
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
    (file, text): (&Path, &str),
    Slot { anchors, identity, policy, hard }: &Slot,
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
    let mut unserved = None;
    let mut refusals: Vec<Refusal> = refusal.into_iter().collect();
    if let Some(candidate) = candidate {
        path = std::iter::once(candidate.leaf()).chain(candidate.chain()).cloned().collect();
        notes = candidate.notes().to_vec();
        unserved = served::path(candidate.leaf(), &candidate.issuers().collect::<Vec<_>>(), at).err();
        if !lists.is_empty() {
            let answer = crl::given::ask(candidate.leaf(), candidate.paths(), lists, *hard, policy.clock_skew, at);
            revocation = if answer.covered { Revocation::Covered } else { Revocation::Partly };
            refusals.extend(Refusal::of_violations(Some(candidate.leaf()), answer.violations));
            notes.extend(answer.notes);
        }
        if let Expected::Names(names) = identity {
            refusals.extend(candidate.admit(&Identity::Names(names.clone())).err());
        }
    }
    let refusal = Refusal::all(refusals);
    let rules = rules(refusal.as_ref(), identity, revocation, *hard);
    Judged { file: file.to_owned(), at, path, rules, notes, refusal, unserved, identity: identity.clone() }
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

fn rules(refusal: Option<&Refusal>, identity: &Expected, revocation: Revocation, hard: bool) -> Vec<CheckedRule> {
    let broken = |rule: Rule| {
        let violations =
            refusal.into_iter().flat_map(|refusal| std::iter::once(&*refusal.first).chain(&refusal.others));
        violations.into_iter().find(|violation| violation.rule == rule).map(|violation| violation.what.clone())
    };
    let not_asked = |rule: Rule| match rule {
        Rule::Identity => match identity {
            Expected::Names(_) => None,
            Expected::Waived(by) => Some(*by),
            Expected::Unknown => Some("no --name was given, and no configuration names one"),
        },
        Rule::Revoked if revocation == Revocation::NotAsked => {
            Some("no --crl was given, or there is no path to ask it about")
        }
        Rule::Revoked if revocation == Revocation::Partly => Some("no --crl speaks for a part of the path, see below"),
        Rule::RevocationUnknown if !hard => Some("a rule of crl.policy = \"hard\", which is not set"),
        Rule::RevocationUnknown if revocation == Revocation::NotAsked => {
            Some("no --crl was given: the cycle asks for the lists that the certificates name")
        }
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
        let identity = match self.identity {
            Expected::Names(_) => "judged",
            Expected::Waived(_) => "waived",
            Expected::Unknown => "not-judged",
        };
        let mut json = json!({
            "accepted": self.refusal.is_none() && self.unserved.is_none() && !matches!(self.identity, Expected::Unknown),
            "identity": identity,
            "at": self.at,
            "path": self.path.iter().map(step).collect::<Vec<_>>(),
            "rules": self.rules.iter().map(rule).collect::<Vec<_>>(),
            "notes": self.notes,
        });
        if let (Some(refusal), Some(fields)) = (&self.refusal, json.as_object_mut()) {
            fields.insert("refusal".to_owned(), told(&self.file, refusal).into());
        }
        if let (Some(unserved), Some(fields)) = (&self.unserved, json.as_object_mut()) {
            fields.insert("unserved".to_owned(), unserved.to_string().into());
        }
        json
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        let is_unknown = matches!(self.identity, Expected::Unknown);
        if is_unknown {
            text.push_str(
                "IDENTITY NOT JUDGED: no --name was given, and no configuration names one. Its authority signs other \
                 people's leaves too: give --name, or --any-identity if the names do not matter.\n",
            );
        }
        let verdict = match &self.refusal {
            Some(_) => "REFUSED",
            None if self.unserved.is_some() => "NOT REFUSED by policy, but servers that use OpenSSL would refuse it",
            None if is_unknown => "NOT REFUSED by the other rules",
            None => "ACCEPTED",
        };
        let _ = writeln!(text, "{verdict} at {}", self.at);
        if let Some(refusal) = &self.refusal {
            let _ = writeln!(text, "\n{}", told(&self.file, refusal));
        }
        if let Some(unserved) = &self.unserved {
            let _ = writeln!(text, "\nnginx, HAProxy and Apache would refuse it: {unserved}.");
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
