//! What root's half takes over from the daemon's store: nothing there ends by a clock that nobody vouches for, and nothing
//! enters as new that has ended already.

use std::collections::BTreeMap;

use support::leaves::*;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::planner_state::TrustOverride;
use trustsync::trust::plan::set::{Denial, DenialReason, Role};
use trustsync::trust::records::adopt::{Adopted, Giver, Input, Withheld, adopt};
use trustsync::trust::records::manifest::Manifest;
use trustsync::trust::values::fingerprint::Fingerprint;
use trustsync::trust::values::said::Said;
use trustsync::trust::values::timestamp::Timestamp;
use trustsync::trust::verify::Policy;

/// A daemon's generation, and what root has of its own.
struct Scene {
    manifest: Manifest,
    certificates: BTreeMap<Fingerprint, Certificate>,
    denied: BTreeMap<Fingerprint, Denial>,
    has_it_already: bool,
}

/// That trusts these leaves, the last of them by an override until day 30.
fn scene(leaves: &[&Leaf]) -> Scene {
    let store = MemoryStore::trusting(leaves, -1);
    let mut slots = Manifest::slots_of(&store.planner);
    let entries = &mut slots.values_mut().next().unwrap().entries;
    let last = entries.get_mut(&leaves.last().unwrap().fingerprint).unwrap();
    last.role = Role::Trusted;
    let said = Said::default();
    last.word = Some(TrustOverride { since: day(-1), until: day(30), any_identity: false, no_usage: false, said });
    let manifest = serde_json::json!({
        "schema": 1, "store": "0123456789abcdef", "generation": 1, "committed": day(-1), "cause": "cycle",
        "digest": store.set.digest(), "deny_all": false, "slots": slots, "denied": {}, "chain": [], "extra": [],
        "certificates": {}, "files": {},
    });
    let pins = store.set.pins.values().map(|pin| &pin.leaf).chain(store.set.chain.values());
    Scene {
        manifest: Manifest::read(manifest.to_string().as_bytes()).unwrap(),
        certificates: pins.map(|held| (held.fingerprint(), held.clone())).collect(),
        denied: BTreeMap::new(),
        has_it_already: true,
    }
}

impl Scene {
    fn adopted(&self, now: Timestamp) -> Result<Adopted, Withheld> {
        adopt(&Input {
            giver: Giver::Daemon,
            manifest: &self.manifest,
            certificates: &self.certificates,
            rules: &[digicert_slot("us")],
            earlier: self.has_it_already.then_some(&self.manifest),
            earlier_certificates: &self.certificates,
            denied: &self.denied,
            lists: &[],
            extra: &BTreeMap::new(),
            policy: &Policy::default(),
            now,
        })
    }

    fn pinned(&self, now: Timestamp) -> Vec<Fingerprint> {
        self.adopted(now).unwrap().set.pins.into_keys().collect()
    }
}

const FIVE_YEARS: i64 = 5 * 365;

#[test]
fn a_clock_five_years_ahead_ends_neither_a_denial_nor_an_override_nor_what_is_in_place() {
    let (current, denied, trusted) = (leaf(-100, 200), leaf(-50, 300), leaf(-20, 350));
    let mut scene = scene(&[&current, &denied, &trusted]);
    for reason in [DenialReason::Revoked, DenialReason::Distrusted] {
        let denial = Denial { until: Some(day(300)), ..Denial::new(reason, day(-1)) };
        scene.denied = BTreeMap::from([(denied.fingerprint, denial)]);
        for now in [day(0), day(31), day(FIVE_YEARS)] {
            let mut expected = vec![current.fingerprint, trusted.fingerprint];
            expected.sort();
            assert_eq!(scene.pinned(now), expected, "{reason:?} at {now}");
            assert!(scene.adopted(now).unwrap().set.denied.contains_key(&denied.fingerprint));
        }
    }
}

#[test]
fn what_has_expired_already_is_not_admitted_as_new() {
    let (old, current) = (leaf(-100, -2), leaf(-50, 300));
    let mut scene = scene(&[&current]);
    let entries = &mut scene.manifest.slots.values_mut().next().unwrap().entries;
    let entry = entries[&current.fingerprint].clone();
    entries.insert(old.fingerprint, entry);
    scene.certificates.insert(old.fingerprint, old.certificate.clone());
    assert_eq!(scene.pinned(day(0)).len(), 2, "what root has in place stays, as the daemon keeps it");
    scene.has_it_already = false;
    assert_eq!(scene.pinned(day(0)), [current.fingerprint]);
    let refused = scene.adopted(day(0)).unwrap().refused;
    assert!(refused.iter().any(|why| why.contains("expired")), "{refused:?}");
}

#[test]
fn of_many_denials_the_newest_are_taken_and_roots_own_are_not_among_those_counted() {
    let current = leaf(-100, 200);
    let mut scene = scene(&[&current]);
    for at in 0..20_000_u32 {
        let key = Fingerprint::of(&at.to_be_bytes());
        scene.manifest.denied.insert(key, Denial::new(DenialReason::Distrusted, day(-i64::from(at))));
    }
    let own: Vec<Fingerprint> = (0..3_000_u32).map(|at| Fingerprint::of(&(at + 100_000).to_be_bytes())).collect();
    scene.denied = own.iter().map(|key| (*key, Denial::new(DenialReason::Distrusted, day(-5_000)))).collect();
    let adopted = scene.adopted(day(0)).unwrap();
    assert_eq!(adopted.set.denied.len(), 4_000);
    assert!(own.iter().all(|key| adopted.set.denied.contains_key(key)));
    assert!(adopted.set.denied.contains_key(&Fingerprint::of(&0_u32.to_be_bytes())), "the newest");
    assert!(!adopted.set.denied.contains_key(&Fingerprint::of(&19_999_u32.to_be_bytes())), "the oldest");
    assert_eq!(adopted.set.pins.len(), 1);
}
