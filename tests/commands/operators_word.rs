//! The operator's word is asked for, named, recorded with who gave it and why, and can be taken back.

use std::fs;

use serde_json::Value;
use support::sandbox::{self, Sandbox};
use support::terminal;
use trustsync::simulator::world::Impostor;

fn status(sandbox: &Sandbox) -> Value {
    sandbox.run(&["status", "--output", "json"]).json()["stores"]["main"].clone()
}

/// What must not have changed where a word was refused.
fn standing(sandbox: &Sandbox) -> (Option<u64>, Value) {
    (sandbox.current(), sandbox.state()["memory"].clone())
}

fn manifest(sandbox: &Sandbox) -> Value {
    serde_json::from_str(&sandbox.published("manifest.json")).unwrap()
}

#[test]
fn the_wrong_fingerprint_is_refused_and_the_right_one_named() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let (current, before) = (sandbox.current_leaf(), standing(&sandbox));
    sandbox.run(&["distrust", "--yes", &"0".repeat(64)]).exits(11).says(&["no certificate", "--unknown"]);
    // One digit.
    let last = if current.ends_with('0') { "1" } else { "0" };
    let typo = format!("{}{last}", &current[..63]);
    sandbox.run(&["distrust", "--yes", &typo]).exits(11).says(&[&format!("Did you mean {current}?")]);
    assert_eq!(standing(&sandbox), before);
    // Who knows better says so.
    sandbox.run(&["distrust", "--yes", "--unknown", &typo]).exits(0);
    assert!(manifest(&sandbox)["denied"][&typo].is_object());
}

#[test]
fn a_word_without_a_terminal_and_without_yes_is_refused_with_the_line_to_run() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let (current, before) = (sandbox.current_leaf(), standing(&sandbox));
    let ran = sandbox.run(&["distrust", &current, "--reason", "it's gone"]).exits(11);
    let line = format!("distrust {current} --reason 'it'\\''s gone' --yes");
    ran.says(&["dataactions.prod.us-east-1", "Nothing was changed", &line, "nobody would be admitted any more"]);
    let leaf = sandbox.world().impostor(Impostor::Namesake).unwrap();
    fs::write(sandbox.path("leaf.pem"), leaf.pem()).unwrap();
    let file = sandbox.path("leaf.pem").to_str().unwrap().to_owned();
    let ran = sandbox.run(&["trust", &file, "--until", "14d"]).exits(11);
    ran.says(&[&sandbox::fingerprint(leaf.der()), "us.us-east-1.digicert", &format!("trust {file} --until 14d --yes")]);
    assert_eq!(standing(&sandbox), before);
    assert!(!fs::read_to_string(sandbox.store().join("evidence.jsonl")).unwrap().contains("operators_word"));
}

#[test]
fn at_a_terminal_the_leaf_is_named_and_only_yes_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let (current, before) = (sandbox.current_leaf(), standing(&sandbox));
    let distrust = sandbox.command(&["distrust", &current]);
    for answer in ["\n", "no\n", "yess\n", "\u{4}"] {
        let ran = terminal::run(&distrust, &[("Type yes", answer)]).exits(11);
        ran.says(&[&current, "CN=dataactions.prod", "nobody would be admitted any more", "Nothing was changed"]);
        assert_eq!(standing(&sandbox), before, "{answer:?}");
    }
    terminal::run(&distrust, &[("Type yes", "yes\n")]).exits(0).says(&["given up: current"]);
    assert_eq!(manifest(&sandbox)["denied"][&current]["reason"], "distrusted");
    // Said again it gives nothing up, and asks nothing.
    terminal::run(&distrust, &[]).exits(0).never_says(&["Type yes"]);

    let leaf = sandbox.world().impostor(Impostor::Namesake).unwrap();
    fs::write(sandbox.path("leaf.pem"), leaf.pem()).unwrap();
    sandbox.run(&["undistrust", &current, "--reason", "a drill"]).exits(0);
    sandbox.sync(&[]).exits(0);
    let trust = sandbox.command(&["trust", sandbox.path("leaf.pem").to_str().unwrap(), "--until", "14d"]);
    terminal::run(&trust, &[("Type yes", "n\n")]).exits(11).says(&[&sandbox::fingerprint(leaf.der())]);
    assert_eq!(sandbox.pins().len(), 1);
    terminal::run(&trust, &[("Type yes", "y\n")]).exits(0);
    assert_eq!(sandbox.pins().len(), 2);
}

#[test]
fn a_question_that_waits_for_its_answer_keeps_no_other_writer_waiting() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let distrust = sandbox.command(&["distrust", &sandbox.current_leaf()]);
    let thinking = sandbox.path("thinking");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| terminal::run(&distrust, &[("Type yes", &format!("@{}", thinking.display()))]));
        support::foreground::wait_until("the question", || thinking.exists());
        sandbox.sync(&["--lock-timeout", "0s"]).exits(0);
        sandbox.run(&["hold", "--lock-timeout", "0s"]).exits(0);
        fs::remove_file(&thinking).unwrap();
        asked.join().unwrap().exits(11);
    });
}

#[test]
fn a_distrust_is_taken_back_and_the_leaf_enters_with_the_next_answer() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let current = sandbox.current_leaf();
    sandbox.run(&["distrust", "--yes", &current]).exits(0).says(&["trustsync undistrust"]);
    sandbox.sync(&[]).exits(5);
    assert!(sandbox.pins().is_empty());
    sandbox.run(&["undistrust", &current]).exits(2).says(&["--reason"]);
    sandbox.run(&["undistrust", &current, "--reason", " "]).exits(2).says(&["--reason"]);
    let ran = sandbox.run(&["undistrust", &current, "--reason", "the other one was meant"]).exits(0);
    ran.says(&["no longer distrusted", "published generation"]);
    assert!(manifest(&sandbox)["denied"].as_object().unwrap().is_empty());
    assert!(sandbox.state()["memory"]["denied"].as_object().unwrap().is_empty());
    // Not even where the state was not saved any more does the denial come back.
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins()[&current], "current");
    sandbox.run(&["status"]).never_says(&["distrusted"]);
    let said = sandbox.run(&["evidence"]).exits(0);
    said.says(&[&format!("undistrust {current}"), "the other one was meant", "root (uid 0)"]);
    // There is nothing more to take back.
    sandbox.run(&["undistrust", &current, "--reason", "again"]).exits(11).says(&["is not denied here"]);
}

#[test]
fn an_undistrust_whose_state_was_lost_between_two_writes_stands() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let current = sandbox.current_leaf();
    sandbox.run(&["distrust", "--yes", &current]).exits(0);
    let before = fs::read(sandbox.store().join("state.json")).unwrap();
    sandbox.run(&["undistrust", &current, "--reason", "a mistake"]).exits(0);
    // The writer died after its commit.
    fs::write(sandbox.store().join("state.json"), before).unwrap();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins()[&current], "current");
}

#[test]
fn no_operator_lifts_what_a_ca_has_revoked() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let current = sandbox.current_leaf();
    let mut state = sandbox.state();
    state["memory"]["denied"][&current] =
        serde_json::json!({"reason": "revoked", "since": "2026-01-01T00:00:00Z", "sha1": null});
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    sandbox.sync(&[]).exits(5);
    assert!(sandbox.pins().is_empty());
    let refused = |words: &[&str]| {
        sandbox.run(&["undistrust", &current, "--reason", "we need it"]).exits(11).says(words);
        assert!(manifest(&sandbox)["denied"][&current].is_object());
    };
    refused(&["was revoked by its CA", "expiry"]);
    // Nor by laying an own denial over it, and taking that back.
    sandbox.run(&["distrust", "--yes", &current]).exits(0);
    assert_eq!(manifest(&sandbox)["denied"][&current]["reason"], "distrusted");
    sandbox.run(&["undistrust", &current, "--reason", "we need it"]).says(&["its CA has revoked it"]);
    assert_eq!(manifest(&sandbox)["denied"][&current]["reason"], "revoked");
    refused(&["was revoked by its CA"]);
}

#[test]
fn who_and_why_stand_in_status_history_evidence_and_manifest() {
    let mut sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let current = sandbox.current_leaf();
    let leaf = sandbox.world().impostor(Impostor::Namesake).unwrap();
    fs::write(sandbox.path("leaf.pem"), leaf.pem()).unwrap();
    let (file, added) = (sandbox.path("leaf.pem").to_str().unwrap().to_owned(), sandbox::fingerprint(leaf.der()));
    sandbox.set("SUDO_USER", "alice\u{1b}[2J");
    sandbox.set("SUDO_UID", "1000");
    let alice = "alice\\u001b[2J (uid 1000), by sudo";

    sandbox.run(&["trust", "--yes", &file, "--until", "14d", "--reason", "API down, ticket 7"]).exits(0);
    let said = |value: &Value, why: &str| {
        assert_eq!((value["by"].as_str(), value["why"].as_str()), (Some(alice), Some(why)), "{value}");
    };
    let slots = manifest(&sandbox)["slots"].clone();
    said(&slots["us.us-east-1.digicert"]["entries"][&added]["word"]["said"], "API down, ticket 7");
    sandbox.run(&["status"]).says(&["by the operator's override until", alice, "API down, ticket 7"]);

    sandbox.run(&["hold", "--for", "2h", "--reason", "année de gel\u{202e}"]).exits(0);
    said(&status(&sandbox)["hold"]["said"], "année de gel\\u202e");
    sandbox.run(&["status"]).says(&["HELD until", "année de gel"]).never_says(&["\u{202e}", "\u{1b}"]);
    sandbox.run(&["release"]).exits(0);

    sandbox.run(&["rollback", "1", "--reason", "the vendor asked"]).exits(0);
    said(&manifest(&sandbox)["hold"]["said"], "the vendor asked");
    assert!(manifest(&sandbox)["cause"].as_str().unwrap().ends_with(&format!(", by {alice}: the vendor asked")));
    sandbox.run(&["release"]).exits(0);

    sandbox.run(&["distrust", "--yes", &added, "--reason", &"x".repeat(5_000)]).exits(0);
    let denial = &manifest(&sandbox)["denied"][&added]["said"];
    assert!(denial["why"].as_str().unwrap().len() <= 300, "{denial}");
    sandbox.run(&["status"]).says(&["distrusted, since", alice]);

    let history = sandbox.run(&["history"]).exits(0);
    history.says(&[&format!("trust {added}"), "API down, ticket 7", &format!("by {alice}: the vendor asked")]);
    let evidence = sandbox.run(&["evidence"]).exits(0);
    evidence.says(&["hold until", "année de gel", &format!("by {alice}: API down, ticket 7"), "release, by alice"]);
    // A cycle is nobody's word.
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]);
    assert_eq!(manifest(&sandbox)["cause"], "cycle");
    assert_ne!(current, sandbox.current_leaf());
    // Without sudo it is who runs it.
    sandbox.unset("SUDO_USER");
    sandbox.run(&["hold"]).exits(0);
    let who = status(&sandbox)["hold"]["said"]["by"].as_str().unwrap().to_owned();
    assert!(who.ends_with(&format!("(uid {})", rustix::process::getuid().as_raw())), "{who}");
}

#[test]
fn a_hold_for_no_time_and_a_release_of_nothing_say_so() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let before = standing(&sandbox);
    sandbox.run(&["hold", "--for", "0s"]).exits(11).says(&["over at once", "Nothing was changed"]);
    sandbox.run(&["release"]).exits(11).says(&["no hold", "Nothing was changed"]);
    assert_eq!(standing(&sandbox), before);
    sandbox.run(&["hold"]).exits(0);
    sandbox.run(&["release"]).exits(0);
    sandbox.run(&["release"]).exits(11);
}

#[test]
fn a_file_that_is_no_leaf_is_the_operators_own_and_a_stranger_is_offered_no_way_in() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    fs::write(sandbox.path("two.pem"), {
        let leaf = |who| sandbox.world().impostor(who).unwrap().pem();
        format!("{}{}", leaf(Impostor::Namesake), leaf(Impostor::Stranger))
    })
    .unwrap();
    fs::write(sandbox.path("torn.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").unwrap();
    let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    for file in ["/etc/passwd".to_owned(), path("two.pem"), path("torn.pem")] {
        let ran = sandbox.run(&["trust", &file, "--until", "14d"]).exits(11);
        ran.says(&["was refused", &format!("trustsync inspect {file}")]).never_says(&["support case"]);
    }
    fs::write(sandbox.path("stranger.pem"), sandbox.world().impostor(Impostor::Stranger).unwrap().pem()).unwrap();
    let ran = sandbox.run(&["trust", &path("stranger.pem"), "--until", "14d"]).exits(11);
    ran.says(&["mail.stranger.example"]).never_says(&["identity = [", "any-identity"]);
    // Nor where the vendor's own listing has one.
    sandbox.world().fail(
        trustsync::simulator::failure::Failure::UpcomingStranger,
        trustsync::simulator::failure::Endpoint::Listing,
        None,
    );
    sandbox.world().set_days_left(60).unwrap();
    sandbox.sync(&[]).exits(5).says(&["upcoming_refused"]).never_says(&["identity = ["]);
}

/// A root of openssl's, and the leaves that it has signed with these extensions, as files in the sandbox.
fn openssl_leaves(sandbox: &Sandbox, leaves: &[(&str, &str)]) {
    let run = |script: &str| {
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(["-ec", script]).current_dir(sandbox.path("")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc";
    run(&format!(
        "openssl req -x509 {key} -keyout ca.key -out ca.pem -days 3650 -subj '/O=Own/CN=Own Root' -addext \
                  keyUsage=critical,keyCertSign,cRLSign"
    ));
    for (name, extensions) in leaves {
        fs::write(
            sandbox.path("extensions"),
            format!(
                "basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nsubjectAltName=DNS:dataactions.prod.us-east-1.\
                 mypurecloud.com\nauthorityKeyIdentifier=keyid\n{extensions}\n"
            ),
        )
        .unwrap();
        run(&format!(
            "openssl req {key} -keyout {name}.key -out {name}.csr -subj '/O=Genesys/CN={name}'; openssl x509 -req \
                      -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 100 -extfile extensions -out {name}.pem"
        ));
    }
    let anchors = "digicert_anchors = [\"digicert-root.pem\", \"ca.pem\"]";
    sandbox.configure(&sandbox.configuration().replace("digicert_anchors = [\"digicert-root.pem\"]", anchors));
}

#[test]
fn only_an_extended_key_usage_that_is_absent_can_be_waived() {
    let sandbox = Sandbox::new();
    openssl_leaves(
        &sandbox,
        &[
            ("none", ""),
            ("server", "extendedKeyUsage=serverAuth"),
            ("any", "extendedKeyUsage=anyExtendedKeyUsage"),
            ("netscape", "nsCertType=server"),
            ("netscape-client", "nsCertType=client"),
        ],
    );
    sandbox.sync(&[]).exits(0);
    let trust = |name: &str, more: &[&str]| {
        let file = sandbox.path(&format!("{name}.pem")).to_str().unwrap().to_owned();
        sandbox.run(&[&["trust", "--yes", &file, "--until", "14d"], more].concat())
    };
    trust("none", &[]).exits(11).says(&["it has no extended key usage"]);
    for (name, why) in [
        ("server", "its extended key usages are serverAuth"),
        ("any", "anyExtendedKeyUsage"),
        ("netscape", "its Netscape certificate type has no SSL client"),
    ] {
        trust(name, &["--no-usage"]).exits(11).says(&[why]);
    }
    assert_eq!(sandbox.pins().len(), 1);
    trust("none", &["--no-usage"]).exits(0).says(&["extended key usage waived", "published generation 000002"]);
    trust("netscape-client", &["--no-usage"]).exits(0);
    assert_eq!(sandbox.pins().len(), 3);
    // It stays by polls, and the configuration is not said to refuse it.
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    sandbox.run(&["config", "check"]).exits(0).never_says(&["no extended key usage"]);
    // Nothing else is waived with it, and one that needs no waiver has none.
    let stranger = sandbox.world().impostor(Impostor::Stranger).unwrap();
    fs::write(sandbox.path("stranger.pem"), stranger.pem()).unwrap();
    trust("stranger", &["--no-usage"]).exits(11).says(&["identity"]);
    let namesake = sandbox.world().impostor(Impostor::Namesake).unwrap();
    fs::write(sandbox.path("namesake.pem"), namesake.pem()).unwrap();
    trust("namesake", &["--no-usage"]).exits(0).never_says(&["waived"]);
}
