//! From what the vendor lists to one answer a slot: entities are sorted to slots, verified one by one, and given their
//! identity. [`crate::trust::plan`] decides what follows.

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::event::Event;
use crate::trust::event::finding::Finding;
use crate::trust::event::subject::Subject;
use crate::trust::formats::certificate::Certificate;
use crate::trust::values::excerpt::{quoted, quoted_list};
use crate::trust::values::fingerprint::Fingerprint;
use crate::trust::values::slot::{Authority, SlotId};
use crate::trust::values::timestamp::Timestamp;
use crate::trust::verify::anchor::Anchors;
use crate::trust::verify::refusal::Refusal;
use crate::trust::verify::work::Work;
use crate::trust::verify::{self, Candidate, Identity, Policy, Verdict, Verified};

/// One entity of a listing, as it was on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedEntity<'a> {
    /// The field `signingAuthority`.
    pub authority: Option<&'a str>,
    /// The field `certificate`: PEM.
    pub certificate: Option<&'a str>,
    /// The field `status`.
    pub status: Option<&'a str>,
    /// The field `type`.
    pub kind: Option<&'a str>,
}

/// What one poll of a source brought: each listing whole, or nothing of it.
#[derive(Debug, Clone, Default)]
pub struct Poll<'a> {
    /// The listing without filter, where it came whole.
    pub unfiltered: Option<Vec<ListedEntity<'a>>>,
    /// The listing with `status=Upcoming`, where it came whole.
    pub upcoming: Option<Vec<ListedEntity<'a>>>,
    /// Whether each answer was made just now: the `Date` of all of them agrees with our clock.
    pub is_fresh: bool,
    /// Whether a listing contradicts its own counts: entities may be missing.
    pub incomplete: bool,
}

/// How many entities of a slot are judged; the vendor has four at most. To judge costs time, and anyone who can make
/// the endpoint list more could otherwise take as much of it as they like.
pub const MOST_ENTITIES: usize = 32;

/// What a slot accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRules {
    /// The slot that accepts it.
    pub slot: SlotId,
    /// The slot's authority.
    pub authority: Authority,
    /// The roots that it accepts chains to.
    pub anchors: Anchors,
    /// The names its leaves must carry.
    pub identity: IdentityRule,
}

/// How a slot gets the names that its leaves must carry.
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

/// What one poll says about a slot.
#[derive(Debug, Clone)]
pub struct SlotAnswer {
    /// The slot that the poll was for.
    pub slot: SlotId,
    /// The slot's authority.
    pub authority: Authority,
    /// Each distinct entity of the slot, verified.
    pub certificates: Vec<ListedCertificate>,
    /// Both listings came whole and agree with their own counts, every authority in them is known, every entity of the
    /// slot was judged, and the vendor's clock agrees with ours.
    pub complete: bool,
    /// How many entities were not judged, because there were too many.
    pub unjudged: usize,
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

/// One entity of the listings, verified.
#[derive(Debug, Clone)]
pub struct ListedCertificate {
    /// The status that the vendor gave it.
    pub status: ListedStatus,
    /// What the policy says of it.
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
        let known = [("Current", Self::Current), ("Upcoming", Self::Upcoming)];
        known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, status)| status)
    }
}

impl SlotAnswer {
    /// What the policy says of each certificate of this status.
    pub fn listed(&self, status: ListedStatus) -> impl Iterator<Item = &SlotVerdict> {
        self.certificates.iter().filter(move |listed| listed.status == status).map(|listed| &listed.verdict)
    }
}

/// A verdict with the identity rule included.
#[derive(Debug, Clone)]
pub enum SlotVerdict {
    /// It verifies and has the slot's identity.
    Accepted(Verified),
    /// It would be accepted, but its validity is over.
    Expired(Certificate, Refusal),
    /// It does not verify, or has another identity.
    Refused(Refusal),
}

impl SlotVerdict {
    /// The leaf with its path, if it may enter.
    #[must_use]
    pub fn accepted(&self) -> Option<&Verified> {
        match self {
            Self::Accepted(verified) => Some(verified),
            Self::Expired(..) | Self::Refused(_) => None,
        }
    }

    /// The leaf, unless it was refused.
    #[must_use]
    pub fn leaf(&self) -> Option<&Certificate> {
        match self {
            Self::Accepted(verified) => Some(verified.leaf()),
            Self::Expired(leaf, _) => Some(leaf),
            Self::Refused(_) => None,
        }
    }

    /// The leaf's fingerprint, unless it was refused.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.leaf().map(Certificate::fingerprint)
    }
}

/// What one poll of a source means for its slots.
#[derive(Debug, Clone)]
pub struct Interpretation {
    /// By slot, in the order of the rules.
    pub answers: Vec<SlotAnswer>,
    /// What was found about the listings themselves, and about identities that were learned.
    pub findings: Vec<Finding>,
}

/// A slot, and the roots that it accepts chains to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotAnchors {
    /// The slot that accepts them.
    pub slot: SlotId,
    /// The slot's authority.
    pub authority: Authority,
    /// The roots.
    pub anchors: Anchors,
}

/// One poll, each of its entities verified by every rule but identity. That is all that costs; it needs nothing of what
/// a store remembers.
#[derive(Debug, Clone)]
pub struct Judged {
    slots: Vec<JudgedSlot>,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone)]
struct JudgedSlot {
    verdicts: Vec<(ListedStatus, Verdict)>,
    /// Whether both listings came whole, and all that they have of the slot was judged.
    whole: bool,
    /// The answer, but for its certificates and the identity.
    answer: SlotAnswer,
}

/// Sorts and verifies the entities of one poll, within `work`. `source` names it in findings.
#[must_use]
pub fn judge(
    source: &str,
    poll: &Poll<'_>,
    slots: &[SlotAnchors],
    policy: &Policy,
    now: Timestamp,
    work: &mut Work<'_>,
) -> Judged {
    let mut skipped = Skipped::default();
    let listings = [&poll.unfiltered, &poll.upcoming]
        .map(|listing| listing.as_deref().map(|entities| sort(entities, &mut skipped)));
    let mut findings = skipped.findings(source);
    let whole = !poll.incomplete
        && listings.iter().all(|listing| listing.as_ref().is_some_and(|sorted| sorted.authorities_known));
    let mut sorted = Vec::new();
    for SlotAnchors { slot, authority, anchors } in slots {
        let [unfiltered, upcoming] = listings.each_ref().map(|listing| {
            listing.as_ref().map(|sorted| sorted.by_authority.get(authority).cloned().unwrap_or_default())
        });
        let disagreements = match (&unfiltered, &upcoming) {
            (Some(unfiltered), Some(upcoming)) => disagreements(slot, unfiltered, upcoming, &mut findings),
            _ => 0,
        };
        let (entities, unjudged) = judged([unfiltered, upcoming].into_iter().flatten().flatten());
        findings.extend((unjudged > 0).then(|| too_many(slot, unjudged)));
        let whole = whole && unjudged == 0;
        let answer = SlotAnswer {
            slot: slot.clone(),
            authority: *authority,
            certificates: Vec::new(),
            complete: whole && poll.is_fresh,
            unjudged,
            unfiltered_came: poll.unfiltered.is_some(),
            upcoming_came: poll.upcoming.is_some(),
            identity: None,
            learned_now: false,
            disagreements,
        };
        sorted.push((entities, anchors, whole, answer));
    }
    // None takes more of the work than its share, and no slot that of another.
    let mut left: usize = sorted.iter().map(|(entities, ..)| entities.len()).sum();
    let mut verdict = |status, text, anchors| {
        work.share(left);
        left = left.saturating_sub(1);
        (status, verify::verify_listed(text, anchors, policy, now, work))
    };
    let judged = sorted.into_iter().map(|(entities, anchors, whole, answer)| {
        let verdicts = entities.into_iter().map(|(status, text)| verdict(status, text, anchors)).collect();
        JudgedSlot { verdicts, whole, answer }
    });
    Judged { slots: judged.collect(), findings }
}

impl Judged {
    /// Applies each slot's rule about identity, by the slots that were judged.
    #[must_use]
    pub fn interpret(&self, rule_of: impl Fn(&SlotId) -> IdentityRule) -> Interpretation {
        let mut findings = self.findings.clone();
        let mut answers = Vec::new();
        for judged in &self.slots {
            let slot = &judged.answer.slot;
            let (identity, learned_now) = identity(slot, &rule_of(slot), &judged.verdicts, judged.whole, &mut findings);
            answers.push(SlotAnswer {
                certificates: distinct(&judged.verdicts, identity.as_ref()),
                identity,
                learned_now,
                ..judged.answer.clone()
            });
        }
        Interpretation { answers, findings }
    }
}

/// Statuses and certificate strings.
type Entities<'a> = BTreeSet<(ListedStatus, &'a str)>;

/// The entities of one listing, in its order.
struct Sorted<'a> {
    by_authority: BTreeMap<Authority, Vec<(ListedStatus, &'a str)>>,
    authorities_known: bool,
}

/// The entities that are judged, and how many are not. Where there are too many, those that are listed first; and of
/// each status as many as of the other, so that neither hides the other.
fn judged<'a>(listed: impl Iterator<Item = (ListedStatus, &'a str)>) -> (Entities<'a>, usize) {
    let mut distinct = Entities::new();
    let in_order: Vec<_> = listed.filter(|entity| distinct.insert(*entity)).collect();
    let excess = distinct.len().saturating_sub(MOST_ENTITIES);
    if excess == 0 {
        return (distinct, 0);
    }
    let (current, upcoming): (Vec<_>, Vec<_>) =
        in_order.into_iter().partition(|(status, _)| *status == ListedStatus::Current);
    let currents = (MOST_ENTITIES / 2).max(MOST_ENTITIES.saturating_sub(upcoming.len()));
    (current.into_iter().take(currents).chain(upcoming).take(MOST_ENTITIES).collect(), excess)
}

fn too_many(slot: &SlotId, unjudged: usize) -> Finding {
    let text = format!(
        "The vendor lists {} certificates of {}, of which {MOST_ENTITIES} were judged: what of them is good enters, and \
         what is trusted stays. Ask the vendor.",
        unjudged.saturating_add(MOST_ENTITIES),
        slot.authority()
    );
    Finding::new(Event::TooManyEntities, slot, text)
}

/// An entity without a type is taken for a client certificate, the only kind that the vendor documents; one without a
/// certificate is kept, so that it is refused by name.
fn sort<'a>(entities: &[ListedEntity<'a>], skipped: &mut Skipped) -> Sorted<'a> {
    let mut sorted = Sorted { by_authority: BTreeMap::new(), authorities_known: true };
    for entity in entities {
        let Some(authority) = entity.authority.and_then(Authority::named) else {
            sorted.authorities_known = false;
            skipped.add(None, "signing authority", entity.authority);
            continue;
        };
        if !entity.kind.is_none_or(|kind| kind.eq_ignore_ascii_case("Client")) {
            skipped.add(Some(authority), "type", entity.kind);
            continue;
        }
        let Some(listed) = entity.status.and_then(ListedStatus::named) else {
            skipped.add(Some(authority), "status", entity.status);
            continue;
        };
        sorted.by_authority.entry(authority).or_default().push((listed, entity.certificate.unwrap_or_default()));
    }
    sorted
}

/// The entities that were skipped, by authority (where it is known) and by the field that is not: the first value, and
/// how many there are. A thousand of a kind are one finding.
#[derive(Default)]
struct Skipped(BTreeMap<(Option<Authority>, &'static str), (String, usize)>);

impl Skipped {
    fn add(&mut self, authority: Option<Authority>, field: &'static str, value: Option<&str>) {
        let (_, count) = self.0.entry((authority, field)).or_insert_with(|| (shown(value), 0));
        *count = count.saturating_add(1);
    }

    fn findings(self, source: &str) -> Vec<Finding> {
        let finding = |((authority, field), (first, count)): ((Option<Authority>, &str), (String, usize))| {
            let (event, of, what_stays) = match authority {
                None => (
                    Event::EntityOfUnknownAuthority,
                    String::new(),
                    "Nothing of this answer counts towards a removal. What is trusted stays",
                ),
                Some(authority) => (Event::EntitySkipped, format!(" {authority}"), "What is trusted stays"),
            };
            let text = if count == 1 {
                let article = if of.is_empty() { "an" } else { "a" };
                format!(
                    "The listing has {article}{of} entity whose {field} is {first}, which trustsync does not know: \
                     skipped. {what_stays}."
                )
            } else {
                format!(
                    "The listings have {count}{of} entities whose {field} trustsync does not know (the first: {first}): \
                     skipped. {what_stays}."
                )
            };
            Finding::new(event, Subject::source(source), text)
        };
        self.0.into_iter().map(finding).collect()
    }
}

/// The vendor's text, bounded and harmless, for a message.
fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "missing".to_owned(), |text| format!("{:?}", quoted(text)))
}

/// The unfiltered listing may lack Upcoming altogether (no document says that it has them). Where it has some, they
/// must be the filtered ones, and no certificate may have two statuses.
fn disagreements(
    slot: &SlotId,
    unfiltered: &[(ListedStatus, &str)],
    filtered: &[(ListedStatus, &str)],
    findings: &mut Vec<Finding>,
) -> u64 {
    let texts = |entities: &[(ListedStatus, &str)], status: ListedStatus| -> BTreeSet<String> {
        let of_status = entities.iter().filter(|(listed, _)| *listed == status);
        of_status.map(|(_, text)| text.split_whitespace().collect()).collect()
    };
    let current = texts(unfiltered, ListedStatus::Current);
    let upcoming = [unfiltered, filtered].map(|entities| texts(entities, ListedStatus::Upcoming));
    let [in_unfiltered, in_filtered] = &upcoming;
    let mut found = Vec::new();
    if !in_unfiltered.is_empty() && in_unfiltered != in_filtered {
        found.push("they list different upcoming certificates");
    }
    if upcoming.iter().any(|upcoming| !current.is_disjoint(upcoming)) {
        found.push("a certificate is listed as Current and as Upcoming");
    }
    for what in &found {
        let text = format!(
            "The vendor's two listings (without filter, and status=Upcoming) contradict each other: {what}. What \
             either lists counts; the vendor says that this happens while a rotation is in progress."
        );
        findings.push(Finding::new(Event::ListingDisagreement, slot, text));
    }
    found.len() as u64
}

/// Each leaf once a status, with the paths of all its entities; what was refused may be listed twice.
fn distinct(verdicts: &[(ListedStatus, Verdict)], identity: Option<&Identity>) -> Vec<ListedCertificate> {
    let mut listed: Vec<ListedCertificate> = Vec::new();
    for (status, verdict) in verdicts {
        let (status, mut verdict) = (*status, with_identity(verdict.clone(), identity));
        let leaf = verdict.fingerprint();
        let mut is_listed = false;
        for same in listed.iter_mut().filter(|same| leaf.is_some() && same.verdict.fingerprint() == leaf) {
            if let (SlotVerdict::Accepted(one), SlotVerdict::Accepted(other)) = (&mut same.verdict, &mut verdict) {
                one.join(other);
            }
            is_listed |= same.status == status;
        }
        if !is_listed {
            listed.push(ListedCertificate { status, verdict });
        }
    }
    listed
}

fn with_identity(verdict: Verdict, identity: Option<&Identity>) -> SlotVerdict {
    match verdict {
        Verdict::Accepted(candidate) => match identity {
            Some(identity) => candidate.admit(identity).map_or_else(SlotVerdict::Refused, SlotVerdict::Accepted),
            None => SlotVerdict::Refused(candidate.without_identity()),
        },
        // Expired *and* a stranger's is a stranger's: it must not pass for the vendor's Current of yesterday.
        Verdict::Expired(candidate, refusal) => match identity.map(|identity| candidate.clone().admit(identity)) {
            Some(Err(stranger)) => SlotVerdict::Refused(stranger),
            Some(Ok(_)) | None => SlotVerdict::Expired(candidate.leaf().clone(), refusal),
        },
        Verdict::Refused(refusal) => SlotVerdict::Refused(refusal),
    }
}

/// The names that bind this poll, and whether they were learned from it (design, "Identity").
fn identity(
    slot: &SlotId,
    rule: &IdentityRule,
    verdicts: &[(ListedStatus, Verdict)],
    whole: bool,
    findings: &mut Vec<Finding>,
) -> (Option<Identity>, bool) {
    let region_name = match rule {
        IdentityRule::Fixed(identity) => return (Some(identity.clone()), false),
        IdentityRule::Learn { learned: Some(names), .. } => return (Some(Identity::Names(names.clone())), false),
        IdentityRule::Learn { region_name, learned: None } => region_name,
    };
    let listed: Vec<&Verdict> =
        verdicts.iter().filter(|(status, _)| *status == ListedStatus::Current).map(|(_, verdict)| verdict).collect();
    let currents: Vec<&Candidate> = listed
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Accepted(candidate) | Verdict::Expired(candidate, _) => Some(candidate),
            Verdict::Refused(_) => None,
        })
        .collect();
    let carries = |current: &Candidate, identity: &Identity| current.clone().admit(identity).is_ok();
    if let Some(name) = region_name {
        let expected = Identity::Names(BTreeSet::from([name.clone()]));
        if currents.iter().any(|current| carries(current, &expected)) {
            return (Some(expected), true);
        }
    }
    if !whole || currents.is_empty() || currents.len() != listed.len() {
        return (None, false);
    }
    let agreed = currents
        .iter()
        .map(|current| current.leaf().identity_names().iter().map(|name| name.to_ascii_lowercase()).collect())
        .reduce(|agreed: BTreeSet<String>, names| agreed.intersection(&names).cloned().collect())
        .unwrap_or_default();
    // Names that no leaf can be admitted by (none in common, or none that is plain) would bind the slot for ever.
    let learned = Identity::Names(agreed.clone());
    if !currents.iter().all(|current| carries(current, &learned)) {
        return (None, false);
    }
    let why = match region_name {
        Some(name) => format!(
            "The current certificate does not carry the name that the vendor's page gives for the region ({name})."
        ),
        None => "The vendor publishes no name for the region's current certificate.".to_owned(),
    };
    let text = format!(
        "{why} Its own names were adopted, and its successors must carry one of them. To pin them in the \
         configuration: identity = [{}]",
        quoted_list(&agreed, usize::MAX)
    );
    findings.push(Finding::new(Event::IdentityLearned, slot, text));
    (Some(learned), true)
}
