//! Several targets of one store: in parallel or in order, isolated from one another, and told once of what came together.

use std::fs;

use support::daemon::Daemon;
use support::sandbox::Sandbox;

/// A target whose hook is this script, run in the sandbox's folder.
fn add_target(sandbox: &Sandbox, name: &str, script: &str, more: &str) {
    let script = format!("cd '{}' || exit 1\n{script}", sandbox.folder.path().display());
    sandbox.append(&format!(
        "\n[target.{name}]\nkind = \"generic\"\n{more}\nreload = {{ command = [\"/bin/sh\", \"-c\", {}] }}\n",
        serde_json::to_string(&script).unwrap()
    ));
}

/// A line for each hook's beginning and end, in the order in which they came.
fn happened(sandbox: &Sandbox) -> Vec<String> {
    fs::read_to_string(sandbox.path("happened")).unwrap_or_default().lines().map(str::to_owned).collect()
}

const WITH_A_NOTE: &str = "echo \"$TRUSTSYNC_TARGET begins $TRUSTSYNC_GENERATION\" >> happened";

#[test]
fn in_parallel_targets_overlap_and_in_order_they_do_not() {
    let sandbox = Sandbox::new();
    // Each ends only once the other has begun.
    for (name, other) in [("a", "b"), ("b", "a")] {
        let script = format!(
            "{WITH_A_NOTE}; until grep -q '{other} begins' happened; do sleep 0.02; done; echo \"{name} ends\" >> \
             happened"
        );
        add_target(&sandbox, name, &script, "reload_timeout = \"20s\"");
    }
    let ran = sandbox.sync(&[]).exits(0);
    // Said as configured, whichever came to its end first.
    let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.contains("target ")).collect();
    assert!(lines[0].contains("target a") && lines[1].contains("target b"), "{}", ran.stdout);
    let mut all = happened(&sandbox);
    assert!(all[..2].iter().all(|line| line.contains("begins 000001")), "{all:?}");
    all.sort();
    assert_eq!(all, ["a begins 000001", "a ends", "b begins 000001", "b ends"]);

    let sandbox = Sandbox::new();
    sandbox.append("turns = \"ordered\"\n");
    for name in ["b", "c", "a"] {
        add_target(&sandbox, name, &format!("{WITH_A_NOTE}; sleep 0.05; echo \"{name} ends\" >> happened"), "");
    }
    sandbox.sync(&[]).exits(0);
    let all = happened(&sandbox);
    assert_eq!(all, ["a begins 000001", "a ends", "b begins 000001", "b ends", "c begins 000001", "c ends"]);
}

#[test]
fn one_that_hangs_or_fails_keeps_no_other_back() {
    for turns in ["parallel", "ordered"] {
        let sandbox = Sandbox::new();
        sandbox.append(&format!("turns = \"{turns}\"\n"));
        add_target(&sandbox, "a-fails", "echo 'no way'; exit 3", "");
        // Deaf to nothing, but in no hurry: it is told to end, and then killed with its children.
        let hangs = "trap 'echo told-to-end >> ended' TERM; sleep 1000 & echo $! > child; wait; wait; sleep 1000";
        add_target(&sandbox, "b-hangs", hangs, "reload_timeout = \"500ms\"");
        add_target(&sandbox, "c-works", WITH_A_NOTE, "");
        let ran = sandbox.sync(&[]).exits(7);
        assert_eq!(happened(&sandbox), ["c-works begins 000001"], "{turns}");
        assert_eq!(fs::read_to_string(sandbox.path("ended")).unwrap(), "told-to-end\n");
        let child = fs::read_to_string(sandbox.path("child")).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z"), "{stat}");
        ran.says(&["exit code 3: no way", "did not end in time"]);
        let state = sandbox.state();
        assert_eq!(state["targets"]["c-works"]["acknowledged"], 1);
        for owed in ["a-fails", "b-hangs"] {
            assert!(state["targets"][owed]["owed"].is_object(), "{state}");
            assert!(state["alarms"].as_object().unwrap().keys().any(|id| id.ends_with(owed)), "{state}");
        }
        // What is owed is tried again; who is settled is left alone.
        sandbox.sync(&[]).exits(7);
        assert_eq!(happened(&sandbox).len(), 1, "{turns}");
    }
}

#[test]
fn what_one_came_to_is_kept_while_another_is_still_at_it() {
    let sandbox = Sandbox::new();
    // It ends only once the other one's success stands on the disk.
    let patient = "until grep -q '\"acknowledged\": 1' store/state.json; do sleep 0.02; done; echo seen >> happened";
    add_target(&sandbox, "a", patient, "reload_timeout = \"20s\"");
    add_target(&sandbox, "b", WITH_A_NOTE, "");
    sandbox.sync(&[]).exits(0);
    assert_eq!(happened(&sandbox), ["b begins 000001", "seen"]);
}

#[test]
fn a_crash_amid_parallel_turns_loses_no_other_targets_standing() {
    let sandbox = Sandbox::new();
    add_target(&sandbox, "a", WITH_A_NOTE, "");
    add_target(&sandbox, "b", &format!("{WITH_A_NOTE}; [ ! -e hang ] || sleep 1000"), "reload_timeout = \"1h\"");
    sandbox.sync(&[]).exits(0);
    // A change; this time the second hook hangs, and the daemon dies in the middle of it.
    fs::write(sandbox.path("hang"), "").unwrap();
    let leaf = sandbox.current_leaf();
    let mut crashed =
        sandbox.command(&["distrust", "--yes", &leaf]).stdin(std::process::Stdio::null()).spawn().unwrap();
    let settled = || sandbox.state()["targets"]["a"]["acknowledged"] == 2;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !settled() {
        assert!(std::time::Instant::now() < deadline, "{}", sandbox.state());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(sandbox.state()["targets"]["b"]["acknowledged"], 1, "what was known of it is not forgotten meanwhile");
    crashed.kill().unwrap();
    crashed.wait().unwrap();
    fs::remove_file(sandbox.path("hang")).unwrap();
    sandbox.sync(&[]);
    assert_eq!(sandbox.state()["targets"]["b"]["acknowledged"], 2);
}

#[test]
fn the_daemon_tells_once_of_what_came_together() {
    let sandbox = Sandbox::new();
    let more: String = ["eu", "ap"].map(|name| sandbox.source(name, "us-east-1")).concat();
    sandbox.configure(&format!("{more}{}", sandbox.configuration()));
    let hook = format!("{WITH_A_NOTE}; until [ -e go ]; do sleep 0.02; done");
    add_target(&sandbox, "web", &hook, "reload_timeout = \"60s\"");
    let daemon = Daemon::start(&mut sandbox.command(&["run"]), sandbox.path("log"));
    // While the first one's hook is at work, the others' answers come.
    daemon.wait_until("the hook", || happened(&sandbox).len() == 1);
    daemon.wait_for("listings_read", 3);
    fs::write(sandbox.path("go"), "").unwrap();
    daemon.wait_until("both are published", || sandbox.current() == Some(3));
    daemon.wait_until("the target is told", || sandbox.state()["targets"]["web"]["acknowledged"] == 3);
    // Each made a generation; all that came during the first turn, if not before it, is told in one.
    let turns = happened(&sandbox);
    assert!(turns.len() <= 2 && turns.last().unwrap() == "web begins 000003", "{turns:?}");
    daemon.stop();
}
