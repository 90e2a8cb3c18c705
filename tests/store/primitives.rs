//! The store's durable primitives through their public doors, on real filesystems: modes, immutability, leftovers,
//! links, the lock, and disks that refuse.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use support::privilege::{Tmpfs, as_nobody, binary_for_everyone, is_root, role, second_role};
use tempfile::TempDir;
use trustsync::store::file::{self, Replaced};
use trustsync::store::{Files, Link, LinkPath, Lock, LockError, Store, StoreError, generation, link, sweep};
use trustsync::trust::values::timestamp::Timestamp;

const NOW: Timestamp = Timestamp::from_unix(1_795_446_000);

fn files(word: &str) -> Files {
    [("manifest.json", word.len()), ("nginx/allow.map", 100), ("us.us-east-1.DigiCert/current.pem", 5_000)]
        .into_iter()
        .map(|(name, size)| (name.to_owned(), word.repeat(size.div_ceil(word.len())).into_bytes()))
        .collect()
}

fn store_in(directory: &Path) -> PathBuf {
    let root = directory.join("store");
    Store::open(&root).unwrap();
    root
}

/// A store whose generation 1 is current and served by a target.
fn store_with_one(directory: &Path) -> PathBuf {
    let root = store_in(directory);
    generation::write(&root, 1, &files("one")).unwrap();
    LinkPath::current(&root).switch(1).unwrap();
    LinkPath::target(&root, "nginx").unwrap().switch(1).unwrap();
    root
}

fn assert_first_is_untouched(root: &Path) {
    for link in [root.join("current"), root.join("target/nginx")] {
        for (name, bytes) in files("one") {
            assert_eq!(fs::read(link.join(&name)).unwrap(), bytes, "{name}");
        }
    }
    assert_eq!(generation::list(root).unwrap(), BTreeSet::from([1]));
}

fn hidden(root: &Path) -> Vec<PathBuf> {
    [root.to_owned(), root.join("generations"), root.join("target")]
        .iter()
        .flat_map(|directory| fs::read_dir(directory).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .collect()
}

fn again(role: &str, root: &Path) -> Command {
    second_role(&std::env::current_exe().unwrap(), role, root)
}

#[test]
fn a_published_generation_is_read_back_whole_through_its_links() {
    let directory = TempDir::new().unwrap();
    let root = store_with_one(directory.path());
    assert_first_is_untouched(&root);
    assert_eq!(hidden(&root), Vec::<PathBuf>::new());
    assert_eq!(
        generation::read_file(&root.join(generation::DIRECTORY), 1, "nginx/allow.map", 1000).unwrap(),
        Some(files("one")["nginx/allow.map"].clone())
    );
    assert_eq!(generation::read_file(&root.join(generation::DIRECTORY), 1, "nginx/none", 1000).unwrap(), None);
    assert_eq!(generation::read_file(&root.join(generation::DIRECTORY), 2, "nginx/allow.map", 1000).unwrap(), None);
    assert_eq!(link::targets(&root).unwrap()["nginx"], Link::Generation(1));
}

#[test]
fn modes_do_not_depend_on_the_umask() {
    if let Some((_, root)) = role() {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let root = store_with_one(&root);
        file::replace(&root.join("state.json"), b"{}").unwrap();
        file::append(&root.join("evidence.jsonl"), "{}").unwrap();
        Lock::acquire(&root, "test", NOW, Duration::ZERO).unwrap();
        return;
    }
    let directory = TempDir::new().unwrap();
    let ended = again("umask", directory.path()).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    let root = directory.path().join("store");
    for (path, mode) in [
        ("", 0o755),
        ("generations", 0o755),
        ("target", 0o755),
        ("generations/000001", 0o755),
        ("generations/000001/nginx", 0o755),
        ("generations/000001/nginx/allow.map", 0o644),
        ("generations/000001/manifest.json", 0o644),
        ("state.json", 0o644),
        ("evidence.jsonl", 0o644),
        ("lock", 0o640),
    ] {
        let found = fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
        assert_eq!(format!("{path} {found:o}"), format!("{path} {mode:o}"));
    }
}

#[test]
fn a_published_generation_is_never_written_again() {
    let directory = TempDir::new().unwrap();
    let root = store_with_one(directory.path());
    let error = generation::write(&root, 1, &files("two")).unwrap_err();
    assert!(matches!(&error, StoreError::Unfit { what, .. } if what.contains("already there")), "{error}");
    assert_first_is_untouched(&root);
    fs::create_dir(root.join("generations/000002")).unwrap();
    assert!(generation::write(&root, 2, &files("two")).unwrap_err().to_string().contains("already there"));
}

#[test]
fn nothing_empty_and_nothing_outside_is_ever_written() {
    let directory = TempDir::new().unwrap();
    let root = store_in(directory.path());
    let with = |name: &str, bytes: &[u8]| [(name.to_owned(), bytes.to_vec())].into();
    for (files, said) in [
        (Files::new(), "a generation is empty"),
        (with("leaves.pem", b""), "leaves.pem is empty"),
        (with("../state.json", b"x"), "dot"),
        (with("/etc/passwd", b"x"), "empty"),
    ] {
        let text = generation::write(&root, 1, &files).unwrap_err().to_string();
        assert!(text.contains(said), "{text}");
    }
    assert!(matches!(file::replace(&root.join("state.json"), b""), Err(StoreError::Empty { .. })));
    assert!(LinkPath::target(&root, "../current").is_err());
    assert_eq!(generation::list(&root).unwrap(), BTreeSet::new());
    assert_eq!(hidden(&root), Vec::<PathBuf>::new());
}

#[test]
fn what_a_crash_left_wedges_nothing() {
    let directory = TempDir::new().unwrap();
    let root = store_with_one(directory.path());
    fs::create_dir_all(root.join("generations/.new-000002/nginx")).unwrap();
    fs::write(root.join("generations/.new-000002/nginx/allow.map"), "half").unwrap();
    symlink("generations/000009", root.join(".current.new")).unwrap();
    symlink("nowhere", root.join("target/.nginx.new")).unwrap();
    fs::write(root.join(".state.json.new"), "half").unwrap();
    generation::write(&root, 2, &files("two")).unwrap();
    LinkPath::current(&root).switch(2).unwrap();
    LinkPath::target(&root, "nginx").unwrap().switch(2).unwrap();
    file::replace(&root.join("state.json"), b"{}").unwrap();
    assert_eq!(LinkPath::current(&root).read().unwrap(), Link::Generation(2));
    assert_eq!(fs::read(root.join("target/nginx/manifest.json")).unwrap(), b"two");
    assert_eq!(fs::read(root.join("state.json")).unwrap(), b"{}");
    assert_eq!(hidden(&root), Vec::<PathBuf>::new());
}

#[test]
fn the_sweep_takes_leftovers_and_old_generations_but_none_that_a_link_names() {
    let directory = TempDir::new().unwrap();
    let root = store_with_one(directory.path());
    for number in 2..=6 {
        generation::write(&root, number, &files("more")).unwrap();
    }
    LinkPath::current(&root).switch(5).unwrap();
    symlink(root.join("generations/000002"), root.join("target/by-hand")).unwrap();
    fs::create_dir_all(root.join("generations/.new-000007/nginx")).unwrap();
    fs::create_dir_all(root.join("generations/.old-000001/nginx")).unwrap();
    symlink("generations/000003", root.join(".current.new")).unwrap();
    fs::write(root.join(".state.json.new"), "half").unwrap();
    fs::create_dir(root.join("crl")).unwrap();
    fs::write(root.join("crl/.a.crl.new"), "half").unwrap();
    fs::write(root.join("notes-of-the-operator"), "kept").unwrap();

    let swept = sweep(&root, &BTreeSet::from([6]));
    assert_eq!(swept.generations, BTreeSet::from([3, 4]));
    assert_eq!((swept.leftovers.len(), swept.failures.len()), (5, 0), "{swept:?}");
    // 1 and 2 by targets' links, 5 by current, 6 kept.
    assert_eq!(generation::list(&root).unwrap(), BTreeSet::from([1, 2, 5, 6]));
    assert_eq!(hidden(&root), Vec::<PathBuf>::new());
    assert!(root.join("notes-of-the-operator").exists());
    let again = sweep(&root, &BTreeSet::from([6]));
    assert!(again.generations.is_empty() && again.leftovers.is_empty() && again.failures.is_empty(), "{again:?}");
    for _ in 0..2 {
        generation::remove_in(&root.join(generation::DIRECTORY), 6).expect("one that is gone is gone");
        assert_eq!(generation::list(&root).unwrap(), BTreeSet::from([1, 2, 5]));
    }
}

#[test]
fn a_link_that_is_not_ours_is_foreign_and_never_followed() {
    let directory = TempDir::new().unwrap();
    let root = store_in(directory.path());
    generation::write(&root, 1, &files("one")).unwrap();
    let current = LinkPath::current(&root);
    let target = LinkPath::target(&root, "nginx").unwrap();
    assert_eq!(current.read().unwrap(), Link::Missing);
    for foreign in [
        "/etc",
        "generations/1",
        "../generations/000001",
        "generations/000001/nginx",
        "generations/../generations/000001",
    ] {
        symlink(foreign, current.path()).unwrap();
        assert_eq!(current.read().unwrap(), Link::Foreign(foreign.into()));
        fs::remove_file(current.path()).unwrap();
    }
    symlink("generations/000001", target.path()).unwrap();
    assert!(matches!(target.read().unwrap(), Link::Foreign(_)));
    target.switch(1).unwrap();
    assert_eq!(target.read().unwrap(), Link::Generation(1));

    fs::create_dir(current.path()).unwrap();
    assert_eq!(current.read().unwrap(), Link::Foreign("(a directory)".into()));
    assert!(matches!(current.switch(1), Err(StoreError::Unfit { .. })));
    fs::remove_dir(current.path()).unwrap();
    let error = current.switch(2).unwrap_err();
    assert!(error.to_string().contains("names no generation"), "{error}");
    assert_eq!(current.read().unwrap(), Link::Missing);
}

#[test]
fn reading_is_bounded_and_follows_no_symlink_and_waits_for_no_pipe() {
    let directory = TempDir::new().unwrap();
    let root = store_with_one(directory.path());
    let at = generation::path(&root, 1);
    assert!(matches!(
        generation::read_file(&root.join(generation::DIRECTORY), 1, "nginx/allow.map", 10),
        Err(StoreError::TooLarge { limit: 10, .. })
    ));
    symlink("/etc/passwd", at.join("stolen")).unwrap();
    symlink("nginx", at.join("alias")).unwrap();
    let pipe = Command::new("mkfifo").arg(at.join("pipe")).status().unwrap();
    assert!(pipe.success());
    for odd in ["stolen", "alias/allow.map", "pipe", "nginx", "manifest.json/x"] {
        let error = generation::read_file(&root.join(generation::DIRECTORY), 1, odd, 10_000).unwrap_err();
        assert!(matches!(error, StoreError::Unfit { .. }), "{odd}: {error}");
    }
    assert!(generation::read_file(&root.join(generation::DIRECTORY), 1, "../../lock", 10_000).is_err());
    assert!(matches!(file::read(&at.join("stolen"), 10_000), Err(StoreError::Unfit { .. })));
    assert!(matches!(file::read(&at.join("pipe"), 10_000), Err(StoreError::Unfit { .. })));
}

#[test]
fn equal_bytes_are_not_written_again() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("state.json");
    assert_eq!(file::replace(&path, b"{\"a\":1}").unwrap(), Replaced::Written);
    let inode = fs::metadata(&path).unwrap().ino();
    assert_eq!(file::replace(&path, b"{\"a\":1}").unwrap(), Replaced::Unchanged);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    for next in ["{\"a\":2}", "{}", "{\"longer\":true}"] {
        assert_eq!(file::replace(&path, next.as_bytes()).unwrap(), Replaced::Written);
        assert_eq!(file::read(&path, 100).unwrap(), Some(next.into()));
    }
}

#[test]
fn a_torn_line_of_evidence_spoils_only_itself() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("evidence.jsonl");
    file::append(&path, "{\"n\":1}").unwrap();
    fs::write(&path, "{\"n\":1}\n{\"n\":").unwrap();
    file::append(&path, "{\"n\":3}").unwrap();
    file::append(&path, "{\"n\":4}").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "{\"n\":1}\n{\"n\":\n{\"n\":3}\n{\"n\":4}\n");
    assert!(file::append(&path, "two\nlines").is_err());
    assert!(file::append(&path, "").is_err());
    assert!(file::append(&path, &"x".repeat(file::MAX_LINE + 1)).is_err());
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock() {
    if let Some((_, root)) = role() {
        let _lock = Lock::acquire(&root, "trustsync sync", NOW, Duration::ZERO).unwrap();
        println!("\nheld");
        std::io::stdin().read_line(&mut String::new()).unwrap();
        return;
    }
    let directory = TempDir::new().unwrap();
    let root = store_in(directory.path());
    let mut other = again("holder", &root).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap() == "held"));

    let error = Lock::acquire(&root, "trustsync status", NOW, Duration::ZERO).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, LockError::Held { .. }), "{text}");
    for part in [
        format!("process {} (trustsync sync)", other.id()),
        "since 2026-11-23T15:00:00Z".into(),
        root.join("lock").display().to_string(),
    ] {
        assert!(text.contains(&part), "{part} is not in: {text}");
    }
    let waited = Lock::acquire(&root, "x", NOW, Duration::from_millis(120)).unwrap_err();
    assert!(waited.to_string().contains("Waited 120ms"), "{waited}");

    // Whoever waits gets it once the holder is gone, even if that is killed.
    other.kill().unwrap();
    let lock = Lock::acquire(&root, "trustsync run", NOW, Duration::from_secs(30)).unwrap();
    other.wait().unwrap();
    assert!(fs::read_to_string(root.join("lock")).unwrap().contains("trustsync run"));
    drop(lock);
    assert!(root.join("lock").exists());
    Lock::acquire(&root, "x", NOW, Duration::ZERO).unwrap();
}

#[test]
fn a_root_that_cannot_be_a_store_is_refused_in_words() {
    let directory = TempDir::new().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("file"), "x").unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    fs::create_dir(at("open")).unwrap();
    fs::set_permissions(at("open"), Permissions::from_mode(0o1777)).unwrap();
    for (name, said) in [
        ("file", "is a regular file, not a directory"),
        ("dangling", "is a symlink that leads nowhere"),
        ("open", "is writable by others (mode 1777)"),
        ("no/parent", "No such file or directory"),
    ] {
        let text = Store::open(&at(name)).unwrap_err().to_string();
        assert!(text.contains(said), "{name}: {text}");
    }
    let root = store_in(directory.path());
    symlink(&root, at("link")).unwrap();
    Store::open(&at("link")).unwrap();
    assert_eq!(Store::find(&at("none")).unwrap(), None);
    assert!(!at("none").exists());
    fs::set_permissions(root.join("target"), Permissions::from_mode(0o777)).unwrap();
    let text = Store::open(&root).unwrap_err().to_string();
    assert!(text.contains("target is writable by others"), "{text}");
}

/// Tries every kind of write on a store with generation 1; each must fail with these words and leave it untouched.
fn assert_every_write_fails(root: &Path, said: &[&str]) {
    let judge = |what: &str, result: Result<(), StoreError>| {
        let error = result.expect_err(what);
        let text = error.to_string();
        println!("{what}: {text}");
        for part in said.iter().chain(&["Readers see a whole generation"]) {
            assert!(text.contains(part), "{what}: {part:?} is not in: {text}");
        }
        assert!(matches!(&error, StoreError::Io { .. }), "{what}: {error:?}");
        assert_first_is_untouched(root);
    };
    judge("generation", generation::write(root, 2, &files("two")));
    let large = vec![b'x'; 30_000];
    judge("state", file::replace(&root.join("state.json"), &large).map(drop));
    judge("evidence", {
        let line = "x".repeat(30_000);
        file::append(&root.join("evidence.jsonl"), &line)
    });
    assert!(!root.join("state.json").exists());
}

#[test]
fn a_full_disk_is_named_and_the_old_generation_stays() {
    let Some(disk) = Tmpfs::mount("size=64k") else {
        return;
    };
    let root = store_with_one(disk.path());
    let ballast = disk.path().join("ballast");
    // Takes what is left, to the last page.
    assert!(fs::write(&ballast, vec![0; 70_000]).is_err());
    assert_every_write_fails(&root, &["the disk is full", "Free space"]);
    assert_eq!(hidden(&root), Vec::<PathBuf>::new(), "the failed write gave its space back");
    Lock::acquire(&root, "test", NOW, Duration::ZERO).expect("a full disk does not keep us from the lock");
    fs::remove_file(&ballast).unwrap();
    generation::write(&root, 2, &files("two")).unwrap();
}

#[test]
fn a_disk_without_inodes_is_named_and_the_old_generation_stays() {
    let Some(disk) = Tmpfs::mount("size=4m,nr_inodes=40") else {
        return;
    };
    let root = store_with_one(disk.path());
    let ballast = disk.path().join("ballast");
    fs::create_dir(&ballast).unwrap();
    let mut count = 0;
    while fs::write(ballast.join(count.to_string()), "").is_ok() {
        count += 1;
    }
    assert_every_write_fails(&root, &["no inodes left", "their number counts"]);
    let error = LinkPath::current(&root).switch(1).unwrap_err();
    assert!(error.to_string().contains("no inodes left"), "{error}");
    assert_first_is_untouched(&root);
    fs::remove_dir_all(&ballast).unwrap();
    generation::write(&root, 2, &files("two")).unwrap();
}

#[test]
fn a_disk_that_runs_out_of_inodes_in_the_middle_keeps_no_half_generation() {
    let Some(disk) = Tmpfs::mount("size=4m,nr_inodes=40") else {
        return;
    };
    let root = store_with_one(disk.path());
    let ballast = disk.path().join("ballast");
    fs::create_dir(&ballast).unwrap();
    let mut count = 0;
    while fs::write(ballast.join(count.to_string()), "").is_ok() {
        count += 1;
    }
    for free in 1..=5 {
        count -= 1;
        fs::remove_file(ballast.join(count.to_string())).unwrap();
        let error = generation::write(&root, 2, &files("two")).unwrap_err();
        assert!(error.to_string().contains("no inodes left"), "{free} free: {error}");
        assert_first_is_untouched(&root);
        assert_eq!(hidden(&root), Vec::<PathBuf>::new());
    }
    fs::remove_dir_all(&ballast).unwrap();
    generation::write(&root, 2, &files("two")).unwrap();
}

#[test]
fn a_read_only_disk_is_named_and_the_old_generation_stays() {
    let Some(disk) = Tmpfs::mount("size=1m") else {
        return;
    };
    let root = store_with_one(disk.path());
    disk.remount("ro");
    assert_every_write_fails(&root, &["is read-only", "read-write"]);
    let error = LinkPath::current(&root).switch(1).unwrap_err();
    assert!(error.to_string().contains("is read-only"), "{error}");
    let error = Lock::acquire(&root, "test", NOW, Duration::ZERO).unwrap_err();
    assert!(error.to_string().contains("is read-only"), "{error}");
    Store::find(&root).unwrap().expect("readers need no write access");
    disk.remount("rw");
    generation::write(&root, 2, &files("two")).unwrap();
}

#[test]
fn a_store_of_another_user_is_named_with_its_owner_and_ours() {
    if let Some((_, root)) = role() {
        let said = ["belongs to uid 4711", "mode 0755", "we run as uid 65534", "chown"];
        assert_every_write_fails(&root, &said);
        let error = LinkPath::current(&root).switch(1).unwrap_err();
        assert!(error.to_string().contains("belongs to uid 4711"), "{error}");
        let error = Lock::acquire(&root, "test", NOW, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("belongs to uid 4711"), "{error}");
        assert!(sweep(&root, &BTreeSet::new()).failures.is_empty(), "nothing to sweep, nothing to write");
        return;
    }
    if !is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let root = store_with_one(directory.path());
    for part in ["", "generations", "target"] {
        chown(root.join(part), Some(4711), Some(4711)).unwrap();
    }
    let (_kept, program) = binary_for_everyone(&std::env::current_exe().unwrap());
    let ended = as_nobody(&second_role(&program, "stranger", &root)).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    assert_first_is_untouched(&root);
}
