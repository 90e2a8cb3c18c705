//! What is HAProxy's alone on its way through the real cycle (`stories` has what it shares with others): its runtime socket
//! and its master's, what they may not or cannot do, and lines that are missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use support::cast;
use support::haproxy::Configuration;
use support::haproxy_stage::{HaproxyBy, PLAIN, WAYS, Way, knock};
use support::privilege;
use support::report::{alarm, line};
use support::server::{Server, assert_proven, proven};
use support::stage::Stage;
use trustsync::exit::Exit;
use trustsync::simulator::pki::ClientCertificate;
use trustsync::simulator::world::Impostor;
use trustsync::targets::haproxy::update::update;
use trustsync::trust::event::severity::Severity;
use trustsync::trust::turn::{Evidence, Owed, Proof};
use trustsync::trust::values::fingerprint::Fingerprint;

/// A wired server that serves generation 1, proven.
async fn proven_stage(way: Way) -> (Stage, HaproxyBy) {
    proven(Stage::begin().await, way).await
}

#[tokio::test]
async fn what_is_not_loaded_yet_is_loaded_by_a_reload_and_then_updated_without_one() {
    let mut stage = Stage::begin_now().await;
    let haproxy = stage.serve_haproxy("haproxy", Way::Runtime, PLAIN);
    stage.configure(&[("haproxy", &haproxy, None)]);
    assert_eq!(stage.run(&["sync"]).await.code, 7);
    // There was nothing to be updated, so what its operator may have written meanwhile is loaded.
    let words = stage.last_reload_report();
    assert!(words.contains("HAProxy has loaded no file beneath") && words.contains("USR2 was sent"), "{words}");
    assert_eq!(haproxy.reloads(), (1, 0));
    let second = stage.run(&["sync"]).await;
    assert_eq!((second.code, haproxy.reloads()), (7, (1, 0)), "{second:?}");

    // The lines are included, and the next turn loads them.
    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    let reload = stage.run(&["reload", "haproxy"]).await;
    assert_eq!((reload.code, haproxy.reloads()), (0, (2, 0)), "{reload:?}");
    assert_eq!(reload.stdout, "target haproxy: proven\n");
    assert_eq!(knock(&haproxy, Some(&stage.world().current().unwrap())), "200");
    assert_eq!(stage.alarms(), Vec::<String>::new());
    let quiet = stage.run(&["sync"]).await;
    assert_eq!((quiet.code, haproxy.reloads()), (0, (2, 0)), "{quiet:?}");
    // Those who ask for the whole turn get it, by now without a reload.
    assert_eq!(stage.run(&["reload", "haproxy"]).await.code, 0);
    assert!(stage.last_reload_report().contains("4 lists and 1 CA files"), "{}", stage.last_reload_report());
    assert_eq!(haproxy.reloads(), (2, 0));
}

#[tokio::test]
async fn were_the_chain_there_still_the_lists_of_deny_all_would_refuse_by_themselves() {
    for way in WAYS {
        let (mut stage, haproxy) = proven_stage(way).await;
        let current = stage.world().current().unwrap();
        stage.deny(&current);
        assert!(stage.cycle().await.deny_all);
        let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
        let link = stage.link("haproxy");
        let chain = stage.root().join("store/generations/000001/trust-bundle.pem");
        let without_chain = format!("\"{}/trust-bundle.pem\"", link.display());
        haproxy.rewrite(stage.wired_haproxy("haproxy").replace(&without_chain, &format!("\"{}\"", chain.display())));
        haproxy.reload();
        for who in [&current, &stranger] {
            assert_eq!(knock(&haproxy, Some(who)), "403", "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_reload_that_fails_in_silence_is_known_by_the_masters_word() {
    let (mut stage, haproxy) = proven_stage(Way::Reload).await;
    // A check that sees nothing of it, as one in another container does.
    let lines = format!("{}check = []\n", Way::Reload.lines(&haproxy));
    let table = |lines: &str| {
        format!(
            "[target.haproxy]\nkind = \"haproxy\"\n{lines}proof = {{ haproxy = {:?}, timeout = \"3s\" }}\n",
            haproxy.socket()
        )
    };
    stage.configure_targets(&table(&lines));
    haproxy.rewrite(format!("{}\nfrontend other\n    no_such_keyword", stage.wired_haproxy("haproxy")));
    stage.on_day(45);
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Owed);
    let text = alarm(&report, "target_not_told");
    assert!(text.contains("failed reloads in a row: 1") && text.contains("haproxy -c"), "{text}");
    assert_eq!(knock(&haproxy, Some(&stage.world().current().unwrap())), "200", "the old worker goes on");

    // Without the master's word it is the proof that says so.
    let silent = format!("check = []\nreload = {{ pidfile = {:?} }}\n", haproxy.pidfile());
    stage.configure_targets(&table(&silent));
    let report = stage.cycle().await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("generation 000001"), "{why}");
    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    assert_proven(&stage.cycle().await);
}

#[tokio::test]
async fn what_is_too_big_for_the_socket_goes_by_a_reload_and_says_so() {
    let anchors: Vec<String> = (0..24)
        .map(|number| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, format!("Partner {number} {}", "x".repeat(400)));
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
        })
        .collect();
    let stage = Stage::begin().await.with_lines("", "extra_anchors = [\"partners.pem\"]");
    fs::write(stage.root().join("partners.pem"), anchors.concat()).unwrap();
    let (mut stage, haproxy) = proven::<HaproxyBy>(stage, Way::Runtime).await;
    let reloads = haproxy.reloads().0;
    assert!(fs::metadata(stage.link("haproxy").join("trust-bundle.pem")).unwrap().len() > 16 * 1024);
    stage.on_day(45);
    let report = stage.cycle().await;
    assert_proven(&report);
    assert_eq!(haproxy.reloads(), (reloads + 1, 0));
    let words = stage.last_reload_report();
    assert!(words.contains("tune.bufsize") && words.contains("so it was reloaded instead"), "{words}");
    let note = report.findings.iter().find(|finding| finding.event.name() == "target_reloaded_instead").unwrap();
    assert!(note.text.contains("tune.bufsize"), "{}", note.text);
    assert_eq!(knock(&haproxy, Some(&stage.world().upcoming().unwrap().unwrap())), "200");

    // Without a reload to fall back on it stays owed, in words, and what is served is the old one.
    let proof = format!("haproxy = {:?}", haproxy.socket());
    let lines = format!("reload = {{ haproxy = {:?}, fallback = \"none\" }}\n", haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &lines, &proof);
    stage.on_day(100);
    stage.world().rotate().unwrap();
    for _ in 0..2 {
        stage.cycle().await;
        stage.an_hour_later();
    }
    stage.on_day(116);
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Owed, "{report:?}");
    let text = alarm(&report, "target_not_told");
    assert!(text.contains("tune.bufsize") && text.contains("reload.fallback"), "{text}");

    // A bigger buffer takes it.
    let global = "tune.bufsize 65536".to_owned();
    haproxy.rewrite(Configuration { global, sections: stage.wired_haproxy("haproxy") });
    stage.switch_by_hand("haproxy", 1);
    haproxy.reload();
    let report = stage.cycle().await;
    assert_proven(&report);
    assert!(stage.last_reload_report().contains("without a reload"), "{}", stage.last_reload_report());
}

#[tokio::test]
async fn a_socket_that_may_not_or_is_gone_goes_by_a_reload_and_says_so() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    let global = |level: &str| Configuration {
        global: format!("stats socket @DIR@/other.sock mode 660 level {level}"),
        sections: stage.wired_haproxy("haproxy"),
    };
    let other = haproxy.dir().join("other.sock");
    haproxy.rewrite(global("operator"));
    haproxy.reload();
    let lines = format!("reload = {{ haproxy = {other:?}, fallback = {{ pidfile = {:?} }} }}\n", haproxy.pidfile());
    let proof = format!("haproxy = {other:?}");
    stage.configure_haproxy("haproxy", &haproxy, &lines, &proof);
    stage.on_day(45);
    let reloads = haproxy.reloads().0;
    // To look, the lesser level is enough.
    assert_proven(&stage.cycle().await);
    assert_eq!(haproxy.reloads().0, reloads + 1);
    assert!(stage.last_reload_report().contains("Permission denied"), "{}", stage.last_reload_report());

    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    haproxy.reload();
    let proof = format!("haproxy = {:?}", haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &lines, &proof);
    stage.switch_by_hand("haproxy", 1);
    assert_proven(&stage.cycle().await);
    assert!(stage.last_reload_report().contains("cannot be reached"), "{}", stage.last_reload_report());
}

#[tokio::test]
async fn what_somebody_else_changes_by_the_socket_is_found_by_the_next_proof_and_mended() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    let stranger = stage.world().impostor(Impostor::Stranger).unwrap();
    let pins = stage.link("haproxy").join("haproxy/pins.list");
    let sha256 = Fingerprint::of(stranger.der()).to_string().to_uppercase();
    assert_eq!(haproxy.ask(&format!("add acl {} {sha256}", pins.display())).trim(), "");
    assert_eq!(knock(&haproxy, Some(&stranger)), "200", "that is what it is about");
    let times = stage.reload_reports().len();
    assert_proven(&stage.cycle().await);
    assert_eq!(stage.reload_reports().len(), times + 1);
    assert_eq!(knock(&haproxy, Some(&stranger)), "403");
}

#[tokio::test]
async fn lines_that_are_missing_are_missed_whichever_they_are() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    let whole = stage.wired_haproxy("haproxy");
    // The rules alone: a chain that is somebody else's.
    let link = stage.link("haproxy");
    let chain = format!("{}/trust-bundle.pem", link.display());
    let copy = stage.root().join("copy.pem");
    fs::copy(&chain, &copy).unwrap();
    haproxy.rewrite(whole.replace(&chain, &copy.display().to_string()));
    haproxy.reload();
    let by_socket = format!("haproxy = {:?}", haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Runtime.lines(&haproxy), &by_socket);
    let report = stage.cycle().await;
    let Some(Owed::Unproven(Proof::AllowlistOnly(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("no CA file"), "{why}");

    // The list of the denied is missing: the denied could be let in by name.
    haproxy.rewrite(
        whole
            .lines()
            .filter(|line| !line.contains("denied.list"))
            .map(|line| format!("{}\n", line.replace(" !trustsync_denied", "")))
            .collect::<String>(),
    );
    haproxy.reload();
    let report = stage.cycle().await;
    assert_eq!(report.exit(false), Exit::Owed);
    let text = alarm(&report, "target_chain_only");
    assert!(text.contains("haproxy/denied.list"), "{text}");
    assert!(line(&report).to_add.as_ref().unwrap().contains("denied.list"));

    haproxy.rewrite(whole.as_str());
    haproxy.reload();
    assert_proven(&stage.cycle().await);
}

#[tokio::test]
async fn where_the_wire_cannot_show_the_chain_it_says_why() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    let whole = stage.wired_haproxy("haproxy");
    let bundle = format!("ca-file \"{}/trust-bundle.pem\"", stage.link("haproxy").display());
    let other = stage.root().join("other-root.pem");
    let silent = whole.replace("verify required", "verify required no-ca-names");
    let verify_only = whole
        .replace(&bundle, &format!("ca-file \"{}\" ca-verify-file {}", other.display(), &bundle["ca-file ".len()..]));
    for (sections, reason) in [(silent, "no-ca-names"), (verify_only, "ca-verify-file")] {
        assert_ne!(sections, whole);
        haproxy.rewrite(sections);
        haproxy.reload();
        let report = stage.cycle().await;
        let line = line(&report);
        let Some(Evidence::ReloadedNotProven(why)) = &line.settled else { panic!("{line:?}") };
        assert!(why.contains(reason), "{why}");
        let warning = report.findings.iter().find(|finding| finding.event.name() == "target_not_proven").unwrap();
        assert_eq!(warning.severity, Severity::Warning);
        assert_eq!(report.exit(false), Exit::Done);
        assert_eq!(knock(&haproxy, Some(&stage.world().current().unwrap())), "200", "it works all the same");
    }
    // By its socket alone the same server can show it.
    let by_socket = format!("haproxy = {:?}", haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Runtime.lines(&haproxy), &by_socket);
    assert_proven(&stage.cycle().await);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    assert_eq!(knock(&haproxy, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
}

#[tokio::test]
async fn where_nobody_needs_a_certificate_the_wire_alone_proves_the_allowlist() {
    for way in WAYS {
        let (mut stage, haproxy) = proven_stage(way).await;
        haproxy.rewrite(stage.wired_haproxy("haproxy").replace("verify required", "verify optional"));
        haproxy.reload();
        let proof = format!("connect = [\"{}\"], generation = \"header\"", haproxy.address());
        stage.configure_haproxy("haproxy", &haproxy, &way.lines(&haproxy), &proof);
        assert_proven(&stage.cycle().await);
        stage.on_day(45);
        assert_proven(&stage.cycle().await);
        let world = stage.world();
        let status = |who: Option<&ClientCertificate>| knock(&haproxy, who);
        assert_eq!(status(Some(&world.upcoming().unwrap().unwrap())), "200");
        assert_eq!(status(None), "403", "nobody");
        for who in Impostor::ALL {
            let expected = if matches!(who, Impostor::Stranger | Impostor::Namesake) { "403" } else { "nothing" };
            assert_eq!(status(Some(&world.impostor(who).unwrap())), expected, "{}", who.name());
        }
    }
}

#[tokio::test]
async fn by_the_wire_alone_a_server_that_needs_a_certificate_is_chain_only() {
    let (mut stage, haproxy) = proven_stage(Way::Reload).await;
    let proof = format!("connect = [\"{}\"]", haproxy.address());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Reload.lines(&haproxy), &proof);
    stage.on_day(45);
    let report = stage.cycle().await;
    assert!(matches!(line(&report).settled, Some(Evidence::ChainOnly(_))), "{report:?}");
}

#[tokio::test]
async fn the_wire_and_the_socket_must_agree() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    // The address leads to another one, which nobody tells.
    let other = stage.serve_haproxy("other", Way::Runtime, stage.wired_haproxy("haproxy"));
    let proof = format!("connect = [\"{}\"], haproxy = {:?}", other.address(), haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Runtime.lines(&haproxy), &proof);
    assert_proven(&stage.cycle().await);
    stage.on_day(45);
    let report = stage.cycle().await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("the chain is of generation 000001"), "{why}");
    let upcoming = stage.world().upcoming().unwrap().unwrap();
    assert_eq!((knock(&haproxy, Some(&upcoming)), knock(&other, Some(&upcoming))), ("200".into(), "403".into()));
    // And the other way round: what is advertised is new, and the lists of the socket are old.
    other.reload();
    let proof = format!("connect = [\"{}\"], haproxy = {:?}", other.address(), haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Runtime.lines(&haproxy), &proof);
    assert_proven(&stage.cycle().await);
    let names = stage.link("haproxy").join("haproxy/names.list");
    assert_eq!(haproxy.ask(&format!("clear acl {}", names.display())).trim(), "");
    let lines = "check = []\nreload = \"none\"\n";
    stage.configure_targets(&format!(
        "[target.haproxy]\nkind = \"haproxy\"\n{lines}proof = {{ {proof}, timeout = \"2s\" }}\n"
    ));
    let report = stage.cycle().await;
    let Some(Owed::Unproven(Proof::Refuted(why))) = &line(&report).owed else { panic!("{report:?}") };
    assert!(why.contains("other entries of haproxy/names.list"), "{why}");
}

#[tokio::test]
async fn every_frontend_that_has_the_lines_gets_the_change_at_once() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    // A second one, whose words stand in a crt-list instead of the bind line.
    let port = support::port::free_port();
    let whole = stage.wired_haproxy("haproxy");
    let words = format!("ca-file \"{}/trust-bundle.pem\" verify required", stage.link("haproxy").display());
    let list = haproxy.dir().join("crt-list");
    fs::write(&list, format!("{}/server.pem [{}]\n", haproxy.dir().display(), words.replace('"', ""))).unwrap();
    let second = whole
        .replace("frontend api", "frontend second")
        .replace("@PORT@", &port.to_string())
        .replace("crt @DIR@/server.pem", &format!("crt-list {}", list.display()))
        .replace(&words, "");
    assert!(!second.contains("trust-bundle.pem"), "{second}");
    haproxy.rewrite(format!("{whole}\n{second}"));
    haproxy.reload();
    let addresses = [haproxy.address(), format!("127.0.0.1:{port}")];
    let proof = format!("connect = {addresses:?}, server_name = \"api.example.com\", haproxy = {:?}", haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &Way::Runtime.lines(&haproxy), &proof);
    assert_proven(&stage.cycle().await);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    assert!(stage.last_reload_report().contains("4 lists and 1 CA files"), "{}", stage.last_reload_report());
    let (upcoming, stranger) =
        (stage.world().upcoming().unwrap().unwrap(), stage.world().impostor(Impostor::Stranger).unwrap());
    for address in &addresses {
        assert_eq!(cast::knock(address, Some(&upcoming)), "200", "{address}");
        assert_eq!(cast::knock(address, Some(&stranger)), "403", "{address}");
        assert_eq!(cast::knock(address, None), "nothing", "{address}");
    }
}

#[tokio::test]
async fn two_targets_of_one_server_wait_for_each_other_and_for_anyone_else_who_changes_a_ca_file() {
    let mut stage = Stage::begin().await;
    let haproxy = stage.serve_haproxy("haproxy", Way::Runtime, PLAIN);
    let check = serde_json::to_string(&haproxy.check_command()).unwrap();
    let lines = Way::Runtime.lines(&haproxy);
    let target = |name: &str| {
        format!(
            "[target.{name}]\nkind = \"haproxy\"\ncheck = {check}\n{lines}proof = {{ haproxy = {:?} }}\n",
            haproxy.socket()
        )
    };
    stage.configure_targets(&format!("{}{}", target("haproxy"), target("second")));
    stage.cycle().await;
    let port = support::port::free_port().to_string();
    let second = stage.wired_haproxy("second").replace("frontend api", "frontend second").replace("@PORT@", &port);
    haproxy.rewrite(format!("{}\n{second}", stage.wired_haproxy("haproxy")));
    haproxy.reload();
    assert_eq!(stage.cycle().await.exit(false), Exit::Done);
    let reloads = haproxy.reloads();
    stage.on_day(45);
    assert_eq!(stage.cycle().await.exit(false), Exit::Done);
    assert!(
        stage.reload_reports().iter().rev().take(2).all(|words| words.contains("without a reload")),
        "{:?}",
        stage.reload_reports()
    );

    let socket = haproxy.socket();
    let links = [stage.link("haproxy"), stage.link("second")];
    for _ in 0..10 {
        let (one, other) = tokio::join!(update(&socket, &links[0]), update(&socket, &links[1]));
        one.unwrap();
        other.unwrap();
    }

    // Somebody else's, which he ends while we wait; and one that he leaves open, which is not ours to end.
    let ca_file = links[1].join("trust-bundle.pem");
    let text = fs::read_to_string(&ca_file).unwrap();
    let lines: String = text.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
    let begin = || haproxy.ask(&format!("set ssl ca-file {} <<\n{lines}", ca_file.display()));
    let end = || haproxy.ask(&format!("abort ssl ca-file {}", ca_file.display()));
    assert!(begin().contains("transaction created"));
    let (updated, ended) = tokio::join!(update(&socket, &links[0]), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        end()
    });
    updated.unwrap();
    assert!(ended.contains("aborted"), "{ended}");
    assert!(begin().contains("transaction created"));
    let began = Instant::now();
    let refused = update(&socket, &links[0]).await.unwrap_err().to_string();
    assert!(refused.contains("ongoing transaction is about"), "{refused}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(end().contains("aborted"));
    update(&socket, &links[0]).await.unwrap();
    assert_eq!(haproxy.reloads(), reloads);
}

#[tokio::test]
async fn behind_a_proxy_that_begins_with_its_header_it_is_proven_and_else_says_why() {
    let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
    haproxy.rewrite(stage.wired_haproxy("haproxy").replace("ssl crt", "accept-proxy ssl crt"));
    haproxy.reload();
    let lines = Way::Runtime.lines(&haproxy);
    let by = |more: &str| format!("connect = [\"{}\"], haproxy = {:?}{more}", haproxy.address(), haproxy.socket());
    stage.configure_haproxy("haproxy", &haproxy, &lines, &by(""));
    let report = stage.cycle().await;
    let Some(Evidence::ReloadedNotProven(why)) = &line(&report).settled else { panic!("{report:?}") };
    assert!(why.contains("PROXY protocol"), "{why}");
    for (day, version) in [(45, "v1"), (116, "v2")] {
        stage.on_day(day);
        stage.world().rotate().unwrap();
        stage.configure_haproxy("haproxy", &haproxy, &lines, &by(&format!(", proxy_protocol = \"{version}\"")));
        assert_proven(&stage.cycle().await);
    }
}

#[tokio::test]
async fn a_target_without_the_marker_is_proven_by_its_socket() {
    for way in WAYS {
        let (mut stage, haproxy) = proven_stage(way).await;
        haproxy.rewrite(stage.wired_haproxy("haproxy").replace("trust-bundle.pem", "chain.pem"));
        haproxy.reload();
        let lines = format!("marker = false\n{}", way.lines(&haproxy));
        stage.configure_haproxy("haproxy", &haproxy, &lines, &format!("haproxy = {:?}", haproxy.socket()));
        assert_proven(&stage.cycle().await);
        stage.on_day(45);
        assert_proven(&stage.cycle().await);
        assert_eq!(knock(&haproxy, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
    }
}

#[tokio::test]
async fn a_generic_target_is_told_and_proven_by_the_socket_too() {
    let mut stage = Stage::begin().await;
    let haproxy = stage.serve_haproxy("haproxy", Way::Runtime, PLAIN);
    stage.configure_targets(&format!(
        "[target.haproxy]\nkind = \"generic\"\noutputs = [\"haproxy\"]\nreload = {{ haproxy = {socket:?} }}\nproof = \
         {{ haproxy = {socket:?}, timeout = \"6s\" }}\n",
        socket = haproxy.socket()
    ));
    let first = stage.cycle().await;
    let text = alarm(&first, "target_not_told");
    assert!(text.contains("has loaded no file beneath") && text.contains("reload.fallback"), "{text}");
    haproxy.rewrite(stage.wired_haproxy("haproxy"));
    haproxy.reload();
    assert_proven(&stage.cycle().await);
    stage.on_day(45);
    assert_proven(&stage.cycle().await);
    assert_eq!(knock(&haproxy, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
}

#[tokio::test]
async fn as_the_servers_own_user_it_is_told_and_proven_by_the_socket() {
    if privilege::role().is_some() {
        assert!(!rustix::process::geteuid().is_root());
        let (mut stage, haproxy) = proven_stage(Way::Runtime).await;
        stage.on_day(45);
        assert_proven(&stage.cycle().await);
        assert_eq!(knock(&haproxy, Some(&stage.world().upcoming().unwrap().unwrap())), "200");
        // A socket that does not let us in says so.
        fs::set_permissions(haproxy.socket(), fs::Permissions::from_mode(0o000)).unwrap();
        let report = stage.cycle().await;
        let Some(Evidence::ReloadedNotProven(why)) = &line(&report).settled else { panic!("{report:?}") };
        assert!(why.contains("let this user be in the group"), "{why}");
        return;
    }
    privilege::again_as_nobody();
}
