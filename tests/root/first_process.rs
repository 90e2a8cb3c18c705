//! The daemon as process 1 of a container: what checks and reloads leave behind is its child in the end.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};
use support::daemon::Daemon;
use support::privilege::is_root;
use support::program;
use support::sandbox::Sandbox;

/// The state and the parent of a process.
fn state_and_parent(pid: &str) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

/// The children of a process, each with its state.
fn children_of(parent: u32) -> Vec<(u32, String)> {
    let numbers = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let of_parent = |number: String| {
        let (state, of) = state_and_parent(&number)?;
        (of == parent).then_some((number.parse().ok()?, state))
    };
    numbers.filter_map(of_parent).collect()
}

#[test]
fn as_process_1_the_daemon_waits_for_orphans_and_for_none_that_is_its_own() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    // Each leaves two behind: one that has ended by then, and one that ends later. How the command itself ends counts.
    let leaves = "(true &); (sleep 0.3 &); sleep 0.05";
    for name in ["a", "b", "c", "d"] {
        let told = sandbox.path(&format!("told-{name}"));
        let check = ["sh", "-c", &format!("{leaves}; exit 0")];
        let reload = ["sh", "-c", &format!("{leaves}; echo told >> {}", told.display())];
        sandbox.append(&format!(
            "\n[target.{name}]\nkind = \"generic\"\ncheck = {check:?}\nreload = {{ command = {reload:?} }}\n"
        ));
    }
    let failing = ["sh", "-c", &format!("{leaves}; exit 3")];
    sandbox.append(&format!("\n[target.failing]\nkind = \"generic\"\ncheck = {failing:?}\nreload = \"none\"\n"));
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"]).arg(program());
    command.arg("--config").arg(sandbox.path("config.toml")).arg("run").envs(sandbox.environment());
    let daemon = Daemon::start(&mut command, sandbox.path("log"));
    daemon.wait_for("published", 1);
    let told = |times: usize| ["a", "b", "c", "d"].iter().all(|name| sandbox.reload_requests(name) == times);
    daemon.wait_until("each is told", || told(1));
    daemon.wait_for("target_check_failed", 1);
    assert!(daemon.text("target_check_failed").contains("exit code 3"), "{}", daemon.text("target_check_failed"));

    let first = children_of(daemon.pid()).first().expect("the daemon runs").0;
    daemon.wait_until("nobody is left", || children_of(first).is_empty());
    // The next turns are as good as the first.
    sandbox.world().set_days_left(60).unwrap();
    let polls = daemon.count("listings_read");
    kill_process(Pid::from_raw(i32::try_from(first).unwrap()).unwrap(), Signal::USR1).unwrap();
    daemon.wait_for("listings_read", polls + 1);
    daemon.wait_until("each is told again", || told(2));
    daemon.wait_until("nobody is left", || children_of(first).is_empty());
    assert_eq!(daemon.count("target_not_told") + daemon.count("target_check_not_run"), 0, "{:#?}", daemon.log());
}
