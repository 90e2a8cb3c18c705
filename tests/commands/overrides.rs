//! The operator's words (trust, distrust, accept-issuer), what an answer may add without them, and `config check --probe`:
//! first the planner with a store without a disk, then the real binary against the simulated vendor.

use std::fs;

use serde_json::Value;
use support::leaves::*;
use support::sandbox::{self, Sandbox};
use trustsync::exit::Exit;
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::simulator::pki::{CertificateAuthority, LeafRequest, Validity};
use trustsync::simulator::world::Impostor;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::ChangedIssuer;
use trustsync::trust::plan::observation::SlotRules;
use trustsync::trust::plan::overrides::{self, Digests, Undistrusted};
use trustsync::trust::plan::planner_state::TrustOverride;
use trustsync::trust::plan::set::{DenialReason, Role};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::values::said::Said;
use trustsync::trust::values::slot::SlotId;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::{self, Policy, Verdict};

// --- the planner ---

/// What `trust` does: the word, and a plan with nothing heard. The role that it gave.
fn trust(store: &mut MemoryStore, leaf: &Leaf, now: Timestamp, until: Timestamp) -> Option<Role> {
    let rules = store.slots[0].clone();
    let identity = names([NAME]);
    let Verdict::Accepted(candidate) = verify::verify_string(&leaf.text, &rules.anchors, &Policy::default(), now)
    else {
        panic!("the policy refuses {}", leaf.certificate.facts().subject)
    };
    let verified = candidate.admit(&identity).unwrap();
    let word = TrustOverride { since: now, until, any_identity: false, no_usage: false, said: Said::default() };
    let role = overrides::trust(&mut store.planner, &mut store.set, &rules.slot, &verified, &identity, word);
    store.poll_each(now, &[]);
    role
}

fn distrust(store: &mut MemoryStore, leaf: &Leaf, now: Timestamp) -> Decided {
    overrides::distrust(&mut store.planner, leaf.fingerprint, Digests::default(), Said::default(), now);
    store.poll_each(now, &[])
}

fn override_of(store: &MemoryStore, leaf: &Leaf) -> Option<TrustOverride> {
    store
        .planner
        .slots
        .values()
        .find_map(|held| held.entries.get(&leaf.fingerprint))
        .and_then(|entry| entry.trusted.word.clone())
}

#[test]
fn a_trusted_leaf_has_a_role_of_its_own_and_survives_polls_that_do_not_list_it() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.grace(3);
    assert_eq!(trust(&mut store, &other, day(0), day(30)), Some(Role::Trusted));
    for decided in store.days(1..=29, &Answer::of(&[&current], &[])) {
        assert_eq!(decided.exit, Exit::Done, "{:?}", decided.findings);
        assert!(
            decided.text("trusted_by_word").contains("the operator's override trusts it until"),
            "{:?}",
            decided.findings
        );
    }
    assert_eq!(store.role(&other), Some(Role::Trusted));
    assert_eq!(store.role(&current), Some(Role::Current));
}

#[test]
fn an_override_near_its_end_is_a_warning() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    trust(&mut store, &other, day(0), day(30));
    let answer = Answer::of(&[&current], &[]);
    assert_eq!(store.poll(day(26), &answer).said("trusted_by_word"), Some(Severity::Note));
    assert_eq!(store.poll(day(28), &answer).said("trusted_by_word"), Some(Severity::Warning));
}

#[test]
fn it_leaves_when_the_override_ends_whether_the_vendor_answers_or_not() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let answer = Answer::of(&[&current], &[]);
    for answer in [None, Some(&answer)] {
        let mut store = MemoryStore::trusting(&[&current], -1);
        trust(&mut store, &other, day(0), day(30));
        store.poll_each(Timestamp::from_unix(day(30).unix() - 1), &[("us", answer)]);
        assert!(store.trusts(&other));
        let decided = store.poll_each(day(30), &[("us", answer)]);
        assert!(!store.trusts(&other) && store.trusts(&current));
        assert!(decided.text("certificate_left").contains("the operator's override"), "{:?}", decided.findings);
    }
}

#[test]
fn an_override_does_not_end_by_a_clock_that_cannot_be_believed() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    trust(&mut store, &other, day(0), day(30));
    store.clock_doubted = true;
    store.poll_each(day(3_000), &[("us", None)]);
    assert!(store.trusts(&other));
    store.clock_doubted = false;
    store.poll_each(day(3_000), &[("us", None)]);
    assert!(!store.trusts(&other));
}

#[test]
fn once_listed_it_is_an_ordinary_entry_and_the_end_of_the_override_takes_nothing_away() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.grace(3);
    trust(&mut store, &other, day(0), day(10));
    store.poll(day(5), &Answer::of(&[&current], &[&other]));
    assert_eq!(store.role(&other), Some(Role::Upcoming), "the first listing decides the role");
    store.days(6..=12, &Answer::of(&[&current], &[&other]));
    assert_eq!((store.role(&other), override_of(&store, &other)), (Some(Role::Upcoming), None));
    // From here on by the rules of absence.
    store.days(13..=15, &Answer::of(&[&current], &[]));
    assert_eq!(store.role(&other), Some(Role::Retiring));
    store.days(16..=18, &Answer::of(&[&current], &[]));
    assert!(!store.trusts(&other));
}

#[test]
fn a_listing_that_ends_before_the_override_does_leaves_the_override_in_force() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.grace(3);
    trust(&mut store, &other, day(0), day(60));
    store.poll(day(1), &Answer::of(&[&current], &[&other]));
    store.days(2..=40, &Answer::of(&[&current], &[]));
    assert_eq!(store.role(&other), Some(Role::Trusted));
    store.poll(day(60), &Answer::of(&[&current], &[]));
    assert!(!store.trusts(&other));
}

#[test]
fn a_retiring_leaf_stays_by_a_word() {
    let (old, new) = (leaf(-200, 100), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&old], -1);
    store.grace(5);
    store.days(0..=4, &Answer::of(&[&new], &[]));
    assert_eq!(store.role(&old), Some(Role::Retiring));
    assert_eq!(trust(&mut store, &old, day(4), day(40)), Some(Role::Trusted));
    store.days(5..=39, &Answer::of(&[&new], &[]));
    assert_eq!(store.role(&old), Some(Role::Trusted));
    store.poll(day(40), &Answer::of(&[&new], &[]));
    assert!(!store.trusts(&old));
}

#[test]
fn the_end_of_an_override_never_empties_the_set() {
    let (one, other, current) = (leaf(-100, 200), leaf(-50, 300), leaf(-10, 350));
    let mut store = MemoryStore::empty();
    trust(&mut store, &one, day(0), day(10));
    trust(&mut store, &other, day(0), day(10));
    let decided = store.poll_each(day(11), &[("us", None)]);
    assert_eq!(store.pinned(), fingerprints([&other]), "the one that ends last stays");
    assert_eq!(decided.said("word_ended"), Some(Severity::Warning));
    store.poll(day(12), &Answer::of(&[&current], &[]));
    assert_eq!(store.pinned(), fingerprints([&current]));
}

#[test]
fn a_hold_does_not_keep_an_override_back_and_delays_its_end() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.hold_until(day(20));
    trust(&mut store, &other, day(0), day(10));
    assert!(store.trusts(&other));
    store.poll(day(15), &Answer::of(&[&current], &[]));
    assert!(store.trusts(&other), "nothing leaves during a hold but what is denied");
    store.poll(day(20), &Answer::of(&[&current], &[]));
    assert!(!store.trusts(&other));
}

#[test]
fn what_is_denied_cannot_be_trusted() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    for reason in [DenialReason::Revoked, DenialReason::Distrusted] {
        let mut store = MemoryStore::trusting(&[&current], -1);
        store.deny(&other, reason);
        assert_eq!(trust(&mut store, &other, day(0), day(10)), None);
        assert!(!store.trusts(&other));
    }
}

#[test]
fn distrust_acts_at_once_hold_or_not_and_the_last_one_is_deny_all() {
    let (current, upcoming) = (leaf(-100, 80), leaf(-50, 300));
    let mut store = MemoryStore::empty();
    store.poll(day(-1), &Answer::of(&[&current], &[&upcoming]));
    store.hold_until(day(20));
    distrust(&mut store, &current, day(0));
    assert_eq!(store.pinned(), fingerprints([&upcoming]));
    let decided = distrust(&mut store, &upcoming, day(0));
    assert!(store.set.is_empty() && decided.said("denied_certificate_left") == Some(Severity::Critical));
    let decided = store.poll(day(1), &Answer::of(&[&current], &[&upcoming]));
    assert!(store.set.is_empty() && decided.exit == Exit::Answer);
}

#[test]
fn a_distrusted_genesys_root_takes_its_rule_along_and_a_distrusted_witness_does_not() {
    let witness = genesys_leaf("Genesys", NAME, &[], -10, 300);
    let answer = Answer::genesys(&[&witness]);
    let mut store = MemoryStore::new([genesys_slot("us")]);
    store.poll(day(0), &answer);
    distrust(&mut store, &witness, day(1));
    assert_eq!(store.set.name_rules.len(), 1);
    let decided = store.poll(day(2), &answer);
    assert_eq!((decided.exit, decided.said("denied_certificate_listed")), (Exit::Answer, Some(Severity::Critical)));
    assert!(store.set.denied[&witness.fingerprint].sha1.is_some(), "so that nginx can ask for it");
    let root = Certificate::parse(WORLD.pki.genesys_root.der()).unwrap();
    overrides::distrust(&mut store.planner, root.fingerprint(), Digests::default(), Said::default(), day(3));
    store.poll(day(3), &answer);
    assert!(store.set.is_empty());
}

#[test]
fn distrust_is_idempotent_and_a_revocation_stays_beneath_it() {
    let current = leaf(-100, 80);
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.deny(&current, DenialReason::Revoked);
    assert!(overrides::distrust(&mut store.planner, current.fingerprint, Digests::default(), Said::default(), day(0)));
    let denial = store.planner.denied[&current.fingerprint].clone();
    assert_eq!((denial.reason, denial.until), (DenialReason::Distrusted, None));
    let revocation = denial.revocation.clone().expect("what the CA said stands beneath");
    assert_eq!(revocation.reason, DenialReason::Revoked);
    assert!(denial.sha1.is_some(), "what was known of it stays known");
    assert!(!overrides::distrust(&mut store.planner, current.fingerprint, Digests::default(), Said::default(), day(5)));
    assert_eq!(store.planner.denied[&current.fingerprint], denial);
    assert_eq!(overrides::undistrust(&mut store.planner, &current.fingerprint), Undistrusted::StillRevoked);
    assert_eq!(store.planner.denied[&current.fingerprint], *revocation);
    assert_eq!(overrides::undistrust(&mut store.planner, &current.fingerprint), Undistrusted::Revoked);
    assert_eq!(store.planner.denied[&current.fingerprint], *revocation);
}

#[test]
fn a_denial_by_fingerprint_alone_learns_the_sha1_from_the_listing_and_is_published_anew() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    distrust(&mut store, &other, day(0));
    assert_eq!(store.set.denied[&other.fingerprint].sha1, None);
    let before = store.set.digest();
    store.poll(day(1), &Answer::of(&[&current], &[&other]));
    assert_eq!(store.set.denied[&other.fingerprint].sha1, Some(other.certificate.facts().sha1.clone()));
    assert_ne!(store.set.digest(), before);
    assert!(!store.trusts(&other));
}

#[test]
fn overrides_and_issuers_stand_in_the_manifest() {
    let (current, other) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::trusting(&[&current], -1);
    trust(&mut store, &other, day(0), day(10));
    let slots = Manifest::slots_of(&store.planner);
    let held = slots.values().next().unwrap();
    assert_eq!(held.entries[&other.fingerprint].word.as_ref().unwrap().until, day(10));
    assert_eq!(held.entries[&other.fingerprint].role, Role::Trusted);
    assert_eq!(held.issuers.len(), 1);
}

// --- what an answer may add by itself ---

#[test]
fn more_new_leaves_than_one_answer_may_add_are_all_kept_out() {
    let current = leaf(-100, 200);
    let new: Vec<Leaf> = (0..5).map(|at| leaf(-50, 300 + at)).collect();
    let with = |count: usize| {
        let listed: Vec<&Leaf> = std::iter::once(&current).chain(new.iter().take(count)).collect();
        Answer::of(&listed, &[])
    };
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.grace(0);
    for at in 0..5 {
        let decided = store.poll(day(at), &with(5));
        assert_eq!(store.pinned(), fingerprints([&current]));
        assert_eq!((decided.said("too_many_new_leaves"), decided.exit), (Some(Severity::Critical), Exit::Answer));
        assert!(decided.text("too_many_new_leaves").contains("verify.max_new_leaves"));
    }
    let clean = store.planner.slots.values().next().unwrap().last_clean;
    assert_eq!(clean, Some(day(-1)), "such an answer is not clean: nothing counts as absent by it");
    let decided = store.poll(day(6), &with(4));
    assert_eq!((store.pinned().len(), decided.exit), (5, Exit::Done));
    // The fifth is one new leaf now.
    assert_eq!(store.poll(day(7), &with(5)).exit, Exit::Done);
    assert_eq!(store.pinned().len(), 6);
}

#[test]
fn how_many_may_be_new_is_a_setting_and_counts_on_an_empty_store_too() {
    let (one, two) = (leaf(-100, 200), leaf(-50, 300));
    let mut store = MemoryStore::empty();
    store.policy.max_new_leaves = 1;
    assert_eq!(store.poll(day(0), &Answer::of(&[&one], &[&two])).exit, Exit::Answer);
    assert!(store.set.is_empty());
    store.policy.max_new_leaves = 2;
    assert_eq!(store.poll(day(1), &Answer::of(&[&one], &[&two])).exit, Exit::Done);
    assert_eq!(store.pinned().len(), 2);
}

/// A leaf by another intermediate below the same root.
fn by_another_issuer(from: i64, to: i64) -> (Leaf, Certificate) {
    let issuer = WORLD.pki.digicert_root.intermediate("Another Client CA", day(0), None).unwrap();
    let validity = Validity { not_before: day(from), not_after: day(to) };
    let leaf = issued(&issuer, "Genesys", &LeafRequest::client(NAME, validity));
    (leaf, Certificate::parse(issuer.der()).unwrap())
}

#[test]
fn another_issuer_below_a_configured_anchor_is_accepted_by_default() {
    let current = leaf(-100, 80);
    let (other, _) = by_another_issuer(-50, 300);
    let mut store = MemoryStore::trusting(&[&current], -1);
    assert_eq!(store.poll(day(0), &Answer::of(&[&current], &[&other])).exit, Exit::Done);
    assert!(store.trusts(&other));
}

#[test]
fn under_confirm_another_issuer_waits_for_the_operator() {
    let current = leaf(-100, 80);
    let (other, issuer) = by_another_issuer(-50, 300);
    let before = Certificate::parse(WORLD.pki.digicert_intermediate.der()).unwrap();
    let mut store = MemoryStore::empty();
    store.policy.changed_issuer = ChangedIssuer::Confirm;
    assert_eq!(store.poll(day(-1), &Answer::of(&[&current], &[])).exit, Exit::Done, "there was no issuer before");
    let answer = Answer::of(&[&current], &[&other]);
    let decided = store.poll(day(0), &answer);
    assert_eq!((decided.exit, decided.said("issuer_changed")), (Exit::Answer, Some(Severity::Critical)));
    let text = decided.text("issuer_changed");
    for piece in [
        &issuer.fingerprint().to_string(),
        &before.fingerprint().to_string(),
        "Another Client CA",
        "Simulated DigiCert Assured ID Client CA G2",
        &format!("trustsync accept-issuer {}", issuer.fingerprint()),
    ] {
        assert!(text.contains(piece), "{piece:?} is not in {text}");
    }
    assert_eq!(store.pinned(), fingerprints([&current]));
    assert!(overrides::accept_issuer(&mut store.planner, issuer.fingerprint(), day(1)));
    assert!(!overrides::accept_issuer(&mut store.planner, issuer.fingerprint(), day(2)));
    assert_eq!(store.poll(day(2), &answer).exit, Exit::Done);
    assert!(store.trusts(&other));
    // From now on it is one that the slot itself has accepted.
    assert!(store.planner.slots.values().next().unwrap().issuers.contains_key(&issuer.fingerprint()));
}

#[test]
fn an_issuer_of_long_ago_is_remembered_after_its_leaves_have_left() {
    let (first, third) = (leaf(-100, 80), leaf(-20, 380));
    let (second, _) = by_another_issuer(-50, 300);
    let mut store = MemoryStore::trusting(&[&first], -1);
    store.grace(0);
    store.days(0..=5, &Answer::of(&[&second], &[]));
    assert_eq!(store.pinned(), fingerprints([&second]));
    store.policy.changed_issuer = ChangedIssuer::Confirm;
    assert_eq!(store.poll(day(6), &Answer::of(&[&second], &[&third])).exit, Exit::Done);
    assert!(store.trusts(&third));
}

#[test]
fn the_override_for_one_leaf_accepts_no_issuer() {
    let current = leaf(-100, 80);
    let (other, _) = by_another_issuer(-50, 300);
    let mut store = MemoryStore::trusting(&[&current], -1);
    store.policy.changed_issuer = ChangedIssuer::Confirm;
    trust(&mut store, &other, day(0), day(50));
    store.poll(day(1), &Answer::of(&[&current], &[]));
    assert_eq!(store.planner.slots.values().next().unwrap().issuers.len(), 1);
}

// --- roots ---

/// A slot of this root, which ends on day 1000.
fn ending_root(genesys: bool) -> (CertificateAuthority, SlotRules) {
    let root = CertificateAuthority::root("Somebody", "An Ending Root", day(1_000 - 50 * 365), None).unwrap();
    let anchors = Anchors::of(vec![Certificate::parse(root.der()).unwrap()]);
    let rules = if genesys { genesys_slot("us") } else { digicert_slot("us") };
    (root, SlotRules { anchors, ..rules })
}

#[test]
fn a_root_near_its_end_warns_half_a_year_before_and_is_critical_in_the_last_month() {
    for genesys in [false, true] {
        let (root, rules) = ending_root(genesys);
        let validity = Validity { not_before: day(700), not_after: day(1_400) };
        let leaf = issued(&root, "Genesys", &LeafRequest::client(NAME, validity));
        let answer = if genesys { Answer::genesys(&[&leaf]) } else { Answer::of(&[&leaf], &[]) };
        let mut store = MemoryStore::new([rules]);
        for (at, expected) in [(819, None), (820, Some(Severity::Warning)), (970, Some(Severity::Critical))] {
            let decided = store.poll(day(at), &answer);
            assert_eq!(decided.said("root_ends"), expected, "Genesys {genesys}, day {at}: {:?}", decided.findings);
            assert_eq!(decided.exit, Exit::Done);
        }
        let decided = store.poll_each(day(971), &[("us", None)]);
        let setting = if genesys { "genesys_anchors" } else { "digicert_anchors" };
        let text = decided.text("root_ends");
        assert!(text.contains("An Ending Root") && text.contains(setting) && text.contains("29 days"), "{text}");
    }
}

// --- the binary ---

fn leaf_file(sandbox: &Sandbox, name: &str, who: Impostor) -> (String, String) {
    let leaf = sandbox.world().impostor(who).unwrap();
    fs::write(sandbox.path(name), leaf.pem()).unwrap();
    (sandbox.path(name).to_str().unwrap().to_owned(), sandbox::fingerprint(leaf.der()))
}

fn evidence(sandbox: &Sandbox) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.store().join("evidence.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn manifest(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.published("manifest.json")).unwrap()
}

const NGINX: &str = "\n[target.web]\nkind = \"nginx\"\ncheck = []\nreload = \"none\"\n";

#[test]
fn trust_admits_what_is_not_listed_and_says_so_everywhere() {
    let sandbox = Sandbox::new();
    sandbox.append(NGINX);
    sandbox.add_target("other");
    sandbox.sync(&[]).exits(0);
    // The leaf alone: the chain that the store has completes it.
    let (file, fingerprint) = leaf_file(&sandbox, "leaf.pem", Impostor::Namesake);
    let ran = sandbox.run(&["trust", "--yes", &file, "--until", "14d"]).exits(0);
    ran.says(&[
        &fingerprint,
        "us.us-east-1.digicert",
        "as trusted by your override until",
        "published generation 000002",
    ]);
    assert_eq!(sandbox.reload_requests("other"), 2);
    assert_eq!(sandbox.pins()[&fingerprint], "trusted");
    assert!(sandbox.published("nginx/admit.map").contains("\"trusted\";"));
    assert!(sandbox.published("fingerprints.txt").contains(&format!("trusted sha256:{fingerprint}")));
    let entry = &manifest(&sandbox)["slots"]["us.us-east-1.digicert"]["entries"][&fingerprint];
    assert!(entry["word"]["until"].is_string(), "{entry}");
    assert_eq!(
        manifest(&sandbox)["cause"].as_str().unwrap().split(" until").next().unwrap(),
        format!("trust {fingerprint}")
    );
    let said = evidence(&sandbox);
    assert!(
        said.iter().any(|line| line["event"] == "operators_word" && line["word"].to_string().contains(&fingerprint))
    );
    sandbox.run(&["status"]).exits(0).says(&["trusted   dataactions", "by the operator's override until"]);
    // Polls do not list it, and change nothing; not even where the state is lost.
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    fs::remove_file(sandbox.store().join("state.json")).unwrap();
    sandbox.sync(&[]).exits(0).says(&["state_lost", "unchanged"]);
    assert_eq!(sandbox.pins()[&fingerprint], "trusted");
    // A second word for it changes its end alone.
    let until = manifest(&sandbox)["slots"]["us.us-east-1.digicert"]["entries"][&fingerprint]["word"]["until"].clone();
    sandbox.run(&["trust", "--yes", &file, "--until", "30d", "--output", "json"]).exits(0);
    assert_ne!(manifest(&sandbox)["slots"]["us.us-east-1.digicert"]["entries"][&fingerprint]["word"]["until"], until);
}

#[test]
fn trust_refuses_what_the_policy_refuses_and_only_identity_can_be_waived() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let before = sandbox::tree(&sandbox.store().join("generations"));
    let refused = |who: Impostor, more: &[&str], says: &[&str]| {
        let (file, _) = leaf_file(&sandbox, "refused.pem", who);
        sandbox.run(&[&["trust", "--yes", &file, "--until", "14d"], more].concat()).exits(11).says(says);
    };
    refused(Impostor::Stranger, &[], &["identity", "mail.stranger.example"]);
    refused(Impostor::OtherCa, &["--any-identity"], &["us.us-east-1.digicert", "issuer"]);
    refused(Impostor::Twin, &["--any-identity"], &["issuer"]);
    refused(Impostor::Expired, &["--any-identity"], &["expired"]);
    fs::write(sandbox.path("garbage"), "garbage").unwrap();
    let garbage = sandbox.path("garbage").to_str().unwrap().to_owned();
    sandbox.run(&["trust", "--yes", &garbage, "--until", "14d"]).exits(11);
    let key = sandbox.world().current().unwrap().key_pem();
    fs::write(sandbox.path("garbage"), &key).unwrap();
    sandbox
        .run(&["trust", "--yes", &garbage, "--until", "14d"])
        .exits(11)
        .says(&["private key"])
        .never_says(&[&key[40..80]]);
    assert_eq!(sandbox::tree(&sandbox.store().join("generations")), before);
    assert!(!evidence(&sandbox).iter().any(|line| line["event"] == "operators_word"));

    let (file, fingerprint) = leaf_file(&sandbox, "stranger.pem", Impostor::Stranger);
    sandbox.run(&["trust", "--yes", &file, "--until", "14d", "--any-identity"]).exits(0).says(&["identity waived"]);
    assert_eq!(sandbox.pins()[&fingerprint], "trusted");
    let entry = &manifest(&sandbox)["slots"]["us.us-east-1.digicert"]["entries"][&fingerprint];
    assert_eq!(entry["word"]["any_identity"], true);
    assert!(evidence(&sandbox).iter().any(|line| line["word"].to_string().contains("identity waived")));
    // Denied is denied.
    sandbox.run(&["distrust", "--yes", &fingerprint]).exits(0);
    sandbox.run(&["trust", "--yes", &file, "--until", "14d", "--any-identity"]).exits(11).says(&["is denied"]);
}

#[test]
fn the_end_of_an_override_is_a_moment_of_the_coming_year() {
    let sandbox = Sandbox::new();
    let (file, _) = leaf_file(&sandbox, "leaf.pem", Impostor::Namesake);
    for (until, says) in [
        ("2020-01-01T00:00:00Z", "not in the future"),
        ("0s", "not in the future"),
        ("367d", "more than a year"),
        ("2099-01-01T00:00:00Z", "more than a year"),
        ("tomorrow", "RFC 3339"),
    ] {
        sandbox.run(&["trust", "--yes", &file, "--until", until]).exits(2).says(&[says]);
    }
    sandbox.run(&["trust", &file]).exits(2).says(&["--until"]);
    sandbox
        .run(&["trust", "--yes", &file, "--until", "1d", "--source", "nobody"])
        .exits(2)
        .says(&["configured are: us"]);
    sandbox.append(&sandbox.source("second", "us-east-1"));
    sandbox.run(&["trust", "--yes", &file, "--until", "1d"]).exits(2).says(&["--source", "second, us"]);
    assert!(!sandbox.store().join("current").exists());
}

#[test]
fn trust_works_while_the_vendor_is_down_and_the_store_is_empty_and_despite_a_hold() {
    let sandbox = Sandbox::new();
    sandbox.world().fail(Failure::InternalError, Endpoint::Listing, None);
    let leaf = sandbox.world().current().unwrap();
    let chain: String =
        leaf.with_issuers().iter().map(|der| trustsync::trust::formats::pem::encode("CERTIFICATE", der)).collect();
    fs::write(sandbox.path("leaf.pem"), chain).unwrap();
    sandbox.run(&["hold"]).exits(0);
    let file = sandbox.path("leaf.pem").to_str().unwrap().to_owned();
    sandbox.run(&["trust", "--yes", &file, "--until", "14d"]).exits(0).says(&["published generation 000001"]);
    assert_eq!(sandbox.pins()[&sandbox.current_leaf()], "trusted");
    sandbox.run(&["release"]).exits(0);
    sandbox.sync(&["--deadline", "2s"]).exits(4);
    assert_eq!(sandbox.pins()[&sandbox.current_leaf()], "trusted");
    // The vendor is back, and lists it: an ordinary entry.
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins()[&sandbox.current_leaf()], "current");
}

#[test]
fn distrust_denies_at_once_for_good_and_says_what_it_gives_up() {
    let sandbox = Sandbox::new();
    sandbox.append(NGINX);
    sandbox.add_target("other");
    sandbox.sync(&[]).exits(0);
    let fingerprint = sandbox.current_leaf();
    let pairs: Vec<String> = (0..64).step_by(2).map(|at| fingerprint[at..at + 2].to_uppercase()).collect();
    sandbox.run(&["hold"]).exits(0);
    let ran = sandbox.run(&["distrust", "--yes", &pairs.join(":")]).exits(0);
    ran.says(&["denied for good", "given up: current", "nobody is admitted", "published generation 000002: DENY ALL"]);
    assert_eq!(sandbox.reload_requests("other"), 2);
    assert_eq!(manifest(&sandbox)["deny_all"], true);
    assert_eq!(manifest(&sandbox)["denied"][&fingerprint]["reason"], "distrusted");
    let map = sandbox.published("nginx/admit.map");
    assert!(map.contains("deny all") && map.contains("\"\";"), "{map}");
    for name in ["trust-bundle.pem", "chain.pem", "leaves.pem", "fingerprints.txt"] {
        assert!(!sandbox.published(name).is_empty(), "{name}");
    }
    assert!(evidence(&sandbox).iter().any(|line| line["word"] == format!("distrust {fingerprint}")));
    // Again: nothing more.
    sandbox.run(&["distrust", "--yes", &fingerprint]).exits(0).says(&["denied for good", "unchanged"]);
    let denials = |line: &&Value| line["word"].as_str().is_some_and(|word| word.starts_with("distrust"));
    assert_eq!(evidence(&sandbox).iter().filter(denials).count(), 1);
    // The vendor goes on listing it; the state is lost: it stays out (and the hold of the manifest is back, to be safe).
    fs::remove_file(sandbox.store().join("state.json")).unwrap();
    sandbox.run(&["release"]).exits(0);
    sandbox.sync(&[]).exits(5).says(&["denied_certificate_listed", "DENY ALL"]);
    sandbox.run(&["status"]).exits(2).says(&["DENY ALL", "distrusted, since"]);
    // The next one gets in as ever.
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins().into_keys().collect::<Vec<_>>(), [sandbox.current_leaf()]);
}

#[test]
fn distrust_takes_any_fingerprint_and_says_how_far_it_reaches() {
    let sandbox = Sandbox::new();
    let current = sandbox.current_leaf();
    // Before anything was published: it is known, and acts from the beginning.
    sandbox.run(&["distrust", "--yes", "--unknown", &current]).exits(0).says(&["distrust_is_partial", "SHA-1"]);
    sandbox.sync(&[]).exits(5);
    assert!(sandbox.pins().is_empty());
    assert!(sandbox.state()["memory"]["denied"][&current]["sha1"].is_string(), "the listing gave it");
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    // What left long ago is known to the generations that are kept.
    let gone = sandbox.current_leaf();
    sandbox.run(&["distrust", "--yes", &gone]).exits(0).never_says(&["distrust_is_partial"]);
    // An issuer is no leaf.
    let issuer = sandbox::fingerprint(sandbox.world().pki().digicert_intermediate.der());
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["distrust", "--yes", &issuer]).exits(0).says(&["Distrust the leaves"]);
    assert_eq!(sandbox.pins().len(), 1);
    for wrong in ["", "ab", &gone[1..], "leaf.pem"] {
        sandbox.run(&["distrust", wrong]).exits(2);
        sandbox.run(&["accept-issuer", wrong]).exits(2);
    }
}

#[test]
fn accept_issuer_is_recorded_in_state_manifest_and_evidence() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let issuer = sandbox::fingerprint(sandbox.world().pki().other_root.der());
    sandbox.run(&["accept-issuer", &issuer]).exits(11).says(&["nothing waits for", "--unknown"]);
    assert!(manifest(&sandbox)["accepted_issuers"][&issuer].is_null());
    sandbox.run(&["accept-issuer", &issuer, "--unknown"]).exits(0).says(&[&issuer, "trustsync sync"]);
    assert!(manifest(&sandbox)["accepted_issuers"][&issuer].is_string());
    assert!(sandbox.state()["memory"]["accepted_issuers"][&issuer].is_string());
    assert!(evidence(&sandbox).iter().any(|line| line["word"] == format!("accept-issuer {issuer}")));
    let generation = sandbox.current();
    sandbox.run(&["accept-issuer", &issuer]).exits(0);
    fs::remove_file(sandbox.store().join("state.json")).unwrap();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.current(), generation);
    assert!(sandbox.state()["memory"]["accepted_issuers"][&issuer].is_string());
}

// --- config check --probe ---

#[test]
fn a_probe_shows_what_the_endpoint_says_and_the_line_that_pins_it_and_keeps_nothing() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    let line = "identity = [\"dataactions.prod.us-east-1.mypurecloud.com\"]";
    let ran = sandbox.run(&["config", "check", "--probe"]).exits(0);
    ran.says(&["source us: region us-east-1, DigiCert", "current  accepted", "upcoming accepted", line]);
    assert!(!sandbox.store().exists());
    let json = sandbox.run(&["config", "check", "--probe", "--output", "json"]).exits(0).json();
    let slot = &json["sources"]["us"]["slots"]["us.us-east-1.digicert"];
    assert_eq!(slot["pin_by"], line);
    assert_eq!(slot["entities"].as_array().unwrap().len(), 2);
    // The line is one of the configuration.
    sandbox.configure(&sandbox.configuration().replace("[store.main]", &format!("[store.main]\n#{line}\n")));
    sandbox.configure(&sandbox.configuration().replace("client_id", &format!("{line}\nclient_id")));
    sandbox.run(&["config", "check", "--probe"]).exits(0).says(&[line]);
}

#[test]
fn a_probe_exits_as_a_sync_does() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    let probe = |code: i32, says: &[&str]| {
        sandbox.run(&["config", "check", "--probe"]).exits(code).says(says);
    };
    sandbox.world().fail(Failure::Forbidden, Endpoint::Listing, None);
    probe(4, &["source us", "no usable answer"]);
    sandbox.world().clear();
    sandbox.world().fail(Failure::InvalidJson, Endpoint::Listing, None);
    probe(5, &["answer_refused"]);
    sandbox.world().clear();
    sandbox.world().fail(Failure::UpcomingStranger, Endpoint::Listing, None);
    probe(5, &["upcoming REFUSED", "current  accepted"]);
    sandbox.world().clear();
    sandbox.append("colour = \"blue\"\n");
    let asked = sandbox.world().requests().len();
    probe(3, &["unknown key"]);
    assert_eq!(sandbox.world().requests().len(), asked, "a wrong configuration asks nobody");
    assert!(!sandbox.store().exists());
}

#[test]
fn a_probe_learns_the_names_of_a_region_whose_name_is_not_published_and_forgets_them() {
    let region = trustsync::genesys::Region::ALL.iter().find(|region| region.certificate_name.is_none()).unwrap();
    let sandbox = Sandbox::with(|options| {
        options.region = region.aws.to_owned();
        options.certificate_name = "client.of.somewhere.example".to_owned();
    });
    let text = sandbox.configuration().replace("us-east-1", region.aws);
    sandbox.configure(&text);
    sandbox.run(&["config", "check", "--probe"]).exits(0).says(&["identity = [\"client.of.somewhere.example\"]"]);
    assert!(!sandbox.store().exists());
}

// --- Genesys, through the command line ---

fn with_authorities(
    authorities: &str,
    change: impl FnOnce(&mut trustsync::simulator::world::VendorOptions),
) -> Sandbox {
    let sandbox = Sandbox::with(change);
    let keys = format!("authorities = [{authorities}]\ngenesys_anchors = [\"genesys-root.pem\"]\n[store.main]");
    sandbox.configure(&sandbox.configuration().replace("[store.main]", &keys));
    sandbox
}

#[test]
fn genesys_alone_is_a_name_rule_that_its_renewals_do_not_touch() {
    let sandbox = with_authorities("\"Genesys\"", |_| ());
    sandbox.append(NGINX);
    sandbox.sync(&[]).exits(0).says(&["+ name rule: dataactions.prod.us-east-1.mypurecloud.com"]);
    let published = sandbox.published("nginx/admit.map");
    assert!(published.contains("\"name\";") && !published.contains("\"current\";"), "{published}");
    sandbox.world().renew_genesys().unwrap();
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    // A mismatching witness is critical, and changes nothing.
    sandbox.world().fail(Failure::GenesysOtherRoot, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5).says(&["current_refused", "generation 000001, unchanged"]);
    assert_eq!(sandbox.published("nginx/admit.map"), published);
    sandbox.run(&["status"]).exits(2);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).exits(1).says(&["alarms ack current_refused:"]);
}

#[test]
fn a_witness_that_is_absent_is_critical_opens_nothing_and_disturbs_no_neighbour() {
    let sandbox = with_authorities("\"DigiCert\", \"Genesys\"", |options| options.genesys = false);
    sandbox.append(NGINX);
    sandbox.sync(&[]).exits(5).says(&["current_absent", "us.us-east-1.genesys"]);
    assert_eq!(sandbox.pins()[&sandbox.current_leaf()], "current", "the other authority's leaf enters");
    assert!(!sandbox.published("nginx/admit.map").contains("\"name\";"));
    sandbox.run(&["status"]).exits(2).says(&["current_absent:us.us-east-1.genesys"]);
    let alone = with_authorities("\"Genesys\"", |options| options.genesys = false);
    alone.sync(&[]).exits(5).says(&["current_absent"]);
    assert_eq!(alone.current(), None, "nothing is published before a witness has verified");
}

#[test]
fn a_witness_that_goes_missing_changes_nothing() {
    let witness = genesys_leaf("Genesys", NAME, &[], -10, 300);
    let mut store = MemoryStore::new([genesys_slot("us")]);
    store.grace(0);
    store.poll(day(0), &Answer::genesys(&[&witness]));
    let before = store.set.digest();
    for at in 1..=40 {
        let decided = store.poll(day(at), &Answer::genesys(&[]));
        assert_eq!((decided.said("current_absent"), decided.exit), (Some(Severity::Critical), Exit::Answer));
    }
    assert_eq!(store.set.digest(), before);
}

#[test]
fn trust_of_a_witness_opens_the_name_rule_on_the_day_the_vendor_is_down_and_never_by_any_name() {
    let sandbox = with_authorities("\"Genesys\"", |_| ());
    sandbox.append(NGINX);
    let witness = sandbox.world().genesys().unwrap();
    fs::write(sandbox.path("witness.der"), witness.der()).unwrap();
    let file = sandbox.path("witness.der").to_str().unwrap().to_owned();
    let ran = sandbox.run(&["trust", "--yes", &file, "--until", "14d", "--any-identity"]);
    ran.exits(0).says(&["as trusted by your override"]).never_says(&["identity waived"]);
    let map = sandbox.published("nginx/admit.map");
    assert!(map.contains("dataactions") && map.contains("\"name\";"), "{map}");
    sandbox.sync(&[]).exits(0);
    let slot = SlotId::new("us", "us-east-1", trustsync::trust::values::slot::Authority::Genesys).to_string();
    let entries = manifest(&sandbox)["slots"][&slot]["entries"].as_object().unwrap().clone();
    assert_eq!(entries.values().map(|entry| entry["role"].as_str().unwrap()).collect::<Vec<_>>(), ["current"]);
}

// --- a damaged store ---

#[test]
fn an_override_takes_nothing_from_the_servers_that_only_the_disk_has_lost() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    for lost in ["leaves.pem", "us.us-east-1.digicert/current.pem"] {
        fs::remove_file(sandbox.store().join("generations/000001").join(lost)).unwrap();
    }
    let denied = sandbox::fingerprint(b"whatever");
    sandbox.run(&["distrust", "--yes", "--unknown", &denied]).exits(7).says(&["word_not_published", "trustsync sync"]);
    let leaf = sandbox.world().impostor(Impostor::Namesake).unwrap();
    let chain: String =
        leaf.with_issuers().iter().map(|der| trustsync::trust::formats::pem::encode("CERTIFICATE", der)).collect();
    fs::write(sandbox.path("leaf.pem"), chain).unwrap();
    let file = sandbox.path("leaf.pem").to_str().unwrap().to_owned();
    sandbox.run(&["trust", "--yes", &file, "--until", "14d"]).exits(5).says(&["word_not_published", "is NOT trusted"]);
    assert_eq!(sandbox.current(), Some(1));
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins().into_keys().collect::<Vec<_>>(), [sandbox.current_leaf()]);
    assert!(manifest(&sandbox)["denied"][&denied].is_object(), "the denial was kept");
}

#[test]
fn a_store_that_cannot_be_worked_on_keeps_no_other_from_a_denial() {
    let sandbox = Sandbox::new();
    let another = sandbox.path("another");
    sandbox.append(&format!("\n[store.another]\npath = \"{}\"\n", another.display()));
    sandbox.sync(&[]).exits(0);
    let leaf = sandbox.current_leaf();
    // The first of them, by name.
    fs::remove_file(another.join("lock")).unwrap();
    fs::create_dir(another.join("lock")).unwrap();
    for word in [&["hold"][..], &["accept-issuer", "--unknown", &leaf], &["distrust", "--yes", &leaf]] {
        sandbox.run(word).exits(6).says(&["main: ", another.join("lock").to_str().unwrap()]);
    }
    assert_eq!(manifest(&sandbox)["denied"][&leaf]["reason"], "distrusted");
    assert!(sandbox.pins().is_empty());
}
