//! What stands where a request belongs: whatever it is, however deep, it is taken away, removed, and blocks nobody.

use std::process::Command;

use support::host::Host;
use support::privilege::as_nobody;

fn settled() -> Option<Host> {
    let host = Host::new()?;
    host.add_target("edge", "");
    host.sync().exits(0);
    Some(host)
}

/// Folders within one another, each with a file, as the daemon's user makes them.
const DEEP: &str = "import os, sys
os.chdir(sys.argv[1])
for at in range(int(sys.argv[2])):
    os.mkdir('x')
    open('file', 'w').close()
    os.symlink(sys.argv[3], 'link')
    os.chdir('x')
";

fn make_deep(host: &Host, folder: &str, depth: u32) {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", DEEP, folder, &depth.to_string(), host.path("precious").to_str().unwrap()]);
    assert!(as_nobody(&command).status().unwrap().success());
}

fn names(host: &Host, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(host.path(folder)).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_folder_in_a_requests_place_keeps_the_daemon_from_asking_no_longer_than_until_it_asks() {
    let Some(host) = settled() else { return };
    // Nobody takes it away meanwhile.
    host.shell("cd $ROOT/targets/requests; mkdir -p edge/a/b .new-edge/a .new-edge.2/a .new-edge.3/a .new-edge.4/a; touch edge/a/f");
    host.sandbox.world().set_days_left(60).unwrap();
    host.daemon(&["sync"]).exits(7).says(&["trustsync-apply@edge"]);
    assert!(host.path("targets/requests/edge").is_file());
    assert!(!names(&host, "targets/requests").iter().any(|name| name.starts_with(".old-")));
    host.apply("edge").exits(0);
    host.sync().exits(0);
    assert_eq!(host.linked("edge"), Some(2));
}

#[test]
fn a_request_that_is_deeper_than_files_may_be_open_is_removed_and_nothing_it_points_to() {
    let Some(host) = settled() else { return };
    std::fs::create_dir(host.path("precious")).unwrap();
    std::fs::write(host.path("precious/file"), "precious").unwrap();
    host.shell("mkdir $ROOT/targets/requests/edge");
    make_deep(&host, host.path("targets/requests/edge").to_str().unwrap(), 1_100);
    let apply = host.apply_command("edge");
    let mut limited = Command::new("prlimit");
    limited.args(["--nofile=64:64", "--"]).arg(apply.get_program()).args(apply.get_args());
    limited.current_dir(host.path("")).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = support::sandbox::run(&mut limited).exits(0);
    assert_eq!(names(&host, "targets/requests"), Vec::<String>::new(), "{ran:?}");
    assert_eq!(names(&host, "targets/consumed"), Vec::<String>::new(), "{ran:?}");
    assert_eq!(std::fs::read_to_string(host.path("precious/file")).unwrap(), "precious");
}

#[test]
fn what_is_too_much_to_be_removed_at_once_is_said_and_goes_in_the_end() {
    let Some(host) = settled() else { return };
    std::fs::create_dir(host.path("precious")).unwrap();
    host.shell("mkdir $ROOT/targets/requests/edge");
    make_deep(&host, host.path("targets/requests/edge").to_str().unwrap(), 2_000);
    host.apply("edge").exits(0).says(&["apply_not_swept", "more than 5000 entries"]);
    let mut turns = 0;
    while !names(&host, "targets/consumed").is_empty() {
        turns += 1;
        assert!(turns < 5, "{:?}", names(&host, "targets/consumed").len());
        host.apply("edge").exits(0);
    }
    host.apply("edge").exits(0).never_says(&["apply_not_swept"]);
}

#[test]
fn the_requests_of_a_target_whose_name_begins_with_anothers_are_left_to_it() {
    let Some(host) = settled() else { return };
    host.add_target("edge-2", "");
    let taken = host.path("targets/consumed/edge-2@1-2-3");
    std::fs::write(&taken, "").unwrap();
    host.apply("edge").exits(0);
    assert!(taken.exists());
    host.apply("edge-2").exits(0);
    assert!(!taken.exists());
}
