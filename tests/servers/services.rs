//! The services of `deploy/` in Go, Python and Node.js, really run: who gets in at every step of a rotation, by a name, under
//! load, through doors that stood open, and with files that are broken.
//! `cargo nextest run --test servers under_load --no-capture` shows the figures.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use support::cast::knock;
use support::doors::{self, Behind, Door};
use support::foreground::wait_until;
use support::java;
use support::load::rotate_under_load;
use support::names::Names;
use support::service::{Language, Service};
use support::stage::Stage;
use trustsync::cycle::Report;
use trustsync::simulator::crls::Revoke;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::present::present;
use trustsync::simulator::world::Impostor;
use trustsync::trust::turn::Evidence;

fn assert_proven(language: Language, report: &Report) {
    let [line] = report.targets.as_slice() else { panic!("{report:?}") };
    match &line.settled {
        Some(Evidence::Proven) if language.shows_chain() => {}
        Some(Evidence::AllowlistOnly(_)) if !language.shows_chain() => {}
        other => panic!("{other:?} in {report:?}"),
    }
}

/// It watches by itself, and is asked at the address where it serves.
fn target(language: Language, proof: &str) -> String {
    let marker = language.shows_chain();
    format!("[target.app]\nkind = \"generic\"\nreload = \"none\"\nmarker = {marker}\n{proof}\n")
}

fn proof_at(service: &Service) -> String {
    format!(
        "proof = {{ connect = [\"{}\"], generation = \"header\", settle = \"0s\", timeout = \"6s\" }}",
        service.address()
    )
}

/// A service that serves the first generation, proven.
async fn proven(language: Language, mut stage: Stage) -> (Stage, Service) {
    // It starts on what stands there, so something must.
    stage.configure_targets(&target(language, ""));
    let first = stage.cycle().await;
    assert!(matches!(first.targets[0].settled, Some(Evidence::ReloadedNotProven(_))), "{first:?}");
    let service = Service::start(language, &stage.root().join("service"), &stage.link("app"));
    stage.configure_targets(&target(language, &proof_at(&service)));
    assert_proven(language, &stage.cycle().await);
    (stage, service)
}

fn assert_cast(language: Language, stage: &Stage, address: &str, expected: &[(&str, &ClientCertificate, &str)]) {
    for (who, certificate, status) in expected {
        assert_eq!(knock(address, Some(certificate)), *status, "{who}");
    }
    for who in Impostor::ALL {
        let is_of_the_chain = matches!(who, Impostor::Stranger | Impostor::Namesake);
        let status = if is_of_the_chain { "403" } else { language.unverified() };
        assert_eq!(knock(address, Some(&stage.world().impostor(who).unwrap())), status, "{}", who.name());
    }
    assert_eq!(knock(address, None), "403", "nobody");
}

async fn a_rotation_admits_the_right_ones_at_every_step(language: Language) {
    let (mut stage, mut service) = proven(language, Stage::begin().await).await;
    let address = service.address();
    let current = stage.world().current().unwrap();
    assert_cast(language, &stage, &address, &[("current", &current, "200")]);

    stage.on_day(45);
    assert_proven(language, &stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_cast(language, &stage, &address, &[("current", &current, "200"), ("upcoming", &upcoming, "200")]);
    let mut doors = doors::VERSIONS.map(|version| Door::open(&address, &current, version));

    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..3 {
        assert_proven(language, &stage.cycle().await);
        stage.an_hour_later();
    }
    assert_cast(language, &stage, &address, &[("in its grace", &current, "200"), ("current", &upcoming, "200")]);
    for door in &mut doors {
        assert_eq!(door.ask_again(), Behind::Status(200), "no connection is lost by a new generation");
    }
    stage.on_day(116);
    assert_proven(language, &stage.cycle().await);
    for door in &mut doors {
        assert_eq!(door.ask_again(), Behind::Status(403), "the kept connection of a leaf that left");
        assert_eq!(door.ask_again(), Behind::Closed, "is closed after it");
        assert_ne!(door.resume().0, Behind::Status(200), "nor is its session of use");
    }
    assert_cast(language, &stage, &address, &[("the old one", &current, "403"), ("current", &upcoming, "200")]);
    // Java presents nothing where a list of authorities does not name its issuer.
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    java::assert_cast_by_java(
        &address,
        &[
            ("the old one", Some(&current), "403"),
            ("current", Some(&upcoming), "200"),
            ("stranger", Some(&stranger), "403"),
            ("nobody", None, "403"),
        ],
    );
    assert!(service.is_alive());
}

async fn a_revoked_leaf_is_out_at_once_and_the_last_one_leaves_nobody(language: Language) {
    let (mut stage, mut service) = proven(language, Stage::begin().await.with_crls()).await;
    let address = service.address();
    stage.on_day(45);
    assert_proven(language, &stage.cycle().await);
    let (current, upcoming) = (stage.world().current().unwrap(), stage.world().upcoming().unwrap().unwrap());
    let mut doors = doors::VERSIONS.map(|version| Door::open(&address, &current, version));
    for door in &doors {
        let (behind, _) = door.resume();
        assert_eq!(behind, Behind::Status(200), "a session may be resumed while its leaf is trusted");
    }

    stage.world().revoke(Revoke::Current).unwrap();
    stage.an_hour_later();
    assert_proven(language, &stage.cycle().await);
    for door in &mut doors {
        assert_ne!(door.resume().0, Behind::Status(200), "its session");
        assert_eq!(door.ask_again(), Behind::Status(403), "its connection");
    }
    assert_cast(language, &stage, &address, &[("current", &current, "403"), ("upcoming", &upcoming, "200")]);

    // The vendor has nothing else: deny all, in a form that it still loads.
    stage.world().revoke(Revoke::Upcoming).unwrap();
    stage.an_hour_later();
    let report = stage.cycle().await;
    assert!(report.deny_all && report.committed);
    assert_proven(language, &report);
    for (who, certificate) in [("current", &current), ("upcoming", &upcoming)] {
        assert_ne!(knock(&address, Some(certificate)), "200", "{who}");
    }
    assert!(service.is_alive());
}

fn the_name_gets_in_and_no_trick(language: Language) {
    for with_public in [false, true] {
        let names = Names::new(with_public);
        let link = names.publish("app", &[]);
        let dir = tempfile::tempdir().unwrap();
        let service = Service::start(language, dir.path(), &link);
        names.assert_cast(&service.address());
    }
}

async fn a_second_authority_is_known_from_the_first_handshake_on_and_its_leaf_is_renewed(language: Language) {
    let (stage, service) = proven(language, Stage::begin().await).await;
    let address = service.address();
    let genesys = stage.world().genesys().unwrap();
    assert_eq!(knock(&address, Some(&genesys)), language.unverified());
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let mut stage = stage.with_lines(both, "");
    stage.configure_targets(&target(language, &proof_at(&service)));
    let report = stage.cycle().await;
    assert!(report.committed);
    assert_proven(language, &report);
    // Nobody has asked for the new one since the link was moved: the very first who comes is of it.
    stage.switch_by_hand("app", 1);
    assert_eq!(knock(&address, Some(&genesys)), language.unverified());
    stage.switch_by_hand("app", 2);
    assert_eq!(knock(&address, Some(&genesys)), "200");

    stage.world().renew_genesys().unwrap();
    let renewed = stage.world().genesys().unwrap();
    assert_ne!(genesys.der(), renewed.der());
    let current = stage.world().current().unwrap();
    let cast = [("genesys", &genesys, "200"), ("renewed", &renewed, "200"), ("current", &current, "200")];
    assert_cast(language, &stage, &address, &cast);
    for mut door in doors::VERSIONS.map(|version| Door::open(&address, &renewed, version)) {
        assert_eq!(door.resume().0, Behind::Status(200), "who is admitted by a name may resume its session");
        assert_eq!(door.ask_again(), Behind::Status(200));
    }
}

async fn a_rotation_under_load_loses_nothing(language: Language) {
    let (mut stage, service) = proven(language, Stage::begin().await).await;
    let calls = rotate_under_load(&mut stage, service.address().parse().unwrap()).await;
    println!("{language:?}: {calls}");
    calls.assert_nothing_lost();
    assert!(calls.generations.len() >= 3, "{calls}");
}

async fn what_cannot_be_loaded_changes_nothing_and_is_said(language: Language) {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("target/app");
    assert_ne!(Service::fails_to_start(language, &dir.path().join("service"), &link), 0, "without a generation");

    let (stage, mut service) = proven(language, Stage::begin().await).await;
    let (address, link, current) = (service.address(), stage.link("app"), stage.world().current().unwrap());
    let good = fs::read_link(&link).unwrap();
    let whole = link.parent().unwrap().join(&good);
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    let fingerprints = fs::read_to_string(whole.join("fingerprints.txt")).unwrap();
    let pin = trustsync::trust::values::fingerprint::Fingerprint::of(current.der()).to_string();
    assert!(fingerprints.contains(&pin));
    for (broken, text) in [
        ("empty", String::new()),
        ("cut", fingerprints[..fingerprints.len() - 30].to_owned()),
        ("headless", fingerprints.lines().skip(1).map(|line| format!("{line}\n")).collect()),
        ("unknown", format!("{fingerprints}everybody sha256:{} x x x\n", "0".repeat(64))),
        ("short", fingerprints.replace(&pin, &pin[..40])),
        ("root", format!("{fingerprints}name root={} *\n", "0".repeat(64))),
    ] {
        if broken == "root" && language == Language::Python {
            continue; // Whose root is nowhere has signed nobody; it needs no look at the bundle for that.
        }
        let folder = whole.with_file_name(broken);
        fs::create_dir(&folder).unwrap();
        for file in ["trust-bundle.pem", "chain.pem"] {
            fs::copy(whole.join(file), folder.join(file)).unwrap();
        }
        fs::write(folder.join("fingerprints.txt"), text).unwrap();
        move_link(&link, &Path::new("../generations").join(broken));
        assert_eq!(knock(&address, Some(&current)), "200", "{broken}");
        assert_eq!(knock(&address, Some(&stranger)), "403", "{broken}");
        wait_until("it says so", || service.log().contains("what is loaded stays"));
        let shown = present(address.parse().unwrap(), Some(&current)).await;
        assert_eq!(shown.generation(), Some("000001"), "{broken}");
    }
    fs::remove_file(&link).unwrap();
    assert_eq!(knock(&address, Some(&current)), "200", "no link");
    assert_eq!(knock(&address, Some(&stranger)), "403", "no link");
    // And what is good again is loaded.
    let next =
        fs::read_to_string(whole.join("fingerprints.txt")).unwrap().replace("generation 000001", "generation 000002");
    let folder = whole.with_file_name("000002");
    fs::create_dir(&folder).unwrap();
    for file in ["trust-bundle.pem", "chain.pem"] {
        fs::copy(whole.join(file), folder.join(file)).unwrap();
    }
    fs::write(folder.join("fingerprints.txt"), next).unwrap();
    symlink("../generations/000002", &link).unwrap();
    let shown = present(address.parse().unwrap(), Some(&current)).await;
    assert_eq!(shown.generation(), Some("000002"));
    assert!(service.is_alive());
}

fn move_link(link: &Path, to: &Path) {
    let fresh = link.with_extension("fresh");
    symlink(to, &fresh).unwrap();
    fs::rename(fresh, link).unwrap();
}

macro_rules! in_each_language {
    ($($module:ident $language:ident),*) => {$(
        mod $module {
            use super::Language::$language;

            #[tokio::test]
            async fn a_rotation_admits_the_right_ones_at_every_step() {
                super::a_rotation_admits_the_right_ones_at_every_step($language).await;
            }

            #[tokio::test]
            async fn a_revoked_leaf_is_out_at_once_and_the_last_one_leaves_nobody() {
                super::a_revoked_leaf_is_out_at_once_and_the_last_one_leaves_nobody($language).await;
            }

            #[test]
            fn the_name_gets_in_and_no_trick() {
                super::the_name_gets_in_and_no_trick($language);
            }

            #[tokio::test]
            async fn a_second_authority_is_known_from_the_first_handshake_on_and_its_leaf_is_renewed() {
                super::a_second_authority_is_known_from_the_first_handshake_on_and_its_leaf_is_renewed($language).await;
            }

            #[tokio::test]
            async fn a_rotation_under_load_loses_nothing() {
                super::a_rotation_under_load_loses_nothing($language).await;
            }

            #[tokio::test]
            async fn what_cannot_be_loaded_changes_nothing_and_is_said() {
                super::what_cannot_be_loaded_changes_nothing_and_is_said($language).await;
            }
        }
    )*};
}

in_each_language!(go Go, python Python, node Node);
