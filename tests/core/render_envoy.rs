//! Envoy's secret: whom it admits for which trust set, and what reading it back refuses.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::leaves::*;
use support::rendering::{self, Files, new_marker, vouched_file};
use trustsync::targets::read_back::ReadBackError;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::plan::set::DenialReason;
use trustsync::trust::render::Content;
use trustsync::trust::values::fingerprint::Fingerprint;

const WITH: &str = "envoy/sds.json";
const WITHOUT: &str = "envoy/sds-without-marker.json";

fn rendered(store: &MemoryStore) -> Files {
    rendering::render(&[trustsync::targets::envoy::OUTPUT], &store.set, &store.planner, &new_marker())
}

fn written(files: &Files) -> Result<(), ReadBackError> {
    rendering::written(tempfile::tempdir().unwrap().path(), files)
}

fn digest(store: &MemoryStore) -> Fingerprint {
    let outputs = BTreeSet::from([trustsync::targets::envoy::OUTPUT]);
    Content::of(&store.set, &store.planner, &outputs).digest()
}

fn context(files: &Files, path: &str) -> Value {
    let file: Value = serde_json::from_slice(&files[path]).unwrap();
    assert_eq!(file["version_info"], "000007");
    assert_eq!(file["resources"].as_array().unwrap().len(), 1);
    file["resources"][0]["validation_context"].clone()
}

fn authorities(context: &Value) -> usize {
    context["trusted_ca"]["inline_string"].as_str().unwrap().matches("-----BEGIN").count()
}

fn hashes(context: &Value) -> BTreeSet<String> {
    let list = context["verify_certificate_hash"].as_array().unwrap();
    list.iter().map(|hash| hash.as_str().unwrap().to_owned()).collect()
}

fn genesys(common_name: &str, dns_names: &[&str], from: i64) -> Leaf {
    genesys_leaf("Genesys", common_name, dns_names, from, 300)
}

/// The root alone, by this witness.
fn by_name(witness: &Leaf) -> MemoryStore {
    let mut store = MemoryStore::new([genesys_slot("us")]);
    store.poll(day(0), &Answer::genesys(&[witness]));
    assert_eq!(store.set.name_rules.len(), 1);
    store
}

#[test]
fn pinned_leaves_are_listed_under_their_chain() {
    let [current, upcoming] = [leaf(-200, 80), leaf(-5, 400)];
    let mut store = MemoryStore::empty();
    store.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
    let files = rendered(&store);
    let listed = [&current, &upcoming].map(|leaf| leaf.fingerprint.to_string());
    for (path, count) in [(WITH, 3), (WITHOUT, 2)] {
        let context = context(&files, path);
        assert_eq!((hashes(&context), authorities(&context)), (listed.clone().into(), count), "{path}");
        assert!(context.get("match_typed_subject_alt_names").is_none());
    }
}

/// An Envoy below 1.40 shows the first alone of the authorities that it holds.
#[test]
fn the_marker_stands_before_every_other_authority() {
    for store in [MemoryStore::trusting(&[&leaf(-5, 300)], 0), by_name(&genesys(NAME, &[NAME], -30))] {
        let files = rendered(&store);
        let with = markers(&files, WITH);
        assert!(with.len() > 1 && with[0] && !with[1..].contains(&true), "{with:?}");
        assert!(!markers(&files, WITHOUT).contains(&true));

        // And only so it is read back.
        written(&files).unwrap();
        let text = String::from_utf8(files[WITH].clone()).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        let bundle = &mut file["resources"][0]["validation_context"]["trusted_ca"]["inline_string"];
        let (marker, others) = bundle.as_str().unwrap().split_once("-----END CERTIFICATE-----\n").unwrap();
        *bundle = format!("{others}{marker}-----END CERTIFICATE-----\n").into();
        let read = written(&vouched_file(files, WITH, file.to_string()));
        let Err(ReadBackError::Count { expected, .. }) = &read else { panic!("{read:?}") };
        assert_eq!(expected, "the generation's marker first");
    }
}

/// Of each authority, in their order, whether it is a generation marker.
fn markers(files: &Files, path: &str) -> Vec<bool> {
    let context = context(files, path);
    let bundle = context["trusted_ca"]["inline_string"].as_str().unwrap();
    let ders = trustsync::trust::formats::pem::scan(bundle).into_iter().map(|block| block.bytes.unwrap());
    let subjects = ders.map(|der| Certificate::parse(&der).unwrap().facts().subject.clone());
    subjects.map(|subject| subject.contains("trustsync generation marker")).collect()
}

#[test]
fn a_name_is_asked_for_where_every_witness_has_it_in_its_san_and_else_the_issuer_alone() {
    let files = rendered(&by_name(&genesys(NAME, &[NAME], -30)));
    let found = context(&files, WITH);
    let matcher = json!([{ "san_type": "DNS", "matcher": { "exact": NAME, "ignore_case": true } }]);
    assert_eq!(found["match_typed_subject_alt_names"], matcher);
    assert!(found.get("verify_certificate_hash").is_none());
    assert_eq!(authorities(&found), 2);

    // The name in the SAN alone binds here, though other servers cannot see it.
    let found = context(&rendered(&by_name(&genesys("another", &[NAME], -30))), WITH);
    assert_eq!(found["match_typed_subject_alt_names"], matcher);

    let found = context(&rendered(&by_name(&genesys(NAME, &[], -30))), WITH);
    assert_eq!(found.as_object().unwrap().keys().collect::<Vec<_>>(), ["trusted_ca"]);
}

#[test]
fn the_root_of_another_client_is_never_among_those_whose_names_are_admitted() {
    let mut store = by_name(&genesys(NAME, &[], -30));
    let other = Certificate::parse(WORLD.pki.other_root.der()).unwrap();
    store.extra.insert(other.fingerprint(), other.clone());
    store.poll_each(day(0), &[("us", None)]);
    assert!(store.set.extra.contains_key(&other.fingerprint()));
    let files = rendered(&store);
    let found = context(&files, WITHOUT);
    assert_eq!(authorities(&found), 1);
    assert!(!found["trusted_ca"]["inline_string"].as_str().unwrap().contains(other.pem().lines().nth(3).unwrap()));
}

#[test]
fn where_one_is_denied_or_others_are_pinned_the_listed_witnesses_are_admitted_one_by_one() {
    let [denied, listed] = [genesys(NAME, &[NAME], -30), genesys(NAME, &[NAME], -3)];
    let mut store = by_name(&denied);
    let before = digest(&store);
    store.poll(day(1), &Answer::genesys(&[&listed]));
    assert_eq!(digest(&store), before, "a renewal is nothing new");
    store.deny(&denied, DenialReason::Distrusted);
    store.poll_each(day(1), &[("us", None)]);
    assert_eq!(hashes(&context(&rendered(&store), WITH)), [listed.fingerprint.to_string()].into());
    let before = digest(&store);
    let third = genesys(NAME, &[NAME], -2);
    store.poll(day(2), &Answer::genesys(&[&third]));
    assert_ne!(digest(&store), before, "now it is");
    assert_eq!(hashes(&context(&rendered(&store), WITH)), [third.fingerprint.to_string()].into());
    // The denied one alone is listed: what was listed before it stays.
    store.poll(day(3), &Answer::genesys(&[&denied]));
    assert_eq!(hashes(&context(&rendered(&store), WITH)), [third.fingerprint.to_string()].into());

    // Both authorities, which a configuration is refused for, but a change of it may leave behind for the grace.
    let pinned = leaf(-5, 300);
    let mut store = MemoryStore::new([digicert_slot("us"), genesys_slot("us")]);
    store.poll(day(0), &Answer::of(&[&pinned], &[]).and(entity("Genesys", "Current", &listed.text)));
    let both = [&pinned, &listed].map(|leaf| leaf.fingerprint.to_string());
    assert_eq!(hashes(&context(&rendered(&store), WITH)), both.into());
}

#[test]
fn deny_all_is_a_list_that_nobody_is_on() {
    let only = leaf(-200, 80);
    let mut denied = MemoryStore::trusting(&[&only], 0);
    denied.deny(&only, DenialReason::Distrusted);
    denied.poll(day(1), &Answer::of(&[&only], &[]));
    let witness = genesys(NAME, &[NAME], -30);
    let mut by_name = by_name(&witness);
    by_name.deny(&witness, DenialReason::Revoked);
    by_name.poll_each(day(1), &[("us", None)]);
    for store in [denied, by_name] {
        let files = rendered(&store);
        for path in [WITH, WITHOUT] {
            let context = context(&files, path);
            assert_eq!(hashes(&context), ["0".repeat(64)].into());
            assert!(authorities(&context) > 0, "Envoy refuses a context without any");
        }
        written(&files).unwrap();
    }
}

#[test]
fn what_envoy_would_read_otherwise_than_meant_is_not_read_back() {
    let [current, upcoming] = [leaf(-200, 80), leaf(-5, 400)];
    let mut pinned = MemoryStore::empty();
    pinned.poll(day(0), &Answer::of(&[&current], &[&upcoming]));
    let named = by_name(&genesys(NAME, &[NAME], -30));
    let issuer = by_name(&genesys(NAME, &[], -30));
    for store in [&pinned, &named, &issuer] {
        written(&rendered(store)).unwrap();
    }
    let hash = current.fingerprint.to_string();
    type Damage<'a> = (&'a MemoryStore, Box<dyn Fn(&str) -> String + 'a>);
    let damages: Vec<Damage<'_>> = vec![
        (&pinned, Box::new(|_| "{}".to_owned())),
        (&pinned, Box::new(|text| text[..text.len() - 3].to_owned())),
        (&pinned, Box::new(|text| format!("{text}{text}"))),
        (&pinned, Box::new(|text| text.replace("verify_certificate_hash", "verify_certificate_hashes"))),
        (&pinned, Box::new(|text| text.replace(&hash, &"0".repeat(64)))),
        (&pinned, Box::new(|text| text.replace("000007", "000006"))),
        (&pinned, Box::new(|text| text.replace("\"trustsync\"", "\"other\""))),
        (
            &pinned,
            Box::new(|text| text.replacen("-----BEGIN", " -----BEGIN", 2).replacen(" -----BEGIN", "-----BEGIN", 1)),
        ),
        (&pinned, Box::new(|text| text.replacen("MII", "MIX", 1))),
        (
            &pinned,
            Box::new(|text| text.replace("\"trusted_ca\"", "\"allow_expired_certificate\": true, \"trusted_ca\"")),
        ),
        (&named, Box::new(|text| text.replace(NAME, "another.example.com"))),
        (&named, Box::new(|text| text.replace("\"exact\"", "\"prefix\""))),
        (&named, Box::new(|text| text.replace("\"DNS\"", "\"URI\""))),
        (&issuer, Box::new(|text| text.replace("\"trusted_ca\"", "\"verify_certificate_hash\": [], \"trusted_ca\""))),
    ];
    for (place, (store, damage)) in damages.into_iter().enumerate() {
        for path in [WITH, WITHOUT] {
            let files = rendered(store);
            let text = String::from_utf8(files[path].clone()).unwrap();
            let damaged = damage(&text);
            assert_ne!(damaged, text, "damage {place} does nothing");
            let read = written(&vouched_file(files, path, damaged));
            assert!(matches!(read, Err(ReadBackError::Count { .. })), "damage {place} of {path}: {read:?}");
        }
    }
}
