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

#[test]
fn what_root_denies_leaves_its_own_files_though_the_daemons_store_cannot_be_adopted() {
    let Some(host) = settled() else { return };
    let (current, upcoming) = (host.sandbox.current_leaf(), host.sandbox.upcoming_leaf());
    // Servers of other kinds read other files.
    let others = ["nginx", "envoy"];
    for kind in others {
        host.sandbox.append(&format!(
            "\n[target.{kind}]\nkind = \"{kind}\"\nprivileged = true\ncheck = []\nreload_timeout = \"1s\"\nreload = {{ command = [\"/bin/true\"] \
             }}\n"
        ));
        host.apply(kind).exits(0);
    }
    // A second name for a file is enough for it not to be adopted.
    host.daemon(&["distrust", "--yes", &current]);
    host.shell("ln current/leaves.pem kept");
    let told = host.told_by("edge").len();
    host.root(&["distrust", "--yes", &current]).says(&["taken out all the same"]);
    assert_eq!(rendered(&host), std::slice::from_ref(&upcoming));
    for target in others.into_iter().chain(["edge"]) {
        let manifest = std::fs::read(host.link(target).join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert!(manifest["denied"].as_object().unwrap().contains_key(&current), "{target}");
        let slots = manifest["slots"].as_object().unwrap().values();
        let trusted: Vec<&String> = slots.flat_map(|slot| slot["entries"].as_object().unwrap().keys()).collect();
        assert_eq!(trusted, [&upcoming], "{target}");
    }
    assert!(host.told_by("edge").len() > told, "and the server is told");
    // Once is enough, and nothing enters by this way.
    let told = host.told_by("edge").len();
    host.apply("edge").exits(5).never_says(&["taken out all the same"]);
    assert_eq!((rendered(&host), host.told_by("edge").len()), (vec![upcoming], told));
    // Whole again, the store is followed again.
    host.shell("rm kept");
    host.apply("edge").exits(0);
    assert_eq!(host.linked("edge"), Some(2));
}

#[test]
fn a_denial_is_in_force_in_roots_files_though_the_daemons_store_is_another_or_trusts_nothing_else() {
    let Some(host) = settled() else { return };
    let (current, upcoming) = (host.sandbox.current_leaf(), host.sandbox.upcoming_leaf());
    // Nobody has attacked: the store was emptied.
    host.shell("rm -rf current generations state.json evidence.jsonl target");
    host.root(&["distrust", "--unknown", "--yes", &current]);
    assert_eq!(rendered(&host), std::slice::from_ref(&upcoming));
    // Root's own files know it, whatever the store has lost.
    host.root(&["distrust", "--yes", &upcoming]).never_says(&["is the SHA-256 of no certificate"]);
    assert!(rendered(&host).is_empty());
    // One that nobody knows is a typo still.
    host.root(&["distrust", "--yes", &"ab".repeat(32)]).exits(11).says(&["is the SHA-256 of no certificate"]);
}

#[test]
fn a_denial_that_root_could_not_bring_about_does_not_end_in_success() {
    let Some(host) = settled() else { return };
    let current = host.sandbox.current_leaf();
    // Root acts by what root alone can change: now it does not.
    let configuration = host.sandbox.configuration();
    let script = host.path("tell");
    std::fs::write(&script, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let command = format!("reload = {{ command = [\"{}\"] }} #", script.display());
    host.sandbox.configure(&configuration.replace("reload = { command", &command));
    host.shell("rm -rf current generations state.json evidence.jsonl target");
    host.root(&["distrust", "--unknown", "--yes", &current]).exits(7).says(&["root's files still admit it"]);
    assert!(rendered(&host).contains(&current));
}

#[test]
fn an_operator_who_gives_no_reason_lifts_nothing() {
    let Some(host) = settled() else { return };
    let upcoming = host.sandbox.upcoming_leaf();
    host.root(&["distrust", "--yes", &upcoming]).exits(0);
    host.root(&["undistrust", &upcoming, "--reason", " "]).exits(2).never_says(&["root no longer denies"]);
    // Nor does one whose child cannot use the configuration.
    let configuration = host.path("config.toml");
    let may_read = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(&configuration, mode).unwrap();
    };
    may_read(0o600);
    host.root(&["undistrust", &upcoming, "--reason", "found again"]).exits(3).never_says(&["root no longer denies"]);
    may_read(0o644);
    offer_again(&host, 1, 9, |_| ());
    host.apply("edge").exits(5).says(&["is denied here"]);
    assert!(!rendered(&host).contains(&upcoming));
}

#[test]
fn a_waiver_that_comes_to_nothing_leaves_the_one_before_it() {
    let Some(host) = settled() else { return };
    let world = host.sandbox.world();
    let validity = Validity::of(SystemClock.now(), 100 * DAY);
    let request = LeafRequest { client_auth: false, ..LeafRequest::client(NAME, validity) };
    let leaf = world.pki().digicert_intermediate.issue("Genesys", &request).unwrap();
    let (file, key) = (host.path("leaf.pem"), fingerprint(leaf.der()));
    std::fs::write(&file, leaf.pem()).unwrap();
    let words = |until: &'static str| ["trust", file.to_str().unwrap(), "--until", until, "--no-usage", "--yes"];
    host.root(&words("14d")).exits(0);
    assert!(rendered(&host).contains(&key));
    // The same again, without being meant.
    host.root(&words("30d")[..5]).exits(11).says(&["Nothing was changed"]);
    offer_again(&host, host.linked("edge").unwrap(), 9, |_| ());
    host.apply("edge").exits(0);
    assert!(rendered(&host).contains(&key));
    // Another writer holds the store: nothing was trusted, and nothing is waived.
    let other = world.pki().digicert_intermediate.issue("Genesys", &request).unwrap();
    let waived = || -> Value {
        let state = std::fs::read(host.path("targets").join("state/edge.json")).unwrap();
        serde_json::from_slice::<Value>(&state).unwrap()["usage_waived"].clone()
    };
    let before = waived();
    std::fs::write(&file, format!("{}{}", other.pem(), leaf.pem())).unwrap();
    host.root(&words("60d")).exits(11);
    assert_eq!(waived(), before, "a file of two leaves");
    std::fs::write(&file, other.pem()).unwrap();
    let lock = std::fs::File::open(host.sandbox.store().join("lock")).unwrap();
    lock.lock().unwrap();
    host.root(&[&["--lock-timeout", "0s"][..], &words("60d")[..]].concat()).exits(8);
    assert_eq!(waived(), before, "a store that is locked");
}
