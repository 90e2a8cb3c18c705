//! Housekeeping that fails: one file or folder at a time, at every place of the store, that the daemon's user can neither
//! write nor remove. The work is done all the same, those who ask are told of the path, and once it is mended nothing of it is
//! left.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use trustsync::trust::values::fingerprint::Fingerprint;

use support::privilege::{NOBODY, Tmpfs, as_nobody, binary_for_everyone, is_root};
use support::program;
use support::rotation::{Ran, Stage, assert_whole};

/// The exit while the vendor lists what the operator has denied.
const DENIED_IS_LISTED: i32 = 5;

/// What stands in the way, and what is to be seen of it.
struct Obstacle {
    /// Relative to the store; what the warning must name.
    path: &'static str,
    /// Puts it there, as root.
    put: fn(&Path),
    /// The warning; none where the obstacle is simply passed over.
    event: Option<&'static str>,
    /// The generation that the rotation becomes.
    generation: u64,
}

/// A folder of root's with a file in it, which nobody else can remove.
fn roots_folder(at: &Path) {
    fs::create_dir_all(at).unwrap();
    fs::write(at.join("file"), "root's").unwrap();
    fs::set_permissions(at, Permissions::from_mode(0o755)).unwrap();
}

/// A file of root's, which others can read.
fn roots_file(at: &Path) {
    if !at.exists() {
        fs::write(at, "root's\n").unwrap();
    }
    chown(at, Some(0), Some(0)).unwrap();
    fs::set_permissions(at, Permissions::from_mode(0o644)).unwrap();
}

const OBSTACLES: [Obstacle; 11] = [
    Obstacle {
        path: "generations/.old-000001",
        put: |at| roots_folder(&at.with_file_name("000001").join("by-hand")),
        event: Some("store_not_swept"),
        generation: 3,
    },
    Obstacle { path: "generations/.old-000001", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: "generations/.new-000003", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: "generations/000003", put: roots_file, event: None, generation: 4 },
    Obstacle { path: ".current.new", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: "target/.server.new", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: ".state.json.new", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: "crl/.list.crl.new", put: roots_folder, event: Some("store_not_swept"), generation: 3 },
    Obstacle { path: "evidence.jsonl", put: roots_file, event: Some("evidence_not_written"), generation: 3 },
    Obstacle {
        path: "evidence.jsonl",
        put: |at| {
            fs::remove_file(at).unwrap();
            roots_folder(at);
        },
        event: Some("evidence_not_written"),
        generation: 3,
    },
    Obstacle { path: "lock", put: roots_file, event: None, generation: 3 },
];

/// The moment before a rotation, in a store that is nobody's.
struct Scene {
    stage: Stage,
    program: PathBuf,
    _program: TempDir,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new();
        stage.up_to_the_rotation();
        let (folder, program) = binary_for_everyone(&program());
        let secret = stage.dir.path().join("client-secret");
        chown(&secret, Some(NOBODY), Some(NOBODY)).unwrap();
        Self { stage, program, _program: folder }
    }

    fn restore(&self) {
        self.stage.restore("before");
        give_away(&self.stage.store);
    }

    /// The real binary as the store's owner.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.stage.config()).args(arguments);
        Ran::of(as_nobody(&command).output().unwrap())
    }

    fn upcoming(&self) -> String {
        Fingerprint::of(self.stage.world.upcoming().unwrap().unwrap().der()).to_string()
    }

    fn at(&self, path: &str) -> PathBuf {
        self.stage.store.join(path)
    }

    /// Links and server have this generation, whole, and the server admits the upcoming certificate, or no longer does.
    #[track_caller]
    fn assert_serves(&self, generation: u64, upcoming: bool) {
        for link in ["current", "target/server"] {
            assert_eq!(assert_whole(&self.at(link)), Some(generation), "{link}");
        }
        self.stage.assert_served(generation, upcoming);
    }

    fn committed(&self) -> Vec<u64> {
        let text = fs::read_to_string(self.at("evidence.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["event"] == "committed").map(|line| line["generation"].as_u64().unwrap()).collect()
    }
}

/// Everything below becomes nobody's; links themselves, not what they name.
fn give_away(at: &Path) {
    lchown(at, Some(NOBODY), Some(NOBODY)).unwrap();
    if at.is_dir() && !at.is_symlink() {
        fs::read_dir(at).unwrap().for_each(|entry| give_away(&entry.unwrap().path()));
    }
}

#[track_caller]
fn assert_status_warns(ran: &Ran, event: &str, path: &str) {
    assert_ne!(ran.code, Some(0), "{ran:?}");
    let told = ran.out.lines().any(|line| line.contains(event));
    assert!(told && ran.out.contains(path), "{event} about {path}: {ran:?}");
}

#[test]
fn what_cannot_be_tidied_or_recorded_keeps_neither_an_addition_nor_a_denial_from_the_server() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    let upcoming = scene.upcoming();
    for Obstacle { path, put, event, generation } in OBSTACLES {
        println!("{path}");
        scene.restore();
        put(&scene.at(path));
        // Upcoming enters, and the server is told of it.
        let ran = scene.run(&["sync"]).expect(0);
        scene.assert_serves(generation, true);
        let status = scene.run(&["status"]);
        if let Some(event) = event {
            ran.says(&[event, path]);
            assert_status_warns(&status, event, path);
        } else {
            status.expect(0);
        }
        // So does a denial reach it, and what a restarted process finds is settled.
        let ran = scene.run(&["distrust", "--yes", &upcoming]).expect(0);
        scene.assert_serves(generation + 1, false);
        scene.run(&["sync"]).expect(DENIED_IS_LISTED);
        scene.run(&["reload", "server"]).expect(0);
        scene.assert_serves(generation + 1, false);
        if let Some(event) = event {
            ran.says(&[event, path]);
            assert_status_warns(&scene.run(&["status"]), event, path);
        }
        // It is tried again: what was in the way is given to the owner, and nothing is left of it.
        mend(&scene, path);
        scene.run(&["sync"]).expect(DENIED_IS_LISTED).says_not(&["store_not_swept", "evidence_not_written"]);
        let status = scene.run(&["status"]);
        assert!(!status.out.contains("not_swept") && !status.out.contains("not_written"), "{status:?}");
        assert_eq!(scene.committed(), [1, 2, generation, generation + 1], "evidence lacks nothing");
        scene.assert_serves(generation + 1, false);
    }
}

fn mend(scene: &Scene, path: &str) {
    let at = scene.at(path);
    match path {
        // The administrator moves away what was not a file of ours.
        "evidence.jsonl" if at.is_dir() => {
            fs::remove_dir_all(&at).unwrap();
            fs::copy(scene.stage.dir.path().join("before/evidence.jsonl"), &at).unwrap();
        }
        "generations/000003" => fs::remove_file(&at).unwrap(),
        _ => {}
    }
    give_away(&scene.stage.store);
    if path.ends_with(".new") {
        // One with something in it is not ours to remove.
        fs::remove_dir_all(&at).unwrap();
    }
}

#[test]
fn a_generation_that_is_a_mount_point_stays_and_is_told() {
    let Some(tmpfs) = Tmpfs::mount("size=1m") else { return };
    let scene = Scene::new();
    scene.restore();
    let path = scene.at("generations/000001");
    let bound = |arguments: &[&str]| {
        let status = Command::new("mount").args(arguments).arg(tmpfs.path()).arg(&path).status().unwrap();
        assert!(status.success());
    };
    bound(&["--bind"]);
    let ran = scene.run(&["sync"]);
    let status = scene.run(&["status"]);
    assert!(Command::new("umount").arg(&path).status().unwrap().success());
    ran.expect(0).says(&["store_not_swept", "generations/000001"]);
    scene.assert_serves(3, true);
    assert_status_warns(&status, "store_not_swept", "generations/000001");
    scene.run(&["sync"]).expect(0).says_not(&["store_not_swept"]);
    assert!(!path.exists());
}

/// Root's records in a folder where the owner may make files but replace none of root's.
#[test]
fn a_state_that_cannot_be_saved_is_told_after_the_server_was() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    scene.restore();
    let state = scene.at("state.json");
    chown(&scene.stage.store, Some(0), Some(NOBODY)).unwrap();
    fs::set_permissions(&scene.stage.store, Permissions::from_mode(0o1775)).unwrap();
    roots_file(&state);

    scene.run(&["sync"]).expect(6).says(&["state_not_saved", state.to_str().unwrap()]);
    scene.assert_serves(3, true);
    // Its records are those of before, and it says so.
    let status = scene.run(&["status"]);
    assert_ne!(status.code, Some(0), "{status:?}");
    assert!(status.out.contains("target_behind"), "{status:?}");
    // What is kept in the state alone does not stand, and that is said.
    scene.run(&["hold"]).expect(6).says(&["is not in force"]);
    // A denial stands in the generation too.
    let upcoming = scene.upcoming();
    scene.run(&["distrust", "--yes", &upcoming]).expect(6).says(&["state_not_saved"]);
    scene.assert_serves(4, false);

    give_away(&scene.stage.store);
    let reloads = scene.stage.reloads.count();
    scene.run(&["sync"]).expect(DENIED_IS_LISTED);
    scene.assert_serves(4, false);
    assert_eq!(scene.stage.reloads.count(), reloads, "proven, so not told");
    let status = scene.run(&["status"]);
    assert!(!status.out.contains("target_behind") && !status.out.contains("state_not_saved"), "{status:?}");
}

#[test]
fn what_is_owed_is_paid_though_nothing_new_can_be_written() {
    if !is_root() {
        return;
    }
    let scene = Scene::new();
    scene.restore();
    // The upcoming certificate is published, and the server cannot be told.
    let target = scene.stage.embedded_target();
    scene.stage.configure(&target.replace(&scene.stage.reloads.url(), "http://127.0.0.1:1/reload"));
    scene.run(&["sync"]).expect(7).says(&["target_not_told"]);
    // Then the disk takes nothing more, and something is to be published.
    scene.stage.configure(&target);
    fs::copy(scene.stage.dir.path().join("api-ca.pem"), scene.stage.dir.path().join("extra.pem")).unwrap();
    let generations = scene.at("generations");
    chown(&generations, Some(0), Some(0)).unwrap();
    for _ in 0..2 {
        scene.run(&["sync"]).expect(6).says(&["generation_not_written", generations.to_str().unwrap()]);
        scene.assert_serves(3, true);
        let status = scene.run(&["status"]);
        assert_eq!(status.code, Some(2), "{status:?}");
        assert!(status.out.contains("generation_not_written"), "{status:?}");
    }
    give_away(&scene.stage.store);
    scene.run(&["sync"]).expect(0);
    scene.assert_serves(4, true);
    let status = scene.run(&["status"]);
    assert!(!status.out.contains("generation_not_written"), "{status:?}");
}
