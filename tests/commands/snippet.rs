//! `trustsync snippet TARGET`: the lines of each kind of server, with its real paths, at any time and without a trace.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use support::sandbox::{Sandbox, tree};

const KINDS: [&str; 7] = ["nginx", "haproxy", "apache", "envoy", "java", "ca-only", "generic"];

/// A target of this kind that is named `edge`.
fn with_target(kind: &str, more: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let pinning = if kind == "ca-only" { "pinning = \"elsewhere\"\n" } else { "" };
    let proof = if kind == "envoy" { "proof = { envoy = \"http://127.0.0.1:9\" }\n" } else { "" };
    sandbox.append(&format!("\n[target.edge]\nkind = \"{kind}\"\nreload = \"none\"\n{pinning}{proof}{more}"));
    sandbox
}

#[test]
fn each_kind_of_server_gets_its_lines_before_the_first_sync_without_the_secret_and_without_a_trace() {
    for kind in KINDS {
        let sandbox = with_target(kind, "");
        // The daemon's credential is not for everybody.
        fs::remove_file(sandbox.path("client-secret")).unwrap();
        let before = tree(sandbox.folder.path());
        let ran = sandbox.run(&["snippet", "edge"]).exits(0);
        assert_eq!(ran.stderr, "", "{kind}");
        let link = sandbox.store().join("target/edge");
        assert!(ran.stdout.contains(&format!("{}/", link.display())) || kind == "java", "{kind}: {}", ran.stdout);
        assert!(ran.stdout.contains(link.to_str().unwrap()), "{kind}: {}", ran.stdout);
        assert!(!ran.stdout.contains("/var/lib/"), "{kind}: {}", ran.stdout);
        assert!(tree(sandbox.folder.path()) == before, "{kind}: something was written");
        let json = sandbox.run(&["snippet", "edge", "--output", "json"]).exits(0).json();
        let said = &json["stores"]["main"]["targets"]["edge"];
        assert_eq!(said["lines"].as_str().unwrap(), ran.stdout, "{kind}");
        assert_eq!((said["kind"].as_str(), said["path"].as_str()), (Some(kind), link.to_str()));
    }
}

#[test]
fn the_lines_are_the_same_whatever_state_the_store_is_in() {
    let sandbox = with_target("nginx", "check = []\n");
    let first = sandbox.run(&["snippet", "edge"]).exits(0).stdout;
    sandbox.sync(&[]);
    assert_eq!(sandbox.run(&["snippet", "edge"]).exits(0).stdout, first);
    fs::write(sandbox.store().join("state.json"), "garbage").unwrap();
    fs::set_permissions(sandbox.store(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(sandbox.run(&["snippet", "edge"]).exits(0).stdout, first);
    // From a relative path too, they are real paths.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trustsync"));
    command.args(["--config", "config.toml", "snippet", "edge"]).current_dir(sandbox.folder.path());
    assert_eq!(support::sandbox::run(&mut command).exits(0).stdout, first);
}

#[test]
fn without_the_marker_the_lines_name_the_chain() {
    let with = with_target("nginx", "").run(&["snippet", "edge"]).exits(0);
    assert!(with.stdout.contains("/trust-bundle.pem\""), "{}", with.stdout);
    let without = with_target("nginx", "marker = false\n").run(&["snippet", "edge"]).exits(0);
    assert!(
        without.stdout.contains("/chain.pem\"") && !without.stdout.contains("trust-bundle.pem\""),
        "{}",
        without.stdout
    );
}

#[test]
fn of_a_target_that_was_moved_to_root_the_lines_to_change_are_named() {
    let sandbox = with_target("nginx", "check = []\n");
    let before = sandbox.store().join("target/edge");
    sandbox.sync(&[]);
    assert!(fs::symlink_metadata(&before).is_ok());
    let moved = sandbox.configuration().replace("path = \"store\"", "path = \"store\"\nprivileged_path = \"roots\"");
    sandbox.configure(&format!("{moved}privileged = true\n"));
    let after = sandbox.path("roots/edge");
    let ran = sandbox.run(&["snippet", "edge"]).exits(0);
    assert!(ran.stdout.contains(&format!("{}/", after.display())), "{}", ran.stdout);
    assert!(!ran.stdout.contains(before.to_str().unwrap()), "{}", ran.stdout);
    let replace = format!("replace {}/ by {}/", before.display(), after.display());
    assert!(ran.stderr.contains(&replace), "{}", ran.stderr);
}

#[test]
fn a_target_that_is_not_there_is_refused_with_those_that_are() {
    let sandbox = with_target("nginx", "");
    sandbox.run(&["snippet", "egde"]).exits(2).says(&["there is no target \"egde\"", "edge"]);
}
