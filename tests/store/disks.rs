//! Disks that refuse, under a store that has a generation: what servers read stays, the words say what to do, and once the
//! cause is mended the next run does the rest.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use support::privilege::{NOBODY, Tmpfs, as_nobody, binary_for_everyone, is_root};
use support::program;
use support::rotation::{Ran, Stage, assert_status_looks, assert_whole};
use support::sandbox::Sandbox;

/// Readers see the old generation or, where the disk refused later than the commit, the new one; each whole.
fn assert_refused(stage: &Stage, ran: Ran, words: &[&str]) {
    let generation = assert_whole(&stage.store.join("current")).unwrap();
    assert_whole(&stage.store.join("target/server")).unwrap();
    let ran = ran.expect(6).says(words).says(&[stage.store.to_str().unwrap()]);
    if generation == 2 {
        assert_eq!(stage.linked("target/server"), Some(2), "{ran:?}");
        stage.assert_served(2, false);
    }
}

fn assert_mended(stage: &Stage) {
    stage.sync().expect(0);
    assert_eq!(assert_whole(&stage.store.join("current")), Some(3));
    assert_eq!(assert_whole(&stage.store.join("target/server")), Some(3));
    stage.assert_served(3, true);
    stage.assert_no_leftovers();
    assert_eq!(stage.state()["alarms"], serde_json::json!({}));
    let committed = stage.evidence().into_iter().filter(|(event, _)| event == "committed");
    assert_eq!(committed.map(|(_, number)| number).collect::<Vec<_>>(), [1, 2, 3]);
}

/// Fills the filesystem at `at` but for `left` bytes.
fn fill(at: &Path, left: u64) {
    let path = at.join("filler");
    let found = rustix::fs::statvfs(at).unwrap();
    let size = (found.f_bavail * found.f_frsize).saturating_sub(left);
    let mut file = File::create(&path).unwrap();
    file.write_all(&vec![b'x'; usize::try_from(size).unwrap()]).unwrap();
}

#[test]
fn a_full_disk_at_every_size() {
    let Some(tmpfs) = Tmpfs::mount("size=2m") else { return };
    let stage = Stage::with_store_at(|_| tmpfs.path().join("store"));
    stage.up_to_the_rotation();
    let page = 4096;
    for (refused, pages) in (0..64).enumerate() {
        stage.restore("before");
        fill(tmpfs.path(), pages * page);
        let ran = stage.sync();
        if ran.code == Some(0) {
            assert!(refused >= 5, "only {refused} sizes were too small");
            fs::remove_file(tmpfs.path().join("filler")).unwrap();
            return assert_mended(&stage);
        }
        assert_refused(&stage, ran, &["the disk is full", "Free space on that filesystem and run again"]);
        stage.run(&["status"]).expect(2);
        stage.run(&["sync", "--dry-run"]).expect(0);
        fs::remove_file(tmpfs.path().join("filler")).unwrap();
        assert_mended(&stage);
    }
    panic!("no size was enough");
}

#[test]
fn a_disk_without_inodes() {
    let Some(tmpfs) = Tmpfs::mount("size=4m,nr_inodes=200") else { return };
    let stage = Stage::with_store_at(|_| tmpfs.path().join("store"));
    stage.up_to_the_rotation();
    for left in [0, 1, 3, 6] {
        stage.restore("before");
        let fillers = tmpfs.path().join("fillers");
        fs::create_dir(&fillers).unwrap();
        let free = rustix::fs::statvfs(tmpfs.path()).unwrap().f_favail;
        for number in 0..free - left {
            File::create(fillers.join(number.to_string())).unwrap();
        }
        assert_refused(&stage, stage.sync(), &["no inodes left", "run again"]);
        fs::remove_dir_all(&fillers).unwrap();
        assert_mended(&stage);
    }
}

#[test]
fn a_read_only_disk() {
    let Some(tmpfs) = Tmpfs::mount("size=4m") else { return };
    let stage = Stage::with_store_at(|_| tmpfs.path().join("store"));
    stage.up_to_the_rotation();
    tmpfs.remount("ro");
    assert_refused(&stage, stage.sync(), &["is read-only", "Mount it read-write"]);
    let status = stage.run(&["status"]).expect(2);
    assert!(status.out.contains("store_failing") && status.out.contains("is read-only"), "{status:?}");
    stage.run(&["history"]).expect(0);
    let rehearsed = stage.run(&["sync", "--dry-run"]).expect(0);
    assert!(rehearsed.out.contains("+ upcoming"), "{}", rehearsed.out);
    for command in ["hold", "rollback"] {
        assert_refused(&stage, stage.run(&[command]), &["is read-only"]);
    }
    tmpfs.remount("rw");
    assert_mended(&stage);
}

#[test]
fn another_users_store() {
    if !is_root() {
        return;
    }
    let stage = Stage::new();
    stage.up_to_the_rotation();
    let secret = stage.dir.path().join("client-secret");
    std::os::unix::fs::chown(&secret, Some(NOBODY), Some(NOBODY)).unwrap();
    let (_folder, program) = binary_for_everyone(&program());
    let nobody = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.arg("--config").arg(stage.config()).args(arguments);
        Ran::of(as_nobody(&command).output().unwrap())
    };
    let us = format!("we run as uid {NOBODY}");
    let advice = "Run as its owner, or give the store to this user";
    assert_refused(&stage, nobody(&["sync"]), &["permission denied", "belongs to uid 0", us.as_str(), advice]);
    assert_status_looks(&nobody(&["status"]));
    nobody(&["sync", "--dry-run"]).expect(0);

    // Half given away: the lock can be had, the generations cannot be written.
    std::os::unix::fs::chown(stage.store.join("lock"), Some(NOBODY), Some(NOBODY)).unwrap();
    assert_refused(&stage, nobody(&["sync"]), &["permission denied", us.as_str(), advice]);

    // What it advises works.
    let given = std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(&stage.store).status().unwrap();
    assert!(given.success());
    nobody(&["sync"]).expect(0);
    assert_eq!(assert_whole(&stage.store.join("target/server")), Some(3));

    // Its own file, by a mode that refuses even its owner: that file is named, and what mends it.
    let evidence = stage.store.join("evidence.jsonl");
    fs::set_permissions(&evidence, Permissions::from_mode(0o444)).unwrap();
    let named = format!("{} belongs to uid {NOBODY}, gid {NOBODY} (mode 0444)", evidence.display());
    let status = nobody(&["status"]);
    assert!(status.out.contains(&named) && status.out.contains("chmod u+rwX"), "{status:?}");
    stage.assert_served(3, true);
    stage.assert_no_leftovers();
}

#[test]
fn a_store_that_everybody_may_write_is_refused() {
    let stage = Stage::new();
    stage.up_to_the_rotation();
    for part in ["", "generations", "target"] {
        let path = stage.store.join(part);
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        stage.sync().expect(6).says(&["is writable by others", "chmod o-w"]);
        assert_eq!(stage.linked("current"), Some(2));
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    }
    assert_mended(&stage);
}

#[test]
fn what_exit_6_says_of_the_generation_is_true_wherever_the_disk_refuses() {
    let sandbox = Sandbox::new();
    sandbox.sync(&[]).exits(0);
    let kept = sandbox.path("kept");
    let copy = |from: &Path, to: &Path| {
        let _ = fs::remove_dir_all(to);
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&sandbox.store(), &kept);
    sandbox.world().set_days_left(60).unwrap();
    let mut moved = 0;
    for at in 1..=60 {
        copy(&kept, &sandbox.store());
        let sync = sandbox.command(&["sync"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync"]);
        command.args(["-e", &format!("inject=fsync:error=EIO:when={at}"), "--"]);
        command.arg(sync.get_program()).args(sync.get_args()).env_clear().env("PATH", "/usr/bin:/bin");
        let ran = support::sandbox::run(command.current_dir(sandbox.folder.path()));
        // Housekeeping does not stop the work.
        if ran.code != 0 && sandbox.current() == Some(2) {
            let ran = ran.exits(6);
            moved += 1;
            ran.never_says(&[
                "No published generation was touched",
                "trust is unchanged",
                "Nothing was published",
                "could not be published",
            ]);
        }
    }
    assert!(moved > 0, "the link never moved before a refused fsync");
}
