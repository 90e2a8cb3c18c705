//! Certificates of a small world, really signed, and a store without a disk: each poll goes through the real
//! interpretation, verification and planning, and what it decides is what the next poll begins from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use trustsync::cycle::{Observed, Report};
use trustsync::exit::Exit;
use trustsync::genesys::error::Refused;
use trustsync::genesys::wire::Entity;
use trustsync::genesys::{FetchError, FetchFailure, Fetched, Listing, Refusal};
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{CertificateAuthority, DAY, LeafRequest, Pki, Validity};
use trustsync::store::contents::Contents;
use trustsync::trust::event::finding::Finding;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::observation::{
    self, IdentityRule, Interpretation, ListedEntity, Poll, SlotAnchors, SlotAnswer, SlotRules,
};
use trustsync::trust::plan::planner_state::{Hold, PlannerState};
use trustsync::trust::plan::set::{Denial, DenialReason, Role, TrustSet};
use trustsync::trust::plan::{self, Input, Plan};
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::said::Said;
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::work::Work;
use trustsync::trust::verify::{Identity, Policy};

/// The name of the slots' leaves.
pub const NAME: &str = "dataactions.prod.us-east-1.mypurecloud.com";

/// `days` after 2026-06-01, the present of every test.
pub fn day(days: i64) -> Timestamp {
    let present: Timestamp = "2026-06-01T00:00:00Z".parse().unwrap();
    Timestamp::from_unix(present.unix() + days * 86_400)
}

/// One certificate string as the vendor lists it.
#[derive(Debug, Clone)]
pub struct Leaf {
    pub text: String,
    pub certificate: Certificate,
    pub fingerprint: Fingerprint,
    /// The leaf and what is above it, DER.
    pub path: Vec<Vec<u8>>,
}

pub struct World {
    pub pki: Pki,
}

/// Made once.
pub static WORLD: LazyLock<World> = LazyLock::new(|| World { pki: Pki::new("us-east-1", day(0), None).unwrap() });

impl World {
    pub fn digicert_anchors(&self) -> Anchors {
        Anchors::of(vec![Certificate::parse(self.pki.digicert_root.der()).unwrap()])
    }

    pub fn genesys_anchors(&self) -> Anchors {
        Anchors::of(vec![Certificate::parse(self.pki.genesys_root.der()).unwrap()])
    }
}

pub fn issued(by: &CertificateAuthority, organisation: &str, request: &LeafRequest) -> Leaf {
    let client = by.issue(organisation, request).unwrap();
    let certificate = Certificate::parse(client.der()).unwrap();
    let path = client.with_issuers();
    Leaf { text: PemForm::Vendor.text(&path), fingerprint: certificate.fingerprint(), certificate, path }
}

fn validity(from: i64, to: i64) -> Validity {
    Validity { not_before: day(from), not_after: day(to) }
}

/// A DigiCert leaf of the slots' name, valid from day `from` to day `to`.
pub fn leaf(from: i64, to: i64) -> Leaf {
    named_leaf(NAME, from, to)
}

/// A DigiCert leaf of this name.
pub fn named_leaf(name: &str, from: i64, to: i64) -> Leaf {
    issued(&WORLD.pki.digicert_intermediate, "Genesys", &LeafRequest::client(name, validity(from, to)))
}

/// A DigiCert leaf with this CN and these dNSNames.
pub fn leaf_with_names(common_name: &str, dns_names: &[&str], from: i64, to: i64) -> Leaf {
    let dns_names = dns_names.iter().map(|name| (*name).to_owned()).collect();
    let request = LeafRequest { dns_names, ..LeafRequest::client(common_name, validity(from, to)) };
    issued(&WORLD.pki.digicert_intermediate, "Genesys", &request)
}

/// A leaf that policy refuses: of a root that nobody configured.
pub fn refused_leaf(from: i64, to: i64) -> Leaf {
    issued(&WORLD.pki.other_root, "Genesys", &LeafRequest::client(NAME, validity(from, to)))
}

/// A leaf of the region's private root.
pub fn genesys_leaf(organisation: &str, common_name: &str, dns_names: &[&str], from: i64, to: i64) -> Leaf {
    let dns_names = dns_names.iter().map(|name| (*name).to_owned()).collect();
    let request = LeafRequest { dns_names, ..LeafRequest::client(common_name, validity(from, to)) };
    let client = WORLD.pki.genesys_root.issue(organisation, &request).unwrap();
    let certificate = Certificate::parse(client.der()).unwrap();
    let path = vec![client.der().to_vec()];
    Leaf { text: PemForm::Canonical.text(&path), fingerprint: certificate.fingerprint(), certificate, path }
}

pub fn entity(authority: &str, status: &str, text: &str) -> Entity {
    Entity {
        signing_authority: Some(authority.to_owned()),
        certificate: Some(text.to_owned()),
        status: Some(status.to_owned()),
        kind: Some("Client".to_owned()),
    }
}

/// What the vendor answers in one poll.
#[derive(Debug, Clone)]
pub struct Answer {
    pub unfiltered: Option<Vec<Entity>>,
    pub upcoming: Option<Vec<Entity>>,
    pub is_fresh: bool,
    pub incomplete: bool,
}

impl Answer {
    /// Both listings, DigiCert, each with its own status.
    pub fn of(current: &[&Leaf], upcoming: &[&Leaf]) -> Self {
        let list = |status: &str, leaves: &[&Leaf]| {
            Some(leaves.iter().map(|leaf| entity("DigiCert", status, &leaf.text)).collect())
        };
        Self {
            unfiltered: list("Current", current),
            upcoming: list("Upcoming", upcoming),
            is_fresh: true,
            incomplete: false,
        }
    }

    pub fn genesys(witnesses: &[&Leaf]) -> Self {
        let listed = witnesses.iter().map(|leaf| entity("Genesys", "Current", &leaf.text)).collect();
        Self { unfiltered: Some(listed), upcoming: Some(Vec::new()), is_fresh: true, incomplete: false }
    }

    pub fn and(mut self, entity: Entity) -> Self {
        self.unfiltered.get_or_insert_default().push(entity);
        self
    }

    pub fn without_unfiltered(self) -> Self {
        Self { unfiltered: None, ..self }
    }

    pub fn without_upcoming(self) -> Self {
        Self { upcoming: None, ..self }
    }

    pub fn with_another_date(self) -> Self {
        Self { is_fresh: false, ..self }
    }

    pub fn poll(&self) -> Poll<'_> {
        let (unfiltered, upcoming) = (self.unfiltered.as_deref(), self.upcoming.as_deref());
        Poll {
            unfiltered: unfiltered.map(all_listed),
            upcoming: upcoming.map(all_listed),
            is_fresh: self.is_fresh,
            incomplete: self.incomplete,
        }
    }
}

fn all_listed(entities: &[Entity]) -> Vec<ListedEntity<'_>> {
    entities.iter().map(listed).collect()
}

fn listed(entity: &Entity) -> ListedEntity<'_> {
    ListedEntity {
        authority: entity.signing_authority.as_deref(),
        certificate: entity.certificate.as_deref(),
        status: entity.status.as_deref(),
        kind: entity.kind.as_deref(),
    }
}

pub fn digicert_slot(source: &str) -> SlotRules {
    SlotRules {
        slot: SlotId::new(source, "us-east-1", Authority::DigiCert),
        authority: Authority::DigiCert,
        anchors: WORLD.digicert_anchors(),
        identity: IdentityRule::Fixed(names([NAME])),
    }
}

pub fn genesys_slot(source: &str) -> SlotRules {
    SlotRules {
        slot: SlotId::new(source, "us-east-1", Authority::Genesys),
        authority: Authority::Genesys,
        anchors: WORLD.genesys_anchors(),
        identity: IdentityRule::Fixed(names([NAME])),
    }
}

pub fn learning(region_name: Option<&str>) -> SlotRules {
    let identity = IdentityRule::Learn { region_name: region_name.map(str::to_owned), learned: None };
    SlotRules { identity, ..digicert_slot("us") }
}

pub fn names<const N: usize>(names: [&str; N]) -> Identity {
    Identity::Names(names.map(str::to_owned).into())
}

/// What one poll of a source says, judged and interpreted by these rules.
pub fn interpret(source: &str, poll: &Poll<'_>, rules: &[SlotRules], now: Timestamp) -> Interpretation {
    let slots: Vec<SlotAnchors> = rules
        .iter()
        .map(|SlotRules { slot, authority, anchors, .. }| SlotAnchors {
            slot: slot.clone(),
            authority: *authority,
            anchors: anchors.clone(),
        })
        .collect();
    let judged = observation::judge(source, poll, &slots, &Policy::default(), now, &mut Work::default());
    judged.interpret(|slot| rules.iter().find(|rules| rules.slot == *slot).unwrap().identity.clone())
}

/// What one cycle decided.
#[derive(Debug, Clone)]
pub struct Decided {
    pub plan: Plan,
    pub answers: Vec<SlotAnswer>,
    pub findings: Vec<Finding>,
    pub exit: Exit,
}

impl Decided {
    /// The severity of the first finding of this name.
    pub fn said(&self, event: &str) -> Option<Severity> {
        self.findings.iter().filter(|finding| finding.event.name() == event).map(|finding| finding.severity).max()
    }

    pub fn text(&self, event: &str) -> &str {
        self.findings.iter().find(|finding| finding.event.name() == event).map_or("", |finding| &finding.text)
    }

    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }
}

/// A store without a disk.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    pub slots: Vec<SlotRules>,
    pub planner: PlannerState,
    pub set: TrustSet,
    pub policy: plan::Policy,
    pub extra: BTreeMap<Fingerprint, Certificate>,
    /// Whether the clock cannot be believed.
    pub clock_doubted: bool,
    /// How many times the set changed: each would be a generation.
    pub generations: u32,
}

impl MemoryStore {
    pub fn new(slots: impl IntoIterator<Item = SlotRules>) -> Self {
        Self {
            slots: slots.into_iter().collect(),
            planner: PlannerState::default(),
            set: TrustSet::default(),
            policy: plan::Policy::default(),
            extra: BTreeMap::new(),
            clock_doubted: false,
            generations: 0,
        }
    }

    /// One DigiCert slot, empty.
    pub fn empty() -> Self {
        Self::new([digicert_slot("us")])
    }

    /// One DigiCert slot that heard these Currents on this day.
    pub fn trusting(current: &[&Leaf], on: i64) -> Self {
        let mut store = Self::empty();
        store.poll(day(on), &Answer::of(current, &[]));
        store
    }

    /// All slots hear the same answer.
    pub fn poll(&mut self, now: Timestamp, answer: &Answer) -> Decided {
        let sources: BTreeSet<String> = self.slots.iter().map(|rules| rules.slot.source().to_owned()).collect();
        let answers: Vec<(&str, Option<&Answer>)> =
            sources.iter().map(|source| (source.as_str(), Some(answer))).collect();
        self.poll_each(now, &answers)
    }

    /// Each source hears its own answer, or nothing at all.
    pub fn poll_each(&mut self, now: Timestamp, answers: &[(&str, Option<&Answer>)]) -> Decided {
        let decided = self.rehearse(now, answers);
        if decided.plan.set.digest() != self.set.digest() {
            self.generations += 1;
        }
        self.planner = decided.plan.planner.clone();
        self.set = decided.plan.set.clone();
        decided
    }

    /// Decides, and keeps nothing.
    pub fn rehearse(&self, now: Timestamp, answers: &[(&str, Option<&Answer>)]) -> Decided {
        let mut slot_answers = Vec::new();
        let mut findings = Vec::new();
        let mut observed = Vec::new();
        for (source, answer) in answers {
            observed.push(self.observed(source, now, *answer));
            let Some(answer) = answer.filter(|answer| answer.unfiltered.is_some() || answer.upcoming.is_some()) else {
                continue;
            };
            let rules: Vec<SlotRules> = self
                .slots
                .iter()
                .filter(|rules| rules.slot.source() == *source)
                .map(|rules| self.with_what_was_learned(rules.clone()))
                .collect();
            let said = interpret(source, &answer.poll(), &rules, now);
            slot_answers.extend(said.answers);
            findings.extend(said.findings);
        }
        let configured: BTreeSet<SlotId> = self.slots.iter().map(|rules| rules.slot.clone()).collect();
        let plan = plan::plan(&Input {
            planner: &self.planner,
            committed: &self.set,
            configured: &configured,
            answers: &slot_answers,
            extra_anchors: &self.extra,
            policy: &self.policy,
            now,
            clock_doubted: self.clock_doubted,
        });
        findings.extend(plan.findings.iter().cloned());
        let exit = Report::of(&Contents::unborn(), &observed, &plan).exit(false);
        Decided { plan, answers: slot_answers, findings, exit }
    }

    fn with_what_was_learned(&self, mut rules: SlotRules) -> SlotRules {
        if let IdentityRule::Learn { learned, .. } = &mut rules.identity {
            *learned = self.planner.slots.get(&rules.slot).and_then(|held| held.identity.clone());
        }
        rules
    }

    fn observed(&self, source: &str, now: Timestamp, answer: Option<&Answer>) -> Observed {
        let answer = match answer {
            Some(answer) => Ok(Fetched {
                unfiltered: whole_or_failed(&answer.unfiltered),
                upcoming: whole_or_failed(&answer.upcoming),
                date: Some(now),
            }),
            None => Err(unreachable_listing()),
        };
        Observed { source: source.to_owned(), answer, asked: now, judged: None }
    }

    /// Clean answers of these Currents, one a day, on these days.
    pub fn days(&mut self, days: std::ops::RangeInclusive<i64>, answer: &Answer) -> Vec<Decided> {
        days.map(|at| self.poll(day(at), answer)).collect()
    }

    pub fn deny(&mut self, leaf: &Leaf, reason: DenialReason) {
        let sha1 = Some(leaf.certificate.facts().sha1.clone());
        let pem_sha1 = Some(leaf.certificate.pem_sha1());
        let denial = Denial { sha1, pem_sha1, ..Denial::new(reason, day(0)) };
        self.planner.denied.insert(leaf.fingerprint, denial);
    }

    pub fn hold_until(&mut self, end: Timestamp) {
        self.planner.hold = Some(Hold { until: end, reason: "test".to_owned(), said: Said::default() });
    }

    pub fn grace(&mut self, days: u32) {
        self.policy.grace = DAY * days;
    }

    /// Whom it pins.
    pub fn pinned(&self) -> BTreeSet<Fingerprint> {
        self.set.pins.keys().copied().collect()
    }

    pub fn trusts(&self, leaf: &Leaf) -> bool {
        self.set.pins.contains_key(&leaf.fingerprint)
    }

    pub fn role(&self, leaf: &Leaf) -> Option<Role> {
        self.set.pins.get(&leaf.fingerprint).map(trustsync::trust::plan::set::Pin::role)
    }
}

#[expect(clippy::result_large_err, reason = "as the client has it")]
fn whole_or_failed(entities: &Option<Vec<Entity>>) -> Result<Listing, FetchError> {
    let listing = |entities: &Vec<Entity>| Listing { entities: entities.clone(), ..Listing::default() };
    entities.as_ref().map(listing).ok_or_else(unreachable_listing)
}

/// The vendor's own trouble: exit 4.
pub fn unreachable_listing() -> FetchError {
    FetchError::new(
        "GET https://api.example/".to_owned(),
        FetchFailure::Refused(Refusal::ServerTrouble, Refused { status: 503, ..Refused::default() }),
    )
}

pub fn fingerprints<'a>(leaves: impl IntoIterator<Item = &'a Leaf>) -> BTreeSet<Fingerprint> {
    leaves.into_iter().map(|leaf| leaf.fingerprint).collect()
}

pub const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
