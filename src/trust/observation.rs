//! From what the vendor said to what each slot heard: entities are sorted to slots, verified one by one, and given
//! their identity. Nothing is decided here; [`crate::trust::plan`] does that.

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::anchor::Anchors;
use crate::trust::certificate::Certificate;
use crate::trust::event::Event;
use crate::trust::finding::Finding;
use crate::trust::fingerprint::Fingerprint;
use crate::trust::refusal::{Refusal, quoted};
use crate::trust::set::{Authority, SlotId};
use crate::trust::subject::Subject;
use crate::trust::timestamp::Timestamp;
use crate::trust::verify::{self, Candidate, Identity, Policy, Verdict, Verified};

/// One entity of a listing, as the wire had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedEntity<'a> {
    /// `signingAuthority`.
    pub authority: Option<&'a str>,
    /// `certificate`.
    pub certificate: Option<&'a str>,
    /// `status`.
    pub status: Option<&'a str>,
    /// `type`.
    pub kind: Option<&'a str>,
}

/// What one poll of a source brought: each listing whole, or nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Poll<'a> {
    /// The listing without filter, where it could be had.
    pub unfiltered: Option<Vec<ListedEntity<'a>>>,
    /// The listing with `status=Upcoming`, where it could be had.
    pub upcoming: Option<Vec<ListedEntity<'a>>>,
    /// Whether the answer's `Date` agrees with our clock.
    pub clock_agrees: bool,
}

/// By what a slot judges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRules {
    /// The slot.
    pub slot: SlotId,
    /// Its authority.
    pub authority: Authority,
    /// The roots that it accepts chains to.
    pub anchors: Anchors,
    /// The names its leaves must carry.
    pub identity: IdentityRule,
}

/// How a slot comes to the names its leaves must carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityRule {
    /// The region's name where Current carries it, else what all Currents of a complete answer agree on.
    Learn {
        /// The region's name, where the table has it.
        region_name: Option<String>,
        /// What was learned before, and stands.
        learned: Option<BTreeSet<String>>,
    },
    /// Fixed by the configuration, or by the table for Genesys.
    Fixed(Identity),
}

/// What a slot heard in one poll.
#[derive(Debug, Clone)]
pub struct SlotAnswer {
    /// The slot.
    pub slot: SlotId,
    /// Its authority.
    pub authority: Authority,
    /// Each distinct entity of the slot, judged.
    pub certificates: Vec<ListedCertificate>,
    /// Both listings came whole, every authority in them is known, and the vendor's clock agrees with ours.
    pub complete: bool,
    /// Whether the listing without filter came: only then does a missing Current mean that there is none.
    pub unfiltered_came: bool,
    /// Whether the listing with `status=Upcoming` came: only then does a missing Upcoming mean that there is none.
    pub upcoming_came: bool,
    /// The names its leaves must carry, where now known.
    pub identity: Option<Identity>,
    /// Whether that identity was learned just now.
    pub learned_now: bool,
    /// How often the two listings contradicted each other about the slot.
    pub disagreements: u64,
}

/// One judged entity.
#[derive(Debug, Clone)]
pub struct ListedCertificate {
    /// How it was listed.
    pub status: ListedStatus,
    /// What policy says of it.
    pub verdict: SlotVerdict,
}

/// The status that the vendor gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ListedStatus {
    /// `Current`.
    Current,
    /// `Upcoming`.
    Upcoming,
}

impl ListedStatus {
    fn named(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("Current") {
            Some(Self::Current)
        } else if name.eq_ignore_ascii_case("Upcoming") {
            Some(Self::Upcoming)
        } else {
            None
        }
    }
}

/// A verdict with the identity rule included.
#[derive(Debug, Clone)]
pub enum SlotVerdict {
    /// It may enter.
    Accepted(Verified),
    /// It would be accepted, but its validity is over.
    Expired(Certificate, Refusal),
    /// It may not.
    Refused(Refusal),
}

impl SlotVerdict {
    /// The leaf's fingerprint, unless it was refused.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match self {
            Self::Accepted(verified) => Some(verified.leaf().fingerprint()),
            Self::Expired(leaf, _) => Some(leaf.fingerprint()),
            Self::Refused(_) => None,
        }
    }
}

/// What one poll of one source comes to.
#[derive(Debug, Clone)]
pub struct Interpretation {
    /// By slot, in the order of the rules.
    pub answers: Vec<SlotAnswer>,
    /// What was worth saying.
    pub findings: Vec<Finding>,
}

/// Sorts and judges the entities of one poll. `source` names it in findings.
#[must_use]
pub fn interpret(
    source: &str,
    poll: &Poll<'_>,
    rules: &[SlotRules],
    policy: &Policy,
    now: Timestamp,
) -> Interpretation {
    let mut findings = Vec::new();
    let unfiltered = sort(source, poll.unfiltered.as_deref().unwrap_or_default(), &mut findings);
    let upcoming = sort(source, poll.upcoming.as_deref().unwrap_or_default(), &mut findings);
    let authorities_known = unfiltered.authorities_known && upcoming.authorities_known;
    let both = poll.unfiltered.is_some() && poll.upcoming.is_some();
    let answers = rules
        .iter()
        .map(|rules| {
            let first = unfiltered.of(rules.authority);
            let second = upcoming.of(rules.authority);
            let disagreements = if both { disagreements(rules, &first, &second, &mut findings) } else { 0 };
            let entities = first.union(&second).copied().collect();
            let share = Share { entities, whole: both && authorities_known, disagreements };
            hear(rules, poll, &share, policy, now, &mut findings)
        })
        .collect();
    Interpretation { answers, findings }
}

struct Sorted<'a> {
    by_authority: BTreeMap<Authority, BTreeSet<(ListedStatus, &'a str)>>,
    authorities_known: bool,
}

impl<'a> Sorted<'a> {
    fn of(&self, authority: Authority) -> BTreeSet<(ListedStatus, &'a str)> {
        self.by_authority.get(&authority).cloned().unwrap_or_default()
    }
}

/// An entity without a type is taken for a client certificate, the only kind that the vendor documents; one without a
/// certificate is kept, so that it is refused by name.
fn sort<'a>(source: &str, entities: &[ListedEntity<'a>], findings: &mut Vec<Finding>) -> Sorted<'a> {
    let mut sorted = Sorted { by_authority: BTreeMap::new(), authorities_known: true };
    for entity in entities {
        let Some(authority) = entity.authority.and_then(Authority::named) else {
            sorted.authorities_known = false;
            findings.push(Finding::new(
                Event::EntityOfUnknownAuthority,
                Subject::source(source),
                format!(
                    "The listing has an entity whose signing authority is {}, which trustsync does not know. It was \
                     skipped, and nothing of this answer counts towards a removal. What is trusted stays.",
                    shown(entity.authority)
                ),
            ));
            continue;
        };
        if !entity.kind.is_none_or(|kind| kind.eq_ignore_ascii_case("Client")) {
            findings.push(skipped(source, authority, "type", entity.kind));
            continue;
        }
        let Some(listed) = entity.status.and_then(ListedStatus::named) else {
            findings.push(skipped(source, authority, "status", entity.status));
            continue;
        };
        sorted.by_authority.entry(authority).or_default().insert((listed, entity.certificate.unwrap_or_default()));
    }
    sorted
}

fn skipped(source: &str, authority: Authority, field: &str, value: Option<&str>) -> Finding {
    Finding::new(
        Event::EntitySkipped,
        Subject::source(source),
        format!(
            "The listing has a {authority} entity whose {field} is {}, which trustsync does not know: skipped. What \
             is trusted stays.",
            shown(value)
        ),
    )
}

/// The vendor's text, bounded and harmless, for a message.
fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "missing".to_owned(), |text| format!("{:?}", quoted(text)))
}

/// The unfiltered listing may lack Upcoming altogether (nobody documents that it has them); where it has some, they must
/// be the filtered ones, and no certificate may have two statuses.
fn disagreements(
    rules: &SlotRules,
    unfiltered: &BTreeSet<(ListedStatus, &str)>,
    filtered: &BTreeSet<(ListedStatus, &str)>,
    findings: &mut Vec<Finding>,
) -> u64 {
    let texts = |set: &BTreeSet<(ListedStatus, &str)>, listed: ListedStatus| -> BTreeSet<String> {
        set.iter()
            .filter(|(status, _)| *status == listed)
            .map(|(_, text)| text.split_whitespace().collect::<String>())
            .collect()
    };
    let upcoming_in_unfiltered = texts(unfiltered, ListedStatus::Upcoming);
    let upcoming_in_filtered = texts(filtered, ListedStatus::Upcoming);
    let current = texts(unfiltered, ListedStatus::Current);
    let mut found = Vec::new();
    if !upcoming_in_unfiltered.is_empty() && upcoming_in_unfiltered != upcoming_in_filtered {
        found.push("they list different upcoming certificates");
    }
    if current.intersection(&upcoming_in_filtered).next().is_some()
        || current.intersection(&upcoming_in_unfiltered).next().is_some()
    {
        found.push("a certificate is listed as Current and as Upcoming");
    }
    for what in &found {
        findings.push(Finding::new(
            Event::ListingDisagreement,
            &rules.slot,
            format!(
                "The vendor's two listings (without filter, and status=Upcoming) contradict each other: {what}. \
                 Their union counts; the vendor says that this happens while a rotation is in progress."
            ),
        ));
    }
    found.len() as u64
}

/// A slot's share of a poll.
struct Share<'a> {
    entities: BTreeSet<(ListedStatus, &'a str)>,
    /// Both listings came, and every authority in them is known.
    whole: bool,
    disagreements: u64,
}

fn hear(
    rules: &SlotRules,
    poll: &Poll<'_>,
    share: &Share<'_>,
    policy: &Policy,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> SlotAnswer {
    let verdicts: Vec<(ListedStatus, Verdict)> = share
        .entities
        .iter()
        .map(|(listed, text)| (*listed, verify::judge(text, &rules.anchors, policy, now)))
        .collect();
    let (identity, learned_now) = identity(rules, &verdicts, share.whole, findings);
    let mut certificates: Vec<ListedCertificate> = Vec::new();
    for (status, verdict) in verdicts {
        let verdict = with_identity(verdict, identity.as_ref());
        let seen = |listed: &ListedCertificate| {
            listed.status == status
                && verdict.fingerprint().is_some_and(|fingerprint| listed.verdict.fingerprint() == Some(fingerprint))
        };
        if !certificates.iter().any(seen) {
            certificates.push(ListedCertificate { status, verdict });
        }
    }
    SlotAnswer {
        slot: rules.slot.clone(),
        authority: rules.authority,
        certificates,
        complete: share.whole && poll.clock_agrees,
        unfiltered_came: poll.unfiltered.is_some(),
        upcoming_came: poll.upcoming.is_some(),
        identity,
        learned_now,
        disagreements: share.disagreements,
    }
}

fn with_identity(verdict: Verdict, identity: Option<&Identity>) -> SlotVerdict {
    match verdict {
        Verdict::Accepted(candidate) => match identity {
            Some(identity) => candidate.admit(identity).map_or_else(SlotVerdict::Refused, SlotVerdict::Accepted),
            None => SlotVerdict::Refused(candidate.without_identity()),
        },
        // Expired *and* a stranger's is a stranger's: it must not pass for the vendor's Current of yesterday.
        Verdict::Expired(candidate, refusal) => {
            let leaf = candidate.leaf().clone();
            match identity.map(|identity| candidate.admit(identity)) {
                Some(Err(stranger)) => SlotVerdict::Refused(stranger),
                Some(Ok(_)) | None => SlotVerdict::Expired(leaf, refusal),
            }
        }
        Verdict::Refused(refusal) => SlotVerdict::Refused(refusal),
    }
}

/// The names that bind this poll, and whether they were learned from it (design, "Identity").
fn identity(
    rules: &SlotRules,
    verdicts: &[(ListedStatus, Verdict)],
    whole: bool,
    findings: &mut Vec<Finding>,
) -> (Option<Identity>, bool) {
    let region_name = match &rules.identity {
        IdentityRule::Fixed(identity) => return (Some(identity.clone()), false),
        IdentityRule::Learn { learned: Some(names), .. } => return (Some(Identity::Names(names.clone())), false),
        IdentityRule::Learn { region_name, learned: None } => region_name,
    };
    let currents: Vec<&Candidate> = verdicts
        .iter()
        .filter(|(listed, _)| *listed == ListedStatus::Current)
        .filter_map(|(_, verdict)| match verdict {
            Verdict::Accepted(candidate) | Verdict::Expired(candidate, _) => Some(candidate),
            Verdict::Refused(_) => None,
        })
        .collect();
    if let Some(name) = region_name {
        let expected = Identity::Names(BTreeSet::from([name.clone()]));
        if currents.iter().any(|current| (*current).clone().admit(&expected).is_ok()) {
            return (Some(expected), true);
        }
    }
    let listed_currents = verdicts.iter().filter(|(listed, _)| *listed == ListedStatus::Current).count();
    if !whole || currents.is_empty() || currents.len() != listed_currents {
        return (None, false);
    }
    let agreed = currents
        .iter()
        .map(|current| current.leaf().identity_names().iter().map(|name| name.to_ascii_lowercase()).collect())
        .reduce(|agreed: BTreeSet<String>, names| agreed.intersection(&names).cloned().collect())
        .unwrap_or_default();
    // Names that no leaf can be admitted by (none in common, or none that is plain) would bind the slot for ever.
    let learned = Identity::Names(agreed.clone());
    if !currents.iter().all(|current| (*current).clone().admit(&learned).is_ok()) {
        return (None, false);
    }
    let line = format!(
        "identity = [{}]",
        agreed.iter().map(|name| format!("\"{}\"", quoted(name))).collect::<Vec<_>>().join(", ")
    );
    findings.push(Finding::new(
        Event::IdentityLearned,
        &rules.slot,
        format!(
            "{} Its own names were adopted, and its successors must carry one of them. To pin them in the \
             configuration: {line}",
            match region_name {
                Some(name) => format!(
                    "The current certificate does not carry the name that the vendor's page gives for the region \
                     ({name})."
                ),
                None => "The vendor publishes no name for the region's current certificate.".to_owned(),
            }
        ),
    ));
    (Some(learned), true)
}
