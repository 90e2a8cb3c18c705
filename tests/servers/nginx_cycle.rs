//! What is nginx's alone on its way through the real cycle (`stories` has what it shares with others): lines that are
//! included and not loaded, checks that fail now and then, servers that are badly wired, and many workers.

use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use support::foreground::wait_until;
use support::nginx::Nginx;
use support::nginx_stage::{PLAIN, knock, server_block};
use support::privilege;
use support::report::{alarm, target};
use support::server::{Checked, Server, assert_cast, assert_proven, proven};
use support::stage::Stage;
use tokio::task::LocalSet;
use trustsync::cycle::Report;
use trustsync::exit::Exit;
use trustsync::settings::resolved::{GenerationEvidence, WireProof};
use trustsync::simulator::crls::Revoke;
use trustsync::simulator::pem_form::PemForm;
use trustsync::simulator::pki::{DAY, LeafRequest, Validity};
use trustsync::simulator::world::Impostor;
use trustsync::targets::proof::wire;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::formats::certificate::Certificate;
use trustsync::trust::formats::pem;
use trustsync::trust::plan::set::{Denial, DenialReason};
use trustsync::trust::turn::{Evidence, Owed, Proof};
use trustsync::trust::values::fingerprint::Fingerprint;

use crate::stories::blame::refuse_and_converge;
use crate::stories::load::loses_nothing;

/// A wired server that serves generation 1, proven.
async fn proven_stage() -> (Stage, Nginx) {
    proven(Stage::begin().await, ()).await
}

#[tokio::test]
async fn lines_that_are_included_but_not_loaded_are_loaded_by_the_next_sync() {
    let mut stage = Stage::begin().await;
    let nginx = stage.serve("nginx", PLAIN);
    stage.configure(&[("nginx", &nginx, None)]);
    assert_eq!(stage.cycle().await.exit(false), Exit::Owed);
    nginx.rewrite(&stage.wired("nginx"));
    assert_proven(&stage.cycle().await);
    assert_eq!(nginx.reload_requests(), 2);
    assert_eq!(knock(&nginx, Some(&stage.world().current().unwrap())), "200");
}

/// A CA that has changed its key: two issuers of one name, and leaves that do not say whose they are. nginx takes the first
/// one in the file.
#[tokio::test]
async fn of_two_issuers_of_one_name_the_current_leafs_comes_first() {
    for _ in 0..3 {
        let mut stage = Stage::begin().await;
        let nginx = stage.serve("nginx", PLAIN);
        stage.configure(&[("nginx", &nginx, None)]);
        let world = stage.world();
        let [current, upcoming] = [200, 300].map(|days| {
            let issuer = world.pki().digicert_root.intermediate("Client CA", world.now(), None).unwrap();
            let validity = Validity::of(world.now(), DAY * days);
            let request = LeafRequest::client(&world.options().certificate_name, validity);
            issuer.without_key_identifier().issue("Genesys", &request).unwrap()
        });
        let listed = [("Current", &current), ("Upcoming", &upcoming)];
        world.list_besides(listed.map(|(status, leaf)| (status, PemForm::Vendor.text(&leaf.with_issuers()))).to_vec());

        nginx.rewrite(&stage.wired("nginx"));
        let report = stage.cycle().await;
        let text = alarm(&report, "servers_would_refuse");
        assert!(text.contains("(upcoming)") && text.contains("a signature is wrong"), "{text}");
        assert_eq!(report.exit(false), Exit::Answer);
        nginx.reload();
        assert_eq!(knock(&nginx, Some(&stage.world().current().unwrap())), "200");
        assert_eq!((knock(&nginx, Some(&current)).as_str(), knock(&nginx, Some(&upcoming)).as_str()), ("200", "400"));
    }
}

#[tokio::test]
async fn as_the_servers_own_user_the_link_is_switched_first_and_taken_back() {
    if privilege::role().is_some() {
        assert!(!rustix::process::geteuid().is_root());
        let (mut stage, mut nginx) = proven_stage().await;
        refuse_and_converge(&mut stage, &mut nginx).await;
        return;
    }
    privilege::again_as_nobody();
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
    assert_eq!((report.exit(false), nginx.reload_requests()), (Exit::Check, 0));
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
async fn where_the_allowlist_was_forgotten_it_is_said_to_be_the_chain_only() {
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
async fn a_server_of_which_nothing_is_seen_is_reloaded_once_a_generation_and_when_asked() {
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    nginx.rewrite(&stage.wired("nginx"));
    let lines = nginx.table("nginx", &nginx.check_command()).replace("6s", "2s");
    // Nobody listens at the first; the second takes connections and is not TLS.
    let plain_text = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = plain_text.local_addr().unwrap().to_string();
    std::thread::spawn(move || plain_text.incoming().for_each(drop));
    let nobody = format!("127.0.0.1:{}", support::port::free_port());
    for (asked_for, connect) in [&nobody, &silent].into_iter().enumerate() {
        stage.configure_targets(&lines.replace(&nginx.address(), connect));
        for _ in 0..4 {
            let done = stage.run(&["sync"]).await;
            assert!(done.stdout.contains("it does not answer"), "{done:?}");
            let generations = usize::try_from(stage.linked("nginx")).unwrap();
            assert_eq!((done.code, nginx.reload_requests()), (7, generations + asked_for), "{connect}: {done:?}");
        }
        let reloads = nginx.reload_requests();
        assert_eq!(stage.run(&["reload", "nginx"]).await.code, 7);
        assert_eq!(nginx.reload_requests(), reloads + 1, "{connect}: whoever asks for it gets it");
        stage.world().rotate().unwrap();
        stage.world().rotate().unwrap();
    }
    assert!(stage.linked("nginx") > 1, "the second round began with a generation of its own");
}

/// `sync` on a machine where `both.test` is 127.0.0.1 and 127.0.0.2.
async fn sync_where_a_name_has_two_addresses(stage: &Stage) -> std::process::Output {
    let hosts = stage.root().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n127.0.0.1 both.test\n127.0.0.2 both.test\n").unwrap();
    let script = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    tokio::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(hosts)
        .arg(support::program())
        .args(["sync", "--config"])
        .arg(stage.root().join("config.toml"))
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn of_one_name_of_this_machine_an_address_may_refuse_and_of_several_none() {
    if !privilege::is_root() {
        return;
    }
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    nginx.rewrite(&stage.wired("nginx"));
    let lines = nginx.table("nginx", &nginx.check_command()).replace("6s", "4s");
    let port = nginx.port();
    let mut outcome = async |connect: &str| {
        stage.configure_targets(&lines.replace(&format!("\"{}\"", nginx.address()), connect));
        let synced = sync_where_a_name_has_two_addresses(&stage).await;
        let said = String::from_utf8_lossy(&synced.stderr).into_owned();
        (synced.status.code().unwrap(), said)
    };
    let (code, said) = outcome(&format!("\"both.test:{port}\"")).await;
    assert_eq!(code, 0, "{said}");
    let one_by_one = format!("\"127.0.0.1:{port}\", \"127.0.0.2:{port}\"");
    let (code, said) = outcome(&one_by_one).await;
    assert_eq!(code, 0, "it was proven, and does not answer everywhere now: {said}");
    for address in ["127.0.0.1", "127.0.0.2"] {
        assert!(said.contains("target_unreachable") && said.contains(&format!("{address}:{port}")), "{said}");
    }
    // One that answers in another way is an answer.
    let other = std::net::TcpListener::bind(("127.0.0.2", port)).unwrap();
    std::thread::spawn(move || other.incoming().for_each(drop));
    let (_, said) = outcome(&format!("\"both.test:{port}\"")).await;
    assert!(said.contains("target_unreachable") && said.contains(&format!("127.0.0.2:{port}")), "{said}");
}

#[tokio::test]
async fn by_the_path_of_cron_the_server_is_checked_and_told() {
    let mut stage = Stage::begin_now().await;
    let nginx = stage.serve("nginx", PLAIN);
    nginx.rewrite(&stage.wired("nginx"));
    stage.configure(&[("nginx", &nginx, None)]);
    let own = std::env::var("PATH").unwrap();
    let done = stage.run_with(&["sync"], &[("PATH", "/usr/bin:/bin")]).await;
    assert_eq!((done.code, done.stdout.contains("target nginx: proven")), (0, true), "PATH was {own}: {done:?}");
    // Where it is nowhere, that is no refusal.
    let missing = nginx.table("nginx", &nginx.check_command()).replace("check = [\"nginx\"", "check = [\"no-nginx\"");
    stage.configure_targets(&missing);
    let done = stage.run(&["reload", "nginx"]).await;
    assert_eq!(done.code, 7, "{done:?}");
    assert!(done.stderr.contains("target_check_not_run") && !done.stderr.contains("broken elsewhere"), "{done:?}");
}

#[tokio::test]
async fn a_server_that_a_reload_starts_in_the_background_lives_on_and_writes_what_it_likes() {
    let mut stage = Stage::begin_now().await;
    let done = stage.root().join("written");
    // More than any pipe holds, long after the command and trustsync itself have ended.
    let server = format!(
        "(sleep 1; i=0; while [ $i -lt 3000 ]; do echo $i 'a line of the log of a server that goes on' || exit; \
         i=$((i+1)); done; echo $i > {}) & echo started > /dev/stderr",
        done.display()
    );
    let command = ["sh", "-c", &server];
    stage.configure_targets(&format!("[target.app]\nkind = \"generic\"\nreload = {{ command = {command:?} }}\n"));
    let synced = stage.run(&["sync"]).await;
    assert_eq!(synced.code, 0, "{synced:?}");
    assert!(!done.exists(), "it has only begun");
    wait_until("the server has written it all", || fs::read_to_string(&done).is_ok_and(|text| text == "3000\n"));
}

#[tokio::test]
async fn a_reload_that_fails_is_not_counted_as_one() {
    let mut stage = Stage::begin_now().await;
    let command =
        |program: &str| format!("[target.app]\nkind = \"generic\"\nreload = {{ command = [\"{program}\"] }}\n");
    stage.configure_targets(&command("false"));
    for _ in 0..5 {
        let report = stage.cycle().await;
        assert!(matches!(target(&report, "app").owed, Some(Owed::NotReloaded(_))), "{report:?}");
        assert!(!target(&report, "app").reloaded, "{report:?}");
    }
    stage.configure_targets(&command("true"));
    assert!(target(&stage.cycle().await, "app").reloaded);
}

#[tokio::test]
async fn a_configuration_that_breaks_on_the_disk_while_nothing_is_owed_is_a_warning_until_it_is_mended() {
    let (mut stage, nginx) = proven_stage().await;
    nginx.break_elsewhere(&stage);
    let reloads = nginx.reload_requests();
    let warned = |report: &Report| {
        let found = report.findings.iter().find(|finding| finding.event.name() == "target_would_not_start");
        found.map(|finding| (finding.severity, finding.text.clone()))
    };
    assert_eq!(warned(&stage.cycle().await), None, "it was checked less than an hour ago");
    stage.an_hour_later();
    for _ in 0..2 {
        let report = stage.cycle().await;
        assert_eq!((report.exit(false), nginx.reload_requests()), (Exit::Done, reloads));
        assert_eq!(target(&report, "nginx").settled, Some(Evidence::Proven));
        let (severity, text) = warned(&report).unwrap();
        assert_eq!(severity, Severity::Warning);
        assert!(text.contains("restart") && text.contains(Nginx::BROKEN), "{text}");
        assert_eq!(stage.alarms(), ["target_would_not_start:nginx"]);
    }
    // A check that cannot be run says nothing of it.
    let table = nginx.table("nginx", &nginx.check_command());
    stage.configure_targets(&table.replace("check = [\"nginx\"", "check = [\"no-nginx\""));
    assert!(warned(&stage.cycle().await).is_some(), "nobody has seen that it was mended");
    stage.configure(&[("nginx", &nginx, None)]);
    // It is seen at once that it is mended.
    nginx.rewrite(&stage.wired("nginx"));
    assert_eq!(warned(&stage.cycle().await), None);
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_chain_without_its_allowlist_is_reloaded_once_a_generation() {
    let (mut stage, nginx) = proven_stage().await;
    let bundle = stage.link("nginx").join("trust-bundle.pem");
    nginx.rewrite(&server_block(&format!("ssl_client_certificate {}; ssl_verify_client on;", bundle.display())));
    nginx.reload();
    let reloads = nginx.reload_requests();
    for _ in 0..3 {
        assert_eq!(stage.cycle().await.exit(false), Exit::Owed);
        assert_eq!(nginx.reload_requests(), reloads, "it was seen to serve this one, and no reload adds a line");
    }
    stage.on_day(45);
    stage.world().rotate().unwrap();
    let before = stage.linked("nginx");
    for _ in 0..5 {
        assert_eq!(stage.cycle().await.exit(false), Exit::Owed);
        let generations = usize::try_from(stage.linked("nginx") - before).unwrap();
        assert_eq!(nginx.reload_requests(), reloads + generations, "once for each of the next generations");
    }
    assert!((1..5).contains(&(stage.linked("nginx") - before)));
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
    let reloads = nginx.reload_requests();
    for _ in 0..2 {
        let report = stage.cycle().await;
        assert_eq!(report.exit(false), Exit::Owed);
        let text = alarm(&report, "target_not_enforced");
        assert!(text.starts_with("Strangers are admitted") && text.contains("api.example.com"), "{text}");
        assert_eq!(nginx.reload_requests(), reloads, "telling it again would change nothing");
    }

    // Asked in the file, but not loaded: that is no proof.
    nginx.rewrite(&stage.wired("nginx"));
    assert_proven(&stage.cycle().await);
    assert_eq!(nginx.reload_requests(), reloads + 1);
    assert_eq!(knock(&nginx, Some(&stranger)), "403");
    assert_eq!(stage.alarms(), Vec::<String>::new());
}

#[tokio::test]
async fn an_allowlist_that_was_never_asked_stays_owed_until_the_reload_whatever_fails_in_between() {
    let (mut stage, nginx) = proven_stage().await;
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    nginx.rewrite(
        &stage.wired_with("nginx", |server| server.replace("if ($trustsync_admit = \"\") {\n    return 403;\n}", "")),
    );
    nginx.reload();
    assert_eq!(stage.cycle().await.exit(false), Exit::Owed);
    let reloads = nginx.reload_requests();

    // The operator adds the lines, and a typo: what nginx has loaded is still open, whatever the wire shows.
    nginx.break_elsewhere(&stage);
    for _ in 0..3 {
        let report = stage.cycle().await;
        assert!(target(&report, "nginx").owed.is_some(), "{report:?}");
        assert_eq!((knock(&nginx, Some(&stranger)).as_str(), nginx.reload_requests()), ("200", reloads));
    }
    nginx.rewrite(&stage.wired("nginx"));
    assert_proven(&stage.cycle().await);
    assert_eq!((knock(&nginx, Some(&stranger)).as_str(), nginx.reload_requests()), ("403", reloads + 1));
    assert_proven(&stage.cycle().await);
    assert_eq!(nginx.reload_requests(), reloads + 1, "once");
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
        let reloads = nginx.reload_requests();
        for reloaded in [1, 1] {
            let report = stage.cycle().await;
            let line = target(&report, "nginx");
            let Some(Evidence::ReloadedNotProven(why)) = &line.settled else { panic!("{line:?}") };
            assert!(why.contains(reason), "{why}");
            assert_eq!((report.exit(false), nginx.reload_requests()), (Exit::Done, reloads + reloaded));
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
    // Three rotations at least, and as many more as it takes until old answers came after new ones in one of them: whether
    // they do is up to the machine, and without it nothing would be shown.
    let mut mixed = 0;
    for expected in 2..=30 {
        if expected > 4 && mixed > 0 {
            break;
        }
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
async fn a_denial_that_nginx_cannot_ask_for_is_said_where_a_name_could_pass_it() {
    let both = "authorities = [\"DigiCert\", \"Genesys\"]\ngenesys_anchors = [\"genesys-root.pem\"]";
    for (lines, is_said) in [(both, true), ("", false)] {
        let (mut stage, _nginx) = proven::<Nginx>(Stage::begin().await.with_lines(lines, ""), ()).await;
        let unknown = Fingerprint::of(b"listed by nobody").to_string();
        let (reason, since) = (DenialReason::Distrusted, stage.world().now());
        let denial = Denial::new(reason, since);
        let mut state = stage.state();
        state["memory"]["denied"][&unknown] = serde_json::to_value(denial).unwrap();
        fs::write(stage.root().join("store/state.json"), state.to_string()).unwrap();
        let report = stage.cycle().await;
        let found = report.findings.iter().find(|finding| finding.event.name() == "target_denial_partial");
        assert_eq!(found.is_some_and(|finding| finding.text.contains(&unknown)), is_said, "{report:?}");
    }
}

#[tokio::test]
async fn a_current_certificate_that_its_ca_revokes_is_refused_after_the_next_cycle_and_the_upcoming_one_is_not() {
    let (mut stage, nginx) = proven::<Nginx>(Stage::begin().await.with_crls(), ()).await;
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
async fn without_the_marker_there_are_other_lines_and_the_allowlist_is_the_proof() {
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
    assert_eq!(early.code, 11, "{early:?}");
    assert!(early.stderr.contains("sync"), "{early:?}");
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    nginx.rewrite(&stage.wired("nginx"));
    nginx.reload();
    assert_eq!(stage.run(&["sync"]).await.code, 0);

    let reloads = nginx.reload_requests();
    let again = stage.run(&["reload", "nginx"]).await;
    assert_eq!((again.code, nginx.reload_requests()), (0, reloads + 1), "{again:?}");
    assert_eq!(again.stdout, "target nginx: proven\n");

    // The check comes first: a server that would not load it is not told.
    nginx.rewrite("nonsense");
    let broken = stage.run(&["reload", "nginx"]).await;
    assert_eq!((broken.code, nginx.reload_requests()), (9, reloads + 1), "{broken:?}");
    assert!(broken.stdout.contains("OWED: its check fails"), "{broken:?}");
    assert_eq!(stage.alarms(), ["target_check_failed:nginx"]);
    nginx.rewrite(&stage.wired("nginx"));
    assert_eq!(stage.run(&["reload", "nginx"]).await.code, 0);
    assert_eq!(stage.alarms(), Vec::<String>::new());

    let unknown = stage.run(&["reload", "apache"]).await;
    assert_eq!(unknown.code, 2, "{unknown:?}");
    assert!(unknown.stderr.contains("configured are: nginx"), "{unknown:?}");
}

#[tokio::test]
async fn a_rotation_under_load_loses_nothing_with_a_socket_for_each_worker() {
    let (mut stage, nginx) = proven_stage().await;
    nginx.rewrite(&stage.wired("nginx").replace("@PORT@ ssl", "@PORT@ ssl reuseport"));
    nginx.reload();
    assert_proven(&stage.cycle().await);
    loses_nothing(&mut stage, &nginx).await;
}
