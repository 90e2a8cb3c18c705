//! `trustsync run`, the real binary: it starts, polls, is told, is broken, ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, test_kill_process};
use support::daemon::Daemon;
use support::sandbox::{Sandbox, fingerprint, write_secret};
use trustsync::clock::{Clock, SystemClock};
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::trust::values::timestamp::Timestamp;

/// How long its end may take. README promises two seconds; the rest is for a machine with other work, and still less than
/// any request or hook that it must not wait for.
const AT_ONCE: Duration = Duration::from_secs(6);

fn start(sandbox: &Sandbox) -> Daemon {
    Daemon::start(&mut sandbox.command(&["run"]), sandbox.path("log"))
}

/// A store that was empty and has published, and a daemon that has nothing to do. The generation appears before the cycle
/// ends; who touches it then touches it under the cycle's hands.
fn settled(sandbox: &Sandbox) -> Daemon {
    let daemon = start(sandbox);
    daemon.wait_for("published", 1);
    daemon
}

fn poll_now(daemon: &Daemon) {
    let before = daemon.count("listings_read");
    daemon.signal(Signal::USR1);
    daemon.wait_for("listings_read", before + 1);
}

/// A target whose reload is this script, run in the sandbox's folder.
fn add_scripted_target(sandbox: &Sandbox, script: &str) {
    let script = format!("cd '{}' && {script}", sandbox.folder.path().display());
    sandbox.append(&format!(
        "\n[target.web]\nkind = \"generic\"\nreload = {{ command = [\"/bin/sh\", \"-c\", {}] }}\n",
        serde_json::to_string(&script).unwrap()
    ));
}

fn alarms(sandbox: &Sandbox) -> Vec<String> {
    sandbox.state()["alarms"].as_object().unwrap().keys().cloned().collect()
}

fn next_due(sandbox: &Sandbox) -> Timestamp {
    sandbox.state()["sources"]["us"]["next_due"].as_str().unwrap().parse().unwrap()
}

// --- the schedule ---

#[test]
fn a_daemon_with_nothing_to_do_ends_within_two_seconds() {
    let sandbox = Sandbox::new();
    settled(&sandbox).stop();
    // The quickest of a few: another program may have the machine for a moment, but not for each of them.
    let quickest = (0..5).map(|_| {
        let daemon = start(&sandbox);
        daemon.wait_for("unchanged", 1);
        daemon.stop()
    });
    assert!(quickest.min().unwrap() < Duration::from_secs(2));
}

#[test]
fn an_empty_store_is_polled_at_once_and_a_restart_keeps_to_the_schedule() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    let daemon = settled(&sandbox);
    daemon.wait_until("the target told", || sandbox.reload_requests("web") == 1);
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    let due = next_due(&sandbox);
    let now = SystemClock.now();
    assert!(due > now.plus(Duration::from_secs(30)) && due < now.plus(Duration::from_secs(3_700)), "{due}");
    assert!(daemon.stop() < AT_ONCE);

    let polls = sandbox.world().request_counts().listing;
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    assert_eq!(daemon.count("listings_read"), 0);
    assert_eq!(sandbox.reload_requests("web"), 1, "what was told before is not told again");
    assert!(daemon.stop() < AT_ONCE);
    assert_eq!(sandbox.world().request_counts().listing, polls, "it was not due");
    assert_eq!(next_due(&sandbox), due);
}

#[test]
fn an_overdue_store_is_polled_at_once_and_so_is_one_whose_clock_was_set_back() {
    let sandbox = Sandbox::new();
    settled(&sandbox).stop();
    let now = SystemClock.now();
    let hour = Duration::from_secs(3_600);
    for (last, next) in [
        (now.minus(hour * 5), now.minus(hour * 4)),
        // Written while the clock was a year ahead.
        (now.plus(hour * 8_760), now.plus(hour * 8_761)),
    ] {
        let mut state = sandbox.state();
        state["sources"]["us"]["last_attempt"] = last.to_string().into();
        state["sources"]["us"]["next_due"] = next.to_string().into();
        fs::write(sandbox.store().join("state.json"), state.to_string()).unwrap();
        let daemon = start(&sandbox);
        daemon.wait_for("listings_read", 1);
        daemon.stop();
        assert!(next_due(&sandbox) < SystemClock.now().plus(hour * 2));
    }
}

#[test]
fn failures_back_off_and_their_alarm_ends_with_them() {
    let sandbox = Sandbox::new();
    settled(&sandbox).stop();
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    let mut waits = Vec::new();
    for failures in 1..=3 {
        daemon.signal(Signal::USR1);
        daemon.wait_until("a failed poll", || sandbox.state()["sources"]["us"]["failures"] == failures);
        waits.push(next_due(&sandbox).since(SystemClock.now()).as_secs());
    }
    // 30, 60 and 120 seconds, half of them by chance, less what the poll itself took.
    assert!(waits[0] <= 45 && waits[1] <= 90 && (50..=180).contains(&waits[2]), "{waits:?}");
    assert_eq!(alarms(&sandbox), ["source_refused_us:us"]);
    sandbox.world().clear();
    poll_now(&daemon);
    daemon.wait_until("the alarm's end", || alarms(&sandbox).is_empty());
    daemon.stop();
}

#[test]
fn an_alarm_of_a_source_stands_whatever_becomes_of_a_target_of_the_same_name() {
    let sandbox = Sandbox::new();
    let source = sandbox.source("web", "us-east-1");
    sandbox.configure(&format!("[crl]\npolicy = \"off\"\n{source}\n[store.main]\npath = \"store\"\n"));
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    sandbox.sync(&["--deadline", "300ms"]).exits(4);
    sandbox.run(&["status"]).exits(1).says(&["source_refused_us:web"]);

    // The daemon takes the target's turn, and does not poll before the source is due again.
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    daemon.stop();
    assert_eq!(alarms(&sandbox), ["source_refused_us:web"]);
    sandbox.run(&["status"]).exits(1).says(&["source_refused_us:web"]);
}

#[test]
fn the_vendors_retry_after_is_kept_even_by_a_restart() {
    let sandbox = Sandbox::with(|options| options.retry_after = Duration::from_secs(900));
    settled(&sandbox).stop();
    sandbox.world().fail(Failure::TooManyRequests, Endpoint::Both, None);
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    daemon.signal(Signal::USR1);
    daemon.wait_until("a failed poll", || sandbox.state()["sources"]["us"]["failures"] == 1);
    let due = next_due(&sandbox);
    assert!(due >= SystemClock.now().plus(Duration::from_secs(890)), "{due}");
    daemon.crash();
    let requests = sandbox.world().request_counts();
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    daemon.stop();
    assert_eq!(sandbox.world().request_counts(), requests);
    assert_eq!(next_due(&sandbox), due);
}

#[test]
fn one_token_serves_every_poll_a_401_buys_another_and_so_does_a_new_secret() {
    let sandbox = Sandbox::new();
    let daemon = settled(&sandbox);
    for _ in 0..3 {
        poll_now(&daemon);
    }
    assert_eq!(sandbox.world().request_counts().token, 1);
    sandbox.world().revoke_tokens();
    poll_now(&daemon);
    assert_eq!((daemon.count("token_refused"), sandbox.world().request_counts().token), (1, 2));
    // A wrong secret is found out now, not when the token ends; the right one is read without a restart.
    write_secret(&sandbox.path("client-secret"), "another\n");
    daemon.signal(Signal::USR1);
    daemon.wait_until("a refusal", || alarms(&sandbox).contains(&"source_refused_us:us".to_owned()));
    write_secret(&sandbox.path("client-secret"), sandbox.world().client_secret());
    poll_now(&daemon);
    daemon.wait_until("the alarm's end", || alarms(&sandbox).is_empty());
    daemon.stop();
    let log = fs::read_to_string(sandbox.path("log")).unwrap();
    assert!(!log.contains(sandbox.world().client_secret()) && !log.contains("another\\n"));
}

#[test]
fn a_source_that_does_not_answer_delays_no_other() {
    let sandbox = Sandbox::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = format!("https://{}", silent.local_addr().unwrap());
    sandbox.configure(&format!(
        "[crl]\npolicy = \"off\"\n{}{}api = \"{dead}\"\nlogin = \"{dead}\"\n[store.main]\npath = \"store\"\n",
        sandbox.source("us", "us-east-1"),
        sandbox
            .source("eu", "eu-west-1")
            .lines()
            .filter(|line| !line.starts_with("api") && !line.starts_with("login"))
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    ));
    let daemon = settled(&sandbox);
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    poll_now(&daemon);
    assert!(daemon.stop() < AT_ONCE, "with a request under way");
}

// --- told and ended ---

#[test]
fn it_ends_at_once_in_the_middle_of_a_request() {
    let sandbox = Sandbox::new();
    sandbox.world().fail(Failure::SlowHeaders, Endpoint::Listing, None);
    let daemon = start(&sandbox);
    daemon.wait_until("a request under way", || sandbox.world().request_counts().listing > 0);
    assert!(daemon.stop() < AT_ONCE);
    assert_eq!(sandbox.current(), None);
    sandbox.world().clear();
    settled(&sandbox).stop();
}

#[test]
fn it_ends_at_once_in_the_middle_of_a_hook_and_the_next_start_pays_what_is_owed() {
    let sandbox = Sandbox::new();
    add_scripted_target(&sandbox, "echo $$ >> hooks && test -e ready || sleep 600");
    let daemon = start(&sandbox);
    let hooks = || fs::read_to_string(sandbox.path("hooks")).unwrap_or_default();
    daemon.wait_until("the hook", || !hooks().is_empty());
    assert!(daemon.stop() < AT_ONCE);
    let hook: i32 = hooks().trim().parse().unwrap();
    let gone = || test_kill_process(Pid::from_raw(hook).unwrap()).is_err();
    let deadline = Instant::now() + AT_ONCE;
    while !gone() {
        assert!(Instant::now() < deadline, "the hook outlived us");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(sandbox.state()["targets"]["web"]["acknowledged"], 1, "nobody knows whether it was told");
    fs::write(sandbox.path("ready"), "").unwrap();
    let daemon = start(&sandbox);
    daemon.wait_until("the target told", || sandbox.state()["targets"]["web"]["acknowledged"] == 1);
    assert_eq!(hooks().lines().count(), 2);
    daemon.stop();
}

#[test]
fn an_owed_reload_is_tried_again_between_polls_with_the_vendor_down() {
    let sandbox = Sandbox::new();
    add_scripted_target(&sandbox, "echo tried >> tries && test -e mended");
    let daemon = settled(&sandbox);
    daemon.wait_until("it is owed", || alarms(&sandbox).contains(&"target_not_told:web".to_owned()));
    sandbox.world().fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    let polls = daemon.count("listings_read");
    fs::write(sandbox.path("mended"), "").unwrap();
    daemon.wait_until("it is paid", || sandbox.state()["targets"]["web"]["owed"].is_null());
    // The alarms are written at the cycle's end.
    daemon.wait_until("its alarm's end", || !alarms(&sandbox).contains(&"target_not_told:web".to_owned()));
    assert_eq!(daemon.count("listings_read"), polls);
    let tries = fs::read_to_string(sandbox.path("tries")).unwrap().lines().count();
    assert!((2..=4).contains(&tries), "{tries} tries: it waits ten seconds first");
    daemon.stop();
}

#[test]
fn the_service_manager_is_told_of_readiness_reloads_the_end_and_one_line_of_truth() {
    let mut sandbox = Sandbox::with(|options| options.days_left = Some(50));
    let socket = UnixDatagram::bind(sandbox.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    sandbox.set("NOTIFY_SOCKET", sandbox.path("notify").display().to_string());
    sandbox.set("WATCHDOG_USEC", "600000");
    let daemon = start(&sandbox);
    let hear = |wanted: &str| {
        let mut heard = Vec::new();
        loop {
            let mut buffer = [0; 4_096];
            let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}, after {heard:?}"));
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.contains(wanted) {
                return text;
            }
            heard.push(text);
        }
    };
    hear("READY=1");
    let status = hear("STATUS=main: generation 000001");
    assert!(status.contains("days left, upcoming") && status.contains("next poll"), "{status}");
    hear("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    let reloading = hear("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    hear("READY=1");
    let whole = sandbox.configuration();
    sandbox.configure("[sauce.us]\n");
    let refused = hear("STATUS=CONFIGURATION REFUSED");
    assert!(refused.contains("sauce") && refused.contains("main: generation 000001"), "{refused}");
    sandbox.configure(&whole);
    hear("STATUS=main:");
    daemon.signal(Signal::TERM);
    hear("STOPPING=1");
    daemon.wait_for_end(0);
}

// --- configuration ---

#[test]
fn an_edited_configuration_is_taken_and_a_broken_one_refused_while_the_old_one_stays_in_force() {
    let sandbox = Sandbox::new();
    let daemon = settled(&sandbox);
    let whole = sandbox.configuration();
    sandbox.configure(&format!("{whole}\n[target.web]\nkind = \"genric\"\n"));
    daemon.wait_for("configuration_refused", 1);
    assert!(daemon.text("configuration_refused").contains("genric"), "{}", daemon.text("configuration_refused"));
    poll_now(&daemon);
    // Asked for in so many words, it is judged again, and said again.
    daemon.signal(Signal::HUP);
    daemon.wait_for("configuration_refused", 2);
    sandbox.configure(&whole);
    daemon.wait_for("configuration_restored", 1);

    sandbox.add_target("web");
    daemon.wait_for("configuration_reloaded", 1);
    daemon.wait_until("the new target told", || sandbox.reload_requests("web") == 1);
    fs::remove_file(sandbox.path("config.toml")).unwrap();
    daemon.wait_for("configuration_refused", 3);
    poll_now(&daemon);
    assert!(daemon.stop() < AT_ONCE);
    start(&sandbox).wait_for_end(3);
}

/// Kubernetes mounts a ConfigMap as links into a folder that is exchanged whole.
#[test]
fn a_configuration_that_is_swapped_by_a_link_is_seen() {
    let sandbox = Sandbox::new();
    let mount = sandbox.path("mount");
    let version = |name: &str, text: &str| {
        fs::create_dir_all(mount.join(name)).unwrap();
        fs::write(mount.join(name).join("config.toml"), text).unwrap();
        symlink(name, mount.join("..data.new")).unwrap();
        fs::rename(mount.join("..data.new"), mount.join("..data")).unwrap();
    };
    let folder = sandbox.folder.path().display().to_string();
    let absolute = |text: &str| {
        ["client-secret", "api-ca.pem", "digicert-root.pem", "store"]
            .iter()
            .fold(text.to_owned(), |text, name| text.replace(&format!("\"{name}\""), &format!("\"{folder}/{name}\"")))
    };
    version("..1", &absolute(&sandbox.configuration()));
    symlink("..data/config.toml", mount.join("config.toml")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_trustsync"));
    command.args(["run", "--config"]).arg(mount.join("config.toml")).env_clear();
    let daemon = Daemon::start(&mut command, sandbox.path("log"));
    daemon.wait_until("a generation", || sandbox.current().is_some());
    sandbox.add_target("web");
    version("..2", &absolute(&sandbox.configuration()));
    daemon.wait_for("configuration_reloaded", 1);
    daemon.wait_until("the new target told", || sandbox.reload_requests("web") == 1);
    daemon.stop();
}

#[test]
fn what_cannot_be_started_with_is_exit_3_and_says_so() {
    let sandbox = Sandbox::new();
    sandbox.append("\n[schedule]\ninterval = \"1s\"\njitter = 2.0\n");
    sandbox.run(&["run"]).exits(3).says(&["schedule.interval must be 5s to 1d", "jitter", "trust is unchanged"]);
}

// --- drift ---

fn rename_over(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("by-hand");
    fs::write(&fresh, bytes).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(fresh, path).unwrap();
}

#[test]
fn whatever_is_changed_behind_our_back_is_found_at_once_and_repaired_by_a_new_generation() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    let daemon = settled(&sandbox);
    daemon.wait_until("the target told", || sandbox.reload_requests("web") == 1);
    let bundle = |number: u64| sandbox.store().join(format!("generations/{number:06}/trust-bundle.pem"));
    type Harm<'a> = &'a dyn Fn(u64);
    let harms: [(&str, Harm); 6] = [
        ("was changed", &|number| fs::write(bundle(number), "other").unwrap()),
        ("is missing", &|number| fs::remove_file(bundle(number)).unwrap()),
        ("has another mode", &|number| {
            fs::set_permissions(bundle(number), fs::Permissions::from_mode(0o600)).unwrap();
        }),
        ("was changed", &|number| rename_over(&bundle(number), b"other")),
        ("put there by another program", &|number| fs::write(bundle(number).with_file_name("more.pem"), "").unwrap()),
        ("link current is", &|_| {
            symlink("generations/000001", sandbox.store().join("fresh")).unwrap();
            fs::remove_file(sandbox.store().join("current")).unwrap();
        }),
    ];
    for (word, harm) in harms {
        let number = sandbox.current().unwrap();
        let drifts = daemon.count("store_drift");
        // A change before the kernel watches the new folder is found by the next look alone.
        daemon.wait_until("a watch", || daemon.watches(bundle(number).parent().unwrap()));
        harm(number);
        daemon.wait_until("a repair", || sandbox.current() == Some(number + 1));
        daemon.wait_until("the target told", || sandbox.reload_requests("web") == usize::try_from(number + 1).unwrap());
        daemon.wait_until(word, || daemon.count("store_drift") > drifts && daemon.text("store_drift").contains(word));
        assert!(sandbox.published("trust-bundle.pem").contains("BEGIN CERTIFICATE"), "{word}");
    }
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    // Our own writes are not drift.
    let repaired = sandbox.current();
    for _ in 0..3 {
        poll_now(&daemon);
    }
    assert_eq!(sandbox.current(), repaired);
    daemon.stop();
}

#[test]
fn a_targets_link_that_was_moved_is_moved_back_and_its_server_told() {
    let sandbox = Sandbox::with(|options| options.days_left = Some(95));
    sandbox.add_target("web");
    let daemon = settled(&sandbox);
    sandbox.world().set_days_left(80).unwrap();
    poll_now(&daemon);
    daemon.wait_until("the target told", || sandbox.reload_requests("web") == 2);
    daemon.wait_until("it is known", || sandbox.state()["targets"]["web"]["acknowledged"] == 2);
    let link = sandbox.store().join("target/web");
    symlink("../generations/000001", sandbox.store().join("target/by-hand")).unwrap();
    fs::rename(sandbox.store().join("target/by-hand"), &link).unwrap();
    daemon.wait_until("the link back", || fs::read_link(&link).is_ok_and(|link| link.ends_with("000002")));
    daemon.wait_for("store_drift", 1);
    assert!(daemon.text("store_drift").contains("moved to generation 000001"));
    daemon.stop();
}

#[test]
fn drift_that_is_only_to_be_reported_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    sandbox.append("on_drift = \"alarm\"\n");
    let daemon = settled(&sandbox);
    let harmed = sandbox.store().join("generations/000001/leaves.pem");
    fs::write(&harmed, "other").unwrap();
    daemon.wait_for("store_drift", 1);
    daemon.wait_until("the alarm", || alarms(&sandbox).iter().any(|id| id.starts_with("store_drift:")));
    assert_eq!((sandbox.current(), fs::read_to_string(&harmed).unwrap().as_str()), (Some(1), "other"));
    daemon.stop();
}

/// What we fail to write leaves traces that look like somebody's touch.
#[test]
fn a_store_that_cannot_be_repaired_is_tried_again_ever_more_rarely_and_shown() {
    let mut sandbox = Sandbox::new();
    let socket = UnixDatagram::bind(sandbox.path("notify")).unwrap();
    socket.set_nonblocking(true).unwrap();
    sandbox.set("NOTIFY_SOCKET", sandbox.path("notify").display().to_string());
    let daemon = settled(&sandbox);
    fs::remove_file(sandbox.store().join("current")).unwrap();
    fs::create_dir(sandbox.store().join("current")).unwrap();
    daemon.wait_for("generation_not_written", 1);
    let cycles = daemon.count("unchanged");
    // Eight touches, half a second and more apart: each would have been a cycle.
    for touch in 0..8 {
        fs::write(sandbox.store().join(format!("generations/000001/{touch}")), "").unwrap();
        std::thread::sleep(Duration::from_millis(600));
    }
    assert!(daemon.count("unchanged") <= cycles + 2, "{:#?}", daemon.log());
    let mut heard = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(length) = socket.recv(&mut buffer) {
        heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
    }
    assert!(heard.iter().any(|text| text.contains("CANNOT BE WORKED ON since")), "{heard:?}");
    // Told to, it tries at once, and a poll with it.
    fs::remove_dir(sandbox.store().join("current")).unwrap();
    daemon.signal(Signal::USR1);
    daemon.wait_until("a repair", || sandbox.current().is_some_and(|number| number > 1));
    daemon.stop();
}

#[test]
fn a_state_that_is_damaged_under_way_is_rebuilt_and_never_read_as_empty() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    let daemon = settled(&sandbox);
    fs::write(sandbox.store().join("state.json"), "{").unwrap();
    poll_now(&daemon);
    daemon.wait_for("state_lost", 1);
    daemon.wait_until("a new state", || {
        serde_json::from_slice::<serde_json::Value>(&fs::read(sandbox.store().join("state.json")).unwrap()).is_ok()
    });
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    assert_eq!(sandbox.current(), Some(1));
    daemon.stop();
}

// --- beside it ---

#[test]
fn every_command_works_while_it_runs() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    let daemon = settled(&sandbox);
    daemon.wait_until("the target told", || sandbox.reload_requests("web") == 1);
    sandbox.run(&["status"]).exits(0).says(&["generation 000001"]);
    sandbox.sync(&[]).exits(0).says(&["unchanged"]);
    sandbox.run(&["reload", "web"]).exits(0);
    sandbox.run(&["hold", "--for", "1h"]).exits(0);
    sandbox.world().set_days_left(60).unwrap();
    poll_now(&daemon);
    daemon.wait_for("addition_held_back", 1);
    assert_eq!(sandbox.pins().len(), 1);
    sandbox.run(&["release"]).exits(0);
    poll_now(&daemon);
    daemon.wait_until("the upcoming one", || sandbox.pins().contains_key(&sandbox.upcoming_leaf()));
    let stranger = fingerprint(b"stranger").to_uppercase();
    sandbox.run(&["distrust", "--yes", "--unknown", &stranger]).exits(0);
    sandbox.run(&["history"]).exits(0);
    daemon.stop();
}

/// What stands is said when it begins and once a day, not with every poll.
#[test]
fn an_alarm_that_stands_is_said_once() {
    let sandbox = Sandbox::new();
    let daemon = settled(&sandbox);
    sandbox.world().fail(Failure::Forbidden, Endpoint::Both, None);
    for failures in 1..=3 {
        daemon.signal(Signal::USR1);
        daemon.wait_until("a failed poll", || sandbox.state()["sources"]["us"]["failures"] == failures);
    }
    daemon.wait_until("all of it done", || daemon.count("unchanged") >= 3);
    assert_eq!(daemon.count("source_refused_us"), 1);
    daemon.stop();
}

/// A source that is down for one reason, and then for another, is two things to know.
#[test]
fn each_new_cause_of_a_sources_trouble_is_said_and_a_known_one_is_not() {
    let sandbox = Sandbox::new();
    let daemon = settled(&sandbox);
    let mut failures = 0;
    let mut fail = |failure: Failure| {
        sandbox.world().clear();
        sandbox.world().fail(failure, Endpoint::Both, None);
        failures += 1;
        daemon.signal(Signal::USR1);
        daemon.wait_until("a failed poll", || sandbox.state()["sources"]["us"]["failures"] == failures);
    };
    fail(Failure::Html);
    daemon.wait_for("answer_refused", 1);
    fail(Failure::Html);
    fail(Failure::MissingEntities);
    daemon.wait_for("answer_refused", 2);
    let html = daemon.log().into_iter().find(|line| line["event"] == "answer_refused").unwrap();
    assert_ne!(html["message"], daemon.text("answer_refused"));
    fail(Failure::Html);
    daemon.wait_until("all of it done", || daemon.count("unchanged") >= 5);
    assert_eq!(daemon.count("answer_refused"), 2, "{:#?}", daemon.log());
    daemon.stop();
}

/// The kernel gives a user so many watchers and no more; a limit of open files does the same to one process.
#[test]
fn without_a_watcher_there_is_one_warning_and_the_timers_find_what_changed() {
    let mut sandbox = Sandbox::new();
    // A short beat: the timers are looked at with each.
    sandbox.set("NOTIFY_SOCKET", sandbox.path("nobody").display().to_string());
    sandbox.set("WATCHDOG_USEC", "600000");
    let daemon = strace_without_inotify(&sandbox);
    daemon.wait_for("watch_unavailable", 1);
    daemon.wait_until("a generation", || sandbox.current().is_some());
    sandbox.add_target("web");
    daemon.wait_for("configuration_reloaded", 1);
    daemon.wait_until("the new target told", || sandbox.reload_requests("web") == 1);
    fs::write(sandbox.store().join("generations/000001/leaves.pem"), "other").unwrap();
    daemon.signal(Signal::USR1);
    daemon.wait_until("a repair", || sandbox.current() == Some(2));
    assert_eq!(daemon.count("watch_unavailable"), 1);
}

/// With every request for an inotify instance refused, as when the user's limit is reached.
fn strace_without_inotify(sandbox: &Sandbox) -> Daemon {
    let mut command = std::process::Command::new("strace");
    command
        .args(["-D", "-qq", "-o", "/dev/null", "-f", "-e", "trace=inotify_init1"])
        .args(["-e", "inject=inotify_init1:error=EMFILE"])
        .arg(env!("CARGO_BIN_EXE_trustsync"))
        .arg("--config")
        .arg(sandbox.path("config.toml"))
        .arg("run")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .envs(sandbox.environment())
        .current_dir(sandbox.folder.path());
    Daemon::start(&mut command, sandbox.path("log"))
}

#[test]
fn a_disk_that_takes_no_state_has_a_server_told_once_a_generation() {
    let sandbox = Sandbox::new();
    sandbox.add_target("web");
    sandbox.sync(&[]).exits(0);
    assert_eq!(sandbox.reload_requests("web"), 1);
    // Somebody's folders, at every name under which the next state would be prepared.
    let folders = ["", ".2", ".3", ".4"].map(|suffix| sandbox.store().join(format!(".state.json{suffix}.new")));
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
    }
    sandbox.world().set_days_left(60).unwrap();
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    poll_now(&daemon);
    daemon.wait_for("published", 1);
    daemon.wait_for("state_not_saved", 1);
    for _ in 0..2 {
        let before = daemon.count("unchanged");
        poll_now(&daemon);
        daemon.wait_for("unchanged", before + 1);
    }
    // Roles change with further answers, and each such change is a generation of its own.
    let told_once_each = || sandbox.current() == Some(sandbox.reload_requests("web") as u64);
    daemon.wait_until("a server told once a generation", || sandbox.current() >= Some(2) && told_once_each());
    assert_eq!(sandbox.state()["generation"], 1, "the records are those of before");
    for folder in folders {
        fs::remove_dir_all(folder).unwrap();
    }
    poll_now(&daemon);
    daemon.wait_until("the state", || sandbox.state()["generation"].as_u64() == sandbox.current());
    daemon.stop();
    assert!(told_once_each(), "told {} times of {:?}", sandbox.reload_requests("web"), sandbox.current());
}

#[test]
fn a_commit_that_waits_for_the_evidence_waits_once() {
    if !support::privilege::is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    // The disk takes neither state nor evidence, and both can be read.
    let folders = ["", ".2", ".3", ".4"].map(|suffix| sandbox.store().join(format!(".state.json{suffix}.new")));
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("file"), "").unwrap();
    }
    let evidence = sandbox.store().join("evidence.jsonl");
    let mount = |arguments: &[&str], paths: &[&Path]| {
        assert!(std::process::Command::new(arguments[0]).args(&arguments[1..]).args(paths).status().unwrap().success());
    };
    mount(&["mount", "--bind", "-o", "ro"], &[&evidence, &evidence]);
    sandbox.world().set_days_left(60).unwrap();
    let daemon = start(&sandbox);
    daemon.wait_for("unchanged", 1);
    poll_now(&daemon);
    daemon.wait_for("published", 1);
    for _ in 0..2 {
        let before = daemon.count("unchanged");
        poll_now(&daemon);
        daemon.wait_for("unchanged", before + 1);
    }
    mount(&["umount"], &[&evidence]);
    for folder in folders {
        fs::remove_dir_all(folder).unwrap();
    }
    poll_now(&daemon);
    daemon.wait_until("the state", || sandbox.state()["generation"].as_u64() == sandbox.current());
    daemon.stop();
    let lines = fs::read_to_string(&evidence).unwrap();
    let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut committed: Vec<u64> =
        lines.filter(|line| line["event"] == "committed").map(|line| line["generation"].as_u64().unwrap()).collect();
    committed.sort_unstable();
    let each: Vec<u64> = (1..=sandbox.current().unwrap()).collect();
    assert_eq!(committed, each, "each commit stands in evidence once");
}
