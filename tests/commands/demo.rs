//! `trustsync demo`: it shows the main job, fails when the main job does not work, and leaves nothing behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use support::sandbox::{Ran, run};
use tempfile::TempDir;
use trustsync::commands::demo::perform;

/// The demo with a folder for temporary files of its own, and nothing else in its environment.
fn demo(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trustsync"));
    command.arg("demo").env_clear().env("TMPDIR", temporary);
    command
}

fn left_in(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn assert_whole(ran: &Ran) {
    let scenes = [
        "Outside the window",
        "The window opens",
        "The vendor switches",
        "retires",
        "The grace ends",
        "The CA revokes",
    ];
    let mut rest = ran.stdout.as_str();
    for scene in scenes {
        let at =
            rest.find(scene).unwrap_or_else(|| panic!("{scene:?} is missing, or not in its place:\n{}", ran.stdout));
        rest = &rest[at..];
    }
    for piece in ["✔ admitted", "✘ refused (HTTP 403)", "generation 000004 published", "Everything was as expected"]
    {
        assert!(ran.stdout.contains(piece), "{piece:?}:\n{}", ran.stdout);
    }
    // Revoked, it is out at the next poll, while the upcoming one is in.
    for (who, door) in [("the current, now revoked", "✘ refused (HTTP 403)"), ("the upcoming one", "✔ admitted")] {
        let line = rest.lines().find(|line| line.contains(who)).unwrap_or_else(|| panic!("{who:?}:\n{rest}"));
        assert!(line.contains(door), "{line}");
    }
    assert!(!ran.stdout.contains("NOT") && !ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
}

#[test]
fn it_shows_a_whole_rotation_in_time_and_leaves_nothing_behind() {
    let temporary = TempDir::new().unwrap();
    let ran = run(&mut demo(temporary.path())).exits(0);
    assert_whole(&ran);
    // Seconds, where the machine has nothing else to do.
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
    assert_eq!(left_in(temporary.path()), Vec::<String>::new());
}

#[test]
fn it_needs_no_root() {
    let temporary = TempDir::new().unwrap();
    if !rustix::process::geteuid().is_root() {
        run(&mut demo(temporary.path())).exits(0);
        return;
    }
    let binary = TempDir::new().unwrap();
    for folder in [temporary.path(), binary.path()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let copy = binary.path().join("trustsync");
    fs::copy(env!("CARGO_BIN_EXE_trustsync"), &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&copy).arg("demo");
    let ran = run(command.env("TMPDIR", temporary.path())).exits(0);
    assert_whole(&ran);
    assert_eq!(left_in(temporary.path()), Vec::<String>::new());
}

#[test]
fn it_talks_to_loopback_alone() {
    let temporary = TempDir::new().unwrap();
    let seen = temporary.path().join("calls");
    let plain = demo(temporary.path());
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq", "-e", "trace=connect,bind,sendto,sendmsg", "-o"]).arg(&seen);
    traced.arg(plain.get_program()).args(plain.get_args()).env("TMPDIR", temporary.path());
    run(&mut traced).exits(0);
    let calls = fs::read_to_string(&seen).expect("strace is needed");
    let addresses: Vec<&str> =
        calls.lines().filter(|line| line.contains("sin_addr") || line.contains("sin6_addr")).collect();
    assert!(addresses.len() > 20, "{calls}");
    for call in addresses {
        assert!(call.contains("\"127.0.0.1\"") || call.contains("\"::1\""), "{call}");
    }
}

#[test]
fn ended_early_it_leaves_nothing_behind() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for scene in ["between", "Outside the window", "The vendor switches"] {
            let temporary = TempDir::new().unwrap();
            let mut child = demo(temporary.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert!(lines.any(|line| line.unwrap().contains(scene)));
            assert_eq!(left_in(temporary.path()).len(), 1, "it works in one folder of its own");
            kill_process(Pid::from_child(&child), signal).unwrap();
            // What it still prints is read, so that it is never stuck on a full pipe.
            lines.for_each(drop);
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{signal:?} {scene}: {stderr}");
            assert!(stderr.contains("cut short by a signal"), "{stderr}");
            assert_eq!(left_in(temporary.path()), Vec::<String>::new(), "{signal:?} {scene}");
        }
    }
}

#[test]
fn a_reader_that_goes_away_leaves_nothing_behind_either() {
    let temporary = TempDir::new().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = demo(temporary.path()).stdout(writer).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
    assert_eq!(left_in(temporary.path()), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_had_is_said() {
    let ran = run(&mut demo(Path::new("/does/not/exist"))).exits(1);
    ran.says(&["/does/not/exist"]);
}

/// What the library's door says and prints.
fn performed(meddle: impl Fn(&Path)) -> (bool, String) {
    let mut paper = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let as_expected = runtime.block_on(perform(&mut paper, false, meddle)).unwrap();
    (as_expected, String::from_utf8(paper).unwrap())
}

#[test]
fn it_fails_if_publishing_or_reloading_is_broken() {
    let (as_expected, text) = performed(|_| {});
    assert!(as_expected && !text.contains("NOT"), "{text}");

    let (as_expected, text) = performed(|folder| {
        // No generation can be written after the first one.
        let generations = folder.join("store/generations");
        let aside = folder.join("store/aside");
        if generations.is_dir() && !aside.exists() {
            fs::rename(&generations, &aside).unwrap();
            fs::write(&generations, "in the way").unwrap();
        }
    });
    assert!(!as_expected && text.contains("the cycle failed") && text.contains("NOT AS EXPECTED"), "{text}");

    let (as_expected, text) = performed(|folder| {
        // The server is never reloaded.
        let path = folder.join("trustsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("\nreload = ", "\n# reload = ")).unwrap();
    });
    assert!(!as_expected && text.contains("OWED"), "{text}");
    // It was published, so the only thing missing is that the server knows: the upcoming one is kept out.
    let opened = text.split("The window opens").nth(1).unwrap().split("The vendor switches").next().unwrap();
    assert!(opened.contains("generation 000002 published"), "{opened}");
    let upcoming = opened.lines().find(|line| line.contains("the upcoming one")).unwrap();
    assert!(upcoming.contains("✘ refused") && upcoming.contains("NOT AS EXPECTED"), "{upcoming}");
}
