//! Which lists are kept: those that something trusted names, and those by which something was denied.

use std::fs;

use serde_json::json;
use support::sandbox::{Sandbox, fingerprint};
use trustsync::simulator::crls::Revoke;

/// A list in the cache that nothing trusted names.
fn keep(sandbox: &Sandbox, url: &str) -> std::path::PathBuf {
    let path = sandbox.store().join("crl").join(format!("{}.crl", fingerprint(url.as_bytes())));
    fs::write(&path, "a list").unwrap();
    path
}

#[test]
fn a_list_by_which_a_leaf_was_denied_is_kept_until_its_expiry_and_others_go() {
    let sandbox = Sandbox::new();
    let configuration = sandbox.configuration();
    sandbox.configure(&configuration.replace("policy = \"off\"", "policy = \"soft\"\nallow_private = true"));
    sandbox.world().revoke(Revoke::Current).unwrap();
    sandbox.sync(&[]).exits(5).says(&["certificate_revoked"]);
    let revoked = sandbox.current_leaf();
    let denial = sandbox.state()["memory"]["denied"][&revoked].clone();
    assert!(!denial["lists"].as_array().unwrap().is_empty(), "{denial}");
    // Another one, whose list no certificate names any more.
    let mut state = sandbox.state();
    let lists = json!(["http://ca.example/of-a-denied-leaf.crl"]);
    let of = |until: &str| json!({"reason": "revoked", "since": "2026-01-01T00:00:00Z", "sha1": null, "until": until, "lists": lists});
    state["memory"]["denied"]["ab".repeat(32)] = of("2099-01-01T00:00:00Z");
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    let kept = keep(&sandbox, "http://ca.example/of-a-denied-leaf.crl");
    let unwanted = keep(&sandbox, "http://ca.example/of-nothing.crl");
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    assert!(kept.exists() && !unwanted.exists());
    // With the denial it goes.
    state = sandbox.state();
    state["memory"]["denied"]["ab".repeat(32)] = of("2026-01-02T00:00:00Z");
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    sandbox.sync(&[]).exits(0);
    sandbox.sync(&[]).exits(0);
    assert!(!kept.exists());
}
