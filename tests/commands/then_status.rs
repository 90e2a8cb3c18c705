//! Every command, and then the question how things stand: `status` (its exit, its text, its JSON), and `/metrics` and
//! `/status` of a daemon on the same store, must say what is true after it, whatever the command could write.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::privilege::{NOBODY, Tmpfs, is_root};
use support::sandbox::Sandbox;
use trustsync::simulator::failure::{Endpoint, Failure};

const PATIENCE: Duration = Duration::from_secs(60);

/// A store with two generations, of which the newer one trusts Current and Upcoming, and a target that takes whatever it
/// is told.
fn stage(tmpfs: Option<&Tmpfs>) -> Sandbox {
    let sandbox = Sandbox::with(|options| {
        options.days_left = Some(60);
        options.rotate_at_days_left = None;
    });
    if let Some(tmpfs) = tmpfs {
        let store = format!("path = \"{}\"", tmpfs.path().join("store").display());
        sandbox.configure(&sandbox.configuration().replace("path = \"store\"", &store));
    }
    sandbox.add_target("web");
    let address = SocketAddr::from(([127, 0, 0, 1], support::port::free_port()));
    sandbox.append(&format!("\n[listen]\naddress = \"{address}\"\n"));
    sandbox.sync(&[]).exits(0);
    sandbox
}

/// Where the store of this sandbox is.
fn store(sandbox: &Sandbox) -> std::path::PathBuf {
    let configuration = sandbox.configuration();
    let path = configuration.lines().rfind(|line| line.starts_with("path = ")).unwrap();
    sandbox.folder.path().join(path.trim_start_matches("path = ").trim_matches('"'))
}

fn get(sandbox: &Sandbox, path: &str) -> Option<String> {
    let configuration = sandbox.configuration();
    let line = configuration.lines().find(|line| line.starts_with("address = ")).unwrap();
    let address: SocketAddr = line.trim_start_matches("address = ").trim_matches('"').parse().unwrap();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n").as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text.split_once("\r\n\r\n")?.1.to_owned())
}

/// A daemon that is killed when dropped.
struct Daemon(Child);

impl Daemon {
    fn start(sandbox: &Sandbox) -> Self {
        let log = File::options().create(true).append(true).open(sandbox.path("log")).unwrap();
        let mut command = sandbox.command(&["run", "--log-format", "json"]);
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[track_caller]
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(20));
    }
}

/// The ids of the alarms of a store, as JSON has them.
fn alarms(document: &Value) -> Vec<String> {
    let all = document["stores"]["main"]["alarms"].as_array().unwrap().iter();
    all.map(|alarm| format!("{}:{}", alarm["event"].as_str().unwrap(), alarm["severity"].as_str().unwrap())).collect()
}

/// What must be said after a command.
struct Truth {
    /// The exit code of `status`.
    exit: i32,
    /// An alarm that must stand, `event:severity`, where one must.
    alarm: Option<&'static str>,
}

const FINE: Truth = Truth { exit: 0, alarm: None };

const fn warned(alarm: &'static str) -> Truth {
    Truth { exit: 1, alarm: Some(alarm) }
}

const fn critical(alarm: &'static str) -> Truth {
    Truth { exit: 2, alarm: Some(alarm) }
}

/// `status` by its exit, its text and its JSON.
#[track_caller]
fn assert_status(sandbox: &Sandbox, what: &str, truth: &Truth) {
    let status = sandbox.run(&["status"]);
    assert_eq!(status.code, truth.exit, "{what}: {status:?}");
    let json = sandbox.run(&["status", "--output", "json"]);
    assert_eq!(json.code, truth.exit, "{what}");
    let document = json.json();
    assert_eq!(document["schema"], 1, "{what}");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"), "{what}");
    let word = ["ok", "warning", "critical"][usize::try_from(truth.exit).unwrap()];
    assert_eq!(document["stores"]["main"]["state"], word, "{what}: {document:#}");
    assert!(status.stdout.starts_with(&format!("main: {}", word.to_uppercase())), "{what}: {status:?}");
    if let Some(alarm) = truth.alarm {
        assert!(alarms(&document).contains(&alarm.to_owned()), "{what}: {document:#}");
        assert!(status.stdout.contains(alarm.split(':').next().unwrap()), "{what}: {status:?}");
    }
}

/// A daemon that starts on the store as it is, asked over HTTP.
#[track_caller]
fn assert_daemon(sandbox: &Sandbox, what: &str, truth: &Truth) {
    let daemon = Daemon::start(sandbox);
    let word = ["ok", "warning", "critical"][usize::try_from(truth.exit).unwrap()];
    let named = truth.alarm.and_then(|alarm| alarm.split_once(':')).map_or_else(String::new, |(event, severity)| {
        format!("trustsync_alarm{{store=\"main\",event=\"{event}\",severity=\"{severity}\",subject=\"")
    });
    let (document, metrics) = eventually(&format!("{what}: {word}, and {named}"), || {
        let document: Value = serde_json::from_str(&get(sandbox, "/status")?).ok()?;
        let metrics = get(sandbox, "/metrics")?;
        (document["stores"]["main"]["state"] == word && metrics.contains(&named)).then_some((document, metrics))
    });
    assert!(document["stores"]["main"]["generation"].as_u64().unwrap() > 0, "{what}: {document:#}");
    let count = |severity: &str| {
        let name = format!("trustsync_alarms{{store=\"main\",severity=\"{severity}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(count("critical") > 0, truth.exit == 2, "{what}: {metrics}");
    assert!(get(sandbox, "/readyz").unwrap().contains("\"ready\":true"), "{what}");
    let failing = truth.alarm == Some("store_failing:critical");
    assert!(metrics.contains(&format!("trustsync_store_failing{{store=\"main\"}} {}", u8::from(failing))), "{what}");
    drop(daemon);
}

/// Fills the filesystem at `at`.
fn fill(at: &Path) {
    let mut file = File::create(at.join("filler")).unwrap();
    while file.write(&[b'x'; 4096]).is_ok() {}
}

#[test]
fn a_disk_that_is_full() {
    let Some(tmpfs) = Tmpfs::mount("size=1m") else { return };
    let sandbox = stage(Some(&tmpfs));
    assert_status(&sandbox, "before", &FINE);
    fill(tmpfs.path());
    let truth = critical("store_failing:critical");
    sandbox.sync(&[]).exits(6);
    assert_status(&sandbox, "sync", &truth);
    sandbox.run(&["hold"]).exits(6);
    assert_status(&sandbox, "hold", &truth);
    sandbox.run(&["release"]).exits(11);
    assert_status(&sandbox, "release", &truth);
    assert_daemon(&sandbox, "run", &truth);
    // Nothing has to be repaired.
    fs::remove_file(tmpfs.path().join("filler")).unwrap();
    assert_status(&sandbox, "room", &FINE);
    sandbox.sync(&[]).exits(0);
    assert_status(&sandbox, "sync with room", &FINE);
}

#[test]
fn a_disk_that_has_room_for_the_state_and_not_for_a_generation() {
    let Some(tmpfs) = Tmpfs::mount("size=1m") else { return };
    let sandbox = stage(Some(&tmpfs));
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    fill(tmpfs.path());
    let filler = File::options().write(true).open(tmpfs.path().join("filler")).unwrap();
    filler.set_len(filler.metadata().unwrap().len() - 5 * 4096).unwrap();
    sandbox.sync(&[]).exits(6).says(&["generation_not_written"]);
    assert_status(&sandbox, "sync", &critical("generation_not_written:critical"));
    assert_status(&sandbox, "sync", &critical("store_nearly_full:warning"));
    drop(filler);
    // The disk is mended, and nobody asks the vendor: what it listed is missing still, and it is asked at once.
    fs::remove_file(tmpfs.path().join("filler")).unwrap();
    sandbox.run(&["reload", "web"]).exits(0);
    assert_status(&sandbox, "a turn with room", &critical("listed_not_trusted:critical"));
    assert_names(&sandbox, "a turn with room", "listed_not_trusted", &[&sandbox.current_leaf()], &[]);
    // It is true since what is in place was committed, whenever somebody asks.
    let manifest = store(&sandbox).join("current/manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let document = sandbox.run(&["status", "--output", "json"]).json();
    let alarms = document["stores"]["main"]["alarms"].as_array().unwrap();
    let alarm = alarms.iter().find(|alarm| alarm["event"] == "listed_not_trusted").unwrap();
    assert_eq!(alarm["since"], manifest["committed"]);
    let state: Value = serde_json::from_slice(&fs::read(store(&sandbox).join("state.json")).unwrap()).unwrap();
    assert_eq!(state["sources"]["us"]["next_due"], Value::Null);
    sandbox.sync(&[]).exits(0);
    assert_status(&sandbox, "asked with room", &FINE);
}

#[test]
fn a_disk_that_is_read_only() {
    let Some(tmpfs) = Tmpfs::mount("size=4m") else { return };
    let sandbox = stage(Some(&tmpfs));
    tmpfs.remount("ro");
    let truth = critical("store_failing:critical");
    let commands: [(&[&str], i32); 6] = [
        (&["sync"], 6),
        (&["hold"], 6),
        (&["release"], 11),
        (&["reload", "web"], 6),
        (&["sync", "--dry-run"], 0),
        (&["alarms"], 2),
    ];
    for (command, code) in commands {
        sandbox.run(command).exits(code);
        assert_status(&sandbox, &command.join(" "), &truth);
    }
    assert_daemon(&sandbox, "run", &truth);
    tmpfs.remount("rw");
    assert_status(&sandbox, "written again", &FINE);
}

/// Parts of a store that its owner cannot write, while root, who asks, could.
#[test]
fn parts_of_a_store_that_its_owner_cannot_write() {
    if !is_root() {
        return;
    }
    let sandbox = stage(None);
    let owns = |path: &Path, owner: u32| std::os::unix::fs::lchown(path, Some(owner), Some(owner)).unwrap();
    let store = store(&sandbox);
    let whole = || Command::new("chown").args(["-Rh", "65534:65534"]).arg(&store).status().unwrap();
    assert!(whole().success());
    assert_status(&sandbox, "given away", &FINE);
    for (part, truth) in [
        ("generations", critical("store_failing:critical")),
        ("target", critical("store_failing:critical")),
        ("evidence.jsonl", warned("evidence_not_written:warning")),
    ] {
        owns(&store.join(part), 0);
        assert_status(&sandbox, part, &truth);
        owns(&store.join(part), NOBODY);
        assert_status(&sandbox, part, &FINE);
    }
    // Everybody may write: no cycle uses such a store.
    fs::set_permissions(&store, Permissions::from_mode(0o777)).unwrap();
    sandbox.sync(&[]).exits(6);
    sandbox.run(&["status"]).exits(3).says(&["writable by others"]);
}

#[test]
fn a_state_and_an_evidence_that_nobody_can_write() {
    if !is_root() {
        return;
    }
    let sandbox = stage(None);
    let immutable = |path: &Path, flag: &str| {
        let done = Command::new("chattr").arg(flag).arg(path).output();
        done.is_ok_and(|done| done.status.success())
    };
    for (file, exit, truth) in [
        ("state.json", 6, critical("store_failing:critical")),
        ("evidence.jsonl", 0, warned("evidence_not_written:warning")),
    ] {
        let path = store(&sandbox).join(file);
        if !immutable(&path, "+i") {
            return support::privilege::not_run("needs a filesystem with immutable files");
        }
        // The evidence is written with a change alone, so that `status` must see by itself what the cycle did not.
        let ran = sandbox.sync(&[]);
        let status = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            assert_eq!(ran.code, exit, "{ran:?}");
            assert_status(&sandbox, file, &truth);
        }));
        assert!(immutable(&path, "-i"));
        status.unwrap();
        assert_status(&sandbox, file, &FINE);
    }
}

#[test]
fn commands_of_an_operator() {
    let sandbox = stage(None);
    let first = sandbox.current_leaf();
    let commands: [(&str, Vec<&str>, i32, Truth); 12] = [
        ("an ordinary cycle", vec!["sync"], 0, FINE),
        ("what would be done", vec!["sync", "--dry-run"], 0, FINE),
        ("a turn taken again", vec!["reload", "web"], 0, FINE),
        ("a confirmation", vec!["confirm", "web"], 0, FINE),
        ("a freeze", vec!["hold"], 0, FINE),
        ("a frozen cycle", vec!["sync"], 0, FINE),
        ("its end", vec!["release"], 0, FINE),
        ("what is on record", vec!["evidence"], 0, FINE),
        ("what was", vec!["history"], 0, FINE),
        ("an alarm that is not there", vec!["alarms", "ack", "nothing:x"], 11, FINE),
        ("a generation that is not there", vec!["rollback", "9"], 11, FINE),
        ("a configuration", vec!["config", "check"], 0, FINE),
    ];
    for (what, command, code, truth) in commands {
        sandbox.run(&command).exits(code);
        assert_status(&sandbox, what, &truth);
    }
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    sandbox.sync(&[]).exits(4);
    assert_status(&sandbox, "the vendor is down", &warned("source_refused_us:warning"));
    let status = sandbox.run(&["status"]);
    status.says(&["the last cycle failed (exit 4)", "1 failed since", "next poll"]);
    sandbox.world().clear();
    sandbox.world().fail(Failure::CurrentWrongName, Endpoint::Listing, None);
    sandbox.sync(&[]).exits(5);
    assert_status(&sandbox, "an entity is refused", &critical("current_refused:critical"));
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["alarms", "ack", "--all"]).exits(0);
    assert_status(&sandbox, "all is well again", &FINE);
    assert_daemon(&sandbox, "a daemon", &FINE);
    assert_eq!(sandbox.current_leaf(), first);
}

/// The set of an older generation lacks what the vendor presents now: calls fail at once, and not only from the next poll.
#[test]
fn a_rollback_that_drops_what_the_vendor_lists() {
    let sandbox = stage(None);
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    assert_status(&sandbox, "two rotations later", &FINE);
    let now = sandbox.current_leaf();
    sandbox.run(&["rollback", "1"]).exits(11).says(&[&now, "Nothing was changed", "--force"]);
    assert_eq!(sandbox.current(), Some(2));
    assert_status(&sandbox, "refused", &FINE);
    sandbox.run(&["rollback", "1", "--force"]).exits(0).says(&["GIVEN UP", &now]);
    let truth = critical("listed_not_trusted:critical");
    assert_status(&sandbox, "a rollback", &truth);
    sandbox.run(&["status"]).says(&["as current", "trustsync release"]);
    assert_daemon(&sandbox, "a rollback, and a daemon", &critical("addition_held_back:critical"));
    sandbox.run(&["release"]).exits(0);
    sandbox.sync(&[]).exits(0);
    assert_status(&sandbox, "released and asked", &FINE);
}

/// A store that serves is ready, however long its server takes over the first turn of a daemon.
#[test]
fn a_daemon_whose_first_turn_takes_long_is_ready_at_once() {
    let sandbox = stage(None);
    let hook = "test -e long || exit 1; sleep 25";
    let script = format!("cd '{}' && {hook}", sandbox.folder.path().display());
    sandbox.append(&format!(
        "\n[target.slow]\nkind = \"generic\"\nreload = {{ command = [\"/bin/sh\", \"-c\", {script:?}] }}\n"
    ));
    sandbox.sync(&[]);
    File::create(sandbox.path("long")).unwrap();
    // Nothing is recorded as owed: the cycle could not save what came of the turn.
    let mut state = sandbox.state();
    let slow = state["targets"]["slow"].as_object_mut().unwrap();
    assert!(slow.remove("owed").is_some() && slow.remove("owed_since").is_some());
    fs::write(sandbox.path("store/state.json"), serde_json::to_vec_pretty(&state).unwrap()).unwrap();
    let begun = Instant::now();
    let _daemon = Daemon::start(&sandbox);
    let ready = || serde_json::from_str::<Value>(&get(&sandbox, "/readyz")?).ok()?["ready"].as_bool();
    eventually("ready", || ready()?.then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let metrics = get(&sandbox, "/metrics").unwrap();
    assert!(metrics.contains("trustsync_target_owed{store=\"main\",target=\"slow\"} 1"), "{metrics}");
}

/// The text of `status` names these leaves, and none of those.
#[track_caller]
fn assert_names(sandbox: &Sandbox, what: &str, event: &str, named: &[&str], not_named: &[&str]) {
    let document = sandbox.run(&["status", "--output", "json"]).json();
    let all = document["stores"]["main"]["alarms"].as_array().unwrap();
    let texts: Vec<&str> =
        all.iter().filter(|alarm| alarm["event"] == event).map(|alarm| alarm["text"].as_str().unwrap()).collect();
    let text = texts.join("\n");
    for leaf in named {
        assert!(text.contains(&leaf[..8]), "{what}: {leaf} in {document:#}");
    }
    for leaf in not_named {
        assert!(!text.contains(&leaf[..8]), "{what}: {leaf} in {text}");
    }
    // What calls come with now is what is read first.
    let places: Vec<Option<usize>> = named.iter().map(|leaf| text.find(&leaf[..8])).collect();
    assert!(places.is_sorted(), "{what}: {text}");
}

/// One leaf of a slot is denied, another is lost by a rollback: the alarm of the one hides no other.
#[test]
fn each_leaf_that_is_kept_out_is_named_whatever_else_is_said_of_its_slot() {
    let sandbox = stage(None);
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    sandbox.world().set_days_left(60).unwrap();
    sandbox.sync(&[]).exits(0);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    sandbox.run(&["distrust", &upcoming, "--yes"]).exits(0);
    sandbox.sync(&[]);
    assert_names(&sandbox, "denied", "denied_certificate_listed", &[&upcoming], &[&current]);
    sandbox.run(&["rollback", "1", "--force"]).exits(0);
    assert_names(&sandbox, "rolled back", "listed_not_trusted", &[&current], &[&upcoming]);
    assert_names(&sandbox, "rolled back", "denied_certificate_listed", &[&upcoming], &[&current]);
    sandbox.run(&["status"]).exits(2).says(&["Calls with the current one fail now"]);
    // A poll finds it, too.
    sandbox.sync(&[]);
    assert_names(&sandbox, "polled", "addition_held_back", &[&current], &[&upcoming]);
    assert_names(&sandbox, "polled", "listed_not_trusted", &[], &[&current, &upcoming]);
    // What the operator says since then counts at once.
    sandbox.run(&["undistrust", &upcoming, "--reason", "a mistake"]).exits(0);
    assert_names(&sandbox, "undistrusted", "denied_certificate_listed", &[], &[&current, &upcoming]);
    assert_names(&sandbox, "undistrusted", "listed_not_trusted", &[&upcoming], &[&current]);
    sandbox.run(&["release"]).exits(0);
    assert_names(&sandbox, "released", "addition_held_back", &[], &[&current, &upcoming]);
    assert_names(&sandbox, "released", "listed_not_trusted", &[&current, &upcoming], &[]);
    sandbox.run(&["status"]).exits(2).says(&["trustsync sync"]).never_says(&["trustsync release"]);
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["alarms", "ack", "--all"]).exits(0);
    assert_status(&sandbox, "asked", &FINE);
}

/// An alarm is one of its event and its slot: it names every leaf, and first the one that calls come with.
#[test]
fn an_alarm_of_a_slot_names_both_of_its_leaves() {
    let sandbox = stage(None);
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    sandbox.world().set_days_left(60).unwrap();
    sandbox.sync(&[]).exits(0);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    sandbox.run(&["rollback", "1", "--force"]).exits(0);
    assert_names(&sandbox, "rolled back", "listed_not_trusted", &[&current, &upcoming], &[]);
    sandbox.sync(&[]);
    assert_names(&sandbox, "polled", "addition_held_back", &[&current, &upcoming], &[]);
    for leaf in [&upcoming, &current] {
        sandbox.run(&["distrust", leaf, "--yes"]);
    }
    assert_names(&sandbox, "distrusted", "denied_certificate_listed", &[&current, &upcoming], &[]);
    sandbox.sync(&[]);
    assert_names(&sandbox, "distrusted and polled", "denied_certificate_listed", &[&current, &upcoming], &[]);
}

#[test]
fn a_daemon_on_a_store_that_is_rolled_back_says_so_at_once() {
    let sandbox = stage(None);
    sandbox.world().rotate().unwrap();
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    let daemon = Daemon::start(&sandbox);
    let state = || {
        let document: Value = serde_json::from_str(&get(&sandbox, "/status")?).ok()?;
        document["stores"]["main"]["state"].as_str().map(str::to_owned)
    };
    eventually("well", || (state()? == "ok").then_some(()));
    let asked = sandbox.world().requests().len();
    let begun = Instant::now();
    sandbox.run(&["rollback", "1", "--force"]).exits(0);
    eventually("critical", || (state()? == "critical").then_some(()));
    // By itself it would have looked up within two minutes, and asked within the hour.
    eventually("asked", || (sandbox.world().requests().len() > asked).then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(60));
    // What is released is let in at once.
    sandbox.run(&["release"]).exits(0);
    eventually("well again", || (state()? == "ok").then_some(()));
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    drop(daemon);
}

#[test]
fn a_certificate_that_the_vendor_lists_is_distrusted() {
    let sandbox = stage(None);
    let leaf = sandbox.current_leaf();
    sandbox.run(&["distrust", &leaf, "--yes"]).exits(0);
    let truth = critical("denied_certificate_listed:critical");
    assert_status(&sandbox, "distrust", &truth);
    assert_daemon(&sandbox, "distrust, and a daemon", &truth);
}

#[test]
fn of_two_stores_one_cannot_be_read() {
    let sandbox = stage(None);
    sandbox.configure(&sandbox.configuration().replace("[target.web]\n", "[target.web]\nstore = \"main\"\n"));
    sandbox.append("\n[store.second]\npath = \"second\"\n");
    sandbox.sync(&[]).exits(0);
    fs::set_permissions(sandbox.path("second"), Permissions::from_mode(0o777)).unwrap();
    let status = sandbox.run(&["status"]).exits(3).says(&["main: OK", "second is writable by others"]);
    assert!(status.stdout.starts_with("main: OK"), "{status:?}");
    let unknown = |text: &str| text.lines().any(|line| line.starts_with("second: UNKNOWN - "));
    assert!(unknown(&status.stdout), "{status:?}");
    let alarms = sandbox.run(&["alarms"]).exits(3).never_says(&["No alarms"]).stdout.clone();
    assert!(unknown(&alarms), "{alarms}");
    for command in ["status", "alarms"] {
        let document = sandbox.run(&[command, "--output", "json"]).exits(3).json();
        assert!(document["stores"]["main"]["alarms"].is_array(), "{document:#}");
        let error = &document["stores"]["second"]["error"];
        assert!(error["exit"] == 3 && error["text"].as_str().unwrap().contains("writable by others"), "{document:#}");
    }
}

/// The grace is over, and no clean answer has come since.
#[test]
fn a_retiring_leaf_whose_grace_is_over_leaves_at_no_time_that_is_past() {
    let sandbox = stage(None);
    let departing = sandbox.current_leaf();
    sandbox.world().rotate().unwrap();
    sandbox.sync(&[]).exits(0);
    let mut state = sandbox.state();
    for slot in state["memory"]["slots"].as_object_mut().unwrap().values_mut() {
        if let Some(entry) = slot["entries"].get_mut(&departing) {
            assert!(entry["absence"]["first"].is_string(), "{entry:#}");
            entry["absence"]["first"] = "2026-01-01T00:00:00Z".into();
        }
    }
    fs::write(sandbox.path("store/state.json"), serde_json::to_vec_pretty(&state).unwrap()).unwrap();
    let document = sandbox.run(&["status", "--output", "json"]).json();
    let trusted = document["stores"]["main"]["trusted"].as_array().unwrap();
    let held = trusted.iter().find(|held| held["sha256"] == departing).unwrap();
    assert_eq!((&held["role"], &held["leaves"]), (&"retiring".into(), &document["now"]));
    let end = held["not_after"].as_str().unwrap();
    sandbox.run(&["status"]).says(&[&format!("leaves with the next clean answer without it, on {end} at the latest")]);
}

/// The vendor's word on a role is published once three clean answers agree on it, and shown at once.
#[test]
fn a_role_that_is_being_confirmed_is_shown_as_the_vendor_lists_it() {
    let sandbox = stage(None);
    let (departing, coming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    sandbox.world().rotate().unwrap();
    assert_eq!(sandbox.current_leaf(), coming);
    for answers in 1..=2 {
        sandbox.sync(&[]).exits(0);
        let document = sandbox.run(&["status", "--output", "json"]).json();
        let trusted = document["stores"]["main"]["trusted"].as_array().unwrap().clone();
        let of = |leaf: &str| trusted.iter().find(|held| held["sha256"] == leaf).unwrap().clone();
        let confirming = |published: &str| serde_json::json!({"published": published, "answers": answers, "of": 3});
        assert_eq!((&of(&coming)["role"], &of(&coming)["confirming"]), (&"current".into(), &confirming("upcoming")));
        let departed = of(&departing);
        assert_eq!((&departed["role"], &departed["confirming"]), (&"retiring".into(), &confirming("current")));
        let leaves: String = departed["leaves"].as_str().unwrap().into();
        let status = sandbox.run(&["status"]);
        status.says(&[
            &format!("current   {}", of(&coming)["name"].as_str().unwrap()),
            &format!("retiring  {}", departed["name"].as_str().unwrap()),
            &format!("confirming ({answers} of 3): published as upcoming"),
            &format!("no longer listed; leaves {leaves}"),
        ]);
        assert_eq!(sandbox.pins()[&coming], "upcoming");
    }
    sandbox.sync(&[]).exits(0);
    sandbox.run(&["status"]).never_says(&["confirming"]).says(&["no longer listed; leaves "]);
    assert_eq!((&*sandbox.pins()[&coming], &*sandbox.pins()[&departing]), ("current", "retiring"));
    // What the metrics call current is what the vendor presents, too.
    sandbox.world().rotate().unwrap();
    let daemon = Daemon::start(&sandbox);
    eventually("it answers", || get(&sandbox, "/status"));
    let asked = sandbox.world().requests().len();
    rustix::process::kill_process(rustix::process::Pid::from_child(&daemon.0), rustix::process::Signal::USR1).unwrap();
    eventually("asked", || (sandbox.world().requests().len() > asked).then_some(()));
    let remaining = || {
        let metrics = get(&sandbox, "/metrics")?;
        let line = metrics.lines().find(|line| {
            line.starts_with("trustsync_certificate_remaining_seconds") && line.contains("role=\"current\"")
        })?;
        line.rsplit_once(' ')?.1.parse::<i64>().ok()
    };
    let presented = seconds_left(&sandbox);
    eventually("the current one's own end", || (remaining()?.abs_diff(presented) < 120).then_some(()));
}

/// The seconds that the certificate has left which the vendor presents.
fn seconds_left(sandbox: &Sandbox) -> i64 {
    use trustsync::clock::Clock;
    use trustsync::trust::formats::certificate::Certificate;
    let leaf = Certificate::parse(sandbox.world().current().unwrap().der()).unwrap();
    leaf.facts().not_after.unix() - trustsync::clock::SystemClock.now().unix()
}

/// Nobody has tried to write since; the daemon looks at its next beat, which a watchdog makes come often.
#[test]
fn a_disk_that_turns_read_only_under_a_daemon() {
    let Some(tmpfs) = Tmpfs::mount("size=4m") else { return };
    let mut sandbox = stage(Some(&tmpfs));
    sandbox.set("WATCHDOG_USEC", "12000000");
    let _daemon = Daemon::start(&sandbox);
    let says = |path: &str, word: &str| get(&sandbox, path).is_some_and(|text| text.contains(word)).then_some(());
    let state = |word: &str| says("/status", &format!("\"state\":\"{word}\""));
    eventually("well", || state("ok"));
    tmpfs.remount("ro");
    assert_status(&sandbox, "at once", &critical("store_failing:critical"));
    eventually("critical", || state("critical"));
    says("/readyz", "is read-only").unwrap();
    says("/metrics", "trustsync_store_failing{store=\"main\"} 1").unwrap();
    tmpfs.remount("rw");
    eventually("well again", || state("ok"));
    says("/metrics", "trustsync_store_failing{store=\"main\"} 0").unwrap();
}

/// A disk that fails as soon as something is to be made durable: nothing that can be looked at shows it.
#[test]
fn a_disk_that_fails_only_when_it_is_written() {
    let mut sandbox = stage(None);
    let runtime = sandbox.path("runtime");
    fs::create_dir(&runtime).unwrap();
    sandbox.set("RUNTIME_DIRECTORY", runtime.to_str().unwrap());
    assert_status(&sandbox, "before", &FINE);
    let state = store(&sandbox).join(".state.json.new");
    let sync = sandbox.command(&["sync"]);
    let mut failing = Command::new("strace");
    failing.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:error=EIO", "-P"]).arg(&state);
    failing.arg(sync.get_program()).args(sync.get_args()).env_clear().current_dir(sandbox.folder.path());
    failing.envs(sync.get_envs().filter_map(|(name, value)| Some((name, value?))));
    support::sandbox::run(&mut failing).exits(6).says(&["state_not_saved"]);
    let truth = critical("store_failing:critical");
    assert_status(&sandbox, "sync", &truth);
    sandbox.run(&["status"]).says(&["Input/output error"]);
    assert_status(&sandbox, "asked again", &truth);
    sandbox.sync(&[]).exits(0);
    assert_status(&sandbox, "a sync that could save", &FINE);
}
