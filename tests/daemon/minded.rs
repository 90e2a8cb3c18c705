//! Who minds a store is known beside the daemon: by its sign of life, by the due times where there is none. And what is
//! done to a store under a daemon is found at once.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use support::daemon::Daemon;
use support::sandbox::{Ran, Sandbox};
use trustsync::clock::{Clock, SystemClock};
use trustsync::trust::values::timestamp::Timestamp;

const MINUTE: Duration = Duration::from_secs(60);

/// Much sooner than the next beat, two minutes away at most, and the next turn.
const SOON: Duration = Duration::from_secs(25);

fn now() -> Timestamp {
    SystemClock.now()
}

fn ago(time: Duration) -> Value {
    json!(now().minus(time))
}

fn runtime(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("runtime")
}

fn heartbeat(sandbox: &Sandbox) -> PathBuf {
    runtime(sandbox).join("heartbeat.json")
}

/// A daemon with a runtime directory, which whoever asks finds by the state alone.
fn start(sandbox: &Sandbox) -> Daemon {
    fs::create_dir_all(runtime(sandbox)).unwrap();
    let mut command = sandbox.command(&["run"]);
    let daemon = Daemon::start(command.env("RUNTIME_DIRECTORY", runtime(sandbox)), sandbox.path("log"));
    let store = sandbox.folder.path().canonicalize().unwrap().join("store");
    let says = |text: String| text.contains(store.to_str().unwrap());
    daemon.wait_until("a sign of life", || fs::read_to_string(heartbeat(sandbox)).is_ok_and(says));
    daemon
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Changes what the store remembers of its source `us`.
fn remember(sandbox: &Sandbox, key: &str, value: Value) {
    edit(&sandbox.store().join("state.json"), |state| state["sources"]["us"][key] = value);
}

/// The last sign of life was so long ago.
fn last_seen(sandbox: &Sandbox, time: Duration) {
    edit(&heartbeat(sandbox), |heartbeat| heartbeat["at"] = ago(time));
}

fn status(sandbox: &Sandbox) -> Ran {
    sandbox.run(&["status"])
}

fn state_of(ran: &Ran) -> Value {
    ran.json()["stores"]["main"]["state"].clone()
}

#[test]
fn a_daemon_that_was_killed_is_missed_after_three_minutes_and_critically_once_a_poll_is_overdue() {
    let sandbox = Sandbox::new();
    let daemon = start(&sandbox);
    daemon.wait_for("published", 1);
    daemon.wait_until("the first cycle's end", || status(&sandbox).code == 0);
    let said = sandbox.run(&["status", "--output", "json"]).exits(0).json();
    let seen: Timestamp = said["daemon"]["seen"].as_str().unwrap().parse().unwrap();
    assert!(now().since(seen) < MINUTE, "{said:#}");
    assert_eq!(said["daemon"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(said["daemon"]["next_poll"].is_string(), "{said:#}");
    daemon.crash();

    // Nothing says yet that it will not be back in a moment.
    status(&sandbox).exits(0).says(&["the daemon was last seen"]);
    sandbox.run(&["status", "--probe"]).exits(0).says(&["the daemon was seen"]);
    last_seen(&sandbox, MINUTE * 2);
    status(&sandbox).exits(0);
    last_seen(&sandbox, MINUTE * 4);
    status(&sandbox).exits(1).says(&["daemon_silent:main", "systemctl status trustsync"]);
    sandbox.run(&["status", "--probe"]).exits(1).says(&["no sign of life since"]);
    remember(&sandbox, "next_due", ago(MINUTE * 4));
    status(&sandbox).exits(2).says(&["daemon_silent:main", "is overdue since"]);
    // The folder outlives a daemon; its file may not.
    fs::remove_file(heartbeat(&sandbox)).unwrap();
    remember(&sandbox, "last_attempt", ago(MINUTE * 40));
    edit(&sandbox.store().join("state.json"), |state| state["targets"] = json!({}));
    status(&sandbox).exits(2).says(&["daemon_silent:main"]);

    // It is back, and all is well.
    let daemon = start(&sandbox);
    daemon.wait_until("all is well", || status(&sandbox).code == 0);
}

#[test]
fn a_timer_takes_the_place_of_a_daemon_and_a_timer_that_is_off_is_seen_by_the_due_times() {
    let sandbox = Sandbox::new();
    let daemon = start(&sandbox);
    daemon.wait_for("published", 1);
    daemon.wait_until("the first cycle's end", || status(&sandbox).code == 0);
    daemon.stop();
    last_seen(&sandbox, MINUTE * 5);
    // A look by hand makes nobody a timer.
    for _ in 0..2 {
        sandbox.sync(&[]).exits(0);
        status(&sandbox).exits(1).says(&["daemon_silent:main"]);
    }
    sandbox.sync(&[]).exits(0);
    status(&sandbox).exits(0);

    for (late, code, word) in
        [(MINUTE * 50, 0, "OK"), (MINUTE * 75, 1, "poll_overdue:us"), (MINUTE * 200, 2, "poll_overdue:us")]
    {
        remember(&sandbox, "next_due", ago(late));
        status(&sandbox).exits(code).says(&[word]);
    }
    sandbox.sync(&[]).exits(0);
    status(&sandbox).exits(0);
}

/// A sign of life is somebody else's file: it is neither followed nor believed, whatever it is.
#[test]
fn what_is_no_sign_of_life_is_not_read() {
    let sandbox = Sandbox::new();
    let daemon = start(&sandbox);
    daemon.wait_for("published", 1);
    daemon.wait_until("the first cycle's end", || status(&sandbox).code == 0);
    daemon.crash();
    let (path, good) = (heartbeat(&sandbox), fs::read(heartbeat(&sandbox)).unwrap());
    let elsewhere = sandbox.path("elsewhere.json");
    fs::write(&elsewhere, &good).unwrap();
    let unseen = |what: &str| {
        let said = sandbox.run(&["status", "--output", "json"]).json();
        assert_eq!(said["daemon"]["seen"], Value::Null, "{what}: {said:#}");
        fs::remove_file(&path).unwrap();
    };
    fs::remove_file(&path).unwrap();
    symlink(&elsewhere, &path).unwrap();
    unseen("a symlink");
    fs::write(&path, [good.as_slice(), &vec![b' '; 1024 * 1024]].concat()).unwrap();
    unseen("a large file");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    unseen("a pipe");
    fs::write(&path, "nonsense").unwrap();
    unseen("nonsense");
    fs::write(&path, &good).unwrap();
    let said = sandbox.run(&["status", "--output", "json"]).json();
    assert!(said["daemon"]["seen"].is_string(), "{said:#}");
}

#[test]
fn an_emptied_store_is_critical_and_polled_at_once() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let daemon = start(&sandbox);
    daemon.wait_until("it watches", || daemon.watches(&sandbox.store()));
    daemon.wait_until("all is well", || state_of(&sandbox.run(&["status", "--output", "json"])) == "ok");
    let begun = Instant::now();
    for entry in fs::read_dir(sandbox.store()).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() && !entry.is_symlink() { fs::remove_dir_all(entry) } else { fs::remove_file(entry) }.unwrap();
    }
    daemon.wait_for("state_lost", 1);
    daemon.wait_for("published", 1);
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    assert_eq!(sandbox.pins().len(), 1);
    // What was denied or held is forgotten: somebody must hear of it, though all else is in place again.
    daemon.wait_until("the alarm", || status(&sandbox).stdout.contains("state_lost:main"));
}

#[test]
fn what_is_changed_right_after_a_publication_is_repaired_at_once() {
    let sandbox = Sandbox::new();
    let daemon = start(&sandbox);
    daemon.wait_for("published", 1);
    for round in 1..=4 {
        // Its own look at what it wrote is over, and the kernel cannot watch the folder that is new yet.
        daemon.wait_for("published", usize::try_from(2 * round - 1).unwrap());
        let generation = sandbox.store().join("generations").join(format!("{:06}", 2 * round - 1));
        let begun = Instant::now();
        fs::write(generation.join("leaves.pem"), "").unwrap();
        daemon.wait_until("the repair", || sandbox.current() == Some(2 * round));
        assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
        sandbox.world().rotate().unwrap();
        sandbox.world().rotate().unwrap();
        daemon.signal(Signal::USR1);
    }
}
