//! Stores that somebody or some disk damaged: rebuilt, with an alarm, from the newest intact manifest that a link names;
//! never "empty"; never by a write into a generation that was published.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use trustsync::simulator::failure::{Endpoint, Failure};

use support::rotation::{Ran, Stage, assert_whole, copy};

/// A store at generation 3, the rotation done; what stands in `damaged` is done to it for each case.
struct Scene {
    stage: Stage,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::new();
        stage.up_to_the_rotation();
        stage.sync().expect(0);
        stage.keep("rotated");
        Self { stage }
    }

    fn fresh(&self) -> &Stage {
        self.stage.world.clear();
        self.stage.restore("rotated");
        self.stage.assert_served(3, true);
        &self.stage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.stage.store.join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn vendor_is_down(&self) {
        self.stage.world.fail(Failure::ServiceUnavailable, Endpoint::Both, None);
    }

    /// A sync while the vendor is down (exit 4), as fast as may be.
    fn sync_alone(&self) -> Ran {
        self.vendor_is_down();
        let ran = self.stage.run(&["sync", "--deadline", "300ms"]);
        self.stage.world.clear();
        ran
    }

    /// Whoever was trusted is trusted, by the file and by the server, under this number; nothing is wrong any more.
    fn assert_all_trusted(&self, generation: u64) {
        for link in ["current", "target/server"] {
            assert_eq!(assert_whole(&self.path(link)), Some(generation), "{link}");
        }
        self.stage.assert_served(generation, true);
        self.stage.sync().expect(0).says_not(&["store_drift", "state_lost", "manifest_damaged", "certificate_lost"]);
        assert_eq!(self.stage.linked("current"), Some(generation), "repaired once");
        self.stage.assert_no_leftovers();
        // What happened stays to be seen; nothing stands.
        let state = self.stage.state();
        let standing: Vec<_> =
            state["alarms"].as_object().unwrap().values().filter(|alarm| alarm["unseen"] != true).collect();
        assert!(standing.is_empty(), "{standing:?}");
    }
}

#[test]
fn a_state_that_is_lost_or_garbage_is_rebuilt_from_the_manifest_with_an_alarm() {
    let scene = Scene::new();
    let whole = fs::read(scene.path("state.json")).unwrap();
    let garbage: [(&str, Option<&[u8]>); 6] = [
        ("lost", None),
        ("empty", Some(b"")),
        ("truncated", Some(&whole[..whole.len() / 2])),
        ("garbage", Some(&[0, 255, 17, 10])),
        ("another document", Some(b"[]")),
        ("fields missing", Some(b"{\"schema\": 1}")),
    ];
    for (what, bytes) in garbage {
        println!("{what}");
        let stage = scene.fresh();
        let id = stage.state()["store"].clone();
        match bytes {
            Some(bytes) => scene.write("state.json", bytes),
            None => fs::remove_file(scene.path("state.json")).unwrap(),
        }
        stage.run(&["status"]).expect(2);
        // Even with nobody to ask: nothing is published, nothing is lost.
        let ran = scene.sync_alone().expect(4).says(&["state_lost", "rebuilt from the manifest of generation 000003"]);
        assert_eq!(stage.linked("current"), Some(3), "{ran:?}");
        let state = stage.state();
        assert_eq!(state["store"], id);
        assert!(state["alarms"].to_string().contains("state_lost"), "{state:#}");
        scene.assert_all_trusted(3);
        assert_eq!(stage.reloads.count(), 0, "{what}: proven, so not told");
    }
}

#[test]
fn a_newer_schema_is_refused_in_words_and_nothing_is_touched() {
    let scene = Scene::new();
    let newer = |file: &str| {
        let mut value: serde_json::Value = serde_json::from_slice(&fs::read(scene.path(file)).unwrap()).unwrap();
        value["schema"] = 2.into();
        value.to_string()
    };
    for file in ["state.json", "generations/000003/manifest.json"] {
        let stage = scene.fresh();
        let text = newer(file);
        scene.write(file, &text);
        for command in [&["sync"][..], &["hold"], &["rollback"], &["sync", "--dry-run"]] {
            stage.run(command).expect(6).says(&[file, "schema 2", "newer trustsync", "upgrade"]);
        }
        assert_eq!(fs::read_to_string(scene.path(file)).unwrap(), text);
        assert_eq!(stage.linked("current"), Some(3));
        stage.assert_served(3, true);
    }
}

#[test]
fn a_state_that_cannot_be_read_stops_the_run_and_what_is_published_stays() {
    let scene = Scene::new();
    let stage = scene.fresh();
    fs::remove_file(scene.path("state.json")).unwrap();
    fs::create_dir(scene.path("state.json")).unwrap();
    stage.sync().expect(6).says(&["state.json", "a directory", "Nothing was changed"]);
    stage.assert_served(3, true);
    fs::remove_dir(scene.path("state.json")).unwrap();
    symlink("/etc/passwd", scene.path("state.json")).unwrap();
    stage.sync().expect(6).says(&["state.json", "is a symlink"]);
    assert_eq!(stage.linked("current"), Some(3));
}

#[test]
fn a_damaged_manifest_gives_way_to_the_newest_intact_one_that_a_link_names() {
    let scene = Scene::new();
    for text in ["", "garbage", "{\"schema\": 1}"] {
        let stage = scene.fresh();
        // The target still serves the one before.
        fs::remove_file(scene.path("target/server")).unwrap();
        symlink("../generations/000002", scene.path("target/server")).unwrap();
        scene.write("generations/000003/manifest.json", text);
        let damaged = fs::read(scene.path("generations/000003/manifest.json")).unwrap();
        stage.run(&["status"]).expect(2);
        stage.sync().expect(0).says(&["manifest_damaged", "000003"]);
        assert_eq!(fs::read(scene.path("generations/000003/manifest.json")).unwrap(), damaged, "not written into");
        scene.assert_all_trusted(4);
    }
}

#[test]
fn with_every_manifest_damaged_nobody_loses_trust() {
    let scene = Scene::new();
    for state_too in [false, true] {
        for alone in [true, false] {
            println!("state lost too: {state_too}, vendor down: {alone}");
            let stage = scene.fresh();
            for number in ["000002", "000003"] {
                scene.write(&format!("generations/{number}/manifest.json"), "garbage");
            }
            if state_too {
                fs::remove_file(scene.path("state.json")).unwrap();
            }
            if alone {
                scene.sync_alone().says(&["manifest_damaged"]);
                // The server still serves what it had, and what it loads at its next start admits both.
                stage.reloads.forward();
                let admission = stage.present(&stage.world.upcoming().unwrap().unwrap());
                assert!(admission.is_admitted(), "{admission:?}");
            }
            stage.sync();
            let number = stage.linked("current").unwrap();
            assert!(number > 3);
            scene.assert_all_trusted(number);
        }
    }
}

#[test]
fn links_that_are_missing_foreign_or_dangling_are_replaced_and_told() {
    let scene = Scene::new();
    let elsewhere = scene.stage.dir.path().join("elsewhere");
    copy(&scene.path("generations/000003"), &elsewhere);
    let foreign = [
        ("missing", None, 4),
        ("elsewhere", Some(elsewhere.to_str().unwrap().to_owned()), 4),
        ("upward", Some("../../etc".to_owned()), 4),
        ("dangling", Some("generations/000077".to_owned()), 78),
    ];
    for (what, to, repaired) in &foreign {
        for alone in [false, true] {
            println!("current: {what}, vendor down: {alone}");
            let stage = scene.fresh();
            fs::remove_file(scene.path("current")).unwrap();
            if let Some(to) = to {
                symlink(to, scene.path("current")).unwrap();
            }
            let words: &[&str] = if *what == "dangling" { &["manifest_damaged", "000077"] } else { &["store_drift"] };
            if alone {
                scene.sync_alone().expect(4).says(words);
            } else {
                stage.sync().expect(0).says(words);
            }
            scene.assert_all_trusted(*repaired);
            assert!(elsewhere.join("manifest.json").exists());
        }
    }
    for (what, to, _) in &foreign {
        println!("target: {what}");
        let stage = scene.fresh();
        fs::remove_file(scene.path("target/server")).unwrap();
        if let Some(to) = to {
            let to = if to.starts_with("generations") { format!("../{to}") } else { to.clone() };
            symlink(to, scene.path("target/server")).unwrap();
        }
        let ran = stage.sync().expect(0);
        if !["missing", "dangling"].contains(what) {
            ran.says(&["store_drift", "was not made by trustsync"]);
        }
        assert_eq!(assert_whole(&scene.path("target/server")), assert_whole(&scene.path("current")), "{what}");
        stage.assert_served(stage.linked("current").unwrap(), true);
    }
}

#[test]
fn something_else_in_a_links_place_is_never_removed() {
    let scene = Scene::new();
    for link in ["current", "target/server"] {
        let stage = scene.fresh();
        fs::remove_file(scene.path(link)).unwrap();
        fs::create_dir(scene.path(link)).unwrap();
        scene.write(&format!("{link}/mine"), "precious");
        stage.sync().expect(6).says(&[link, "a directory"]);
        assert_eq!(fs::read_to_string(scene.path(&format!("{link}/mine"))).unwrap(), "precious");
        fs::remove_dir_all(scene.path(link)).unwrap();
        stage.sync().expect(0);
        assert_eq!(assert_whole(&scene.path("target/server")), assert_whole(&scene.path("current")));
    }
}

#[test]
fn a_file_that_was_changed_or_deleted_is_repaired_by_a_new_generation() {
    let scene = Scene::new();
    let manifest = fs::read(scene.path("generations/000003/manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let files: Vec<String> = manifest["files"].as_object().unwrap().keys().cloned().collect();
    assert!(files.len() >= 6, "{files:?}");
    for (at, file) in files.iter().enumerate() {
        let stage = scene.fresh();
        let path = format!("generations/000003/{file}");
        let (changed, alone) = (at % 2 == 0, at % 3 == 0);
        println!("{file} changed: {changed}, vendor down: {alone}");
        if changed {
            scene.write(&path, "stranger");
        } else {
            fs::remove_file(scene.path(&path)).unwrap();
        }
        stage.run(&["status"]).expect(1);
        let ran = if alone { scene.sync_alone().expect(4) } else { stage.sync().expect(0) };
        let what = if changed { "was changed" } else { "is missing" };
        ran.says(&["store_drift", "Generation 000003", format!("{file} {what}").as_str()]);
        // The old one is left as it was found.
        let found = fs::read_to_string(scene.path(&path)).ok();
        assert_eq!(found.as_deref(), changed.then_some("stranger"));
        scene.assert_all_trusted(4);
    }
}

#[test]
fn certificates_that_stand_nowhere_any_more_do_not_leave_by_a_repair() {
    let scene = Scene::new();
    let stage = scene.fresh();
    // Every certificate is gone from every generation, and nobody can be asked.
    let mut removed = 0;
    for number in ["000002", "000003"] {
        let mut folders = vec![scene.path(&format!("generations/{number}"))];
        while let Some(folder) = folders.pop() {
            for name in support::rotation::names(&folder) {
                let path = folder.join(name);
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "pem") {
                    fs::remove_file(path).unwrap();
                    removed += 1;
                }
            }
        }
    }
    assert!(removed >= 8);
    let ran = scene.sync_alone().expect(4).says(&["certificate_lost", "until it has answered"]);
    assert!(!ran.out.contains("DENY ALL") && !ran.out.contains("published"), "{ran:?}");
    assert_eq!(stage.linked("current"), Some(3), "what servers have loaded is better than nobody");
    stage.assert_served(3, true);
    let dry = stage.run(&["sync", "--dry-run"]).expect(0);
    assert!(!dry.out.contains("DENY ALL"), "{dry:?}");
    stage.sync().expect(0);
    scene.assert_all_trusted(4);
}
