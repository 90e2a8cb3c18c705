//! A configured nginx target through the real cycle, with the snippets as shipped: a new installation, whole rotations
//! with everybody who might knock, servers that are broken, badly wired, down or restored, and what the user is told.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::doors::{self, Behind, Door};
use support::nginx::Nginx;
use support::nginx_stage::{PLAIN, knock, server_block, told};
use support::privilege;
use support::report::{alarm, target};
use support::server::{assert_cast, whole_rotation};
use support::stage::Stage;
use tokio::task::LocalSet;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::settings::resolved::{GenerationEvidence, WireProof};
use trustsync::simulator::crls::Revoke;
use trustsync::simulator::world::Impostor;
use trustsync::targets::proof::wire;
use trustsync::trust::certificate::Certificate;
use trustsync::trust::finding::Severity;
use trustsync::trust::fingerprint::Fingerprint;
use trustsync::trust::pem;
use trustsync::trust::set::{Denial, DenialReason};
use trustsync::trust::turn::{Evidence, Owed, Proof};

#[track_caller]
fn assert_proven(report: &Report) {
    let line = target(report, "nginx");
    assert_eq!(line.settled, Some(Evidence::Proven), "{line:?}");
    assert_eq!(report.exit(false), Exit::Done, "{:?}", report.findings);
}

/// A wired server that serves generation 1, proven.
pub async fn proven_stage() -> (Stage, Nginx) {
    wired(Stage::begin().await).await
}

async fn wired(stage: Stage) -> (Stage, Nginx) {
    wired_with(stage, |http| http).await
}

/// The same, with a change to the `http` block.
pub async fn wired_with(mut stage: Stage, change: impl Fn(String) -> String) -> (Stage, Nginx) {
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    let first = stage.cycle().await;
    assert!(matches!(target(&first, "nginx").owed, Some(Owed::Unproven(Proof::NotWired(_)))), "{first:?}");
    nginx.rewrite(&change(stage.wired("nginx")));
    nginx.reload();
    assert_proven(&stage.cycle().await);
    (stage, nginx)
}

#[tokio::test]
async fn a_new_installation_is_synced_then_included_then_reloaded_then_proven() {
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    let link = stage.link("nginx").display().to_string();

    let first = stage.run(&["sync"]).await;
    assert_eq!(first.code, 7, "{first:?}");
    for line in [
        format!("include \"{link}/nginx/admit.map\";"),
        format!("include \"{link}/nginx/generation.map\";"),
        format!("ssl_client_certificate \"{link}/trust-bundle.pem\";"),
        "if ($trustsync_admit = \"\") {".to_owned(),
    ] {
        assert!(first.stdout.contains(&line), "{line} in {}", first.stdout);
    }
    assert!(!first.stdout.contains("/var/lib/trustsync"), "{}", first.stdout);
    assert!(first.stdout.contains("OWED: not wired"), "{}", first.stdout);
    let not_wired: Vec<&str> = first.stderr.lines().filter(|line| line.contains("target_not_wired")).collect();
    assert_eq!(not_wired.len(), 1, "{}", first.stderr);
    assert!(
        not_wired[0].contains("does not use this store's files") && not_wired[0].contains("trustsync reload nginx")
    );
    assert_eq!(told(&nginx), 1);

    // Still not wired: nobody is told again, and it says so all the same, without the snippet.
    let second = stage.run(&["sync"]).await;
    assert_eq!((second.code, told(&nginx)), (7, 1), "{second:?}");
    assert!(second.stdout.contains("OWED: not wired") && !second.stdout.contains("ssl_verify_client"), "{second:?}");
    assert!(second.stderr.contains("target_not_wired"), "{second:?}");
    assert_eq!(stage.alarms(), ["target_not_wired:nginx"]);
    let status = stage.run(&["status"]).await;
    assert_eq!(status.code, 2, "{status:?}");
    assert!(status.stdout.contains("serves nothing known; OWED: not wired"), "{}", status.stdout);

    // Whoever asks for them gets the lines again.
    let reload = stage.run(&["reload", "nginx"]).await;
    assert_eq!((reload.code, told(&nginx)), (7, 2), "{reload:?}");
    assert!(reload.stdout.contains("ssl_verify_client on;"), "{reload:?}");

    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    let wired = stage.run(&["sync"]).await;
    assert_eq!(wired.code, 0, "{wired:?}");
    assert!(wired.stdout.contains("target nginx: proven"), "{}", wired.stdout);
    assert_eq!(told(&nginx), 3, "the user's own reload was the third");
    assert_eq!(stage.alarms(), Vec::<String>::new());
    assert_eq!(knock(&nginx, Some(&stage.world().current().unwrap())), "200");

    let quiet = stage.run(&["sync"]).await;
    assert_eq!((quiet.code, told(&nginx)), (0, 3), "{quiet:?}");
    assert_eq!(quiet.stderr.lines().count(), 1, "a run without change is one line: {}", quiet.stderr);
    assert_eq!(stage.run(&["status"]).await.code, 0);

    let evidence = fs::read_to_string(stage.root().join("store/evidence.jsonl")).unwrap();
    let events: Vec<_> = evidence
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| format!("{} {}", line["event"].as_str().unwrap(), line["generation"]))
        .collect();
    assert_eq!(
        events,
        ["committed 1", "told 1", "owed 1", "told 1", "proven 1"],
        "what is owed for the same reason is written once"
    );
}

#[tokio::test]
async fn a_server_that_is_not_wired_is_told_once_of_each_generation() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    for (day, reloads, lines) in [(0, 1, true), (1, 1, false), (45, 2, true), (46, 2, false)] {
        stage.on_day(day);
        let report = stage.cycle().await;
        assert_eq!((report.exit(false), told(&nginx)), (Exit::Owed, reloads), "day {day}");
        assert_eq!(target(&report, "nginx").to_add.is_some(), lines, "day {day}");
        alarm(&report, "target_not_wired");
    }
}

#[tokio::test]
async fn lines_that_are_included_but_not_loaded_are_loaded_by_the_next_sync() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    assert_eq!(stage.cycle().await.exit(false), Exit::Owed);
    nginx.rewrite(&stage.wired("nginx"));
    assert_proven(&stage.cycle().await);
    assert_eq!(told(&nginx), 2);
    assert_eq!(knock(&nginx, Some(&stage.world().current().unwrap())), "200");
}

#[tokio::test]
async fn a_whole_rotation_admits_the_right_ones_at_every_step() {
    let (mut stage, nginx) = proven_stage().await;
    whole_rotation(&mut stage, &nginx).await;
}

#[tokio::test]
async fn a_genesys_leaf_is_renewed_without_telling_and_a_public_namesake_stays_out() {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let (stage, nginx) = wired(Stage::begin().await.with_lines(both, "")).await;
    let (current, genesys) = (stage.world().current().unwrap(), stage.world().genesys().unwrap());
    stage.world().renew_genesys().unwrap();
    let renewed = stage.world().genesys().unwrap();
    assert_ne!(genesys.der(), renewed.der());
    assert_cast(
        &stage,
        &nginx,
        &[
            ("current", Some(&current), "200"),
            ("genesys", Some(&genesys), "200"),
            ("genesys, renewed and never polled", Some(&renewed), "200"),
        ],
    );
}

#[tokio::test]
async fn with_the_genesys_root_alone_its_leaf_gets_in_and_the_public_one_does_not() {
    let genesys_alone = "authorities = [\"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    let (stage, nginx) = wired(Stage::begin().await.with_lines(genesys_alone, "")).await;
    let world = stage.world();
    assert_eq!(knock(&nginx, Some(&world.genesys().unwrap())), "200");
    world.renew_genesys().unwrap();
    assert_eq!(knock(&nginx, Some(&world.genesys().unwrap())), "200");
    for who in [world.current().unwrap(), world.impostor(Impostor::Namesake).unwrap()] {
        assert_eq!(knock(&nginx, Some(&who)), "400");
    }
}

#[tokio::test]
async fn an_unrelated_broken_vhost_keeps_no_trust_back_from_whoever_mends_it() {
    let (mut stage, nginx) = proven_stage().await;
    let broken = format!("{}\nserver {{ listen 127.0.0.1:9; no_such_directive on; }}", stage.wired("nginx"));
    nginx.rewrite(&broken);
    stage.on_day(45);
    let reloads = told(&nginx);
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Check);
    assert!(matches!(target(&report, "nginx").owed, Some(Owed::BrokenWithoutUs { .. })), "{report:?}");
    let text = alarm(&report, "target_broken");
    assert!(text.contains("unknown directive \"no_such_directive\"") && text.contains("generation 000002"), "{text}");
    assert_eq!((stage.linked("nginx"), told(&nginx)), (2, reloads), "switched forward, not told");
    assert_eq!(stage.alarms(), ["target_broken:nginx"]);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_eq!(knock(&nginx, Some(&upcoming)), "403", "not loaded yet");

    // Nobody has mended it: it stays owed, and the same alarm says so.
    stage.an_hour_later();
    let again = stage.cycle().await;
    assert_eq!((again.exit(false), stage.linked("nginx")), (Exit::Check, 2));
    assert!(alarm(&again, "target_broken").contains("no_such_directive"));
    assert_eq!(stage.alarms(), ["target_broken:nginx"]);

    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    assert_eq!(knock(&nginx, Some(&upcoming)), "200");
    let reloads = told(&nginx);
    assert_proven(&stage.cycle().await);
    assert_eq!(told(&nginx), reloads);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_generation_that_the_check_refuses_stays_out_and_is_tried_again_in_every_cycle() {
    let (mut stage, nginx) = proven_stage().await;
    refuse_and_converge(&mut stage, &nginx).await;
}

/// Generation 2 is refused while the file `refuse` stands.
async fn refuse_and_converge(stage: &mut Stage, nginx: &Nginx) {
    let script =
        "if [ -e refuse ] && grep -q 000002 \"$LINK/nginx/generation.map\"; then echo 'not this one' >&2; exit 1; fi";
    let check = stage.wrapped_check("nginx", nginx, script);
    stage.configure(&[("nginx", nginx, Some(check))]);
    fs::write(stage.root().join("refuse"), "").unwrap();
    stage.on_day(45);
    let reloads = told(nginx);
    for _ in 0..2 {
        let report = stage.cycle().await;
        assert_eq!(report.exit(false), Exit::Check);
        assert!(matches!(target(&report, "nginx").owed, Some(Owed::Refused(_))), "{report:?}");
        let text = alarm(&report, "target_check_refused");
        assert!(text.contains("not this one") && text.contains("the one before it"), "{text}");
        assert_eq!((stage.linked("nginx"), told(nginx)), (1, reloads));
        assert_eq!(stage.state()["targets"]["nginx"]["acknowledged"], 1);
        stage.an_hour_later();
    }
    // Whatever the user reloads meanwhile goes on with the old one.
    nginx.reload();
    assert_eq!(knock(nginx, Some(&stage.world().current().unwrap())), "200");
    fs::remove_file(stage.root().join("refuse")).unwrap();
    let report = stage.cycle().await;
    assert_proven(&report);
    assert!(!report.committed && target(&report, "nginx").told);
    assert_eq!(stage.linked("nginx"), 2);
    assert_eq!(knock(nginx, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn as_the_servers_own_user_the_link_is_switched_first_and_taken_back() {
    if privilege::role().is_some() {
        assert!(!rustix::process::geteuid().is_root());
        let (mut stage, nginx) = proven_stage().await;
        refuse_and_converge(&mut stage, &nginx).await;
        return;
    }
    if !privilege::is_root() {
        return;
    }
    let (_directory, program) = privilege::binary_for_everyone(&std::env::current_exe().unwrap());
    let mut role = privilege::as_nobody(&privilege::second_role(&program, "unprivileged", "/".as_ref()));
    let output = role.env("HOME", "/").env("TMPDIR", "/tmp").current_dir("/").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
async fn a_check_that_fails_once_blames_nobody() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    let check = stage.wrapped_check("nginx", &nginx, "if [ -e once ]; then rm once; echo hiccup >&2; exit 1; fi");
    stage.configure(&[("nginx", &nginx, Some(check))]);
    let hiccup = |stage: &Stage| fs::write(stage.root().join("once"), "").unwrap();

    // With no old generation to compare with, the next cycle tries again by itself.
    hiccup(&stage);
    let report = stage.cycle().await;
    assert_eq!((report.exit(false), told(&nginx)), (Exit::Check, 0));
    let text = alarm(&report, "target_check_failed");
    assert!(text.contains("hiccup") && text.contains("generation 000001"), "{text}");
    let report = stage.cycle().await;
    assert!(matches!(target(&report, "nginx").owed, Some(Owed::Unproven(Proof::NotWired(_)))), "{report:?}");
    assert_eq!(stage.alarms(), ["target_not_wired:nginx"]);

    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    stage.on_day(45);
    hiccup(&stage);
    assert_proven(&stage.cycle().await);
    assert!(!stage.root().join("once").exists());
    assert_eq!(stage.linked("nginx"), 2);
}

#[tokio::test]
async fn a_generation_that_was_placed_in_a_broken_server_is_taken_back_if_it_proves_to_be_broken_too() {
    let (mut stage, nginx) = proven_stage().await;
    let script = "if [ -e broken ]; then echo 'broken anyway' >&2; exit 1; fi
if grep -q 000002 \"$LINK/nginx/generation.map\"; then echo 'not this one' >&2; exit 1; fi";
    let check = stage.wrapped_check("nginx", &nginx, script);
    stage.configure(&[("nginx", &nginx, Some(check))]);
    fs::write(stage.root().join("broken"), "").unwrap();
    stage.on_day(45);
    let report = stage.cycle().await;
    assert!(alarm(&report, "target_broken").contains("With either the check says: exit code 1: broken anyway"));
    assert_eq!(stage.linked("nginx"), 2);

    fs::remove_file(stage.root().join("broken")).unwrap();
    let report = stage.cycle().await;
    assert!(alarm(&report, "target_check_refused").contains("not this one"));
    assert_eq!((stage.linked("nginx"), stage.alarms()), (1, vec!["target_check_refused:nginx".to_owned()]));
}

#[tokio::test]
async fn one_target_that_refuses_keeps_no_other_back() {
    let mut stage = Stage::begin().await;
    let (one, other) = (stage.serve("one", PLAIN), stage.serve("other", PLAIN));
    let script = "if grep -q 000002 \"$LINK/nginx/generation.map\"; then echo 'not this one' >&2; exit 1; fi";
    let check = stage.wrapped_check("one", &one, script);
    stage.configure(&[("one", &one, Some(check)), ("other", &other, None)]);
    stage.cycle().await;
    for (name, nginx) in [("one", &one), ("other", &other)] {
        nginx.rewrite(&stage.wired(name));
        nginx.reload();
    }
    assert_eq!(stage.cycle().await.exit(false), Exit::Done);

    stage.on_day(45);
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Check);
    assert!(matches!(target(&report, "one").owed, Some(Owed::Refused(_))), "{report:?}");
    assert_eq!(target(&report, "other").settled, Some(Evidence::Proven));
    assert_eq!((stage.linked("one"), stage.linked("other")), (1, 2));
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_eq!((knock(&one, Some(&upcoming)), knock(&other, Some(&upcoming))), ("403".into(), "200".into()));
    assert_eq!(stage.alarms(), ["target_check_refused:one"]);
}

#[tokio::test]
async fn whoever_forgot_the_allowlist_is_told_that_it_is_the_chain_only() {
    let (mut stage, nginx) = proven_stage().await;
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    let bundle = stage.link("nginx").join("trust-bundle.pem");
    nginx.rewrite(&server_block(&format!("ssl_client_certificate {}; ssl_verify_client on;", bundle.display())));
    nginx.reload();
    assert_eq!(knock(&nginx, Some(&stranger)), "200", "that is what it is about");
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Owed);
    let text = alarm(&report, "target_chain_only");
    assert!(text.contains("admits strangers") && text.contains("Include the allowlist"), "{text}");
    let lines = target(&report, "nginx").to_add.as_ref().unwrap();
    assert!(lines.contains(&format!("include \"{}/nginx/admit.map\";", stage.link("nginx").display())), "{lines}");
    assert_eq!(stage.alarms(), ["target_chain_only:nginx"]);

    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    assert_proven(&stage.cycle().await);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn an_allowlist_that_is_never_asked_is_critical_until_it_is_asked_and_loaded() {
    let (mut stage, nginx) = proven_stage().await;
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    nginx.rewrite(
        &stage.wired_with("nginx", |server| server.replace("if ($trustsync_admit = \"\") {\n    return 403;\n}", "")),
    );
    nginx.reload();
    assert_eq!(knock(&nginx, Some(&stranger)), "200", "that is what it is about");
    let reloads = told(&nginx);
    for _ in 0..2 {
        let report = stage.cycle().await;
        assert_eq!(report.exit(false), Exit::Owed);
        let text = alarm(&report, "target_not_enforced");
        assert!(text.starts_with("Strangers are admitted") && text.contains("api.example.com"), "{text}");
        assert_eq!(told(&nginx), reloads, "telling it again would change nothing");
    }

    // Asked in the file, but not loaded: that is no proof.
    nginx.rewrite(&stage.wired("nginx"));
    assert_proven(&stage.cycle().await);
    assert_eq!(told(&nginx), reloads + 1);
    assert_eq!(knock(&nginx, Some(&stranger)), "403");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_cannot_show_it_is_reloaded_but_not_proven_and_the_reason_is_told() {
    let (mut stage, nginx) = proven_stage().await;
    let silent = |change: fn(String) -> String| stage.wired_with("nginx", change);
    let off = silent(|server| server.replace("ssl_verify_client on;", "ssl_verify_client off;"));
    let trusted = silent(|server| {
        server
            .replace("ssl_client_certificate", "ssl_trusted_certificate")
            .replace("ssl_verify_client on;", "ssl_verify_client optional_no_ca;")
    });
    for (day, http, reason) in [(45, off, "ssl_verify_client off"), (116, trusted, "ssl_trusted_certificate")] {
        nginx.rewrite(&http);
        nginx.reload();
        stage.on_day(day);
        stage.world().rotate().unwrap();
        stage.world().rotate().unwrap();
        let reloads = told(&nginx);
        for reloaded in [1, 1] {
            let report = stage.cycle().await;
            let line = target(&report, "nginx");
            let Some(Evidence::ReloadedNotProven(why)) = &line.settled else { panic!("{line:?}") };
            assert!(why.contains(reason), "{why}");
            assert_eq!((report.exit(false), told(&nginx)), (Exit::Done, reloads + reloaded));
            let warning = report.findings.iter().find(|finding| finding.event.name() == "target_not_proven").unwrap();
            assert_eq!(warning.severity, Severity::Warning);
            assert!(warning.text.contains(reason), "{}", warning.text);
        }
        assert_eq!(stage.alarms(), ["target_not_proven:nginx"]);
    }
    // The trusted file admits just the same.
    let world = stage.world();
    assert_eq!(knock(&nginx, Some(&world.current().unwrap())), "200");
    assert_eq!(knock(&nginx, Some(&world.impostor(Impostor::Stranger).unwrap())), "403");
    assert_eq!(knock(&nginx, Some(&world.impostor(Impostor::Twin).unwrap())), "403");
}

#[tokio::test]
async fn what_is_proven_of_many_workers_is_served_by_every_one_of_them() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    stage.cycle().await;
    nginx.rewrite(&stage.wired("nginx"));
    let file = nginx.dir().join("nginx.conf");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("worker_processes 2;", "worker_processes 6;")).unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("worker_processes 6;"));
    nginx.reload();
    assert_proven(&stage.cycle().await);

    // A crowd that knocks all the time, and writes down when it began to knock and which generation answered.
    let address: SocketAddr = nginx.address().parse().unwrap();
    let by = WireProof {
        connect: vec![nginx.address()],
        server_name: Some("api.example.com".to_owned()),
        generation: GenerationEvidence::Header,
        marker: true,
        path: "/".to_owned(),
        proxy_protocol: None,
    };
    let seen = Rc::new(RefCell::new(Vec::new()));
    let crowd = LocalSet::new();
    for _ in 0..4 {
        let (seen, by) = (Rc::clone(&seen), by.clone());
        crowd.spawn_local(async move {
            loop {
                let at = Instant::now();
                let sighting = wire::shake_hands(address, &by, Duration::from_secs(5)).await.unwrap();
                seen.borrow_mut().push((at, sighting.generation_header.unwrap()));
            }
        });
    }
    let mut mixed = 0;
    for expected in 2..=4 {
        stage.an_hour_later();
        stage.world().rotate().unwrap();
        let report = crowd.run_until(stage.cycle()).await;
        let proven = Instant::now();
        assert_proven(&report);
        assert_eq!(report.generation, Some(expected));
        crowd.run_until(tokio::time::sleep(Duration::from_millis(300))).await;
        let new = format!("{expected:06}");
        let seen = std::mem::take(&mut *seen.borrow_mut());
        let first_new = seen.iter().filter(|(_, header)| *header == new).map(|(at, _)| *at).min().unwrap();
        let last_old = seen.iter().filter(|(_, header)| *header != new).map(|(at, _)| *at).max().unwrap();
        mixed += usize::from(last_old > first_new);
        let since = proven.checked_duration_since(last_old).expect("an old answer after the proof");
        assert!(since >= Duration::from_millis(250), "proven {since:?} after the last old answer: mere luck");
    }
    assert!(mixed > 0, "old answers never came after new ones: this shows nothing");
}

#[tokio::test]
async fn a_server_that_is_down_keeps_its_reload_owed_and_proves_itself_after_its_start() {
    let (mut stage, nginx) = proven_stage().await;
    let pidfile = nginx.pidfile();
    drop(nginx);

    // Nothing has changed: what it was proven of stands in place, and its absence is told.
    let report = stage.cycle().await;
    assert!(matches!(target(&report, "nginx").settled, Some(Evidence::ProvenEarlier(_))), "{report:?}");
    assert_eq!((report.exit(false), stage.alarms()), (Exit::Done, vec!["target_unreachable:nginx".to_owned()]));

    stage.on_day(45);
    let report = stage.cycle().await;
    assert_eq!((report.exit(false), stage.linked("nginx")), (Exit::Owed, 2));
    let text = alarm(&report, "target_not_told");
    assert!(text.contains("nginx.pid") && text.contains("does not run"), "{text}");

    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(&pidfile, format!("{}\n", gone.id())).unwrap();
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Owed);
    assert!(alarm(&report, "target_not_told").contains("does not exist"));
    fs::write(&pidfile, format!("{}\n", std::process::id())).unwrap();
    assert!(alarm(&stage.cycle().await, "target_not_told").contains("nothing was signalled"));

    let nginx = stage.serve("nginx", &stage.wired("nginx"));
    stage.configure(&[("nginx", &nginx, None)]);
    let reloads = told(&nginx);
    assert_proven(&stage.cycle().await);
    assert_eq!((told(&nginx), stage.alarms()), (reloads, Vec::new()), "it loaded the new one at its start");
    assert_eq!(knock(&nginx, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
}

#[tokio::test]
async fn a_restored_backup_is_found_by_the_next_proof_and_told_again() {
    let (mut stage, nginx) = proven_stage().await;
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();

    // The server has loaded old files, and the link leads to the new ones: seen by the proof alone.
    stage.switch_by_hand("nginx", 1);
    nginx.reload();
    stage.switch_by_hand("nginx", 2);
    assert_eq!(knock(&nginx, Some(&upcoming)), "403");
    let report = stage.cycle().await;
    assert_proven(&report);
    assert!(target(&report, "nginx").told && !report.committed);
    assert_eq!(knock(&nginx, Some(&upcoming)), "200");

    // The link too is the old one.
    stage.switch_by_hand("nginx", 1);
    nginx.reload();
    assert_eq!(knock(&nginx, Some(&upcoming)), "403");
    let report = stage.cycle().await;
    assert_proven(&report);
    assert_eq!(stage.linked("nginx"), 2);
    assert_eq!(knock(&nginx, Some(&upcoming)), "200");
}

#[tokio::test]
async fn a_denial_that_nginx_cannot_ask_for_is_said_where_a_name_could_pass_it() {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    for (lines, is_said) in [(both, true), ("", false)] {
        let (mut stage, _nginx) = wired(Stage::begin().await.with_lines(lines, "")).await;
        let unknown = Fingerprint::of(b"listed by nobody").to_string();
        let (reason, since) = (DenialReason::Distrusted, stage.world().now());
        let denial = Denial { reason, since, sha1: None, pem_sha1: None, until: None };
        let mut state = stage.state();
        state["memory"]["denied"][&unknown] = serde_json::to_value(denial).unwrap();
        fs::write(stage.root().join("store/state.json"), state.to_string()).unwrap();
        let report = stage.cycle().await;
        let found = report.findings.iter().find(|finding| finding.event.name() == "target_denial_partial");
        assert_eq!(found.is_some_and(|finding| finding.text.contains(&unknown)), is_said, "{report:?}");
    }
}

#[tokio::test]
async fn with_the_only_leaf_denied_every_output_says_deny_all_and_nobody_gets_in() {
    let (mut stage, nginx) = proven_stage().await;
    let current = stage.world().current().unwrap();
    stage.deny(&current);
    let report = stage.cycle().await;
    assert!(report.deny_all && report.committed);
    assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(report.exit(false), Exit::Answer, "what the vendor lists is refused");
    assert!(alarm(&report, "denied_certificate_left").contains("denied"));

    let read = |name: &str| fs::read_to_string(stage.link("nginx").join(name)).unwrap();
    for name in ["trust-bundle.pem", "chain.pem", "leaves.pem"] {
        assert_eq!(pem::scan(&read(name)).len(), 1, "{name} holds the marker alone");
    }
    for name in ["fingerprints.txt", "nginx/admit.map"] {
        assert!(read(name).contains("deny all"), "{}", read(name));
    }
    assert!(read("manifest.json").contains("\"deny_all\": true"));
    for (who, certificate) in
        [("current", &current), ("stranger", &stage.world().impostor(Impostor::Stranger).unwrap())]
    {
        assert_eq!(knock(&nginx, Some(certificate)), "400", "{who}");
    }
    assert_eq!(knock(&nginx, None), "400");

    // And it stays so.
    let report = stage.cycle().await;
    assert!(report.deny_all && !report.committed);
    assert!(alarm(&report, "denied_certificate_listed").contains("stays out"));
    let status = stage.run(&["status"]).await;
    assert!(status.code == 2 && status.stdout.contains("DENY ALL: nobody is admitted"), "{status:?}");
    assert_eq!(report.exit(false), Exit::Answer);
}

#[tokio::test]
async fn a_current_certificate_that_its_ca_revokes_is_refused_after_the_next_cycle_and_the_upcoming_one_is_not() {
    let (mut stage, nginx) = wired(Stage::begin().await.with_crls()).await;
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let (current, upcoming) = (stage.world().current().unwrap(), stage.world().upcoming().unwrap().unwrap());
    assert_cast(&stage, &nginx, &[("current", Some(&current), "200"), ("upcoming", Some(&upcoming), "200")]);

    stage.world().revoke(Revoke::Current).unwrap();
    stage.an_hour_later();
    let report = stage.cycle().await;
    assert!(report.committed && !report.deny_all);
    assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{report:?}");
    assert!(alarm(&report, "certificate_revoked").contains(&Fingerprint::of(current.der()).to_string()));
    assert_eq!(report.exit(false), Exit::Answer, "what the vendor lists is refused");
    assert_cast(&stage, &nginx, &[("current", Some(&current), "403"), ("upcoming", Some(&upcoming), "200")]);

    // The vendor has nothing else: deny all, and the server that loaded it lets nobody in.
    stage.world().revoke(Revoke::Upcoming).unwrap();
    stage.an_hour_later();
    let report = stage.cycle().await;
    assert!(report.committed && report.deny_all);
    assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{report:?}");
    for (who, certificate) in [("current", &current), ("upcoming", &upcoming)] {
        assert_eq!(knock(&nginx, Some(certificate)), "400", "{who}");
    }
}

#[tokio::test]
async fn a_denied_leaf_finds_no_door_open_neither_its_connection_nor_its_session() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    stage.cycle().await;
    // The worst case: ticket keys that outlive the reload, as servers that share them have.
    let keys = nginx.dir().join("ticket.key");
    fs::write(&keys, [7; 80]).unwrap();
    let with_keys =
        |server: String| format!("ssl_session_cache shared:s:1m; ssl_session_ticket_key {}; {server}", keys.display());
    nginx.rewrite(&stage.wired_with("nginx", with_keys));
    nginx.reload();
    assert_proven(&stage.cycle().await);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let (current, upcoming) = (stage.world().current().unwrap(), stage.world().upcoming().unwrap().unwrap());
    let mut doors = doors::VERSIONS.map(|version| Door::open(&nginx.address(), &current, version));
    for door in &mut doors {
        assert_eq!(door.resume(), (Behind::Status(200), true));
        assert_eq!(door.ask_again(), Behind::Status(200));
    }
    stage.deny(&current);
    let report = stage.cycle().await;
    assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{report:?}");
    for door in &mut doors {
        assert_eq!(door.ask_again(), Behind::Closed, "its old worker has ended");
        let (behind, _) = door.resume();
        assert_eq!(behind, Behind::Status(403));
    }
    assert_eq!(knock(&nginx, Some(&upcoming)), "200");
}

#[tokio::test]
async fn a_generation_that_drops_a_denied_leaf_is_never_taken_back() {
    let (mut stage, nginx) = proven_stage().await;
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    let script =
        "if [ -e refuse ] && grep -q 000003 \"$LINK/nginx/generation.map\"; then echo 'not this one' >&2; exit 1; fi";
    let check = stage.wrapped_check("nginx", &nginx, script);
    stage.configure(&[("nginx", &nginx, Some(check))]);
    fs::write(stage.root().join("refuse"), "").unwrap();
    stage.deny(&upcoming);
    let report = stage.cycle().await;
    assert!(matches!(target(&report, "nginx").owed, Some(Owed::RefusedButKept(_))), "{report:?}");
    let text = alarm(&report, "target_check_refused");
    assert!(text.contains("still admits") && text.contains("not this one"), "{text}");
    assert_eq!(stage.linked("nginx"), 3);
    assert_eq!(knock(&nginx, Some(&upcoming)), "200", "as the alarm says");
    let again = stage.cycle().await;
    assert!(alarm(&again, "target_check_refused").contains("still admits"));
    assert_eq!(stage.linked("nginx"), 3);

    fs::remove_file(stage.root().join("refuse")).unwrap();
    let report = stage.cycle().await;
    assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven), "{report:?}");
    assert_eq!(knock(&nginx, Some(&upcoming)), "403");
    assert_eq!(knock(&nginx, Some(&stage.world().current().unwrap())), "200");
}

#[tokio::test]
async fn another_clients_own_rule_works_beside_ours_and_ours_does_not_admit_it() {
    let stage = Stage::begin().await.with_lines("", "extra_anchors = [\"other-root.pem\"]");
    let (mut stage, nginx) = wired(stage).await;
    let world = stage.world();
    let (current, partner) = (world.current().unwrap(), world.impostor(Impostor::OtherCa).unwrap());
    let stranger = world.impostor(Impostor::Stranger).unwrap();
    assert_eq!(knock(&nginx, Some(&current)), "200");
    assert_eq!(knock(&nginx, Some(&partner)), "403", "its chain is known, and that is all");

    // As the comments of the snippet describe it.
    let sha1 = Certificate::parse(partner.der()).unwrap().facts().sha1.clone();
    let combined = "map \"$trustsync_admit|$your_variable\" $admitted { default \"\"; \"~^[^|]+\\|\" trustsync; \"~\\|yes$\" yours; }";
    assert!(stage.wired("nginx").contains(&format!("#     {combined}")), "the comment has changed");
    let own = format!(
        "map \"$ssl_client_verify|$ssl_client_fingerprint\" $your_variable {{ default \"\"; \"~^SUCCESS\\|{sha1}$\" yes; }}"
    );
    let server =
        stage.wired_with("nginx", |server| server.replace("if ($trustsync_admit = \"\")", "if ($admitted = \"\")"));
    nginx.rewrite(&format!("{own}\n{combined}\n{server}"));
    nginx.reload();
    assert_proven(&stage.cycle().await);
    for (who, certificate, status) in
        [("current", &current, "200"), ("partner", &partner, "200"), ("stranger", &stranger, "403")]
    {
        assert_eq!(knock(&nginx, Some(certificate)), status, "{who}");
    }
}

#[tokio::test]
async fn whoever_wants_no_marker_gets_other_lines_and_is_proven_by_the_allowlist() {
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure_targets(&format!(
        r#"[target.nginx]
kind = "nginx"
marker = false
check = {check}
reload = {{ pidfile = "{pidfile}" }}
proof = {{ connect = ["{address}"], server_name = "api.example.com", timeout = "6s" }}
"#,
        check = serde_json::to_string(&nginx.check_command()).unwrap(),
        pidfile = nginx.pidfile().display(),
        address = nginx.address(),
    ));
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    let lines = stage.run(&["reload", "nginx"]).await.stdout;
    assert!(lines.contains("target/nginx/chain.pem\";") && !lines.contains("trust-bundle.pem"), "{lines}");
    nginx.rewrite(&stage.wired_with("nginx", |server| server.replace("trust-bundle.pem", "chain.pem")));
    nginx.reload();
    let synced = stage.run(&["sync"]).await;
    assert!(synced.code == 0 && synced.stdout.contains("allowlist only"), "{synced:?}");
    let status = stage.run(&["status"]).await;
    assert!(status.stdout.contains("allowlist only"), "{status:?}");
    let bundle = fs::read_to_string(stage.link("nginx").join("chain.pem")).unwrap();
    let subjects = pem::scan(&bundle).into_iter().map(|block| Certificate::parse(&block.bytes.unwrap()).unwrap());
    assert!(subjects.clone().count() > 0);
    assert!(subjects.into_iter().all(|held| !held.facts().subject.contains("marker")));
}

#[tokio::test]
async fn reload_takes_the_whole_turn_again_though_nothing_is_owed() {
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    let early = stage.run(&["reload", "nginx"]).await;
    assert_eq!(early.code, 2, "{early:?}");
    assert!(early.stderr.contains("sync"), "{early:?}");
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    assert_eq!(stage.run(&["sync"]).await.code, 0);

    let reloads = told(&nginx);
    let again = stage.run(&["reload", "nginx"]).await;
    assert_eq!((again.code, told(&nginx)), (0, reloads + 1), "{again:?}");
    assert_eq!(again.stdout, "target nginx: proven\n");

    // The check comes first: a server that would not load it is not told.
    nginx.rewrite("nonsense");
    let broken = stage.run(&["reload", "nginx"]).await;
    assert_eq!((broken.code, told(&nginx)), (9, reloads + 1), "{broken:?}");
    assert!(broken.stdout.contains("OWED: its check fails"), "{broken:?}");
    assert_eq!(stage.alarms(), ["target_check_failed:nginx"]);
    nginx.rewrite(&stage.wired("nginx"));
    assert_eq!(stage.run(&["reload", "nginx"]).await.code, 0);
    assert_eq!(stage.alarms(), Vec::<String>::new());

    let unknown = stage.run(&["reload", "apache"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("configured are: nginx"), "{unknown:?}");
}
