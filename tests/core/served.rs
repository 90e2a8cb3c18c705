//! What servers make of what is accepted: they take the first issuer of a name. The order of the bundle, what is kept out
//! for the sake of others, and what is said of the rest. `tests/servers/path_builders.rs` has OpenSSL itself.

use support::leaves::*;
use trustsync::exit::Exit;
use trustsync::simulator::pki::{CertificateAuthority, LeafRequest, Validity};
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::observation::SlotRules;
use trustsync::trust::plan::set::Role;
use trustsync::trust::verify::anchor::Anchors;
use trustsync::trust::verify::served;

/// One name with a key of its own each time, as a CA has it after a change of keys: nothing in its leaves says whose they
/// are.
fn rekeyed() -> CertificateAuthority {
    let issuer = WORLD.pki.digicert_root.intermediate("Client CA", day(0), None).unwrap();
    issuer.without_key_identifier()
}

fn leaf_of(issuer: &CertificateAuthority, from: i64, to: i64) -> Leaf {
    let validity = Validity { not_before: day(from), not_after: day(to) };
    issued(issuer, "Genesys", &LeafRequest::client(NAME, validity))
}

fn is_served(store: &MemoryStore, leaf: &Leaf) -> bool {
    served::path(&leaf.certificate, &store.set.bundle(), day(0)).is_ok()
}

#[test]
fn the_bundle_favours_current_then_upcoming_whatever_the_fingerprints_are() {
    // Each of them is another fingerprint, so that chance alone would fail one time in a million.
    for _ in 0..20 {
        let (current, upcoming) = (leaf_of(&rekeyed(), -200, 80), leaf_of(&rekeyed(), -5, 400));
        let mut store = MemoryStore::empty();
        let decided = store.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
        assert!(store.trusts(&current) && store.trusts(&upcoming));
        assert!(is_served(&store, &current) && !is_served(&store, &upcoming));
        assert_eq!(decided.said("servers_would_refuse"), Some(Severity::Critical));
        assert!(decided.text("servers_would_refuse").contains(&upcoming.fingerprint.short()));
        assert_eq!(decided.exit, Exit::Answer);

        // The rotation: what is current now has the first place, and the one that retires is a warning.
        for hour in 1..=3 {
            store.poll(day(0).plus(std::time::Duration::from_secs(hour * 3_600)), &Answer::of(&[&upcoming], &[]));
        }
        assert_eq!(store.role(&upcoming), Some(Role::Current));
        assert!(is_served(&store, &upcoming) && !is_served(&store, &current));
        let decided = store.poll(day(1), &Answer::of(&[&upcoming], &[]));
        assert_eq!(decided.said("servers_would_refuse"), Some(Severity::Warning));
        assert_eq!(decided.exit, Exit::Done);
    }
}

#[test]
fn what_would_take_the_path_of_one_that_is_no_less_important_is_kept_out() {
    let current = leaf_of(&rekeyed(), -100, 180);
    let mut store = MemoryStore::trusting(&[&current], 0);
    // Its elder has the first place among equals.
    let elder = leaf_of(&rekeyed(), -200, 80);
    let decided = store.poll(day(0), &Answer::of(&[&current, &elder], &[]));
    assert!(store.trusts(&current) && is_served(&store, &current) && !store.trusts(&elder));
    assert_eq!(decided.said("servers_would_refuse"), Some(Severity::Critical));
    let text = decided.text("servers_would_refuse");
    assert!(text.contains(&elder.fingerprint.short()) && text.contains(&current.fingerprint.short()), "{text}");
    assert_eq!(decided.exit, Exit::Answer);
    assert_eq!(store.generations, 1, "nothing has changed");

    // Once the other has gone, it enters.
    for at in 1..=20 {
        store.poll(day(at), &Answer::of(&[&elder], &[]));
    }
    assert!(store.trusts(&elder) && is_served(&store, &elder));
}

#[test]
fn what_is_kept_out_for_the_sake_of_another_makes_nobody_leave_a_full_slot() {
    let (current, retiring) = (leaf_of(&rekeyed(), -100, 180), leaf(-300, 100));
    let mut store = MemoryStore::trusting(&[&current, &retiring], -4);
    store.policy.max_pins = 2;
    store.days(-3..=-1, &Answer::of(&[&current], &[]));
    assert_eq!(store.role(&retiring), Some(Role::Retiring));
    let elder = leaf_of(&rekeyed(), -200, 80);
    let decided = store.poll(day(0), &Answer::of(&[&current, &elder], &[]));
    assert_eq!(decided.said("servers_would_refuse"), Some(Severity::Critical));
    assert!(!store.trusts(&elder) && store.trusts(&retiring), "{:?}", decided.said("certificate_left"));
}

#[test]
fn issuers_of_one_name_that_leaves_tell_apart_are_all_found() {
    let other = WORLD.pki.digicert_root.intermediate("Client CA", day(0), None).unwrap();
    let another = WORLD.pki.digicert_root.intermediate("Client CA", day(0), None).unwrap();
    let (current, upcoming) = (leaf_of(&other, -200, 80), leaf_of(&another, -5, 400));
    let mut store = MemoryStore::empty();
    let decided = store.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
    assert_eq!(decided.said("servers_would_refuse"), None);
    assert!(is_served(&store, &current) && is_served(&store, &upcoming));
}

#[test]
fn a_leaf_that_a_name_rule_should_admit_is_judged_as_well() {
    for _ in 0..10 {
        // A private root that was made anew under its old name.
        let root =
            || CertificateAuthority::root("Genesys", "Cloud Root", day(0), None).unwrap().without_key_identifier();
        let roots = [root(), root()];
        let anchors = Anchors::of(roots.iter().map(|root| Certificate::parse(root.der()).unwrap()).collect());
        let leaves = roots.each_ref().map(|root| leaf_of(root, -10, 300));
        let mut store = MemoryStore::new([SlotRules { anchors, ..genesys_slot("us") }]);
        let decided = store.poll(day(0), &Answer::genesys(&[&leaves[0], &leaves[1]]));
        assert_eq!(store.set.name_rules.len(), 2);
        let told: Vec<_> = decided.findings.iter().filter(|f| f.event.name() == "servers_would_refuse").collect();
        let unserved: Vec<_> = leaves.iter().filter(|leaf| !is_served(&store, leaf)).collect();
        assert_eq!((told.len(), unserved.len()), (1, 1), "{told:?}");
        assert!(told[0].text.contains(&unserved[0].fingerprint.short()), "{told:?}");
    }
}
