//! The operator's commands while `trustsync run` works beside them: the lock is held for a cycle, not for a life.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::sandbox::{Sandbox, fingerprint};
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::simulator::present::present;
use trustsync::simulator::tls_server::TlsServer;
use trustsync::trust::event::Event;
use trustsync::trust::event::finding::Finding;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::records::state::{Alarm, State};
use trustsync::trust::values::slot::{Authority, SlotId};
use trustsync::trust::values::timestamp::Timestamp;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition, and says what was never seen.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `trustsync run`, its log in a file, its status line as the service manager gets it. It beats often, as with a watchdog.
struct Daemon {
    child: Child,
    log: std::path::PathBuf,
    manager: UnixDatagram,
    status: String,
}

impl Daemon {
    fn start(sandbox: &Sandbox) -> Self {
        let log = sandbox.path("daemon.log");
        let socket = sandbox.path("notify");
        let _ = fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_nonblocking(true).unwrap();
        let child = sandbox
            .command(&["run"])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "1500000")
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, manager, status: String::new() }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// The latest status line.
    fn status(&mut self) -> &str {
        let mut bytes = [0; 4_096];
        while let Ok(read) = self.manager.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
            if let Some(line) = text.lines().find_map(|line| line.strip_prefix("STATUS=")) {
                line.clone_into(&mut self.status);
            }
        }
        &self.status
    }

    #[track_caller]
    fn says(&mut self, words: &str) {
        let begun = Instant::now();
        while !self.status().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{words:?} is not in {:?}\n{}", self.status, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    fn says_no_more(&mut self, words: &str) {
        let begun = Instant::now();
        while self.status().contains(words) {
            assert!(begun.elapsed() < PATIENCE, "{words:?} is still in {:?}\n{}", self.status, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It lives; nothing that a command did beside it has ended it.
    #[track_caller]
    fn lives(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asked as seldom as may be, so that whatever happens soon happens for another reason.
const SELDOM: &str = "[schedule]\ninterval = \"24h\"\nwindow_interval = \"24h\"\nproof_interval = \"1h\"\n";

/// A store with generation 1, whose targets are these.
fn published(targets: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.append(SELDOM);
    sandbox.append(targets);
    sandbox.sync(&[]);
    assert_eq!(sandbox.current(), Some(1));
    sandbox
}

fn count_requests(sandbox: &Sandbox) -> u64 {
    sandbox.world().request_counts().listing
}

/// What is done to the state between two cycles, by a writer that is none of ours.
fn change_state(sandbox: &Sandbox, change: impl FnOnce(&mut State)) {
    let path = sandbox.store().join("state.json");
    let mut state = State::read(&fs::read(&path).unwrap()).unwrap();
    change(&mut state);
    fs::write(path, state.to_bytes()).unwrap();
}

fn alarm(event: Event, severity: Severity, unseen: bool) -> Alarm {
    let since = Timestamp::from_unix(1_700_000_000);
    let slot = SlotId::new("us", "us-east-1", Authority::DigiCert);
    Alarm { finding: Finding { severity, ..Finding::new(event, &slot, "What happened.") }, since, unseen }
}

#[test]
fn alarms_are_listed_and_those_that_are_over_end_when_seen() {
    let sandbox = published("");
    let listed = sandbox.run(&["alarms"]).exits(0).says(&["No alarms."]);
    assert_eq!(listed.stderr, "");
    change_state(&sandbox, |state| {
        for alarm in
            [alarm(Event::UpcomingRefused, Severity::Warning, true), alarm(Event::RootEnds, Severity::Warning, false)]
        {
            state.alarms.insert(alarm.finding.alarm_id(), alarm);
        }
    });
    let mut daemon = Daemon::start(&sandbox);
    // Between polls the planner looks at every root, and finds none that ends.
    until("the daemon's first look", || (sandbox.state()["alarms"].as_object().unwrap().len() == 1).then_some(()));
    daemon.says("1 warning");

    let id = "upcoming_refused:us.us-east-1.digicert";
    sandbox.run(&["alarms"]).exits(1).says(&[
        &format!("WARNING [{id}] since 2023-11-14T22:13:20Z, over, not yet seen"),
        "What happened.",
        &format!("trustsync alarms ack {id}"),
    ]);
    let listed = sandbox.run(&["alarms", "--output", "json"]).exits(1).json()["stores"]["main"]["alarms"].clone();
    assert_eq!(listed[0]["id"], id);
    assert_eq!((&listed[0]["state"], &listed[0]["severity"]), (&"over".into(), &"warning".into()));
    sandbox.run(&["status"]).exits(1).says(&[&format!("end the alarm with: trustsync alarms ack {id}")]);

    // A wrong one names the right one, and ends nothing.
    sandbox.run(&["alarms", "ack", "upcoming_refuse:us.us-east-1.digicert"]).exits(11).says(&[
        "There is no alarm",
        &format!("Did you mean {id:?}?"),
        "No alarm was ended.",
    ]);
    sandbox.run(&["alarms", "ack"]).exits(2);
    sandbox.run(&["alarms", "ack", "--all", id]).exits(2);
    sandbox.run(&["alarms"]).exits(1);

    let ended = sandbox.run(&["alarms", "ack", id, "--output", "json"]).exits(0).json();
    assert_eq!(ended["stores"]["main"]["ended"][0], id);
    sandbox.run(&["alarms"]).exits(0).says(&["No alarms."]);
    daemon.says_no_more("warning");
    assert!(evidence_lines(&sandbox).iter().any(|line| line["word"] == format!("alarms ack {id}")));
    sandbox.run(&["alarms", "ack", "--all"]).exits(0).says(&["No alarm waits to be seen."]);
    daemon.lives();
}

#[test]
fn an_alarm_whose_cause_is_there_cannot_be_acknowledged() {
    let sandbox = published("");
    sandbox.world().fail(Failure::UpcomingWrongName, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5);
    let id = "upcoming_refused:us.us-east-1.digicert";
    let refused = sandbox.run(&["alarms", "ack", id]).exits(11);
    refused.says(&[&format!("{id} cannot be acknowledged, its cause is still there; it ends "), "no longer finds it"]);
    sandbox.run(&["alarms", "ack", "--all"]).exits(0).says(&["These stand", id]);
    let explained = ["stands", "means: What the vendor will present fails the policy", "do: Read the reason"];
    sandbox.run(&["alarms"]).exits(2).says(&explained);

    // Over, then seen; and when its cause is there again, it is there again.
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["alarms"]).exits(1).says(&["over, not yet seen"]);
    sandbox.run(&["alarms", "ack", id]).exits(0).says(&[&format!("main: ended: {id}")]);
    sandbox.run(&["alarms"]).exits(0);
    sandbox.world().fail(Failure::UpcomingWrongName, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5);
    sandbox.run(&["alarms"]).exits(2).says(&[id, "stands"]);
    sandbox.run(&["alarms", "--store", "nowhere"]).exits(3).says(&["there is no store"]);
}

fn evidence_lines(sandbox: &Sandbox) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.store().join("evidence.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_confirmation_settles_a_reload_that_nothing_can_make_or_show() {
    // Told by something that always fails, as a bus that cannot be reached; proven nowhere.
    let sandbox = published("[target.edge]\nkind = \"generic\"\nreload = { command = [\"/bin/false\"] }\n");
    assert_eq!(sandbox.state()["targets"]["edge"]["owed"].as_object().unwrap().len(), 1);
    let mut daemon = Daemon::start(&sandbox);
    daemon.says("1 owed");

    sandbox.run(&["confirm", "egde"]).exits(2).says(&["there is no target \"egde\"; configured are: edge"]);
    let said = sandbox.run(&["confirm", "edge"]).exits(0);
    said.says(&["your confirmation of generation 000001 holds", "confirmed by the operator (no proof is configured)"]);
    daemon.says_no_more("owed");
    sandbox.run(&["status"]).exits(0).says(&["target edge: serves 000001; confirmed by the operator"]);
    sandbox.run(&["confirm", "edge", "--output", "json"]).exits(0).json()["stores"]["main"]["targets"]["edge"]["settled"]["confirmed"].as_str().unwrap();
    daemon.lives();
    drop(daemon);

    // It stands in the cycles after it, and for no other generation.
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).exits(0).says(&["confirmed by the operator"]);
    let lines = evidence_lines(&sandbox);
    assert!(lines.iter().any(|line| line["word"] == "confirm edge"), "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line["event"] == "confirmed" && line["target"] == "edge").count(), 1);
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(7);
    assert_eq!(sandbox.current(), Some(2));
    sandbox.run(&["status"]).exits(2).says(&["OWED: it could not be reloaded"]);
}

/// The embedded server, for as long as the process lives: its address, and where it is told.
fn serve(link: std::path::PathBuf) -> (SocketAddr, String) {
    let (told, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let server = TlsServer::start(link, std::sync::Arc::new(trustsync::clock::SystemClock)).await.unwrap();
            told.send((server.address(), server.reload_url())).unwrap();
            std::future::pending::<()>().await;
        });
    });
    hear.recv().unwrap()
}

#[test]
fn a_confirmation_does_not_stand_against_what_the_server_shows() {
    let sandbox = Sandbox::new();
    let (server, reload_url) = serve(sandbox.store().join("target/edge"));
    sandbox.append(SELDOM);
    let target = |reload: &str| {
        format!(
            "[target.edge]\nkind = \"generic\"\nreload = {reload}\nproof = {{ connect = [\"{}\"], generation = \
             \"header\", settle = \"20ms\", timeout = \"1s\" }}\n",
            server
        )
    };
    let base = sandbox.configuration();
    sandbox.configure(&format!("{base}{}", target(&format!("{{ http = \"{}\" }}", reload_url))));
    sandbox.sync(&[]).exits(0);
    // The next generation reaches the disk, and the server is told of nothing.
    sandbox.configure(&format!("{base}{}", target("{ command = [\"/bin/true\"] }")));
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(7);
    let mut daemon = Daemon::start(&sandbox);
    daemon.says("1 owed");
    sandbox
        .run(&["confirm", "edge"])
        .exits(7)
        .says(&["your confirmation does not hold", "it serves another generation"]);
    daemon.says("1 owed");
    assert!(sandbox.state()["targets"]["edge"].get("confirmed").is_none());

    // Where the link is not in place, the server cannot have read it.
    drop(daemon);
    let link = sandbox.store().join("target/edge");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("../generations/000001", &link).unwrap();
    sandbox.run(&["confirm", "edge"]).exits(11).says(&["its link names generation 000001", "trustsync reload edge"]);

    // Proven, it needs no word.
    sandbox.configure(&format!("{base}{}", target(&format!("{{ http = \"{}\" }}", reload_url))));
    sandbox.run(&["reload", "edge"]).exits(0);
    sandbox.run(&["confirm", "edge"]).exits(0).says(&["target edge: proven"]).never_says(&["your confirmation"]);
    let current = sandbox.world().current().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(present(server, Some(&current))).is_admitted());
}

#[test]
fn a_hold_on_an_empty_store_observes_alone() {
    let sandbox = Sandbox::new();
    sandbox.append(SELDOM);
    sandbox.add_target("edge");
    sandbox.run(&["hold", "--for", "2d"]).exits(0).says(&["main: held until"]);
    let leaf = sandbox.current_leaf();
    let held = sandbox.sync(&[]).exits(7);
    held.says(&["addition_held_back", &leaf[..8], "trustsync release", "store_empty"]);
    assert_eq!((sandbox.current(), sandbox.generations()), (None, Vec::new()));
    assert_eq!(sandbox.reload_requests("edge"), 0);

    let asked = count_requests(&sandbox);
    let mut daemon = Daemon::start(&sandbox);
    // An empty store is polled at the daemon's start; then not for a day, but for what the operator says.
    until("the poll at its start", || (count_requests(&sandbox) > asked).then_some(()));
    daemon.says("nothing published yet, HELD");
    assert_eq!((sandbox.current(), sandbox.reload_requests("edge")), (None, 0));
    sandbox.run(&["status"]).exits(2).says(&["HELD until", "addition_held_back"]);
    sandbox.run(&["alarms"]).exits(2).says(&["ends: with the hold: trustsync release"]);
    sandbox.run(&["evidence"]).exits(0).says(&["before the first", "hold until"]);

    sandbox.run(&["release"]).exits(0).says(&["at once"]);
    until("the first generation", || sandbox.current());
    until("the target being told", || (sandbox.reload_requests("edge") == 1).then_some(()));
    assert_eq!(sandbox.pins().keys().collect::<Vec<_>>(), [&leaf]);
    daemon.says("generation 000001");
    daemon.says_no_more("HELD");
    until("the alarms' end", || (sandbox.run(&["alarms"]).code == 0).then_some(()));
    daemon.lives();
}

#[test]
fn hold_and_release_reach_the_daemon_soon_and_it_polls_again() {
    let sandbox = published("");
    let mut daemon = Daemon::start(&sandbox);
    daemon.says("generation 000001");
    let asked = count_requests(&sandbox);
    sandbox.run(&["hold"]).exits(0);
    daemon.says("HELD");
    sandbox.world().rotate().unwrap();
    assert_eq!(count_requests(&sandbox), asked, "a hold is not a reason to ask");
    sandbox.run(&["release"]).exits(0);
    daemon.says_no_more("HELD");
    until("the poll after the release", || (count_requests(&sandbox) > asked).then_some(()));
    until("what the vendor presents now", || sandbox.pins().contains_key(&sandbox.current_leaf()).then_some(()));
    daemon.says("generation 000002");
}

#[test]
fn overrides_and_a_rollback_reach_the_daemon_soon() {
    let sandbox = published("");
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    let mut daemon = Daemon::start(&sandbox);
    daemon.says("generation 000002");
    sandbox.run(&["rollback", "1", "--force"]).exits(0);
    daemon.says("generation 000003");
    daemon.says("HELD");
    let stranger = sandbox.world().impostor(trustsync::simulator::world::Impostor::Namesake).unwrap();
    let path = sandbox.path("leaf.pem");
    let pem: String =
        stranger.with_issuers().iter().map(|der| trustsync::trust::formats::pem::encode("CERTIFICATE", der)).collect();
    fs::write(&path, pem).unwrap();
    sandbox.run(&["trust", "--yes", path.to_str().unwrap(), "--until", "14d"]).exits(0);
    daemon.says("generation 000004");
    sandbox.run(&["distrust", "--yes", &fingerprint(stranger.der())]).exits(0);
    daemon.says("generation 000005");
    daemon.lives();
    let words: Vec<String> =
        evidence_lines(&sandbox).iter().filter_map(|line| Some(line["word"].as_str()?.to_owned())).collect();
    assert_eq!(words.len(), 2, "{words:?}");
}

#[test]
fn evidence_says_of_each_generation_when_and_by_what() {
    let sandbox = Sandbox::new();
    sandbox.append(SELDOM);
    sandbox.run(&["evidence"]).exits(0).says(&["nothing is on record yet"]);
    let nothing = sandbox.run(&["evidence", "--output", "json"]).exits(0).json();
    assert_eq!(nothing["stores"]["main"]["generations"].as_array().unwrap().len(), 0);
    sandbox.add_target("edge");
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["hold"]).exits(0);
    sandbox.run(&["release"]).exits(0);
    sandbox.world().rotate().unwrap();
    let daemon = Daemon::start(&sandbox);
    until("the second generation", || sandbox.current().filter(|number| *number == 2));
    until("the target being told", || (sandbox.reload_requests("edge") == 2).then_some(()));
    let record = until("the record of it", || {
        let record = sandbox.run(&["evidence", "2", "--output", "json"]);
        let record = record.json()["stores"]["main"]["generations"][0].clone();
        record["targets"]["edge"]["settled"].is_object().then_some(record)
    });
    drop(daemon);

    let all = sandbox.run(&["evidence", "--output", "json"]).exits(0).json();
    assert_eq!(
        (&all["stores"]["main"]["unreadable"], all["stores"]["main"]["generations"].as_array().unwrap().len()),
        (&0.into(), 2)
    );
    assert_eq!(all["stores"]["main"]["generations"][1], record);
    let first = &all["stores"]["main"]["generations"][0];
    for (record, leaf) in [(first, None), (&record, Some(sandbox.current_leaf()))] {
        let time = |value: &Value| value.as_str().unwrap_or_default().parse::<Timestamp>().unwrap();
        let committed = &record["committed"];
        assert!(time(&committed["observed"]["us"]) <= time(&committed["time"]));
        assert_eq!((committed["digest"].as_str().unwrap().len(), &committed["cause"]), (64, &"cycle".into()));
        let edge = &record["targets"]["edge"];
        assert!(time(&edge["told"]) <= time(&edge["settled"]["time"]));
        assert_eq!(edge["settled"]["by"], "reloaded_not_proven");
        let changes = committed["changes"].as_array().unwrap();
        let added =
            |leaf: &String| changes.iter().any(|change| change["action"] == "added" && change["sha256"] == **leaf);
        assert!(leaf.is_none_or(|leaf| added(&leaf)), "{changes:?}");
    }
    let words: Vec<&str> =
        first["words"].as_array().unwrap().iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert!(words[0].starts_with("hold until") && words[1] == "release", "{words:?}");
    // The digest is that of the generation which the auditor finds on disk.
    let manifest: Value = serde_json::from_str(&sandbox.published("manifest.json")).unwrap();
    assert_eq!(manifest["digest"], record["committed"]["digest"]);
    sandbox.run(&["evidence"]).exits(0).says(&[
        "generation 000002, committed",
        "when us was asked",
        "reloaded not proven",
    ]);
    sandbox.run(&["evidence", "9"]).exits(11).says(&["nothing is on record of generation 000009"]);
}

/// A proof that cannot show the chain settles a target by the allowlist alone.
#[test]
fn evidence_knows_a_target_whose_allowlist_alone_was_proven() {
    let sandbox = published("");
    let path = sandbox.store().join("evidence.jsonl");
    let proven =
        r#"{"event":"allowlist_proven","time":"2026-01-01T00:00:00Z","generation":1,"target":"edge","detail":"x"}"#;
    fs::write(&path, format!("{}{proven}\n", fs::read_to_string(&path).unwrap())).unwrap();
    let all = sandbox.run(&["evidence", "--output", "json"]).exits(0).json();
    assert_eq!(all["stores"]["main"]["unreadable"], 0, "{all:#}");
    sandbox.run(&["evidence"]).exits(0).says(&["target edge: allowlist proven"]);
}

#[test]
fn damaged_evidence_is_counted_and_costs_nothing_else() {
    let sandbox = published("");
    let path = sandbox.store().join("evidence.jsonl");
    let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    let old =
        "{\"event\":\"committed\",\"time\":\"2026-01-01T00:00:00Z\",\"generation\":1,\"cause\":\"cycle\",\"digest\":\"";
    writeln!(file, "{old}{}\",\"changes\":[]}}", "ab".repeat(32)).unwrap();
    file.write_all(b"\xff\xfe not UTF-8\n\n{\"event\":\"told\"}\n[]\n").unwrap();
    file.write_all(b"{\"event\":\"of a later version\",\"time\":\"2026-01-01T00:00:00Z\"}\n").unwrap();
    for _ in 0..64 {
        file.write_all(&[b'x'; 64 * 1024]).unwrap();
    }
    file.write_all(b"\n{\"event\":\"comm").unwrap();
    drop(file);
    let ran = sandbox.run(&["evidence", "--output", "json"]).exits(0);
    let all = ran.json();
    assert_eq!(
        all["stores"]["main"]["generations"].as_array().unwrap().len(),
        2,
        "with one that an older version wrote"
    );
    // Neither UTF-8, nor with its fields, nor an object, nor known, too long, torn.
    assert_eq!((&all["stores"]["main"]["unreadable"], &all["stores"]["main"]["lines"]), (&6.into(), &8.into()));
    ran.says(&["6 of 8 lines", "what is trusted does not depend on them"]);
    // The torn one spoils nothing but itself.
    sandbox.run(&["hold"]).exits(0);
    let all = sandbox.run(&["evidence", "--output", "json"]).exits(0).json();
    assert_eq!(all["stores"]["main"]["unreadable"], 6);
    assert_eq!(all["stores"]["main"]["generations"][1]["words"].as_array().unwrap().len(), 1);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    sandbox.run(&["evidence"]).exits(6).says(&["not a regular file"]);
}
