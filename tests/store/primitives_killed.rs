//! The store under kills at every system call that changes it, and under the question whether what a rename exposed had
//! been fsynced; with the harness' own proofs that it would notice.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use support::privilege::{role, second_role};
use support::strace::{self, Argument, Call, Follow, assert_durable, durability_faults};
use tempfile::TempDir;
use trustsync::store::file;
use trustsync::store::{Files, Link, LinkPath, Lock, Store, generation, sweep};
use trustsync::trust::values::timestamp::Timestamp;

const STATES: [&str; 2] = ["{\"wanted\":\"old\"}", "{\"wanted\":\"new\"}"];

fn content(word: &str) -> Files {
    ["manifest.json", "nginx/allow.map", "slot/current.pem"]
        .map(|name| (name.to_owned(), format!("{word} {name}\n").repeat(300).into_bytes()))
        .into()
}

/// What a cycle that wants `word` does to the disk, from wherever a crash left it.
fn publish(root: &Path, word: &str, state: &str) {
    Store::open(root).unwrap();
    let lock = Lock::acquire(root, "test", Timestamp::from_unix(0), Duration::ZERO).unwrap();
    let current = LinkPath::current(root);
    let target = LinkPath::target(root, "nginx").unwrap();
    let before = match current.read().unwrap() {
        Link::Generation(number) => Some(number),
        Link::Missing => None,
        Link::Foreign(text) => panic!("{text}"),
    };
    assert!(sweep(root, &before.into_iter().collect()).failures.is_empty());
    let first = "manifest.json";
    let has = |number| generation::read_file(&root.join(generation::DIRECTORY), number, first, 1 << 20).unwrap();
    let wanted = match before {
        Some(number) if has(number).as_ref() == Some(&content(word)[first]) => number,
        _ => {
            let newest = generation::list(root).unwrap().last().copied().unwrap_or(0);
            generation::write(root, newest + 1, &content(word)).unwrap();
            current.switch(newest + 1).unwrap();
            newest + 1
        }
    };
    if target.read().unwrap() != Link::Generation(wanted) {
        target.switch(wanted).unwrap();
    }
    if file::replace(&root.join("state.json"), state.as_bytes()).unwrap() == file::Replaced::Written {
        file::append(&root.join("evidence.jsonl"), state).unwrap();
    }
    assert!(sweep(root, &BTreeSet::from([wanted])).failures.is_empty());
    drop(lock);
}

/// So that modes are not right by themselves, and each `fchmod` is there to be killed at.
fn publish_under_a_tight_umask(root: &Path) {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    publish(root, "new", STATES[1]);
}

/// The generation that a link shows must be the old or the new one, whole.
fn shown(link: &Path) -> &'static str {
    let word = ["old", "new"]
        .into_iter()
        .find(|word| fs::read(link.join("manifest.json")).unwrap() == content(word)["manifest.json"])
        .unwrap_or_else(|| panic!("{} shows neither", link.display()));
    assert_whole(link, word);
    word
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn assert_whole(at: &Path, word: &str) {
    for (name, bytes) in content(word) {
        let path = at.join(&name);
        let told = path.display();
        assert_eq!(fs::read(&path).unwrap(), bytes, "{told}");
        assert_eq!(mode(&path), 0o644, "{told}");
        assert_eq!(mode(path.parent().unwrap()), 0o755, "{told}");
    }
}

fn assert_readers_see_the_old_or_the_new(root: &Path) {
    shown(&root.join("current"));
    shown(&root.join("target/nginx"));
    // A reader that lists finds whole ones only, too.
    for number in generation::list(root).unwrap() {
        shown(&generation::path(root, number));
    }
    let state = fs::read_to_string(root.join("state.json")).unwrap();
    assert!(STATES.contains(&state.as_str()), "{state}");
}

fn assert_converges(root: &Path) {
    publish(root, "new", STATES[1]);
    assert_eq!(shown(&root.join("current")), "new");
    assert_eq!(shown(&root.join("target/nginx")), "new");
    assert_eq!(fs::read_to_string(root.join("state.json")).unwrap(), STATES[1]);
    let evidence = fs::read_to_string(root.join("evidence.jsonl")).unwrap();
    assert!(evidence.ends_with('\n') && evidence.starts_with(STATES[0]), "{evidence}");
    assert_eq!(generation::list(root).unwrap().len(), 1);
    for directory in ["", "generations", "target"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.'), "{name} was left behind");
        }
    }
}

fn writer(root: &Path) -> std::process::Command {
    second_role(&std::env::current_exe().unwrap(), "writer", root)
}

#[test]
fn killed_at_any_call_readers_see_a_whole_generation_and_the_next_run_converges() {
    if let Some((_, root)) = role() {
        return publish_under_a_tight_umask(&root);
    }
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let fresh = || {
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        publish(&root, "old", STATES[0]);
    };
    fresh();
    let calls = strace::record(&writer(&root));
    assert_durable(&calls, &root);
    assert_converges(&root);

    let hits = strace::kill_points(
        Follow::Everything,
        strace::ALL,
        || {
            fresh();
            writer(&root)
        },
        |point| {
            let told = point.map_or("not killed".into(), |point| point.to_string());
            println!("{told}");
            assert_readers_see_the_old_or_the_new(&root);
            assert_converges(&root);
        },
    );
    // The test binary writes to its terminal, too: what was hit includes every call on the store.
    for family in strace::ALL {
        let wanted = strace::count(&calls, family, &root);
        let hit: u32 = family.iter().filter_map(|name| hits.get(name)).sum();
        assert!(wanted > 0, "the store made no call of {family:?}");
        assert!(hit >= wanted, "{family:?}: {hit} hits for {wanted} calls");
    }
}

#[test]
fn a_store_that_is_made_from_nothing_is_durable_and_survives_a_kill_at_any_call() {
    if let Some((_, root)) = role() {
        return publish_under_a_tight_umask(&root);
    }
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("store");
    let calls = strace::record(&writer(&root));
    assert_durable(&calls, &root);
    let fresh = || {
        for path in [&root, &directory.path().join(".store.new")] {
            if path.exists() {
                fs::remove_dir_all(path).unwrap();
            }
        }
        writer(&root)
    };
    let families = [strace::RENAME, strace::SYMLINK, strace::FSYNC, strace::MKDIR];
    strace::kill_points(Follow::Everything, &families, fresh, |_| {
        for link in [root.join("current"), root.join("target/nginx")] {
            if link.is_symlink() {
                assert_whole(&link, "new");
            }
        }
        publish(&root, "new", STATES[1]);
        assert_eq!(shown(&root.join("target/nginx")), "new");
        assert!(!directory.path().join(".store.new").exists());
    });
}

fn fd(path: &str) -> Argument {
    Argument::Descriptor(3, PathBuf::from(path))
}

fn path(path: &str) -> Argument {
    Argument::Text(path.to_owned())
}

/// A durable publication, written by hand.
fn publication() -> Vec<Call> {
    let flags = || Argument::Other("O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC".into());
    let here = || Argument::Descriptor(-100, PathBuf::from("/elsewhere"));
    vec![
        Call::made("mkdir", vec![path("/s/generations/.new-000002")]),
        Call::made("mkdirat", vec![here(), path("/s/generations/.new-000002/nginx")]),
        Call::made("openat", vec![here(), path("/s/generations/.new-000002/nginx/a"), flags()]),
        Call::made("write", vec![fd("/s/generations/.new-000002/nginx/a"), path("text")]),
        Call::made("fchmod", vec![fd("/s/generations/.new-000002/nginx/a")]),
        Call::made("fsync", vec![fd("/s/generations/.new-000002/nginx/a")]),
        Call::made("fsync", vec![fd("/s/generations/.new-000002/nginx")]),
        Call::made("fsync", vec![fd("/s/generations/.new-000002")]),
        Call::made("rename", vec![path("/s/generations/.new-000002"), path("/s/generations/000002")]),
        Call::made("fsync", vec![fd("/s/generations")]),
        Call::made("symlink", vec![path("generations/000002"), path("/s/.current.new")]),
        Call::made("rename", vec![path("/s/.current.new"), path("/s/current")]),
        Call::made("fsync", vec![fd("/s")]),
        Call::made("rename", vec![path("/s/generations/000001"), path("/s/generations/.old-000001")]),
        Call::made("fsync", vec![fd("/s/generations")]),
        Call::made("unlinkat", vec![fd("/s/generations/.old-000001"), path("a")]),
        Call::made("rmdir", vec![path("/s/generations/.old-000001")]),
    ]
}

#[test]
fn the_harness_notices_each_fsync_that_is_missing() {
    let root = Path::new("/s");
    assert_durable(&publication(), root);
    let fsyncs: Vec<usize> = (0..publication().len()).filter(|at| publication()[*at].name == "fsync").collect();
    assert_eq!(fsyncs.len(), 6);
    for at in fsyncs {
        let mut calls = publication();
        let missing = calls.remove(at);
        let faults = durability_faults(&calls, root);
        let place = missing.descriptor().unwrap().display().to_string();
        assert!(faults.iter().any(|fault| fault.contains(&place)), "without {missing:?}: {faults:?}");
        // One that failed is as good as none.
        let mut calls = publication();
        calls[at].result = Some(-1);
        assert!(!durability_faults(&calls, root).is_empty());
    }
}

#[test]
fn the_harness_notices_an_fsync_that_comes_too_early_or_too_late() {
    let root = Path::new("/s");
    let text = |calls: &[Call]| durability_faults(calls, root).join("\n");
    let (write, chmod, sync, exposed, parent) = (3, 4, 5, 8, 9);

    let mut calls = publication();
    calls.swap(sync, write);
    assert!(text(&calls).contains("before the rename that exposes it"));
    let mut calls = publication();
    calls.swap(sync, chmod);
    assert!(text(&calls).contains("before the rename that exposes it"));
    let mut calls = publication();
    calls.swap(exposed, parent);
    assert!(text(&calls).contains("/s/generations was not fsynced after"));
    let mut calls = publication();
    calls.swap(14, 15);
    assert!(text(&calls).contains("was unlinked before"), "{}", text(&calls));

    let append = [
        Call::made("rename", vec![path("/s/.state.json.new"), path("/s/state.json")]),
        Call::made("fsync", vec![fd("/s")]),
        Call::made("write", vec![fd("/s/evidence.jsonl"), path("line")]),
    ];
    assert!(text(&append).contains("/s/evidence.jsonl was never fsynced"));
    assert!(text(&[]).contains("nothing is shown"));
    let lock = Call::made("write", vec![fd("/s/lock"), path("1")]);
    assert!(!text(&[lock]).contains("/s/lock was"));
}

#[test]
fn the_harness_reads_what_strace_writes() {
    let calls = strace::parse(
        r#"12 openat(AT_FDCWD</home/a b>, "x, (1)\"", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644) = 3</home/a b/x>
12 write(3</s/x>, "a\")<b>, c"..., 5000 <unfinished ...>
13 fsync(4</s/gone>(deleted)) = -1 EIO (Input/output error)
12 <... write resumed>) = 5000
12 renameat2(AT_FDCWD</>, "/s/.a", 5</s/d>, "b", RENAME_NOREPLACE) = 0
13 +++ killed by SIGKILL +++
12 fsync(3</s/x>)                      = ?
12 +++ exited with 0 +++
"#,
    );
    let names: Vec<&str> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["openat", "fsync", "write", "renameat2", "fsync"]);
    assert_eq!(calls[0].paths(), [PathBuf::from("/home/a b/x, (1)\"")]);
    assert_eq!(calls[0].result, Some(3));
    assert_eq!((calls[1].pid, calls[1].result), (13, Some(-1)));
    assert_eq!(calls[1].descriptor(), Some(Path::new("/s/gone")));
    assert_eq!((calls[2].pid, calls[2].result), (12, Some(5000)));
    assert_eq!(calls[2].descriptor(), Some(Path::new("/s/x")));
    assert_eq!(calls[3].paths(), [PathBuf::from("/s/.a"), PathBuf::from("/s/d/b")]);
    assert_eq!(calls[4].result, None);
}

#[test]
fn the_harness_notices_a_real_program_that_forgets_to_fsync() {
    let directory = TempDir::new().unwrap();
    let root = directory.path();
    let script = "set -eu; echo new > .a.new; mv .a.new a";
    let mut careless = std::process::Command::new("sh");
    careless.args(["-c", script]).current_dir(root);
    let faults = durability_faults(&strace::record(&careless), root).join("\n");
    assert!(faults.contains("a was never fsynced after its last change"), "{faults}");
    assert!(faults.contains("was never fsynced after"), "{faults}");

    let mut careful = std::process::Command::new("sh");
    careful.args(["-c", "set -eu; echo new > .a.new; sync .a.new; mv .a.new a; sync ."]).current_dir(root);
    assert_durable(&strace::record(&careful), root);
}

#[test]
fn the_harness_kills_before_the_call_takes_effect() {
    let directory = TempDir::new().unwrap();
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    let mut outcomes = Vec::new();
    let hits = strace::kill_points(
        Follow::MainThread,
        &[strace::RENAME],
        || {
            fs::write(&from, "x").unwrap();
            let _ = fs::remove_file(&to);
            let mut command = std::process::Command::new("mv");
            command.arg(&from).arg(&to);
            command
        },
        |point| {
            assert_eq!((from.exists(), to.exists()), (point.is_some(), point.is_none()));
            outcomes.push(point.is_some());
        },
    );
    assert_eq!(hits.values().sum::<u32>(), 1, "{hits:?}");
    assert_eq!(outcomes.iter().filter(|killed| **killed).count(), 1);
    assert!(outcomes.len() > 1);
}

#[test]
#[should_panic(expected = "was ever hit: the test proves nothing")]
fn the_harness_fails_when_it_never_hit_a_call() {
    let command = || std::process::Command::new("true");
    strace::kill_points(Follow::MainThread, &[strace::SYMLINK], command, |_| {});
}
