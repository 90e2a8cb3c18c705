//! The seed: an empty store adopts a copy of a generation before its first poll, and believes none of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::sandbox::{self, Sandbox};
use trustsync::simulator::failure::{Endpoint, Failure};
use trustsync::simulator::world::Impostor;

/// A store that has been at work, and a copy of its generation.
fn with_seed() -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::with(|options| options.days_left = Some(60));
    sandbox.sync(&[]).exits(0);
    let seed = sandbox.path("seed");
    copy(&sandbox.store().join("current/"), &seed);
    fs::remove_dir_all(sandbox.store()).unwrap();
    (sandbox, seed)
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-rL").arg(from).arg(to).status().unwrap().success());
}

fn outage(sandbox: &Sandbox) {
    sandbox.world().fail(Failure::Forbidden, Endpoint::Listing, None);
}

fn change(seed: &Path, change: impl FnOnce(&mut Value)) {
    let path = seed.join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}

fn rewrite(seed: &Path, name: &str, text: &str) {
    fs::write(seed.join(name), text).unwrap();
    let digest = sandbox::fingerprint(text.as_bytes());
    change(seed, |manifest| manifest["files"][name] = digest.into());
}

#[test]
fn an_empty_store_starts_by_its_seed_while_the_vendor_is_down() {
    let (sandbox, seed) = with_seed();
    sandbox.add_target("edge");
    outage(&sandbox);
    sandbox.sync(&["--deadline", "2s", "--seed", seed.to_str().unwrap()]).exits(4).says(&[
        "published generation 000001",
        "seed_adopted",
        "source_refused_us",
    ]);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    let pins = sandbox.pins();
    assert_eq!(pins.get(&current).map(String::as_str), Some("current"));
    assert_eq!(pins.get(&upcoming).map(String::as_str), Some("upcoming"));
    assert_eq!(sandbox.reload_requests("edge"), 1);
    let manifest: Value = serde_json::from_str(&sandbox.published("manifest.json")).unwrap();
    assert_eq!(manifest["cause"], "seed");
    // The copy's generation was another one, of another store.
    assert_ne!(
        manifest["store"],
        serde_json::from_slice::<Value>(&fs::read(seed.join("manifest.json")).unwrap()).unwrap()["store"]
    );
    sandbox.run(&["status"]).exits(1).says(&["comes from the seed"]);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(0).never_says(&["seed"]);
    assert_eq!(sandbox.pins(), pins);
    sandbox.run(&["status"]).never_says(&["comes from the seed"]);
}

#[test]
fn the_configured_seed_is_adopted_before_the_poll_and_only_by_an_empty_store() {
    let (sandbox, _) = with_seed();
    sandbox.append("seed = \"seed\"\n");
    sandbox.world().set_days_left(50).unwrap();
    sandbox.sync(&[]).exits(0).says(&["seed_adopted"]);
    // The seed first, then what the vendor lists by now.
    assert_eq!(sandbox.generations(), [1, 2]);
    assert!(sandbox.pins().contains_key(&sandbox.current_leaf()));
    sandbox.sync(&[]).exits(0).never_says(&["seed"]);
    sandbox.sync(&["--seed", "seed"]).exits(0).says(&["the seed seed was not looked at"]);
}

#[test]
fn a_store_and_a_volume_of_symlinks_are_seeds_too() {
    let (sandbox, seed) = with_seed();
    outage(&sandbox);
    let store = sandbox.path("other-store");
    fs::create_dir_all(store.join("generations")).unwrap();
    copy(&seed, &store.join("generations/000007"));
    change(&store.join("generations/000007"), |manifest| manifest["generation"] = 7.into());
    symlink("generations/000007", store.join("current")).unwrap();
    // As a Kubernetes ConfigMap is mounted.
    let volume = sandbox.path("volume");
    fs::create_dir(&volume).unwrap();
    copy(&seed, &volume.join("..2026"));
    symlink("..2026", volume.join("..data")).unwrap();
    for file in ["manifest.json", "leaves.pem", "chain.pem"] {
        symlink(format!("..data/{file}"), volume.join(file)).unwrap();
    }
    for seed in ["other-store", "volume"] {
        sandbox.sync(&["--deadline", "1s", "--seed", seed]).exits(4).says(&["seed_adopted"]);
        assert_eq!(sandbox.pins().len(), 2, "{seed}");
        fs::remove_dir_all(sandbox.store()).unwrap();
    }
}

#[test]
fn a_seed_that_cannot_be_used_is_said_and_keeps_nobody_from_the_poll() {
    let (sandbox, seed) = with_seed();
    let empty = sandbox.path("empty");
    fs::create_dir(&empty).unwrap();
    let broken = |name: &str, harm: &dyn Fn(&Path)| {
        let folder = sandbox.path(name);
        copy(&seed, &folder);
        harm(&folder);
    };
    broken("torn", &|folder| fs::write(folder.join("manifest.json"), "{").unwrap());
    broken("newer", &|folder| change(folder, |manifest| manifest["schema"] = 99.into()));
    broken("changed", &|folder| fs::write(folder.join("leaves.pem"), "x").unwrap());
    broken("lacking", &|folder| fs::remove_file(folder.join("leaves.pem")).unwrap());
    broken("outside", &|folder| {
        fs::remove_file(folder.join("leaves.pem")).unwrap();
        symlink(seed.join("leaves.pem"), folder.join("leaves.pem")).unwrap();
    });
    broken("huge", &|folder| fs::File::create(folder.join("manifest.json")).unwrap().set_len(5_000_000_000).unwrap());
    broken("pipe", &|folder| {
        fs::remove_file(folder.join("manifest.json")).unwrap();
        assert!(Command::new("mkfifo").arg(folder.join("manifest.json")).status().unwrap().success());
    });
    broken("nothing", &|folder| change(folder, |manifest| manifest["slots"] = serde_json::json!({})));
    for (name, words) in [
        ("missing", "No such file"),
        ("empty", "neither a store nor a copy of a generation"),
        ("torn", "is not a manifest"),
        ("newer", "a newer trustsync wrote"),
        ("changed", "not as its manifest says"),
        ("lacking", "No such file"),
        ("outside", "leads out of the folder"),
        ("huge", "larger than 8388608 bytes"),
        ("pipe", "not a regular file"),
        ("nothing", "nothing that it trusts may be trusted here."),
    ] {
        sandbox.sync(&["--seed", name]).exits(5).says(&["seed_unusable", words, "published generation 000001"]);
        assert_eq!(sandbox.pins().len(), 2, "{name}");
        fs::remove_dir_all(sandbox.store()).unwrap();
    }
    sandbox.append("seed = \"torn\"\n");
    sandbox.sync(&[]).exits(0).says(&["seed_unusable"]);
}

#[test]
fn of_a_seed_only_what_verifies_enters() {
    let (sandbox, seed) = with_seed();
    outage(&sandbox);
    let world = sandbox.world();
    for who in [Impostor::OtherCa, Impostor::Twin, Impostor::Stranger, Impostor::Expired] {
        let folder = sandbox.path(&format!("{who:?}"));
        copy(&seed, &folder);
        let impostor = world.impostor(who).unwrap();
        let leaves = fs::read_to_string(folder.join("leaves.pem")).unwrap();
        rewrite(&folder, "leaves.pem", &format!("{leaves}{}", impostor.pem()));
        change(&folder, |manifest| {
            let slot = manifest["slots"].as_object_mut().unwrap().values_mut().next().unwrap();
            let entry = slot["entries"].as_object().unwrap().values().next().unwrap().clone();
            slot["entries"][sandbox::fingerprint(impostor.der())] = entry;
            slot["identity"] = serde_json::json!(["mail.stranger.example"]);
        });
        sandbox.sync(&["--deadline", "1s", "--seed", folder.to_str().unwrap()]).exits(4).says(&["seed_refused"]);
        assert_eq!(sandbox.pins().len(), 2, "{who:?}");
        assert!(!sandbox.pins().contains_key(&sandbox::fingerprint(impostor.der())));
        fs::remove_dir_all(sandbox.store()).unwrap();
    }
}

#[test]
fn an_identity_is_never_learned_from_a_seed_and_its_denials_hold() {
    let sandbox = Sandbox::with(|options| {
        options.days_left = Some(60);
        options.certificate_name = "dataactions.elsewhere.example".to_owned();
    });
    sandbox.sync(&[]).exits(0).says(&["identity_learned"]);
    let (current, upcoming) = (sandbox.current_leaf(), sandbox.upcoming_leaf());
    sandbox.run(&["distrust", "--yes", &upcoming]).exits(0);
    let seed = sandbox.path("seed");
    copy(&sandbox.store().join("current/"), &seed);
    fs::remove_dir_all(sandbox.store()).unwrap();
    outage(&sandbox);
    sandbox.sync(&["--deadline", "1s", "--seed", "seed"]).exits(5).says(&["seed_unusable", "expected"]);
    assert_eq!(sandbox.current(), None);
    // Named in the configuration, it may enter.
    let named =
        sandbox.configuration().replace("[source.us]", "[source.us]\nidentity = [\"dataactions.elsewhere.example\"]");
    sandbox.configure(&named);
    sandbox.sync(&["--deadline", "1s", "--seed", "seed"]).exits(4).says(&["seed_adopted"]);
    assert_eq!(sandbox.pins().keys().collect::<Vec<_>>(), [&current]);
    sandbox.world().clear();
    sandbox.sync(&[]).exits(5).says(&["denied_certificate_listed"]);
    assert!(!sandbox.pins().contains_key(&upcoming));
}

#[test]
fn the_operators_override_in_a_seed_counts_until_its_end() {
    let (sandbox, seed) = with_seed();
    outage(&sandbox);
    let upcoming = sandbox.upcoming_leaf();
    for (until, enters) in [("2099-01-01T00:00:00Z", true), ("2026-01-02T00:00:00Z", false)] {
        change(&seed, |manifest| {
            let slot = manifest["slots"].as_object_mut().unwrap().values_mut().next().unwrap();
            slot["entries"][&upcoming]["role"] = "trusted".into();
            slot["entries"][&upcoming]["word"] = serde_json::json!({"since": "2026-01-01T00:00:00Z", "until": until});
        });
        sandbox.sync(&["--deadline", "1s", "--seed", "seed"]).exits(4).says(&["seed_adopted"]);
        assert_eq!(sandbox.pins().contains_key(&upcoming), enters, "{until}");
        fs::remove_dir_all(sandbox.store()).unwrap();
    }
}
