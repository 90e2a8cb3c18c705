//! What root's half knows by itself stays denied there; what the daemon merely says holds while the daemon says it, and
//! neither numbers nor age push the one out or keep the other.

use serde_json::{Value, json};
use support::host::Host;
use support::leaves::NAME;
use support::sandbox::fingerprint;
use trustsync::clock::{Clock, SystemClock};
use trustsync::simulator::crls::Revoke;
use trustsync::simulator::pki::{DAY, LeafRequest, Validity};

/// A host whose target `edge` stands at generation 1 with Current and Upcoming.
fn settled() -> Option<Host> {
    let host = Host::with(|options| options.days_left = Some(60))?;
    host.add_target("edge", "");
    host.sync().exits(0);
    Some(host)
}

/// The leaves that root's half has rendered.
fn rendered(host: &Host) -> Vec<String> {
    let text = std::fs::read_to_string(host.link("edge").join("fingerprints.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split("sha256:").nth(1).unwrap()[..64].to_owned()).collect()
}

fn roots_manifest(host: &Host) -> Value {
    serde_json::from_slice(&std::fs::read(host.link("edge").join("manifest.json")).unwrap()).unwrap()
}

/// The generation `from` under a new number, as its owner can make it: with this manifest.
fn offer_again(host: &Host, from: u64, number: u64, change: impl Fn(&mut Value)) {
    host.shell(&format!(
        "rm -rf generations/{number:06}; cp -a generations/{from:06} generations/{number:06}; ln -sfn \
         generations/{number:06} current"
    ));
    let mut manifest = host.manifest();
    manifest["generation"] = number.into();
    change(&mut manifest);
    host.forge(&manifest);
}

fn distrusted(since: &str) -> Value {
    json!({"reason": "distrusted", "since": since, "sha1": null})
}

#[test]
fn ten_thousand_invented_denials_push_no_true_one_out_and_end_when_they_are_no_longer_said() {
    let Some(host) = settled() else { return };
    let (current, upcoming) = (host.sandbox.current_leaf(), host.sandbox.upcoming_leaf());
    let honest = host.manifest();
    let mut captured = honest.clone();
    for at in 0..10_000 {
        captured["denied"][format!("{at:064x}")] = distrusted("2026-01-01T00:00:00Z");
    }
    // One of what the vendor will list, in advance.
    captured["denied"][&upcoming] = distrusted("2026-06-01T00:00:00Z");
    host.forge(&captured);
    host.apply("edge").exits(5).says(&["it denies 10001 certificates, of which the 1000 newest are taken"]);
    assert_eq!(rendered(&host), std::slice::from_ref(&current));
    assert_eq!(roots_manifest(&host)["denied"].as_object().unwrap().len(), 1_000);
    // A true one among them, typed by root, is taken.
    host.root(&["distrust", "--yes", &current]);
    let denied = roots_manifest(&host)["denied"].as_object().unwrap().clone();
    assert!(denied.contains_key(&current) && rendered(&host).is_empty(), "{:?}", rendered(&host));
    host.root(&["undistrust", &current, "--reason", "seen enough"]);
    // The daemon is itself again.
    offer_again(&host, 1, 9, |manifest| {
        manifest.clone_from(&honest);
        manifest["generation"] = 9.into();
    });
    host.apply("edge").exits(0);
    let mut expected = vec![current, upcoming];
    let mut found = rendered(&host);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert!(roots_manifest(&host)["denied"].as_object().unwrap().is_empty());
}

#[test]
fn what_root_has_typed_stays_denied_whatever_the_daemon_says_until_root_takes_it_back() {
    let Some(host) = settled() else { return };
    let upcoming = host.sandbox.upcoming_leaf();
    host.root(&["distrust", "--yes", &upcoming, "--reason", "stolen"]).exits(0);
    assert_eq!(host.linked("edge"), Some(2));
    offer_again(&host, 1, 9, |manifest| assert!(manifest["denied"].as_object().unwrap().is_empty()));
    host.apply("edge").exits(5).says(&["is denied here"]);
    assert_eq!(rendered(&host), [host.sandbox.current_leaf()]);
    // With what nginx and Apache ask for, which root has worked out by itself.
    let denial = roots_manifest(&host)["denied"][&upcoming].clone();
    assert!(denial["sha1"].is_string() && denial["pem_sha1"].is_string(), "{denial}");
    assert_eq!((denial["said"]["by"].as_str(), denial["said"]["why"].as_str()), (Some("root (uid 0)"), Some("stolen")));
    // Nor does it go with the store.
    host.apply("edge").exits(5);
    host.root(&["apply", "edge", "--reset"]).exits(5).says(&["is denied here"]);
    // The daemon's store never had it (its owner has seen to that): root takes it back all the same.
    host.root(&["undistrust", &upcoming, "--reason", "found again"]).says(&["root no longer denies"]);
    host.apply("edge").exits(0);
    assert_eq!(rendered(&host).len(), 2);
}

#[test]
fn a_denial_that_only_the_daemon_says_ends_with_it() {
    let Some(host) = settled() else { return };
    let upcoming = host.sandbox.upcoming_leaf();
    let _unit = host.path_unit(&["edge"]);
    host.daemon(&["distrust", "--yes", &upcoming]).exits(0);
    assert!(!rendered(&host).contains(&upcoming));
    host.daemon(&["undistrust", &upcoming, "--reason", "the wrong one"]).exits(0);
    host.daemon(&["sync"]).exits(0);
    assert!(rendered(&host).contains(&upcoming));
}

#[test]
fn a_store_made_anew_is_followed_after_a_reset_and_what_root_denies_stays_denied() {
    let Some(host) = settled() else { return };
    let (current, upcoming) = (host.sandbox.current_leaf(), host.sandbox.upcoming_leaf());
    host.root(&["distrust", "--yes", &current]).exits(0);
    host.shell("rm -rf current generations state.json evidence.jsonl target");
    // The new one knows of no denial.
    host.sync();
    host.apply("edge").exits(5).says(&["is another one", "trustsync apply edge --reset"]);
    host.root(&["apply", "edge", "--reset"]).exits(5).says(&["is denied here"]);
    assert_eq!(rendered(&host), [upcoming]);
    host.apply("edge").exits(5).never_says(&["is another one"]);
}

#[test]
fn root_checks_a_revocation_by_itself_and_keeps_it_when_the_list_is_gone() {
    let Some(host) = settled() else { return };
    let current = host.sandbox.current_leaf();
    let configuration = host.sandbox.configuration();
    host.sandbox.configure(&configuration.replace("policy = \"off\"", "policy = \"soft\"\nallow_private = true"));
    host.sandbox.world().revoke(Revoke::Current).unwrap();
    host.sync().exits(5).says(&["certificate_revoked"]);
    assert!(!rendered(&host).contains(&current));
    // Captured: the list is gone, and so is the denial.
    host.shell("rm -rf crl");
    offer_again(&host, 1, 9, |manifest| manifest["denied"] = json!({}));
    host.apply("edge").exits(5).says(&["is denied here"]);
    assert_eq!(rendered(&host), [host.sandbox.upcoming_leaf()]);
    assert_eq!(roots_manifest(&host)["denied"][&current]["reason"], "revoked");
    // Not even root lifts what a CA has revoked.
    host.root(&["undistrust", &current, "--reason", "we need it"]).exits(11);
    host.root(&["apply", "edge", "--reset"]).exits(5).says(&["is denied here"]);
}

#[test]
fn a_list_that_stands_beside_a_leaf_which_the_daemon_offers_all_the_same_revokes_it() {
    let Some(host) = settled() else { return };
    let configuration = host.sandbox.configuration();
    host.sandbox.configure(&configuration.replace("policy = \"off\"", "policy = \"soft\"\nallow_private = true"));
    host.sandbox.world().revoke(Revoke::Current).unwrap();
    // Without root's half at hand, which so has not seen it revoked.
    host.daemon(&["sync"]);
    offer_again(&host, 1, 9, |manifest| manifest["denied"] = json!({}));
    host.apply("edge").exits(5).says(&["was revoked by"]);
    assert_eq!(rendered(&host), [host.sandbox.upcoming_leaf()]);
    // What stands in crl/ and cannot be used holds nobody up and revokes nobody.
    host.shell("cd crl; for file in *.crl; do rm $file; done; mkfifo a.crl; mkdir b.crl; ln -s /dev/zero c.crl; echo > d.crl; truncate -s 6G e.crl");
    host.apply("edge").exits(5).says(&["is denied here"]);
}

#[test]
fn an_absent_usage_is_waived_in_roots_half_only_where_root_typed_it() {
    let Some(host) = settled() else { return };
    let world = host.sandbox.world();
    let validity = Validity::of(SystemClock.now(), 100 * DAY);
    let request = LeafRequest { client_auth: false, ..LeafRequest::client(NAME, validity) };
    let leaf = world.pki().digicert_intermediate.issue("Genesys", &request).unwrap();
    let (file, key) = (host.path("leaf.pem"), fingerprint(leaf.der()));
    std::fs::write(&file, leaf.pem()).unwrap();
    let words = ["trust", "--yes", file.to_str().unwrap(), "--until", "14d", "--no-usage"];
    let unit = host.path_unit(&["edge"]);
    host.daemon(&words).exits(7).says(&["target_withheld", "Only root's own trust --no-usage"]);
    drop(unit);
    assert!(!rendered(&host).contains(&key));
    // What root did not mean it does not waive, either.
    host.root(&words.iter().filter(|word| **word != "--yes").copied().collect::<Vec<_>>()).exits(11);
    host.apply("edge").exits(5);
    assert!(!rendered(&host).contains(&key));
    host.root(&words).exits(0);
    assert!(rendered(&host).contains(&key));
    host.sync().exits(0);
    // No other one is waived with it.
    let other = world.pki().digicert_intermediate.issue("Genesys", &request).unwrap();
    std::fs::write(&file, other.pem()).unwrap();
    let unit = host.path_unit(&["edge"]);
    host.daemon(&words).exits(7);
    drop(unit);
    assert!(!rendered(&host).contains(&fingerprint(other.der())));
    assert!(rendered(&host).contains(&key));
}
