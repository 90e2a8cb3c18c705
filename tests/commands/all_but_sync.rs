//! Every command but `sync`, as a user meets it: the real binary, its words, its exit codes, its JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use support::sandbox::{self, Ran, Sandbox, run, tree};
use trustsync::clock::{Clock, SimulatedClock, SystemClock};
use trustsync::cycle::{self, Clients, Options};
use trustsync::genesys::Region;
use trustsync::settings;
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{DAY, LeafRequest, Validity};
use trustsync::simulator::tls_server::TlsServer;

fn bare(arguments: &[&str]) -> Ran {
    run(Command::new(env!("CARGO_BIN_EXE_trustsync")).args(arguments))
}

/// Two generations: the second has another current certificate, and the first one's beside it.
fn with_two_generations() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.current(), Some(2));
    sandbox
}

// --- help and usage ---

#[test]
fn help_names_what_is_built_and_nothing_else() {
    let help = bare(&["--help"]).exits(0);
    let commands: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let built = [
        "sync",
        "run",
        "status",
        "reload",
        "snippet",
        "apply",
        "verify",
        "inspect",
        "history",
        "diff",
        "rollback",
        "hold",
        "release",
        "trust",
        "distrust",
        "undistrust",
        "confirm",
        "alarms",
        "evidence",
        "accept-issuer",
        "config",
        "regions",
        "simulate",
        "demo",
        "help",
    ];
    assert_eq!(commands, built);
    for command in built.iter().filter(|command| **command != "help") {
        let help = bare(&[command, "--help"]).exits(0);
        assert!(help.stderr.is_empty(), "{}", help.stderr);
        help.never_says(&["webhook", "notify"]);
    }
    bare(&["--version"]).exits(0).says(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn what_the_command_line_gets_wrong_is_exit_2() {
    for arguments in [
        &["frobnicate"][..],
        &[],
        &["sync", "--deadline", "soon"],
        &["sync", "--seed"],
        &["apply"],
        &["inspect"],
        &["run", "x"],
        &["confirm"],
        &["evidence", "first"],
        &["alarms", "end"],
        &["diff", "1", "--with", "x"],
        &["config"],
        &["--output", "yaml", "status"],
    ] {
        let ran = bare(arguments).exits(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{arguments:?}: {ran:?}");
    }
    bare(&["synk"]).exits(2).says(&["sync"]);
}

#[test]
fn a_reader_that_goes_away_is_not_a_failure() {
    let sandbox = with_two_generations();
    for arguments in [
        &["regions"][..],
        &["status"],
        &["history"],
        &["config", "show"],
        &["hold"],
        &["release"],
        &["alarms"],
        &["evidence"],
        &["sync"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sandbox.command(arguments).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
        assert!(!stderr.contains("could not be printed"), "{arguments:?}: {stderr}");
    }
}

// --- logs and JSON ---

#[test]
fn json_is_one_document_on_stdout_and_logs_go_to_stderr_alone() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    let leaf = sandbox.path("leaf.pem");
    fs::write(&leaf, sandbox.world().current().unwrap().pem()).unwrap();
    let leaf = leaf.to_str().unwrap();
    for (arguments, code) in [
        (&["sync", "--dry-run"][..], 0),
        (&["sync"], 0),
        (&["status"], 0),
        (&["reload", "web"], 0),
        (&["inspect", leaf], 0),
        (&["history"], 0),
        (&["diff"], 0),
        (&["diff", "--with", leaf], 0),
        (&["hold"], 0),
        (&["release"], 0),
        (&["alarms"], 0),
        (&["alarms", "ack", "--all"], 0),
        (&["evidence"], 0),
        (&["snippet", "web"], 0),
        (&["confirm", "web"], 0),
        (&["verify", leaf, "--any-identity"], 5),
        (&["verify", "--list-anchors"], 0),
        (&["regions"], 0),
        (&["config", "check"], 0),
        (&["config", "check", "--probe"], 0),
        (&["config", "show"], 0),
    ] {
        let ran = sandbox.run(&[arguments, &["--output", "json", "--log-format", "json", "-vv"]].concat()).exits(code);
        assert_is_of_the_one_shape(&ran.json(), arguments);
        for line in ran.json_log() {
            assert!(line.is_object(), "{line}");
            assert!(line["event"].as_str().is_some_and(|event| !event.is_empty()), "no event name: {line}");
            assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
        }
    }
    // Twice: the upcoming one that becomes current is known already.
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    let rolled = sandbox.run(&["rollback", "--force", "--output", "json"]).exits(0);
    assert_eq!(rolled.json()["stores"]["main"]["committed"], true);
}

/// `deploy/JSON.md`: what every document has, and how certificates and times are named in it.
fn assert_is_of_the_one_shape(document: &Value, arguments: &[&str]) {
    assert_eq!(document["schema"], 1, "{arguments:?}: {document:#}");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"), "{arguments:?}");
    let mut open = vec![(String::from("now"), document["now"].clone()), (String::new(), document.clone())];
    while let Some((key, value)) = open.pop() {
        assert!(!["fingerprint", "main", "store"].contains(&&*key) || value.is_object(), "{arguments:?}: {key}");
        let is_time = ["now", "since", "until", "at", "committed_at", "not_after", "not_before", "proven"];
        if is_time.contains(&&*key) && !value.is_null() {
            let text = value.as_str().unwrap_or_else(|| panic!("{arguments:?}: {key} is {value}"));
            assert!(
                text.parse::<trustsync::trust::values::timestamp::Timestamp>().is_ok(),
                "{arguments:?}: {key} {text}"
            );
        }
        match value {
            Value::Object(fields) => open.extend(fields),
            Value::Array(items) => open.extend(items.into_iter().map(|item| (String::new(), item))),
            _ => {}
        }
    }
    for of_store in document["stores"].as_object().into_iter().flatten().map(|(_, of_store)| of_store) {
        assert!(of_store.is_object(), "{arguments:?}");
        assert!(of_store["targets"].is_null() || of_store["targets"].is_object(), "{arguments:?}: {of_store:#}");
    }
}

#[test]
fn failures_are_json_documents_too_with_the_exit_and_the_text_of_the_log() {
    let sandbox = Sandbox::new();
    let leaf = sandbox.path("leaf.pem");
    fs::write(&leaf, sandbox.world().current().unwrap().pem()).unwrap();
    let leaf = leaf.to_str().unwrap();
    let failed = |arguments: &[&str], code: i32, piece: &str| {
        let ran = sandbox.run(&[arguments, &["--output", "json"]].concat()).exits(code);
        let document = ran.json();
        assert_is_of_the_one_shape(&document, arguments);
        assert_eq!(document["error"]["exit"], code, "{arguments:?}");
        let text = document["error"]["text"].as_str().unwrap();
        assert!(text.contains(piece), "{arguments:?}: {text}");
    };
    failed(&["reload", "nobody"], 2, "there is no target");
    failed(&["synk"], 2, "synk");
    failed(&["diff"], 11, "no generation yet");
    failed(&["inspect", "/does/not/exist"], 11, "cannot be read");
    // The listing stands aside: nothing leads from it to an anchor.
    failed(&["trust", leaf, "--until", "1d", "--yes"], 11, "us.us-east-1.digicert");
    sandbox.configure(&sandbox.configuration().replace("store\"", "file/store\""));
    fs::write(sandbox.path("file"), "").unwrap();
    let ran = sandbox.sync(&["--output", "json"]).exits(6);
    assert_eq!(ran.json()["stores"]["main"]["error"]["exit"], 6, "{ran:?}");
    fs::write(sandbox.path("config.toml"), "nonsense").unwrap();
    failed(&["history"], 3, "line 1");
    failed(&["status"], 3, "line 1");
    failed(&["alarms"], 3, "line 1");
    let check = sandbox.run(&["config", "check", "--output", "json"]).exits(3);
    assert_eq!(check.json()["ok"], false);
}

#[test]
fn a_run_is_one_json_line_an_event_with_stable_names() {
    let sandbox = Sandbox::new();
    let json = ["--log-format", "json"];
    assert_eq!(sandbox.sync(&json).exits(0).events(), ["published"]);
    assert_eq!(sandbox.sync(&json).exits(0).events(), ["unchanged"]);
    assert_eq!(sandbox.sync(&[&json[..], &["--dry-run"]].concat()).exits(0).events(), ["rehearsed"]);
    sandbox.world().fail(Failure::Forbidden, Endpoint::Both, None);
    assert_eq!(sandbox.sync(&json).exits(4).events(), ["source_refused_us", "unchanged"]);
    assert_eq!(sandbox.run(&["reload", "x", "--log-format", "json"]).exits(2).events(), ["failed"]);
}

#[test]
fn without_a_journal_the_log_is_text_and_says_so() {
    let sandbox = Sandbox::new();
    let ran = sandbox.sync(&["--log-format", "journald"]).exits(0);
    if PathBuf::from("/run/systemd/journal/socket").exists() {
        assert_eq!(ran.stderr, "", "the journal has it");
    } else {
        ran.says(&["journald cannot be reached: logging as text", "event=\"published\""]);
    }
}

// --- status ---

#[test]
fn status_is_a_verdict_in_a_monitoring_plugins_codes() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    // Nothing is there yet, and nothing is known of the source.
    let before = tree(sandbox.folder.path());
    sandbox.run(&["status"]).exits(1).says(&["WARNING", "no generation yet: run trustsync sync"]);
    assert_eq!(tree(sandbox.folder.path()), before, "looking creates nothing");

    sandbox.sync(&[]).exits(0);
    let status = sandbox.run(&["status"]).exits(0);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    status.says(&[
        "main: OK",
        "generation 000001",
        &current,
        &upcoming,
        "current",
        "upcoming",
        "^ today",
        "target web:",
    ]);

    sandbox.world().fail(Failure::Forbidden, Endpoint::Both, None);
    sandbox.sync(&[]).exits(4);
    sandbox.run(&["status"]).exits(1).says(&["WARNING", "source_refused_us:us", "1 failed since"]);
    sandbox.world().clear();
    sandbox.world().fail(Failure::CurrentOtherCa, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5);
    sandbox.run(&["status"]).exits(2).says(&["CRITICAL", "current_refused:us.us-east-1.digicert"]);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).exits(1).says(&[
        "WARNING",
        "It is over",
        "alarms ack current_refused:us.us-east-1.digicert",
    ]);

    // Who cannot judge says so: unknown, whatever the reason.
    sandbox.run(&["status", "--store", "nobody"]).exits(3);
    let mut state = sandbox.state();
    state["schema"] = json!(99);
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    sandbox.run(&["status"]).exits(3).says(&["newer trustsync"]);
    fs::write(sandbox.path("config.toml"), "x = 1").unwrap();
    sandbox.run(&["status"]).exits(3);
}

#[test]
fn status_as_json_has_what_a_program_needs() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    let status = sandbox.run(&["status", "--output", "json"]).exits(0).json()["stores"]["main"].clone();
    assert_eq!((&status["state"], &status["generation"]), (&json!("ok"), &json!(1)));
    let trusted = status["trusted"].as_array().unwrap();
    assert_eq!(trusted.len(), 2);
    assert_eq!((&trusted[0]["role"], &trusted[0]["sha256"]), (&json!("current"), &json!(sandbox.current_leaf())));
    assert!([59, 60].contains(&trusted[0]["days_left"].as_i64().unwrap()), "a second may have gone by");
    assert_eq!(status["targets"]["web"]["serves"], 1);
    assert!(status["sources"]["us"]["last_success"].is_string());
    let identity = &status["slots"]["us.us-east-1.digicert"]["identity"];
    assert_eq!(identity, &json!(["dataactions.prod.us-east-1.mypurecloud.com"]));
}

#[test]
fn a_poll_that_is_long_ago_is_an_alarm_whether_a_loop_runs_or_not() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    for (ago, code) in [(2, 0), (5, 1), (24 * 8, 2)] {
        let mut state = sandbox.state();
        let then = SystemClock.now().minus(Duration::from_secs(ago * 3_600)).to_string();
        state["sources"]["us"]["last_success"] = json!(then);
        fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
        let status = sandbox.run(&["status"]).exits(code);
        if code > 0 {
            status.says(&["source_stale:us", &then, "run every 1h"]);
        }
    }
}

// --- identity ---

#[test]
fn a_region_whose_name_is_not_published_works_by_learning_and_shows_the_line_that_pins_it() {
    let name = "dataactions.prod-edee1.eusc-de-east-1.example";
    let sandbox = Sandbox::with(|options| options.certificate_name = name.to_owned());
    let store = "[store.main]\npath = \"store\"\n[crl]\npolicy = \"off\"\n";
    sandbox.configure(&format!("{}{store}", sandbox.source("eu", "eusc-de-east-1")));
    let line = format!("identity = [\"{name}\"]");
    sandbox.sync(&[]).exits(0).says(&["identity_learned", "publishes no name", &line]);
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).exits(0).says(&["identity learned from the vendor", &line]);
    let status = sandbox.run(&["status", "--output", "json"]).json();
    assert_eq!(status["stores"]["main"]["slots"]["eu.eusc-de-east-1.digicert"]["pin_by"], json!(line));
    // A successor under another name is refused from now on.
    sandbox.world().fail(Failure::CurrentWrongName, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5).says(&["current_refused", "identity"]);
    assert_eq!(sandbox.pins().len(), 1);
    sandbox.world().clear();

    sandbox.configure(&format!("{}{line}\n{store}", sandbox.source("eu", "eusc-de-east-1")));
    sandbox.sync(&[]).exits(0).never_says(&["identity_learned"]);
    // The refusal is over, and waits to be seen.
    sandbox.run(&["status"]).exits(1).says(&["alarms ack current_refused:"]).never_says(&["identity learned"]);
    sandbox.configure(&format!("{}identity = [\"other.example\"]\n{store}", sandbox.source("eu", "eusc-de-east-1")));
    sandbox.sync(&[]).exits(5).says(&["other.example"]);
    assert_eq!(sandbox.pins().len(), 1, "what is trusted stays");
    sandbox.configure(&format!("{}identity = \"any\"\n{store}", sandbox.source("eu", "eusc-de-east-1")));
    sandbox.sync(&[]).exits(0);
}

// --- inspect ---

#[test]
fn inspect_reads_every_form_and_names_what_is_odd() {
    let sandbox = Sandbox::new();
    let vendor = sandbox.world().current().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = sandbox.path(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let leaf = sandbox.current_leaf();
    for form in PemForm::ALL {
        let path = file("bundle.pem", form.text(&vendor.with_issuers()).as_bytes());
        bare(&["inspect", &path]).exits(0).says(&[&leaf, "3 certificate(s)", "a CA", "dataactions.prod.us-east-1"]);
    }
    let der = file("leaf.der", vendor.der());
    bare(&["inspect", &der]).exits(0).says(&[&leaf, "1 certificate(s)", "days left", "clientAuth"]);
    let json = bare(&["inspect", &der, "--output", "json"]).exits(0).json();
    assert_eq!(json["files"][0]["certificates"][0]["sha256"], json!(leaf));

    let twice = file("twice.pem", format!("{}{}", vendor.pem(), vendor.pem()).as_bytes());
    bare(&["inspect", &twice]).exits(0).says(&["block 2 is a duplicate"]);
    let cut = file("cut.pem", &vendor.pem().as_bytes()[..200]);
    bare(&["inspect", &cut]).exits(5).says(&["0 certificate(s)", "odd:"]);
    for (name, bytes) in [("empty", &b""[..]), ("garbage", &[0xff; 2_000]), ("text", b"hello\x1b[2Jworld")] {
        bare(&["inspect", &file(name, bytes)])
            .exits(5)
            .says(&["neither PEM nor a DER certificate"])
            .never_says(&["\u{1b}"]);
    }
    bare(&["inspect", "/does/not/exist"]).exits(11).says(&["/does/not/exist", "cannot be read"]);
    let huge = sandbox.path("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    bare(&["inspect", huge.to_str().unwrap()]).exits(11).says(&["larger than"]);
    let folder = sandbox.folder.path().to_str().unwrap();
    bare(&["inspect", folder]).exits(11);
}

#[test]
fn inspect_never_shows_a_private_key() {
    let sandbox = Sandbox::new();
    let vendor = sandbox.world().current().unwrap();
    let path = sandbox.path("with-key.pem");
    fs::write(&path, format!("{}{}", vendor.pem(), vendor.key_pem())).unwrap();
    let key: Vec<String> = vendor.key_pem().lines().filter(|line| !line.starts_with("--")).map(str::to_owned).collect();
    for output in ["text", "json"] {
        let ran = bare(&["inspect", path.to_str().unwrap(), "--output", output, "-vv"]).exits(0);
        let ran = ran.says(&["block 2 is a PRIVATE KEY", "not shown"]);
        ran.never_says(&key.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

// --- history and diff ---

#[test]
fn history_lists_the_generations_and_who_reads_them() {
    let sandbox = Sandbox::new();
    sandbox.run(&["history"]).exits(0).says(&["No generation yet"]);
    let sandbox = with_two_generations();
    let history = sandbox.run(&["history"]).exits(0);
    let lines: Vec<&str> = history.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("000001") && lines[0].contains("1 trusted") && !lines[0].contains("<-"), "{lines:?}");
    assert!(lines[1].ends_with("<- current, target web") && lines[1].contains("2 trusted"), "{lines:?}");
    fs::write(sandbox.store().join("generations/000001/manifest.json"), "{").unwrap();
    sandbox.run(&["history"]).exits(0).says(&["000002", "generation_damaged", "000001"]);
}

#[test]
fn diff_shows_what_changed_since_a_generation_or_against_a_file() {
    let sandbox = Sandbox::new();
    sandbox.run(&["diff"]).exits(11).says(&["run trustsync sync"]);
    let sandbox = with_two_generations();
    let new = sandbox.current_leaf();
    sandbox.run(&["diff"]).exits(0).says(&[&format!("+ current              sha256:{new}")]);
    sandbox.run(&["diff", "1"]).exits(0).says(&[&new]);
    sandbox.run(&["diff", "2"]).exits(0).says(&["no difference"]);
    sandbox.run(&["diff", "9"]).exits(11).says(&["there is no generation 000009"]);

    let bundle = sandbox.store().join("current/leaves.pem");
    let difference = sandbox.run(&["diff", "--with", bundle.to_str().unwrap()]).exits(0);
    difference.says(&["store only"]).never_says(&[&new]);
    let stranger = sandbox.path("stranger.pem");
    let other = sandbox.world().impostor(trustsync::simulator::world::Impostor::Stranger).unwrap();
    fs::write(&stranger, other.pem()).unwrap();
    let difference = sandbox.run(&["diff", "--with", stranger.to_str().unwrap()]).exits(0);
    difference.says(&["store only", &new, &format!("file only   sha256:{}", sandbox::fingerprint(other.der()))]);
    sandbox.run(&["diff", "--with", "/does/not/exist"]).exits(11);
}

// --- rollback, hold, release ---

#[test]
fn a_rollback_holds_until_it_is_released() {
    let sandbox = with_two_generations();
    let new = sandbox.current_leaf();
    let both = sandbox.pins();
    let told = sandbox.reload_requests("web");
    let ran = sandbox.run(&["rollback", "--force"]).exits(0);
    ran.says(&["set of generation 000001 as generation 000003", "held until", &new, "no longer trusted"]);
    assert_eq!(sandbox.current(), Some(3));
    assert_eq!(sandbox.pins().len(), 1);
    assert!(!sandbox.pins().contains_key(&new));
    assert_eq!(sandbox.reload_requests("web"), told + 1);

    let held = sandbox.sync(&[]).exits(7);
    held.says(&["addition_held_back", "trustsync release", "Calls with the current one fail now"]);
    assert_eq!(sandbox.current(), Some(3));
    sandbox.run(&["status"]).exits(2).says(&["HELD until", "rollback to generation 000001", "addition_held_back"]);
    sandbox.sync(&["--dry-run"]).exits(7);

    sandbox.run(&["release"]).exits(0).says(&["trustsync sync"]);
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.pins().keys().collect::<Vec<_>>(), both.keys().collect::<Vec<_>>());
    sandbox.run(&["status"]).exits(0).never_says(&["HELD"]);
    assert_eq!(sandbox.generations(), [1, 2, 3, 4]);
}

#[test]
fn a_rollback_says_whom_servers_would_refuse_in_what_it_publishes() {
    let sandbox = Sandbox::new();
    let (world, now) = (sandbox.world(), SystemClock.now());
    // The same name as the other intermediate, another key, and nothing in the leaf says which of them signed it.
    let namesake = "Simulated DigiCert Assured ID Client CA G2";
    let rekeyed = world.pki().digicert_root.intermediate(namesake, now, None).unwrap().without_key_identifier();
    let request = LeafRequest::client(&world.options().certificate_name, Validity::of(now, 200 * DAY));
    let refused = rekeyed.issue("Genesys", &request).unwrap();
    world.list_besides(vec![("Upcoming", PemForm::Vendor.text(&refused.presented()))]);
    sandbox.sync(&[]).exits(5).says(&["servers_would_refuse"]);
    world.rotate().unwrap();
    sandbox.sync(&[]).exits(5);
    sandbox.run(&["rollback", "1", "--force"]).exits(0).says(&["servers_would_refuse"]);
    sandbox.run(&["status"]).exits(2).says(&["servers_would_refuse"]);
}

#[test]
fn a_rollback_that_cannot_be_is_refused_and_changes_nothing() {
    let sandbox = Sandbox::new();
    sandbox.run(&["rollback"]).exits(11).says(&["no generation yet"]);
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["rollback"]).exits(11).says(&["no generation with another set is kept"]);
    let old = sandbox.current_leaf();
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["rollback", "7"]).exits(11).says(&["no generation 000007", "000001, 000002"]);

    // Denied in the meantime, as a CRL or `distrust` will do it.
    let mut state = sandbox.state();
    let denial = json!({"reason": "distrusted", "since": SystemClock.now().to_string(), "sha1": null});
    state["memory"]["denied"] = json!({old.clone(): denial});
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    sandbox.run(&["rollback", "1"]).exits(11).says(&[&old, "is denied", "Nothing was changed"]);
    assert_eq!(sandbox.current(), Some(2));
    sandbox.sync(&[]).says(&["denied_certificate_left"]);
    assert_eq!(sandbox.pins().into_keys().collect::<Vec<_>>(), [sandbox.current_leaf()]);
    sandbox.run(&["rollback", "2"]).exits(11).says(&["is denied"]);
    assert!(sandbox.state()["memory"]["hold"].is_null());
}

#[test]
fn a_rollback_to_an_expired_certificate_is_refused() {
    let clock = SimulatedClock::at(SystemClock.now().minus(DAY * 100));
    let vendors: Arc<dyn Clock> = Arc::new(clock.clone());
    let sandbox = Sandbox::with(|options| {
        options.clock = vendors;
        options.days_left = Some(50);
        options.rotate_at_days_left = None;
    });
    // A hundred days ago, as the cycle saw it then.
    let loaded = settings::read(&sandbox.path("config.toml"), &BTreeMap::new()).unwrap();
    let options =
        Options { deadline: Duration::from_secs(20), lock_timeout: Duration::from_secs(1), command: "a test" };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let mut clients = Clients::of(&loaded.settings).unwrap();
        let store = &loaded.settings.stores["main"];
        cycle::run(&loaded.settings, store, &mut clients, &clock, &options).await.unwrap();
    });
    let old = sandbox.pins();
    clock.set(SystemClock.now());
    sandbox.world().set_days_left(200).unwrap();
    sandbox.sync(&[]).exits(0);
    assert!(!old.contains_key(&sandbox.current_leaf()));
    sandbox.run(&["rollback", "1"]).exits(11).says(&["has expired", "Nothing was changed"]);
    assert_eq!(sandbox.current(), Some(2));
}

#[test]
fn a_hold_lets_nothing_in_and_ends_by_itself_or_by_release() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["hold", "--for", "1h"]).exits(0).says(&["held until", "trustsync release"]);
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(7).says(&["addition_held_back"]);
    assert_eq!(sandbox.pins().len(), 1);
    // The hold's end, as if an hour had gone by.
    let mut state = sandbox.state();
    state["memory"]["hold"]["until"] = json!(SystemClock.now().minus(Duration::from_secs(1)).to_string());
    fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
    sandbox.sync(&[]).exits(0).says(&["published generation 000002"]);
    assert_eq!(sandbox.pins().len(), 2);
    sandbox.run(&["hold", "--for", "soon"]).exits(2);
}

// --- reload ---

#[test]
fn reload_takes_the_targets_turn_again() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    sandbox.run(&["reload", "web"]).exits(11).says(&["no generation yet"]);
    sandbox.sync(&[]).exits(0);
    let ran = sandbox.run(&["reload", "web"]).exits(0);
    ran.says(&["target web: reloaded, not proven"]);
    assert_eq!(sandbox.reload_requests("web"), 2);
    sandbox.run(&["reload", "wbe"]).exits(2).says(&["there is no target \"wbe\"", "web"]);
}

#[test]
fn a_target_that_cannot_be_told_is_owed_and_said_in_words() {
    let sandbox = Sandbox::new();
    sandbox.append("\n[target.web]\nkind = \"generic\"\nreload = { command = [\"/bin/false\"] }\n");
    let ran = sandbox.sync(&[]).exits(7);
    ran.says(&["target_not_told", "target web: OWED: it could not be reloaded", "tried again in every cycle"])
        .never_says(&["NotTold("]);
    assert_eq!(sandbox.current(), Some(1), "it is published all the same");
    sandbox.sync(&[]).exits(7);
    sandbox.run(&["reload", "web"]).exits(7);
    sandbox.run(&["status"]).exits(2).says(&["OWED", "target_not_told:web"]);
    sandbox.configure(&sandbox.configuration().replace("/bin/false", "/bin/true"));
    sandbox.run(&["reload", "web"]).exits(0);
    sandbox.run(&["status"]).exits(0);
}

#[test]
fn a_check_that_says_no_is_exit_9_and_keeps_no_other_target_from_its_turn() {
    let sandbox = Sandbox::new();
    sandbox.append(
        "\n[target.bad]\nkind = \"generic\"\ncheck = [\"/bin/sh\", \"-c\", \"echo line 7 is wrong; exit 1\"]\nreload \
         = { command = [\"/bin/true\"] }\n",
    );
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(9).says(&["target bad: OWED", "line 7 is wrong", "target web: reloaded"]);
    assert_eq!(sandbox.reload_requests("web"), 1);
}

#[test]
fn a_server_that_is_not_wired_is_told_once_a_line_in_the_log_with_the_snippet_to_copy() {
    // A server that asks for client certificates by another store's files.
    let other = Sandbox::new();
    other.append("\n[target.web]\nkind = \"generic\"\n");
    other.sync(&[]).exits(0);
    let link = other.store().join("target/web");
    let (ready, started) = std::sync::mpsc::channel();
    let (_stop, stopped) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let server = TlsServer::start(link, Arc::new(SystemClock)).await.unwrap();
            ready.send(server.address()).unwrap();
            let _ = stopped.await;
        });
    });
    let address = started.recv().unwrap();

    let sandbox = Sandbox::new();
    sandbox.append(&format!(
        "\n[target.web]\nkind = \"nginx\"\ncheck = [\"/bin/true\"]\nreload = {{ command = [\"/bin/true\"] }}\nproof = \
         {{ connect = [\"{address}\"], settle = \"50ms\", timeout = \"2s\" }}\n"
    ));
    let ran = sandbox.sync(&[]).exits(7);
    let alarms: Vec<&str> = ran.log().into_iter().filter(|line| line.contains("target_not_wired")).collect();
    assert_eq!(alarms.len(), 1, "{}", ran.stderr);
    assert!(ran.log().iter().all(|line| line.starts_with("20")), "one line an event: {}", ran.stderr);
    let include = format!("\"{}/", sandbox.store().join("target/web").display());
    assert!(ran.stdout.contains(&include) && ran.stdout.contains("ssl_client_certificate"), "{}", ran.stdout);
    ran.says(&["target web: OWED: not wired"]);
    sandbox.run(&["status"]).exits(2).says(&["target_not_wired:web"]);
    sandbox.run(&["reload", "web"]).exits(7).says(&[&include]);
}

// --- regions ---

#[test]
fn all_regions_are_known_and_each_can_be_configured() {
    let regions = bare(&["regions"]).exits(0);
    assert_eq!(regions.stdout.lines().count(), 18);
    let json = bare(&["regions", "--output", "json"]).exits(0).json();
    assert_eq!(json["regions"].as_object().unwrap().len(), 18);
    let sandbox = Sandbox::new();
    for region in Region::ALL {
        assert!(regions.stdout.contains(region.aws), "{}", region.aws);
        sandbox.configure(&format!(
            "[source.a]\nregion = \"{}\"\nclient_id = \"id\"\nclient_secret_file = \"client-secret\"\nca_file = \
             \"api-ca.pem\"\n",
            region.aws
        ));
        sandbox.run(&["config", "check"]).exits(0);
        let shown = sandbox.run(&["config", "show", "--output", "json"]).exits(0).json();
        let value = |key: &str| shown["settings"][key]["value"].clone();
        assert!(value("source.a.api").as_str().unwrap().contains(&region.api()), "{}", region.aws);
        assert!(value("source.a.login").as_str().unwrap().contains(&region.login()), "{}", region.aws);
    }
}

/// Runs `sync` on a terminal, and prints what the terminal showed.
const ON_A_TERMINAL: &str = "import pty, sys; pty.spawn(sys.argv[1:])";

#[test]
fn the_log_on_a_terminal_is_coloured_unless_somebody_wants_no_colour() {
    let sandbox = Sandbox::new();
    let shown = |variables: &[(&str, &str)]| {
        let sync = sandbox.command(&["sync"]);
        let mut command = std::process::Command::new("python3");
        command.args(["-c", ON_A_TERMINAL]).arg(sync.get_program()).args(sync.get_args()).env_clear();
        command.env("PATH", "/usr/bin:/bin").envs(variables.iter().copied());
        let ran = support::sandbox::run(&mut command);
        assert!(ran.stdout.contains("published generation") || ran.stdout.contains("unchanged"), "{ran:?}");
        ran.stdout.contains('\u{1b}')
    };
    assert!(shown(&[("TERM", "xterm")]));
    assert!(shown(&[("TERM", "xterm"), ("NO_COLOR", "")]));
    assert!(!shown(&[("TERM", "xterm"), ("NO_COLOR", "1")]));
    assert!(!shown(&[("TERM", "dumb")]));
}

// --- what somebody else wrote is shown, and does nothing ---

#[test]
fn a_check_cannot_forge_a_field_or_a_line_of_the_log() {
    let sandbox = Sandbox::new();
    let words = "no event=\"forged\" here\n2026-01-01T00:00:00.000000Z  INFO all is well event=\"forged\"\n";
    fs::write(sandbox.path("words"), words).unwrap();
    let check = format!("cat {}; exit 1", sandbox.path("words").display());
    sandbox.append(&format!(
        "\n[target.web]\nkind = \"generic\"\ncheck = [\"/bin/sh\", \"-c\", \"{check}\"]\nreload = {{ command = \
         [\"/bin/true\"] }}\n"
    ));
    let ran = sandbox.sync(&[]);
    assert!(ran.stderr.contains("forged"), "the check's words are shown: {}", ran.stderr);
    for line in ran.log() {
        assert_eq!(line.matches(" event=\"").count(), 1, "{line}");
        assert!(!line.contains("event=\"forged\""), "{line}");
        assert!(!line.contains("all is well") || line.contains(" event=\"target_"), "a line of its own: {line}");
    }
}

#[test]
fn history_and_evidence_show_what_another_hand_wrote_without_obeying_it() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let path = sandbox.store().join("generations/000001/manifest.json");
    let manifest = fs::read_to_string(&path).unwrap();
    let mut changed: Value = serde_json::from_str(&manifest).unwrap();
    changed["cause"] =
        format!("\u{1b}[2J\u{202e}\u{9b}\n000009  2026-01-01T00:00:00Z  DENY ALL {}", "x".repeat(100_000)).into();
    fs::write(&path, changed.to_string()).unwrap();
    let ran = sandbox.run(&["history"]).exits(0).says(&["000001"]);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']) && ran.stdout.len() < 1_000, "{:?}", ran.stdout);
    assert_eq!(ran.stdout.lines().count(), 1, "{:?}", ran.stdout);
    let ran = sandbox.run(&["history", "--output", "json"]).exits(0);
    assert!(!ran.stdout.contains(['\u{1b}', '\u{202e}', '\u{9b}']), "{:?}", ran.stdout);
    assert_eq!(ran.json()["stores"]["main"]["generations"][0]["cause"], changed["cause"]);
    fs::write(&path, manifest).unwrap();

    // A file of a terabyte, which takes no room on the disk.
    let evidence = sandbox.store().join("evidence.jsonl");
    sandbox.run(&["evidence"]).exits(0).says(&["generation 000001"]);
    fs::OpenOptions::new().write(true).open(&evidence).unwrap().set_len(1 << 40).unwrap();
    let ran = sandbox.run(&["evidence"]).exits(0).says(&["evidence_damaged", "bytes more than the"]);
    assert!(ran.took < Duration::from_secs(20), "{:?}", ran.took);
}
